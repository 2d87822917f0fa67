//! Draws what `stentor top` knows.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Clear, Paragraph, Row, Table, TableState, Wrap};
use serde_json::Value;

use super::state::{Failure, Mode, State};
use super::text::{UNKNOWN, byte_rate, bytes, cell, number, short, shown, span};
use super::view::{Column, Kind, SHARDS, View, fitting};

/// Notes in `state` how many rows fit.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, now: Instant) {
    let heights = [1, 1].map(Constraint::Length).into_iter();
    let heights = heights.chain([Constraint::Fill(1), Constraint::Length(2)]);
    let [head, tabs, body, foot] = Layout::vertical(heights).areas(frame.area());
    frame.render_widget(title(state), head);
    frame.render_widget(views(state, tabs.width), tabs);
    match (&state.mode, state.order().view) {
        // All of it, also where there is little room.
        (Mode::Helping, _) => {
            let all = tabs.union(body).union(foot);
            frame.render_widget(Clear, all);
            return frame.render_widget(Paragraph::new(HELP), all);
        }
        _ if state.refusal().is_some() => draw_refusal(frame, body, state),
        (_, View::Overview) => draw_overview(frame, body, state),
        (_, view) => draw_list(frame, body, state, view),
    }
    frame.render_widget(foot_of(state, now), foot);
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

/// Where there is little room, only the view that is shown has its name.
fn views(state: &State, width: u16) -> Line<'static> {
    let wanted = state.order().view;
    let is_wide = width >= WIDTH_OF_NAMES;
    let spans = View::ALL.iter().zip(1..).flat_map(|(view, number)| {
        let style = match *view == wanted {
            true => Style::new().add_modifier(Modifier::REVERSED),
            false => quiet(),
        };
        let text = match is_wide || *view == wanted {
            true => format!(" {number} {} ", view.name()),
            false => format!(" {number} "),
        };
        [Span::styled(text, style), Span::raw(" ")]
    });
    Line::from(spans.collect::<Vec<_>>())
}

/// What was refused and what helps, in place of what cannot be shown.
fn draw_refusal(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let lines = state.refusal().into_iter().flat_map(reason).collect();
    frame.render_widget(wrapped(lines).style(alarm()), area);
}

fn draw_overview(frame: &mut Frame<'_>, area: Rect, state: &mut State) {
    let lines = area.height.saturating_sub(LINES_OF_SHARDS).min(6);
    let [figures, shards] =
        Layout::vertical([Constraint::Length(lines), Constraint::Fill(1)]).areas(area);
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
    draw_shards(frame, shards, state);
}

fn draw_shards(frame: &mut Frame<'_>, area: Rect, state: &mut State) {
    state.fitting = rows_in(area);
    state.first = state.first.min(state.shards().saturating_sub(state.fitting));
    let state = &*state;
    let shards = state.last().and_then(|look| look.shards.as_array());
    let shards = shards.map_or(&[][..], Vec::as_slice).iter().enumerate();
    let columns = fitting(SHARDS, area.width);
    let rows = shards.skip(state.first).take(state.fitting).map(|(at, shard)| {
        let (load, silent) = (state.load(at), shard["unanswered_seconds"].as_f64());
        let is_full = load > Some(FULL) || silent > Some(1.0);
        let style = if is_full { Style::new().fg(Color::Red) } else { Style::new() };
        let silent = silent.map_or_else(|| UNKNOWN.to_owned(), |seconds| format!("{seconds:.1}"));
        let cells = [
            cell(&shard["shard"], Kind::Text),
            bar(load),
            number(&shard["gauges"]["sessions"]),
            bytes(&shard["queued_bytes"]),
            bytes(&shard["gauges"]["output_bytes"]),
            silent,
        ];
        let cells = cells.into_iter().zip(columns);
        Row::new(cells.map(|(text, (_, _, kind, _))| put(text, *kind))).style(style)
    });
    let table = Table::new(rows, widths(columns)).header(heads(columns));
    frame.render_widget(table, area);
}

/// How many rows fit below the heads.
fn rows_in(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(1))
}

fn heads(columns: &[Column]) -> Row<'static> {
    let heads = columns.iter().map(|(head, _, kind, _)| put((*head).to_owned(), *kind));
    Row::new(heads).style(quiet())
}

