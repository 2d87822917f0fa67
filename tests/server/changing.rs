//! What operators change over the admin listener of a running router, and who may not.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::{AdminToken, Config, ListenAddress, Secret};
use stentor::control::{Control, Order};
use stentor::net::Server;
use tempfile::TempDir;

use crate::running::{OPEN_REALM, Running, address_in};
use crate::sockets::{Client, Kind, Lines, PATIENCE, address, config, eventually, start};

const RAW: Kind = Kind::Raw(Codec::Json);
const TOKEN: &str = "HuuBgMNe6NTBKs4rJrgTx5zLKmh4qWsSUvyUTGHr5Gw";

fn start_guarded(token: Option<&str>) -> (Server, Control) {
    let mut config: Config = config(2);
    config.admin.listen = Some(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))));
    for realm in &mut config.realms {
        realm.authenticators[0].authid = Some("joe".into());
    }
    config.admin.token = token.map(|token| AdminToken::of(&Secret::new(token)));
    let server = start(&config);
    let control = Control::start(&config, server.view()).unwrap().unwrap();
    (server, control)
}

fn tcp(control: &Control) -> SocketAddr {
    control.address().and_then(ListenAddress::tcp).expect("it is on TCP")
}

/// The status and the body of the answer to a request with these lines in its head.
fn ask(host: SocketAddr, request: &str, head: &[String], body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(host).unwrap();
    let lines: String = head.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {lines}\r\n{body}"
    );
    // A router that refuses what it has not read closes early.
    let _ = socket.write_all(request.as_bytes());
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn bearer(token: &str) -> [String; 1] {
    [format!("Authorization: Bearer {token}")]
}

fn kick(control: &Control, order: &Value) -> (u16, Value) {
    let request = "POST /api/sessions/kick";
    let (status, body) = ask(tcp(control), request, &bearer(TOKEN), &order.to_string());
    (status, serde_json::from_str(&body).unwrap())
}

fn metric(host: SocketAddr, sample: &str) -> Option<String> {
    let (_, page) = ask(host, "GET /metrics", &[], "");
    page.lines().find_map(|line| line.strip_prefix(&format!("{sample} ")).map(str::to_owned))
}

#[test]
fn nothing_is_changed_without_the_token() {
    let (server, control) = start_guarded(Some(TOKEN));
    let host = tcp(&control);
    let mut client = Client::join(address(&server), RAW);
    let everybody = json!({ "realm": "realm1", "authid": "joe" }).to_string();
    for path in ["/api/reload", "/api/log-level", "/api/sessions/kick", "/api/drain"] {
        let request = format!("POST {path}");
        assert_eq!(ask(host, &request, &[], &everybody).0, 401, "{path}");
        assert_eq!(ask(host, &request, &bearer("no"), &everybody).0, 401, "{path}");
        assert_eq!(ask(host, &format!("GET {path}"), &bearer(TOKEN), "").0, 405, "{path}");
        for line in ["Origin: http://evil.example", "Host: evil.example", "Origin: null"] {
            let head = [bearer(TOKEN)[0].clone(), line.to_owned()];
            assert!([400, 403].contains(&ask(host, &request, &head, &everybody).0), "{line}");
        }
    }
    assert_eq!(ask(host, "GET /api/token", &bearer("no"), "").0, 401);
    assert_eq!(ask(host, "GET /api/token", &bearer(TOKEN), ""), (200, "{\"right\":true}\n".into()));
    let denied =
        |reason| metric(host, &format!("stentor_admin_denied_total{{reason=\"{reason}\"}}"));
    assert_eq!(denied("not_shown").as_deref(), Some("4"));
    assert_eq!(denied("wrong").as_deref(), Some("5"));
    // Nobody is locked out by others' wrong tokens.
    let answers: Vec<_> =
        (0..20).map(|_| ask(host, "POST /api/reload", &bearer("no"), "").0).collect();
    assert!(answers.contains(&429), "{answers:?}");
    assert_eq!(ask(host, "GET /api/token", &bearer(TOKEN), "").0, 200);
    assert!(control.orders().is_empty());
    client.subscribe("com.x");
}

