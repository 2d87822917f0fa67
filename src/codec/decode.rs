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
    Call, Cancel, ClientMessage, Hello, InvocationError, Passthru, Payload, Publish, Register,
    RegistrationId, RequestId, Subscribe, SubscriptionId, Value, Yield, code,
};

/// Decodes one whole document as a message.
pub(super) fn message<'a, R: Reader<'a>>(
    bytes: &'a [u8],
    nesting: u16,
) -> Result<ClientMessage<'a>, DecodeError> {
    let mut scan = Scan::<R>::new(bytes, nesting)?;
    let mut list = match scan.token()? {
        Token::List(list) => list,
        other => {
            return Err(DecodeFault::NoType { got: other.describe() }.into());
        }
    };
    scan.enter()?;
    if !scan.advance(&mut list)? {
        return Err(DecodeFault::NoType { got: "an empty list" }.into());
    }
    let code = match scan.token()? {
        Token::UInt(code) => code,
        other => {
            return Err(DecodeFault::NoType { got: other.describe() }.into());
        }
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
    let mut scan = Scan::<R>::new(bytes, nesting)?;
    let head = scan.token()?;
    let value = scan.value(head, &mut Room::new(Place::top("the value"), limit_bytes))?;
    scan.finish()?;
    Ok(value)
}

