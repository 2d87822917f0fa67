//! What starts the components: units, their order, and how components connect.

use serde_json::{Value, json};
use stentor::crossbar::{Environment, Format, Imported, Severity, Unreadable, import};

use super::cases::{free, loaded, node, realm, says, websocket};
use super::imported_with;

fn text_of(imported: &Imported, name: &str) -> String {
    let found = imported.files.iter().find(|file| file.name == name);
    let names = || imported.files.iter().map(|file| &*file.name).collect::<Vec<_>>();
    found.unwrap_or_else(|| panic!("{name} in {:?}", names())).text.clone()
}

fn json_of(imported: &Imported, name: &str) -> Value {
    serde_json::from_str(&text_of(imported, name)).expect("it is JSON")
}

fn class(name: &str) -> Value {
    json!({"type": "class", "classname": format!("app.{name}"), "realm": "realm1"})
}

fn router(more: &Value) -> Value {
    let mut worker = json!({"type": "router", "realms": realm(&json!([free("anonymous")])),
        "transports": [websocket(8080, &json!({}))]});
    for (key, value) in more.as_object().expect("a section") {
        worker[key] = value.clone();
    }
    worker
}

fn in_container(transport: &Value) -> Value {
    let mut component = class("Main");
    component["transport"] = transport.clone();
    json!({"type": "container", "components": [component]})
}

/// The import of these workers, with `python` for its components.
fn workers(workers: &Value, controller: &Value) -> Imported {
    let text = json!({"controller": controller, "workers": workers}).to_string();
    let environment = Environment::of([("SET", "no")]);
    imported_with(&text, Format::Json, environment, Some("/srv/venv/bin/python"))
}

const TRANSPORT: &str = r#"{"type": "websocket", "url": "ws://127.0.0.1:8080/ws",
    "endpoint": {"type": "tcp", "host": "127.0.0.1", "port": 8080}}"#;

/// Crossbar starts them one after the other, so a later one finds what the earlier registered.
#[test]
fn one_starts_after_the_other() {
    let transport = serde_json::from_str(TRANSPORT).expect("it is JSON");
    let all = json!([
        router(&json!({"components": [class("First"), class("Second")]})),
        {"type": "guest", "executable": "run"},
        in_container(&transport),
    ]);
    let after = |imported: &Imported, name: &str| {
        let unit = text_of(imported, &format!("wamp-{name}.service"));
        let line = unit.lines().find_map(|line| line.strip_prefix("After=")).map(str::to_owned);
        line.expect("a line")
    };
    let imported = workers(&all, &json!({}));
    assert_eq!(after(&imported, "first"), "stentor.service");
    assert_eq!(after(&imported, "second"), "stentor.service wamp-first.service");
    assert_eq!(after(&imported, "run"), "stentor.service wamp-second.service");
    assert_eq!(after(&imported, "main"), "stentor.service wamp-run.service");
    let parallel = json!({"options": {"enable_parallel_worker_start": true}});
    let imported = workers(&all, &parallel);
    assert_eq!(after(&imported, "second"), "stentor.service wamp-first.service");
    assert_eq!(after(&imported, "main"), "stentor.service");
    let unit = text_of(&imported, "wamp-first.service");
    for line in ["Type=notify", "NotifyAccess=main", "Restart=always", "StartLimitIntervalSec=0"] {
        assert!(unit.lines().any(|known| known == line), "{line}\n{unit}");
    }
    assert!(!text_of(&imported, "wamp-run.service").contains("Type="), "it says nothing");
}

#[test]
fn units_have_what_crossbar_gave_its_workers() {
    let mut component = class("Main");
    component["extra"] = json!({"a": 1});
    let options = json!({"pythonpath": ["/srv/app", "/srv/lib"],
        "env": {"vars": {"TOKEN": "pen\"cil", "A B": "x"}}});
    let text = json!({"workers": [
        router(&json!({"options": options, "components": [component]})),
    ]});
    let mut options = super::Options {
        file: "config.json",
        node_directory: "/srv/node",
        directory: "/etc/stentor",
        start: super::Start::Systemd,
        python: Some("/srv/venv/bin/python"),
        environment: Environment::default(),
        random: &mut || [7; 16],
    };
    let imported = import(&text.to_string(), Format::Json, &mut options).expect("it is one");
    let unit = text_of(&imported, "wamp-main.service");
    for line in [
        "ExecStart=/srv/venv/bin/python /etc/stentor/run_component.py /etc/stentor/main.json",
        "WorkingDirectory=/srv/node",
        "Environment=PYTHONPATH=/srv/app:/srv/lib",
        "EnvironmentFile=/etc/stentor/main.env",
    ] {
        assert!(unit.lines().any(|known| known == line), "{line}\n{unit}");
    }
    assert!(!unit.contains("cil"), "units are there for all to read");
    assert!(text_of(&imported, "main.env").ends_with("\nTOKEN=\"pen\\\"cil\"\n"));
    let private: Vec<_> =
        imported.files.iter().filter(|file| file.is_private).map(|file| &*file.name).collect();
    assert_eq!(private, ["main.json", "main.env"]);
    let extra = &json_of(&imported, "main.json")["extra"];
    assert_eq!(*extra, json!({"a": 1, "cbdir": "/srv/node"}));
    assert!(imported.notes.iter().any(|note| note.text.contains("systemctl edit")));
    assert!(says(&imported, Severity::Missing, "workers[0].options.env.vars[\"A B\"]"));
}

