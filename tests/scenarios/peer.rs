//! A joined client for scenarios that a dialogue cannot tell: bytes by hand, or mail under way.

use serde_json::{Value, json};
use stentor::router::{RealmSettings, Settings};
use stentor::shard::Admission;

use crate::support::{Carrier, Incoming, Link, Network, Serializer};

pub(crate) struct Peer {
    pub(crate) pipe: usize,
    pub(crate) link: Link,
    /// As WELCOME says.
    pub(crate) session: u64,
}

impl Peer {
    pub(crate) fn join(network: &mut Network, shard: usize, serializer: Serializer) -> Self {
        let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
        Self::join_with(network, shard, serializer, &roles)
    }

    pub(crate) fn join_with(
        network: &mut Network,
        shard: usize,
        serializer: Serializer,
        roles: &Value,
    ) -> Self {
        Self::join_realm(network, shard, serializer, "realm1", roles)
    }

    pub(crate) fn join_realm(
        network: &mut Network,
        shard: usize,
        serializer: Serializer,
        realm: &str,
        roles: &Value,
    ) -> Self {
        let pipe = network.connect(shard, Admission::Welcome, usize::MAX);
        let mut peer = Self { pipe, link: Link::new(Carrier::WebSocket, serializer), session: 0 };
        network.receive(pipe, &peer.link.greeting());
        peer.say(network, &json!([1, realm, { "roles": roles }]));
        let heard = peer.hear(network);
        assert_eq!((heard.len(), &heard[0][0]), (1, &json!(2)), "WELCOME");
        peer.session = heard[0][1].as_u64().expect("an id");
        peer
    }

    /// Joins while the router has other things to do, which it goes on with.
    pub(crate) fn join_in_haste(
        network: &mut Network,
        shard: usize,
        serializer: Serializer,
    ) -> Self {
        let pipe = network.connect(shard, Admission::Welcome, usize::MAX);
        let mut peer = Self { pipe, link: Link::new(Carrier::WebSocket, serializer), session: 0 };
        network.push(pipe, &peer.link.greeting());
        let hello = json!([1, "realm1", {"roles": {"publisher": {}}}]);
        network.push(pipe, &peer.link.message(&hello));
        for _ in 0..MANY_TURNS {
            network.turn(shard);
            if let [welcome] = &peer.read(network)[..] {
                peer.session = welcome[1].as_u64().expect("an id");
                return peer;
            }
        }
        panic!("no WELCOME comes");
    }

    pub(crate) fn say(&self, network: &mut Network, message: &Value) {
        network.receive(self.pipe, &self.link.message(message));
    }

    /// Everything new, as messages.
    pub(crate) fn hear(&mut self, network: &mut Network) -> Vec<Value> {
        network.settle();
        self.read(network)
    }

    /// The messages that have been written so far, and no frames of the transport.
    pub(crate) fn read_all(&mut self, network: &mut Network) -> Vec<Value> {
        let bytes = network.read(self.pipe, usize::MAX);
        self.link.feed(&bytes);
        let incoming = std::iter::from_fn(|| self.link.next());
        incoming
            .filter_map(|incoming| match incoming {
                Incoming::Message(message) => Some(message),
                _ => None,
            })
            .collect()
    }

    /// What has been written so far, while mail may be under way.
    pub(crate) fn read(&mut self, network: &mut Network) -> Vec<Value> {
        let bytes = network.read(self.pipe, usize::MAX);
        self.link.feed(&bytes);
        let mut heard = Vec::new();
        while let Some(incoming) = self.link.next() {
            match incoming {
                Incoming::Message(message) => heard.push(message),
                Incoming::Opened => {}
                other => panic!("a message was expected, got {other:?} after {heard:?}"),
            }
        }
        heard
    }
}

/// Turns within which everybody has its turn.
const MANY_TURNS: usize = 1_000;

/// A router with one realm and default settings.
pub(crate) fn network(shards: usize) -> Network {
    Network::new(Settings::default(), vec![RealmSettings::named("realm1")], shards)
}

/// The same with other settings.
pub(crate) fn network_with(change: impl Fn(&mut Settings), shards: usize) -> Network {
    let mut settings = Settings::default();
    change(&mut settings);
    Network::new(settings, vec![RealmSettings::named("realm1")], shards)
}

/// Several messages of one peer that lie at its socket before anybody looks there.
pub(crate) fn pipeline(network: &mut Network, peer: &Peer, messages: impl Iterator<Item = Value>) {
    let bytes: Vec<u8> = messages.flat_map(|message| peer.link.message(&message)).collect();
    network.push(peer.pipe, &bytes);
}
