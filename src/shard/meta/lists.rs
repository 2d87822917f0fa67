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
use super::history::TOO_MANY_QUESTIONS;
use super::registrations::NO_SUCH_REGISTRATION;
use super::{Answer, Caller, TOO_MANY_ITEMS, listing};
use crate::router::{Held, Listing, Member, Place, Realm, Walk};
use crate::wamp::{RegistrationId, SessionId, SubscriptionId, Value, code, heap_block};

/// A question under way.
#[derive(Debug)]
struct Survey {
    caller: Caller,
    subject: Subject,
    /// Everything was visited; what was found still has to be put in order and sent.
    is_gathered: bool,
    /// Counts the memory of the question, and of what is made of its answer.
    held: Held,
}

#[derive(Debug)]
pub(super) enum Subject {
    Subscriptions(Walk<SubscriptionId>, Listing<SubscriptionId>),
    Registrations(Walk<RegistrationId>, Listing<RegistrationId>),
    Sessions {
        walk: Walk<SessionId>,
        /// Sorted. `None`: all are wanted.
        roles: Option<Vec<Box<str>>>,
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
        /// With the session left open.
        kill: Kill,
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

/// Which sessions are to be ended, but for the caller's own.
#[derive(Debug)]
pub(super) enum Whom {
    All,
    Authid(Box<str>),
    Authrole(Box<str>),
}

impl Whom {
    fn includes(&self, member: &Member) -> bool {
        match self {
            Self::All => true,
            Self::Authid(authid) => *authid == member.profile.authid,
            Self::Authrole(authrole) => *authrole == member.profile.authrole,
        }
    }
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
}

impl Subject {
    /// Bytes of memory that the question takes, and what is made of its answer.
    fn weight(&self) -> usize {
        let texts = |texts: &[Box<str>]| -> usize {
            size_of_val(texts) + texts.iter().map(|text| heap_block(text.len())).sum::<usize>()
        };
        let asked = match self {
            Self::Sessions { roles: Some(roles), .. } => texts(roles),
            Self::Kills { whom: Whom::Authid(text) | Whom::Authrole(text), kill, .. } => {
                heap_block(text.len()) + kill.heap_bytes()
            }
            Self::Kills { kill, .. } => kill.heap_bytes(),
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
        let held = self.cx.held().hold(weight);
        let mut survey = Survey { caller, subject, is_gathered: false, held };
        if self.surveys.is_empty() && self.go_through(&mut survey)? {
            return Ok(survey.subject.into_answer());
        }
        self.connections.park(caller.session.slot);
        self.surveys.0.push_back(survey);
        Ok(Answer::Later)
    }

    /// Goes on with the survey that came first. `false` if there is none.
    pub(in crate::shard) fn go_on_surveying(&mut self) -> bool {
        let Some(mut survey) = self.surveys.0.pop_front() else { return false };
        let caller = survey.caller;
        // Whoever has left wants no answer, and its tickets are forgotten.
        if self.connections.find(caller.session).is_none() {
            return true;
        }
        match self.go_through(&mut survey) {
            Ok(false) => self.surveys.0.push_front(survey),
            Ok(true) => {
                self.connections.redeem(caller.session.slot);
                if let Answer::Now(args, kwargs) = survey.subject.into_answer() {
                    self.send_late_result(caller, &args, &kwargs);
                }
            }
            Err(refusal) => {
                self.connections.redeem(caller.session.slot);
                self.cx.counters.calls_refused.increment();
                self.refuse(caller.session.slot, code::CALL, caller.request, refusal);
            }
        }
        true
    }

    /// `true` if the answer can be made now; `false` if the step is over before.
    fn go_through(&mut self, survey: &mut Survey) -> Result<bool, Refusal> {
        let realm = self.realm_of(survey.caller);
        while !survey.is_gathered {
            if self.cx.work.is_step_over() {
                return Ok(false);
            }
            survey.is_gathered = self.gather(&realm, survey)?;
            survey.held.resize(survey.subject.weight());
            if survey.is_gathered && survey.subject.listed() > FEW {
                return Ok(false);
            }
        }
        self.cx.work.charge(survey.subject.listed() / ORDERED_PER_UNIT);
        Ok(true)
    }

    /// Visits one piece of what is asked for. `true` if it was the last one.
    fn gather(&mut self, realm: &Arc<Realm>, survey: &mut Survey) -> Result<bool, Refusal> {
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
            Subject::Kills { walk, whom, kill, found } => {
                let (own, mut targets) = (survey.caller.session, Vec::new());
                let units = realm.members_on(walk, most.div_ceil(KILL_UNITS), |member| {
                    if member.at.session != own.session && whom.includes(member) {
                        targets.push(member.at);
                    }
                });
                // Whoever takes it out of the list ends it, so it is ended once.
                targets.retain(|target| realm.leave(*target));
                for session in &targets {
                    found.add(session.session);
                    self.kill(Kill { session: *session, ..kill.clone() });
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
const FEW: usize = 2_048;

/// Ids that are put in order in the time of one unit.
const ORDERED_PER_UNIT: usize = 2;

/// What it costs to take a session out of the realm's list and to send word, in units of work.
const KILL_UNITS: usize = 16;
