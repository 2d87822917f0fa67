//! Several routers in one thread, and what carries their messages: it delivers, delays, loses.
//!
//! Decides nothing by itself: who calls it chooses what happens next. Time only moves when told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use stentor::clock::Millis;
use stentor::cluster::members::{Ended, Identity, Members};
use stentor::cluster::wire::{Incarnation, Versions};
use stentor::cluster::{Node, NodeSettings};
use stentor::router::{InterestSlot, NodeName, RealmSettings, Settings, Shape, ShardId};
use stentor::shard::Wire;
use stentor::wamp::MatchPolicy;

use super::Network;
use super::bucket::{Bucket, Told};

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) bus: Bus,
    pub(crate) bucket: Bucket,
    pub(crate) now: Millis,
    /// Procedures of realm1 that are not shared.
    pub(crate) exclusive: Vec<&'static str>,
    plan: Plan,
}

/// How nodes are made.
struct Plan {
    settings: Settings,
    node: NodeSettings,
    realms: Vec<RealmSettings>,
    shards: usize,
    /// So many lives of processes there were.
    lives: u8,
    /// Of the configuration with which the next one starts.
    digest: u64,
    versions: Versions,
    /// They serve nobody when they are cut off: see [`Identity::stops_ms`].
    stops_ms: Option<u64>,
}

/// A router, and what it has for the others.
pub(crate) struct Member {
    pub(crate) network: Network,
    pub(crate) node: Node,
    /// It does not say that it has dealt with anything.
    pub(crate) is_congested: bool,
    /// The process does not run; or it has started, and is yet to become a member.
    is_down: bool,
    joining: Option<Members>,
}

/// Messages under way, by sender and receiver.
#[derive(Default)]
pub(crate) struct Bus {
    wires: BTreeMap<(usize, usize), VecDeque<Message>>,
    /// Where everything is lost.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Nodes that have no connection to what carries messages.
    absent: BTreeSet<usize>,
    /// How many were sent, and all their bytes.
    pub(crate) sent: usize,
    pub(crate) sent_bytes: usize,
}

enum Message {
    /// To one life of a node.
    Parcel(Incarnation, Vec<u8>),
    Beat(Vec<u8>),
}

impl Cluster {
    /// So many nodes, which have joined one after the other. Each has an own copy of the settings.
    pub(crate) fn new(
        count: usize,
        shards: usize,
        (settings, node): (&Settings, NodeSettings),
        realms: &[RealmSettings],
    ) -> Self {
        Self::stopping(count, shards, (settings, node, None), realms)
    }

    /// The same, of nodes that serve nobody when they are cut off, if it is said when.
    pub(crate) fn stopping(
        count: usize,
        shards: usize,
        (settings, node, stops_ms): (&Settings, NodeSettings, Option<u64>),
        realms: &[RealmSettings],
    ) -> Self {
        let plan = Plan {
            settings: settings.clone(),
            node,
            realms: realms.to_vec(),
            shards,
            lives: 0,
            digest: 0,
            versions: Versions::OWN,
            stops_ms,
        };
        let mut cluster = Self {
            members: Vec::new(),
            bus: Bus::default(),
            bucket: Bucket::default(),
            now: Millis(1_000),
            exclusive: Vec::new(),
            plan,
        };
        for index in 0..count {
            let mut joining = cluster.plan.joins(index);
            cluster.bucket.open(index);
            while joining.ids().is_none() {
                cluster.join_alone(index, &mut joining);
            }
            let member = cluster.plan.start(joining, cluster.now);
            cluster.members.push(member);
        }
        cluster
    }

    /// What a node reads and writes while nobody else does.
    fn join_alone(&mut self, index: usize, joining: &mut Members) {
        while let Some(told) = self.bucket.tell(index) {
            match told {
                Told::Reset => joining.handle_reset(),
                Told::Current => joining.handle_current(),
                Told::Entry { revision, key, value } => {
                    joining.handle_entry(revision, &key, value.as_deref(), self.now);
                }
            }
        }
        if let Some(write) = joining.take_write(self.now) {
            self.bucket.ask(index, write);
        }
        if let Some(answer) = self.bucket.decide((true, true)) {
            joining.handle_written(answer.ticket, answer.outcome, self.now);
        }
    }

    /// The process of a node ends, without a word.
    pub(crate) fn kill(&mut self, index: usize) {
        self.members[index].is_down = true;
        self.members[index].joining = None;
    }

