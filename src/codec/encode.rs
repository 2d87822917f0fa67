//! The messages of the router as bytes (requirements 1.3.1), for every serializer; and payload from
//! one serializer to another.

use super::{Codec, EncodeError, value};
use crate::wamp::{Dict, Payload, PayloadBuf, RouterMessage, Value, code};

/// Writes the pieces of a document. What it cannot express it refuses.
pub(super) trait Writer {
    const CODEC: Codec;

    fn begin_list(out: &mut Vec<u8>, length: usize) -> Result<(), EncodeError>;
    fn begin_dict(out: &mut Vec<u8>, length: usize) -> Result<(), EncodeError>;
    /// Between two elements of a list or dict.
    fn separate(out: &mut Vec<u8>);
    fn end_list(out: &mut Vec<u8>);
    fn end_dict(out: &mut Vec<u8>);
    /// A dict's key, and what separates it from the value.
    fn key(out: &mut Vec<u8>, key: &str) -> Result<(), EncodeError>;
    fn null(out: &mut Vec<u8>);
    fn bool(out: &mut Vec<u8>, truth: bool);
    fn int(out: &mut Vec<u8>, number: i64);
    fn uint(out: &mut Vec<u8>, number: u64);
    fn float(out: &mut Vec<u8>, number: f64) -> Result<(), EncodeError>;
    fn str(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError>;
    fn bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError>;
}

pub(super) fn message<W: Writer>(
    message: &RouterMessage<'_>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match *message {
        RouterMessage::Welcome { session, details } => {
            head::<W>(out, 3, code::WELCOME, &[session.get()])?;
            dict_element::<W>(out, details)?;
        }
        RouterMessage::Abort { message, reason } => {
            farewell::<W>(out, code::ABORT, message, reason)?;
        }
        RouterMessage::Goodbye { message, reason } => {
            farewell::<W>(out, code::GOODBYE, message, reason)?;
        }
        RouterMessage::Error { request_type, request, details, error, payload } => {
            let ids = [u64::from(request_type), request.get()];
            head::<W>(out, 5 + payload_length(payload), code::ERROR, &ids)?;
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
            head::<W>(out, 3, code::INTERRUPT, &[request.get()])?;
            dict_element::<W>(out, options)?;
        }
        RouterMessage::Published { request, publication } => {
            head::<W>(out, 3, code::PUBLISHED, &[request.get(), publication.get()])?;
        }
        RouterMessage::Subscribed { request, subscription } => {
            head::<W>(out, 3, code::SUBSCRIBED, &[request.get(), subscription.get()])?;
        }
        RouterMessage::Unsubscribed { request } => {
            head::<W>(out, 2, code::UNSUBSCRIBED, &[request.get()])?;
        }
        RouterMessage::Registered { request, registration } => {
            head::<W>(out, 3, code::REGISTERED, &[request.get(), registration.get()])?;
        }
        RouterMessage::Unregistered { request } => {
            head::<W>(out, 2, code::UNREGISTERED, &[request.get()])?;
        }
    }
    W::end_list(out);
    Ok(())
}

pub(super) fn transcode<W: Writer>(payload: Payload<'_>) -> Result<PayloadBuf, EncodeError> {
    let (has_args, has_kwargs) = match payload {
        Payload::Empty => (false, false),
        Payload::Raw { kwargs, .. } => (true, kwargs.is_some()),
        Payload::Values { args, kwargs } => (!args.is_empty(), !kwargs.is_empty()),
    };
    if !has_args && !has_kwargs {
        return Ok(PayloadBuf::Empty);
    }
    let mut bytes = Vec::new();
    args_element::<W>(&mut bytes, payload)?;
    let args_len = bytes.len();
    if has_kwargs {
        kwargs_element::<W>(&mut bytes, payload)?;
    }
    Ok(PayloadBuf::Raw { codec: W::CODEC, bytes: bytes.into(), args_len, has_kwargs })
}

