//! The program against the mini router: every scenario is clean when the router is, and every kind
//! of fault is found, counted, and turned into the exit code.

mod mini_router;
#[path = "end_to_end/plans.rs"]
mod plans;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mini_router::Fault;
use serde_json::Value;

fn run(options: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stentor-loadtest"))
        .args(options.split_ascii_whitespace())
        .output()
        .unwrap()
}

/// Runs `options` against `url`: the exit code and the reports.
fn reports(url: &str, options: &str) -> (i32, Vec<Value>) {
    let short = "--duration 300ms --warmup 50ms --quiet --json -";
    let output = run(&format!("{options} --url {url} {short}"));
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!text.is_empty(), "{options}: {errors}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (output.status.code().unwrap(), lines.collect())
}

/// `options` must be clean at `url` and have moved something; gives the report.
fn check(url: &str, options: &str) -> Value {
    let (code, mut reports) = reports(url, options);
    let report = reports.pop().unwrap();
    assert_eq!((code, &report["clean"]), (0, &true.into()), "{options} at {url}: {report}");
    report
}

fn rawsocket(fault: Fault) -> String {
    format!("rs://{}", mini_router::start(fault))
}

#[test]
fn fanout_over_both_transports_and_all_serializers() {
    let address: SocketAddr = mini_router::start(Fault::None);
    for transport in ["ws", "rs"] {
        for serializer in ["json", "msgpack", "cbor"] {
            let url = format!("{transport}://{address}");
            let options = format!("fanout -n 5 --in-flight 4 --serializer {serializer}");
            let report = check(&url, &options);
            assert!(report["events"].as_u64().unwrap() > 50, "{report}");
            assert!(report["event_latency"]["p99"].as_u64().unwrap() > 0);
        }
    }
}

#[test]
fn a_spinning_generator_counts_asking_in_vain_as_rest() {
    let report = check(&rawsocket(Fault::None), "fanout -n 3 --rate 100 --spin");
    let generator = &report["generator"];
    let share = |name: &str| generator[name].as_f64().unwrap();
    assert!(share("busy") < 0.5, "{generator}");
    // A generator that gets no core is bound by that.
    assert!(generator["client_bound"] == false || share("starved") > 0.4, "{generator}");
}

#[test]
fn long_payloads_and_mixed_subscribers() {
    let url = rawsocket(Fault::None);
    let mixed =
        "fanout -p 2 -n 6 --subscriber-serializer json,msgpack,cbor --rate 100 --acknowledge";
    let report = check(&url, mixed);
    assert_eq!(report["serializer"], "json+msgpack+cbor");
    assert!(report["acknowledge_latency"]["samples"].as_u64().unwrap() >= 10, "{report}");
    check(&url, "fanout -n 2 --in-flight 2 --payload-bytes 300000");
}

/// The value of a figure in a report.
fn figure(report: &Value, name: &str) -> f64 {
    let all = report["figures"].as_array().unwrap();
    all.iter().find(|figure| figure["name"] == name).unwrap()["value"].as_f64().unwrap()
}

#[test]
fn compressed_events_are_checked_and_inflated_once_for_all() {
    let address: SocketAddr = mini_router::start(Fault::None);
    let records = "--in-flight 4 --payload records --payload-bytes 1024";
    let plain = check(&format!("ws://{address}/deflate"), &format!("fanout -n 6 {records}"));
    assert!(figure(&plain, "bytes per event on the wire") > 1024.0, "{plain}");
    for serializer in ["json", "msgpack", "cbor"] {
        let options = format!("fanout -n 6 {records} --deflate --serializer {serializer}");
        let report = check(&format!("ws://{address}/deflate"), &options);
        assert_eq!(report["serializer"], format!("{serializer}, compressed"));
        assert!(report["events"].as_u64().unwrap() > 50, "{report}");
        let bytes = figure(&report, "bytes per event on the wire");
        assert!((100.0..400.0).contains(&bytes), "{report}");
        let checked = report["verified"]["checked"].as_f64().unwrap();
        assert_eq!(figure(&report, "different messages inflated"), checked / 6.0, "{report}");
    }
    let url = format!("ws://{address}/deflate");
    for options in ["rpc -c 3 -k 2 --depth 2", "churn -n 3 --churners 2 --stay 5 --rate 200"] {
        check(&url, &format!("{options} --payload records --payload-bytes 2048 --deflate"));
    }
}

