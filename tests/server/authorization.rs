//! Denials as an operator sees them: lines of the log and counters.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;
use stentor::authorization::{Access, Action, Permission, RoleSettings};
use stentor::codec::Codec;
use stentor::config::{Config, Listener, Realm};
use stentor::net::Server;
use stentor::wamp::MatchPolicy;

use crate::running::{Running, address_in};
use crate::sockets::{Client, Kind, Lines, eventually};

const JSON: Kind = Kind::Ws(Codec::Json);

#[test]
fn a_denial_is_logged_with_the_line_of_its_rule() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.toml");
    let text = "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[realm]]\nname = \"realm1\"\n\
        [[realm.authenticator]]\nmethod = \"anonymous\"\n\
        [[realm.role]]\nname = \"anonymous\"\n\
        [[realm.role.permission]]\nuri = \"com.\"\nmatch = \"prefix\"\nallow = [\"publish\"]\n\
        [[realm.role.permission]]\nuri = \"com.secret\"\ndeny = [\"publish\"]\n";
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.arg("--config").arg(&file).args(["--log-format", "json"]).stderr(Stdio::piped());
    let mut process = Running(command.spawn().unwrap());
    let log = Lines::of(process.0.stderr.take().unwrap());
    let address = address_in(&log.next_with("listening"));
    let mut client = Client::join(&address, JSON);
    client.publish("com.secret", &json!(1));
    client.publish("org.x", &json!(1));
    let line = |words: &[&str]| {
        let line = log.next_with("request denied");
        for word in words {
            assert!(line.contains(word), "{word} in {line}");
        }
    };
    let (role, realm) = ("\"role\":\"anonymous\"", "\"realm\":\"realm1\"");
    line(&[
        role,
        realm,
        "\"action\":\"publish\"",
        "\"uri\":\"com.secret\"",
        "\"rule\":\"line 13\"",
    ]);
    line(&[role, "\"uri\":\"org.x\"", "\"rule\":\"no rule grants it\""]);
    client.publish_acknowledged("com.x", &json!(1));
    process.signal("TERM");
}

/// By role and action, on whichever shard the sessions are.
#[test]
fn decisions_are_counted_by_role_and_action() {
    let allow = vec![Action::Publish, Action::Subscribe];
    let uri = "com.x".to_owned();
    let permission = Permission { uri, allow, ..Permission::default() };
    let role = RoleSettings::new("anonymous", vec![permission]);
    let realm = Realm { access: Access::Roles(vec![role]), ..Realm::named("realm1") };
    let listeners = vec![Listener::on("127.0.0.1:0".parse().unwrap())];
    let config = Config { shards: 2, listeners, realms: vec![realm], ..Config::default() };
    let server = Server::start(&config).unwrap();
    let mut clients = [(); 4].map(|()| Client::join(&server.addresses()[0], JSON));
    for client in &mut clients {
        client.subscribe("com.x");
        client.publish("com.x", &json!(1));
        client.publish("com.x", &json!(2));
        client.publish("com.y", &json!(1));
        client.call("com.x", &json!(1));
    }
    let edition = server.router().edition();
    let rules = &edition.domain("realm1").unwrap().rules;
    let role = rules.role("anonymous").unwrap();
    let counted = || {
        role.decisions().map(|count| {
            let recalled = (count.allowed_recalled, count.denied_recalled);
            (count.action, count.allowed, count.denied, recalled)
        })
    };
    // Of the second publication of each session it was known what was decided.
    let expected = [
        (Action::Publish, 8, 4, (4, 0)),
        (Action::Subscribe, 4, 0, (0, 0)),
        (Action::Call, 0, 4, (0, 0)),
        (Action::Register, 0, 0, (0, 0)),
    ];
    eventually("everything is counted", || counted() == expected);
    assert_eq!(server.snapshot().requests_denied, 8);
    assert_eq!(rules.roles().count(), 2, "and one for roles that are not listed");
    let unlisted =
        rules.role("guest").unwrap().rules.authorize(Action::Publish, "com.x", MatchPolicy::Exact);
    assert_eq!(unlisted, stentor::authorization::Decision::Deny(None));
    server.stop().unwrap();
}
