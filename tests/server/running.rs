//! The `stentor` process of a test, which does not outlive it.

use std::process::{Child, Command, Stdio};

use serde_json::json;
use stentor::config::ListenAddress;

use crate::sockets::{Client, Kind, Lines, eventually};

/// A realm of a configuration file in which everybody may do everything.
pub(crate) const OPEN_REALM: &str = r#"[[realm]]
name = "realm1"
[[realm.authenticator]]
method = "anonymous"
[[realm.role]]
name = "anonymous"
[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
"#;

pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -s {name} {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// The exit code, as soon as the process has ended.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the process ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The `stentor` command that serves, with its log and where it listens first.
pub(crate) struct Stentor {
    pub(crate) process: Running,
    pub(crate) log: Lines,
    pub(crate) address: ListenAddress,
}

impl Stentor {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_stentor")).args(arguments).stdin(Stdio::null()))
    }

    pub(crate) fn run(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(process.stderr.take().unwrap());
        let line = log.next_with("listening");
        Self { process: Running(process), log, address: address_in(&line) }
    }

    /// Stops in order: each client gets GOODBYE and answers it.
    pub(crate) fn check_stops(mut self, clients: &mut [Client]) {
        for client in clients {
            assert_eq!(client.expect(6)[2], "wamp.close.system_shutdown");
            client.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
            let code = matches!(client.kind, Kind::Ws(_)).then_some(1001);
            assert_eq!(client.drain(), (vec![], code));
        }
        assert_eq!(self.process.exit_code(), Some(0));
        self.log.next_with("stopping");
    }
}

/// Where a router listens, from the line of its log that says so.
pub(crate) fn address_in(line: &str) -> ListenAddress {
    let (_, rest) = line.split_once(" rs://").expect("the line names the URLs");
    rest.split(['"', ' ', '\n']).next().unwrap().parse().unwrap()
}
