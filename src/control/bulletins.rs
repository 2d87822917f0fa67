//! What is published in the management realm, once a second and only while somebody listens: how
//! the router does, which nodes have come and gone, which sessions have ended, and what a reload
//! has changed.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::desk::Desk;
use super::json;
use super::management::payload_of;
use super::nodes::Roll;
use super::now;
use super::sessions;
use super::sight::Sight;
use crate::authorization::{ManagementTopic, Managers};
use crate::net::Passage;
use crate::router::{Audience, Closed, Domain, Realm};

#[derive(Debug)]
pub(super) struct Bulletins {
    sight: Sight,
    desk: Desk,
    /// Of what was sent last on each topic.
    passages: [Passage; ManagementTopic::ALL.len()],
    /// For each shard, how many sessions had ended.
    closed: Told<Vec<u64>>,
    reloads: Told<u64>,
    nodes: Told<Roll>,
}

/// How far things were told of.
#[derive(Debug, Default)]
struct Told<T> {
    published: T,
    /// In what is under way: if it is not published, it is told of once more.
    sent: T,
}

impl<T: Clone> Told<T> {
    fn settle(&mut self) {
        self.published = self.sent.clone();
    }

    fn skip_to(&mut self, now: T) {
        self.sent = now;
        self.settle();
    }
}

impl Bulletins {
    pub(super) fn new(sight: Sight, desk: Desk) -> Self {
        let (passages, closed, reloads, nodes) = Default::default();
        let mut bulletins = Self { sight, desk, passages, closed, reloads, nodes };
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
        let passage = &mut self.passages[topic as usize];
        let Some(is_published) = passage.outcome() else { return };
        *passage = Passage::default();
        if is_published {
            self.settle(topic);
        }
        let limit_bytes = self.sight.view.router().edition().settings.limits.message_bytes;
        let Some(said) = self.say(topic, limit_bytes) else { return };
        let payload = payload_of(said, limit_bytes);
        let payload = payload.or_else(|| payload_of(json!({ "error": TOO_LARGE }), limit_bytes));
        let Some(payload) = payload else { return };
        let passage = self.passages[topic as usize].clone();
        let audience = Audience::of_managers(managers);
        self.sight.view.announce(realm, topic, (payload, audience), passage);
    }

    /// What was sent last on a topic is published, and not told of again.
    fn settle(&mut self, topic: ManagementTopic) {
        match topic {
            ManagementTopic::RouterOnUpdate | ManagementTopic::ShardOnUpdate => {}
            ManagementTopic::NodeOnChange => self.nodes.settle(),
            ManagementTopic::SessionOnClose => self.closed.settle(),
            ManagementTopic::ConfigOnReload => self.reloads.settle(),
        }
    }

    /// What there is to say, of which lists are cut to `limit_bytes`; `None`: nothing new.
    fn say(&mut self, topic: ManagementTopic, limit_bytes: usize) -> Option<Value> {
        let Sight { view, admin, health, .. } = &self.sight;
        match topic {
            ManagementTopic::RouterOnUpdate => Some(json::router(view, admin, self.sight.age())),
            ManagementTopic::ShardOnUpdate => Some(json::shards(view, &health.lags(now()))),
            ManagementTopic::NodeOnChange => self.tell_nodes(),
            ManagementTopic::SessionOnClose => self.tell_closed(limit_bytes),
            ManagementTopic::ConfigOnReload => {
                self.reloads.sent = self.desk.record.reloads();
                let is_new = self.reloads.sent != self.reloads.published;
                is_new.then(|| self.desk.record.last_reload(false, limit_bytes))
            }
        }
    }

    /// The nodes that are members, or linked, otherwise than those that were told of. What has
    /// changed and changed back in between was not.
    fn tell_nodes(&mut self) -> Option<Value> {
        self.nodes.sent = self.roll()?;
        let changes = self.nodes.sent.changes_since(&self.nodes.published);
        (!changes.is_empty()).then(|| json!({ "nodes": changes }))
    }

    fn roll(&self) -> Option<Roll> {
        self.sight.view.cluster().map(|cluster| Roll::of(&cluster))
    }

