//! The two halves of a pending call: what its caller's session keeps, and what its callee's does.

use std::collections::VecDeque;

use foldhash::fast::FixedState;

use crate::authorization::Terms;
use crate::clock::Millis;
use crate::hash::Map;
use crate::router::{Held, LoadSlot, SessionRef, Tour};
use crate::wamp::{CallOptions, Dict, PayloadBuf, RegistrationId, RequestId, SessionId};

/// Names a call wherever it is dealt with, and where its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRef {
    pub caller: SessionRef,
    /// Of the CALL.
    pub request: RequestId,
    /// Tells the call from earlier ones with the same id: the caller's [`PendingCall::serial`].
    pub serial: u32,
}

/// The caller's half of a call.
#[derive(Debug)]
pub struct PendingCall {
    pub callee: SessionRef,
    /// Tells the call from earlier ones with the same id.
    pub serial: u32,
    /// When it came, in the low bits of [`Millis`]: it is over within weeks.
    pub since: u32,
    /// Whether the callee takes INTERRUPT (AP-CAN-02).
    pub can_interrupt: bool,
    /// Whether the callee announced `call_reroute` (AP-RRT-03).
    pub can_reroute: bool,
    /// It was canceled with `kill`: the callee's answer is awaited (AP-CAN-06).
    pub killed: bool,
    /// `None` for a call without options: such a call costs nothing more.
    pub extra: Option<Box<CallExtra>>,
}

/// What only some calls need.
#[derive(Debug, Default)]
pub struct CallExtra {
    /// When the dealer gives up on the call; it stands in the shard's timers then.
    pub deadline: Option<Millis>,
    /// From here on the callee may take so long, and again after each progressive result.
    pub timeout_ms: u64,
    pub upload: Option<Upload>,
    pub rerouting: Option<Rerouting>,
    /// Bytes that `upload` and `rerouting` are counted with.
    pub kept_bytes: usize,
    /// Counts them for the realm.
    pub held: Option<Held>,
}

/// A progressive call invocation: what its first CALL has fixed (AP-PCI-06).
#[derive(Debug)]
pub struct Upload {
    pub procedure: Box<str>,
    pub registration: RegistrationId,
    pub details: Dict,
    /// The last chunk has not come.
    pub open: bool,
}

/// A call that may be routed again, with all that takes (AP-RRT).
#[derive(Debug)]
pub struct Rerouting {
    pub procedure: Box<str>,
    pub registration: RegistrationId,
    pub options: CallOptions,
    pub payload: PayloadBuf,
    /// On which it was granted.
    pub terms: Terms,
    /// The callees that have had it.
    pub tour: Tour,
    /// When the call came: its timeout counts from there (AP-TMO-08).
    pub since: Millis,
}

impl PendingCall {
    pub fn deadline(&self) -> Option<Millis> {
        self.extra.as_ref()?.deadline
    }

    /// Bytes that are kept for it.
    pub fn kept_bytes(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.kept_bytes)
    }

    pub fn upload(&self) -> Option<&Upload> {
        self.extra.as_ref()?.upload.as_ref()
    }
}

/// Ended progressive calls of which more chunks may come: those are not new calls (AP-PCI-08).
#[derive(Debug, Default)]
pub struct EndedUploads(VecDeque<RequestId>);

impl EndedUploads {
    pub fn insert(&mut self, call: RequestId) {
        if self.0.len() == ENDED_UPLOADS {
            self.0.pop_front();
        }
        self.0.push_back(call);
    }

    /// Takes a late chunk, if it is one; `last` says that no further one comes.
    pub fn take(&mut self, call: RequestId, last: bool) -> bool {
        let Some(index) = self.0.iter().position(|ended| *ended == call) else { return false };
        if last {
            self.0.remove(index);
        }
        true
    }
}

/// The callee's half of a call.
#[derive(Debug)]
pub struct PendingInvocation {
    /// What it is for.
    pub call: CallRef,
    /// The caller asked for progressive results and the callee was told (AP-PCR-04).
    pub receive_progress: bool,
    /// The caller takes payload passthru mode (AP-PPT-03).
    pub takes_passthru: bool,
    /// INTERRUPT was sent: one is enough.
    pub interrupted: bool,
    /// The place that the invocation takes at a callee with a `concurrency`.
    pub load: Option<LoadSlot>,
}

impl PendingInvocation {
    /// The call behind it: its caller, and what that calls it.
    const fn of(&self) -> (SessionId, RequestId) {
        (self.call.caller.session, self.call.request)
    }
}

/// The pending invocations of one callee, found by their own id or by the call behind them.
///
/// Invariant: `by_call`, if it is there, is the inverse of `pending`.
#[derive(Debug)]
pub struct Invocations {
    /// The id of the last INVOCATION sent; `None` before the first (BP-ID-04).
    last: Option<RequestId>,
    pending: Map<RequestId, PendingInvocation>,
    /// Made when a call is looked for, which most are not, and kept until nothing is pending: so
    /// whoever looks pays at most once for each invocation.
    by_call: Option<Map<(SessionId, RequestId), RequestId>>,
}

/// What a YIELD or ERROR of a callee refers to.
#[derive(Debug)]
pub enum Answered<T> {
    Pending(T),
    /// It was issued but is over: canceled, answered, or its caller left (BP-PV-03).
    Over,
    /// It was never issued to this session: a protocol violation.
    NeverIssued,
}

