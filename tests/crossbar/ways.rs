//! Who gets in where: secrets of the environment, methods of paths, doors for strangers.

use serde_json::{Value, json};
use stentor::config::Method;
use stentor::crossbar::{Environment, Format, Imported, Severity};

use super::cases::{free, loaded, node, realm, says, websocket};
use super::imported_with;

/// A node with these users, imported where `SET` is `pencil` and `EMPTY` is empty.
fn with_users(auth: &Value) -> Imported {
    let text = json!({"workers": [{
        "type": "router",
        "realms": realm(&json!([free("a")])),
        "transports": [websocket(8080, &json!({"auth": auth}))],
    }]});
    let environment = Environment::of([("SET", "pencil"), ("EMPTY", "")]);
    imported_with(&text.to_string(), Format::Json, environment, None)
}

fn file(imported: &Imported, name: &str) -> String {
    let found = imported.files.iter().find(|file| file.name == name);
    found.unwrap_or_else(|| panic!("{name}: {:?}", imported.notes)).text.clone()
}

/// Crossbar takes them from its environment. A placeholder that became the password would let in
/// whoever has read the file.
#[test]
fn a_placeholder_is_no_ticket() {
    let node = with_users(&json!({"ticket": {"type": "static", "principals": {
        "set": {"ticket": "${SET}", "role": "a"},
        "unset": {"ticket": "${UNSET}", "role": "a"},
        "empty": {"ticket": "${EMPTY}", "role": "a"},
        "literal": {"ticket": "$SET", "role": "a"},
    }}}));
    let config = loaded(&node);
    let users = &config.realms[0].authenticators[0].principals;
    let names: Vec<_> = users.iter().map(|user| &*user.authid).collect();
    assert_eq!(names, ["literal", "set"]);
    let plain = with_users(&json!({"ticket": {"type": "static", "principals": {
        "set": {"ticket": "pencil", "role": "a"},
        "literal": {"ticket": "$SET", "role": "a"},
    }}}));
    // The same hashes, as the salt is the same.
    assert_eq!(file(&node, "users-ticket.toml"), file(&plain, "users-ticket.toml"));
    let at = |name: &str| format!("workers[0].transports[0].auth.ticket.principals.{name}.ticket");
    assert!(says(&node, Severity::Changed, &at("set")));
    for name in ["unset", "empty"] {
        assert!(says(&node, Severity::Missing, &at(name)), "{:?}", node.notes);
    }
    assert!(node.notes.iter().all(|note| !note.text.contains("pencil")));
}

#[test]
fn a_placeholder_is_no_secret() {
    let salting = json!({"role": "a", "salt": "salt", "iterations": 1, "keylen": 32});
    let salted = |secret: &str| {
        let mut user = salting.clone();
        user["secret"] = secret.into();
        user
    };
    let node = with_users(&json!({"wampcra": {"type": "static", "users": {
        "plain": {"secret": "${UNSET}", "role": "a"},
        "set": salted("${SET}"),
        "unset": salted("${UNSET}"),
        "dollar": {"secret": "$x", "role": "a"},
    }}}));
    loaded(&node);
    let users = file(&node, "users-wampcra.toml");
    assert!(
        users.contains("authid = \"plain\"\nrole = \"a\"\nwampcra = \"${UNSET}\"\n"),
        "{users}"
    );
    let plain = with_users(&json!({"wampcra": {"type": "static", "users": {
        "set": salted("pencil"),
    }}}));
    let known = file(&plain, "users-wampcra.toml");
    assert!(users.contains(known.lines().last().expect("a key")), "{users}\n{known}");
    assert_eq!(users.matches("authid").count(), 2, "{users}");
    assert!(node.files.iter().all(|file| file.name != "secrets.env"), "nothing is to be kept");
    let at = |name: &str| format!("workers[0].transports[0].auth.wampcra.users.{name}.secret");
    assert!(says(&node, Severity::Hint, &at("plain")), "{:?}", node.notes);
    for name in ["unset", "dollar"] {
        assert!(says(&node, Severity::Missing, &at(name)), "{:?}", node.notes);
    }
}

