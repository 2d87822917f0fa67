//! The meta API of sessions and subscriptions across nodes: each answers for all, sessions are
//! ended wherever they are, and of those of a node that is killed everybody hears once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::de::IgnoredAny;
use stentor_client::{Client, Error, MatchPolicy, Reply, Subscription};
use tokio::time::{sleep, timeout};

use super::processes::{Nats, PATIENCE, Router};

fn id(client: &Client) -> u64 {
    client.session().expect("it is connected").id().get()
}

async fn ask(client: &Client, procedure: &str) -> Result<Reply, Error> {
    client.call(procedure, ()).timeout(PATIENCE).await
}

async fn listed(client: &Client) -> BTreeSet<u64> {
    let reply = ask(client, "wamp.session.list").await.expect("it is answered");
    let ids: Vec<u64> = reply.first().expect("a list");
    ids.into_iter().collect()
}

/// What a client hears of sessions: who has come, and who has gone.
struct Ear(Subscription);

impl Ear {
    async fn listen(client: &Client) -> Self {
        let prefix = client.subscribe("wamp.session.on_").matching(MatchPolicy::Prefix);
        Self(prefix.await.expect("it may"))
    }

    /// The session of the next event, and whether it has come.
    async fn next(&mut self) -> (u64, bool) {
        let event = timeout(PATIENCE, self.0.next()).await.expect("it comes").expect("it is there");
        let has_come = event.topic().ends_with("on_join");
        if has_come {
            let (details,): (BTreeMap<String, serde_json::Value>,) = event.args().expect("details");
            return (details["session"].as_u64().expect("an id"), true);
        }
        let (session, ..): (u64, IgnoredAny, IgnoredAny) = event.args().expect("who has gone");
        (session, false)
    }
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn sessions_of_all_nodes_are_listed_heard_of_and_ended() {
    let nats = Nats::start();
    let nodes = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    let [a, b, c] = &nodes;
    let watcher = a.client().await;
    let mut ear = Ear::listen(&watcher).await;
    let (near, far) = (b.client().await, c.client().await);
    let ids = BTreeSet::from([id(&watcher), id(&near), id(&far)]);
    for client in [&watcher, &near, &far] {
        assert_eq!(listed(client).await, ids);
    }
    let heard = BTreeSet::from([ear.next().await, ear.next().await]);
    assert_eq!(heard, BTreeSet::from([(id(&near), true), (id(&far), true)]));
    let gone = id(&far);
    let details = near.call("wamp.session.get", (gone,)).await.expect("it is there");
    let details: BTreeMap<String, serde_json::Value> = details.first().expect("details");
    assert_eq!(details["session"], gone);
    far.leave().await;
    assert_eq!(ear.next().await, (gone, false));
    let unknown = near.call("wamp.session.get", (gone,)).await.expect_err("it has left");
    assert_eq!(unknown.uri(), Some("wamp.error.no_such_session"), "{unknown}");
}

/// A node that hangs is missing and said to be; one that is killed takes its sessions with it.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_node_that_hangs_is_missing_and_one_that_ends_is_heard_of() {
    let nats = Nats::start();
    let [a, b, mut c] = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    let (watcher, other) = (a.client().await, b.client().await);
    let mut lost = Vec::new();
    for _ in 0..20 {
        lost.push(c.client().await);
    }
    let mut ears = [Ear::listen(&watcher).await, Ear::listen(&other).await];
    c.hang(true);
    let reply = ask(&watcher, "wamp.session.count").await.expect("it is answered");
    let kwargs: BTreeMap<String, serde_json::Value> = reply.kwargs().expect("it is partial");
    assert_eq!(reply.first::<u64>().expect("a number"), 2);
    assert_eq!(kwargs["missing"], serde_json::json!(["c"]));
    c.hang(false);
    let all = async {
        while listed(&watcher).await.len() != 22 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("it answers again");
    c.kill();
    let gone: BTreeSet<_> = lost.iter().map(|client| (id(client), false)).collect();
    for ear in &mut ears {
        let mut heard = BTreeSet::new();
        while heard.len() < gone.len() {
            let event = ear.next().await;
            assert!(gone.contains(&event) && heard.insert(event), "once, and no other: {event:?}");
        }
    }
    assert_eq!(listed(&other).await.len(), 2);
}
