//! What the router says about a bad message is short, however long the message is.

use serde_json::{Value, json};

use super::peer::{Peer, network};
use crate::support::{Carrier, Link, Serializer};

const LONG_BYTES: usize = 1024 * 1024 - 256;

/// Far more than any explanation needs.
const ANSWER_BYTES: usize = 1024;

fn long(letter: &str) -> String {
    letter.repeat(LONG_BYTES / 8)
}

/// BP-SES-04, BP-URI-06
#[test]
fn an_abort_before_the_session_is_short() {
    let roles = json!({"caller": {}});
    for letter in ["x", "\u{1}", "'", "\u{200b}", "."] {
        for hello in [
            json!([1, long(letter), {"roles": roles}]),
            json!([1, format!("com.{}", long(letter)), {"roles": roles}]),
            json!([1, "realm1", {"roles": roles, "authmethods": [long(letter)]}]),
            json!([1, "realm1", {"roles": roles, "authmethods": vec![letter; LONG_BYTES / 16]}]),
            json!([1, "realm1", {"roles": roles, "authextra": {long(letter): 1}}]),
            json!([1, "realm1", {"roles": {"caller": {"features": long(letter)}}}]),
        ] {
            let mut network = network(1);
            let pipe = network.connect(0, stentor::shard::Admission::Welcome, usize::MAX);
            let link = Link::new(Carrier::WebSocket, Serializer::Json);
            network.receive(pipe, &link.greeting());
            network.settle();
            network.read(pipe, usize::MAX);
            network.receive(pipe, &link.message(&hello));
            network.settle();
            let answer = network.read(pipe, usize::MAX);
            assert!(answer.len() < ANSWER_BYTES, "{}", answer.len());
        }
    }
}

/// BP-PV-01, BP-TY-02, BP-TY-04
#[test]
fn an_abort_of_a_session_is_short() {
    let text = long("\u{1}");
    let mistakes: [Value; 6] = [
        json!([32, 1, {"match": text}, "com.x"]),
        json!([16, 1, {"enc_algo": text}, "com.x"]),
        json!([16, 1, {"forward_for": [text]}, "com.x"]),
        json!([48, 1, {"timeout": text}, "com.x"]),
        json!([text, 1]),
        json!([8, 68, 7, {}, text]),
    ];
    for mistake in mistakes {
        let mut network = network(1);
        let peer = Peer::join(&mut network, 0, Serializer::Json);
        peer.say(&mut network, &mistake);
        network.settle();
        let answer = network.read(peer.pipe, usize::MAX);
        assert!((10..ANSWER_BYTES).contains(&answer.len()), "{}", answer.len());
    }
    let mut network = network(1);
    let peer = Peer::join(&mut network, 0, Serializer::Json);
    let key = serde_json::to_string(&text).expect("it is text");
    let twice = format!("[16,1,{{{key}:1,{key}:2}},\"com.x\"]");
    network.receive(peer.pipe, &peer.link.frame(twice[..].as_bytes()));
    network.settle();
    let answer = network.read(peer.pipe, usize::MAX);
    assert!((10..ANSWER_BYTES).contains(&answer.len()), "{}", answer.len());
}

/// BP-URI-06
#[test]
fn a_refusal_is_short() {
    let mut network = network(1);
    let mut peer = Peer::join(&mut network, 0, Serializer::Json);
    let text = long("\u{1}");
    for (number, request) in [
        json!([32, 1, {}, text]),
        json!([64, 2, {}, text]),
        json!([48, 3, {}, text]),
        json!([16, 4, {"acknowledge": true}, text]),
    ]
    .into_iter()
    .enumerate()
    {
        peer.say(&mut network, &request);
        let heard = peer.hear(&mut network);
        assert_eq!(heard.len(), 1, "{number}");
        assert!(heard[0].to_string().len() < ANSWER_BYTES, "{number}");
    }
}
