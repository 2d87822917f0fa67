//! AU-DYN: clients that somebody outside is asked about, by every method, and what comes of what is
//! said.

use std::sync::Arc;

use serde_json::json;
use stentor::authentication::{AuthenticatorSettings, Method};
use stentor::router::{RealmSettings, Settings};
use stentor::shard::Admission;
use stentor::transport::TransportRules;

use super::authentication::{by, check_ways};
use super::dialogue::check_realm_with;
use crate::support::{Carrier, Link, Network, Says, Serializer, public_key_of};

fn asking(method: Method) -> AuthenticatorSettings {
    AuthenticatorSettings::asking(method, "https://auth.example.org/wamp")
}

#[test]
fn a_ticket_is_asked_about_at_authenticate() {
    check_ways(
        &[asking(Method::Ticket)],
        r#"the endpoint says "user"
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe",\
               "authrole":"x","authextra":{"k":[1]}}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a <- WELCOME $a {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"ticket","authprovider":"dynamic","agent":"Stentor","roles":*}
           the endpoint was asked realm1 joe {"session":$a,"authmethod":"ticket","authid":"joe",\
                "authrole":"x","authextra":{"k":[1]},"ticket":"pencil"}
           the endpoint says {"role":"user"}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"]}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE eyJ.x.y {}
           b <- ABORT * wamp.error.authentication_failed
           b <- CLOSED 1008
           the endpoint was asked realm1 null {"authid":null,"ticket":"eyJ.x.y"}"#,
    );
}

#[test]
fn an_answer_may_choose_authid_realm_and_extra() {
    check_ways(
        &[asking(Method::Ticket)],
        r#"the endpoint says {"role":"user","realm":"realm2","authid":"jim","extra":{"x":1}}
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a <- WELCOME $a {"realm":"realm2","authid":"jim","authrole":"user",\
                "authmethod":"ticket","authprovider":"dynamic","agent":"Stentor","roles":*,\
                "authextra":{"x":1}}
           a -> CALL {} wamp.session.count
           a <- RESULT 1 {} [1]
           the endpoint says {"role":"user","realm":"realm9"}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE pencil {}
           b <- ABORT * wamp.error.authentication_failed
           b <- CLOSED 1008"#,
    );
}

/// AU-GEN-04: a no is a no, and everything else that is no yes is a failure.
#[test]
fn only_a_clear_answer_counts() {
    check_ways(
        &[asking(Method::Ticket)],
        r#"the endpoint says no
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           a -> AUTHENTICATE pencil {}
           a <- ABORT * wamp.error.authentication_denied
           a <- CLOSED 1008
           the endpoint says nothing
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           b <- CHALLENGE ticket {}
           b -> AUTHENTICATE pencil {}
           b <- ABORT * wamp.error.authentication_failed
           b <- CLOSED 1008
           the endpoint says true
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           c <- CHALLENGE ticket {}
           c -> AUTHENTICATE pencil {}
           c <- ABORT * wamp.error.authentication_failed
           c <- CLOSED 1008
           the endpoint says error com.example.locked paid?
           d -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           d <- CHALLENGE ticket {}
           d -> AUTHENTICATE pencil {}
           d <- ABORT {"message":"paid?"} com.example.locked
           d <- CLOSED 1008
           the endpoint says error wamp.error.canceled x
           e -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
           e <- CHALLENGE ticket {}
           e -> AUTHENTICATE pencil {}
           e <- ABORT * wamp.error.authentication_failed
           e <- CLOSED 1008"#,
    );
}

#[test]
fn for_a_challenge_the_answer_brings_the_secret() {
    check_ways(
        &[asking(Method::Wampcra)],
        r#"the endpoint says {"role":"user","secret":"pencil","extra":{"x":1}}
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           the endpoint was asked realm1 joe {"authmethod":"wampcra"}
           a <- CHALLENGE wampcra $x
           prove $p by wampcra joe pencil from $x
           a -> AUTHENTICATE $p {}
           a <- WELCOME $session {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"wampcra","authprovider":"dynamic","agent":"Stentor","roles":*,\
                "authextra":{"x":1}}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           b <- CHALLENGE wampcra $y
           prove $q by wampcra joe pen from $y
           b -> AUTHENTICATE $q {}
           b <- ABORT * wamp.error.authentication_denied
           b <- CLOSED 1008
           the endpoint says "user"
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           c <- ABORT * wamp.error.authentication_failed
           c <- CLOSED 1008
           d -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"]}
           d <- ABORT * wamp.error.no_matching_auth_method
           d <- CLOSED 1008"#,
    );
}

