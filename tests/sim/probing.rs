//! What must hold when nothing is under way: whoever calls a procedure reaches the best of its
//! registrations, in the order of its policy and within the limits of its callees.

use std::collections::BTreeMap;

use serde_json::json;
use stentor::authorization::Action;

use super::actions::URIS;
use super::client::{Expected, Request, Stage, Terms};
use super::model::{Pattern, Payload, Policy, Tag};
use super::plan::pick;
use super::world::World;

/// Whether callees answer at once and plainly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Probing {
    #[default]
    No,
    /// One call after the other: each has to succeed.
    OneByOne,
    /// Many calls that nobody answers: some may find all callees busy.
    AtOnce,
}

/// The registration that a call should reach.
struct Target {
    registration: u64,
    uri: &'static str,
    callees: BTreeMap<Tag, Terms>,
}

impl World {
    pub(crate) fn is_probing(&self) -> bool {
        self.probing != Probing::No
    }

    /// Calls what somebody has registered, from anywhere.
    pub(crate) fn probe(&mut self) {
        let joined = |world: &Self, c: usize| world.clients[c].stage == Stage::Joined;
        let Some(c) = self.any_such(joined) else { return };
        let callable = URIS.iter().filter(|uri| self.plan.grants(Action::Call, uri, Policy::Exact));
        let targets: Vec<Target> = callable.filter_map(|uri| self.target(c, uri)).collect();
        if targets.is_empty() {
            return;
        }
        self.probing = Probing::OneByOne;
        let target = pick(&mut self.rng, &targets);
        self.probe_turns(c, target);
        let limited =
            |target: &&Target| target.callees.values().any(|terms| terms.concurrency.is_some());
        let limited: Vec<&Target> = targets.iter().filter(limited).collect();
        if !limited.is_empty() && !self.plan.tight_limits {
            self.probing = Probing::AtOnce;
            let target = *pick(&mut self.rng, &limited);
            self.probe_limits(c, target);
        }
        self.probing = Probing::No;
    }

