//! What a client may try in order to stop the router, to starve others, or to have them ended.
//!
//! Counted in turns, units of work and bytes. `bounds` has the figures that hold for everybody;
//! here is who must not be made to wait or to go.

use serde_json::{Value, json};
use stentor::router::Settings;

use super::peer::{Peer, network_with, pipeline};
use crate::support::Serializer;

/// Publishers that fill every turn of a shard do not keep the mail of others from it.
#[test]
fn publishers_do_not_starve_the_mail_of_their_shard() {
    let mut network = network_with(|settings| settings.turn.arena_bytes = 16 * 1024, 2);
    let subscriber = Peer::join(&mut network, 0, Serializer::Json);
    subscriber.say(&mut network, &json!([32, 1, {}, "com.x"]));
    let mut callee = Peer::join(&mut network, 0, Serializer::Json);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    assert_eq!(callee.hear(&mut network).len(), 1);
    let caller = Peer::join(&mut network, 1, Serializer::Json);
    let publishers: Vec<_> =
        (0..20).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    for publisher in &publishers {
        let publish = |request| json!([16, request, {}, "com.x", ["x".repeat(2_000)]]);
        pipeline(&mut network, publisher, (1..=100).map(publish));
    }
    network.turn(0);
    caller.say(&mut network, &json!([48, 1, {}, "com.p"]));
    network.turn(1);
    network.deliver_mail((1, 0));
    for _ in 0..6 {
        network.turn(0);
    }
    let invocations = callee.read(&mut network);
    assert_eq!(invocations.len(), 1, "the INVOCATION comes while they publish");
    let unread = |publisher: &Peer| network.links.pipes[publisher.pipe].inbound.len();
    assert!(publishers.iter().any(|publisher| unread(publisher) > 0), "they still do");
}

/// A call that grows on its way to a callee that is busy comes back to its caller.
#[test]
fn a_call_that_grows_does_not_end_its_callee() {
    let mut network = network_with(|settings| settings.output.hard_bytes = 1_000_000, 1);
    let features = json!({"features": {"progressive_call_invocations": true,
        "progressive_call_results": true, "call_canceling": true}});
    let roles = json!({"caller": features, "callee": features});
    for (options, chunks) in [(json!({}), 1), (json!({"progress": true}), 2)] {
        let mut callee = Peer::join_with(&mut network, 0, Serializer::Json, &roles);
        callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
        let registration = callee.hear(&mut network)[0][2].clone();
        network.links.pipes[callee.pipe].capacity = 0;
        let mut caller = Peer::join_with(&mut network, 0, Serializer::MsgPack, &roles);
        caller.say(&mut network, &json!([48, 1, {}, "com.p"]));
        network.settle();
        let bomb = "\u{1}".repeat(300_000);
        if chunks == 2 {
            caller.say(&mut network, &json!([48, 2, options, "com.p"]));
        }
        caller.say(&mut network, &json!([48, 2, options, "com.p", [bomb]]));
        let refused = caller.hear(&mut network);
        assert_eq!(refused.len(), 1, "{options}");
        assert_eq!(refused[0][4], "wamp.error.resource_limit", "{options}");
        assert_eq!(network.router.snapshot().slow_consumers_disconnected, 0, "{options}");
        network.links.pipes[callee.pipe].capacity = usize::MAX;
        network.wake(callee.pipe);
        assert_eq!(callee.hear(&mut network)[0][0], 68, "the callee is there");
        callee.say(&mut network, &json!([66, 2, registration]));
        network.settle();
        callee.read(&mut network);
    }
}

