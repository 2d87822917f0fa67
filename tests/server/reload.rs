//! Reloads of a router that runs: what its clients keep, what a file that cannot be used changes,
//! and that nothing is left behind.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use stentor::authentication::{AuthenticatorSettings, Method};
use stentor::codec::Codec;
use stentor::config::{ListenAddress, Listener, Realm};
use stentor::net::{ReloadError, Server};
use tempfile::TempDir;

use super::tls_files::shown;
use crate::running::{OPEN_REALM, Running, address_in};
use crate::sockets::{
    Client, HttpServer, Kind, Lines, Pki, Reply, Stream, address, config, eventually, settles,
    start, tls_config,
};

const RAW: Kind = Kind::Raw(Codec::Json);
const WS: Kind = Kind::Ws(Codec::Cbor);

/// The command with a file that a test writes anew.
pub(super) struct Stentor {
    pub(super) process: Running,
    pub(super) log: Lines,
    pub(super) address: ListenAddress,
    file: PathBuf,
    _directory: TempDir,
}

impl Stentor {
    pub(super) fn start(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("stentor.toml");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["--config", file.to_str().unwrap(), "--shards=2", "--log-format=human"]);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(process.stderr.take().unwrap());
        let address = address_in(&log.next_with("listening"));
        Self { process: Running(process), log, address, file, _directory: directory }
    }

    /// Writes the file anew and asks for a reload.
    pub(super) fn reload(&self, text: &str) {
        fs::write(&self.file, text).unwrap();
        self.process.signal("HUP");
    }

    /// The last words of a reload that was not refused.
    #[track_caller]
    pub(super) fn reloaded(&self) -> String {
        self.log.next_with("the configuration was read again applied=")
    }

    pub(super) fn stop(mut self) {
        self.process.signal("TERM");
        assert_eq!(self.process.exit_code(), Some(0));
    }
}

/// A realm in which anonymous clients may do everything. Who has a ticket joins as `more` says, and
/// what others may do stands there as well.
pub(super) fn file(more: &str) -> String {
    format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n{OPEN_REALM}[[realm.authenticator]]\n\
         method = \"ticket\"\n{more}"
    )
}

/// What the role `user` may do.
pub(super) const USER: &str = "[[realm.role]]\nname = \"user\"\n\
    [[realm.role.permission]]\nuri = \"com.\"\nmatch = \"prefix\"\n\
    allow = [\"publish\", \"subscribe\", \"call\", \"register\"]\n";

/// The others see nothing of it: what is wrong is said with its line, and what is meant.
#[test]
fn a_broken_file_changes_nothing_and_says_why() {
    let open = format!("[[listener]]\nlisten = \"127.0.0.1:0\"\n{OPEN_REALM}");
    let stentor = Stentor::start(&open);
    let mut clients = [RAW, WS].map(|kind| Client::join(&stentor.address, kind));
    let subscription = clients[0].subscribe("com.x");
    let place = |line: usize| format!("stentor.toml:{}", open.lines().count() + line);
    for (broken, line, help) in [
        ("[limits]\nnestign = 3\n", 2, "did you mean `nesting`?"),
        ("[limits]\nnesting = 3\n", 2, "nesting = 3"),
        ("[[realm]]\nname = \"realm1\"\n", 2, "help"),
    ] {
        stentor.reload(&format!("{open}{broken}"));
        stentor.log.next_with("cannot be used, nothing has changed: error: ");
        stentor.log.next_with(&place(line));
        stentor.log.next_with(help);
    }
    fs::remove_file(&stentor.file).unwrap();
    stentor.process.signal("HUP");
    stentor.log.next_with("cannot be used, nothing has changed");
    clients[1].publish("com.x", &json!(1));
    assert_eq!(clients[0].expect(36)[1], json!(subscription));
    stentor.reload(&open);
    assert!(stentor.reloaded().contains("applied=0 after_restart=0"));
    stentor.stop();
}