#[test]
fn compression_has_to_be_agreed_to() {
    let address: SocketAddr = mini_router::start(Fault::None);
    for (url, why) in [
        (format!("ws://{address}/ws"), "permessage-deflate was not agreed to"),
        (format!("ws://{address}/context"), "lacks server_no_context_takeover"),
        (format!("rs://{address}"), "--deflate is for ws://"),
    ] {
        let output = run(&format!("fanout -n 2 --deflate --quiet --url {url}"));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(why), "{url}: {said}");
    }
    let output = run(&format!("hostile --deflate --url ws://{address}/deflate"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("not for hostile"), "{said}");
}

#[test]
fn one_of_several_may_be_compressed() {
    let url = format!("ws://{}/deflate", mini_router::start(Fault::None));
    let output = run(&format!(
        "compare --url {url} --url {url} --label plain --label deflate --deflate false \
         --deflate true --rounds 1 -- fanout -n 3 --in-flight 2 --payload records \
         --payload-bytes 1024 --duration 200ms --warmup 50ms"
    ));
    let text = String::from_utf8(output.stdout).unwrap();
    let bytes = |label: &str| -> f64 {
        let start = format!("  {label}: bytes per event on the wire ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    };
    assert!(bytes("plain") > 1024.0 && bytes("deflate") < 400.0, "{text}");
}

#[test]
fn the_other_scenarios_are_clean() {
    let url = rawsocket(Fault::None);
    for (options, counter) in [
        ("topics --topics 10 --saturate", "events"),
        ("topics --topics 10 --rate 200", "events"),
        ("rpc -c 4 -k 2 --depth 3", "calls"),
        ("rpc -c 4 -k 2 --shared --rate 200", "calls"),
        ("churn -n 4 --churners 4 --stay 5 --rate 200", "events"),
        ("slow -n 6 --stalled 2 --rate 100 --allowed-growth 1000", "events"),
        ("mixed -n 5 --churners 2 --idle 10", "calls"),
        ("connect -n 30", "joins"),
        ("connect -n 10 --subscribe --rate 200", "joins"),
    ] {
        let report = check(&url, options);
        assert!(report[counter].as_u64().unwrap() >= 10, "{options}: {report}");
    }
}

/// `fault` must show in `field` of the verification, and only there.
fn check_fault(fault: Fault, options: &str, field: &str) {
    let (code, reports) = reports(&rawsocket(fault), options);
    let verified = reports[0]["verified"].as_object().unwrap();
    assert_eq!(code, 1, "{fault:?}: {verified:?}");
    for (name, count) in verified {
        let expected = name == field || name == "checked";
        assert_eq!(count.as_u64().unwrap() > 0, expected, "{fault:?}, {name}: {verified:?}");
    }
}

#[test]
fn faults_are_found() {
    let fanout = "fanout -n 3 --rate 1000";
    check_fault(Fault::Lose, fanout, "lost");
    check_fault(Fault::Double, fanout, "doubled");
    check_fault(Fault::Swap, fanout, "reordered");
    check_fault(Fault::Dismiss, fanout, "errors");
    check_fault(Fault::Garble, fanout, "damaged");
    let acknowledged = "fanout -n 3 --rate 300 --acknowledge";
    check_fault(Fault::KeepQuiet, acknowledged, "unacknowledged");
    check_fault(Fault::RepeatItself, acknowledged, "doubled");
    check_fault(Fault::MixUpResults, "rpc -c 2 --rate 300", "damaged");
}

#[test]
fn an_end_that_comes_with_the_last_event_is_found() {
    let (code, reports) = reports(&rawsocket(Fault::HangUp), "fanout -n 4 --rate 1000");
    let verified = &reports[0]["verified"];
    assert_eq!((code, verified["disconnected"].as_u64() > Some(0)), (1, true), "{verified}");
}

#[test]
fn one_slow_publisher_does_not_stop_the_others() {
    let output = run(&format!(
        "fanout -p 2 -n 1 --rate 20 --payload-bytes 2000000 --url {} --duration 6s --warmup 0s \
         --quiet --json -",
        rawsocket(Fault::Ignore)
    ));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The buffers of one connection take about 4 publications; the plan of the other has 60.
    assert!(report["publications"].as_u64().unwrap() >= 15, "{report}");
}

#[test]
fn a_stalled_subscriber_may_be_dismissed() {
    let options = "slow -n 2 --stalled 2 --rate 1000 --allowed-growth 1000";
    let report = check(&rawsocket(Fault::Dismiss), options);
    let figures = report["figures"].as_array().unwrap();
    let closed = figures.iter().find(|figure| figure["name"].as_str().unwrap().contains("closed"));
    let count = closed.unwrap()["value"].as_f64().unwrap();
    assert!((1.0..=2.0).contains(&count), "each is dismissed once at most: {report}");
}

#[test]
fn a_router_process_is_accounted() {
    let url = rawsocket(Fault::None);
    let options = format!("fanout -n 5 --in-flight 4 --pid {}", std::process::id());
    let router = &check(&url, &options)["router"];
    assert!(router["cpu_ns_per_event"].as_f64().unwrap() > 0.0, "{router}");
    assert!(router["rss_end"].as_u64().unwrap() > 0);
}

/// Bounds so wide that a slow machine does not break them.
const WIDE: &str = "--settle 100ms --max-p99-ms 20000 --max-memory-mib 99999 --max-kept-mib 99999";

#[test]
fn hostile_kinds_run_one_after_the_other() {
    let options = format!("hostile --kinds bursts,storm {WIDE} --pid {}", std::process::id());
    let (code, reports) = reports(&rawsocket(Fault::None), &options);
    let labels: Vec<_> = reports.iter().map(|report| report["label"].as_str().unwrap()).collect();
    assert_eq!((code, &labels[..]), (0, &["bursts", "storm"][..]), "{reports:?}");
    for (report, name) in reports.iter().zip(["events of 1 MB", "of them joined"]) {
        assert!(figure(report, name) >= 10.0, "{report}");
        assert!(figure(report, "router memory at its highest") > 1.0, "{report}");
        assert!(report["events"].as_u64().unwrap() > 50, "{report}");
        assert!(report["call_latency"]["samples"].as_u64().unwrap() > 50, "{report}");
    }
}

#[test]
fn attacks_take_turns_with_calm_and_with_a_decoy() {
    let decoy = rawsocket(Fault::None);
    let options = format!("hostile --kinds storm --rounds 2 --decoy {decoy} {WIDE}");
    let conditions = "--fail-if ratio.event.p99<0 --fail-if calm.call.max>600s \
                      --fail-if decoy.p99>600s";
    let url = rawsocket(Fault::None);
    let (code, found) = reports(&url, &format!("{options} {conditions}"));
    let report = &found[0];
    assert_eq!((code, &report["clean"]), (0, &true.into()), "{report}");
    assert_eq!(report["turns"]["rounds"], 2);
    for part in ["calm", "decoy"] {
        for latency in ["event_latency", "call_latency", "send_lag"] {
            assert!(report["turns"][part][latency]["samples"].as_u64().unwrap() > 20, "{report}");
        }
        assert!(figure(report, &format!("p99 of events over {part}")) > 0.0, "{report}");
        assert!(figure(report, &format!("p99 of calls over {part}")) > 0.0, "{report}");
    }
    // An attack lasts a second longer than its clients do.
    assert!(figure(report, "attacked for") > 2.0, "{report}");
    assert!(figure(report, "of them joined") >= 100.0, "{report}");

    let (code, found) = reports(&url, &format!("{options} --fail-if ratio.call.p99>=0"));
    let verdict = &found[0]["thresholds"][0];
    assert_eq!((code, &verdict["failed"]), (6, &true.into()), "{verdict}");
}

#[test]
fn an_attack_on_a_decoy_has_to_be_one() {
    let options = format!("hostile --kinds storm --decoy rs://127.0.0.1:1 {WIDE}");
    let (code, found) = reports(&rawsocket(Fault::None), &options);
    let failures = found[0]["failures"].as_array().unwrap();
    let said = |failure: &Value| failure.as_str().unwrap().starts_with("at the decoy: the hostile");
    assert!(code == 1 && failures.iter().any(said), "{failures:?}");
    let refused = run("hostile --decoy-spawn stentor");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && said.contains("--decoy <URL>"), "{said}");
}

/// `kind` against a router with `fault` must fail, saying `why`.
fn check_hostile(fault: Fault, kind: &str, bounds: &str, why: &str) {
    let (code, reports) =
        reports(&rawsocket(fault), &format!("hostile --kinds {kind} --settle 10ms {bounds}"));
    let failures = reports[0]["failures"].as_array().unwrap();
    let said = |failure: &Value| failure.as_str().unwrap().contains(why);
    assert!(code == 1 && failures.iter().any(said), "{why} is not in {failures:?}");
}

#[test]
fn hostile_kinds_fail_when_a_bound_breaks() {
    check_hostile(Fault::Stall, "storm", "--max-p99-ms 250", "p99 of the victims' events is");
    let pid = std::process::id();
    let memory = format!("--max-p99-ms 20000 --max-memory-mib 1 --pid {pid}");
    check_hostile(Fault::None, "storm", &memory, "the router took");
    check_hostile(Fault::Double, "storm", "--max-p99-ms 20000", " doubled");
    let refused = run("hostile --kinds none");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("expected one of retained, patterns"), "{said}");
}

