//! Which topics and procedures are busiest, for operators who ask.
//!
//! Publications, calls and events are sampled, so that most of them pay a subtraction: an event
//! nothing, as its delivery is one look-up for all receivers. Without `[admin]` nothing is sampled.
//! Where groups of URIs are counted, nothing passes: each unit is looked at, to find its group.

mod sampler;
mod sketch;

use std::sync::Arc;

use rand::RngExt;

use super::Shard;
use super::broker::Receivers;
use super::context::Context;
use super::work::LOOKUP_UNITS;
use crate::clock::Millis;
use crate::hash::HashSeed;
use crate::router::{BusyList, Busyness, Member, Realm};
use crate::wamp::{MatchPolicy, SessionId, SubscriptionId};
use sampler::{Draw, Sampler, next_second};
use sketch::Sketch;

#[derive(Debug)]
pub(in crate::shard) struct Census {
    /// By [`Busyness`].
    counts: [Count; 3],
    /// The samplers of a router that counts groups of URIs: those of `counts` let nothing pass.
    behind_groups: Option<[Sampler; 3]>,
    /// When the samplers look how many they took. Never, if they are off.
    adapt_at: Millis,
}

#[derive(Debug)]
struct Count {
    sampler: Sampler,
    sketch: Sketch,
}

impl Census {
    /// `has_groups`: each unit is to be looked at, as it may be one of a group of URIs.
    pub(in crate::shard) fn new(is_on: bool, has_groups: bool, seed: &HashSeed) -> Self {
        let sampler = || if is_on { Sampler::on() } else { Sampler::off() };
        let gate = || if has_groups { Sampler::on() } else { sampler() };
        let counts = [(); 3].map(|()| Count { sampler: gate(), sketch: Sketch::new(seed) });
        let behind_groups = has_groups.then(|| [(); 3].map(|()| sampler()));
        let adapt_at = if is_on { Millis::default() } else { Millis(u64::MAX) };
        Self { counts, behind_groups, adapt_at }
    }

    /// Whether so many units need not be looked at; if not, [`Context::look_at`] is to be called.
    #[inline]
    pub(in crate::shard) const fn passes(&mut self, what: Busyness, units: u64) -> bool {
        self.counts[what as usize].sampler.passes(units)
    }

    #[inline]
    pub(in crate::shard) fn is_due(&self, now: Millis) -> bool {
        now >= self.adapt_at
    }

    #[cold]
    pub(in crate::shard) fn adapt(&mut self, now: Millis, draw: Draw<'_>) {
        self.adapt_at = next_second(now);
        let behind = self.behind_groups.iter_mut().flatten();
        for sampler in self.counts.iter_mut().map(|count| &mut count.sampler).chain(behind) {
            sampler.adapt(&mut *draw);
        }
    }
}

impl Context {
    /// Events were queued for so many receivers of one subscription. What comes from another shard
    /// has its topic only where a pattern needs it.
    #[inline]
    pub(in crate::shard) fn note_events(&mut self, of: &Receivers, topic: &str, events: u64) {
        self.counters.events_delivered.add(events);
        if !self.census.passes(Busyness::Events, events) {
            let topic = if of.policy == MatchPolicy::Exact { &*of.uri } else { topic };
            self.look_at(Busyness::Events, &of.realm, topic, events);
        }
    }

    /// Counts units that do not pass.
    #[cold]
    pub(in crate::shard) fn look_at(
        &mut self,
        what: Busyness,
        realm: &Realm,
        uri: &str,
        units: u64,
    ) {
        self.note_in_group(what, uri, units);
        let Self { census, rng, now, work, .. } = self;
        let Count { sampler, sketch } = &mut census.counts[what as usize];
        let mut behind = census.behind_groups.as_mut().map(|samplers| &mut samplers[what as usize]);
        if behind.as_mut().is_some_and(|sampler| sampler.passes(units)) {
            return;
        }
        let sampler = behind.unwrap_or(sampler);
        let weight = sampler.look(units, &mut || rng.random());
        sketch.add(realm, uri, weight, *now);
        work.charge(LOOKUP_UNITS);
    }

    /// Counts units by the group of their URI, if they are of one.
    pub(in crate::shard) fn note_in_group(&mut self, what: Busyness, uri: &str, units: u64) {
        let groups = self.router.uri_groups();
        if groups.is_empty() {
            return;
        }
        if let Some(group) = groups.find(uri) {
            self.measures.groups.note(group, what, units);
        }
        self.work.charge(GROUP_UNITS);
    }
}

impl Shard {
    /// Which URIs came most of late.
    pub fn busiest(&self, what: Busyness, now: Millis) -> BusyList {
        self.cx.census.counts[what as usize].sketch.list(now)
    }

    /// The first receivers of these subscriptions here, but for the publisher: `most` at most.
    pub fn first_receivers(
        &self,
        subscriptions: &[SubscriptionId],
        publisher: Option<SessionId>,
        most: usize,
    ) -> Vec<(SubscriptionId, Member)> {
        let lists = subscriptions.iter().filter_map(|id| Some((*id, self.receivers.get(*id)?)));
        let slots = lists.flat_map(|(id, list)| list.slots().iter().map(move |slot| (id, *slot)));
        // Those who are leaving are looked at in vain, so looks are bounded as well.
        let members = slots.take(LOOKS * most).filter_map(|(id, slot)| {
            let session = self.connections.get(slot)?.session()?;
            let at = self.cx.reference(slot, session.id);
            let profile = Arc::clone(&session.profile);
            (Some(session.id) != publisher).then_some((id, Member { at, profile }))
        });
        members.take(most).collect()
    }

    /// How many receivers each of these subscriptions has here.
    pub fn receiver_counts(&self, subscriptions: &[SubscriptionId]) -> Vec<usize> {
        let count = |id: &SubscriptionId| self.receivers.get(*id).map_or(0, |list| list.len());
        subscriptions.iter().map(count).collect()
    }
}

/// What it takes to find the group of a URI, in units of work.
const GROUP_UNITS: usize = 2;

/// Receivers that are looked at for each that is shown.
const LOOKS: usize = 4;
