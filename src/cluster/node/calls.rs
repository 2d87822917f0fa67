//! Calls whose halves are on two nodes: what the shards have of them for others, and what those
//! say.
//!
//! The caller's shard keeps its deadline and the way to the next callee, the callee's its seats and
//! INTERRUPT, as if both were of one node; here is only which call goes where. What ends with a
//! link ends here, for both.

use super::super::calls::{Number, Taken};
use super::super::entry::{
    Entry, ForeignCall, Unreadable, encode_cancel, encode_chunk, encode_invoke, encode_return,
    encode_revocation,
};
use super::super::wire::Incarnation;
use super::Node;
use crate::router::{NodeNumber, SessionRef};
use crate::session::CallRef;
use crate::shard::{
    CALLEE_LEFT, CallElsewhere, Cancellation, Carried, Invoke, Mail, Outcome, Return,
};
use crate::wamp::{CancelMode, PayloadBuf, RegistrationId, SessionId, WampError};

impl Node {
    /// Calls of this node's sessions that are pending at other nodes, and calls of theirs here.
    pub fn pending_calls(&self) -> (usize, usize) {
        self.calls.pending()
    }

    /// What a shard has of calls.
    pub(super) fn handle_mail_of_calls(&mut self, mail: Mail) {
        match mail {
            Mail::Call(call) if call.message.invoke.is_continuation => self.send_chunk(*call),
            Mail::Call(call) => self.send_call(&call),
            Mail::Cancel(cancellation) => self.send_cancel(&cancellation),
            Mail::Return(answer) => self.send_return(*answer),
            Mail::RevokeRegistration { callee, registration, reason } => {
                self.send_revocation(callee.session, registration, reason.as_deref());
            }
            other => debug_assert!(false, "nothing for other nodes: {other:?}"),
        }
    }

    fn send_call(&mut self, call: &Carried<CallElsewhere>) {
        let Invoke { call: named, callee, .. } = call.message.invoke;
        let reached = self.owner(callee.session).and_then(|node| {
            let peer = self.peers.get_mut(&self.calls.peer(node)?)?;
            Some((node, peer))
        });
        let Some((node, peer)) = reached else {
            return self.refuse_call(named, NOT_REACHED);
        };
        let mut entry = Vec::new();
        encode_invoke(self.calls.next(), &call.message, &call.payload, &mut entry);
        if peer.link.queued_bytes() + entry.len() > self.settings.queue_bytes {
            return self.refuse_call(named, NODE_BEHIND);
        }
        self.calls.send(node, named);
        peer.link.push(&entry, false);
        self.counts.calls += 1;
    }

    /// The call of a chunk that finds none has ended, and its caller is told.
    fn send_chunk(&mut self, call: Carried<CallElsewhere>) {
        let Invoke { call: named, details, .. } = &call.message.invoke;
        let Some(number) = self.number_of(named.caller.session, named) else { return };
        let mut entry = Vec::new();
        encode_chunk(number.count, details, &call.payload, &mut entry);
        if !self.has_room(number.node, entry.len(), 1) {
            // An invocation with a gap is worthless.
            let named = *named;
            self.calls.end_sent(number);
            self.push_cancel(number, CancelMode::KillNoWait);
            return self.refuse_call(named, NODE_BEHIND);
        }
        self.push(number.node, &entry);
    }

    /// With `kill` the caller waits for the answer; otherwise the call has ended.
    fn send_cancel(&mut self, cancellation: &Cancellation) {
        let Cancellation { caller, call, serial, mode, .. } = *cancellation;
        let Some(number) = self.calls.sent_as((caller, call, serial)) else { return };
        if mode != CancelMode::Kill {
            self.calls.end_sent(number);
        }
        self.push_cancel(number, mode);
    }

