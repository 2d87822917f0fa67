//! Who subscribes: what the shared tables of a node do not say (AP-SUA).
//!
//! The table knows which shards have receivers, each shard knows which sessions. So the shard that
//! wants to know calls the roll: every shard with receivers gives one part of the answer.

use super::super::{Mail, Roll, RollCall, Shard};
use super::finding::Finding;
use crate::router::{Destinations, Realm, ShardId};
use crate::wamp::SubscriptionId;

impl Shard {
    /// Asks the shards that have receivers of a subscription, this one by mail as well: the answer
    /// comes when the last one has given its part.
    pub(super) fn call_roll(
        &mut self,
        ticket: u64,
        call: (SubscriptionId, bool),
        at: Destinations,
    ) {
        let (subscription, wants_names) = call;
        let call = RollCall { subscription, asker: self.cx.id, ticket, wants_names };
        for shard in at.shards() {
            self.cx.post.send(shard, Mail::RollCall(call));
        }
    }

    pub(in crate::shard) fn handle_roll_call(&mut self, call: RollCall) {
        let slots = self.receivers.get(call.subscription).map(|receivers| receivers.slots());
        let slots = slots.unwrap_or_default();
        let count = slots.len();
        self.cx.work.charge(count);
        let found = if !call.wants_names {
            Finding::Count(Some(count as u64))
        } else if count > self.cx.limits().meta_list_items {
            Finding::TooMany
        } else {
            let ids = slots.iter().filter_map(|slot| self.connections[*slot].session_id);
            Finding::Sessions(Some(ids.collect()))
        };
        let roll = Roll { ticket: call.ticket, found };
        self.cx.post.send(call.asker, Mail::Roll(Box::new(roll)));
    }

    pub(in crate::shard) fn handle_roll(&mut self, roll: Roll) {
        self.take_part(roll.ticket, roll.found);
    }
}

/// The shards that have receivers of a subscription; `None` if there is none of this id.
pub(super) fn shards_of(realm: &Realm, subscription: SubscriptionId) -> Option<Destinations> {
    let described = realm.topics.get(subscription)?;
    let fanout = realm.topics.look_up(&described.uri, described.policy);
    let mut shards = fanout.filter(|fanout| fanout.subscription == subscription)?.to;
    shards.remove(ShardId::CLUSTER);
    Some(shards)
}
