//! What one client can cost: work, bytes, and who is made to pay (the worst that limits allow).
//!
//! Everything is counted in units of work and in bytes, never in time.

use serde_json::{Value, json};
use stentor::limits::{OutputLimits, SlowConsumerPolicy, TurnLimits};
use stentor::router::{HistorySettings, Identity, RealmSettings, Settings};
use stentor::shard::Admission;
use stentor::wamp::{MatchPolicy, PayloadBuf, SessionId};

use super::peer::{Peer, network, network_with, pipeline};
use crate::support::{Incoming, Network, Serializer};

const MIB: usize = 1024 * 1024;

/// More than one indivisible piece of work takes: reading a message of 1 MiB, or one look-up.
const PIECE_UNITS: u64 = 40_000;

/// Turns of all shards until they rest. Between the halves of each turn `look` sees the shard.
fn turns(network: &mut Network, mut look: impl FnMut(&Network, usize)) {
    while (0..network.shard_count()).any(|shard| network.is_busy(shard))
        || !network.mail_routes().is_empty()
    {
        for shard in 0..network.shard_count() {
            network.take_in(shard);
            look(network, shard);
            network.give_out(shard, true);
        }
        for route in network.mail_routes() {
            network.deliver_mail(route);
        }
    }
}

/// As [`turns`], and in none of them more is made than a turn may, and no step is too long.
fn bounded_turns(network: &mut Network, largest_frame: usize) {
    let limits = TurnLimits::default();
    turns(network, |network, shard| {
        let made = network.shard(shard).turn_bytes();
        assert!(made <= limits.arena_bytes + largest_frame, "{made} bytes in one turn");
    });
    for shard in 0..network.shard_count() {
        let longest = network.shard(shard).longest_step();
        let piece = PIECE_UNITS + largest_frame as u64 / 64;
        assert!(longest <= u64::from(limits.step_units) + piece, "{longest} units in a step");
    }
}

/// The events among what a peer has heard, and nothing else.
fn events(heard: &[Value]) -> usize {
    assert!(heard.iter().all(|message| message[0] == 36), "{:?}", heard.first());
    heard.len()
}

/// A retained string that grows on the way to JSON, asked for by a read full of requests.
#[test]
fn requests_for_a_retained_event_that_grows_make_one_turn_each() {
    let mut network = network(1);
    let publisher = Peer::join(&mut network, 0, Serializer::MsgPack);
    let mut greedy = Peer::join(&mut network, 0, Serializer::Json);
    let bomb = "\u{1}".repeat(MIB - 100);
    publisher.say(&mut network, &json!([16, 1, {"retain": true}, "com.bomb", [bomb]]));
    network.settle();
    let subscribe = |request| json!([32, request, {"get_retained": true}, "com.bomb"]);
    pipeline(&mut network, &greedy, (1..=30).map(subscribe));
    bounded_turns(&mut network, 6 * MIB);
    let heard = greedy.read(&mut network);
    assert!(heard.iter().any(|message| message[0] == 36), "the retained event comes");
    assert_eq!(network.router.snapshot().slow_consumers_disconnected, 0);
}

