//! Answers of the meta API that may be long, and kills of many: made in pieces, since a realm may
//! have a hundred thousand of what is listed (AP-SMA, AP-RMA, AP-SUA).
//!
//! One is made at a time, so that what is half made takes memory once. Whoever asked for one that
//! waits, or takes longer than a step, is parked until it is answered.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::requests::Refusal;
use super::super::work::LOOKUP_UNITS;
use super::super::{Kill, Shard};
use super::finding::Finding;
use super::history::TOO_MANY_QUESTIONS;
use super::question::{LastWords, Roles, Whom, roles_heap_bytes};
use super::registrations::NO_SUCH_REGISTRATION;
use super::{Answer, Caller, TOO_MANY_ITEMS, listing};
use crate::router::{Held, Listing, Member, Place, Realm, Walk};
use crate::wamp::{RegistrationId, SessionId, SubscriptionId, Value, code};

/// A question under way.
#[derive(Debug)]
struct Survey {
    wanted: Wanted,
    realm: Arc<Realm>,
    subject: Subject,
    /// Everything was visited; what was found still has to be put in order and sent.
    is_gathered: bool,
    /// Counts the memory of the question, and of what is made of its answer.
    held: Held,
}

/// Whose answer it is.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    ByCaller(Caller),
    /// It is a part of what the poll with this ticket asks for.
    ByPoll(u64),
}

#[derive(Debug)]
pub(super) enum Subject {
    Subscriptions(Walk<SubscriptionId>, Listing<SubscriptionId>),
    Registrations(Walk<RegistrationId>, Listing<RegistrationId>),
    Sessions {
        walk: Walk<SessionId>,
        roles: Roles,
        found: Found,
    },
    Callees {
        registration: RegistrationId,
        /// The last one that was visited; `None` before the first.
        after: Option<Place>,
        found: Found,
    },
    Kills {
        walk: Walk<SessionId>,
        whom: Whom,
        /// The session that is left out.
        caller: SessionId,
        words: LastWords,
        found: Found,
    },
}

/// Sessions that were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Empty if only the number is wanted.
    pub(super) sessions: Vec<SessionId>,
    pub(super) count: usize,
    pub(super) wants_names: bool,
}

impl Found {
    pub(super) fn new(wants_names: bool) -> Self {
        Self { wants_names, ..Self::default() }
    }

    fn add(&mut self, session: SessionId) {
        self.count += 1;
        if self.wants_names {
            self.sessions.push(session);
        }
    }

    fn into_value(self) -> Value {
        if self.wants_names {
            Value::List(self.sessions.into_iter().map(|session| session.get().into()).collect())
        } else {
            Value::UInt(self.count as u64)
        }
    }

    fn into_finding(self) -> Finding {
        if self.wants_names {
            Finding::Sessions(Some(self.sessions))
        } else {
            Finding::Count(Some(self.count as u64))
        }
    }
}

impl Subject {
    /// How many ids the answer will list.
    fn listed(&self) -> usize {
        match self {
            Self::Subscriptions(_, found) => found.len(),
            Self::Registrations(_, found) => found.len(),
            Self::Sessions { found, .. }
            | Self::Callees { found, .. }
            | Self::Kills { found, .. } => found.sessions.len(),
        }
    }

    fn into_answer(self) -> Answer {
        match self {
            Self::Subscriptions(_, found) => Answer::one(listing(found, |id| id.get())),
            Self::Registrations(_, found) => Answer::one(listing(found, |id| id.get())),
            Self::Sessions { found, .. }
            | Self::Callees { found, .. }
            | Self::Kills { found, .. } => Answer::one(found.into_value()),
        }
    }

    fn into_finding(self) -> Finding {
        match self {
            Self::Subscriptions(_, found) => Finding::Subscriptions(found),
            Self::Sessions { found, .. } | Self::Kills { found, .. } => found.into_finding(),
            Self::Registrations(..) | Self::Callees { .. } => {
                unreachable!("each node has all callees, so no poll asks for them")
            }
        }
    }
}

impl Subject {
    /// Bytes of memory that the question takes, and what is made of its answer.
    fn weight(&self) -> usize {
        let asked = match self {
            Self::Sessions { roles, .. } => roles_heap_bytes(roles),
            Self::Kills { whom, words, .. } => whom.heap_bytes() + words.heap_bytes(),
            _ => 0,
        };
        size_of::<Survey>() + asked + self.listed() * size_of::<u64>()
    }
}

/// The surveys of a shard that take longer than a step, in the order in which they came.
///
/// Invariant: only the first has begun.
#[derive(Debug, Default)]
pub(in crate::shard) struct Surveys(VecDeque<Survey>);

impl Surveys {
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::shard) fn check(&self) {
        let mut waiting = self.0.iter().skip(1);
        assert!(waiting.all(|survey| survey.subject.listed() == 0), "one answer is half made");
        let is_counted = |survey: &Survey| survey.held.bytes() == survey.subject.weight();
        assert!(self.0.iter().all(is_counted), "what is half made is counted");
    }
}

impl Shard {
    /// Begins a survey, and answers it at once if it is short and none is under way.
    pub(super) fn survey(&mut self, caller: Caller, subject: Subject) -> Result<Answer, Refusal> {
        let weight = subject.weight();
        if !self.cx.may_hold(weight) {
            return Err(TOO_MANY_QUESTIONS);
        }
        let realm = self.realm_of(caller);
        let mut survey = self.begin_survey(Wanted::ByCaller(caller), realm, subject);
        if self.surveys.is_empty() && self.go_through(&mut survey)? {
            return Ok(survey.subject.into_answer());
        }
        self.connections.park(caller.session.slot);
        self.surveys.0.push_back(survey);
        Ok(Answer::Later)
    }

