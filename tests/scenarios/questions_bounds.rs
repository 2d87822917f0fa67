//! Questions to other nodes: how many may be under way, what ends with whoever asks, and kills.

use serde_json::json;
use stentor::router::{SessionRef, ShardId, Slot};
use stentor::shard::Question;
use stentor::wamp::{InvokePolicy, MatchPolicy, Timestamp};

use super::asker::{A_AND_B, ELSEWHERE, Here, QUESTION_MS, count, session};
use super::peer::{Peer, pipeline};
use crate::support::Serializer;

#[test]
fn the_questions_of_who_leaves_are_forgotten() {
    let mut here = Here::with_shards(|_| {}, 2);
    let goer = Peer::join(&mut here.network, 0, Serializer::Json);
    let calls = ["session.count", "subscription.list", "session.count"];
    for (request, procedure) in (1..).zip(calls) {
        goer.say(&mut here.network, &json!([48, request, {}, format!("wamp.{procedure}")]));
    }
    here.network.settle();
    assert_eq!(here.network.links.gateway.asks.len(), 2, "behind a list the input waits");
    here.say("wamp.session.kill", &json!([goer.session]));
    assert_eq!(here.hear()[0][0], 50, "RESULT");
    assert_eq!(here.network.shard(0).poll_count(), 0);
    while let Some(ask) = here.network.links.gateway.asks.pop_front() {
        here.network.name_asked((ask.asker, ask.ticket), A_AND_B);
        here.part(&ask, 1, count(1));
    }
    assert_eq!(here.late(), 4);
    here.network.lose(goer.pipe);
    here.end();
}

/// So many questions of a session are under way at once, and then it is not read; none is refused.
#[test]
fn who_asks_more_than_may_be_pending_waits() {
    let mut here = Here::new(|settings| settings.limits.meta_questions_per_session = 5);
    let calls = (1..=12).map(|request| json!([48, request, {}, "wamp.session.count"]));
    pipeline(&mut here.network, &here.client, calls);
    let mut answered = 0;
    while answered < 12 {
        here.network.settle();
        let asked = here.network.links.gateway.asks.len();
        assert_eq!(asked, (12 - answered).min(5));
        for _ in 0..asked {
            here.network.answer_for_nobody();
        }
        let heard = here.hear();
        assert!(heard.iter().all(|message| message[0] == 50 && message[3] == json!([1])));
        assert_eq!(heard.len(), asked);
        answered += asked;
    }
    here.end();
}

/// Of lists a few are half made at a time, whoever asks; others go on meanwhile.
#[test]
fn few_long_questions_are_under_way_at_once() {
    let mut here = Here::new(|_| {});
    let mut askers: Vec<Peer> =
        (0..20).map(|_| Peer::join(&mut here.network, 0, Serializer::Json)).collect();
    for asker in &askers {
        let calls =
            [json!([48, 1, {}, "wamp.session.list"]), json!([48, 2, {}, "wamp.session.count"])];
        pipeline(&mut here.network, asker, calls.into_iter());
    }
    here.network.settle();
    let asked = || (8, 20);
    let gateway = &here.network.links.gateway;
    assert_eq!((gateway.asks.len(), here.network.shard(0).poll_count()), asked());
    let ask = here.ask_behind("wamp.session.count");
    here.network.name_asked((ask.asker, ask.ticket), &[]);
    assert_eq!(here.hear_one(), json!([[21]]), "what is short waits for no list");
    // A node is silent: each has its own time from when it is asked.
    for _ in 0..3 {
        here.network.advance(QUESTION_MS);
        here.network.settle();
    }
    for asker in &mut askers {
        let heard = asker.read(&mut here.network);
        assert_eq!(heard[0][4], json!({"partial": true, "missing": []}));
    }
    here.network.links.gateway.asks.clear();
    askers.iter().for_each(|asker| here.network.lose(asker.pipe));
    here.end();
}

/// Whoever calls is left out wherever it lives, and its rights are checked where it is.
#[test]
fn kills_go_to_all_nodes_with_whom_they_spare() {
    let mut here = Here::new(|_| {});
    let mut other = Peer::join(&mut here.network, 0, Serializer::Json);
    let ask = here.ask("wamp.session.kill_all", &json!([]));
    let Question::KillSessions { caller, words, .. } = &ask.question else { panic!("a kill") };
    assert_eq!((caller.get(), &*words.reason), (here.client.session, "wamp.close.killed"));
    assert_eq!(other.hear(&mut here.network)[0][0], 6, "GOODBYE, whenever others answer");
    here.network.name_asked((ask.asker, ask.ticket), A_AND_B);
    here.network.advance(QUESTION_MS);
    assert_eq!(here.hear_one(), json!([[1], {"partial": true, "missing": ["a", "b"]}]));
    here.part(&ask, 1, count(3));
    assert_eq!((here.hear().len(), here.late()), (0, 1));
    here.network.lose(other.pipe);
    here.end();
}

/// A drain lets who waits for other nodes hear them.
#[test]
fn a_drain_waits_for_answers() {
    let mut here = Here::new(|_| {});
    let ask = here.ask("wamp.session.count", &json!([]));
    here.network.begin_drain(60_000);
    here.network.advance(1_000);
    assert_eq!(here.hear(), [json!(null); 0]);
    here.network.name_asked((ask.asker, ask.ticket), &[]);
    assert_eq!(here.hear()[0][0], 50, "RESULT");
    here.network.advance(1_000);
    assert_eq!(here.hear()[0][0], 6, "GOODBYE");
    here.end();
}

/// All nodes have all callees, so nobody is asked; the word goes to where the callee is.
#[test]
fn a_callee_elsewhere_is_removed_by_mail() {
    let mut here = Here::new(|_| {});
    let realm = here.network.router.realm("realm1").expect("a realm");
    let callee =
        SessionRef { session: session(ELSEWHERE), slot: Slot::new(0), shard: ShardId::CLUSTER };
    let registered = realm
        .procedures
        .register("com.p", MatchPolicy::Exact, InvokePolicy::Single, callee, Timestamp::EPOCH)
        .expect("nobody else offers it");
    let args = json!([registered.registration.get(), ELSEWHERE]);
    here.say("wamp.registration.remove_callee", &args);
    assert_eq!(here.hear_one(), json!([]));
    assert_eq!(here.network.links.gateway.revoked, [callee]);
    realm.procedures.unregister("com.p", MatchPolicy::Exact, callee.session);
    here.end();
}
