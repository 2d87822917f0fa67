//! Payload from one serializer to another: the stream gives what building values gave, in the
//! shortest form, within its bounds.

use proptest::prelude::*;
use stentor::codec::{self, Codec, DecodeFault, DecodeLimits, EncodeError, MAX_EXPANSION};
use stentor::wamp::{
    ClientMessage, Dict, Payload, PayloadBuf, PublicationId, RouterMessage, SubscriptionId, Value,
};

proptest! {
    #[test]
    fn the_stream_gives_what_values_give(
        from in codec(),
        to in codec(),
        document in document(),
    ) {
        compare(from, &document.write(from), to);
    }

    #[test]
    fn what_is_odd_but_accepted_is_judged_alike(
        from in codec(),
        to in codec(),
        document in document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = document.write(from);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_accepted(from, &bytes) {
            compare(from, &bytes, to);
        }
    }

    #[test]
    fn a_limit_is_kept_while_bytes_are_made(
        from in codec(),
        to in codec(),
        document in document(),
        part in 0.0..1.1,
    ) {
        let bytes = document.write(from);
        let payload = Payload::Raw { codec: from, args: &bytes, kwargs: None };
        let message = event(payload);
        let mut whole = Vec::new();
        if codec::encode(to, &message, &mut whole).is_ok() {
            let limit_bytes = (whole.len() as f64 * part) as usize;
            let mut out = b"before".to_vec();
            let encoded = codec::encode_within(to, &message, limit_bytes, &mut out);
            prop_assert!(out.capacity() <= b"before".len() + limit_bytes);
            if limit_bytes < whole.len() {
                prop_assert_eq!(encoded, Err(EncodeError::TooLarge { limit_bytes }));
                prop_assert_eq!(out, b"before");
            } else {
                prop_assert_eq!(encoded, Ok(()));
                prop_assert_eq!(&out[6..], &whole);
            }
        }
    }
}

/// TR-SER-02: heads of every width, of lists and dicts whose length JSON does not tell, side by
/// side and within each other.
#[test]
fn lengths_that_are_known_late_take_the_shortest_form() {
    for length in [0, 1, 15, 16, 17, 23, 24, 255, 256, 65_535, 65_536] {
        let list = Value::List((0..length).map(|number| Value::UInt(number % 3)).collect());
        let key = |number: u64| number.to_string().into();
        let dict = Value::Dict((0..length).map(|number| (key(number), Value::Null)).collect());
        let both = Value::List(vec![list.clone(), dict.clone(), list.clone(), Value::from("x")]);
        let outer = Value::List((0..20).map(|_| Value::List(vec![both.clone()])).collect());
        let nested = Value::Dict(vec![("a".into(), if length < 300 { outer } else { both })]);
        for value in [list, dict, nested] {
            let json = codec::encode_value(Codec::Json, &value).expect("it is plain");
            for to in [Codec::Cbor, Codec::MsgPack] {
                let expected = codec::encode_value(to, &value).expect("it is plain");
                assert!(transcode(Codec::Json, &json, to) == Ok(expected), "{length} {to:?}");
            }
        }
    }
}

/// Each level holds more elements than a short head can count, so every head moves what is in it.
#[test]
fn deep_nesting_of_long_lists_is_put_right() {
    let mut value = Value::List(Vec::new());
    for _ in 0..500 {
        value = Value::List([vec![Value::UInt(7); 30], vec![value]].concat());
    }
    let json = codec::encode_value(Codec::Json, &value).expect("it is plain");
    for to in [Codec::Cbor, Codec::MsgPack] {
        assert_eq!(transcode(Codec::Json, &json, to), codec::encode_value(to, &value));
    }
}

#[test]
fn deeper_nesting_than_any_message_may_have_is_refused() {
    let deep = "[".repeat(513) + &"]".repeat(513);
    let error = transcode(Codec::Json, deep.as_bytes(), Codec::Cbor).expect_err("it is too deep");
    let too_deep = DecodeFault::TooDeep { limit: 512 };
    assert_eq!(error, EncodeError::Payload(too_deep.into()));
}

