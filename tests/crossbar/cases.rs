//! Parts of configurations where something could go wrong: what becomes of each, and what is said.

use serde_json::{Value, json};
use stentor::config::{Config, Method};
use stentor::crossbar::{
    Environment, Format, Imported, Options, Severity, Start, Unreadable, import,
};
use stentor::router::RequestIdCheck;

use super::{imported, load};

/// A node with this router.
pub(super) fn node(router: &Value) -> Imported {
    let mut worker = json!({"type": "router"});
    for (key, value) in router.as_object().expect("a section") {
        worker[key] = value.clone();
    }
    imported(&json!({"version": 2, "workers": [worker]}).to_string(), Format::Json)
}

pub(super) fn realm(roles: &Value) -> Value {
    json!([{"name": "realm1", "roles": roles}])
}

/// A role with one rule for everything.
pub(super) fn free(name: &str) -> Value {
    let allow = json!({"call": true, "register": true, "publish": true, "subscribe": true});
    json!({"name": name, "permissions": [{"uri": "", "match": "prefix", "allow": allow}]})
}

pub(super) fn websocket(port: u16, more: &Value) -> Value {
    let mut transport = json!({"type": "websocket", "endpoint": {"type": "tcp", "port": port}});
    for (key, value) in more.as_object().expect("a section") {
        transport[key] = value.clone();
    }
    transport
}

pub(super) fn says(imported: &Imported, severity: Severity, place: &str) -> bool {
    imported.notes.iter().any(|note| note.severity == severity && note.place == place)
}

pub(super) fn loaded(imported: &Imported) -> Config {
    load(imported).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml))
}

#[test]
fn a_transport_keeps_its_users_to_itself() {
    let backend = json!({"auth": {"anonymous": {"type": "static", "role": "backend"}}});
    let users = json!({"joe": {"ticket": "pencil", "role": "backend"}});
    let tickets = json!({"auth": {"ticket": {"type": "static", "principals": users}}});
    let node = node(&json!({
        "realms": realm(&json!([free("anonymous"), free("backend")])),
        "transports": [
            websocket(8080, &json!({})),
            websocket(8081, &backend),
            websocket(8082, &tickets),
        ],
    }));
    let config = loaded(&node);
    let ways = &config.realms[0].authenticators;
    let told: Vec<_> = ways.iter().map(|way| (way.anonymous_role(), &*way.listeners)).collect();
    let name = |number: usize| config.listeners[number].name.clone().unwrap_or_default();
    assert_eq!(told[0], ("anonymous", &[name(0)][..]));
    assert_eq!(told[1], ("backend", &[name(1)][..]));
    assert_eq!((ways[2].method, &*ways[2].listeners), (Method::Ticket, &[][..]));
    assert_eq!(config.listeners[0].authmethods, [Method::Anonymous]);
    assert_eq!(config.listeners[2].authmethods, [Method::Ticket]);
}

#[test]
fn nothing_is_opened_whose_lock_cannot_be_had() {
    let cookie = json!({"auth": {"cookie": {"type": "static"}}});
    let function = json!({"auth": {"ticket": {"type": "function", "create": "a.b"}}});
    let mut secure = websocket(8083, &json!({}));
    secure["endpoint"]["tls"] = json!({"certificate": "a.pem"});
    let signed = json!({"type": "publisher", "realm": "realm1", "role": "anonymous",
        "options": {"key": "k", "secret": "s"}});
    let plain = json!({"type": "caller", "realm": "realm1", "role": "anonymous",
        "options": {"require_tls": true}});
    let node = node(&json!({
        "realms": realm(&json!([free("anonymous")])),
        "transports": [
            websocket(8080, &cookie),
            websocket(8081, &function),
            secure,
            {"type": "web", "endpoint": {"type": "tcp", "port": 8084},
                "paths": {"/": {"type": "static", "directory": "../web"}, "p": signed, "c": plain}},
        ],
    }));
    let config = loaded(&node);
    assert_eq!(config.listeners.len(), 1, "{}", node.toml);
    assert!(config.listeners[0].paths.is_empty(), "files alone open no WebSocket");
    assert!(!node.toml.contains("http ="), "{}", node.toml);
    for place in [
        "workers[0].transports[0]",
        "workers[0].transports[1].auth.ticket",
        "workers[0].transports[2].endpoint.tls",
        "workers[0].transports[3].paths.p.options.secret",
        "workers[0].transports[3].paths.c.options.require_tls",
    ] {
        assert!(says(&node, Severity::Missing, place), "{place}: {:?}", node.notes);
    }
    assert!(config.realms[0].authenticators.is_empty(), "nobody comes in: {}", node.toml);
}

