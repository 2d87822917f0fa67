//! Another node, as this one knows it: the link, and what was said through it of who wants what.

use super::copies::Copies;
use super::entry::{encode_complete, encode_read, encode_shapes, encode_slots};
use super::link::{Link, LinkLimits};
use super::wire::Incarnation;
use crate::clock::Millis;
use crate::router::{Interest, InterestSlot, NodeNumber, Shape};

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) number: NodeNumber,
    pub(super) link: Link,
    /// The parcel that ends what this node has last said that it wants.
    said_at: u64,
    /// The parcel that ends the first copy of it.
    copied_at: u64,
    /// It has said all that it wants.
    is_complete: bool,
    /// The shapes that it uses and that there was room for.
    shapes: Vec<Shape>,
    pub(super) copies: Copies,
    /// The revision of the bucket up to which it knows this node's claims.
    pub(super) read: u64,
    /// And the one that it was told last.
    pub(super) told_read: u64,
    /// When it was last heard through an open link, or met.
    pub(super) in_touch_at: Millis,
    /// The bus knows nobody who takes messages for it, and it was not heard since.
    pub(super) is_deaf: bool,
    /// When the bus last came back to this node: to nobody else need it have been there before.
    bus_since: Millis,
    /// How much later than others this node removes it, so that not all do at once.
    pub(super) turn_ms: u64,
    pub(super) not_removed_before: Millis,
    pub(super) not_probed_before: Millis,
    pub(super) sight: Sight,
}

/// What only operators want to know of it.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// When the link that is open began.
    pub(super) opened_at: Millis,
    /// How many writes of the bucket it had not read when it last said how far it is.
    pub(super) lag: u64,
    /// Events that were dropped, since too much waited for it.
    pub(super) dropped_events: u64,
}

impl Peer {
    pub(super) fn new(
        me: Incarnation,
        (number, turn_ms): (NodeNumber, u64),
        limits: LinkLimits,
        now: Millis,
    ) -> Self {
        let link = Link::new(me, limits, now);
        Self {
            number,
            link,
            said_at: 0,
            copied_at: 0,
            is_complete: false,
            shapes: Vec::new(),
            copies: Copies::default(),
            read: 0,
            told_read: 0,
            in_touch_at: now,
            is_deaf: false,
            bus_since: now,
            turn_ms,
            not_removed_before: now,
            not_probed_before: now,
            sight: Sight::default(),
        }
    }

    /// Something of it has come, by which a link may have opened.
    pub(super) fn hear(&mut self, has_opened: bool, now: Millis) {
        if std::mem::take(&mut self.is_deaf) {
            // Nobody has taken what was sent meanwhile.
            self.link.hurry(now);
        }
        if has_opened {
            self.sight.opened_at = now;
        }
        if self.link.is_open() {
            self.in_touch_at = now;
        }
    }

    /// The bus was away, and some of what it carried with it.
    pub(super) fn handle_bus_changed(&mut self, now: Millis) {
        self.bus_since = now;
        self.link.send_again(now);
    }

    /// When nobody has taken messages for it for so long that the link ends, if that is so.
    pub(super) fn deaf_at(&self, silence_ms: u64) -> Option<Millis> {
        let from = self.in_touch_at.max(self.bus_since);
        let silent_at = self.in_touch_at + silence_ms;
        self.is_deaf.then(|| silent_at.min(from + DEAF_MS))
    }

    /// Whether it was heard through the link that is open, not longer ago than this.
    pub(super) fn was_heard_since(&self, ms: u64, now: Millis) -> bool {
        self.link.is_open() && !self.is_deaf && now.since(self.in_touch_at) < ms
    }

    /// When it has been silent for so long that it is to be a member no longer. Who should rather
    /// doubt itself waits twice as long.
    pub(super) fn remove_at(&self, silence_ms: u64, is_in_doubt: bool) -> Millis {
        let at = self.deaf_at(silence_ms).unwrap_or(self.in_touch_at + silence_ms);
        let patience = (at - self.in_touch_at + self.turn_ms) << u32::from(is_in_doubt);
        (self.in_touch_at + patience).max(self.not_removed_before)
    }

    /// When it has been silent for so long that it is asked.
    pub(super) fn probe_at(&self) -> Millis {
        (self.in_touch_at + PROBE_MS).max(self.not_probed_before)
    }

