//! Routers are restarted one after the other, and NATS servers, too, as operators upgrade them: no
//! acknowledged event is lost, and no call but those of sessions that were sent away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stentor_client::{Client, Error, InvokePolicy, MatchPolicy, Subscription};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

use super::callers::{register, wait_for};
use super::load::under_load;
use super::processes::{Nats, PATIENCE, Router};
use super::servers::Servers;

/// Each leaves in order and comes back, while clients of the others go on: nothing is lost.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn routers_are_restarted_one_after_the_other() {
    let nats = Nats::start();
    let [a, b, c] = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    let mut others = ["d", "e"].map(|node| Router::start(&nats, node));
    under_load([&a, &b, &c], async |load| {
        for index in [0, 1, 0] {
            load.wait_for(300).await;
            others[index].restart();
        }
        load.wait_for(300).await;
    })
    .await;
}

/// A client that comes back when its router does, and publishes numbers, each until it is
/// acknowledged or nothing is known of it.
struct Steady {
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    task: JoinHandle<Vec<u64>>,
}

impl Steady {
    fn start(client: Client, name: u64) -> Self {
        let (is_over, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stops, counted) = (Arc::clone(&is_over), Arc::clone(&acknowledged));
        let task = tokio::spawn(async move {
            let (mut numbers, mut pace) = (Vec::new(), interval(Duration::from_millis(5)));
            for number in 0.. {
                pace.tick().await;
                if stops.load(Ordering::Relaxed) {
                    break;
                }
                match client.publish("test.kept", (name, number)).acknowledge().await {
                    Ok(_) => {
                        numbers.push(number);
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(Error::Closed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            numbers
        });
        Self { is_over, acknowledged, task }
    }

    async fn wait_for(&self, more: u64) {
        wait_for(&self.acknowledged, more).await;
    }

    /// The numbers that were acknowledged.
    async fn stop(self) -> Vec<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        timeout(PATIENCE, self.task).await.expect("it ends").expect("nothing is refused")
    }
}

/// The numbers that a client hears of each publisher, until each has said that it was the last.
async fn listen(mut events: Subscription) -> [Vec<u64>; 3] {
    let (mut heard, mut ends) = ([const { Vec::new() }; 3], 0);
    while ends < heard.len() {
        let event = timeout(PATIENCE, events.next()).await.expect("the end comes");
        let event = event.expect("it is subscribed");
        if event.topic() == "test.end" {
            ends += 1;
            continue;
        }
        let (name, number): (usize, u64) = event.args().expect("two numbers");
        let of_publisher = &mut heard[name];
        assert!(of_publisher.last().is_none_or(|last| *last < number), "{name}, {number}: order");
        of_publisher.push(number);
    }
    assert_eq!((events.dropped(), events.gaps()), (0, 0));
    heard
}

/// Calls until it is told to stop. Returns what calls have ended with, but for answers and for the
/// end of the own session.
async fn call(client: Client, is_over: Arc<AtomicBool>) -> Vec<String> {
    let mut errors = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(5)).await;
        match super::callers::call(&client, 7).await {
            Ok(answer) => assert_eq!(answer, 14),
            Err(Error::Closed { .. }) => {}
            Err(error) => errors.push(error.to_string()),
        }
    }
    errors
}

/// Everybody may do everything, and all that is published is kept.
const CONFIGURATION: &str = r#"[[realm]]
name = "realm1"
[[realm.authenticator]]
method = "anonymous"
[[realm.role]]
name = "anonymous"
[[realm.role.permission]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
[[realm.history]]
topic = "test."
match = "prefix"
events = 100000
"#;

/// Three routers and three NATS servers, all of which are restarted, with clients that come back:
/// by the history that the nodes have in common, each listener hears all that was acknowledged.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn all_routers_and_servers_are_restarted() {
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("stentor.toml");
    std::fs::write(&file, CONFIGURATION).expect("there is room");
    let mut servers = Servers::start(3);
    let urls = servers.urls();
    let mut routers = ["a", "b", "c"].map(|node| Router::start_from(&file, &urls, node));
    let (mut listeners, mut publishers, mut callers) = (Vec::new(), Vec::new(), Vec::new());
    let (is_over, mut callees) = (Arc::<AtomicBool>::default(), Vec::new());
    for router in &routers {
        let callee = router.client().await;
        callees.push(register(&callee, InvokePolicy::RoundRobin).await.expect("it is shared"));
        let client = router.client().await;
        let events = client.subscribe("test.").matching(MatchPolicy::Prefix).queue(1 << 20).await;
        listeners.push(tokio::spawn(listen(events.expect("everybody may"))));
        callers.push(tokio::spawn(call(router.client().await, Arc::clone(&is_over))));
    }
    for (name, router) in routers.iter().enumerate() {
        publishers.push(Steady::start(router.client().await, name as u64));
    }
    for (index, router) in routers.iter_mut().enumerate() {
        router.restart();
        for publisher in &publishers {
            publisher.wait_for(200).await;
        }
        servers.retire(index);
        servers.run(index);
        servers.wait(index);
        for publisher in &publishers {
            publisher.wait_for(200).await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.push(publisher.stop().await);
    }
    let last = routers[0].client().await;
    for _ in 0..3 {
        last.publish("test.end", ()).acknowledge().await.expect("everybody may");
    }
    for listener in listeners {
        let heard = timeout(PATIENCE, listener).await.expect("it ends").expect("all in order");
        for (heard, acknowledged) in heard.iter().zip(&acknowledged) {
            let is_missing = |number: &&u64| heard.binary_search(number).is_err();
            let missing: Vec<_> = acknowledged.iter().filter(is_missing).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    }
    for caller in callers {
        let errors = timeout(PATIENCE, caller).await.expect("each call ends").expect("right");
        // Of a callee whose session has ended as well.
        assert!(errors.iter().all(|error| error.starts_with("wamp.error.canceled")), "{errors:?}");
    }
}
