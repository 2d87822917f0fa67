//! Bodies and answers in other formats than JSON, in which the sessions of HTTP clients speak: a
//! body becomes JSON once, and an answer is made of JSON once.
//!
//! Binary data is in JSON as WAMP has it there, so it is the same to all. What JSON cannot say
//! (NaN, tags, a text that begins with NUL) cannot be said here.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::value::RawValue;

use super::reply::Reply;
use super::said::error_json;
use crate::codec::{self, Codec, EncodeError, MAX_EXPANSION};
use crate::http::body::BodyFault;
use crate::http::format::Format;
use crate::http::room::{Room, Taken, counted};

/// A body as JSON, of `most` bytes at most. What it takes counts in `taken`, in place of what the
/// body took. `nesting`: that of messages.
pub(super) fn body_as_json(
    body: Vec<u8>,
    format: Format,
    nesting: u16,
    most: usize,
    taken: &mut Taken,
) -> Result<Vec<u8>, Reply> {
    if format.codec == Codec::Json || body.is_empty() {
        return Ok(body);
    }
    let limit = most.min(taken.left());
    // An argument lies as deep as in a message; in a list of requests one level deeper.
    let nesting = nesting.saturating_add(1);
    let refused = |text: &str| Reply::refused(StatusCode::BAD_REQUEST, text);
    let json = match codec::convert(format.codec, &body, Codec::Json, nesting, limit) {
        Ok(mut json) if taken.grow(json.len()) => {
            json.shrink_to_fit();
            json
        }
        Err(EncodeError::TooLarge { .. }) if limit == most => {
            return Err(BodyFault::TooLongAsJson(most).into());
        }
        Ok(_) | Err(EncodeError::TooLarge { .. }) => return Err(BodyFault::NoRoom.into()),
        Err(EncodeError::Inexpressible { what, .. }) => {
            let text =
                format!("the body holds {what}, for which JSON, and so this path, has no form");
            return Err(refused(&text));
        }
        Err(EncodeError::Payload(error)) => {
            return Err(refused(&format!("the body cannot be read: {error}")));
        }
    };
    drop(body);
    taken.shrink(json.len());
    Ok(json)
}

/// Why an answer is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The room for answers is full.
    NoRoom,
}

/// An answer in another format: one object, or a list of them. What cannot be said in that format
/// becomes an error in the place of its object, as a WAMP client of that serializer gets it.
pub(super) fn answer(json: &[u8], codec: Codec, room: &Room) -> Result<Bytes, NoAnswer> {
    let mut taken = room.enter();
    let convert = |json: &[u8], most| codec::convert(Codec::Json, json, codec, NESTING, most);
    let encoded = match convert(json, taken.left()) {
        Err(EncodeError::Inexpressible { .. } | EncodeError::Payload(_)) => {
            let said = with_errors(json, |item| match convert(item, taken.left()) {
                Err(EncodeError::Inexpressible { what, .. }) => Some(what.to_owned()),
                Err(EncodeError::Payload(error)) => Some(error.to_string()),
                Ok(_) | Err(EncodeError::TooLarge { .. }) => None,
            });
            let _taken = room.take(said.len()).ok_or(NoAnswer::NoRoom)?;
            convert(&said, taken.left())
        }
        encoded => encoded,
    };
    let encoded = encoded.map_err(|_| NoAnswer::NoRoom)?;
    if !taken.grow(encoded.len()) {
        return Err(NoAnswer::NoRoom);
    }
    Ok(counted(encoded, vec![taken]))
}

/// The same of what the router itself says, which is short and can be said in any format.
pub(super) fn short_answer(json: &[u8], codec: Codec) -> Bytes {
    let most = json.len().saturating_mul(MAX_EXPANSION);
    let encoded = codec::convert(Codec::Json, json, codec, NESTING, most);
    debug_assert!(encoded.is_ok(), "{encoded:?}");
    encoded.unwrap_or_default().into()
}

/// JSON in which an error stands in the place of each object that `fault` finds something in.
fn with_errors(json: &[u8], fault: impl Fn(&[u8]) -> Option<String>) -> Vec<u8> {
    let error = |what: String| {
        let sentence =
            format!("the answer cannot be said in the format that was asked for: {what}");
        error_json(INVALID_ARGUMENT, &sentence)
    };
    let items = match json.first() {
        Some(b'[') => serde_json::from_slice::<Vec<&RawValue>>(json).ok(),
        _ => None,
    };
    let Some(items) = items else {
        return fault(json).map_or_else(|| json.to_vec(), |what| error(what).into());
    };
    let mut said = Vec::from(*b"[");
    for item in items {
        if said.len() > 1 {
            said.push(b',');
        }
        match fault(item.get().as_bytes()) {
            Some(what) => said.extend_from_slice(error(what).as_bytes()),
            None => said.extend_from_slice(item.get().as_bytes()),
        }
    }
    said.push(b']');
    said
}

const INVALID_ARGUMENT: &str = "wamp.error.invalid_argument";

/// Levels of an answer: those of the deepest message that there may be, and the list around it.
const NESTING: u16 = 513;

#[cfg(test)]
mod tests {
    use super::*;

    const CBOR: Format = Format { codec: Codec::Cbor, name: "application/cbor" };

