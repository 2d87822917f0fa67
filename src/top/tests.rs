//! What stands on the screen, and what keys do.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use serde_json::{Value, json};

use super::ask::{Answer, next_wait};
use super::draw::draw;
use super::now;
use super::state::{Effect, Look, State};

fn look(state: &State, taken: Instant, events: u64, list: Value) -> Answer {
    let router = json!({
        "version": "1.2.3", "uptime_seconds": 3_725,
        "environment": { "name": "pro\u{202e}duction", "color": "#b3261e" },
        "process": { "resident_bytes": 64 << 20 },
        "gauges": { "sessions": 12_345, "connections": 12_400, "output_bytes": 1_536 },
        "totals": { "events_delivered": events },
    });
    let shards = json!([{ "shard": 0, "busy_seconds": events as f64 / 12_000.0 }]);
    Answer::Seen(Box::new(Look { order: state.order(), router, shards, list, taken }))
}

fn sessions() -> Value {
    let names = ["joe", "<b>\u{1b}[2J\u{202e}x", &"界".repeat(100_000)];
    let session = |authid: &str| {
        json!({ "session": 1_234_567_890_123_456_u64, "authid": authid, "realm": "realm1",
            "pending_bytes": 5_242_880, "age_ms": 61_000 })
    };
    json!({ "sessions": names.map(session), "unanswered_shards": [1] })
}

fn press(state: &mut State, letter: char) -> Effect {
    state.press(KeyEvent::from(KeyCode::Char(letter)))
}

fn screen(state: &State, width: u16, height: u16) -> Vec<String> {
    screen_at(state, width, height, now())
}

fn screen_at(state: &State, width: u16, height: u16, now: Instant) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, now)).unwrap();
    let cells: Vec<_> =
        terminal.backend().buffer().content().iter().map(|it| it.symbol()).collect();
    cells.chunks(usize::from(width)).map(|line| line.concat().trim_end().to_owned()).collect()
}

#[track_caller]
fn check(screen: &[String], wanted: &[&str]) {
    for wanted in wanted {
        assert!(screen.iter().any(|line| line.contains(wanted)), "{wanted} in {screen:#?}");
    }
}

#[test]
fn the_overview_has_rates_and_a_restarted_router_has_none_at_first() {
    let (start, mut state) = (now(), State::new("unix:/run/a.sock"));
    check(&screen(&state, 80, 24), &["asking the router", "q quit"]);
    for (seconds, events) in [(0, 1_000), (2, 25_000)] {
        state.hear(look(&state, start + Duration::from_secs(seconds), events, Value::Null), start);
    }
    let wanted = [
        " pro\u{fffd}duction  Stentor 1.2.3, up for 1:02:05, unix:/run/a.sock",
        "12,345 sessions, 12,400 connections",
        "per second: 12 k events out, – publications",
        "██████████ 100%",
    ];
    check(&screen(&state, 80, 24), &wanted);
    state.hear(look(&state, start + Duration::from_secs(3), 5, Value::Null), start);
    assert_eq!((state.rate("events_delivered"), state.load(0)), (None, None));
}

#[test]
fn names_of_clients_break_no_column_and_no_size_panics() {
    let mut state = State::new("x");
    assert_eq!(press(&mut state, '2'), Effect::Order);
    state.hear(look(&state, now(), 1, sessions()), now());
    let seen = screen(&state, 80, 24);
    let wanted = ["1234567890123456 joe", "<b>\u{fffd}[2J\u{fffd}x", "shard 1 does not answer"];
    check(&seen, &wanted);
    assert_eq!(seen.iter().filter(|line| line.ends_with(" 0:01:01")).count(), 3, "{seen:#?}");
    for view in '1'..='6' {
        press(&mut state, view);
        for list in [Value::Null, json!({}), json!({ "sessions": [], "topics": [{}] })] {
            state.hear(look(&state, now(), 1, list), now());
            for (width, height) in [(1, 1), (20, 5), (500, 100)] {
                screen(&state, width, height);
            }
        }
    }
}

#[test]
fn a_kick_is_confirmed_and_is_of_the_session_that_was_shown() {
    let mut state = State::new("http://router");
    press(&mut state, '2');
    state.hear(look(&state, now(), 1, sessions()), now());
    state.columns = 40;
    press(&mut state, 'k');
    check(&screen(&state, 40, 24), &["too narrow"]);
    assert_eq!(press(&mut state, 'y'), Effect::Nothing, "nothing was asked");
    state.columns = 80;
    press(&mut state, 'k');
    state.hear(look(&state, now(), 1, json!({ "sessions": [] })), now());
    let question = "Kick session 1234567890123456 of pro\u{fffd}duction, http://router?";
    check(&screen(&state, 80, 24), &[question]);
    assert!(matches!(press(&mut state, 'y'), Effect::Kick(kick) if kick.authid == "joe"));
    assert_eq!(press(&mut state, 'k'), Effect::Nothing, "no session is left to select");
    assert_eq!(press(&mut state, 'y'), Effect::Nothing);
}

#[test]
fn a_router_that_is_gone_is_asked_less_often() {
    let (start, mut state) = (now(), State::new("x"));
    state.hear(look(&state, start, 1, Value::Null), start);
    for seconds in [0, 60] {
        let failed = Answer::Failed("error: no way\nhelp".into());
        state.hear(failed, start + Duration::from_secs(seconds));
    }
    check(
        &screen_at(&state, 80, 24, start + Duration::from_secs(90)),
        &["silent for 0:01:30: no way", "12,345 sessions"],
    );
    let waits = (0..7).scan(Duration::from_secs(1), |wait, _| {
        *wait = next_wait(*wait, false);
        Some(wait.as_secs())
    });
    assert_eq!(waits.collect::<Vec<_>>(), [2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(next_wait(Duration::from_secs(30), true), Duration::from_secs(1));
    state.hear(look(&state, start, 1, Value::Null), start);
    assert!(state.failure().is_none());
}
