//! What the command says of roles and of shards, asked of a running router.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use stentor::codec::Codec;

use crate::running::{Running, Stentor};
use crate::sockets::{Client, Kind};

const RAW: Kind = Kind::Raw(Codec::Json);

const ROLES: &str = r#"[[realm.authenticator]]
method = "anonymous"
[[realm.role]]
name = "anonymous"
[[realm.role.permission]]
uri = "com."
match = "prefix"
allow = ["publish", "subscribe"]
[[realm.role.permission]]
uri = "com.secret."
match = "prefix"
deny = ["subscribe"]
allow = ["call"]
authorizer = "com.auth"
[[realm]]
name = "closed"
admin_roles = ["ops"]
"#;

/// A router with these roles, and what the command prints of it.
struct Observed {
    stentor: Stentor,
    admin: String,
    _directory: tempfile::TempDir,
}

impl Observed {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("stentor.toml");
        let head = "shards = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n[[listener]]\n\
            listen = \"127.0.0.1:0\"\n[[realm]]\nname = \"realm1\"\n";
        fs::write(&file, format!("{head}{ROLES}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["--config", file.to_str().unwrap(), "--log-format=human"]);
        let stentor = Stentor::run(command.stdin(std::process::Stdio::null()));
        let line = stentor.log.next_with("listening for operators");
        let at = line.split("http://").nth(1).expect("the line names its URL");
        let admin = format!("http://{}", at.split(['"', ' ', '\n']).next().unwrap());
        Self { stentor, admin, _directory: directory }
    }

    fn says(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        let output = command.args(words).args(["--admin", &self.admin]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn is_running(&mut self) -> bool {
        let Running(child) = &mut self.stentor.process;
        child.try_wait().unwrap().is_none()
    }
}

#[test]
fn roles_are_shown_with_their_lines_and_decisions() {
    let router = Observed::start();
    let mut client = Client::join(&router.stentor.address, RAW);
    client.subscribe("com.x");
    for _ in 0..2 {
        let request = client.next_request();
        client.send(&json!([32, request, {}, "com.secret.x"]));
        assert_eq!(client.receive()[4], "wamp.error.not_authorized");
    }
    assert_eq!(
        router.says(&["roles", "anonymous", "--realm", "realm1"]),
        "role anonymous on realm realm1: allowed so far: subscribe 1; \
         denied so far: subscribe 2\n  \
         URI          MATCH   MAY                      MAY NOT    LINE\n  \
         com.         prefix  publish subscribe                   12\n  \
         com.secret.  prefix  call if com.auth agrees  subscribe  16\n\n"
    );
    let all = router.says(&["roles", "--limit", "1"]);
    assert!(all.contains("role ops on realm closed:\n"), "{all}");
    assert!(all.contains("rules more: see --limit"), "{all}");
    assert!(
        all.contains("a role that is not listed on realm realm1:\n  may do nothing\n"),
        "{all}"
    );
    assert_eq!(router.says(&["roles", "--realm", "none"]), "no such realm\n");
    let page = router.says(&["roles", "ops", "--realm", "closed", "--json"]);
    assert_eq!(page.lines().count(), 1, "{page}");
    let ops: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((&ops["realm"], &ops["rules"][0]["is_admin"]), (&json!("closed"), &json!(true)));
}

#[test]
fn shards_are_shown_with_their_load() {
    let mut router = Observed::start();
    let _clients = [(); 3].map(|()| Client::join(&router.stentor.address, RAW));
    for (command, key, count) in [("sessions", "session", 3), ("shards", "shard", 2)] {
        let page = router.says(&[command, "--json"]);
        let rows = page.lines().map(|line| serde_json::from_str(line).unwrap());
        let rows: Vec<Value> = rows.collect();
        assert_eq!(rows.iter().filter(|row| row[key].is_u64()).count(), count, "{page}");
    }
    assert_eq!(router.says(&["topics", "--json"]), "");
    let page = router.says(&["shards"]);
    let mut lines = page.lines();
    assert!(lines.next().unwrap().starts_with("SHARD  LOAD  SILENT FOR S  SESSIONS"), "{page}");
    let mut sessions = 0;
    for (number, line) in (0..).zip(lines) {
        let cells: Vec<_> =
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells[0], number.to_string(), "{page}");
        let load = cells[1].strip_suffix(" %").expect("a share");
        assert!(load.parse::<u32>().unwrap() <= 100, "{page}");
        sessions += cells[3].parse::<u32>().unwrap();
    }
    assert_eq!(sessions, 3, "{page}");
    assert!(router.is_running());
}