/// A path without a list has that of its listener, which may be shorter.
#[test]
fn a_path_keeps_its_methods() {
    let tickets = json!({"type": "static", "principals": {"joe": {"ticket": "x", "role": "a"}}});
    let anonymous = json!({"type": "static", "role": "a"});
    let of = |auth: Value| json!({"type": "websocket", "auth": auth});
    let node = node(&json!({
        "realms": realm(&json!([free("a")])),
        "transports": [{
            "type": "universal",
            "endpoint": {"type": "tcp", "port": 8080},
            "rawsocket": {"auth": {"ticket": tickets}},
            "websocket": {
                "both": of(json!({"ticket": tickets, "anonymous": anonymous})),
                "same": of(json!({"ticket": tickets})),
                "open": of(json!({"anonymous": anonymous})),
            },
        }],
    }));
    let config = loaded(&node);
    assert_eq!(config.listeners[0].authmethods, [Method::Ticket]);
    let told: Vec<_> = config.listeners[0]
        .paths_apart
        .iter()
        .map(|one| (&*one.path, one.authmethods.as_slice()))
        .collect();
    assert_eq!(
        told,
        [
            ("/both", &[Method::Anonymous, Method::Ticket][..]),
            ("/open", &[Method::Anonymous]),
            // As the listener itself.
            ("/same", &[]),
        ]
    );
}

/// Another listener, as of `--listen`, must not give the role of components to everybody.
#[test]
fn strangers_get_a_role_at_its_doors_alone() {
    let users = json!({"joe": {"ticket": "pencil", "role": "backend"}});
    let tickets = json!({"auth": {"ticket": {"type": "static", "principals": users}}});
    let class = json!({"type": "class", "classname": "app.Main", "realm": "realm1",
        "role": "backend"});
    let closed = node(&json!({
        "realms": realm(&json!([free("backend")])),
        "transports": [websocket(8080, &tickets)],
        "components": [class],
    }));
    let config = loaded(&closed);
    let anonymous = &config.realms[0].authenticators[1];
    assert_eq!(anonymous.method, Method::Anonymous);
    assert_eq!(anonymous.listeners, ["components-backend"]);
    let open = node(&json!({
        "realms": realm(&json!([free("anonymous")])),
        "transports": [websocket(8080, &json!({})), websocket(8081, &json!({}))],
    }));
    assert!(loaded(&open).realms[0].authenticators[0].listeners.is_empty(), "{}", open.toml);
}

#[test]
fn unix_sockets_are_for_a_group() {
    let mut transport = websocket(0, &json!({}));
    transport["endpoint"] = json!({"type": "unix", "path": "/srv/a.sock"});
    let mut variable = websocket(0, &json!({}));
    variable["endpoint"] = json!({"type": "unix", "path": "$DIR/a.sock"});
    let node = node(&json!({
        "realms": realm(&json!([free("anonymous")])),
        "transports": [transport, variable],
    }));
    assert_eq!(node.toml.matches("unix_mode = \"0660\"").count(), 2, "{}", node.toml);
    assert!(node.toml.contains("listen = \"unix:${DIR}/a.sock\""), "{}", node.toml);
    let place = "workers[0].transports[0].endpoint.path";
    assert!(says(&node, Severity::BecomesDenied, place), "{:?}", node.notes);
    assert!(says(&node, Severity::Hint, place), "{:?}", node.notes);
}

