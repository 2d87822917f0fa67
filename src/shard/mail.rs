//! What shards say to each other. Mail of one shard to another arrives in the order it was sent.

use std::sync::Arc;

use super::meta::{Kill, MetaEvent, Roll, RollCall};
use crate::authentication::Judgement;
use crate::router::{
    Audience, Fanout, Fanouts, Held, HeldCount, HeldMetaEvent, LoadSlot, Numbering, Receipt,
    SessionRef,
};
use crate::wamp::{
    CancelMode, Dict, Passthru, Payload, PayloadBuf, PublicationId, RegistrationId, RequestId,
    SessionId, SubscriptionId, WampError, arc_block, dict_heap_bytes, heap_block,
};

#[derive(Debug)]
pub enum Mail {
    /// One publication for all local receivers of its subscriptions.
    Event(Arc<Event>),
    /// To the publisher's shard: another one cannot keep up with a publication of this session
    /// (`true`), or is done with it (`false`).
    Pace { publisher: SessionRef, waits: bool },
    /// To the shard of the session that has caused a meta event: it waits to be heard (`true`), or
    /// waits no more (`false`).
    Unheard { cause: SessionRef, waits: bool },
    /// To the callee's shard: invoke it.
    Invoke(Box<Carried<Invoke>>),
    /// To the callee's shard: the caller, or the dealer, has given up on the call.
    Cancel(Cancellation),
    /// To the home shard of a realm: publish this, when its turn has come.
    Meta(Box<MetaEvent>),
    /// To the session's shard: end it.
    Kill(Box<Kill>),
    /// To a shard with receivers: who are they?
    RollCall(RollCall),
    /// The answer to that.
    Roll(Roll),
    /// To the subscriber's shard: an administrator ends its subscription (AP-REVS-01).
    Revoke { subscriber: SessionRef, subscription: SubscriptionId, reason: Option<Box<str>> },
    /// To the callee's shard: an administrator ends its registration (AP-REVR-01).
    RevokeRegistration {
        callee: SessionRef,
        registration: RegistrationId,
        reason: Option<Box<str>>,
    },
    /// To the publisher's shard, from the store: an acknowledged publication is safe, or is not.
    Stored { receipt: Receipt, is_saved: bool },
    /// To the shard of a client that was judged elsewhere: what came of it.
    Judged { applicant: SessionRef, judgement: Box<Judgement> },
    /// To the caller's shard: how its call ended.
    Return(Box<Carried<Return>>),
}

impl Mail {
    /// Bytes of memory that this mail keeps alive, for the bound on what may queue between shards.
    pub fn weight(&self) -> usize {
        let heap_bytes = match self {
            Self::Event(event) => event.weight(),
            Self::Invoke(invoke) => invoke.held.bytes(),
            Self::Return(answer) => answer.held.bytes(),
            Self::Roll(roll) => roll.weight(),
            Self::Meta(event) => event.weight(),
            Self::Kill(kill) => heap_block(size_of::<Kill>()) + kill.heap_bytes(),
            Self::Revoke { reason, .. } | Self::RevokeRegistration { reason, .. } => {
                reason.as_ref().map_or(0, |reason| heap_block(reason.len()))
            }
            Self::RollCall(_)
            | Self::Cancel(_)
            | Self::Pace { .. }
            | Self::Unheard { .. }
            | Self::Stored { .. } => 0,
            Self::Judged { judgement, .. } => judgement.weight(),
        };
        ENVELOPE_BYTES + heap_bytes
    }
}

/// What one shard has for another from one turn, in order.
#[derive(Debug, Default)]
pub struct Batch {
    pub mail: Vec<Mail>,
    /// Bytes that it keeps alive, by [`Mail::weight`].
    pub weight: usize,
}

impl Batch {
    pub fn push(&mut self, mail: Mail) {
        self.weight += mail.weight();
        self.mail.push(mail);
    }

    pub const fn is_empty(&self) -> bool {
        self.mail.is_empty()
    }
}

impl FromIterator<Mail> for Batch {
    fn from_iter<I: IntoIterator<Item = Mail>>(mail: I) -> Self {
        let mut batch = Self::default();
        mail.into_iter().for_each(|mail| batch.push(mail));
        batch
    }
}

/// One publication on all subscriptions that it matches. Immutable once it is shared.
#[derive(Debug)]
pub struct Event {
    pub head: EventHead,
    /// The topic, if some of the subscriptions are patterns.
    pub topic: Box<str>,
    pub fanouts: Fanouts,
    pub payload: PayloadBuf,
    /// Counts its memory while it lives.
    held: Held,
    /// Counts a meta event while it lives.
    _unheard: Option<HeldMetaEvent>,
}

