//! How nodes start, and how they end: without NATS, under one name, with the wrong login.

use std::time::Duration;

use tokio::time::timeout;

use super::processes::{Nats, PATIENCE, Router};

/// Whether an event that is published at one node comes at the other.
pub(super) async fn check_linked(from: &Router, to: &Router) {
    let mut events = to.client().await.subscribe("com.x").await.expect("everybody may");
    from.client().await.publish("com.x", (1,)).acknowledge().await.expect("everybody may");
    assert!(timeout(PATIENCE, events.next()).await.expect("it comes").is_some());
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_start_waits_for_nats_and_says_so() {
    let mut nats = Nats::absent(&["-js"]);
    let mut node = Router::begin(&nats, "a", &[]);
    node.wait_for_log("waiting for NATS, no client is served yet");
    let ended = Router::begin(&nats, "b", &[]);
    ended.wait_for_log("waiting for NATS");
    assert!(!node.serves() && !ended.serves());
    ended.terminate();
    let mut ended = ended;
    assert!(ended.ended().success(), "{}", ended.log());
    nats.run();
    node.wait_until_served();
    check_linked(&node, &Router::start(&nats, "b")).await;
}

#[test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
fn what_waiting_does_not_mend_ends_the_start() {
    let closed = Nats::start_with(&["-js", "--user", "u", "--pass", "right"]);
    let mut node = Router::begin(&closed, "a", &[]);
    assert!(!node.ended().success());
    assert!(node.log().contains("NATS refuses the login"), "{}", node.log());
    let plain = Nats::start_with(&[]);
    let node = Router::begin(&plain, "a", &[]);
    node.wait_for_log("the NATS server has no JetStream");
    assert!(!node.serves());
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn of_two_nodes_with_one_name_the_later_one_stays() {
    let nats = Nats::start();
    let (other, mut first) = (Router::start(&nats, "b"), Router::start(&nats, "a"));
    check_linked(&first, &other).await;
    let second = Router::start(&nats, "a");
    assert!(!first.ended().success());
    let log = first.log();
    assert!(log.contains("another node has joined the cluster as `a`"), "{log}");
    check_linked(&second, &other).await;
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn who_leaves_in_order_is_no_member_at_once() {
    let nats = Nats::start();
    let (stays, mut leaves) = (Router::start(&nats, "a"), Router::start(&nats, "b"));
    check_linked(&leaves, &stays).await;
    let mut events = stays.client().await.subscribe("com.last").await.expect("everybody may");
    let client = leaves.client().await;
    for number in 1..LAST {
        client.publish("com.last", (number,)).await.expect("everybody may");
    }
    client.publish("com.last", (LAST,)).acknowledge().await.expect("everybody may");
    leaves.terminate();
    assert!(leaves.ended().success(), "{}", leaves.log());
    // Its last mail was delivered, and nobody waits for it.
    for number in 1..=LAST {
        let event = timeout(PATIENCE, events.next()).await.expect("it comes").expect("subscribed");
        assert_eq!(event.args::<(u64,)>().expect("a number"), (number,));
    }
    stays.wait_for_log("the link with a node has ended node=\"b\"");
    let subscribed = stays.client().await.subscribe("com.new").await;
    drop(timeout(Duration::from_secs(30), async { subscribed }).await.expect("it does not wait"));
}

/// Events that are published right before the end.
const LAST: u64 = 2_000;
