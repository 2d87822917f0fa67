//! No secret, ticket, proof or signature is seen where it does not belong: in the log, in what
//! clients hear, in answers of the meta API, and in what `{:?}` shows. One test in a process of its
//! own: it hears the whole log.

#[allow(dead_code, unused_imports, reason = "the scenarios and the simulator use more of it")]
mod support;

use std::io::{self, Write};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stentor::authentication::{AuthenticatorSettings, EndpointSettings, Method, Secret};
use stentor::codec::{self, Codec, DecodeLimits};
use stentor::router::{RealmSettings, Settings};
use stentor::shard::{Admission, TraceFilter, TraceRequest};
use tracing_subscriber::fmt::MakeWriter;

use support::{
    CLIENT_NONCE, Carrier, Incoming, Link, Network, Says, Serializer, by_token, prove,
    public_key_of, token, user, user_with_chosen_ticket,
};

/// Everything that is logged or otherwise said.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<u8>>>);

impl Record {
    fn note(&self, text: &str) {
        self.0.lock().expect("nobody panics").extend_from_slice(text.as_bytes());
    }
}

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Record {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

struct Applicant {
    pipe: usize,
    link: Link,
    record: Record,
    /// Where goes what an operator sees of everybody.
    traced: Record,
}

impl Applicant {
    fn new(network: &mut Network, record: &Record) -> Self {
        let pipe = network.connect(0, Admission::Welcome, usize::MAX);
        let link = Link::new(Carrier::WebSocket, Serializer::Json);
        network.receive(pipe, &link.greeting());
        Self { pipe, link, record: record.clone(), traced: record.clone() }
    }

    fn say(&self, network: &mut Network, message: &Value) {
        let text = message.to_string();
        let decoded = codec::decode(Codec::Json, text.as_bytes(), DecodeLimits { nesting: 32 });
        self.record.note(&format!("{decoded:?}"));
        self.trace(network);
        let bytes = self.link.message(message);
        // Half of it waits, and is shown with the rest of the shard.
        let (first, second) = bytes.split_at(bytes.len() - 1);
        network.receive(self.pipe, first);
        self.show(network);
        network.receive(self.pipe, second);
        self.show(network);
    }

    fn show(&self, network: &Network) {
        self.record.note(&format!("{:?} {:?}", network.shard(0), network.router));
        self.record.note(&format!("{:?}", network.links.verifier.queue));
    }

    /// What an operator sees who traces everything, with all payload that there is to be seen.
    fn trace(&self, network: &mut Network) {
        let filter = TraceFilter::default();
        let (number, place, rate, payload_bytes) = (1, 0, u32::MAX, 4_096);
        let order = AtomicU64::default();
        let request = TraceRequest { number, place, filter, rate, payload_bytes, order };
        let haul = network.fetch_trace(&Arc::new(request), 3_600_000);
        assert_eq!((haul.lost, haul.left_out), (0, 0));
        for record in haul.records {
            let line = serde_json::to_string(&record).expect("it is JSON");
            self.traced.note(&format!("{record:?} {line}"));
        }
    }

    fn hear(&mut self, network: &mut Network) -> Value {
        network.settle();
        self.trace(network);
        self.show(network);
        let bytes = network.read(self.pipe, usize::MAX);
        self.link.feed(&bytes);
        while let Some(incoming) = self.link.next() {
            if let Incoming::Message(message) = incoming {
                self.record.note(&message.to_string());
                return message;
            }
        }
        Value::Null
    }
}

const SECRET: &str = "correct-horse-battery";

/// What an endpoint knows the router by.
const HEADER: &str = "Bearer staple-of-the-router";

fn network() -> Network {
    let ways = [Method::Ticket, Method::Wampcra, Method::Scram, Method::Cryptosign]
        .map(|method| AuthenticatorSettings::of(method, vec![user("joe", method)]));
    let chosen = AuthenticatorSettings::of(Method::Ticket, vec![user_with_chosen_ticket("jim")]);
    let mut realm = RealmSettings::named("realm1");
    realm.authenticators = ways.into_iter().chain([chosen]).collect();
    realm.authenticators.push(by_token());
    let mut endpoint = AuthenticatorSettings::asking(Method::Ticket, "https://auth.example.org/");
    endpoint.authorization_value = Some(Secret::new(HEADER));
    realm.authenticators.push(endpoint);
    realm.authenticators.push(AuthenticatorSettings::anonymous("guest"));
    let mut other = RealmSettings::named("realm2");
    let asked = AuthenticatorSettings::calling(Method::Ticket, "com.example.authenticate");
    other.authenticators = vec![asked, AuthenticatorSettings::anonymous("guest")];
    let authorization_value = Some(Secret::new(HEADER));
    let authorizer = EndpointSettings::at("https://auth.example.org/allow");
    other.authorizers = vec![EndpointSettings { authorization_value, ..authorizer }];
    let mut settings = Settings::default();
    settings.limits.questions_per_procedure = 1;
    Network::new(settings, vec![realm, other], 1)
}

/// One login; returns what the client proved with, and what it heard.
fn log_in(
    network: &mut Network,
    record: &Record,
    method: &str,
    [authid, secret]: [&str; 2],
) -> (String, Value) {
    let mut client = Applicant::new(network, record);
    let key = public_key_of(secret);
    let details = json!({"roles": {"caller": {}}, "authmethods": [method], "authid": authid,
        "authextra": {"nonce": CLIENT_NONCE, "pubkey": key, "password": SECRET}});
    client.say(network, &json!([1, "realm1", details]));
    let challenge = client.hear(network);
    assert_eq!(challenge[0], json!(4), "{challenge}");
    let proof = prove(method, authid, secret, &challenge[2]);
    let extra = json!({"nonce": challenge[2]["nonce"], "more": SECRET});
    client.say(network, &json!([5, proof, extra]));
    let answer = client.hear(network);
    if answer[0] == json!(2) {
        client.say(network, &json!([48, 1, {}, "wamp.session.get", [answer[1]]]));
        assert_eq!(client.hear(network)[0], json!(50));
    }
    (proof, answer)
}

/// Logins by tokens, good and bad, and by a ticket that an endpoint is asked about, whatever it
/// says. Returns the tokens.
fn log_in_elsewhere(network: &mut Network, record: &Record) -> Vec<String> {
    let expires = network.wall_clock().unix_ms() / 1_000 + 60;
    let good = token(&json!({"sub": "joan", "exp": expires}));
    let late = token(&json!({"sub": "joan", "exp": 1}));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    for (ticket, code) in [(&good, 2), (&late, 3), (&forged, 3)] {
        let (_, answer) = log_in(network, record, "ticket", ["joan", ticket]);
        assert_eq!(answer[0], json!(code), "{answer}");
    }
    let body = |text: &str| Says::Body(text.into());
    let echo = Says::Error("com.example.no".into(), "no such ticket".into());
    for says in [body(r#""user""#), body("7"), Says::No, Says::Nothing, echo] {
        network.links.verifier.endpoint.says = says;
        log_in(network, record, "ticket", ["joan", SECRET]);
    }
    // The parts of a token are secrets, too, but for its header.
    let parts = [&good, &late, &forged].map(|token| token.rsplit('.').next().unwrap().to_owned());
    [good, late, forged].into_iter().chain(parts).collect()
}

/// Tickets that a procedure is asked about, whatever it says: one question is asked, and one waits.
/// What the authenticator hears and says is its own business.
fn log_in_by_procedure(network: &mut Network, record: &Record) {
    let mut callee = Applicant::new(network, &Record::default());
    callee.traced = record.clone();
    callee.say(network, &json!([1, "realm2", {"roles": {"callee": {}}}]));
    assert_eq!(callee.hear(network)[0], json!(2));
    callee.say(network, &json!([64, 1, {}, "com.example.authenticate"]));
    assert_eq!(callee.hear(network)[0], json!(65));
    let yields = |answer: Value| json!([70, null, {}, [answer]]);
    let raises = |error: &str| json!([8, 68, null, {}, error, ["no ticket"]]);
    let hello = json!([1, "realm2", {"roles": {"caller": {}}, "authmethods": ["ticket"],
        "authid": "joan"}]);
    let answers = [
        (yields(json!({"role": "user", "ticket": SECRET})), 2),
        (yields(json!({"role": "user", "ticket": "pencil"})), 3),
        (yields(json!([SECRET])), 3),
        (raises("com.example.no"), 3),
        (raises("wamp.error.canceled"), 3),
    ];
    for (answer, code) in answers {
        let mut clients = [(); 2].map(|()| Applicant::new(network, record));
        for client in &mut clients {
            client.say(network, &hello);
            assert_eq!(client.hear(network)[0], json!(4));
            client.say(network, &json!([5, SECRET, {}]));
            network.settle();
            client.show(network);
        }
        for client in &mut clients {
            let invocation = callee.hear(network);
            assert_eq!(invocation[4][2]["ticket"], json!(SECRET), "{invocation}");
            let mut answer = answer.clone();
            let id = answer.as_array_mut().expect("a list").iter_mut().find(|item| item.is_null());
            *id.expect("a place for the id") = invocation[1].clone();
            callee.say(network, &answer);
            let answer = client.hear(network);
            assert_eq!(answer[0], json!(code), "{answer}");
        }
    }
}

#[test]
fn nothing_shows_a_secret() {
    let record = Record::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(record.clone())
        .finish();
    let mut forbidden = vec![SECRET.to_owned(), "pencil".to_owned(), HEADER.to_owned()];
    tracing::subscriber::set_global_default(subscriber).expect("it is the first");
    {
        let mut network = network();
        for method in ["ticket", "wampcra", "wamp-scram", "cryptosign"] {
            let right = if method == "cryptosign" { "joe" } else { "pencil" };
            for (authid, secret) in [("joe", right), ("joe", SECRET), ("nobody", SECRET)] {
                let (proof, answer) = log_in(&mut network, &record, method, [authid, secret]);
                assert_eq!(answer[0], json!(if secret == right { 2 } else { 3 }), "{answer}");
                forbidden.push(proof);
            }
        }
        forbidden.extend(log_in_elsewhere(&mut network, &record));
        log_in_by_procedure(&mut network, &record);
        for (secret, is_held) in [(SECRET, false), ("pencil", false), (SECRET, true)] {
            network.links.verifier.is_held = is_held;
            log_in(&mut network, &record, "ticket", ["jim", secret]);
        }
        for _ in 0..12 {
            network.advance(1_000);
        }
        network.settle();
        for pipe in 0..network.links.pipes.len() {
            network.lose(pipe);
        }
        network.settle();
    }
    let said = record.0.lock().expect("nobody panics");
    let said = String::from_utf8_lossy(&said);
    let traced = ["hello", "challenge", "authenticate", "welcome", "abort", "yield", "error"];
    let traced = traced.map(|message| format!(r#""message":"{message}""#));
    let logged = ["login denied", "session joined", "authentication_denied", "judged in time"];
    for word in logged.into_iter().chain(traced.iter().map(String::as_str)) {
        assert!(said.contains(word), "the record is of something: {word}");
    }
    for secret in forbidden {
        let bytes = format!("{:?}", secret.as_bytes());
        let forms = [secret.clone(), STANDARD.encode(&secret), bytes[1..bytes.len() - 1].into()];
        for form in forms {
            assert!(!said.contains(&form), "`{form}` is seen");
        }
    }
}
