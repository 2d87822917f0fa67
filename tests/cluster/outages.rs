//! One of several NATS servers dies or hangs, all of them are away for a while; routers hang, and
//! are upgraded one after the other: all under load.

use std::time::Duration;

use stentor_client::InvokePolicy;
use tokio::time::sleep;

use super::events::under_load;
use super::processes::{Nats, Router};
use super::registrations::{Callers, register};
use super::servers::Servers;

/// Three routers, each of which knows all servers. The bucket has as many copies.
fn three(servers: &Servers) -> [Router; 3] {
    ["a", "b", "c"].map(|node| {
        let mut router = Router::begin_at(&servers.urls(), node, &[]);
        router.wait_until_served();
        router
    })
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nothing_is_lost_while_each_of_three_servers_is_killed() {
    let mut servers = Servers::start(3);
    let [a, b, c] = three(&servers);
    under_load([&a, &b, &c], async |listeners| {
        for index in 0..3 {
            servers.kill(index);
            for listener in listeners {
                listener.wait_for(3_000).await;
            }
            servers.run(index);
            servers.wait(index);
            listeners[2].wait_for(1_000).await;
        }
    })
    .await;
    for node in [&a, &b, &c] {
        assert!(!node.log().contains("the link with a node has ended"), "{}", node.log());
    }
}

/// As operators upgrade NATS: each server sends its clients away, ends, and comes back.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nothing_is_lost_while_each_of_three_servers_is_upgraded() {
    let mut servers = Servers::start(3);
    let [a, b, c] = three(&servers);
    let callee = b.client().await;
    let _registration = register(&callee, InvokePolicy::Single).await.expect("nobody has it");
    let callers = Callers::start(&[&a, &c]).await;
    under_load([&a, &b, &c], async |listeners| {
        for index in 0..3 {
            servers.retire(index);
            for listener in listeners {
                listener.wait_for(1_000).await;
            }
            callers.wait_for(100).await;
            servers.run(index);
            servers.wait(index);
            listeners[2].wait_for(1_000).await;
        }
    })
    .await;
    assert_eq!(callers.stop().await, Vec::<String>::new());
    for node in [&a, &b, &c] {
        assert!(!node.log().contains("the link with a node has ended"), "{}", node.log());
    }
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nothing_is_lost_while_a_server_hangs_and_while_all_are_away() {
    let mut servers = Servers::start(3);
    let [a, b, c] = three(&servers);
    under_load([&a, &b, &c], async |listeners| {
        servers.hang(1, true);
        sleep(Duration::from_secs(5)).await;
        servers.hang(1, false);
        listeners[2].wait_for(2_000).await;
        (0..3).for_each(|index| servers.kill(index));
        sleep(Duration::from_secs(2)).await;
        (0..3).for_each(|index| servers.run(index));
        for listener in listeners {
            listener.wait_for(4_000).await;
        }
    })
    .await;
    for node in [&a, &b, &c] {
        assert!(!node.log().contains("the link with a node has ended"), "{}", node.log());
    }
}

/// A router that hangs for longer than a node may be silent is removed, and comes back with its
/// clients; the others notice nothing.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_router_that_hangs_comes_back_with_its_clients() {
    let nats = Nats::start();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|node| Router::start(&nats, node));
    let mut events = d.client().await.subscribe("com.example.x").await.expect("everybody may");
    under_load([&a, &b, &c], async |listeners| {
        d.hang(true);
        sleep(Duration::from_secs(13)).await;
        listeners[2].wait_for(500).await;
        a.wait_for_log("the link with a node has ended node=\"d\"");
        d.hang(false);
        let publisher = a.client().await;
        let comes = async {
            loop {
                let published = publisher.publish("com.example.x", (1,)).acknowledge();
                published.await.expect("everybody may");
                let next = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
                if next.is_ok_and(|event| event.is_some()) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), comes).await.expect("it is linked again");
    })
    .await;
}

/// Each leaves in order and comes back, while clients of the others go on: nothing is lost.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn routers_are_restarted_one_after_the_other() {
    let nats = Nats::start();
    let [a, b, c] = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    under_load([&a, &b, &c], async |listeners| {
        for node in ["d", "e", "d"] {
            let mut router = Router::start(&nats, node);
            listeners[2].wait_for(300).await;
            router.terminate();
            assert!(router.ended().success(), "{}", router.log());
            listeners[2].wait_for(300).await;
        }
    })
    .await;
    for node in [&a, &b, &c] {
        assert!(!node.log().contains("the link with a node has ended node=\"b\""));
    }
}