#[test]
fn a_worker_with_a_python_of_its_own_keeps_it() {
    let options = json!({"python": "/opt/pypy"});
    let imported = workers(
        &json!([router(&json!({"options": options, "components": [class("Main")]}))]),
        &json!({}),
    );
    let unit = text_of(&imported, "wamp-main.service");
    assert!(unit.contains("ExecStart=/opt/pypy /etc/stentor/run_component.py"), "{unit}");
}

/// Autobahn ends with an error if it does not know an option, and counts in seconds.
#[test]
fn transports_of_containers_have_what_autobahn_knows() {
    let mut transport: Value = serde_json::from_str(TRANSPORT).expect("it is JSON");
    transport["options"] = json!({"max_message_size": 4096, "auto_ping_interval": 2500,
        "tcp_nodelay": true, "enable_webstatus": true});
    let imported = workers(&json!([router(&json!({})), in_container(&transport)]), &json!({}));
    assert_eq!(
        json_of(&imported, "main.json")["transport"]["options"],
        json!({"maxMessagePayloadSize": 4096, "autoPingInterval": 2.5, "tcpNoDelay": true})
    );
    let place = "workers[1].components[0].transport.options.enable_webstatus";
    assert!(says(&imported, Severity::Changed, place), "{:?}", imported.notes);

    let raw = json!({"type": "rawsocket", "serializer": "cbor", "options": {"max_message_size": 1},
        "endpoint": {"type": "tcp", "host": "h", "port": 1,
            "tls": {"hostname": "h", "ca_certificates": ["/a.pem", "/b.pem"], "key": "/k.pem"}}});
    let imported = workers(&json!([router(&json!({})), in_container(&raw)]), &json!({}));
    let transport = &json_of(&imported, "main.json")["transport"];
    assert_eq!(transport["options"], json!({"maxMessagePayloadSize": 512}));
    assert_eq!(transport["endpoint"]["tls"], json!({"hostname": "h", "trust_root": "/a.pem"}));
    let tls = "workers[1].components[0].transport.endpoint.tls";
    assert!(says(&imported, Severity::Changed, &format!("{tls}.ca_certificates")));
    assert!(says(&imported, Severity::Missing, &format!("{tls}.certificate")));

    let tor = json!({"type": "rawsocket", "serializer": "cbor", "endpoint": {"type": "tor"}});
    let imported = workers(&json!([router(&json!({})), in_container(&tor)]), &json!({}));
    let place = "workers[1].components[0].transport.endpoint";
    assert!(says(&imported, Severity::Missing, place), "{:?}", imported.notes);
}

/// A Unix socket where everybody has the role is as good as one of the component's own.
#[test]
fn components_use_a_socket_that_is_there() {
    let raw = json!({"type": "rawsocket", "serializers": ["cbor"],
        "endpoint": {"type": "unix", "path": "/run/stentor/all.sock"},
        "auth": {"anonymous": {"type": "static", "role": "backend"}}});
    let mut component = class("Main");
    component["role"] = json!("backend");
    let client = json!({"type": "rawsocket", "serializer": "cbor",
        "endpoint": {"type": "unix", "path": "/run/stentor/all.sock"}});
    let mut container = in_container(&client);
    container["components"][0]["classname"] = json!("app.Other");
    let imported = workers(
        &json!([
            {"type": "router", "realms": realm(&json!([free("backend")])), "transports": [raw],
                "components": [component]},
            container,
        ]),
        &json!({}),
    );
    assert_eq!(loaded(&imported).listeners.len(), 1, "{}", imported.toml);
    assert_eq!(
        json_of(&imported, "main.json")["transport"],
        json!({"type": "rawsocket", "serializer": "cbor", "url": "rs://unix:/run/stentor/all.sock",
            "endpoint": {"type": "unix", "path": "/run/stentor/all.sock"}})
    );
    for name in ["wamp-main.service", "wamp-other.service"] {
        let unit = text_of(&imported, name);
        assert!(unit.contains("\nSupplementaryGroups=stentor\n"), "{unit}");
    }
}

#[test]
fn disabled_workers_are_not_there() {
    let disabled = |worker: Value, value: Value| {
        let mut worker = worker;
        worker["options"]["disabled"] = value;
        worker
    };
    let guest = |name: &str| json!({"type": "guest", "executable": name});
    let imported = workers(
        &json!([
            router(&json!({})),
            disabled(guest("a"), json!(true)),
            disabled(guest("b"), json!(false)),
            disabled(guest("c"), json!("${SET}")),
            disabled(guest("d"), json!("${UNSET}")),
        ]),
        &json!({}),
    );
    let units: Vec<_> = imported.files.iter().map(|file| &*file.name).collect();
    assert_eq!(units, ["wamp-b.service", "wamp-d.service"]);
    assert!(says(&imported, Severity::Hint, "workers[1].options.disabled"));
    assert!(imported.notes.iter().all(|note| note.severity != Severity::Missing), "none is lost");
    let only = json!({"workers": [disabled(router(&json!({})), json!(true))]}).to_string();
    let mut options = super::Options {
        file: "x",
        node_directory: "",
        directory: "",
        start: super::Start::Systemd,
        python: None,
        environment: Environment::default(),
        random: &mut || [7; 16],
    };
    assert_eq!(import(&only, Format::Json, &mut options), Err(Unreadable::NoRouter));
    assert!(node(&json!({"realms": []})).files.is_empty());
}
