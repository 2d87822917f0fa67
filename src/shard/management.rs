//! The management API as clients meet it: calls that whoever watches the router answers, elsewhere,
//! and what it publishes.
//!
//! A session waits for each of its calls: its input is parked, so that nobody has more than one
//! under way, and a flood of them costs its sender alone.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::errands::{Errand, Waiter};
use super::meta::{Answer, Caller, id_of};
use super::requests::Refusal;
use super::timers::CallTimer;
use super::work::PATTERN_UNITS;
use super::{EventHead, Shard};
use crate::authentication::Interest;
use crate::authorization::{ManagementProcedure, ManagementTopic};
use crate::clock::Millis;
use crate::codec::{self, Codec};
use crate::router::{Audience, Held, HeldCount, Numbering, Profile, Realm, SessionRef, Slot};
use crate::session::{Managing, Session};
use crate::wamp::{Dict, PayloadBuf, PublicationId, RequestId, Value, WampError, heap_block};

/// A call of the management API on its way to whoever answers it.
pub struct ManagementCall {
    pub procedure: ManagementProcedure,
    pub caller: SessionRef,
    pub request: RequestId,
    /// When its session waits for the answer no more. Tells it from another call of this id.
    pub deadline: Millis,
    pub realm: Arc<Realm>,
    pub profile: Arc<Profile>,
    /// `ArgumentsKw` as JSON.
    pub arguments: Vec<u8>,
    /// Counts its memory while it lives.
    _held: Held,
}

/// What comes of such a call.
pub struct ManagementAnswer {
    caller: SessionRef,
    request: RequestId,
    deadline: Millis,
    outcome: ManagementOutcome,
    held: Held,
}

/// The payload of a RESULT, or what an ERROR says.
pub type ManagementOutcome = Result<PayloadBuf, (WampError, Cow<'static, str>)>;

impl ManagementCall {
    /// `count` is that of the caller's shard.
    pub fn new(
        procedure: ManagementProcedure,
        (caller, request, deadline): (SessionRef, RequestId, Millis),
        (realm, profile): (Arc<Realm>, Arc<Profile>),
        arguments: Vec<u8>,
        count: &Arc<HeldCount>,
    ) -> Self {
        let _held = count.hold(heap_block(size_of::<Self>()) + arguments.len());
        Self { procedure, caller, request, deadline, realm, profile, arguments, _held }
    }
}

impl ManagementAnswer {
    /// `count` is that of the caller's shard.
    pub fn new(call: &ManagementCall, outcome: ManagementOutcome, count: &Arc<HeldCount>) -> Self {
        let ManagementCall { caller, request, deadline, .. } = *call;
        let bytes = match &outcome {
            Ok(payload) => payload.heap_bytes(),
            Err((_, text)) => text.len(),
        };
        let held = count.hold(heap_block(size_of::<Self>()) + bytes);
        Self { caller, request, deadline, outcome, held }
    }

    pub(super) const fn weight(&self) -> usize {
        self.held.bytes()
    }
}

/// Not what is asked.
impl fmt::Debug for ManagementCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { procedure, caller, request, .. } = self;
        let mut call = f.debug_struct("ManagementCall");
        call.field("procedure", procedure).field("caller", caller).field("request", request);
        call.finish_non_exhaustive()
    }
}

/// Not what is said: it may quote the configuration.
impl fmt::Debug for ManagementAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut answer = f.debug_struct("ManagementAnswer");
        answer.field("caller", &self.caller).field("request", &self.request);
        answer.finish_non_exhaustive()
    }
}

/// Something to be published in the management realm, on its way to the realm's home shard.
#[derive(Debug)]
pub struct Bulletin {
    realm: Arc<Realm>,
    topic: ManagementTopic,
    payload: PayloadBuf,
    audience: Audience,
    held: Held,
    passage: Passage,
}

