//! What a run is made of, and judged by: threads, thresholds, logs, stages and sweeps, addresses,
//! and the scenarios of patterns, parts, histories and storms.

use super::*;

#[test]
fn several_threads_verify_as_one_does() {
    let url = rawsocket(Fault::None);
    for (options, counter) in [
        ("fanout -p 3 -n 7 --in-flight 4", "events"),
        ("fanout -p 1 -n 7 --in-flight 1", "events"),
        ("fanout -p 5 -n 2 --rate 500 --acknowledge", "events"),
        ("topics --topics 10 --saturate", "events"),
        ("rpc -c 4 -k 1 --depth 3", "calls"),
        ("rpc -c 5 -k 2 --shared --rate 200", "calls"),
        ("churn -n 4 --churners 4 --stay 5 --rate 200", "events"),
        ("slow -n 6 --stalled 2 --rate 100 --allowed-growth 1000", "events"),
        ("mixed -n 5 --churners 2 --idle 10", "calls"),
        ("connect -n 30 --subscribe", "joins"),
        ("connect -n 10 --rate 200", "joins"),
    ] {
        let report = check(&url, &format!("{options} --threads 3"));
        assert!(report[counter].as_u64() > Some(0), "{options}: {report}");
        assert_eq!(report["generator"]["threads"], 3, "{options}: {report}");
        if let Some(fairness) = report["fairness"].as_object().filter(|_| counter == "events") {
            let received = &fairness["received"];
            let alike = received["min"] == received["max"] || options.starts_with("topics");
            assert!(alike, "{options}: {report}");
        }
    }
}

#[test]
fn several_threads_keep_the_plan() {
    let output = run(&format!(
        "fanout -p 5 -n 1 --rate 100 --threads 3 --url {} --duration 3s --warmup 0s --quiet \
         --json -",
        rawsocket(Fault::None)
    ));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // 300 are due, whichever thread a publisher is in; how many just miss the end is not exact.
    let publications = report["publications"].as_u64().unwrap();
    assert!((200..=400).contains(&publications), "{report}");
}

