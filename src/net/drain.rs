//! How a router is emptied before it stops: nobody new, and the sessions one after the other.
//!
//! The pace is that of the shards (`shard::drain`); here they and the acceptor are told. The caller
//! waits, on whichever thread it likes, and stops the router then.

use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::mesh::Parcel;
use super::server::Server;
use crate::limits::Timeouts;

impl Server {
    /// Has health checks of public listeners (`health`) be told that nobody should come, while
    /// everybody is served as ever: so that load balancers notice before [`Self::drain`].
    pub fn withdraw(&self) {
        self.acceptor.withdraw();
        if let Some((http, _)) = &self.running.lock().http {
            http.withdraw();
        }
    }

    /// Lets nobody join any more, and says GOODBYE with `wamp.close.system_shutdown` to the
    /// sessions one after the other, so that their clients do not all come back in one instant: to
    /// all of them within the given time, to the millisecond. Those go first that have no calls
    /// under way, and callees behind the others; the others go when their calls have ended, at the
    /// latest when the time is over. New connections are accepted and told that the router stops:
    /// HTTP 503 with `Retry-After`, or error 4 of RawSocket's handshake (TR-RS-04).
    ///
    /// Connections that speak HTTP end after the answer that is under way.
    ///
    /// What is returned is disconnected as soon as no session is left. [`Self::stop`] is to follow;
    /// it may be called at any time, and waits for nobody any more. A second drain shortens one
    /// that is under way, and never prolongs it.
    pub fn drain(&self, within: Duration) -> Receiver<()> {
        self.acceptor.refuse();
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let (drained, is_over) = bounded(0);
        for shard in self.mesh.shards() {
            self.mesh.send(shard, Parcel::Drain(within_ms, drained.clone()));
        }
        if let Some((http, _)) = &self.running.lock().http {
            http.drain(within, drained);
        }
        is_over
    }

    /// How long the router waits for peers, by the configuration that it runs.
    pub fn timeouts(&self) -> Timeouts {
        self.router.edition().settings.timeouts
    }
}
