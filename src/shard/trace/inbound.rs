//! The message of a client that is being handled: it is looked at before, and what came of it is
//! seen behind it, so that the handlers know nothing of traces.

use super::filter::{Party, Subject};
use super::follow::{Followed, Key, Side};
use super::record::{
    About, Direction, TraceRecord, TracedRule, UNREADABLE, Verdict, cut, preview_units,
};
use super::{Admitted, LOOK_UNITS, RECORD_UNITS, Running, Traces};
use crate::authorization::{Action, Decision};
use crate::router::Slot;
use crate::session::{Answered, Permissions, Session};
use crate::shard::Shard;
use crate::shard::broker::ReceiverLists;
use crate::shard::connection::Phase;
use crate::shard::context::Context;
use crate::shard::requests::Stop;
use crate::wamp::{ClientMessage, MatchPolicy, Payload, RequestId, WampError, is_reserved};

/// A traced message that is being handled.
#[derive(Debug)]
pub(super) struct AtHand {
    pub(super) slot: Slot,
    pub(super) admitted: Admitted,
    record: TraceRecord,
    request: Option<RequestId>,
    /// What somebody is to decide about.
    asked: Option<Asked>,
    /// What is known of its effect before it is handled, or is said meanwhile.
    verdict: Option<Verdict>,
    /// Receivers of this shard, if they were all served at once.
    delivered: Option<u64>,
}

#[derive(Debug)]
struct Asked {
    action: Action,
    uri: Box<str>,
    policy: MatchPolicy,
}

impl AtHand {
    /// The traces that its replies are for, too.
    pub(super) fn mask(&self) -> u8 {
        self.admitted.mask()
    }

    /// The same if it is a request with this id.
    pub(super) fn is_request(&self, slot: Slot, request: RequestId) -> bool {
        self.slot == slot && self.request == Some(request)
    }

    /// All its receivers of this shard have got it.
    pub(super) const fn note_delivered(&mut self, receivers: u64) {
        self.delivered = Some(receivers);
    }

    /// An ERROR answers it.
    pub(super) fn refuse(&mut self, error: &str) {
        self.note_refused(error, Verdict::Refused);
    }

    fn note_refused(&mut self, error: &str, verdict: Verdict) {
        if !matches!(self.verdict, Some(Verdict::Denied | Verdict::Refused)) {
            self.verdict = Some(verdict);
            self.record.about.error = Some(cut(error));
        }
    }
}

impl Traces {
    /// The message at hand is refused with this error.
    #[cold]
    pub(in crate::shard) fn note_refused(&mut self, slot: Slot, error: &str, is_denied: bool) {
        let at_hand = self.running.as_mut().and_then(|running| running.at_hand.as_mut());
        if let Some(at_hand) = at_hand.filter(|at_hand| at_hand.slot == slot) {
            let verdict = if is_denied { Verdict::Denied } else { Verdict::Refused };
            at_hand.note_refused(error, verdict);
        }
    }
}

impl Shard {
    /// A message is about to be handled; `None` if it could not be read.
    #[cold]
    #[inline(never)]
    pub(in crate::shard) fn begin_traced(
        &mut self,
        slot: Slot,
        message: Option<&ClientMessage<'_>>,
        bytes: usize,
        is_first: bool,
    ) {
        let Some((wanted, mut record)) = self.introduce(slot, message, bytes) else { return };
        record.again = !is_first;
        let Context { traces, work, edition, now, .. } = &mut self.cx;
        let Some(running) = &mut traces.running else { return };
        let connection = &self.connections[slot];
        let session = connection.session();
        if let Some((session, message)) = session.zip(message) {
            follow(&mut running.followed, session, message);
        }
        let admitted = running.admit(wanted, *now);
        if admitted.is_nobody() {
            return;
        }
        work.charge(RECORD_UNITS);
        let limit_bytes = running.payload_bytes(admitted);
        let payload = message.and_then(|message| payload_of(message, session));
        if let Some(payload) = payload.filter(|_| limit_bytes > 0) {
            record.show(payload, limit_bytes);
            work.charge(preview_units(payload));
        }
        let longest = edition.settings.limits.uri_bytes;
        let asked = message.and_then(asked).filter(|asked| asked.uri.len() <= longest);
        let verdict = message.and_then(|message| foreseen(message, &connection.phase, session));
        let request = record.about.request.and_then(RequestId::new);
        if matches!(message, Some(ClientMessage::Publish(_))) {
            traces.mark = admitted.mask();
        }
        traces.published = None;
        let delivered = None;
        running.at_hand =
            Some(AtHand { slot, admitted, record, request, asked, verdict, delivered });
    }