/// One line for each change; what has to wait is named.
#[test]
fn what_changes_is_said_line_by_line() {
    let open = format!("[[listener]]\nlisten = \"127.0.0.1:0\"\n{OPEN_REALM}");
    let stentor = Stentor::start(&open);
    let mut client = Client::join(&stentor.address, RAW);
    stentor.reload(&format!(
        "{open}[[realm]]\nname = \"more\"\n[limits]\nsubscriptions_per_session = 1\n[tuning]\n\
         backlog = 99\n[log]\nlevel = \"debug\"\n"
    ));
    for words in [
        "reload place=\"limits.subscriptions_per_session\" what=\"from 10000 to 1\"",
        "reload place=\"log.level\"",
        "reload place=\"realm `more`\" what=\"added\"",
        "this holds only after a restart of the router place=\"tuning.backlog\"",
        "applied=3 after_restart=1",
        "realm more is closed",
    ] {
        stentor.log.next_with(words);
    }
    client.subscribe("com.x");
    client.send(&json!([32, 9, {}, "com.y"]));
    assert_eq!(client.receive()[4], "wamp.error.resource_limit");
    // The flags lie over the file, as at the start.
    stentor.reload(&format!("shards = 1\n{open}"));
    assert!(stentor.reloaded().contains("applied=3 after_restart=0"));
    stentor.stop();
}

