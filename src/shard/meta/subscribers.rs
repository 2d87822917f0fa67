//! Who subscribes: the one question that the shared tables cannot answer (AP-SUA).
//!
//! The table knows which shards have receivers, each shard knows which sessions. So the caller's
//! shard calls the roll: every shard with receivers answers once, and the last answer completes
//! the result.

use slab::Slab;

use super::super::broker::Refusal;
use super::super::{Mail, Shard};
use super::subscriptions::NO_SUCH_SUBSCRIPTION;
use super::{Answer, Arguments, Caller, TOO_MANY_ITEMS};
use crate::router::ShardId;
use crate::wamp::{Dict, SessionId, SubscriptionId, Value, WampError, code};

/// The question of one shard to another.
#[derive(Clone, Copy, Debug)]
pub struct RollCall {
    subscription: SubscriptionId,
    asker: ShardId,
    /// Names the question at its asker.
    key: usize,
    wants_names: bool,
}

/// The answer.
#[derive(Debug)]
pub struct Roll {
    key: usize,
    count: usize,
    /// Empty if only the count was asked for.
    sessions: Vec<SessionId>,
}

impl Roll {
    /// Bytes of the list.
    pub(in crate::shard) const fn weight(&self) -> usize {
        size_of_val(self.sessions.as_slice())
    }
}

/// The questions of a shard that wait for answers.
#[derive(Debug, Default)]
pub(in crate::shard) struct Roster(Slab<Question>);

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
        self.0.is_empty()
    }

    fn of(&self, caller: Caller) -> usize {
        self.0.iter().filter(|(_, question)| question.caller.session == caller.session).count()
    }
}

impl Shard {
    /// `wamp.subscription.list_subscribers` and `count_subscribers`.
    pub(super) fn call_roll(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
        wants_names: bool,
    ) -> Result<Answer, Refusal> {
        let subscription = args.subscription(0)?;
        let realm = self.realm_of(caller);
        let described = realm.topics.get(subscription).ok_or(NO_SUCH_SUBSCRIPTION)?;
        let fanout = realm.topics.look_up(&described.uri, described.policy);
        let fanout = fanout.filter(|fanout| fanout.subscription == subscription);
        let mut shards = fanout.ok_or(NO_SUCH_SUBSCRIPTION)?.shards;
        if shards.is_empty() {
            // A history without subscribers.
            let nobody = if wants_names { Value::List(Vec::new()) } else { Value::UInt(0) };
            return Ok(Answer::one(nobody));
        }
        if self.roster.of(caller) >= self.settings().limits.meta_questions_per_session {
            return Err(TOO_MANY_QUESTIONS);
        }
        let awaited = shards.iter().count();
        let question = Question { caller, wants_names, awaited, count: 0, sessions: Vec::new() };
        let key = self.roster.0.insert(question);
        let call = RollCall { subscription, asker: self.id, key, wants_names };
        // Mail also to this shard: the result comes when the last one has answered.
        for shard in shards.iter() {
            self.post(shard, Mail::RollCall(call));
        }
        shards.remove(self.id);
        self.mark_feeds(caller.session.slot, shards);
        Ok(Answer::Later)
    }

    pub(in crate::shard) fn handle_roll_call(&mut self, call: RollCall) {
        let slots = self.receivers.get(&call.subscription).map(|receivers| receivers.slots());
        let slots = slots.unwrap_or_default();
        let count = slots.len();
        self.work.charge(count);
        let mut sessions = Vec::new();
        if call.wants_names && count <= self.settings().limits.meta_list_items {
            let ids = slots.iter().filter_map(|slot| self.connections[*slot as usize].session_id);
            sessions.extend(ids);
        }
        self.post(call.asker, Mail::Roll(Roll { key: call.key, count, sessions }));
    }

    pub(in crate::shard) fn handle_roll(&mut self, roll: Roll) {
        let limit = self.settings().limits.meta_list_items;
        let question = &mut self.roster.0[roll.key];
        question.count += roll.count;
        if question.count <= limit {
            question.sessions.extend(roll.sessions);
        }
        question.awaited -= 1;
        if question.awaited > 0 {
            return;
        }
        let Question { caller, wants_names, count, sessions, .. } = self.roster.0.remove(roll.key);
        if self.find(caller.session).is_none() {
            return;
        }
        if !wants_names {
            self.send_meta_result(caller, &[Value::UInt(count as u64)], &Dict::new());
        } else if count > limit {
            self.counters.calls_refused.increment();
            self.refuse(caller.session.slot, code::CALL, caller.request, TOO_MANY_ITEMS);
        } else {
            let ids = sessions.iter().map(|session| session.get().into()).collect();
            self.send_meta_result(caller, &[Value::List(ids)], &Dict::new());
        }
    }
}

const TOO_MANY_QUESTIONS: Refusal = (
    WampError::ResourceLimit,
    "too many calls for subscribers are pending: wait for their results",
);
