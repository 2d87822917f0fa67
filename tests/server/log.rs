//! The log of a router whose standard error is not read: nobody waits for it, and what it loses is
//! counted.

use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::process::{Command, Stdio};

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::ListenAddress;

use crate::running::{Running, address_in};
use crate::sockets::{Client, Kind, Lines, REALM, hello};

const RAW: Kind = Kind::Raw(Codec::Cbor);

/// Each leaves two lines of far more than 100 bytes: several times what the log's queue takes
/// (8192 lines), the pipe (64 KiB), and what the process has gathered (4 KiB).
const SESSIONS: usize = 12_000;

/// A router with both standard streams on one pipe, read up to where it says that it listens.
struct Stentor {
    process: Running,
    log: Option<BufReader<PipeReader>>,
    address: ListenAddress,
}

impl Stentor {
    fn start() -> Self {
        let (reader, writer) = io::pipe().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_stentor"))
            .args(["--listen", "127.0.0.1:0", "--shards", "2", "--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(reader);
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
        }
        Self { process: Running(process), log: Some(log), address: address_in(&line) }
    }

    /// Reads again, from the first line after the start.
    fn read_on(&mut self) -> Lines {
        Lines::of(self.log.take().unwrap())
    }

    /// Fills what is left of the pipe, to the last byte.
    #[cfg(target_os = "linux")]
    fn fill_pipe(&self) {
        use std::fs::OpenOptions;
        use std::io::Write;
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::OpenOptionsExt;

        const O_NONBLOCK: i32 = 0o4000;
        let pipe = self.log.as_ref().unwrap().get_ref().as_raw_fd();
        // Opened anew, so that only this end of it does not wait.
        let path = format!("/proc/self/fd/{pipe}");
        let mut end = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path).unwrap();
        let full = loop {
            if let Err(error) = end.write_all(b"x") {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    /// All that was written, once the process has ended.
    fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        self.log.take().unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Joins and leaves, many times, on one connection.
fn flood(client: &mut Client) {
    let one: Vec<u8> = [hello(REALM), json!([6, {}, "wamp.close.close_realm"])]
        .iter()
        .flat_map(|message| RAW.message(message))
        .collect();
    let (batch, batches) = (100, SESSIONS / 100);
    for _ in 0..batches {
        client.write(&one.repeat(batch)).unwrap();
        for _ in 0..batch {
            client.expect(2);
            client.expect(6);
        }
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let mut stentor = Stentor::start();
    let mut subscriber = Client::join(&stentor.address, RAW);
    subscriber.subscribe("com.x");
    flood(&mut Client::open(&stentor.address, RAW));
    #[cfg(target_os = "linux")]
    stentor.fill_pipe();
    // A connection for each shard, and more.
    for number in 0..4 {
        let mut client = Client::join(&stentor.address, RAW);
        client.publish_acknowledged("com.x", &json!(number));
        assert_eq!(subscriber.expect(36)[4], json!([number]));
    }
    drop(subscriber);
    stentor.process.signal("TERM");
    assert_eq!(stentor.process.exit_code(), Some(0));
    // The pipe is still full: the process did not wait until it was read.
    let text = stentor.rest();
    assert!(text.contains("session joined") && !text.contains("stopping"));
}

#[test]
fn lines_that_were_lost_are_counted() {
    let mut stentor = Stentor::start();
    flood(&mut Client::open(&stentor.address, RAW));
    let lines = stentor.read_on();
    let mut written = 0;
    let mut count = |line: &str| {
        written += usize::from(line.contains("session joined") || line.contains("session left"));
    };
    let notice = loop {
        let line = lines.next_with("");
        if line.contains("lost") {
            break serde_json::from_str::<serde_json::Value>(&line).unwrap();
        }
        count(&line);
    };
    assert_eq!(notice["level"], "WARN");
    let lost = usize::try_from(notice["lines"].as_u64().unwrap()).unwrap();
    // From here on nothing is lost: what has waited comes, then this, to the last line.
    let client = Client::join(&stentor.address, RAW);
    loop {
        let line = lines.next_with("");
        if line.contains(&client.session.to_string()) {
            break;
        }
        count(&line);
    }
    assert!(written > 0 && lost > 0);
    assert_eq!(written + lost, 2 * SESSIONS, "{written} were written and {lost} lost");
    drop(client);
    stentor.process.signal("TERM");
    assert_eq!(stentor.process.exit_code(), Some(0));
    lines.next_with("stopping");
}

#[test]
fn a_stop_writes_what_waits() {
    let mut stentor = Stentor::start();
    let sessions: Vec<_> =
        (0..20).map(|_| Client::join(&stentor.address, RAW).session.to_string()).collect();
    stentor.process.signal("TERM");
    assert_eq!(stentor.process.exit_code(), Some(0));
    let text = stentor.rest();
    for session in sessions {
        assert!(text.contains(&session), "{session} in:\n{text}");
    }
    assert!(text.contains("stopping"), "{text}");
}

/// A line waits in memory, so no client may make it long.
#[test]
fn what_a_client_says_is_cut() {
    let mut stentor = Stentor::start();
    let long = "x".repeat(60_000);
    let mut client = Client::open(&stentor.address, RAW);
    client.send(&json!([1, REALM, {"roles": {"caller": {}}, "agent": long}]));
    client.welcomed();
    client.goodbye();
    client.send(&json!([1, long, {"roles": {"caller": {}}}]));
    client.expect(3);
    let lines = stentor.read_on();
    for word in ["session joined", "session left", "session refused"] {
        let line = lines.next_with("");
        assert!(line.contains(word) && line.len() < 4096, "{} bytes: {line}", line.len());
    }
}
