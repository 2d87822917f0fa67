//! Who may come in by which part of a listener: methods, a realm, and authenticators of its own.

use std::sync::Arc;

use serde_json::{Value, json};
use stentor::authentication::{AuthenticatorSettings, Method};
use stentor::router::{RealmSettings, Settings};
use stentor::shard::Admission;
use stentor::transport::{Entrance, Origins, PathRules};

use super::authentication::by;
use crate::support::{Carrier, Incoming, Link, Network, Serializer};

/// A network with these ways into `realm1`, at paths `/ws` and these.
fn network(ways: Vec<AuthenticatorSettings>, apart: Vec<(&str, Entrance)>) -> Network {
    let mut realm = RealmSettings::named("realm1");
    realm.authenticators = ways;
    let mut network = Network::new(Settings::default(), vec![realm], 1);
    let rules = Arc::make_mut(&mut network.rules);
    rules.paths = vec!["/ws".into()];
    rules.entrance.name = Some("local".into());
    for (path, entrance) in apart {
        let (path, allowed_origins) = (path.into(), Origins::default());
        rules.paths_apart.push(PathRules { path, allowed_origins, entrance });
    }
    network
}

/// What `joe` gets who offers these methods at a path: the reason of ABORT, the method of
/// CHALLENGE, or method and role of WELCOME.
fn said(network: &mut Network, path: &'static str, realm: &Value, methods: &[&str]) -> String {
    let pipe = network.connect(0, Admission::Welcome, usize::MAX);
    let mut link = Link::new(Carrier::WebSocket, Serializer::Json);
    link.path = path;
    network.receive(pipe, &link.greeting());
    let details = json!({"roles": {"caller": {}}, "authmethods": methods, "authid": "joe"});
    network.receive(pipe, &link.message(&json!([1, realm, details])));
    network.settle();
    link.feed(&network.read(pipe, usize::MAX));
    let answer = match link.next() {
        Some(Incoming::Opened) => link.next().expect("an answer"),
        refused => refused.expect("an answer"),
    };
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    match answer {
        Incoming::Message(message) => match message[0].as_u64() {
            Some(3) => text(&message[2]),
            Some(4) => text(&message[1]),
            _ => text(&message[2]["authmethod"]) + " as " + &text(&message[2]["authrole"]),
        },
        other => format!("{other:?}"),
    }
}

const NONE: &str = "wamp.error.no_matching_auth_method";
const REQUIRED: &str = "wamp.error.authentication_required";

/// A path has its methods and its realm, beside which there is no other way.
#[test]
fn a_path_narrows_the_methods_and_has_a_default_realm() {
    let authmethods = Some(vec!["ticket".into()]);
    let entrance =
        Entrance { authmethods, default_realm: Some("realm1".into()), ..Entrance::default() };
    let ways = vec![by(Method::Ticket), AuthenticatorSettings::anonymous("guest")];
    let mut network = network(ways, vec![("/private", entrance)]);
    let realm1 = json!("realm1");
    let mut said = |path, realm: &Value, methods: &[&str]| said(&mut network, path, realm, methods);
    assert_eq!(said("/ws", &realm1, &["anonymous"]), "anonymous as guest");
    assert_eq!(said("/ws", &Value::Null, &["anonymous"]), "wamp.error.no_such_realm");
    assert_eq!(said("/private", &realm1, &["anonymous", "ticket"]), "ticket");
    assert_eq!(said("/private", &Value::Null, &["ticket"]), "ticket");
    assert_eq!(said("/private", &realm1, &["anonymous"]), NONE);
    assert_eq!(said("/private", &realm1, &[]), REQUIRED);
    assert_eq!(said("/", &realm1, &["anonymous"]), "Refused(404)");
}

/// An authenticator may be for some entrances only: who comes by another one cannot use it, not
/// even with the right ticket, and does not learn of it.
#[test]
fn an_authenticator_is_for_the_entrances_that_it_names() {
    let at = |name: &str, way: AuthenticatorSettings| {
        let listeners = vec![name.into()];
        AuthenticatorSettings { listeners, ..way }
    };
    let ways = vec![
        at("local", AuthenticatorSettings::anonymous("backend")),
        at("public/open", AuthenticatorSettings::anonymous("guest")),
        at("local", by(Method::Ticket)),
    ];
    let named = Entrance { name: Some("public/open".into()), ..Entrance::default() };
    let apart = vec![("/open", named), ("/nameless", Entrance::default())];
    let mut network = network(ways, apart);
    let realm1 = json!("realm1");
    let mut said = |path, methods: &[&str]| said(&mut network, path, &realm1, methods);
    assert_eq!(said("/ws", &["anonymous"]), "anonymous as backend");
    assert_eq!(said("/ws", &["ticket"]), "ticket");
    assert_eq!(said("/open", &["anonymous"]), "anonymous as guest");
    assert_eq!(said("/open", &["ticket"]), NONE);
    assert_eq!(said("/open", &["ticket", "anonymous"]), "anonymous as guest");
    assert_eq!(said("/nameless", &["ticket", "anonymous"]), NONE);
    assert_eq!(said("/nameless", &[]), REQUIRED);
}
