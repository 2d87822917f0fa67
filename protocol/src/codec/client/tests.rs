//! What a client encodes the router decodes, and the other way round, in each serializer.

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert_eq, prop_oneof, proptest};

use super::super::{Codec, DecodeLimits, decode as router_decode, encode as router_encode};
use super::{FromRouter, ToRouter, decode, encode};
use crate::wamp::{
    CancelMode, Choice, ClientMessage, Dict, Feature, Payload, PublicationId, RequestId, Role,
    RouterMessage, SessionId, SubscriptionId, Value, code,
};

const LIMITS: DecodeLimits = DecodeLimits { nesting: 64 };

fn request(id: u64) -> RequestId {
    RequestId::new(id).expect("an id")
}

/// What the router understands of a message, in each serializer.
#[track_caller]
fn heard(message: &ToRouter<'_>, check: impl Fn(ClientMessage<'_>)) {
    for codec in Codec::ALL {
        let mut bytes = Vec::new();
        encode(codec, message, usize::MAX, &mut bytes).expect("it is expressible");
        check(router_decode(codec, &bytes, LIMITS).expect("the router understands it"));
    }
}

/// What a client understands of a router's message, in each serializer.
#[track_caller]
fn told(message: &RouterMessage<'_>, check: impl Fn(FromRouter<'_>)) {
    for codec in Codec::ALL {
        let mut bytes = Vec::new();
        router_encode(codec, message, &mut bytes).expect("it is expressible");
        check(decode(codec, &bytes, LIMITS).expect("the client understands it"));
    }
}

#[test]
fn the_router_hears_hello_and_authenticate() {
    let features: Dict = vec![("call_canceling".into(), true.into())];
    let callee: Dict = vec![("features".into(), Value::Dict(features))];
    let roles: Dict = vec![("callee".into(), Value::Dict(callee))];
    let details: Dict = vec![("roles".into(), Value::Dict(roles)), ("authid".into(), "joe".into())];
    heard(&ToRouter::Hello { realm: "realm1", details: &details }, |message| {
        let ClientMessage::Hello(hello) = message else { panic!("{message:?}") };
        assert_eq!(hello.realm.as_deref(), Some("realm1"));
        assert!(hello.roles.has(Role::Callee, Feature::CallCanceling));
        assert_eq!(hello.authid.as_deref(), Some("joe"));
    });
    let extra: Dict = vec![("nonce".into(), "abc".into())];
    heard(&ToRouter::Authenticate { signature: "s", extra: &extra }, |message| {
        let ClientMessage::Authenticate(answer) = message else { panic!("{message:?}") };
        assert_eq!((&*answer.signature, &answer.extra), ("s", &extra));
    });
}

#[test]
fn the_router_hears_requests() {
    let options: Dict = vec![("acknowledge".into(), true.into())];
    let args = [Value::from("größe"), Value::UInt(7)];
    let kwargs: Dict = vec![("a".into(), Value::Bytes(vec![0, 255]))];
    let payload = Payload::Values { args: &args, kwargs: &kwargs };
    let (request_3, none) = (request(3), Dict::new());
    let publish =
        ToRouter::Publish { request: request_3, options: &options, topic: "a.b", payload };
    heard(&publish, |message| {
        let ClientMessage::Publish(publish) = message else { panic!("{message:?}") };
        assert!(publish.options.acknowledge);
        assert_eq!((publish.request, &*publish.topic), (request_3, "a.b"));
        let (heard_args, heard_kwargs) =
            super::super::decode_payload(publish.payload).expect("values");
        assert_eq!((&heard_args[..], &heard_kwargs), (&args[..], &kwargs));
    });
    let mode: Dict = vec![("mode".into(), "kill".into())];
    heard(&ToRouter::Cancel { request: request_3, options: &mode }, |message| {
        let ClientMessage::Cancel(cancel) = message else { panic!("{message:?}") };
        assert_eq!(cancel.mode, Choice::Known(CancelMode::Kill));
    });
    let error = ToRouter::Error { request: request_3, details: &none, error: "com.e", payload };
    heard(&error, |message| {
        let ClientMessage::Error(error) = message else { panic!("{message:?}") };
        assert_eq!((error.request, &*error.error), (request_3, "com.e"));
    });
    let subscription = SubscriptionId::new(9).expect("an id");
    heard(&ToRouter::Unsubscribe { request: request_3, subscription }, |message| {
        assert!(matches!(message, ClientMessage::Unsubscribe { subscription: s, .. }
            if s == subscription));
    });
    let goodbye = ToRouter::Goodbye { message: "", reason: "wamp.close.normal" };
    heard(&goodbye, |message| {
        assert!(
            matches!(message, ClientMessage::Goodbye { reason } if reason == "wamp.close.normal")
        );
    });
}

#[test]
fn the_client_is_told_everything_of_an_event() {
    let details: Dict = vec![("topic".into(), "a.b".into()), ("publisher".into(), 7_u64.into())];
    let args = [Value::Int(-1), Value::Float(0.5), Value::Null];
    let (subscription, publication) = (SubscriptionId::new(1), PublicationId::new(1 << 53));
    let (subscription, publication) = subscription.zip(publication).expect("ids");
    let payload = Payload::Values { args: &args, kwargs: &Dict::new() };
    let event = RouterMessage::Event { subscription, publication, details: &details, payload };
    told(&event, |message| {
        let FromRouter::Event { publication: p, details: d, payload, .. } = message else {
            panic!("{message:?}")
        };
        assert_eq!((p, d), (publication, details.clone()));
        let (told, _) = super::super::decode_payload(payload).expect("values");
        assert_eq!(told, args);
    });
}