/// Patterns of one session that all match one topic of eight components.
fn subscribe_to_all(network: &mut Network, peer: &mut Peer) -> usize {
    let parts = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let pattern = |mask: u32| {
        let part =
            |(bit, part): (usize, &&'static str)| if mask >> bit & 1 == 1 { "" } else { *part };
        parts.iter().enumerate().map(part).collect::<Vec<_>>().join(".")
    };
    let subscribe = |mask: u32| json!([32, mask + 1, {"match": "wildcard"}, pattern(mask)]);
    pipeline(network, peer, (0..256).map(subscribe));
    let heard = peer.hear(network);
    assert!(heard.iter().all(|message| message[0] == 33), "{:?}", heard.first());
    heard.len()
}

/// One publication crosses to another shard once, whatever it matches there.
#[test]
fn a_publication_on_many_subscriptions_crosses_once() {
    let mut network = network(2);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut subscriber = Peer::join(&mut network, 1, Serializer::MsgPack);
    let patterns = subscribe_to_all(&mut network, &mut subscriber);
    let payload = "x".repeat(100_000);
    publisher.say(&mut network, &json!([16, 1, {}, "a.b.c.d.e.f.g.h", [payload]]));
    let under_way = network.links.queued_bytes(1);
    assert!(under_way < 300_000, "{under_way} bytes for {patterns} subscriptions");
    // The publisher's next one waits until this one is delivered.
    publisher.say(&mut network, &json!([16, 2, {}, "a.b.c.d.e.f.g.h", [2]]));
    bounded_turns(&mut network, 110_000);
    let heard = subscriber.read(&mut network);
    assert_eq!(events(&heard), 2 * patterns);
    assert!(heard[..patterns].iter().all(|event| event[4] != json!([2])), "in order");
}

/// Also where events are dropped instead, and on one shard.
#[test]
fn many_large_events_for_one_session_are_made_a_turn_at_a_time() {
    for policy in [SlowConsumerPolicy::DropNewest, SlowConsumerPolicy::DropOldest] {
        let mut network = network_with(|settings| settings.output.policy = policy, 1);
        let publisher = Peer::join(&mut network, 0, Serializer::Json);
        let mut subscriber = Peer::join(&mut network, 0, Serializer::Json);
        let patterns = subscribe_to_all(&mut network, &mut subscriber);
        network.links.pipes[subscriber.pipe].capacity = MIB;
        let payload = "x".repeat(100_000);
        publisher.say(&mut network, &json!([16, 1, {}, "a.b.c.d.e.f.g.h", [payload]]));
        bounded_turns(&mut network, 110_000);
        let waiting = network.router.snapshot().output_bytes as usize;
        assert!(waiting <= OutputLimits::default().hard_bytes, "{waiting} bytes wait");
        network.links.pipes[subscriber.pipe].capacity = usize::MAX;
        network.wake(subscriber.pipe);
        let heard = events(&subscriber.hear(&mut network));
        let dropped = network.router.snapshot().events_dropped_slow as usize;
        assert_eq!(heard + dropped, patterns);
        assert!(dropped > 0);
    }
}

/// Slow is who has refused bytes: not who was not offered them yet.
#[test]
fn who_reads_without_pause_is_never_slow() {
    let payload = "x".repeat(MIB - 1_000);
    // Nine of one publication.
    let mut network = network(2);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut subscriber = Peer::join(&mut network, 1, Serializer::Json);
    for request in 1..=9 {
        let prefix = &"com.topic"[..request];
        subscriber.say(&mut network, &json!([32, request, {"match": "prefix"}, prefix]));
    }
    subscriber.hear(&mut network);
    publisher.say(&mut network, &json!([16, 1, {}, "com.topic", [payload]]));
    assert_eq!(events(&subscriber.hear(&mut network)), 9);
    // One of each of ten publishers, which all come with one turn of another shard.
    let publishers: Vec<_> =
        (0..10).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    let mut subscriber = Peer::join(&mut network, 1, Serializer::Json);
    subscriber.say(&mut network, &json!([32, 1, {}, "org.y"]));
    subscriber.hear(&mut network);
    for publisher in &publishers {
        pipeline(&mut network, publisher, [json!([16, 1, {}, "org.y", [payload]])].into_iter());
    }
    assert_eq!(events(&subscriber.hear(&mut network)), 10);
    // And six hundred smaller ones at once.
    let mut subscriber = Peer::join(&mut network, 1, Serializer::Json);
    subscriber.say(&mut network, &json!([32, 1, {}, "org.x"]));
    subscriber.hear(&mut network);
    for publisher in &publishers {
        let publish = |request| json!([16, request, {}, "org.x", ["y".repeat(60_000)]]);
        pipeline(&mut network, publisher, (2..62).map(publish));
    }
    assert_eq!(events(&subscriber.hear(&mut network)), 600);
    assert_eq!(network.router.snapshot().slow_consumers_disconnected, 0);
}

/// The total holds within a turn, too: the frames of one turn fill many backlogs.
#[test]
fn the_total_of_output_holds_within_a_turn() {
    let total = 4 * MIB;
    let mut network = network_with(|settings| settings.output.total_bytes = total, 1);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let lazy: Vec<_> = (0..40)
        .map(|_| {
            let mut peer = Peer::join(&mut network, 0, Serializer::Json);
            peer.say(&mut network, &json!([32, 1, {"match": "prefix"}, "com"]));
            peer.say(&mut network, &json!([32, 2, {}, "com.x"]));
            peer.hear(&mut network);
            network.links.pipes[peer.pipe].capacity = 0;
            peer
        })
        .collect();
    let payload = "x".repeat(400_000);
    pipeline(&mut network, &publisher, [json!([16, 1, {}, "com.x", [payload]])].into_iter());
    turns(&mut network, |network, _| {
        let waiting = network.router.snapshot().output_bytes as usize;
        // What lies in the arena is there once, however many wait for it.
        let shared = 40 * 2 * 400_100;
        assert!(waiting <= total + shared, "{waiting} bytes");
    });
    let waiting = network.router.snapshot().output_bytes as usize;
    assert!(waiting <= total + 400_100, "{waiting} bytes wait in the end");
    assert!(network.router.snapshot().slow_consumers_disconnected > 20);
    drop(lazy);
}

/// A callee that is busy is none of its callers' victims.
#[test]
fn calls_that_do_not_fit_come_back_to_their_caller() {
    let mut network = network(2);
    let mut callee = Peer::join(&mut network, 0, Serializer::Json);
    let mut flooder = Peer::join(&mut network, 1, Serializer::Json);
    let mut bystander = Peer::join(&mut network, 1, Serializer::Json);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    callee.hear(&mut network);
    network.links.pipes[callee.pipe].capacity = 2 * MIB;
    let payload = "x".repeat(900_000);
    pipeline(&mut network, &flooder, (1..=40).map(|id| json!([48, id, {}, "com.p", [payload]])));
    bystander.say(&mut network, &json!([48, 1, {}, "com.p", ["small"]]));
    network.settle();
    let refused = flooder.read(&mut network);
    assert!(refused.len() > 20, "{} of 40 came back", refused.len());
    assert!(refused.iter().all(|error| error[4] == "wamp.error.resource_limit"));
    network.links.pipes[callee.pipe].capacity = usize::MAX;
    network.wake(callee.pipe);
    let invocations = callee.hear(&mut network);
    assert_eq!(invocations.len(), 41 - refused.len());
    for invocation in &invocations {
        callee.say(&mut network, &json!([70, invocation[1], {}, ["done"]]));
    }
    assert_eq!(flooder.hear(&mut network).len(), 40 - refused.len());
    assert_eq!(bystander.hear(&mut network), [json!([50, 1, {}, ["done"]])]);
}

/// A read full of pings is answered, and costs as much as its bytes.
#[test]
fn a_flood_of_pings_is_answered_at_once() {
    let mut network = network(1);
    let peer = Peer::join(&mut network, 0, Serializer::Json);
    network.settle();
    let before = network.shard(0).frames_coalesced();
    let pings = peer.link.ping(b"").repeat(10_000);
    network.push(peer.pipe, &pings);
    bounded_turns(&mut network, 0);
    let pongs = network.read(peer.pipe, usize::MAX);
    assert_eq!(pongs.len(), 2 * 10_000, "each is two bytes");
    let queued = network.shard(0).frames_coalesced() - before;
    assert!(queued < 50, "{queued} times something was queued");
}

/// A session that holds much leaves in pieces, and others are served in between.
#[test]
fn a_session_that_holds_much_leaves_in_pieces() {
    let mut network = network(1);
    let mut hoarder = Peer::join(&mut network, 0, Serializer::Json);
    let mut other = Peer::join(&mut network, 0, Serializer::Json);
    pipeline(
        &mut network,
        &hoarder,
        (1..=10_000).map(|id| json!([32, id, {}, format!("com.{id}")])),
    );
    assert_eq!(hoarder.hear(&mut network).len(), 10_000);
    network.lose(hoarder.pipe);
    assert!(network.shard(0).has_jobs(), "it has not given back everything");
    other.say(&mut network, &json!([48, 1, {}, "wamp.session.count"]));
    network.give_out(0, true);
    assert!(network.shard(0).has_jobs(), "it still has not");
    assert_eq!(other.read(&mut network), [json!([50, 1, {}, [1]])]);
    bounded_turns(&mut network, 0);
    assert_eq!(network.router.snapshot().subscriptions, 0);
}

/// Whose requests are the costly ones waits first.
#[test]
fn costly_requests_make_only_their_sender_wait() {
    let mut network = network(1);
    let hostile: Vec<_> = (0..20).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    let mut hoarder = Peer::join(&mut network, 0, Serializer::Json);
    let mut victim = Peer::join(&mut network, 0, Serializer::Json);
    pipeline(
        &mut network,
        &hoarder,
        (1..=9_000).map(|id| json!([32, id, {}, format!("com.{id}")])),
    );
    hoarder.hear(&mut network);
    let list = |request| json!([48, request, {}, "wamp.subscription.list"]);
    for peer in &hostile {
        pipeline(&mut network, peer, (1..=500).map(list));
    }
    // Everybody has had the first one for nothing after a while.
    for _ in 0..100 {
        network.turn(0);
    }
    victim.say(&mut network, &json!([48, 1, {}, "wamp.session.count"]));
    for _ in 0..5 {
        network.turn(0);
    }
    assert_eq!(victim.read(&mut network), [json!([50, 1, {}, [22]])]);
    let waiting = network.router.snapshot().output_bytes;
    assert!(waiting < 4 * MIB as u64, "{waiting} bytes wait");
}

/// Who asks for more than it reads is not read on, and is not ended for it.
#[test]
fn who_does_not_read_its_answers_is_not_read() {
    let settings = |settings: &mut Settings| settings.output.hard_bytes = MIB;
    let mut network = network_with(settings, 1);
    let mut hoarder = Peer::join(&mut network, 0, Serializer::Json);
    pipeline(
        &mut network,
        &hoarder,
        (1..=9_000).map(|id| json!([32, id, {}, format!("com.{id}")])),
    );
    hoarder.hear(&mut network);
    network.links.pipes[hoarder.pipe].capacity = 0;
    let list = |request| json!([48, request, {}, "wamp.subscription.list"]);
    pipeline(&mut network, &hoarder, (9_001..9_501).map(list));
    bounded_turns(&mut network, MIB);
    let waiting = network.router.snapshot().output_bytes as usize;
    assert!(waiting < 2 * MIB, "{waiting} bytes wait");
    network.links.pipes[hoarder.pipe].capacity = usize::MAX;
    network.wake(hoarder.pipe);
    let mut heard = 0;
    while heard < 500 {
        let more = hoarder.hear(&mut network);
        assert!(!more.is_empty() && more.iter().all(|message| message[0] == 50));
        heard += more.len();
    }
}

/// Messages that do not come whole have a total. The oldest go, and are told.
#[test]
fn incomplete_messages_have_a_total() {
    let mut network = network_with(|settings| settings.limits.input_total_bytes = 2 * MIB, 1);
    let mut peers = Vec::new();
    for _ in 0..10 {
        let peer = Peer::join(&mut network, 0, Serializer::Json);
        let message = peer.link.message(&json!([16, 1, {}, "com.x", ["x".repeat(400_000)]]));
        network.push(peer.pipe, &message[..300_000]);
        bounded_turns(&mut network, 1_000);
        network.advance(10);
        peers.push(peer);
        let held = network.router.snapshot().input_bytes as usize;
        assert!(held <= 2 * MIB, "{held} bytes are held");
    }
    let gone = network.router.snapshot().incomplete_disconnected;
    assert!((1..10).contains(&gone), "{gone} had to go");
    let heard = peers[0].read_all(&mut network);
    assert_eq!(
        heard.last().map(|abort| abort[2].clone()),
        Some(json!("wamp.error.resource_limit"))
    );
    assert!(peers[9].read_all(&mut network).is_empty(), "the newest stays");
}

/// What a large message needed is given back, also if a byte of the next one is there already.
#[test]
fn memory_of_a_large_message_is_given_back() {
    let mut network = network(1);
    let peer = Peer::join(&mut network, 0, Serializer::Json);
    let mut bytes = peer.link.message(&json!([16, 1, {}, "com.x", ["x".repeat(MIB - 100)]]));
    bytes.push(0x81);
    network.push(peer.pipe, &bytes);
    bounded_turns(&mut network, 0);
    let held = network.router.snapshot().input_bytes;
    assert!((1..10_000).contains(&held), "{held} bytes are held for one");
}

/// What is kept of calls that may be routed again is counted, and refused over the limit.
#[test]
fn calls_kept_for_rerouting_have_a_limit() {
    let limit = 3 * MIB;
    let mut network = network_with(|settings| settings.limits.kept_bytes_per_session = limit, 1);
    let features = json!({"features": {"call_reroute": true}});
    let mut callee =
        Peer::join_with(&mut network, 0, Serializer::Json, &json!({"callee": features}));
    let mut caller = Peer::join(&mut network, 0, Serializer::Json);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    callee.hear(&mut network);
    let payload = "x".repeat(1_000_000);
    for request in 1..=5 {
        caller.say(&mut network, &json!([48, request, {}, "com.p", [payload]]));
        network.settle();
        callee.read(&mut network);
    }
    let refused = caller.hear(&mut network);
    assert_eq!(refused.len(), 2, "three fit");
    assert!(refused.iter().all(|error| error[4] == "wamp.error.resource_limit"));
    let kept = network.router.snapshot().kept_bytes as usize;
    assert!((3_000_000..limit).contains(&kept), "{kept} bytes are kept");
    for invocation in 1..=3 {
        callee.say(&mut network, &json!([70, invocation, {}]));
    }
    network.settle();
    assert_eq!(network.router.snapshot().kept_bytes, 0);
}

/// Whom the router does not read it cannot hold silence against.
#[test]
fn a_pong_that_lies_unread_counts() {
    let mut network = network(2).with_high_mark(1_000);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut subscriber = Peer::join(&mut network, 1, Serializer::Json);
    subscriber.say(&mut network, &json!([32, 1, {}, "com.x"]));
    subscriber.hear(&mut network);
    publisher.say(&mut network, &json!([16, 1, {}, "com.x", ["x".repeat(5_000)]]));
    // The other shard does not get to it for a minute.
    publisher.say(&mut network, &json!([16, 2, {}, "com.x", [2]]));
    for _ in 0..12 {
        network.advance(5_000);
        network.push(publisher.pipe, &publisher.link.pong(b""));
        network.push(subscriber.pipe, &subscriber.link.pong(b""));
        (0..2).for_each(|shard| network.turn(shard));
    }
    assert_eq!(network.router.snapshot().keepalive_timeouts, 0);
    network.settle();
    let heard = subscriber.read_all(&mut network);
    assert_eq!(events(&heard), 2);
}

/// After a stall of the process, or in a turn that did not see all sockets, nobody is judged.
#[test]
fn nobody_is_judged_in_a_turn_that_saw_not_all() {
    let mut network = network(1);
    let _silent = Peer::join(&mut network, 0, Serializer::Json);
    network.advance(20_000);
    network.turn(0);
    network.sees_all = false;
    network.advance(11_000);
    network.turn(0);
    assert_eq!(network.router.snapshot().keepalive_timeouts, 0);
    network.sees_all = true;
    network.advance(1_000);
    network.turn(0);
    assert_eq!(network.router.snapshot().keepalive_timeouts, 1);
}

/// A peer that takes its output bit by bit is alive, though its answer to a ping is far behind.
#[test]
fn who_takes_its_output_is_not_silent() {
    let mut network = network(1);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut reader = Peer::join(&mut network, 0, Serializer::Json);
    reader.say(&mut network, &json!([32, 1, {}, "com.x"]));
    reader.hear(&mut network);
    network.links.pipes[reader.pipe].capacity = 10_000;
    publisher.say(&mut network, &json!([16, 1, {}, "com.x", ["x".repeat(900_000)]]));
    network.settle();
    for _ in 0..16 {
        network.advance(5_000);
        network.push(publisher.pipe, &publisher.link.pong(b""));
        network.turn(0);
        network.read(reader.pipe, 10_000);
        network.settle();
    }
    assert_eq!(network.router.snapshot().keepalive_timeouts, 0);
    assert_eq!(network.router.snapshot().sessions, 2);
}

/// One connection writes so much in a turn that others get theirs.
#[test]
fn a_turn_writes_to_a_connection_once() {
    let mut network = network(1);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut reader = Peer::join(&mut network, 0, Serializer::Json);
    reader.say(&mut network, &json!([32, 1, {}, "com.x"]));
    reader.hear(&mut network);
    publisher.say(&mut network, &json!([16, 1, {}, "com.x", ["x".repeat(900_000)]]));
    while network.router.snapshot().output_bytes > 0 {
        network.read(reader.pipe, usize::MAX);
        network.turn(0);
        let written = network.links.pipes[reader.pipe].unread.len();
        let limit = TurnLimits::default().connection_bytes + 64 * 1024;
        assert!(written <= limit, "{written} bytes in one turn");
    }
}

/// What keeps a payload shares it: retained, in histories, and on its way to other shards.
#[test]
fn a_payload_is_there_once() {
    let history = HistorySettings { topic: "com.x".into(), ..HistorySettings::default() };
    let realm = RealmSettings { histories: vec![history], ..RealmSettings::named("realm1") };
    let mut network = Network::new(Settings::default(), vec![realm], 2);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    publisher.say(&mut network, &json!([16, 1, {"retain": true}, "com.x", ["x".repeat(1_000)]]));
    let realm = network.router.realm("realm1").expect("it is configured");
    let session = SessionId::new(1).expect("an id");
    let anybody = Identity { session, authid: "x", authrole: "x" };
    let found = realm.retained.find("com.x", MatchPolicy::Exact, anybody, 1);
    let kept = realm.histories.iter().next().expect("there is one").events();
    let at = |payload: &PayloadBuf| match payload {
        PayloadBuf::Raw { bytes, .. } => bytes.as_ptr(),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(&found.events[0].2.payload), at(&kept[0].1.payload));
}

/// AP-RET-07: what there was no room for is not counted as seen.
#[test]
fn a_retained_event_that_was_withheld_comes_live() {
    let bytes = |settings: &mut Settings| settings.limits.retained_per_subscribe_bytes = 2_000;
    let mut network = network_with(bytes, 2);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut other = Peer::join(&mut network, 1, Serializer::Json);
    let mut subscriber = Peer::join(&mut network, 1, Serializer::Json);
    other.say(&mut network, &json!([32, 1, {"match": "prefix"}, "com."]));
    other.hear(&mut network);
    for (request, topic, length) in [(1, "com.a", 10), (2, "com.b", 5_000)] {
        let payload = "x".repeat(length);
        publisher.say(&mut network, &json!([16, request, {"retain": true}, topic, [payload]]));
    }
    // Both are under way to the subscriber's shard.
    let options = json!({"match": "prefix", "get_retained": true});
    subscriber.say(&mut network, &json!([32, 1, options, "com."]));
    let heard = subscriber.hear(&mut network);
    let topics: Vec<_> = heard[1..].iter().map(|event| event[3]["topic"].clone()).collect();
    assert_eq!(topics, ["com.a", "com.b"], "each once");
    assert_eq!(heard[2][3].get("retained"), None, "the second one came live");
}

/// Also clients that answer nothing get their close frame, however many they are.
#[test]
fn a_shutdown_tells_everybody() {
    let mut network = network(1);
    let peers: Vec<_> = (0..1_500).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    network.begin_shutdown();
    network.turn(0);
    for _ in 0..10 {
        network.advance(500);
        while !network.is_over() && network.is_busy(0) {
            network.turn(0);
        }
    }
    assert!(network.is_over());
    for mut peer in peers {
        let bytes = network.read(peer.pipe, usize::MAX);
        peer.link.feed(&bytes);
        let heard: Vec<_> = std::iter::from_fn(|| peer.link.next()).collect();
        assert!(matches!(heard[..], [Incoming::Message(_), Incoming::Close(1001)]), "{heard:?}");
    }
}

/// What was accepted before a shutdown is delivered before GOODBYE, whatever is done first in the
/// turn in which it is told.
#[test]
fn a_shutdown_waits_for_mail_that_came_before() {
    for turns in 0..3 {
        let mut network = network(2);
        let mut subscriber = Peer::join(&mut network, 1, Serializer::Json);
        subscriber.say(&mut network, &json!([32, 1, {}, "com.x"]));
        let mut publisher = Peer::join(&mut network, 0, Serializer::Json);
        for request in 1..=turns {
            publisher.say(&mut network, &json!([16, request, {}, "com.x", [0]]));
        }
        subscriber.hear(&mut network);
        publisher.say(&mut network, &json!([16, turns + 1, {"acknowledge": true}, "com.x", [1]]));
        network.give_out(0, true);
        let acknowledged = publisher.read(&mut network);
        assert!(matches!(&acknowledged[..], [message] if message[0] == 17), "{acknowledged:?}");
        network.begin_shutdown();
        network.turn(1);
        network.settle();
        let heard = subscriber.read(&mut network);
        assert!(
            matches!(&heard[..], [event, goodbye] if event[4] == json!([1]) && goodbye[0] == 6),
            "{heard:?}"
        );
    }
}

/// To close a socket takes the system longer than a message takes the router.
#[test]
fn sockets_of_many_that_leave_at_once_are_closed_in_several_turns() {
    let most = TurnLimits::default().connections_closed;
    let mut network = network(1);
    let mut stays = Peer::join(&mut network, 0, Serializer::Json);
    let connect = |_| network.connect(0, Admission::Welcome, usize::MAX);
    let pipes: Vec<_> = (0..3 * most).map(connect).collect();
    pipes.iter().for_each(|pipe| network.lose(*pipe));
    stays.say(&mut network, &json!([32, 1, {}, "com.x"]));
    network.give_out(0, true);
    assert_eq!(stays.read(&mut network).len(), 1, "an answer does not wait for that");
    let is_open = |network: &Network, pipe: usize| !network.links.pipes[pipe].closed;
    let open = |network: &Network| pipes.iter().filter(|pipe| is_open(network, **pipe)).count();
    assert_eq!(open(&network), 2 * most);
    // Who comes meanwhile gets no slot of a socket that is still open.
    let pipe = network.connect(0, Admission::Welcome, usize::MAX);
    for left in [most, 0] {
        assert!(network.is_busy(0), "the rest is not left until something happens");
        network.turn(0);
        assert_eq!(open(&network), left);
    }
    assert!(!network.is_busy(0) && is_open(&network, pipe));
    assert_eq!(network.router.snapshot().connections, 2);
}
