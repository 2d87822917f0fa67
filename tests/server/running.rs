//! The `stentor` process of a test, which does not outlive it.

use std::process::{Child, Command};

use stentor::config::ListenAddress;

use crate::sockets::eventually;

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

/// Where a router listens, from the line of its log that says so.
pub(crate) fn address_in(line: &str) -> ListenAddress {
    let (_, rest) = line.split_once(" rs://").expect("the line names the URLs");
    rest.split(['"', ' ', '\n']).next().unwrap().parse().unwrap()
}
