//! Who subscribes: the one question that the shared tables cannot answer (AP-SUA).
//!
//! The table knows which shards have receivers, each shard knows which sessions. So the caller's
//! shard calls the roll: every shard with receivers answers once, and the last answer completes
//! the result.

use std::collections::{BTreeMap, VecDeque};

use slab::Slab;

use super::super::requests::Refusal;
use super::super::work::LOOKUP_UNITS;
use super::super::{Mail, Roll, RollCall, Shard};
use super::subscriptions::NO_SUCH_SUBSCRIPTION;
use super::{Answer, Arguments, Caller, TOO_MANY_ITEMS};
use crate::router::Destinations;
use crate::wamp::{Dict, SessionId, SubscriptionId, Value, WampError, code};

/// The questions of a shard that wait for answers.
///
/// Invariant: `pending` counts the questions of each session that has any.
#[derive(Debug, Default)]
pub(in crate::shard) struct Roster {
    /// Those that are asked. Their answers may be long, so they are few: [`MOST_ASKED`].
    questions: Slab<Question>,
    /// Those that are to be asked, in the order in which they came.
    waiting: VecDeque<(Caller, SubscriptionId, bool)>,
    pending: BTreeMap<SessionId, usize>,
}

#[derive(Debug)]
struct Question {
    caller: Caller,
    wants_names: bool,
    /// Shards that have not answered.
    awaited: usize,
    count: usize,
    sessions: Vec<SessionId>,
}

impl Roster {
    pub(in crate::shard) fn is_empty(&self) -> bool {
        let is_empty = self.questions.is_empty() && self.waiting.is_empty();
        debug_assert_eq!(is_empty, self.pending.is_empty());
        is_empty
    }

    /// How many questions of a session wait.
    fn pending_of(&self, session: SessionId) -> usize {
        self.pending.get(&session).copied().unwrap_or_default()
    }

    /// Takes in a question that is to be asked.
    fn push(&mut self, caller: Caller, subscription: SubscriptionId, wants_names: bool) {
        *self.pending.entry(caller.session.session).or_default() += 1;
        self.waiting.push_back((caller, subscription, wants_names));
    }

    fn can_ask(&self) -> bool {
        self.questions.len() < MOST_ASKED && !self.waiting.is_empty()
    }

    /// A question of a session waits no more.
    fn forget(&mut self, session: SessionId) {
        let pending = self.pending.get_mut(&session).expect("its question was counted");
        *pending -= 1;
        if *pending == 0 {
            self.pending.remove(&session);
        }
    }

    /// Takes in the answer of one shard, and gives the question back with the last one. Of more
    /// than `limit` sessions only the number is kept.
    fn answer(&mut self, roll: Roll, limit: usize) -> Option<Question> {
        let question = &mut self.questions[roll.key];
        question.count += roll.count;
        if question.count <= limit {
            question.sessions.extend(roll.sessions);
        }
        question.awaited -= 1;
        if question.awaited > 0 {
            return None;
        }
        let question = self.questions.remove(roll.key);
        self.forget(question.caller.session.session);
        Some(question)
    }
}

impl Shard {
    pub(super) fn list_subscribers(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.call_roll(caller, args, true)
    }

    pub(super) fn count_subscribers(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        self.call_roll(caller, args, false)
    }

    fn call_roll(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
        wants_names: bool,
    ) -> Result<Answer, Refusal> {
        let subscription = args.subscription(0)?;
        self.shards_of(caller, subscription)?;
        let pending = self.roster.pending_of(caller.session.session);
        if pending >= self.cx.limits().meta_questions_per_session {
            return Err(TOO_MANY_QUESTIONS);
        }
        self.roster.push(caller, subscription, wants_names);
        Ok(Answer::Later)
    }

    /// The shards that have receivers of a subscription.
    fn shards_of(
        &self,
        caller: Caller,
        subscription: SubscriptionId,
    ) -> Result<Destinations, Refusal> {
        let realm = self.realm_of(caller);
        let described = realm.topics.get(subscription).ok_or(NO_SUCH_SUBSCRIPTION)?;
        let fanout = realm.topics.look_up(&described.uri, described.policy);
        let fanout = fanout.filter(|fanout| fanout.subscription == subscription);
        fanout.map(|fanout| fanout.to).ok_or(NO_SUCH_SUBSCRIPTION)
    }

    pub(in crate::shard) fn can_ask_further(&self) -> bool {
        self.roster.can_ask()
    }