/// A partial result that grows on its way to its caller fails the call, and nobody goes.
#[test]
fn a_partial_result_that_grows_does_not_end_its_caller() {
    let mut network = network_with(|settings| settings.output.hard_bytes = 1_000_000, 1);
    let features = json!({"features": {"progressive_call_results": true, "call_canceling": true}});
    let roles = json!({"caller": features, "callee": features});
    let mut callee = Peer::join_with(&mut network, 0, Serializer::MsgPack, &roles);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    let mut caller = Peer::join_with(&mut network, 0, Serializer::Json, &roles);
    caller.say(&mut network, &json!([48, 1, {"receive_progress": true}, "com.p"]));
    assert_eq!(callee.hear(&mut network).len(), 2);
    network.links.pipes[caller.pipe].capacity = 0;
    callee.say(&mut network, &json!([70, 1, {"progress": true}, ["begins"]]));
    network.settle();
    callee.say(&mut network, &json!([70, 1, {"progress": true}, ["\u{1}".repeat(300_000)]]));
    network.settle();
    network.links.pipes[caller.pipe].capacity = usize::MAX;
    network.wake(caller.pipe);
    let heard = caller.hear(&mut network);
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[1][4], "wamp.error.resource_limit");
    assert_eq!(network.router.snapshot().slow_consumers_disconnected, 0);
}

/// What follows from the messages of one client is not charged to the next one.
#[test]
fn nobody_pays_for_the_requests_of_the_one_before() {
    let mut network = network_with(|settings| settings.turn.step_units = 200, 1);
    let mut subscribers = Vec::new();
    for _ in 0..250 {
        let mut subscriber = Peer::join(&mut network, 0, Serializer::Json);
        subscriber.say(&mut network, &json!([32, 1, {}, "com.x"]));
        subscriber.hear(&mut network);
        subscribers.push(subscriber);
    }
    subscribers[0].say(&mut network, &json!([48, 2, {}, "wamp.subscription.lookup", ["com.x"]]));
    let subscription = subscribers[0].hear(&mut network)[0][3][0].clone();
    let attacker = Peer::join(&mut network, 0, Serializer::Json);
    let mut victim = Peer::join(&mut network, 0, Serializer::Json);
    // Joining has cost it more than the share of one turn.
    for request in 1..=20 {
        victim.say(&mut network, &json!([34, request, 1]));
    }
    victim.hear(&mut network);
    let count = "wamp.subscription.count_subscribers";
    let count = |request| json!([48, request, {}, count, [subscription]]);
    pipeline(&mut network, &attacker, (1..=20).map(count));
    pipeline(&mut network, &victim, [json!([34, 21, 1])].into_iter());
    network.turn(0);
    assert_eq!(victim.read(&mut network).len(), 1, "it is served in the same turn");
}

/// Many parts of messages that are not whole are work, too.
#[test]
fn a_turn_reads_so_many_bytes() {
    let mut network = network_with(|_| {}, 1);
    let peers: Vec<_> = (0..400).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    for peer in &peers {
        let message = peer.link.message(&json!([16, 1, {}, "com.x", ["x".repeat(500_000)]]));
        network.push(peer.pipe, &message[..65_536]);
    }
    network.take_in(0);
    let unread = |peer: &Peer| network.links.pipes[peer.pipe].inbound.len();
    let read = 400 * 65_536 - peers.iter().map(unread).sum::<usize>();
    assert!((1_000_000..16_000_000).contains(&read), "{read} bytes are read in one turn");
    network.settle();
    let read = network.router.snapshot().bytes_received;
    assert!(read >= 400 * 65_536, "and the rest later");
}

/// Sockets that take bytes again together do not make one turn long.
#[test]
fn sockets_that_are_writable_again_are_written_in_turns() {
    let limit = 1_000_000;
    let mut network = network_with(|settings| settings.turn.written_bytes = limit, 1);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut reader = Peer::join(&mut network, 0, Serializer::Json);
        reader.say(&mut network, &json!([32, 1, {}, "com.x"]));
        reader.hear(&mut network);
        network.links.pipes[reader.pipe].capacity = 0;
        readers.push(reader);
    }
    publisher.say(&mut network, &json!([16, 1, {}, "com.x", ["x".repeat(400_000)]]));
    network.settle();
    for reader in &readers {
        network.links.pipes[reader.pipe].capacity = usize::MAX;
        network.note_writable(reader.pipe);
    }
    network.turn(0);
    let written: usize = readers.iter().map(|r| network.links.pipes[r.pipe].unread.len()).sum();
    assert!(written <= 2 * limit, "{written} bytes in one turn");
    for reader in &mut readers {
        assert_eq!(reader.hear(&mut network).len(), 1);
    }
}