    /// The traces that want a message, as bits, and what there is to be said of it before it is
    /// handled; `None` if nobody wants it.
    fn introduce(
        &mut self,
        slot: Slot,
        message: Option<&ClientMessage<'_>>,
        bytes: usize,
    ) -> Option<(u8, TraceRecord)> {
        let running = self.cx.traces.running.as_mut()?;
        self.cx.work.charge(LOOK_UNITS * running.count());
        let connection = &self.connections[slot];
        let (session, generation) = (connection.session(), connection.generation);
        let party = match message {
            Some(ClientMessage::Hello(hello)) => Party {
                session: None,
                realm: hello.realm.as_deref(),
                authid: hello.authid.as_deref(),
                authrole: None,
                peer: connection.peer,
            },
            _ => running.known.party(slot, connection),
        };
        let (about, subject) = match message {
            Some(message) => seen(message, session, &self.receivers, &running.followed),
            None => Default::default(),
        };
        let wanted = running.wanted(&party, subject);
        if wanted == 0 {
            return None;
        }
        let name = message.map_or(UNREADABLE, |message| message.kind().as_str());
        let (time, shard) = (self.cx.wall_clock, self.cx.id.0);
        let kind = (Direction::In, name, bytes);
        let record = TraceRecord::new(time, shard, kind, &party, about.with(subject));
        if let Some(ClientMessage::Hello(hello)) = message {
            let (realm, authid) = (hello.realm.as_deref(), hello.authid.as_deref());
            let party = Party { realm, authid, session: None, authrole: None, peer: record.peer };
            running.known.note(slot, generation, &party);
        }
        Some((wanted, record))
    }

    /// It was handled.
    #[cold]
    #[inline(never)]
    pub(in crate::shard) fn finish_traced(&mut self, handled: &Result<(), Stop>) {
        self.cx.traces.mark = 0;
        let running = self.cx.traces.running.as_mut();
        let Some(mut at_hand) = running.and_then(|running| running.at_hand.take()) else { return };
        match handled {
            Ok(()) => {}
            Err(Stop::Undecided(_)) => at_hand.verdict = Some(Verdict::Asked),
            Err(Stop::Violation(_)) => {
                at_hand.verdict = Some(Verdict::Refused);
                at_hand.record.about.error = Some(cut(WampError::ProtocolViolation.uri()));
            }
        }
        let session = self.connections.get(at_hand.slot).and_then(|found| found.session());
        if let Some(asked) = &at_hand.asked {
            let is_lost = || asked.is_lost_call(session, at_hand.request);
            let verdict = *at_hand
                .verdict
                .get_or_insert_with(|| if is_lost() { Verdict::Ignored } else { Verdict::Granted });
            if matches!(verdict, Verdict::Granted | Verdict::Denied | Verdict::Asked)
                && let Some(session) = session
            {
                let (rule, effort) = deciding_rule(session, asked);
                at_hand.record.rule = rule.map(Box::new);
                self.cx.work.charge(effort);
            }
            let call = at_hand.request.and_then(|request| session?.calls.get(&request));
            let call = call.filter(|_| asked.action == Action::Call);
            at_hand.record.callee = call.map(|call| call.callee.session.get());
        }
        at_hand.record.decision = at_hand.verdict;
        let published = self.cx.traces.published.take();
        let is_published = at_hand.record.decision == Some(Verdict::Granted)
            && at_hand.asked.as_ref().is_some_and(|asked| asked.action == Action::Publish);
        if let Some((publication, to)) = published.filter(|_| is_published) {
            let mut awaited = to.with_sessions();
            if at_hand.delivered.is_some() {
                awaited.remove(self.cx.id);
            }
            at_hand.record.about.publication = Some(publication.get());
            at_hand.record.receivers = Some(at_hand.delivered.unwrap_or_default());
            at_hand.record.awaited = awaited;
        }
        if let Some(running) = &mut self.cx.traces.running {
            running.keep(&at_hand.record, at_hand.admitted);
        }
    }
}

