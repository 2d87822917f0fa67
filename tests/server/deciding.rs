//! Endpoints that decide about requests, over real sockets: slow, silent, broken and hostile ones
//! (AU-AZ-04).

use crossbeam_channel::bounded;
use serde_json::{Value, json};
use stentor::authentication::{EndpointSettings, Secret};
use stentor::authorization::{Access, Permission, RoleSettings};
use stentor::codec::Codec;
use stentor::config::Config;

use crate::sockets::{
    Client, HttpServer, Kind, Reply, address, config, eventually, settles, start,
};

const RAW: Kind = Kind::Raw(Codec::Json);

const FAILED: &str = "wamp.error.authorization_failed";
const DENIED: &str = "wamp.error.not_authorized";

/// Everybody may do everything, but for what begins with `com.asked.`: the endpoint decides.
fn asking(settings: EndpointSettings) -> Config {
    let mut config = config(2);
    let authorizer = Some(settings.url.clone());
    let asked = Permission { authorizer, ..Permission::everything_below("com.asked.") };
    let killing = Permission::everything_below("wamp.session.");
    let permissions = vec![Permission::everything_below(""), killing, asked];
    config.realms[0].access = Access::Roles(vec![RoleSettings::new("anonymous", permissions)]);
    config.realms[0].authorizers = vec![settings];
    config
}

/// What becomes of a publication to this topic: the URI of its error, or nothing.
fn outcome(client: &mut Client, topic: &str) -> Option<String> {
    let request = client.next_request();
    client.send(&json!([16, request, {"acknowledge": true}, topic]));
    let answer = client.receive();
    (answer[0] == json!(8)).then(|| answer[4].as_str().unwrap().to_owned())
}

