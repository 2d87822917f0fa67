//! A router in the test's own process, and waits that end.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part")]

mod proxy;

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::time::Duration;

use stentor::config::{Config, Listener, Realm};
use stentor::net::Server;

pub(crate) use proxy::Proxy;

/// How long a step may take before the test fails: far more than any takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const REALM: &str = "realm1";

/// A router with one listener on a free port, and one realm that everybody may join.
pub(crate) fn config() -> Config {
    Config {
        shards: 2,
        listeners: vec![Listener::on("127.0.0.1:0".parse().unwrap())],
        realms: vec![Realm::named(REALM)],
        ..Config::default()
    }
}

pub(crate) fn start(config: &Config) -> Server {
    Server::start(config).unwrap()
}

/// Where it listens.
pub(crate) fn tcp(server: &Server) -> SocketAddr {
    server.addresses()[0].tcp().unwrap()
}

/// Where WebSockets are opened.
pub(crate) fn url(server: &Server) -> String {
    format!("ws://{}/ws", server.addresses()[0])
}

/// Waits for what must come.
#[track_caller]
pub(crate) fn soon<F: IntoFuture>(what: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, what.into_future()).await {
            Ok(output) => output,
            Err(_) => panic!("in vain at {place}"),
        }
    }
}
