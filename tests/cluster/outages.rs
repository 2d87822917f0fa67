//! One of several NATS servers dies or hangs, all of them are away for a while, two of them lose
//! each other; routers hang: all under load.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::load::{Load, under_load};
use super::processes::{Nats, PATIENCE, Router, wait_until};
use super::servers::Servers;
use super::starting::check_linked;

/// Three routers, each of which knows all servers. The bucket has as many copies.
fn three(servers: &Servers) -> [Router; 3] {
    let urls = servers.urls();
    ["a", "b", "c"].map(|node| Router::start_at(&urls, node, &REPLICATED))
}

const REPLICATED: [(&str, &str); 1] = [("STENTOR_CLUSTER__REPLICAS", "3")];

#[track_caller]
fn check_links_stood(nodes: &[&Router]) {
    for node in nodes {
        assert!(!node.log().contains("the link with a node has ended"), "{}", node.log());
    }
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nothing_is_lost_while_each_of_three_servers_is_killed() {
    let mut servers = Servers::start(3);
    let [a, b, c] = three(&servers);
    under_load([&a, &b, &c], async |load| {
        for index in 0..3 {
            servers.kill(index);
            load.wait_for(3_000).await;
            servers.run(index);
            servers.wait(index);
            load.wait_for(1_000).await;
        }
    })
    .await;
    check_links_stood(&[&a, &b, &c]);
}

/// As operators upgrade NATS: each server sends its clients away, ends, and comes back.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nothing_is_lost_while_each_of_three_servers_is_upgraded() {
    let mut servers = Servers::start(3);
    let [a, b, c] = three(&servers);
    under_load([&a, &b, &c], async |load| {
        for index in 0..3 {
            servers.retire(index);
            load.wait_for(1_000).await;
            servers.run(index);
            servers.wait(index);
            load.wait_for(1_000).await;
        }
    })
    .await;
    check_links_stood(&[&a, &b, &c]);
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nothing_is_lost_while_a_server_hangs_and_while_all_are_away() {
    let mut servers = Servers::start(3);
    let [a, b, c] = three(&servers);
    under_load([&a, &b, &c], async |load| {
        for seconds in [5, 30] {
            servers.hang(1, true);
            sleep(Duration::from_secs(seconds)).await;
            servers.hang(1, false);
            load.wait_for(2_000).await;
        }
        (0..3).for_each(|index| servers.kill(index));
        sleep(Duration::from_secs(2)).await;
        (0..3).for_each(|index| servers.run(index));
        load.wait_for(4_000).await;
    })
    .await;
    check_links_stood(&[&a, &b, &c]);
}

/// For longer than a node may be silent: the links end, and what was on its way has an end.
/// Afterwards all is as before, and nothing came twice.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn what_is_lost_while_all_servers_are_away_is_said() {
    let mut servers = Servers::start(3);
    let [a, b, c] = three(&servers);
    let load = Load::start([&a, &b, &c]).await;
    (0..3).for_each(|index| servers.kill(index));
    sleep(Duration::from_secs(20)).await;
    (0..3).for_each(|index| servers.run(index));
    for (from, to) in [(&a, &b), (&b, &c), (&c, &a)] {
        check_linked_at_last(from, to).await;
    }
    load.wait_for(4_000).await;
    let trouble = load.stop().await;
    let is_explained = |error: &String| {
        ["wamp.error.network_failure", "wamp.error.no_such_procedure"].contains(&&**error)
    };
    assert!(trouble.calls.iter().all(is_explained), "{trouble:?}");
    assert!(trouble.registrations.iter().all(is_explained), "{trouble:?}");
    // Nobody publishes at the third.
    assert!(trouble.missed.iter().all(|missed| *missed > 0), "{trouble:?}");
}

/// Waits until events of one node come to the other.
async fn check_linked_at_last(from: &Router, to: &Router) {
    let mut events = to.client().await.subscribe("com.linked").await.expect("everybody may");
    let publisher = from.client().await;
    let comes = async {
        loop {
            let published = publisher.publish("com.linked", (1,)).acknowledge();
            published.await.expect("everybody may");
            let next = timeout(Duration::from_millis(100), events.next()).await;
            if next.is_ok_and(|event| event.is_some()) {
                return;
            }
        }
    };
    timeout(PATIENCE, comes).await.expect("they are linked again");
}

/// Two NATS servers lose each other, and with them the nodes that each knows no other: these do not
/// hear each other, and one of them leaves those that all others hear.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn of_two_nodes_that_do_not_hear_each_other_one_waits() {
    let servers = Servers::start_discreet(3);
    let urls = servers.urls();
    let at =
        |node: &str, server: usize| Router::start_at(&urls[server..=server], node, &REPLICATED);
    let [a, b, c, d] = [at("a", 0), at("b", 1), at("c", 2), at("d", 2)];
    check_linked(&a, &b).await;
    under_load([&a, &c, &d], async |load| {
        servers.cut(0, 1, true);
        wait_until("one is removed", || {
            [&a, &b].iter().any(|node| node.log().contains("the link with a node has ended"))
        });
        load.wait_for(20_000).await;
        servers.cut(0, 1, false);
        check_linked_at_last(&a, &b).await;
        check_linked_at_last(&b, &a).await;
        load.wait_for(1_000).await;
    })
    .await;
}

/// A router that hangs for longer than a node may be silent is removed, and comes back with its
/// clients; one that hangs for less loses nothing. The others notice nothing.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_router_that_hangs_comes_back_with_its_clients() {
    let nats = Nats::start();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|node| Router::start(&nats, node));
    let mut events = d.client().await.subscribe("com.example.x").await.expect("everybody may");
    let publisher = a.client().await;
    let mut published = 0..;
    under_load([&a, &b, &c], async |load| {
        d.hang(true);
        for number in published.by_ref().take(100) {
            publisher.publish("com.example.x", (number,)).await.expect("it is connected");
        }
        sleep(Duration::from_secs(5)).await;
        d.hang(false);
        for number in 0..100 {
            let event = timeout(PATIENCE, events.next()).await;
            let event = event.unwrap_or_else(|_| panic!("{number} does not come: {}", a.log()));
            let event = event.expect("it is subscribed");
            assert_eq!(event.args::<(u64,)>().expect("a number"), (number,));
        }
        assert!(!a.log().contains("the link with a node has ended"), "{}", a.log());
        d.hang(true);
        sleep(Duration::from_secs(30)).await;
        load.wait_for(500).await;
        a.wait_for_log("the link with a node has ended node=\"d\"");
        d.hang(false);
        check_linked_at_last(&a, &d).await;
        check_linked_at_last(&d, &a).await;
    })
    .await;
}