/// AU-AZ-06: the role of a session goes while it waits for an authorizer.
#[test]
fn a_role_is_removed_while_its_authorizer_is_asked() {
    let asking = "[[realm.role]]\nname = \"user\"\n[[realm.role.permission]]\nuri = \"com.t\"\n\
        allow = [\"publish\"]\nauthorizer = \"com.auth\"\n";
    let endpoint = HttpServer::start(|_| Reply::Say(200, r#"{"role":"user"}"#.into()));
    let file = |roles: &str| file(&format!("url = \"{}\"\n{roles}", endpoint.url("/")));
    let stentor = Stentor::start(&file(asking));
    let mut authorizer = Client::join(&stentor.address, RAW);
    authorizer.register("com.auth");
    let heard = authorizer.subscribe("com.t");
    let mut user = log_in(&stentor.address, "joe", "pencil");
    user.send(&json!([16, 1, {"acknowledge": true}, "com.t", [1]]));
    let asked = authorizer.expect(68)[1].clone();
    stentor.reload(&file(""));
    assert_eq!(user.expect(6)[2], "wamp.close.killed");
    authorizer.send(&json!([70, asked, {}, [true]]));
    // What was asked about has not happened.
    stentor.reload(&file(USER));
    stentor.reloaded();
    stentor.reloaded();
    let mut user = log_in(&stentor.address, "joe", "pencil");
    user.send(&json!([16, 1, {"acknowledge": true}, "com.t", [2]]));
    user.expect(17);
    let event = authorizer.expect(36);
    assert_eq!((&event[1], &event[4]), (&json!(heard), &json!([2])));
    stentor.stop();
}

pub(super) fn log_in(address: &ListenAddress, authid: &str, ticket: &str) -> Client {
    let mut client = Client::open(address, RAW);
    let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
    let details = json!({"roles": roles, "authmethods": ["ticket"], "authid": authid});
    client.send(&json!([1, "realm1", details]));
    client.expect(4);
    client.send(&json!([5, ticket, {}]));
    client.welcomed();
    client
}

/// Added listeners are bound before anything is applied, removed ones keep their connections.
#[test]
fn listeners_come_and_go() {
    let base = config(2);
    let server = start(&base);
    let mut stays = Client::join(address(&server), RAW);
    let mut more = base;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_at = taken.local_addr().unwrap();
    more.listeners.push(Listener::on("127.0.0.1:0".parse().unwrap()));
    more.listeners[1].name = Some("second".into());
    let mut vain = more.clone();
    vain.listeners.push(Listener::on(ListenAddress::Tcp(taken_at)));
    vain.realms.clear();
    let error = server.reload(&vain).unwrap_err();
    assert!(matches!(&error, ReloadError::Listen { .. }), "{error}");
    assert!(error.to_string().contains("is another program using it?"), "{error}");
    assert_eq!(server.current_addresses().len(), 1);
    stays.subscribe("com.x");
    let changes = server.reload(&more).unwrap();
    let names: Vec<_> = changes.applied.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["listener `second` added"]);
    let addresses = server.current_addresses();
    assert_eq!(addresses[0], *address(&server), "it is the same socket");
    let mut second = Client::join(&addresses[1], RAW);
    let mut others = more.clone();
    others.listeners.remove(0);
    others.listeners[0].rawsocket = false;
    // Port 0 stands for the first listener that has it: that one stays, with other rules.
    let changes = server.reload(&others).unwrap();
    assert_eq!(changes.applied.len(), 2, "{changes:?}");
    eventually("the second stops listening", || Stream::connect(&addresses[1]).is_err());
    for client in [&mut stays, &mut second] {
        client.subscribe("com.y");
    }
    let mut refused = Client::on(Stream::connect(&addresses[0]).unwrap(), RAW);
    refused.write(&RAW.opening()).unwrap();
    assert!(refused.read_opening().is_err(), "RawSocket is off for new connections");
    let mut web = Client::join(&addresses[0], WS);
    web.subscribe("com.x");
    drop((stays, second, refused, web));
    settles(&server);
    server.stop().unwrap();
}

/// Certificates are read again although no file has changed its listener; a bad one changes
/// nothing, whatever else is new.
#[test]
fn a_bad_certificate_refuses_the_whole_reload() {
    let pki = Pki::new();
    let (old, new) = (pki.issue("old", &["localhost"]), pki.issue("new", &["localhost"]));
    let config = tls_config(1, &[&old]);
    let server = start(&config);
    let shown = || shown(address(&server), &pki.plain_client());
    assert_eq!(shown(), old.certificate);
    let mut broken = config.clone();
    broken.listeners[0].tls[0].certificate = "/no/such/file.pem".into();
    broken.realms.push(Realm::named("more"));
    let error = server.reload(&broken).unwrap_err();
    assert!(error.to_string().contains("/no/such/file.pem"), "{error}");
    assert!(server.router().realm("more").is_none(), "nothing is applied");
    fs::copy(&new.files.certificate, &old.files.certificate).unwrap();
    fs::copy(&new.files.key, &old.files.key).unwrap();
    server.reload(&config).unwrap();
    assert_eq!(shown(), new.certificate);
    server.stop().unwrap();
}

/// Those who judge are replaced, and what they are asked meanwhile is answered.
#[test]
fn authenticators_outside_are_replaced() {
    let says = |role: &'static str| {
        HttpServer::start(move |_| Reply::Say(200, format!(r#"{{"role":"{role}"}}"#)))
    };
    let (old, new) = (says("old"), says("new"));
    let with = |endpoint: &HttpServer| {
        let mut config = config(2);
        let way = AuthenticatorSettings::asking(Method::Ticket, endpoint.url("/"));
        config.realms[0].authenticators = vec![way, AuthenticatorSettings::anonymous("guest")];
        config
    };
    let server = start(&with(&old));
    let role = |server: &Server| {
        let mut client = Client::open(address(server), RAW);
        let details = json!({"roles": {"caller": {}}, "authmethods": ["ticket"], "authid": "joe"});
        client.send(&json!([1, "realm1", details]));
        client.expect(4);
        client.send(&json!([5, "x", {}]));
        let welcome: Value = client.expect(2);
        (client, welcome[2]["authrole"].clone())
    };
    let (mut stays, first) = role(&server);
    assert_eq!(first, "old");
    server.reload(&with(&new)).unwrap();
    let (_client, second) = role(&server);
    assert_eq!(second, "new");
    stays.send(&json!([48, 1, {}, "wamp.session.count"]));
    assert_eq!(stays.receive()[3], json!([2]), "whom somebody else has let in stays");
    assert_eq!(server.ended_threads().try_iter().count(), 0);
    server.stop().unwrap();
}

/// AU-AZ-06: whoever stands in the users file no more has no right to be here any more.
#[test]
fn a_users_file_is_read_again() {
    let entry = |authid: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["passwd", authid, "--method=ticket", "--role=user"]);
        let mut passwd = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        passwd.stdin.take().unwrap().write_all(b"pencil\n").unwrap();
        String::from_utf8(passwd.wait_with_output().unwrap().stdout).unwrap()
    };
    let (joe, jim) = (entry("joe"), entry("jim"));
    let text = file(&format!("users = \"users.toml\"\nreadable_by_others = true\n{USER}"));
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users.toml");
    let text = text.replace("\"users.toml\"", &format!("{users:?}"));
    fs::write(&users, format!("{joe}{jim}")).unwrap();
    let stentor = Stentor::start(&text);
    let [mut gone, mut stays] =
        ["joe", "jim"].map(|authid| log_in(&stentor.address, authid, "pencil"));
    fs::write(&users, &jim).unwrap();
    stentor.reload(&text);
    stentor.log.next_with("place=\"realm `realm1`, users\" what=\"0 added, 1 removed, 0 changed\"");
    assert_eq!(gone.expect(6)[2], "wamp.close.killed");
    stays.publish_acknowledged("com.x", &json!(1));
    fs::write(&users, "[[user]]\nauthid = 1\n").unwrap();
    stentor.reload(&text);
    stentor.log.next_with("cannot be used, nothing has changed");
    stays.publish_acknowledged("com.x", &json!(2));
    stentor.stop();
}
