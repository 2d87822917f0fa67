//! Runs the published test vectors: every JSON, MessagePack and CBOR byte variant.
//!
//! Not run, with the reason: UBJSON and FlatBuffers bytes (serializers that the router has not),
//! CHALLENGE (`RouterMessage` has none yet), ERROR as a client's (the sample is one that a router
//! sends), and the multi-session file (it needs a router).

mod oracle;

use std::fs;
use std::path::Path;

use ciborium::Value as Oracle;
use serde_json::{Value as Json, json};
use stentor::codec::{self, Codec, DecodeFault, DecodeLimits};
use stentor::wamp::{
    Authenticate, ClientMessage, Dict, Payload, PayloadBuf, PublicationId, RegistrationId,
    RequestId, RouterMessage, SessionId, SubscriptionId, Value, code,
};

#[test]
fn messages_from_clients_decode_to_the_expected_attributes() {
    let mut seen = 0;
    for (code, sample) in samples("serializers") {
        if !FROM_CLIENTS.contains(&code) {
            continue;
        }
        for (codec, bytes) in variants(&sample) {
            let message = codec::decode(codec, &bytes, LIMITS)
                .unwrap_or_else(|error| panic!("{}: {error}", sample["description"]));
            assert_attributes(&message, &sample["expected_attributes"]);
            seen += 1;
        }
    }
    assert_eq!(seen, 69, "a vector was added or is not found any more");
}

#[test]
fn messages_of_the_router_encode_to_the_vectors() {
    let mut seen = 0;
    for (code, sample) in samples("serializers") {
        if FROM_CLIENTS.contains(&code) && !FROM_BOTH.contains(&code) || NOT_SENT.contains(&code) {
            continue;
        }
        for (codec, bytes) in variants(&sample) {
            let mut ours = Vec::new();
            let parts = Parts::new(codec, &bytes);
            codec::encode(codec, &parts.message(), &mut ours).expect("it is expressible");
            let expected = oracle::read(codec, &bytes).map(oracle::sorted);
            assert_eq!(oracle::read(codec, &ours).map(oracle::sorted), expected);
            seen += 1;
        }
    }
    assert_eq!(seen, 60, "a vector was added or is not found any more");
}

#[test]
fn what_only_a_router_sends_is_refused() {
    for (code, sample) in samples("serializers") {
        if FROM_CLIENTS.contains(&code) {
            continue;
        }
        for (codec, bytes) in variants(&sample) {
            let error = codec::decode(codec, &bytes, LIMITS).expect_err("it is refused");
            match code {
                // Acknowledged event delivery is not offered.
                337 => assert_eq!(error.fault(), &DecodeFault::UnknownType { code: 337 }),
                8 => assert_eq!(error.fault(), &DecodeFault::ErrorType { code: 48 }),
                _ => assert!(matches!(error.fault(), DecodeFault::RouterOnly { .. }), "{error}"),
            }
        }
    }
}