/// Slow is who refuses what it is offered; for a time in which nothing ran nobody is blamed.
#[test]
fn a_stall_of_the_process_ends_nobody() {
    let mut network = network_with(|settings| settings.output.soft_bytes = 100_000, 1);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut reader = Peer::join(&mut network, 0, Serializer::Json);
    let stranger = network.connect(0, stentor::shard::Admission::Welcome, usize::MAX);
    reader.say(&mut network, &json!([32, 1, {}, "com.x"]));
    reader.hear(&mut network);
    network.links.pipes[reader.pipe].capacity = 10_000;
    publisher.say(&mut network, &json!([16, 1, {}, "com.x", ["x".repeat(900_000)]]));
    network.settle();
    // The process stands still, and its host with it: neither has heard of the other.
    network.now = network.now + 60_000;
    network.links.pipes[reader.pipe].capacity = 300_000;
    network.note_writable(reader.pipe);
    network.settle();
    network.advance(1_000);
    network.settle();
    let now = network.router.snapshot();
    assert_eq!(now.slow_consumers_disconnected, 0, "it takes what it is offered");
    assert_eq!((now.sessions, now.connections), (2, 3), "and nobody else has gone");
    network.links.pipes[reader.pipe].capacity = usize::MAX;
    network.wake(reader.pipe);
    network.settle();
    assert_eq!(reader.read_all(&mut network).len(), 1);
    // Who goes on to be silent goes.
    for _ in 0..40 {
        network.advance(1_000);
        network.settle();
    }
    assert!(network.links.pipes[stranger].closed, "a stranger has said nothing");
    assert_eq!(network.router.snapshot().keepalive_timeouts, 2);
}

/// The deadlines of a caller that is leaving do not stand before those of others.
#[test]
fn the_calls_of_a_leaver_hold_up_no_timeout() {
    let mut network = network_with(|settings| settings.turn.step_units = 1_000, 1);
    let mut callee = Peer::join(&mut network, 0, Serializer::Json);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    callee.hear(&mut network);
    let mut leaver = Peer::join(&mut network, 0, Serializer::Json);
    let subscribe = |id| json!([32, id, {}, format!("com.{id}")]);
    pipeline(&mut network, &leaver, (1..=4_000).map(subscribe));
    let call = |id| json!([48, id, {"timeout": 5}, "com.p"]);
    assert_eq!(leaver.hear(&mut network).len(), 4_000);
    pipeline(&mut network, &leaver, (4_001..=4_200).map(call));
    let mut caller = Peer::join(&mut network, 0, Serializer::Json);
    network.settle();
    caller.say(&mut network, &json!([48, 1, {"timeout": 10}, "com.p"]));
    network.settle();
    network.lose(leaver.pipe);
    network.advance(20);
    for _ in 0..5 {
        network.turn(0);
    }
    assert!(network.router.snapshot().subscriptions > 0, "it is still leaving");
    let heard = caller.read(&mut network);
    assert_eq!(heard.len(), 1, "the call has timed out");
    assert_eq!(heard[0][4], "wamp.error.timeout");
    network.settle();
}

