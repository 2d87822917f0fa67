//! One session with a router, without IO: messages of the router come in, what they mean comes out,
//! and so do the bytes to send.
//!
//! Owns the request ids, which answer belongs to which request, and what a router may send when. It
//! knows no socket, no thread and no clock: deadlines are whoever drives it, who then cancels. What
//! a router was not asked for changes nothing; what it must never send ends the session.
//!
//! ```
//! use stentor_client::core::{Core, Happening, Limits};
//! use stentor_protocol::codec::client::FromRouter;
//! use stentor_protocol::wamp::{Codec, Dict, SessionId, SubscriptionId};
//!
//! let mut core = Core::new(Codec::Json, Limits::default());
//! core.hello("realm1", Dict::new())?;
//! assert!(core.take_message().expect("HELLO").starts_with(b"[1,\"realm1\""));
//! let session = SessionId::new(7).expect("from 1 to 2^53");
//! core.handle(FromRouter::Welcome { session, details: Dict::new() })?;
//!
//! let request = core.subscribe("com.example.topic", &Dict::new())?;
//! assert_eq!(core.take_message().expect("SUBSCRIBE"), br#"[32,1,{},"com.example.topic"]"#);
//! let subscription = SubscriptionId::new(5).expect("from 1 to 2^53");
//! let happening = core.handle(FromRouter::Subscribed { request, subscription })?;
//! assert!(matches!(happening, Happening::Subscribed { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod requests;
mod roles;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};

use stentor_protocol::codec::DecodeLimits;
use stentor_protocol::codec::client::{FromRouter, ToRouter, encode};
use stentor_protocol::wamp::{
    Codec, Dict, Payload, PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId,
    Value, code,
};

use crate::error::UsageError;

/// Bounds of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest message to send, in bytes. Default: 16 MiB.
    pub message_bytes: usize,
    /// Levels of lists and dicts in a message from the router. Default: 128.
    pub nesting: u16,
    /// Requests that may wait for their answers. Default: 65,536.
    pub requests: usize,
    /// Invocations that may be under way; more are answered with an ERROR. Default: 16,384.
    pub invocations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 16 << 20, nesting: 128, requests: 65_536, invocations: 16_384 }
    }
}

impl Limits {
    /// As decoders take them.
    pub const fn decode(&self) -> DecodeLimits {
        DecodeLimits { nesting: self.nesting }
    }
}

/// What a message of the router means.
#[derive(Debug)]
#[non_exhaustive]
pub enum Happening<'a> {
    /// To be answered with [`Core::authenticate`].
    Challenged {
        method: String,
        extra: Dict,
    },
    Joined {
        session: SessionId,
        details: Dict,
    },
    /// The router ends the session, or does not begin one. Nothing comes or goes any more.
    Aborted {
        reason: String,
        message: String,
    },
    /// The router ends the session in order; it has been answered.
    Closed {
        reason: String,
        message: String,
    },
    /// The answer to [`Core::goodbye`].
    Left,
    Published {
        request: RequestId,
        publication: PublicationId,
    },
    Subscribed {
        request: RequestId,
        subscription: SubscriptionId,
    },
    Unsubscribed {
        request: RequestId,
    },
    /// The router has taken a subscription away.
    Revoked {
        subscription: SubscriptionId,
        reason: Option<String>,
    },
    Event {
        subscription: SubscriptionId,
        publication: PublicationId,
        details: Dict,
        payload: Payload<'a>,
    },
    Registered {
        request: RequestId,
        registration: RegistrationId,
    },
    Unregistered {
        request: RequestId,
    },
    /// The router has taken a registration away.
    RegistrationRevoked {
        registration: RegistrationId,
        reason: Option<String>,
    },
    Invoked {
        request: RequestId,
        registration: RegistrationId,
        /// More chunks follow under the same request (a progressive call).
        more: bool,
        /// Whether this is the first chunk.
        is_first: bool,
        details: Dict,
        payload: Payload<'a>,
    },
    /// Nobody waits for the invocation's result any more.
    Interrupted {
        request: RequestId,
    },
    /// A progressive result; more follow.
    Progress {
        request: RequestId,
        details: Dict,
        payload: Payload<'a>,
    },
    Result {
        request: RequestId,
        details: Dict,
        payload: Payload<'a>,
    },
    /// A request has failed.
    Failed {
        request: RequestId,
        details: Dict,
        error: String,
        payload: Payload<'a>,
    },
    /// Nothing: what nobody waits for any more, or has asked for.
    Nothing,
}

