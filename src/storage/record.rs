//! Events as bytes of the store: CBOR lists, readable by any tool.

use std::sync::Arc;

use crate::codec::{self, Codec};
use crate::router::{
    Audience, NodeNumber, Publisher, ReceiverLists, RetainedEvent, Stamp, StoredEvent,
};
use crate::wamp::{
    Dict, Payload, PayloadBuf, PublicationId, ReceiverFilter, SessionId, Timestamp, Value,
};

/// `[timestamp in ms, publication, topic, lists, details, payload]`
pub(super) fn encode_event(event: &StoredEvent) -> Vec<u8> {
    encode(vec![
        Value::Int(event.timestamp.unix_ms()),
        event.publication.get().into(),
        (*event.topic).into(),
        lists(event.lists.as_deref()),
        Value::Dict(event.details.clone()),
        payload(&event.payload),
    ])
}

/// `None` if the bytes are no such event.
pub(super) fn decode_event(bytes: &[u8]) -> Option<StoredEvent> {
    let [timestamp, publication, topic, lists, details, payload] = decode(bytes)?;
    Some(StoredEvent {
        timestamp: Timestamp::from_unix_ms(integer(&timestamp)?),
        publication: PublicationId::new(number(&publication)?)?,
        topic: text(topic)?.into(),
        lists: Audience::new(None, to_filter(lists)?).lists,
        details: dict(details)?,
        payload: to_payload(payload)?,
    })
}

/// `[topic, publication, excluded session, lists, details, payload]`, and behind these in a cluster
/// `time of the stamp in us, number of the node, authid, authrole` (the publisher's, or null)
pub(super) fn encode_retained(topic: &str, event: &RetainedEvent) -> Vec<u8> {
    let audience = &event.audience;
    let mut fields = vec![
        topic.into(),
        event.publication.get().into(),
        audience.excluded.map_or(Value::Null, |session| session.get().into()),
        lists(audience.lists.as_deref()),
        Value::Dict(event.details.clone()),
        payload(&event.payload),
    ];
    if let Some(node) = event.stamp.node {
        let publisher = event.publisher.as_deref();
        let [authid, authrole] = [
            publisher.map_or(Value::Null, |publisher| (*publisher.authid).into()),
            publisher.map_or(Value::Null, |publisher| (*publisher.authrole).into()),
        ];
        let (at, node) = (Value::Int(event.stamp.at.unix_us()), u64::from(node.get()).into());
        fields.extend([at, node, authid, authrole]);
    }
    encode(fields)
}

/// Topic and event; `None` if the bytes are no such event.
pub(super) fn decode_retained(bytes: &[u8]) -> Option<(Box<str>, RetainedEvent)> {
    let (fields, stamp, publisher) = split_stamp(decode_list(bytes)?)?;
    let [topic, publication, excluded, lists, details, payload] = fields.try_into().ok()?;
    let excluded = match excluded {
        Value::Null => None,
        session => Some(SessionId::new(number(&session)?)?),
    };
    let event = RetainedEvent {
        publication: PublicationId::new(number(&publication)?)?,
        stamp,
        audience: Audience::new(excluded, to_filter(lists)?),
        publisher,
        details: dict(details)?,
        payload: to_payload(payload)?,
    };
    Some((text(topic)?.into(), event))
}

fn encode(fields: Vec<Value>) -> Vec<u8> {
    codec::encode_value(Codec::Cbor, &Value::List(fields)).expect("CBOR expresses every value")
}

fn decode<const N: usize>(bytes: &[u8]) -> Option<[Value; N]> {
    decode_list(bytes)?.try_into().ok()
}

fn decode_list(bytes: &[u8]) -> Option<Vec<Value>> {
    let Ok(Value::List(fields)) = codec::decode_value(Codec::Cbor, bytes) else { return None };
    Some(fields)
}

/// Takes the stamp from the end of the fields of a retained event. One without was stored by a
/// router that was alone, and is older than any with one.
fn split_stamp(mut fields: Vec<Value>) -> Option<(Vec<Value>, Stamp, Option<Arc<Publisher>>)> {
    if fields.len() != STAMPED_FIELDS {
        return Some((fields, Stamp::default(), None));
    }
    let (authrole, authid) = (fields.pop()?, fields.pop()?);
    let (node, at) = (fields.pop()?, fields.pop()?);
    let node = NodeNumber::new(u8::try_from(number(&node)?).ok()?)?;
    let stamp = Stamp { at: Timestamp::from_unix_us(integer(&at)?), node: Some(node) };
    if authid == Value::Null {
        return Some((fields, stamp, None));
    }
    let (authid, authrole) = (text(authid)?.into(), text(authrole)?.into());
    Some((fields, stamp, Some(Arc::new(Publisher { authid, authrole }))))
}

