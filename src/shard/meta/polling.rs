//! How a question of the meta API is answered: by this node alone, or, in a cluster, by all others
//! as well ([`Settings::question_ms`](crate::router::Settings)); and how this node answers others.
//!
//! The shard of the caller asks, and holds the deadline. Its own node's part is gathered as for a
//! router that is alone. Who is killed is out of its realm's list first, so each session is ended
//! once, whenever a question comes. Rights were checked where the caller is.

use std::sync::Arc;

use super::super::requests::Refusal;
use super::super::timers::CallTimer;
use super::super::work::LOOKUP_UNITS;
use super::super::{Ask, Mail, Part, Reply, Shard};
use super::finding::{Finding, Word};
use super::history::TOO_MANY_QUESTIONS;
use super::lists::{FEW, Found, ORDERED_PER_UNIT, Subject};
use super::polls::{Asker, Nodes, Poll, PollTally, Stage};
use super::question::{Question, Roles};
use super::sessions::session_details;
use super::subscribers::shards_of;
use super::{Answer, Caller};
use crate::clock::Millis;
use crate::router::{Destinations, Listing, NodeName, PollCounts, Realm, ShardId, Walk};
use crate::wamp::{
    Dict, Payload, RequestId, RouterMessage, SessionId, SubscriptionId, Value, WampError, code,
};

/// How this node finds its part of an answer.
enum Way {
    /// It is found, or done.
    Now(Finding),
    Survey(Subject),
    /// Of a subscription these shards are asked, for the names or for the number.
    RollCall((SubscriptionId, bool), Destinations),
}

impl Shard {
    /// Answers a question of a session here.
    pub(super) fn find_out(
        &mut self,
        caller: Caller,
        question: Question,
    ) -> Result<Answer, Refusal> {
        let realm = self.realm_of(caller);
        let asks_nodes = self.cx.settings().question_ms > 0;
        if asks_nodes && self.concerns_others(&realm, &question) {
            return self.ask_everywhere(caller, realm, question);
        }
        match self.way(&realm, &question) {
            Way::Now(finding) => Ok(Answer::Now(finding.into_args(&question)?, Dict::new())),
            Way::Survey(subject) => self.survey(caller, subject),
            Way::RollCall(..) => {
                let pending = self.polls.pending_of(caller.session.session);
                if pending >= self.cx.limits().meta_questions_per_session {
                    return Err(TOO_MANY_PENDING);
                }
                self.push_poll(Asker::Session(caller), realm, question, false);
                Ok(Answer::Later)
            }
        }
    }

    /// What is about one session is for the node alone that has it.
    fn concerns_others(&self, realm: &Realm, question: &Question) -> bool {
        let is_here = |session| realm.find(session).is_some();
        let is_own = |session| is_here(session) || self.cx.router.ids().is_own(session);
        !question.session().is_some_and(is_own)
    }

    /// Who asks what takes long, or as much as it may at a time, is not read until it is answered.
    #[cold]
    fn ask_everywhere(
        &mut self,
        caller: Caller,
        realm: Arc<Realm>,
        question: Question,
    ) -> Result<Answer, Refusal> {
        if !self.cx.may_hold(Poll::weight(&question, &Finding::nothing(&question))) {
            return Err(TOO_MANY_QUESTIONS);
        }
        let is_long = question.is_long();
        let pending = self.polls.pending_of(caller.session.session) + 1;
        let is_parking = is_long || pending >= self.cx.limits().meta_questions_per_session;
        if is_parking {
            self.connections.park(caller.session.slot);
        }
        let ticket = self.push_poll(Asker::Session(caller), realm, question, is_parking);
        if !is_long {
            self.ask(ticket);
        }
        Ok(Answer::Later)
    }

    fn push_poll(
        &mut self,
        asker: Asker,
        realm: Arc<Realm>,
        question: Question,
        is_parking: bool,
    ) -> u64 {
        let found = Finding::nothing(&question);
        let held = self.cx.held().hold(Poll::weight(&question, &found));
        let stage = if question.is_long() { Stage::Waiting } else { Stage::Asked(0) };
        let (until, nodes) = (self.cx.now + self.cx.settings().question_ms, Nodes::Nobody);
        self.polls.push(Poll {
            asker,
            realm,
            question,
            stage,
            found,
            nodes,
            until,
            is_parking,
            held,
        })
    }

