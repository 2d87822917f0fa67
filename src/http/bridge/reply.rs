//! What a client gets that publishes or calls: JSON with a status, as crossbar answers, or the same
//! in another format.

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::bearer::challenge;
use super::converted::{self, NoAnswer};
use super::door::Denied;
use super::pool::Outcome;
use super::repeated::Begun;
use super::said::error_json;
use super::session::Lost;
use super::subscriber::NotSubscribed;
use crate::authentication::TokenError;
use crate::codec::Codec;
use crate::http::answers::set;
use crate::http::body::BodyFault;
use crate::http::content::Content;
use crate::http::format::Format;
use crate::http::room::{Room, counted};

/// What a client gets.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    pub(super) json: Bytes,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    pub(super) fn json(status: StatusCode, json: impl Into<Bytes>) -> Self {
        Self { status, json: json.into(), fields: Vec::new() }
    }

    /// As crossbar refuses: the sentence is the error.
    pub(super) fn refused(status: StatusCode, text: &str) -> Self {
        Self::json(
            status,
            serde_json::json!({ "error": text, "args": [], "kwargs": {} }).to_string(),
        )
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.fields.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The connection ends with it: what else comes is not read.
    pub(super) fn closing(self) -> Self {
        self.with(CONNECTION, "close")
    }

    pub(super) fn later(mut self, seconds: u16) -> Self {
        self.fields.push((RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }

    pub(super) fn lost(lost: &Lost) -> Self {
        let (status, later) = match lost {
            Lost::Stopping => (StatusCode::SERVICE_UNAVAILABLE, Some(5)),
            Lost::OverRate | Lost::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, Some(1)),
            Lost::Late(_) => (StatusCode::GATEWAY_TIMEOUT, None),
            Lost::Ended(_) => (StatusCode::BAD_GATEWAY, None),
            Lost::Full | Lost::Refused(_) | Lost::NoRoom => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(1))
            }
        };
        let refused = Self::refused(status, &lost.to_string());
        later.into_iter().fold(refused, Self::later)
    }

    /// Of a list the answers to those that were answered, and errors for the others; if nobody
    /// was asked for anything, the reason for that.
    pub(super) fn of(mut outcomes: Vec<Outcome>, is_list: bool) -> Self {
        let none = outcomes.iter().all(Result::is_err).then(|| outcomes.first()).flatten();
        if let Some(Err(lost)) = none {
            return Self::lost(lost);
        }
        if !is_list && let Some(Ok(answer)) = outcomes.pop() {
            let json = counted(answer.json.into_bytes(), vec![answer.taken]);
            return Self::json(StatusCode::OK, json);
        }
        let (mut json, mut taken) = (Vec::from(*b"["), Vec::new());
        for outcome in outcomes {
            if json.len() > 1 {
                json.push(b',');
            }
            match outcome {
                Ok(answer) => {
                    json.extend_from_slice(answer.json.as_bytes());
                    taken.push(answer.taken);
                }
                Err(lost) => json.extend_from_slice(lost.to_json().as_bytes()),
            }
        }
        json.push(b']');
        Self::json(StatusCode::OK, counted(json, taken))
    }

    /// In the format that its client wants; `room` is for what is made of the JSON.
    pub(super) fn into_response(self, format: Format, room: &Room) -> Response<Content> {
        let Self { status, json, fields } = self;
        let body = match format.codec {
            Codec::Json => json,
            codec => match converted::answer(&json, codec, room) {
                Ok(body) => body,
                Err(NoAnswer::NoRoom) => {
                    // What it says of the connection holds all the same.
                    let Self { status, json, fields: own } = Self::lost(&Lost::NoRoom);
                    let fields = own.into_iter().chain(fields).collect();
                    return Self { status, json, fields }.into_short(format);
                }
            },
        };
        Self { status, json: body, fields }.in_format(format)
    }

    /// The same of what the router itself says.
    fn into_short(self, format: Format) -> Response<Content> {
        let Self { status, json, fields } = self;
        let json = converted::short_answer(&json, format.codec);
        Self { status, json, fields }.in_format(format)
    }

    /// With a body that is in this format already.
    fn in_format(self, format: Format) -> Response<Content> {
        let Self { status, json: body, fields } = self;
        let mut answer = Response::new(Content::of(body));
        *answer.status_mut() = status;
        set(&mut answer, CONTENT_TYPE, format.name);
        set(&mut answer, CACHE_CONTROL, "no-store");
        set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
        answer.headers_mut().extend(fields);
        answer
    }
}

impl From<Denied> for Reply {
    fn from(denied: Denied) -> Self {
        if let Denied::Token(TokenError::NoKeys) = denied {
            let text =
                "the router has no keys yet by which tokens can be verified: try again later";
            return Self::refused(StatusCode::SERVICE_UNAVAILABLE, text).later(5);
        }
        let (status, text) = match denied {
            Denied::Network => (StatusCode::FORBIDDEN, "this address may not come here"),
            Denied::Origin => (StatusCode::FORBIDDEN, "pages of this origin may not come here"),
            Denied::NoKey => (
                StatusCode::UNAUTHORIZED,
                "this needs the header `Authorization: Bearer` with a key or token",
            ),
            Denied::WrongKey => (StatusCode::UNAUTHORIZED, "this is no key of this path"),
            Denied::Token(error) => (StatusCode::UNAUTHORIZED, challenge(error).1),
        };
        let mut reply = Self::refused(status, text);
        match denied {
            Denied::Token(error) => {
                reply.fields.push((WWW_AUTHENTICATE, challenge(error).0));
                reply
            }
            Denied::NoKey => reply.with(WWW_AUTHENTICATE, "Bearer"),
            Denied::WrongKey => reply.with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
            Denied::Network | Denied::Origin => reply,
        }
    }
}

/// Of a request that is not made, since another one with its key was.
impl From<Begun> for Reply {
    fn from(refused: Begun) -> Self {
        match refused {
            Begun::Other => Self::refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                "this `Idempotency-Key` came with another body before",
            ),
            Begun::UnderWay => {
                let text =
                    "a request with this `Idempotency-Key` is under way: ask again for its answer";
                Self::refused(StatusCode::CONFLICT, text).later(1)
            }
            _ => {
                let text =
                    "too many requests with an `Idempotency-Key` are under way: try again later";
                Self::refused(StatusCode::SERVICE_UNAVAILABLE, text).later(1)
            }
        }
    }
}

impl From<BodyFault> for Reply {
    fn from(fault: BodyFault) -> Self {
        let refused = Self::refused(fault.status(), &fault.to_string()).closing();
        match fault {
            BodyFault::NoRoom => refused.later(1),
            _ => refused,
        }
    }
}

impl From<NotSubscribed> for Reply {
    fn from(none: NotSubscribed) -> Self {
        match none {
            NotSubscribed::Lost(lost) => Self::lost(&lost),
            NotSubscribed::Refused { error, sentence } => {
                let status = match &*error {
                    "wamp.error.not_authorized" => StatusCode::FORBIDDEN,
                    "wamp.error.invalid_uri" | "wamp.error.invalid_argument" => {
                        StatusCode::BAD_REQUEST
                    }
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                let refused = Self::json(status, error_json(&error, &sentence));
                match status {
                    StatusCode::SERVICE_UNAVAILABLE => refused.later(1),
                    _ => refused,
                }
            }
        }
    }
}
