//! A node of a cluster whose other nodes the test's hand plays, and a client of it who asks.

use serde_json::{Value, json};
use stentor::router::{Described, Listing, RealmSettings, Settings};
use stentor::shard::{Ask, Finding};
use stentor::wamp::{MatchPolicy, SessionId, SubscriptionId, Timestamp};

use super::peer::Peer;
use crate::support::{Network, Serializer};

pub(crate) const QUESTION_MS: u64 = 2_000;
pub(crate) const A_AND_B: &[(u8, &str)] = &[(1, "a"), (2, "b")];
/// Ids that no session and no subscription of this node has.
pub(crate) const ELSEWHERE: u64 = 9_000_000_000_000_000;

/// One node of a cluster, and a client of it who may do everything.
pub(crate) struct Here {
    pub(crate) network: Network,
    pub(crate) client: Peer,
    last_request: u64,
}

impl Here {
    pub(crate) fn new(change: impl Fn(&mut Settings)) -> Self {
        Self::with_shards(change, 1)
    }

    pub(crate) fn with_shards(change: impl Fn(&mut Settings), shards: usize) -> Self {
        let mut settings = Settings { question_ms: QUESTION_MS, ..Settings::default() };
        change(&mut settings);
        let mut realm = RealmSettings::named("realm1");
        realm.admin_roles = vec!["anonymous".into()];
        let mut network = Network::new(settings, vec![realm], shards);
        network.links.gateway.is_silent = true;
        let client = Peer::join(&mut network, 0, Serializer::Json);
        Self { network, client, last_request: 0 }
    }

    pub(crate) fn say(&mut self, procedure: &str, args: &Value) {
        self.last_request += 1;
        let call = json!([48, self.last_request, {}, procedure, args]);
        self.client.say(&mut self.network, &call);
        self.network.settle();
    }

    /// Calls a procedure, which other nodes are asked about.
    pub(crate) fn ask(&mut self, procedure: &str, args: &Value) -> Ask {
        self.say(procedure, args);
        assert_eq!(self.hear(), [json!(null); 0], "{procedure} waits for other nodes");
        self.next_ask()
    }

    pub(crate) fn next_ask(&mut self) -> Ask {
        self.network.links.gateway.asks.pop_front().expect("other nodes are asked")
    }

    /// The last question that was asked.
    pub(crate) fn ask_behind(&mut self, procedure: &str) -> Ask {
        self.say(procedure, &json!([]));
        self.network.links.gateway.asks.pop_back().expect("other nodes are asked")
    }

    pub(crate) fn hear(&mut self) -> Vec<Value> {
        self.client.hear(&mut self.network)
    }

    /// What follows the request id, or the URI of the error.
    pub(crate) fn hear_one(&mut self) -> Value {
        let [message] = &self.hear()[..] else { panic!("one answer comes") };
        let message = message.as_array().expect("a message");
        if message[0] == 50 { json!(message[3..]) } else { json!(message[4..]) }
    }

    pub(crate) fn part(&mut self, ask: &Ask, node: u8, finding: Finding) {
        self.network.give_part((ask.asker, ask.ticket), node, finding);
    }

    /// Nodes 1 and 2 are asked, which answer in the other order.
    pub(crate) fn answer(&mut self, ask: &Ask, of_a: Finding, of_b: Finding) -> Value {
        self.network.name_asked((ask.asker, ask.ticket), A_AND_B);
        self.part(ask, 2, of_b);
        assert_eq!(self.hear(), [json!(null); 0], "a part is still to come");
        self.part(ask, 1, of_a);
        self.hear_one()
    }

    pub(crate) fn subscribe(&mut self, topic: &str) -> u64 {
        self.last_request += 1;
        self.client.say(&mut self.network, &json!([32, self.last_request, {}, topic]));
        self.hear()[0][2].as_u64().expect("an id")
    }

    pub(crate) fn late(&self) -> u64 {
        self.network.shard(0).poll_tally().late
    }

    pub(crate) fn end(mut self) {
        self.network.lose(self.client.pipe);
        self.network.settle();
        self.network.check_empty();
        assert_eq!(self.network.router.held_bytes(), 0);
    }
}

pub(crate) fn session(id: u64) -> SessionId {
    SessionId::new(id).expect("an id")
}

pub(crate) fn subscription(id: u64) -> SubscriptionId {
    SubscriptionId::new(id).expect("an id")
}

pub(crate) fn sessions(ids: &[u64]) -> Finding {
    Finding::Sessions(Some(ids.iter().map(|id| session(*id)).collect()))
}

pub(crate) fn listing(exact: &[u64], prefix: &[u64]) -> Finding {
    let ids = |ids: &[u64]| ids.iter().map(|id| subscription(*id)).collect();
    let (exact, prefix, wildcard) = (ids(exact), ids(prefix), Vec::new());
    Finding::Subscriptions(Listing { exact, prefix, wildcard })
}

pub(crate) fn described(uri: &str, created_ms: i64) -> Finding {
    let (uri, policy) = (uri.into(), MatchPolicy::Exact);
    let created = Timestamp::from_unix_ms(created_ms);
    Finding::Described(Some(Described { uri, policy, invoke: None, created }))
}

pub(crate) fn count(count: u64) -> Finding {
    Finding::Count(Some(count))
}