/// What becomes of a bulletin: whoever sends it keeps one share, and it has the other.
#[derive(Clone, Debug, Default)]
pub struct Passage(Arc<AtomicBool>);

impl Passage {
    /// Whether it was published, as soon as its shard has dealt with it; `None`: not yet.
    pub fn outcome(&mut self) -> Option<bool> {
        Arc::get_mut(&mut self.0).map(|is_published| *is_published.get_mut())
    }
}

impl Bulletin {
    /// `count` is that of the realm's home shard.
    pub fn new(
        realm: Arc<Realm>,
        topic: ManagementTopic,
        payload: PayloadBuf,
        audience: Audience,
        (count, passage): (&Arc<HeldCount>, Passage),
    ) -> Self {
        let bytes = heap_block(size_of::<Self>()) + payload.heap_bytes() + audience.weight();
        let held = count.hold(bytes);
        Self { realm, topic, payload, audience, held, passage }
    }

    pub(super) const fn weight(&self) -> usize {
        self.held.bytes()
    }
}

impl Shard {
    /// A call of the management API that the caller may make: it is handed out, and the session
    /// waits for what comes of it.
    pub(super) fn hand_out_call(
        &mut self,
        caller: Caller,
        procedure: ManagementProcedure,
        args: &[Value],
        kwargs: Dict,
    ) -> Result<Answer, Refusal> {
        let session = self.connections.joined(caller.session.slot);
        let standing = session.rules.settings.standing(&session.profile.authrole);
        if !standing.may_call(procedure) {
            return Err(NO_MANAGER);
        }
        if !args.is_empty() {
            return Err(BY_NAME_ONLY);
        }
        let arguments = codec::encode_value(Codec::Json, &Value::Dict(plain(kwargs)));
        let arguments = arguments.map_err(|_| NO_JSON)?;
        if arguments.len() > MOST_ARGUMENT_BYTES {
            return Err(TOO_MUCH_SAID);
        }
        if !self.cx.may_hold(arguments.len()) {
            return Err(TOO_MUCH_HELD);
        }
        self.cx.work.charge_bytes(arguments.len());
        let deadline = self.cx.now + PATIENCE_MS;
        let timer = CallTimer::of_managed(caller.session, caller.request());
        self.cx.timers.arm_call(deadline, timer);
        let session = self.connections.joined_mut(caller.session.slot);
        let asker = (Arc::clone(&session.realm), Arc::clone(&session.profile));
        let request = (caller.session, caller.request(), deadline);
        let call = ManagementCall::new(procedure, request, asker, arguments, self.cx.held());
        let interest = Interest::default();
        let waiter = Waiter::new(caller.session, &interest);
        let managing = Managing { request: caller.request(), deadline, interest };
        session.managing = Some(Box::new(managing));
        self.connections.park(caller.session.slot);
        self.errands.push(waiter, Errand::Management(Box::new(call)));
        Ok(Answer::Later)
    }

    /// A call of the management API was answered. Its session may have gone.
    pub(super) fn handle_management_answer(&mut self, answer: ManagementAnswer) {
        let ManagementAnswer { caller: at, request, deadline, outcome, .. } = answer;
        if !self.take_managing(at, request, deadline) {
            return;
        }
        let caller = Caller::new(at, request);
        match outcome {
            Ok(payload) => self.send_late_payload(caller, payload.as_payload()),
            Err((error, text)) => self.refuse_late_call_with(caller, error, &text),
        }
    }

    /// Nobody takes a call of the management API: too many wait, or the router stops.
    pub(super) fn fail_management(&mut self, at: SessionRef, request: RequestId, deadline: Millis) {
        if self.take_managing(at, request, deadline) {
            self.refuse_late_call(Caller::new(at, request), NOBODY_ANSWERS);
        }
    }

    /// Nobody has answered a call of the management API in time. What comes later is forgotten.
    pub(super) fn time_out_management(
        &mut self,
        at: SessionRef,
        request: RequestId,
        deadline: Millis,
    ) {
        if self.take_managing(at, request, deadline) {
            self.refuse_late_call(Caller::new(at, request), UNANSWERED);
        }
    }