    /// Asks the next question, if there are not too many on their way. `false` if there is none.
    pub(in crate::shard) fn ask_further(&mut self) -> bool {
        if !self.roster.can_ask() {
            return false;
        }
        let Some((caller, subscription, wants_names)) = self.roster.waiting.pop_front() else {
            return false;
        };
        self.cx.work.charge(LOOKUP_UNITS);
        if self.connections.find(caller.session).is_none() {
            self.roster.forget(caller.session.session);
            return true;
        }
        match self.shards_of(caller, subscription) {
            Ok(shards) if shards.is_empty() => {
                // A history without subscribers.
                self.roster.forget(caller.session.session);
                let nobody = if wants_names { Value::List(Vec::new()) } else { Value::UInt(0) };
                self.send_late_result(caller, &[nobody], &Dict::new());
            }
            Ok(shards) => self.ask(caller, subscription, shards, wants_names),
            Err(refusal) => {
                self.roster.forget(caller.session.session);
                self.cx.counters.calls_refused.increment();
                self.refuse(caller.session.slot, code::CALL, caller.request, refusal);
            }
        }
        true
    }

    fn ask(
        &mut self,
        caller: Caller,
        subscription: SubscriptionId,
        mut shards: Destinations,
        wants_names: bool,
    ) {
        let awaited = shards.shards().count();
        let question = Question { caller, wants_names, awaited, count: 0, sessions: Vec::new() };
        let key = self.roster.questions.insert(question);
        let call = RollCall { subscription, asker: self.cx.id, key, wants_names };
        // Mail also to this shard: the result comes when the last one has answered.
        for shard in shards.shards() {
            self.cx.post.send(shard, Mail::RollCall(call));
        }
        shards.remove(self.cx.id);
        self.mark_feeds(caller.session.slot, shards);
    }

    pub(in crate::shard) fn handle_roll_call(&mut self, call: RollCall) {
        let slots = self.receivers.get(call.subscription).map(|receivers| receivers.slots());
        let slots = slots.unwrap_or_default();
        let count = slots.len();
        self.cx.work.charge(count);
        let mut sessions = Vec::new();
        if call.wants_names && count <= self.cx.limits().meta_list_items {
            let ids = slots.iter().filter_map(|slot| self.connections[*slot].session_id);
            sessions.extend(ids);
        }
        self.cx.post.send(call.asker, Mail::Roll(Roll { key: call.key, count, sessions }));
    }

    pub(in crate::shard) fn handle_roll(&mut self, roll: Roll) {
        let limit = self.cx.limits().meta_list_items;
        let Some(question) = self.roster.answer(roll, limit) else { return };
        let Question { caller, wants_names, count, sessions, .. } = question;
        if self.connections.find(caller.session).is_none() {
            return;
        }
        if !wants_names {
            self.send_late_result(caller, &[Value::UInt(count as u64)], &Dict::new());
        } else if count > limit {
            self.cx.counters.calls_refused.increment();
            self.refuse(caller.session.slot, code::CALL, caller.request, TOO_MANY_ITEMS);
        } else {
            let ids = sessions.iter().map(|session| session.get().into()).collect();
            self.send_late_result(caller, &[Value::List(ids)], &Dict::new());
        }
    }
}

/// Questions of a shard that are on their way at once: what is being answered takes memory.
const MOST_ASKED: usize = 8;

const TOO_MANY_QUESTIONS: Refusal = (
    WampError::ResourceLimit,
    "too many calls for subscribers are pending: wait for their results",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{SessionRef, ShardId, Slot};
    use crate::wamp::RequestId;

    fn question(number: u64, awaited: usize) -> Question {
        let session = SessionId::new(number).expect("a small number is an id");
        let session = SessionRef { session, slot: Slot::new(0), shard: ShardId(0) };
        let caller = Caller { session, request: RequestId::FIRST };
        Question { caller, wants_names: true, awaited, count: 0, sessions: Vec::new() }
    }

    #[test]
    fn each_session_has_a_count_of_its_own() {
        let id = |number| question(number, 1).caller.session.session;
        let mut roster = Roster::default();
        let keys = [(1, 2), (2, 1), (1, 1)].map(|(session, shards)| {
            let question = question(session, shards);
            roster.push(question.caller, SubscriptionId::new(1).expect("1 is an id"), true);
            roster.waiting.clear();
            (roster.questions.insert(question), shards)
        });
        assert_eq!([1, 2, 3].map(|session| roster.pending_of(id(session))), [2, 1, 0]);
        let roll = |key, sessions: &[u64]| {
            let sessions: Vec<_> = sessions.iter().map(|number| id(*number)).collect();
            Roll { key, count: sessions.len(), sessions }
        };
        assert!(roster.answer(roll(keys[0].0, &[7]), 2).is_none(), "the other shard is awaited");
        let answered = roster.answer(roll(keys[0].0, &[8, 9]), 2).expect("all have answered");
        assert_eq!((answered.count, answered.sessions.len()), (3, 1), "three are over the limit");
        assert_eq!([1, 2].map(|session| roster.pending_of(id(session))), [1, 1]);
        assert!(keys[1..].iter().all(|(key, _)| roster.answer(roll(*key, &[]), 2).is_some()));
        assert!(roster.is_empty() && roster.pending_of(id(1)) == 0);
    }
}
