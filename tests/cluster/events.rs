//! Events across nodes under load: each once and in order, whatever becomes of NATS and of others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stentor_client::{Client, Subscription};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::processes::{Nats, PATIENCE, Router};

/// A client that publishes to two topics in turn, numbered, at a steady pace until it is told to
/// stop.
struct Publisher {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Publisher {
    fn start(client: Client, name: u64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            let mut pace = interval(Duration::from_millis(10));
            let mut number = 0;
            while !stops.load(Ordering::Relaxed) {
                pace.tick().await;
                for _ in 0..EVENTS_PER_TICK {
                    number += 1;
                    let topic = if number % 2 == 0 { "test.even" } else { "test.odd" };
                    client.publish(topic, (name, number)).await.expect("it is connected");
                }
            }
            // What was published before has been taken by its router.
            client.publish("test.end", (name,)).acknowledge().await.expect("it is connected");
            number
        });
        Self { is_over, task }
    }

    /// Returns how many events it has published.
    async fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("it publishes")
    }
}

/// A client that has all events, and checks that they come once and in order across topics.
pub(super) struct Listener {
    heard: Arc<AtomicU64>,
    task: JoinHandle<BTreeMap<u64, (u64, u64)>>,
    client: Client,
}

impl Listener {
    async fn start(client: Client) -> Self {
        let prefix = stentor_client::MatchPolicy::Prefix;
        let events = client.subscribe("test.").matching(prefix).queue(1 << 20).await;
        let events = events.expect("everybody may");
        let heard = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&heard);
        let task = tokio::spawn(listen(events, counted));
        Self { heard, task, client }
    }

    pub(super) async fn wait_for(&self, more: u64) {
        let target = self.heard.load(Ordering::Relaxed) + more;
        let waits = async {
            while self.heard.load(Ordering::Relaxed) < target {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waits).await.expect("events come");
    }

    /// Ends after a while without events; of each publisher its first and its last number.
    async fn stop(self) -> BTreeMap<u64, (u64, u64)> {
        let heard = timeout(PATIENCE, self.task).await.expect("it ends").expect("all in order");
        self.client.leave().await;
        heard
    }
}

async fn listen(mut events: Subscription, counted: Arc<AtomicU64>) -> BTreeMap<u64, (u64, u64)> {
    let mut heard = BTreeMap::<u64, (u64, u64)>::new();
    let mut ends = 0;
    while ends < 2 {
        let event = timeout(PATIENCE, events.next()).await.expect("the end comes");
        let event = event.expect("it is subscribed");
        if event.topic() == "test.end" {
            ends += 1;
            continue;
        }
        let (name, number): (u64, u64) = event.args().expect("two numbers");
        let (_, last) = heard.entry(name).or_insert((number, number - 1));
        assert_eq!(number, *last + 1, "publisher {name}: each event once and in order");
        *last = number;
        counted.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(events.dropped(), 0);
    heard
}

/// Two publishers at two nodes, and a listener at each of these; runs `trouble` meanwhile.
pub(super) async fn under_load(nodes: [&Router; 3], trouble: impl AsyncFnOnce(&[Listener; 3])) {
    let [a, b, c] = nodes;
    let listeners = [
        Listener::start(a.client().await).await,
        Listener::start(b.client().await).await,
        Listener::start(c.client().await).await,
    ];
    let publishers = [Publisher::start(a.client().await, 1), Publisher::start(b.client().await, 2)];
    listeners[2].wait_for(2_000).await;
    trouble(&listeners).await;
    let [first, second] = publishers;
    let published = BTreeMap::from([(1, (1, first.stop().await)), (2, (1, second.stop().await))]);
    for listener in listeners {
        assert_eq!(listener.stop().await, published);
    }
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn every_event_comes_once_and_in_order_at_every_node() {
    let nats = Nats::start();
    let [a, b, c] = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    under_load([&a, &b, &c], async |listeners| {
        listeners[2].wait_for(10_000).await;
        listeners[0].wait_for(1_000).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nothing_is_lost_while_the_nats_server_is_killed_and_started() {
    let mut nats = Nats::start();
    let [a, b, c] = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    under_load([&a, &b, &c], async |listeners| {
        for _ in 0..3 {
            nats.kill();
            nats.run();
            for listener in listeners {
                listener.wait_for(2_000).await;
            }
        }
    })
    .await;
    for node in [&a, &b, &c] {
        assert!(!node.log().contains("the link with a node has ended"), "{}", node.log());
    }
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nodes_come_late_are_killed_and_return_while_the_others_go_on() {
    let nats = Nats::start();
    let [a, b, c] = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    under_load([&a, &b, &c], async |listeners| {
        let mut late = Router::start(&nats, "d");
        let mut events = late.client().await.subscribe("test.odd").await.expect("it may");
        let first = timeout(PATIENCE, events.next()).await.expect("it is linked");
        let (_, number): (u64, u64) = first.expect("it is there").args().expect("numbers");
        assert!(number > 1, "it came late");
        late.kill();
        listeners[2].wait_for(1_000).await;
        a.wait_for_log("the link with a node has ended node=\"d\"");
        let again = Router::start(&nats, "d");
        let mut events = again.client().await.subscribe("test.odd").await.expect("it may");
        assert!(timeout(PATIENCE, events.next()).await.expect("it is linked").is_some());
        // In order this time: its key is gone at once.
        again.terminate();
        listeners[2].wait_for(1_000).await;
    })
    .await;
}

/// Events that are larger than a message of NATS may be cross in parts, between small ones, and so
/// do the retained ones that a node takes in at its start.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn large_events_cross_a_nats_with_small_messages() {
    let folder = tempfile::tempdir().expect("there is room");
    let config = folder.path().join("nats.conf");
    std::fs::write(&config, "max_payload: 16384\n").expect("there is room");
    let nats = Nats::start_with(&["-js", "-c", config.to_str().expect("the path is text")]);
    let [a, b] = ["a", "b"].map(|node| Router::start(&nats, node));
    let mut events = b.client().await.subscribe("test.large").await.expect("everybody may");
    let publisher = a.client().await;
    let sizes = [10, 20_000, 10, 500_000, 16_384, 10];
    for (number, size) in sizes.into_iter().enumerate() {
        let large = publisher.publish("test.large", (number, "x".repeat(size))).retain();
        large.acknowledge().await.expect("everybody may");
    }
    let check = |event: stentor_client::Event, number: usize, size: usize| {
        let (found, text): (usize, String) = event.args().expect("a number and a text");
        assert_eq!((found, text.len()), (number, size));
    };
    for (number, size) in sizes.into_iter().enumerate() {
        let event = timeout(PATIENCE, events.next()).await.expect("it comes").expect("subscribed");
        check(event, number, size);
    }
    let large = publisher.publish("test.large", (9, "x".repeat(300_000))).retain();
    large.acknowledge().await.expect("everybody may");
    let late = Router::start(&nats, "c");
    let mut retained =
        late.client().await.subscribe("test.large").get_retained().await.expect("everybody may");
    let event = timeout(PATIENCE, retained.next()).await.expect("it comes").expect("subscribed");
    check(event, 9, 300_000);
}

/// Of each publisher, a hundred times a second.
const EVENTS_PER_TICK: u64 = 20;
