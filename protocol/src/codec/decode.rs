//! The grammar of the messages from clients (requirements 1.3.1), for every serializer.
//!
//! A null at the place of `Arguments` or `ArgumentsKw` counts as absent: the specification has no
//! null there, but it can mean nothing else.

use std::borrow::Cow;

use super::options::{
    call_options, cancel_mode, error_details, ignored_details, publish_options, register_options,
    subscribe_options, yield_options,
};
use super::scan::{Place, Room, Scan};
use super::token::{Reader, Sequence, Token};
use super::{DecodeError, DecodeFault, hello};
use crate::wamp::{
    Authenticate, Call, Cancel, ClientMessage, Hello, InvocationError, Passthru, Payload, Publish,
    Register, RegistrationId, RequestId, Subscribe, SubscriptionId, Value, Yield, code,
};

/// Decodes one whole document as a message.
pub(super) fn message<'a, R: Reader<'a>>(
    reader: R,
    bytes: &'a [u8],
    nesting: u16,
) -> Result<ClientMessage<'a>, DecodeError> {
    let mut scan = Scan::new(reader, bytes, nesting);
    let mut list = match scan.token()? {
        Token::List(list) => list,
        other => return Err(DecodeFault::NoType { got: other.describe() }.into()),
    };
    scan.enter()?;
    if !scan.advance(&mut list)? {
        return Err(DecodeFault::NoType { got: "an empty list" }.into());
    }
    let code = match scan.plain_uint() {
        Some(code) => code,
        None => match scan.token()? {
            Token::UInt(code) => code,
            other => return Err(DecodeFault::NoType { got: other.describe() }.into()),
        },
    };
    let layout = layout(code)?;
    let mut fields = Fields { scan, list, layout, read: 1, ended: false };
    let message = fields.message(code)?;
    fields.finish()?;
    Ok(message)
}

/// Decodes one whole document as a value.
pub(super) fn value<'a, R: Reader<'a>>(
    bytes: &'a [u8],
    nesting: u16,
    limit_bytes: usize,
) -> Result<Value, DecodeError> {
    let mut scan = Scan::new(R::new(bytes)?, bytes, nesting);
    let head = scan.token()?;
    let value = scan.value(head, &mut Room::new(Place::top("the value"), limit_bytes))?;
    scan.finish()?;
    Ok(value)
}

/// What is known of a message from its type alone.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) name: &'static str,
    /// The counts of elements that it may have, for error messages.
    pub(super) allowed: &'static str,
}

fn layout(code: u64) -> Result<Layout, DecodeError> {
    let known = u16::try_from(code).map_err(|_| DecodeFault::UnknownType { code })?;
    let (name, allowed) = match known {
        code::HELLO => ("HELLO", "3"),
        code::ABORT => ("ABORT", "3 to 5"),
        code::AUTHENTICATE => ("AUTHENTICATE", "3"),
        code::GOODBYE => ("GOODBYE", "3"),
        code::ERROR => ("ERROR", "5 to 7"),
        code::PUBLISH => ("PUBLISH", "4 to 6"),
        code::SUBSCRIBE => ("SUBSCRIBE", "4"),
        code::UNSUBSCRIBE => ("UNSUBSCRIBE", "3"),
        code::CALL => ("CALL", "4 to 6"),
        code::CANCEL => ("CANCEL", "3"),
        code::REGISTER => ("REGISTER", "4"),
        code::UNREGISTER => ("UNREGISTER", "3"),
        code::YIELD => ("YIELD", "3 to 5"),
        _ => match router_only(known) {
            Some(message) => return Err(DecodeFault::RouterOnly { message }.into()),
            None => return Err(DecodeFault::UnknownType { code }.into()),
        },
    };
    Ok(Layout { name, allowed })
}

/// The name of a message that only a router sends (BP-MSG-03).
const fn router_only(code: u16) -> Option<&'static str> {
    Some(match code {
        code::WELCOME => "WELCOME",
        code::CHALLENGE => "CHALLENGE",
        code::PUBLISHED => "PUBLISHED",
        code::SUBSCRIBED => "SUBSCRIBED",
        code::UNSUBSCRIBED => "UNSUBSCRIBED",
        code::EVENT => "EVENT",
        code::RESULT => "RESULT",
        code::REGISTERED => "REGISTERED",
        code::UNREGISTERED => "UNREGISTERED",
        code::INVOCATION => "INVOCATION",
        code::INTERRUPT => "INTERRUPT",
        _ => return None,
    })
}

/// The elements of one message, read in order.
pub(super) struct Fields<'a, R> {
    pub(super) scan: Scan<'a, R>,
    pub(super) list: Sequence,
    pub(super) layout: Layout,
    /// Elements read so far, the type included.
    pub(super) read: usize,
    pub(super) ended: bool,
}