fn widths(columns: &[Column]) -> impl Iterator<Item = Constraint> {
    columns.iter().map(|(.., width)| match width {
        0 => Constraint::Fill(1),
        _ => Constraint::Length(*width),
    })
}

fn put(text: String, kind: Kind) -> Cell<'static> {
    if kind == Kind::Text { Cell::from(text) } else { right(text) }
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, state: &mut State, view: View) {
    state.fitting = rows_in(area);
    let Some(rows) = state.rows() else {
        return frame.render_widget(Paragraph::new(ASKING), area);
    };
    let columns = fitting(view.columns(), area.width);
    let lines = rows.iter().map(|row| {
        Row::new(columns.iter().map(|(_, key, kind, _)| put(cell(&row[*key], *kind), *kind)))
    });
    let table = Table::new(lines, widths(columns))
        .header(heads(columns))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = (!rows.is_empty()).then_some(state.selected);
    // No empty lines below the last row, when there were more before.
    let first = state.first.min(rows.len().saturating_sub(state.fitting));
    let mut shown = TableState::new().with_selected(selected).with_offset(first);
    frame.render_stateful_widget(table, area, &mut shown);
    state.first = shown.offset();
}

/// Two lines: what is wrong, asked or shown, and the keys.
fn foot_of(state: &State, now: Instant) -> Paragraph<'static> {
    if let Mode::Confirming(kick) = &state.mode {
        let of = environment(state).map_or_else(String::new, |name| format!("{name}, "));
        let (session, authid, at) = (kick.session, &kick.authid, shown(&state.admin));
        let text = format!("Kick session {session} of {of}{at}? y: yes ({authid})");
        return wrapped(vec![text]).style(alarm());
    }
    if let Mode::Filtering(text) = &state.mode {
        return wrapped(vec![format!("filter: {}_", shown(text))]);
    }
    if let Some(notice) = &state.notice {
        return wrapped(reason(notice).collect());
    }
    let ago = |since: Instant| span(now.saturating_duration_since(since).as_secs());
    match (state.failure(), state.overdue(now)) {
        (Some((since, Failure::Silent(why))), _) => {
            let why = reason(why).next().unwrap_or_default();
            return wrapped(vec![format!("silent for {}: {why}", ago(*since))]).style(alarm());
        }
        (None, Some(since)) => {
            return wrapped(vec![format!("silent for {}", ago(since))]).style(alarm());
        }
        _ => {}
    }
    Paragraph::new(vec![Line::from(status(state)), Line::styled(KEYS, quiet())])
}

fn wrapped(lines: Vec<String>) -> Paragraph<'static> {
    let lines: Vec<_> = lines.into_iter().map(Line::from).collect();
    Paragraph::new(lines).wrap(Wrap { trim: false })
}

/// The lines of an error, without the words that introduce them.
fn reason(why: &str) -> impl Iterator<Item = String> {
    why.lines().map(|line| {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        shown(line.strip_prefix("  = help: ").unwrap_or(line))
    })
}

fn status(state: &State) -> String {
    let order = state.order();
    if state.refusal().is_some() {
        return "refused".to_owned();
    }
    let mut parts = Vec::new();
    parts.extend(order.is_paused.then(|| "PAUSED".to_owned()));
    if let Some(rows) = state.rows() {
        parts.push(format!("{} shown", rows.len()));
    }
    let (first, last) = (state.first + 1, state.first + state.fitting);
    if order.view == View::Overview && (first > 1 || last < state.shards()) {
        parts.push(format!("shards {first} to {last} of {}", state.shards()));
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

fn alarm() -> Style {
    Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
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
const KEYS: &str = "q quit  ? help  1-6 view  s sort  / filter  p pause  k kick";
const HELP: &str = "\
1 to 6, Tab  another view
Up, Down     select a row, or scroll
PgUp, PgDn   by a screen; Home, End: all the way
s            sort by something else
/            filter: Enter applies, Esc does not
p            pause, and go on
k            kick the selected session, after a question
q, Ctrl-C    quit
Any key closes this.";
/// The heads of the shards and some of them, also where there is little room.
const LINES_OF_SHARDS: u16 = 4;
const WIDTH_OF_NAMES: u16 = 70;
const FULL: f64 = 0.95;