impl Event {
    /// `count` is that of the shard which makes it.
    pub fn new(
        head: EventHead,
        topic: Box<str>,
        fanouts: Fanouts,
        payload: PayloadBuf,
        count: &Arc<HeldCount>,
    ) -> Self {
        let _unheard = head.cause.map(|_| count.hold_meta_event());
        let mut event = Self { head, topic, fanouts, payload, held: count.hold(0), _unheard };
        event.held.resize(event.memory());
        event
    }

    /// Bytes of memory that count as held for it.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Bytes of memory that it takes, and for each subscription some more for the work.
    pub(super) fn weight(&self) -> usize {
        self.held.bytes() + self.fanouts.len() * FANOUT_WEIGHT
    }

    fn memory(&self) -> usize {
        let head = dict_heap_bytes(&self.head.details) + self.head.audience.weight();
        let fanouts = self.fanouts.len() * size_of::<Fanout>();
        let topic = heap_block(self.topic.len());
        arc_block::<Self>() + head + topic + fanouts + self.payload.heap_bytes()
    }
}

/// What a publication is, besides its payload, the same for all subscriptions.
#[derive(Clone, Debug)]
pub struct EventHead {
    pub publication: PublicationId,
    /// Who published it; `None` for the router itself.
    pub publisher: Option<SessionRef>,
    /// The session that a meta event tells of, and that waits while many of them are unheard.
    pub cause: Option<SessionRef>,
    pub audience: Audience,
    pub numbering: Numbering,
    /// All of `EVENT.Details` but `topic`.
    pub details: Dict,
}

/// A message of a call on its way to another shard, with its payload.
#[derive(Debug)]
pub struct Carried<T> {
    pub message: T,
    pub payload: PayloadBuf,
    /// Counts its memory while it lives.
    held: Held,
}

impl<T> Carried<T> {
    fn new(message: T, heap_bytes: usize, payload: PayloadBuf, count: &Arc<HeldCount>) -> Self {
        let bytes = heap_block(size_of::<Self>()) + heap_bytes + payload.heap_bytes();
        Self { message, payload, held: count.hold(bytes) }
    }
}

impl Carried<Invoke> {
    /// `count` is that of the shard which sends it.
    pub fn invoke(invoke: Invoke, payload: PayloadBuf, count: &Arc<HeldCount>) -> Self {
        let details = dict_heap_bytes(&invoke.details);
        Self::new(invoke, details, payload, count)
    }
}

impl Carried<Return> {
    /// `count` is that of the shard which sends it.
    pub fn answer(answer: Return, payload: PayloadBuf, count: &Arc<HeldCount>) -> Self {
        let outcome = answer.outcome.heap_bytes();
        Self::new(answer, outcome, payload, count)
    }
}

/// The end of a call, or with `kill` the wish for it, on its way to the callee.
#[derive(Clone, Copy, Debug)]
pub struct Cancellation {
    pub callee: SessionRef,
    pub caller: SessionId,
    /// The CALL's request id.
    pub call: RequestId,
    pub serial: u32,
    pub mode: CancelMode,
}

/// The head of a call, or of a further chunk of one, on its way to the callee.
#[derive(Debug)]
pub struct Invoke {
    pub caller: SessionRef,
    /// The CALL's request id.
    pub call: RequestId,
    pub callee: SessionRef,
    pub registration: RegistrationId,
    pub details: Dict,
    /// Tells the call from earlier ones with the same id.
    pub serial: u32,
    /// A further chunk of a progressive call: the invocation exists (AP-PCI-01).
    pub is_continuation: bool,
    /// Of the [`crate::session::PendingInvocation`] to be made.
    pub receive_progress: bool,
    pub takes_passthru: bool,
    pub load: Option<LoadSlot>,
}

/// The answer to a call on its way to the caller.
#[derive(Clone, Debug)]
pub struct Return {
    pub caller: SessionRef,
    /// The CALL's request id.
    pub call: RequestId,
    pub serial: u32,
    pub outcome: Outcome,
}

/// How a call ends, or goes on. The payload travels beside it, in [`Carried`].
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A progressive result: the call goes on (AP-PCR-02).
    Progress {
        details: Dict,
    },
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

impl Outcome {
    /// Bytes that the outcome owns besides itself.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Progress { details } | Self::Result { details } => dict_heap_bytes(details),
            Self::Error { error, details } => heap_block(error.len()) + dict_heap_bytes(details),
            Self::Refused { .. } => 0,
        }
    }
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

/// The mail itself, in an outbox of which half may be empty.
const ENVELOPE_BYTES: usize = 2 * size_of::<Mail>();

/// What one subscription of a publication counts for besides its memory: the work that it makes.
const FANOUT_WEIGHT: usize = 256;