#[test]
fn the_key_of_cryptosign_must_be_the_one_that_the_answer_names() {
    let (own, other) = (public_key_of("joe"), public_key_of("jim"));
    check_ways(
        &[asking(Method::Cryptosign)],
        &format!(
            r#"the endpoint says {{"role":"user","authid":"joe","pubkey":"{own}"}}
               a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["cryptosign"],\
                   "authextra":{{"pubkey":"{own}"}}}}
               a <- CHALLENGE cryptosign $x
               prove $p by cryptosign joe joe from $x
               a -> AUTHENTICATE $p {{}}
               a <- WELCOME * {{"realm":"realm1","authid":"joe","authrole":"user",\
                    "authmethod":"cryptosign","authprovider":"dynamic","agent":"Stentor",\
                    "roles":*}}
               b -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["cryptosign"],\
                   "authextra":{{"pubkey":"{other}"}}}}
               b <- CHALLENGE cryptosign $y
               prove $q by cryptosign jim jim from $y
               b -> AUTHENTICATE $q {{}}
               b <- ABORT * wamp.error.authentication_denied
               b <- CLOSED 1008"#
        ),
    );
}

#[test]
fn anonymous_clients_are_asked_about_too() {
    check_ways(
        &[asking(Method::Anonymous)],
        r#"the endpoint says {"role":"guest","authid":"visitor"}
           a -> HELLO realm1 {"roles":{"caller":{}}}
           a <- WELCOME $a {"realm":"realm1","authid":"visitor","authrole":"guest",\
                "authmethod":"anonymous","authprovider":"dynamic","agent":"Stentor","roles":*}
           the endpoint was asked realm1 null {"authmethod":"anonymous","session":$a}
           the endpoint says "guest"
           b -> HELLO realm1 {"roles":{"caller":{}}}
           b <- WELCOME * {"realm":"realm1","authid":*,"authrole":"guest",\
                "authmethod":"anonymous","authprovider":"dynamic","agent":"Stentor","roles":*}
           the endpoint says no
           c -> HELLO realm1 {"roles":{"caller":{}}}
           c <- ABORT * wamp.error.authentication_denied
           c <- CLOSED 1008"#,
    );
}

/// The users file is looked at first, and whom it knows it decides about.
#[test]
fn nobody_is_asked_about_users_of_the_file() {
    for method in [Method::Ticket, Method::Wampcra] {
        let name = method.as_str();
        check_ways(
            &[by(method), asking(method)],
            &format!(
                r#"the endpoint says {{"role":"other","secret":"pencil"}}
                   a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["{name}"],\
                       "authid":"joe"}}
                   a <- CHALLENGE {name} $x
                   prove $p by {name} joe pencil from $x
                   a -> AUTHENTICATE $p {{}}
                   a <- WELCOME * {{"realm":"realm1","authid":"joe","authrole":"user",\
                        "authmethod":"{name}","authprovider":"static","agent":"Stentor",\
                        "roles":*}}
                   b -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["{name}"],\
                       "authid":"joan"}}
                   b <- CHALLENGE {name} $y
                   prove $q by {name} joan pencil from $y
                   b -> AUTHENTICATE $q {{}}
                   b <- WELCOME * {{"realm":"realm1","authid":"joan","authrole":"other",\
                        "authmethod":"{name}","authprovider":"dynamic","agent":"Stentor",\
                        "roles":*}}"#
            ),
        );
    }
}

