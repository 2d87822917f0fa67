//! Endpoints that are asked about clients, and keys that are fetched, over real sockets: slow,
//! silent, broken and hostile ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use stentor::authentication::{AuthenticatorSettings, Method, Secret, TokenSettings};
use stentor::codec::Codec;
use stentor::config::Config;
use stentor::net::Server;

use crate::sockets::{
    Client, HttpServer, Kind, Reply, address, config, eventually, settles, start,
};

const RAW: Kind = Kind::Raw(Codec::Json);

/// Whoever offers a ticket is asked about; anybody else is a guest.
pub(crate) fn asking(url: String) -> AuthenticatorSettings {
    let way = AuthenticatorSettings::asking(Method::Ticket, url);
    AuthenticatorSettings { timeout_ms: 1_000, ..way }
}

pub(crate) fn with(way: AuthenticatorSettings) -> Config {
    let mut config = config(2);
    // The tests fail more often than anybody should be allowed to.
    config.limits.login_failures_per_address = 0;
    config.realms[0].authenticators = vec![way, AuthenticatorSettings::anonymous("guest")];
    config
}

fn offer(server: &Server, ticket: &str) -> Client {
    let mut client = Client::open(address(server), RAW);
    let details = json!({"roles": {"caller": {}}, "authmethods": ["ticket"]});
    client.send(&json!([1, "realm1", details]));
    client.expect(4);
    client.send(&json!([5, ticket, {}]));
    client
}

/// What becomes of a login: the authid, or the reason.
pub(crate) fn outcome(server: &Server, ticket: &str) -> String {
    let answer = offer(server, ticket).receive();
    let told = if answer[0] == json!(2) { &answer[2]["authid"] } else { &answer[2] };
    told.as_str().unwrap().to_owned()
}

const DENIED: &str = "wamp.error.authentication_denied";
pub(crate) const FAILED: &str = "wamp.error.authentication_failed";

#[test]
fn an_endpoint_is_asked_in_json_and_believed() {
    let endpoint = HttpServer::start(|heard| match heard.body["details"]["ticket"].as_str() {
        Some("pencil") => Reply::Say(200, r#"{"role":"user","authid":"joe"}"#.into()),
        Some("pen") => Reply::Say(401, String::new()),
        _ => Reply::Say(403, "{".into()),
    });
    let mut way = asking(endpoint.url("/wamp?x=1"));
    way.authorization_value = Some(Secret::new("Bearer of-the-router"));
    let server = start(&with(way));
    assert_eq!(outcome(&server, "pencil"), "joe");
    let heard = endpoint.next();
    assert!(heard.head.starts_with("post /wamp?x=1 http/1.1"), "{}", heard.head);
    assert!(heard.head.contains("content-type: application/json"), "{}", heard.head);
    assert!(heard.head.contains("authorization: bearer of-the-router"), "{}", heard.head);
    assert_eq!(heard.body["realm"], json!("realm1"));
    assert_eq!(heard.body["authid"], Value::Null);
    let peer = heard.body["details"]["transport"]["peer"].as_str().unwrap();
    assert!(peer.starts_with("tcp4:127.0.0.1:"), "{peer}");
    assert_eq!(outcome(&server, "pen"), DENIED);
    assert_eq!(outcome(&server, "else"), DENIED);
    settles(&server);
    server.stop().unwrap();
}

/// AU-GEN-04: whatever is no clear answer is a failure, and comes within the time.
#[test]
fn whatever_is_no_answer_is_a_failure() {
    let endpoint = HttpServer::start(|heard| {
        let raw = |text: String| Reply::Raw(text.into_bytes());
        match heard.body["details"]["ticket"].as_str().unwrap() {
            "hang" => Reply::Hang,
            "close" => raw(String::new()),
            "noise" => raw("\0\0\0\0\r\n\r\n".into()),
            "short" => raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\"user\"".into()),
            "huge" => raw(format!("HTTP/1.1 200 OK\r\n\r\n\"{}\"", "x".repeat(1 << 20))),
            "head" => raw(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20))),
            "elsewhere" => raw("HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\n\r\n".into()),
            "deep" => Reply::Say(200, "[".repeat(60_000)),
            status if status.parse::<u16>().is_ok() => {
                Reply::Say(status.parse().unwrap(), r#"{"role":"user","authid":"joe"}"#.into())
            }
            body => Reply::Say(200, body.into()),
        }
    });
    let server = start(&with(asking(endpoint.url("/"))));
    for ticket in [
        "hang",
        "close",
        "noise",
        "short",
        "huge",
        "head",
        "elsewhere",
        "deep",
        "500",
        "404",
        "201",
        "true",
        "[]",
        "{}",
        "null",
        r#""user""#,
        r#"{"role":7}"#,
        r#"{"role":"#,
    ] {
        assert_eq!(outcome(&server, ticket), FAILED, "{ticket}");
    }
    assert_eq!(outcome(&server, "200"), "joe");
    settles(&server);
    server.stop().unwrap();
}

