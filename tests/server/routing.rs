//! Events and calls between clients on different shards, transports and serializers.

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::net::Server;
use stentor::wamp::{RegistrationId, SessionId, SubscriptionId};

use crate::sockets::{Client, Kind, address, config, hello, settles, start};

const RAW: Kind = Kind::Raw(Codec::Cbor);

/// The connections of each shard.
fn connections_by_shard(server: &Server) -> Vec<u64> {
    server.router().counters().iter().map(|shard| shard.snapshot().connections).collect()
}

fn kinds() -> impl Iterator<Item = Kind> {
    Codec::ALL.into_iter().flat_map(|codec| [Kind::Raw(codec), Kind::Ws(codec)])
}

#[test]
fn sockets_are_dealt_out_evenly() {
    let server = start(&config(8));
    let clients: Vec<_> = (0..24).map(|_| Client::join(address(&server), RAW)).collect();
    assert_eq!(connections_by_shard(&server), [3; 8]);
    drop(clients);
    settles(&server);
}

/// TR-SER-01, BP-TY-05.
#[test]
fn events_reach_all_serializers_on_all_shards() {
    let payload = json!({"text": "größe", "list": [1, -5, 2.5, true, null], "big": 1u64 << 53});
    for shards in [1, 2, 8] {
        let server = start(&config(shards));
        // As many of each kind as shards, so that every pair meets on one shard and across two.
        let mut subscribers: Vec<_> = kinds()
            .flat_map(|kind| [kind; 2])
            .map(|kind| Client::join(address(&server), kind))
            .collect();
        let ids: Vec<_> = subscribers.iter_mut().map(|client| client.subscribe("com.x")).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "a subscription has one id");
        for kind in kinds() {
            let mut publisher = Client::join(address(&server), kind);
            publisher.publish("com.x", &payload);
            for client in &mut subscribers {
                assert_eq!(client.expect(36)[4], json!([payload]), "{kind:?} to {:?}", client.kind);
            }
        }
        drop(subscribers);
        settles(&server);
    }
}

/// TR-SER-01, BP-MSG-01.
#[test]
fn calls_work_between_all_serializers_on_all_shards() {
    let payload = json!(["größe", {"a": [1, 2, 3]}, -1, 0.5]);
    for shards in [1, 2, 8] {
        let server = start(&config(shards));
        let mut callers: Vec<_> =
            kinds().map(|kind| Client::join(address(&server), kind)).collect();
        for kind in kinds() {
            let mut callee = Client::join(address(&server), kind);
            // Shifts the next callee to other shards.
            let mut other = Client::join(address(&server), kind);
            callee.register("com.echo");
            for caller in &mut callers {
                let call = caller.call("com.echo", &payload);
                callee.echo();
                let result = caller.expect(50);
                assert_eq!((&result[1], &result[3]), (&json!(call), &json!([payload])));

                let call = caller.call("com.echo", &payload);
                let invocation = callee.expect(68);
                callee.send(&json!([8, 68, invocation[1], {}, "com.fault", [1], {"k": 2}]));
                let error = caller.expect(8);
                assert_eq!(error, json!([8, 48, call, {}, "com.fault", [1], {"k": 2}]));
            }
            callee.goodbye();
            other.goodbye();
        }
        drop(callers);
        settles(&server);
    }
}

#[test]
fn realms_are_worlds_of_their_own() {
    let server = start(&config(2));
    let mut here = Client::join(address(&server), RAW);
    let mut there = Client::open(address(&server), RAW);
    there.hello("realm2");
    for client in [&mut here, &mut there] {
        client.subscribe("com.x");
        client.register("com.x");
    }
    let mut publisher = Client::join(address(&server), RAW);
    publisher.publish_acknowledged("com.x", &json!(1));
    here.expect(36);
    // The next message shows that no event came before it.
    there.publish_acknowledged("com.y", &json!(1));
    let mut nobody = Client::open(address(&server), RAW);
    nobody.send(&hello("no.such.realm"));
    assert_eq!(nobody.expect(3)[2], "wamp.error.no_such_realm");
    drop((here, there, publisher, nobody));
    settles(&server);
}

#[test]
fn a_lost_callee_ends_its_calls() {
    let server = start(&config(2));
    let mut callee = Client::join(address(&server), RAW);
    let mut caller = Client::join(address(&server), RAW);
    callee.register("com.x");
    for _ in 0..100 {
        caller.call("com.x", &json!(1));
    }
    for _ in 0..50 {
        callee.expect(68);
    }
    callee.stream.reset();
    for _ in 0..100 {
        let error = caller.expect(8);
        let uri = error[4].as_str().unwrap();
        assert!(uri == "wamp.error.canceled" || uri == "wamp.error.no_such_procedure", "{error}");
    }
    caller.goodbye();
    drop(caller);
    settles(&server);
}

#[test]
fn ten_thousand_requests_may_be_sent_at_once() {
    const REQUESTS: u64 = 10_000;
    for kind in [RAW, Kind::Ws(Codec::Json)] {
        let server = start(&config(2));
        let mut subscriber = Client::join(address(&server), kind);
        subscriber.subscribe("com.x");
        let mut publisher = Client::join(address(&server), kind);
        let messages: Vec<u8> = (1..=REQUESTS)
            .map(|request| json!([16, request, {"acknowledge": true}, "com.x", [request]]))
            .flat_map(|message| kind.message(&message))
            .collect();
        let mut writer = publisher.stream.try_clone();
        let sender =
            std::thread::spawn(move || std::io::Write::write_all(&mut writer, &messages).unwrap());
        for number in 1..=REQUESTS {
            assert_eq!(publisher.expect(17)[1], json!(number));
        }
        for number in 1..=REQUESTS {
            assert_eq!(subscriber.expect(36)[4], json!([number]));
        }
        sender.join().unwrap();
        drop((subscriber, publisher));
        settles(&server);
    }
}

