//! The `stentor` command as an operator runs it: start lines, signals, exit codes.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::ListenAddress;

use crate::running::{Running, address_in};
use crate::sockets::{Client, Kind, Lines};

const JSON: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::Cbor);

struct Stentor {
    process: Running,
    log: Lines,
    address: ListenAddress,
}

impl Stentor {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_stentor"))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Lines::of(process.stderr.take().unwrap());
        let line = log.next_with("listening");
        Self { process: Running(process), log, address: address_in(&line) }
    }
}

#[test]
fn the_start_is_told_and_a_signal_stops_in_order() {
    for signal in ["TERM", "INT"] {
        let mut stentor =
            Stentor::start(&["--listen", "127.0.0.1:0", "--shards", "2", "--log-format", "human"]);
        let mut clients = [JSON, RAW].map(|kind| Client::join(&stentor.address, kind));
        for client in &mut clients {
            client.subscribe("com.x");
        }
        stentor.process.signal(signal);
        for client in &mut clients {
            assert_eq!(client.expect(6)[2], "wamp.close.system_shutdown");
            client.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
            let code = (client.kind == JSON).then_some(1001);
            assert_eq!(client.drain(), (vec![], code));
        }
        assert_eq!(stentor.process.exit_code(), Some(0));
        stentor.log.next_with("stopping");
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.toml");
    let text = "[[listener]]\nlisten = \"127.0.0.1:0\"\n[timeouts]\nclose_ms = 600000\n";
    fs::write(&file, text).unwrap();
    let mut stentor = Stentor::start(&["--config", file.to_str().unwrap()]);
    let mut client = Client::join(&stentor.address, JSON);
    stentor.process.signal("TERM");
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
