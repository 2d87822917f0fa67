//! What this node's sessions want of the others: it is told, and SUBSCRIBED and the like wait until
//! all know.

use super::super::peer::Position;
use super::super::wire::Incarnation;
use super::Node;
use super::asked::Asked;
use crate::router::{InterestSlot, Shape};
use crate::shard::Mail;

/// A shape of which others know that this node has patterns of it.
#[derive(Debug)]
pub(super) struct ToldShape {
    pub(super) shape: Shape,
    /// All of them do.
    is_confirmed: bool,
    /// At the last look not one pattern had it.
    is_idle: bool,
}

impl Node {
    /// The slot, if it is to be told. Its shape is told before.
    pub(super) fn handle_wanted(
        &mut self,
        slot: InterestSlot,
        shape: Option<Shape>,
    ) -> Option<InterestSlot> {
        if let Some(shape) = shape {
            self.tell_shape(shape);
        }
        self.interest.tell(slot).then_some(slot)
    }

    /// In one entry, where a slot takes half as many bytes as in one of its own.
    pub(super) fn tell_slots(&mut self, slots: Vec<InterestSlot>) {
        self.open_peers().for_each(|peer| peer.say_slots(&slots, true));
        self.asked.slots.extend(slots);
    }

    fn tell_shape(&mut self, shape: Shape) {
        match self.told_shapes.iter_mut().find(|told| told.shape == shape) {
            Some(told) if told.is_confirmed => {
                told.is_idle = false;
                self.interest.confirm_shape(shape);
            }
            // It will be, with what was said.
            Some(_) => {}
            None => {
                self.told_shapes.push(ToldShape { shape, is_confirmed: false, is_idle: false });
                self.open_peers().for_each(|peer| peer.say_shapes(&[shape], true));
                self.asked.shapes.push(shape);
            }
        }
    }

    /// Tells the others what this node does not want any more.
    pub(super) fn give_up_unused(&mut self) {
        let slots = self.interest.give_up_unused();
        self.open_peers().for_each(|peer| peer.say_slots(&slots, false));
        let (used, mut unused) = (self.interest.own_shapes(), Vec::new());
        self.told_shapes.retain_mut(|told| {
            let was_idle = std::mem::replace(&mut told.is_idle, !used.contains(&told.shape));
            let is_over = told.is_confirmed && was_idle && told.is_idle;
            unused.extend(is_over.then_some(told.shape));
            !is_over
        });
        self.open_peers().for_each(|peer| peer.say_shapes(&unused, false));
    }

    /// Notes what was asked for in this turn, and confirms what all others know by now.
    pub(super) fn confirm_what_all_know(&mut self) {
        if !self.asked.is_empty() {
            self.mark();
        }
        while let Some((asked, _)) = self.marks.pop_front_if(|(asked, positions)| {
            let knows = |(name, position): &(Incarnation, Position)| {
                self.peers.get(name).is_none_or(|peer| peer.knows(*position, asked.revision))
            };
            positions.iter().all(knows)
        }) {
            asked.slots.iter().for_each(|slot| self.interest.confirm(*slot));
            asked.shapes.iter().for_each(|shape| self.confirm_shape(*shape));
            self.confirm_tickets(asked);
        }
    }

    /// All know what sessions have asked for. Who listens to meta events waits until all have told
    /// what stands with them.
    fn confirm_tickets(&mut self, asked: Asked) {
        let Asked { tickets, mut feeds, .. } = asked;
        for (session, ticket) in tickets.into_values() {
            let feeds = feeds.remove(&session.session);
            if feeds.is_some() || self.rosters.waits(session.session) {
                self.rosters.wait(session, ticket, feeds.unwrap_or_default());
            } else {
                let outbox = &mut self.outboxes[usize::from(session.shard.0)];
                outbox.push(Mail::Visible { session, ticket });
            }
        }
    }

    /// Notes how far others have to be before all know what was asked for in this turn. While they
    /// are slow, several turns share a mark: they are confirmed with the last of them.
    fn mark(&mut self) {
        let mut asked = std::mem::take(&mut self.asked);
        if self.marks.len() >= MOST_MARKS
            && let Some((earlier, _)) = self.marks.pop_back()
        {
            asked.take_in(earlier);
        }
        let positions =
            self.peers.iter().filter_map(|(name, peer)| Some((*name, peer.position()?)));
        let positions = positions.collect();
        self.marks.push_back((asked, positions));
    }

    fn confirm_shape(&mut self, shape: Shape) {
        self.interest.confirm_shape(shape);
        let told = self.told_shapes.iter_mut().filter(|told| told.shape == shape);
        told.for_each(|told| told.is_confirmed = true);
    }

    /// Turns, and sessions of them, that wait until others know of what was asked for.
    pub fn waiting(&self) -> (usize, usize) {
        let tickets = self.marks.iter().map(|(asked, _)| asked.tickets.len());
        (self.marks.len(), tickets.sum())
    }
}

/// How many turns may wait, each by itself, until others know of what was asked for.
const MOST_MARKS: usize = 64;