impl Invocations {
    pub(super) fn new(state: FixedState) -> Self {
        Self { last: None, pending: Map::with_hasher(state), by_call: None }
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
        if let Some(by_call) = &mut self.by_call {
            by_call.insert(invocation.of(), id);
        }
        self.pending.insert(id, invocation);
        debug_assert!(self.by_call.as_ref().is_none_or(|calls| calls.len() == self.pending.len()));
    }

    /// Looks at the invocation that its callee gives a progressive result for.
    pub fn peek(&self, id: RequestId) -> Answered<&PendingInvocation> {
        match self.pending.get(&id) {
            Some(invocation) => Answered::Pending(invocation),
            None if self.last.is_some_and(|last| id <= last) => Answered::Over,
            None => Answered::NeverIssued,
        }
    }

    /// Ends an invocation because its callee answered.
    pub fn answer(&mut self, id: RequestId) -> Answered<PendingInvocation> {
        match self.pending.remove(&id) {
            Some(invocation) => {
                if let Some(by_call) = &mut self.by_call {
                    by_call.remove(&invocation.of());
                    if by_call.is_empty() {
                        self.by_call = None;
                    }
                }
                Answered::Pending(invocation)
            }
            None if self.last.is_some_and(|last| id <= last) => Answered::Over,
            None => Answered::NeverIssued,
        }
    }

    /// The invocation of a call, while it is pending.
    pub fn of_call(
        &mut self,
        caller: SessionId,
        call: RequestId,
        serial: u32,
    ) -> Option<(RequestId, &mut PendingInvocation)> {
        let pending = &self.pending;
        if pending.is_empty() {
            return None;
        }
        let by_call = self.by_call.get_or_insert_with(|| {
            let mut by_call = Map::with_hasher(pending.hasher().clone());
            by_call.extend(pending.iter().map(|(id, invocation)| (invocation.of(), *id)));
            by_call
        });
        let id = *by_call.get(&(caller, call))?;
        let invocation = self.pending.get_mut(&id)?;
        (invocation.call.serial == serial).then_some((id, invocation))
    }

    /// Ends all, in the order in which they were sent.
    pub fn take_all(&mut self) -> Vec<PendingInvocation> {
        self.by_call = None;
        let mut all: Vec<_> = self.pending.drain().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, invocation)| invocation).collect()
    }
}

/// Ended progressive calls that one session remembers: enough for all chunks that can be under way.
const ENDED_UPLOADS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashSeed;
    use crate::router::{ShardId, Slot};

    fn id(number: u64) -> RequestId {
        RequestId::new(number).expect("a small number is an id")
    }

    fn invocation(caller: SessionId, call: u64) -> PendingInvocation {
        PendingInvocation {
            call: CallRef {
                caller: SessionRef { session: caller, slot: Slot::new(3), shard: ShardId(0) },
                request: id(call),
                serial: 7,
            },
            receive_progress: false,
            takes_passthru: false,
            interrupted: false,
            load: None,
        }
    }

    #[test]
    fn an_answer_is_judged_by_the_watermark() {
        let mut invocations = Invocations::new(HashSeed::new(1).state());
        let session = SessionId::new(9).expect("a small number is an id");
        assert!(matches!(invocations.answer(id(1)), Answered::NeverIssued));
        invocations.insert(invocation(session, 10));
        invocations.insert(invocation(session, 11));
        let is_10 = |one: &PendingInvocation| one.call.request == id(10);
        assert!(matches!(invocations.peek(id(1)), Answered::Pending(one) if is_10(one)));
        assert!(matches!(invocations.answer(id(1)), Answered::Pending(one) if is_10(&one)));
        assert!(matches!(invocations.answer(id(1)), Answered::Over));
        assert!(invocations.of_call(session, id(11), 6).is_none(), "an earlier call");
        let found = invocations.of_call(session, id(11), 7).map(|(id, _)| id);
        assert_eq!(found, Some(id(2)));
        assert!(matches!(invocations.answer(id(2)), Answered::Pending(_)));
        assert!(matches!(invocations.peek(id(3)), Answered::NeverIssued));
        assert!(invocations.is_empty() && invocations.take_all().is_empty());
    }

    /// The index of calls is there from the first look-up on, and not after the last invocation.
    #[test]
    fn calls_are_found_whenever_their_invocation_came() {
        let mut invocations = Invocations::new(HashSeed::new(1).state());
        let session = SessionId::new(9).expect("a small number is an id");
        let found = |invocations: &mut Invocations, call| {
            invocations.of_call(session, id(call), 7).map(|(id, _)| id)
        };
        for (first, call) in [(1, 10), (4, 20)] {
            assert_eq!(found(&mut invocations, call), None);
            for offset in 0..3 {
                invocations.insert(invocation(session, call + offset));
                assert_eq!(invocations.by_call.is_some(), offset == 2);
                let asked = if offset == 1 { 0 } else { offset };
                if offset > 0 {
                    assert_eq!(found(&mut invocations, call + asked), Some(id(first + asked)));
                }
            }
            for offset in [1, 0, 2] {
                assert!(matches!(invocations.answer(id(first + offset)), Answered::Pending(_)));
                assert_eq!(found(&mut invocations, call + offset), None);
            }
            assert!(invocations.by_call.is_none() && invocations.is_empty());
        }
    }

    #[test]
    fn late_chunks_are_known_until_the_last() {
        let mut ended = EndedUploads::default();
        ended.insert(id(5));
        assert!(ended.take(id(5), false) && ended.take(id(5), true));
        assert!(!ended.take(id(5), true) && !ended.take(id(6), false));
    }
}
