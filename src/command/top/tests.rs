//! What stands on the screen, and what keys do.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use serde_json::{Value, json};

use super::ask::{Answer, next_wait};
use super::draw::draw;
use super::now;
use super::state::{Effect, Failure, Look, State};

fn look(state: &State, taken: Instant, events: u64, list: Value) -> Answer {
    let router = json!({
        "version": "1.2.3", "uptime_seconds": 3_725,
        "environment": { "name": "pro\u{202e}duction", "color": "#b3261e" },
        "process": { "resident_bytes": 64 << 20 },
        "gauges": { "sessions": 12_345, "connections": 12_400, "output_bytes": 1_536 },
        "totals": { "events_delivered": events },
    });
    let shards = json!([{ "shard": 0, "busy_seconds": events as f64 / 12_000.0 }]);
    seen(state, taken, router, shards, list)
}

fn seen(state: &State, taken: Instant, router: Value, shards: Value, list: Value) -> Answer {
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
    press_key(state, KeyCode::Char(letter))
}

fn press_key(state: &mut State, key: KeyCode) -> Effect {
    state.press(KeyEvent::from(key))
}

fn screen(state: &mut State, width: u16, height: u16) -> Vec<String> {
    screen_at(state, width, height, now())
}

fn screen_at(state: &mut State, width: u16, height: u16, now: Instant) -> Vec<String> {
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
    check(&screen(&mut state, 80, 24), &["asking the router", "q quit"]);
    for (seconds, events) in [(0, 1_000), (2, 25_000)] {
        state.hear(look(&state, start + Duration::from_secs(seconds), events, Value::Null), start);
    }
    let wanted = [
        " pro\u{fffd}duction  Stentor 1.2.3, up for 1:02:05, unix:/run/a.sock",
        "12,345 sessions, 12,400 connections",
        "per second: 12 k events out, – publications",
        "██████████ 100%",
    ];
    check(&screen(&mut state, 80, 24), &wanted);
    state.hear(look(&state, start + Duration::from_secs(3), 5, Value::Null), start);
    assert_eq!((state.rate("events_delivered"), state.load(0)), (None, None));
}

