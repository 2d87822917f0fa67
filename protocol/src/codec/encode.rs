//! The messages of the router as bytes (requirements 1.3.1), for every serializer.

use super::out::{Head, Out};
use super::transcode::raw;
use super::{Codec, EncodeError};
use crate::wamp::{Dict, Payload, RouterMessage, Value, code};

/// Writes the pieces of a document. What it cannot express it refuses.
pub(super) trait Writer {
    const CODEC: Codec;
    /// Whether lists and dicts begin with the number of their elements; of a short one, the head is
    /// a single byte.
    const IS_COUNTED: bool;

    /// Begins a message of so many elements: its type and the ids after it, two at most.
    fn start(out: &mut Out<'_>, length: usize, code: u16, ids: &[u64]) -> Result<(), EncodeError> {
        out.extend(Self::list_head(length)?.as_slice());
        Self::uint(out, code.into());
        for id in ids {
            Self::separate(out);
            Self::uint(out, *id);
        }
        Ok(())
    }

    fn list_head(length: usize) -> Result<Head, EncodeError>;
    fn dict_head(length: usize) -> Result<Head, EncodeError>;
    /// Between two elements of a list or dict.
    fn separate(out: &mut Out<'_>);
    fn end_list(out: &mut Out<'_>);
    fn end_dict(out: &mut Out<'_>);
    /// A dict's key, and what separates it from the value.
    fn key(out: &mut Out<'_>, key: &str) -> Result<(), EncodeError>;
    fn null(out: &mut Out<'_>);
    fn bool(out: &mut Out<'_>, truth: bool);
    fn int(out: &mut Out<'_>, number: i64);
    fn uint(out: &mut Out<'_>, number: u64);
    fn float(out: &mut Out<'_>, number: f64) -> Result<(), EncodeError>;
    fn str(out: &mut Out<'_>, text: &str) -> Result<(), EncodeError>;
    fn bytes(out: &mut Out<'_>, bytes: &[u8]) -> Result<(), EncodeError>;
}

pub(super) fn message<W: Writer>(
    out: &mut Out<'_>,
    message: &RouterMessage<'_>,
) -> Result<(), EncodeError> {
    match *message {
        RouterMessage::Welcome { session, details } => {
            W::start(out, 3, code::WELCOME, &[session.get()])?;
            dict_element::<W>(out, details)?;
        }
        RouterMessage::Abort { message, reason } => {
            farewell::<W>(out, code::ABORT, message, reason)?;
        }
        RouterMessage::Challenge { method, extra } => {
            challenge::<W>(out, method, extra)?;
        }
        RouterMessage::Goodbye { message, reason } => {
            farewell::<W>(out, code::GOODBYE, message, reason)?;
        }
        RouterMessage::Error { request_type, request, details, error, payload } => {
            let ids = [u64::from(request_type), request.get()];
            W::start(out, 5 + payload_length(payload), code::ERROR, &ids)?;
            dict_element::<W>(out, details)?;
            W::separate(out);
            W::str(out, error)?;
            payload_elements::<W>(out, payload)?;
        }
        RouterMessage::Event { subscription, publication, details, payload } => {
            let ids = [subscription.get(), publication.get()];
            with_payload::<W>(out, code::EVENT, &ids, details, payload)?;
        }
        RouterMessage::Invocation { request, registration, details, payload } => {
            let ids = [request.get(), registration.get()];
            with_payload::<W>(out, code::INVOCATION, &ids, details, payload)?;
        }
        RouterMessage::Result { request, details, payload } => {
            with_payload::<W>(out, code::RESULT, &[request.get()], details, payload)?;
        }
        RouterMessage::Interrupt { request, options } => {
            W::start(out, 3, code::INTERRUPT, &[request.get()])?;
            dict_element::<W>(out, options)?;
        }
        RouterMessage::Published { request, publication } => {
            W::start(out, 3, code::PUBLISHED, &[request.get(), publication.get()])?;
        }
        RouterMessage::Subscribed { request, subscription } => {
            W::start(out, 3, code::SUBSCRIBED, &[request.get(), subscription.get()])?;
        }
        RouterMessage::Unsubscribed { request } => {
            W::start(out, 2, code::UNSUBSCRIBED, &[request.get()])?;
        }
        RouterMessage::Revoked { details } => {
            W::start(out, 3, code::UNSUBSCRIBED, &[0])?;
            dict_element::<W>(out, details)?;
        }
        RouterMessage::Registered { request, registration } => {
            W::start(out, 3, code::REGISTERED, &[request.get(), registration.get()])?;
        }
        RouterMessage::Unregistered { request } => {
            W::start(out, 2, code::UNREGISTERED, &[request.get()])?;
        }
        RouterMessage::RegistrationRevoked { details } => {
            W::start(out, 3, code::UNREGISTERED, &[0])?;
            dict_element::<W>(out, details)?;
        }
    }
    W::end_list(out);
    Ok(())
}

fn challenge<W: Writer>(out: &mut Out<'_>, method: &str, extra: &Dict) -> Result<(), EncodeError> {
    W::start(out, 3, code::CHALLENGE, &[])?;
    W::separate(out);
    W::str(out, method)?;
    dict_element::<W>(out, extra)
}

/// A PUBLISH, as a client would write it.
pub(super) fn publish<W: Writer>(
    out: &mut Out<'_>,
    options: &Dict,
    topic: &str,
    payload: Payload<'_>,
) -> Result<(), EncodeError> {
    W::start(out, 4 + payload_length(payload), code::PUBLISH, &[1])?;
    dict_element::<W>(out, options)?;
    W::separate(out);
    W::str(out, topic)?;
    payload_elements::<W>(out, payload)?;
    W::end_list(out);
    Ok(())
}

pub(super) fn with_payload<W: Writer>(
    out: &mut Out<'_>,
    code: u16,
    ids: &[u64],
    details: &Dict,
    payload: Payload<'_>,
) -> Result<(), EncodeError> {
    W::start(out, 2 + ids.len() + payload_length(payload), code, ids)?;
    dict_element::<W>(out, details)?;
    payload_elements::<W>(out, payload)
}

/// ABORT and GOODBYE.
pub(super) fn farewell<W: Writer>(
    out: &mut Out<'_>,
    code: u16,
    message: &str,
    reason: &str,
) -> Result<(), EncodeError> {
    W::start(out, 3, code, &[])?;
    W::separate(out);
    out.extend(W::dict_head(usize::from(!message.is_empty()))?.as_slice());
    if !message.is_empty() {
        W::key(out, "message")?;
        W::str(out, message)?;
    }
    W::end_dict(out);
    W::separate(out);
    W::str(out, reason)
}

pub(super) fn dict_element<W: Writer>(
    out: &mut Out<'_>,
    entries: &Dict,
) -> Result<(), EncodeError> {
    W::separate(out);
    dict::<W>(out, entries)
}

/// How many elements the payload is; `Arguments` must be there if `ArgumentsKw` is.
pub(super) fn payload_length(payload: Payload<'_>) -> usize {
    match payload {
        Payload::Empty => 0,
        Payload::Raw { kwargs, .. } => 1 + usize::from(kwargs.is_some()),
        Payload::Values { kwargs, .. } if !kwargs.is_empty() => 2,
        Payload::Values { args, .. } => usize::from(!args.is_empty()),
    }
}

pub(super) fn payload_elements<W: Writer>(
    out: &mut Out<'_>,
    payload: Payload<'_>,
) -> Result<(), EncodeError> {
    let length = payload_length(payload);
    if length > 0 {
        W::separate(out);
        args_element::<W>(out, payload)?;
    }
    if length > 1 {
        W::separate(out);
        kwargs_element::<W>(out, payload)?;
    }
    Ok(())
}

pub(super) fn args_element<W: Writer>(
    out: &mut Out<'_>,
    payload: Payload<'_>,
) -> Result<(), EncodeError> {
    match payload {
        Payload::Empty => list::<W>(out, &[]),
        Payload::Raw { codec, args, .. } => raw::<W>(out, codec, args),
        Payload::Values { args, .. } => list::<W>(out, args),
    }
}

pub(super) fn kwargs_element<W: Writer>(
    out: &mut Out<'_>,
    payload: Payload<'_>,
) -> Result<(), EncodeError> {
    match payload {
        Payload::Empty | Payload::Raw { kwargs: None, .. } => dict::<W>(out, &Dict::new()),
        Payload::Raw { codec, kwargs: Some(kwargs), .. } => raw::<W>(out, codec, kwargs),
        Payload::Values { kwargs, .. } => dict::<W>(out, kwargs),
    }
}

pub(super) fn any<W: Writer>(out: &mut Out<'_>, value: &Value) -> Result<(), EncodeError> {
    match value {
        Value::Null => W::null(out),
        Value::Bool(truth) => W::bool(out, *truth),
        Value::Int(number) => W::int(out, *number),
        Value::UInt(number) => W::uint(out, *number),
        Value::Float(number) => W::float(out, *number)?,
        Value::Str(text) => W::str(out, text)?,
        Value::Bytes(bytes) => W::bytes(out, bytes)?,
        Value::List(values) => list::<W>(out, values)?,
        Value::Dict(entries) => dict::<W>(out, entries)?,
        Value::Encoded(codec, bytes) => raw::<W>(out, *codec, bytes)?,
    }
    Ok(())
}

fn list<W: Writer>(out: &mut Out<'_>, values: &[Value]) -> Result<(), EncodeError> {
    out.extend(W::list_head(values.len())?.as_slice());
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            W::separate(out);
        }
        any::<W>(out, value)?;
    }
    W::end_list(out);
    Ok(())
}

fn dict<W: Writer>(out: &mut Out<'_>, entries: &Dict) -> Result<(), EncodeError> {
    out.extend(W::dict_head(entries.len())?.as_slice());
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            W::separate(out);
        }
        W::key(out, key)?;
        any::<W>(out, value)?;
    }
    W::end_dict(out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{encode, transcode};
    use super::*;
    use crate::wamp::{CloseReason, PayloadBuf, RequestId};

    fn json(message: &RouterMessage<'_>) -> String {
        let mut out = Vec::new();
        encode(Codec::Json, message, &mut out).expect("it is expressible");
        String::from_utf8(out).expect("JSON is text")
    }

    fn result(payload: Payload<'_>) -> String {
        json(&RouterMessage::Result { request: RequestId::FIRST, details: &Dict::new(), payload })
    }

    /// One argument, from one serializer to another.
    fn convert(from: Codec, item: &[u8], to: Codec) -> Result<Vec<u8>, EncodeError> {
        let payload = Payload::Raw { codec: from, args: item, kwargs: None };
        match transcode(payload, to)? {
            PayloadBuf::Raw { bytes, has_kwargs: false, .. } => Ok(bytes.to_vec()),
            other => panic!("{other:?} is no single item"),
        }
    }

    #[test]
    fn details_hold_a_message_if_there_is_one() {
        let reason = CloseReason::SystemShutdown.uri();
        let goodbye = |message| json(&RouterMessage::Goodbye { message, reason });
        assert_eq!(goodbye(""), r#"[6,{},"wamp.close.system_shutdown"]"#);
        assert_eq!(goodbye("a \"b\""), r#"[6,{"message":"a \"b\""},"wamp.close.system_shutdown"]"#);
    }

    #[test]
    fn absent_and_empty_payload_differ() {
        let raw = |args, kwargs| result(Payload::Raw { codec: Codec::Json, args, kwargs });
        assert_eq!(result(Payload::Empty), "[50,1,{}]");
        assert_eq!(raw(b"[]", None), "[50,1,{},[]]");
        assert_eq!(raw(b"[ 1 ]", Some(b"{}")), "[50,1,{},[ 1 ],{}]");
        let (none, some) = (Dict::new(), vec![("a".into(), Value::Null)]);
        assert_eq!(result(Payload::Values { args: &[], kwargs: &none }), "[50,1,{}]");
        assert_eq!(
            result(Payload::Values { args: &[], kwargs: &some }),
            "[50,1,{},[],{\"a\":null}]"
        );
        let one = [Value::Bool(true)];
        assert_eq!(result(Payload::Values { args: &one, kwargs: &none }), "[50,1,{},[true]]");
        assert!(matches!(transcode(Payload::Empty, Codec::Cbor), Ok(PayloadBuf::Empty)));
    }

    #[test]
    fn binary_data_crosses_the_serializers() {
        let text = r#""\u0000AQL/""#.as_bytes();
        assert_eq!(convert(Codec::Json, text, Codec::MsgPack).unwrap(), b"\xc4\x03\x01\x02\xff");
        assert_eq!(convert(Codec::Cbor, b"\x43\x01\x02\xff", Codec::Json).unwrap(), text);
    }

    /// TR-SER-02, TR-JSON-03.
    #[test]
    fn numbers_cross_in_their_shortest_exact_form() {
        assert_eq!(
            convert(Codec::Json, b"[1,300,-1]", Codec::MsgPack).unwrap(),
            b"\x93\x01\xcd\x01\x2c\xff"
        );
        assert_eq!(
            convert(Codec::Json, b"[24,-500]", Codec::Cbor).unwrap(),
            b"\x82\x18\x18\x39\x01\xf3"
        );
        let float = |number: f64| [&[0xcb][..], &number.to_be_bytes()].concat();
        for (number, text) in [(-0.0, "-0.0"), (1.0, "1.0"), (0.1, "0.1"), (5e-324, "5e-324")] {
            assert_eq!(
                convert(Codec::MsgPack, &float(number), Codec::Json).unwrap(),
                text.as_bytes()
            );
            assert_eq!(
                convert(Codec::Json, text.as_bytes(), Codec::MsgPack).unwrap(),
                float(number)
            );
        }
    }

    #[test]
    fn what_has_no_counterpart_is_refused_and_leaves_no_trace() {
        for (from, item, to) in [
            (Codec::MsgPack, &b"\xcb\x7f\xf8\0\0\0\0\0\0"[..], Codec::Json),
            (Codec::MsgPack, b"\xa1\0", Codec::Json),
            (Codec::MsgPack, b"\xc7\x01\x05a", Codec::Cbor),
            (Codec::Cbor, b"\xc1\x00", Codec::MsgPack),
            (Codec::Cbor, b"\xa1\x01\x02", Codec::Json),
            (Codec::Json, b"18446744073709551617", Codec::Cbor),
        ] {
            let error = convert(from, item, to).expect_err("it has no counterpart");
            assert!(matches!(error, EncodeError::Inexpressible { .. }), "{error}");
            let payload = Payload::Raw { codec: from, args: item, kwargs: None };
            let (request, details) = (RequestId::FIRST, &Dict::new());
            let mut out = b"before".to_vec();
            encode(to, &RouterMessage::Result { request, details, payload }, &mut out)
                .expect_err("it has no counterpart");
            assert_eq!(out, b"before");
            out.clear();
            encode(from, &RouterMessage::Result { request, details, payload }, &mut out)
                .expect("equal serializers pass it on");
            assert!(out.windows(item.len()).any(|part| part == item));
        }
    }
}
