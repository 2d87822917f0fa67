//! Questions of the router itself, to procedures and endpoints that decide something.
//!
//! A question to a procedure is a call whose caller is the shard. It is brought, answered and given
//! up as calls are; one to an endpoint is an [`Errand`]. The deadline stands in the timers, and
//! counts from the moment on in which somebody wants to know. So many questions are pending at each
//! procedure or endpoint, and others wait in their order. Who waits for an answer is parked, so
//! there are no more questions than connections.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem;
use std::sync::Arc;

use super::errands::{Errand, RequestCheck, Ruled, Waiter};
use super::mail::NO_PAYLOAD;
use super::requests::Refusal;
use super::timers::CallTimer;
use super::work::PATTERN_UNITS;
use super::{Cancellation, Carried, Invoke, Mail, Outcome, Return, Shard};
use crate::authentication::{Endpoint, Interest};
use crate::authorization::shown_authorizer;
use crate::clock::Millis;
use crate::codec;
use crate::hash::Map;
use crate::router::{
    Counter, Counters, Held, PickError, Picked, Realm, RealmRules, SessionRef, Tour,
};
use crate::session::CallRef;
use crate::wamp::{CancelMode, Dict, MatchPolicy, Payload, RequestId, Value, WampError};

/// The questions of one shard that wait for an answer.
#[derive(Debug)]
pub(super) struct Questions {
    pending: Map<RequestId, Question>,
    /// For each procedure or endpoint that is asked something.
    lines: BTreeMap<LineKey, Line>,
    /// How many there have been.
    count: u64,
}

/// The number of a realm, and the URI of a procedure or the address of an endpoint.
type LineKey = (usize, Arc<str>);

/// What is asked of one of them.
#[derive(Debug, Default)]
struct Line {
    asked: usize,
    /// They come with rising ids.
    waiting: BTreeSet<RequestId>,
}

/// What somebody wants to know.
#[derive(Debug)]
pub(super) struct Question {
    /// Who does: a session of this shard, or one that is to be.
    pub(super) asker: SessionRef,
    addressee: Addressee,
    deadline: Millis,
    /// The message that waits for the answer.
    _held: Held,
    state: State,
    interest: Interest,
    asked: Millis,
}

/// Whom a question goes to.
#[derive(Clone, Debug)]
pub(super) struct Addressee {
    realm: Arc<Realm>,
    /// The URI of a procedure, or the address of the endpoint.
    name: Arc<str>,
    endpoint: Option<Arc<Endpoint>>,
}

enum State {
    /// As many others are asked as may be.
    Waits {
        args: Vec<Value>,
        _held: Held,
    },
    Asked(SessionRef),
    /// An endpoint is asked.
    Away,
    /// It cannot be asked; that is on its way.
    Fails,
}

/// What came of a question.
pub(super) enum Said {
    Result(Vec<Value>, Dict),
    /// An ERROR of the callee's own.
    Error(Box<str>, Vec<Value>),
    /// There is no answer; the sentence says why.
    Nothing(Cow<'static, str>),
}

impl Questions {
    pub(super) const fn new(pending: Map<RequestId, Question>) -> Self {
        Self { pending, lines: BTreeMap::new(), count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// In which realm a question is asked.
    pub(super) fn realm_of(&self, id: RequestId) -> Option<&Arc<Realm>> {
        self.pending.get(&id).map(Question::realm)
    }

    fn line(&mut self, addressee: &Addressee) -> &mut Line {
        self.lines.entry(addressee.key()).or_default()
    }

    /// The next question of a line that may be asked.
    fn next_of(&mut self, key: &LineKey, most: usize) -> Option<RequestId> {
        let line = self.lines.get_mut(key)?;
        if line.asked < most
            && let Some(next) = line.waiting.pop_first()
        {
            line.asked += 1;
            return Some(next);
        }
        if line.asked == 0 && line.waiting.is_empty() {
            self.lines.remove(key);
        }
        None
    }
}

impl Addressee {
    pub(super) fn procedure(realm: Arc<Realm>, uri: &Arc<str>) -> Self {
        Self { realm, name: Arc::clone(uri), endpoint: None }
    }

    /// What an authorizer of a realm is: an endpoint if it is the address of one, or else a
    /// procedure.
    pub(super) fn authorizer(realm: Arc<Realm>, rules: &RealmRules, name: &Arc<str>) -> Self {
        let endpoint = rules.authorizer_at(name).map(Arc::clone);
        Self { realm, name: Arc::clone(name), endpoint }
    }

    pub(super) const fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.endpoint.as_ref()
    }

    fn key(&self) -> LineKey {
        (self.realm.number(), Arc::clone(&self.name))
    }

    /// The gauge of the questions that it is asked.
    const fn gauge<'c>(&self, counters: &'c Counters) -> &'c Counter {
        if self.endpoint.is_some() { &counters.endpoint_questions } else { &counters.questions }
    }
}