    /// The best match (AP-PBR-04), with all of its callees.
    fn target(&self, c: usize, uri: &'static str) -> Option<Target> {
        let realm = self.clients[c].session.realm;
        let mut best: Option<(u64, &Pattern)> = None;
        let mut callees: BTreeMap<u64, BTreeMap<Tag, Terms>> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| client.stage == Stage::Joined) {
            for (id, held) in &client.session.registrations {
                if held.leaving || !held.pattern.matches(realm, uri) {
                    continue;
                }
                callees.entry(*id).or_default().insert(client.session.tag, held.terms);
                if best.is_none_or(|(_, best)| held.pattern.rank() > best.rank()) {
                    best = Some((*id, &held.pattern));
                }
            }
        }
        let (registration, _) = best?;
        Some(Target { registration, uri, callees: callees.remove(&registration)? })
    }

    fn probe_call(&mut self, c: usize, target: &Target) -> (Tag, u64) {
        let session = &self.clients[c].session;
        let args = vec![json!(session.tag), json!(session.calls + 1)];
        let payload = Payload { args, ..Payload::default() };
        let course = self.plain_course(c);
        self.send_call(c, target.uri, Expected::Success, payload, json!({}), course)
    }

    /// Who was invoked for a call, on the right registration.
    fn invoked(&self, call: (Tag, u64), target: &Target) -> Option<Tag> {
        let attempts = &self.model.calls[&call].attempts;
        assert!(attempts.len() <= 1, "nobody refused {call:?}");
        let attempt = attempts.first()?;
        assert_eq!(attempt.registration, target.registration, "the best match of {}", target.uri);
        Some(attempt.callee)
    }

    fn probe_turns(&mut self, c: usize, target: &Target) {
        let count = target.callees.len();
        let rounds = if count > 4 { 1 } else { 2 };
        let mut turns: BTreeMap<Tag, usize> = BTreeMap::new();
        for _ in 0..count * rounds {
            let call = self.probe_call(c, target);
            self.drain(true);
            let callee = self.invoked(call, target).expect("a probe reaches its callee");
            *turns.entry(callee).or_default() += 1;
            self.check_answered(c);
        }
        let policy = target.invoke();
        self.note("probe", format_args!("c{c}, {}, {policy}: {turns:?}", target.uri));
        self.log.count(&format!("probe {policy}"));
        for (callee, count) in turns {
            let terms = target.callees[&callee];
            let mut others = target.callees.iter().filter(|(other, _)| **other != callee);
            match policy {
                "roundrobin" => assert_eq!(count, rounds, "everybody in turn (AP-SHR-04)"),
                "first" => assert!(
                    others.all(|(_, other)| other.granted >= terms.asked),
                    "somebody was first"
                ),
                "last" => assert!(
                    others.all(|(_, other)| other.asked <= terms.granted),
                    "somebody was last"
                ),
                _ => {}
            }
            let always_same = !matches!(policy, "roundrobin" | "random");
            assert!(!always_same || count == target.callees.len() * rounds, "one for all calls");
        }
    }

    /// More calls at once than the callees want, if all of them have a limit.
    fn probe_limits(&mut self, c: usize, target: &Target) {
        let limits = target.callees.values().map(|terms| terms.concurrency);
        let capacity = limits.sum::<Option<usize>>();
        let count = capacity.map_or(6, |capacity| capacity + 1).min(8);
        let calls: Vec<_> = (0..count).map(|_| self.probe_call(c, target)).collect();
        self.drain(false);
        let mut shares: BTreeMap<Tag, usize> =
            target.callees.keys().map(|callee| (*callee, 0)).collect();
        for call in &calls {
            if let Some(callee) = self.invoked(*call, target) {
                *shares.get_mut(&callee).expect("a callee of it") += 1;
            }
        }
        let policy = target.invoke();
        self.note("probe of limits", format_args!("{}, {policy}: {shares:?}", target.uri));
        let invoked: usize = shares.values().sum();
        let expected = capacity.map_or(count, |capacity| capacity.min(count));
        assert_eq!(invoked, expected, "calls are refused while somebody has room");
        let is_full = |callee: &Tag| target.callees[callee].concurrency == Some(shares[callee]);
        let least = shares.iter().filter(|(callee, _)| !is_full(callee)).map(|(_, n)| *n).min();
        let most = shares.values().max().copied().unwrap_or_default();
        match policy {
            "roundrobin" => assert!(
                least.is_none_or(|least| most <= least + 1),
                "a callee is passed over in its turn: {shares:?}"
            ),
            "random" => {}
            _ => {
                let begun = shares.iter().filter(|(callee, n)| **n > 0 && !is_full(callee));
                assert!(begun.count() <= 1, "one callee after the other: {shares:?}");
            }
        }
        self.drain(true);
        self.check_answered(c);
    }

    fn check_answered(&self, c: usize) {
        let mut pending = self.clients[c].session.pending.values();
        assert!(!pending.any(|r| matches!(r, Request::Call(..))), "a probe is answered");
    }
}

impl Target {
    fn invoke(&self) -> &'static str {
        self.callees.values().next().expect("a registration has a callee").invoke
    }
}

impl Pattern {
    /// The larger, the better the match: exact, then the longest prefix, then the wildcard with
    /// the longest runs of components from the left (AP-PBR-04).
    pub(crate) fn rank(&self) -> (u8, Vec<usize>) {
        match self.policy {
            Policy::Exact => (2, Vec::new()),
            Policy::Prefix => (1, vec![self.uri.len()]),
            Policy::Wildcard => {
                let components: Vec<&str> = self.uri.split('.').collect();
                (0, components.split(|part| part.is_empty()).map(<[&str]>::len).collect())
            }
        }
    }
}
