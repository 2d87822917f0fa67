//! Clients whose messages are compressed, where a dialogue does not show it: what is compressed how
//! often, what it costs whom, and that events can be dropped (RFC 7692, TR-WS-07).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stentor::limits::{SlowConsumerPolicy, TurnLimits};
use stentor::router::Settings;
use stentor::shard::Admission;

use super::peer::{Peer, network, network_with};
use crate::support::{Carrier, Link, Network, Serializer};

fn join(network: &mut Network, serializer: Serializer, separator: Option<u8>) -> Peer {
    let mut link = Link::new(Carrier::WebSocket, serializer);
    (link.separator, link.deflate) = (separator, true);
    let pipe = network.connect(0, Admission::Welcome, usize::MAX);
    network.receive(pipe, &link.greeting());
    let mut peer = Peer { pipe, link, session: 0 };
    let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
    peer.say(network, &json!([1, "realm1", { "roles": roles }]));
    assert_eq!(peer.hear(network)[0][0], json!(2));
    peer
}

fn subscriber(network: &mut Network, serializer: Serializer, separator: Option<u8>) -> Peer {
    let mut peer = join(network, serializer, separator);
    peer.say(network, &json!([32, 1, {}, "com.x"]));
    peer.hear(network);
    peer.link.inflated = 0;
    peer
}

fn blob(length: usize) -> String {
    "some words that come again, ".repeat(length / 28 + 1)[..length].to_owned()
}

fn publish(request: u64, blob: &str) -> Value {
    json!([16, request, {}, "com.x", [request, blob]])
}

/// An event is compressed once for all receivers of a serializer, batched or not; the others get it
/// as it is.
#[test]
fn an_event_is_compressed_once() {
    for separator in [None, Some(0x1E)] {
        let mut network = network(1);
        let publisher = Peer::join(&mut network, 0, Serializer::MsgPack);
        let mut peers: Vec<_> = (0..60)
            .map(|number| subscriber(&mut network, Serializer::ALL[number % 3], separator))
            .collect();
        let mut plain = Peer::join(&mut network, 0, Serializer::Json);
        plain.say(&mut network, &json!([32, 1, {}, "com.x"]));
        plain.hear(&mut network);
        let before = network.router.snapshot();
        let blob = blob(1_024);
        publisher.say(&mut network, &publish(1, &blob));
        for peer in &mut peers {
            let heard = peer.hear(&mut network);
            assert_eq!((heard.len(), &heard[0][4]), (1, &json!([1, blob])));
            assert_eq!(peer.link.inflated, 1, "{separator:?}");
        }
        assert_eq!(plain.hear(&mut network)[0][4], json!([1, blob]));
        let after = network.router.snapshot();
        let sent = after.bytes_sent - before.bytes_sent;
        assert!(sent < 61 * 400 + 1_100, "{sent} B are sent");
        let plain_bytes = after.deflated_plain_bytes - before.deflated_plain_bytes;
        let messages = after.deflated_messages - before.deflated_messages;
        // The batches that are the same are counted each time that they go out.
        let times = if separator.is_some() { 20 } else { 1 };
        assert_eq!(messages, 3 * times, "{separator:?}");
        assert!((3 * times * 1_024..3 * times * 1_124).contains(&plain_bytes), "{plain_bytes}");
        let compressed = after.deflated_bytes - before.deflated_bytes;
        assert!(compressed < plain_bytes / 4, "{compressed} B of {plain_bytes}");
    }
}

/// What is short goes as it is, and so does what gets no shorter.
#[test]
fn only_what_gains_is_compressed() {
    let mut network = network(1);
    let publisher = Peer::join(&mut network, 0, Serializer::Cbor);
    let mut peer = subscriber(&mut network, Serializer::Cbor, None);
    let mut state = 7u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(900)
    .collect();
    // Binary, as the tests write it.
    let noise = format!("\0{}", STANDARD.encode(noise));
    for (number, (payload, is_compressed)) in
        [(blob(300), false), (noise, false), (blob(600), true)].into_iter().enumerate()
    {
        publisher.say(&mut network, &json!([16, number + 1, {}, "com.x", [payload]]));
        assert_eq!(peer.hear(&mut network)[0][4], json!([payload]));
        let inflated = std::mem::take(&mut peer.link.inflated);
        assert_eq!(inflated, u64::from(is_compressed), "{number}");
    }
}