impl Question {
    /// Whom it goes to, as a log may show it.
    pub(super) fn name(&self) -> &str {
        shown_authorizer(&self.addressee.name)
    }

    pub(super) const fn realm(&self) -> &Arc<Realm> {
        &self.addressee.realm
    }
}

impl Shard {
    /// Asks somebody, in the router's name: the callee of a procedure needs no permission to be
    /// asked. The answer comes later, never from within this call; [`Self::withdraw`] gives it up.
    /// `message` is what waits for the answer, in bytes; without room for it the question fails.
    pub(super) fn ask_outside(
        &mut self,
        asker: SessionRef,
        addressee: Addressee,
        args: Vec<Value>,
        message: usize,
        patience_ms: u64,
        now: Millis,
    ) -> RequestId {
        self.questions.count += 1;
        // Callees tell the questions of several shards apart by their ids.
        let id = self.questions.count << SHARD_BITS | u64::from(self.cx.id.0);
        let id = RequestId::new(id).expect("nobody asks so often");
        let deadline = now + patience_ms;
        self.cx.timers.arm_call(deadline, self.question_timer(id));
        self.cx.counters.questions_asked.increment();
        let weight = Payload::Values { args: &args, kwargs: &Dict::new() }.weight();
        let has_room = self.cx.may_hold(weight + message);
        let line = self.questions.line(&addressee);
        let state = if has_room {
            line.waiting.insert(id);
            self.cx.counters.questions_waiting.increment();
            State::Waits { args, _held: self.cx.held().hold(weight) }
        } else {
            line.asked += 1;
            addressee.gauge(&self.cx.counters).increment();
            self.fail_question(id, NO_ROOM);
            State::Fails
        };
        let key = addressee.key();
        let _held = self.cx.held().hold(message);
        let interest = Interest::default();
        let question = Question { asker, addressee, deadline, _held, state, interest, asked: now };
        self.questions.pending.insert(id, question);
        self.ask_waiting(&key, now);
        id
    }

    /// Gives up a question that nobody wants answered any more.
    pub(super) fn withdraw(&mut self, id: RequestId, now: Millis) {
        if let Some(question) = self.end_question(id) {
            self.interrupt_question(id, &question);
            self.ask_waiting(&question.addressee.key(), now);
        }
    }

    /// Nobody has answered in time.
    pub(super) fn time_out_question(&mut self, id: RequestId, now: Millis) {
        let Some(question) = self.end_question(id) else { return };
        self.interrupt_question(id, &question);
        self.cx.counters.questions_late.increment();
        self.finish_question(
            id,
            question,
            Said::Nothing("it has not answered in time".into()),
            now,
        );
    }

    /// The caller's side of an answer to the router.
    #[cold]
    pub(super) fn handle_answer_to_router(
        &mut self,
        answer: Return,
        payload: Payload<'_>,
        now: Millis,
    ) {
        if !answer.call.caller.is_router() || matches!(answer.outcome, Outcome::Progress { .. }) {
            return;
        }
        let Some(question) = self.end_question(answer.call.request) else { return };
        let said = self.read_answer(answer.outcome, payload);
        self.finish_question(answer.call.request, question, said, now);
    }

    fn finish_question(&mut self, id: RequestId, question: Question, said: Said, now: Millis) {
        if self.is_judged(question.asker) {
            self.cx.measures.authenticators_ms.note(now.since(question.asked));
            self.hear_authenticator(id, &question, said, now);
        } else {
            self.cx.measures.authorizers_ms.note(now.since(question.asked));
            let ruling = self.read_ruling(said);
            self.hear_ruling(id, &question, ruling, now);
        }
        self.ask_waiting(&question.addressee.key(), now);
    }

