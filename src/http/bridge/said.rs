//! What the router says to a session that publishes and calls, and how that is told by HTTP: as
//! crossbar does.

use serde_json::value::RawValue;

/// A message of the router.
#[derive(Debug)]
pub(super) enum Said<'a> {
    Welcome,
    /// The session does not begin, or is over.
    Abort {
        reason: String,
        message: String,
    },
    Goodbye {
        reason: String,
    },
    /// The answer to a request.
    Reply {
        request: u64,
        reply: Reply<'a>,
    },
    Event {
        subscription: u64,
        publication: u64,
        details: Option<&'a RawValue>,
        args: Option<&'a RawValue>,
        kwargs: Option<&'a RawValue>,
    },
    Subscribed {
        request: u64,
        subscription: u64,
    },
    /// A subscription was taken away.
    Revoked,
    /// Nothing that matters here.
    Other,
}

#[derive(Debug)]
pub(super) enum Reply<'a> {
    Published(u64),
    Result { args: Option<&'a RawValue>, kwargs: Option<&'a RawValue> },
    Error { uri: &'a RawValue, args: Option<&'a RawValue>, kwargs: Option<&'a RawValue> },
}

impl<'a> Said<'a> {
    /// `None` for what is no message of a router.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let parts: Vec<&RawValue> = serde_json::from_slice(message).ok()?;
        let number = |at: usize| parts.get(at)?.get().parse::<u64>().ok();
        let text = |at: usize| serde_json::from_str::<String>(parts.get(at)?.get()).ok();
        let value = |at: usize| parts.get(at).copied();
        Some(match number(0)? {
            WELCOME => Self::Welcome,
            ABORT => {
                let details = value(1).map(RawValue::get).unwrap_or_default();
                let message = serde_json::from_str::<Details>(details).ok()?.message;
                Self::Abort { reason: text(2)?, message: message.unwrap_or_default() }
            }
            GOODBYE => Self::Goodbye { reason: text(2)? },
            PUBLISHED => Self::Reply { request: number(1)?, reply: Reply::Published(number(2)?) },
            RESULT => {
                let reply = Reply::Result { args: value(3), kwargs: value(4) };
                Self::Reply { request: number(1)?, reply }
            }
            ERROR => {
                let reply = Reply::Error { uri: value(4)?, args: value(5), kwargs: value(6) };
                Self::Reply { request: number(2)?, reply }
            }
            EVENT => Self::Event {
                subscription: number(1)?,
                publication: number(2)?,
                details: value(3),
                args: value(4),
                kwargs: value(5),
            },
            SUBSCRIBED => Self::Subscribed { request: number(1)?, subscription: number(2)? },
            UNSUBSCRIBED if number(1)? == 0 => Self::Revoked,
            _ => Self::Other,
        })
    }
}

#[derive(serde::Deserialize)]
struct Details {
    message: Option<String>,
}

impl Reply<'_> {
    /// Of an error: its URI, and its first argument, which is a sentence if the router says it.
    pub(super) fn refusal(&self) -> (String, String) {
        let Self::Error { uri, args, .. } = self else { return Default::default() };
        let uri = serde_json::from_str(uri.get()).unwrap_or_default();
        let args = args.map_or("[]", RawValue::get);
        let args = serde_json::from_str::<Vec<serde_json::Value>>(args).unwrap_or_default();
        let sentence = args.first().and_then(|first| first.as_str()).unwrap_or_default();
        (uri, sentence.to_owned())
    }

    /// The object that an HTTP client gets. A result without anything is one null, as crossbar has
    /// it.
    pub(super) fn to_json(&self) -> String {
        match self {
            Self::Published(id) => format!("{{\"id\":{id}}}"),
            Self::Result { args, kwargs } => {
                let args = args.map(RawValue::get).filter(|args| *args != "[]");
                let kwargs = kwargs.map(RawValue::get).filter(|kwargs| *kwargs != "{}");
                match (args, kwargs) {
                    (None, None) => "{\"args\":[null]}".to_owned(),
                    (Some(args), None) => format!("{{\"args\":{args}}}"),
                    (None, Some(kwargs)) => format!("{{\"kwargs\":{kwargs}}}"),
                    (Some(args), Some(kwargs)) => {
                        format!("{{\"args\":{args},\"kwargs\":{kwargs}}}")
                    }
                }
            }
            Self::Error { uri, args, kwargs } => {
                let args = args.map_or("[]", RawValue::get);
                let kwargs = kwargs.map_or("{}", RawValue::get);
                format!("{{\"error\":{},\"args\":{args},\"kwargs\":{kwargs}}}", uri.get())
            }
        }
    }
}

/// An error that is the router's own, in the same form: with a URI for programs and a sentence for
/// people.
pub(super) fn error_json(error: &str, sentence: &str) -> String {
    serde_json::json!({ "error": error, "args": [sentence], "kwargs": {} }).to_string()
}

const EVENT: u64 = 36;
const SUBSCRIBED: u64 = 33;
const UNSUBSCRIBED: u64 = 35;
const WELCOME: u64 = 2;
const ABORT: u64 = 3;
const GOODBYE: u64 = 6;
const ERROR: u64 = 8;
const PUBLISHED: u64 = 17;
const RESULT: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, request: u64, expected: &str) {
        let said = Said::read(message.as_bytes());
        let Some(Said::Reply { request: found, reply }) = said else { panic!("{said:?}") };
        assert_eq!((found, &*reply.to_json()), (request, expected), "{message}");
    }

    #[test]
    fn answers_are_those_of_crossbar() {
        check("[17,3,9007199254740991]", 3, r#"{"id":9007199254740991}"#);
        check("[50,4,{},[1.0]]", 4, r#"{"args":[1.0]}"#);
        check("[50,4,{}]", 4, r#"{"args":[null]}"#);
        check("[50,4,{},[],{}]", 4, r#"{"args":[null]}"#);
        check(r#"[50,4,{},[],{"a":1}]"#, 4, r#"{"kwargs":{"a":1}}"#);
        check(r#"[50,4,{},[1,2],{"a":1}]"#, 4, r#"{"args":[1,2],"kwargs":{"a":1}}"#);
        check(r#"[8,48,5,{},"a.b"]"#, 5, r#"{"error":"a.b","args":[],"kwargs":{}}"#);
        check(
            r#"[8,16,5,{},"a",["no"],{"b":1}]"#,
            5,
            r#"{"error":"a","args":["no"],"kwargs":{"b":1}}"#,
        );
    }

    #[test]
    fn an_end_has_a_reason() {
        let abort = Said::read(br#"[3,{"message":"no"},"wamp.error.no_such_role"]"#);
        let is_abort = matches!(&abort, Some(Said::Abort { reason, message })
            if reason == "wamp.error.no_such_role" && message == "no");
        assert!(is_abort, "{abort:?}");
        let goodbye = Said::read(br#"[6,{},"wamp.close.killed"]"#);
        assert!(matches!(goodbye, Some(Said::Goodbye { .. })));
        assert!(matches!(Said::read(b"[2,1,{}]"), Some(Said::Welcome)));
        assert!(matches!(Said::read(b"[36,1,2,{}]"), Some(Said::Event { publication: 2, .. })));
        assert!(matches!(Said::read(b"[35,0,{}]"), Some(Said::Revoked)));
        assert!(matches!(Said::read(b"[35,1]"), Some(Said::Other)));
        for bad in [&b"{}"[..], b"[]", b"[17,1]", b"[\"x\"]", b"[8,16,5,{}]", b"\xFF"] {
            assert!(Said::read(bad).is_none(), "{bad:?}");
        }
    }
}
