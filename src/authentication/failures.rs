//! How often logins have failed of late, by address and by authid: over a limit the next ones are
//! refused before they cost anything.
//!
//! Shared by all shards, and only touched by logins that have a challenge. Bounded: each key is a
//! hash, and there are [`CAPACITY`] of each age at most.

use std::hash::BuildHasher;

use parking_lot::Mutex;

use crate::address::{Address, Client};
use crate::clock::Millis;
use crate::hash::{HashSeed, Keyed, Map};
use crate::limits::FailureLimits;

/// Which limit a login is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    Address,
    Authid,
}

/// Failed logins of one to two windows.
#[derive(Debug)]
pub struct Failures {
    hasher: Keyed,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    limits: FailureLimits,
    current: Map<u64, u32>,
    previous: Map<u64, u32>,
    /// When the current window began.
    since: Millis,
}

impl Failures {
    pub fn new(limits: FailureLimits, seed: &HashSeed) -> Self {
        let (current, previous) = (seed.map(), seed.map());
        let counts = Mutex::new(Counts { limits, current, previous, since: Millis(0) });
        Self { hasher: seed.keyed(), counts }
    }

    /// Other limits from now on; what was counted stays.
    pub fn set_limits(&self, limits: FailureLimits) {
        self.counts.lock().limits = limits;
    }

    /// The limit that the next login of this authid from this address is over, if any. An empty
    /// authid is that of many, who share no limit.
    pub fn is_limited(
        &self,
        address: Address,
        realm: &str,
        authid: &str,
        now: Millis,
    ) -> Option<Limited> {
        let [by_address, by_authid] = self.keys(address, realm, authid);
        let mut counts = self.counts.lock();
        counts.turn_over(now);
        let limits = counts.limits;
        let is_over = |key, limit| limit > 0 && counts.of(key) >= limit;
        if address.client() != Client::Unix && is_over(by_address, limits.per_address) {
            Some(Limited::Address)
        } else {
            let is_named = !authid.is_empty();
            (is_named && is_over(by_authid, limits.per_authid)).then_some(Limited::Authid)
        }
    }

    /// A login has failed.
    pub fn note(&self, address: Address, realm: &str, authid: &str, now: Millis) {
        let mut counts = self.counts.lock();
        counts.turn_over(now);
        for key in self.keys(address, realm, authid) {
            counts.add(key, now);
        }
    }

    fn keys(&self, address: Address, realm: &str, authid: &str) -> [u64; 2] {
        [self.hasher.hash_one(address.client()), self.hasher.hash_one((realm, authid))]
    }
}

impl Counts {
    fn of(&self, key: u64) -> u32 {
        let count = |map: &Map<u64, u32>| map.get(&key).copied().unwrap_or_default();
        count(&self.current).saturating_add(count(&self.previous))
    }

    fn add(&mut self, key: u64, now: Millis) {
        if self.current.len() >= CAPACITY && !self.current.contains_key(&key) {
            self.begin_anew(now);
        }
        let count = self.current.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    fn turn_over(&mut self, now: Millis) {
        let window_ms = self.limits.window_ms;
        let passed = now.since(self.since);
        if passed >= 2 * window_ms {
            self.begin_anew(now);
        }
        if passed >= window_ms {
            self.begin_anew(now);
        }
    }

    /// What was counted becomes the past, and the past is forgotten.
    fn begin_anew(&mut self, now: Millis) {
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.clear();
        self.since = now;
    }
}

/// Keys of one window: with both windows less than 1 MiB. More failures push older ones out.
const CAPACITY: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FailureLimits = FailureLimits { per_address: 3, per_authid: 2, window_ms: 1_000 };

    fn address(last: u8) -> Address {
        Address::new([10, 0, 0, last].into(), Some(5))
    }

    fn failures() -> Failures {
        Failures::new(LIMITS, &HashSeed::new(1))
    }

    #[test]
    fn each_address_and_each_authid_has_its_limit() {
        let failures = failures();
        let (one, other) = (address(1), address(2));
        let at = Millis(5_000);
        failures.note(one, "realm1", "joe", at);
        failures.note(one, "realm1", "joe", at);
        assert_eq!(failures.is_limited(other, "realm1", "joe", at), Some(Limited::Authid));
        assert_eq!(failures.is_limited(other, "realm2", "joe", at), None);
        assert_eq!(failures.is_limited(one, "realm1", "jim", at), None);
        failures.note(one, "realm1", "jim", at);
        assert_eq!(failures.is_limited(one, "realm1", "jack", at), Some(Limited::Address));
        assert_eq!(failures.is_limited(Address::UNIX, "realm1", "jack", at), None);
        assert_eq!(failures.is_limited(one, "realm1", "jack", at + 1_999), Some(Limited::Address));
        assert_eq!(failures.is_limited(one, "realm1", "jack", at + 4_000), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let failures = failures();
        for number in 0..3 * CAPACITY {
            failures.note(Address::UNIX, "realm1", &number.to_string(), Millis(1));
        }
        let counts = failures.counts.lock();
        assert!(counts.current.len() <= CAPACITY && counts.previous.len() <= CAPACITY);
    }
}
