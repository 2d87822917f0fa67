//! Draws what `stentor top` knows.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState, Wrap};
use serde_json::Value;

use super::state::{Mode, State};
use super::text::{UNKNOWN, byte_rate, bytes, cell, number, short, shown, span};
use super::view::{Kind, View};

pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: Instant) {
    let heights = [1, 1].map(Constraint::Length).into_iter();
    let heights = heights.chain([Constraint::Fill(1), Constraint::Length(2)]);
    let [head, tabs, body, foot] = Layout::vertical(heights).areas(frame.area());
    frame.render_widget(title(state), head);
    frame.render_widget(views(state), tabs);
    match (&state.mode, state.order().view) {
        (Mode::Helping, _) => frame.render_widget(Paragraph::new(HELP), body),
        (_, View::Overview) => draw_overview(frame, body, state),
        (_, view) => draw_list(frame, body, state, view),
    }
    frame.render_widget(foot_of(state, now).wrap(Wrap { trim: false }), foot);
}

fn title(state: &State) -> Line<'static> {
    let mut spans = Vec::new();
    let router = state.last().map(|look| &look.router);
    if let Some(name) = environment(state) {
        let color = router.and_then(|router| router["environment"]["color"].as_str());
        let plain = Style::new().add_modifier(Modifier::REVERSED);
        let style = color.and_then(rgb).map_or(plain, on_color);
        spans.push(Span::styled(format!(" {name} "), style.add_modifier(Modifier::BOLD)));
        spans.push(Span::raw(" "));
    }
    spans.push(Span::styled("Stentor", Style::new().add_modifier(Modifier::BOLD)));
    if let Some(router) = router {
        let version = router["version"].as_str().unwrap_or_default();
        let up = router["uptime_seconds"].as_u64().unwrap_or_default();
        spans.push(Span::raw(format!(" {}, up for {}", shown(version), span(up))));
    }
    spans.push(Span::raw(format!(", {}", shown(&state.admin))));
    Line::from(spans)
}

fn environment(state: &State) -> Option<String> {
    state.last()?.router["environment"]["name"].as_str().map(shown)
}

/// Red, green and blue of `#b3261e`.
fn rgb(color: &str) -> Option<[u8; 3]> {
    let digits = color.strip_prefix('#').filter(|it| it.len() == 6 && it.is_ascii())?;
    let value = u32::from_str_radix(digits, 16).ok()?;
    let [_, red, green, blue] = value.to_be_bytes();
    Some([red, green, blue])
}

/// Black or white, whichever can be read on it.
fn on_color([red, green, blue]: [u8; 3]) -> Style {
    let light = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
    let letters = if light > 140_000 { Color::Black } else { Color::White };
    Style::new().fg(letters).bg(Color::Rgb(red, green, blue))
}

fn views(state: &State) -> Line<'static> {
    let wanted = state.order().view;
    let spans = View::ALL.iter().zip(1..).flat_map(|(view, number)| {
        let style = match *view == wanted {
            true => Style::new().add_modifier(Modifier::REVERSED),
            false => quiet(),
        };
        [Span::styled(format!(" {number} {} ", view.name()), style), Span::raw(" ")]
    });
    Line::from(spans.collect::<Vec<_>>())
}

fn draw_overview(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let [figures, shards] =
        Layout::vertical([Constraint::Length(6), Constraint::Fill(1)]).areas(area);
    let Some(look) = state.last() else {
        return frame.render_widget(Paragraph::new(ASKING), area);
    };
    let gauge = |name: &str| &look.router["gauges"][name];
    let rate = |name| state.rate(name).map_or_else(|| UNKNOWN.to_owned(), short);
    let flow = |name| state.rate(name).map_or_else(|| UNKNOWN.to_owned(), byte_rate);
    let lines = [
        format!(
            "{} sessions, {} connections",
            number(gauge("sessions")),
            number(gauge("connections"))
        ),
        format!(
            "{} waiting for clients, {} of them refused by sockets",
            bytes(gauge("output_bytes")),
            bytes(gauge("refused_bytes"))
        ),
        format!("{} of memory", bytes(&look.router["process"]["resident_bytes"])),
        format!(
            "per second: {} events out, {} publications, {} calls",
            rate("events_delivered"),
            rate("publications"),
            rate("calls_routed")
        ),
        format!(
            "per second: {} messages in, {} in, {} out",
            rate("messages_received"),
            flow("bytes_received"),
            flow("bytes_sent")
        ),
    ];
    frame.render_widget(Paragraph::new(lines.map(Line::from).to_vec()), figures);
    draw_shards(frame, shards, state, &look.shards);
}