    /// A node loses what carries messages, and the bucket with it.
    pub(crate) fn disconnect(&mut self, index: usize) {
        self.bus.absent.insert(index);
        self.bucket.away.insert(index);
    }

    pub(crate) fn is_connected(&self, index: usize) -> bool {
        !self.bus.absent.contains(&index)
    }

    pub(crate) fn connect(&mut self, index: usize) {
        self.bucket.away.remove(&index);
        if self.bus.absent.remove(&index) && self.is_up(index) {
            self.members[index].node.handle_bus_changed(self.now);
        }
    }

    /// Processes that start from now on have another configuration.
    pub(crate) fn configure(&mut self, digest: u64) {
        self.plan.digest = digest;
    }

    /// They speak other versions.
    pub(crate) fn speak(&mut self, versions: Versions) {
        self.plan.versions = versions;
    }

    /// Why a process cannot be a node any more, if so.
    pub(crate) fn ended(&self, index: usize) -> Option<&Ended> {
        let Member { node, joining, .. } = &self.members[index];
        joining.as_ref().map_or_else(|| node.ended(), Members::ended)
    }

    /// It starts again, and joins as soon as it can.
    pub(crate) fn restart(&mut self, index: usize) {
        self.members[index].joining = Some(self.plan.joins(index));
        self.bucket.open(index);
        self.bus.absent.remove(&index);
    }

    pub(crate) fn is_up(&self, index: usize) -> bool {
        !self.members[index].is_down
    }

