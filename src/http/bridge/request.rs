//! What a body asks for: publications or calls, one or a list of them, as crossbar's clients write
//! them. Arguments go into messages as the text that they are; no tree is made of them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::codec::{self, Codec, DecodeLimits};
use crate::http::room::Taken;
use crate::wamp::quote;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Publish,
    Call,
}

/// What a body may ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLimits {
    /// Bytes of a WAMP message.
    pub(super) message_bytes: usize,
    pub(super) nesting: u16,
    /// Requests of one list.
    pub(super) batch: usize,
}

/// The requests of one body.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) messages: Vec<Message>,
    /// The answer is a list, too.
    pub(super) is_list: bool,
}

/// A PUBLISH or CALL without the id that its session gives it.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) act: Act,
    /// What follows the id and a comma, to the end.
    pub(super) rest: Bytes,
    /// Room for it.
    pub(super) taken: Option<Arc<Taken>>,
}

impl Message {
    /// What stands before [`Self::rest`].
    pub(super) fn head(&self, request: u64) -> String {
        format!("[{},{request},", code_of(self.act))
    }
}

/// What is wrong with a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestFault {
    #[error("the body is empty: send an object")]
    Empty,
    #[error("the body must be an object, or a list of objects")]
    NoObject,
    #[error("the body is no JSON that can be read: {0}")]
    Json(String),
    #[error("the body cannot be read: {0}")]
    Unfit(String),
    #[error("a list may have {0} requests at most")]
    TooMany(usize),
    #[error("an empty list asks for nothing")]
    NoRequests,
    #[error("request {number} of the list: {fault}")]
    InList { number: usize, fault: Box<Self> },
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` must be {1}")]
    Form(&'static str, &'static str),
    #[error("`options`: {0}")]
    Options(String),
    #[error("{0}")]
    Message(codec::DecodeError),
    #[error("this becomes a message of more than {0} bytes")]
    TooLong(usize),
}

impl RequestFault {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InList { fault, .. } => fault.status(),
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Of a body that was made JSON here: its client knows nothing of lines in it.
    pub(super) fn without_lines(self) -> Self {
        let cut = |text: String| match text.rfind(" at line ") {
            Some(at) => text[..at].to_owned(),
            None => text,
        };
        match self {
            Self::Json(text) => Self::Unfit(cut(text)),
            Self::Options(text) => Self::Options(cut(text)),
            Self::InList { number, fault } => {
                Self::InList { number, fault: Box::new(fault.without_lines()) }
            }
            other => other,
        }
    }
}

/// The text of a body, or of a part of it, that cannot be read.
fn unreadable(error: serde_json::Error) -> RequestFault {
    RequestFault::Json(error.to_string())
}

/// # Errors
/// [`RequestFault`] for what no message can be made of that a router takes: nothing is asked then.
pub(super) fn read(body: &[u8], act: Act, limits: &RequestLimits) -> Result<Asked, RequestFault> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match first.ok_or(RequestFault::Empty)? {
        b'{' => {
            let fields = serde_json::from_slice(body).map_err(unreadable)?;
            let messages = vec![message(&fields, act, limits)?];
            Ok(Asked { messages, is_list: false })
        }
        b'[' => {
            let messages = read_list(body, act, limits)?;
            Ok(Asked { messages, is_list: true })
        }
        _ => Err(RequestFault::NoObject),
    }
}

fn read_list(body: &[u8], act: Act, limits: &RequestLimits) -> Result<Vec<Message>, RequestFault> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let items = reader.deserialize_seq(List(limits.batch)).map_err(unreadable)?;
    reader.end().map_err(unreadable)?;
    let items = items.ok_or(RequestFault::TooMany(limits.batch))?;
    if items.is_empty() {
        return Err(RequestFault::NoRequests);
    }
    let message = |item: &RawValue| {
        if !item.get().starts_with('{') {
            return Err(RequestFault::NoObject);
        }
        message(&serde_json::from_str(item.get()).map_err(unreadable)?, act, limits)
    };
    let numbered = items.into_iter().zip(1..).map(|(item, number)| {
        message(item).map_err(|fault| RequestFault::InList { number, fault: Box::new(fault) })
    });
    numbered.collect()
}

/// Takes the items of a list, or nothing if there are more than so many.
struct List(usize);

impl<'de> Visitor<'de> for List {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == self.0 {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            items.push(item);
        }
        Ok(Some(items))
    }
}

/// A request; what else stands in it is ignored, as crossbar does.
#[derive(Debug, Deserialize)]
struct Fields<'a> {
    topic: Option<String>,
    procedure: Option<String>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    kwargs: Option<&'a RawValue>,
    #[serde(borrow)]
    options: Option<&'a RawValue>,
}

fn message(fields: &Fields<'_>, act: Act, limits: &RequestLimits) -> Result<Message, RequestFault> {
    let (name, uri, options) = match act {
        Act::Publish => ("topic", &fields.topic, PUBLISH_OPTIONS),
        Act::Call => ("procedure", &fields.procedure, CALL_OPTIONS),
    };
    let uri = uri.as_ref().ok_or(RequestFault::Missing(name))?;
    let form = |name, value: Option<&RawValue>, first, form| match value {
        Some(value) if !value.get().starts_with(first) => Err(RequestFault::Form(name, form)),
        _ => Ok(()),
    };
    form("args", fields.args, '[', "a list")?;
    form("kwargs", fields.kwargs, '{', "an object")?;
    form("options", fields.options, '{', "an object")?;
    let head = format!("[{},1,", code_of(act));
    let mut text = head.clone();
    text.push_str(if act == Act::Publish { "{\"acknowledge\":true" } else { "{" });
    if let Some(given) = fields.options {
        let mut reader = serde_json::Deserializer::from_str(given.get());
        let given = reader.deserialize_map(Chosen(options));
        let given = given.map_err(|error| RequestFault::Options(error.to_string()))?;
        for (name, value) in given {
            let comma = if text.ends_with('{') { "" } else { "," };
            text.push_str(&format!("{comma}\"{name}\":{}", value.get()));
        }
    }
    text.push_str("},");
    text.push_str(&serde_json::to_string(uri).map_err(unreadable)?);
    if fields.args.is_some() || fields.kwargs.is_some() {
        text.push(',');
        text.push_str(fields.args.map_or("[]", RawValue::get));
    }
    if let Some(kwargs) = fields.kwargs {
        text.push(',');
        text.push_str(kwargs.get());
    }
    text.push(']');
    let limit = limits.message_bytes;
    if text.len() + LONGEST_HEAD > limit + head.len() {
        return Err(RequestFault::TooLong(limit));
    }
    // What the router takes for a violation would end the session of all who come by this path.
    let nesting = DecodeLimits { nesting: limits.nesting };
    codec::decode(Codec::Json, text.as_bytes(), nesting).map_err(RequestFault::Message)?;
    let rest = Bytes::from(text).slice(head.len()..);
    Ok(Message { act, rest, taken: None })
}

/// Takes those options that a request may have here: name and value.
struct Chosen(Known);

/// Options that are passed on, and those that change nothing here.
type Known = (&'static [&'static str], &'static [&'static str]);

impl<'de> Visitor<'de> for Chosen {
    type Value = Vec<(&'static str, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self((passed, idle)) = self;
        let mut chosen = Vec::<(&'static str, &RawValue)>::new();
        while let Some(name) = map.next_key::<String>()? {
            let value: &RawValue = map.next_value()?;
            let Some(known) = passed.iter().copied().find(|known| *known == name) else {
                if idle.contains(&&*name) {
                    continue;
                }
                let (name, names) = (quote(&name), passed.join(", "));
                return Err(A::Error::custom(format!(
                    "{name} is none that is known here: {names}"
                )));
            };
            if chosen.iter().any(|(other, _)| *other == known) {
                return Err(A::Error::custom(format!("`{known}` stands there twice")));
            }
            if value.get() != "null" {
                chosen.push((known, value));
            }
        }
        Ok(chosen)
    }
}

const fn code_of(act: Act) -> u16 {
    match act {
        Act::Publish => 16,
        Act::Call => 48,
    }
}

/// Every publication is acknowledged, its publisher subscribes to nothing, and `forward_for` is
/// what crossbar's nodes tell each other.
const PUBLISH_OPTIONS: Known = (
    &[
        "disclose_me",
        "eligible",
        "eligible_authid",
        "eligible_authrole",
        "exclude",
        "exclude_authid",
        "exclude_authrole",
        "retain",
    ],
    &["acknowledge", "exclude_me", "forward_for"],
);

const CALL_OPTIONS: Known = (&["disclose_me", "timeout"], &[]);

/// Bytes of `[16,` with the longest id and a comma.
const LONGEST_HEAD: usize = 4 + 16 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits = RequestLimits { message_bytes: 200, nesting: 8, batch: 3 };

    #[track_caller]
    fn check(act: Act, body: &str, expected: &str) {
        let asked = read(body.as_bytes(), act, &LIMITS).unwrap();
        let texts = asked
            .messages
            .iter()
            .map(|message| message.head(7) + str::from_utf8(&message.rest).unwrap());
        assert_eq!(texts.collect::<Vec<_>>().join(" "), expected);
        assert_eq!(asked.is_list, body.trim_start().starts_with('['));
    }

    #[test]
    fn bodies_become_messages_with_their_arguments_as_they_are() {
        check(Act::Publish, r#"{"topic":"a"}"#, r#"[16,7,{"acknowledge":true},"a"]"#);
        check(
            Act::Publish,
            r#" {"topic": "\u0061", "args": [1.50, "\ud83d"], "kwargs": null, "signature": 1,
               "options": {"acknowledge": false, "retain": true, "exclude": null}} "#,
            r#"[16,7,{"acknowledge":true,"retain":true},"a",[1.50, "\ud83d"]]"#,
        );
        check(
            Act::Call,
            r#"{"procedure": "b", "kwargs": {"x" : 1}, "options": {"timeout": 5}}"#,
            r#"[48,7,{"timeout":5},"b",[],{"x" : 1}]"#,
        );
        check(
            Act::Call,
            r#"[{"procedure":"b"}, {"procedure":"c","args":[]}]"#,
            r#"[48,7,{},"b"] [48,7,{},"c",[]]"#,
        );
    }

    /// None of this reaches the router, where it would end the session of others.
    #[test]
    fn what_no_message_can_be_made_of_is_named() {
        let nested = format!("{{\"topic\":\"a\",\"args\":{}{}}}", "[".repeat(8), "]".repeat(8));
        let long = format!("{{\"topic\":\"a\",\"args\":[\"{}\"]}}", "x".repeat(200));
        for (body, said) in [
            ("", "the body is empty"),
            (" \n", "the body is empty"),
            ("1", "must be an object"),
            ("\u{FEFF}{}", "must be an object"),
            ("{", "no JSON that can be read: EOF"),
            ("{}", "`topic` is missing"),
            ("{\"topic\":null}", "`topic` is missing"),
            ("{\"topic\":1}", "expected a string at line 1"),
            ("{\"topic\":\"a\"} x", "trailing characters"),
            ("{\"topic\":\"a\",\"topic\":\"b\"}", "duplicate field `topic`"),
            ("{\"topic\":\"a\",\"args\":{}}", "`args` must be a list"),
            ("{\"topic\":\"a\",\"kwargs\":[]}", "`kwargs` must be an object"),
            ("{\"topic\":\"a\",\"options\":[]}", "`options` must be an object"),
            ("{\"topic\":\"a\",\"options\":{\"eligble\":[1]}}", "is none that is known here"),
            ("{\"topic\":\"a\",\"options\":{\"retain\":1}}", "retain"),
            ("{\"topic\":\"a\",\"options\":{\"retain\":true,\"retain\":true}}", "twice"),
            ("{\"topic\":\"a\",\"options\":{\"eligible\":[\"x\"]}}", "eligible"),
            (&nested, "nest"),
            (&long, "more than 200 bytes"),
            ("[]", "asks for nothing"),
            ("[1]", "request 1 of the list: the body must be"),
            ("[[\"a\"]]", "request 1 of the list"),
            ("[{\"topic\":\"a\"},{}]", "request 2 of the list: `topic` is missing"),
            ("[{\"topic\":\"a\"}", "EOF"),
            ("[1,2,3,4]", "3 requests at most"),
        ] {
            let fault = read(body.as_bytes(), Act::Publish, &LIMITS).unwrap_err();
            assert!(fault.to_string().contains(said), "{body}: {fault}");
        }
        for (body, said) in [
            (
                "{\"topic\":1}",
                "the body cannot be read: invalid type: integer `1`, expected a string",
            ),
            (
                "[{},{\"topic\":\"a\",\"options\":{\"no\":1}}]",
                "request 1 of the list: `topic` is missing",
            ),
            (
                "[{\"topic\":\"a\",\"options\":{\"retain\":true,\"retain\":true}}]",
                "request 1 of the list: `options`: `retain` stands there twice",
            ),
        ] {
            let fault = read(body.as_bytes(), Act::Publish, &LIMITS).unwrap_err();
            assert_eq!(fault.without_lines().to_string(), said);
        }
        let bytes = b"{\"topic\":\"a\",\"args\":[\"\xFF\"]}";
        assert!(read(bytes, Act::Publish, &LIMITS).is_err());
        let body = "{\"procedure\":\"a\",\"options\":{\"receive_progress\":true}}";
        assert!(read(body.as_bytes(), Act::Call, &LIMITS).is_err());
    }
}
