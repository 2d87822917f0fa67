//! Answers of the router that take longer than a step: few are half made at a time, and the
//! questions that wait for their turn have a total.

use serde_json::{Value, json};
use stentor::router::{HistorySettings, RealmSettings, Settings};

use super::peer::{Peer, pipeline};
use crate::support::{Network, Serializer};

const EVENTS: usize = 200;
const EVENT_BYTES: usize = 2_500;
const ANSWER_BYTES: usize = EVENTS * EVENT_BYTES;
const QUESTION_BYTES: usize = 100_000;

/// A history of `com.x` whose answer takes several turns.
fn network(held_total_bytes: usize, turn_units: u32) -> Network {
    let mut settings = Settings::default();
    settings.limits.held_total_bytes = held_total_bytes;
    settings.turn.step_units = 64;
    settings.turn.read_bytes = 2 * QUESTION_BYTES;
    settings.turn.turn_units = turn_units;
    let mut realm = RealmSettings::named("realm1");
    realm.histories.push(HistorySettings { topic: "com.x".into(), ..HistorySettings::default() });
    let mut network = Network::new(settings, vec![realm], 1);
    let publisher = Peer::join(&mut network, 0, Serializer::Json);
    for id in 1..=EVENTS {
        publisher.say(&mut network, &json!([16, id, {}, "com.x", ["x".repeat(EVENT_BYTES)]]));
    }
    network.settle();
    network
}

fn askers(network: &mut Network, count: usize) -> Vec<Peer> {
    (0..count).map(|_| Peer::join(network, 0, Serializer::Json)).collect()
}

fn history(filters: &Value) -> Value {
    json!([48, 1, {}, "wamp.subscription.get_events", [1], filters])
}

/// Everybody asks before the router looks. Gives what each hears, and the most that was held.
fn ask(network: &mut Network, questions: Vec<(&mut Peer, Value)>) -> (Vec<Value>, usize) {
    let mut peers = Vec::new();
    for (peer, question) in questions {
        pipeline(network, peer, std::iter::once(question));
        peers.push(peer);
    }
    let (mut heard, mut most) = (Vec::new(), 0);
    for _ in 0..MANY_TURNS {
        network.take_in(0);
        most = most.max(network.router.held_bytes());
        network.give_out(0, true);
        network.check_invariants();
        for peer in &mut peers {
            heard.extend(peer.read(network));
        }
    }
    network.settle();
    assert_eq!(heard.len(), peers.len(), "each question is answered once");
    assert_eq!(network.router.held_bytes(), 0);
    (heard, most)
}

fn refused(heard: &[Value]) -> usize {
    let is_refused = |m: &&Value| m[0] == 8 && m[4] == "wamp.error.resource_limit";
    heard.iter().filter(is_refused).count()
}

#[test]
fn few_answers_of_a_history_are_half_made() {
    let mut network = network(1 << 30, 20_000);
    let mut askers = askers(&mut network, 20);
    let questions = askers.iter_mut().map(|asker| (asker, history(&json!({})))).collect();
    let (heard, most) = ask(&mut network, questions);
    assert!(heard.iter().all(|message| message[0] == 50), "RESULT");
    assert!(heard.iter().all(|message| message[3].as_array().map(Vec::len) == Some(EVENTS)));
    assert!(most > ANSWER_BYTES, "only {most} bytes are counted");
    assert!(most < 10 * ANSWER_BYTES, "{most} bytes are half made");
}

#[test]
fn questions_to_a_history_have_a_total() {
    // Room for the answers that are half made, and for some questions.
    let limit = 8 * ANSWER_BYTES + 2_000_000;
    let mut network = network(limit, MANY_UNITS);
    let mut askers = askers(&mut network, 100);
    let topic = "x".repeat(QUESTION_BYTES);
    let question = |n| history(&if n < 8 { json!({}) } else { json!({ "topic": topic }) });
    let questions = askers.iter_mut().enumerate().map(|(n, asker)| (asker, question(n))).collect();
    let (heard, most) = ask(&mut network, questions);
    let refused = refused(&heard);
    assert!((20..80).contains(&refused), "{refused} are refused");
    assert_eq!(heard.iter().filter(|message| message[0] == 50).count(), 100 - refused);
    assert!(most <= limit, "{most} bytes are held");
    assert_eq!(network.router.snapshot().calls_refused, refused as u64);
}

#[test]
fn questions_to_the_meta_api_have_a_total() {
    let limit = 2_000_000;
    let mut network = network(limit, MANY_UNITS);
    let mut askers = askers(&mut network, 100);
    let roles = vec!["x".repeat(QUESTION_BYTES / 200); 200];
    let question = json!([48, 1, {}, "wamp.session.list", [roles]]);
    let questions = askers.iter_mut().map(|asker| (asker, question.clone())).collect();
    let (heard, most) = ask(&mut network, questions);
    let refused = refused(&heard);
    assert_eq!(heard.iter().filter(|m| m[0] == 50).count(), 100 - refused);
    assert!(refused > 0 && refused < 100, "{refused} are refused");
    assert!(most <= limit, "{most} bytes are held");
}

/// All questions are read in one turn.
const MANY_UNITS: u32 = 5_000_000;

/// More than it takes to answer all.
const MANY_TURNS: usize = 200;