/// What a router must never send; the session is over, and ABORT is among the messages to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    #[error("the router has sent {0} before WELCOME")]
    TooEarly(&'static str),
    #[error("the router has sent {0} in a session that has begun")]
    TooLate(&'static str),
    #[error("the router has answered request {request} with {message}, which is no answer to it")]
    WrongAnswer { request: RequestId, message: &'static str },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// HELLO is sent, or will be.
    Opening,
    Joined,
    /// GOODBYE is sent.
    Leaving,
    Over,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Publish,
    Subscribe,
    Unsubscribe,
    Register,
    Unregister(RegistrationId),
    Call { receives_progress: bool },
}

impl Pending {
    const fn code(self) -> u16 {
        match self {
            Self::Publish => code::PUBLISH,
            Self::Subscribe => code::SUBSCRIBE,
            Self::Unsubscribe => code::UNSUBSCRIBE,
            Self::Register => code::REGISTER,
            Self::Unregister(_) => code::UNREGISTER,
            Self::Call { .. } => code::CALL,
        }
    }
}

/// One session. See the module for how it is driven.
#[derive(Debug)]
pub struct Core {
    codec: Codec,
    limits: Limits,
    state: State,
    next: RequestId,
    requests: HashMap<RequestId, Pending>,
    subscriptions: HashSet<SubscriptionId>,
    registrations: HashSet<RegistrationId>,
    invocations: HashSet<RequestId>,
    /// Encoded messages to send, the first one first.
    outbox: VecDeque<Vec<u8>>,
}

impl Core {
    pub fn new(codec: Codec, limits: Limits) -> Self {
        Self {
            codec,
            limits,
            state: State::Opening,
            next: RequestId::FIRST,
            requests: HashMap::new(),
            subscriptions: HashSet::new(),
            registrations: HashSet::new(),
            invocations: HashSet::new(),
            outbox: VecDeque::new(),
        }
    }

    pub const fn codec(&self) -> Codec {
        self.codec
    }

    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Requests that wait for their answers.
    pub fn waiting(&self) -> usize {
        self.requests.len()
    }

    /// Whether the session has begun and nobody has ended it.
    pub fn is_joined(&self) -> bool {
        self.state == State::Joined
    }

    /// Lowers the longest message to what the router has announced that it takes.
    pub fn limit_messages(&mut self, bytes: usize) {
        self.limits.message_bytes = self.limits.message_bytes.min(bytes);
    }

    /// The next message to send, encoded.
    pub fn take_message(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// Begins the session. `details` have what the login says; roles and features are added.
    ///
    /// # Errors
    /// The message is too long, or the serializer cannot express it.
    pub fn hello(&mut self, realm: &str, mut details: Dict) -> Result<(), UsageError> {
        details.push(("roles".into(), Value::Dict(roles::roles())));
        self.send(&ToRouter::Hello { realm, details: &details })
    }

    /// Answers a CHALLENGE.
    ///
    /// # Errors
    /// As [`Core::hello`].
    pub fn authenticate(&mut self, signature: &str, extra: &Dict) -> Result<(), UsageError> {
        self.send(&ToRouter::Authenticate { signature, extra })
    }

    /// Begins to leave; the end is [`Happening::Left`].
    ///
    /// # Errors
    /// As [`Core::hello`].
    pub fn goodbye(&mut self, reason: &str) -> Result<(), UsageError> {
        self.state = State::Leaving;
        self.send(&ToRouter::Goodbye { message: "", reason })
    }

    /// Ends the session at once.
    pub fn abort(&mut self, reason: &str, message: &str) {
        self.state = State::Over;
        // A reason that does not fit is not needed: the connection ends all the same.
        let _ = self.send(&ToRouter::Abort { message, reason });
    }

    /// What a message of the router means.
    ///
    /// # Errors
    /// The router breaks the protocol. The session is over, and ABORT waits to be sent.
    pub fn handle<'a>(&mut self, message: FromRouter<'a>) -> Result<Happening<'a>, Violation> {
        let happening = match self.state {
            State::Opening => self.handle_opening(message),
            State::Joined | State::Leaving => self.handle_joined(message),
            State::Over => Ok(Happening::Nothing),
        };
        if let Err(violation) = &happening {
            self.abort("wamp.error.protocol_violation", &violation.to_string());
        }
        happening
    }

    fn handle_opening<'a>(&mut self, message: FromRouter<'a>) -> Result<Happening<'a>, Violation> {
        match message {
            FromRouter::Welcome { session, details } => {
                self.state = State::Joined;
                Ok(Happening::Joined { session, details })
            }
            FromRouter::Challenge { method, extra } => {
                Ok(Happening::Challenged { method: method.into_owned(), extra })
            }
            FromRouter::Abort { details, reason, .. } => Ok(self.ended(&details, &reason)),
            other => Err(Violation::TooEarly(other.name())),
        }
    }

    fn ended(&mut self, details: &Dict, reason: &str) -> Happening<'static> {
        self.state = State::Over;
        let message = text(details, "message").unwrap_or_default();
        Happening::Aborted { reason: reason.to_owned(), message }
    }

    fn handle_joined<'a>(&mut self, message: FromRouter<'a>) -> Result<Happening<'a>, Violation> {
        match message {
            FromRouter::Welcome { .. } | FromRouter::Challenge { .. } => {
                Err(Violation::TooLate(message.name()))
            }
            FromRouter::Abort { details, reason, .. } => Ok(self.ended(&details, &reason)),
            FromRouter::Goodbye { details, reason } => Ok(self.handle_goodbye(&details, &reason)),
            FromRouter::Event { subscription, publication, details, payload } => {
                // Events may still be under way when a subscription is left.
                if !self.subscriptions.contains(&subscription) {
                    return Ok(Happening::Nothing);
                }
                Ok(Happening::Event { subscription, publication, details, payload })
            }
            FromRouter::Revoked { details } => Ok(self.handle_revoked(&details)),
            FromRouter::RegistrationRevoked { details } => {
                Ok(self.handle_registration_revoked(&details))
            }
            FromRouter::Invocation { request, registration, details, payload } => {
                self.handle_invocation(request, registration, details, payload)
            }
            FromRouter::Interrupt { request, .. } => Ok(match self.invocations.get(&request) {
                Some(_) => Happening::Interrupted { request },
                None => Happening::Nothing,
            }),
            answer => self.handle_answer(answer),
        }
    }

    fn handle_goodbye(&mut self, details: &Dict, reason: &str) -> Happening<'static> {
        let was_asked = self.state == State::Leaving;
        self.state = State::Over;
        if was_asked {
            return Happening::Left;
        }
        // Whether the answer arrives or not, the session is over.
        let _ = self.send(&ToRouter::Goodbye { message: "", reason: GOODBYE_AND_OUT });
        let message = text(details, "message").unwrap_or_default();
        Happening::Closed { reason: reason.to_owned(), message }
    }

    fn handle_revoked(&mut self, details: &Dict) -> Happening<'static> {
        let subscription = id(details, "subscription").and_then(SubscriptionId::new);
        match subscription.filter(|id| self.subscriptions.remove(id)) {
            Some(subscription) => {
                Happening::Revoked { subscription, reason: text(details, "reason") }
            }
            None => Happening::Nothing,
        }
    }

    fn handle_registration_revoked(&mut self, details: &Dict) -> Happening<'static> {
        let registration = id(details, "registration").and_then(RegistrationId::new);
        match registration.filter(|id| self.registrations.remove(id)) {
            Some(registration) => {
                Happening::RegistrationRevoked { registration, reason: text(details, "reason") }
            }
            None => Happening::Nothing,
        }
    }

    /// An invocation of nobody, or one too many, gets an ERROR at once: its caller waits.
    fn handle_invocation<'a>(
        &mut self,
        request: RequestId,
        registration: RegistrationId,
        details: Dict,
        payload: Payload<'a>,
    ) -> Result<Happening<'a>, Violation> {
        let more = matches!(find(&details, "progress"), Some(Value::Bool(true)));
        let is_first = !self.invocations.contains(&request);
        if is_first {
            let refusal = if !self.registrations.contains(&registration) {
                Some("wamp.error.no_such_registration")
            } else if self.invocations.len() >= self.limits.invocations {
                Some("wamp.error.resource_limit")
            } else {
                None
            };
            if let Some(error) = refusal {
                self.refuse(request, error);
                return Ok(Happening::Nothing);
            }
            self.invocations.insert(request);
        }
        Ok(Happening::Invoked { request, registration, more, is_first, details, payload })
    }

    fn refuse(&mut self, request: RequestId, error: &str) {
        let (details, payload) = (&Dict::new(), Payload::Empty);
        // What is as short as this fits.
        let _ = self.send(&ToRouter::Error { request, details, error, payload });
    }

    fn handle_answer<'a>(&mut self, answer: FromRouter<'a>) -> Result<Happening<'a>, Violation> {
        let name = answer.name();
        let (request, fits): (RequestId, fn(Pending) -> bool) = match &answer {
            FromRouter::Published { request, .. } => (*request, |p| p == Pending::Publish),
            FromRouter::Subscribed { request, .. } => (*request, |p| p == Pending::Subscribe),
            FromRouter::Unsubscribed { request } => (*request, |p| p == Pending::Unsubscribe),
            FromRouter::Registered { request, .. } => (*request, |p| p == Pending::Register),
            FromRouter::Unregistered { request } => {
                (*request, |p| matches!(p, Pending::Unregister(_)))
            }
            FromRouter::Result { request, .. } => (*request, |p| matches!(p, Pending::Call { .. })),
            FromRouter::Error { request, .. } => (*request, |_| true),
            _ => return Ok(Happening::Nothing),
        };
        // Nobody waits: a call that was canceled and answered at once, or a router that invents.
        let Some(pending) = self.requests.get(&request).copied() else {
            return Ok(Happening::Nothing);
        };
        let is_typed = match &answer {
            FromRouter::Error { request_type, .. } => *request_type == pending.code(),
            _ => true,
        };
        if !fits(pending) || !is_typed {
            return Err(Violation::WrongAnswer { request, message: name });
        }
        Ok(self.take_answer(request, pending, answer))
    }

    fn take_answer<'a>(
        &mut self,
        request: RequestId,
        pending: Pending,
        answer: FromRouter<'a>,
    ) -> Happening<'a> {
        if let FromRouter::Result { details, payload, .. } = answer {
            let is_progress = matches!(find(&details, "progress"), Some(Value::Bool(true)));
            if !is_progress {
                self.requests.remove(&request);
                return Happening::Result { request, details, payload };
            }
            return match pending {
                Pending::Call { receives_progress: true } => {
                    Happening::Progress { request, details, payload }
                }
                _ => Happening::Nothing,
            };
        }
        self.requests.remove(&request);
        if let Pending::Unregister(registration) = pending {
            self.registrations.remove(&registration);
        }
        match answer {
            FromRouter::Published { publication, .. } => {
                Happening::Published { request, publication }
            }
            FromRouter::Subscribed { subscription, .. } => {
                self.subscriptions.insert(subscription);
                Happening::Subscribed { request, subscription }
            }
            FromRouter::Unsubscribed { .. } => Happening::Unsubscribed { request },
            FromRouter::Registered { registration, .. } => {
                self.registrations.insert(registration);
                Happening::Registered { request, registration }
            }
            FromRouter::Unregistered { .. } => Happening::Unregistered { request },
            FromRouter::Error { details, error, payload, .. } => {
                Happening::Failed { request, details, error: error.into_owned(), payload }
            }
            _ => Happening::Nothing,
        }
    }

    fn send(&mut self, message: &ToRouter<'_>) -> Result<(), UsageError> {
        let mut bytes = Vec::new();
        encode(self.codec, message, self.limits.message_bytes, &mut bytes)?;
        self.outbox.push_back(bytes);
        Ok(())
    }
}

pub(crate) fn find<'a>(dict: &'a Dict, key: &str) -> Option<&'a Value> {
    dict.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

pub(crate) fn text(dict: &Dict, key: &str) -> Option<String> {
    find(dict, key).and_then(Value::as_text).map(str::to_owned)
}

pub(crate) fn id(dict: &Dict, key: &str) -> Option<u64> {
    match find(dict, key) {
        Some(Value::UInt(number)) => Some(*number),
        _ => None,
    }
}

/// The answer to GOODBYE.
const GOODBYE_AND_OUT: &str = "wamp.close.goodbye_and_out";
