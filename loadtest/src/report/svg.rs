//! Line and bar charts as SVG text, for the HTML report. Colours come from the page's style sheet,
//! so that one chart serves a light and a dark page.

use std::fmt::Write;

/// A chart of one or more lines.
pub struct Chart<'a> {
    pub title: &'a str,
    pub x_label: &'a str,
    /// Ticks of the x axis: (position in data units, text).
    pub x_ticks: Vec<(f64, String)>,
    pub y_text: fn(f64) -> String,
    pub y_log: bool,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub name: String,
    /// Number of its colour; lines of one name share it, and one entry of the legend.
    pub colour: usize,
    /// In rising order of x.
    pub points: Vec<(f64, f64)>,
}

impl Chart<'_> {
    /// The chart, or nothing if there is nothing to draw.
    pub fn render(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        if points().count() < 2 {
            return String::new();
        }
        let ticks = || self.x_ticks.iter().map(|(x, _)| *x);
        let (left, right) = range(points().map(|(x, _)| *x).chain(ticks()));
        let y_axis = Axis::new(points().map(|(_, y)| *y), self.y_log);
        let x_at = |x: f64| LEFT + (x - left) / (right - left).max(1e-9) * (WIDTH - LEFT - RIGHT);
        let y_at = |y: f64| TOP + (1.0 - y_axis.share(y)) * (HEIGHT - TOP - BOTTOM);
        let mut out = open(self.title);
        for value in &y_axis.ticks {
            let (y, text) = (y_at(*value), (self.y_text)(*value));
            rule(&mut out, LEFT, y, WIDTH - RIGHT, y);
            label(&mut out, LEFT - 6.0, y + 4.0, "end", &text);
        }
        for (x, text) in &self.x_ticks {
            let x = x_at(*x);
            rule(&mut out, x, TOP, x, HEIGHT - BOTTOM);
            label(&mut out, x, HEIGHT - BOTTOM + 16.0, "middle", text);
        }
        let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
        label(&mut out, middle, HEIGHT - 6.0, "middle", self.x_label);
        for line in &self.lines {
            let _ = write!(out, "<path class=\"line c{}\" d=\"", line.colour % COLOURS);
            for (step, (x, y)) in line.points.iter().enumerate() {
                let command = if step == 0 { 'M' } else { 'L' };
                let _ = write!(out, "{command}{:.1} {:.1}", x_at(*x), y_at(*y));
            }
            let _ = write!(out, "\"><title>{}</title></path>", escape(&line.name));
        }
        out.push_str("</svg>");
        out + &self.legend()
    }

    fn legend(&self) -> String {
        let mut out = String::from("<p class=\"legend\">");
        let mut named: Vec<usize> = Vec::new();
        for line in self.lines.iter().filter(|line| !line.points.is_empty()) {
            if named.contains(&line.colour) {
                continue;
            }
            named.push(line.colour);
            let (colour, name) = (line.colour % COLOURS, escape(&line.name));
            let _ = write!(out, "<span><i class=\"c{colour}\"></i>{name}</span>");
        }
        out + "</p>"
    }
}

/// Horizontal bars: (name, value, text, number of the colour).
pub fn bars(title: &str, rows: &[(String, f64, String, usize)]) -> String {
    let most = rows.iter().map(|row| row.1).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let height = TOP + 34.0 * rows.len() as f64 + 8.0;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><text class=\"title\" x=\"{BAR_LEFT}\" \
         y=\"20\">{}</text>",
        escape(title)
    );
    for (index, (name, value, text, colour)) in rows.iter().enumerate() {
        let y = TOP + 34.0 * index as f64;
        let width = (value / most * (WIDTH - BAR_LEFT - 90.0)).max(1.0);
        let colour = colour % COLOURS;
        let _ = write!(
            out,
            "<rect class=\"bar c{colour}\" x=\"{BAR_LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"22\" rx=\"3\"/>"
        );
        label(&mut out, BAR_LEFT - 8.0, y + 16.0, "end", name);
        label(&mut out, BAR_LEFT + width + 8.0, y + 16.0, "start", text);
    }
    out + "</svg>"
}

/// Text for HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

struct Axis {
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<f64>,
}

impl Axis {
    /// A linear axis starts at 0; a logarithmic one at a power of ten below the least value.
    fn new(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let (least, most) = range(values.map(|value| if log { value.max(1.0) } else { value }));
        if log {
            let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
            let last = last.max(first + 1);
            let ticks = (first..=last).map(|power| 10f64.powi(power)).collect();
            return Self { low: f64::from(first), high: f64::from(last), log, ticks };
        }
        let step = nice_step(most / 5.0);
        let count = (most / step).ceil().max(1.0) as u32;
        let ticks: Vec<f64> = (0..=count).map(|index| f64::from(index) * step).collect();
        Self { low: 0.0, high: f64::from(count) * step, log, ticks }
    }

    /// Where `value` lies between the ends, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let value = if self.log { value.max(1.0).log10() } else { value };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
pub fn nice_step(least: f64) -> f64 {
    if least <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * 0.999);
    factor.unwrap_or(10.0) * power
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
}

fn open(title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><text class=\"title\" x=\"{LEFT}\" \
         y=\"20\">{}</text>",
        escape(title)
    )
}

fn rule(out: &mut String, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = write!(
        out,
        "<line class=\"rule\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

fn label(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escape(text);
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;
const BAR_LEFT: f64 = 190.0;
/// As many as the style sheet has.
const COLOURS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, y_log: bool) -> String {
        Chart {
            title: "a < b",
            x_label: "s",
            x_ticks: vec![(0.0, "0".into()), (10.0, "10".into())],
            y_text: |value| format!("{value}"),
            y_log,
            lines: vec![Line { name: "one & two".into(), colour: 0, points }],
        }
        .render()
    }

    #[test]
    fn a_line_from_corner_to_corner() {
        let svg = chart(vec![(0.0, 0.0), (10.0, 100.0)], false);
        assert!(svg.contains("M70.0 256.0L620.0 36.0"), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains("one &amp; two"));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn a_logarithmic_axis_has_powers_of_ten() {
        let svg = chart(vec![(0.0, 1_000.0), (10.0, 1_000_000.0)], true);
        assert!(svg.contains(">1000<") && svg.contains(">10000<") && svg.contains(">1000000<"));
        assert!(svg.contains("M70.0 256.0L620.0 36.0"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_draws_nothing() {
        assert_eq!(chart(vec![(0.0, 1.0)], false), "");
        assert_eq!(bars("x", &[]), "");
    }

    #[test]
    fn steps() {
        for (least, step) in [(0.7, 1.0), (1.3, 2.0), (3.0, 5.0), (60.0, 100.0), (0.0, 1.0)] {
            assert!((nice_step(least) - step).abs() < 1e-9, "{least}");
        }
    }
}
