//! What operators see of topics and procedures, over the admin listener of a running router.

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::control::Control;

use super::observing::{get, start_observed};
use crate::sockets::{Client, Kind, address, eventually};

const RAW: Kind = Kind::Raw(Codec::Json);

fn ask(control: &Control, path: &str) -> Value {
    let (status, body) = get(control, path);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// SUBSCRIBE or REGISTER with options, until it is confirmed.
fn request(client: &mut Client, code: u64, options: Value, uri: &str) {
    let number = client.next_request();
    client.send(&json!([code, number, options, uri]));
    client.expect(code + 1);
}

/// The URIs in their order.
fn uris(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|row| row["uri"].as_str().unwrap()).collect()
}

/// Few publications are counted to the last one, on whichever shards publishers and subscribers
/// live.
#[test]
fn the_busiest_topics_come_first_with_all_their_subscribers() {
    let (server, control) = start_observed(2);
    let mut clients: Vec<_> = (0..4).map(|_| Client::join(address(&server), RAW)).collect();
    clients[0].subscribe("com.busy");
    clients[1].subscribe("com.busy");
    request(&mut clients[2], 32, json!({"match": "prefix"}), "com.");
    for (topic, times) in [("com.quiet", 2), ("com.busy", 6), ("com.silent", 1)] {
        (0..times).for_each(|number| clients[number % 2 + 2].publish(topic, &json!(number)));
    }
    let all = || ask(&control, "/api/topics");
    let events = |answer: &Value| {
        let rows = answer["topics"].as_array().unwrap().iter();
        rows.map(|row| row["events"].as_u64().unwrap()).sum::<u64>()
    };
    // To both of `com.busy`, and to the one of `com.` but for its own.
    eventually("all is delivered", || events(&all()) == 12 + 4);
    let answer = all();
    assert_eq!(uris(&answer["topics"]), ["com.busy", "com.quiet", "com.silent"]);
    let busy = &answer["topics"][0];
    assert_eq!((&busy["publications"], &busy["events"]), (&json!(6), &json!(15)));
    assert_eq!((&busy["subscribers"], &busy["realm"]), (&json!(3), &json!("realm1")));
    assert!(busy["rate"].as_f64().unwrap() > 0.0 && answer["since_seconds"].as_f64().is_some());
    assert_eq!(busy["rate"], busy["rate_at_most"], "nothing was left to chance");
    assert_eq!(uris(&ask(&control, "/api/topics?limit=1&sort=events")["topics"]), ["com.busy"]);
    assert!(uris(&ask(&control, "/api/topics?realm=other")["topics"]).is_empty());
    let (status, body) = get(&control, "/api/topics?sort=name");
    assert_eq!(status, 400);
    assert!(body.contains("unknown variant `name`"), "{body}");
}

/// More subscriptions than a shard looks up in one step, and receivers on several shards.
#[test]
fn what_most_have_subscribed_to_comes_first() {
    let (server, control) = start_observed(2);
    let mut clients: Vec<_> = (0..4).map(|_| Client::join(address(&server), RAW)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        request(client, 32, json!({"match": "prefix"}), "com.");
        for topic in 0..300 {
            client.subscribe(&format!("com.own.{number}.{topic:03}"));
        }
    }
    for (topic, subscribers) in [("com.three", 0..3), ("com.two", 2..4)] {
        for client in &mut clients[subscribers] {
            client.subscribe(topic);
        }
    }
    clients[0].publish("com.two", &json!(1));
    let ask_for = |query: &str| ask(&control, &format!("/api/topics?sort=subscribers{query}"));
    eventually("it is counted", || ask_for("&limit=3")["topics"][2]["publications"] == 1);
    let answer = ask_for("&limit=3");
    let rows = answer["topics"].as_array().unwrap().iter();
    let rows: Vec<_> =
        rows.map(|row| json!([row["uri"], row["match"], row["subscribers"]])).collect();
    assert_eq!(
        rows,
        [
            json!(["com.", "prefix", 4]),
            json!(["com.three", "exact", 3]),
            json!(["com.two", "exact", 2]),
        ]
    );
    assert_eq!(answer["topics"][0]["rate"], Value::Null, "nothing is published to a pattern");
    assert_eq!((&answer["looked_at"], &answer["is_complete"]), (&json!(1_203), &json!(true)));
    let answer = ask_for("&limit=1000");
    let all = uris(&answer["topics"]);
    assert_eq!((all.len(), all[3], all[4]), (1_000, "com.own.0.000", "com.own.0.001"));
    assert!(uris(&ask_for("&realm=other")["topics"]).is_empty());
    drop(clients);
    eventually("nothing is left", || ask_for("")["looked_at"] == 0);
}

/// A publication brings its topic to other shards only where a pattern needs it.
#[test]
fn events_count_for_their_topic_on_every_shard() {
    let (server, control) = start_observed(2);
    let mut clients: Vec<_> = (0..4).map(|_| Client::join(address(&server), RAW)).collect();
    for client in &mut clients {
        client.subscribe("com.x");
    }
    clients[0].publish("com.x", &json!(1));
    let rows = || ask(&control, "/api/topics?sort=events")["topics"].clone();
    eventually("all is delivered", || rows()[0]["events"] == 3);
    assert_eq!(uris(&rows()), ["com.x"]);
    assert_eq!(rows()[0]["publications"], 1);
}

#[test]
fn the_procedures_that_are_called_most_come_first() {
    let (server, control) = start_observed(2);
    let mut callees: Vec<_> = (0..2).map(|_| Client::join(address(&server), RAW)).collect();
    for callee in &mut callees {
        request(callee, 64, json!({"invoke": "roundrobin"}), "com.often");
    }
    request(&mut callees[0], 64, json!({"match": "prefix"}), "com.");
    let mut caller = Client::join(address(&server), RAW);
    for procedure in ["com.often", "com.seldom", "com.often", "com.often"] {
        caller.call(procedure, &json!(1));
    }
    caller.call("org.nothing", &json!(1));
    let all = || ask(&control, "/api/procedures");
    eventually("all are routed", || all()["procedures"].as_array().unwrap().len() == 2);
    let answer = all();
    assert_eq!(uris(&answer["procedures"]), ["com.often", "com.seldom"]);
    let row = |number: usize| {
        let row = &answer["procedures"][number];
        (row["calls"].as_u64().unwrap(), row["callees"].as_u64().unwrap())
    };
    assert_eq!((row(0), row(1)), ((3, 2), (1, 1)));
}