/// What is known of a message from its type alone.
#[derive(Clone, Copy)]
struct Layout {
    name: &'static str,
    /// The counts of elements that it may have, for error messages.
    allowed: &'static str,
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
struct Fields<'a, R> {
    scan: Scan<'a, R>,
    list: Sequence,
    layout: Layout,
    /// Elements read so far, the type included.
    read: usize,
    ended: bool,
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
                subscription: self.id("Subscription", SubscriptionId::new)?,
            }),
            code::CALL => self.call(),
            code::CANCEL => self.cancel(),
            code::REGISTER => self.register(),
            code::UNREGISTER => Ok(ClientMessage::Unregister {
                request: self.request()?,
                registration: self.id("Registration", RegistrationId::new)?,
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
        let details =
            self.dict("Details", |scan, dict, place| hello::details(scan, dict, place))?;
        Ok(ClientMessage::Hello(Box::new(Hello { realm, ..details })))
    }

    fn abort(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        self.dict("Details", ignored_details)?;
        let reason = self.text("Reason")?;
        self.payload(None)?;
        Ok(ClientMessage::Abort { reason })
    }

    fn authenticate(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let signature = self.text("Signature")?;
        let extra = self.dict("Extra", hello::unique_dict)?;
        Ok(ClientMessage::Authenticate { signature, extra })
    }

    fn goodbye(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        self.dict("Details", ignored_details)?;
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
        let details = self.dict("Details", error_details)?;
        let error = self.text("Error")?;
        let payload = self.payload(details.passthru.as_deref())?;
        Ok(ClientMessage::Error(InvocationError { request, details, error, payload }))
    }

    fn publish(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.request()?;
        let options = self.dict("Options", publish_options)?;
        let topic = self.text("Topic")?;
        let payload = self.payload(options.passthru.as_deref())?;
        Ok(ClientMessage::Publish(Publish { request, options, topic, payload }))
    }

    fn subscribe(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.request()?;
        let options = self.dict("Options", subscribe_options)?;
        let topic = self.text("Topic")?;
        Ok(ClientMessage::Subscribe(Subscribe { request, options, topic }))
    }

    fn call(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.request()?;
        let options = self.dict("Options", call_options)?;
        let procedure = self.text("Procedure")?;
        let payload = self.payload(options.passthru.as_deref())?;
        Ok(ClientMessage::Call(Call { request, options, procedure, payload }))
    }

    fn cancel(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.id("CALL.Request", RequestId::new)?;
        let mode = self.dict("Options", cancel_mode)?;
        Ok(ClientMessage::Cancel(Cancel { request, mode }))
    }

    fn register(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.request()?;
        let options = self.dict("Options", register_options)?;
        let procedure = self.text("Procedure")?;
        Ok(ClientMessage::Register(Register { request, options, procedure }))
    }

    fn yield_(&mut self) -> Result<ClientMessage<'a>, DecodeError> {
        let request = self.id("INVOCATION.Request", RequestId::new)?;
        let options = self.dict("Options", yield_options)?;
        let payload = self.payload(options.passthru.as_deref())?;
        Ok(ClientMessage::Yield(Yield { request, options, payload }))
    }

    /// Moves to the next element; false if there is none.
    fn advance(&mut self) -> Result<bool, DecodeError> {
        self.ended = self.ended || !self.scan.advance(&mut self.list)?;
        self.read += usize::from(!self.ended);
        Ok(!self.ended)
    }

    /// The head of an element that must be there.
    fn next(&mut self) -> Result<Token<'a>, DecodeError> {
        if self.advance()? {
            self.scan.token()
        } else {
            Err(self.count_error(self.read.to_string()))
        }
    }

    fn request(&mut self) -> Result<RequestId, DecodeError> {
        self.id("Request", RequestId::new)
    }

    fn id<T>(
        &mut self,
        element: &'static str,
        new: impl FnOnce(u64) -> Option<T>,
    ) -> Result<T, DecodeError> {
        match self.next()? {
            Token::UInt(number) => {
                new(number).ok_or_else(|| self.mismatch(element, AN_ID, number.to_string()))
            }
            other => Err(self.mismatch(element, AN_ID, other.describe())),
        }
    }

    fn text(&mut self, element: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        match self.next()? {
            Token::Str(text) => text.read_name(),
            other => Err(self.mismatch(element, "a string", other.describe())),
        }
    }

    fn dict<T>(
        &mut self,
        element: &'static str,
        read: impl FnOnce(&mut Scan<'a, R>, Sequence, Place<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let dict = match self.next()? {
            Token::Dict(dict) => dict,
            other => return Err(self.mismatch(element, "a dict", other.describe())),
        };
        let message = Place::top(self.layout.name);
        read(&mut self.scan, dict, Place::within(element, &message))
    }

    /// Reads to the end of the list: `Arguments` and `ArgumentsKw`, each of which may be absent.
    fn payload(&mut self, passthru: Option<&Passthru>) -> Result<Payload<'a>, DecodeError> {
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
    fn finish(mut self) -> Result<(), DecodeError> {
        if self.advance()? {
            return Err(self.count_error("more"));
        }
        self.scan.finish()
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
mod tests {
    use super::super::{Codec, DecodeLimits, decode, decode_json};
    use super::*;

    #[track_caller]
    fn refused(text: &str, message: &str) {
        assert_eq!(decode_json(text).expect_err(text).to_string(), message);
    }

    fn payload(text: &str) -> Payload<'_> {
        match decode_json(text) {
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
        assert!(decode_json(r#"[3,{},"a",[1],{"b":2}]"#).is_ok());
        refused(r#"[6,{},"a",[]]"#, "GOODBYE must have 3 elements, got more");
    }

    #[test]
    fn elements_must_have_their_types() {
        refused("[16,0,{},\"a\"]", "PUBLISH.Request must be an integer from 1 to 2^53, got 0");
        let beyond = "PUBLISH.Request must be an integer from 1 to 2^53, got 9007199254740993";
        refused("[16,9007199254740993,{},\"a\"]", beyond);
        for not_integer in ["1.0", "1e3", "-0"] {
            let text = format!("[16,{not_integer},{{}},\"a\"]");
            let error = decode_json(&text).expect_err("it is no integer").to_string();
            assert!(error.starts_with("PUBLISH.Request must be an integer"), "{error}");
        }
        refused("[48,1,[],\"a\"]", "CALL.Options must be a dict, got a list");
        refused("[48,1,{},null]", "CALL.Procedure must be a string, got null");
        refused("[16,1,{},\"a\",{}]", "PUBLISH.Arguments must be a list, got a dict");
        refused("[16,1,{},\"a\",[],[]]", "PUBLISH.ArgumentsKw must be a dict, got a list");
        refused("[1,7,{}]", "HELLO.Realm must be a string or null, got an integer");
        refused(r#"[8,48,1,{},"a"]"#, "ERROR.REQUEST.Type must be 68 (INVOCATION), got 48");
        assert!(decode_json("[16,9007199254740992,{},\"a\"]").is_ok());
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
        assert!(decode_json(r#"[16,1,{},"a",[],{"b":1,"b":2}]"#).is_ok());
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
            assert_eq!(
                error.expect_err("it is deep").fault(),
                &DecodeFault::TooDeep { limit: 512 }
            );
        };
        assert!(decode_json(&json(63)).is_ok());
        assert_eq!(
            decode_json(&json(64)).unwrap_err().fault(),
            &DecodeFault::TooDeep { limit: 64 }
        );
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
            assert_eq!(
                decode_json(&text).unwrap_err().fault(),
                &DecodeFault::TooDeep { limit: 64 }
            );
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
}
