//! A node that serves nobody without the bucket: it writes its own key again and again, and what is
//! written so proves that it is still a member, and that the bucket is there for it.
//!
//! Its key says for how long it has to stand unchanged before anybody removes it. That time begins
//! at others when they read a write, and here when the write was asked for, which was before. So
//! this node has stopped before another one is granted what its sessions have.

use super::super::bucket::{Action, NodeRecord, Outcome, node_key};
use super::{Members, Place, REFUSED_MS, UNKNOWN_MS};
use crate::clock::Millis;
use crate::router::NodeNumber;

#[derive(Debug)]
pub(super) struct Contact {
    /// As its key says.
    stops_ms: u64,
    /// When the last write was asked for that is known to have been made.
    proved_at: Option<Millis>,
    /// The revision of that.
    written: u64,
    /// A write is under way.
    is_asked: bool,
    /// When the next one is due.
    write_at: Millis,
}

impl Contact {
    pub(super) const fn new(stops_ms: u64) -> Self {
        let (proved_at, written, write_at) = (None, 0, Millis(0));
        Self { stops_ms, proved_at, written, is_asked: false, write_at }
    }

    pub(super) const fn stops_ms(&self) -> u64 {
        self.stops_ms
    }

    /// Until when clients are served, unless another write is made.
    fn ends_at(&self) -> Millis {
        let serves_ms = self.stops_ms.saturating_sub(MARGIN_MS);
        self.proved_at.map_or(Millis(0), |at| at + serves_ms)
    }

    /// The node has become a member: that proves nothing, as it may have been long ago.
    pub(super) const fn hurry(&mut self) {
        self.write_at = Millis(0);
    }

    /// A watch tells all from the start: revisions may count from the start, too.
    pub(super) const fn forget_revision(&mut self) {
        self.written = 0;
    }

    /// What was asked for then was answered.
    pub(super) fn handle_written(&mut self, asked_at: Millis, outcome: Outcome, now: Millis) {
        self.is_asked = false;
        match outcome {
            Outcome::Written(revision) => {
                (self.proved_at, self.written) = (Some(asked_at), revision);
                self.write_at = asked_at + AGAIN_MS;
            }
            Outcome::Refused => {
                // Made without an answer before; or it stands no more. The watch tells.
                self.written = 0;
                self.write_at = now + REFUSED_MS;
            }
            Outcome::Unknown => self.write_at = now + UNKNOWN_MS,
        }
    }
}

impl Members {
    /// Whether clients may be served: always, or as the bucket was there for this node lately.
    pub fn may_serve(&self, now: Millis) -> bool {
        self.serves_until().is_none_or(|until| now < until)
    }

    /// Until when they may, if nothing proves that it still is; `None`: always.
    pub fn serves_until(&self) -> Option<Millis> {
        self.contact.as_ref().map(Contact::ends_at)
    }

    /// How long ago it last was, in milliseconds, if that matters and was so.
    pub fn contact_ms(&self, now: Millis) -> Option<u64> {
        let proved_at = self.contact.as_ref()?.proved_at;
        proved_at.map(|at| now.since(at))
    }

    /// How long the node that has this one's name stays at least, which is to take its place, in
    /// milliseconds.
    pub fn waits_for_namesake(&self, now: Millis) -> Option<u64> {
        let (_, place) = self.roll.named(&self.identity.name).filter(|_| self.number.is_none())?;
        Some(place.stays_until().since(now)).filter(|wait_ms| *wait_ms > 0)
    }

    /// Until when the member of this number is not removed, as it may serve clients.
    pub(in crate::cluster) fn stays_until(&self, number: NodeNumber) -> Millis {
        self.roll.at(number).map_or(Millis(0), Place::stays_until)
    }

    /// Whether the own key is to be written once more now, whatever else is under way.
    pub fn owes_proof(&self, now: Millis) -> bool {
        self.again_at().is_some_and(|at| at <= now)
    }

    /// When the own key is to be written once more, if it stands and is not under way.
    pub(super) fn again_at(&self) -> Option<Millis> {
        let contact = self.contact.as_ref().filter(|contact| !contact.is_asked)?;
        self.own_place().map(|_| contact.write_at)
    }

    /// Writes the own key once more, as it stands, if that is due.
    pub(super) fn write_again(&mut self, now: Millis) -> Option<(Box<str>, Action)> {
        let (number, place) = self.own_place().filter(|_| self.owes_proof(now))?;
        let record = NodeRecord { joined: place.joined, ..self.record() };
        let told = place.revision;
        let contact = self.contact.as_mut()?;
        contact.is_asked = true;
        let action =
            Action::Replace { revision: told.max(contact.written), value: record.encode() };
        Some((node_key(number), action))
    }

    fn own_place(&self) -> Option<(NodeNumber, &Place)> {
        let number = self.number.filter(|_| self.is_member() && self.ended.is_none())?;
        let place = self.roll.at(number)?;
        (place.record.incarnation == self.incarnation).then_some((number, place))
    }
}

/// How long before others may remove it a node stops, in milliseconds: for its shards, which tell
/// all their sessions, and for clocks.
const MARGIN_MS: u64 = 2_000;

/// How often the key is written, in milliseconds.
const AGAIN_MS: u64 = 2_000;