/// `[serializer, args, kwargs]` as the publisher sent them; null for no payload.
fn payload(payload: &PayloadBuf) -> Value {
    let payload = match payload {
        PayloadBuf::Values { .. } => codec::transcode(payload.as_payload(), Codec::Cbor),
        other => Ok(other.clone()),
    };
    match payload.expect("CBOR expresses every value").as_payload() {
        Payload::Raw { codec, args, kwargs } => Value::List(vec![
            codec.as_str().into(),
            Value::Bytes(args.to_vec()),
            kwargs.map_or(Value::Null, |kwargs| Value::Bytes(kwargs.to_vec())),
        ]),
        Payload::Empty | Payload::Values { .. } => Value::Null,
    }
}

fn to_payload(value: Value) -> Option<PayloadBuf> {
    let parts = match value {
        Value::Null => return Some(PayloadBuf::Empty),
        Value::List(parts) => parts,
        _ => return None,
    };
    let [name, args, kwargs] = <[Value; 3]>::try_from(parts).ok()?;
    let name = text(name)?;
    let codec = Codec::ALL.into_iter().find(|codec| codec.as_str() == name)?;
    let Value::Bytes(args) = args else { return None };
    let kwargs = match kwargs {
        Value::Null => None,
        Value::Bytes(kwargs) => Some(kwargs),
        _ => return None,
    };
    Some(Payload::Raw { codec, args: &args, kwargs: kwargs.as_deref() }.to_buf())
}

/// A dict of those that the publisher gave; null for none.
fn lists(lists: Option<&ReceiverLists>) -> Value {
    lists.map_or(Value::Null, |lists| Value::Dict(lists.filter().to_dict()))
}

fn to_filter(value: Value) -> Option<Option<Box<ReceiverFilter>>> {
    if value == Value::Null {
        return Some(None);
    }
    Some(Some(Box::new(ReceiverFilter::from_dict(dict(value)?)?)))
}

fn text(value: Value) -> Option<String> {
    if let Value::Str(text) = value { Some(text) } else { None }
}

fn dict(value: Value) -> Option<Dict> {
    if let Value::Dict(dict) = value { Some(dict) } else { None }
}

const fn number(value: &Value) -> Option<u64> {
    if let Value::UInt(number) = value { Some(*number) } else { None }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::UInt(number) => i64::try_from(*number).ok(),
        _ => None,
    }
}

/// Of a retained event in a cluster.
const STAMPED_FIELDS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every part of an event that there can be comes back.
    #[test]
    fn what_is_written_can_be_read() {
        let id = |number| SessionId::new(number).expect("a small number is an id");
        let filter = ReceiverFilter {
            exclude: Some(vec![id(1), id(2)]),
            exclude_authid: Some(vec![]),
            exclude_authrole: Some(vec!["a".into()]),
            eligible: Some(vec![]),
            eligible_authid: Some(vec!["b".into(), "c".into()]),
            eligible_authrole: Some(vec!["d".into()]),
        };
        let filters = [None, Some(Box::new(filter)), Some(Box::default())];
        let raw = |codec, kwargs| Payload::Raw { codec, args: b"[1, 2]", kwargs }.to_buf();
        let payloads = [PayloadBuf::Empty, raw(Codec::Json, None), raw(Codec::Json, Some(b"{}"))];
        let at = Timestamp::from_unix_us(1_714_564_800_123_456);
        let stamp = |number| Stamp { at, node: NodeNumber::new(number) };
        let stamps = [Stamp::default(), stamp(0), stamp(127)];
        for ((filter, payload), stamp) in filters.into_iter().zip(payloads).zip(stamps) {
            let audience = Audience::new(filter.is_some().then(|| id(7)), filter);
            let details: Dict = vec![("publisher".into(), 5.into()), ("x".into(), "y".into())];
            let publication = PublicationId::new(9).expect("a small number is an id");
            let event = StoredEvent {
                timestamp: Timestamp::from_unix_ms(1_714_564_800_123),
                publication,
                topic: "com.x".into(),
                lists: audience.lists.clone(),
                details: details.clone(),
                payload: payload.clone(),
            };
            let read = decode_event(&encode_event(&event)).expect("it is an event");
            assert_eq!(format!("{read:?}"), format!("{event:?}"));
            let names = || Publisher { authid: "joe".into(), authrole: "user".into() };
            let publisher = stamp.node.and(audience.excluded).map(|_| Arc::new(names()));
            let event = RetainedEvent { publication, stamp, audience, publisher, details, payload };
            let read = decode_retained(&encode_retained("com.x", &event)).expect("an event");
            assert_eq!(format!("{read:?}"), format!("{:?}", ("com.x", event)));
        }
        let ten = b"\x8a\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a";
        for bytes in [&b""[..], b"\x80", b"\x86\x01\x02\x03\x04\x05\x06", ten, b"\xff"] {
            assert!(decode_event(bytes).is_none() && decode_retained(bytes).is_none());
        }
    }
}
