//! All runs on one self-contained HTML page: figures, latency and throughput charts, and the line
//! that reproduces each run. No script, no outside file.

use std::fmt::Write;

use super::svg::{Chart, Line, bars, escape, nice_step};
use super::table::{bytes, duration, grouped};
use super::{Figure, Report, steps};
use crate::compare::{Comparison, Row, ratio};
use crate::measure::recorder::Latency;
use crate::measure::series::Sample;

/// The whole page.
pub fn page(reports: &[Report], comparison: Option<&Comparison>) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>stentor-loadtest</title><style>{STYLE}</style></head><body><main>\
         <h1>Load test</h1>"
    );
    if let Some(comparison) = comparison {
        put_comparison(&mut out, comparison, &colours(reports));
    }
    put_charts(&mut out, reports);
    for (index, (report, name)) in reports.iter().zip(names(reports)).enumerate() {
        put_report(&mut out, report, &name);
        if reports.get(index + 1).is_none_or(|next| next.command != report.command) {
            let command = escape(&report.command);
            let _ = write!(out, "<section><h2>Again</h2><pre>{command}</pre></section>");
        }
    }
    out + "</main></body></html>\n"
}

fn base(report: &Report) -> String {
    if report.label.is_empty() { report.scenario.clone() } else { report.label.clone() }
}

/// Each run's name: its label, with a number where a label ran several times.
fn names(reports: &[Report]) -> Vec<String> {
    let name = |index: usize| {
        let own = base(&reports[index]);
        let same = |range: &[Report]| range.iter().filter(|other| base(other) == own).count();
        if same(reports) == 1 { own } else { format!("{own}, run {}", same(&reports[..=index])) }
    };
    (0..reports.len()).map(name).collect()
}

