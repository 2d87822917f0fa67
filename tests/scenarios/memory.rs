//! What clients can make the router hold, all together, and whom it refuses or ends for it.
//!
//! Counted in bytes of memory. `bounds` has what one client alone can cost.

use serde_json::json;
use stentor::limits::HELD_FRACTION;

use super::peer::{Peer, network_with, pipeline};
use crate::support::{Network, Serializer};

const MIB: usize = 1024 * 1024;

/// Subscribes to so many patterns that all match `com.x.` and what follows it.
fn subscribe_to_prefixes(network: &mut Network, peer: &mut Peer, count: usize) {
    let topic = format!("com.{}", "x".repeat(count));
    let subscribe = |n: usize| json!([32, n, {"match": "prefix"}, &topic[..4 + n]]);
    pipeline(network, peer, (1..=count).map(subscribe));
    assert_eq!(peer.hear(network).len(), count);
}

/// Who publishes to many patterns, leaves and comes again fills no memory: over the total the large
/// ones are refused, and small ones of others still pass.
#[test]
fn publications_of_those_who_leave_have_a_total() {
    let limit = 400_000;
    for shards in [1, 2] {
        let settings = |settings: &mut stentor::router::Settings| {
            settings.limits.held_total_bytes = limit;
            settings.turn.arena_bytes = 16 * 1024;
        };
        let mut network = network_with(settings, shards);
        let mut subscriber = Peer::join(&mut network, shards - 1, Serializer::Json);
        subscribe_to_prefixes(&mut network, &mut subscriber, 60);
        let mut bystander = Peer::join(&mut network, 0, Serializer::Json);
        let topic = format!("com.{}", "x".repeat(60));
        let large = "y".repeat(30_000);
        let mut refused = 0;
        for _ in 0..40 {
            let mut attacker = Peer::join_in_haste(&mut network, 0, Serializer::Json);
            attacker.say(&mut network, &json!([16, 1, {"acknowledge": true}, topic, [large]]));
            let mut heard = Vec::new();
            for _ in 0..200 {
                network.turn(0);
                heard = attacker.read(&mut network);
                if !heard.is_empty() {
                    break;
                }
            }
            assert_eq!(heard.len(), 1, "PUBLISHED or ERROR");
            refused += heard.iter().filter(|m| m[4] == "wamp.error.resource_limit").count();
            network.lose(attacker.pipe);
            let held = network.router.held_bytes();
            assert!(held <= limit, "{held} bytes are held");
            network.check_invariants();
        }
        assert!(refused > 10, "{refused} of 40 were refused");
        let held = network.router.held_bytes();
        assert!(held > limit - HELD_FRACTION * 40_000, "only {held} bytes are held");
        bystander.say(&mut network, &json!([16, 1, {"acknowledge": true}, topic, ["small"]]));
        (0..20).for_each(|_| network.turn(0));
        assert_eq!(bystander.read(&mut network)[0][0], 17, "PUBLISHED");
        let heard = subscriber.hear(&mut network);
        assert_eq!(heard.len(), (41 - refused) * 60, "what was accepted comes");
        assert_eq!(network.router.held_bytes(), 0);
    }
}

/// Slow is who has refused bytes: what others were not offered yet ends nobody.
#[test]
fn bytes_that_no_socket_was_offered_end_nobody() {
    let settings = |settings: &mut stentor::router::Settings| {
        settings.output.total_bytes = 2 * MIB;
    };
    let mut network = network_with(settings, 1);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut reader = Peer::join(&mut network, 0, Serializer::Json);
        reader.say(&mut network, &json!([32, 1, {}, "com.x"]));
        reader.hear(&mut network);
        readers.push(reader);
    }
    // This one's socket takes a little less than it is offered, once.
    network.links.pipes[readers[0].pipe].capacity = 250_000;
    publisher.say(&mut network, &json!([16, 1, {}, "com.x", ["x".repeat(300_000)]]));
    network.settle();
    assert_eq!(network.router.snapshot().slow_consumers_disconnected, 0);
    network.links.pipes[readers[0].pipe].capacity = usize::MAX;
    for reader in &mut readers {
        network.wake(reader.pipe);
        assert_eq!(reader.hear(&mut network).len(), 1);
    }
}

/// Whom the router keeps waiting for the sake of others does not pay for those who keep it waiting.
#[test]
fn a_parked_publisher_is_not_ended_for_what_others_leave_incomplete() {
    let settings = |settings: &mut stentor::router::Settings| {
        settings.limits.input_total_bytes = 100_000;
        settings.turn.step_units = 1_000;
    };
    let mut network = network_with(settings, 1);
    let mut subscriber = Peer::join(&mut network, 0, Serializer::Json);
    subscribe_to_prefixes(&mut network, &mut subscriber, 200);
    let mut publisher = Peer::join(&mut network, 0, Serializer::Json);
    let topic = format!("com.{}", "x".repeat(200));
    let payload = "y".repeat(20_000);
    let publish = |request: u32| json!([16, request, {}, topic, [payload]]);
    pipeline(&mut network, &publisher, (1..=3).map(publish));
    network.turn(0);
    assert!(network.router.snapshot().input_bytes > 40_000, "the next ones wait for the first");
    network.advance(10);
    for _ in 0..3 {
        let attacker = Peer::join_in_haste(&mut network, 0, Serializer::Json);
        let message = attacker.link.message(&json!([16, 1, {}, "com.y", ["x".repeat(500_000)]]));
        network.push(attacker.pipe, &message[..50_000]);
        (0..10).for_each(|_| network.turn(0));
        network.advance(10);
    }
    assert!(network.router.held_bytes() > 0, "the first one is still being delivered");
    assert!(network.router.snapshot().incomplete_disconnected > 0, "somebody had to go");
    assert_eq!(subscriber.hear(&mut network).len(), 600, "but not the publisher");
    publisher.say(&mut network, &json!([34, 4, 1]));
    assert_eq!(publisher.hear(&mut network).len(), 1);
}

/// A publication costs its publisher the patterns that are looked up for it, too.
#[test]
fn look_ups_of_patterns_are_work() {
    let taken = |patterns: u32| {
        let mut network = network_with(|_| {}, 1);
        let mut hoarder = Peer::join(&mut network, 0, Serializer::Json);
        let pattern = |mask: u32| {
            let part = |bit: u32| if mask >> bit & 1 == 1 { "" } else { "other" };
            (0..8).map(part).collect::<Vec<_>>().join(".")
        };
        let subscribe = |mask: u32| json!([32, mask + 1, {"match": "wildcard"}, pattern(mask)]);
        pipeline(&mut network, &hoarder, (0..patterns).map(subscribe));
        assert_eq!(hoarder.hear(&mut network).len(), patterns as usize);
        let publisher = Peer::join(&mut network, 0, Serializer::Json);
        let publish = |request: u32| json!([16, request, {}, "a.b.c.d.e.f.g.h", []]);
        pipeline(&mut network, &publisher, (1..=500).map(publish));
        network.take_in(0);
        network.router.snapshot().publications
    };
    let (few, many) = (taken(1), taken(255));
    assert_eq!(few, 500);
    assert!(many < 300, "{many} in one step");
    assert!(many * 255 > 20_000, "{many} in one step");
}