#[test]
fn options_are_accepted_or_refused_as_the_vectors_say() {
    let mut seen = 0;
    for (code, sample) in samples("wmsg") {
        let Some(message) = as_from_client(code, &sample["wmsg"]) else { continue };
        for codec in Codec::ALL {
            let bytes = oracle::write(codec, &message);
            match (codec::decode(codec, &bytes, LIMITS), sample.pointer("/expected_error/contains"))
            {
                (Ok(_), None) => {}
                (Err(error), Some(name)) => {
                    let name = name.as_str().expect("an option's name");
                    assert!(error.to_string().contains(name), "{error} does not name {name}");
                    assert!(matches!(error.fault(), DecodeFault::Mismatch { .. }), "{error:?}");
                }
                (decoded, _) => panic!("{}: {decoded:?}", sample["description"]),
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 3 * (35 + 11 + 10), "a vector was added or is not found any more");
}

/// The sample's message as one that a client may send. An EVENT's details are router-made, so that
/// a router never reads them; the keys that a PUBLISH has too are checked in a PUBLISH.
fn as_from_client(code: u64, message: &Json) -> Option<Oracle> {
    let mut message = message.as_array().expect("a message").clone();
    if code == u64::from(code::EVENT) {
        let details = message[3].as_object().expect("details");
        if !details.keys().all(|key| SHARED_WITH_PUBLISH.contains(&key.as_str())) {
            return None;
        }
        message =
            vec![json!(16), json!(123), message[3].clone(), json!("com.x"), message[4].clone()];
    }
    // The samples show binary data as text in hexadecimal digits.
    if let Some(payload) = message.get_mut(4).filter(|payload| payload.is_string()) {
        *payload = json!("\0oWZub3RpY2U=");
    }
    oracle::read(Codec::Json, &serde_json::to_vec(&message).expect("JSON"))
}

fn assert_attributes(message: &ClientMessage<'_>, expected: &Json) {
    let expects = |name: &str, actual: Json| {
        if let Some(expected) = expected.get(name) {
            assert_eq!(&actual, expected, "{name}");
        }
    };
    let expects_payload = |payload: Payload<'_>| {
        if let Some(binary) = expected.get("payload").and_then(Json::as_str) {
            assert_eq!(to_hex(&bare_binary(payload)), binary);
            return;
        }
        let (args, kwargs) = codec::decode_payload(payload).expect("values");
        let or_null = |is_empty: bool, value| if is_empty { Json::Null } else { to_json(value) };
        expects("args", or_null(args.is_empty(), Value::List(args)));
        expects("kwargs", or_null(kwargs.is_empty(), Value::Dict(kwargs)));
    };
    match message {
        ClientMessage::Hello(hello) => {
            expects("realm", json!(hello.realm));
            assert!(!hello.roles.is_empty());
        }
        ClientMessage::Abort { reason } | ClientMessage::Goodbye { reason } => {
            expects("reason", json!(reason));
        }
        ClientMessage::Authenticate(Authenticate { signature, extra }) => {
            expects("signature", json!(signature));
            expects("extra", to_json(Value::Dict(extra.clone())));
        }
        ClientMessage::Publish(publish) => {
            expects("request_id", json!(publish.request.get()));
            expects("topic", json!(publish.topic));
            let options = &expected["options"];
            assert_eq!(publish.options.acknowledge, options["acknowledge"] == true);
            assert_eq!(publish.options.exclude_me, options["exclude_me"] != false);
            let enc_algo = publish.options.passthru.as_ref().and_then(|p| p.enc_algo.as_deref());
            assert_eq!(json!(enc_algo), options["enc_algo"]);
            expects_payload(publish.payload);
        }
        ClientMessage::Subscribe(subscribe) => {
            expects("request_id", json!(subscribe.request.get()));
            expects("topic", json!(subscribe.topic));
        }
        ClientMessage::Unsubscribe { request, subscription } => {
            expects("request_id", json!(request.get()));
            expects("subscription_id", json!(subscription.get()));
        }
        ClientMessage::Call(call) => {
            expects("request_id", json!(call.request.get()));
            expects("procedure", json!(call.procedure));
            expects_payload(call.payload);
        }
        ClientMessage::Cancel(cancel) => expects("request_id", json!(cancel.request.get())),
        ClientMessage::Register(register) => {
            expects("request_id", json!(register.request.get()));
            expects("procedure", json!(register.procedure));
        }
        ClientMessage::Unregister { request, registration } => {
            expects("request_id", json!(request.get()));
            expects("registration_id", json!(registration.get()));
        }
        ClientMessage::Yield(yielded) => {
            expects("request_id", json!(yielded.request.get()));
            expects_payload(yielded.payload);
        }
        ClientMessage::Error(_) => panic!("no sample has an ERROR of a client"),
    }
}

/// A message of a router, read by an independent decoder.
struct Parts {
    codec: Codec,
    list: Vec<Oracle>,
    details: Dict,
    /// `Arguments` as a client would have sent them, encrypted data included.
    args: Option<Vec<u8>>,
}

impl Parts {
    fn new(codec: Codec, bytes: &[u8]) -> Self {
        let message = oracle::read(codec, bytes).expect("the sample is well-formed");
        let list = message.into_array().expect("a message");
        let details_at = list.iter().position(Oracle::is_map);
        let details = details_at.map(|at| oracle::to_dict(&list[at])).unwrap_or_default();
        let args = details_at.and_then(|at| list.get(at + 1));
        let args = args.map(|args| oracle::write(codec, args));
        Self { codec, list, details, args }
    }

    fn message(&self) -> RouterMessage<'_> {
        let details = &self.details;
        let payload = match &self.args {
            Some(args) => Payload::Raw { codec: self.codec, args, kwargs: None },
            None => Payload::Empty,
        };
        match self.number(0) as u16 {
            code::WELCOME => {
                RouterMessage::Welcome { session: self.id(1, SessionId::new), details }
            }
            code::ABORT => RouterMessage::Abort { message: "", reason: self.text(2) },
            code::GOODBYE => RouterMessage::Goodbye { message: "", reason: self.text(2) },
            code::ERROR => RouterMessage::Error {
                request_type: self.number(1) as u16,
                request: self.request(2),
                details,
                error: self.text(4),
                payload: Payload::Empty,
            },
            code::PUBLISHED => RouterMessage::Published {
                request: self.request(1),
                publication: self.id(2, PublicationId::new),
            },
            code::SUBSCRIBED => RouterMessage::Subscribed {
                request: self.request(1),
                subscription: self.id(2, SubscriptionId::new),
            },
            code::UNSUBSCRIBED => RouterMessage::Unsubscribed { request: self.request(1) },
            code::EVENT => RouterMessage::Event {
                subscription: self.id(1, SubscriptionId::new),
                publication: self.id(2, PublicationId::new),
                details,
                payload,
            },
            code::REGISTERED => RouterMessage::Registered {
                request: self.request(1),
                registration: self.id(2, RegistrationId::new),
            },
            code::UNREGISTERED => RouterMessage::Unregistered { request: self.request(1) },
            code::INVOCATION => RouterMessage::Invocation {
                request: self.request(1),
                registration: self.id(2, RegistrationId::new),
                details,
                payload,
            },
            code::INTERRUPT => {
                RouterMessage::Interrupt { request: self.request(1), options: details }
            }
            code::RESULT => RouterMessage::Result { request: self.request(1), details, payload },
            other => panic!("no message of a router has the type {other}"),
        }
    }

    fn number(&self, index: usize) -> u64 {
        self.list[index].as_integer().and_then(|n| n.try_into().ok()).expect("an integer")
    }

    fn id<T>(&self, index: usize, new: impl Fn(u64) -> Option<T>) -> T {
        new(self.number(index)).expect("an id")
    }

    fn request(&self, index: usize) -> RequestId {
        self.id(index, RequestId::new)
    }

    fn text(&self, index: usize) -> &str {
        self.list[index].as_text().expect("a string")
    }
}

