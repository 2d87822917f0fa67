//! The mail that a shard has for others and for itself, until its turn brings it on.

use super::{Mail, MetaEvent};
use crate::router::{Batch, Destinations, ShardId};

#[derive(Debug)]
pub(super) struct Post {
    shard: ShardId,
    /// To other shards, by their numbers, and behind those to other nodes.
    outboxes: Vec<Batch<Mail>>,
    /// Where the outboxes go to that are not empty.
    filled: Destinations,
    /// To sessions of this shard, handled when the current input is.
    own: Vec<Mail>,
    /// Meta events for other home shards, sent behind everything else of the turn.
    homebound: Vec<(ShardId, MetaEvent)>,
}

impl Post {
    pub(super) fn new(shard: ShardId, shards: usize) -> Self {
        let outboxes = (0..=shards).map(|_| Batch::default()).collect();
        let filled = Destinations::default();
        Self { shard, outboxes, filled, own: Vec::new(), homebound: Vec::new() }
    }

    /// Sends mail to the shard of its receiver, which may be this one, or [`ShardId::CLUSTER`].
    pub(super) fn send(&mut self, to: ShardId, mail: Mail) {
        if to == self.shard {
            self.own.push(mail);
        } else {
            self.filled.insert(to);
            self.outbox(to).push(mail);
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

    /// Where mail is to be sent to.
    #[inline]
    pub(super) const fn filled(&self) -> Destinations {
        self.filled
    }

    /// The mail for a place that is not this shard.
    pub(super) fn take_outbox(&mut self, to: ShardId) -> Batch<Mail> {
        self.filled.remove(to);
        std::mem::take(self.outbox(to))
    }

    fn outbox(&mut self, to: ShardId) -> &mut Batch<Mail> {
        let cluster = self.outboxes.len() - 1;
        let place = if to == ShardId::CLUSTER { cluster } else { usize::from(to.0) };
        &mut self.outboxes[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{SessionRef, Slot};
    use crate::wamp::SessionId;

    /// The session that a piece of mail is about stands for the mail.
    fn mail(number: u64) -> Mail {
        let session = SessionId::new(number).expect("a small number is an id");
        let publisher = SessionRef { session, slot: Slot::new(0), shard: ShardId::CLUSTER };
        Mail::Pace { publisher, waits: true }
    }

    fn number(mail: &Mail) -> u64 {
        let Mail::Pace { publisher, .. } = mail else { panic!("{mail:?} was not sent") };
        publisher.session.get()
    }

    fn taken(post: &mut Post) -> Vec<(u8, Vec<u64>)> {
        let boxes = post.filled().shards().map(|to| (to.0, post.take_outbox(to)));
        boxes.map(|(to, batch)| (to, batch.items.iter().map(number).collect())).collect()
    }

    #[test]
    fn mail_goes_to_shards_and_to_other_nodes() {
        let mut post = Post::new(ShardId(1), 3);
        assert!(taken(&mut post).is_empty());
        for (to, number) in [(63, 1), (2, 2), (1, 3), (63, 4), (0, 5)] {
            post.send(ShardId(to), mail(number));
        }
        assert_eq!(taken(&mut post), [(0, vec![5]), (2, vec![2]), (63, vec![1, 4])]);
        assert!(taken(&mut post).is_empty(), "it is sent once");
        assert_eq!(post.take_own().iter().map(number).collect::<Vec<_>>(), [3]);
    }
}
