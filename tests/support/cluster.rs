//! Several routers in one thread, and what carries their messages: it delivers, delays, loses.
//!
//! Decides nothing by itself: who calls it chooses what happens next. Time only moves when told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use stentor::clock::Millis;
use stentor::cluster::wire::Incarnation;
use stentor::cluster::{Node, NodeSettings};
use stentor::router::{InterestSlot, NodeIds, NodeNumber, RealmSettings, Settings, Shape, ShardId};

use super::Network;

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) bus: Bus,
    pub(crate) now: Millis,
}

/// A router, and what it has for the others.
pub(crate) struct Member {
    pub(crate) network: Network,
    pub(crate) node: Node,
    /// It does not say that it has dealt with anything.
    pub(crate) is_congested: bool,
}

/// Messages under way, by sender and receiver.
#[derive(Default)]
pub(crate) struct Bus {
    wires: BTreeMap<(usize, usize), VecDeque<Message>>,
    /// Where everything is lost.
    pub(crate) cut: BTreeSet<(usize, usize)>,
}

enum Message {
    Parcel(Vec<u8>),
    Beat(Vec<u8>),
}

impl Cluster {
    /// So many nodes that are members from the beginning. Each has an own copy of the settings.
    pub(crate) fn new(
        count: usize,
        shards: usize,
        (settings, node): (&Settings, NodeSettings),
        realms: &[RealmSettings],
    ) -> Self {
        let numbers = (0..count).map(|index| u8::try_from(index).expect("few nodes"));
        let member = |number: u8| {
            let ids = NodeIds::new(number_of(number), CLUSTER_KEY);
            let settings = Settings { node: Some(ids), ..settings.clone() };
            let mut network = Network::with_life(settings, realms.to_vec(), shards, number);
            network.links.gateway.collected = Some(Vec::new());
            let router = Arc::clone(&network.router);
            let node = Node::new(incarnation(number), node, router, network.now);
            let node = node.expect("the settings have the keys of a cluster");
            Member { network, node, is_congested: false }
        };
        let mut members: Vec<_> = numbers.clone().map(member).collect();
        let now = members[0].network.now;
        for member in &mut members {
            let others = numbers.clone();
            others.for_each(|other| {
                member.node.handle_member(incarnation(other), number_of(other), now);
            });
        }
        Self { members, bus: Bus::default(), now }
    }

    /// A turn of a node's gateway.
    pub(crate) fn serve(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.node.begin_turn(member.network.wall_clock());
        let mail = member.network.links.gateway.collected.replace(Vec::new());
        member.node.handle_mail(mail.unwrap_or_default());
        member.node.end_turn(member.is_congested, self.now);
        for shard in 0..member.network.shard_count() {
            let id = ShardId(u8::try_from(shard).expect("few shards"));
            let batch = member.node.take_outbox(id);
            for mail in batch.into_iter().flat_map(|batch| batch.items) {
                member.network.deliver_counted(shard, mail);
            }
        }
        let deposits = member.node.take_deposits();
        member.network.links.store.queue.extend(deposits.into_iter().flat_map(|it| it.items));
        loop {
            let mut bytes = Vec::new();
            let Some(to) = self.members[index].node.take_transmit(self.now, &mut bytes) else {
                break;
            };
            let to = usize::try_from(to.0 - 1).expect("few nodes");
            self.bus.send((index, to), Message::Parcel(bytes));
        }
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
        let Member { network, node, .. } = &mut self.members[route.1];
        node.begin_turn(network.wall_clock());
        match message {
            Some(Message::Parcel(bytes)) => node.receive(&bytes, self.now),
            Some(Message::Beat(bytes)) => node.receive_beat(&bytes, self.now),
            None => {}
        }
    }

    /// Moves the clock of all.
    pub(crate) fn advance(&mut self, ms: u64) {
        self.now = self.now + ms;
        for member in &mut self.members {
            member.network.advance(ms);
            if member.node.next_deadline() <= self.now {
                member.node.handle_timeout(self.now);
            }
        }
    }

    /// Runs all that is under way to its end, but for what waits for time to pass.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MANY_ROUNDS {
            for index in 0..self.members.len() {
                self.serve(index);
                self.members[index].network.settle();
            }
            let routes = self.bus.routes();
            let has_mail = |member: &Member| {
                member.network.links.gateway.collected.as_ref().is_some_and(|mail| !mail.is_empty())
            };
            if routes.is_empty() && !self.members.iter().any(has_mail) {
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
        let others = self.members.len() - 1;
        self.members.iter().all(|member| member.node.linked().count() == others)
    }

    /// What each node knows of the interest of the others is what they say they want.
    pub(crate) fn check_interest(&self) {
        for (there, other) in self.members.iter().enumerate() {
            let number = number_of(u8::try_from(there).expect("few nodes"));
            let wanted: Vec<_> = interest(other).told().collect();
            let used = interest(other).untold().count();
            assert_eq!(used, 0, "all that is used is told");
            for member in self.members.iter().filter(|member| !std::ptr::eq(*member, other)) {
                let (known, is_greedy) = interest(member).remote(number);
                assert_eq!((&known, is_greedy), (&wanted, false), "of node {there}");
            }
        }
    }

    /// Nothing is left of clients that have all gone.
    pub(crate) fn check_empty(&mut self) {
        for member in &mut self.members {
            member.network.check_empty();
            member.node.check_empty();
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
        if !self.cut.contains(&route) {
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

pub(crate) fn number_of(index: u8) -> NodeNumber {
    NodeNumber::new(index).expect("few nodes")
}

pub(crate) const fn incarnation(index: u8) -> Incarnation {
    Incarnation(index as u64 + 1)
}

const CLUSTER_KEY: u128 = 0x5743_414d_5057_414d_5057_414d_5057_414d;

const STEPS: u64 = 20;
const MANY_ROUNDS: usize = 1_000;
