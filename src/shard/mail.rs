//! What shards say to each other. Mail of one shard to another arrives in the order it was sent.

use std::borrow::Cow;
use std::sync::Arc;

use super::broker::KeptAs;
use super::errands::Ruled;
use super::management::{Bulletin, ManagementAnswer};
use super::meta::{Ask, Finding, Foreign, MetaElsewhere, Part, Reply, RosterAnswer, RosterCall};
use super::requests::Refusal;
use crate::authentication::Judgement;
use crate::router::{
    Audience, EndReason, Fanout, Fanouts, Held, HeldCount, HeldMetaEvent, InterestSlot, LoadSlot,
    MetaFamily, MetaTopic, Nodes, Numbering, Place, Realm, Receipt, RegisterError, SessionRef,
    Shape, ShardId, Weighed,
};
use crate::session::{CallRef, Claim, ClaimId};
use crate::wamp::{
    CancelMode, Dict, Passthru, Payload, PayloadBuf, PublicationId, RegistrationId, RequestId,
    SessionId, SubscriptionId, Timestamp, Value, WampError, arc_block, dict_heap_bytes, heap_block,
    vec_block,
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
    /// To other nodes: this one wants what falls into a slot, by patterns of this shape.
    Wanted { slot: InterestSlot, shape: Option<Box<Shape>> },
    /// To other nodes: one publication for those that want it.
    Publication(Box<Carried<Elsewhere>>),
    /// To other nodes: say [`Self::Visible`] of this when all of them route to this node what the
    /// session has subscribed to and registered.
    Reveal { session: SessionRef, ticket: u64 },
    /// To the session's shard: they do, of all that it has asked up to this ticket.
    Visible { session: SessionRef, ticket: u64 },
    /// To the callee's shard: invoke it.
    Invoke(Box<Carried<Invoke>>),
    /// To the node of a callee elsewhere: invoke it.
    Call(Box<Carried<CallElsewhere>>),
    /// To the callee's shard: the caller, or the dealer, has given up on the call.
    Cancel(Cancellation),
    /// To the home shard of a realm: publish this, when its turn has come.
    Meta(Box<MetaEvent>),
    /// To the session's shard: end it.
    Kill(Box<Kill>),
    /// To a shard with receivers: who are they?
    RollCall(RollCall),
    /// The answer to that.
    Roll(Box<Roll>),
    /// To other nodes, or from one of them: what have you of this?
    Ask(Box<Ask>),
    /// To other nodes: the answer to that, or a part of it.
    Part(Box<Part>),
    /// To the asker's shard: what comes of its question to other nodes.
    Reply(Box<Reply>),
    /// To other nodes: a session here hears meta events of a family, and waits until it hears those
    /// of all.
    Listen { listener: SessionRef, realm: Arc<Realm>, family: MetaFamily },
    /// To the home shard of a realm: what stands here?
    RosterCall(Box<RosterCall>),
    /// To other nodes: this does.
    Rostered(Box<RosterAnswer>),
    /// To other nodes: a meta event of this one.
    MetaElsewhere(Box<MetaElsewhere>),
    /// To the home shard of a realm: what another node says of its part of it.
    Foreign(Box<Foreign>),
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
    /// To the shard of a request that an endpoint was asked about: what came of it.
    Ruled { question: RequestId, ruled: Box<Ruled> },
    /// To the shard of a caller of the management API: what came of the call.
    Managed(Box<ManagementAnswer>),
    /// To the home shard of the management realm: publish this.
    Bulletin(Box<Bulletin>),
    /// To the caller's shard: how its call ended.
    Return(Box<Carried<Return>>),
    /// To other nodes: give this callee its place among all. [`Self::Claimed`] is to come, unless
    /// [`Self::Release`] has come first.
    Claim(Arc<Claim>),
    /// To other nodes: a call has told of the grant of a claim, so its callee is one already.
    Proof { callee: SessionRef, claim: ClaimId, grant: u64 },
    /// To the callee's shard: what came of that.
    Claimed { callee: SessionRef, claim: ClaimId, outcome: ClaimOutcome },
    /// To other nodes: the callee gives back what was granted to it, or will be; each claim once,
    /// but for those that were refused. Say [`Self::Released`] when no node routes to it any more.
    Release { callee: SessionRef, claim: ClaimId },
    /// To the callee's shard: none does.
    Released { callee: SessionRef, claim: ClaimId },
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// With this number in the order of all nodes.
    Granted(u64),
    /// It does not stand any more.
    Refused(RegisterError),
    /// Nobody has answered in time. Should it be granted later, whoever has given up gives it back.
    GivenUp,
}