fn draw_shards(frame: &mut Frame<'_>, area: Rect, state: &State, shards: &Value) {
    let rows = shards.as_array().map_or(&[][..], Vec::as_slice).iter().enumerate();
    let rows = rows.map(|(at, shard)| {
        let (load, silent) = (state.load(at), shard["unanswered_seconds"].as_f64());
        let is_full = load > Some(FULL) || silent > Some(1.0);
        let style = if is_full { Style::new().fg(Color::Red) } else { Style::new() };
        let silent = silent.map_or_else(|| UNKNOWN.to_owned(), |seconds| format!("{seconds:.1}"));
        Row::new([
            Cell::from(cell(&shard["shard"], Kind::Text)),
            Cell::from(bar(load)),
            right(number(&shard["gauges"]["sessions"])),
            right(bytes(&shard["queued_bytes"])),
            right(bytes(&shard["gauges"]["output_bytes"])),
            right(silent),
        ])
        .style(style)
    });
    let heads = ["SHARD", "LOAD"].map(Cell::from).into_iter();
    let heads =
        heads.chain(["SESSIONS", "MAIL", "PENDING", "SILENT FOR S"].map(|it| right(it.into())));
    let widths = [5, 16, 9, 9, 9, 12].map(Constraint::Length);
    frame.render_widget(Table::new(rows, widths).header(Row::new(heads).style(quiet())), area);
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, state: &State, view: View) {
    let Some(rows) = state.rows() else {
        return frame.render_widget(Paragraph::new(ASKING), area);
    };
    let columns = view.columns();
    let put = |text: String, kind| if kind == Kind::Text { Cell::from(text) } else { right(text) };
    let lines = rows.iter().map(|row| {
        Row::new(columns.iter().map(|(_, key, kind, _)| put(cell(&row[*key], *kind), *kind)))
    });
    let heads = columns.iter().map(|(head, _, kind, _)| put((*head).to_owned(), *kind));
    let widths = columns.iter().map(|(.., width)| match width {
        0 => Constraint::Fill(1),
        _ => Constraint::Length(*width),
    });
    let table = Table::new(lines, widths)
        .header(Row::new(heads).style(quiet()))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut selection =
        TableState::new().with_selected((!rows.is_empty()).then_some(state.selected));
    frame.render_stateful_widget(table, area, &mut selection);
}

/// Two lines: what is wrong, asked or shown, and the keys.
fn foot_of(state: &State, now: Instant) -> Paragraph<'static> {
    let alarm = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
    if let Mode::Confirming(kick) = &state.mode {
        let of = environment(state).map_or_else(String::new, |name| format!("{name}, "));
        let (session, authid, at) = (kick.session, &kick.authid, shown(&state.admin));
        let text = format!("Kick session {session} of {of}{at}? y: yes ({authid})");
        return Paragraph::new(text).style(alarm);
    }
    if let Mode::Filtering(text) = &state.mode {
        return Paragraph::new(format!("filter: {}_", shown(text)));
    }
    if let Some(notice) = &state.notice {
        return Paragraph::new(shown(notice));
    }
    if let Some((since, why)) = state.failure() {
        let seconds = now.saturating_duration_since(*since).as_secs();
        let first = why.lines().next().unwrap_or_default();
        let first = first.strip_prefix("error: ").unwrap_or(first);
        let text = format!("silent for {}: {}", span(seconds), shown(first));
        return Paragraph::new(text).style(alarm);
    }
    Paragraph::new(vec![Line::from(status(state)), Line::styled(KEYS, quiet())])
}

fn status(state: &State) -> String {
    let order = state.order();
    let mut parts = Vec::new();
    parts.extend(order.is_paused.then(|| "PAUSED".to_owned()));
    if let Some(rows) = state.rows() {
        parts.push(format!("{} shown", rows.len()));
    }
    parts.extend(order.sort().map(|sort| format!("by {sort}")));
    parts.extend((!order.filter.is_empty()).then(|| format!("with {}", shown(&order.filter))));
    let unanswered = state.last().map(|look| &look.list["unanswered_shards"]);
    for shard in unanswered.and_then(Value::as_array).into_iter().flatten() {
        parts.push(format!("shard {} does not answer", cell(shard, Kind::Text)));
    }
    parts.join(", ")
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

fn quiet() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// Ten blocks, and the share in percent.
fn bar(load: Option<f64>) -> String {
    let Some(load) = load else { return UNKNOWN.to_owned() };
    let full = (load * 10.0).round() as usize;
    format!("{}{} {:>3.0}%", "█".repeat(full), "░".repeat(10 - full), load * 100.0)
}

const ASKING: &str = "asking the router";
const KEYS: &str = "1-6 view  s sort  / filter  p pause  k kick  ? help  q quit";
const HELP: &str = "1 to 6, Tab  another view\nUp, Down     select a row\ns            sort by \
    something else\n/            filter: Enter applies, Esc does not\np            pause, and go \
    on\nk            kick the selected session, after a question\nq, Ctrl-C    quit\n\nAny key \
    closes this.";
const FULL: f64 = 0.95;
