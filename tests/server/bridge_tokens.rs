//! Publications, calls and streams by HTTP of those who show JSON Web Tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use stentor::authentication::{AuthenticatorSettings, KeySet, RoleRule, TokenSettings};
use stentor::codec::Codec;
use stentor::config::{Access, Action, AdminToken, Config, HttpUse, MatchPolicy, PathKey};
use stentor::config::{ListenerPath, Permission, Role, Secret};
use stentor::net::Server;

use super::bridge::bridging;
use crate::asking::Issuer;
use crate::sockets::{
    Client, HttpServer, Kind, REALM, Reply, Response, Web, address, eventually, settles, start,
};

fn role(name: &str, allow: &[Action]) -> Role {
    let permission = Permission {
        uri: "com.".into(),
        policy: MatchPolicy::Prefix,
        allow: allow.to_vec(),
        ..Permission::default()
    };
    Role { name: name.into(), permissions: vec![permission], ..Role::default() }
}

fn keys(issuer: &Issuer) -> Option<Arc<KeySet>> {
    Some(Arc::new(KeySet::from_jwks(issuer.keys().as_bytes(), false).unwrap()))
}

fn tokens_of(issuer: &Issuer) -> TokenSettings {
    let roles = vec![RoleRule { claim: "may-publish".into(), role: "shop".into() }];
    let role_claim = Some("groups".into());
    let loaded = keys(issuer);
    TokenSettings { loaded, role_claim, roles, leeway_ms: 0, ..TokenSettings::default() }
}

/// A configuration whose paths take tokens with these settings, and nothing else.
fn taking(settings: TokenSettings) -> Config {
    let mut config = bridging(2);
    let everything = [Action::Subscribe, Action::Publish, Action::Register, Action::Call];
    let roles = vec![
        role("anonymous", &everything),
        role("user", &[Action::Subscribe, Action::Call]),
        role("shop", &[Action::Publish]),
    ];
    let realm = &mut config.realms[0];
    realm.access = Access::Roles(roles);
    realm.authenticators.push(AuthenticatorSettings::of_tokens(settings, Some("user")));
    let paths = &mut config.listeners[0].paths_apart;
    paths.push(ListenerPath {
        path: "/events".into(),
        http: Some(HttpUse::Events),
        realm: Some(REALM.into()),
        ..ListenerPath::default()
    });
    for path in paths {
        (path.jwt, path.role) = (true, None);
    }
    config
}

fn connect(server: &Server) -> Web {
    Web::connect(address(server))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[expect(clippy::disallowed_methods, reason = "tokens name a time of the calendar")]
fn in_seconds(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds
}

fn publish(server: &Server, token: &str) -> Response {
    let body = r#"{"topic":"com.x","options":{"disclose_me":true}}"#;
    connect(server).post_with("/publish", &bearer(token), body)
}

#[track_caller]
fn refused(answer: &Response, described: &str) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    let expected = format!("Bearer error=\"invalid_token\", error_description=\"{described}\"");
    assert_eq!(answer.header("www-authenticate"), Some(&*expected));
    assert_eq!(answer.header("connection"), Some("close"));
}

const TO_2100: u64 = 4_102_444_800;

