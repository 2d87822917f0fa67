//! Blocking WAMP clients over real sockets, for tests of the running router.
//!
//! A client writes and reads frames itself, so that it can also break them. Every wait is bounded
//! by [`PATIENCE`], which is far more than any step takes: running into it is a failure.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part")]

mod client;
mod frames;
mod http;
mod stream;
mod tls;
mod web;

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use stentor::config::{Config, ListenAddress, Listener, Realm};
use stentor::net::Server;

pub(crate) use client::{Client, Kind, hello};
pub(crate) use frames::{Frame, http_upgrade, raw_frame, raw_handshake, websocket_frame};
pub(crate) use http::{Heard, HttpServer, Reply};
pub(crate) use stream::Stream;
pub(crate) use tls::{Issued, Pki, tls_config};
pub(crate) use web::{Response, Web};

/// How long a step may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const REALM: &str = "realm1";

/// A configuration with one TCP listener on a free port, and the realms `realm1` and `realm2`.
pub(crate) fn config(shards: usize) -> Config {
    let address = "127.0.0.1:0".parse().unwrap();
    Config {
        shards,
        listeners: vec![Listener::on(address)],
        realms: vec![Realm::named(REALM), Realm::named("realm2")],
        ..Config::default()
    }
}

pub(crate) fn start(config: &Config) -> Server {
    Server::start(config).unwrap()
}

/// The address of a server's only or first listener.
pub(crate) fn address(server: &Server) -> &ListenAddress {
    &server.addresses()[0]
}

/// Waits until `condition` holds; `what` is what the failure says.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test waits for other threads")]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until nothing is left of any client: every gauge is zero, every table empty.
#[track_caller]
pub(crate) fn settles(server: &Server) {
    eventually("everything is given back", || {
        server.router().is_idle() && server.snapshot().gauges().iter().all(|(_, value)| *value == 0)
    });
}

/// The lines that another process writes, each waited for with a limit.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of(source: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            // Ends with the process, or with the test.
            let lines = BufReader::new(source).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
        });
        Self(receiver)
    }

    /// The next line that holds `word`; it must come.
    #[track_caller]
    pub(crate) fn next_with(&self, word: &str) -> String {
        loop {
            let line = self.0.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no line with {word:?}: {error}"));
            if line.contains(word) {
                return line;
            }
        }
    }
}
