//! The messages of clients as bytes, for every serializer.

use super::super::encode::{
    Writer, dict_element, farewell, payload_elements, payload_length, with_payload,
};
use super::super::out::Out;
use super::{EncodeError, ToRouter};
use crate::wamp::{Dict, Payload, RequestId, code};

pub(super) fn message<W: Writer>(
    out: &mut Out<'_>,
    message: &ToRouter<'_>,
) -> Result<(), EncodeError> {
    match *message {
        ToRouter::Hello { realm, details } => text_first::<W>(out, code::HELLO, realm, details)?,
        ToRouter::Authenticate { signature, extra } => {
            text_first::<W>(out, code::AUTHENTICATE, signature, extra)?;
        }
        ToRouter::Abort { message, reason } => farewell::<W>(out, code::ABORT, message, reason)?,
        ToRouter::Goodbye { message, reason } => {
            farewell::<W>(out, code::GOODBYE, message, reason)?;
        }
        ToRouter::Publish { request, options, topic, payload } => {
            request_of::<W>(out, code::PUBLISH, request, options, topic, payload)?;
        }
        ToRouter::Subscribe { request, options, topic } => {
            request_of::<W>(out, code::SUBSCRIBE, request, options, topic, Payload::Empty)?;
        }
        ToRouter::Call { request, options, procedure, payload } => {
            request_of::<W>(out, code::CALL, request, options, procedure, payload)?;
        }
        ToRouter::Register { request, options, procedure } => {
            request_of::<W>(out, code::REGISTER, request, options, procedure, Payload::Empty)?;
        }
        ToRouter::Unsubscribe { request, subscription } => {
            W::start(out, 3, code::UNSUBSCRIBE, &[request.get(), subscription.get()])?;
        }
        ToRouter::Unregister { request, registration } => {
            W::start(out, 3, code::UNREGISTER, &[request.get(), registration.get()])?;
        }
        ToRouter::Cancel { request, options } => {
            W::start(out, 3, code::CANCEL, &[request.get()])?;
            dict_element::<W>(out, options)?;
        }
        ToRouter::Yield { request, options, payload } => {
            with_payload::<W>(out, code::YIELD, &[request.get()], options, payload)?;
        }
        ToRouter::Error { request, details, error, payload } => {
            let ids = [u64::from(code::INVOCATION), request.get()];
            W::start(out, 5 + payload_length(payload), code::ERROR, &ids)?;
            dict_element::<W>(out, details)?;
            W::separate(out);
            W::str(out, error)?;
            payload_elements::<W>(out, payload)?;
        }
    }
    W::end_list(out);
    Ok(())
}

/// HELLO and AUTHENTICATE.
fn text_first<W: Writer>(
    out: &mut Out<'_>,
    code: u16,
    text: &str,
    entries: &Dict,
) -> Result<(), EncodeError> {
    W::start(out, 3, code, &[])?;
    W::separate(out);
    W::str(out, text)?;
    dict_element::<W>(out, entries)
}

/// A request that names a URI.
fn request_of<W: Writer>(
    out: &mut Out<'_>,
    code: u16,
    request: RequestId,
    options: &Dict,
    uri: &str,
    payload: Payload<'_>,
) -> Result<(), EncodeError> {
    W::start(out, 4 + payload_length(payload), code, &[request.get()])?;
    dict_element::<W>(out, options)?;
    W::separate(out);
    W::str(out, uri)?;
    payload_elements::<W>(out, payload)
}
