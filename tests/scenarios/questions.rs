//! Questions of the meta API that other nodes have to answer as well; the test's hand plays them.

use serde_json::json;
use stentor::router::NodeIds;
use stentor::shard::{Absent, Finding, MOST_IN_PART, Word};

use super::asker::{
    A_AND_B, ELSEWHERE, Here, QUESTION_MS, count, described, listing, session, sessions,
    subscription,
};
use super::dialogue::{check_realm, check_with};
use super::peer::Peer;
use crate::support::{Serializer, node};

/// A node that is the only one answers as a router that is alone.
#[test]
fn without_other_nodes_all_answers_are_as_ever() {
    check_with(
        |settings| settings.question_ms = QUESTION_MS,
        r#"join a b
           a -> CALL {} wamp.session.count
           a <- RESULT 1 {} [2]
           a -> CALL {} wamp.session.count [["anonymous"]]
           a <- RESULT 2 {} [2]
           a -> CALL {} wamp.session.list
           a <- RESULT 3 {} ~[[$id_a,$id_b]]
           a -> CALL {} wamp.session.get [$id_b]
           a <- RESULT 4 {} [*]
           a -> CALL {} wamp.session.get [77]
           a <- ERROR 48 5 {} wamp.error.no_such_session *
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $x
           a -> CALL {} wamp.subscription.list
           a <- RESULT 6 {} [{"exact":[$x],"prefix":[],"wildcard":[]}]
           a -> CALL {} wamp.subscription.lookup ["com.x"]
           a <- RESULT 7 {} [$x]
           a -> CALL {} wamp.subscription.lookup ["com.y"]
           a <- RESULT 8 {} [null]
           a -> CALL {} wamp.subscription.match ["com.x"]
           a <- RESULT 9 {} [[$x]]
           a -> CALL {} wamp.subscription.match ["com.y"]
           a <- RESULT 10 {} [null]
           a -> CALL {} wamp.subscription.get [$x]
           a <- RESULT 11 {} [{"id":$x,"created":*,"uri":"com.x","match":"exact"}]
           a -> CALL {} wamp.subscription.count_subscribers [$x]
           a <- RESULT 12 {} [1]
           a -> CALL {} wamp.subscription.list_subscribers [$x]
           a <- RESULT 13 {} [[$id_b]]
           a -> CALL {} wamp.subscription.list_subscribers [99]
           a <- ERROR 48 14 {} wamp.error.no_such_subscription *
           a -> CALL {} wamp.session.kill [$id_b]
           a <- ERROR 48 15 {} wamp.error.not_authorized *"#,
    );
    check_realm(
        |realm| realm.admin_roles = vec!["anonymous".into()],
        r#"join a
           a -> CALL {} wamp.session.kill [$id_a]
           a <- ERROR 48 1 {} wamp.error.no_such_session *"#,
    );
}

#[test]
fn what_nodes_count_is_summed() {
    let mut here = Here::new(|_| {});
    for (procedure, args, own) in [
        ("wamp.session.count", json!([]), 1),
        ("wamp.session.count", json!([["anonymous"]]), 1),
        ("wamp.session.kill_by_authrole", json!(["anonymous"]), 0),
        ("wamp.session.kill_all", json!([]), 0),
    ] {
        let ask = here.ask(procedure, &args);
        assert_eq!(here.answer(&ask, count(20), count(300)), json!([[320 + own]]));
    }
    let id = here.subscribe("com.x");
    let ask = here.ask("wamp.subscription.count_subscribers", &json!([id]));
    assert_eq!(here.answer(&ask, count(20), Finding::Count(None)), json!([[21]]));
    let ask = here.ask("wamp.subscription.count_subscribers", &json!([ELSEWHERE]));
    assert_eq!(here.answer(&ask, Finding::Count(None), count(u64::MAX)), json!([[u64::MAX]]));
    let ask = here.ask("wamp.subscription.count_subscribers", &json!([ELSEWHERE]));
    let error = here.answer(&ask, Finding::Count(None), Finding::Count(None));
    assert_eq!(error[0], "wamp.error.no_such_subscription");
    here.end();
}

