//! Races between shards (DESIGN section 10), with the mail held back by hand. The session that a
//! mail is for may have left, and its slot may serve another by the time it arrives.

use serde_json::{Value, json};
use stentor::router::{RealmSettings, RequestIdCheck, Settings};
use stentor::shard::Mail;
use stentor::wamp::{RegistrationId, SessionId};

use super::peer::{Peer, network};
use crate::support::{Network, Serializer};

/// Ends the peer's session and begins another on the same connection, hence in the same slot.
fn rejoin(peer: &Peer, network: &mut Network) {
    peer.say(network, &json!([6, {}, "wamp.close.normal"]));
    let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
    peer.say(network, &json!([1, "realm1", { "roles": roles }]));
}

/// BP-CALL-06: the new session has a call with the same request id pending.
#[test]
fn an_answer_under_way_does_not_reach_the_next_session() {
    let mut network = network(2);
    let mut caller = Peer::join(&mut network, 0, Serializer::Json);
    let mut callee = Peer::join(&mut network, 1, Serializer::Json);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    caller.say(&mut network, &json!([48, 1, {}, "com.p"]));
    assert_eq!(callee.hear(&mut network).len(), 2, "REGISTERED, INVOCATION");
    callee.say(&mut network, &json!([70, 1, {}, ["old"]]));
    rejoin(&caller, &mut network);
    caller.say(&mut network, &json!([48, 1, {}, "com.p"]));
    assert_eq!(callee.hear(&mut network)[0][1], json!(2), "the second INVOCATION");
    callee.say(&mut network, &json!([70, 2, {}, ["new"]]));
    let heard = caller.hear(&mut network);
    let codes: Vec<&Value> = heard.iter().map(|message| &message[0]).collect();
    assert_eq!(codes, [&json!(6), &json!(2), &json!(50)], "{heard:?}");
    assert_eq!(heard[2][3], json!(["new"]));
}

/// BP-CALL-07: the registration lives on, and the new session of the slot holds it as well.
#[test]
fn a_call_under_way_does_not_reach_the_next_session() {
    let mut network = network(2);
    let mut caller = Peer::join(&mut network, 0, Serializer::Json);
    let mut callee = Peer::join(&mut network, 1, Serializer::Json);
    let mut other = Peer::join(&mut network, 1, Serializer::Json);
    let register = json!([64, 1, {"invoke": "first"}, "com.p"]);
    callee.say(&mut network, &register);
    other.say(&mut network, &register);
    assert_eq!(callee.hear(&mut network), other.hear(&mut network), "one registration");
    caller.say(&mut network, &json!([48, 1, {}, "com.p"]));
    rejoin(&callee, &mut network);
    callee.say(&mut network, &register);
    let heard = callee.hear(&mut network);
    let codes: Vec<&Value> = heard.iter().map(|message| &message[0]).collect();
    assert_eq!(codes, [&json!(6), &json!(2), &json!(65)], "no INVOCATION: {heard:?}");
    let heard = caller.hear(&mut network);
    assert_eq!(heard[0][4], json!("wamp.error.canceled"), "{heard:?}");
}

/// BP-SUB-05: what another shard published before it knew is not delivered.
#[test]
fn an_event_under_way_does_not_follow_unsubscribed() {
    let mut network = network(2);
    let mut subscriber = Peer::join(&mut network, 0, Serializer::Json);
    let publisher = Peer::join(&mut network, 1, Serializer::Json);
    subscriber.say(&mut network, &json!([32, 1, {}, "com.x"]));
    let subscription = subscriber.hear(&mut network)[0][2].clone();
    publisher.say(&mut network, &json!([16, 1, {}, "com.x"]));
    subscriber.say(&mut network, &json!([34, 2, subscription]));
    assert_eq!(subscriber.hear(&mut network), [json!([35, 2])]);
}

/// BP-REG-02, BP-CALL-03: no INVOCATION after UNREGISTERED, and the caller learns it.
#[test]
fn a_call_under_way_does_not_follow_unregistered() {
    let mut network = network(2);
    let mut callee = Peer::join(&mut network, 0, Serializer::Json);
    let mut caller = Peer::join(&mut network, 1, Serializer::Json);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    let registration = callee.hear(&mut network)[0][2].clone();
    caller.say(&mut network, &json!([48, 1, {}, "com.p"]));
    callee.say(&mut network, &json!([66, 2, registration]));
    assert_eq!(callee.hear(&mut network), [json!([67, 2])]);
    let heard = caller.hear(&mut network);
    assert_eq!(heard[0][4], json!("wamp.error.no_such_procedure"), "{heard:?}");
}

/// AP-REVR-01: the callee announced nothing, so it hears nothing at all any more.
#[test]
fn a_call_under_way_does_not_follow_a_revocation() {
    let mut network = network(2);
    let mut callee = Peer::join(&mut network, 0, Serializer::Json);
    let mut caller = Peer::join(&mut network, 1, Serializer::Json);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    let registration = callee.hear(&mut network)[0][2].as_u64().and_then(RegistrationId::new);
    caller.say(&mut network, &json!([48, 1, {}, "com.p"]));
    let realm = network.router.realm("realm1").expect("it is configured");
    let session = SessionId::new(callee.session).expect("an id");
    let mail = Mail::RevokeRegistration {
        callee: realm.find(session).expect("the session is there"),
        registration: registration.expect("an id"),
        reason: None,
    };
    network.deliver(0, mail);
    let heard = caller.hear(&mut network);
    assert_eq!(heard[0][4], json!("wamp.error.no_such_procedure"), "{heard:?}");
    assert!(callee.hear(&mut network).is_empty());
}

/// BP-CALL-03: the answer to a call that was canceled meanwhile is not that to the next one with
/// its id.
#[test]
fn an_answer_under_way_does_not_end_the_next_call_with_its_id() {
    let settings = Settings { request_ids: RequestIdCheck::Off, ..Settings::default() };
    let mut network = Network::new(settings, vec![RealmSettings::named("realm1")], 2);
    let mut caller = Peer::join(&mut network, 0, Serializer::Json);
    let mut callee = Peer::join(&mut network, 1, Serializer::Json);
    callee.say(&mut network, &json!([64, 1, {}, "com.p"]));
    caller.say(&mut network, &json!([48, 7, {}, "com.p", ["old"]]));
    assert_eq!(callee.hear(&mut network).len(), 2, "REGISTERED, INVOCATION");
    callee.say(&mut network, &json!([70, 1, {}, ["old"]]));
    caller.say(&mut network, &json!([49, 7, {}]));
    caller.say(&mut network, &json!([48, 7, {}, "com.p", ["new"]]));
    let heard = caller.hear(&mut network);
    assert_eq!(heard.len(), 1, "the old call is canceled, the new one waits: {heard:?}");
    assert_eq!(heard[0][4], json!("wamp.error.canceled"));
    callee.say(&mut network, &json!([70, 2, {}, ["new"]]));
    assert_eq!(caller.hear(&mut network), [json!([50, 7, {}, ["new"]])]);
}