impl Running {
    /// The traces of the message at hand, if it came from this slot.
    pub(super) fn at_hand_of(&self, slot: Slot) -> u8 {
        let at_hand = self.at_hand.as_ref().filter(|at_hand| at_hand.slot == slot);
        at_hand.map_or(0, AtHand::mask)
    }
}

impl Asked {
    /// Whether it was a CALL of a client's procedure that has come to nothing, without an answer.
    fn is_lost_call(&self, session: Option<&Session>, request: Option<RequestId>) -> bool {
        let is_pending = || {
            let calls = session.map(|session| &session.calls);
            request.is_some_and(|request| calls.is_some_and(|calls| calls.contains_key(&request)))
        };
        self.action == Action::Call && !is_reserved(&self.uri) && !is_pending()
    }
}

/// What a message is about: its numbers, and its texts as they came.
fn seen<'a>(
    message: &'a ClientMessage<'_>,
    session: Option<&'a Session>,
    receivers: &'a ReceiverLists,
    followed: &'a Followed,
) -> (About, Subject<'a>) {
    let followed = |side, request| {
        let key = Key { session: session?.id, side, request };
        followed.get(key).map(|uri| &**uri)
    };
    let mut about = About::default();
    let mut request = |id: RequestId| about.request = Some(id.get());
    let subject: Subject<'a> = match message {
        ClientMessage::Hello(_) | ClientMessage::Authenticate(_) => [None, None],
        ClientMessage::Abort { reason } | ClientMessage::Goodbye { reason } => [None, Some(reason)],
        ClientMessage::Error(error) => {
            request(error.request);
            [followed(Side::Invoked, error.request), Some(&error.error)]
        }
        ClientMessage::Publish(publish) => {
            request(publish.request);
            [Some(&publish.topic), None]
        }
        ClientMessage::Subscribe(subscribe) => {
            request(subscribe.request);
            about = about.matching(subscribe.options.match_policy);
            [Some(&subscribe.topic), None]
        }
        ClientMessage::Unsubscribe { request: id, subscription } => {
            request(*id);
            about.subscription = Some(subscription.get());
            [receivers.get(*subscription).map(|list| &*list.uri), None]
        }
        ClientMessage::Call(call) => {
            request(call.request);
            [Some(&call.procedure), None]
        }
        ClientMessage::Cancel(cancel) => {
            request(cancel.request);
            [followed(Side::Own, cancel.request), None]
        }
        ClientMessage::Register(register) => {
            request(register.request);
            about = about.matching(register.options.match_policy);
            [Some(&register.procedure), None]
        }
        ClientMessage::Unregister { request: id, registration } => {
            request(*id);
            about.registration = Some(registration.get());
            let held = session.and_then(|session| session.registrations.get(registration));
            [held.map(|held| &*held.uri), None]
        }
        ClientMessage::Yield(answer) => {
            request(answer.request);
            [followed(Side::Invoked, answer.request), None]
        }
    };
    (about, subject)
}