/// In order, and none twice, whoever names it.
#[test]
fn what_nodes_list_is_united() {
    let mut here = Here::new(|_| {});
    let (x, own) = (here.subscribe("com.x"), here.client.session);
    let (a, b) = (ELSEWHERE, ELSEWHERE + 1);
    for (procedure, args, is_own) in [
        ("wamp.session.list", json!([]), true),
        ("wamp.session.list", json!([["admin"]]), false),
        ("wamp.session.kill_by_authid", json!(["joe"]), false),
        ("wamp.subscription.list_subscribers", json!([x]), true),
        ("wamp.subscription.list_subscribers", json!([ELSEWHERE]), false),
    ] {
        let ask = here.ask(procedure, &args);
        let mut expected = vec![a, b];
        expected.extend(is_own.then_some(own));
        expected.sort_unstable();
        let heard =
            here.answer(&ask, sessions(&[b, a, a]), sessions(&[a, own][..1 + usize::from(is_own)]));
        assert_eq!(heard, json!([[expected]]), "{procedure}");
    }
    let ask = here.ask("wamp.subscription.list", &json!([]));
    let heard = here.answer(&ask, listing(&[a, x], &[b]), listing(&[], &[b, a]));
    assert_eq!(heard, json!([[{"exact": [x, a], "prefix": [a, b], "wildcard": []}]]));
    let matches = |ids: &[u64]| Finding::Matches(ids.iter().map(|id| subscription(*id)).collect());
    let ask = here.ask("wamp.subscription.match", &json!(["com.x"]));
    assert_eq!(here.answer(&ask, matches(&[b]), matches(&[a, x])), json!([[[x, a, b]]]));
    let ask = here.ask("wamp.subscription.match", &json!(["com.y"]));
    assert_eq!(here.answer(&ask, matches(&[]), matches(&[])), json!([[null]]));
    here.end();
}

#[test]
fn a_subscription_is_found_wherever_it_is() {
    let mut here = Here::new(|_| {});
    let (x, found) = (here.subscribe("com.x"), |id| Finding::Subscription(Some(subscription(id))));
    let nothing = || Finding::Subscription(None);
    for (topic, of_b, expected) in [
        ("com.x", found(ELSEWHERE), json!(x)),
        ("com.y", found(ELSEWHERE), json!(ELSEWHERE)),
        ("com.y", nothing(), json!(null)),
    ] {
        let ask = here.ask("wamp.subscription.lookup", &json!([topic]));
        assert_eq!(here.answer(&ask, nothing(), of_b), json!([[expected]]));
    }
    here.end();
}

/// Two nodes have a subscription with this id: it was created when the first of them made it.
#[test]
fn a_subscription_is_as_its_first_creation_has_it() {
    let mut here = Here::new(|_| {});
    let x = here.subscribe("com.x");
    let nothing = || Finding::Described(None);
    for (id, of_a, of_b, uri, created) in [
        (
            x,
            described("com.x", 1_000),
            described("com.x", 2_000),
            "com.x",
            "1970-01-01T00:00:01.000Z",
        ),
        (x, described("com.z", i64::MAX / 2), nothing(), "com.x", "2024-05-01T12:00:01.000Z"),
        (
            ELSEWHERE,
            described("com.y", 2_000),
            described("com.z", 1_000),
            "com.z",
            "1970-01-01T00:00:01.000Z",
        ),
    ] {
        let ask = here.ask("wamp.subscription.get", &json!([id]));
        let heard = here.answer(&ask, of_a, of_b);
        let expected = json!({"id": id, "created": created, "uri": uri, "match": "exact"});
        assert_eq!(heard, json!([[expected]]));
    }
    let ask = here.ask("wamp.subscription.get", &json!([ELSEWHERE]));
    let heard = here.answer(&ask, nothing(), nothing());
    assert_eq!(heard[0], "wamp.error.no_such_subscription");
    here.end();
}

