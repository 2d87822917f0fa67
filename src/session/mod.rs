//! One session: who joined, what it holds, and which requests are pending on either side.
//!
//! Owned by one shard and touched by no other thread. Decides nothing about routing.

mod request_ids;

use std::sync::Arc;

use crate::clock::Millis;
use crate::hash::{HashSeed, Map};
use crate::router::{Identity, Realm, SessionRef};
use crate::wamp::{MatchPolicy, RegistrationId, RequestId, Roles, SessionId, SubscriptionId};

pub use request_ids::{RequestIds, SequenceError};

/// A session from WELCOME to its end.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub realm: Arc<Realm>,
    pub roles: Roles,
    pub authid: Box<str>,
    pub joined: Millis,
    pub request_ids: RequestIds,
    pub subscriptions: Map<SubscriptionId, Membership>,
    pub registrations: Map<RegistrationId, RegisteredPattern>,
    /// Calls of this session as a caller: each ends exactly once (BP-CALL-03).
    pub calls: Map<RequestId, PendingCall>,
    /// Invocations of this session as a callee.
    pub invocations: Invocations,
}

/// A subscription of this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership {
    /// Where the session stands in the subscription's receiver list.
    pub position: u32,
    /// Events retained up to this number came with the subscription; 0: none did (AP-RET-07).
    pub retained_until: u64,
}

/// What a registration of this session is for.
#[derive(Clone, Debug)]
pub struct RegisteredPattern {
    pub uri: Box<str>,
    pub policy: MatchPolicy,
}

/// The caller's half of a call.
#[derive(Clone, Copy, Debug)]
pub struct PendingCall {
    pub callee: SessionRef,
}

/// The callee's half of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingInvocation {
    pub caller: SessionRef,
    /// The CALL's request id.
    pub call: RequestId,
}

impl Session {
    pub fn new(
        id: SessionId,
        realm: Arc<Realm>,
        roles: Roles,
        authid: Box<str>,
        joined: Millis,
        seed: HashSeed,
    ) -> Self {
        Self {
            id,
            realm,
            roles,
            authid,
            joined,
            request_ids: RequestIds::default(),
            subscriptions: seed.map(),
            registrations: seed.map(),
            calls: seed.map(),
            invocations: Invocations::new(seed),
        }
    }

    /// What the lists of a publication may name this session by.
    pub fn identity(&self) -> Identity<'_> {
        let authrole = &self.realm.settings.anonymous_role;
        Identity { session: self.id, authid: &self.authid, authrole }
    }
}

/// The pending invocations of one callee, found by their own id or by the call behind them.
///
/// Invariant: `by_call` is the inverse of `pending`.
#[derive(Debug)]
pub struct Invocations {
    /// The id of the last INVOCATION sent; `None` before the first (BP-ID-04).
    last: Option<RequestId>,
    pending: Map<RequestId, PendingInvocation>,
    by_call: Map<(SessionId, RequestId), RequestId>,
}

/// What a YIELD or ERROR of a callee refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Pending(PendingInvocation),
    /// It was issued but is over: canceled, answered, or its caller left (BP-PV-03).
    Over,
    /// It was never issued to this session: a protocol violation.
    NeverIssued,
}

impl Invocations {
    fn new(seed: HashSeed) -> Self {
        Self { last: None, pending: seed.map(), by_call: seed.map() }
    }

    pub fn len(&self) -> usize {
        self.pending.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The id that the next invocation gets, without taking it.
    pub const fn next_id(&self) -> RequestId {
        match self.last {
            Some(last) => last.next(),
            None => RequestId::FIRST,
        }
    }

    /// Records the invocation that was just sent with [`Self::next_id`].
    pub fn insert(&mut self, invocation: PendingInvocation) {
        let id = self.next_id();
        self.last = Some(id);
        self.pending.insert(id, invocation);
        self.by_call.insert((invocation.caller.session, invocation.call), id);
        debug_assert_eq!(self.pending.len(), self.by_call.len());
    }

    /// Ends an invocation because its callee answered.
    pub fn answer(&mut self, id: RequestId) -> Answered {
        match self.pending.remove(&id) {
            Some(invocation) => {
                self.by_call.remove(&(invocation.caller.session, invocation.call));
                Answered::Pending(invocation)
            }
            None if self.last.is_some_and(|last| id <= last) => Answered::Over,
            None => Answered::NeverIssued,
        }
    }

    /// Ends an invocation because its call is over, and gives its id.
    pub fn forget(&mut self, caller: SessionId, call: RequestId) -> Option<RequestId> {
        let id = self.by_call.remove(&(caller, call))?;
        self.pending.remove(&id);
        Some(id)
    }

    /// Ends all, in the order in which they were sent.
    pub fn take_all(&mut self) -> Vec<PendingInvocation> {
        self.by_call.clear();
        let mut all: Vec<_> = self.pending.drain().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, invocation)| invocation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::ShardId;

    fn id(number: u64) -> RequestId {
        RequestId::new(number).expect("a small number is an id")
    }

    #[test]
    fn an_answer_is_judged_by_the_watermark() {
        let mut invocations = Invocations::new(HashSeed::new(1));
        let session = SessionId::new(9).expect("a small number is an id");
        let caller = SessionRef { session, slot: 3, shard: ShardId(0) };
        let [one, two] = [id(10), id(11)].map(|call| PendingInvocation { caller, call });
        assert_eq!(invocations.answer(id(1)), Answered::NeverIssued);
        invocations.insert(one);
        invocations.insert(two);
        assert_eq!(invocations.answer(id(1)), Answered::Pending(one));
        assert_eq!(invocations.answer(id(1)), Answered::Over);
        assert_eq!(invocations.forget(session, id(11)), Some(id(2)));
        assert_eq!(invocations.answer(id(2)), Answered::Over);
        assert_eq!(invocations.answer(id(3)), Answered::NeverIssued);
        assert!(invocations.is_empty() && invocations.take_all().is_empty());
    }
}