#[test]
fn events_keep_the_order_of_their_publisher_across_topics() {
    const EVENTS: u64 = 3000;
    let server = start(&config(8));
    let mut subscribers: Vec<_> = (0..8).map(|_| Client::join(address(&server), RAW)).collect();
    for client in &mut subscribers {
        client.subscribe("com.a");
        client.subscribe("com.b");
    }
    let publish = |name: u64| {
        let mut publisher = Client::join(address(&server), RAW);
        for number in 0..EVENTS {
            let topic = if number % 2 == 0 { "com.a" } else { "com.b" };
            publisher.publish(topic, &json!([name, number]));
        }
        publisher.goodbye();
    };
    std::thread::scope(|scope| {
        for name in 0..3 {
            scope.spawn(move || publish(name));
        }
        for mut client in subscribers.drain(..) {
            scope.spawn(move || {
                let mut next = [0; 3];
                for _ in 0..3 * EVENTS {
                    let event = client.expect(36);
                    let value = |at: usize| event[4][0][at].as_u64().unwrap();
                    assert_eq!(value(1), next[value(0) as usize], "the order of one publisher");
                    next[value(0) as usize] += 1;
                }
            });
        }
    });
    settles(&server);
}

#[test]
fn a_round_robin_serves_all_callees_alike() {
    let server = start(&config(8));
    let mut callees: Vec<_> = (0..8).map(|_| Client::join(address(&server), RAW)).collect();
    for callee in &mut callees {
        let request = callee.next_request();
        callee.send(&json!([64, request, {"invoke": "roundrobin"}, "com.x"]));
        callee.expect(65);
    }
    let mut caller = Client::join(address(&server), RAW);
    for number in 0..80 {
        caller.call("com.x", &json!(number));
    }
    for callee in &mut callees {
        (0..10).for_each(|_| callee.echo());
    }
    let results: Vec<Value> = (0..80).map(|_| caller.expect(50)).collect();
    let mut numbers: Vec<_> = results.iter().map(|result| result[3][0].as_u64()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq((0..80).map(Some)));
}

/// AP-RET-02, AP-REVS-01: from thread to thread, and from outside of all threads.
#[test]
fn retained_events_and_revocations_reach_every_shard() {
    let server = start(&config(4));
    let mut publisher = Client::join(address(&server), RAW);
    let request = publisher.next_request();
    let options = json!({"retain": true, "acknowledge": true});
    publisher.send(&json!([16, request, options, "com.x", ["last"]]));
    publisher.expect(17);
    let roles = json!({"subscriber": {"features": {"subscription_revocation": true}}});
    let mut subscribers: Vec<_> = kinds()
        .map(|kind| {
            let mut client = Client::open(address(&server), kind);
            client.send(&json!([1, "realm1", {"roles": roles}]));
            client.welcomed();
            client
        })
        .collect();
    for client in &mut subscribers {
        let request = client.next_request();
        client.send(&json!([32, request, {"get_retained": true}, "com.x"]));
        let id = client.expect(33)[2].clone();
        let event = client.expect(36);
        assert_eq!((&event[3], &event[4]), (&json!({"retained": true}), &json!(["last"])));
        let session = SessionId::new(client.session).unwrap();
        let subscription = SubscriptionId::new(id.as_u64().unwrap()).unwrap();
        assert!(server.revoke_subscription("realm1", session, subscription, Some("why")));
        assert!(!server.revoke_subscription("realm2", session, subscription, None));
        let revoked = json!([35, 0, {"subscription": id, "reason": "why"}]);
        assert_eq!(client.expect(35), revoked);
    }
    drop((publisher, subscribers));
    settles(&server);
    assert_eq!(server.router().realm("realm1").unwrap().retained.len(), 1);
}

/// AP-REVR-01, AP-REVR-03: the callees on all shards lose a shared registration, one by one.
#[test]
fn revocations_of_registrations_reach_every_shard() {
    let server = start(&config(4));
    let roles = json!({"callee": {"features": {"registration_revocation": true}}});
    let mut callees: Vec<_> = kinds()
        .map(|kind| {
            let mut client = Client::open(address(&server), kind);
            client.send(&json!([1, "realm1", {"roles": roles}]));
            client.welcomed();
            let request = client.next_request();
            client.send(&json!([64, request, {"invoke": "first"}, "com.x"]));
            let id = client.expect(65)[2].clone();
            (client, id)
        })
        .collect();
    let mut caller = Client::join(address(&server), RAW);
    for (callee, id) in &mut callees {
        caller.call("com.x", &json!("before"));
        callee.echo();
        assert_eq!(caller.expect(50)[3], json!(["before"]));
        let session = SessionId::new(callee.session).unwrap();
        let registration = RegistrationId::new(id.as_u64().unwrap()).unwrap();
        assert!(server.revoke_registration("realm1", session, registration, Some("why")));
        assert!(!server.revoke_registration("realm2", session, registration, None));
        let revoked = json!([67, 0, {"registration": id, "reason": "why"}]);
        assert_eq!(callee.expect(67), revoked);
    }
    caller.call("com.x", &json!("after"));
    assert_eq!(caller.expect(8)[4], json!("wamp.error.no_such_procedure"));
    drop((caller, callees));
    settles(&server);
}
