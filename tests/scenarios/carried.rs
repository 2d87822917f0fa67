//! Calls, answers and deposits on their way count against the total of what is held, so that
//! clients which come and go cannot pile them up behind a slow shard or disk.

use serde_json::{Value, json};
use stentor::router::{HistorySettings, HistoryStore, RealmSettings, Settings};

use super::peer::{Peer, network_with};
use crate::support::{Network, Serializer};

const LIMIT: usize = 400_000;

/// So many payloads of this size are far over it.
const TRIES: usize = 40;
const LARGE: usize = 30_000;

fn limited(settings: &mut Settings) {
    settings.limits.held_total_bytes = LIMIT;
}

fn is_refused(message: &Value) -> bool {
    message[0] == 8 && message[4] == "wamp.error.resource_limit"
}

fn join(network: &mut Network, shard: usize) -> Peer {
    let caller = ["progressive_call_results", "progressive_call_invocations", "call_canceling"];
    let features: serde_json::Map<_, _> =
        caller.map(|feature| (feature.to_owned(), json!(true))).into_iter().collect();
    let role = json!({ "features": features });
    let roles = json!({"caller": role, "callee": role, "publisher": {}, "subscriber": {}});
    Peer::join_with(network, shard, Serializer::Json, &roles)
}

/// A callee of `com.p` on the second shard.
fn callee(network: &mut Network) -> Peer {
    let mut callee = join(network, 1);
    callee.say(network, &json!([64, 1, {}, "com.p"]));
    assert_eq!(callee.hear(network).len(), 1, "REGISTERED");
    callee
}

/// Says something, and hears what comes of it while the other shard does nothing.
fn ask(network: &mut Network, shard: usize, peer: &mut Peer, message: &Value) -> Vec<Value> {
    peer.say(network, message);
    network.turn(shard);
    let held = network.router.held_bytes();
    assert!(held <= LIMIT, "{held} bytes are held");
    network.check_invariants();
    peer.read(network)
}

/// Lets callers that leave at once take as much of the total as they get.
fn fill(network: &mut Network, callers: Vec<Peer>) -> usize {
    let call = json!([48, 1, {}, "com.p", ["x".repeat(LARGE)]]);
    let mut refused = 0;
    for mut caller in callers {
        let heard = ask(network, 0, &mut caller, &call);
        assert!(heard.len() <= 1 && heard.iter().all(is_refused), "{heard:?}");
        refused += heard.len();
        network.lose(caller.pipe);
    }
    assert!(network.router.held_bytes() > LIMIT / 4, "they get much");
    refused
}

fn callers(network: &mut Network) -> Vec<Peer> {
    (0..TRIES).map(|_| join(network, 0)).collect()
}

#[test]
fn calls_of_those_who_leave_have_a_total() {
    let mut network = network_with(limited, 2);
    let mut callee = callee(&mut network);
    let (callers, mut bystander) = (callers(&mut network), join(&mut network, 0));
    let refused = fill(&mut network, callers);
    assert!((TRIES / 2..TRIES).contains(&refused), "{refused} were refused");
    assert_eq!(network.router.snapshot().calls_refused, refused as u64);
    let small = ask(&mut network, 0, &mut bystander, &json!([48, 1, {}, "com.p", ["small"]]));
    assert!(small.is_empty(), "it is on its way");
    let heard = callee.hear(&mut network);
    let invocations = heard.iter().filter(|message| message[0] == 68).count();
    assert_eq!(invocations, TRIES - refused + 1, "what was accepted comes");
    assert_eq!(network.router.held_bytes(), 0);
}

/// Each answer ends its call, whether there is room for it or not.
#[test]
fn answers_have_a_total_and_end_their_calls() {
    let mut network = network_with(limited, 2);
    let mut callee = callee(&mut network);
    let mut caller = join(&mut network, 0);
    for id in 1..=TRIES {
        caller.say(&mut network, &json!([48, id, {}, "com.p"]));
    }
    assert_eq!(callee.hear(&mut network).len(), TRIES);
    let payload = "x".repeat(LARGE);
    for id in 1..=TRIES {
        let answer = if id % 2 == 0 {
            json!([70, id, {}, [payload]])
        } else {
            json!([8, 68, id, {}, "com.error", [payload]])
        };
        assert!(ask(&mut network, 1, &mut callee, &answer).is_empty());
    }
    let heard = caller.hear(&mut network);
    let is_result = |message: &Value| message[0] == 50;
    let request = |m: &Value| if is_result(m) { m[1].as_u64() } else { m[2].as_u64() };
    let mut ended: Vec<_> = heard.iter().filter_map(request).collect();
    ended.sort_unstable();
    assert_eq!(ended, (1..=TRIES as u64).collect::<Vec<_>>(), "each call ends once");
    let refused = heard.iter().filter(|message| is_refused(message)).count();
    assert!((TRIES / 2..TRIES - 2).contains(&refused), "{refused} were refused");
    assert!(heard.iter().any(is_result) && heard.iter().any(|m| m[4] == "com.error"));
    assert_eq!(network.router.held_bytes(), 0);
}

