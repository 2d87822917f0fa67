//! Registrations are claimed from other nodes, which grant or refuse them in any order, late or
//! never; and what they say may be on its way when nobody waits for it any more.

use std::collections::BTreeMap;

use rand::RngExt;
use stentor::router::{RegisterError, SessionRef};
use stentor::shard::{ClaimOutcome, Claims, Mail};
use stentor::wamp::{MatchPolicy, SessionId};

use super::world::World;

/// The procedures of all realms that somebody has: their callees in order.
type Callees = BTreeMap<(String, MatchPolicy, String), Vec<SessionId>>;

impl World {
    /// The cluster decides about something, or lets it go; or what it has said arrives.
    pub(crate) fn serve_claims(&mut self) {
        let (claims, released) = {
            let gateway = &self.net.links.gateway;
            (gateway.claims.len(), gateway.released.len())
        };
        match self.sight.rng.random_range(0..16) {
            kind @ 0..6 if claims > 0 => {
                let place = self.sight.rng.random_range(0..claims);
                let outcome = match kind {
                    4 => Some(ClaimOutcome::Refused(RegisterError::Taken)),
                    5 => Some(ClaimOutcome::GivenUp),
                    _ => None,
                };
                let outcome = self.net.links.gateway.answer(place, outcome);
                self.note("a claim is decided", format_args!("{place} of {claims}: {outcome:?}"));
            }
            6..9 if released > 0 => {
                let place = self.sight.rng.random_range(0..released);
                self.net.links.gateway.let_go(place);
                self.note("a claim is let go", format_args!("{place} of {released}"));
            }
            9..12 => {
                if let Some(Mail::Claimed { callee, outcome: ClaimOutcome::Granted(_), .. }) =
                    self.net.links.gateway.under_way.front()
                    && !self.is_here(*callee)
                {
                    self.log.count("a grant comes too late");
                }
                if self.net.hear_of_claim() {
                    self.note("word of a claim arrives", format_args!(""));
                }
            }
            _ => {}
        }
    }

    fn is_here(&self, session: SessionRef) -> bool {
        let realms = self.net.router.realms();
        realms.iter().any(|realm| realm.find(session.session).is_some())
    }

    /// Counts what has come of claims.
    pub(crate) fn count_claims(&mut self) {
        for index in 0..self.plan.shards {
            let now = self.net.shard(index).claims();
            let before = self.sight.claims.insert(index, now).unwrap_or_default();
            let Claims { granted, refused, given_up, withdrawn, .. } = now;
            for (what, is_more) in [
                ("a claim is granted", granted > before.granted),
                ("a claim is refused", refused > before.refused),
                ("a claim is given up", given_up > before.given_up),
                ("a claim is withdrawn", withdrawn > before.withdrawn),
            ] {
                if is_more {
                    self.log.count(what);
                }
            }
        }
    }

    /// At rest, the callees here are the claims that stand, in their order.
    pub(crate) fn check_claims(&self) {
        if !self.plan.settings.claims {
            return;
        }
        let mut standing = Callees::new();
        for claim in self.net.links.gateway.bucket.values() {
            let key = (claim.realm.name().to_string(), claim.policy, claim.uri.to_string());
            standing.entry(key).or_default().push(claim.callee.session.session);
        }
        let mut found = Callees::new();
        for realm in self.net.router.realms() {
            let all = realm.procedures.list(usize::MAX).expect("there is no limit");
            for registration in all.exact.into_iter().chain(all.prefix).chain(all.wildcard) {
                let it = realm.procedures.get(registration).expect("it was just listed");
                let callees = realm.procedures.callees(&it.uri, it.policy).expect("it has some");
                let key = (realm.name().to_string(), it.policy, it.uri.to_string());
                found.insert(key, callees.iter().map(|callee| callee.session).collect());
            }
        }
        assert_eq!(found, standing, "the callees are the claims that stand");
    }
}
