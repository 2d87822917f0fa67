//! How the thread `http` gets connections into the router: one end of a pair of sockets goes to a
//! shard, as those that the acceptor takes, the other one stays here.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use super::super::acceptor::{Accepted, Occupancy};
use super::super::mesh::{Mesh, Parcel};
use super::super::socket::Socket;
use crate::address::Address;
use crate::clock::Millis;
use crate::http::{Inner, InnerPlace, Inside, NotOpened};
use crate::router::Router;
use crate::shard::Admission;
use crate::transport::TransportRules;

/// What it takes to get inside.
///
/// There are as many such connections as `limits.http_connections` at most. Each has two ends, and
/// counts twice among `limits.connections`. It has no place among those of its client's address,
/// where the connection that speaks HTTP has one, unless it is to be counted: one
/// such connection could open any number of others.
#[derive(Debug)]
pub(in crate::net) struct WayInside {
    pub(in crate::net) mesh: Arc<Mesh>,
    pub(in crate::net) occupancy: Arc<Occupancy>,
    pub(in crate::net) router: Arc<Router>,
    /// When the router's clock began.
    pub(in crate::net) started: Instant,
}

impl WayInside {
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
        let seat = match is_counted {
            true => {
                let entered = self.router.crowd().enter(peer, self.now());
                entered.map_err(|crowded| NotOpened::Crowded(crowded.limit()))?
            }
            false => None,
        };
        let limits = self.router.edition().settings.limits;
        let entered = self.occupancy.enter_inner(limits.http_connections, limits.connections);
        let shard = entered.ok_or(NotOpened::Full)?;
        let occupancy = Arc::clone(&self.occupancy);
        let place = InnerPlace::new(move || occupancy.leave_inner());
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
            seat,
        };
        self.mesh.send(shard, Parcel::Accepted(vec![accepted]));
        Ok(inner)
    }
}

#[cfg(test)]
mod tests;