#[test]
fn several_threads_find_faults() {
    let fanout = "fanout -p 2 -n 3 --rate 1000 --threads 2";
    check_fault(Fault::Lose, fanout, "lost");
    check_fault(Fault::Double, fanout, "doubled");
    // Order is that of one publisher's events.
    check_fault(Fault::Swap, "fanout -n 3 --rate 1000 --threads 2", "reordered");
    check_fault(Fault::Garble, fanout, "damaged");
    let acknowledged = "fanout -p 2 -n 3 --rate 300 --acknowledge --threads 2";
    check_fault(Fault::KeepQuiet, acknowledged, "unacknowledged");
    check_fault(Fault::MixUpResults, "rpc -c 2 --rate 300 --threads 2", "damaged");
    let refused = run("fanout --threads 0");
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn who_is_served_worse_is_seen() {
    let options = "fanout -n 4 --rate 500";
    let fair = check(&rawsocket(Fault::None), options)["fairness"].take();
    let received = &fair["received"];
    assert!(received["min"].as_u64() > Some(0) && received["min"] == received["max"], "{fair}");
    assert_eq!((&fair["jain_index"], &fair["subscribers"]), (&1.0.into(), &4.into()), "{fair}");
    let [mean, longest] = ["mean_latency", "longest_latency"].map(|name| &fair[name]["median"]);
    assert!(mean.as_u64() > Some(0) && mean.as_u64() <= longest.as_u64(), "{fair}");
    let (code, reports) = reports(&rawsocket(Fault::Neglect), options);
    let unfair = &reports[0]["fairness"];
    assert_eq!((code, &unfair["jain_index"]), (1, &0.75.into()), "{unfair}");
    assert_eq!(unfair["received"]["min"], 0, "{unfair}");
}

#[test]
fn thresholds_fail_a_clean_run_with_a_code_of_their_own() {
    let url = rawsocket(Fault::None);
    let kept = "--fail-if p99>600s --fail-if lost>0 --fail-if fairness<0.9";
    let (code, found) = reports(&url, &format!("fanout -n 3 --rate 500 {kept}"));
    let failed = |report: &Value| -> Vec<bool> {
        let verdicts = report["thresholds"].as_array().unwrap();
        verdicts.iter().map(|verdict| verdict["failed"].as_bool().unwrap()).collect()
    };
    assert_eq!((code, failed(&found[0])), (0, vec![false; 3]), "{found:?}");
    let short = "--duration 300ms --warmup 50ms --quiet";
    let broken = format!("--fail-if p99>=1ns --fail-if lost>0 --url {url} {short}");
    let output = run(&format!("fanout -n 3 --rate 500 {broken}"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("  FAILED: --fail-if 'p99>=1ns': ") && text.contains("OK\n"), "{text}");
    assert!(text.contains("  kept: --fail-if 'lost>0': 0\n"), "{text}");
    // Where no table says it.
    let output = run(&format!("rpc -c 2 --rate 500 {broken} --fail-if event.max>1s --json -"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(6), 2), "{said}");
    assert!(said.contains("'event.max>1s': the run measured nothing of the kind"), "{said}");
    // What verification finds weighs more.
    let (code, _) = reports(&rawsocket(Fault::Double), "fanout -n 3 --rate 1000 --fail-if p99>1ns");
    assert_eq!(code, 1);
    let output = run("fanout --fail-if p99>>5ms");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("at character 5"), "{said}");
}

/// A file of this test process that is removed in the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("stentor-loadtest-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The latencies of a histogram log with a tag, over all of its intervals.
fn logged(text: &str, tag: &str) -> hdrhistogram::Histogram<u64> {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    let mut all = hdrhistogram::Histogram::<u64>::new(3).unwrap();
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        if interval.tag().unwrap().as_str() == tag {
            let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
            let one = Deserializer::new().deserialize::<u64, _>(&mut &bytes[..]).unwrap();
            all.add(one).unwrap();
        }
    }
    all
}

#[test]
fn logs_hold_what_the_report_sums_up() {
    let (hdr, csv) = (Scratch::new("log.hdr"), Scratch::new("log.csv"));
    let files = format!("--hdr {} --csv {}", hdr.0.display(), csv.0.display());
    let output = run(&format!(
        "mixed -n 5 --churners 2 --idle 2 --threads 2 --duration 2500ms --warmup 50ms --quiet \
         --json - --url {} {files}",
        rawsocket(Fault::None)
    ));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = hdr.read();
    for (tag, key) in
        [("event", "event_latency"), ("call", "call_latency"), ("join", "join_latency")]
    {
        let (found, latency) = (logged(&text, tag), &report[key]);
        assert_eq!(Some(found.len()), latency["samples"].as_u64(), "{tag}: {report}");
        let longest = latency["max"].as_u64().unwrap();
        assert!(found.max().abs_diff(longest) * 500 <= longest, "{tag}: {report}");
    }
    let table = csv.read();
    assert_eq!(table.lines().count(), 1 + 3, "one line per second: {table}");
    assert!(table.lines().nth(1).unwrap().starts_with("1,mixed,,"), "{table}");
    let nowhere = run("fanout --csv /nonexistent/file");
    let said = String::from_utf8(nowhere.stderr).unwrap();
    assert!(nowhere.status.code() == Some(2) && said.contains("cannot be written"), "{said}");
}

#[test]
fn stages_are_told_apart() {
    for options in ["fanout -p 2 -n 3", "topics --topics 4", "rpc -c 3 -k 2"] {
        let line = format!("{options} --stages 500ms@50,300ms@400 --threads 2");
        let report = check(&rawsocket(Fault::None), &line);
        let steps = report["steps"].as_array().unwrap();
        assert_eq!((steps.len(), &report["knee_rate"]), (2, &Value::Null), "{report}");
        let of = |index: usize, name: &str| steps[index][name].as_f64().unwrap();
        assert_eq!((of(0, "rate"), of(1, "rate")), (50.0, 400.0), "{report}");
        assert!(of(0, "seconds") >= 0.5 && of(1, "seconds") >= 0.3, "{report}");
        assert!(of(0, "achieved_rate") * 2.0 < of(1, "achieved_rate"), "{report}");
        let samples = |latency: &Value| latency["samples"].as_u64().unwrap();
        let all = if options.starts_with("rpc") { "call_latency" } else { "event_latency" };
        let each = steps.iter().map(|step| samples(&step["latency"]));
        // What comes while draining is of no stage.
        assert!(each.sum::<u64>() <= samples(&report[all]), "{report}");
    }
}