impl Weighed for Mail {
    fn weight(&self) -> usize {
        let heap_bytes = match self {
            Self::Event(event) => event.weight(),
            Self::Invoke(invoke) => invoke.held.bytes(),
            Self::Call(call) => call.held.bytes(),
            Self::Return(answer) => answer.held.bytes(),
            Self::Publication(publication) => publication.held.bytes(),
            Self::Wanted { shape, .. } => {
                shape.as_ref().map_or(0, |_| heap_block(size_of::<Shape>()))
            }
            Self::Roll(roll) => heap_block(size_of::<Roll>()) + roll.found.heap_bytes(),
            Self::Ask(ask) => ask.weight(),
            Self::Part(part) => part.weight(),
            Self::Reply(reply) => reply.weight(),
            Self::RosterCall(_) => heap_block(size_of::<RosterCall>()),
            Self::Rostered(answer) => answer.weight(),
            Self::MetaElsewhere(event) => event.weight(),
            Self::Foreign(foreign) => foreign.weight(),
            Self::Meta(event) => event.weight(),
            Self::Managed(answer) => answer.weight(),
            Self::Bulletin(bulletin) => bulletin.weight(),
            Self::Kill(kill) => heap_block(size_of::<Kill>()) + kill.heap_bytes(),
            Self::Revoke { reason, .. } | Self::RevokeRegistration { reason, .. } => {
                reason.as_ref().map_or(0, |reason| heap_block(reason.len()))
            }
            Self::RollCall(_)
            | Self::Cancel(_)
            | Self::Pace { .. }
            | Self::Unheard { .. }
            | Self::Reveal { .. }
            | Self::Listen { .. }
            | Self::Visible { .. }
            | Self::Claimed { .. }
            | Self::Proof { .. }
            | Self::Release { .. }
            | Self::Released { .. }
            | Self::Stored { .. } => 0,
            Self::Claim(claim) => arc_block::<Claim>() + heap_block(claim.uri.len()),
            Self::Judged { judgement, .. } => judgement.weight(),
            Self::Ruled { ruled, .. } => {
                size_of::<Ruled>() + ruled.as_ref().as_ref().err().map_or(0, |why| why.len())
            }
        };
        ENVELOPE_BYTES + heap_bytes
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
    /// The traces that want to know how many have got it, as bits.
    pub traced: u8,
    /// All of `EVENT.Details` but `topic`.
    pub details: Dict,
}

/// The head of a publication for sessions of other nodes.
#[derive(Debug)]
pub struct Elsewhere {
    pub nodes: Nodes,
    pub realm: Arc<Realm>,
    pub topic: Box<str>,
    pub publication: PublicationId,
    pub publisher: SessionId,
    pub audience: Audience,
    /// All of `EVENT.Details` but `topic`.
    pub details: Dict,
    /// By the clock of this node.
    pub at: Timestamp,
    /// Every node keeps it, whether or not somebody there wants it now.
    pub kept: Option<Box<KeptAs>>,
}

/// A message on its way to another shard or node, with its payload.
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

impl Carried<Elsewhere> {
    /// `count` is that of the shard which sends it.
    pub fn publication(message: Elsewhere, payload: PayloadBuf, count: &Arc<HeldCount>) -> Self {
        let head = dict_heap_bytes(&message.details) + message.audience.weight();
        let kept = message.kept.as_ref().map_or(0, |_| heap_block(size_of::<KeptAs>()));
        let heap_bytes = head + kept + heap_block(message.topic.len());
        Self::new(message, heap_bytes, payload, count)
    }
}

impl Carried<Invoke> {
    /// `count` is that of the shard which sends it.
    pub fn invoke(invoke: Invoke, payload: PayloadBuf, count: &Arc<HeldCount>) -> Self {
        let details = dict_heap_bytes(&invoke.details);
        Self::new(invoke, details, payload, count)
    }
}

impl Carried<CallElsewhere> {
    /// `count` is that of the shard which sends it.
    pub fn call(call: CallElsewhere, payload: PayloadBuf, count: &Arc<HeldCount>) -> Self {
        let details = dict_heap_bytes(&call.invoke.details);
        Self::new(call, details, payload, count)
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
    pub call: CallRef,
    pub callee: SessionRef,
    pub registration: RegistrationId,
    /// Where the callee stands among those of the registration; in a cluster, its grant.
    pub place: Place,
    pub details: Dict,
    /// A further chunk of a progressive call: the invocation exists (AP-PCI-01).
    pub is_continuation: bool,
    /// Of the [`crate::session::PendingInvocation`] to be made.
    pub receive_progress: bool,
    pub takes_passthru: bool,
    pub load: Option<LoadSlot>,
}

/// The same for a session of another node.
#[derive(Debug)]
pub struct CallElsewhere {
    pub realm: Arc<Realm>,
    pub invoke: Invoke,
}

/// The answer to a call on its way to the caller.
#[derive(Clone, Debug)]
pub struct Return {
    pub call: CallRef,
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
        message: Cow<'static, str>,
    },
    /// Of a call from another node: the callee has as many invocations pending as it wants. The
    /// next one is to be tried.
    Busy,
}

impl From<Refusal> for Outcome {
    fn from((error, message): Refusal) -> Self {
        Self::Refused { error, message: Cow::Borrowed(message) }
    }
}

impl Outcome {
    /// Bytes that the outcome owns besides itself.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Progress { details } | Self::Result { details } => dict_heap_bytes(details),
            Self::Error { error, details } => heap_block(error.len()) + dict_heap_bytes(details),
            Self::Refused { message: Cow::Owned(message), .. } => heap_block(message.len()),
            Self::Refused { .. } | Self::Busy => 0,
        }
    }
}