impl<'a, R: Reader<'a>> Fields<'a, R> {
    fn message(&mut self, code: u64) -> Result<ClientMessage<'a>, DecodeError> {
        // The type fits, or there would be no layout.
        match code as u16 {
            code::HELLO => self.hello(),
            code::ABORT => self.abort(),
            code::AUTHENTICATE => self.authenticate(),
            code::GOODBYE => self.goodbye(),
            code::ERROR => self.error(),
            code::PUBLISH => self.publish(),
            code::SUBSCRIBE => self.subscribe(),
            code::UNSUBSCRIBE => Ok(ClientMessage::Unsubscribe {
                request: self.request()?,
                subscription: self.given_id("Subscription", SubscriptionId::new)?,
            }),
            code::CALL => self.call(),
            code::CANCEL => self.cancel(),
            code::REGISTER => self.register(),
            code::UNREGISTER => Ok(ClientMessage::Unregister {
                request: self.request()?,
                registration: self.given_id("Registration", RegistrationId::new)?,
            }),
            code::YIELD => self.yield_(),
            _ => Err(DecodeFault::UnknownType { code }.into()),
        }
    }

    fn hello(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let realm = match self.next()? {
            Token::Null => None,
            Token::Str(text) => Some(text.read_name()?),
            other => return Err(self.mismatch("Realm", "a string or null", other.describe())),
        };
        self.require()?;
        let details = self.dict("Details", hello::details)?;
        Ok(ClientMessage::Hello(Box::new(Hello { realm, ..details })))
    }

    fn abort(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        self.options("Details", ignored_details)?;
        let reason = self.text("Reason")?;
        self.payload(None)?;
        Ok(ClientMessage::Abort { reason })
    }

    fn authenticate(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let signature = self.text("Signature")?;
        let extra = self.options("Extra", hello::unique_dict)?;
        Ok(ClientMessage::Authenticate(Authenticate { signature, extra }))
    }

    fn goodbye(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        self.options("Details", ignored_details)?;
        let reason = self.text("Reason")?;
        Ok(ClientMessage::Goodbye { reason })
    }

    fn error(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        match self.next()? {
            Token::UInt(code) if code == u64::from(code::INVOCATION) => {}
            Token::UInt(code) => return Err(DecodeFault::ErrorType { code }.into()),
            other => return Err(self.mismatch("REQUEST.Type", "an integer", other.describe())),
        }
        let request = self.id("REQUEST.Request", RequestId::new)?;
        let details = self.options("Details", error_details)?;
        let error = self.text("Error")?;
        let payload = self.payload(details.passthru.as_deref())?;
        Ok(ClientMessage::Error(InvocationError { request, details, error, payload }))
    }

    fn publish(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.request()?;
        let options = self.options("Options", publish_options)?;
        let topic = self.text("Topic")?;
        let payload = self.payload(options.passthru.as_deref())?;
        Ok(ClientMessage::Publish(Publish { request, options, topic, payload }))
    }

    fn subscribe(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.request()?;
        let options = self.options("Options", subscribe_options)?;
        let topic = self.text("Topic")?;
        Ok(ClientMessage::Subscribe(Subscribe { request, options, topic }))
    }

    fn call(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.request()?;
        let options = self.options("Options", call_options)?;
        let procedure = self.text("Procedure")?;
        let payload = self.payload(options.passthru.as_deref())?;
        Ok(ClientMessage::Call(Call { request, options, procedure, payload }))
    }

    fn cancel(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.id("CALL.Request", RequestId::new)?;
        let mode = self.options("Options", cancel_mode)?;
        Ok(ClientMessage::Cancel(Cancel { request, mode }))
    }

    fn register(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.request()?;
        let options = self.options("Options", register_options)?;
        let procedure = self.text("Procedure")?;
        Ok(ClientMessage::Register(Register { request, options, procedure }))
    }

    fn yield_(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.id("INVOCATION.Request", RequestId::new)?;
        let options = self.options("Options", yield_options)?;
        let payload = self.payload(options.passthru.as_deref())?;
        Ok(ClientMessage::Yield(Yield { request, options, payload }))
    }

    /// Moves to the next element; false if there is none.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<bool, DecodeError> {
        self.ended = self.ended || !self.scan.advance(&mut self.list)?;
        self.read += usize::from(!self.ended);
        Ok(!self.ended)
    }

    /// Moves to an element that must be there.
    #[inline]
    fn require(&mut self) -> Result<(), DecodeError> {
        if self.advance()? { Ok(()) } else { Err(self.too_few()) }
    }

    /// The head of an element that must be there.
    fn next(&mut self) -> Result<Token<'a>, DecodeError> {
        self.require()?;
        self.scan.token()
    }

    pub(super) fn request(&mut self) -> Result<RequestId, DecodeError> {
        self.id("Request", RequestId::new)
    }

    pub(super) fn id<T>(
        &mut self,
        element: &'static str,
        new: impl FnOnce(u64) -> Option<T>,
    ) -> Result<T, DecodeError> {
        self.require()?;
        let number = match self.scan.plain_uint() {
            Some(number) => number,
            None => match self.scan.token()? {
                Token::UInt(number) => number,
                other => return Err(self.mismatch(element, AN_ID, other.describe())),
            },
        };
        new(number).ok_or_else(|| self.mismatch(element, AN_ID, number.to_string()))
    }

    /// The id of what the router has given to the session, which may be large.
    fn given_id<T>(
        &mut self,
        element: &'static str,
        new: impl FnOnce(u64) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let token = self.next()?;
        let number = token.whole().and_then(new);
        number.ok_or_else(|| match token {
            Token::UInt(number) => self.mismatch(element, AN_ID, number.to_string()),
            other => self.mismatch(element, AN_ID, other.describe()),
        })
    }

    pub(super) fn text(&mut self, element: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        self.require()?;
        if let Some(text) = self.scan.plain_text() {
            return Ok(Cow::Borrowed(text));
        }
        match self.scan.token()? {
            Token::Str(text) => text.read_name(),
            other => Err(self.mismatch(element, "a string", other.describe())),
        }
    }

    /// Options or details that may be empty, as most are.
    pub(super) fn options<T: Default>(
        &mut self,
        element: &'static str,
        read: impl FnOnce(&mut Scan<'a, R>, Sequence, Place<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        self.require()?;
        if self.scan.empty_dict() { Ok(T::default()) } else { self.dict(element, read) }
    }

    /// A dict, to which was moved.
    pub(super) fn dict<T>(
        &mut self,
        element: &'static str,
        read: impl FnOnce(&mut Scan<'a, R>, Sequence, Place<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let dict = match self.scan.token()? {
            Token::Dict(dict) => dict,
            other => return Err(self.mismatch(element, "a dict", other.describe())),
        };
        let message = Place::top(self.layout.name);
        read(&mut self.scan, dict, Place::within(element, &message))
    }

    /// Reads to the end of the list: `Arguments` and `ArgumentsKw`, each of which may be absent.
    pub(super) fn payload(
        &mut self,
        passthru: Option<&Passthru>,
    ) -> Result<Payload<'a>, DecodeError> {
        let Some((head, start)) = self.payload_head()? else {
            return Ok(Payload::Empty);
        };
        let args = match head {
            Token::Null => None,
            Token::List(_) => Some(self.raw(head, start)?),
            // Payload transparency: one encrypted item in place of the list (AP-PPT-05).
            Token::Bytes(_) if passthru.is_some_and(|passthru| passthru.enc_algo.is_some()) => {
                Some(self.raw(head, start)?)
            }
            other => return Err(self.mismatch("Arguments", "a list", other.describe())),
        };
        let kwargs = match self.payload_head()? {
            None | Some((Token::Null, _)) => None,
            Some((Token::Dict(dict), start)) => {
                let message = Place::top(self.layout.name);
                self.scan.skip_dict(dict, Place::within("ArgumentsKw", &message))?;
                Some(self.scan.read_since(start))
            }
            Some((other, _)) => {
                return Err(self.mismatch("ArgumentsKw", "a dict", other.describe()));
            }
        };
        Ok(match (args, kwargs) {
            (None, None) => Payload::Empty,
            (args, kwargs) => {
                Payload::Raw { codec: R::CODEC, args: args.unwrap_or(R::EMPTY_LIST), kwargs }
            }
        })
    }

    /// The head of the next element and where it begins; `None` at the end.
    fn payload_head(&mut self) -> Result<Option<(Token<'a>, usize)>, DecodeError> {
        if !self.advance()? {
            return Ok(None);
        }
        let start = self.scan.position();
        Ok(Some((self.scan.token()?, start)))
    }

    fn raw(&mut self, head: Token<'a>, start: usize) -> Result<&'a [u8], DecodeError> {
        self.scan.skip(head)?;
        Ok(self.scan.read_since(start))
    }

    /// Checks that the message and the document end here.
    pub(super) fn finish(&mut self) -> Result<(), DecodeError> {
        if self.advance()? {
            return Err(self.count_error("more"));
        }
        self.scan.finish()
    }

    #[cold]
    fn too_few(&self) -> DecodeError {
        self.count_error(self.read.to_string())
    }

    #[cold]
    fn count_error(&self, got: impl Into<Cow<'static, str>>) -> DecodeError {
        let Layout { name, allowed } = self.layout;
        DecodeFault::ElementCount { message: name, allowed, got: got.into() }.into()
    }

    #[cold]
    fn mismatch(
        &self,
        element: &'static str,
        expected: &'static str,
        got: impl Into<Cow<'static, str>>,
    ) -> DecodeError {
        let message = Place::top(self.layout.name);
        Place::within(element, &message).mismatch(expected, got)
    }
}

/// BP-ID-01.
const AN_ID: &str = "an integer from 1 to 2^53";

#[cfg(test)]
mod tests;
