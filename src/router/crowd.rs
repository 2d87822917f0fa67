//! How many connections each client has and makes, and how often its handshakes fail: over a limit
//! the next ones are refused before they cost much.
//!
//! Shared by the acceptor and all shards, behind one lock that is touched once per connection, and
//! not at all while no limit is set. This machine is never counted: a proxy on it that does not say
//! for whom it speaks would be everybody.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::address::{Address, Client};
use crate::clock::Millis;
use crate::hash::{HashSeed, Map};
use crate::limits::CrowdLimits;
use crate::rate::Bucket;

/// Which limit a client is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// `limits.connections_per_address`
    Connections,
    /// `limits.connections_per_address_per_second`
    Rate,
    /// `limits.handshake_failures_per_address`
    Failures,
}

impl Crowded {
    /// The key of the configuration.
    pub const fn limit(self) -> &'static str {
        match self {
            Self::Connections => "limits.connections_per_address",
            Self::Rate => "limits.connections_per_address_per_second",
            Self::Failures => "limits.handshake_failures_per_address",
        }
    }
}

/// Everybody who is counted.
#[derive(Debug)]
pub struct Crowd {
    bounds: ArcSwap<Bounds>,
    members: Mutex<Members>,
}

/// What a reload can change.
#[derive(Debug)]
struct Bounds {
    limits: CrowdLimits,
    /// The most entries of `members`.
    capacity: usize,
}

impl Bounds {
    fn new(limits: CrowdLimits, connections: usize) -> Self {
        Self { limits, capacity: connections.saturating_add(REMEMBERED) }
    }
}

#[derive(Debug)]
struct Members {
    of: Map<Client, Member>,
    /// When those were last looked for of whom nothing is to be remembered.
    swept: Millis,
}

/// What is known of one client.
#[derive(Debug, Default)]
struct Member {
    connections: u32,
    made: Bucket,
    failures: u32,
    /// When the first of `failures` was.
    failing_since: Millis,
}

/// The place of a connection among those of its client; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    crowd: Arc<Crowd>,
    client: Client,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut members = self.crowd.members.lock();
        if let Some(member) = members.of.get_mut(&self.client) {
            member.connections = member.connections.saturating_sub(1);
        }
    }
}

impl Crowd {
    /// `connections` may be open in the whole router.
    pub fn new(limits: CrowdLimits, connections: usize, seed: &HashSeed) -> Self {
        let members = Members { of: seed.map(), swept: Millis(0) };
        let bounds = ArcSwap::from_pointee(Bounds::new(limits, connections));
        Self { bounds, members: Mutex::new(members) }
    }

    /// Other limits from now on. Connections that were not counted when they came are not counted.
    pub fn set_limits(&self, limits: CrowdLimits, connections: usize) {
        self.bounds.store(Arc::new(Bounds::new(limits, connections)));
    }

    /// Counts a new connection; `None` if it is not to be counted.
    ///
    /// # Errors
    /// The limit that it would be over. It is not counted then.
    pub fn enter(
        self: &Arc<Self>,
        address: Address,
        now: Millis,
    ) -> Result<Option<Box<Seat>>, Crowded> {
        let bounds = self.bounds.load();
        if bounds.limits.is_off() || address.is_local() {
            return Ok(None);
        }
        let client = address.client();
        let mut members = self.members.lock();
        let Some(member) = members.member(client, &bounds, now) else { return Ok(None) };
        bounds.judge(member, now)?;
        member.connections += 1;
        if let Some(rate) = bounds.limits.rate {
            member.made.take(rate, 1, now);
        }
        Ok(Some(Box::new(Seat { crowd: Arc::clone(self), client })))
    }

    /// A handshake has failed.
    pub fn note_failure(&self, address: Address, now: Millis) {
        let bounds = self.bounds.load();
        if bounds.limits.failures == 0 || address.is_local() {
            return;
        }
        let mut members = self.members.lock();
        if let Some(member) = members.member(address.client(), &bounds, now) {
            if now.since(member.failing_since) >= bounds.limits.failure_window_ms {
                (member.failures, member.failing_since) = (0, now);
            }
            member.failures = member.failures.saturating_add(1);
        }
    }

    /// Whether nothing is open. For tests and checks: it takes the lock.
    pub fn is_idle(&self) -> bool {
        self.members.lock().of.values().all(|member| member.connections == 0)
    }
}

impl Bounds {
    fn judge(&self, member: &Member, now: Millis) -> Result<(), Crowded> {
        let CrowdLimits { connections, rate, failures, .. } = self.limits;
        if failures > 0 && member.failures >= failures && !self.is_forgiven(member, now) {
            return Err(Crowded::Failures);
        }
        if connections > 0 && member.connections >= connections {
            return Err(Crowded::Connections);
        }
        match rate {
            Some(rate) if member.made.ready_at(rate, now).is_some() => Err(Crowded::Rate),
            _ => Ok(()),
        }
    }

    fn is_forgiven(&self, member: &Member, now: Millis) -> bool {
        member.failures == 0 || now.since(member.failing_since) >= self.limits.failure_window_ms
    }
}