/// Begins a message: its type and the integers after it.
fn head<W: Writer>(
    out: &mut Vec<u8>,
    length: usize,
    code: u16,
    ids: &[u64],
) -> Result<(), EncodeError> {
    W::begin_list(out, length)?;
    W::uint(out, code.into());
    for id in ids {
        W::separate(out);
        W::uint(out, *id);
    }
    Ok(())
}

fn with_payload<W: Writer>(
    out: &mut Vec<u8>,
    code: u16,
    ids: &[u64],
    details: &Dict,
    payload: Payload<'_>,
) -> Result<(), EncodeError> {
    head::<W>(out, 2 + ids.len() + payload_length(payload), code, ids)?;
    dict_element::<W>(out, details)?;
    payload_elements::<W>(out, payload)
}

/// ABORT and GOODBYE.
fn farewell<W: Writer>(
    out: &mut Vec<u8>,
    code: u16,
    message: &str,
    reason: &str,
) -> Result<(), EncodeError> {
    head::<W>(out, 3, code, &[])?;
    W::separate(out);
    W::begin_dict(out, usize::from(!message.is_empty()))?;
    if !message.is_empty() {
        W::key(out, "message")?;
        W::str(out, message)?;
    }
    W::end_dict(out);
    W::separate(out);
    W::str(out, reason)
}

fn dict_element<W: Writer>(out: &mut Vec<u8>, entries: &Dict) -> Result<(), EncodeError> {
    W::separate(out);
    dict::<W>(out, entries)
}

/// How many elements the payload is; `Arguments` must be there if `ArgumentsKw` is.
fn payload_length(payload: Payload<'_>) -> usize {
    match payload {
        Payload::Empty => 0,
        Payload::Raw { kwargs, .. } => 1 + usize::from(kwargs.is_some()),
        Payload::Values { kwargs, .. } if !kwargs.is_empty() => 2,
        Payload::Values { args, .. } => usize::from(!args.is_empty()),
    }
}

fn payload_elements<W: Writer>(out: &mut Vec<u8>, payload: Payload<'_>) -> Result<(), EncodeError> {
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

fn args_element<W: Writer>(out: &mut Vec<u8>, payload: Payload<'_>) -> Result<(), EncodeError> {
    match payload {
        Payload::Empty => list::<W>(out, &[]),
        Payload::Raw { codec, args, .. } => raw::<W>(out, codec, args),
        Payload::Values { args, .. } => list::<W>(out, args),
    }
}

fn kwargs_element<W: Writer>(out: &mut Vec<u8>, payload: Payload<'_>) -> Result<(), EncodeError> {
    match payload {
        Payload::Empty | Payload::Raw { kwargs: None, .. } => dict::<W>(out, &Dict::new()),
        Payload::Raw { codec, kwargs: Some(kwargs), .. } => raw::<W>(out, codec, kwargs),
        Payload::Values { kwargs, .. } => dict::<W>(out, kwargs),
    }
}

/// Copies what is in the right serializer already.
fn raw<W: Writer>(out: &mut Vec<u8>, codec: Codec, bytes: &[u8]) -> Result<(), EncodeError> {
    if codec == W::CODEC {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let value = value(codec, bytes).map_err(|error| EncodeError::from_payload(error, W::CODEC))?;
    any::<W>(out, &value)
}

fn any<W: Writer>(out: &mut Vec<u8>, value: &Value) -> Result<(), EncodeError> {
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
    }
    Ok(())
}

fn list<W: Writer>(out: &mut Vec<u8>, values: &[Value]) -> Result<(), EncodeError> {
    W::begin_list(out, values.len())?;
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            W::separate(out);
        }
        any::<W>(out, value)?;
    }
    W::end_list(out);
    Ok(())
}

fn dict<W: Writer>(out: &mut Vec<u8>, entries: &Dict) -> Result<(), EncodeError> {
    W::begin_dict(out, entries.len())?;
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
