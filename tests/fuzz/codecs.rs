//! Messages of each serializer: other libraries judge the same bytes alike, what is cut short is
//! refused, and a payload says the same after any way through the serializers, within its bounds.

use stentor::codec::{self, Codec, DecodeError, DecodeFault, DecodeLimits, MAX_EXPANSION};
use stentor::wamp::{
    ClientMessage, Dict, Payload, PublicationId, RouterMessage, SubscriptionId, Value,
};

use crate::meter::allocated;
use crate::oracle;

pub(super) fn judge(codec: Codec, bytes: &[u8]) {
    let (decoded, allocated_bytes) = allocated(|| codec::decode(codec, bytes, LIMITS));
    let most = bytes.len() as u64 * DECODED_BYTES + DECODED_ROOM_BYTES;
    assert!(allocated_bytes.is_none_or(|bytes| bytes <= most), "{allocated_bytes:?} B to decode");
    compare(codec, bytes, &decoded);
    let Ok(message) = decoded else { return };
    check_end(codec, bytes);
    if codec == Codec::Json {
        let text = str::from_utf8(bytes).expect("what was accepted is text");
        let again = codec::decode_json(text, LIMITS).expect("it was accepted");
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
    }
    if let Some(payload) = payload(&message) {
        check_ways(payload);
        Codec::ALL.iter().for_each(|to| check_event(payload, *to));
    }
}

/// Whether a document is well-formed is no matter of opinion.
fn compare(codec: Codec, bytes: &[u8], ours: &Result<ClientMessage<'_>, DecodeError>) {
    let theirs = oracle::read(codec, bytes);
    if ours.is_ok() && !oracle::is_beyond_the_oracle(codec, bytes) {
        assert!(theirs.is_some(), "only we accept it");
    }
    if theirs.is_some_and(|message| oracle::is_publish(&message))
        && !oracle::is_beyond_us(codec, bytes)
    {
        // The others have another bound on nesting, or none.
        let is_too_deep =
            |error: &DecodeError| matches!(error.fault(), DecodeFault::TooDeep { .. });
        assert!(ours.as_ref().err().is_none_or(is_too_deep), "only we refuse it: {ours:?}");
    }
}

/// A document ends where it ends: without its last byte it is none.
fn check_end(codec: Codec, bytes: &[u8]) {
    let document = if codec == Codec::Json { bytes.trim_ascii_end() } else { bytes };
    let cut = &document[..document.len() - 1];
    assert!(codec::decode(codec, cut, LIMITS).is_err(), "it is accepted without its last byte");
    let longer = [document, b"0"].concat();
    assert!(codec::decode(codec, &longer, LIMITS).is_err(), "something may stand behind it");
}

fn payload<'a>(message: &ClientMessage<'a>) -> Option<Payload<'a>> {
    match message {
        ClientMessage::Publish(publish) => Some(publish.payload),
        ClientMessage::Call(call) => Some(call.payload),
        ClientMessage::Yield(result) => Some(result.payload),
        ClientMessage::Error(error) => Some(error.payload),
        _ => None,
    }
}

/// Through every other serializer and back: the values are those that were sent.
fn check_ways(payload: Payload<'_>) {
    let Payload::Raw { codec: from, args, kwargs } = payload else { return };
    let length = args.len() + kwargs.map_or(0, <[u8]>::len);
    let sent = values(payload);
    for to in Codec::ALL.into_iter().filter(|to| *to != from) {
        let (there, allocated_bytes) = allocated(|| codec::transcode(payload, to));
        let most = (length * TRANSCODED_BYTES) as u64 + TRANSCODED_ROOM_BYTES;
        assert!(allocated_bytes.is_none_or(|bytes| bytes <= most), "{allocated_bytes:?} B");
        let Ok(there) = there else { continue };
        let Payload::Raw { args, kwargs, .. } = there.as_payload() else { panic!("bytes") };
        let made = args.len() + kwargs.map_or(0, <[u8]>::len);
        assert!(made <= length * MAX_EXPANSION, "{made} B of {length}");
        let arrived = values(there.as_payload());
        if let (Some(sent), Some(arrived)) = (&sent, &arrived) {
            assert_eq!(arrived, sent, "{from:?} to {to:?}");
        }
        let back = codec::transcode(there.as_payload(), from).expect("it came from there");
        if let (Some(sent), Some(back)) = (&sent, values(back.as_payload())) {
            assert_eq!(&back, sent, "{from:?} to {to:?} and back");
        }
    }
}

/// A shown value tells -0.0 from 0.0, and is equal to itself where it is no number.
fn values(payload: Payload<'_>) -> Option<String> {
    codec::decode_payload(payload).ok().map(|values| format!("{values:?}"))
}

/// What a receiver gets: the sender's bytes if it has the same serializer, and in any case what
/// another library can read.
fn check_event(payload: Payload<'_>, to: Codec) {
    let Payload::Raw { codec: from, args, kwargs } = payload else { return };
    let subscription = SubscriptionId::from_random(1);
    let publication = PublicationId::from_random(2);
    let details: &Dict = &vec![("topic".into(), Value::from("com.x"))];
    let message = RouterMessage::Event { subscription, publication, details, payload };
    let mut event = b"before".to_vec();
    if codec::encode(to, &message, &mut event).is_err() {
        assert_ne!(from, to, "nothing is to be expressed");
        assert_eq!(event, b"before");
        return;
    }
    let event = &event[6..];
    if from == to {
        let end = if to == Codec::Json { event.len() - 1 } else { event.len() };
        assert!(event[..end].ends_with(kwargs.unwrap_or(args)), "the sender's bytes");
    }
    if from != to || !oracle::is_beyond_the_oracle(to, event) {
        assert!(oracle::read(to, event).is_some(), "nobody can read {event:02x?}");
    }
}

const LIMITS: DecodeLimits = DecodeLimits { nesting: 64 };

/// Bytes that decoding may allocate for each byte of a message: a value may be one byte, and a list
/// of one has room for four before it shrinks to one. And for any message.
const DECODED_BYTES: u64 = 5 * size_of::<Value>() as u64;
const DECODED_ROOM_BYTES: u64 = 32 * 1024;

/// The same of transcoding, where room is doubled as it grows.
const TRANSCODED_BYTES: usize = 32;
const TRANSCODED_ROOM_BYTES: u64 = 8 * 1024;