#[test]
fn the_client_is_told_what_was_taken_away() {
    let details: Dict = vec![("subscription".into(), 5_u64.into())];
    told(&RouterMessage::Revoked { details: &details }, |message| {
        assert!(matches!(message, FromRouter::Revoked { details: d } if d == details));
    });
    told(&RouterMessage::Unsubscribed { request: request(4) }, |message| {
        assert!(matches!(message, FromRouter::Unsubscribed { request: r } if r == request(4)));
    });
    told(&RouterMessage::RegistrationRevoked { details: &details }, |message| {
        assert!(matches!(message, FromRouter::RegistrationRevoked { .. }));
    });
    let session = SessionId::new(3).expect("an id");
    told(&RouterMessage::Welcome { session, details: &details }, |message| {
        assert!(matches!(message, FromRouter::Welcome { session: s, .. } if s == session));
    });
    let error = RouterMessage::Error {
        request_type: code::CALL,
        request: request(2),
        details: &Dict::new(),
        error: "wamp.error.canceled",
        payload: Payload::Empty,
    };
    told(&error, |message| {
        let FromRouter::Error { request_type, error, .. } = message else { panic!("{message:?}") };
        assert_eq!((request_type, &*error), (code::CALL, "wamp.error.canceled"));
    });
}

/// A hostile router gets a sentence, and no memory.
#[test]
fn what_no_router_may_send_is_refused() {
    let refused = |text: &str| {
        decode(Codec::Json, text.as_bytes(), LIMITS).map(|message| message.name()).unwrap_err()
    };
    for text in ["", "[]", "{}", "[1]", "[16,1,{},\"a\"]", "[36,1]", "[36,0,1,{}]", "[2,1,{},1]"] {
        refused(text);
    }
    assert_eq!(
        refused("[33,1,\"x\"]").to_string(),
        "SUBSCRIBED.Subscription must be an integer from 1 to 2^53, got a string"
    );
    let many = format!("[2,1,{{\"a\":[{}0]}}]", "0,".repeat(20_000));
    assert_eq!(
        refused(&many).to_string(),
        "WELCOME.Details takes more than 262144 bytes of memory"
    );
    let deep = format!("[36,1,1,{{}},{}{}]", "[".repeat(100), "]".repeat(100));
    assert!(refused(&deep).to_string().contains("nested"), "{}", refused(&deep));
}

#[test]
fn what_does_not_fit_is_not_sent() {
    let details = Dict::new();
    let hello = ToRouter::Hello { realm: "realm1", details: &details };
    let mut out = b"before".to_vec();
    assert!(encode(Codec::Json, &hello, 5, &mut out).is_err());
    assert_eq!(out, b"before");
}

/// Any value that every serializer has.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::UInt),
        (i64::MIN..0).prop_map(Value::Int),
        "[a-zäß\\PC]{0,8}".prop_map(Value::Str),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            entries(inner).prop_map(Value::Dict),
        ]
    })
}

fn entries(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Dict> {
    prop::collection::btree_map("[a-z]{1,6}", inner, 0..4)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

proptest! {
    /// From a client to a router, and from a router to a client, in every serializer.
    #[test]
    fn whatever_is_said_is_heard(
        args in prop::collection::vec(value(), 0..4),
        kwargs in entries(value()),
        details in entries(value()),
        id in 1..=(1_u64 << 53),
    ) {
        let payload = Payload::Values { args: &args, kwargs: &kwargs };
        for codec in Codec::ALL {
            let mut bytes = Vec::new();
            let none = Dict::new();
            let call =
                ToRouter::Call { request: request(id), options: &none, procedure: "a.b", payload };
            encode(codec, &call, usize::MAX, &mut bytes).expect("it is expressible");
            let heard = router_decode(codec, &bytes, LIMITS).expect("the router understands it");
            let ClientMessage::Call(call) = heard else { panic!("{heard:?} is no CALL") };
            prop_assert_eq!(call.request, request(id));
            let heard = super::super::decode_payload(call.payload).expect("values");
            prop_assert_eq!(&heard, &(args.clone(), kwargs.clone()));

            let details = &details;
            let result = RouterMessage::Result { request: request(id), details, payload };
            bytes.clear();
            router_encode(codec, &result, &mut bytes).expect("it is expressible");
            let told = decode(codec, &bytes, LIMITS).expect("the client understands it");
            let FromRouter::Result { request: r, details: d, payload } = told else {
                panic!("{told:?} is no RESULT");
            };
            prop_assert_eq!((r, &d), (request(id), details));
            let told = super::super::decode_payload(payload).expect("values");
            prop_assert_eq!(told, (args.clone(), kwargs.clone()));
        }
    }

    /// Whatever a router sends, the client takes it or says what is wrong; it never panics.
    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for codec in Codec::ALL {
            let _ = decode(codec, &bytes, LIMITS);
        }
    }
}
