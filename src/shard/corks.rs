//! Corks: what a client is told of the whole cluster is so before it reads it.
//!
//! SUBSCRIBED and REGISTERED say that every node routes to this one. Until the others have
//! confirmed that, all output of the connection waits behind a cork, these answers among it, in
//! its order. It waits no longer than `Settings::visible_ms` and is no more than
//! `output.soft_bytes`; what comes out so without being confirmed is counted.
//!
//! A connection has one cork, which waits for the last of what was asked. It ends with the session.

use super::connection::Connection;
use super::{Mail, Shard};
use crate::clock::Millis;
use crate::router::{CorkCounts, SessionRef, ShardId, Slot};

/// What holds the output of a connection back.
#[derive(Debug)]
pub(super) struct Cork {
    /// The first and the last of what is to be confirmed.
    first: u64,
    last: u64,
    began: Millis,
    until: Millis,
    /// What waits must be offered to the socket, confirmed or not.
    pub(super) is_full: bool,
    /// The input waits, too.
    is_parking: bool,
    /// What waits goes out with the next flush.
    is_over: bool,
}

/// The corks of a shard: how many there are, and how those before have ended while their sessions
/// went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Corks {
    pub now: usize,
    pub confirmed: u64,
    /// Those that nobody has confirmed in time.
    pub expired: u64,
    /// Those behind which too much has waited.
    pub full: u64,
}

impl Connection {
    /// When the output goes on in any case, if it is corked.
    #[inline]
    pub(super) fn corked_until(&self) -> Option<Millis> {
        self.cork.as_ref().filter(|cork| !cork.is_over).map(|cork| cork.until)
    }
}

impl Shard {
    pub fn corks(&self) -> Corks {
        let CorkCounts { now, confirmed, expired, full } = &self.cx.measures.corks;
        let now = usize::try_from(now.get()).expect("no more than connections");
        let (confirmed, expired, full) = (confirmed.get(), expired.get(), full.get());
        Corks { now, confirmed, expired, full }
    }

    /// Which cork holds the output of a connection back, and until when at the latest.
    pub fn cork_of(&self, slot: Slot) -> Option<(u64, Millis)> {
        let connection = self.connections.get(slot)?;
        Some((connection.cork.as_ref()?.first, connection.corked_until()?))
    }

    /// The session in this slot is about to be told what must be so on every node.
    #[inline]
    pub(super) fn cork(&mut self, slot: Slot) {
        let visible_ms = self.cx.settings().visible_ms;
        if visible_ms > 0 {
            self.cork_for(slot, visible_ms);
        }
    }

    /// Who asks for more all the time would have its first answers wait as long: in the second half
    /// of the time its input waits, so that all can be confirmed.
    #[cold]
    fn cork_for(&mut self, slot: Slot, visible_ms: u64) {
        let now = self.cx.now;
        let session = self.cx.reference(slot, self.connections.joined(slot).id);
        self.last_cork_ticket += 1;
        let ticket = self.last_cork_ticket;
        self.cx.post.send(ShardId::CLUSTER, Mail::Reveal { session, ticket });
        let connection = &mut self.connections[slot];
        // Who asks more than other nodes can answer is not read meanwhile.
        connection.feeds.insert(ShardId::CLUSTER);
        if let Some(cork) = &mut connection.cork {
            debug_assert!(!cork.is_over, "the input waits for what is released to be offered");
            cork.last = ticket;
            let is_late = now.since(cork.began) >= visible_ms / 2;
            if is_late && !std::mem::replace(&mut cork.is_parking, true) {
                self.connections.park(slot);
            }
            return;
        }
        connection.is_held = true;
        connection.cork = Some(Box::new(Cork {
            first: ticket,
            last: ticket,
            began: now,
            until: now + visible_ms,
            is_full: false,
            is_parking: false,
            is_over: false,
        }));
        self.cx.measures.corks.now.increment();
        self.rearm(slot, now);
    }

    /// Whether what a client is to be told behind a cork has to wait for the next one, which
    /// [`Self::resume_grants`] is called for: it would hold back what this one has released or is
    /// about to, and who is granted one thing after the other would wait for the last.
    pub(super) fn is_cork_late(&self, slot: Slot) -> bool {
        let half_ms = self.cx.settings().visible_ms / 2;
        let cork = self.connections[slot].cork.as_ref();
        let is_late = |cork: &Cork| self.cx.now.since(cork.began) >= half_ms;
        cork.is_some_and(|cork| cork.is_over || cork.is_full || is_late(cork))
    }