/// The labels in the order of their first run, which numbers their colours.
fn colours(reports: &[Report]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for label in reports.iter().map(base) {
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

/// A line of each run, with one colour per label.
fn lines(reports: &[Report], points: impl Fn(&Report) -> Vec<(f64, f64)>) -> Vec<Line> {
    let colours = colours(reports);
    let line = |report: &Report| {
        let name = base(report);
        let colour = colours.iter().position(|label| *label == name).unwrap_or(0);
        Line { name, colour, points: points(report) }
    };
    reports.iter().map(line).collect()
}

/// Medians of what the scenario tells besides, a line per contestant and figure.
fn put_figures(out: &mut String, comparison: &Comparison) {
    if comparison.rows.iter().all(|row| row.figures.is_empty()) {
        return;
    }
    out.push_str("<table>");
    for row in &comparison.rows {
        for Figure { name, value, unit } in &row.figures {
            let (label, name, unit) = (escape(&row.label), escape(name), escape(unit));
            let _ = write!(out, "<tr><th>{label}: {name}</th><td>{value:.2} {unit}</td></tr>");
        }
    }
    out.push_str("</table>");
}

fn put_comparison(out: &mut String, comparison: &Comparison, colours: &[String]) {
    let _ = write!(
        out,
        "<section><h2>Side by side</h2><p>Medians of {} interleaved rounds; ratios are to the \
         first line.</p><table><tr><th></th><th>per second</th><th>ratio</th>\
         <th>CPU per delivery</th><th>from - to</th>\
         <th>ratio</th><th>p50</th><th>p99</th><th>memory</th><th>verified</th></tr>",
        comparison.rounds
    );
    let first = &comparison.rows[0];
    for row in &comparison.rows {
        let time = |ns: Option<f64>| ns.map_or_else(|| "-".to_owned(), |ns| duration(ns as u64));
        let cells = [
            grouped(row.rate as u64),
            ratio(Some(row.rate), Some(first.rate)),
            time(row.cpu_per_delivery),
            row.cpu_range_text(),
            ratio(row.cpu_per_delivery, first.cpu_per_delivery),
            time(row.p50),
            time(row.p99),
            row.rss_peak.map_or_else(|| "-".to_owned(), |peak| bytes(peak as u64)),
        ];
        let _ = write!(out, "<tr><th>{}</th>", escape(&row.label));
        for cell in cells {
            let _ = write!(out, "<td>{cell}</td>");
        }
        let _ = write!(out, "<td>{}</td></tr>", verdict(row.clean));
    }
    out.push_str("</table>");
    put_figures(out, comparison);
    let chart = |title, value: fn(&Row) -> f64, text: fn(f64) -> String| {
        let bar = |row: &Row| {
            let colour = colours.iter().position(|label| *label == row.label).unwrap_or(0);
            (row.label.clone(), value(row), text(value(row)), colour)
        };
        figure(&bars(title, &comparison.rows.iter().map(bar).collect::<Vec<_>>()))
    };
    out.push_str("<div class=\"charts\">");
    out.push_str(&chart(
        "CPU time per delivery",
        |row| row.cpu_per_delivery.unwrap_or(0.0),
        |ns| duration(ns as u64),
    ));
    out.push_str(&chart("Deliveries per second", |row| row.rate, |rate| grouped(rate as u64)));
    out.push_str("</div></section>");
}

fn put_charts(out: &mut String, reports: &[Report]) {
    let over_time = |title, y_text, of: fn(&Sample) -> Option<f64>| {
        let point = |sample: &Sample| Some((sample.at_s, of(sample)?));
        let lines = lines(reports, |report| report.series.iter().filter_map(point).collect());
        let x_ticks = time_ticks(&lines);
        Chart { title, x_label: "seconds", x_ticks, y_text, y_log: false, lines }.render()
    };
    let per_second = |value: f64| short(value);
    let cores = |cores: f64| format!("{cores:.2}");
    let charts = [
        percentiles(reports),
        over_time("Deliveries per second", per_second, |sample| {
            Some(sample.events_per_s + sample.calls_per_s)
        }),
        over_time(
            "p99 latency",
            |ns| duration(ns as u64),
            |sample| sample.event_p99.or(sample.call_p99).map(|ns| ns as f64),
        ),
        over_time("Router CPU, cores", cores, |sample| sample.router_cpu),
        over_time(
            "Router memory",
            |mebibytes| format!("{mebibytes:.0} MiB"),
            |sample| sample.router_rss.map(|rss| rss as f64 / 1_048_576.0),
        ),
        over_time("Generator CPU, cores", cores, |sample| Some(sample.generator_cpu)),
    ];
    out.push_str("<section><h2>Charts</h2><div class=\"charts\">");
    charts.iter().for_each(|chart| out.push_str(&figure(chart)));
    out.push_str("</div></section>");
}

/// Latency over percentile, with as much room for each further nine.
fn percentiles(reports: &[Report]) -> String {
    let nines = |percent: f64| -(1.0 - percent / 100.0).max(1e-6).log10();
    let points = |report: &Report| {
        let curve = report.latency().map_or(&[][..], |latency| &latency.curve);
        curve.iter().map(|(percent, ns)| (nines(*percent), *ns as f64)).collect()
    };
    let ticks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    Chart {
        title: "Latency by percentile",
        x_label: "percentile",
        x_ticks: ticks.iter().map(|percent| (nines(*percent), percent.to_string())).collect(),
        y_text: |ns| duration(ns as u64),
        y_log: true,
        lines: lines(reports, points),
    }
    .render()
}

fn time_ticks(lines: &[Line]) -> Vec<(f64, String)> {
    let last = lines.iter().filter_map(|line| line.points.last()).map(|(x, _)| *x);
    let last = last.fold(0.0, f64::max);
    let step = nice_step(last / 8.0);
    let count = (last / step).floor() as u32;
    (0..=count).map(|index| f64::from(index) * step).map(|second| (second, short(second))).collect()
}

/// A number with three digits or so.
fn short(value: f64) -> String {
    let trimmed = |value: f64, unit: &str| {
        let text = format!("{value:.2}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match value {
        1e6.. => trimmed(value / 1e6, "M"),
        1e3.. => trimmed(value / 1e3, "k"),
        _ => trimmed(value, ""),
    }
}

fn put_report(out: &mut String, report: &Report, name: &str) {
    let title = match name {
        name if name == report.scenario => escape(name),
        name => format!("{}: {}", escape(&report.scenario), escape(name)),
    };
    let _ = write!(
        out,
        "<section><h2>{title} {}</h2><p>{}; {}; {}, {}, payload {} B, delivered {} B, {:.1} s</p>",
        verdict(report.clean),
        escape(&report.clients),
        escape(&report.pacing),
        escape(&report.url),
        escape(&report.serializer),
        report.payload_bytes,
        report.delivery_bytes,
        report.seconds
    );
    put_tiles(out, report);
    put_latencies(out, report);
    if !report.steps.is_empty() {
        let mut text = String::new();
        steps::put_table(&mut text, &report.steps);
        let _ = write!(out, "<pre>{}</pre>", escape(&text));
    }
    let found = &report.verified;
    let _ = write!(out, "<p>{} messages verified: {found}.</p>", grouped(found.checked));
    for failure in &report.failures {
        let _ = write!(out, "<p class=\"bad\">{}</p>", escape(failure));
    }
    for verdict in &report.thresholds {
        let class = if verdict.failed { "bad" } else { "good" };
        let _ = write!(out, "<p class=\"{class}\">{}</p>", escape(&verdict.to_string()));
    }
    out.push_str("</section>");
}

fn put_tiles(out: &mut String, report: &Report) {
    let mut tiles: Vec<(&str, String)> = Vec::new();
    for (name, rate) in [
        ("publications/s", report.publications_per_s),
        ("events/s", report.events_per_s),
        ("calls/s", report.calls_per_s),
    ] {
        if rate > 0.0 {
            tiles.push((name, grouped(rate as u64)));
        }
    }
    if let Some(router) = &report.router {
        if let Some(ns) = router.cpu_ns_per_delivery.filter(|_| report.events + report.calls > 0) {
            tiles.push(("router CPU per delivery", duration(ns as u64)));
        }
        tiles.push(("router cores", format!("{:.2}", router.cores)));
        tiles.push(("router memory", bytes(router.rss_end)));
    }
    let generator = &report.generator;
    let bound = if generator.client_bound { "client-bound" } else { "not client-bound" };
    tiles.push(("generator cores", format!("{:.2}, {bound}", generator.busy)));
    for figure in &report.figures {
        tiles.push((&figure.name, format!("{} {}", short(figure.value), figure.unit)));
    }
    out.push_str("<div class=\"tiles\">");
    for (name, value) in tiles {
        let (name, value) = (escape(name), escape(&value));
        let _ = write!(out, "<div><b>{value}</b><span>{name}</span></div>");
    }
    out.push_str("</div>");
}

fn put_latencies(out: &mut String, report: &Report) {
    out.push_str("<table><tr><th></th>");
    let heads = ["min", "mean", "stddev", "p50", "p75", "p90", "p99", "p99.9", "p99.99", "max"];
    heads.iter().for_each(|head| out.push_str(&format!("<th>{head}</th>")));
    out.push_str("</tr>");
    for (name, latency) in [
        ("event latency", &report.event_latency),
        ("call latency", &report.call_latency),
        ("PUBLISHED after", &report.acknowledge_latency),
        ("join latency", &report.join_latency),
        ("back after", &report.return_latency),
        ("send lag", &report.send_lag),
    ] {
        let Some(latency) = latency else { continue };
        let Latency { min, mean, stddev, p50, p75, p90, p99, p99_9, p99_99, max, .. } = latency;
        let _ = write!(out, "<tr><th>{name}</th>");
        for value in [min, mean, stddev, p50, p75, p90, p99, p99_9, p99_99, max] {
            let _ = write!(out, "<td>{}</td>", duration(*value));
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
}

fn figure(chart: &str) -> String {
    if chart.is_empty() { String::new() } else { format!("<figure>{chart}</figure>") }
}

const fn verdict(clean: bool) -> &'static str {
    if clean { "<em class=\"good\">OK</em>" } else { "<em class=\"bad\">FAILED</em>" }
}

const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_page_stands_alone_and_is_escaped() {
        let mut other = samples::report();
        other.label = "other".into();
        other.clean = false;
        let reports = [samples::report(), samples::report(), other];
        let comparison = Comparison::of(&reports, 1);
        let page = page(&reports, Some(&comparison));
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        for outside in ["http://", "https://", "<script", "src=", "<a>"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for part in ["router &lt;a&gt;, run 2", "Latency by percentile", "p99.99", ">FAILED<"] {
            assert!(page.contains(part), "{part}");
        }
        for tag in ["section", "table", "svg", "figure", "div"] {
            let (opened, closed) = (format!("<{tag}"), format!("</{tag}>"));
            assert_eq!(page.matches(&opened).count(), page.matches(&closed).count(), "{tag}");
        }
    }

    /// The paths of the chart with this title, as (class, data).
    fn paths(page: &str, title: &str) -> Vec<(String, String)> {
        let (_, charts) = page.split_once("<h2>Charts</h2>").unwrap();
        let start = format!(">{title}</text>");
        let Some((_, chart)) = charts.split_once(&start) else { return Vec::new() };
        let (chart, _) = chart.split_once("</svg>").unwrap();
        let part = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("{name}=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let tags = chart.split("<path ").skip(1);
        tags.map(|tag| (part(tag, "class"), part(tag, "d"))).collect()
    }

    #[test]
    fn charts_hold_the_runs_data() {
        let mut other = samples::report();
        other.label = "other".into();
        for sample in &mut other.series {
            sample.events_per_s = 60_000.0;
        }
        let page = page(&[samples::report(), other, samples::report()], None);
        let line = |y: &str| {
            let points = ["70.0", "207.5", "345.0", "482.5", "620.0"].map(|x| format!("{x} {y}"));
            format!("M{}", points.join("L"))
        };
        // 100,000 and 60,000 on an axis that ends at 120,000; one colour per label.
        let expected = [("line c0", "72.7"), ("line c1", "146.0"), ("line c0", "72.7")]
            .map(|(class, y)| (class.to_owned(), line(y)));
        assert_eq!(paths(&page, "Deliveries per second"), expected);
        // 90 of 100 us, and 20 of 20 MiB.
        for (title, y) in [("p99 latency", "58.0"), ("Router memory", "36.0")] {
            let found = paths(&page, title);
            assert!(found.len() == 3 && found.iter().all(|path| path.1 == line(y)), "{found:?}");
        }
        let curve = samples::report().event_latency.unwrap().curve;
        let percentiles = paths(&page, "Latency by percentile");
        assert_eq!(percentiles[0].1.matches('L').count() + 1, curve.len());
        assert_eq!(paths(&page, "Router CPU, cores"), [], "nobody measured it");
    }

    #[test]
    fn bars_hold_the_comparison() {
        let mut other = samples::report();
        other.label = "other".into();
        other.events_per_s = 25_000.0;
        let reports = [samples::report(), other];
        let page = page(&reports, Some(&Comparison::of(&reports, 1)));
        let (_, bars) = page.split_once(">Deliveries per second</text>").unwrap();
        let widths = ["width=\"360.0\"", "width=\"90.0\""].map(|width| bars.find(width).unwrap());
        assert!(widths[0] < widths[1]);
        assert!(bars.contains(">100,000</text>") && bars.contains(">25,000</text>"));
    }

    #[test]
    fn short_numbers() {
        for (value, text) in [(0.5, "0.5"), (12.0, "12"), (1_500.0, "1.5k"), (2e6, "2M")] {
            assert_eq!(short(value), text);
        }
    }
}
