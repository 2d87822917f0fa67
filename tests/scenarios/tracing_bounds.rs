//! What traces cost at most: work, bytes, and lines. Everything is counted in units and in bytes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::json;
use stentor::limits::TurnLimits;
use stentor::shard::{
    MOST_KEPT_BYTES, MOST_TEXT_BYTES, MOST_TRACES, PATIENCE_MS, TraceFilter, TraceRequest,
};
use stentor::wamp::SessionId;

use super::peer::{Peer, network, pipeline};
use crate::support::{Network, Serializer};

/// More than one indivisible piece of work takes here: a read full of small messages, and what one
/// message and its record cost.
const PIECE_UNITS: u64 = 2_000;

fn request(number: u64, place: usize, filter: TraceFilter) -> Arc<TraceRequest> {
    let place = u8::try_from(place).expect("few traces");
    let order = AtomicU64::default();
    Arc::new(TraceRequest { number, place, filter, rate: 1_000, payload_bytes: 4_096, order })
}

/// Every trace that there may be, of everything.
fn trace_everything(network: &mut Network) -> Vec<Arc<TraceRequest>> {
    let number = |place: usize| place as u64 + 1;
    let all = (0..MOST_TRACES).map(|place| request(number(place), place, TraceFilter::default()));
    let all: Vec<_> = all.collect();
    all.iter().for_each(|trace| drop(network.fetch_trace(trace, 60_000)));
    all
}

fn turn_until_rest(network: &mut Network) {
    while (0..network.shard_count()).any(|shard| network.is_busy(shard))
        || !network.mail_routes().is_empty()
    {
        (0..network.shard_count()).for_each(|shard| network.turn(shard));
        for route in network.mail_routes() {
            network.deliver_mail(route);
        }
    }
}

fn check_steps(network: &Network) {
    for shard in 0..network.shard_count() {
        let longest = network.shard(shard).longest_step();
        let most = u64::from(TurnLimits::default().step_units) + PIECE_UNITS;
        assert!(longest <= most, "{longest} units in a step");
    }
}

/// A flood to many receivers, all of it traced four times with its payload: steps are as long as
/// ever, what is kept is bounded, what is left out is counted, and everybody gets everything.
#[test]
fn a_trace_of_everything_under_a_flood_is_bounded() {
    const RECEIVERS: usize = 300;
    const EVENTS: usize = 200;
    let mut network = network(2);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut peers: Vec<_> = (0..RECEIVERS)
        .map(|number| Peer::join(&mut network, number % 2, Serializer::ALL[number % 3]))
        .collect();
    for peer in &mut peers {
        peer.say(&mut network, &json!([32, 1, {}, "com.x"]));
        peer.hear(&mut network);
    }
    let traces = trace_everything(&mut network);
    let payload = "\u{1}".repeat(1_000);
    let publish = |request| json!([16, request, {}, "com.x", [payload]]);
    pipeline(&mut network, &publisher, (1..=EVENTS).map(publish));
    turn_until_rest(&mut network);
    check_steps(&network);
    for peer in &mut peers {
        assert_eq!(peer.read(&mut network).len(), EVENTS, "every event comes");
    }
    for shard in 0..2 {
        let kept = network.shard(shard).traced_bytes();
        assert!(kept <= MOST_TRACES * MOST_KEPT_BYTES, "{kept} bytes are kept");
        assert!(kept > MOST_KEPT_BYTES, "the bound is reached: {kept}");
    }
    for trace in &traces {
        let haul = network.fetch_trace(trace, 60_000);
        let seen = haul.records.len() as u64 + haul.lost + haul.left_out;
        assert_eq!(seen, (EVENTS + EVENTS * RECEIVERS) as u64, "each message counts once");
        assert!(haul.lost > 0 && haul.left_out > 0);
        assert!(haul.records.len() <= 2 * 1_000, "a second of both shards");
    }
    assert!((0..2).all(|shard| network.shard(shard).traced_bytes() == 0), "it is taken");
}