/// A meta event on its way to the realm's home shard.
#[derive(Debug)]
pub struct MetaEvent {
    pub(super) realm: Arc<Realm>,
    pub(super) number: u64,
    pub(super) topic: MetaTopic,
    pub(super) args: Vec<Value>,
    /// The session that must not hear it: one does not see oneself join (AP-SMA-06).
    pub(super) excluded: Option<SessionId>,
    /// The session that it tells of.
    pub(super) cause: SessionRef,
    /// Only other nodes are told, which have to know.
    pub(super) is_quiet: bool,
    /// Counts it until it is published.
    pub(super) _unheard: HeldMetaEvent,
}

impl MetaEvent {
    /// Bytes of memory that it takes, in its box.
    pub(super) fn weight(&self) -> usize {
        let args = self.args.iter().map(Value::heap_bytes).sum::<usize>();
        heap_block(size_of::<Self>()) + vec_block(&self.args) + args
    }
}

/// To the shard of a session that is to be ended. It is out of the realm's list already.
#[derive(Clone, Debug)]
pub struct Kill {
    pub session: SessionRef,
    pub reason: Arc<str>,
    /// For people; empty: none.
    pub message: Arc<str>,
    /// Of one of all, neither meta events of sessions nor testaments come (AP-SMA-03).
    pub end: EndReason,
}

impl Kill {
    /// Bytes that it owns besides itself; all kills of one request share them.
    pub(super) fn heap_bytes(&self) -> usize {
        heap_block(self.reason.len()) + heap_block(self.message.len())
    }
}

/// To a shard with receivers of a subscription: who are they?
#[derive(Clone, Copy, Debug)]
pub struct RollCall {
    pub(super) subscription: SubscriptionId,
    pub(super) asker: ShardId,
    /// Names the question at its asker.
    pub(super) ticket: u64,
    pub(super) wants_names: bool,
}

/// The answer to that.
#[derive(Debug)]
pub struct Roll {
    pub(super) ticket: u64,
    pub(super) found: Finding,
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
