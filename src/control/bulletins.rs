//! What is published in the management realm, once a second and only while somebody listens: how
//! the router does, which sessions have ended, and what a reload has changed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::desk::Desk;
use super::json;
use super::management::payload_of;
use super::now;
use super::sessions;
use super::sight::Sight;
use crate::authorization::{ManagementTopic, Managers};
use crate::router::{Audience, Domain, Realm};

#[derive(Debug)]
pub(super) struct Bulletins {
    sight: Sight,
    desk: Desk,
    /// Shared with what was published last on each topic, until its shard has it.
    under_way: [Arc<()>; ManagementTopic::ALL.len()],
    /// For each shard, how many sessions had ended that were told of.
    closed: Vec<u64>,
    /// The reloads that were told of.
    reloads: u64,
}

impl Bulletins {
    pub(super) fn new(sight: Sight, desk: Desk) -> Self {
        let mut bulletins = Self {
            sight,
            desk,
            under_way: std::array::from_fn(|_| Arc::new(())),
            closed: Vec::new(),
            reloads: 0,
        };
        bulletins.skip(ManagementTopic::SessionOnClose);
        bulletins
    }

    pub(super) async fn run(mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.publish();
        }
    }

    fn publish(&mut self) {
        let edition = self.sight.view.router().edition();
        let managed = edition.domains().find_map(|Domain { realm, rules }| {
            Some((Arc::clone(realm), rules.settings.managers.as_ref()?))
        });
        for topic in ManagementTopic::ALL {
            match &managed {
                Some((realm, managers)) if is_heard(realm, topic) => {
                    self.publish_on(topic, realm, managers);
                }
                // Who comes later hears of what comes later.
                _ => self.skip(topic),
            }
        }
    }

    fn publish_on(&mut self, topic: ManagementTopic, realm: &Arc<Realm>, managers: &Managers) {
        // A home shard that stands still gets no second one.
        if Arc::strong_count(&self.under_way[topic as usize]) > 1 {
            return;
        }
        let Some(said) = self.say(topic) else { return };
        let limit_bytes = self.sight.view.router().edition().settings.limits.message_bytes;
        let payload = payload_of(said, limit_bytes);
        let payload = payload.or_else(|| payload_of(json!({ "error": TOO_LARGE }), limit_bytes));
        let Some(payload) = payload else { return };
        let under_way = Arc::clone(&self.under_way[topic as usize]);
        self.sight.view.announce(realm, topic, (payload, Audience::of_managers(managers)), under_way);
    }

    /// What there is to say; `None`: nothing new.
    fn say(&mut self, topic: ManagementTopic) -> Option<Value> {
        let Sight { view, admin, health, .. } = &self.sight;
        match topic {
            ManagementTopic::RouterOnUpdate => Some(json::router(view, admin, self.sight.age())),
            ManagementTopic::ShardOnUpdate => Some(json::shards(view, &health.lags(now()))),
            ManagementTopic::SessionOnClose => self.tell_closed(),
            ManagementTopic::ConfigOnReload => {
                let told = std::mem::replace(&mut self.reloads, self.desk.record.reloads());
                (told != self.reloads).then(|| self.desk.record.last_reload(false))
            }
        }
    }

    /// The sessions that have ended since the last time, and how many more have.
    fn tell_closed(&mut self) -> Option<Value> {
        let (mut rows, mut missed) = (Vec::new(), 0);
        let shards = self.sight.view.router().closed();
        let most = MOST_CLOSED / shards.len();
        for ((shard, number), told) in shards.iter().zip(0u8..).zip(&mut self.closed) {
            let (closed, ended) = shard.since(*told, most);
            missed += ended - *told - closed.len() as u64;
            *told = ended;
            rows.extend(closed.iter().map(|closed| sessions::closed_row(number, closed)));
        }
        let is_anything = !rows.is_empty() || missed > 0;
        is_anything.then(|| json!({ "sessions": rows, "missed": missed }))
    }

    fn skip(&mut self, topic: ManagementTopic) {
        match topic {
            ManagementTopic::RouterOnUpdate | ManagementTopic::ShardOnUpdate => {}
            ManagementTopic::SessionOnClose => {
                let shards = self.sight.view.router().closed().iter();
                self.closed = shards.map(|shard| shard.since(u64::MAX, 0).1).collect();
            }
            ManagementTopic::ConfigOnReload => self.reloads = self.desk.record.reloads(),
        }
    }
}

fn is_heard(realm: &Realm, topic: ManagementTopic) -> bool {
    !realm.topics.matches(topic.uri()).is_empty()
}

const TOO_LARGE: &str = "what is to be said is larger than a message may be (limits.message_bytes)";

const PERIOD: Duration = Duration::from_secs(1);

/// Sessions of one event, of all shards together.
const MOST_CLOSED: usize = 256;
