//! Payloads that a receiver's serializer cannot express (BP-PV-05): nobody is blamed, only what
//! cannot be said is dropped or refused.

use serde_json::{Value, json};

use super::peer::{Peer, network};
use crate::support::{Network, Serializer};

/// A MessagePack list with a float that is no number.
const NAN_ARGUMENTS: [u8; 10] = [0x91, 0xCB, 0x7F, 0xF8, 0, 0, 0, 0, 0, 0];

/// What JavaScript makes of half an emoji.
const CUT_TEXT: &str = r#"["\ud83d"]"#;

/// Says any text.
fn say_text(peer: &Peer, network: &mut Network, text: &str) {
    network.receive(peer.pipe, &peer.link.frame(text.as_bytes()));
}

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

/// BP-PV-05: text that is no Unicode passes from JSON to JSON as it is; to others it cannot be
/// said, and the publisher's session goes on.
#[test]
fn a_lone_surrogate_passes_in_json_only() {
    for shards in [1, 2] {
        let mut network = network(shards);
        let publisher = Peer::join(&mut network, 0, Serializer::Json);
        let json_peer = Peer::join(&mut network, shards - 1, Serializer::Json);
        let mut cbor_peer = Peer::join(&mut network, 0, Serializer::Cbor);
        json_peer.say(&mut network, &json!([32, 1, {}, "com.x"]));
        cbor_peer.say(&mut network, &json!([32, 1, {}, "com.x"]));
        network.settle();
        network.read(json_peer.pipe, usize::MAX);
        assert_eq!(cbor_peer.hear(&mut network).len(), 1, "SUBSCRIBED");
        say_text(&publisher, &mut network, &format!(r#"[16,1,{{}},"com.x",{CUT_TEXT}]"#));
        say_text(&publisher, &mut network, r#"[16,2,{},"com.x",[2]]"#);
        network.settle();
        let heard = network.read(json_peer.pipe, usize::MAX);
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.contains(CUT_TEXT) && heard.contains("[2]"), "{heard}");
        let heard = cbor_peer.hear(&mut network);
        assert_eq!((heard.len(), &heard[0][4]), (1, &json!([2])));
        assert_eq!(network.router.snapshot().events_dropped_encoding, 1);
    }
}

/// BP-PV-05
#[test]
fn a_call_with_a_lone_surrogate_fails_alone() {
    let mut network = network(1);
    let mut callee = Peer::join(&mut network, 0, Serializer::MsgPack);
    let mut caller = Peer::join(&mut network, 0, Serializer::Json);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    assert_eq!(callee.hear(&mut network).len(), 1, "REGISTERED");
    say_text(&caller, &mut network, &format!(r#"[48,1,{{}},"com.p",{CUT_TEXT}]"#));
    let heard = caller.hear(&mut network);
    assert_eq!(heard[0][4], json!("wamp.error.invalid_argument"), "{heard:?}");
    caller.say(&mut network, &json!([48, 2, {}, "com.p"]));
    assert_eq!(callee.hear(&mut network)[0][0], json!(68), "INVOCATION");
}

/// BP-URI-06: a URI with a lone surrogate is an invalid URI like any other.
#[test]
fn a_uri_with_a_lone_surrogate_is_refused() {
    let mut network = network(1);
    let mut peer = Peer::join(&mut network, 0, Serializer::Json);
    for (number, request) in [
        r#"[32,1,{},"com.\ud83d"]"#,
        r#"[64,2,{"\ud83d":"\udc00"},"com.\ud83d.x"]"#,
        r#"[48,3,{},"\udc00"]"#,
        r#"[16,4,{"acknowledge":true},"com.x\ud83d"]"#,
    ]
    .into_iter()
    .enumerate()
    {
        say_text(&peer, &mut network, request);
        let heard = peer.hear(&mut network);
        assert_eq!(heard.len(), 1, "{request}");
        assert_eq!(heard[0][2], json!(number + 1), "{request}");
        assert_eq!(heard[0][4], json!("wamp.error.invalid_uri"), "{request}");
    }
}
