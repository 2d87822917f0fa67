//! The grammar of messages, text by text.

use super::super::{Codec, DecodeLimits, decode, read_json};
use super::*;

#[track_caller]
fn refused(text: &str, message: &str) {
    assert_eq!(read_json(text).expect_err(text).to_string(), message);
}

fn payload(text: &str) -> Payload<'_> {
    match read_json(text) {
        Ok(ClientMessage::Publish(publish)) => publish.payload,
        other => panic!("{other:?} is no PUBLISH"),
    }
}

#[test]
fn what_is_no_message_is_refused() {
    refused("{}", "a message must be a list that begins with its type, got a dict");
    refused("[]", "a message must be a list that begins with its type, got an empty list");
    refused(r#"["16"]"#, "a message must be a list that begins with its type, got a string");
    refused("[16.0]", "a message must be a list that begins with its type, got a float");
    refused("[7]", "unknown message type 7");
    refused("[337,1]", "unknown message type 337");
    refused("[65552]", "unknown message type 65552");
    refused("[36,1,1,{}]", "EVENT is only ever sent by a router");
    refused("[4,\"ticket\",{}]", "CHALLENGE is only ever sent by a router");
}

#[test]
fn the_count_of_elements_must_fit() {
    refused("[16,1,{}]", "PUBLISH must have 4 to 6 elements, got 3");
    refused(r#"[16,1,{},"a",[],{},1]"#, "PUBLISH must have 4 to 6 elements, got more");
    refused(r#"[32,1,{},"a",[]]"#, "SUBSCRIBE must have 4 elements, got more");
    refused("[34,1,1,{}]", "UNSUBSCRIBE must have 3 elements, got more");
    refused("[66,1,1,{}]", "UNREGISTER must have 3 elements, got more");
    refused("[70,1]", "YIELD must have 3 to 5 elements, got 2");
    assert!(read_json(r#"[3,{},"a",[1],{"b":2}]"#).is_ok());
    refused(r#"[6,{},"a",[]]"#, "GOODBYE must have 3 elements, got more");
}

#[test]
fn elements_must_have_their_types() {
    refused("[16,0,{},\"a\"]", "PUBLISH.Request must be an integer from 1 to 2^53, got 0");
    let beyond = "PUBLISH.Request must be an integer from 1 to 2^53, got 9007199254740993";
    refused("[16,9007199254740993,{},\"a\"]", beyond);
    for not_integer in ["1.0", "1e3", "-0"] {
        let text = format!("[16,{not_integer},{{}},\"a\"]");
        let error = read_json(&text).expect_err("it is no integer").to_string();
        assert!(error.starts_with("PUBLISH.Request must be an integer"), "{error}");
    }
    refused("[48,1,[],\"a\"]", "CALL.Options must be a dict, got a list");
    refused("[48,1,{},null]", "CALL.Procedure must be a string, got null");
    refused("[16,1,{},\"a\",{}]", "PUBLISH.Arguments must be a list, got a dict");
    refused("[16,1,{},\"a\",[],[]]", "PUBLISH.ArgumentsKw must be a dict, got a list");
    refused("[1,7,{}]", "HELLO.Realm must be a string or null, got an integer");
    refused(r#"[8,48,1,{},"a"]"#, "ERROR.REQUEST.Type must be 68 (INVOCATION), got 48");
    assert!(read_json("[16,9007199254740992,{},\"a\"]").is_ok());
}

#[test]
fn binary_integers_of_every_width_are_ids() {
    let wide: [&[u8]; 4] = [&[0xd0, 1], &[0xd3, 0, 0, 0, 0, 0, 0, 0, 1], &[0xcd, 0, 1], &[1]];
    for id in wide {
        let bytes = [&[0x93, 0x31], id, &[0x80]].concat();
        let decoded = decode(Codec::MsgPack, &bytes, DecodeLimits { nesting: 64 });
        assert!(matches!(decoded, Ok(ClientMessage::Cancel(_))), "{id:?}");
    }
    let float = [0x93, 0x31, 0xca, 0x3f, 0x80, 0, 0, 0x80];
    assert!(decode(Codec::MsgPack, &float, DecodeLimits { nesting: 64 }).is_err());
}

#[test]
fn whole_floats_name_what_is_given_back() {
    let unsubscribe = |number: f64| {
        let bytes = [&[0x93, 34, 1, 0xcb][..], &number.to_be_bytes()].concat();
        match decode(Codec::MsgPack, &bytes, DecodeLimits { nesting: 64 }) {
            Ok(ClientMessage::Unsubscribe { subscription, .. }) => Some(subscription.get()),
            _ => None,
        }
    };
    assert_eq!(unsubscribe((1_u64 << 53) as f64), Some(1 << 53));
    for bad in [1.5, 0.0, -1.0, 9_007_199_254_740_994.0, 1e300, f64::NAN, f64::INFINITY] {
        assert_eq!(unsubscribe(bad), None, "{bad}");
    }
    let float = "UNSUBSCRIBE.Subscription must be an integer from 1 to 2^53, got a float";
    refused("[34,1,1.0]", float);
    refused("[66,1,0]", "UNREGISTER.Registration must be an integer from 1 to 2^53, got 0");
}

#[test]
fn payload_is_kept_as_sent() {
    let parts = |payload| match payload {
        Payload::Raw { args, kwargs, .. } => Some((args, kwargs)),
        _ => None,
    };
    assert_eq!(parts(payload(r#"[16,1,{},"a"]"#)), None);
    assert_eq!(parts(payload(r#"[16,1,{},"a", [ ] ]"#)), Some((&b"[ ]"[..], None)));
    let both = payload(r#"[16,1,{},"a", [1.0,"\u00e4"] , {"b" : 2} ]"#);
    assert_eq!(parts(both), Some((&br#"[1.0,"\u00e4"]"#[..], Some(&br#"{"b" : 2}"#[..]))));
}

#[test]
fn null_payload_counts_as_absent() {
    for text in [r#"[16,1,{},"a",null]"#, r#"[16,1,{},"a",null,null]"#] {
        assert!(matches!(payload(text), Payload::Empty), "{text}");
    }
    let Payload::Raw { args, kwargs, .. } = payload(r#"[16,1,{},"a",null,{"b":2}]"#) else {
        panic!("there are keyword arguments");
    };
    assert_eq!((args, kwargs), (&b"[]"[..], Some(&br#"{"b":2}"#[..])));
}

#[test]
fn one_binary_item_may_be_the_payload_only_if_it_is_announced() {
    let text = r#"[16,1,{"enc_algo":"cryptobox"},"a","\u0000AQI="]"#;
    assert!(matches!(payload(text), Payload::Raw { kwargs: None, .. }));
    let bare = r#"[16,1,{},"a","\u0000AQI="]"#;
    refused(bare, "PUBLISH.Arguments must be a list, got binary data");
}

#[test]
fn keyword_arguments_must_have_strings_as_keys_and_may_repeat_them() {
    let head = [0x96, 0x10, 1, 0x80, 0xa1, b'a', 0x90];
    let bytes = [&head[..], &[0x81, 1, 2]].concat();
    let error = decode(Codec::MsgPack, &bytes, DecodeLimits { nesting: 64 });
    let error = error.expect_err("1 is no string").to_string();
    assert_eq!(error, "the keys of PUBLISH.ArgumentsKw must be strings, got an integer");
    assert!(read_json(r#"[16,1,{},"a",[],{"b":1,"b":2}]"#).is_ok());
}

#[test]
fn nesting_is_bounded_in_every_serializer() {
    let nested = |open: &[u8], levels: usize| open.repeat(levels);
    let json = |levels: usize| {
        let args = "[".repeat(levels) + &"]".repeat(levels);
        format!(r#"[16,1,{{}},"a",{args}]"#)
    };
    let too_deep = |bytes: &[u8], codec| {
        let error = decode(codec, bytes, DecodeLimits { nesting: 600 });
        assert_eq!(error.expect_err("it is deep").fault(), &DecodeFault::TooDeep { limit: 512 });
    };
    assert!(read_json(&json(63)).is_ok());
    assert_eq!(read_json(&json(64)).unwrap_err().fault(), &DecodeFault::TooDeep { limit: 64 });
    too_deep(json(200_000).as_bytes(), Codec::Json);
    let head = [0x95, 0x10, 1, 0x80, 0xa1, b'a'];
    too_deep(&[&head[..], &nested(&[0x91], 200_000)].concat(), Codec::MsgPack);
    let head = [0x85, 0x10, 1, 0xa0, 0x61, b'a'];
    for open in [0x81, 0x9f] {
        too_deep(&[&head[..], &nested(&[open], 200_000)].concat(), Codec::Cbor);
    }
    // Unknown options, and authextra, which becomes values.
    let deep = "{\"a\":".repeat(200_000);
    for text in [format!("[16,1,{deep}"), format!("[5,\"a\",{deep}")] {
        assert_eq!(read_json(&text).unwrap_err().fault(), &DecodeFault::TooDeep { limit: 64 });
    }
}

#[test]
fn declared_lengths_are_not_believed() {
    let huge: [(Codec, &[u8]); 5] = [
        (Codec::MsgPack, &[0xdd, 0xff, 0xff, 0xff, 0xff, 0x10]),
        (Codec::MsgPack, &[0x95, 0x10, 1, 0x80, 0xdb, 0xff, 0xff, 0xff, 0xff]),
        (Codec::MsgPack, &[0x93, 0x05, 0xa1, b'a', 0xdf, 0xff, 0xff, 0xff, 0xff]),
        (Codec::Cbor, &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10]),
        (Codec::Cbor, &[0x83, 0x05, 0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ];
    for (codec, bytes) in huge {
        let error = decode(codec, bytes, DecodeLimits { nesting: 64 }).expect_err("it is cut");
        assert!(error.to_string().contains("unexpected end"), "{error}");
    }
}

/// What is read on a short way must be what the long way reads.
#[test]
fn unusual_forms_of_the_usual_are_read_alike() {
    for usual in [r#"[16,10,{},"com.a",[10,0,"x",null,true,{"a":7}]]"#, r#"[49,10,{}]"#] {
        let spaced = usual.replace(',', " , ").replace('{', "{ ").replace(']', " ]");
        let escaped = usual.replace("com", "\\u0063om");
        for text in [usual, &spaced, &escaped] {
            let decoded = read_json(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            match decoded {
                ClientMessage::Publish(publish) => {
                    assert_eq!((publish.request.get(), &*publish.topic), (10, "com.a"));
                }
                ClientMessage::Cancel(cancel) => assert_eq!(cancel.request.get(), 10),
                other => panic!("{other:?}"),
            }
        }
    }
    for bad in [
        "[49,,{}]",
        "[49,01,{}]",
        "[49,1 2,{}]",
        r#"[16,1,{},"a",[00]]"#,
        r#"[16,1,{},"a",[,]]"#,
        r#"[16,1,{},"a",[nul]]"#,
        r#"[16,1,{},"a",["a]]"#,
        "[16,1,{},\"a\",[\"\n\"]]",
        "[16,1,{},\"a\",[\"0123456789abcdef0123456789abcdef\u{1f}\"]]",
    ] {
        let error = read_json(bad).expect_err(bad);
        assert!(matches!(error.fault(), DecodeFault::Malformed { .. }), "{bad}: {error}");
    }
}

/// The short way must count an empty dict as a level, too.
#[test]
fn an_empty_dict_is_a_level() {
    let decoded = |nesting| decode(Codec::Json, b"[49,1,{}]", DecodeLimits { nesting });
    assert!(decoded(2).is_ok());
    assert_eq!(decoded(1).unwrap_err().fault(), &DecodeFault::TooDeep { limit: 1 });
}
