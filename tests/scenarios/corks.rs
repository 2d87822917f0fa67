//! What a client is told of the whole cluster waits until other nodes have confirmed it.

use serde_json::{Value, json};
use stentor::router::Settings;
use stentor::shard::Corks;

use super::dialogue::check_with;
use super::peer::{Peer, network_with};
use crate::support::{Incoming, Network, Serializer};

const VISIBLE_MS: u64 = 100;

/// One shard whose clients wait for other nodes, which confirm nothing by themselves.
fn held(change: impl Fn(&mut Settings)) -> Network {
    let change = |settings: &mut Settings| {
        settings.visible_ms = VISIBLE_MS;
        change(settings);
    };
    let mut network = network_with(change, 1);
    network.links.gateway.is_held = true;
    network
}

fn join(network: &mut Network) -> Peer {
    Peer::join(network, 0, Serializer::Json)
}

fn subscribe(network: &mut Network, peer: &Peer, request: u64, topic: &str) {
    peer.say(network, &json!([32, request, {}, topic]));
}

fn publish(network: &mut Network, peer: &Peer, request: u64, bytes: usize) {
    peer.say(network, &json!([16, request, {}, "com.x", ["x".repeat(bytes)]]));
}

/// The types of the messages that a peer hears now.
fn heard(network: &mut Network, peer: &mut Peer) -> Vec<Value> {
    peer.hear(network).iter().map(|message| message[0].clone()).collect()
}

/// How corks have ended: confirmed, expired, and full.
fn ended(network: &Network) -> [u64; 3] {
    let Corks { confirmed, expired, full, .. } = network.shard(0).corks();
    [confirmed, expired, full]
}

fn check_end(mut network: Network, peers: &[&Peer]) {
    peers.iter().for_each(|peer| network.lose(peer.pipe));
    network.settle();
    network.check_empty();
}

/// Where other nodes confirm at once, clients see what they see of a router that is alone.
#[test]
fn nothing_is_lost_and_order_holds_behind_a_cork() {
    check_with(
        |settings| settings.visible_ms = VISIBLE_MS,
        r#"
        join a b
        a -> SUBSCRIBE {} com.x
        a <- SUBSCRIBED 1 $s
        b -> PUBLISH {"acknowledge":true} com.x [1]
        b <- PUBLISHED 1 $p
        a <- EVENT $s $p {} [1]
        a -> REGISTER {} com.p
        a <- REGISTERED 2 $r
        b -> CALL {} com.p [2]
        a <- INVOCATION $i $r {} [2]
        a -> YIELD #1 {} [3]
        b <- RESULT 2 {} [3]
        a -> SUBSCRIBE {} com.x
        a <- SUBSCRIBED 3 $s
        wait 1000
        "#,
    );
}

#[test]
fn what_follows_waits_with_it_until_all_have_confirmed() {
    let mut network = held(|_| {});
    let (mut a, b) = (join(&mut network), join(&mut network));
    subscribe(&mut network, &a, 1, "com.x");
    publish(&mut network, &b, 1, 10);
    a.say(&mut network, &json!([64, 2, {}, "com.p"]));
    b.say(&mut network, &json!([48, 2, {}, "com.p"]));
    assert_eq!(heard(&mut network, &mut a), [0; 0]);
    network.confirm(0);
    assert_eq!(heard(&mut network, &mut a), [0; 0], "REGISTERED is not confirmed");
    network.confirm(0);
    assert_eq!(heard(&mut network, &mut a), [33, 36, 65, 68]);
    assert_eq!(ended(&network), [1, 0, 0]);
    check_end(network, &[&a, &b]);
}

#[test]
fn a_cork_ends_by_its_deadline_and_a_late_word_ends_no_other() {
    let mut network = held(|_| {});
    let mut a = join(&mut network);
    subscribe(&mut network, &a, 1, "com.x");
    network.advance(VISIBLE_MS - 1);
    assert_eq!(heard(&mut network, &mut a), [0; 0]);
    network.advance(1);
    assert_eq!(heard(&mut network, &mut a), [33]);
    subscribe(&mut network, &a, 2, "com.y");
    network.confirm(0);
    assert_eq!(heard(&mut network, &mut a), [0; 0], "that was of the first");
    network.confirm(0);
    assert_eq!(heard(&mut network, &mut a), [33]);
    assert_eq!(ended(&network), [1, 1, 0]);
    check_end(network, &[&a]);
}

/// Who asks without end has its first answers all the same.
#[test]
fn input_waits_in_the_second_half_of_the_time() {
    let mut network = held(|_| {});
    let mut a = join(&mut network);
    subscribe(&mut network, &a, 1, "com.a");
    network.advance(VISIBLE_MS / 2);
    for (request, topic) in [(2, "com.b"), (3, "com.c"), (4, "com.d")] {
        subscribe(&mut network, &a, request, topic);
    }
    network.settle();
    assert_eq!(network.links.gateway.asked.len(), 2, "the others are not dealt with");
    network.confirm(1);
    assert_eq!(heard(&mut network, &mut a), [33, 33]);
    assert_eq!(network.links.gateway.asked.len(), 3);
    network.confirm(2);
    assert_eq!(heard(&mut network, &mut a), [33, 33]);
    assert_eq!(ended(&network), [2, 0, 0]);
    check_end(network, &[&a]);
}

