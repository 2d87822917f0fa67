//! Which shards a connection feeds: while one of them is congested, the event loop stops reading
//! from it (PX-SLOW). Output that nobody counts would grow without bound.

use serde_json::json;
use stentor::router::ShardId;

use super::peer::{Peer, network};
use crate::support::{Network, Serializer};

/// The shards that the last messages of a peer have fed.
fn fed(network: &Network, peer: &Peer) -> Vec<u8> {
    let pipe = &network.links.pipes[peer.pipe];
    network.shard(pipe.shard).feeds(pipe.slot).shards().map(|ShardId(shard)| shard).collect()
}

#[test]
fn a_publisher_feeds_the_shards_of_its_subscribers() {
    let mut network = network(4);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    for shard in [0, 1, 3] {
        let mut subscriber = Peer::join(&mut network, shard, Serializer::Json);
        subscriber.say(&mut network, &json!([32, 1, {}, "com.x"]));
        subscriber.hear(&mut network);
    }
    publisher.say(&mut network, &json!([16, 1, {}, "com.y"]));
    assert!(fed(&network, &publisher).is_empty(), "nobody hears of it");
    publisher.say(&mut network, &json!([16, 2, {}, "com.x"]));
    assert_eq!(fed(&network, &publisher), [1, 3]);
}

/// AP-PCR-08
#[test]
fn caller_and_callee_feed_each_other() {
    let mut network = network(2);
    let callee = Peer::join(&mut network, 1, Serializer::Json);
    callee.say(&mut network, &json!([6, {}, "wamp.close.normal"]));
    let features = json!({"features": {"progressive_call_results": true, "call_canceling": true,
        "progressive_call_invocations": true}});
    let roles = json!({"roles": {"caller": features, "callee": features}});
    callee.say(&mut network, &json!([1, "realm1", roles]));
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    let caller = Peer::join(&mut network, 0, Serializer::Json);
    caller.say(&mut network, &json!([6, {}, "wamp.close.normal"]));
    caller.say(&mut network, &json!([1, "realm1", roles]));
    network.settle();
    let options = json!({"progress": true, "receive_progress": true});
    for (from_caller, message) in [
        (true, json!([48, 1, options, "com.p"])),
        (true, json!([48, 1, {}, "com.p"])),
        (false, json!([70, 1, {"progress": true}])),
        (false, json!([70, 1, {}])),
        (true, json!([48, 2, {}, "com.p"])),
        (false, json!([8, 68, 2, {}, "com.error"])),
    ] {
        let (peer, other) = if from_caller { (&caller, 1) } else { (&callee, 0) };
        peer.say(&mut network, &message);
        assert_eq!(fed(&network, peer), [other], "{message}");
        network.settle();
    }
}