    /// Asks the next long question, or gives the next long answer. `false` if there is none.
    #[inline]
    pub(in crate::shard) fn go_on_polling(&mut self) -> bool {
        self.polls.has_jobs() && (self.ask_further() || self.answer_further())
    }

    fn ask_further(&mut self) -> bool {
        let Some(ticket) = self.polls.next() else { return false };
        self.cx.work.charge(LOOKUP_UNITS);
        let poll = self.polls.get_mut(ticket).expect("what waits is a poll");
        if let Asker::Node(..) = poll.asker
            && poll.until < self.cx.now
        {
            // Nobody waits for that any more, and what nobody waits for is not done.
            poll.found = Finding::Unable;
            self.answer_poll(ticket);
        } else {
            self.ask(ticket);
        }
        true
    }

    /// Asks everybody who is to be asked.
    fn ask(&mut self, ticket: u64) {
        let poll = self.polls.get(ticket).expect("what is to be asked is a poll");
        let (asker, realm, question) = (poll.asker, Arc::clone(&poll.realm), poll.question.clone());
        let is_elsewhere = match asker {
            Asker::Session(caller) if self.cx.settings().question_ms > 0 => {
                self.ask_nodes(ticket, caller);
                question.session().is_some()
            }
            _ => false,
        };
        let way = match is_elsewhere {
            true => Way::Now(Finding::nothing(&question)),
            false => self.way(&realm, &question),
        };
        let (way, awaited) = match way {
            // A history without subscribers.
            Way::RollCall((_, wants_names), shards) if shards.is_empty() => {
                (Way::Now(nobody(wants_names)), 1)
            }
            Way::RollCall(_, shards) => (way, shards.shards().count()),
            Way::Now(_) | Way::Survey(_) => (way, 1),
        };
        self.polls.get_mut(ticket).expect("it was just asked").stage = Stage::Asked(awaited);
        match way {
            Way::Now(finding) => self.take_part(ticket, finding),
            Way::Survey(subject) => self.survey_for(ticket, realm, subject),
            Way::RollCall((subscription, wants_names), shards) => {
                self.call_roll(ticket, (subscription, wants_names), shards);
                self.note_feeds(asker, shards);
            }
        }
    }

    /// Asks the other nodes. From now on they have their time.
    #[cold]
    fn ask_nodes(&mut self, ticket: u64, caller: Caller) {
        let until = self.cx.now + self.cx.settings().question_ms;
        let poll = self.polls.get_mut(ticket).expect("it is about to be asked");
        (poll.nodes, poll.until) = (Nodes::Unknown, until);
        let (realm, question) = (Arc::clone(poll.realm.name()), poll.question.clone());
        self.cx.timers.arm_call(until, timer(ticket));
        let ask = Ask { asker: self.cx.id, ticket, realm, question };
        self.cx.post.send(ShardId::CLUSTER, Mail::Ask(Box::new(ask)));
        self.note_feeds(Asker::Session(caller), Destinations::only(ShardId::CLUSTER));
    }

    /// Who asks is not read while they have too much to do whom it asks.
    fn note_feeds(&mut self, asker: Asker, mut destinations: Destinations) {
        if let Asker::Session(caller) = asker {
            destinations.remove(self.cx.id);
            self.mark_feeds(caller.session.slot, destinations);
        }
    }