/// A listing takes as many steps as it needs; who asked for it waits, and others do not.
#[test]
fn long_lists_are_made_in_pieces() {
    let mut network = network_with(|settings| settings.turn.step_units = 1_000, 1);
    let roles = json!({"caller": {}, "subscriber": {}, "callee": {}});
    let mut hoarder = Peer::join_with(&mut network, 0, Serializer::Json, &roles);
    let subscribe = |id| json!([32, id, {}, format!("com.{id}")]);
    pipeline(&mut network, &hoarder, (1..=6_000).map(subscribe));
    let register = |id| json!([64, id, {}, format!("com.{id}")]);
    pipeline(&mut network, &hoarder, (6_001..=9_000).map(register));
    assert_eq!(hoarder.hear(&mut network).len(), 9_000);
    let mut callees = Vec::new();
    for _ in 0..300 {
        let mut callee = Peer::join(&mut network, 0, Serializer::Json);
        callee.say(&mut network, &json!([64, 1, {"invoke": "roundrobin"}, "org.p"]));
        let registration = callee.hear(&mut network)[0][2].clone();
        callees.push((callee, registration));
    }
    let registration = &callees[0].1;
    let mut asker = Peer::join(&mut network, 0, Serializer::Json);
    let list = |request, what: &str| json!([48, request, {}, format!("wamp.{what}")]);
    let messages = [
        list(1, "subscription.list"),
        list(2, "registration.list"),
        list(3, "session.list"),
        json!([48, 4, {}, "wamp.session.count", [["anonymous"]]]),
        json!([48, 5, {}, "wamp.registration.list_callees", [registration]]),
        json!([48, 6, {}, "wamp.registration.count_callees", [registration]]),
    ];
    let mut other = Peer::join(&mut network, 0, Serializer::Json);
    pipeline(&mut network, &asker, messages.into_iter());
    let took = (0..50).take_while(|_| {
        network.turn(0);
        !network.shard(0).has_jobs()
    });
    assert!(took.count() < 50, "the first list takes more than one step");
    other.say(&mut network, &json!([34, 1, 7]));
    network.settle();
    assert_eq!(other.read(&mut network).len(), 1);
    let heard = asker.hear(&mut network);
    let requests: Vec<_> = heard.iter().map(|result| result[1].as_u64()).collect();
    assert_eq!(requests, (1..=6).map(Some).collect::<Vec<_>>(), "in order");
    let length = |result: &Value| result[3][0].as_array().map(Vec::len);
    let of = |request: u64| heard.iter().find(|result| result[1] == request);
    assert_eq!(
        of(2).map(|result| result[3][0]["exact"].as_array().map(Vec::len)),
        Some(Some(3_001))
    );
    assert_eq!(of(3).map(length), Some(Some(303)));
    assert_eq!(of(4).map(|result| result[3][0].clone()), Some(json!(303)));
    assert_eq!(of(5).map(length), Some(Some(300)));
    assert_eq!(of(6).map(|result| result[3][0].clone()), Some(json!(300)));
    let longest = network.shard(0).longest_step();
    assert!(longest < 8_000, "{longest} units in a step: one answer is put in order and sent");
}

/// A filter of many authroles is refused: each session would be compared with all of them.
#[test]
fn a_filter_of_many_authroles_is_refused() {
    let mut network = network_with(|_| {}, 1);
    let mut asker = Peer::join(&mut network, 0, Serializer::Json);
    for (request, roles) in [(1, 256), (2, 257)] {
        let roles: Vec<_> = (0..roles).map(|role| format!("role{role}")).collect();
        asker.say(&mut network, &json!([48, request, {}, "wamp.session.list", [roles]]));
    }
    let heard = asker.hear(&mut network);
    assert_eq!(heard[0], json!([50, 1, {}, [[]]]));
    assert_eq!(heard[1][4], "wamp.error.resource_limit");
}

/// Questions for who subscribes go out a few at a time, and each is answered.
#[test]
fn questions_for_subscribers_are_few_at_a_time() {
    for shards in [1, 2] {
        let mut network = network_with(|settings| settings.turn.step_units = 500, shards);
        let mut subscribers = Vec::new();
        for number in 0..100 {
            let mut peer = Peer::join(&mut network, number % shards, Serializer::Json);
            peer.say(&mut network, &json!([32, 1, {}, "com.x"]));
            let subscription = peer.hear(&mut network)[0][2].clone();
            subscribers.push((peer, subscription));
        }
        let subscription = subscribers[0].1.clone();
        let uri = "wamp.subscription.list_subscribers";
        let mut askers: Vec<_> =
            (0..3).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
        for asker in &askers {
            let ask = |request| json!([48, request, {}, uri, [subscription]]);
            pipeline(&mut network, asker, (1..=40).map(ask));
        }
        // One goes before it is answered.
        network.turn(0);
        network.lose(askers.pop().expect("there are three").pipe);
        let before = network.router.snapshot().meta_calls_answered;
        for asker in &mut askers {
            let heard = asker.hear(&mut network);
            let answers = heard.iter().filter(|result| result[0] == 50);
            assert!(
                answers.clone().all(|result| result[3][0].as_array().map(Vec::len) == Some(100))
            );
            assert!(answers.count() >= 32, "as many as may be pending");
            assert_eq!(heard.len(), 40, "the others are refused");
        }
        assert!(network.router.snapshot().meta_calls_answered > before);
        let longest = network.shard(0).longest_step();
        assert!(longest < 4_000, "{longest} units in a step");
    }
}

