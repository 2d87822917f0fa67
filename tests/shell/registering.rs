//! `stentor register`.

use std::time::Duration;

use serde_json::json;
use stentor::codec::Codec;

use crate::shell::Router;
use crate::sockets::{Client, Kind, address, eventually};

const RAW: Kind = Kind::Raw(Codec::Json);

#[test]
fn a_constant_answers_as_often_as_it_is_told() {
    let router = Router::open();
    let mut callee = router.callee(&["com.x", "--result", "[1, {}]", "--count", "2", "--json"]);
    router.run(&["call", "com.x", "first", "--raw"]).check(0, "[1,{}]\n");
    let line = callee.stdout.next_with("first");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&object["procedure"], &object["args"]), (&json!("com.x"), &json!(["first"])));
    router.run(&["call", "com.x", "second", "--raw"]).check(0, "[1,{}]\n");
    assert_eq!(callee.process.exit_code(), Some(0));
    callee.stdout.next_with("second");
    router.run(&["call", "com.x"]).check(1, "");
}

#[test]
fn a_command_answers_with_json_or_text_or_fails() {
    let router = Router::open();
    let command = "read line; case $line in *fail*) echo 'bad: x' >&2; exit 7;; \
                   *text*) echo some text;; *) echo '{\"answer\": 42}';; esac";
    let _callee = router.callee(&["com.x", "--exec", command, "--error-uri", "com.failed"]);
    router.run(&["call", "com.x"]).check(0, "{\"answer\":42}\n");
    router.run(&["call", "com.x", "text"]).check(0, "\"some text\"\n");
    let done = router.run(&["call", "com.x", "fail"]);
    done.check(1, "").says(&["com.failed", "bad: x", "exit_code=7"]);
}

#[test]
fn who_calls_what_is_in_the_environment() {
    let router = Router::open();
    let command = "echo \"$STENTOR_PROCEDURE by ${STENTOR_CALLER:-nobody}\"";
    let _callee = router.callee(&["com.", "--match", "prefix", "--exec", command]);
    router.run(&["call", "com.any.thing", "--raw"]).check(0, "com.any.thing by nobody\n");
    let mut caller = Client::join(address(&router.server), RAW);
    caller.send(&json!([48, 1, {"disclose_me": true}, "com.y"]));
    let result = caller.expect(50);
    assert_eq!(result[3], json!([format!("com.y by {}", caller.session)]));
}

#[test]
fn commands_have_bounds() {
    let router = Router::open();
    let _flood = router.callee(&["com.flood", "--exec", "yes", "--exec-output", "1000"]);
    let done = router.run(&["call", "com.flood"]);
    done.check(1, "").says(&["wamp.error.runtime_error", "more than 1000 bytes"]);
    let _late = router.callee(&["com.late", "--exec", "sleep 1000", "--exec-timeout", "0.2"]);
    let done = router.run(&["call", "com.late"]);
    done.check(4, "").says(&["not ended within 0.2 s"]);
    // Longer than what is passed on of standard error.
    let words = "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1";
    let _loud = router.callee(&["com.loud", "--exec", words]);
    let done = router.run(&["call", "com.loud"]);
    assert!(done.stderr.matches('x').count() < 5_000, "{} letters", done.stderr.len());
}

#[test]
fn so_many_commands_run_at_a_time() {
    let router = Router::open();
    let directory = tempfile::tempdir().unwrap();
    let (lock, log) = (directory.path().join("go"), directory.path().join("log"));
    let command = format!(
        "echo x >> {}; while [ ! -e {} ]; do sleep 0.01; done",
        log.display(),
        lock.display()
    );
    let _callee = router.callee(&["com.x", "--exec", &command, "--concurrency", "2"]);
    let mut caller = Client::join(address(&router.server), RAW);
    for _ in 0..5 {
        caller.call("com.x", &json!(1));
    }
    let begun = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    eventually("two have begun", || begun() == 2);
    // A third would have begun by now, if it could.
    std::thread::park_timeout(Duration::from_millis(200));
    assert_eq!(begun(), 2);
    std::fs::write(&lock, "").unwrap();
    let results: Vec<_> = (0..5).map(|_| caller.receive()[0].as_u64()).collect();
    // The router refuses what is over the concurrency that the callee has told it.
    assert!(results.iter().filter(|kind| **kind == Some(50)).count() >= 2, "{results:?}");
}

#[test]
fn a_canceled_call_kills_its_command_and_so_does_the_end() {
    let router = Router::open();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let command = format!("sleep 1000 & echo $! >> {}; wait", file.display());
    let mut callee = router.callee(&["com.x", "--exec", &command]);
    let pids = || -> Vec<u32> {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    let is_running = |pid: u32| {
        // One that has ended and is not waited for is no more than a name.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    let mut call = router.background(&["call", "com.x"]);
    eventually("it runs", || pids().len() == 1);
    assert_eq!(call.interrupt(), Some(130));
    eventually("it is killed, with what it has started", || !is_running(pids()[0]));
    let mut caller = Client::join(address(&router.server), RAW);
    caller.call("com.x", &json!(1));
    eventually("it runs again", || pids().len() == 2);
    assert_eq!(callee.interrupt(), Some(0));
    eventually("it is killed", || !is_running(pids()[1]));
}

#[test]
fn callees_share_a_procedure() {
    let router = Router::open();
    let shared = ["--invoke", "roundrobin"];
    let _one = router.callee(&[&["com.x", "--result", "1"][..], &shared].concat());
    let _two = router.callee(&[&["com.x", "--result", "2"][..], &shared].concat());
    let mut results: Vec<_> =
        (0..4).map(|_| router.run(&["call", "com.x", "--raw"]).stdout).collect();
    results.sort();
    assert_eq!(results, ["1\n", "1\n", "2\n", "2\n"]);
    let done = router.run(&["register", "com.x", "--result", "3"]);
    done.check(1, "").says(&["wamp.error.procedure_already_exists", "invocation policy"]);
}

#[test]
fn each_end_has_its_exit_code() {
    let router = Router::open();
    let done = router.run(&["register", "com.x"]);
    done.check(2, "").says(&["--exec", "--result"]);
    router.run(&["register", "com.x", "--result", "1", "--exec", "x"]).check(2, "");
    router.run(&["register", "com.x", "--result", "1", "--timeout", "0.1"]).check(0, "");
    let late = ["register", "com.x", "--result", "1", "--timeout", "0.1", "--count", "1"];
    router.run(&late).check(4, "").says(&["only 0 of 1 calls"]);
    let mut callee = router.callee(&["com.x", "--result", "1", "--no-reconnect"]);
    router.run(&["register", "com.x", "--result", "1"]).check(1, "").says(&["already_exists"]);
    router.server.stop().unwrap();
    assert_eq!(callee.process.exit_code(), Some(3));
}