    /// Finds this node's part of an answer, or how it is found. What is to be done to one session
    /// is done.
    fn way(&mut self, realm: &Arc<Realm>, question: &Question) -> Way {
        let all = |roles: &Roles, wants_names| {
            let (walk, roles, found) = (Walk::new(), roles.clone(), Found::new(wants_names));
            Way::Survey(Subject::Sessions { walk, roles, found })
        };
        Way::Now(match question {
            Question::CountSessions { roles: None } => {
                Finding::Count(Some(realm.session_count() as u64))
            }
            Question::CountSessions { roles } => return all(roles, false),
            Question::ListSessions { roles } => return all(roles, true),
            Question::KillSessions { whom, caller, words } => {
                let (walk, found) = (Walk::new(), Found::new(whom.wants_names()));
                let (whom, caller, words) = (whom.clone(), *caller, words.clone());
                return Way::Survey(Subject::Kills { walk, whom, caller, words, found });
            }
            Question::ListSubscriptions => {
                return Way::Survey(Subject::Subscriptions(Walk::new(), Listing::default()));
            }
            Question::CountSubscribers(id) => return roll_call(realm, *id, false),
            Question::ListSubscribers(id) => return roll_call(realm, *id, true),
            Question::GetSession(session) => {
                let member = realm.member(*session);
                Finding::Session(member.map(|member| session_details(*session, &member.profile)))
            }
            Question::KillSession { session, words } => {
                Finding::Done(self.kill_one(realm, *session, words))
            }
            Question::RemoveSubscriber { subscription, session, reason } => {
                let reason = reason.as_deref();
                Finding::Done(self.remove_one(realm, *subscription, *session, reason))
            }
            Question::LookUpSubscription { uri, policy } => {
                let found = realm.topics.look_up(uri, *policy);
                Finding::Subscription(found.map(|found| found.subscription))
            }
            Question::MatchSubscriptions { uri } => Finding::Matches(self.match_topic(realm, uri)),
            Question::GetSubscription(id) => Finding::Described(realm.topics.get(*id)),
        })
    }

    /// A part of this node has come.
    pub(super) fn take_part(&mut self, ticket: u64, part: Finding) {
        let most = self.cx.limits().meta_list_items;
        let Some(poll) = self.polls.get_mut(ticket) else { return };
        poll.take_part(part, most);
        self.answer_if_complete(ticket);
    }

    /// What comes of a question to other nodes.
    pub(in crate::shard) fn handle_reply(&mut self, reply: Reply) {
        let Reply { ticket, word } = reply;
        let limits = self.cx.limits();
        let (most, uri_bytes) = (limits.meta_list_items, limits.uri_bytes);
        let Some(poll) = self.polls.awaiting(ticket) else {
            return self.cx.measures.polls.late.increment();
        };
        let word = match word {
            // Of what is killed the list has no other limit.
            Word::Found { node, finding, .. } if !self.cx.may_hold(finding.heap_bytes()) => {
                Word::Missing(vec![node])
            }
            Word::Found { ref finding, .. } => {
                self.cx.work.charge(finding.listed() / ORDERED_PER_UNIT);
                word
            }
            word => word,
        };
        poll.take_word(word, most, uri_bytes);
        if !poll.nodes.are_awaited() {
            self.cx.timers.disarm_call(poll.until, timer(ticket));
            self.answer_if_complete(ticket);
        }
    }

    /// Other nodes have had their time.
    pub(in crate::shard) fn time_out_poll(&mut self, ticket: RequestId, at: Millis) {
        let ticket = ticket.get();
        self.cx.timers.disarm_call(at, timer(ticket));
        let Some(poll) = self.polls.get_mut(ticket) else { return };
        poll.nodes.give_up();
        self.answer_if_complete(ticket);
    }

    /// Another node asks.
    pub(in crate::shard) fn handle_ask(&mut self, ask: Ask) {
        let Ask { asker, ticket, realm, question } = ask;
        let found = Finding::nothing(&question);
        let has_room = self.polls.waiting_of_nodes() < MOST_WAITING_OF_NODES
            && self.cx.may_hold(Poll::weight(&question, &found));
        let realm = self.cx.edition.realm(&realm).map(Arc::clone);
        let Some(realm) = realm.filter(|_| has_room) else {
            // A node that does not have the realm is as good as one that does not answer.
            self.send_parts(asker, ticket, Finding::Unable);
            return;
        };
        let is_long = question.is_long();
        let poll = self.push_poll(Asker::Node(asker, ticket), realm, question, false);
        if !is_long {
            self.ask(poll);
        }
    }

    fn answer_if_complete(&mut self, ticket: u64) {
        let Some(poll) = self.polls.get_mut(ticket).filter(|poll| poll.is_complete()) else {
            return;
        };
        if poll.found.listed() > FEW {
            poll.stage = Stage::Over;
            self.polls.answer_later(ticket);
        } else {
            self.answer_poll(ticket);
        }
    }

    fn answer_further(&mut self) -> bool {
        let Some(ticket) = self.polls.next_over() else { return false };
        self.answer_poll(ticket);
        true
    }

    fn answer_poll(&mut self, ticket: u64) {
        let Some(poll) = self.polls.remove(ticket) else { return };
        self.cx.work.charge(poll.found.listed() / ORDERED_PER_UNIT);
        match poll.asker {
            Asker::Session(caller) => self.answer_caller(caller, poll),
            Asker::Node(at, ticket) => self.send_parts(at, ticket, poll.found),
        }
    }

