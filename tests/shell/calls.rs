//! `stentor call`.

use serde_json::json;
use stentor::codec::Codec;

use crate::shell::{Router, command, run};
use crate::sockets::{Client, Kind, address};

const RAW: Kind = Kind::Raw(Codec::Json);

/// A callee that can be interrupted, and knows progressive results.
fn capable(router: &Router) -> Client {
    let mut callee = Client::open(address(&router.server), RAW);
    let features = json!({"call_canceling": true, "progressive_call_results": true});
    callee.send(&json!([1, "realm1", {"roles": {"callee": {"features": features}}}]));
    callee.welcomed();
    callee
}

#[test]
fn values_are_typed_in_every_serializer() {
    let router = Router::open();
    let mut callee = Client::join(address(&router.server), RAW);
    callee.register("com.echo");
    for serializer in ["json", "msgpack", "cbor"] {
        let arguments = [
            "call",
            "com.echo",
            "5",
            "\"5\"",
            "true",
            "null",
            "1.5",
            "[1,\"a\"]",
            "{\"b\":{}}",
            "text",
            "18446744073709551615",
            "-5",
            "007",
            "--serializer",
            serializer,
        ];
        let call = router.background(&arguments);
        callee.echo();
        let line = call.stdout.next_with("007");
        let words = "5 \"5\" true null 1.5 [1,\"a\"] {\"b\":{}} \"text\" 18446744073709551615 -5 \
                     \"007\"";
        assert_eq!(line, words, "{serializer}");
    }
}

#[test]
fn a_result_is_printed_for_people_as_json_or_bare() {
    let router = Router::open();
    let _callee =
        router.callee(&["com.x", "--exec", "echo '{\"args\":[1,\"a\"],\"kwargs\":{\"k\":null}}'"]);
    let _text = router.callee(&["com.text", "--result", "two words"]);
    router.run(&["call", "com.x"]).check(0, "1 \"a\" k=null\n");
    let done = router.run(&["call", "com.x", "--json"]);
    done.check(0, "{\"args\":[1,\"a\"],\"kwargs\":{\"k\":null}}\n");
    let done = router.run(&["call", "com.x", "--raw"]);
    done.check(0, "{\"args\":[1,\"a\"],\"kwargs\":{\"k\":null}}\n");
    router.run(&["call", "com.text", "--raw"]).check(0, "two words\n");
    router.run(&["call", "com.text"]).check(0, "\"two words\"\n");
    let done = router.run(&["call", "com.text", "--json", "--timestamps"]);
    let [object] = &*done.objects() else { panic!("{done:?}") };
    assert!(object["time"].as_str().unwrap().ends_with('Z'), "{object}");
}