/// What is about one session is for the node alone that has it.
#[test]
fn one_session_is_asked_of_its_owner() {
    let mut here = Here::new(|_| {});
    let other = Peer::join(&mut here.network, 0, Serializer::Json);
    let x = here.subscribe("com.x");
    let done = |done| Finding::Done(done);
    let details = vec![("session".into(), ELSEWHERE.into())];
    let said = json!({ "session": ELSEWHERE });
    let no_session = "wamp.error.no_such_session";
    for (procedure, args, found, expected) in [
        ("session.get", json!([ELSEWHERE]), Finding::Session(Some(details)), json!([[said]])),
        ("session.get", json!([ELSEWHERE]), Finding::Session(None), json!(no_session)),
        ("session.kill", json!([ELSEWHERE]), done(Ok(())), json!([])),
        ("session.kill", json!([ELSEWHERE]), done(Err(Absent::Session)), json!(no_session)),
        ("subscription.remove_subscriber", json!([x, ELSEWHERE]), done(Ok(())), json!([])),
        (
            "subscription.remove_subscriber",
            json!([x, ELSEWHERE]),
            done(Err(Absent::Subscription)),
            json!("wamp.error.no_such_subscription"),
        ),
    ] {
        let ask = here.ask(&format!("wamp.{procedure}"), &args);
        assert_eq!(ask.question.session(), Some(session(ELSEWHERE)));
        here.network.name_asked((ask.asker, ask.ticket), &A_AND_B[1..]);
        here.part(&ask, 2, found);
        let heard = here.hear_one();
        assert!(heard == expected || heard[0] == expected, "{procedure}: {heard}");
    }
    // Nobody is asked about who is here.
    for procedure in ["session.get", "session.kill"] {
        here.say(&format!("wamp.{procedure}"), &json!([other.session]));
        assert_eq!(here.hear()[0][0], 50, "RESULT");
    }
    here.say("wamp.session.kill", &json!([here.client.session]));
    assert_eq!(here.hear_one()[0], no_session);
    // No member has its number.
    let ask = here.ask("wamp.session.get", &json!([ELSEWHERE]));
    here.network.name_asked((ask.asker, ask.ticket), &[]);
    assert_eq!(here.hear_one()[0], no_session);
    assert!(here.network.links.gateway.asks.is_empty());
    here.network.lose(other.pipe);
    here.end();
}

/// A node knows the ids that only its own sessions have.
#[test]
fn nobody_else_is_asked_about_a_session_that_has_left() {
    let ids = NodeIds::new(node(7), 42);
    let mut here = Here::new(|settings| settings.node = Some(ids));
    let own = ids.session(1_234).get();
    here.say("wamp.session.get", &json!([own]));
    assert_eq!(here.hear_one()[0], "wamp.error.no_such_session");
    let foreign = NodeIds::new(node(8), 42).session(1_234).get();
    let ask = here.ask("wamp.session.get", &json!([foreign]));
    assert_eq!(ids.owner(ask.question.session().expect("its owner is asked")), node(8));
    here.network.advance(QUESTION_MS);
    assert_eq!(here.hear_one()[0], "wamp.error.network_failure");
    here.end();
}

