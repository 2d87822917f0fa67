//! The multi-session vectors of the WAMP project, played as they are written.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stentor::router::{RealmSettings, RequestIdCheck, Settings};
use stentor::shard::Admission;

use crate::support::{Carrier, Incoming, Link, Network, Serializer};

/// BP-PUB-03 (AP-EXC)
#[test]
fn publisher_exclusion_disabled() {
    let text = include_str!("../vectors/multisession/advanced/publisher_exclusion_disabled.json");
    let vector = serde_json::from_str(text).expect("a vector is JSON");
    for serializer in Serializer::ALL {
        for shards in [1, 2, 8] {
            play(&vector, serializer, shards);
        }
    }
}

struct Player {
    pipe: usize,
    link: Link,
}

fn play(vector: &Value, serializer: Serializer, shards: usize) {
    // The request ids of the vectors do not count by one.
    let settings = Settings { request_ids: RequestIdCheck::Off, ..Settings::default() };
    let mut network = Network::new(settings, vec![RealmSettings::named("realm1")], shards);
    let mut players = BTreeMap::new();
    for (index, session) in vector["sessions"].as_array().expect("sessions").iter().enumerate() {
        let pipe = network.connect(index % shards, Admission::Welcome, usize::MAX);
        let mut player = Player { pipe, link: Link::new(Carrier::WebSocket, serializer) };
        network.receive(pipe, &player.link.greeting());
        let roles = session["roles"].as_array().expect("roles").iter();
        let roles: serde_json::Map<_, _> =
            roles.map(|role| (role.as_str().expect("a role").to_owned(), json!({}))).collect();
        let hello = json!([1, session["realm"], { "roles": roles }]);
        network.receive(pipe, &player.link.message(&hello));
        assert_eq!(player.hear(&mut network)[0], json!(2), "WELCOME");
        players.insert(session["session_id"].as_str().expect("a name").to_owned(), player);
    }
    let mut ids = BTreeMap::new();
    for step in vector["sequence"].as_array().expect("a sequence") {
        let message = &step["message"];
        if let Some(player) = step["from"].as_str().and_then(|name| players.get_mut(name)) {
            network.receive(player.pipe, &player.link.message(&wire(message)));
        } else {
            let to = step["to"].as_str().expect("a receiver");
            let heard = players.get_mut(to).expect("a known receiver").hear(&mut network);
            compare(&wire(message), &heard, &mut ids);
        }
    }
    for player in players.values_mut() {
        assert!(player.take(&mut network).is_none(), "the vector lists all messages");
        network.lose(player.pipe);
    }
    network.settle();
    network.check_empty();
}

impl Player {
    fn take(&mut self, network: &mut Network) -> Option<Incoming> {
        network.settle();
        let bytes = network.read(self.pipe, usize::MAX);
        self.link.feed(&bytes);
        self.link.next()
    }

    fn hear(&mut self, network: &mut Network) -> Value {
        loop {
            match self.take(network) {
                Some(Incoming::Message(message)) => return message,
                Some(Incoming::Opened) => {}
                other => panic!("a message was expected, got {other:?}"),
            }
        }
    }
}

/// A message of a vector in its order on the wire.
fn wire(message: &Value) -> Value {
    let (code, fields): (u16, &[&str]) = match message["type"].as_str().expect("a type") {
        "SUBSCRIBE" => (32, &["request_id", "options", "topic"]),
        "SUBSCRIBED" => (33, &["request_id", "subscription_id"]),
        "PUBLISH" => (16, &["request_id", "options", "topic", "args"]),
        "EVENT" => (36, &["subscription_id", "publication_id", "details", "args"]),
        other => panic!("no vector has had {other} so far"),
    };
    let elements = fields.iter().map(|field| message[*field].clone());
    Value::Array([json!(code)].into_iter().chain(elements).collect())
}

/// Compares; ids that the router assigns only have to be consistent.
fn compare(expected: &Value, heard: &Value, ids: &mut BTreeMap<u64, u64>) {
    let [expected, heard] = [expected, heard].map(|message| message.as_array().expect("a list"));
    assert_eq!(expected.len(), heard.len(), "{heard:?}");
    let assigned: &[usize] = match expected[0].as_u64() {
        Some(33) => &[2],
        Some(36) => &[1, 2],
        _ => &[],
    };
    for (index, (expected, heard)) in expected.iter().zip(heard).enumerate() {
        if assigned.contains(&index) {
            let [name, id] = [expected, heard].map(|id| id.as_u64().expect("an id"));
            assert_eq!(*ids.entry(name).or_insert(id), id, "one id for one thing");
        } else {
            assert_eq!(expected, heard);
        }
    }
}