/// Calls and refusals, by which clients make the router say much.
#[test]
fn a_flood_of_requests_is_bounded() {
    let mut network = network(1);
    let mut client = Peer::join(&mut network, 0, Serializer::MsgPack);
    let traces = trace_everything(&mut network);
    let long = "x".repeat(900);
    let call = |request| json!([48, request, {}, format!("com.{long}"), [[]]]);
    pipeline(&mut network, &client, (1..=3_000).map(call));
    turn_until_rest(&mut network);
    check_steps(&network);
    assert_eq!(client.read(&mut network).len(), 3_000, "each is answered");
    let haul = network.fetch_trace(&traces[0], 60_000);
    assert_eq!(haul.records.len() as u64 + haul.lost + haul.left_out, 6_000);
    let uri = haul.records[0].about.uri.as_deref().expect("it names a procedure");
    assert_eq!(uri.len(), MOST_TEXT_BYTES);
}

/// What a trace is not of costs a look, whatever it is of.
#[test]
fn what_is_not_traced_leaves_nothing() {
    let mut network = network(1);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut subscriber = Peer::join(&mut network, 0, Serializer::Json);
    subscriber.say(&mut network, &json!([32, 1, {}, "com.x"]));
    subscriber.hear(&mut network);
    let session = SessionId::new(subscriber.session.wrapping_add(1));
    let filters = [
        TraceFilter { session, ..TraceFilter::default() },
        TraceFilter { uri: Some("com.y".into()), ..TraceFilter::default() },
        TraceFilter { authid: Some("nobody".into()), ..TraceFilter::default() },
    ];
    let traces: Vec<_> = (0..).zip(filters).map(|(place, it)| request(9, place, it)).collect();
    traces.iter().for_each(|trace| drop(network.fetch_trace(trace, 60_000)));
    let publish = |request| json!([16, request, {}, "com.x", [1]]);
    pipeline(&mut network, &publisher, (1..=50).map(publish));
    assert_eq!(subscriber.hear(&mut network).len(), 50);
    for trace in &traces {
        let haul = network.fetch_trace(trace, 60_000);
        assert!(haul.records.is_empty() && haul.left_out == 0 && haul.delivered.is_empty());
    }
}

/// Its time, its operator, and the next one in its place end a trace.
#[test]
fn a_trace_ends_in_four_ways() {
    let mut network = network(2);
    let everything = |number| request(number, 0, TraceFilter::default());
    let traced =
        |network: &Network| (0..2).map(|it| network.shard(it).is_traced()).collect::<Vec<_>>();
    assert_eq!(traced(&network), [false; 2]);
    let first = everything(1);
    network.fetch_trace(&first, 3 * PATIENCE_MS);
    assert_eq!(traced(&network), [true; 2]);
    network.end_trace(2);
    assert_eq!(traced(&network), [true; 2], "that is another one");
    network.end_trace(1);
    assert_eq!(traced(&network), [false; 2]);
    // Nobody asks for it.
    network.fetch_trace(&first, 3 * PATIENCE_MS);
    network.advance(PATIENCE_MS - 1);
    assert_eq!(traced(&network), [true; 2]);
    network.advance(1);
    assert_eq!(traced(&network), [false; 2]);
    // Its time is over, although somebody asks.
    network.fetch_trace(&first, 2_000);
    network.advance(1_000);
    network.fetch_trace(&first, 60_000);
    network.advance(1_000);
    assert_eq!(traced(&network), [false; 2]);
    // Another one has its place.
    network.fetch_trace(&first, 60_000);
    let peer = Peer::join(&mut network, 0, Serializer::Json);
    let second = everything(2);
    assert!(network.fetch_trace(&second, 60_000).records.is_empty());
    peer.say(&mut network, &json!([16, 1, {}, "com.x", [1]]));
    network.settle();
    assert_eq!(network.fetch_trace(&second, 60_000).records.len(), 1);
}