#[test]
fn an_endpoint_that_is_not_there_lets_nobody_in() {
    let server = start(&with(asking("http://127.0.0.1:1/".into())));
    assert_eq!(outcome(&server, "pencil"), FAILED);
    server.stop().unwrap();
}

/// Whoever waits for an endpoint holds up nobody, and no more wait than may.
#[test]
fn a_silent_endpoint_is_bounded_in_every_way() {
    let endpoint = HttpServer::start(|_| Reply::Hang);
    let mut config = with(AuthenticatorSettings { concurrency: 1, ..asking(endpoint.url("/")) });
    config.limits.login_queue = 2;
    let server = start(&config);
    let waiting: Vec<_> = (0..12).map(|_| offer(&server, "x")).collect();
    let mut guest = Client::join(address(&server), RAW);
    guest.call("wamp.session.count", &json!(["guest"]));
    assert_eq!(guest.expect(50)[3], json!([1]), "while all others wait");
    for mut client in waiting {
        assert_eq!(client.expect(3)[2], json!(FAILED));
    }
    assert_eq!(server.snapshot().logins_failed, 12);
    let _last = offer(&server, "x");
    server.stop().unwrap();
}

pub(crate) struct Issuer {
    key: SigningKey,
    id: &'static str,
}

impl Issuer {
    pub(crate) fn new(id: &'static str) -> Self {
        Self { key: SigningKey::from_bytes(&[id.as_bytes()[0]; 32]), id }
    }

    pub(crate) fn keys(&self) -> String {
        let x = BASE64URL_NOPAD.encode(self.key.verifying_key().as_bytes());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.id}]}).to_string()
    }

    /// A token for `joe`, until the year 2100.
    pub(crate) fn token(&self) -> String {
        self.token_with(&json!({"sub": "joe", "exp": 4_102_444_800_u64}))
    }

    pub(crate) fn token_with(&self, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let header = part(&json!({"alg": "EdDSA", "kid": self.id}));
        let signed = format!("{header}.{}", part(claims));
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// New keys are fetched when a token names one that is not there, but not for each such token.
#[test]
fn keys_are_fetched_again_for_a_new_key_and_not_for_every_wrong_one() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let has_turned = Arc::new(AtomicBool::new(false));
    let (keys, turned) = ([old.keys(), new.keys()], Arc::clone(&has_turned));
    let provider = HttpServer::start(move |_| {
        Reply::Say(200, keys[usize::from(turned.load(Ordering::SeqCst))].clone())
    });
    let settings = TokenSettings { keys_url: Some(provider.url("/keys")), ..Default::default() };
    let server = start(&with(AuthenticatorSettings::of_tokens(settings, Some("user"))));
    assert!(provider.next().head.starts_with("get /keys http/1.1"));
    eventually("the keys are there", || outcome(&server, &old.token()) == "joe");
    // A wrong key soon after the keys have come costs the provider nothing.
    for _ in 0..8 {
        assert_eq!(outcome(&server, &new.token()), DENIED);
    }
    assert!(provider.heard_nothing());
    has_turned.store(true, Ordering::SeqCst);
    assert_eq!(outcome(&server, &old.token()), "joe", "the keys stay as long as they are good");
    server.stop().unwrap();
}

/// A provider that is down at the start, or gives nonsense, costs logins and no more.
#[test]
fn without_keys_nobody_gets_in_and_the_router_runs() {
    let provider = HttpServer::start(|_| Reply::Say(200, "{}".into()));
    let settings = TokenSettings { keys_url: Some(provider.url("/keys")), ..Default::default() };
    let server = start(&with(AuthenticatorSettings::of_tokens(settings, Some("user"))));
    provider.next();
    eventually("the login is judged", || outcome(&server, &Issuer::new("old").token()) == FAILED);
    Client::join(address(&server), RAW);
    server.stop().unwrap();
}

/// The file is read again when it changes; what cannot be used changes nothing.
#[test]
fn a_file_of_keys_is_read_again() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.json");
    std::fs::write(&file, old.keys()).unwrap();
    let loaded = stentor::config::read_keys(&file, false).unwrap();
    let keys = Some(file.clone());
    let settings = TokenSettings { keys, loaded: Some(Arc::new(loaded)), ..Default::default() };
    let server = start(&with(AuthenticatorSettings::of_tokens(settings, Some("user"))));
    assert_eq!(outcome(&server, &old.token()), "joe");
    assert_eq!(outcome(&server, &new.token()), DENIED);
    std::fs::write(&file, "{").unwrap();
    assert_eq!(outcome(&server, &old.token()), "joe");
    std::fs::write(&file, new.keys()).unwrap();
    eventually("the new keys are read", || outcome(&server, &new.token()) == "joe");
    assert_eq!(outcome(&server, &old.token()), DENIED);
    server.stop().unwrap();
}
