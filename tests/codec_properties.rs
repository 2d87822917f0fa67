//! What must hold for every document: round trips, agreement with other serializers, no panic.

mod oracle;

use ciborium::Value as Oracle;
use proptest::prelude::*;
use stentor::codec::{self, Codec, DecodeLimits};
use stentor::wamp::{
    ClientMessage, Dict, Payload, PublicationId, RouterMessage, SubscriptionId, Value,
};

const LIMITS: DecodeLimits = DecodeLimits { nesting: 64 };

proptest! {
    #[test]
    fn values_survive_any_way_through_the_serializers(
        args in prop::collection::vec(value(), 0..4),
        kwargs in dict(value()),
        way in prop::collection::vec(codec(), 1..4),
    ) {
        let mut payload = Payload::Values { args: &args, kwargs: &kwargs }.to_buf();
        for codec in way {
            payload = codec::transcode(payload.as_payload(), codec).expect("it is expressible");
        }
        let decoded = codec::decode_payload(payload.as_payload()).expect("it is well-formed");
        // Debug tells -0.0 from 0.0, which the comparison of floats does not.
        prop_assert_eq!(format!("{decoded:?}"), format!("{:?}", (args, kwargs)));
    }

    #[test]
    fn binary_serializers_keep_every_float(bits in any::<u64>()) {
        let args = [Value::Float(f64::from_bits(bits))];
        let mut payload = Payload::Values { args: &args, kwargs: &Dict::new() }.to_buf();
        for codec in [Codec::MsgPack, Codec::Cbor] {
            payload = codec::transcode(payload.as_payload(), codec).expect("it is expressible");
        }
        match codec::decode_payload(payload.as_payload()).expect("it is well-formed").0[..] {
            [Value::Float(float)] => prop_assert_eq!(float.to_bits(), bits),
            ref other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn what_other_serializers_write_is_read_and_passed_on_unchanged(
        codec in codec(),
        args in prop::collection::vec(value(), 0..4),
        kwargs in dict(value()),
    ) {
        let (args, kwargs) = (Value::List(args), Value::Dict(kwargs));
        let bytes = publish(codec, &[oracle::from_value(&args), oracle::from_value(&kwargs)]);
        let payload = payload(codec, &bytes).expect("it is well-formed");
        let decoded = codec::decode_payload(payload).expect("it has values only");
        let decoded = (Value::List(decoded.0), Value::Dict(decoded.1));
        prop_assert_eq!(format!("{decoded:?}"), format!("{:?}", (&args, &kwargs)));

        let sent = [oracle::write(codec, &oracle::from_value(&args)),
            oracle::write(codec, &oracle::from_value(&kwargs))];
        let event = event(codec, payload);
        prop_assert!(event.windows(sent[0].len()).any(|part| part == sent[0]));
        let end = if codec == Codec::Json { event.len() - 1 } else { event.len() };
        prop_assert!(event[..end].ends_with(&sent[1]));
    }

    #[test]
    fn what_we_write_other_serializers_read(
        from in codec(),
        to in codec(),
        args in prop::collection::vec(value(), 0..4),
    ) {
        let args = Value::List(args);
        let bytes = publish(from, &[oracle::from_value(&args)]);
        let event = event(to, payload(from, &bytes).expect("it is well-formed"));
        let list = oracle::read(to, &event).and_then(|event| event.into_array().ok());
        let read = list.expect("a message").pop().expect("arguments");
        prop_assert_eq!(format!("{:?}", oracle::to_value(&read)), format!("{args:?}"));
    }

    #[test]
    fn damaged_documents_are_judged_as_by_other_serializers(
        codec in codec(),
        args in prop::collection::vec(value(), 0..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = publish(codec, &[oracle::from_value(&Value::List(args))]);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        let ours = codec::decode(codec, &bytes, LIMITS);
        let theirs = oracle::read(codec, &bytes);
        if ours.is_ok() && !oracle::is_beyond_the_oracle(codec, &bytes) {
            prop_assert!(theirs.is_some(), "only we accept {:02x?}", bytes);
        }
        let is_publish = theirs.is_some_and(|message| oracle::is_publish(&message));
        if is_publish && !oracle::is_beyond_us(codec, &bytes) {
            prop_assert!(ours.is_ok(), "only we refuse {:02x?}: {:?}", bytes, ours);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(codec in codec(), bytes: Vec<u8>, begun: bool) {
        let mut document = if begun { publish(codec, &[]) } else { Vec::new() };
        if codec == Codec::Json && begun {
            document.pop();
            document.push(b',');
        }
        if codec != Codec::Json && begun {
            document[0] += 1;
        }
        document.extend_from_slice(&bytes);
        if let Ok(payload) = payload(codec, &document) {
            for to in Codec::ALL {
                let _refused_or_not = codec::transcode(payload, to);
            }
        }
    }

    #[test]
    fn no_text_makes_the_json_decoder_panic(text in r#"[\[\]{}",:\\u0-9dDeE+.\-a ]{0,40}"#) {
        let accepted = codec::decode(Codec::Json, text.as_bytes(), LIMITS).is_ok();
        let theirs = oracle::read(Codec::Json, text.as_bytes());
        prop_assert!(!accepted || theirs.is_some() || oracle::has_surrogate(text.as_bytes()));
    }
}

fn publish(codec: Codec, payload: &[Oracle]) -> Vec<u8> {
    let head = [16.into(), 1.into(), Oracle::Map(Vec::new()), "com.example".into()];
    oracle::write(codec, &Oracle::Array([&head, payload].concat()))
}

fn payload(codec: Codec, bytes: &[u8]) -> Result<Payload<'_>, codec::DecodeError> {
    match codec::decode(codec, bytes, LIMITS)? {
        ClientMessage::Publish(publish) => Ok(publish.payload),
        _ => Ok(Payload::Empty),
    }
}

fn event(codec: Codec, payload: Payload<'_>) -> Vec<u8> {
    let subscription = SubscriptionId::from_random(1);
    let publication = PublicationId::from_random(2);
    let details = &Dict::new();
    let mut out = Vec::new();
    let message = RouterMessage::Event { subscription, publication, details, payload };
    codec::encode(codec, &message, &mut out).expect("it is expressible");
    out
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&Codec::ALL[..])
}

/// Any value that all serializers can express.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (i64::MIN..0).prop_map(Value::Int),
        any::<u64>().prop_map(Value::UInt),
        any::<f64>()
            .prop_filter("JSON has finite floats only", |f| f.is_finite())
            .prop_map(Value::Float),
        any::<String>()
            .prop_filter("NUL marks binary data", |text| !text.starts_with('\0'))
            .prop_map(Value::Str),
        any::<Vec<u8>>().prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            dict(inner).prop_map(Value::Dict),
        ]
    })
}

fn dict(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Dict> {
    prop::collection::btree_map(any::<String>(), value, 0..4)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.into(), value)).collect())
}