    /// Says all that this node wants, to whoever has heard nothing of it.
    pub(super) fn say_all(&mut self, interest: &Interest, shapes: &[Shape], revision: u64) {
        self.said_at = 0;
        self.say_read(revision);
        self.say_shapes(shapes, true);
        let slots: Vec<_> = interest.told().collect();
        slots.chunks(SLOTS_PER_ENTRY).for_each(|slots| self.say_slots(slots, true));
        let mut complete = Vec::new();
        encode_complete(&mut complete);
        self.say(&complete);
        self.copied_at = self.said_at;
    }

    pub(super) fn say_shapes(&mut self, shapes: &[Shape], used: bool) {
        if !shapes.is_empty() {
            let mut entry = Vec::new();
            encode_shapes(shapes, used, &mut entry);
            self.say(&entry);
        }
    }

    pub(super) fn say_slots(&mut self, slots: &[InterestSlot], wanted: bool) {
        for slots in slots.chunks(SLOTS_PER_ENTRY) {
            let mut entry = Vec::new();
            encode_slots(slots, wanted, &mut entry);
            self.say(&entry);
        }
    }

    /// Says how far this node has read the bucket, and has done what follows.
    pub(super) fn say_read(&mut self, revision: u64) {
        self.told_read = revision;
        let mut entry = Vec::new();
        encode_read(revision, &mut entry);
        self.say(&entry);
    }

    fn say(&mut self, entry: &[u8]) {
        self.said_at = self.link.push(entry, true);
    }

    /// What has to be dealt with at the other end before it knows all that this node has said; see
    /// [`Self::knows`]. `None` without a link: who comes later hears it first of all.
    pub(super) fn position(&self) -> Option<Position> {
        let (own, peers) = self.link.epochs();
        self.link.is_open().then_some(Position { link: (own, peers), said_at: self.said_at })
    }

    /// Whether the other end has dealt with what was said up to a position; `None`: the link has
    /// ended.
    pub(super) fn answers(&self, position: Position) -> Option<bool> {
        let is_it = self.link.is_open() && self.link.epochs() == position.link;
        is_it.then(|| self.link.is_handled(position.said_at))
    }

    /// Whether the other end has dealt with what was said up to a position, and read the bucket up
    /// to a revision, or the link has ended.
    pub(super) fn knows(&self, position: Position, revision: u64) -> bool {
        self.answers(position).is_none_or(|knows| knows && self.read >= revision)
    }

    /// Both ends know all that the other wanted and kept when the link began, and hear what
    /// changes.
    pub(super) fn is_linked(&self) -> bool {
        let is_open = self.link.is_open() && self.is_complete;
        is_open && self.link.is_handled(self.copied_at) && self.copies.is_complete(&self.link)
    }

    pub(super) const fn complete(&mut self) {
        self.is_complete = true;
    }

    pub(super) fn hear_slots(&self, interest: &Interest, slots: &[InterestSlot], wanted: bool) {
        slots.iter().for_each(|slot| interest.set_remote(self.number, *slot, wanted));
    }

    pub(super) fn hear_shapes(&mut self, interest: &Interest, shapes: &[Shape], used: bool) {
        for shape in shapes {
            let known = self.shapes.iter().position(|known| known == shape);
            match (known, used) {
                (None, true) if interest.add_remote_shape(self.number, *shape) => {
                    self.shapes.push(*shape);
                }
                (Some(place), false) => {
                    self.shapes.swap_remove(place);
                    interest.remove_remote_shape(*shape);
                }
                _ => {}
            }
        }
    }

    /// The link has ended: what the other node wants is not known any more.
    pub(super) fn forget(&mut self, interest: &Interest) {
        interest.forget_remote(self.number);
        self.shapes.drain(..).for_each(|shape| interest.remove_remote_shape(shape));
        self.is_complete = false;
        self.copies = Copies::default();
        (self.read, self.told_read) = (0, 0);
    }
}

/// How much of what a node wants another one has been told, through which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    link: (u64, u64),
    said_at: u64,
}

/// How long who is not heard stays if nobody takes messages for it, in milliseconds.
const DEAF_MS: u64 = 3_000;

/// How long a member is silent before it is asked, in milliseconds: a heartbeat comes each second.
const PROBE_MS: u64 = 1_500;

const SLOTS_PER_ENTRY: usize = 8_192;