/// A partial result that there is no room for ends the call, and its callee is told.
#[test]
fn a_partial_result_over_the_total_ends_the_call() {
    let mut network = network_with(limited, 2);
    let mut callee = callee(&mut network);
    let mut caller = join(&mut network, 0);
    let call = json!([48, 1, {"receive_progress": true}, "com.p"]);
    caller.say(&mut network, &call);
    assert_eq!(callee.hear(&mut network).len(), 1);
    let partial = json!([70, 1, {"progress": true}, ["x".repeat(LARGE)]]);
    let mut interrupts = Vec::new();
    for _ in 0..TRIES {
        interrupts.extend(ask(&mut network, 1, &mut callee, &partial));
    }
    assert_eq!(interrupts, [json!([69, 1, {"mode": "killnowait"}])]);
    let heard = caller.hear(&mut network);
    let (last, partial) = heard.split_last().expect("something comes");
    assert!(is_refused(last) && !partial.is_empty(), "{last}");
    assert!(partial.iter().all(|message| message[0] == 50 && message[2]["progress"] == true));
    let now = network.router.snapshot();
    assert_eq!((now.calls, now.invocations, network.router.held_bytes()), (0, 0, 0));
}

/// A chunk that there is no room for ends the call, and its callee is told.
#[test]
fn a_chunk_over_the_total_ends_the_call() {
    let mut network = network_with(limited, 2);
    let mut callee = callee(&mut network);
    let callers = callers(&mut network);
    let mut uploader = join(&mut network, 0);
    let chunk = json!([48, 1, {"progress": true}, "com.p", ["x".repeat(LARGE)]]);
    uploader.say(&mut network, &chunk);
    assert_eq!(callee.hear(&mut network).len(), 1);
    fill(&mut network, callers);
    let heard = ask(&mut network, 0, &mut uploader, &chunk);
    assert!(heard.len() == 1 && is_refused(&heard[0]), "{heard:?}");
    assert!(ask(&mut network, 0, &mut uploader, &chunk).is_empty(), "it comes too late");
    let heard = callee.hear(&mut network);
    assert!(heard.contains(&json!([69, 1, {"mode": "killnowait"}])), "{heard:?}");
    assert_eq!(network.router.held_bytes(), 0);
}

/// What waits for a slow disk counts, whoever has left since.
#[test]
fn deposits_have_a_total() {
    let mut settings = Settings::default();
    limited(&mut settings);
    let mut realm = RealmSettings::named("realm1");
    // The events themselves may go; what is to be stored stays until it is.
    realm.histories.push(HistorySettings {
        topic: "com.x".into(),
        events: Some(1),
        store: HistoryStore::Durable,
        ..HistorySettings::default()
    });
    let mut network = Network::new(settings, vec![realm], 1).with_held_store();
    let publishers: Vec<_> = (0..TRIES).map(|_| join(&mut network, 0)).collect();
    let mut bystander = join(&mut network, 0);
    let publish = json!([16, 1, {"acknowledge": true}, "com.x", ["x".repeat(LARGE)]]);
    let mut refused = 0;
    for mut publisher in publishers {
        let heard = ask(&mut network, 0, &mut publisher, &publish);
        assert!(heard.iter().all(is_refused), "{heard:?}");
        refused += heard.len();
        network.lose(publisher.pipe);
    }
    assert!((TRIES / 2..TRIES).contains(&refused), "{refused} were refused");
    assert!(network.router.held_bytes() > LIMIT / 4);
    assert_eq!(network.router.snapshot().publications_refused, refused as u64);
    let small = json!([16, 1, {"acknowledge": true}, "com.x", ["small"]]);
    assert!(ask(&mut network, 0, &mut bystander, &small).is_empty(), "it waits for the store");
    network.serve_store(usize::MAX, true);
    assert_eq!(bystander.hear(&mut network)[0][0], 17, "PUBLISHED");
    assert_eq!(network.router.held_bytes(), 0);
}