#[test]
fn compare_and_floor_interleave() {
    let (one, other) = (rawsocket(Fault::None), rawsocket(Fault::None));
    let output = run(&format!(
        "compare --url {one} --url {other} --label one --label other --rounds 2 -- \
         fanout -n 3 --in-flight 2 --duration 200ms --warmup 50ms"
    ));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("medians of 2 interleaved rounds"), "{text}");
    let page = std::env::temp_dir().join(format!("stentor-loadtest-{}.html", std::process::id()));
    let output = run(&format!(
        "fanout -n 3 --in-flight 2 --duration 200ms --warmup 50ms --url {one} --with-floor \
         --rounds 1 --html {}",
        page.display()
    ));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("floor, coalesced") && output.status.success(), "{text}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("Side by side"));
    std::fs::remove_file(&page).unwrap();
}

#[test]
fn every_floor_is_clean_and_accounted() {
    let url = rawsocket(Fault::None);
    for (options, rows) in [
        ("rpc -c 4 -k 2 --depth 3", 3),
        ("rpc -c 3 -k 2 --shared --rate 200", 3),
        ("topics --topics 10 --saturate", 2),
        ("topics --topics 10 --rate 200", 2),
        ("connect -n 20 --subscribe", 2),
    ] {
        let (code, reports) =
            reports(&url, &format!("{options} --payload-bytes 300 --with-floor --rounds 1"));
        assert_eq!((code, reports.len()), (0, rows), "{options}: {reports:?}");
        for floor in &reports[1..] {
            assert_eq!(floor["serializer"], "no protocol");
            assert_eq!(floor["clean"], true, "{options}: {floor}");
            assert!(floor["router"]["cpu_ns_per_delivery"].as_f64().unwrap() > 0.0, "{floor}");
            // The floor's messages are as long as the router's.
            let bytes = |report: &Value| report["delivery_bytes"].as_u64().unwrap();
            assert_eq!(bytes(floor), bytes(&reports[0]), "{options}");
        }
    }
    let output = run("floor --rounds 2 -- rpc -c 2 -k 1 --depth 2 --duration 100ms --warmup 0s");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("medians of 2") && output.status.success(), "{text}");
    assert_eq!(run("floor -- soak").status.code(), Some(2));
}

