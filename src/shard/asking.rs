//! Requests that an authorizer decides about, and their wait for it (AU-AZ-04).
//!
//! Such a request has no effect until it is decided. Its connection is parked and keeps the whole
//! message, so nothing of the session overtakes it (BP-ORD-01, BP-ORD-04) while others go on. When
//! the authorizer has spoken the message is handled once more, from its beginning, and finds what
//! was said in the session's permissions. Whatever keeps the authorizer from speaking denies.

use std::sync::Arc;

use super::Shard;
use super::authorize::{Asked, Refused};
use super::errands::Ruled;
use super::log_budget::quotable;
use super::questions::{Addressee, Question, Said};
use super::requests::Stop;
use crate::authorization::{Action, Case, RuleId, Ruling};
use crate::clock::Millis;
use crate::router::Slot;
use crate::session::{Denied, Permissions};
use crate::wamp::{Dict, MatchPolicy, RequestId, Value};

/// A request that an authorizer is to decide about.
#[derive(Debug)]
pub(super) struct Undecided {
    request: RequestId,
    /// Of the rule whose authorizer is asked.
    rule: RuleId,
    about: About,
    /// Those of the request, for the authorizer.
    options: Dict,
}

/// What is decided about.
#[derive(Debug)]
struct About {
    action: Action,
    policy: MatchPolicy,
    uri: Box<str>,
}

/// What a connection waits for.
#[derive(Debug)]
pub(super) struct Asking {
    /// `None` once it is answered.
    question: Option<RequestId>,
    about: About,
    /// The message to be handled once more.
    message: Vec<u8>,
}

impl Undecided {
    pub(super) fn new(
        request: RequestId,
        rule: RuleId,
        Asked(action, uri): Asked<'_>,
        policy: MatchPolicy,
        mut options: Dict,
    ) -> Box<Self> {
        if !options.iter().any(|(key, _)| key == "match") {
            options.push(("match".into(), policy.as_str().into()));
        }
        let about = About { action, policy, uri: uri.into() };
        Box::new(Self { request, rule, about, options })
    }
}

impl Asking {
    pub(super) const fn question(&self) -> Option<RequestId> {
        self.question
    }

    pub(super) const fn is_answered(&self) -> bool {
        self.question.is_none()
    }
}

impl Refused {
    /// What is to be answered; not yet, if it is not decided.
    ///
    /// # Errors
    /// [`Stop::Undecided`] with what `wait` makes of it.
    pub(super) fn decided(self, wait: impl FnOnce(RuleId) -> Box<Undecided>) -> Result<Self, Stop> {
        match self {
            Self::Denied(Denied::Undecided(rule)) => Err(Stop::Undecided(wait(rule))),
            refused => Ok(refused),
        }
    }
}

impl Shard {
    /// Asks the authorizer about a request, whose message is kept meanwhile.
    #[cold]
    pub(super) fn ask_authorizer(
        &mut self,
        slot: Slot,
        message: &[u8],
        undecided: Undecided,
        now: Millis,
    ) {
        let Undecided { request, rule, about, options } = undecided;
        let transport = self.connections[slot].facts().details();
        let session = self.connections.joined_mut(slot);
        session.request_ids.give_back(request);
        let Permissions::Rules(ruled) = &session.permissions else {
            unreachable!("what has no rules has no authorizer")
        };
        let procedure = ruled.role.rules.authorizer(rule).expect("a rule that asks says whom");
        let addressee =
            Addressee::authorizer(Arc::clone(&session.realm), &session.rules, procedure);
        let asker = self.cx.reference(slot, session.id);
        let case = Case {
            realm: session.realm.name(),
            session: session.id,
            authid: &session.profile.authid,
            authrole: &session.profile.authrole,
            authmethod: session.profile.authmethod,
            authprovider: session.profile.authprovider,
            transport,
            action: about.action,
            uri: &about.uri,
            options,
        };
        let args = case.into_args().into();
        self.cx.work.charge_bytes(message.len());
        self.connections.park(slot);
        let patience_ms = match addressee.endpoint() {
            Some(endpoint) => endpoint.timeout_ms(),
            None => self.cx.settings().timeouts.authorizer_ms,
        };
        let weight = message.len();
        let question = self.ask_outside(asker, addressee, args, weight, patience_ms, now);
        let question = Some(question);
        let asking = Asking { question, about, message: message.to_vec() };
        self.connections[slot].input.ask(asking);
    }

