//! The messages: what a client may send, borrowed from its bytes, and what the router sends.
//!
//! A message that only a router may send is not representable as input; the codec refuses it
//! (BP-MSG-03).

use std::borrow::Cow;
use std::fmt;

use super::id::{PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId};
use super::options::{
    CallOptions, CancelMode, Choice, ErrorDetails, PublishOptions, RegisterOptions, Roles,
    SubscribeOptions, YieldOptions,
};
use super::payload::Payload;
use super::value::Dict;

/// The message type codes (requirements 1.3.1).
pub mod code {
    pub const HELLO: u16 = 1;
    pub const WELCOME: u16 = 2;
    pub const ABORT: u16 = 3;
    pub const CHALLENGE: u16 = 4;
    pub const AUTHENTICATE: u16 = 5;
    pub const GOODBYE: u16 = 6;
    pub const ERROR: u16 = 8;
    pub const PUBLISH: u16 = 16;
    pub const PUBLISHED: u16 = 17;
    pub const SUBSCRIBE: u16 = 32;
    pub const SUBSCRIBED: u16 = 33;
    pub const UNSUBSCRIBE: u16 = 34;
    pub const UNSUBSCRIBED: u16 = 35;
    pub const EVENT: u16 = 36;
    pub const CALL: u16 = 48;
    pub const CANCEL: u16 = 49;
    pub const RESULT: u16 = 50;
    pub const REGISTER: u16 = 64;
    pub const REGISTERED: u16 = 65;
    pub const UNREGISTER: u16 = 66;
    pub const UNREGISTERED: u16 = 67;
    pub const INVOCATION: u16 = 68;
    pub const INTERRUPT: u16 = 69;
    pub const YIELD: u16 = 70;
}

/// A message from a client. URIs are strings as sent; whether they are valid is for the handler.
#[derive(Clone, Debug)]
pub enum ClientMessage<'a> {
    Hello(Box<Hello<'a>>),
    Abort { reason: Cow<'a, str> },
    Authenticate(Authenticate<'a>),
    Goodbye { reason: Cow<'a, str> },
    Error(InvocationError<'a>),
    Publish(Publish<'a>),
    Subscribe(Subscribe<'a>),
    Unsubscribe { request: RequestId, subscription: SubscriptionId },
    Call(Call<'a>),
    Cancel(Cancel),
    Register(Register<'a>),
    Unregister { request: RequestId, registration: RegistrationId },
    Yield(Yield<'a>),
}

impl ClientMessage<'_> {
    /// The message's name in the specification.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "HELLO",
            Self::Abort { .. } => "ABORT",
            Self::Authenticate(_) => "AUTHENTICATE",
            Self::Goodbye { .. } => "GOODBYE",
            Self::Error(_) => "ERROR",
            Self::Publish(_) => "PUBLISH",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Unsubscribe { .. } => "UNSUBSCRIBE",
            Self::Call(_) => "CALL",
            Self::Cancel(_) => "CANCEL",
            Self::Register(_) => "REGISTER",
            Self::Unregister { .. } => "UNREGISTER",
            Self::Yield(_) => "YIELD",
        }
    }
}

#[derive(Clone)]
pub struct Hello<'a> {
    /// `None` for a null realm (BP-SES-04).
    pub realm: Option<Cow<'a, str>>,
    pub roles: Roles,
    pub agent: Option<Cow<'a, str>>,
    /// In the client's order of preference; `None` if absent.
    pub authmethods: Option<Vec<String>>,
    pub authid: Option<String>,
    pub authrole: Option<String>,
    pub authextra: Dict,
}

/// All but `authextra`, in which clients put what they like (AU-GEN-10).
impl fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { realm, roles, agent, authmethods, authid, authrole, .. } = self;
        let mut shown = f.debug_struct("Hello");
        shown.field("realm", realm).field("roles", roles).field("agent", agent);
        shown.field("authmethods", authmethods).field("authid", authid);
        shown.field("authrole", authrole).finish_non_exhaustive()
    }
}

/// The answer to a CHALLENGE.
#[derive(Clone)]
pub struct Authenticate<'a> {
    /// A ticket, a signature or a proof: nobody may see it.
    pub signature: Cow<'a, str>,
    pub extra: Dict,
}

impl fmt::Debug for Authenticate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate").finish_non_exhaustive()
    }
}

/// An ERROR for an INVOCATION, the only one that a client may send (BP-MSG-02).
#[derive(Clone, Debug)]
pub struct InvocationError<'a> {
    pub request: RequestId,
    pub details: ErrorDetails,
    pub error: Cow<'a, str>,
    pub payload: Payload<'a>,
}

#[derive(Clone, Debug)]
pub struct Publish<'a> {
    pub request: RequestId,
    pub options: PublishOptions,
    pub topic: Cow<'a, str>,
    pub payload: Payload<'a>,
}

#[derive(Clone, Debug)]
pub struct Subscribe<'a> {
    pub request: RequestId,
    pub options: SubscribeOptions,
    pub topic: Cow<'a, str>,
}

#[derive(Clone, Debug)]
pub struct Call<'a> {
    pub request: RequestId,
    pub options: CallOptions,
    pub procedure: Cow<'a, str>,
    pub payload: Payload<'a>,
}

#[derive(Clone, Copy, Debug)]
pub struct Cancel {
    /// The CALL's request id, not one of its own.
    pub request: RequestId,
    pub mode: Choice<CancelMode>,
}

#[derive(Clone, Debug)]
pub struct Register<'a> {
    pub request: RequestId,
    pub options: RegisterOptions,
    pub procedure: Cow<'a, str>,
}

#[derive(Clone, Debug)]
pub struct Yield<'a> {
    /// The INVOCATION's request id.
    pub request: RequestId,
    pub options: YieldOptions,
    pub payload: Payload<'a>,
}

/// A message from the router, ready to be encoded with any serializer.
#[derive(Clone, Debug)]
pub enum RouterMessage<'a> {
    Welcome {
        session: SessionId,
        details: &'a Dict,
    },
    Abort {
        /// Human-readable `Details.message`; empty: none.
        message: &'a str,
        reason: &'a str,
    },
    Challenge {
        method: &'a str,
        extra: &'a Dict,
    },
    Goodbye {
        /// Human-readable `Details.message`; empty: none.
        message: &'a str,
        reason: &'a str,
    },
    Error {
        /// The code of the request that failed (BP-MSG-02).
        request_type: u16,
        request: RequestId,
        details: &'a Dict,
        error: &'a str,
        payload: Payload<'a>,
    },
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
    /// UNSUBSCRIBED without a request (AP-REVS-01).
    Revoked {
        /// `subscription`, and perhaps `reason`.
        details: &'a Dict,
    },
    Event {
        subscription: SubscriptionId,
        publication: PublicationId,
        details: &'a Dict,
        payload: Payload<'a>,
    },
    Registered {
        request: RequestId,
        registration: RegistrationId,
    },
    Unregistered {
        request: RequestId,
    },
    /// UNREGISTERED without a request (AP-REVR-01).
    RegistrationRevoked {
        /// `registration`, and perhaps `reason`.
        details: &'a Dict,
    },
    Invocation {
        request: RequestId,
        registration: RegistrationId,
        details: &'a Dict,
        payload: Payload<'a>,
    },
    Interrupt {
        request: RequestId,
        options: &'a Dict,
    },
    Result {
        /// The CALL's request id.
        request: RequestId,
        details: &'a Dict,
        payload: Payload<'a>,
    },
}