    /// The last of the sessions that have ended since those that were told of, and how many more
    /// have.
    fn tell_closed(&mut self, limit_bytes: usize) -> Option<Value> {
        let shards = self.sight.view.router().closed();
        let most = MOST_CLOSED / shards.len();
        let (mut last, mut count) = (Vec::new(), 0);
        self.closed.sent.clear();
        for ((shard, number), told) in shards.iter().zip(0u8..).zip(&self.closed.published) {
            let (closed, ended) = shard.since(*told, most);
            count += ended - told;
            self.closed.sent.push(ended);
            last.extend(closed.into_iter().map(|closed| (number, closed)));
        }
        let rows = rows_of(last, limit_bytes);
        let missed = count - rows.len() as u64;
        (count > 0).then(|| json!({ "sessions": rows, "missed": missed }))
    }

    fn skip(&mut self, topic: ManagementTopic) {
        match topic {
            ManagementTopic::RouterOnUpdate | ManagementTopic::ShardOnUpdate => {}
            ManagementTopic::SessionOnClose => {
                let shards = self.sight.view.router().closed().iter();
                self.closed.skip_to(shards.map(|shard| shard.since(u64::MAX, 0).1).collect());
            }
            ManagementTopic::NodeOnChange => self.nodes.skip_to(self.roll().unwrap_or_default()),
            ManagementTopic::ConfigOnReload => self.reloads.skip_to(self.desk.record.reloads()),
        }
    }
}

/// As many of the last sessions as an event of `limit_bytes` has room for, the latest at the end.
fn rows_of(mut closed: Vec<(u8, Closed)>, limit_bytes: usize) -> Vec<Value> {
    closed.sort_by_key(|(_, closed)| Reverse(closed.ended));
    let mut room = Some(limit_bytes.saturating_sub(FRAME_BYTES));
    let rows = closed.iter().map(|(shard, closed)| sessions::closed_row(*shard, closed));
    let fitting = rows.take_while(|row| {
        room = room.and_then(|room| room.checked_sub(row.to_string().len() + 1));
        room.is_some()
    });
    let mut rows: Vec<_> = fitting.collect();
    rows.reverse();
    rows
}

fn is_heard(realm: &Realm, topic: ManagementTopic) -> bool {
    !realm.topics.matches(topic.uri()).is_empty()
}

const TOO_LARGE: &str = "what is to be said is larger than a message may be (limits.message_bytes)";

const PERIOD: Duration = Duration::from_secs(1);

/// Sessions of one event, of all shards together.
const MOST_CLOSED: usize = 256;