#[test]
fn without_a_token_the_answer_says_what_to_configure() {
    let (_server, control) = start_guarded(None);
    let (status, body) = ask(tcp(&control), "POST /api/reload", &bearer(TOKEN), "");
    assert_eq!(status, 403);
    assert!(body.contains("set `token_file`") && body.contains("[admin]"), "{body}");
    assert_eq!(ask(tcp(&control), "GET /api/router", &[], "").0, 200, "reads are open");
}

#[test]
fn a_kicked_session_is_told_why_and_stands_among_the_closed() {
    let (server, control) = start_guarded(Some(TOKEN));
    let mut watcher = Client::join(address(&server), RAW);
    watcher.subscribe("wamp.session.on_leave");
    let mut client = Client::join(address(&server), RAW);
    let order = json!({
        "realm": "realm1",
        "session": client.session,
        "reason": "com.example.bye",
        "message": "late",
    });
    assert_eq!(kick(&control, &order), (200, json!({ "kicked": 1 })));
    let goodbye = client.expect(6);
    assert_eq!(goodbye, json!([6, { "message": "late" }, "com.example.bye"]));
    assert_eq!(watcher.expect(36)[4][0], json!(client.session));
    let (status, answer) = kick(&control, &order);
    assert_eq!(status, 404, "it is gone: {answer}");
    let host = tcp(&control);
    eventually("it stands among the closed", || {
        let (_, body) = ask(host, "GET /api/sessions/closed?reason=kicked", &[], "");
        let closed: Value = serde_json::from_str(&body).unwrap();
        closed["sessions"][0]["closed_by"] == "operator"
    });
    let count = |outcome| {
        metric(host, &format!("stentor_changes_total{{kind=\"kick\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((count("done").as_deref(), count("refused").as_deref()), (Some("1"), Some("1")));
    watcher.publish("com.x", &json!(1));
}

#[test]
fn orders_that_make_no_sense_kick_nobody() {
    let (server, control) = start_guarded(Some(TOKEN));
    let mut client = Client::join(address(&server), RAW);
    let session = client.session;
    let in_realm = |more: Value| {
        let mut order = json!({ "realm": "realm1" });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    for (order, status, words) in [
        (in_realm(json!({})), 400, "say either `session`"),
        (in_realm(json!({ "session": session, "authid": "x" })), 400, "say either `session`"),
        (in_realm(json!({ "session": session, "reason": "a b" })), 400, "`reason` must be a URI"),
        (
            in_realm(json!({ "session": session, "message": "x".repeat(300) })),
            400,
            "`message` must",
        ),
        (in_realm(json!({ "session": session, "who": 1 })), 400, "unknown field `who`"),
        (in_realm(json!({ "session": 0 })), 404, "no session 0"),
        (in_realm(json!({ "authid": "nobody" })), 200, "\"kicked\":0"),
        (in_realm(json!({ "session": session, "reason": "x".repeat(9_000) })), 413, "more than"),
        (json!({ "session": session }), 400, "several realms"),
        (json!({ "realm": "none", "session": session }), 404, "no realm `none`"),
        (json!({ "realm": "realm2", "session": session }), 404, "has no session"),
        (json!(1), 400, "not as it must be"),
    ] {
        let (was, answer) = kick(&control, &order);
        assert_eq!(was, status, "{order} {answer}");
        assert!(answer.to_string().contains(words), "{order}: {answer}");
    }
    client.subscribe("com.x");
}

/// In all shards, and more than are visited in one piece; those of another realm stay.
#[test]
fn all_sessions_of_an_authid_are_kicked_in_pieces() {
    let (server, control) = start_guarded(Some(TOKEN));
    let mut joe: Vec<_> = (0..300).map(|_| Client::join(address(&server), RAW)).collect();
    let mut other = Client::open(address(&server), RAW);
    other.hello("realm2");
    let order = json!({ "realm": "realm1", "authid": "joe" });
    assert_eq!(kick(&control, &order), (200, json!({ "kicked": 300 })));
    for client in &mut joe {
        assert_eq!(client.expect(6)[2], "wamp.close.killed");
    }
    assert_eq!(kick(&control, &order), (200, json!({ "kicked": 0 })));
    other.subscribe("com.x");
}

/// The command with its admin listener and the file of its token.
struct Stentor {
    process: Running,
    log: Lines,
    address: ListenAddress,
    admin: String,
    folder: TempDir,
}

impl Stentor {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("stentor.toml"), file("")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        let config = folder.path().join("stentor.toml");
        command.args(["--config", config.to_str().unwrap(), "--shards=2", "--log-format=human"]);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(process.stderr.take().unwrap());
        let address = address_in(&log.next_with("listening listener"));
        let line = log.next_with("listening for operators");
        let admin = line.split("url=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        Self { process: Running(process), log, address, admin, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn host(&self) -> SocketAddr {
        self.admin.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Runs a command with the token; whether it succeeded, and what it said.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(arguments).args(["--admin", &self.admin]);
        done(command.arg("--token-file").arg(self.path("token")))
    }
}

fn done(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// A realm in which everybody may do everything.
fn file(more: &str) -> String {
    format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n{OPEN_REALM}[admin]\nlisten = \"127.0.0.1:0\"\n\
         token_file = \"token\"\n{more}"
    )
}

#[test]
fn the_commands_reload_and_show_what_that_changes() {
    let mut stentor = Stentor::start();
    let mode = fs::metadata(stentor.path("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it was made for its owner");
    let (is_done, said) = stentor.run(&["changes"]);
    assert_eq!((is_done, &*said), (true, "there was no reload since the start\n"));
    fs::write(
        stentor.path("stentor.toml"),
        file("[limits]\nnesting = 32\n[tuning]\nbacklog = 9\n"),
    )
    .unwrap();
    let (is_done, said) = stentor.run(&["reload"]);
    assert!(is_done, "{said}");
    let changes = "limits.nesting from 64 to 32\ntuning.backlog from 1024 to 9, after a restart of \
                   the router\n";
    assert_eq!(said, changes);
    assert!(stentor.run(&["changes"]).1.ends_with(changes));
    assert_eq!(metric(stentor.host(), "stentor_config_reload_success").as_deref(), Some("1"));
    stentor.log.next_with("a reload was asked for operator=127.0.0.1:");
    // A broken file is an error of the command, and of the metric.
    fs::write(stentor.path("stentor.toml"), file("[limits]\nnestign = 32\n")).unwrap();
    let (is_done, said) = stentor.run(&["reload"]);
    assert!(!is_done && said.starts_with("error: unknown key `nestign`"), "{said}");
    assert!(said.contains("did you mean `nesting`?"), "{said}");
    assert_eq!(metric(stentor.host(), "stentor_config_reload_success").as_deref(), Some("0"));
    assert!(stentor.run(&["changes"]).1.contains("nestign = 32"));
    let (_, shown) = ask(stentor.host(), "GET /api/changes", &[], "");
    assert!(!shown.contains("nestign") && shown.contains("the log says why"), "{shown}");
    let (_, log) = ask(stentor.host(), "GET /api/log?limit=1000", &[], "");
    assert!(!log.contains("nestign") && log.contains("the configuration was refused"), "{log}");
    // A signal counts as well.
    fs::write(stentor.path("stentor.toml"), file("")).unwrap();
    stentor.process.signal("HUP");
    eventually("it was read again", || {
        stentor.run(&["changes"]).1.contains("limits.nesting from 32 to 64")
    });
    let reloads = "stentor_changes_total{kind=\"reload\",outcome=\"done\"}";
    assert_eq!(metric(stentor.host(), reloads).as_deref(), Some("2"));
    stentor.process.signal("TERM");
    assert_eq!(stentor.process.exit_code(), Some(0));
}

#[test]
fn the_commands_kick_and_change_the_level() {
    let stentor = Stentor::start();
    let mut client = Client::join(&stentor.address, RAW);
    let (is_done, said) = stentor.run(&["log-level", "debgu"]);
    assert!(!is_done && said.contains("`debgu` is no log level"), "{said}");
    assert!(stentor.run(&["log-level", "warn"]).0);
    stentor.log.next_with("another log level was asked for operator=127.0.0.1:");
    assert!(stentor.run(&["log-level", "info"]).0);
    stentor.log.next_with("the log level was changed");
    let (is_done, said) = stentor.run(&["kick", &client.session.to_string()]);
    assert_eq!((is_done, &*said), (true, "1 session was kicked\n"));
    assert_eq!(client.expect(6)[2], "wamp.close.killed");
    stentor.log.next_with("sessions were kicked operator=127.0.0.1:");
    let (is_done, said) = stentor.run(&["kick", &client.session.to_string()]);
    assert!(!is_done && said.contains("has no session"), "{said}");
    // Without the token, or with one that is none.
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    let (is_done, said) = done(command.args(["reload", "--admin", &stentor.admin]));
    assert!(!is_done && said.contains("--token-file names the file"), "{said}");
    let token = fs::read_to_string(stentor.path("token")).unwrap();
    let (is_done, said) = done(command.env("STENTOR_ADMIN_TOKEN", token.trim_end()));
    assert_eq!((is_done, &*said), (true, "nothing has changed\n"));
    let (is_done, said) = done(command.env("STENTOR_ADMIN_TOKEN", "short"));
    assert!(!is_done && said.contains("STENTOR_ADMIN_TOKEN holds no token"), "{said}");
}

/// As without a router that runs.
#[test]
fn the_exit_code_of_explain_says_what_is_decided() {
    let stentor = Stentor::start();
    let code = |uri: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["explain", "publish", uri, "--live", "--admin", &stentor.admin]);
        command.args(more).output().unwrap().status.code()
    };
    assert_eq!(code("com.x", &["--role", "anonymous"]), Some(0));
    assert_eq!(code("wamp.session.on_join", &["--role", "anonymous"]), Some(1));
    assert_eq!(code("wamp.session.on_join", &["--role", "anonymous", "--json"]), Some(1));
    assert_eq!(code("com.x", &[]), Some(0), "nobody was asked about");
    assert_eq!(code("com.x", &["--role", "nobody"]), Some(1), "of a role without rules");
    assert_eq!(code("com.x", &["--realm", "nowhere"]), Some(2));
}

/// As SIGTERM has it, but for the time.
#[test]
fn the_command_drains() {
    let mut stentor = Stentor::start();
    let mut client = Client::join(&stentor.address, RAW);
    let (is_done, said) = stentor.run(&["drain", "--drain-ms", "86400001"]);
    assert!(!is_done && said.contains("`drain_ms` must be 86400000 at most"), "{said}");
    let (is_done, said) = stentor.run(&["drain", "--drain-ms", "50"]);
    assert!(is_done && said.ends_with("in 50 ms at most\n"), "{said}");
    stentor.log.next_with("draining sessions=1 within_ms=50");
    assert_eq!(client.expect(6)[2], "wamp.close.system_shutdown");
    client.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    stentor.log.next_with("drained");
    assert_eq!(stentor.process.exit_code(), Some(0));
}

/// A router without sessions stops in the moment in which it is told to drain.
#[test]
fn who_asks_for_a_drain_is_answered_although_all_ends_at_once() {
    for _ in 0..20 {
        let (server, control) = start_guarded(Some(TOKEN));
        let host = tcp(&control);
        let asked = thread::spawn(move || ask(host, "POST /api/drain", &bearer(TOKEN), "{}"));
        match control.orders().recv_timeout(PATIENCE) {
            Ok(Order::Drain(None, answer)) => answer.give(7),
            other => panic!("{other:?} is no drain"),
        }
        drop(control);
        assert_eq!(asked.join().unwrap(), (200, "{\"drain_ms\":7}\n".to_owned()));
        server.stop().unwrap();
    }
}

/// A file that everybody can read is refused before the router starts.
#[test]
fn a_token_that_everybody_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("stentor.toml"), file("")).unwrap();
    fs::write(path("token"), TOKEN).unwrap();
    fs::set_permissions(path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        done(command.arg("check").arg(path("stentor.toml")))
    };
    let (is_done, said) = check();
    assert!(!is_done && said.contains("everybody on this machine can read"), "{said}");
    assert!(said.contains("chmod 600") && !said.contains(TOKEN), "{said}");
    fs::set_permissions(path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(check().0);
}