#[test]
fn an_endpoint_is_asked_about_requests_and_believed() {
    let endpoint = HttpServer::start(|heard| match heard.body["uri"].as_str() {
        Some("com.asked.yes") => Reply::Say(200, r#"{"allow":true,"cache":true}"#.into()),
        Some("com.asked.no") => Reply::Say(200, "false".into()),
        _ => Reply::Say(403, "{".into()),
    });
    let settings = EndpointSettings {
        authorization_value: Some(Secret::new("Bearer of-the-router")),
        ..EndpointSettings::at(endpoint.url("/allow?x=1"))
    };
    let server = start(&asking(settings));
    let mut client = Client::join(address(&server), RAW);
    assert_eq!(outcome(&mut client, "com.asked.yes"), None);
    let heard = endpoint.next();
    assert!(heard.head.starts_with("post /allow?x=1 http/1.1"), "{}", heard.head);
    assert!(heard.head.contains("authorization: bearer of-the-router"), "{}", heard.head);
    let details = &heard.body["session_details"];
    assert_eq!(details["realm"], json!("realm1"));
    assert_eq!(details["authrole"], json!("anonymous"));
    let peer = details["transport"]["peer"].as_str().unwrap();
    assert!(peer.starts_with("tcp4:127.0.0.1:"), "{peer}");
    assert_eq!(heard.body["action"], json!("publish"));
    assert_eq!(heard.body["options"], json!({"acknowledge": true, "match": "exact"}));
    assert_eq!(outcome(&mut client, "com.asked.yes"), None);
    assert!(endpoint.heard_nothing(), "the answer is remembered");
    assert_eq!(outcome(&mut client, "com.asked.no").as_deref(), Some(DENIED));
    assert_eq!(outcome(&mut client, "com.asked.else").as_deref(), Some(DENIED));
    assert_eq!(outcome(&mut client, "com.free"), None);
    drop(client);
    settles(&server);
    server.stop().unwrap();
}

/// Whatever is no clear answer denies, and comes within the time.
#[test]
fn whatever_is_no_decision_denies() {
    let endpoint = HttpServer::start(|heard| {
        let raw = |text: String| Reply::Raw(text.into_bytes());
        let uri = heard.body["uri"].as_str().unwrap();
        match uri.strip_prefix("com.asked.").unwrap() {
            "hang" => Reply::Hang,
            "close" => raw(String::new()),
            "short" => raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntrue".into()),
            "huge" => raw(format!("HTTP/1.1 200 OK\r\n\r\ntrue{}", " ".repeat(1 << 20))),
            "elsewhere" => raw("HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\n\r\n".into()),
            "deep" => Reply::Say(200, "[".repeat(60_000)),
            "yes" => Reply::Say(200, "true".into()),
            status if status.parse::<u16>().is_ok() => {
                Reply::Say(status.parse().unwrap(), "true".into())
            }
            _ => Reply::Say(200, r#"{"allow":1}"#.into()),
        }
    });
    let settings =
        EndpointSettings { timeout_ms: 1_000, ..EndpointSettings::at(endpoint.url("/")) };
    let server = start(&asking(settings));
    let mut client = Client::join(address(&server), RAW);
    for word in ["hang", "close", "short", "huge", "elsewhere", "deep", "500", "201", "number"] {
        let topic = format!("com.asked.{word}");
        assert_eq!(outcome(&mut client, &topic).as_deref(), Some(FAILED), "{word}");
    }
    assert_eq!(outcome(&mut client, "com.asked.yes"), None);
    drop(client);
    settles(&server);
    server.stop().unwrap();
}

/// Whoever waits for an endpoint holds up nobody else, and the router stops all the same.
#[test]
fn a_silent_endpoint_holds_up_nobody_else() {
    let endpoint = HttpServer::start(|_| Reply::Hang);
    let settings = EndpointSettings {
        timeout_ms: 1_000,
        concurrency: 1,
        ..EndpointSettings::at(endpoint.url("/"))
    };
    let mut config = asking(settings);
    config.limits.questions_per_procedure = 1;
    let server = start(&config);
    let mut waiting: Vec<_> = (0..6).map(|_| Client::join(address(&server), RAW)).collect();
    let publish = |topic: &str| json!([16, 1, {"acknowledge": true}, topic]);
    waiting.iter_mut().for_each(|client| client.send(&publish("com.asked.x")));
    let mut other = Client::join(address(&server), RAW);
    assert_eq!(outcome(&mut other, "com.free"), None, "while all others wait");
    for client in &mut waiting {
        assert_eq!(client.expect(8)[4], Value::from(FAILED));
    }
    other.send(&json!([16, 2, {"acknowledge": true}, "com.asked.x"]));
    server.stop().unwrap();
}

/// Those who ask and leave, again and again, stand in nobody's way: their questions are not put.
#[test]
fn who_has_left_is_not_asked_about() {
    let (release, released) = bounded::<()>(0);
    let endpoint = HttpServer::start(move |heard| {
        if heard.body["uri"] == json!("com.asked.late") {
            let _ = released.recv();
        }
        Reply::Say(200, "true".into())
    });
    let settings = EndpointSettings { concurrency: 1, ..EndpointSettings::at(endpoint.url("/")) };
    let mut config = asking(settings);
    config.limits.questions_per_procedure = 2;
    let server = start(&config);
    let publish = |topic: &str| json!([16, 1, {"acknowledge": true}, topic]);
    let is_pending = |questions| server.snapshot().endpoint_questions == questions;
    let mut killer = Client::join(address(&server), RAW);
    let mut first = Client::join(address(&server), RAW);
    first.send(&publish("com.asked.late"));
    eventually("the first is asked about", || is_pending(1));
    for _ in 0..20 {
        let mut client = Client::join(address(&server), RAW);
        client.send(&publish("com.asked.gone"));
        eventually("it is to be asked about", || is_pending(2));
        let request = killer.next_request();
        killer.send(&json!([48, request, {}, "wamp.session.kill", [client.session]]));
        killer.expect(50);
        eventually("it has left", || is_pending(1));
    }
    let mut other = Client::join(address(&server), RAW);
    other.send(&publish("com.asked.here"));
    eventually("the other is to be asked about", || is_pending(2));
    release.send(()).unwrap();
    assert_eq!(first.receive()[0], json!(17));
    assert_eq!(other.receive()[0], json!(17));
    assert_eq!(endpoint.next().body["uri"], json!("com.asked.late"));
    assert_eq!(endpoint.next().body["uri"], json!("com.asked.here"));
    drop((first, other, killer));
    settles(&server);
    server.stop().unwrap();
}