impl Members {
    /// What is known of a client. `None` if there is no room for another one: those who are known
    /// stay so, since else whoever comes from many addresses could make the router forget.
    fn member(&mut self, client: Client, bounds: &Bounds, now: Millis) -> Option<&mut Member> {
        let is_full = self.of.len() >= bounds.capacity && !self.of.contains_key(&client);
        if is_full && now.since(self.swept) >= SWEPT_EVERY_MS {
            self.swept = now;
            self.of.retain(|_, member| {
                let is_forgotten = member.connections == 0
                    && member.made.is_full(now)
                    && bounds.is_forgiven(member, now);
                !is_forgotten
            });
        }
        if is_full && self.of.len() >= bounds.capacity {
            return None;
        }
        Some(self.of.entry(client).or_default())
    }
}

/// Clients that are remembered without an open connection: with all of them and the default
/// `limits.connections` some 5 MiB.
const REMEMBERED: usize = 16_384;

/// How often those are looked for that may be forgotten, in milliseconds: it takes a walk through
/// all.
const SWEPT_EVERY_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::Rate;

    const AT: Millis = Millis(100_000);

    fn limits() -> CrowdLimits {
        CrowdLimits { connections: 0, rate: None, failures: 0, failure_window_ms: 1_000 }
    }

    fn crowd(limits: CrowdLimits) -> Arc<Crowd> {
        Arc::new(Crowd::new(limits, 0, &HashSeed::new(1)))
    }

    fn address(number: usize) -> Address {
        let [.., a, b, c] = (number as u32).to_be_bytes();
        Address::new([10, a, b, c].into(), Some(1))
    }

    #[test]
    fn each_client_has_so_many_connections() {
        let crowd = crowd(CrowdLimits { connections: 2, ..limits() });
        let enter = |number| crowd.enter(address(number), AT).map(Option::unwrap);
        let (first, _second, _other) = (enter(1).unwrap(), enter(1).unwrap(), enter(2).unwrap());
        assert_eq!(enter(1).unwrap_err(), Crowded::Connections);
        drop(first);
        let again = enter(1).unwrap();
        assert_eq!(enter(1).unwrap_err(), Crowded::Connections);
        assert!(!crowd.is_idle());
        drop((again, _second, _other));
        assert!(crowd.is_idle());
    }

    #[test]
    fn each_client_makes_so_many_connections_per_second() {
        let crowd = crowd(CrowdLimits { rate: Rate::new(10, 5), ..limits() });
        let enter = |number, at| crowd.enter(address(number), at).map(drop);
        let made = |at| (0..50).filter(|_| enter(1, at).is_ok()).count();
        assert_eq!(made(AT), 5);
        assert_eq!(enter(1, AT), Err(Crowded::Rate));
        assert_eq!(enter(2, AT), Ok(()));
        // Those that were refused do not count, so that who goes on trying gets its share.
        assert_eq!((1..=20).map(|ms| made(AT + 100 * ms)).sum::<usize>(), 20);
    }

    #[test]
    fn who_fails_too_often_waits_for_a_window() {
        let crowd = crowd(CrowdLimits { failures: 3, ..limits() });
        for ms in 0..3 {
            assert!(crowd.enter(address(1), AT + ms).is_ok());
            crowd.note_failure(address(1), AT + ms);
        }
        assert_eq!(crowd.enter(address(1), AT + 999).map(drop), Err(Crowded::Failures));
        assert!(crowd.enter(address(2), AT).is_ok());
        assert!(crowd.enter(address(1), AT + 1_000).is_ok());
        crowd.note_failure(address(1), AT + 1_000);
        assert!(crowd.enter(address(1), AT + 1_001).is_ok(), "it counts anew");
    }

    #[test]
    fn this_machine_is_not_counted_and_nobody_is_without_limits() {
        let one = crowd(CrowdLimits { connections: 1, failures: 1, ..limits() });
        let loopback = Address::new([127, 0, 0, 1].into(), Some(1));
        for address in [loopback, Address::UNIX] {
            one.note_failure(address, AT);
            let seats: Vec<_> = (0..9).map(|_| one.enter(address, AT).unwrap()).collect();
            assert!(seats.iter().all(Option::is_none));
        }
        let none = crowd(limits());
        none.note_failure(address(1), AT);
        assert!(none.enter(address(1), AT).unwrap().is_none());
        assert!(none.members.lock().of.is_empty());
    }

    /// Whoever has many addresses makes nobody forgotten, least of all the one it has used up.
    #[test]
    fn the_table_is_bounded_and_remembers_who_is_in_it() {
        let crowd = crowd(CrowdLimits { failures: 1, connections: 1, ..limits() });
        crowd.note_failure(address(0), AT);
        let held = crowd.enter(address(1), AT).unwrap();
        for number in 2..3 * REMEMBERED {
            crowd.note_failure(address(number), AT + 1);
        }
        assert_eq!(crowd.members.lock().of.len(), REMEMBERED);
        assert_eq!(crowd.enter(address(0), AT + 1).map(drop), Err(Crowded::Failures));
        assert_eq!(crowd.enter(address(1), AT + 1).map(drop), Err(Crowded::Connections));
        // Who finds no room is let in uncounted: the limits of the whole router still hold.
        assert!(crowd.enter(address(9 * REMEMBERED), AT + 1).unwrap().is_none());
        // When the window is over there is room, for all but those who are connected.
        crowd.note_failure(address(9 * REMEMBERED), AT + 2_000);
        assert_eq!(crowd.members.lock().of.len(), 2);
        drop(held);
        assert!(crowd.is_idle());
    }
}