/// Who decides about others needs a way in, of which is said only where there is none.
#[test]
fn a_way_in_that_is_there_needs_no_word() {
    let rule = json!([{"uri": "com.decide", "match": "exact", "allow": {"register": true}}]);
    let roles = json!([
        {"name": "decider", "permissions": rule},
        {"name": "app", "authorizer": "com.decide"},
    ]);
    let users = |names: &[&str]| {
        let mut users = json!({});
        for name in names {
            users[name] = json!({"ticket": "pencil", "role": name});
        }
        json!({"auth": {"ticket": {"type": "static", "principals": users}}})
    };
    let says_it = |transport: &Value, components: &Value| {
        let node = node(&json!({
            "realms": realm(&roles), "transports": [transport], "components": components,
        }));
        node.notes.iter().any(|note| note.text.starts_with("whoever registers"))
    };
    let component = json!([{"type": "class", "classname": "app.Main", "realm": "realm1",
        "role": "decider"}]);
    assert!(says_it(&websocket(8080, &users(&["app"])), &json!([])), "nobody else is there");
    assert!(!says_it(&websocket(8080, &users(&["app", "decider"])), &json!([])));
    assert!(!says_it(&websocket(8080, &users(&["app"])), &component));
    let dynamic = json!({"auth": {"ticket": {"type": "dynamic", "authenticator": "com.decide"}}});
    assert!(!says_it(&websocket(8080, &dynamic), &component));
    assert!(says_it(&websocket(8080, &dynamic), &json!([])));
}

#[test]
fn what_does_not_move_says_what_to_do() {
    let bridge = |options: Value| {
        let mut bridge = json!({"type": "publisher", "realm": "realm1", "role": "anonymous"});
        bridge["options"] = options;
        bridge
    };
    let node = node(&json!({
        "realms": realm(&json!([free("anonymous")])),
        "transports": [{
            "type": "web",
            "endpoint": {"type": "tcp", "port": 8080},
            "paths": {
                "/": {"type": "static", "directory": "/srv",
                    "options": {"enable_directory_listing": true}},
                "zip": {"type": "archive", "archive": "a.zip"},
                "net": bridge(json!({"require_ip": ["10.0.0.7/8"]})),
                "mask": bridge(json!({"require_ip": ["192.168.1.0/255.255.255.0",
                    "10.0.0.0/0.255.255.255", "172.16.0.0/255.240.0.0"]})),
                "odd": bridge(json!({"require_ip": ["10.0.0.0/255.0.255.0"]})),
                "signed": bridge(json!({"key": "k", "secret": "s"})),
            },
        }],
    }));
    let said = |severity: Severity, place: &str| {
        let place = format!("workers[0].transports[0].paths.{place}");
        let found = node.notes.iter().find(|note| note.place == place && note.severity == severity);
        found.unwrap_or_else(|| panic!("{place}: {:?}", node.notes)).text.clone()
    };
    said(Severity::Changed, "/.options.enable_directory_listing");
    assert!(said(Severity::Missing, "zip").contains("unpack it"));
    assert!(said(Severity::Missing, "net.options.require_ip").contains("as zeros"));
    assert!(said(Severity::Missing, "signed.options.secret").contains("Authorization: Bearer"));
    let masks = "require_ip = [\"192.168.1.0/24\", \"10.0.0.0/8\", \"172.16.0.0/12\"]";
    assert!(node.toml.contains(masks), "{}", node.toml);
    assert!(said(Severity::Missing, "odd.options.require_ip").contains("is no network"));
    // Nobody sends messages here whose length could matter.
    assert!(node.notes.iter().all(|note| !note.text.contains("message_bytes")));
}

#[test]
fn the_length_of_messages_is_said_where_it_is_left_open() {
    let says_it = |options: &Value| {
        let transport = websocket(8080, &json!({"options": options}));
        let transports = json!([transport, websocket(8081, &json!({}))]);
        let node = node(&json!({
            "realms": realm(&json!([free("anonymous")])), "transports": transports,
        }));
        node.notes.iter().filter(|note| note.text.contains("limits.message_bytes")).count()
    };
    assert_eq!(says_it(&json!({})), 1);
    assert_eq!(says_it(&json!({"max_message_size": 4096})), 1);
    assert_eq!(says_it(&json!({"max_message_size": 16 << 20})), 0);
}