#[test]
fn who_does_not_answer_in_time_is_named() {
    let mut here = Here::new(|_| {});
    let ask = here.ask("wamp.session.count", &json!([]));
    let at = (ask.asker, ask.ticket);
    here.network.name_asked(at, A_AND_B);
    here.part(&ask, 1, count(5));
    here.network.advance(QUESTION_MS - 1);
    assert_eq!(here.hear(), [json!(null); 0]);
    here.network.advance(1);
    assert_eq!(here.hear_one(), json!([[6], {"partial": true, "missing": ["b"]}]));
    // A part after the deadline is dropped, and so is what is said of a question twice.
    here.part(&ask, 2, count(7));
    here.network.reply(at, Word::Missing(vec![node(2)]));
    assert_eq!((here.hear().len(), here.late()), (0, 2));
    // One that is late, but not too late.
    let ask = here.ask("wamp.session.count", &json!([]));
    here.network.name_asked((ask.asker, ask.ticket), A_AND_B);
    here.part(&ask, 2, count(7));
    here.network.advance(QUESTION_MS - 1);
    here.part(&ask, 1, count(8));
    assert_eq!(here.hear_one(), json!([[16]]));
    let tally = here.network.shard(0).poll_tally();
    assert_eq!((tally.answered, tally.partial), (2, 1));
    here.end();
}

/// Whose link has ended is not waited for; if nobody speaks at all, nobody can be named.
#[test]
fn nobody_is_waited_for_who_will_not_answer() {
    let mut here = Here::new(|_| {});
    let ask = here.ask("wamp.session.list", &json!([]));
    let at = (ask.asker, ask.ticket);
    here.network.name_asked(at, A_AND_B);
    here.network.reply(at, Word::Missing(vec![node(2), node(1), node(9)]));
    let own = here.client.session;
    assert_eq!(here.hear_one(), json!([[[own]], {"partial": true, "missing": ["a", "b"]}]));
    for (procedure, args, expected) in [
        ("session.count", json!([]), json!([1])),
        ("subscription.lookup", json!(["com.y"]), json!([null])),
        ("subscription.match", json!(["com.y"]), json!([null])),
    ] {
        here.ask(&format!("wamp.{procedure}"), &args);
        here.network.advance(QUESTION_MS);
        assert_eq!(here.hear_one(), json!([expected, {"partial": true, "missing": []}]));
    }
    // What nobody has found may be with those that are missing.
    for (procedure, args) in [
        ("session.get", json!([ELSEWHERE])),
        ("session.kill", json!([ELSEWHERE])),
        ("subscription.get", json!([ELSEWHERE])),
        ("subscription.count_subscribers", json!([ELSEWHERE])),
        ("subscription.list_subscribers", json!([ELSEWHERE])),
        ("subscription.remove_subscriber", json!([ELSEWHERE, ELSEWHERE])),
    ] {
        let ask = here.ask(&format!("wamp.{procedure}"), &args);
        here.network.name_asked((ask.asker, ask.ticket), A_AND_B);
        here.network.advance(QUESTION_MS);
        let heard = here.hear_one();
        assert_eq!(heard[0], "wamp.error.network_failure", "{procedure}");
        assert_eq!(heard[2], json!({"partial": true, "missing": ["a", "b"]}));
    }
    here.end();
}

/// A node that says what is no answer is missing, and takes nothing from the others.
#[test]
fn a_part_that_is_no_answer_counts_for_nothing() {
    let mut here = Here::new(|settings| settings.limits.uri_bytes = 50);
    let partial = json!({"partial": true, "missing": ["b"]});
    let too_many: Vec<u64> = (0..=MOST_IN_PART as u64).map(|n| ELSEWHERE - n).collect();
    let large = vec![("authid".into(), "x".repeat(70_000).into())];
    let own = here.client.session;
    let x = here.subscribe("com.x");
    for wrong in [count(3), Finding::Sessions(None), Finding::Unable, sessions(&too_many)] {
        let is_known = wrong == Finding::Sessions(None);
        let ask = here.ask("wamp.session.list", &json!([]));
        let heard = here.answer(&ask, sessions(&[own]), wrong);
        let expected = if is_known { json!([[[own]]]) } else { json!([[[own]], partial]) };
        assert_eq!(heard, expected);
    }
    for wrong in [described(&"x".repeat(51), 1), Finding::Session(None), Finding::TooMany] {
        let ask = here.ask("wamp.subscription.get", &json!([x]));
        let heard = here.answer(&ask, Finding::Described(None), wrong);
        assert_eq!((&heard[0][0]["uri"], &heard[1]), (&json!("com.x"), &partial));
    }
    let ask = here.ask("wamp.session.get", &json!([ELSEWHERE]));
    let heard = here.answer(&ask, Finding::Session(None), Finding::Session(Some(large)));
    assert_eq!(heard[0], "wamp.error.network_failure");
    // What those say that were not asked, or have said all, or say before it is known who is asked.
    let ask = here.ask("wamp.session.count", &json!([]));
    let at = (ask.asker, ask.ticket);
    here.part(&ask, 1, count(1_000));
    here.network.name_asked(at, A_AND_B);
    here.network.name_asked(at, &[(3, "c")]);
    here.part(&ask, 1, count(10));
    here.part(&ask, 1, count(1_000));
    here.part(&ask, 3, count(1_000));
    here.network.reply((ask.asker, ask.ticket + 1), Word::Missing(vec![node(2)]));
    here.part(&ask, 2, count(100));
    assert_eq!(here.hear_one(), json!([[111]]));
    here.end();
}

