//! A node that says of calls what no node says: what others keep of it has bounds.
//!
//! The hand of the test takes the place of the first node, whose process has ended.

use minicbor::Encoder;
use serde_json::{Value, json};
use stentor::clock::Millis;
use stentor::cluster::link::{Link, LinkLimits};
use stentor::cluster::wire::{Head, Incarnation};
use stentor::cluster::{Counts, Node};
use stentor::router::{NodeIds, ShardId};

use super::calls_between_nodes::{cluster, join};
use super::peer::Peer;
use crate::support::{Cluster, Member, Serializer};

struct Stranger {
    cluster: Cluster,
    name: Incarnation,
    ids: NodeIds,
    link: Link,
    now: Millis,
    callee: Peer,
    registration: u64,
    /// Entries that have come, as bytes.
    heard: Vec<u8>,
}

impl Stranger {
    /// Its link with the second node is open, where `callee` has `com.p`.
    fn new(invocations: usize) -> Self {
        let change = |settings: &mut stentor::router::Settings| {
            settings.limits.invocations_per_session = invocations;
        };
        let mut cluster = cluster(2, |settings, _| change(settings));
        let mut callee = join(&mut cluster, 1, 1, Serializer::Json);
        callee.say(&mut cluster.members[1].network, &json!([64, 1, {}, "com.p"]));
        cluster.settle();
        let heard = callee.read(&mut cluster.members[1].network);
        let registration = heard[0][2].as_u64().expect("an id");
        let members = cluster.members[0].node.members();
        let (name, ids) = (members.incarnation(), members.ids().expect("it is a member"));
        cluster.kill(0);
        let now = cluster.now;
        let mut link = Link::new(name, LinkLimits::new(1, 1 << 20, 10_000), now);
        link.end(now);
        let heard = Vec::new();
        let mut stranger = Self { cluster, name, ids, link, now, callee, registration, heard };
        stranger.exchange();
        assert!(stranger.link.is_open());
        stranger
    }

    /// Both say what they have, until nobody has anything.
    fn exchange(&mut self) {
        let Member { network, node, .. } = &mut self.cluster.members[1];
        for _ in 0..20 {
            self.now = self.now + 1;
            let (now, mut bytes) = (self.now, Vec::new());
            while self.link.take_transmit(now, &mut bytes) {
                node.receive(&bytes, now);
                bytes.clear();
            }
            node.end_turn(false, now);
            for shard in 0..network.shard_count() {
                let batch = node.take_outbox(ShardId(u8::try_from(shard).expect("few")));
                for mail in batch.into_iter().flat_map(|batch| batch.items) {
                    network.deliver_counted(shard, mail);
                }
            }
            network.settle();
            let mail = network.links.gateway.collected.replace(Vec::new());
            node.handle_mail(mail.unwrap_or_default(), now);
            while let Some(to) = node.take_transmit(now, &mut bytes) {
                assert_eq!(to, self.name, "there is nobody else");
                let (head, body) = Head::decode(&bytes).expect("it can be read");
                let heard = self.link.receive(&head, body, now).expect("as it should be");
                self.heard.extend(heard.entries.iter().flat_map(|entries| entries.iter()));
                bytes.clear();
            }
            self.link.handle_all(now);
        }
    }

    /// Calls the callee under this number, as a session with this id.
    fn invoke(&mut self, number: u64, caller: u64) {
        let entry = self.invocation(number, caller, "realm1");
        self.say(&entry);
    }

    fn invocation(&self, number: u64, caller: u64, realm: &str) -> Vec<u8> {
        let mut entry = Vec::new();
        let mut encoder = Encoder::new(&mut entry);
        let head = encoder.array(11).and_then(|it| it.u8(20)?.u64(number)?.str(realm));
        let ids = head.and_then(|it| it.u64(self.callee.session)?.u64(self.registration));
        let grant = ids.and_then(|it| it.u64(1));
        let flags = grant.and_then(|it| it.u64(caller)?.bool(false)?.bool(false));
        flags.and_then(|it| it.bytes(&[])?.null()).expect("a vector takes all");
        entry
    }

