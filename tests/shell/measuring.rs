//! `stentor ping`, `latency` and `bench`. Numbers differ from machine to machine: what is checked
//! is how many there are, and that they agree with each other.

use serde_json::Value;

use crate::shell::Router;
use crate::sockets::eventually;

fn number(object: &Value, key: &str) -> u64 {
    object[key].as_u64().unwrap_or_else(|| panic!("{key} in {object}"))
}

/// Percentiles are in order, and of so many.
#[track_caller]
fn check(object: &Value, count: Option<u64>) {
    let names = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p99_9_ns"];
    let values: Vec<_> = names.iter().map(|name| number(object, name)).collect();
    assert!(values.is_sorted() && values[0] > 0, "{object}");
    assert!(count.is_none_or(|count| number(object, "count") == count), "{object}");
}

#[test]
fn a_ping_is_a_connect_and_so_many_answers() {
    let router = Router::open();
    let done = router.run(&["ping", "--count", "3", "--interval", "0.01", "--json"]);
    let objects = done.objects();
    assert_eq!((done.code, objects.len()), (Some(0), 5), "{done:?}");
    assert!(number(&objects[0], "connect_ns") > 0 && objects[0]["session"].is_u64());
    assert_eq!(number(&objects[3], "number"), 3);
    check(&objects[4], Some(3));
    let done = router.run(&["ping", "--count", "1"]);
    let lines: Vec<_> = done.stdout.lines().collect();
    assert!(lines[0].starts_with("joined as ") && lines[2].contains("1 measured"), "{done:?}");
    let mut endless = router.background(&["ping", "--count", "0", "--interval", "0.01"]);
    endless.stdout.next_with("answer 2");
    assert_eq!(endless.interrupt(), Some(0));
    endless.stdout.next_with("measured");
}

#[test]
fn latency_is_measured_by_publishing_to_oneself() {
    let router = Router::open();
    for serializer in ["json", "cbor"] {
        let arguments = ["latency", "--count", "20", "--interval", "0.001", "--size", "1000"];
        let arguments = [&arguments[..], &["--json", "--serializer", serializer]].concat();
        let done = router.run(&arguments);
        let objects = done.objects();
        assert_eq!(done.code, Some(0), "{done:?}");
        check(objects.last().unwrap(), Some(20));
    }
    let done = router.run(&["latency", "--for", "0.3"]);
    assert!(done.code == Some(0) && done.stdout.contains("p99.9"), "{done:?}");
    assert!(done.stdout.contains('#'), "a histogram: {done:?}");
    let mut endless = router.background(&["latency", "--json"]);
    eventually("it measures", || router.server.snapshot().subscriptions == 1);
    endless.stdout.next_with("p50_ns");
    assert_eq!(endless.interrupt(), Some(0));
    endless.stdout.next_with("total");
}

#[test]
fn a_bench_counts_what_went_through() {
    let router = Router::open();
    let arguments = ["bench", "pub", "--publishers", "2", "--subscribers", "3", "--for", "0.5"];
    let done = router.run(&[&arguments[..], &["--json", "--window", "100"]].concat());
    let [object] = &*done.objects() else { panic!("{done:?}") };
    let sent = number(object, "publications");
    assert!(sent > 2 && number(object, "delivered") == 3 * sent, "{object}");
    assert_eq!(router.server.snapshot().publications, sent);
    let arguments = ["bench", "call", "--callers", "2", "--callees", "2", "--for", "0.5"];
    let done = router.run(&[&arguments[..], &["--concurrency", "4", "--json"]].concat());
    let [object] = &*done.objects() else { panic!("{done:?}") };
    check(object, None);
    assert!(object["client_cpus"].is_f64(), "{object}");
    let done = router.run(&["bench", "call", "--for", "0.2"]);
    assert!(done.stdout.contains("calls per s"), "{done:?}");
    done.says(&["closed loop", "stentor-loadtest"]);
}
