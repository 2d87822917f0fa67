//! The second half of a turn: what is written to each socket, and which sockets are closed.

use super::super::flush::{Flushed, Sent};
use super::{Readiness, Turn, Wire};
use crate::clock::Millis;
use crate::router::Slot;

impl Turn {
    pub(super) fn flush_one(&mut self, slot: Slot, wire: &mut impl Wire, now: Millis) {
        let Some(socket) = self.sockets.get_mut(slot.index()).filter(|socket| socket.is_open)
        else {
            return;
        };
        if !socket.writable {
            self.shard.hold_back(slot, now);
            return;
        }
        let mut write = |bytes: &[u8]| {
            let taken = wire.write(slot, bytes)?;
            Ok(Sent { taken, kept: wire.kept(slot) })
        };
        match self.shard.flush(slot, &mut write, now) {
            Flushed::Progress => {}
            Flushed::Held => self.flush_held(slot, wire, now),
            Flushed::Full => socket.writable = false,
            Flushed::Farewell => wire.shut_down_writing(slot),
            Flushed::Lost => self.shard.handle_lost(slot, now),
        }
    }

    /// The same for a connection that is corked, if its cork gives way; apart, so that others do
    /// not pay for it.
    #[cold]
    #[inline(never)]
    fn flush_held(&mut self, slot: Slot, wire: &mut impl Wire, now: Millis) {
        if !self.shard.bursts(slot, now) {
            return;
        }
        let mut write = |bytes: &[u8]| {
            let taken = wire.write(slot, bytes)?;
            Ok(Sent { taken, kept: wire.kept(slot) })
        };
        match self.shard.flush(slot, &mut write, now) {
            Flushed::Progress | Flushed::Held => {}
            Flushed::Full => self.sockets[slot.index()].writable = false,
            Flushed::Farewell => wire.shut_down_writing(slot),
            Flushed::Lost => self.shard.handle_lost(slot, now),
        }
    }

    /// Closes the sockets of those that are gone, as many as one turn may.
    #[cold]
    pub(super) fn close_sockets(&mut self, wire: &mut impl Wire) {
        let most = self.shard.cx.settings().turn.connections_closed;
        for slot in self.shard.connections.take_closed(most) {
            let socket = &mut self.sockets[slot.index()];
            // The slot may still stand in the queue; whoever finds it there finds nothing to do.
            let queued = socket.queued && !socket.paused;
            *socket = Readiness { queued, ..Readiness::default() };
            wire.close(slot);
        }
        // Slots of the gone are left behind above, since to look for each would take too long.
        if self.paused.len() > 2 * self.sockets.len() {
            let mut seen = vec![false; self.sockets.len()];
            self.paused.retain(|slot| {
                let is_first = !std::mem::replace(&mut seen[slot.index()], true);
                is_first && self.sockets[slot.index()].paused
            });
        }
    }
}