/// All samples that have `key`, with their message type.
fn samples(key: &str) -> Vec<(u64, Json)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/singlemessage");
    let mut samples = Vec::new();
    for folder in ["basic", "advanced"] {
        for file in fs::read_dir(root.join(folder)).expect("the vectors are there") {
            let text = fs::read(file.expect("a file").path()).expect("it is readable");
            let file: Json = serde_json::from_slice(&text).expect("it is JSON");
            let code = file["wamp_message_code"].as_u64().expect("a type");
            let all = file["samples"].as_array().expect("samples").iter();
            samples.extend(all.filter(|s| s.get(key).is_some()).map(|s| (code, s.clone())));
        }
    }
    samples
}

fn variants(sample: &Json) -> Vec<(Codec, Vec<u8>)> {
    let mut variants = Vec::new();
    for codec in Codec::ALL {
        for variant in sample["serializers"][codec.as_str()].as_array().expect("variants") {
            variants.push((codec, from_hex(variant["bytes_hex"].as_str().expect("bytes"))));
        }
    }
    variants
}

/// The encrypted data in place of `Arguments`, read by an independent decoder.
fn bare_binary(payload: Payload<'_>) -> Vec<u8> {
    match payload.to_buf() {
        PayloadBuf::Raw { codec, bytes, has_kwargs: false, .. } => {
            let item = oracle::read(codec, &bytes).expect("well-formed");
            item.into_bytes().expect("binary data")
        }
        other => panic!("{other:?} is no single item"),
    }
}

fn to_json(value: Value) -> Json {
    serde_json::to_value(oracle::from_value(&value)).expect("JSON")
}

fn from_hex(digits: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("a digit") as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const LIMITS: DecodeLimits = DecodeLimits { nesting: 64 };
const FROM_CLIENTS: [u64; 12] = [1, 3, 5, 6, 16, 32, 34, 48, 49, 64, 66, 70];
const FROM_BOTH: [u64; 2] = [3, 6];
/// CHALLENGE and EVENT_RECEIVED.
const NOT_SENT: [u64; 2] = [4, 337];
const SHARED_WITH_PUBLISH: [&str; 5] =
    ["enc_algo", "enc_serializer", "forward_for", "transaction_hash", "x_acknowledged_delivery"];