#[test]
fn arguments_come_from_files_and_standard_input_and_by_name() {
    let router = Router::open();
    let _callee = router.callee(&["com.cat", "--exec", "cat"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("value.json");
    std::fs::write(&file, "{\"a\": [1, 2]}\n").unwrap();
    let at = format!("@{}", file.display());
    let arguments = ["call", "com.cat", &at, "-", "-k", "name=5", "--kwarg", "other=x", "--raw"];
    let done = router.run_with(&arguments, b"from input\n");
    let result = json!({"procedure": "com.cat", "args": [{"a": [1, 2]}, "from input\n"],
        "kwargs": {"name": 5, "other": "x"}});
    let echoed: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((done.code, echoed), (Some(0), result));
}

#[test]
fn each_end_of_a_call_has_its_exit_code() {
    let router = Router::open();
    router.run(&["call", "com.none"]).check(1, "").says(&["wamp.error.no_such_procedure"]);
    router.run(&["pub", "stentor.x"]).check(1, "").says(&["wamp.error.invalid_uri"]);
    router.run(&["call", "com..none"]).check(2, "").says(&["no URI that can be called"]);
    router.run(&["call"]).check(2, "").says(&["<PROCEDURE>"]);
    router.run(&["call", "com.x", "{a: 1}"]).check(2, "").says(&["begins and ends as JSON"]);
    router.run(&["call", "com.x", "-k", "a"]).check(2, "").says(&["no `=`"]);
    router.run(&["call", "com.x", "@no/such"]).check(2, "").says(&["no/such"]);
    router.run(&["call", "com.x", "--url", "http://x"]).check(2, "").says(&["scheme"]);
    // Nobody listens on the discard port of this machine.
    let nowhere = ["call", "com.x", "--url", "ws://127.0.0.1:9/ws"];
    run(&mut command(&nowhere)).check(3, "").says(&["127.0.0.1:9"]);
    let done = router.run(&["call", "com.x", "--realm", "nowhere"]);
    done.check(5, "").says(&["wamp.error.no_such_realm"]);
}

#[test]
fn a_callee_that_never_answers_ends_by_time_or_by_interrupt() {
    let router = Router::open();
    let mut callee = capable(&router);
    callee.register("com.never");
    let done = router.run(&["call", "com.never", "--timeout", "0.2"]);
    done.check(4, "").says(&["in time"]);
    let invocation = callee.expect(68);
    assert_eq!(callee.expect(69)[1], invocation[1], "the callee is interrupted");
    callee.send(&json!([8, 68, invocation[1], {}, "wamp.error.canceled"]));

    for (mode, kills) in [("kill", true), ("killnowait", true), ("skip", false)] {
        let mut call = router.background(&["call", "com.never", "--cancel", mode]);
        let invocation = callee.expect(68);
        call.process.signal("INT");
        if kills {
            assert_eq!(callee.expect(69)[1], invocation[1], "{mode}");
        }
        assert_eq!(call.process.exit_code(), Some(130), "{mode}");
        callee.send(&json!([8, 68, invocation[1], {}, "wamp.error.canceled"]));
    }
}

#[test]
fn progressive_results_are_printed_as_they_come() {
    let router = Router::open();
    let mut callee = capable(&router);
    callee.register("com.slow");
    let call = router.background(&["call", "com.slow", "--progress", "--json"]);
    let invocation = callee.expect(68);
    assert_eq!(invocation[3]["receive_progress"], true);
    callee.send(&json!([70, invocation[1], {"progress": true}, [1]]));
    // It is there before the call is over.
    let line = call.stdout.next_with("[1]");
    assert_eq!(line, "{\"progress\":true,\"args\":[1],\"kwargs\":{}}");
    callee.send(&json!([70, invocation[1], {}, [2]]));
    assert_eq!(call.stdout.next_with("[2]"), "{\"args\":[2],\"kwargs\":{}}");
}

#[test]
fn calls_are_repeated_in_parallel() {
    let router = Router::open();
    let mut callee = Client::join(address(&router.server), RAW);
    callee.register("com.many");
    let arguments = ["call", "com.many", "7", "--repeat", "4", "--parallel", "2"];
    let call = router.background(&[&arguments[..], &["--concurrency", "3", "--raw"]].concat());
    // Six are under way at the same time: none is answered before all are here.
    let first: Vec<_> = (0..6).map(|_| callee.expect(68)).collect();
    for invocation in &first {
        callee.send(&json!([70, invocation[1], {}, [7]]));
    }
    for _ in 0..2 {
        callee.echo();
    }
    for _ in 0..8 {
        call.stdout.next_with("7");
    }
    let refused = router.run(&["call", "com.none", "--repeat", "3"]);
    refused.check(1, "").says(&["no_such_procedure", "2 more calls have failed"]);
}

#[test]
fn options_go_with_the_call() {
    let router = Router::open();
    let mut callee = Client::join(address(&router.server), RAW);
    callee.register("com.x");
    let arguments = ["call", "com.x", "-o", "disclose_me=true", "-o", "timeout=5000"];
    let call = router.background(&arguments);
    let invocation = callee.expect(68);
    assert!(invocation[3]["caller"].is_u64(), "{invocation}");
    callee.send(&json!([8, 68, invocation[1], {}, "com.failed", ["why", 5], {"k": 1}]));
    let line = call.stderr.next_with("com.failed");
    assert_eq!(line, "error: com.failed: \"why\" 5 k=1");
}
