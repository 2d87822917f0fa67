//! Why a role's rules decide as they do, rule by rule.

use super::pattern::{covers, overlaps};
use super::role::{Decision, Role, RuleId, RuleOrigin};
use super::settings::Action;
use super::{PROTOCOL, is_administrative};
use crate::wamp::MatchPolicy;

/// What came of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It decides.
    Decides,
    /// It matches, and a more specific rule decides.
    Outranked,
    /// It matches, and says nothing of the action.
    OtherAction,
    /// It matches some of the URIs of the pattern, and grants nothing of what it does not cover.
    MatchesPart,
    /// It matches, and does not name the protocol's URIs by `wamp.`.
    TooGeneral,
    /// It matches a URI of the management API, and what is no such rule says nothing of those.
    Unheeded,
}

/// A decision with the rules that have to do with it.
#[derive(Debug)]
pub struct Explanation {
    pub decision: Decision,
    /// In the order of the file; the one that decides is among them.
    pub rules: Vec<(RuleId, Outcome)>,
    /// Rules that match none of the URIs.
    pub unrelated: usize,
}

impl Role {
    /// Decides as [`Self::authorize`] does, and looks at each rule once more.
    pub fn explain(&self, action: Action, uri: &str, policy: MatchPolicy) -> Explanation {
        let decision = self.authorize(action, uri, policy);
        let decides = match decision {
            Decision::Allow(rule) | Decision::Ask(rule) => Some(rule),
            Decision::Deny(rule) => rule,
        };
        let pattern = (uri, policy);
        let is_managed = self.of_management(action, uri, policy).is_some();
        let (mut rules, mut unrelated) = (Vec::new(), 0);
        for (id, rule) in self.rules() {
            let is_of_management = matches!(rule.origin, RuleOrigin::Watch | RuleOrigin::Act);
            if is_of_management && decides != Some(id) {
                continue;
            }
            let own = (&*rule.uri, rule.policy);
            let is_general = is_administrative(action, uri) && !rule.uri.starts_with(PROTOCOL);
            let outcome = match (covers(own, pattern), rule.effect(action)) {
                _ if decides == Some(id) => Outcome::Decides,
                (true, None) => Outcome::OtherAction,
                (true, Some(_)) if is_general => Outcome::TooGeneral,
                (true, Some(_)) if is_managed => Outcome::Unheeded,
                (true, Some(_)) => Outcome::Outranked,
                (false, Some(_)) if overlaps(own, pattern) => Outcome::MatchesPart,
                (false, _) => {
                    unrelated += 1;
                    continue;
                }
            };
            rules.push((id, outcome));
        }
        Explanation { decision, rules, unrelated }
    }
}
