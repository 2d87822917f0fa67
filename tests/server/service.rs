//! What a service manager hears of the command, and the sockets that it passes to it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::{fs, str};

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::ListenAddress;
use tempfile::TempDir;

use crate::running::{OPEN_REALM, Running, Stentor};
use crate::sockets::{Client, Kind, Lines, PATIENCE};

const RAW: Kind = Kind::Raw(Codec::Cbor);

/// The service manager's end, and a folder for the files of the router.
struct Manager {
    directory: TempDir,
    heard: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let heard = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        heard.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { directory, heard }
    }

    /// The command with a file of these lines, and `NOTIFY_SOCKET`, behind the commands of a shell.
    fn command(&self, before: &str, lines: &str) -> Command {
        let file = self.directory.path().join("stentor.toml");
        fs::write(&file, format!("{lines}\n{OPEN_REALM}")).unwrap();
        let (program, file) = (env!("CARGO_BIN_EXE_stentor"), file.display());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before} exec {program} --config {file} --shards 2")]);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify")).stdin(Stdio::null());
        command
    }

    /// The next datagram with this line; others may come before.
    #[track_caller]
    fn next_with(&self, line: &str) -> String {
        let mut buffer = [0; 1024];
        loop {
            let length = self.heard.recv(&mut buffer).expect("something is said");
            let text = str::from_utf8(&buffer[..length]).expect("text");
            if text.lines().any(|said| said == line) {
                return text.to_owned();
            }
            assert!(!text.contains("STOPPING"), "{text} instead of {line}");
        }
    }
}

const LISTENER: &str = "[[listener]]\nlisten = \"127.0.0.1:0\"\n";

#[test]
fn the_manager_hears_of_start_reload_and_stop() {
    let manager = Manager::new();
    let mut stentor = Stentor::run(&mut manager.command("", LISTENER));
    assert_eq!(manager.next_with("READY=1"), "READY=1\nSTATUS=Serving");
    // It is ready only when clients can come.
    let mut client = Client::join(&stentor.address, RAW);
    stentor.process.signal("HUP");
    let reloading = manager.next_with("RELOADING=1");
    let moment = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(moment.is_some_and(|moment| moment.parse::<u64>().is_ok()), "{reloading}");
    manager.next_with("READY=1");
    stentor.process.signal("TERM");
    let stopping = manager.next_with("STOPPING=1");
    assert!(stopping.contains("\nEXTEND_TIMEOUT_USEC="), "{stopping}");
    assert_eq!(client.expect(6)[2], "wamp.close.system_shutdown");
    client.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    client.drain();
    assert_eq!(stentor.process.exit_code(), Some(0));
}

/// Each time the event loops have turned.
#[test]
fn the_watchdog_is_fed_while_the_event_loops_turn() {
    let manager = Manager::new();
    let before = "WATCHDOG_USEC=300000; WATCHDOG_PID=$$; export WATCHDOG_USEC WATCHDOG_PID;";
    let stentor = Stentor::run(&mut manager.command(before, LISTENER));
    let _client = Client::join(&stentor.address, RAW);
    for _ in 0..3 {
        let beat = manager.next_with("WATCHDOG=1");
        assert!(beat.starts_with("STATUS=Serving, "), "{beat}");
    }
    manager.next_with("STATUS=Serving, 1 sessions");
}

/// Sets what sd_listen_fds(3) reads, for descriptors 3 and 4 that were the standard ones.
fn passing(count: usize, names: &str) -> String {
    let moved = if count == 2 { "exec 3<&0 4>&1 0</dev/null 1>/dev/null;" } else { "exec 3<&0;" };
    format!(
        "{moved} LISTEN_PID=$$; LISTEN_FDS={count}; LISTEN_FDNAMES={names}; \
         export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES;"
    )
}

#[test]
fn passed_sockets_serve_by_name_and_by_address() {
    let manager = Manager::new();
    let named = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = manager.directory.path().join("passed.sock");
    let placed = UnixListener::bind(&path).unwrap();
    let lines = format!(
        "[[listener]]\nlisten = \"unix:{}\"\n[[listener]]\nlisten = \"127.0.0.1:1\"\n\
         name = \"wamp\"\n",
        path.display()
    );
    let (tcp, address) = (named.try_clone().unwrap(), named.local_addr().unwrap());
    let mut command = manager.command(&passing(2, "wamp:other"), &lines);
    command.stdin(OwnedFd::from(tcp)).stdout(OwnedFd::from(placed));
    let mut process = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let log = Lines::of(process.0.stderr.take().unwrap());
    log.next_with("listening");
    manager.next_with("READY=1");
    for address in [ListenAddress::Tcp(address), ListenAddress::Unix(path.clone())] {
        let mut client = Client::join(&address, RAW);
        client.subscribe("com.x");
        client.goodbye();
    }
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    assert!(path.exists(), "the file is the service manager's");
    // Whoever connects now waits for the next process.
    assert!(std::net::TcpStream::connect(address).is_ok());
}

#[test]
fn a_passed_socket_that_nobody_wants_is_named() {
    let manager = Manager::new();
    let surplus = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = surplus.local_addr().unwrap();
    let mut command = manager.command(&passing(1, "extra"), LISTENER);
    let output = command.stdin(OwnedFd::from(surplus)).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected = format!(
        "passed a socket on {address} (`extra`), and no listener wants it: add a `[[listener]]` \
         with `listen = \"{address}\"` or `name = \"extra\"`"
    );
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn what_is_passed_must_listen() {
    let manager = Manager::new();
    let mut command = manager.command(&passing(1, "pipe"), LISTENER);
    let output = command.stdin(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("(the 1. one, `pipe`)") && text.contains("ListenStream="), "{text}");
}