/// A long answer comes in pieces, and no more of it is kept than one answer lists.
#[test]
fn parts_come_in_pieces_up_to_the_limit() {
    let most = 3 * MOST_IN_PART;
    let mut here = Here::new(|settings| settings.limits.meta_list_items = most);
    for more in [0, 1] {
        let ask = here.ask("wamp.session.list", &json!([]));
        let at = (ask.asker, ask.ticket);
        here.network.name_asked(at, A_AND_B);
        here.part(&ask, 1, sessions(&[]));
        for piece in 0..4 {
            // This node has one session itself.
            let count = if piece < 3 { MOST_IN_PART } else { more };
            let count = count - usize::from(piece == 2);
            let first = ELSEWHERE - (piece * MOST_IN_PART) as u64;
            let ids: Vec<u64> = (0..count as u64).map(|n| first - n).collect();
            let (finding, is_last) = (sessions(&ids), piece == 3);
            here.network.reply(at, Word::Found { node: node(2), finding, is_last });
            let bytes = here.network.router.held_bytes();
            assert!(bytes < 2 * 8 * most + 10_000, "{bytes} bytes are held");
        }
        let heard = here.hear_one();
        if more == 0 {
            assert_eq!(heard[0][0].as_array().map(Vec::len), Some(most));
        } else {
            assert_eq!(heard[0], "wamp.error.resource_limit");
        }
    }
    // Who has too many says so at once.
    let ask = here.ask("wamp.subscription.list", &json!([]));
    let heard = here.answer(&ask, Finding::TooMany, listing(&[], &[]));
    assert_eq!(heard[0], "wamp.error.resource_limit");
    here.end();
}

/// What is killed is listed however much it is, as long as there is room for it.
#[test]
fn a_part_that_finds_no_room_is_missing() {
    let limit = 400_000;
    let mut here = Here::new(|settings| settings.limits.held_total_bytes = limit);
    let ask = here.ask("wamp.session.kill_by_authid", &json!(["joe"]));
    let at = (ask.asker, ask.ticket);
    here.network.name_asked(at, A_AND_B);
    here.part(&ask, 1, sessions(&[ELSEWHERE]));
    for piece in 1..100 {
        let first = ELSEWHERE - piece * MOST_IN_PART as u64;
        let ids: Vec<u64> = (first..first + MOST_IN_PART as u64).collect();
        let finding = sessions(&ids);
        here.network.reply(at, Word::Found { node: node(2), finding, is_last: false });
        let bytes = here.network.router.held_bytes();
        assert!(bytes < 2 * limit, "{bytes} bytes are held");
    }
    let heard = here.hear_one();
    let listed = heard[0][0].as_array().map_or(0, Vec::len);
    assert!((MOST_IN_PART..50_000).contains(&listed), "{listed} are listed");
    assert_eq!(heard[1], json!({"partial": true, "missing": ["b"]}));
    here.end();
}