/// AU-GEN-05: from HELLO to WELCOME there is one time, and nobody else waits.
#[test]
fn a_silent_endpoint_costs_its_client_the_login() {
    let settings = |settings: &mut Settings| {
        settings.timeouts.ping_interval_ms = 0;
        settings.timeouts.login_ms = 4_000;
    };
    check_realm_with(
        |realm| {
            realm.authenticators =
                vec![asking(Method::Wampcra), AuthenticatorSettings::anonymous("guest")];
        },
        settings,
        r#"the endpoint says {"role":"user","secret":"pencil"}
           verifier waits
           a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           join b
           b -> CALL {} wamp.session.count
           b <- RESULT 1 {} [1]
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           c is lost
           wait 4000
           a <- ABORT * wamp.error.authentication_failed
           a <- CLOSED 1008
           verifier judges
           d -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           wait 3000
           verifier judges
           d <- CHALLENGE wampcra *
           wait 1000
           d <- ABORT * wamp.error.authentication_failed
           d <- CLOSED 1008
           verifier takes 0
           e -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           e <- ABORT * wamp.error.authentication_failed
           e <- CLOSED 1008"#,
    );
}

/// Of a request's headers those are told that the listener names, until WELCOME; then nothing is
/// kept of them.
#[test]
fn headers_that_are_passed_on_are_told_and_forgotten() {
    let mut realm = RealmSettings::named("realm1");
    realm.authenticators = vec![asking(Method::Ticket)];
    let mut network = Network::new(Settings::default(), vec![realm], 1);
    let names = ["user-agent", "cookie", "x-absent"].map(str::to_owned);
    let rules = TransportRules { passed_headers: names.into(), ..(*network.rules).clone() };
    network.rules = Arc::new(rules);
    network.links.verifier.endpoint.says = Says::Body(r#"{"role":"user"}"#.into());
    let pipe = network.connect(0, Admission::Welcome, usize::MAX);
    let mut link = Link::new(Carrier::WebSocket, Serializer::Json);
    let more = "\r\nUser-Agent: test/1\r\nCookie: a=1\r\nX-Other: x\r\nCookie: b=2\r\n\r\n";
    let greeting = String::from_utf8(link.greeting()).expect("a request");
    network.receive(pipe, greeting.replacen("\r\n\r\n", more, 1).as_bytes());
    network.settle();
    let kept = network.router.held_bytes();
    assert!((30..500).contains(&kept), "{kept} bytes are kept, and counted");
    let hello = json!([1, "realm1", {"roles": {"caller": {}}, "authmethods": ["ticket"],
        "authid": "joe"}]);
    let told = json!({"user-agent": "test/1", "cookie": "a=1; b=2"});
    for expected in [told, json!(null)] {
        for message in [&hello, &json!([5, "pencil", {}])] {
            network.receive(pipe, &link.message(message));
            network.settle();
        }
        let asked = network.links.verifier.endpoint.asked.take().expect("it was asked");
        let transport = &asked["details"]["transport"];
        assert_eq!(transport["http_headers_received"], expected);
        assert_eq!(network.router.held_bytes(), 0, "after WELCOME nothing is kept");
        // The same connection may join once more.
        network.receive(pipe, &link.message(&json!([6, {}, "wamp.close.close_realm"])));
        network.settle();
    }
    link.feed(&network.read(pipe, usize::MAX));
    network.lose(pipe);
    network.settle();
    network.check_empty();
}

/// Who sends more of them than may be kept is refused before it is anybody.
#[test]
fn too_long_headers_that_are_passed_on_are_refused() {
    let mut network = Network::new(Settings::default(), vec![RealmSettings::named("realm1")], 1);
    let rules = TransportRules {
        passed_headers: vec!["x-tag".to_owned()],
        http_head_bytes: 16 * 1024,
        ..(*network.rules).clone()
    };
    network.rules = Arc::new(rules);
    let pipe = network.connect(0, Admission::Welcome, usize::MAX);
    let link = Link::new(Carrier::WebSocket, Serializer::Json);
    let more = format!("\r\nX-Tag: {}\r\n\r\n", "x".repeat(5_000));
    let greeting = String::from_utf8(link.greeting()).expect("a request");
    network.receive(pipe, greeting.replacen("\r\n\r\n", &more, 1).as_bytes());
    network.settle();
    let answer = network.read(pipe, usize::MAX);
    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
}