#[test]
fn users_join_the_realms_where_their_roles_are() {
    let users = json!({
        "ann": {"ticket": "one", "role": "a"},
        "ben": {"ticket": "two", "role": "b"},
        "cid": {"ticket": "three", "role": "nowhere"},
        "": {"ticket": "four", "role": "a"},
    });
    let auth = json!({"auth": {"ticket": {"type": "static", "principals": users}}});
    let node = node(&json!({
        "realms": [
            {"name": "realm1", "roles": [free("a")]},
            {"name": "realm2", "roles": [free("a"), free("b")]},
        ],
        "transports": [websocket(8080, &auth)],
    }));
    let config = loaded(&node);
    let names = |realm: usize| -> Vec<String> {
        let ways = &config.realms[realm].authenticators;
        ways[0].principals.iter().map(|user| user.authid.to_string()).collect()
    };
    assert_eq!(names(0), ["ann"]);
    assert_eq!(names(1), ["ann", "ben"]);
    for ticket in ["one", "two", "three"] {
        let is_there = node.files.iter().any(|file| file.text.contains(&format!("\"{ticket}\"")));
        assert!(!is_there, "`{ticket}` stands in a file as it is");
    }
    assert!(node.files.iter().all(|file| file.is_private));
}

#[test]
fn secrets_of_wampcra_are_what_clients_know() {
    let users = json!({
        "plain": {"secret": "a \"b\" $c", "role": "a"},
        "salted": {"secret": "passwd", "role": "a", "salt": "salt", "iterations": 1, "keylen": 32},
        "derived": {"secret": "VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLw=", "role": "a",
            "salt": "salt", "iterations": 1, "keylen": 32},
    });
    let auth = json!({"auth": {"wampcra": {"type": "static", "users": users}}});
    let node = node(&json!({
        "realms": realm(&json!([free("a")])),
        "transports": [websocket(8080, &auth)],
    }));
    loaded(&node);
    let text = |name: &str| {
        let found = node.files.iter().find(|file| file.name == name);
        found.map(|file| file.text.clone()).expect("it is written")
    };
    let users = text("users-wampcra.toml");
    assert!(users.contains("wampcra = \"${CRA_PLAIN}\""), "{users}");
    let keys: Vec<_> = users.lines().filter(|line| line.contains("$pbkdf2-sha256$")).collect();
    let [one, other] = keys[..] else { panic!("{users}") };
    assert_eq!(one, other, "the key that was derived already is used as it is");
    assert!(text("secrets.env").contains("CRA_PLAIN=\"a \\\"b\\\" \\$c\"\n"));
}