    /// Begins a survey whose answer is a part of what a poll asks for.
    pub(super) fn survey_for(&mut self, ticket: u64, realm: Arc<Realm>, subject: Subject) {
        let survey = self.begin_survey(Wanted::ByPoll(ticket), realm, subject);
        self.surveys.0.push_back(survey);
    }

    fn begin_survey(&self, wanted: Wanted, realm: Arc<Realm>, subject: Subject) -> Survey {
        let held = self.cx.held().hold(subject.weight());
        Survey { wanted, realm, subject, is_gathered: false, held }
    }

    /// Goes on with the survey that came first. `false` if there is none.
    pub(in crate::shard) fn go_on_surveying(&mut self) -> bool {
        let Some(mut survey) = self.surveys.0.pop_front() else { return false };
        let wanted = survey.wanted;
        // Whoever has left wants no answer, and its tickets are forgotten.
        let is_wanted = match wanted {
            Wanted::ByCaller(caller) => self.connections.find(caller.session).is_some(),
            Wanted::ByPoll(ticket) => self.polls.get(ticket).is_some(),
        };
        if !is_wanted {
            return true;
        }
        let gathered = self.go_through(&mut survey);
        if gathered == Ok(false) {
            self.surveys.0.push_front(survey);
            return true;
        }
        let refusal = gathered.err();
        match wanted {
            Wanted::ByCaller(caller) => self.end_survey(caller, survey.subject, refusal),
            Wanted::ByPoll(ticket) if refusal.is_some() => {
                self.take_part(ticket, Finding::TooMany);
            }
            Wanted::ByPoll(ticket) => self.take_part(ticket, survey.subject.into_finding()),
        }
        true
    }

    fn end_survey(&mut self, caller: Caller, subject: Subject, refusal: Option<Refusal>) {
        self.connections.redeem(caller.session.slot);
        if let Some(refusal) = refusal {
            self.cx.counters.calls_refused.increment();
            self.refuse(caller.session.slot, code::CALL, caller.request, refusal);
        } else if let Answer::Now(args, kwargs) = subject.into_answer() {
            self.send_late_result(caller, &args, &kwargs);
        }
    }

    /// `true` if the answer can be made now; `false` if the step is over before.
    fn go_through(&mut self, survey: &mut Survey) -> Result<bool, Refusal> {
        while !survey.is_gathered {
            if self.cx.work.is_step_over() {
                return Ok(false);
            }
            survey.is_gathered = self.gather(survey)?;
            survey.held.resize(survey.subject.weight());
            if survey.is_gathered && survey.subject.listed() > FEW {
                return Ok(false);
            }
        }
        self.cx.work.charge(survey.subject.listed() / ORDERED_PER_UNIT);
        Ok(true)
    }

    /// Visits one piece of what is asked for. `true` if it was the last one.
    fn gather(&mut self, survey: &mut Survey) -> Result<bool, Refusal> {
        let realm = &survey.realm;
        let limit = self.cx.limits().meta_list_items;
        let most = self.cx.work.left().clamp(1, PIECE);
        let (units, is_done) = match &mut survey.subject {
            Subject::Subscriptions(walk, found) => {
                (realm.topics.list_on(walk, found, most), walk.is_done())
            }
            Subject::Registrations(walk, found) => {
                (realm.procedures.list_on(walk, found, most), walk.is_done())
            }
            Subject::Sessions { walk, roles, found } => {
                let units = realm.members_on(walk, most, |member| {
                    let is_wanted = roles.as_ref().is_none_or(|roles| has_role(member, roles));
                    if is_wanted {
                        found.add(member.at.session);
                    }
                });
                (units, walk.is_done())
            }
            Subject::Callees { registration, after, found } => {
                let callees = realm.procedures.callees_after(*registration, *after, most);
                let callees = callees.ok_or(NO_SUCH_REGISTRATION)?;
                *after = callees.last().map(|(place, _)| *place).or(*after);
                callees.iter().for_each(|(_, callee)| found.add(callee.session));
                (callees.len(), callees.len() < most)
            }
            Subject::Kills { walk, whom, caller, words, found } => {
                let mut targets = Vec::new();
                let units = realm.members_on(walk, most.div_ceil(KILL_UNITS), |member| {
                    if member.at.session != *caller && whom.includes(member) {
                        targets.push(member.at);
                    }
                });
                // Whoever takes it out of the list ends it, so it is ended once.
                targets.retain(|target| realm.leave(*target));
                for session in &targets {
                    found.add(session.session);
                    let LastWords { reason, message } = words.clone();
                    self.kill(Kill { session: *session, reason, message, end: whom.end() });
                }
                (units + targets.len() * KILL_UNITS, walk.is_done())
            }
        };
        self.cx.work.charge(units + LOOKUP_UNITS);
        // What is killed is killed, and its list is as long as it is.
        let is_kill = matches!(survey.subject, Subject::Kills { .. });
        if survey.subject.listed() > limit && !is_kill {
            return Err(TOO_MANY_ITEMS);
        }
        Ok(is_done)
    }
}

fn has_role(member: &Member, roles: &[Box<str>]) -> bool {
    roles.binary_search_by(|role| (**role).cmp(&member.profile.authrole)).is_ok()
}

/// Entries that are visited under one lock.
const PIECE: usize = 1_024;

/// Ids that are put in order and sent in the step that found the last of them.
pub(super) const FEW: usize = 2_048;

/// Ids that are put in order in the time of one unit.
pub(super) const ORDERED_PER_UNIT: usize = 2;

/// What it costs to take a session out of the realm's list and to send word, in units of work.
const KILL_UNITS: usize = 16;
