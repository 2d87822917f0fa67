//! The `stentor` command as an operator runs it: start lines, signals, exit codes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;
use stentor::codec::Codec;

use crate::running::{Running, Stentor, address_in};
use crate::sockets::{Client, Kind, Lines, Stream, eventually, raw_handshake, websocket_frame};

const JSON: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::Cbor);

/// A free port of this machine only, two shards, lines without colours.
const LOCAL: &str = "--listen 127.0.0.1:0 --shards 2 --log-format human";

fn local() -> Vec<&'static str> {
    LOCAL.split(' ').collect()
}

/// The command behind a shell's `ulimit`.
fn limited(ulimit: &str, flags: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_stentor");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{ulimit} && exec {program} {LOCAL} {flags}")]);
    command.stdin(Stdio::null());
    command
}

#[test]
fn the_start_is_told_and_a_signal_stops_in_order() {
    for signal in ["TERM", "INT"] {
        let stentor = Stentor::start(&local());
        let mut clients = [JSON, RAW].map(|kind| Client::join(&stentor.address, kind));
        for client in &mut clients {
            client.subscribe("com.x");
        }
        stentor.process.signal(signal);
        stentor.check_stops(&mut clients);
    }
}

/// It ended the process at once, and every session without GOODBYE.
#[test]
fn sighup_is_no_stop_for_a_daemon() {
    let stentor = Stentor::start(&local());
    let mut clients = [JSON, RAW].map(|kind| Client::join(&stentor.address, kind));
    stentor.process.signal("HUP");
    stentor.log.next_with("the configuration was read again applied=0 after_restart=0");
    for client in &mut clients {
        client.subscribe("com.x");
    }
    stentor.process.signal("TERM");
    stentor.check_stops(&mut clients);
}

/// The kernel and the shell may both say it, which is no second signal that ends it at once.
#[test]
fn a_terminal_that_hangs_up_stops_in_order() {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let end = fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    let stentor = Stentor::run(command.args(local()).stdin(end));
    let mut clients = [JSON, RAW].map(|kind| Client::join(&stentor.address, kind));
    stentor.process.signal("HUP");
    stentor.log.next_with("stopping");
    stentor.process.signal("HUP");
    let mut stentor = stentor;
    for client in &mut clients {
        assert_eq!(client.expect(6)[2], "wamp.close.system_shutdown");
        client.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
        client.drain();
    }
    assert_eq!(stentor.process.exit_code(), Some(0));
}

/// A start that waits for ever, here for the other end of a pipe, could be killed only.
#[test]
fn a_start_that_hangs_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("store");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (close_ms, signals) in [(50, 1), (600_000, 2)] {
        let file = directory.path().join("stentor.toml");
        let text = format!(
            "[[listener]]\nlisten = \"127.0.0.1:0\"\n[storage]\npath = {pipe:?}\nretained = true\n\
             [timeouts]\nclose_ms = {close_ms}\n"
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.arg("--config").arg(&file).stderr(Stdio::piped());
        let mut process = Running(command.spawn().unwrap());
        let log = Lines::of(process.0.stderr.take().unwrap());
        log.next_with("starting");
        process.signal("TERM");
        log.next_with("stopping");
        if signals == 2 {
            process.signal("TERM");
            log.next_with("the start had not ended at the second signal to stop");
        } else {
            log.next_with("the start had not ended 50 ms after the signal to stop");
        }
        assert_eq!(process.exit_code(), Some(1));
    }
}

/// More sockets than one poll tells of, all with a ping that nobody could answer while the process
/// did not run; their clients were stopped with it, so their pongs come after it.
#[cfg(target_os = "linux")]
#[test]
#[expect(clippy::disallowed_methods, reason = "a stall is a time in which nothing happens")]
fn a_stopped_process_blames_nobody_for_the_time() {
    let mut arguments = local();
    arguments.extend(["--ping-interval-ms", "5000"]);
    let stentor = Stentor::start(&arguments);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mut clients: Vec<_> = (0..1_500).map(|_| Client::join(&stentor.address, JSON)).collect();
    // Everybody is asked, and has ten seconds for the answer.
    thread::sleep(Duration::from_millis(5_500));
    stentor.process.signal("STOP");
    thread::sleep(Duration::from_secs(13));
    stentor.process.signal("CONT");
    thread::sleep(Duration::from_secs(1));
    let mut witness = Client::join(&stentor.address, JSON);
    let mut count = || {
        witness.call("wamp.session.count", &json!(null));
        witness.expect(50)[3][0].clone()
    };
    assert_eq!(count(), json!(1_501));
    let pong = websocket_frame(10, true, b"");
    clients.iter_mut().for_each(|client| client.write(&pong).unwrap());
    assert_eq!(count(), json!(1_501));
}

