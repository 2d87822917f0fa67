//! Who may do what: every request is decided about before it has an effect (AU-AZ-02), and what is
//! denied is answered, counted and logged.

use super::Shard;
use super::context::Context;
use super::log_budget::quotable;
use super::requests::Refusal;
use crate::authorization::{Action, Rule, Terms, shown_authorizer};
use crate::clock::Millis;
use crate::router::Slot;
use crate::session::{Deciding, Denied, Permissions, Session};
use crate::wamp::{Dict, MatchPolicy, Payload, RequestId, RouterMessage, WampError, quote};

/// Why a request has no effect.
#[derive(Debug)]
pub(super) enum Refused {
    /// Something is wrong with it, or there is no room.
    Because(Refusal),
    /// The session's role may not do that.
    Denied(Denied),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Because(refusal)
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// What a session asks for: an action with its URI.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a>(pub(super) Action, pub(super) &'a str);

impl Context {
    /// Decides about what a session asks for. `uri` has been checked.
    pub(super) fn authorize(
        &mut self,
        session: &mut Session,
        asked: Asked<'_>,
        policy: MatchPolicy,
    ) -> Result<Terms, Denied> {
        let Asked(action, uri) = asked;
        if let Some(decided) = session.permissions.recall(self.id, action, uri, policy) {
            return decided;
        }
        self.decide(session, asked, policy)
    }

    /// The same for what is known not to be remembered.
    #[inline]
    pub(super) fn decide(
        &mut self,
        session: &mut Session,
        asked: Asked<'_>,
        policy: MatchPolicy,
    ) -> Result<Terms, Denied> {
        let (mut deciding, Asked(action, uri)) = (self.deciding(), asked);
        let decided = session.permissions.decide(&mut deciding, action, uri, policy);
        self.work.charge(deciding.effort);
        decided
    }

    /// A decision of this moment.
    #[inline]
    pub(super) const fn deciding(&self) -> Deciding {
        Deciding { shard: self.id, now: self.now, effort: 0 }
    }
}

impl Shard {
    /// Answers a request that has no effect. Of a PUBLISH nobody waits for, `answer` is `None`.
    #[cold]
    pub(super) fn refuse_request(
        &mut self,
        slot: Slot,
        answer: Option<(u16, RequestId)>,
        asked: Asked<'_>,
        why: Refused,
    ) {
        match (why, answer) {
            (Refused::Because(refusal), Some((request_type, request))) => {
                self.refuse(slot, request_type, request, refusal);
            }
            (Refused::Because((error, _)), None) => {
                self.cx.traces.note_refused(slot, error.uri(), false);
            }
            (Refused::Denied(denied), answer) => self.deny(slot, answer, asked, denied),
        }
    }

    /// Answers a request that the session's role may not make: `wamp.error.not_authorized`
    /// (AU-AZ-05), or `authorization_failed` where nobody has decided (AU-AZ-04), with a sentence
    /// that names role, action and URI.
    #[cold]
    pub(super) fn deny(
        &mut self,
        slot: Slot,
        answer: Option<(u16, RequestId)>,
        asked: Asked<'_>,
        denied: Denied,
    ) {
        let may_log = self.may_log_denial();
        let session = self.connections.joined(slot);
        if may_log {
            log_denial(session, asked, denied);
        }
        self.cx.counters.requests_denied.increment();
        let is_undecided = matches!(denied, Denied::Failed(_) | Denied::Undecided(_));
        if is_undecided {
            self.cx.counters.requests_undecided.increment();
        }
        let (error, sentence) = explain_denial(session, asked, is_undecided);
        self.cx.traces.note_refused(slot, error.uri(), true);
        let Some((request_type, request)) = answer else { return };
        let args = &[sentence.into()];
        self.answer(
            slot,
            &RouterMessage::Error {
                request_type,
                request,
                details: &Dict::new(),
                error: error.uri(),
                payload: Payload::Values { args, kwargs: &Dict::new() },
            },
        );
    }

    /// Notes that a testament is not published, as its session may not publish it.
    pub(super) fn note_denied_testament(&mut self, session: &Session, topic: &str, denied: Denied) {
        self.cx.counters.requests_denied.increment();
        if self.may_log_denial() {
            log_denial(session, Asked(Action::Publish, topic), denied);
        }
    }

    /// Only the second matters, and that it is another one than before: the calendar's will do.
    fn may_log_denial(&mut self) -> bool {
        let now = u64::try_from(self.cx.wall_clock.unix_ms()).unwrap_or_default();
        self.cx.denial_budget.allow(Millis(now))
    }
}

fn explain_denial(session: &Session, asked: Asked<'_>, is_undecided: bool) -> (WampError, String) {
    let Asked(action, uri) = asked;
    let (role, uri) = (quote(&session.profile.authrole), quote(uri));
    let what = format!("{} {}{uri}", action.as_str(), action.preposition());
    if is_undecided {
        let sentence = format!("nobody could decide whether the role {role} may {what}");
        return (WampError::AuthorizationFailed, sentence);
    }
    (WampError::NotAuthorized, format!("the role {role} may not {what}"))
}

fn log_denial(session: &Session, asked: Asked<'_>, denied: Denied) {
    let Asked(action, uri) = asked;
    let (rule, by_authorizer) = match denied {
        Denied::ByRule(rule) => (rule, false),
        Denied::ByAuthorizer(rule) | Denied::Failed(rule) | Denied::Undecided(rule) => {
            (Some(rule), true)
        }
    };
    let rule = match (&session.permissions, rule) {
        (Permissions::Rules(ruled), Some(rule)) => {
            let rules = &ruled.role.rules;
            let place = place_of(rules.rule(rule));
            match rules.authorizer(rule).filter(|_| by_authorizer) {
                Some(authorizer) => format!("{} for {place}", shown_authorizer(authorizer)),
                None => place,
            }
        }
        _ => "no rule grants it".to_owned(),
    };
    tracing::info!(
        session = session.id.get(),
        realm = %session.realm.name(),
        role = quotable(&session.profile.authrole),
        action = action.as_str(),
        uri = quotable(uri),
        rule,
        "request denied"
    );
}

/// Where an operator finds a rule.
fn place_of(rule: &Rule) -> String {
    match rule.line {
        Some(line) => format!("line {line}"),
        None => format!("{} {}", rule.policy.as_str(), quote(&rule.uri)),
    }
}