    /// Those that run and are nodes.
    pub(crate) fn up(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|index| self.is_up(*index)).collect()
    }

    fn index_of(&self, life: Incarnation) -> Option<usize> {
        let is_it =
            |member: &Member| !member.is_down && member.node.members().incarnation() == life;
        self.members.iter().position(is_it)
    }

    /// A node reads on in the bucket.
    pub(crate) fn watch(&mut self, index: usize) {
        let Some(told) = self.bucket.tell(index) else { return };
        let (now, member) = (self.now, &mut self.members[index]);
        match (&mut member.joining, told) {
            (Some(joining), Told::Reset) => joining.handle_reset(),
            (Some(joining), Told::Current) => joining.handle_current(),
            (Some(joining), Told::Entry { revision, key, value }) => {
                joining.handle_entry(revision, &key, value.as_deref(), now);
            }
            (None, _) if member.is_down => {}
            (None, Told::Reset) => member.node.handle_reset(),
            (None, Told::Current) => member.node.handle_current(now),
            (None, Told::Entry { revision, key, value }) => {
                member.node.handle_entry(revision, &key, value.as_deref(), now);
            }
        }
        if member.joining.as_ref().is_some_and(|joining| joining.ids().is_some()) {
            let joined = member.joining.take().expect("it is there");
            *member = self.plan.start(joined, now);
        }
        self.check_exclusive();
    }

    /// The first write that was asked for is made, or not, and answered or not.
    pub(crate) fn decide(&mut self, fate: (bool, bool)) {
        let Some(answer) = self.bucket.decide(fate) else { return };
        let (now, member) = (self.now, &mut self.members[answer.node]);
        match &mut member.joining {
            Some(joining) => joining.handle_written(answer.ticket, answer.outcome, now),
            None if member.is_down => {}
            None => member.node.handle_written(answer.ticket, answer.outcome, now),
        }
    }

    fn write(&mut self, index: usize) {
        let (now, member) = (self.now, &mut self.members[index]);
        let mut next = || match &mut member.joining {
            Some(joining) => joining.take_write(now),
            None if member.is_down => None,
            None => member.node.take_write(now),
        };
        while let Some(write) = next() {
            self.bucket.ask(index, write);
        }
    }

    /// A turn of a node's gateway.
    pub(crate) fn serve(&mut self, index: usize) {
        if self.members[index].is_down {
            return self.write(index);
        }
        let collected = &mut self.members[index].network.links.gateway.collected;
        let mail = collected.replace(Vec::new()).unwrap_or_default();
        let member = &mut self.members[index];
        member.node.begin_turn(member.network.wall_clock());
        member.node.handle_mail(mail, self.now);
        member.node.end_turn(member.is_congested, self.now);
        if let Some(until) = member.node.take_service() {
            member.network.serve_until(until);
        }
        for shard in 0..member.network.shard_count() {
            let id = ShardId(u8::try_from(shard).expect("few shards"));
            let batch = member.node.take_outbox(id);
            for mail in batch.into_iter().flat_map(|batch| batch.items) {
                member.network.deliver_counted(shard, mail);
            }
        }
        if let Some(deposits) = member.node.take_deposits() {
            Wire::store(&mut member.network.links, deposits);
        }
        loop {
            let mut bytes = Vec::new();
            let Some(to) = self.members[index].node.take_transmit(self.now, &mut bytes) else {
                break;
            };
            match self.index_of(to).filter(|receiver| self.is_connected(*receiver)) {
                _ if !self.is_connected(index) => {}
                Some(receiver) => {
                    self.bus.send((index, receiver), Message::Parcel(to, bytes));
                }
                None => self.members[index].node.handle_no_responder(to),
            }
        }
        self.write(index);
        let mut beat = Vec::new();
        if self.members[index].node.take_beat(&mut beat) {
            for to in (0..self.members.len()).filter(|to| *to != index) {
                self.bus.send((index, to), Message::Beat(beat.clone()));
            }
        }
    }

    /// The first message of a route arrives.
    pub(crate) fn deliver(&mut self, route: (usize, usize)) {
        let message = self.bus.wires.get_mut(&route).and_then(VecDeque::pop_front);
        let Member { network, node, is_down, .. } = &mut self.members[route.1];
        if *is_down || self.bus.absent.contains(&route.1) {
            return;
        }
        node.begin_turn(network.wall_clock());
        match message {
            Some(Message::Parcel(to, _)) if to != node.members().incarnation() => {}
            Some(Message::Parcel(_, bytes)) => node.receive(&bytes, self.now),
            Some(Message::Beat(bytes)) => node.receive_beat(&bytes, self.now),
            None => {}
        }
    }

    /// Moves the clock of all.
    pub(crate) fn advance(&mut self, ms: u64) {
        self.now = self.now + ms;
        for member in self.members.iter_mut().filter(|member| !member.is_down) {
            member.network.advance(ms);
            if member.node.next_deadline() <= self.now {
                member.node.handle_timeout(self.now);
            }
        }
        self.check_exclusive();
    }

    /// Of nodes that may serve clients one at most has a callee of what is not shared.
    fn check_exclusive(&self) {
        for uri in &self.exclusive {
            let has_callee = |index: &usize| {
                let Member { node, network, .. } = &self.members[*index];
                let realm = network.router.realm("realm1").expect("it is configured");
                let callees = realm.procedures.callees(uri, MatchPolicy::Exact);
                let is_here = callees.into_iter().flatten().any(|it| it.shard != ShardId::CLUSTER);
                is_here && node.members().may_serve(self.now)
            };
            let nodes: Vec<_> = self.up().into_iter().filter(has_callee).collect();
            assert!(nodes.len() <= 1, "{uri} has callees at nodes {nodes:?} at {:?}", self.now);
        }
    }

    /// The watches of nodes that know that theirs lags are opened anew.
    pub(crate) fn open_silent_watches(&mut self) {
        for (index, member) in self.members.iter_mut().enumerate() {
            if !member.is_down && member.node.wants_watch(self.now) {
                self.bucket.silent.remove(&index);
            }
        }
    }

    /// Runs all that is under way to its end, but for what waits for time to pass.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MANY_ROUNDS {
            let mut has_read = false;
            for index in 0..self.members.len() {
                while self.bucket.has_news(index) {
                    has_read = true;
                    self.watch(index);
                }
                // What is numbered by then is handed over.
                self.serve(index);
                if self.is_up(index) {
                    self.members[index].network.settle();
                }
            }
            while self.bucket.has_questions() {
                self.decide((true, true));
            }
            let routes = self.bus.routes();
            let has_mail = |member: &Member| {
                member.network.links.gateway.collected.as_ref().is_some_and(|mail| !mail.is_empty())
            };
            let mut up = self.members.iter().filter(|member| !member.is_down);
            let has_news = (0..self.members.len()).any(|index| self.bucket.has_news(index));
            if routes.is_empty() && !has_news && !has_read && !up.any(has_mail) {
                return;
            }
            routes.into_iter().for_each(|route| self.deliver(route));
        }
        panic!("the cluster never comes to rest");
    }

    /// The same, while time passes.
    pub(crate) fn settle_for(&mut self, ms: u64) {
        for _ in 0..STEPS {
            self.settle();
            self.advance(ms.div_ceil(STEPS));
        }
        self.settle();
    }

    /// Whether each node is linked with each other.
    pub(crate) fn is_linked(&self) -> bool {
        let up = self.up();
        let is_linked = |index: &usize| self.members[*index].node.linked().count() + 1 == up.len();
        up.iter().all(is_linked)
    }

    /// What each node knows of the interest of the others is what they say they want.
    pub(crate) fn check_interest(&self) {
        let up = || self.members.iter().filter(|member| !member.is_down);
        for other in up() {
            let number = other.node.members().ids().expect("it is a member").node();
            let wanted: Vec<_> = interest(other).told().collect();
            let used = interest(other).untold().count();
            assert_eq!(used, 0, "all that is used is told");
            for member in up().filter(|member| !std::ptr::eq(*member, other)) {
                let (known, is_greedy) = interest(member).remote(number);
                assert_eq!((&known, is_greedy), (&wanted, false), "of {number:?}");
            }
        }
    }

    /// Nothing is left of clients that have all gone.
    pub(crate) fn check_empty(&mut self) {
        for member in self.members.iter_mut().filter(|member| !member.is_down) {
            member.network.check_empty();
            member.node.check_empty();
            member.node.check_invariants();
            let (slots, shapes): (Vec<_>, Vec<_>) = standing(member).into_iter().unzip();
            let is_of_a_history = |slot| slots.contains(&slot);
            assert!(interest(member).told().all(is_of_a_history), "nothing else is wanted");
            let mut left = interest(member).own_shapes().into_iter();
            assert!(left.all(|shape| shapes.contains(&Some(shape))), "only histories have shapes");
        }
    }
}