/// A write to a socket that its peer has closed is an error of that write, and no signal's end.
#[cfg(target_os = "linux")]
#[test]
fn sigpipe_is_ignored() {
    const SIGPIPE: u32 = 13;
    let stentor = Stentor::start(&local());
    let path = format!("/proc/{}/status", stentor.process.0.id());
    let status = fs::read_to_string(path).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    assert_ne!(ignored & 1 << (SIGPIPE - 1), 0, "{ignored:x}");
}

/// Without it every connection above the soft limit would fail with EMFILE.
#[test]
fn the_soft_limit_of_open_files_is_raised() {
    let stentor = Stentor::run(&mut limited("ulimit -Sn 64", "--max-connections 150"));
    let clients: Vec<_> = (0..150).map(|_| Client::join(&stentor.address, RAW)).collect();
    assert_eq!(clients.len(), 150);
}

/// More connections than the system permits are refused in order, as over the configured limit.
#[test]
fn a_hard_limit_of_open_files_lowers_the_connections() {
    let mut command = limited(&format!("ulimit -n {HARD_LIMIT}"), "--max-connections 5000");
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let log = Lines::of(process.stderr.take().unwrap());
    let _process = Running(process);
    let warning = log.next_with("open files");
    for part in ["limits.connections is 5000,", "only 200 open files", "LimitNOFILE="] {
        assert!(warning.contains(part), "{part} in: {warning}");
    }
    let (_, rest) = warning.split_once("no more than ").unwrap();
    let served: usize = rest.split(' ').next().unwrap().parse().unwrap();
    assert!((100..HARD_LIMIT).contains(&served), "{warning}");
    let address = address_in(&log.next_with("listening"));
    let mut clients: Vec<_> = (0..served).map(|_| Client::join(&address, RAW)).collect();
    for _ in 0..3 {
        let mut stream = Stream::connect(&address).unwrap();
        stream.write_all(&raw_handshake(Codec::Cbor, 15)).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [0x7F, 0x40, 0, 0], "told that all connections are taken");
    }
    clients.truncate(10);
    eventually("there is room again", || {
        Client::open_on(Stream::connect(&address).unwrap(), RAW).is_ok()
    });
}

const HARD_LIMIT: usize = 200;

/// What ends a connection is in the log, with its size and its limit.
#[test]
fn the_log_says_what_was_too_big() {
    let mut arguments = local();
    arguments.extend(["--max-message-bytes", "65536"]);
    let stentor = Stentor::start(&arguments);
    for kind in [JSON, RAW] {
        let mut client = Client::join(&stentor.address, kind);
        let message = kind.message(&json!([16, 1, {}, "com.x", ["x".repeat(65_536)]]));
        client.write(&message[..14]).unwrap();
        client.drain();
        let line = stentor.log.next_with("connection failed");
        assert!(line.contains("message_too_big"), "{line}");
        assert!(line.contains("exceeds the limit of 65536 bytes (limits.message_bytes)"), "{line}");
    }
}

#[test]
fn a_second_signal_ends_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.toml");
    let text = "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[realm]]\nname = \"realm1\"\n\
        [[realm.authenticator]]\nmethod = \"anonymous\"\n[[realm.role]]\nname = \"anonymous\"\n\
        [timeouts]\nclose_ms = 600000\n";
    fs::write(&file, text).unwrap();
    let mut stentor = Stentor::start(&["--config", file.to_str().unwrap()]);
    let mut client = Client::join(&stentor.address, JSON);
    stentor.process.signal("INT");
    client.expect(6); // And no answer to it, for which the router would wait ten minutes.
    assert!(stentor.process.0.try_wait().unwrap().is_none());
    stentor.process.signal("TERM");
    assert_eq!(stentor.process.exit_code(), Some(1));
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["--listen", &address, "--log-level", "error"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("cannot listen on {address}: ");
    assert!(text.starts_with(&expected) && text.contains("is another program using it?"), "{text}");
}
