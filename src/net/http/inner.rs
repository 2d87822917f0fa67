//! How the thread `http` gets connections into the router: one end of a pair of sockets goes to a
//! shard, as those that the acceptor takes, the other one stays here.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::acceptor::{Accepted, Occupancy};
use super::super::event_loop::wall_clock;
use super::super::mesh::{Mesh, Parcel};
use super::super::socket::Socket;
use crate::address::Address;
use crate::authentication::{Judgement, TokenError};
use crate::clock::Millis;
use crate::http::{Inner, InnerPlace, Inside, NotOpened};
use crate::limits::Limits;
use crate::rate::{Bucket, Rate};
use crate::router::{Router, Seat};
use crate::shard::Admission;
use crate::transport::TransportRules;
use crate::wamp::Timestamp;

/// What it takes to get inside.
///
/// There are as many such connections as `limits.http_connections` at most. Each has two ends, and
/// counts twice among `limits.connections`. It has no place among those of its client's address,
/// where the connection that speaks HTTP has one, unless it is to be counted: one such connection
/// could open any number of others. Then it has it as long as its near end lives.
#[derive(Debug)]
pub(in crate::net) struct WayInside {
    mesh: Arc<Mesh>,
    occupancy: Arc<Occupancy>,
    router: Arc<Router>,
    /// When the router's clock began.
    started: Instant,
    /// Those that are counted, as the acceptor counts its own.
    opened: Mutex<Bucket>,
}

impl WayInside {
    /// `started`: when the router's clock began.
    pub(in crate::net) fn new(
        mesh: Arc<Mesh>,
        occupancy: Arc<Occupancy>,
        router: Arc<Router>,
        started: Instant,
    ) -> Self {
        Self { mesh, occupancy, router, started, opened: Mutex::default() }
    }

    /// Takes one of the connections that may be opened now. `None`: it is not counted.
    fn admit(&self, peer: Address, limits: &Limits) -> Result<Option<Box<Seat>>, NotOpened> {
        let now = self.now();
        let rate = Rate::new(limits.accepts_per_second, limits.accepts_per_second);
        let mut opened = self.opened.lock();
        if rate.is_some_and(|rate| opened.ready_at(rate, now).is_some()) {
            return Err(NotOpened::Fast);
        }
        let seat = self.router.crowd().enter(peer, now);
        let seat = seat.map_err(|crowded| NotOpened::Crowded(crowded.limit()))?;
        if let Some(rate) = rate {
            opened.take(rate, 1, now);
        }
        Ok(seat)
    }

    fn now(&self) -> Millis {
        #[expect(clippy::disallowed_methods, reason = "the thread has no other clock")]
        let elapsed = Instant::now().duration_since(self.started);
        Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Inside for WayInside {
    fn open(
        &self,
        rules: &Arc<TransportRules>,
        peer: Address,
        is_counted: bool,
    ) -> Result<Inner, NotOpened> {
        let limits = self.router.edition().settings.limits;
        let seat = if is_counted { self.admit(peer, &limits)? } else { None };
        let entered = self.occupancy.enter_inner(limits.http_connections, limits.connections);
        let shard = entered.ok_or(NotOpened::Full)?;
        let occupancy = Arc::clone(&self.occupancy);
        let place = InnerPlace::new(move || {
            occupancy.leave_inner();
            drop(seat);
        });
        let opened = UnixStream::pair().and_then(|(near, far)| {
            near.set_nonblocking(true)?;
            far.set_nonblocking(true)?;
            Ok((Inner::new(near, place)?, far))
        });
        // The shard leaves only what has come to it.
        let (inner, far) = opened.inspect_err(|_| self.occupancy.leave(shard))?;
        let accepted = Accepted {
            socket: Socket::Unix(mio::net::UnixStream::from_std(far)),
            rules: Arc::clone(rules),
            tls: None,
            has_preface: false,
            peer,
            admission: Admission::Welcome,
            seat: None,
        };
        self.mesh.send(shard, Parcel::Accepted(vec![accepted]));
        Ok(inner)
    }

    fn judge_token(
        &self,
        realm: &str,
        entrance: Option<&str>,
        is_confidential: bool,
        token: &str,
    ) -> Judgement {
        let edition = self.router.edition();
        let gate = edition.domain(realm).map(|domain| &domain.rules.gate);
        let check = gate.and_then(|gate| gate.token_check(token, entrance, is_confidential));
        let nobodys = || Judgement::Denied(Some(TokenError::NotHere));
        check.map_or_else(nobodys, |check| check.run(wall_clock()))
    }

    fn left_until(&self, time: Timestamp) -> Duration {
        let left = time.unix_ms().saturating_sub(wall_clock().unix_ms());
        Duration::from_millis(u64::try_from(left).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