#[test]
fn no_more_than_the_soft_limit_waits_behind_a_cork() {
    let mut network = held(|settings| {
        settings.output.soft_bytes = 1_000;
        settings.output.hard_bytes = 1_500;
    });
    let (mut a, b) = (join(&mut network), join(&mut network));
    subscribe(&mut network, &a, 1, "com.x");
    publish(&mut network, &b, 1, 600);
    assert_eq!(heard(&mut network, &mut a), [0; 0]);
    publish(&mut network, &b, 2, 600);
    assert_eq!(heard(&mut network, &mut a), [33, 36, 36]);
    subscribe(&mut network, &a, 2, "com.y");
    publish(&mut network, &b, 3, 700);
    assert_eq!(heard(&mut network, &mut a), [0; 0]);
    // Behind what waits there is no room for it at all.
    publish(&mut network, &b, 4, 1_200);
    assert_eq!(heard(&mut network, &mut a), [33, 36, 36]);
    assert_eq!(ended(&network), [0, 0, 2]);
    assert_eq!(network.router.snapshot().slow_consumers_disconnected, 0);
    check_end(network, &[&a, &b]);
}

/// Nobody has to go for what waits behind corks.
#[test]
fn corks_give_way_where_memory_is_short() {
    let mut network = held(|settings| settings.output.total_bytes = 2_000);
    let [mut a, mut b, c] = [(); 3].map(|()| join(&mut network));
    subscribe(&mut network, &a, 1, "com.x");
    subscribe(&mut network, &b, 1, "com.x");
    publish(&mut network, &c, 1, 1_500);
    assert_eq!(heard(&mut network, &mut a), [33, 36]);
    assert_eq!(heard(&mut network, &mut b), [33, 36]);
    assert_eq!(ended(&network), [0, 0, 2]);
    assert_eq!(network.router.snapshot().slow_consumers_disconnected, 0);
    check_end(network, &[&a, &b, &c]);
}

/// A socket that takes bytes again gets none, and its peer is not slow for that.
#[test]
fn who_reads_again_behind_a_cork_is_not_slow() {
    let mut network = held(|settings| {
        settings.output.soft_bytes = 2_000;
        settings.output.hard_bytes = 2_000;
        settings.output.stall_ms = VISIBLE_MS / 2;
    });
    let (mut a, b) = (join(&mut network), join(&mut network));
    network.links.pipes[a.pipe].capacity = 0;
    a.say(&mut network, &json!([16, 1, {"acknowledge": true}, "com.z"]));
    network.settle();
    subscribe(&mut network, &a, 2, "com.x");
    publish(&mut network, &b, 1, 1_500);
    network.settle();
    network.links.pipes[a.pipe].capacity = usize::MAX;
    network.wake(a.pipe);
    assert_eq!(heard(&mut network, &mut a), [0; 0]);
    network.advance(VISIBLE_MS - 1);
    publish(&mut network, &b, 2, 600);
    network.settle();
    assert_eq!(network.router.snapshot().slow_consumers_disconnected, 0);
    assert_eq!(heard(&mut network, &mut a), [17, 33, 36, 36], "it is offered what is too much");
    assert_eq!(ended(&network), [0, 0, 1]);
    check_end(network, &[&a, &b]);
}

/// Nobody is silent who could not be asked.
#[test]
fn nobody_is_pinged_behind_a_cork() {
    let mut network = held(|settings| {
        settings.timeouts.ping_interval_ms = 30;
        settings.timeouts.ping_timeout_ms = 20;
    });
    let mut a = join(&mut network);
    subscribe(&mut network, &a, 1, "com.x");
    for _ in 1..VISIBLE_MS {
        network.advance(1);
        assert_eq!(heard(&mut network, &mut a), [0; 0]);
    }
    network.advance(1);
    network.settle();
    let bytes = network.read(a.pipe, usize::MAX);
    a.link.feed(&bytes);
    assert!(matches!(a.link.next(), Some(Incoming::Ping(_))), "it is pinged now");
    assert!(matches!(a.link.next(), Some(Incoming::Message(said)) if said[0] == 33));
    network.advance(19);
    assert_eq!(network.router.snapshot().keepalive_timeouts, 0);
    network.advance(1);
    assert_eq!(network.router.snapshot().keepalive_timeouts, 1);
    check_end(network, &[&a]);
}

#[test]
fn a_session_that_ends_leaves_no_cork() {
    let mut network = held(|_| {});
    let [mut a, b, mut c] = [(); 3].map(|()| join(&mut network));
    for peer in [&a, &b, &c] {
        subscribe(&mut network, peer, 1, "com.x");
    }
    a.say(&mut network, &json!([6, {}, "wamp.close.normal"]));
    assert_eq!(heard(&mut network, &mut a), [33, 6]);
    network.lose(b.pipe);
    network.settle();
    network.begin_drain(0);
    network.settle();
    let bytes = network.read(c.pipe, usize::MAX);
    c.link.feed(&bytes);
    assert!(c.link.next().is_some(), "a drain ends the cork");
    assert_eq!((network.shard(0).corks().now, ended(&network)), (0, [0; 3]));
    while !network.links.gateway.asked.is_empty() {
        network.confirm(0);
    }
    check_end(network, &[&a, &c]);
}
