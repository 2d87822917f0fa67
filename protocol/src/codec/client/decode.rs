//! The grammar of the messages from routers (requirements 1.3.1), for every serializer.

use super::super::decode::{Fields, Layout};
use super::super::scan::{Place, Room, Scan};
use super::super::token::{Reader, Sequence, Token};
use super::super::{DecodeError, DecodeFault};
use super::{DETAILS_BYTES, FromRouter};
use crate::wamp::{
    Dict, Passthru, Payload, PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId,
    code,
};

type Read<T> = Result<T, DecodeError>;

/// Decodes one whole document as a message.
pub(super) fn message<'a, R: Reader<'a>>(
    reader: R,
    bytes: &'a [u8],
    nesting: u16,
) -> Read<FromRouter<'a>> {
    let mut scan = Scan::new(reader, bytes, nesting);
    let no_type = |got| DecodeError::from(DecodeFault::NoType { got });
    let mut list = match scan.token()? {
        Token::List(list) => list,
        other => return Err(no_type(other.describe())),
    };
    scan.enter()?;
    if !scan.advance(&mut list)? {
        return Err(no_type("an empty list"));
    }
    let code = match scan.token()? {
        Token::UInt(code) => code,
        other => return Err(no_type(other.describe())),
    };
    let layout = layout(code)?;
    let mut fields = Fields { scan, list, layout, read: 1, ended: false };
    let message = body(&mut fields, code)?;
    fields.finish()?;
    Ok(message)
}

fn layout(code: u64) -> Read<Layout> {
    let (name, allowed) = match u16::try_from(code) {
        Ok(code::WELCOME) => ("WELCOME", "3"),
        Ok(code::ABORT) => ("ABORT", "3 to 5"),
        Ok(code::CHALLENGE) => ("CHALLENGE", "3"),
        Ok(code::GOODBYE) => ("GOODBYE", "3"),
        Ok(code::ERROR) => ("ERROR", "5 to 7"),
        Ok(code::PUBLISHED) => ("PUBLISHED", "3"),
        Ok(code::SUBSCRIBED) => ("SUBSCRIBED", "3"),
        Ok(code::UNSUBSCRIBED) => ("UNSUBSCRIBED", "2 or 3"),
        Ok(code::EVENT) => ("EVENT", "4 to 6"),
        Ok(code::REGISTERED) => ("REGISTERED", "3"),
        Ok(code::UNREGISTERED) => ("UNREGISTERED", "2 or 3"),
        Ok(code::INVOCATION) => ("INVOCATION", "4 to 6"),
        Ok(code::INTERRUPT) => ("INTERRUPT", "3"),
        Ok(code::RESULT) => ("RESULT", "3 to 5"),
        _ => return Err(DecodeFault::UnknownType { code }.into()),
    };
    Ok(Layout { name, allowed })
}