#[test]
fn a_token_says_who_publishes_and_as_what() {
    let (issuer, other) = (Issuer::new("one"), Issuer::new("two"));
    let server = start(&taking(tokens_of(&issuer)));
    let mut subscriber = Client::join(address(&server), Kind::Ws(Codec::Json));
    subscriber.subscribe("com.x");
    let token = |claims: Value| issuer.token_with(&claims);
    for authid in ["ann", "joe", "ann"] {
        let claims = json!({"sub": authid, "exp": TO_2100, "groups": ["x", "may-publish"]});
        let answer = publish(&server, &token(claims));
        let event = subscriber.expect(36);
        answer.check(200, &format!(r#"{{"id":{}}}"#, event[2]));
        assert_eq!(event[3]["publisher_authid"], authid);
        assert_eq!(event[3]["publisher_authrole"], "shop");
    }
    // The same user with another role is another session, which may not publish.
    let plain = token(json!({"sub": "ann", "exp": TO_2100}));
    assert!(publish(&server, &plain).text().contains("wamp.error.not_authorized"));
    let not_taken = "the token is not taken here";
    for (token, described) in [
        (token(json!({"sub": "ann", "exp": 1_000})), "the token has expired"),
        (
            token(json!({"sub": "ann", "exp": TO_2100, "nbf": TO_2100 - 1})),
            "the token is not valid yet",
        ),
        (token(json!({"sub": "ann"})), not_taken),
        (token(json!({"exp": TO_2100})), not_taken),
        (other.token(), not_taken),
        (format!("{}x", &plain[..plain.len() - 1]), not_taken),
        (plain.replace('.', ".e30."), not_taken),
    ] {
        let answer = publish(&server, &token);
        if token.split('.').count() == 3 {
            refused(&answer, described);
        } else {
            assert_eq!(answer.status, 401);
        }
    }
    // What is refused is refused in the format of the request, as all else.
    let fields = format!("{}Accept: application/cbor\r\n", bearer(&other.token()));
    let answer = connect(&server).post_with("/publish", &fields, "{}");
    assert_eq!((answer.status, answer.header("content-type")), (401, Some("application/cbor")));
    let none = connect(&server).post("/publish", r#"{"topic":"com.x"}"#);
    assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(server.snapshot().http_keys_refused, 8);
    drop(subscriber);
    settles(&server);
    server.stop().unwrap();
}

/// What a session does for a token that was good, it does not do once that has expired.
#[test]
fn nothing_lasts_longer_than_its_token() {
    let issuer = Issuer::new("one");
    let mut config = taking(tokens_of(&issuer));
    config.timeouts.http_session_ms = 60_000;
    let server = start(&config);
    let exp = in_seconds(3);
    let token = issuer.token_with(&json!({"sub": "ann", "exp": exp, "groups": ["may-publish"]}));
    let listening = issuer.token_with(&json!({"sub": "joe", "exp": exp}));
    let mut stream = connect(&server);
    let query = "/events?topic=com.x";
    stream.send(format!("GET {query} HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(&listening)));
    assert_eq!(stream.response_head().status, 200);
    let mut web = connect(&server);
    let mut publish = || web.post_with("/publish", &bearer(&token), r#"{"topic":"com.x"}"#);
    assert_eq!(publish().status, 200);
    let sessions = server.snapshot().sessions_joined;
    let mut heard = Vec::new();
    while let Some(chunk) = stream.chunk() {
        heard.extend(chunk);
    }
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.contains("\"topic\":\"com.x\""), "{heard}");
    assert!(
        heard.ends_with("event: close\ndata: {\"reason\":\"stentor.close.token_expired\"}\n\n"),
        "{heard}"
    );
    eventually("its time is over", || in_seconds(0) >= exp);
    refused(&publish(), "the token has expired");
    let fields = bearer(&listening);
    refused(&connect(&server).get_with(query, &fields), "the token has expired");
    assert_eq!(server.snapshot().sessions_joined, sessions);
    drop((stream, web));
    server.stop().unwrap();
}

#[test]
fn keys_of_the_path_and_tokens_are_taken_beside_each_other() {
    const SHOP: &str = "0123456789012345678901";
    let issuer = Issuer::new("one");
    let mut config = taking(tokens_of(&issuer));
    let path = &mut config.listeners[0].paths_apart[0];
    let hash = Some(AdminToken::of(&Secret::new(SHOP)));
    // Not to be taken for each other.
    path.keys = vec![PathKey { name: "ann".into(), hash, role: Some("shop".into()) }];
    let server = start(&config);
    let token = issuer.token_with(&json!({"sub": "ann", "exp": TO_2100, "groups": "may-publish"}));
    let one = |secret: &str, body: &str| {
        let fields = format!("Idempotency-Key: one\r\n{}", bearer(secret));
        connect(&server).post_with("/publish", &fields, body).text().to_owned()
    };
    let ann = one(&token, r#"{"topic":"com.x"}"#);
    let key = one(SHOP, r#"{"topic":"com.x","args":[1]}"#);
    assert!(ann.starts_with(r#"{"id":"#) && key.starts_with(r#"{"id":"#) && ann != key);
    assert_eq!(one(&token, r#"{"topic":"com.x"}"#), ann);
    let joe = issuer.token_with(&json!({"sub": "joe", "exp": TO_2100, "groups": "may-publish"}));
    assert_ne!(one(&joe, r#"{"topic":"com.x"}"#), ann, "each has idempotency keys of its own");
    assert_eq!(server.snapshot().sessions_joined, 3);
    settles(&server);
}

/// However many bear tokens, their sessions take half of the connections of the thread `http`.
#[test]
fn many_bearers_share_a_bounded_number_of_sessions() {
    let issuer = Issuer::new("one");
    let mut config = taking(tokens_of(&issuer));
    config.limits.http_connections = 16;
    config.timeouts.http_session_ms = 60_000;
    let server = start(&config);
    let mut web = connect(&server);
    let count = |web: &mut Web, authid: &str| {
        let token = issuer.token_with(&json!({"sub": authid, "exp": TO_2100}));
        let body = r#"{"procedure":"com.none"}"#;
        let answer = web.post_with("/call", &bearer(&token), body);
        assert!(answer.text().contains("no_such_procedure"), "{authid}: {}", answer.text());
    };
    for n in 0..100 {
        count(&mut web, &format!("user{n}"));
        // Those that make room end within a moment.
        eventually("there is room", || server.snapshot().sessions <= 8);
    }
    assert_eq!(server.snapshot().sessions_joined, 100);
    // Who was here of late shares the session that is there, also with another token.
    count(&mut web, "user99");
    count(&mut web, "user93");
    assert_eq!(server.snapshot().sessions_joined, 100);
    count(&mut web, "user0");
    assert_eq!(server.snapshot().sessions_joined, 101);
    drop(web);
    server.stop().unwrap();
}

#[test]
fn a_reload_replaces_keys_and_ways() {
    let (old, new) = (Issuer::new("one"), Issuer::new("two"));
    let mut config = taking(tokens_of(&old));
    let server = start(&config);
    let status = |issuer: &Issuer| {
        let body = r#"{"procedure":"com.none"}"#;
        connect(&server).post_with("/call", &bearer(&issuer.token()), body).status
    };
    assert_eq!((status(&old), status(&new)), (200, 401));
    let way = AuthenticatorSettings::of_tokens(tokens_of(&new), Some("user"));
    config.realms[0].authenticators[1] = way;
    server.reload(&config).unwrap();
    assert_eq!((status(&old), status(&new)), (401, 200));
    // Nobody on the way may read along, or only at another path.
    for narrow in [
        |way: &mut AuthenticatorSettings| way.only_over_tls = true,
        |way: &mut AuthenticatorSettings| way.listeners = vec!["local/publish".into()],
    ] {
        let mut config = config.clone();
        config.listeners[0].name = Some("local".into());
        narrow(&mut config.realms[0].authenticators[1]);
        server.reload(&config).unwrap();
        assert_eq!(status(&new), 401);
    }
    config.listeners[0].name = Some("local".into());
    config.realms[0].authenticators[1].listeners = vec!["local/call".into()];
    server.reload(&config).unwrap();
    assert_eq!(status(&new), 200);
    settles(&server);
}

/// The keys of an address: before they are there, and when the issuer has new ones. Whoever names
/// one that nobody has waits a moment, and costs the issuer one request in ten seconds.
#[test]
fn a_new_key_is_fetched_when_a_token_names_it() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let has_turned = Arc::new(AtomicBool::new(false));
    let (keys, turned) = ([old.keys(), new.keys()], Arc::clone(&has_turned));
    let provider = HttpServer::start(move |_| {
        Reply::Say(200, keys[usize::from(turned.load(Ordering::SeqCst))].clone())
    });
    let keys_url = Some(provider.url("/keys"));
    let server = start(&taking(TokenSettings { keys_url, ..TokenSettings::default() }));
    let call = |issuer: &Issuer| {
        let body = r#"{"procedure":"com.none"}"#;
        connect(&server).post_with("/call", &bearer(&issuer.token()), body)
    };
    eventually("the keys are there", || call(&old).status == 200);
    provider.next();
    has_turned.store(true, Ordering::SeqCst);
    refused(&call(&new), "the token is not taken here");
    assert!(provider.heard_nothing());
    assert_eq!(call(&old).status, 200, "the keys stay as long as they are good");
    eventually("the new key is fetched", || call(&new).status == 200);
    provider.next();
    assert_eq!(call(&old).status, 401);
    settles(&server);
    server.stop().unwrap();
}

/// An issuer that cannot be asked is nobody's fault who bears a token.
#[test]
fn without_keys_a_bearer_may_come_again() {
    let provider = HttpServer::start(|_| Reply::Say(200, "{}".into()));
    let keys_url = Some(provider.url("/keys"));
    let server = start(&taking(TokenSettings { keys_url, ..TokenSettings::default() }));
    provider.next();
    let answer = publish(&server, &Issuer::new("one").token());
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert!(answer.text().contains("no keys yet"), "{}", answer.text());
    settles(&server);
    server.stop().unwrap();
}