#[test]
fn components_come_in_by_a_door_of_their_own() {
    let class = json!({"type": "class", "classname": "app.Main", "realm": "realm1"});
    let component = |role: &str| {
        let mut component = class.clone();
        component["role"] = role.into();
        component
    };
    let node = node(&json!({
        "realms": realm(&json!([free("anonymous"), free("backend")])),
        "transports": [websocket(8080, &json!({}))],
        "components": [component("backend"), component("anonymous"), component("trusted")],
    }));
    let config = loaded(&node);
    let sockets: Vec<_> = config.listeners[1..].iter().map(|one| one.address.to_string()).collect();
    assert_eq!(sockets, ["unix:/run/stentor/backend.sock", "unix:/run/stentor/trusted.sock"]);
    let role_at = |name: &str| -> Vec<&str> {
        let ways = config.realms[0].authenticators.iter();
        let here = ways.filter(|way| way.listeners.iter().any(|known| known == name));
        here.map(|way| way.anonymous_role()).collect()
    };
    assert_eq!(role_at("websocket"), ["anonymous"]);
    assert_eq!(role_at("components-backend"), ["backend"]);
    assert_eq!(role_at("components-trusted"), ["trusted"]);
    let settings: Vec<Value> = ["main.json", "main-2.json"]
        .into_iter()
        .map(|name| {
            let file = node.files.iter().find(|file| file.name == name).expect("it is written");
            serde_json::from_str(&file.text).expect("it is JSON")
        })
        .collect();
    assert_eq!(settings[0]["transport"]["endpoint"]["path"], "/run/stentor/backend.sock");
    assert_eq!(settings[1]["transport"]["url"], "ws://127.0.0.1:8080/ws");
}

/// The second router's clients must not get into the first one's realm.
#[test]
fn two_routers_in_one_keep_their_clients_apart() {
    let router = |port: u16, name: &str| {
        json!({"type": "router", "realms": [{"name": name, "roles": [free("anonymous")]}],
            "transports": [websocket(port, &json!({}))]})
    };
    let workers = json!({"workers": [router(8080, "one"), router(8081, "two")]});
    let imported = imported(&workers.to_string(), Format::Json);
    let config = loaded(&imported);
    for (number, realm) in config.realms.iter().enumerate() {
        let name = config.listeners[number].name.clone().expect("it has one");
        assert_eq!(realm.authenticators[0].listeners, [name]);
    }
}

#[test]
fn words_of_the_file_stay_words() {
    let auth = json!({"auth": {"anonymous": {"type": "static", "role": "a\"\n[admin]"}}});
    let arguments = json!(["-x", "a b", "$HOME", "50%", "\"", "line\nbreak"]);
    let text = json!({"workers": [
        {"type": "router", "realms": [{"name": "realm1", "roles": [
            {"name": "a\"\n[admin]", "permissions": [{"uri": "${HOME}", "match": "exact",
                "allow": {"call": true}}]}]}],
            "transports": [websocket(8080, &auth)]},
        {"type": "guest", "executable": "run", "arguments": arguments,
            "options": {"env": {"vars": {"A\nB": "x"}}, "workdir": "x\ny"}},
    ]});
    let imported = imported(&text.to_string(), Format::Json);
    let config = loaded(&imported);
    assert_eq!(config.realms[0].access.roles()[0].name, "a\"\n[admin]");
    assert_eq!(config.realms[0].access.roles()[0].permissions[0].uri, "${HOME}");
    let unit = imported.files.iter().find(|file| file.name == "wamp-run.service").expect("a unit");
    let line = unit.text.lines().find(|line| line.starts_with("ExecStart=")).expect("a command");
    let expected = r#"ExecStart=/usr/bin/env run -x "a b" $$HOME 50%% "\"" linebreak"#;
    assert_eq!(line, expected);
    assert_eq!(unit.text.lines().filter(|line| line.starts_with('B')).count(), 0, "{}", unit.text);
}

