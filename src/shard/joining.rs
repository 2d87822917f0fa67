//! Who waits to join: while many meta events wait to be heard, strangers are not let in.
//!
//! A client that connects, joins and leaves at once causes two meta events and is gone before it
//! could wait for them as `unheard` wants. So its HELLO waits, behind those that came before, and
//! nobody is refused or blamed for it.

use std::collections::VecDeque;

use super::connection::{Connection, Phase};
use super::connections::Connections;
use super::{Owner, Shard};
use crate::clock::Millis;
use crate::router::{Router, Slot};

/// Connections whose HELLO waits, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// Those that have gone meanwhile are still in it; see [`Shard::let_in`].
    queue: VecDeque<Owner>,
    /// When to look again whether somebody can be let in.
    look_at: Millis,
}

impl Joining {
    /// Whether what has come from a stranger has to wait, and if so until [`Shard::let_in`].
    #[cold]
    pub(super) fn holds(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        router: &Router,
    ) -> bool {
        if connection.input.take_admittance() || self.queue.is_empty() && !is_crowded(router) {
            return false;
        }
        connection.input.wait_to_join();
        self.queue.push_back(Owner { slot, generation: connection.generation });
        true
    }

    /// When to look again; `None` if nobody waits.
    pub(super) fn next_look(&self) -> Option<Millis> {
        (!self.queue.is_empty()).then_some(self.look_at)
    }

    /// Looks again soon: what waits may be heard elsewhere, without a word to this shard.
    pub(super) fn look_later(&mut self, now: Millis) {
        self.look_at = now + LOOK_MS;
    }
}

impl Shard {
    pub(super) fn can_let_in(&self) -> bool {
        !self.joining.queue.is_empty() && !is_crowded(&self.cx.router)
    }

    /// Lets in some of those who wait to join.
    pub(super) fn let_in(&mut self, now: Millis) {
        let mut left = MOST_LET_IN;
        while left > 0
            && self.can_let_in()
            && let Some(owner) = self.joining.queue.pop_front()
        {
            let Some(connection) = waiting(&mut self.connections, owner) else { continue };
            connection.input.admit();
            // From here on its time counts again.
            connection.clock.since = now;
            self.connections.wake(owner.slot);
            left -= 1;
        }
        // Who goes while it waits leaves its place behind.
        if self.joining.queue.len() > 2 * self.connections.len() {
            let connections = &mut self.connections;
            self.joining.queue.retain(|owner| waiting(connections, *owner).is_some());
        }
    }
}

/// The connection in a place of the queue, if it still waits there.
fn waiting(connections: &mut Connections, owner: Owner) -> Option<&mut Connection> {
    let connection = connections.get_mut(owner.slot)?;
    let waits = connection.generation == owner.generation
        && matches!(connection.phase, Phase::Open)
        && connection.input.waits_to_join();
    waits.then_some(connection)
}

pub(super) fn is_crowded(router: &Router) -> bool {
    router.meta_events_waiting() > MOST_META_EVENTS
}

/// Meta events of the router that wait to be heard, from which on nobody joins.
const MOST_META_EVENTS: usize = 1_000;

/// Connections of a shard that are let in at a time: none of them is counted yet.
const MOST_LET_IN: usize = 16;

/// Milliseconds after which a shard with nothing else to do looks again.
const LOOK_MS: u64 = 10;
