//! What goes on while something happens to nodes and servers: events, calls and registrations, all
//! of which are checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stentor_client::{Client, InvokePolicy, Registration, Subscription};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::callers::{Callers, Comers, register, wait_for};
use super::processes::{PATIENCE, Router};

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

/// What a listener has heard of a publisher: the first number, the last one, and how many.
type Heard = BTreeMap<u64, (u64, u64, u64)>;

/// A client that has all events, and checks that they come once and in order across topics.
struct Listener {
    heard: Arc<AtomicU64>,
    task: JoinHandle<Heard>,
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

    /// Ends when the publishers have.
    async fn stop(self) -> Heard {
        let heard = timeout(PATIENCE, self.task).await.expect("it ends").expect("all in order");
        self.client.leave().await;
        heard
    }
}

async fn listen(mut events: Subscription, counted: Arc<AtomicU64>) -> Heard {
    let mut heard = Heard::new();
    let mut ends = 0;
    while ends < PUBLISHERS {
        let event = timeout(PATIENCE, events.next()).await.expect("the end comes");
        let event = event.expect("it is subscribed");
        if event.topic() == "test.end" {
            ends += 1;
            continue;
        }
        let (name, number): (u64, u64) = event.args().expect("two numbers");
        let (_, last, count) = heard.entry(name).or_insert((number, number - 1, 0));
        assert!(number > *last, "publisher {name}: {number} after {last}: once and in order");
        *last = number;
        *count += 1;
        counted.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(events.dropped(), 0);
    heard
}

/// A listener at each of three nodes, publishers at the first and the second of them, callers at
/// the first and the third of a callee at the second, and procedures that come and go at the first
/// and the third.
pub(super) struct Load<'a> {
    nodes: [&'a Router; 3],
    listeners: [Listener; 3],
    publishers: [Publisher; PUBLISHERS],
    callers: Callers,
    comers: Comers,
    _callee: (Client, Registration),
}

/// What there was besides events, answers and registrations.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Events that a listener did not hear, in the order of the listeners.
    pub(super) missed: [u64; 3],
    /// Error URIs of calls.
    pub(super) calls: Vec<String>,
    /// Error URIs of registrations.
    pub(super) registrations: Vec<String>,
}

impl Trouble {
    pub(super) const NONE: Self =
        Self { missed: [0; 3], calls: Vec::new(), registrations: Vec::new() };
}

impl<'a> Load<'a> {
    pub(super) async fn start(nodes: [&'a Router; 3]) -> Self {
        let [a, b, c] = nodes;
        let client = b.client().await;
        let registration = register(&client, InvokePolicy::Single).await.expect("nobody has it");
        let listeners = [
            Listener::start(a.client().await).await,
            Listener::start(b.client().await).await,
            Listener::start(c.client().await).await,
        ];
        let publishers =
            [Publisher::start(a.client().await, 1), Publisher::start(b.client().await, 2)];
        let load = Self {
            nodes,
            listeners,
            publishers,
            callers: Callers::start(&[a, c]).await,
            comers: Comers::start(&[a, c]).await,
            _callee: (client, registration),
        };
        load.wait_for(2_000).await;
        load
    }

    /// Waits until so many more events have come to each listener, and until calls were answered
    /// and procedures registered.
    pub(super) async fn wait_for(&self, events: u64) {
        for listener in &self.listeners {
            wait_for(&listener.heard, events).await;
        }
        self.callers.wait_for(events / 50).await;
        self.comers.wait_for(2).await;
    }

    pub(super) async fn stop(self) -> Trouble {
        let [first, second] = self.publishers;
        let published = BTreeMap::from([(1, first.stop().await), (2, second.stop().await)]);
        let mut missed = Vec::new();
        for listener in self.listeners {
            let heard = listener.stop().await;
            let all = heard
                .iter()
                .all(|(name, (first, last, _))| (*first, *last) == (1, published[name]));
            assert!(all, "the first and the last come: {heard:?} of {published:?}");
            let count: u64 = heard.values().map(|(.., count)| count).sum();
            missed.push(published.values().sum::<u64>() - count);
        }
        let mut registrations = self.comers.stop().await;
        // What a node that could not be asked in time has not heard of, and was counted.
        for _ in 0..self.nodes.map(Router::expired_waits).iter().sum() {
            let unheard = registrations.iter().position(|error| error == NO_SUCH_PROCEDURE);
            unheard.map(|at| registrations.remove(at));
        }
        Trouble {
            missed: missed.try_into().expect("there are three"),
            calls: self.callers.stop().await,
            registrations,
        }
    }
}

/// Runs `happens` under load, of which nothing may be lost.
pub(super) async fn under_load(nodes: [&Router; 3], happens: impl AsyncFnOnce(&Load<'_>)) {
    let load = Load::start(nodes).await;
    happens(&load).await;
    let trouble = load.stop().await;
    assert_eq!(trouble, Trouble::NONE, "{}", nodes.map(Router::log).concat());
}

const NO_SUCH_PROCEDURE: &str = "wamp.error.no_such_procedure";

const PUBLISHERS: usize = 2;

/// Of each publisher, a hundred times a second: 4,000 events a second, 12,000 that are heard.
const EVENTS_PER_TICK: u64 = 20;