/// The bound on what one byte becomes, over each kind of item that is short for what it says.
#[test]
fn no_item_grows_more_than_the_bound() {
    let mut items: Vec<(Codec, Vec<u8>)> = Vec::new();
    items.extend(
        (0..=u16::MAX).map(|half| (Codec::Cbor, [&[0xf9], &half.to_be_bytes()[..]].concat())),
    );
    for float in [f32::MIN_POSITIVE, -1.234_567_9e-30, 1e38, -3.402_823_5e38, 0.1, -0.000_011] {
        items.push((Codec::MsgPack, [&[0xca], &float.to_be_bytes()[..]].concat()));
        items.push((Codec::Cbor, [&[0xfa], &float.to_be_bytes()[..]].concat()));
    }
    for byte in 0..=u8::MAX {
        for length in 0..3 {
            let rest = vec![byte; length];
            items.push((Codec::MsgPack, rest.clone()));
            items.push((Codec::Cbor, rest));
            let text = vec![byte & 0x7f; length];
            for (codec, head) in [(Codec::MsgPack, 0xa0), (Codec::Cbor, 0x60), (Codec::Cbor, 0x40)]
            {
                items.push((codec, [&[head + length as u8], &text[..]].concat()));
            }
            items.push((Codec::MsgPack, [&[0xc4, length as u8], &text[..]].concat()));
        }
    }
    let json = ["-0", "0", "1e1", "1E5", "[]", "{}", "null", "\"\"", r#""\u0000""#, r#""\n""#];
    items.extend(json.map(|item| (Codec::Json, item.as_bytes().to_vec())));
    let mut worst = 0.0_f64;
    for (from, item) in items {
        let (two, three) = (list_of(from, &item, 2), list_of(from, &item, 3));
        if !is_accepted(from, &three) {
            continue;
        }
        for to in Codec::ALL {
            // What one more of it takes, with what separates it.
            if let (Ok(two), Ok(three)) = (transcode(from, &two, to), transcode(from, &three, to)) {
                worst = worst.max((three.len() - two.len()) as f64 / item.len() as f64);
            }
        }
    }
    assert_eq!(worst, MAX_EXPANSION as f64);
}

/// A transcoded payload is kept for many receivers: nothing around it is kept with it.
#[test]
fn a_transcoded_payload_takes_its_own_bytes_only() {
    let json = format!("[{}1]", "-0,".repeat(100_000));
    let payload = Payload::Raw { codec: Codec::Json, args: json.as_bytes(), kwargs: None };
    let Ok(PayloadBuf::Raw { bytes, .. }) = codec::transcode(payload, Codec::Cbor) else {
        panic!("it is expressible");
    };
    let length = bytes.len();
    assert_eq!(Vec::from(bytes).capacity(), length);
}

/// What values give, as it was before there was a stream.
fn compare(from: Codec, bytes: &[u8], to: Codec) {
    let expected = match codec::decode_value(from, bytes) {
        _ if from == to => Ok(bytes.to_vec()),
        Ok(value) => codec::encode_value(to, &value),
        Err(error) => match error.fault() {
            DecodeFault::Foreign { what } => Err(EncodeError::Inexpressible { what, codec: to }),
            _ => Err(EncodeError::Payload(error)),
        },
    };
    match (transcode(from, bytes, to), expected) {
        (Ok(ours), Ok(expected)) => assert_eq!(ours, expected, "{from:?} to {to:?}"),
        // Of two reasons, the one that comes first in the document is the stream's.
        (
            Err(EncodeError::Inexpressible { codec: ours, .. }),
            Err(EncodeError::Inexpressible { codec: expected, .. }),
        ) => assert_eq!(ours, expected),
        (ours, expected) => panic!("{from:?} to {to:?}: {ours:?}, not {expected:?}"),
    }
}

fn transcode(from: Codec, bytes: &[u8], to: Codec) -> Result<Vec<u8>, EncodeError> {
    let payload = Payload::Raw { codec: from, args: bytes, kwargs: None };
    match codec::transcode(payload, to)? {
        PayloadBuf::Raw { bytes, has_kwargs: false, .. } => Ok(bytes.to_vec()),
        other => panic!("{other:?} is no single document"),
    }
}

/// Whether a client may send it as `Arguments`.
fn is_accepted(codec: Codec, args: &[u8]) -> bool {
    let head: &[u8] = match codec {
        Codec::Cbor => b"\x85\x10\x01\xa0\x61a",
        Codec::Json => b"[16,1,{},\"a\",",
        Codec::MsgPack => b"\x95\x10\x01\x80\xa1a",
    };
    let end: &[u8] = if codec == Codec::Json { b"]" } else { b"" };
    let message = [head, args, end].concat();
    let decoded = codec::decode(codec, &message, DecodeLimits { nesting: 512 });
    matches!(decoded, Ok(ClientMessage::Publish(publish)) if matches!(
        publish.payload, Payload::Raw { args: read, kwargs: None, .. } if read == args
    ))
}

fn event(payload: Payload<'_>) -> RouterMessage<'_> {
    static DETAILS: Dict = Dict::new();
    let subscription = SubscriptionId::from_random(1);
    let publication = PublicationId::from_random(2);
    RouterMessage::Event { subscription, publication, details: &DETAILS, payload }
}

fn list_of(codec: Codec, item: &[u8], count: u16) -> Vec<u8> {
    let length = count.to_be_bytes();
    match codec {
        Codec::Cbor => [&[0x99], &length[..], &item.repeat(count.into())].concat(),
        Codec::MsgPack => [&[0xdc], &length[..], &item.repeat(count.into())].concat(),
        Codec::Json => [b"[", &vec![item; count.into()].join(&b","[..])[..], b"]"].concat(),
    }
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&Codec::ALL[..])
}

/// A document with what only some serializers have, and the forms that they may choose.
#[derive(Clone, Debug)]
enum Document {
    Plain(Value),
    /// Bytes of CBOR; null elsewhere.
    Cbor(Vec<u8>),
    /// Bytes of MessagePack; null elsewhere.
    MsgPack(Vec<u8>),
    /// A piece of JSON; null elsewhere.
    Json(&'static str),
    /// In CBOR of indefinite length if the flag says so.
    List(Vec<Self>, bool),
    Dict(Vec<(String, Self)>, bool),
}

impl Document {
    fn write(&self, codec: Codec) -> Vec<u8> {
        let plain =
            |value: &Value| codec::encode_value(codec, value).unwrap_or_else(|_| plain_null(codec));
        match (self, codec) {
            (Self::Plain(value), _) => plain(value),
            (Self::Cbor(bytes), Codec::Cbor) | (Self::MsgPack(bytes), Codec::MsgPack) => {
                bytes.clone()
            }
            (Self::Json(text), Codec::Json) => text.as_bytes().to_vec(),
            (Self::Cbor(_) | Self::MsgPack(_) | Self::Json(_), _) => plain_null(codec),
            (Self::List(items, indefinite), _) => {
                let items: Vec<_> = items.iter().map(|item| item.write(codec)).collect();
                framed(codec, &items, false, *indefinite)
            }
            (Self::Dict(entries, indefinite), _) => {
                let entries = entries.iter().map(|(key, value)| {
                    let key = if codec == Codec::Json {
                        serde_json::to_vec(key).expect("JSON has it")
                    } else {
                        plain(&Value::from(key.as_str()))
                    };
                    let colon: &[u8] = if codec == Codec::Json { b" : " } else { b"" };
                    [&key, colon, &value.write(codec)].concat()
                });
                framed(codec, &entries.collect::<Vec<_>>(), true, *indefinite)
            }
        }
    }
}

fn plain_null(codec: Codec) -> Vec<u8> {
    codec::encode_value(codec, &Value::Null).expect("every serializer has null")
}

fn framed(codec: Codec, items: &[Vec<u8>], is_dict: bool, indefinite: bool) -> Vec<u8> {
    let length = u16::try_from(items.len()).expect("few").to_be_bytes();
    let head: &[u8] = match (codec, is_dict) {
        (Codec::Json, false) => return [b"[", &items.join(&b" ,"[..])[..], b"]"].concat(),
        (Codec::Json, true) => return [b"{", &items.join(&b","[..])[..], b"}"].concat(),
        (Codec::Cbor, _) if indefinite => {
            let head = if is_dict { 0xbf } else { 0x9f };
            return [&[head], &items.concat()[..], &[0xff]].concat();
        }
        (Codec::Cbor, false) => &[0x99],
        (Codec::Cbor, true) => &[0xb9],
        (Codec::MsgPack, false) => &[0xdc],
        (Codec::MsgPack, true) => &[0xde],
    };
    [head, &length, &items.concat()].concat()
}

fn document() -> impl Strategy<Value = Document> {
    let cbor: [&[u8]; 9] = [
        b"\xf9\x3c\x00",
        b"\xf9\x7e\x00",
        b"\xf7",
        b"\xc2\x42\x01\x00",
        b"\xc1\x00",
        b"\xa1\x01\x02",
        b"\x7f\x61a\x62\xc3\xa4\xff",
        b"\x5f\x41a\xff",
        b"\xd8\x40\x42ab",
    ];
    let msgpack: [&[u8]; 4] = [b"\xca\x3f\x80\0\0", b"\xd4\0\0", b"\xc7\x01\x05a", b"\x81\x01\x02"];
    let json = vec![
        r#""\u00e4\n\ud834\udd1e""#,
        r#""\u0000AQI=""#,
        r#""\u0000AQL\/""#,
        r#""\ud83d""#,
        r#"{"\udc00":1}"#,
        "-0",
        "1.50",
        "1e400",
        "18446744073709551616",
        "[ [ ], { } ]",
    ];
    let bytes = |items: &[&[u8]]| items.iter().map(|item| item.to_vec()).collect::<Vec<_>>();
    let leaf = prop_oneof![
        Just(Document::Plain(Value::Null)),
        any::<bool>().prop_map(|truth| Document::Plain(Value::Bool(truth))),
        (i64::MIN..0).prop_map(|number| Document::Plain(Value::Int(number))),
        any::<u64>().prop_map(|number| Document::Plain(Value::UInt(number))),
        any::<f64>().prop_map(|number| Document::Plain(Value::Float(number))),
        any::<String>().prop_map(|text| Document::Plain(Value::Str(text))),
        any::<Vec<u8>>().prop_map(|bytes| Document::Plain(Value::Bytes(bytes))),
        prop::sample::select(bytes(&cbor)).prop_map(Document::Cbor),
        prop::sample::select(bytes(&msgpack)).prop_map(Document::MsgPack),
        prop::sample::select(json).prop_map(Document::Json),
    ];
    let nested = leaf.prop_recursive(4, 60, 30, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..30), any::<bool>())
                .prop_map(|(items, indefinite)| Document::List(items, indefinite)),
            (prop::collection::vec((any::<String>(), inner), 0..30), any::<bool>())
                .prop_map(|(entries, indefinite)| Document::Dict(entries, indefinite)),
        ]
    });
    prop::collection::vec(nested, 0..4).prop_map(|items| Document::List(items, true))
}