    /// Every node routes to this one what a session has asked for up to this ticket.
    pub(super) fn handle_visible(&mut self, session: SessionRef, ticket: u64, now: Millis) {
        if self.connections.find(session).is_none() {
            return;
        }
        let cork = self.connections[session.slot].cork.as_ref();
        if cork.is_some_and(|cork| cork.last <= ticket && !cork.is_over) {
            self.cx.measures.corks.confirmed.increment();
            self.uncork(session.slot, now);
        }
    }

    /// The output of a connection that is gone or corked is due: whether it is written now. If not,
    /// it is kept, as the arena is not.
    pub(super) fn bursts(&mut self, slot: Slot, now: Millis) -> bool {
        let soft_bytes = self.cx.settings().output.soft_bytes;
        let connection = &mut self.connections[slot];
        let cork = connection.cork.as_ref().filter(|_| !connection.is_gone());
        let Some(cork) = cork else { return false };
        if cork.is_over || cork.is_full || connection.output.waiting_bytes() >= soft_bytes {
            self.cx.measures.corks.full.add(u64::from(!cork.is_over));
            self.uncork(slot, now);
            self.drop_cork(slot);
            return true;
        }
        // Its socket may have been full, and takes bytes now: nobody is blamed for what is corked.
        connection.clock.blocked_since = None;
        connection.clock.over_soft_since = None;
        self.cx.outbound.retain_rest(slot, connection, now);
        false
    }

    /// Nobody has confirmed in time.
    pub(super) fn expire_cork(&mut self, slot: Slot, now: Millis) {
        self.cx.measures.corks.expired.increment();
        self.uncork(slot, now);
    }

    /// All connections together hold more than they may: what is corked gives way first.
    #[cold]
    pub(super) fn uncork_all(&mut self, now: Millis) {
        let corked =
            |(slot, connection): (Slot, &Connection)| connection.corked_until().map(|_| slot);
        let all: Vec<Slot> = self.connections.iter().filter_map(corked).collect();
        for slot in all {
            self.cx.measures.corks.full.increment();
            self.uncork(slot, now);
        }
    }

    /// The output of a connection goes on. It is offered to the socket before more of the input is
    /// dealt with: the next cork would hold it back as well.
    fn uncork(&mut self, slot: Slot, now: Millis) {
        let connection = &mut self.connections[slot];
        let Some(cork) = connection.cork.as_mut().filter(|cork| !cork.is_over) else { return };
        cork.is_over = true;
        let was_parking = std::mem::replace(&mut cork.is_parking, true);
        self.cx.measures.corks.now.subtract(1);
        // A ping that waited with the rest goes out only now.
        connection.clock.ping_sent = connection.clock.ping_sent.map(|_| now);
        self.cx.outbound.mark_dirty(slot, connection);
        if !was_parking {
            self.connections.park(slot);
        }
        self.rearm(slot, now);
    }

    /// The socket of a connection is full: what waits further does not wait for a cork.
    pub(super) fn forget_opened_cork(&mut self, slot: Slot) {
        let cork = self.connections.get(slot).and_then(|connection| connection.cork.as_ref());
        if cork.is_some_and(|cork| cork.is_over) {
            self.drop_cork(slot);
        }
    }

    /// Nothing is left of a cork: all is offered, or the session has ended.
    pub(super) fn drop_cork(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot];
        let Some(cork) = connection.cork.take() else { return };
        connection.is_held = connection.is_gone();
        self.cx.measures.corks.now.subtract(u64::from(!cork.is_over));
        if !connection.output.is_empty() {
            self.cx.outbound.mark_dirty(slot, connection);
        }
        if cork.is_parking {
            self.connections.redeem(slot);
        }
        self.resume_grants(slot);
    }

    /// Checks that corks are counted and belong to sessions, and that little waits behind them.
    pub(super) fn check_corks(&self) {
        let soft_bytes = self.cx.settings().output.soft_bytes;
        let corked = || self.connections.iter().filter(|(_, c)| c.cork.is_some());
        let held = corked().filter(|(_, connection)| connection.corked_until().is_some());
        assert_eq!(held.count(), self.corks().now, "each cork is counted");
        for (_, connection) in self.connections.iter() {
            let is_held = connection.is_gone() || connection.cork.is_some();
            assert_eq!(connection.is_held, is_held, "a flush asks once");
        }
        for (_, connection) in corked() {
            assert!(connection.session().is_some(), "a cork ends with its session");
            let waiting = connection.output.waiting_bytes();
            let is_offered = connection.dirty || connection.is_blocked();
            assert!(is_offered || waiting < soft_bytes, "{waiting} B wait behind a cork");
        }
    }
}