fn body<'a, R: Reader<'a>>(fields: &mut Fields<'a, R>, code: u64) -> Read<FromRouter<'a>> {
    // The type fits, or there would be no layout.
    match code as u16 {
        code::WELCOME => Ok(FromRouter::Welcome {
            session: fields.id("Session", SessionId::new)?,
            details: details(fields, "Details")?,
        }),
        code::ABORT => abort(fields),
        code::CHALLENGE => Ok(FromRouter::Challenge {
            method: fields.text("AuthMethod")?,
            extra: details(fields, "Extra")?,
        }),
        code::GOODBYE => Ok(FromRouter::Goodbye {
            details: details(fields, "Details")?,
            reason: fields.text("Reason")?,
        }),
        code::ERROR => error(fields),
        code::PUBLISHED => Ok(FromRouter::Published {
            request: fields.request()?,
            publication: fields.id("Publication", PublicationId::new)?,
        }),
        code::SUBSCRIBED => Ok(FromRouter::Subscribed {
            request: fields.request()?,
            subscription: fields.id("Subscription", SubscriptionId::new)?,
        }),
        code::UNSUBSCRIBED => Ok(match farewell(fields)? {
            Farewell::Answer(request) => FromRouter::Unsubscribed { request },
            Farewell::Unasked(details) => FromRouter::Revoked { details },
        }),
        code::REGISTERED => Ok(FromRouter::Registered {
            request: fields.request()?,
            registration: fields.id("Registration", RegistrationId::new)?,
        }),
        code::UNREGISTERED => Ok(match farewell(fields)? {
            Farewell::Answer(request) => FromRouter::Unregistered { request },
            Farewell::Unasked(details) => FromRouter::RegistrationRevoked { details },
        }),
        code::INTERRUPT => Ok(FromRouter::Interrupt {
            request: fields.request()?,
            options: details(fields, "Options")?,
        }),
        _ => with_payload(fields, code as u16),
    }
}

/// EVENT, INVOCATION and RESULT.
fn with_payload<'a, R: Reader<'a>>(fields: &mut Fields<'a, R>, code: u16) -> Read<FromRouter<'a>> {
    match code {
        code::EVENT => {
            let subscription = fields.id("Subscription", SubscriptionId::new)?;
            let publication = fields.id("Publication", PublicationId::new)?;
            let details = details(fields, "Details")?;
            let payload = payload(fields, &details)?;
            Ok(FromRouter::Event { subscription, publication, details, payload })
        }
        code::INVOCATION => {
            let request = fields.request()?;
            let registration = fields.id("Registration", RegistrationId::new)?;
            let details = details(fields, "Details")?;
            let payload = payload(fields, &details)?;
            Ok(FromRouter::Invocation { request, registration, details, payload })
        }
        _ => {
            let request = fields.id("CALL.Request", RequestId::new)?;
            let details = details(fields, "Details")?;
            let payload = payload(fields, &details)?;
            Ok(FromRouter::Result { request, details, payload })
        }
    }
}

fn abort<'a, R: Reader<'a>>(fields: &mut Fields<'a, R>) -> Read<FromRouter<'a>> {
    let details = details(fields, "Details")?;
    let reason = fields.text("Reason")?;
    let payload = payload(fields, &details)?;
    Ok(FromRouter::Abort { details, reason, payload })
}

fn error<'a, R: Reader<'a>>(fields: &mut Fields<'a, R>) -> Read<FromRouter<'a>> {
    let request_type = fields.id("REQUEST.Type", |code| u16::try_from(code).ok())?;
    let request = fields.id("REQUEST.Request", RequestId::new)?;
    let details = details(fields, "Details")?;
    let error = fields.text("Error")?;
    let payload = payload(fields, &details)?;
    Ok(FromRouter::Error { request_type, request, details, error, payload })
}

/// What an UNSUBSCRIBED or UNREGISTERED is.
enum Farewell {
    Answer(RequestId),
    /// The request is 0: the router has taken it away.
    Unasked(Dict),
}

fn farewell<'a, R: Reader<'a>>(fields: &mut Fields<'a, R>) -> Read<Farewell> {
    let request = fields.id("Request", |id| match id {
        0 => Some(None),
        id => RequestId::new(id).map(Some),
    })?;
    let said = if fields.advance()? { fields.dict("Details", read)? } else { Dict::new() };
    Ok(request.map_or(Farewell::Unasked(said), Farewell::Answer))
}

fn details<'a, R: Reader<'a>>(fields: &mut Fields<'a, R>, element: &'static str) -> Read<Dict> {
    fields.options(element, read)
}

fn read<'a, R: Reader<'a>>(scan: &mut Scan<'a, R>, dict: Sequence, place: Place<'_>) -> Read<Dict> {
    scan.dict(dict, &mut Room::new(place, DETAILS_BYTES))
}

/// Encrypted payloads are one binary item instead of lists (AP-PPT-05).
fn payload<'a, R: Reader<'a>>(fields: &mut Fields<'a, R>, details: &Dict) -> Read<Payload<'a>> {
    let is_encrypted = details.iter().any(|(key, _)| key == "enc_algo");
    let passthru = Passthru { enc_algo: is_encrypted.then(String::new), ..Passthru::default() };
    fields.payload(Some(&passthru))
}