    /// Nobody waits for the answer to its call any more: the session ends.
    pub(super) fn stop_managing(&mut self, slot: Slot, session: &mut Session) {
        if let Some(managing) = session.managing.take() {
            let at = self.cx.reference(slot, session.id);
            let timer = CallTimer::of_managed(at, managing.request);
            self.cx.timers.disarm_call(managing.deadline, timer);
        }
    }

    /// Whether a session waits for the answer to this call. It does not any more.
    fn take_managing(&mut self, at: SessionRef, request: RequestId, deadline: Millis) -> bool {
        let Some(session) = self.connections.find_mut(at) else { return false };
        let is_it = |it: &mut Box<Managing>| (it.request, it.deadline) == (request, deadline);
        if session.managing.take_if(is_it).is_none() {
            return false;
        }
        self.cx.timers.disarm_call(deadline, CallTimer::of_managed(at, request));
        self.connections.redeem(at.slot);
        true
    }

    /// At the realm's home shard: publishes to those who may watch, whatever they have subscribed
    /// by.
    pub(super) fn handle_bulletin(&mut self, bulletin: Bulletin) {
        let Bulletin { realm, topic, payload, audience, passage, .. } = bulletin;
        let uri = topic.uri();
        let publication = PublicationId::from_random(self.cx.random());
        let (fanouts, looked_up) = realm.topics.matches_counted(uri);
        self.cx.work.charge(PATTERN_UNITS * looked_up);
        if !self.cx.may_hold(payload.heap_bytes()) {
            self.cx.counters.meta_events_dropped.increment();
            return;
        }
        let (publisher, cause, details) = (None, None, Dict::new());
        let (numbering, traced) = (Numbering::None, 0);
        let head =
            EventHead { publication, publisher, cause, audience, numbering, traced, details };
        self.dispatch(head, uri, fanouts, payload.as_payload(), || payload.clone());
        passage.0.store(true, Ordering::Relaxed);
    }
}

/// `null` is as good as nothing, and whole numbers are that: JavaScript clients write large ones as
/// floats.
fn plain(kwargs: Dict) -> Dict {
    let present = kwargs.into_iter().filter(|(_, value)| *value != Value::Null);
    let whole = |value: Value| id_of(&value).map_or(value, Value::UInt);
    present.map(|(name, value)| (name, whole(value))).collect()
}

/// Bytes of the arguments of one call as JSON, as of the longest request over the admin listener:
/// some stand in the log.
const MOST_ARGUMENT_BYTES: usize = 8 * 1024;

/// How long an answer may take. The thread `control` gives up before: a change has 5 s for its turn
/// and 30 s to be made (`control::desk`), a list as much (`control::sight`). What is longer under
/// way waits in a long line, or for something that is stuck.
const PATIENCE_MS: u64 = 40_000;

const NO_MANAGER: Refusal =
    (WampError::NotAuthorized, "the role of this session may not call this procedure");
const BY_NAME_ONLY: Refusal =
    (WampError::InvalidArgument, "the router's management takes keyword arguments alone");
const NO_JSON: Refusal =
    (WampError::InvalidArgument, "an argument is none that the router's management takes");
const TOO_MUCH_SAID: Refusal = (
    WampError::PayloadSizeExceeded,
    "the router's management takes arguments of 8192 bytes at most",
);
const TOO_MUCH_HELD: Refusal =
    (WampError::ResourceLimit, "the router holds too much to take this call: try again later");
const UNANSWERED: Refusal = (
    WampError::CallTimeout,
    "the router's management has not answered in time: what it has begun goes on, and nothing else \
     is done",
);
const NOBODY_ANSWERS: Refusal = (
    WampError::ResourceLimit,
    "too many calls wait for the router's management, or it stops: try again later",
);