/// Both ends of it are this program.
#[test]
fn the_floor_encrypts_where_the_router_does() {
    for options in [
        "fanout -n 5 --in-flight 8 --payload-bytes 5000",
        "fanout -n 5 --rate 200",
        "rpc -c 4 -k 2 --depth 3",
        "connect -n 20",
    ] {
        let line = format!(
            "floor --json - -- {options} --url wss://127.0.0.1:1 --duration 200ms --warmup 50ms"
        );
        let output = run(&line);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{options}: {}", String::from_utf8_lossy(&output.stderr));
        for report in text.lines() {
            let report: Value = serde_json::from_str(report).unwrap();
            assert!(report["url"].as_str().unwrap().starts_with("floor+tls://"), "{report}");
            assert_eq!(report["clean"], true, "{report}");
        }
    }
}

#[test]
fn tls_and_logins_need_what_belongs_to_them() {
    for (options, why) in [
        ("connect --url rss://127.0.0.1:1", "needs --ca FILE"),
        ("connect --ca /nonexistent", "cannot read it"),
        ("connect --login ticket", "--authid"),
        ("connect --login kerberos --authid a --secret-file b", "expected ticket, wampcra"),
    ] {
        let output = run(options);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(why), "{options}: {said}");
    }
}

#[test]
fn smoke_is_clean_and_failures_have_their_code() {
    let output = run(&format!("smoke --url {} --duration 200ms", rawsocket(Fault::None)));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let output = run(&format!("smoke --url {} --duration 200ms", rawsocket(Fault::Double)));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(run("fanout --url rs://127.0.0.1:1 --quiet").status.code(), Some(2));
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let page = String::from_utf8(run("man").stdout).unwrap();
    assert!(page.contains(".TH stentor-loadtest 1"), "{page}");
    assert!(page.contains("6 if a run was clean and broke a threshold"), "exit codes: {page}");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("man");
    std::fs::create_dir_all(&directory).unwrap();
    let output = run(&format!("man --dir {}", directory.to_str().unwrap()));
    assert!(output.status.success(), "{output:?}");
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    assert!(read("stentor-loadtest-fanout.1").contains("in\\-flight"));
    assert!(read("stentor-loadtest-hostile.1").contains("max\\-kept\\-mib"));
    let output = run("man --dir /nowhere/at/all");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("writing the manual"), "{said}");
}