    /// An authorizer has spoken, or has failed to.
    pub(super) fn hear_ruling(
        &mut self,
        id: RequestId,
        question: &Question,
        ruling: Ruled,
        now: Millis,
    ) {
        let slot = question.asker.slot;
        let input = &mut self.connections[slot].input;
        let asking = input.asking_mut().filter(|asking| asking.question == Some(id));
        let Some(asking) = asking else { return };
        asking.question = None;
        let About { action, policy, uri } = &asking.about;
        let (action, policy, uri) = (*action, *policy, uri.clone());
        if let Err(why) = &ruling {
            self.log_undecided(question, why, now);
        }
        let ruling = ruling.ok();
        let most_ms = self.cx.limits().authorizer_cache_ms;
        let ttl_ms = ruling.map_or(0, |ruling| ruling.ttl_ms.unwrap_or(most_ms).min(most_ms));
        let until = (ttl_ms > 0).then(|| now + ttl_ms);
        let permissions = &mut self.connections.joined_mut(slot).permissions;
        permissions.note(action, &uri, policy, ruling, until);
        self.connections.redeem(slot);
    }

    pub(super) fn read_ruling(&self, said: Said) -> Ruled {
        match said {
            Said::Result(args, kwargs) => {
                let ruling = match &*args {
                    [answer] if kwargs.is_empty() => {
                        Ruling::read(answer).map_err(|why| why.to_string().into())
                    }
                    _ => Err("the answer is not one value".into()),
                };
                if ruling.is_err() {
                    self.cx.counters.questions_misanswered.increment();
                }
                ruling
            }
            Said::Error(uri, args) => {
                let message = args.first().and_then(Value::as_text).unwrap_or_default();
                Err(format!("it has answered with the error {uri}: {message}").into())
            }
            Said::Nothing(why) => Err(why.into_owned().into()),
        }
    }

    fn log_undecided(&mut self, question: &Question, why: &str, now: Millis) {
        if self.cx.log_budget.allow(now) {
            tracing::warn!(
                session = question.asker.session.get(),
                realm = %question.realm().name(),
                authorizer = question.name(),
                reason = quotable(why),
                "authorization failed"
            );
        }
    }

    /// Handles a message once more that was decided about meanwhile.
    pub(super) fn hear_again(&mut self, slot: Slot, now: Millis) {
        let Some(asking) = self.connections[slot].input.take_answered() else { return };
        self.hear(slot, &asking.message, None, false, now);
        let connection = &mut self.connections[slot];
        // It may have to be decided about in two ways.
        if connection.input.asking_mut().is_none()
            && let Some(session) = connection.session_mut()
        {
            session.permissions.forget_request();
        }
    }

    /// The rules of the session are others: what waits for a decision of the old ones is handled
    /// once more, under the new ones.
    pub(super) fn ask_anew(&mut self, slot: Slot, now: Millis) {
        let asking = self.connections[slot].input.asking_mut();
        if let Some(question) = asking.and_then(|asking| asking.question.take()) {
            self.withdraw(question, now);
            self.connections.redeem(slot);
        }
    }

    /// Nobody waits for a decision any more: the session ends.
    pub(super) fn stop_asking(&mut self, slot: Slot, now: Millis) {
        let Some(asking) = self.connections[slot].input.take_asking() else { return };
        if let Some(question) = asking.question {
            self.withdraw(question, now);
        }
    }
}