/// Bytes of such an event without its sessions.
const FRAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::config::Config;
    use crate::control::health::Health;
    use crate::control::nodes;
    use crate::control::record::Record;
    use crate::control::token::Lock;
    use crate::net::Server;
    use crate::router::{EndReason, Profile, Traffic};
    use crate::wamp::{SessionId, Timestamp};

    fn closed(number: u64, authid: &str) -> Closed {
        Closed {
            session: SessionId::new(number).expect("a small number is an id"),
            realm: "realm1".into(),
            profile: Arc::new(Profile::anonymous(authid, "anonymous", "websocket", "json")),
            peer: Address::UNIX,
            reason: EndReason::Goodbye,
            ended: Timestamp::from_unix_ms(number as i64),
            duration_ms: 1,
            traffic: Traffic::default(),
            pending_bytes: 0,
        }
    }

    fn server() -> (Server, Bulletins) {
        let config = Config { shards: 2, listeners: Vec::new(), ..Config::default() };
        let server = Server::start(&config).unwrap();
        let (orders, _) = crossbeam_channel::bounded(1);
        let lock = Arc::new(Lock::new(&config.admin, now()).unwrap());
        let (record, turn) = (Arc::new(Record::new()), Arc::default());
        let desk = Desk { view: server.view(), tls: None, lock, record, orders, turn };
        let health = Arc::new(Health::new(server.view()));
        let sight = Sight::new(&desk, health, &config.admin, Arc::default());
        (server, Bulletins::new(sight, desk))
    }

    /// What does not fit is counted, and the event fits whatever clients call themselves.
    #[test]
    fn an_event_has_room_for_the_last_sessions() {
        let all: Vec<_> =
            (1..=200).map(|number| (0, closed(number, &"\u{0}ä".repeat(200)))).collect();
        for limit_bytes in [0, 1_024, 10_000, 100_000] {
            let rows = rows_of(all.clone(), limit_bytes);
            let last = rows.last().map_or(200, |row| row["session"].as_u64().unwrap());
            assert_eq!(last, 200, "the latest comes last");
            assert!(rows.len() < 200 && (limit_bytes < 10_000 || rows.len() > 4), "{}", rows.len());
            let said = json!({ "sessions": rows, "missed": u64::MAX });
            let payload = payload_of(said, limit_bytes.max(FRAME_BYTES));
            assert!(payload.is_some(), "{limit_bytes}");
        }
    }

    /// Who listens hears of what comes later, until it is published; a router alone tells nothing.
    #[test]
    fn nodes_are_told_of_when_they_come_and_go() {
        let (server, mut bulletins) = server();
        let topic = ManagementTopic::NodeOnChange;
        bulletins.skip(topic);
        assert_eq!(bulletins.say(topic, 10_000), None);
        let show = |bulletins: &mut Bulletins, view| {
            bulletins.sight.view = server.view().into_node(view);
        };
        show(&mut bulletins, nodes::tests::example());
        bulletins.skip(topic);
        assert_eq!(bulletins.say(topic, 10_000), None, "nothing is new");
        let mut alone = nodes::tests::example();
        let gone = alone.node.peers.pop().unwrap();
        show(&mut bulletins, alone.clone());
        let said = json!({ "nodes": [{
            "node": "c",
            "number": 2,
            "incarnation": gone.incarnation.to_string(),
            "was": "linked",
            "link": null,
        }] });
        assert_eq!(bulletins.say(topic, 10_000), Some(said.clone()));
        assert_eq!(bulletins.say(topic, 10_000), Some(said), "it was not published");
        bulletins.settle(topic);
        assert_eq!(bulletins.say(topic, 10_000), None);
        show(&mut bulletins, nodes::tests::example());
        assert_eq!(bulletins.say(topic, 10_000).unwrap()["nodes"][0]["was"], Value::Null);
        server.stop().unwrap();
    }

    /// What was not published is told of once more, with what has come since.
    #[test]
    fn nothing_is_told_of_before_it_is_published() {
        let (server, mut bulletins) = server();
        let (on_close, on_reload) =
            (ManagementTopic::SessionOnClose, ManagementTopic::ConfigOnReload);
        let shards = server.router().closed().to_vec();
        assert_eq!(bulletins.say(on_close, 10_000), None);
        shards[0].note(closed(1, "joe"));
        let sessions = |said: Option<Value>| -> Vec<u64> {
            let said = said.expect("there is something new");
            let rows = said["sessions"].as_array().unwrap();
            assert_eq!(said["missed"], 0);
            rows.iter().map(|row| row["session"].as_u64().unwrap()).collect()
        };
        assert_eq!(sessions(bulletins.say(on_close, 10_000)), [1]);
        shards[1].note(closed(2, "joe"));
        assert_eq!(sessions(bulletins.say(on_close, 10_000)), [1, 2]);
        shards[0].note(closed(3, "joe"));
        bulletins.settle(on_close);
        assert_eq!(sessions(bulletins.say(on_close, 10_000)), [3]);
        let said = bulletins.say(on_close, 100).expect("there is something new");
        assert_eq!(said, json!({ "sessions": [], "missed": 1 }));
        bulletins.settle(on_close);
        assert_eq!(bulletins.say(on_close, 10_000), None);

        assert_eq!(bulletins.say(on_reload, 10_000), None);
        bulletins.desk.record.note_reload(Err("line 7".into()));
        assert!(bulletins.say(on_reload, 10_000).is_some());
        assert!(bulletins.say(on_reload, 10_000).is_some());
        bulletins.settle(on_reload);
        assert_eq!(bulletins.say(on_reload, 10_000), None);
        server.stop().unwrap();
    }
}