#[test]
fn names_of_clients_break_no_column_and_no_size_panics() {
    let mut state = State::new("x");
    assert_eq!(press(&mut state, '2'), Effect::Order);
    state.hear(look(&state, now(), 1, sessions()), now());
    let seen = screen(&mut state, 80, 24);
    let wanted = ["1234567890123456 joe", "<b>\u{fffd}[2J\u{fffd}x", "shard 1 does not answer"];
    check(&seen, &wanted);
    assert_eq!(seen.iter().filter(|line| line.ends_with(" 0:01:01")).count(), 3, "{seen:#?}");
    for view in '1'..='6' {
        press(&mut state, view);
        for list in [Value::Null, json!({}), json!({ "sessions": [], "topics": [{}] })] {
            state.hear(look(&state, now(), 1, list), now());
            for (width, height) in [(1, 1), (20, 5), (500, 100)] {
                screen(&mut state, width, height);
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
    check(&screen(&mut state, 40, 24), &["too narrow"]);
    assert_eq!(press(&mut state, 'y'), Effect::Nothing, "nothing was asked");
    state.columns = 80;
    press(&mut state, 'k');
    state.hear(look(&state, now(), 1, json!({ "sessions": [] })), now());
    let question = "Kick session 1234567890123456 of pro\u{fffd}duction, http://router?";
    check(&screen(&mut state, 80, 24), &[question]);
    assert!(matches!(press(&mut state, 'y'), Effect::Kick(kick) if kick.authid == "joe"));
    assert_eq!(press(&mut state, 'k'), Effect::Nothing, "no session is left to select");
    assert_eq!(press(&mut state, 'y'), Effect::Nothing);
}

#[test]
fn a_router_that_is_gone_is_asked_less_often() {
    let (start, mut state) = (now(), State::new("x"));
    state.hear(look(&state, start, 1, Value::Null), start);
    for seconds in [0, 60] {
        let failed = Answer::Failed(Failure::Silent("error: no way\nhelp".into()));
        state.hear(failed, start + Duration::from_secs(seconds));
    }
    check(
        &screen_at(&mut state, 80, 24, start + Duration::from_secs(90)),
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

/// A router with so many shards, all alike.
fn many_shards(state: &State, count: u64, uptime: u64) -> Answer {
    let shards: Vec<_> = (0..count).map(|shard| json!({ "shard": shard })).collect();
    let router = json!({ "uptime_seconds": uptime, "gauges": {}, "totals": {} });
    seen(state, now(), router, shards.into(), Value::Null)
}

/// The first and the last shard that stand on a screen of 80 columns.
fn shards_on(state: &mut State, height: u16) -> (String, String) {
    let screen = screen(state, 80, height);
    let head = screen.iter().position(|line| line.starts_with("SHARD")).expect("there are some");
    let foot = screen.len() - 2;
    let number = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let rows = screen[head + 1..foot].iter().filter(|line| !line.is_empty());
    let rows: Vec<_> = rows.map(number).collect();
    (rows[0].clone(), rows[rows.len() - 1].clone())
}

#[test]
fn every_shard_of_many_can_be_seen() {
    let mut state = State::new("x");
    state.hear(many_shards(&state, 62, 1), now());
    let pages = [
        (KeyCode::Up, "0", "12"),
        (KeyCode::Down, "1", "13"),
        (KeyCode::PageDown, "13", "25"),
        (KeyCode::End, "49", "61"),
        (KeyCode::Down, "49", "61"),
        (KeyCode::PageUp, "37", "49"),
        (KeyCode::Home, "0", "12"),
        (KeyCode::End, "49", "61"),
    ];
    assert_eq!(shards_on(&mut state, 24), ("0".into(), "12".into()));
    for (key, first, last) in pages {
        press_key(&mut state, key);
        assert_eq!(shards_on(&mut state, 24), (first.into(), last.into()), "{key:?}");
    }
    check(&screen(&mut state, 80, 24), &["shards 50 to 62 of 62"]);
    assert_eq!(shards_on(&mut state, 10), ("49".into(), "51".into()));
    assert_eq!(shards_on(&mut state, 200), ("0".into(), "61".into()));
    let all = screen(&mut state, 80, 200);
    assert!(!all.iter().any(|line| line.contains(" of 62")), "{all:#?}");
    press_key(&mut state, KeyCode::End);
    state.hear(many_shards(&state, 2, 1), now());
    assert_eq!(shards_on(&mut state, 24), ("0".into(), "1".into()));
}

/// What is selected is on the screen, and the screen stands still while it need not move.
#[test]
fn a_long_list_moves_with_what_is_selected() {
    let mut state = State::new("x");
    press(&mut state, '2');
    let session = |session: u64| json!({ "session": session, "realm": "realm1" });
    let list = |count| json!({ "sessions": (0..count).map(session).collect::<Vec<_>>() });
    state.hear(look(&state, now(), 1, list(100)), now());
    let top = |state: &mut State| screen(state, 80, 24)[3].split(' ').next().unwrap().to_owned();
    let moves = [
        (KeyCode::PageDown, "0"),
        (KeyCode::Down, "1"),
        (KeyCode::Down, "2"),
        (KeyCode::Up, "2"),
        (KeyCode::End, "81"),
        (KeyCode::Up, "81"),
        (KeyCode::PageUp, "80"),
        (KeyCode::Home, "0"),
        (KeyCode::End, "81"),
    ];
    assert_eq!(top(&mut state), "0");
    for (key, first) in moves {
        press_key(&mut state, key);
        assert_eq!(top(&mut state), first, "{key:?}");
    }
    press(&mut state, 'k');
    check(&screen(&mut state, 80, 24), &["Kick session 99 "]);
    state.hear(look(&state, now(), 1, list(30)), now());
    assert_eq!(top(&mut state), "11");
    state.hear(look(&state, now(), 1, list(3)), now());
    assert_eq!((top(&mut state), state.selected), ("0".to_owned(), 2));
}

/// Whoever is refused is told what and why, and not that the router is silent.
#[test]
fn what_is_refused_is_shown_with_what_helps() {
    let (start, mut state) = (now(), State::new("x"));
    let why = "error: this needs the header `Authorization`\n  = help: --token-file names the file";
    for view in ['1', '2'] {
        press(&mut state, view);
        state.hear(look(&state, start, 1, sessions()), start);
        state.hear(Answer::Failed(Failure::Refused(why.to_owned())), start);
        let later = start + Duration::from_secs(90);
        for (width, height) in [(80, 24), (40, 10)] {
            let screen = screen_at(&mut state, width, height, later);
            check(&screen, &["needs the header", "--token-file names", "q quit"]);
            assert!(!screen.concat().contains("silent"), "{screen:#?}");
        }
        state.hear(look(&state, start, 1, sessions()), start);
        assert!(!screen(&mut state, 80, 24).concat().contains("Authorization"));
    }
    state.hear(Answer::Kicked(Err(why.to_owned())), start);
    check(&screen(&mut state, 80, 24), &["this needs the header", "--token-file names the file"]);
}

#[test]
fn a_small_terminal_shows_less_and_no_nonsense() {
    let mut state = State::new("x");
    state.hear(many_shards(&state, 62, 1), now());
    check(&screen(&mut state, 40, 10), &[" 1 Overview   2   3 ", "SHARD LOAD", "2     ", "q quit"]);
    press(&mut state, '2');
    state.hear(look(&state, now(), 1, sessions()), now());
    let list = screen(&mut state, 40, 10);
    check(&list, &["SESSION          AUTHID", "1234567890123456 joe", "PENDING"]);
    assert!(!list.concat().contains("REFUSED"), "{list:#?}");
    press(&mut state, '?');
    check(&screen(&mut state, 40, 10), &["PgUp, PgDn", "q, Ctrl-C    quit", "Any key closes"]);
}

/// It may have been suspended, or be stuck; the question is under way for 40 s then.
#[test]
fn a_router_that_does_not_answer_in_time_is_silent() {
    let (start, mut state) = (now(), State::new("x"));
    let after = |seconds| start + Duration::from_secs(seconds);
    state.note_asked(start);
    check(&screen_at(&mut state, 80, 24, after(7)), &["silent for 0:00:07"]);
    state.hear(look(&state, start, 1, Value::Null), start);
    let on_time = screen_at(&mut state, 80, 24, after(4));
    assert!(!on_time.concat().contains("silent"), "{on_time:#?}");
    check(&screen_at(&mut state, 80, 24, after(6)), &["silent for 0:00:06"]);
    press(&mut state, 'p');
    check(&screen_at(&mut state, 80, 24, after(600)), &["PAUSED"]);
    press(&mut state, 'p');
    state.note_asked(after(600));
    let resumed = screen_at(&mut state, 80, 24, after(601));
    assert!(!resumed.concat().contains("silent"), "{resumed:#?}");
}

/// Its totals may be greater all the same.
#[test]
fn a_restarted_router_is_not_compared_with_what_it_was() {
    let (start, mut state) = (now(), State::new("x"));
    for (second, uptime, events) in [(0, 50, 100), (1, 51, 200), (2, 0, 900), (3, 1, 1_000)] {
        let router = json!({ "uptime_seconds": uptime, "totals": { "events_delivered": events } });
        let taken = start + Duration::from_secs(second);
        state.hear(seen(&state, taken, router, json!([]), Value::Null), taken);
        let expected = (uptime % 50 == 1).then_some(100.0);
        assert_eq!(state.rate("events_delivered"), expected, "after {second} s");
    }
}
