//! The connections of a shard by their slots, and the sessions on them.
//!
//! Who holds a [`Slot`] may find another connection in it, or none: [`SessionRef`] says which
//! session is meant. Indexing is for whoever is dealing with the connection.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

use slab::Slab;

use super::connection::Connection;
use crate::router::{SessionRef, ShardId, Slot};
use crate::session::Session;
use crate::wamp::SubscriptionId;

#[derive(Debug)]
pub(super) struct Connections {
    shard: ShardId,
    slab: Slab<Connection>,
    /// Tells the connections of a slot apart: that of the one which came last.
    generation: u32,
    /// Those whose input waited for something that has happened.
    woken: Vec<Slot>,
    /// Those with a session that still gives back what it held, and goes on by itself.
    leavers: VecDeque<Slot>,
    /// Those whose sockets the event loop has to close.
    closed: VecDeque<Slot>,
}

impl Connections {
    pub(super) const fn new(shard: ShardId) -> Self {
        Self {
            shard,
            slab: Slab::new(),
            generation: 0,
            woken: Vec::new(),
            leavers: VecDeque::new(),
            closed: VecDeque::new(),
        }
    }

    /// Takes in the connection that `make` makes of its generation.
    pub(super) fn insert(&mut self, make: impl FnOnce(u32) -> Connection) -> Slot {
        self.generation = self.generation.wrapping_add(1);
        Slot::at(self.slab.insert(make(self.generation)))
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Slots beyond this number have no connection.
    pub(super) fn slots(&self) -> usize {
        self.slab.capacity()
    }

    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Option<&Connection> {
        self.slab.get(slot.index())
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.slab.get_mut(slot.index())
    }

    /// A connection, and the list of those whose input goes on.
    #[inline]
    pub(super) fn get_waking(&mut self, slot: Slot) -> Option<(&mut Connection, &mut Vec<Slot>)> {
        Some((self.slab.get_mut(slot.index())?, &mut self.woken))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Connection)> {
        self.slab.iter().map(|(index, connection)| (Slot::at(index), connection))
    }

    /// The connections in up to `most` slots from `from` on, and the slot behind those if there are
    /// more.
    pub(super) fn page(
        &self,
        from: Slot,
        most: usize,
    ) -> (impl Iterator<Item = &Connection>, Option<Slot>) {
        let end = from.index().saturating_add(most).min(self.slab.capacity());
        let next = (end < self.slab.capacity()).then(|| Slot::at(end));
        ((from.index()..end).filter_map(|index| self.slab.get(index)), next)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slab.iter_mut().map(|(_, connection)| connection)
    }

    /// The input of a connection goes on.
    pub(super) fn wake(&mut self, slot: Slot) {
        self.woken.push(slot);
    }

    #[inline]
    pub(super) const fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    pub(super) fn take_woken(&mut self) -> Vec<Slot> {
        std::mem::take(&mut self.woken)
    }

    /// Lets a session that is leaving go on in a later step.
    pub(super) fn resume_leaving(&mut self, slot: Slot) {
        let leaving = self[slot].leaving.as_mut();
        if leaving.is_some_and(|leaving| !std::mem::replace(&mut leaving.is_queued, true)) {
            self.leavers.push_back(slot);
        }
    }

    /// The next one that goes on leaving.
    pub(super) fn next_leaver(&mut self) -> Option<Slot> {
        let slot = self.leavers.pop_front()?;
        if let Some(leaving) = &mut self[slot].leaving {
            leaving.is_queued = false;
        }
        Some(slot)
    }

    pub(super) fn leavers(&self) -> usize {
        self.leavers.len()
    }

    /// Nothing needs a connection any more but its socket, which is to be closed.
    pub(super) fn close(&mut self, slot: Slot) {
        self.closed.push_back(slot);
    }

    #[inline]
    pub(super) fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Slots whose sockets are to be closed, up to `most` of them, those first that have waited
    /// longest. A slot may be given out again after this.
    pub(super) fn take_closed(&mut self, most: usize) -> Vec<Slot> {
        let most = most.min(self.closed.len());
        let closed: Vec<_> = self.closed.drain(..most).collect();
        for slot in &closed {
            self.slab.remove(slot.index());
        }
        closed
    }

    /// The session that is meant, if it is still here.
    pub(super) fn find(&self, target: SessionRef) -> Option<&Session> {
        debug_assert_eq!(target.shard, self.shard);
        let session = self.get(target.slot)?.session()?;
        (session.id == target.session).then_some(session)
    }

    pub(super) fn find_mut(&mut self, target: SessionRef) -> Option<&mut Session> {
        debug_assert_eq!(target.shard, self.shard);
        let session = self.get_mut(target.slot)?.session_mut()?;
        (session.id == target.session).then_some(session)
    }

    /// The receiver in this slot has moved in the list of a subscription.
    pub(super) fn note_position(
        &mut self,
        slot: Slot,
        subscription: SubscriptionId,
        position: u32,
    ) {
        let holder = self.get_mut(slot).and_then(Connection::holder_mut);
        let held = holder.and_then(|session| session.subscriptions.get_mut(&subscription));
        held.expect("a listed receiver holds the subscription").position = position;
    }

    /// The session whose message is being dealt with.
    pub(super) fn joined(&self, slot: Slot) -> &Session {
        self[slot].session().expect(NOT_JOINED)
    }

    #[inline]
    pub(super) fn joined_mut(&mut self, slot: Slot) -> &mut Session {
        self[slot].session_mut().expect(NOT_JOINED)
    }
}

impl Index<Slot> for Connections {
    type Output = Connection;

    #[inline]
    fn index(&self, slot: Slot) -> &Connection {
        &self.slab[slot.index()]
    }
}

impl IndexMut<Slot> for Connections {
    #[inline]
    fn index_mut(&mut self, slot: Slot) -> &mut Connection {
        &mut self.slab[slot.index()]
    }
}

const NOT_JOINED: &str = "only messages of an established session get here";
