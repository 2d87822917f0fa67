//! A node among the others: with whom it is linked, and who is not heard any more.

use super::super::members::{Departure, Ended, Members};
use super::super::peer::Peer;
use super::super::wire::Incarnation;
use super::Node;
use super::hearing::Word;
use crate::clock::Millis;
use crate::router::{NodeName, NodeNumber};

impl Node {
    /// The watch of the bucket tells a write: the value of a key, or that it has gone.
    pub fn handle_entry(&mut self, revision: u64, key: &str, value: Option<&[u8]>, now: Millis) {
        self.seen.told_at = now;
        self.members.handle_entry(revision, key, value, now);
        if Members::is_claim(key) {
            // They are many, and who is a member stays the same.
            return self.take_claim_news(now);
        }
        self.follow(now);
    }

    /// All that stood when the watch was opened has been told.
    pub fn handle_current(&mut self, now: Millis) {
        self.seen.told_at = now;
        self.members.handle_current();
        self.follow(now);
    }

    /// A watch was opened that tells all from the start; see [`Members::handle_reset`].
    pub fn handle_reset(&mut self) {
        self.members.handle_reset();
    }

    /// Who is of the cluster.
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// Why this node cannot be of the cluster any more, if so.
    pub const fn ended(&self) -> Option<&Ended> {
        self.members.ended()
    }

    /// The next node that is a member no more; see [`Members::take_departure`].
    pub fn take_departure(&mut self) -> Option<Departure> {
        self.members.take_departure()
    }

    /// Whether the watch lags; see [`Members::wants_watch`].
    pub fn wants_watch(&mut self, now: Millis) -> bool {
        self.members.wants_watch(now)
    }

    /// Removes this node from the cluster; [`Members::has_left`] says when it is done.
    pub fn leave(&mut self) {
        self.members.leave();
    }

    /// Whether all that was said to others has been dealt with.
    pub fn is_drained(&self) -> bool {
        self.peers.values().all(|peer| peer.link.queued_bytes() == 0)
    }

    /// Whether it has become a member, and linked with all that were members before it: whoever
    /// connects is served as everywhere. For good; see [`Self::is_serving`].
    pub const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The members with which both ends know what the other wants, and have what it keeps.
    pub fn linked(&self) -> impl Iterator<Item = Incarnation> {
        self.peers.iter().filter(|(_, peer)| peer.is_linked()).map(|(name, _)| *name)
    }

    /// The bus knows nobody who takes messages for a member.
    pub fn handle_no_responder(&mut self, member: Incarnation) {
        if let Some(peer) = self.peers.get_mut(&member) {
            peer.is_deaf = true;
        }
    }

    /// Does what follows from who is a member by now.
    pub(super) fn follow(&mut self, now: Millis) {
        if self.me != self.members.incarnation() {
            self.begin_anew(now);
        }
        let others: Vec<_> =
            self.members.others().map(|(member, number, _)| (member, number)).collect();
        let is_one = |member: &Incarnation| others.iter().any(|(other, _)| other == member);
        let gone: Vec<_> = self.peers.keys().copied().filter(|peer| !is_one(peer)).collect();
        gone.into_iter().for_each(|member| self.lose(member, now));
        for (member, number) in others {
            self.meet(member, number, now);
            let stays_until = self.members.stays_until(number);
            if let Some(peer) = self.peers.get_mut(&member) {
                peer.not_removed_before = peer.not_removed_before.max(stays_until);
            }
        }
        self.hearing.forget(|member| !self.members.stands(member));
        self.look_whether_to_enter(now);
        self.take_claim_news(now);
    }

    /// A node that was removed waits, before it becomes a member again, until it hears all members
    /// whom others hear: they could not be linked with it.
    pub(super) fn look_whether_to_enter(&mut self, now: Millis) {
        let waits = !self.waits_for(now).is_empty();
        self.members.hold_entry(waits);
    }

    /// For whom this node waits before it becomes a member again: those whose heartbeats do not
    /// come here, and of whom others say that they hear them.
    pub(super) fn waits_for(&self, now: Millis) -> Vec<NodeName> {
        if self.members.is_member() {
            return Vec::new();
        }
        let others = self.members.standing().filter(|(life, _)| *life != self.me);
        let others = others.filter(|(life, _)| !self.hearing.is_heard(*life, now));
        let is_there = |(life, _): &(Incarnation, &NodeName)| {
            self.hearing.ask(*life, self.me, now) != Word::Gone
        };
        others.filter(is_there).map(|(_, name)| name.clone()).collect()
    }

