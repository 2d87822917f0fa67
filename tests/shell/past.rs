//! `stentor sub` and the event history.

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::History;

use crate::shell::Router;
use crate::sockets::{Client, Kind, address, config};

const RAW: Kind = Kind::Raw(Codec::Cbor);

/// A router that keeps so many events of `com.x`, with these events published.
fn router(keeps: usize, events: std::ops::Range<u64>) -> (Router, Client) {
    let mut config = config(2);
    let history = History { topic: "com.x".into(), events: Some(keeps), ..History::default() };
    config.realms[0].histories = vec![history];
    config.limits.history_answer_events = 7;
    let router = Router::with(&config);
    let mut publisher = Client::join(address(&router.server), RAW);
    events.for_each(|number| publisher.publish_acknowledged("com.x", &json!(number)));
    (router, publisher)
}

fn numbers(lines: &str) -> Vec<u64> {
    lines.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn the_last_ones_come_in_order_and_then_what_is_live() {
    let (router, mut publisher) = router(100, 0..50);
    // More than an answer holds: several are asked for.
    let done = router.run(&["sub", "com.x", "--last", "20", "--count", "20", "--raw"]);
    assert_eq!(
        (done.code, numbers(&done.stdout)),
        (Some(0), (30..50).collect()),
        "{}",
        done.stderr
    );
    assert_eq!(done.stderr, "");
    let mut subscriber = router.subscriber(&["com.x", "--last", "2", "--count", "4", "--raw"]);
    subscriber.stdout.next_with("49");
    (50..52).for_each(|number| publisher.publish_acknowledged("com.x", &json!(number)));
    assert_eq!(subscriber.stdout.next_with("5"), "50");
    assert_eq!(subscriber.stdout.next_with("5"), "51");
    assert_eq!(subscriber.process.exit_code(), Some(0));
}

#[test]
fn what_came_since_is_read_page_by_page() {
    let (router, _publisher) = router(100, 0..40);
    let arguments = ["sub", "com.x", "--count", "40", "--json", "--timestamps", "--since"];
    for since in ["1h", "2020-01-01T00:00:00Z"] {
        let done = router.run(&[&arguments[..], &[since]].concat());
        let objects = done.objects();
        let values: Vec<_> = objects.iter().map(|object| object["args"][0].clone()).collect();
        assert_eq!(values, (0..40).map(|number| json!(number)).collect::<Vec<_>>());
        let is_kept = |object: &serde_json::Value| {
            object["history"] == true && object["topic"] == "com.x" && object["time"].is_string()
        };
        assert!(objects.iter().all(is_kept) && done.stderr.is_empty(), "{done:?}");
    }
    let done = router.run(&["sub", "com.x", "--since", "2100-01-01T00:00:00Z", "--timeout", "0.2"]);
    done.check(0, "");
    router.run(&["sub", "com.x", "--since", "yesterday"]).check(2, "").says(&["90s, 10m, 2h, 7d"]);
    router.run(&["sub", "com.x", "--since", "1h", "--last", "1"]).check(2, "");
}

#[test]
fn a_gap_is_told() {
    let (router, _publisher) = router(5, 0..50);
    let done = router.run(&["sub", "com.x", "--since", "1h", "--count", "5", "--raw"]);
    assert_eq!(numbers(&done.stdout), (45..50).collect::<Vec<_>>());
    done.says(&["warning: com.x: events may be missing"]);
    let done = router.run(&["sub", "com.x", "--last", "9", "--count", "5", "--raw"]);
    assert_eq!(numbers(&done.stdout), (45..50).collect::<Vec<_>>());
    done.says(&["warning: com.x: events may be missing"]);
    let done = router.run(&["sub", "com.y", "--last", "9", "--timeout", "0.5"]);
    done.check(0, "").says(&["warning: com.y: events may be missing"]);
}

/// What comes while the history is read is printed once.
#[test]
fn history_and_live_events_meet_without_a_gap_or_a_double() {
    let (router, mut publisher) = router(10_000, 0..1);
    for round in 0..5_u64 {
        let first = 1 + round * 200;
        let arguments = ["sub", "com.x", "--since", "1h", "--raw", "--count"];
        let count = (first + 200).to_string();
        let subscriber = router.background(&[&arguments[..], &[&count]].concat());
        for number in first..first + 200 {
            publisher.publish_acknowledged("com.x", &json!(number));
        }
        for number in 0..first + 200 {
            assert_eq!(subscriber.stdout.next_with(""), number.to_string());
        }
    }
}