#[test]
fn a_sweep_ends_at_its_knee() {
    let url = rawsocket(Fault::None);
    // So little is due that all of it may be on its way.
    let good = check(&url, "fanout -n 3 --sweep 4..6x1.5 --knee-p99 600s");
    let goods: Vec<_> = good["steps"].as_array().unwrap().iter().map(|one| &one["good"]).collect();
    assert_eq!((&good["knee_rate"], goods.len()), (&6.0.into(), 2), "{good}");
    // No event takes a nanosecond, so the second rate is not tried.
    let options = "rpc -c 2 --sweep 50..200x2 --knee-p99 0s --fail-if knee<50";
    let (code, reports) = reports(&url, options);
    let report = &reports[0];
    assert_eq!((code, &report["knee_rate"]), (6, &Value::Null), "{report}");
    assert_eq!(report["steps"].as_array().unwrap().len(), 1, "{report}");
    for (options, why) in [
        ("fanout --sweep 9..5", "`9` before .. is more than `5`"),
        ("fanout --stages 5s", "expected a time and a rate with @"),
        ("fanout --stages 5s@5 --rate 5", "cannot be used with"),
        ("fanout --knee-p99 5ms", "--sweep"),
    ] {
        let output = run(options);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(why), "{options}: {said}");
    }
    for options in ["fanout -n 2 --in-flight 8 --stages 5s@5", "rpc --depth 2 --sweep 1..5"] {
        let output = run(&format!("{options} --url {url}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("are open loop"), "{said}");
    }
}

#[test]
fn clients_come_from_several_addresses_in_turn() {
    let (address, peers) = mini_router::start_noting(Fault::None);
    let url = format!("ws://{address}/ws");
    check(&url, "fanout -n 5 --rate 100 --source 127.0.0.2,127.0.0.3,127.0.0.1");
    let peers = peers.lock().unwrap().clone();
    let counts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|one| peers[&one.parse().unwrap()]);
    assert_eq!(counts, [2; 3]);
    for (options, why) in [
        (format!("--url {url} --source ::1"), "--source ::1 is no address to reach ws://"),
        (format!("--url {url} --source 192.0.2.1"), "--source 192.0.2.1: no connection can come"),
        ("--url rs+unix:///tmp/none --source 127.0.0.1".to_owned(), "is no address to reach"),
    ] {
        let output = run(&format!("connect -n 1 {options}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(why), "{options}: {said}");
    }
}

#[test]
fn patterns_bring_each_event_once() {
    let url = rawsocket(Fault::None);
    for policy in ["prefix", "wildcard"] {
        for options in ["fanout -p 2 -n 4 --rate 200", "topics --topics 12 --rate 300"] {
            let report = check(&url, &format!("{options} --match {policy}"));
            assert!(report["events"].as_u64() > Some(0), "{report}");
            let clients = report["clients"].as_str().unwrap();
            assert!(clients.ends_with(&format!(" by {policy}")), "{clients}");
        }
    }
    for (options, why) in [
        ("fanout --match regex".to_owned(), "expected exact, prefix or wildcard"),
        ("fanout --match prefix --url nats://127.0.0.1:1".to_owned(), "which --match needs"),
    ] {
        let output = run(&options);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(why), "{options}: {said}");
    }
}

#[test]
fn calls_and_results_come_in_parts() {
    let url = rawsocket(Fault::None);
    let rpc = "rpc -c 3 -k 2 --depth 2";
    for (options, words, parts) in [
        ("--progressive-results 4", ", 4 progressive results for each call", 4.0),
        ("--progressive-calls 3", ", 3 progressive invocations for each call", 0.0),
        (
            "--progressive-calls 2 --progressive-results 2 --serializer json",
            ", 2 progressive results and 2 progressive invocations for each call",
            2.0,
        ),
        (
            "--progressive-results 1 --serializer cbor --shared",
            ", 1 progressive result for each call",
            1.0,
        ),
    ] {
        let report = check(&url, &format!("{rpc} {options} --threads 2"));
        assert!(report["clients"].as_str().unwrap().contains(words), "{report}");
        assert!(report["calls"].as_u64() > Some(0), "{report}");
        if parts > 0.0 {
            assert!(figure(&report, "progressive results") > 0.0, "{report}");
        }
    }
    let refused = run("rpc --progressive-results 10001");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && said.contains("..=10000"), "{said}");
    for fault in [Fault::Lose, Fault::Double] {
        let options = format!("{rpc} --progressive-results 4");
        let (code, reports) = reports(&rawsocket(fault), &options);
        let verified = &reports[0]["verified"];
        let field = if fault == Fault::Lose { "lost" } else { "doubled" };
        assert!(code == 1 && verified[field].as_u64() > Some(0), "{fault:?}: {verified}");
    }
}

