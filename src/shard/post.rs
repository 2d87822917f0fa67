//! The mail that a shard has for others and for itself, until its turn brings it on.

use super::{Mail, MetaEvent};
use crate::router::{Batch, ShardId};

#[derive(Debug)]
pub(super) struct Post {
    shard: ShardId,
    /// To other shards, by destination.
    outboxes: Vec<Batch<Mail>>,
    /// To sessions of this shard, handled when the current input is.
    own: Vec<Mail>,
    /// Meta events for other home shards, sent behind everything else of the turn.
    homebound: Vec<(ShardId, MetaEvent)>,
}

impl Post {
    pub(super) fn new(shard: ShardId, shards: usize) -> Self {
        let outboxes = (0..shards).map(|_| Batch::default()).collect();
        Self { shard, outboxes, own: Vec::new(), homebound: Vec::new() }
    }

    /// Sends mail to the shard of its receiver, which may be this one.
    pub(super) fn send(&mut self, to: ShardId, mail: Mail) {
        if to == self.shard {
            self.own.push(mail);
        } else {
            self.outboxes[usize::from(to.0)].push(mail);
        }
    }

    /// Sends a meta event to the home of its realm: behind what else this turn has for it.
    pub(super) fn send_home(&mut self, home: ShardId, event: MetaEvent) {
        if home == self.shard {
            self.own.push(Mail::Meta(Box::new(event)));
        } else {
            self.homebound.push((home, event));
        }
    }

    /// Puts meta events in the outboxes, once what is in them was taken: so what the same turn
    /// published before, such as testaments, is everywhere first (AP-SMA-05). `false` if there are
    /// none.
    pub(super) fn release_meta_events(&mut self) -> bool {
        if self.homebound.is_empty() {
            return false;
        }
        for (home, event) in std::mem::take(&mut self.homebound) {
            self.send(home, Mail::Meta(Box::new(event)));
        }
        true
    }

    pub(super) const fn has_meta_events(&self) -> bool {
        !self.homebound.is_empty()
    }

    #[inline]
    pub(super) const fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// The mail of this shard to itself.
    pub(super) fn take_own(&mut self) -> Vec<Mail> {
        std::mem::take(&mut self.own)
    }

    /// All other shards.
    pub(super) fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.shard;
        (0u8..).take(self.outboxes.len()).map(ShardId).filter(move |shard| *shard != own)
    }

    /// Mail for another shard; `None` if there is none.
    pub(super) fn take_outbox(&mut self, to: ShardId) -> Option<Batch<Mail>> {
        let outbox = &mut self.outboxes[usize::from(to.0)];
        (!outbox.is_empty()).then(|| std::mem::take(outbox))
    }
}