#[test]
fn a_compose_file_is_yaml_with_all_processes() {
    let text = json!({"workers": [
        {"type": "router", "realms": realm(&json!([free("anonymous")])),
            "transports": [websocket(8080, &json!({}))],
            "options": {"pythonpath": [".."]},
            "components": [{"type": "class", "classname": "app.Main", "realm": "realm1"}]},
        {"type": "guest", "executable": "node", "arguments": ["a: b", "${X}"],
            "options": {"workdir": "..", "env": {"vars": {"A": "b"}}}},
    ]});
    let mut options = Options {
        file: "config.json",
        node_directory: "/srv/app/.crossbar",
        directory: "/etc/stentor",
        start: Start::Compose,
        python: None,
        environment: Environment::default(),
        random: &mut || [7; 16],
    };
    let imported = import(&text.to_string(), Format::Json, &mut options).expect("it is one");
    let file = imported.files.iter().find(|file| file.name == "compose.yaml").expect("it is there");
    for line in [
        "  main:\n    image: python:3\n",
        "run:/run/stentor\", \"/srv/app:/srv/app\", \"/srv/app/.crossbar:/srv/app/.crossbar\"]",
        "      test: [\"CMD\",\"test\",\"-e\",\"/tmp/ready\"]\n",
        "  node:\n    image: node:lts\n    command: [\"node\",\"a: b\",\"$${X}\"]\n",
        "      main: { condition: service_healthy }\n",
        "    working_dir: \"/srv/app\"\n    env_file: [./node.env]\n",
    ] {
        let line = line.replace("\", \"", "\",\"");
        let squeezed = file.text.replace("\", \"", "\",\"");
        assert!(squeezed.contains(&*line), "{line}\n{}", file.text);
    }
    let variables = imported.files.iter().find(|file| file.name == "node.env").expect("a file");
    assert!(variables.text.ends_with("\nA=\"b\"\n") && variables.is_private);
    assert!(imported.files.iter().all(|file| !file.name.ends_with(".service")));
}

/// The router of a compose file sees what it reads, and has the variables that it needs.
#[test]
fn a_composed_router_sees_its_files() {
    let compose = |auth: &Value| {
        let tls = json!({"certificate": "server.crt", "key": "/srv/keys/server.key"});
        let text = json!({"workers": [{"type": "router",
            "realms": realm(&json!([free("anonymous")])),
            "transports": [{"type": "web",
                "endpoint": {"type": "tcp", "port": 8080, "tls": tls},
                "paths": {"/": {"type": "static", "directory": "../web"},
                    "more": {"type": "static", "directory": "../web"},
                    "ws": {"type": "websocket", "auth": auth}}}]}]});
        let mut options = Options {
            file: "config.json",
            node_directory: "/srv/app/.crossbar",
            directory: "/etc/stentor",
            start: Start::Compose,
            python: None,
            environment: Environment::default(),
            random: &mut || [7; 16],
        };
        let imported = import(&text.to_string(), Format::Json, &mut options).expect("it is one");
        let file = imported.files.iter().find(|file| file.name == "compose.yaml");
        file.expect("it is there").text.clone()
    };
    let text = compose(&json!({"anonymous": {"type": "static", "role": "anonymous"}}));
    let line = text.lines().find(|line| line.starts_with("    volumes: ")).expect("a line");
    let expected = r#"    volumes: ["./:/etc/stentor:ro", "run:/run/stentor", "#.to_owned()
        + r#""/srv/app/.crossbar/server.crt:/srv/app/.crossbar/server.crt:ro", "#
        + r#""/srv/app/web:/srv/app/web:ro", "#
        + r#""/srv/keys/server.key:/srv/keys/server.key:ro"]"#;
    assert_eq!(line, expected);
    assert!(!text.contains("env_file"), "there is no file of secrets\n{text}");
    let text = compose(&json!({"wampcra": {"type": "static",
        "users": {"ann": {"secret": "pencil", "role": "anonymous"}}}}));
    assert!(text.contains("\n    env_file: [./secrets.env]\n"), "{text}");
}

#[test]
fn without_a_meta_api_nobody_has_it() {
    let node = node(&json!({
        "realms": [{"name": "realm1", "roles": [free("anonymous")],
            "options": {"enable_meta_api": false, "uri_check": "strict"}}],
        "transports": [websocket(8080, &json!({}))],
    }));
    let config = loaded(&node);
    let roles = config.realms[0].access.roles();
    let role = stentor::authorization::Role::new(&roles[0], Default::default());
    assert_eq!(super::allowed(&role, "wamp.session.list"), "pr");
    assert_eq!(super::allowed(&role, "com.app"), "pscr");
}

/// Libraries of crossbar's first years draw them, and crossbar takes them in any order.
#[test]
fn request_ids_come_in_any_order() {
    let imported = node(&json!({"realms": realm(&json!([free("anonymous")])),
        "transports": [websocket(8080, &json!({}))]}));
    assert_eq!(loaded(&imported).protocol.request_ids, RequestIdCheck::Off);
}