    /// The answer of a session of this node. There is room for those that end a call when there is
    /// none for calls; beyond that they go without their payloads.
    fn send_return(&mut self, answer: Carried<Return>) {
        let Carried { message: Return { call, outcome }, payload, .. } = answer;
        let Some(number) = Number::of_call(&call) else {
            debug_assert!(false, "no caller elsewhere is called {call:?}");
            return;
        };
        // It was ended with the link, or by its caller.
        let Some(taken) = self.calls.taken(number) else { return };
        let is_progress = matches!(outcome, Outcome::Progress { .. });
        let mut entry = Vec::new();
        encode_return(number.count, &outcome, &payload, &mut entry);
        let has_room = self.has_room(number.node, entry.len(), if is_progress { 1 } else { 2 });
        if !has_room && is_progress {
            // A gap in the results cannot be hidden: the call fails.
            self.post_cancel(taken.cancellation(number, CancelMode::KillNoWait));
        }
        if !has_room {
            let outcome = NODE_BEHIND.into();
            entry.clear();
            encode_return(number.count, &outcome, &PayloadBuf::Empty, &mut entry);
        }
        if !(is_progress && has_room) {
            self.calls.end_taken(number);
        }
        self.push(number.node, &entry);
    }

    fn send_revocation(
        &mut self,
        callee: SessionId,
        registration: RegistrationId,
        reason: Option<&str>,
    ) {
        let Some(node) = self.owner(callee) else { return };
        let mut entry = Vec::new();
        encode_revocation(callee, registration, reason, &mut entry);
        self.push(node, &entry);
    }

    /// Its shard looks whether it still has the registration.
    fn handle_revocation(
        &mut self,
        callee: SessionId,
        registration: RegistrationId,
        reason: Option<Box<str>>,
    ) {
        let found = self.router.realms().iter().find_map(|realm| realm.find(callee));
        if let Some(callee) = found {
            self.post_to(callee, Mail::RevokeRegistration { callee, registration, reason });
        }
    }

    /// What another node says of calls.
    pub(super) fn handle_calls(
        &mut self,
        from: Incarnation,
        entry: Entry,
    ) -> Result<(), Unreadable> {
        let node = self.peers.get(&from).expect("it has said so").number;
        let number = |count| Number { node, count };
        match entry {
            Entry::Invoke(call) => return self.handle_invoke(node, *call),
            Entry::Chunk { number: count, details, payload } => {
                if let Some(taken) = self.calls.taken(number(count)) {
                    let mut invoke = taken.invoke(number(count), details);
                    invoke.is_continuation = true;
                    self.post_invoke(invoke, payload);
                }
            }
            Entry::Cancel { number: count, mode } => self.handle_cancel(number(count), mode),
            Entry::Return { number: count, outcome, payload } => {
                self.handle_return(number(count), outcome, payload);
            }
            Entry::Revocation { callee, registration, reason } => {
                self.handle_revocation(callee, registration, reason);
            }
            other => debug_assert!(false, "nothing of calls: {other:?}"),
        }
        Ok(())
    }

    /// A call for a session of this node, which its shard seats, delivers or sends back.
    fn handle_invoke(&mut self, node: NodeNumber, call: ForeignCall) -> Result<(), Unreadable> {
        let number = Number { node, count: call.number };
        let is_of_node = call.caller == SessionId::ROUTER || self.owner(call.caller) == Some(node);
        if !is_of_node || !self.calls.note_number(number) {
            return Err(Unreadable);
        }
        self.counts.foreign_calls += 1;
        let ForeignCall { caller, registration, place, .. } = call;
        let ForeignCall { receive_progress, takes_passthru, .. } = call;
        let realm = self.router.realm(&call.realm);
        let Some(callee) = realm.and_then(|realm| realm.find(call.callee)) else {
            let mut entry = Vec::new();
            let outcome = CALLEE_LEFT.into();
            encode_return(number.count, &outcome, &PayloadBuf::Empty, &mut entry);
            self.push(node, &entry);
            return Ok(());
        };
        let taken = Taken { callee, caller, registration };
        self.calls.take(number, taken);
        let invoke = taken.invoke(number, call.details);
        let invoke = Invoke { place, receive_progress, takes_passthru, ..invoke };
        self.post_invoke(invoke, call.payload);
        Ok(())
    }