    fn read(body: &[u8], most: usize, room: usize) -> Result<String, String> {
        let room = Room::new(room);
        let mut taken = room.take(body.len()).unwrap();
        let json = body_as_json(body.to_vec(), CBOR, 8, most, &mut taken);
        let left = taken.left();
        match json {
            Ok(json) => {
                taken.shrink(json.len());
                assert_eq!(
                    taken.left(),
                    left,
                    "what the JSON takes is counted, and the body is not"
                );
                Ok(String::from_utf8(json).unwrap())
            }
            Err(reply) => Err(String::from_utf8(reply.json.to_vec()).unwrap()),
        }
    }

    #[test]
    fn a_body_becomes_json_within_its_bounds() {
        let map = b"\xa2\x65topic\x61a\x64args\x82\x1b\x00\x20\x00\x00\x00\x00\x00\x01\x42\x01\xff";
        let json = r#"{"topic":"a","args":[9007199254740993,"\u0000Af8="]}"#;
        assert_eq!(read(map, 100, 10_000), Ok(json.to_owned()));
        assert_eq!(read(map, json.len(), 10_000), Ok(json.to_owned()));
        assert_eq!(read(b"", 100, 10_000), Ok(String::new()));
        let said = |body: &[u8], most, room| read(body, most, room).unwrap_err();
        let long = said(map, json.len() - 1, 10_000);
        assert!(long.contains("longer as JSON than the 51 bytes"), "{long}");
        let full = said(map, 100, 4 * (map.len() + json.len()) - 1);
        assert!(full.contains("no room"), "{full}");
        // A level for the list, eight for the request.
        let deep = |levels: usize| [&vec![0x81; levels][..], b"\x00"].concat();
        assert!(read(&deep(9), 100, 10_000).is_ok());
        assert!(said(&deep(10), 100, 10_000).contains("deeper than 9 levels"));
        assert!(said(&deep(2_000), 100, 10_000).contains("deeper than 9 levels"));
    }

    #[test]
    fn hostile_bodies_are_refused_with_a_sentence() {
        for (body, expected) in [
            // Lengths beyond what comes.
            (&b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"[..], "unexpected end at byte 9"),
            (b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "unexpected end at byte 9"),
            (b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", "malformed cbor"),
            (b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xffa", "malformed cbor"),
            (b"\x9f\x9f\x9f", "unexpected end at byte 3"),
            (b"\xbf\x61a\xff", "malformed cbor"),
            (b"\x61\xff", "malformed cbor"),
            (b"\xa0\xa0", "trailing bytes at byte 1"),
            (b"{}", "malformed cbor"),
            (b"\xa1\x01\x02", "the body holds a key that is not a string"),
            (b"\xa1\x61a\xf9\x7e\x00", "the body holds NaN or an infinity"),
            (b"\xa1\x61a\xc1\x00", "the body holds a CBOR tag"),
            (b"\xa1\x61a\x62\x00b", "the body holds a string that begins with NUL"),
        ] {
            let said = read(body, 1_000, 100_000).unwrap_err();
            assert!(said.contains(expected), "{body:02x?}: {said}");
        }
        let tags = [&[0xc1; 200_000][..], &[0]].concat();
        assert!(read(&tags, 1_000_000, 10_000_000).unwrap_err().contains("a CBOR tag"));
    }

    #[test]
    fn what_a_format_cannot_say_is_an_error_in_its_place() {
        let room = Room::new(100_000);
        let answered = |json: &str, codec| {
            let bytes = answer(json.as_bytes(), codec, &room).unwrap();
            let json = codec::convert(codec, &bytes, Codec::Json, 9, 10_000).unwrap();
            String::from_utf8(json).unwrap()
        };
        for codec in [Codec::Cbor, Codec::MsgPack] {
            for json in [
                r#"{"args":[9007199254740993,-9007199254740993,18446744073709551615,1.5]}"#,
                r#"{"args":["\u0000Af8=","ü"],"kwargs":{"a":{"b":[null,true]}}}"#,
                r#"[{"id":1},{"error":"a.b","args":[],"kwargs":{}}]"#,
            ] {
                assert_eq!(answered(json, codec), json);
            }
            for (strange, what) in
                [(r#""\ud800""#, "a lone surrogate"), ("18446744073709551616.0e400", "a number")]
            {
                let said = answered(&format!(r#"{{"args":[{strange}]}}"#), codec);
                assert!(said.contains(r#""error":"wamp.error.invalid_argument""#), "{said}");
                assert!(said.contains(what), "{said}");
                let list = format!(r#"[{{"id":1}},{{"args":[{strange}]}},{{"id":2}}]"#);
                let said = answered(&list, codec);
                assert!(said.starts_with(r#"[{"id":1},{"args":["the answer"#), "{said}");
                assert!(said.ends_with(r#"},{"id":2}]"#), "{said}");
            }
        }
        let json = format!(r#"{{"args":["{}"]}}"#, "x".repeat(200));
        let small = Room::new(4 * 200);
        assert_eq!(answer(json.as_bytes(), Codec::Cbor, &small), Err(NoAnswer::NoRoom));
        assert_eq!(short_answer(br#"{"a":[1.5]}"#, Codec::MsgPack)[..3], *b"\x81\xa1a");
    }

    /// The deepest answer that there may be.
    #[test]
    fn an_answer_may_be_as_deep_as_a_message() {
        let args = "[".repeat(511) + &"]".repeat(511);
        let list = format!("[{{\"args\":{args}}}]");
        let encoded = answer(list.as_bytes(), Codec::Cbor, &Room::new(100_000)).unwrap();
        assert_eq!(encoded.len(), 1 + 1 + 5 + 511);
    }
}
