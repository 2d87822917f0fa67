//! What shards say to each other. Mail of one shard to another arrives in the order it was sent.

use std::sync::Arc;

use crate::router::{Audience, SessionRef};
use crate::wamp::{
    Dict, Passthru, Payload, PayloadBuf, PublicationId, RegistrationId, RequestId, SessionId,
    SubscriptionId, WampError,
};

#[derive(Debug)]
pub enum Mail {
    /// One event for all local receivers of its subscription.
    Event(Arc<Event>),
    /// To the callee's shard: invoke it.
    Invoke(Box<Invoke>, PayloadBuf),
    /// To the callee's shard: the call is over, nobody waits for the answer.
    Forget { callee: SessionRef, caller: SessionId, call: RequestId },
    /// To the caller's shard: how its call ended.
    Return(Box<Return>, PayloadBuf),
}

impl Mail {
    /// Bytes that this mail keeps alive, for the bound on what may queue between shards.
    pub fn weight(&self) -> usize {
        let payload = match self {
            Self::Event(event) => {
                event.payload.as_payload().weight() + event.head.audience.weight()
            }
            Self::Invoke(_, payload) | Self::Return(_, payload) => payload.as_payload().weight(),
            Self::Forget { .. } => 0,
        };
        MAIL_WEIGHT + payload
    }
}

/// One publication on one matching subscription. Immutable once it is shared.
#[derive(Clone, Debug)]
pub struct Event {
    pub head: EventHead,
    pub payload: PayloadBuf,
}

#[derive(Clone, Debug)]
pub struct EventHead {
    pub subscription: SubscriptionId,
    pub publication: PublicationId,
    pub audience: Audience,
    /// Its number among the realm's retained events, if it is one.
    pub retained: Option<u64>,
    pub details: Dict,
}

/// The head of a call on its way to the callee.
#[derive(Clone, Debug)]
pub struct Invoke {
    pub caller: SessionRef,
    /// The CALL's request id.
    pub call: RequestId,
    pub callee: SessionRef,
    pub registration: RegistrationId,
    pub details: Dict,
}

/// The answer to a call on its way to the caller.
#[derive(Clone, Debug)]
pub struct Return {
    pub caller: SessionRef,
    /// The CALL's request id.
    pub call: RequestId,
    pub outcome: Outcome,
}

/// How a call ends. The payload travels beside it.
#[derive(Clone, Debug)]
pub enum Outcome {
    Result {
        details: Dict,
    },
    /// An ERROR of the callee, with its URI as it sent it (BP-URI-08).
    Error {
        error: Box<str>,
        details: Dict,
    },
    /// The router's own refusal, with a sentence that says why.
    Refused {
        error: WampError,
        message: &'static str,
    },
}

/// The payload passthru keys as `Details` of the forwarded message (AP-PPT-01).
pub(super) fn passthru_details(passthru: Option<Box<Passthru>>) -> Dict {
    let Some(keys) = passthru else { return Dict::new() };
    let keys = [
        ("ppt_scheme", keys.ppt_scheme),
        ("ppt_serializer", keys.ppt_serializer),
        ("ppt_cipher", keys.ppt_cipher),
        ("ppt_keyid", keys.ppt_keyid),
        ("enc_algo", keys.enc_algo),
        ("enc_serializer", keys.enc_serializer),
        ("enc_key", keys.enc_key),
    ];
    let present = keys.into_iter().filter_map(|(key, text)| Some((key.into(), text?.into())));
    present.collect()
}

/// A payload that nobody has to own yet.
pub(super) const NO_PAYLOAD: Payload<'static> = Payload::Empty;

/// A round figure for the envelope itself, in bytes.
const MAIL_WEIGHT: usize = 128;
