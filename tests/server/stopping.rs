//! How the command stops a router: SIGTERM with patience for calls, SIGUSR2 with more, and what
//! ends the patience.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::json;
use stentor::codec::Codec;
use tempfile::TempDir;

use crate::running::{OPEN_REALM, Stentor};
use crate::sockets::{Client, Kind, Stream, eventually, http_upgrade};

const JSON: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::Cbor);

/// A router with a file, as services have.
struct Service {
    stentor: Stentor,
    admin: SocketAddr,
    _directory: TempDir,
}

impl Service {
    fn start(timeouts: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("stentor.toml");
        let text = format!(
            "[[listener]]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [timeouts]\n{timeouts}\n{OPEN_REALM}"
        );
        fs::write(&file, text).unwrap();
        let stentor =
            Stentor::start(&["--config", file.to_str().unwrap(), "--log-format", "human"]);
        let line = stentor.log.next_with("listening for operators");
        let (_, url) = line.split_once("http://").unwrap();
        let admin = url.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        let service = Self { stentor, admin, _directory: directory };
        eventually("it is ready", || service.readiness() == 200);
        service
    }

    fn readiness(&self) -> u16 {
        let mut socket = TcpStream::connect(self.admin).unwrap();
        let request =
            format!("GET /readyz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer[9..12].parse().unwrap()
    }

    /// What a WebSocket that comes now is told.
    fn refusal(&self) -> String {
        let mut stream = Stream::connect(&self.stentor.address).unwrap();
        stream.write_all(http_upgrade("/ws", "wamp.2.json").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// A caller whose call is under way, and its callee.
    fn call(&self) -> (Client, Client) {
        let mut callee = Client::join(&self.stentor.address, RAW);
        callee.register("com.p");
        let mut caller = Client::join(&self.stentor.address, JSON);
        caller.call("com.p", &json!(7));
        (caller, callee)
    }
}

/// Says GOODBYE back and reads to the end. A call that nobody waits for any more may fail before.
#[track_caller]
fn check_leaves(mut client: Client) {
    let mut message = client.receive();
    if message[0] == 8 {
        assert_eq!(message[4], "wamp.error.canceled");
        message = client.receive();
    }
    assert_eq!((&message[0], &message[2]), (&json!(6), &json!("wamp.close.system_shutdown")));
    client.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    client.drain();
}

#[test]
fn sigterm_waits_for_calls_and_refuses_newcomers() {
    let mut service = Service::start("drain_ms = 600000");
    let (mut caller, mut callee) = service.call();
    let invocation = callee.expect(68);
    let idle = Client::join(&service.stentor.address, JSON);
    service.stentor.process.signal("TERM");
    check_leaves(idle);
    assert_eq!(service.readiness(), 503);
    let refusal = service.refusal();
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    assert!(refusal.contains("Retry-After: ") && refusal.contains("is stopping"), "{refusal}");
    callee.send(&json!([70, invocation[1], {}, [8]]));
    assert_eq!(caller.expect(50)[3], json!([8]));
    check_leaves(caller);
    check_leaves(callee);
    assert_eq!(service.stentor.process.exit_code(), Some(0));
    service.stentor.log.next_with("drained: no session is left");
}

#[test]
fn a_second_sigterm_waits_for_nobody() {
    let mut service = Service::start("drain_ms = 600000");
    let (caller, mut callee) = service.call();
    callee.expect(68);
    for (signal, line) in [("USR2", "draining sessions=2 within_ms=120000"), ("TERM", "600000")] {
        service.stentor.process.signal(signal);
        service.stentor.log.next_with(line);
    }
    service.stentor.process.signal("TERM");
    check_leaves(caller);
    check_leaves(callee);
    assert_eq!(service.stentor.process.exit_code(), Some(0));
}

/// Load balancers notice first.
#[test]
fn before_the_delay_is_over_everybody_is_served() {
    let mut service = Service::start("drain_delay_ms = 600000");
    service.stentor.process.signal("TERM");
    eventually("it is not ready", || service.readiness() == 503);
    let mut client = Client::join(&service.stentor.address, RAW);
    client.subscribe("com.x");
    service.stentor.process.signal("INT");
    check_leaves(client);
    assert_eq!(service.stentor.process.exit_code(), Some(0));
}

#[test]
fn a_drain_is_over_in_its_time() {
    let mut service = Service::start("drain_ms = 50");
    let (caller, mut callee) = service.call();
    callee.expect(68);
    service.stentor.process.signal("TERM");
    check_leaves(caller);
    check_leaves(callee);
    assert_eq!(service.stentor.process.exit_code(), Some(0));
}