    /// An endpoint has spoken, or has failed to; perhaps of what nobody wants to know any more.
    pub(super) fn handle_ruled(&mut self, id: RequestId, ruled: Ruled, now: Millis) {
        let Some(question) = self.end_question(id) else { return };
        self.cx.measures.authorizers_ms.note(now.since(question.asked));
        if ruled.is_err() {
            self.cx.counters.questions_misanswered.increment();
        }
        self.hear_ruling(id, &question, ruled, now);
        self.ask_waiting(&question.addressee.key(), now);
    }

    fn read_answer(&mut self, outcome: Outcome, payload: Payload<'_>) -> Said {
        let is_error = matches!(outcome, Outcome::Error { .. });
        if let Outcome::Refused { message, .. } = outcome {
            self.cx.counters.questions_not_brought.increment();
            return Said::Nothing(message);
        }
        if matches!(outcome, Outcome::Busy) {
            self.cx.counters.questions_not_brought.increment();
            return Said::Nothing(BUSY.1.into());
        }
        if is_error {
            self.cx.counters.questions_refused.increment();
        }
        let weight = payload.weight();
        let read = if weight > ANSWER_BYTES { None } else { codec::decode_payload(payload).ok() };
        // Values take more time than the bytes that they are read from.
        self.cx.work.charge(weight.min(ANSWER_BYTES) / VALUE_BYTES_PER_UNIT);
        match (outcome, read) {
            (Outcome::Error { error, .. }, read) => {
                Said::Error(error, read.map(|(args, _)| args).unwrap_or_default())
            }
            (_, Some((args, kwargs))) => Said::Result(args, kwargs),
            (_, None) => {
                self.cx.counters.questions_misanswered.increment();
                Said::Nothing("its answer is too large, or no plain payload".into())
            }
        }
    }

    /// Asks as many of those that wait in a line as may be asked.
    fn ask_waiting(&mut self, key: &LineKey, now: Millis) {
        let most = self.cx.limits().questions_per_procedure;
        while let Some(id) = self.questions.next_of(key, most) {
            self.cx.counters.questions_waiting.subtract(1);
            let question = self.questions.pending.get_mut(&id).expect(PENDING);
            let (asker, addressee) = (question.asker, question.addressee.clone());
            addressee.gauge(&self.cx.counters).increment();
            let State::Waits { args, _held } = mem::replace(&mut question.state, State::Fails)
            else {
                unreachable!("it was not asked yet");
            };
            if let Some(endpoint) = addressee.endpoint {
                question.state = State::Away;
                let patience_ms = question.deadline.since(now);
                let check = RequestCheck { question: id, endpoint, patience_ms, args, _held };
                self.cx.work.charge_bytes(check._held.bytes());
                let waiter = Waiter::new(asker, &question.interest);
                self.errands.push(waiter, Errand::Request(check));
            } else if let Err((_, sentence)) = self.bring_question(id, asker, addressee, args, now)
            {
                self.fail_question(id, sentence);
            }
        }
    }

    fn bring_question(
        &mut self,
        id: RequestId,
        asker: SessionRef,
        Addressee { realm, name: procedure, .. }: Addressee,
        args: Vec<Value>,
        now: Millis,
    ) -> Result<(), Refusal> {
        let picked = self.pick_callee(&realm, &procedure, asker)?;
        let payload = Payload::Values { args: &args, kwargs: &Dict::new() };
        let shard = picked.callee.shard;
        self.cx.may_carry(shard, &payload)?;
        let question = self.questions.pending.get_mut(&id).expect(PENDING);
        question.state = State::Asked(picked.callee);
        let mut details = Dict::new();
        if picked.policy != MatchPolicy::Exact {
            details.push(("procedure".into(), (&*procedure).into()));
        }
        let invoke = Invoke {
            call: self.name_of(id),
            callee: picked.callee,
            registration: picked.registration,
            place: picked.place,
            details,
            is_continuation: false,
            receive_progress: false,
            takes_passthru: false,
            load: picked.load,
        };
        self.cx.work.charge_bytes(payload.weight());
        self.bring(invoke, payload, now);
        if shard != self.cx.id {
            self.connections[asker.slot].feeds.insert(shard);
        }
        Ok(())
    }

    /// A callee for a question. Nobody is asked about itself: it could not answer, as it is parked.
    fn pick_callee(
        &mut self,
        realm: &Realm,
        procedure: &str,
        asker: SessionRef,
    ) -> Result<Picked, Refusal> {
        self.cx.work.charge(PATTERN_UNITS * realm.procedures.look_ups(procedure));
        let random = self.cx.random();
        let picked = realm.procedures.pick(procedure, || random).map_err(|error| match error {
            PickError::NoProcedure => NOBODY,
            PickError::Busy => BUSY,
        })?;
        if picked.callee != asker {
            return Ok(picked);
        }
        let mut tour = Tour::new(picked.place);
        let another = realm.procedures.pick_another(picked.registration, &mut tour, random);
        another.filter(|another| another.callee != asker).ok_or(ITSELF)
    }