    /// Whether a member that is not heard here has gone, as far as this node can know.
    ///
    /// Who is behind with the bucket may have been removed itself, and then nobody links with it.
    /// Of two that others hear, the one of the lower number stays; it waits for no answer of the
    /// other one, which waits longer than the bucket may be without a leader.
    fn has_gone(&self, member: Incarnation, now: Millis) -> bool {
        let Some(peer) = self.peers.get(&member) else { return false };
        if self.hearing.revision(now) > self.members.revision() {
            return false;
        }
        let comes_first = || self.members.ids().is_some_and(|ids| ids.node() < peer.number);
        match self.hearing.ask(member, self.me, now) {
            Word::Gone => true,
            Word::HearsBoth if comes_first() => true,
            Word::HearsBoth | Word::HearsIt => {
                now.since(peer.in_touch_at) >= DOUBTS * self.settings.silence_ms
            }
        }
    }

    /// A node has become a member: it is linked with as soon as it answers.
    fn meet(&mut self, member: Incarnation, number: NodeNumber, now: Millis) {
        if !self.peers.contains_key(&member) {
            let limits = self.link_limits(self.peers.len() + 1);
            self.peers.insert(member, Peer::new(self.me, (number, self.turn_ms()), limits, now));
            self.welcome_claims(member);
        }
    }

    /// By its number it waits longer than others before it removes anybody.
    fn turn_ms(&self) -> u64 {
        self.members.ids().map_or(0, |ids| 100 * u64::from(ids.node().get()))
    }

    /// A node is a member no more: the link with it has ended for good.
    fn lose(&mut self, member: Incarnation, now: Millis) {
        let Some(peer) = self.peers.get(&member) else { return };
        if peer.link.is_open() {
            self.forget(member);
        }
        self.peers.remove(&member);
        self.dismiss_claims(member, now);
    }

    /// This node has another life: all links have ended. Who waits until all know of something
    /// waits for those that come.
    fn begin_anew(&mut self, now: Millis) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|member| self.lose(member, now));
        self.me = self.members.incarnation();
        while let Some((asked, _)) = self.marks.pop_front() {
            self.asked.take_in(asked);
        }
        self.asked.revision = 0;
        self.claim_anew(now);
    }

    /// Looks at who has not been heard for too long: no link with it stays open, and it is removed.
    pub(super) fn look_for_the_silent(&mut self, now: Millis) {
        let stalled = now.since(std::mem::replace(&mut self.ran_at, now));
        if stalled > STALL_MS {
            // It was this node that did not listen.
            for peer in self.peers.values_mut() {
                peer.in_touch_at = peer.in_touch_at + stalled;
                peer.not_removed_before = peer.not_removed_before + stalled;
            }
        }
        let (silence_ms, hears_few) = (self.settings.silence_ms, self.hears_few());
        let (mut silent, mut ended) = (Vec::new(), Vec::new());
        for (name, peer) in &mut self.peers {
            let is_over = peer.deaf_at(silence_ms).is_some_and(|at| at <= now);
            if is_over && peer.link.is_open() && peer.link.end(now) {
                ended.push(*name);
            }
            if peer.remove_at(silence_ms, hears_few) <= now {
                peer.not_removed_before = now + AGAIN_MS;
                silent.push(*name);
            }
            if peer.probe_at() <= now {
                // Nobody who takes it is heard of, or it is heard.
                peer.link.greet(now);
                peer.not_probed_before = now + AGAIN_MS;
            }
        }
        ended.into_iter().for_each(|member| self.forget(member));
        silent.retain(|member| self.has_gone(*member, now));
        silent.into_iter().for_each(|member| self.members.remove(member));
        self.look_whether_to_enter(now);
    }

    /// When somebody has been silent for too long.
    pub(super) fn next_silence(&self) -> Option<Millis> {
        let (silence_ms, hears_few) = (self.settings.silence_ms, self.hears_few());
        let looks = self
            .peers
            .values()
            .flat_map(|peer| [peer.remove_at(silence_ms, hears_few), peer.probe_at()]);
        looks.min()
    }

    /// Whether it should rather doubt itself than the others: it is new, or hears fewer than half
    /// of the cluster.
    fn hears_few(&self) -> bool {
        let heard = 1 + self.peers.values().filter(|peer| peer.link.is_open()).count();
        !self.is_ready || 2 * heard < 1 + self.peers.len()
    }

    /// Notes that this node is ready, once it is. For good: later it serves, whoever is linked.
    pub(super) fn look_whether_ready(&mut self, now: Millis) {
        if !self.is_ready && self.members.is_member() && self.members.may_serve(now) {
            let is_linked = |member| self.peers.get(&member).is_none_or(Peer::is_linked);
            self.is_ready = self.members.elders().all(is_linked);
        }
    }
}

/// Beyond this time between two looks a node has slept itself.
const STALL_MS: u64 = 2_500;

/// How often a member is silent for too long before it is removed though others hear it.
const DOUBTS: u64 = 4;

/// How soon a silent member is asked once more, or to be removed once more, in milliseconds.
const AGAIN_MS: u64 = 500;