    fn send_parts(&mut self, to: ShardId, ticket: u64, found: Finding) {
        let mut parts = found.into_parts().into_iter().peekable();
        while let Some(finding) = parts.next() {
            let is_last = parts.peek().is_none();
            let part = Part { ticket, finding, is_last };
            self.cx.post.send(to, Mail::Part(Box::new(part)));
        }
    }

    fn answer_caller(&mut self, caller: Caller, poll: Poll) {
        let Poll { question, mut found, nodes, is_parking, .. } = poll;
        if is_parking {
            self.connections.redeem(caller.session.slot);
        }
        if !matches!(nodes, Nodes::Nobody) {
            found.put_in_order();
        }
        let missing = nodes.missing();
        self.cx.measures.polls.answered.increment();
        self.cx.measures.polls.partial.add(u64::from(missing.is_some()));
        let is_unknown = missing.is_some() && found.is_absent();
        let kwargs = missing.map(partial).unwrap_or_default();
        if is_unknown {
            return self.refuse_unknown(caller, &kwargs);
        }
        match found.into_args(&question) {
            Ok(args) => self.send_late_result(caller, &args, &kwargs),
            Err(refusal) => self.refuse_late_call(caller, refusal),
        }
    }

    /// What is asked about is on no node that has answered, and perhaps on another one.
    fn refuse_unknown(&mut self, caller: Caller, kwargs: &Dict) {
        let slot = caller.session.slot;
        let before = self.waiting_bytes(slot);
        self.cx.counters.calls_refused.increment();
        let payload = Payload::Values { args: &[UNANSWERED.into()], kwargs };
        let (details, error) = (&Dict::new(), WampError::NetworkFailure.uri());
        let (request_type, request) = (code::CALL, caller.request);
        let said = RouterMessage::Error { request_type, request, details, error, payload };
        if self.send(slot, &said).is_err() {
            self.refuse(slot, request_type, request, (WampError::NetworkFailure, UNANSWERED));
        }
        self.count_own_output(slot, before);
    }

    /// A session has ended: nobody waits for the answers to its questions.
    pub(in crate::shard) fn forget_polls(&mut self, session: SessionId) {
        for ticket in self.polls.of_session(session) {
            let poll = self.polls.remove(ticket).expect("those of a session are polls");
            if poll.nodes.are_awaited() {
                self.cx.timers.disarm_call(poll.until, timer(ticket));
            }
        }
    }

    /// How many questions are not answered that this shard has passed on.
    pub fn poll_count(&self) -> usize {
        self.polls.len()
    }

    pub fn poll_tally(&self) -> PollTally {
        let PollCounts { answered, partial, late } = &self.cx.measures.polls;
        PollTally { answered: answered.get(), partial: partial.get(), late: late.get() }
    }
}

/// Of a subscription that has no subscribers.
fn nobody(wants_names: bool) -> Finding {
    if wants_names { Finding::Sessions(Some(Vec::new())) } else { Finding::Count(Some(0)) }
}

fn roll_call(realm: &Realm, subscription: SubscriptionId, wants_names: bool) -> Way {
    match shards_of(realm, subscription) {
        None if wants_names => Way::Now(Finding::Sessions(None)),
        None => Way::Now(Finding::Count(None)),
        Some(shards) => Way::RollCall((subscription, wants_names), shards),
    }
}

/// `ArgumentsKw` of an answer that is not everybody's.
fn partial(missing: Vec<&NodeName>) -> Dict {
    let names = missing.into_iter().map(|name| name.as_str().into()).collect();
    vec![("partial".into(), Value::Bool(true)), ("missing".into(), Value::List(names))]
}

fn timer(ticket: u64) -> CallTimer {
    CallTimer::of_poll(RequestId::new(ticket).expect("nobody asks so often"))
}

/// Long questions of other nodes that wait for their turn: each has a few on their way.
const MOST_WAITING_OF_NODES: usize = 1_024;

const TOO_MANY_PENDING: Refusal = (
    WampError::ResourceLimit,
    "too many calls for subscribers are pending: wait for their results",
);
const UNANSWERED: &str =
    "no node that has answered has it, and those that are missing have not answered in time";
