//! Payloads that a receiver's serializer cannot express (BP-PV-05): nobody is blamed, only what
//! cannot be said is dropped or refused.

use serde_json::{Value, json};

use super::peer::{Peer, network};
use crate::support::{Network, Serializer};

/// A MessagePack list with a float that is no number.
const NAN_ARGUMENTS: [u8; 10] = [0x91, 0xCB, 0x7F, 0xF8, 0, 0, 0, 0, 0, 0];

/// Says a MessagePack message with [`NAN_ARGUMENTS`] as its last element.
fn say_nan(peer: &Peer, network: &mut Network, head: &Value) {
    let mut bytes = peer.link.serializer.encode(head);
    bytes[0] += 1;
    bytes.extend_from_slice(&NAN_ARGUMENTS);
    network.receive(peer.pipe, &peer.link.frame(&bytes));
}

/// BP-PV-05
#[test]
fn an_event_that_json_cannot_say_is_dropped() {
    for shards in [1, 2] {
        let mut network = network(shards);
        let mut json_peer = Peer::join(&mut network, 0, Serializer::Json);
        let msgpack_peer = Peer::join(&mut network, shards - 1, Serializer::MsgPack);
        json_peer.say(&mut network, &json!([32, 1, {}, "com.x"]));
        assert_eq!(json_peer.hear(&mut network).len(), 1, "SUBSCRIBED");
        say_nan(&msgpack_peer, &mut network, &json!([16, 1, {}, "com.x"]));
        msgpack_peer.say(&mut network, &json!([16, 2, {}, "com.x", [2]]));
        let heard = json_peer.hear(&mut network);
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0][4], json!([2]));
        assert_eq!(network.router.snapshot().events_dropped_encoding, 1);
    }
}

/// BP-PV-05: the caller learns it, and the callee's ids have no gap.
#[test]
fn a_call_that_json_cannot_say_fails() {
    for shards in [1, 2] {
        let mut network = network(shards);
        let mut callee = Peer::join(&mut network, 0, Serializer::Json);
        let mut caller = Peer::join(&mut network, shards - 1, Serializer::MsgPack);
        callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
        assert_eq!(callee.hear(&mut network).len(), 1, "REGISTERED");
        say_nan(&caller, &mut network, &json!([48, 1, {}, "com.p"]));
        let heard = caller.hear(&mut network);
        assert_eq!(heard[0][4], json!("wamp.error.invalid_argument"), "{heard:?}");
        caller.say(&mut network, &json!([48, 2, {}, "com.p"]));
        assert_eq!(callee.hear(&mut network)[0][1], json!(1), "the first INVOCATION");
    }
}

/// BP-PV-05
#[test]
fn an_answer_that_json_cannot_say_becomes_an_error() {
    for shards in [1, 2] {
        let mut network = network(shards);
        let mut callee = Peer::join(&mut network, 0, Serializer::MsgPack);
        let mut caller = Peer::join(&mut network, shards - 1, Serializer::Json);
        callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
        for (call, head) in [(1, json!([70, 1, {}])), (2, json!([8, 68, 2, {}, "com.error"]))] {
            caller.say(&mut network, &json!([48, call, {}, "com.p"]));
            callee.hear(&mut network);
            say_nan(&callee, &mut network, &head);
            let heard = caller.hear(&mut network);
            assert_eq!(heard.len(), 1, "{heard:?}");
            assert_eq!(heard[0][4], json!("wamp.error.invalid_argument"), "{heard:?}");
        }
    }
}
