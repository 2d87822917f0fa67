//! The management realm of a running router: what its WAMP clients see, change and hear, and what
//! those cost who ask for too much.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{fs, iter};

use serde_json::{Value, json};
use stentor::authorization::{ManagementProcedure, ManagementTopic};
use stentor::codec::Codec;
use stentor::config::{Config, ListenAddress, Loader};
use stentor::control::Control;
use stentor::net::Server;
use tempfile::TempDir;

use crate::running::{OPEN_REALM, Running, address_in};
use crate::sockets::{Client, Kind, Lines, Stream, address, eventually, settles};

const RAW: Kind = Kind::Raw(Codec::Json);
const KINDS: [Kind; 3] = [RAW, Kind::Ws(Codec::MsgPack), Kind::Ws(Codec::Cbor)];

/// Everybody has the ticket `abc`.
const USERS: &str = r#"
[[user]]
authid = "vera"
role = "viewer"
ticket = "$sha256$ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0"
[[user]]
authid = "otto"
role = "operator"
ticket = "$sha256$ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0"
[[user]]
authid = "gwen"
role = "guest"
ticket = "$sha256$ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0"
"#;

/// A realm for everybody, and one to manage the router from. There is no admin listener.
fn file(more: &str) -> String {
    format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n{OPEN_REALM}[[realm]]\nname = \"ops\"\n\
         [[realm.authenticator]]\nmethod = \"ticket\"\nusers = \"users.toml\"\n\
         [[realm.role]]\nname = \"viewer\"\n[[realm.role]]\nname = \"operator\"\n\
         [[realm.role]]\nname = \"guest\"\n[[realm.role.permission]]\nuri = \"\"\n\
         match = \"prefix\"\nallow = [\"publish\", \"subscribe\"]\n\
         [management]\nrealm = \"ops\"\nwatch = [\"viewer\"]\nact = [\"operator\"]\n{more}"
    )
}

fn folder(more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stentor.toml"), file(more)).unwrap();
    fs::write(folder.path().join("users.toml"), USERS).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(folder.path().join("users.toml"), mode).unwrap();
    folder
}

/// The command with that file.
struct Stentor {
    process: Running,
    log: Lines,
    address: ListenAddress,
    file: PathBuf,
    _folder: TempDir,
}

