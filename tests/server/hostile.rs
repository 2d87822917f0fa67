//! Clients that break off, talk nonsense or come in crowds: the others are served all the same.

use std::io::{Read, Write};
use std::thread;

use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::Rng;
use serde_json::json;
use stentor::codec::Codec;
use stentor::config::Listener;
use stentor::net::Server;

use crate::sockets::{
    Client, Frame, Kind, Stream, address, config, eventually, hello, settles, start,
};

const JSON: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::MsgPack);

fn check_serves(server: &Server) {
    for address in server.addresses() {
        let mut client = Client::join(address, RAW);
        client.subscribe("com.x");
        client.goodbye();
    }
}

#[test]
fn clients_cut_off_in_the_middle_of_a_frame_leave_nothing() {
    let server = start(&config(2));
    for kind in [JSON, RAW] {
        let frame = kind.message(&json!([16, 3, {}, "com.x", ["x".repeat(500)]]));
        for cut in (1..frame.len()).step_by(7) {
            let mut client = Client::join(address(&server), kind);
            client.subscribe("com.x");
            client.register("com.x");
            client.write(&frame[..cut]).unwrap();
            if cut % 2 == 0 {
                client.stream.reset();
            } else {
                drop(client);
            }
            // The name is free again as soon as the router has noticed.
            eventually("the callee is gone", || server.router().is_idle());
        }
    }
    settles(&server);
    check_serves(&server);
}

#[test]
fn half_handshakes_leave_nothing() {
    let server = start(&config(2));
    for kind in [JSON, RAW] {
        let opening = kind.opening();
        for length in 0..opening.len() {
            let mut stream = Stream::connect(address(&server)).unwrap();
            stream.write_all(&opening[..length]).unwrap();
            if length % 2 == 0 {
                stream.reset();
            }
        }
    }
    settles(&server);
    check_serves(&server);
}

#[test]
fn garbage_on_every_kind_of_listener_is_survived() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.sock");
    let mut config = config(2);
    config.listeners.push(Listener::on("[::1]:0".parse().unwrap()));
    config.listeners.push(Listener::on(format!("unix:{}", file.display()).parse().unwrap()));
    let server = start(&config);
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for round in 0..200 {
        for address in server.addresses() {
            let mut garbage = vec![0; 1 + round * 3];
            random.fill_bytes(&mut garbage);
            let mut stream = Stream::connect(address).unwrap();
            // Garbage in each state: at once, after the opening, after HELLO.
            if round % 3 > 0 {
                stream.write_all(&RAW.opening()).unwrap();
            }
            if round % 3 > 1 {
                stream.write_all(&RAW.message(&hello("realm1"))).unwrap();
                stream.write_all(&RAW.frame(&garbage)).unwrap();
            }
            let _ = stream.write_all(&garbage);
            stream.shut_down_writing();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    settles(&server);
    check_serves(&server);
}

#[test]
fn a_violation_is_answered_and_what_follows_is_ignored() {
    let server = start(&config(2));
    for kind in [JSON, RAW] {
        let mut client = Client::join(address(&server), kind);
        let mut bytes = kind.message(&json!([33, 1, 1])); // A message of the router.
        bytes.extend(kind.message(&json!([64, 1, {}, "com.late"])));
        client.write(&bytes).unwrap();
        let (messages, _) = client.drain();
        let [abort] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")));
    }
    settles(&server);
}

#[test]
fn a_crowd_may_leave_while_it_arrives() {
    let server = start(&config(2));
    thread::scope(|scope| {
        for worker in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..25 {
                    let crowd: Vec<_> = (0..20)
                        .map(|_| Stream::connect(address(server)).unwrap())
                        .map(|mut stream| {
                            stream.write_all(&RAW.opening()).unwrap();
                            stream.write_all(&RAW.message(&hello("realm1"))).unwrap();
                            stream.write_all(&RAW.message(&json!([32, 1, {}, "com.x"]))).unwrap();
                            stream
                        })
                        .collect();
                    for stream in crowd {
                        if (round + worker) % 2 == 0 { stream.reset() } else { drop(stream) }
                    }
                }
            });
        }
    });
    settles(&server);
    check_serves(&server);
}

#[test]
fn a_stopping_router_says_goodbye_to_busy_clients() {
    for shards in [1, 2, 8] {
        let server = start(&config(shards));
        let target = address(&server).clone();
        let mut idle = Client::join(&target, JSON);
        let mut early = Client::open(&target, JSON);
        let busy = |_| {
            let target = target.clone();
            thread::spawn(move || {
                let mut client = Client::join(&target, RAW);
                client.subscribe("com.x");
                let mut writer = client.stream.try_clone();
                let flood = thread::spawn(move || {
                    let publish = |request| json!([16, request, {"exclude_me": false}, "com.x"]);
                    // The router stops reading some day, and closes.
                    (2..100_000).try_for_each(|n| writer.write_all(&RAW.message(&publish(n)))).ok();
                });
                let goodbye = loop {
                    let message = client.receive();
                    if message[0] == 6 {
                        break message;
                    }
                };
                client.stream.shut_down_writing();
                while client.next_frame() != Frame::End {}
                flood.join().unwrap();
                goodbye
            })
        };
        let busy: Vec<_> = (0..4).map(busy).collect();
        eventually("all are busy", || {
            let now = server.snapshot();
            now.subscriptions == 4 && now.events_delivered > 1000
        });
        let router = std::sync::Arc::clone(server.router());
        let stopping = thread::spawn(move || server.stop());
        assert_eq!(idle.expect(6)[2], "wamp.close.system_shutdown");
        idle.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
        assert_eq!(idle.drain(), (vec![], Some(1001)));
        assert_eq!(early.drain(), (vec![], Some(1001)));
        for client in busy {
            assert_eq!(client.join().unwrap()[2], "wamp.close.system_shutdown");
        }
        stopping.join().unwrap().unwrap();
        assert!(router.is_idle());
    }
}