    /// Lets a question fail that could not be brought: as if it had come back.
    pub(super) fn fail_question(&mut self, id: RequestId, message: &'static str) {
        let outcome = (WampError::Canceled, message).into();
        self.bounce(Return { call: self.name_of(id), outcome });
    }

    /// Sends the router's own call back to it. There may be as many as clients wait, so here each
    /// has its turn.
    pub(super) fn bounce(&mut self, answer: Return) {
        let to = answer.call.caller.shard;
        let answer = Carried::answer(answer, NO_PAYLOAD.to_buf(), self.cx.held());
        let mail = Mail::Return(Box::new(answer));
        if to == self.cx.id {
            self.mailbox.post_later(mail);
        } else {
            self.cx.post.send(to, mail);
        }
    }

    /// Takes a question out of all lists.
    fn end_question(&mut self, id: RequestId) -> Option<Question> {
        let question = self.questions.pending.remove(&id)?;
        self.cx.timers.disarm_call(question.deadline, self.question_timer(id));
        let line = self.questions.line(&question.addressee);
        if line.waiting.remove(&id) {
            self.cx.counters.questions_waiting.subtract(1);
        } else {
            line.asked -= 1;
            question.addressee.gauge(&self.cx.counters).subtract(1);
        }
        Some(question)
    }

    fn interrupt_question(&mut self, id: RequestId, question: &Question) {
        if let State::Asked(callee) = question.state {
            let CallRef { caller, request, serial } = self.name_of(id);
            let (caller, mode) = (caller.session, CancelMode::KillNoWait);
            self.cancel_invocation(Cancellation { callee, caller, call: request, serial, mode });
        }
    }

    /// The call that a question is.
    const fn name_of(&self, request: RequestId) -> CallRef {
        CallRef { caller: SessionRef::router(self.cx.id), request, serial: SERIAL }
    }

    const fn question_timer(&self, call: RequestId) -> CallTimer {
        CallTimer::of(SessionRef::router(self.cx.id), call)
    }

    /// Each question is counted in its line, and somebody waits for it.
    pub(super) fn check_questions(&self) {
        let Questions { pending, lines, .. } = &self.questions;
        let waiting: usize = lines.values().map(|line| line.waiting.len()).sum();
        let asked: usize = lines.values().map(|line| line.asked).sum();
        assert_eq!(pending.len(), waiting + asked, "each question stands in one line");
        let counters = &self.cx.counters;
        let counted = counters.questions.get() + counters.endpoint_questions.get();
        assert_eq!(counted, asked as u64);
        assert_eq!(self.cx.counters.questions_waiting.get(), waiting as u64);
        for (id, question) in pending {
            let connection = &self.connections[question.asker.slot];
            assert_eq!(connection.awaited(), Some(*id), "whoever asks waits for it");
        }
        let awaited = self.connections.iter().filter(|(_, c)| c.awaited().is_some()).count();
        assert_eq!(awaited, pending.len(), "nobody waits for nothing");
    }
}

/// Not what is asked: there may be a ticket in it.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits { .. } => f.debug_struct("Waits").finish_non_exhaustive(),
            Self::Asked(callee) => f.debug_tuple("Asked").field(callee).finish(),
            Self::Away => f.write_str("Away"),
            Self::Fails => f.write_str("Fails"),
        }
    }
}

const PENDING: &str = "a question that waits is pending";

/// Bytes of an answer's payload.
const ANSWER_BYTES: usize = 64 * 1024;

/// Bytes that are made values in the time of one unit.
const VALUE_BYTES_PER_UNIT: usize = 8;

/// Bits of a question's id that name its shard.
const SHARD_BITS: u32 = 8;

/// No id is that of two questions.
const SERIAL: u32 = 0;

const NOBODY: Refusal = (WampError::NoSuchProcedure, "nobody has registered it");
const BUSY: Refusal = (WampError::NoAvailableCallee, "all its callees are busy");
const ITSELF: Refusal = (WampError::NoAvailableCallee, "it would be asked about itself");
const NO_ROOM: &str = "too much waits on its way through the router";