/// A large answer is compressed for its caller alone.
#[test]
fn answers_are_compressed() {
    let mut network = network(1);
    let mut callee = join(&mut network, Serializer::Json, None);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    callee.hear(&mut network);
    let mut caller = join(&mut network, Serializer::Cbor, Some(0));
    caller.say(&mut network, &json!([48, 1, {}, "com.p", []]));
    let invocation = callee.hear(&mut network)[0].clone();
    let large = blob(100_000);
    callee.say(&mut network, &json!([70, invocation[1], {}, [large]]));
    let before = network.router.snapshot().bytes_sent;
    let inflated = caller.link.inflated;
    assert_eq!(caller.hear(&mut network)[0][3], json!([large]));
    assert_eq!(caller.link.inflated, inflated + 1);
    let sent = network.router.snapshot().bytes_sent - before;
    assert!(sent < 10_000, "{sent} B");
}

/// Who sends what inflates to much pays for it: others have their turn in between.
#[test]
fn what_is_inflated_costs_its_sender_a_turn() {
    let mut network = network(1);
    let peer = join(&mut network, Serializer::Json, None);
    let before = network.router.snapshot().inflated_plain_bytes;
    // A third of what the tests' clients send goes as it is, by its length.
    let is_compressed = |length: &usize| {
        let message = json!([16, 10, {}, "com.nobody", ["x".repeat(*length)]]);
        peer.link.message(&message).len() < 5_000
    };
    let length = (500_000..500_003).find(is_compressed).expect("two of them are");
    let message = |request| json!([16, request, {}, "com.nobody", ["x".repeat(length)]]);
    let bytes: Vec<u8> = (10..30).flat_map(|it| peer.link.message(&message(it))).collect();
    assert!(bytes.len() < 100_000, "{} B stand for much", bytes.len());
    network.push(peer.pipe, &bytes);
    let most = TurnLimits::default().turn_units as u64 * 64 / 4 + 1_000_000;
    let mut inflated = before;
    for turn in 0.. {
        network.turn(0);
        let now = network.router.snapshot().inflated_plain_bytes;
        assert!(now - inflated <= most, "{} B in a turn", now - inflated);
        inflated = now;
        if inflated >= before + 20 * 500_000 {
            assert!(turn >= 3, "{turn} turns");
            break;
        }
    }
    network.settle();
}

/// Compressing costs more than writing, so a turn compresses less than it would write.
#[test]
fn what_is_compressed_has_its_part_of_a_turn() {
    for separator in [None, Some(0x1E)] {
        let mut network = network(1);
        let mut peer = subscriber(&mut network, Serializer::Json, separator);
        let publisher = Peer::join(&mut network, 0, Serializer::Json);
        let blob = blob(10_000);
        let frames: Vec<u8> =
            (1..=100).flat_map(|it| publisher.link.message(&publish(it, &blob))).collect();
        network.push(publisher.pipe, &frames);
        let (mut before, mut heard) = (network.router.snapshot().deflated_plain_bytes, 0);
        for _ in 0..100 {
            network.turn(0);
            let now = network.router.snapshot().deflated_plain_bytes;
            let most = (TurnLimits::default().arena_bytes / 8 + 100_000) as u64;
            assert!(now - before <= most, "{} B in a turn, {separator:?}", now - before);
            before = now;
            heard += peer.read(&mut network).len();
        }
        network.settle();
        assert_eq!(heard + peer.read(&mut network).len(), 100);
    }
}

/// Whole events are dropped, each by itself, and counted.
#[test]
fn a_slow_consumer_loses_whole_events() {
    for separator in [None, Some(0x18)] {
        let narrow = |settings: &mut Settings| {
            settings.output.hard_bytes = 2_000;
            settings.output.policy = SlowConsumerPolicy::DropOldest;
            settings.output.deflate_min_bytes = 100;
        };
        let mut network = network_with(narrow, 1);
        let publisher = Peer::join(&mut network, 0, Serializer::Json);
        let mut peer = subscriber(&mut network, Serializer::Json, separator);
        network.links.pipes[peer.pipe].capacity = 100;
        let blob = blob(1_000);
        for request in 1..=60 {
            publisher.say(&mut network, &publish(request, &blob));
            network.settle();
        }
        let dropped = network.router.snapshot().events_dropped_slow;
        network.links.pipes[peer.pipe].capacity = usize::MAX;
        network.wake(peer.pipe);
        let events = peer.hear(&mut network);
        let numbers: Vec<_> = events.iter().filter_map(|event| event[4][0].as_u64()).collect();
        assert!(numbers.is_sorted() && dropped > 5, "{numbers:?}, {dropped} are dropped");
        assert_eq!(numbers.len() as u64 + dropped, 60, "{numbers:?}");
        assert!(peer.link.inflated > 0);
        assert_eq!(network.router.snapshot().output_bytes, 0);
    }
}