    fn say(&mut self, entry: &[u8]) {
        self.link.push(entry, false);
        self.exchange();
    }

    fn own_session(&self) -> u64 {
        self.ids.session(7).get()
    }

    fn node(&self) -> &Node {
        &self.cluster.members[1].node
    }

    fn counts(&self) -> Counts {
        self.node().counts()
    }

    fn callee_hears(&mut self) -> Vec<Value> {
        self.callee.read(&mut self.cluster.members[1].network)
    }

    /// All that is pending ends with the link.
    fn finish(mut self) {
        self.link.end(self.now);
        self.exchange();
        assert_eq!(self.node().pending_calls(), (0, 0));
        self.cluster.members[1].network.lose(self.callee.pipe);
        self.cluster.settle_for(10_000);
        self.cluster.check_empty();
    }
}

/// A number names one call: who uses it twice, or for one of before, loses the link, and the call
/// that has it ends as all of that link do.
#[test]
fn numbers_that_do_not_rise_end_the_link() {
    for second in [5, 4, 0] {
        let mut stranger = Stranger::new(10);
        let caller = stranger.own_session();
        stranger.invoke(5, caller);
        assert_eq!(stranger.callee_hears()[0][0], 68);
        assert_eq!(stranger.node().pending_calls(), (0, 1));
        let before = stranger.counts();
        stranger.invoke(second, caller);
        let after = stranger.counts();
        assert_eq!(after.strange_messages, before.strange_messages + 1);
        assert_eq!(after.links_ended, before.links_ended + 1);
        assert_eq!(stranger.callee_hears(), [json!([69, 1, {"mode": "killnowait"}])]);
        assert_eq!(stranger.node().pending_calls(), (0, 0));
        stranger.finish();
    }
}

/// Nobody calls in the name of a session that is not of its node.
#[test]
fn callers_are_of_the_node_that_calls() {
    let mut stranger = Stranger::new(10);
    let before = stranger.counts();
    let another = stranger.callee.session;
    stranger.invoke(1, another);
    assert_eq!(stranger.counts().strange_messages, before.strange_messages + 1);
    assert_eq!(stranger.callee_hears(), [json!(null); 0]);
    stranger.finish();
}

/// What is said of calls that are not there has no effect, and the link stays.
#[test]
fn what_is_said_of_unknown_calls_is_counted() {
    let mut stranger = Stranger::new(10);
    let before = stranger.counts();
    stranger.say(&[0x84, 23, 9, 0x81, 4, 0xf6]);
    stranger.say(&[0x83, 22, 9, 1]);
    stranger.say(&[0x84, 21, 9, 0x40, 0xf6]);
    let after = stranger.counts();
    assert_eq!(after.late_answers, before.late_answers + 1);
    assert_eq!(after.strange_messages, before.strange_messages);
    assert!(stranger.link.is_open());
    stranger.finish();
}

/// Who calls without end has no more pending than the callees take, and hears of each of the rest;
/// and so of those whose realm or session is not there.
#[test]
fn calls_of_one_node_are_bounded_by_its_callees() {
    let mut stranger = Stranger::new(2);
    let caller = stranger.own_session();
    stranger.heard.clear();
    for number in 1..=50 {
        stranger.invoke(number, caller);
    }
    assert_eq!(stranger.node().pending_calls(), (0, 2));
    assert_eq!(stranger.callee_hears().len(), 2);
    let elsewhere = stranger.invocation(60, caller, "nowhere");
    stranger.say(&elsewhere);
    let answers = |needle: &str, heard: &[u8]| {
        heard.windows(needle.len()).filter(|window| *window == needle.as_bytes()).count()
    };
    assert_eq!(answers("wamp.error.resource_limit", &stranger.heard), 48);
    assert_eq!(answers("wamp.error.canceled", &stranger.heard), 1);
    assert!(stranger.link.is_open());
    stranger.finish();
}