/// What histories want for as long as they are configured.
fn standing(member: &Member) -> Vec<(InterestSlot, Option<Shape>)> {
    let mut standing = Vec::new();
    for realm in member.network.router.realms() {
        standing.extend(realm.histories.iter().map(|history| {
            let described = realm.topics.get(history.subscription).expect("it stays");
            interest(member).place(realm.name(), described.policy, &described.uri)
        }));
    }
    standing
}

fn interest(member: &Member) -> &stentor::router::Interest {
    member.network.router.interest().expect("it is of a cluster")
}

impl Bus {
    fn send(&mut self, route: (usize, usize), message: Message) {
        let (Message::Parcel(_, bytes) | Message::Beat(bytes)) = &message;
        self.sent += 1;
        self.sent_bytes += bytes.len();
        if !self.cut.contains(&route) && !self.absent.contains(&route.0) {
            self.wires.entry(route).or_default().push_back(message);
        }
    }

    /// Those with something under way.
    pub(crate) fn routes(&self) -> Vec<(usize, usize)> {
        self.wires.iter().filter(|(_, wire)| !wire.is_empty()).map(|(route, _)| *route).collect()
    }

    /// The first message of a route is lost.
    pub(crate) fn lose(&mut self, route: (usize, usize)) {
        self.wires.get_mut(&route).map(VecDeque::pop_front);
    }

    /// All that is under way on a route is lost.
    pub(crate) fn lose_all(&mut self, route: (usize, usize)) {
        self.wires.remove(&route);
    }

    /// The first message of a route comes behind all others: it took another way.
    pub(crate) fn delay(&mut self, route: (usize, usize)) {
        let Some(wire) = self.wires.get_mut(&route) else { return };
        let first = wire.pop_front();
        wire.extend(first);
    }
}

impl Plan {
    /// A process of a node starts.
    fn joins(&mut self, index: usize) -> Members {
        self.lives += 1;
        let name = NAMES.get(index).map_or_else(|| format!("n{index}"), ToString::to_string);
        let name = NodeName::new(&name).expect("it is a name");
        let Self { versions, digest, stops_ms, .. } = *self;
        let identity = Identity { name, versions, digest, stops_ms };
        Members::new(identity, [self.lives; 32])
    }

    /// It has become a member, and is a router from now on.
    fn start(&self, members: Members, now: Millis) -> Member {
        let settings = Settings { node: members.ids(), ..self.settings.clone() };
        let mut network =
            Network::with_life(settings, self.realms.clone(), self.shards, self.lives);
        network.links.gateway.collected = Some(Vec::new());
        network.links.gateway.has_calls = true;
        network.advance(now - network.now);
        let node = Node::new(members, self.node, Arc::clone(&network.router), now);
        let node = node.expect("the settings have the keys of a cluster");
        Member { network, node, is_congested: false, is_down: false, joining: None }
    }
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

const STEPS: u64 = 20;
const MANY_ROUNDS: usize = 1_000;
