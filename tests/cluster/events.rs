//! Events across nodes under load: each once and in order, whatever becomes of NATS and of others.

use tokio::time::timeout;

use super::load::under_load;
use super::processes::{Nats, PATIENCE, Router};

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn every_event_comes_once_and_in_order_at_every_node() {
    let nats = Nats::start();
    let [a, b, c] = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    under_load([&a, &b, &c], async |load| load.wait_for(10_000).await).await;
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nothing_is_lost_while_the_nats_server_is_killed_and_started() {
    let mut nats = Nats::start();
    let [a, b, c] = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    under_load([&a, &b, &c], async |load| {
        for _ in 0..3 {
            nats.kill();
            nats.run();
            load.wait_for(2_000).await;
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
    under_load([&a, &b, &c], async |load| {
        let mut late = Router::start(&nats, "d");
        let mut events = late.client().await.subscribe("test.odd").await.expect("it may");
        let first = timeout(PATIENCE, events.next()).await.expect("it is linked");
        let (_, number): (u64, u64) = first.expect("it is there").args().expect("numbers");
        assert!(number > 1, "it came late");
        late.kill();
        load.wait_for(1_000).await;
        a.wait_for_log("the link with a node has ended node=\"d\"");
        let again = Router::start(&nats, "d");
        let mut events = again.client().await.subscribe("test.odd").await.expect("it may");
        assert!(timeout(PATIENCE, events.next()).await.expect("it is linked").is_some());
        // In order this time: its key is gone at once.
        again.terminate();
        load.wait_for(1_000).await;
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
