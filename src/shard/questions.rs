//! Calls that the router itself makes: questions to procedures that decide something.
//!
//! A question is a call whose caller is the shard. It is brought, answered and given up as calls
//! are; its deadline stands in the timers, and counts from the moment on in which somebody wants to
//! know. So many questions are pending at each procedure, and others wait in their order. Who waits
//! for an answer is parked, so there are no more questions than connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::mail::NO_PAYLOAD;
use super::requests::Refusal;
use super::timers::CallTimer;
use super::work::PATTERN_UNITS;
use super::{Cancellation, Carried, Invoke, Mail, Outcome, Return, Shard};
use crate::clock::Millis;
use crate::codec;
use crate::hash::Map;
use crate::router::{Held, PickError, Picked, Realm, SessionRef, Tour};
use crate::session::CallRef;
use crate::wamp::{CancelMode, Dict, MatchPolicy, Payload, RequestId, Value, WampError};

/// The questions of one shard that wait for an answer.
#[derive(Debug)]
pub(super) struct Questions {
    pending: Map<RequestId, Question>,
    /// For each procedure that is asked something, by the number of its realm.
    lines: BTreeMap<(usize, Arc<str>), Line>,
    /// How many there have been.
    count: u64,
}

/// What is asked of one procedure.
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
    pub(super) realm: Arc<Realm>,
    pub(super) procedure: Arc<str>,
    deadline: Millis,
    /// The message that waits for the answer.
    _held: Held,
    state: State,
}

enum State {
    /// As many others are asked as may be.
    Waits {
        args: Vec<Value>,
        _held: Held,
    },
    Asked(SessionRef),
    /// It cannot be asked; that is on its way.
    Fails,
}

/// What came of a question.
pub(super) enum Said {
    Result(Vec<Value>, Dict),
    /// An ERROR of the callee's own.
    Error(Box<str>, Vec<Value>),
    /// There is no answer; the sentence says why.
    Nothing(&'static str),
}

impl Questions {
    pub(super) const fn new(pending: Map<RequestId, Question>) -> Self {
        Self { pending, lines: BTreeMap::new(), count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    fn line(&mut self, realm: &Realm, procedure: &Arc<str>) -> &mut Line {
        self.lines.entry((realm.number(), Arc::clone(procedure))).or_default()
    }

    /// The next question of a line that may be asked.
    fn next_of(&mut self, key: &(usize, Arc<str>), most: usize) -> Option<RequestId> {
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

impl Shard {
    /// Asks a procedure of a realm, in the router's name: its callee needs no permission to be
    /// asked. The answer comes later, never from within this call; [`Self::withdraw`] gives it up.
    /// `message` is what waits for the answer, in bytes; without room for it the question fails.
    pub(super) fn ask_procedure(
        &mut self,
        asker: SessionRef,
        (realm, procedure): (Arc<Realm>, Arc<str>),
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
        let line = self.questions.line(&realm, &procedure);
        let state = if has_room {
            line.waiting.insert(id);
            self.cx.counters.questions_waiting.increment();
            State::Waits { args, _held: self.cx.held().hold(weight) }
        } else {
            line.asked += 1;
            self.cx.counters.questions.increment();
            self.fail_question(id, NO_ROOM);
            State::Fails
        };
        let key = (realm.number(), Arc::clone(&procedure));
        let _held = self.cx.held().hold(message);
        let question = Question { asker, realm, procedure, deadline, _held, state };
        self.questions.pending.insert(id, question);
        self.ask_waiting(&key, now);
        id
    }

    /// Gives up a question that nobody wants answered any more.
    pub(super) fn withdraw(&mut self, id: RequestId, now: Millis) {
        if let Some(question) = self.end_question(id) {
            self.interrupt_question(id, &question);
            self.ask_waiting(&(question.realm.number(), question.procedure), now);
        }
    }

    /// Nobody has answered in time.
    pub(super) fn time_out_question(&mut self, id: RequestId, now: Millis) {
        let Some(question) = self.end_question(id) else { return };
        self.interrupt_question(id, &question);
        self.cx.counters.questions_late.increment();
        self.finish_question(id, question, Said::Nothing("it has not answered in time"), now);
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
        let key = (question.realm.number(), Arc::clone(&question.procedure));
        if self.is_judged(question.asker) {
            self.hear_authenticator(id, &question, said, now);
        } else {
            self.hear_ruling(id, &question, said, now);
        }
        self.ask_waiting(&key, now);
    }

    fn read_answer(&mut self, outcome: Outcome, payload: Payload<'_>) -> Said {
        let is_error = matches!(outcome, Outcome::Error { .. });
        if let Outcome::Refused { message, .. } = outcome {
            self.cx.counters.questions_not_brought.increment();
            return Said::Nothing(message);
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
                Said::Nothing("its answer is too large, or no plain payload")
            }
        }
    }

    /// Asks as many of those that wait in a line as may be asked.
    fn ask_waiting(&mut self, key: &(usize, Arc<str>), now: Millis) {
        let most = self.cx.limits().questions_per_procedure;
        while let Some(id) = self.questions.next_of(key, most) {
            self.cx.counters.questions_waiting.subtract(1);
            self.cx.counters.questions.increment();
            if let Err((_, sentence)) = self.bring_question(id, now) {
                self.fail_question(id, sentence);
            }
        }
    }

    fn bring_question(&mut self, id: RequestId, now: Millis) -> Result<(), Refusal> {
        let listed = "a question that waits is pending";
        let question = self.questions.pending.get_mut(&id).expect(listed);
        let (asker, realm) = (question.asker, Arc::clone(&question.realm));
        let procedure = Arc::clone(&question.procedure);
        let State::Waits { args, .. } = std::mem::replace(&mut question.state, State::Fails) else {
            unreachable!("it was not asked yet");
        };
        let picked = self.pick_callee(&realm, &procedure, asker)?;
        let payload = Payload::Values { args: &args, kwargs: &Dict::new() };
        let shard = picked.callee.shard;
        self.cx.may_carry(shard, &payload)?;
        let question = self.questions.pending.get_mut(&id).expect(listed);
        question.state = State::Asked(picked.callee);
        let mut details = Dict::new();
        if picked.policy != MatchPolicy::Exact {
            details.push(("procedure".into(), (&*procedure).into()));
        }
        let invoke = Invoke {
            call: self.name_of(id),
            callee: picked.callee,
            registration: picked.registration,
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
    fn fail_question(&mut self, id: RequestId, message: &'static str) {
        let outcome = Outcome::Refused { error: WampError::Canceled, message };
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
        let line = self.questions.line(&question.realm, &question.procedure);
        if line.waiting.remove(&id) {
            self.cx.counters.questions_waiting.subtract(1);
        } else {
            line.asked -= 1;
            self.cx.counters.questions.subtract(1);
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
        assert_eq!(self.cx.counters.questions.get(), asked as u64);
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
            Self::Fails => f.write_str("Fails"),
        }
    }
}

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