impl Stentor {
    fn start() -> Self {
        let folder = folder("");
        let file = folder.path().join("stentor.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["--config", file.to_str().unwrap(), "--shards=2", "--log-format=human"]);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(process.stderr.take().unwrap());
        let address = address_in(&log.next_with("listening listener"));
        Self { process: Running(process), log, address, file, _folder: folder }
    }
}

fn login(mut client: Client, authid: &str) -> Client {
    let roles = json!({"subscriber": {}, "caller": {}});
    let details = json!({"roles": roles, "authmethods": ["ticket"], "authid": authid});
    client.send(&json!([1, "ops", details]));
    client.expect(4);
    client.send(&json!([5, "abc", {}]));
    client.welcomed();
    client
}

fn join(address: &ListenAddress, kind: Kind, authid: &str) -> Client {
    login(Client::open(address, kind), authid)
}

fn send_call(client: &mut Client, procedure: &str, arguments: &Value) {
    let request = client.next_request();
    client.send(&json!([48, request, {}, procedure, [], arguments]));
}

/// What a procedure says, or its error with what that says.
#[track_caller]
fn call(
    client: &mut Client,
    procedure: &str,
    arguments: &Value,
) -> Result<Value, (String, String)> {
    send_call(client, procedure, arguments);
    let answer = client.receive();
    match answer[0].as_u64() {
        Some(50) => Ok(answer[3][0].clone()),
        _ => {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            Err((text(&answer[4]), text(&answer[5][0])))
        }
    }
}

fn refused(client: &mut Client, procedure: &str, arguments: &Value) -> String {
    let (error, said) = call(client, procedure, arguments).unwrap_err();
    format!("{error}: {said}")
}

/// In every serializer, each procedure that only looks: what the admin listener shows.
#[test]
fn a_viewer_sees_what_operators_see() {
    let stentor = Stentor::start();
    let mut client = Client::join(&stentor.address, RAW);
    client.subscribe("com.x");
    for kind in KINDS {
        let mut viewer = join(&stentor.address, kind, "vera");
        let mut see = |procedure: &str, arguments: Value| {
            call(&mut viewer, procedure, &arguments)
                .unwrap_or_else(|e| panic!("{procedure}: {e:?}"))
        };
        let router = see("stentor.router.get", json!({}));
        assert_eq!((&router["shards"], &router["realms"][0]["name"]), (&json!(2), &json!("ops")));
        assert_eq!(see("stentor.router.get_health", json!({}))["status"], "ok");
        assert_eq!(see("stentor.shard.list", json!({})).as_array().unwrap().len(), 2);
        let rows = see("stentor.session.list", json!({"realm": "realm1", "limit": 7}));
        assert_eq!(rows["sessions"][0]["session"], json!(client.session));
        assert_eq!(rows["sessions"][0]["subscriptions"], 1);
        assert!(see("stentor.session.list_closed", json!({}))["sessions"].is_array());
        assert!(see("stentor.session.list_reasons", json!({}))["reasons"].is_array());
        assert!(see("stentor.topic.list", json!({"sort": "events"}))["topics"].is_array());
        assert!(see("stentor.procedure.list", json!({}))["procedures"].is_array());
        let what = json!({"action": "publish", "uri": "com.x", "realm": "realm1"});
        assert_eq!(see("stentor.request.explain", what)["receivers"]["count"], 1);
        assert_eq!(see("stentor.history.list", json!({})), json!({"histories": []}));
        assert_eq!(see("stentor.store.get", json!({}))["is_used"], false);
        assert_eq!(see("stentor.webhook.list", json!({})), json!({"webhooks": []}));
        assert!(
            !see("stentor.log.list", json!({"limit": 3}))["lines"].as_array().unwrap().is_empty()
        );
        assert_eq!(see("stentor.config.get_changes", json!({}))["time"], Value::Null);
        let said = refused(&mut viewer, "stentor.node.list", &json!({}));
        let alone = "wamp.error.feature_not_supported: this router is no node of a cluster: its";
        assert!(said.starts_with(alone), "{said}");
        for procedure in ManagementProcedure::ALL.iter().filter(|procedure| procedure.is_change()) {
            let said = refused(&mut viewer, procedure.uri(), &json!({}));
            assert!(said.starts_with("wamp.error.not_authorized"), "{said}");
        }
    }
    let mut viewer = join(&stentor.address, RAW, "vera");
    for (procedure, arguments, words) in [
        ("stentor.session.list", json!({"realms": "x"}), "unknown field `realms`"),
        ("stentor.session.list", json!({"limit": "x"}), "invalid type: string"),
        ("stentor.router.get", json!({"x": 1}), "unknown field `x`"),
        ("stentor.log.list", json!({"level": "x"}), "unknown variant `x`"),
        ("stentor.request.explain", json!({"action": "call", "uri": "com.x"}), "`realm1`"),
    ] {
        let said = refused(&mut viewer, procedure, &arguments);
        assert!(said.starts_with("wamp.error.invalid_argument"), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn an_operator_changes_what_operators_change() {
    let mut stentor = Stentor::start();
    let mut client = Client::join(&stentor.address, RAW);
    let mut operator = join(&stentor.address, KINDS[1], "otto");
    let mut viewer = join(&stentor.address, RAW, "vera");
    let on_reload = viewer.subscribe("stentor.config.on_reload");
    let order = json!({"realm": "realm1", "session": client.session, "message": "late"});
    assert_eq!(call(&mut operator, "stentor.session.kick", &order), Ok(json!({"kicked": 1})));
    assert_eq!(client.expect(6), json!([6, {"message": "late"}, "wamp.close.killed"]));
    let line = stentor.log.next_with("a kick was asked for");
    let who = format!("\"otto\" as session {} on ops", operator.session);
    assert!(line.contains(&who), "{line}");
    let said = refused(&mut operator, "stentor.session.kick", &order);
    assert!(said.starts_with("wamp.error.no_such_session: realm `realm1` has no"), "{said}");
    let said = refused(&mut operator, "stentor.log.set_level", &json!({"level": "debgu"}));
    assert!(said.contains("`debgu` is no log level"), "{said}");
    let level = json!({"level": "debug"});
    assert_eq!(call(&mut operator, "stentor.log.set_level", &level), Ok(level));

    fs::write(&stentor.file, file("[limits]\nnesting = 32\n")).unwrap();
    let changes = call(&mut operator, "stentor.config.reload", &json!({})).unwrap();
    assert_eq!(changes["applied"][0], json!({"place": "limits.nesting", "what": "from 64 to 32"}));
    let event = viewer.expect(36);
    assert_eq!((&event[1], &event[4][0]["applied"]), (&json!(on_reload), &changes["applied"]));
    fs::write(&stentor.file, file("[limits]\nnestign = 32\n")).unwrap();
    let said = refused(&mut operator, "stentor.config.reload", &json!({}));
    assert!(said.contains("did you mean `nesting`?"), "{said}");
    let event = viewer.expect(36).to_string();
    assert!(event.contains("refused") && !event.contains("nestign"), "{event}");
    let shown = call(&mut viewer, "stentor.config.get_changes", &json!({})).unwrap().to_string();
    assert!(!shown.contains("nestign"), "lines of the file are for those who change it: {shown}");
    let log = call(&mut viewer, "stentor.log.list", &json!({"limit": 1_000})).unwrap().to_string();
    assert!(log.contains("the configuration was refused") && !log.contains("nestign"), "{log}");
    let shown = call(&mut operator, "stentor.config.get_changes", &json!({})).unwrap().to_string();
    assert!(shown.contains("nestign"), "{shown}");

    let said = refused(&mut operator, "stentor.router.drain", &json!({"drain_ms": 86_400_001}));
    assert!(said.contains("must be 86400000 at most"), "{said}");
    let drain = json!({"drain_ms": 5_000});
    assert_eq!(call(&mut operator, "stentor.router.drain", &drain), Ok(drain));
    for client in [&mut operator, &mut viewer] {
        assert_eq!(client.expect(6)[2], "wamp.close.system_shutdown");
        client.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    }
    assert_eq!(stentor.process.exit_code(), Some(0));
}

/// Roles come and go by a reload, also all of them.
#[test]
fn a_reload_changes_who_manages() {
    let stentor = Stentor::start();
    let mut operator = join(&stentor.address, RAW, "otto");
    let mut viewer = join(&stentor.address, RAW, "vera");
    viewer.subscribe("stentor.router.on_update");
    let text = file("").replace("watch = [\"viewer\"]", "watch = []");
    fs::write(&stentor.file, &text).unwrap();
    let changes = call(&mut operator, "stentor.config.reload", &json!({})).unwrap();
    assert_eq!(changes["applied"], json!([{"place": "management.watch", "what": "changed"}]));
    eventually("the viewer sees nothing any more", || {
        send_call(&mut viewer, "stentor.router.get", &json!({}));
        // Events of before may come first.
        let answer = iter::repeat_with(|| viewer.receive()).find(|it| it[0] != 36).unwrap();
        answer[4] == "wamp.error.not_authorized"
    });
    fs::write(&stentor.file, text.replace("act = [\"operator\"]", "act = [\"root\"]")).unwrap();
    let said = refused(&mut operator, "stentor.config.reload", &json!({}));
    assert!(said.contains("realm `ops` has no role `root`; its roles: `viewer`"), "{said}");
    let off = text.replace("act = [\"operator\"]", "act = []");
    fs::write(&stentor.file, &off).unwrap();
    // Its place is gone before the answer is there, which it gets all the same.
    assert!(call(&mut operator, "stentor.config.reload", &json!({})).is_ok());
    fs::write(&stentor.file, file("")).unwrap();
    stentor.process.signal("HUP");
    eventually("it is as it was", || {
        send_call(&mut viewer, "stentor.router.get", &json!({}));
        viewer.receive()[0] == 50
    });
}

/// Subscribes; events of what it has subscribed to before may come first.
fn subscribe(viewer: &mut Client, topic: ManagementTopic) -> u64 {
    let request = viewer.next_request();
    viewer.send(&json!([32, request, {}, topic.uri()]));
    let mut messages = iter::repeat_with(|| viewer.receive());
    let subscribed = messages.find(|message| message[0] == 33).unwrap();
    subscribed[2].as_u64().unwrap()
}

#[test]
fn what_happens_is_told_while_somebody_listens() {
    let stentor = Stentor::start();
    let mut viewer = join(&stentor.address, KINDS[2], "vera");
    let topics = ManagementTopic::ALL.map(|topic| (topic, subscribe(&mut viewer, topic)));
    let number = |wanted| topics.iter().find(|(topic, _)| *topic == wanted).unwrap().1;
    let client = Client::join(&stentor.address, RAW);
    drop(client);
    let (mut seen, mut closed) = (Vec::new(), Value::Null);
    while closed.is_null() || seen.len() < 3 {
        let event = viewer.expect(36);
        let subscription = event[1].as_u64().unwrap();
        if subscription == number(ManagementTopic::SessionOnClose) {
            closed = event[4][0].clone();
        }
        if !seen.contains(&subscription) {
            seen.push(subscription);
        }
    }
    assert_eq!(
        (&closed["missed"], &closed["sessions"][0]["reason"]),
        (&json!(0), &json!("transport_lost"))
    );
    assert!(!seen.contains(&number(ManagementTopic::ConfigOnReload)), "there was none");
}

/// Who may subscribe to everything, and does, hears what others of its realm hear, and nothing of
/// the router.
#[test]
fn a_pattern_hears_nothing_of_the_router() {
    let stentor = Stentor::start();
    let mut viewer = join(&stentor.address, RAW, "vera");
    let mut guest = join(&stentor.address, RAW, "gwen");
    let request = guest.next_request();
    guest.send(&json!([32, request, {"match": "prefix"}, ""]));
    guest.expect(33);
    for topic in ManagementTopic::ALL {
        subscribe(&mut viewer, topic);
    }
    drop(Client::join(&stentor.address, RAW));
    let mut heard = 0;
    // The updates of three seconds, and the session that has ended.
    while heard < 7 {
        heard += usize::from(viewer.receive()[0] == 36);
    }
    let request = guest.next_request();
    guest.send(&json!([16, request, {"exclude_me": false}, "com.x", ["own"]]));
    // It hears of sessions and subscriptions of its realm.
    let mut topics = iter::repeat_with(|| guest.expect(36)[3]["topic"].clone());
    let own = topics.find(|topic| {
        let topic = topic.as_str().unwrap();
        assert!(!topic.starts_with("stentor."), "{topic}");
        topic == "com.x"
    });
    assert!(own.is_some());
}

fn start(change: impl FnOnce(&mut Config)) -> (Server, Control, TempDir) {
    let folder = folder("");
    let mut config =
        Loader::from_file(&folder.path().join("stentor.toml")).unwrap().finish().unwrap();
    config.shards = 2;
    change(&mut config);
    let server = Server::start(&config).unwrap();
    let control = Control::start(&config, server.view()).unwrap().unwrap();
    assert!(control.address().is_none() && control.url().is_none(), "no admin listener");
    (server, control, folder)
}

/// Thousands of calls whose answers are not read: each waits for the one before it, the router
/// keeps as much as for any client that does not read, and others are answered.
#[test]
fn a_flood_of_calls_costs_its_sender() {
    let (server, _control, _folder) = start(|config| {
        config.output.hard_bytes = 256 * 1024;
        config.output.soft_bytes = 128 * 1024;
        config.limits.message_bytes = 128 * 1024;
        config.tuning.send_buffer_bytes = Some(16 * 1024);
    });
    let stream = Stream::connect_small(address(&server));
    let mut hostile = login(Client::open_on(stream, RAW).unwrap(), "vera");
    for _ in 0..3_000 {
        send_call(&mut hostile, "stentor.session.list_reasons", &json!({}));
    }
    let mut viewer = join(address(&server), RAW, "vera");
    for _ in 0..50 {
        let rows = call(&mut viewer, "stentor.session.list", &json!({})).unwrap();
        assert_eq!(rows["count"], 2, "{rows}");
        let held = server.snapshot().output_bytes;
        assert!(held < 512 * 1024, "{held} bytes wait");
    }
    // Whoever reads gets all of it.
    for _ in 0..3_000 {
        hostile.expect(50);
    }
    drop((hostile, viewer));
    settles(&server);
    server.stop().unwrap();
}

/// No call stays without an answer when nobody is left to give one, or when its caller goes.
#[test]
fn without_an_attendant_calls_are_refused() {
    let (server, control, _folder) = start(|_| {});
    let mut viewer = join(address(&server), RAW, "vera");
    assert!(call(&mut viewer, "stentor.router.get", &json!({})).is_ok());
    let mut leaver = join(address(&server), RAW, "vera");
    send_call(&mut leaver, "stentor.session.list", &json!({}));
    drop(leaver);
    drop(control);
    let said = refused(&mut viewer, "stentor.router.get", &json!({}));
    assert!(said.starts_with("wamp.error.resource_limit: "), "{said}");
    drop(viewer);
    settles(&server);
    server.stop().unwrap();
}

/// An answer takes its part of what may be held, as a publication does.
#[test]
fn an_answer_that_is_too_large_to_be_held_is_refused() {
    let (server, _control, _folder) = start(|config| {
        config.limits.message_bytes = 128 * 1024;
        config.limits.held_total_bytes = 128 * 1024;
    });
    let mut viewer = join(address(&server), RAW, "vera");
    let crowd: Vec<_> = (0..80).map(|_| Client::join(address(&server), RAW)).collect();
    let said = refused(&mut viewer, "stentor.session.list", &json!({}));
    assert!(said.starts_with("wamp.error.resource_limit: the answer would take"), "{said}");
    let rows = call(&mut viewer, "stentor.session.list", &json!({"limit": 3})).unwrap();
    assert_eq!((&rows["count"], rows["sessions"].as_array().unwrap().len()), (&json!(81), 3));
    drop((viewer, crowd));
    settles(&server);
    server.stop().unwrap();
}

/// Calls that are being answered when the router's management ends, those that wait for their turn
/// and those that are still in the line: each caller hears of it.
#[test]
fn calls_under_way_end_when_nobody_answers_any_more() {
    let (server, control, _folder) = start(|config| config.shards = 1);
    let mut viewer = join(address(&server), RAW, "vera");
    let mut operators: Vec<_> = (0..16).map(|_| join(address(&server), RAW, "otto")).collect();
    for operator in &mut operators {
        send_call(operator, "stentor.config.reload", &json!({}));
    }
    eventually("the first order is given, and nobody carries it out", || {
        !control.orders().is_empty()
    });
    // The shard has read what all have sent when it has answered somebody since, twice.
    for _ in 0..2 {
        assert!(call(&mut viewer, "stentor.router.get_health", &json!({})).is_ok());
    }
    assert_eq!(control.orders().len(), 1, "the others wait for it");
    drop(control);
    for operator in &mut operators {
        let error = operator.expect(8);
        assert_eq!(error[4], "wamp.error.canceled", "{error}");
    }
    let said = refused(&mut operators[0], "stentor.config.reload", &json!({}));
    assert!(said.starts_with("wamp.error.resource_limit: "), "{said}");
    drop((viewer, operators));
    settles(&server);
    server.stop().unwrap();
}