/// Who does not read late answers is not asked to be ended for them: it is not read on.
#[test]
fn late_answers_are_output_of_who_asked() {
    let settings = |settings: &mut Settings| settings.output.hard_bytes = 40_000;
    let mut network = network_with(settings, 2);
    let mut asker = Peer::join(&mut network, 0, Serializer::Json);
    let mut subscriber = Peer::join(&mut network, 1, Serializer::Json);
    subscriber.say(&mut network, &json!([32, 1, {}, "com.x"]));
    let subscription = subscriber.hear(&mut network)[0][2].clone();
    network.links.pipes[asker.pipe].capacity = 0;
    let uri = "wamp.subscription.list_subscribers";
    for request in 1..=2_000 {
        let ask = json!([48, request, {}, uri, [subscription]]);
        pipeline(&mut network, &asker, [ask].into_iter());
        if request % 20 == 0 {
            network.settle();
        }
    }
    assert_eq!(network.router.snapshot().slow_consumers_disconnected, 0);
    network.links.pipes[asker.pipe].capacity = usize::MAX;
    network.wake(asker.pipe);
    assert_eq!(asker.hear(&mut network).len(), 2_000);
}

/// Turns that are full of what earlier ones have made are not the turns in which reading is first:
/// where a delivery fills as many as there are parts, nobody would be read before it ends.
#[test]
fn a_long_delivery_does_not_keep_everybody_from_being_read() {
    let mut network = network_with(|settings| settings.turn.arena_bytes = 64 * 1024, 1);
    let mut subscriber = Peer::join(&mut network, 0, Serializer::Json);
    let topic = format!("com.{}", "x".repeat(40));
    let subscribe = |n: usize| json!([32, n, {"match": "prefix"}, &topic[..4 + n]]);
    pipeline(&mut network, &subscriber, (1..=40).map(subscribe));
    assert_eq!(subscriber.hear(&mut network).len(), 40);
    let mut other = Peer::join(&mut network, 0, Serializer::Json);
    // Each event takes three turns to be written.
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    publisher.say(&mut network, &json!([16, 1, {}, topic, ["y".repeat(700_000)]]));
    while network.router.held_bytes() == 0 {
        network.turn(0);
    }
    pipeline(&mut network, &other, [json!([34, 1, 7])].into_iter());
    (0..12).for_each(|_| network.turn(0));
    assert_eq!(other.read(&mut network).len(), 1, "it is read in between");
    assert!(network.router.held_bytes() > 0, "the delivery goes on");
}

/// A delivery waits for the only receiver of a subscription, which leaves: those of the others get
/// their event all the same.
#[test]
fn who_leaves_while_a_delivery_waits_for_it_takes_it_from_nobody() {
    let mut network = network_with(|settings| settings.output.hard_bytes = 1_000, 1);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    let mut waited_for = Peer::join(&mut network, 0, Serializer::Json);
    let mut other = Peer::join(&mut network, 0, Serializer::Json);
    waited_for.say(&mut network, &json!([32, 1, {}, "com.x"]));
    other.say(&mut network, &json!([32, 1, {"match": "prefix"}, "com"]));
    assert_eq!((waited_for.hear(&mut network).len(), other.hear(&mut network).len()), (1, 1));
    let payload = "y".repeat(600);
    pipeline(&mut network, &publisher, (1..=2).map(|n| json!([16, n, {}, "com.x", [payload]])));
    network.take_in(0);
    network.lose(waited_for.pipe);
    assert_eq!(other.hear(&mut network).len(), 2);
}