#[test]
fn retained_events_come_once_to_each_who_asks() {
    let retained = "retained -n 5 --topics 3";
    for options in [retained.to_owned(), format!("{retained} --threads 2 --serializer json")] {
        let report = check(&rawsocket(Fault::None), &options);
        assert!(report["events"].as_u64() > Some(0), "{report}");
        assert!(report["event_latency"]["p50"].as_u64() > Some(0), "{report}");
    }
    check_fault(Fault::Double, retained, "doubled");
    check_fault(Fault::Garble, retained, "damaged");
    // Who waits for what is lost asks for nothing more.
    let (code, reports) = reports(&rawsocket(Fault::Lose), retained);
    assert!(code == 1 && reports[0]["verified"]["lost"].as_u64() > Some(0), "{reports:?}");
}

#[test]
fn histories_are_read_page_by_page() {
    let history = "history -n 2 --events 250 --page 100";
    for serializer in ["json", "msgpack", "cbor"] {
        let url = rawsocket(Fault::None);
        let report = check(&url, &format!("{history} --serializer {serializer} --threads 2"));
        assert!(report["events"].as_u64() > Some(0), "{report}");
        let each = figure(&report, "events per answer");
        assert!((50.0..=100.0).contains(&each), "{report}");
    }
    check_fault(Fault::Lose, history, "lost");
    // The mini router keeps 300.
    let (code, reports) = reports(&rawsocket(Fault::None), "history -n 1 --events 310");
    assert!(code == 1 && reports[0]["verified"]["lost"].as_u64() > Some(0), "{reports:?}");
}

#[test]
fn all_come_again_after_a_storm() {
    let storm = "storm -n 20 --rounds 2 --pause 300ms --rate 300";
    for options in [storm.to_owned(), format!("{storm} --threads 3")] {
        let report = check(&rawsocket(Fault::None), &options);
        assert_eq!(figure(&report, "returns"), 40.0, "{report}");
        assert_eq!(report["return_latency"]["samples"], 40, "{report}");
        let worst = figure(&report, "all were back after, at worst");
        assert!(worst > 0.0 && worst >= figure(&report, "all were back after, median"));
        assert!(report["event_latency"]["samples"].as_u64() > Some(0), "{report}");
        assert_eq!(report["fairness"]["subscribers"], 1, "{report}");
    }
    check_fault(Fault::Double, storm, "doubled");
    // Nobody is back within no time.
    let (code, reports) = reports(&rawsocket(Fault::None), &format!("{storm} --patience 0s"));
    let failure = reports[0]["failures"][0].as_str().unwrap();
    assert!(code == 1 && failure.contains("storm 1: 0 of 20 were back after"), "{failure}");
}
