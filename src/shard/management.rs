//! The management API as clients meet it: calls that whoever watches the router answers, elsewhere,
//! and what it publishes.
//!
//! A session waits for each of its calls: its input is parked, so that nobody has more than one
//! under way, and a flood of them costs its sender alone.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::errands::{Errand, Waiter};
use super::meta::{Answer, Caller, id_of};
use super::requests::Refusal;
use super::work::PATTERN_UNITS;
use super::{EventHead, Shard};
use crate::authentication::Interest;
use crate::authorization::{ManagementProcedure, ManagementTopic};
use crate::codec::{self, Codec};
use crate::router::{Audience, Held, HeldCount, Numbering, Profile, Realm, SessionRef};
use crate::wamp::{Dict, PayloadBuf, PublicationId, RequestId, Value, WampError, heap_block};

/// A call of the management API on its way to whoever answers it.
pub struct ManagementCall {
    pub procedure: ManagementProcedure,
    pub caller: SessionRef,
    pub request: RequestId,
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
    outcome: ManagementOutcome,
    held: Held,
}

/// The payload of a RESULT, or what an ERROR says.
pub type ManagementOutcome = Result<PayloadBuf, (WampError, Cow<'static, str>)>;

impl ManagementCall {
    /// `count` is that of the caller's shard.
    pub fn new(
        procedure: ManagementProcedure,
        (caller, request): (SessionRef, RequestId),
        (realm, profile): (Arc<Realm>, Arc<Profile>),
        arguments: Vec<u8>,
        count: &Arc<HeldCount>,
    ) -> Self {
        let _held = count.hold(heap_block(size_of::<Self>()) + arguments.len());
        Self { procedure, caller, request, realm, profile, arguments, _held }
    }
}

impl ManagementAnswer {
    /// `count` is that of the caller's shard.
    pub fn new(
        (caller, request): (SessionRef, RequestId),
        outcome: ManagementOutcome,
        count: &Arc<HeldCount>,
    ) -> Self {
        let bytes = match &outcome {
            Ok(payload) => payload.heap_bytes(),
            Err((_, text)) => text.len(),
        };
        let held = count.hold(heap_block(size_of::<Self>()) + bytes);
        Self { caller, request, outcome, held }
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
    /// Dropped with it, so that whoever publishes knows that there is room for the next.
    _under_way: Arc<()>,
}

impl Bulletin {
    /// `count` is that of the realm's home shard.
    pub fn new(
        realm: Arc<Realm>,
        topic: ManagementTopic,
        payload: PayloadBuf,
        audience: Audience,
        (count, under_way): (&Arc<HeldCount>, Arc<()>),
    ) -> Self {
        let bytes = heap_block(size_of::<Self>()) + payload.heap_bytes() + audience.weight();
        let held = count.hold(bytes);
        Self { realm, topic, payload, audience, held, _under_way: under_way }
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
        let session = self.connections.joined_mut(caller.session.slot);
        let asker = (Arc::clone(&session.realm), Arc::clone(&session.profile));
        let request = (caller.session, caller.request());
        let call = ManagementCall::new(procedure, request, asker, arguments, self.cx.held());
        let interest = Interest::default();
        let waiter = Waiter::new(caller.session, &interest);
        session.managing = Some(Box::new((caller.request(), interest)));
        self.connections.park(caller.session.slot);
        self.errands.push(waiter, Errand::Management(Box::new(call)));
        Ok(Answer::Later)
    }

    /// A call of the management API was answered. Its session may have gone.
    pub(super) fn handle_management_answer(&mut self, answer: ManagementAnswer) {
        let ManagementAnswer { caller: at, request, outcome, .. } = answer;
        if !self.take_managing(at, request) {
            return;
        }
        let caller = Caller::new(at, request);
        match outcome {
            Ok(payload) => self.send_late_payload(caller, payload.as_payload()),
            Err((error, text)) => self.refuse_late_call_with(caller, error, &text),
        }
    }

    /// Nobody takes a call of the management API: too many wait, or the router stops.
    pub(super) fn fail_management(&mut self, at: SessionRef, request: RequestId) {
        if self.take_managing(at, request) {
            self.refuse_late_call(Caller::new(at, request), NOBODY_ANSWERS);
        }
    }

    fn take_managing(&mut self, at: SessionRef, request: RequestId) -> bool {
        let Some(session) = self.connections.find_mut(at) else { return false };
        let is_awaited = session.managing.take_if(|awaited| awaited.0 == request).is_some();
        if is_awaited {
            self.connections.redeem(at.slot);
        }
        is_awaited
    }

    /// At the realm's home shard: publishes to those who may watch, whatever they have subscribed
    /// by.
    pub(super) fn handle_bulletin(&mut self, bulletin: Bulletin) {
        let Bulletin { realm, topic, payload, audience, .. } = bulletin;
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
const NOBODY_ANSWERS: Refusal = (
    WampError::ResourceLimit,
    "too many calls wait for the router's management, or it stops: try again later",
);
