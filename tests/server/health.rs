//! `stentor health`: what it says of a router, and by which exit code.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::running::{OPEN_REALM, Stentor};
use crate::sockets::eventually;

fn health(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    // It is not looked at, as nothing is to be changed.
    command.env("STENTOR_ADMIN_TOKEN", "short");
    let output = command.arg("health").args(arguments).output().unwrap();
    let Output { status, stdout, stderr } = output;
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// A configuration in a directory of its own, whose Unix sockets lie there, too.
struct Configured {
    folder: TempDir,
}

impl Configured {
    /// `DIR` in the text stands for the directory.
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = text.replace("DIR", folder.path().to_str().unwrap());
        let first = "[[listener]]\nlisten = \"127.0.0.1:0\"\n";
        fs::write(folder.path().join("a.toml"), format!("{first}{text}{OPEN_REALM}")).unwrap();
        Self { folder }
    }

    fn file(&self) -> String {
        self.folder.path().join("a.toml").to_str().unwrap().to_owned()
    }

    fn start(&self) -> Stentor {
        let arguments = ["--config", &self.file(), "--shards=1", "--log-format=human"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        Stentor::run(command.args(arguments).stdin(Stdio::null()))
    }
}

#[test]
fn a_router_is_ready_until_it_is_told_to_stop() {
    let delay = "[timeouts]\ndrain_delay_ms = 600000\n";
    let admin = "[admin]\nlisten = \"unix:DIR/admin.sock\"\n";
    let listener = "health = \"/healthz\"\n[[listener]]\nlisten = \"unix:DIR/ws.sock\"\n\
                    health = \"/well\"\n";
    for (text, is_admin) in [(admin, true), (listener, false)] {
        let configured = Configured::new(&format!("{text}{delay}"));
        let file = configured.file();
        let (code, said) = health(&["--config", &file]);
        assert_eq!(code, Some(3), "nothing runs: {said}");
        assert!(said.contains("does not run with this configuration"), "{said}");
        let mut stentor = configured.start();
        eventually("it is ready", || health(&["--config", &file]).0 == Some(0));
        assert_eq!(health(&["--config", &file]), (Some(0), "ready\n".to_owned()));
        if is_admin {
            let url = format!("unix:{}/admin.sock", configured.folder.path().display());
            assert_eq!(health(&["--admin", &url]).0, Some(0));
        }
        stentor.process.signal("TERM");
        eventually("it is not ready any more", || health(&["--config", &file]).0 == Some(1));
        let said = health(&["--config", &file]);
        assert_eq!(said, (Some(1), "not ready: stopping\n".to_owned()));
        stentor.process.signal("TERM");
        assert_eq!(stentor.process.exit_code(), Some(0));
        assert_eq!(health(&["--config", &file]).0, Some(3));
    }
}

#[test]
fn who_cannot_ask_is_told_why() {
    let configured = Configured::new("");
    let (code, said) = health(&["--config", &configured.file()]);
    assert!(code == Some(2) && said.contains("has no place where"), "{said}");
    let (code, said) = health(&["--config", "no/such.toml"]);
    assert!(code == Some(2) && said.contains("no/such.toml"), "{said}");
    let (code, said) = health(&["--admin", "http://127.0.0.1:1", "--config", "a.toml"]);
    assert!(code == Some(2) && said.contains("cannot be used with"), "{said}");
    let (code, said) = health(&["--admin", "unix:/nowhere/admin.sock"]);
    assert!(code == Some(3) && said.contains("no answer from unix:/nowhere/admin.sock"), "{said}");
    let (code, said) = health(&["--admin", "http://127.0.0.1:1"]);
    assert!(code == Some(3) && said.contains("--config the file"), "{said}");
}

/// Whatever else listens there is no router that is ready.
#[test]
fn another_server_is_no_router() {
    let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "ready\n".repeat(1 << 20));
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhey", 1),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 307 Moved\r\nLocation: /ready\r\nContent-Length: 0\r\n\r\n", 1),
        (&long, 3),
        ("SSH-2.0-what\r\n", 3),
        ("", 3),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.to_owned();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).unwrap();
            // It may have been left before all is written.
            let _ = stream.write_all(answer.as_bytes());
            if answer.is_empty() {
                // It never answers, and is left.
                while stream.read(&mut head).is_ok_and(|read| read > 0) {}
            }
        });
        let (code, said) = health(&["--admin", &url]);
        assert_eq!(code, Some(expected), "{said}");
        server.join().unwrap();
    }
}