#[test]
fn what_is_no_configuration_is_refused() {
    let mut options = Options {
        file: "x",
        node_directory: "",
        directory: "",
        start: Start::Systemd,
        python: None,
        environment: Environment::default(),
        random: &mut || [7; 16],
    };
    let mut fault = |text: &str, format| import(text, format, &mut options).expect_err("refused");
    assert!(matches!(fault("{", Format::Json), Unreadable::Syntax { line: 1, .. }));
    assert!(matches!(fault("[]", Format::Json), Unreadable::NoConfiguration("a list")));
    assert!(matches!(fault("{}", Format::Json), Unreadable::NoConfiguration(_)));
    assert_eq!(fault("workers: []", Format::Yaml), Unreadable::NoRouter);
    assert_eq!(fault("", Format::Yaml), Unreadable::Empty);
    let long = " ".repeat(stentor::crossbar::MAX_FILE_BYTES + 1);
    assert_eq!(fault(&long, Format::Json), Unreadable::Long(long.len()));
    let deep = "[".repeat(100_000);
    assert!(matches!(fault(&deep, Format::Json), Unreadable::Syntax { .. }));
    assert!(matches!(fault(&deep, Format::Yaml), Unreadable::Syntax { .. }));
}

#[test]
fn nothing_is_dropped_without_a_word() {
    let mut transport = websocket(8080, &json!({"novel": 1, "options": {"novel": 1}}));
    transport["endpoint"]["novel"] = json!(1);
    let node = node(&json!({
        "novel": 1,
        "realms": [{"name": "realm1", "novel": 1, "roles": [{"name": "a", "novel": 1,
            "permissions": [{"uri": "a", "novel": 1, "allow": {"x": 1}}]}]}],
        "transports": [transport],
    }));
    for place in [
        "workers[0].novel",
        "workers[0].realms[0].novel",
        "workers[0].realms[0].roles[0].novel",
        "workers[0].realms[0].roles[0].permissions[0].novel",
        "workers[0].realms[0].roles[0].permissions[0].allow.x",
        "workers[0].transports[0].novel",
        "workers[0].transports[0].options.novel",
        "workers[0].transports[0].endpoint.novel",
    ] {
        assert!(says(&node, Severity::Missing, place), "{place}: {:?}", node.notes);
    }
}

#[test]
fn paths_of_the_bridge_ask_for_what_crossbar_asks_for() {
    let page = |kind: &str, more: Value| {
        let mut page = json!({"type": kind, "realm": "realm1", "role": "web"});
        page["options"] = more;
        page
    };
    let mut nobody = page("caller", json!({}));
    nobody["role"] = json!("nobody");
    let paths = json!({
        "all": page("publisher", json!({"debug": true})),
        "some": page("caller", json!({"require_ip": ["10.0.0.0/8"], "post_body_limit": 4096})),
        "large": page("caller", json!({"post_body_limit": 99_999_999})),
        "wrong": page("publisher", json!({"require_ip": ["somewhere"]})),
        "nobody": nobody,
    });
    let node = node(&json!({
        "realms": realm(&json!([free("web")])),
        "transports": [{"type": "web", "endpoint": {"type": "tcp", "port": 8080}, "paths": paths}],
    }));
    let config = loaded(&node);
    let apart = &config.listeners[0].paths_apart;
    let told: Vec<_> = apart
        .iter()
        .map(|one| (&*one.path, one.require_ip.len(), one.body_bytes, one.role.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            ("/all", 0, None, Some("web")),
            ("/large", 0, Some(1 << 20), Some("web")),
            ("/some", 1, Some(4096), Some("web")),
        ]
    );
    for name in ["wrong.options.require_ip", "nobody"] {
        let place = format!("workers[0].transports[0].paths.{name}");
        assert!(says(&node, Severity::Missing, &place), "{place}");
    }
}
