//! What has gone wrong in other routers, clusters and clients of NATS, done again here: each test
//! names the issue.

use std::collections::BTreeSet;
use std::time::Duration;

use stentor_client::{Client, InvokePolicy, Subscription};
use tokio::time::{sleep, timeout};

use super::callers::{call, register};
use super::processes::{Nats, PATIENCE, Router};
use super::routes::Route;
use super::starting::check_linked;

async fn listen(client: &Client) -> Subscription {
    client.subscribe("test.replay").await.expect("everybody may")
}

async fn publish(client: &Client, number: u64) {
    let event = client.publish("test.replay", (number,)).include_me();
    event.acknowledge().await.expect("everybody may");
}

async fn next(events: &mut Subscription) -> u64 {
    let event = timeout(PATIENCE, events.next()).await.expect("it comes").expect("subscribed");
    let (number,): (u64,) = event.args().expect("a number");
    number
}

/// Between two nodes as many events cross as are published, and the last one comes last.
async fn check_events(from: &Client, events: &mut [&mut Subscription], numbers: &[u64]) {
    for number in numbers {
        publish(from, *number).await;
    }
    for events in events {
        for number in numbers {
            assert_eq!(next(events).await, *number);
        }
    }
}

/// crossbar#1895, #1909: what was registered before the nodes were linked was not called.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn what_is_older_than_the_link_is_called_and_heard() {
    let nats = Nats::start();
    let a = Router::start(&nats, "a");
    let early = a.client().await;
    let _registration = register(&early, InvokePolicy::Single).await.expect("nobody has it");
    let mut events = listen(&early).await;
    for late in ["b", "c"] {
        let late = Router::start(&nats, late);
        let client = late.client().await;
        assert_eq!(call(&client, 21).await.expect("it is registered"), 42);
        check_events(&client, &mut [&mut events], &[1, 2]).await;
    }
}

/// crossbar#1918: with three nodes, or two clients at one, events came several times.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn an_event_comes_once_to_each_of_many_at_three_nodes() {
    let nats = Nats::start();
    let nodes = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    let (mut clients, mut subscriptions) = (Vec::new(), Vec::new());
    for node in &nodes {
        for _ in 0..2 {
            let client = node.client().await;
            subscriptions.push(listen(&client).await);
            clients.push(client);
        }
    }
    let mut events: Vec<_> = subscriptions.iter_mut().collect();
    for (index, client) in clients.iter().enumerate() {
        let first = index as u64 * 10;
        check_events(client, &mut events, &[first, first + 1, first + 2]).await;
    }
}

/// crossbar#1916: after each reconnect of a link, events came once more. Here each router loses its
/// server twenty times.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn after_twenty_reconnects_an_event_comes_once() {
    let nats = Nats::start();
    let routes = [Route::to(nats.port()), Route::to(nats.port())];
    let at = |route: &Route| [format!("nats://127.0.0.1:{}", route.port())];
    let a = Router::start_at(&at(&routes[0]), "a", &[]);
    let b = Router::start_at(&at(&routes[1]), "b", &[]);
    check_linked(&a, &b).await;
    let (publisher, subscriber) = (a.client().await, b.client().await);
    let mut events = listen(&subscriber).await;
    for number in 0..20 {
        for route in &routes {
            route.cut();
            publish(&publisher, number).await;
            route.mend();
        }
        // Both were acknowledged.
        assert_eq!((next(&mut events).await, next(&mut events).await), (number, number));
    }
    check_events(&publisher, &mut [&mut events], &[100, 101]).await;
}

/// crossbar#2079: after a reconnect nothing was forwarded, nor to who joined late.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn after_a_reconnect_all_go_on_with_who_joins_late() {
    let nats = Nats::start();
    let route = Route::to(nats.port());
    let a = Router::start_at(&[format!("nats://127.0.0.1:{}", route.port())], "a", &[]);
    let b = Router::start(&nats, "b");
    check_linked(&a, &b).await;
    let [here, there] = [a.client().await, b.client().await];
    let _registration = register(&here, InvokePolicy::Single).await.expect("nobody has it");
    let (mut near, mut far) = (listen(&here).await, listen(&there).await);
    route.cut();
    sleep(Duration::from_secs(1)).await;
    route.mend();
    check_events(&here, &mut [&mut near, &mut far], &[1, 2]).await;
    check_events(&there, &mut [&mut near, &mut far], &[3, 4]).await;
    let c = Router::start(&nats, "c");
    let late = c.client().await;
    let mut latest = listen(&late).await;
    for (number, client) in [(5, &here), (6, &there), (7, &late)] {
        check_events(client, &mut [&mut near, &mut far, &mut latest], &[number]).await;
        assert_eq!(call(client, 4).await.expect("it is registered"), 8);
    }
}

/// emitter#304: of the clients of a node that crashed nobody was told that they had left.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn of_those_at_a_node_that_crashes_it_is_told_that_they_leave() {
    let nats = Nats::start();
    let [a, mut b] = ["a", "b"].map(|node| Router::start(&nats, node));
    let watcher = a.client().await;
    let mut left = watcher.subscribe("wamp.session.on_leave").await.expect("everybody may");
    let mut joined = watcher.subscribe("wamp.session.on_join").await.expect("everybody may");
    let clients = [b.client().await, b.client().await, b.client().await];
    let id = |client: &Client| client.session().expect("it is connected").id().get();
    let expected: BTreeSet<u64> = clients.iter().map(id).collect();
    for _ in &clients {
        let event = timeout(PATIENCE, joined.next()).await.expect("it comes");
        let (who,): (serde_json::Value,) = event.expect("subscribed").args().expect("who");
        assert!(expected.contains(&who["session"].as_u64().expect("an id")), "{who}");
    }
    // Who was not heard of is not missed either.
    b.kill();
    let mut told = BTreeSet::new();
    while told.len() < expected.len() {
        let event = timeout(PATIENCE, left.next()).await.expect("it comes").expect("subscribed");
        let (session, ..): (u64, serde_json::Value, serde_json::Value) =
            event.args().expect("who has left");
        assert!(expected.contains(&session) && told.insert(session), "{session}: once each");
    }
}

/// nats.rs#182: what was published just after the server had gone was lost, though it was said to
/// be published.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn what_is_published_while_the_server_is_away_comes_after() {
    let mut nats = Nats::start();
    let [a, b] = ["a", "b"].map(|node| Router::start(&nats, node));
    let (publisher, subscriber) = (a.client().await, b.client().await);
    let mut events = listen(&subscriber).await;
    nats.kill();
    for number in 0..3 {
        publish(&publisher, number).await;
    }
    nats.run();
    for number in 0..3 {
        assert_eq!(next(&mut events).await, number);
    }
    check_events(&publisher, &mut [&mut events], &[3]).await;
}

/// nats.rs#1596: a watch that nobody polled while the server was started anew told nothing any
/// more.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_watch_that_was_not_polled_while_the_server_started_anew_goes_on() {
    let mut nats = Nats::start();
    let [a, b] = ["a", "b"].map(|node| Router::start(&nats, node));
    check_linked(&a, &b).await;
    let (here, there) = (a.client().await, b.client().await);
    b.hang(true);
    nats.kill();
    nats.run();
    b.hang(false);
    let _registration = register(&here, InvokePolicy::Single).await.expect("nobody has it");
    let called = async {
        while call(&there, 3).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, called).await.expect("what is registered at one node is read by the other");
    let refused = register(&there, InvokePolicy::Single).await.expect_err("somebody has it");
    assert_eq!(refused.uri(), Some("wamp.error.procedure_already_exists"), "{refused}");
}