    fn handle_cancel(&mut self, number: Number, mode: CancelMode) {
        let taken = match mode {
            // The callee answers, or its shard does.
            CancelMode::Kill => self.calls.taken(number),
            CancelMode::Skip | CancelMode::KillNoWait => self.calls.end_taken(number),
        };
        if let Some(taken) = taken {
            self.post_cancel(taken.cancellation(number, mode));
        }
    }

    fn handle_return(&mut self, number: Number, outcome: Outcome, payload: PayloadBuf) {
        let call = match outcome {
            Outcome::Progress { .. } => self.calls.sent(number),
            _ => self.calls.end_sent(number),
        };
        match call {
            Some(call) => self.post_return(Return { call, outcome }, payload),
            // Its caller has not waited for it.
            None => self.counts.late_answers += 1,
        }
    }

    /// A link is open, through which no call has gone.
    pub(super) fn open_calls(&mut self, with: Incarnation) {
        if let Some(peer) = self.peers.get(&with) {
            self.calls.open(peer.number, with);
        }
    }

    /// A link has ended: callers are told, and callees need not answer.
    pub(super) fn end_calls(&mut self, node: NodeNumber) {
        let (sent, taken) = self.calls.close(node);
        self.counts.lost_calls += sent.len() as u64;
        for call in sent {
            self.refuse_call(call, LINK_ENDED);
        }
        taken.into_iter().for_each(|cancellation| self.post_cancel(cancellation));
    }

    /// The number of a pending call of this node.
    fn number_of(&self, caller: SessionId, call: &CallRef) -> Option<Number> {
        self.calls.sent_as((caller, call.request, call.serial))
    }

    /// The node of which a session with this id is.
    pub(super) fn owner(&self, session: SessionId) -> Option<NodeNumber> {
        self.members.ids().map(|ids| ids.owner(session))
    }

    /// Whether the queue to a node takes so many bytes, if it may be so many times as long as that
    /// of events.
    pub(super) fn has_room(&self, node: NodeNumber, bytes: usize, times: usize) -> bool {
        let peer = self.calls.peer(node).and_then(|peer| self.peers.get(&peer));
        let most = self.settings.queue_bytes.saturating_mul(times);
        peer.is_some_and(|peer| peer.link.queued_bytes() + bytes <= most)
    }

    fn push_cancel(&mut self, number: Number, mode: CancelMode) {
        let mut entry = Vec::new();
        encode_cancel(number.count, mode, &mut entry);
        self.push(number.node, &entry);
    }

    pub(super) fn push(&mut self, node: NodeNumber, entry: &[u8]) {
        let peer = self.calls.peer(node).and_then(|peer| self.peers.get_mut(&peer));
        if let Some(peer) = peer {
            peer.link.push(entry, false);
        }
    }

    fn refuse_call(&mut self, call: CallRef, why: Why) {
        self.counts.refused_calls += 1;
        self.post_return(Return { call, outcome: why.into() }, PayloadBuf::Empty);
    }

    fn post_invoke(&mut self, invoke: Invoke, payload: PayloadBuf) {
        let callee = invoke.callee;
        let carried = Carried::invoke(invoke, payload, &self.held);
        self.post_to(callee, Mail::Invoke(Box::new(carried)));
    }

    fn post_cancel(&mut self, cancellation: Cancellation) {
        self.post_to(cancellation.callee, Mail::Cancel(cancellation));
    }

    fn post_return(&mut self, answer: Return, payload: PayloadBuf) {
        let caller = answer.call.caller;
        let carried = Carried::answer(answer, payload, &self.held);
        self.post_to(caller, Mail::Return(Box::new(carried)));
    }

    fn post_to(&mut self, session: SessionRef, mail: Mail) {
        self.outboxes[usize::from(session.shard.0)].push(mail);
    }
}

type Why = (WampError, &'static str);

const NOT_REACHED: Why = (
    WampError::NetworkFailure,
    "the node of the callee cannot be reached just now: try again later",
);
const LINK_ENDED: Why = (
    WampError::NetworkFailure,
    "the link with the node of the callee has ended before the answer came: it is not known \
     whether the callee has got the call",
);
const NODE_BEHIND: Why = (
    WampError::ResourceLimit,
    "too much waits on its way between the nodes of the caller and the callee: try again later",
);