/// Remembers what a request is about, for the answers to it.
fn follow(followed: &mut Followed, session: &Session, message: &ClientMessage<'_>) {
    let (request, uri) = match message {
        ClientMessage::Publish(publish) => (publish.request, &*publish.topic),
        ClientMessage::Subscribe(subscribe) => (subscribe.request, &*subscribe.topic),
        ClientMessage::Call(call) => (call.request, &*call.procedure),
        ClientMessage::Register(register) => (register.request, &*register.procedure),
        ClientMessage::Unregister { request, registration } => {
            let Some(held) = session.registrations.get(registration) else { return };
            (*request, &*held.uri)
        }
        _ => return,
    };
    followed.note(Key { session: session.id, side: Side::Own, request }, uri);
}

/// What rules or authorizers decide about.
fn asked(message: &ClientMessage<'_>) -> Option<Asked> {
    let (action, uri, policy) = match message {
        ClientMessage::Publish(it) => (Action::Publish, &it.topic, MatchPolicy::Exact),
        ClientMessage::Call(it) => (Action::Call, &it.procedure, MatchPolicy::Exact),
        ClientMessage::Subscribe(it) => (Action::Subscribe, &it.topic, it.options.match_policy),
        ClientMessage::Register(it) => (Action::Register, &it.procedure, it.options.match_policy),
        _ => return None,
    };
    Some(Asked { action, uri: uri.as_ref().into(), policy })
}

/// What is sure to come of a message, whatever rules say.
fn foreseen(
    message: &ClientMessage<'_>,
    phase: &Phase,
    session: Option<&Session>,
) -> Option<Verdict> {
    let has_answered = |request| {
        let answered = session.map(|session| session.invocations.peek(request));
        matches!(answered, Some(Answered::Over)).then_some(Verdict::Ignored)
    };
    match (message, phase) {
        (ClientMessage::Goodbye { .. } | ClientMessage::Abort { .. }, _) => None,
        (_, Phase::Open | Phase::Challenged(_)) => None,
        (ClientMessage::Yield(answer), Phase::Joined(_)) => has_answered(answer.request),
        (ClientMessage::Error(error), Phase::Joined(_)) => has_answered(error.request),
        (ClientMessage::Call(call), Phase::Joined(session)) => {
            session.calls.contains_key(&call.request).then_some(Verdict::Continued)
        }
        (ClientMessage::Cancel(cancel), Phase::Joined(session)) => {
            (!session.calls.contains_key(&cancel.request)).then_some(Verdict::Ignored)
        }
        (_, Phase::Joined(_)) => None,
        _ => Some(Verdict::Ignored),
    }
}

/// The payload, if operators may see it: not what is for the router itself or from one of its
/// authenticators, which may be a ticket, a token or a key.
fn payload_of<'a>(message: &ClientMessage<'a>, session: Option<&Session>) -> Option<Payload<'a>> {
    let is_answer_to_client = |request| {
        let answered = session.map(|session| session.invocations.peek(request));
        matches!(answered, Some(Answered::Pending(it)) if !it.call.caller.is_router())
    };
    match message {
        ClientMessage::Publish(it) if !is_reserved(&it.topic) => Some(it.payload),
        ClientMessage::Call(it) if !is_reserved(&it.procedure) => Some(it.payload),
        ClientMessage::Yield(it) if is_answer_to_client(it.request) => Some(it.payload),
        ClientMessage::Error(it) if is_answer_to_client(it.request) => Some(it.payload),
        _ => None,
    }
}

/// The rule by which a session's request is decided, and what it took to find it.
fn deciding_rule(session: &Session, asked: &Asked) -> (Option<TracedRule>, usize) {
    let Permissions::Rules(ruled) = &session.permissions else { return (None, 0) };
    let rules = &ruled.role.rules;
    let rule = match rules.authorize(asked.action, &asked.uri, asked.policy) {
        Decision::Allow(rule) | Decision::Ask(rule) => Some(rule),
        Decision::Deny(rule) => rule,
    };
    let effort = rules.effort(asked.action, asked.policy);
    let authorizer = rule.and_then(|rule| rules.authorizer(rule)).map(|name| &**name);
    (rule.map(|rule| TracedRule::new(rules.rule(rule), authorizer)), effort)
}
