//! Questions of other nodes about the sessions and subscriptions of this one.

use std::sync::Arc;

use serde_json::json;
use stentor::router::{Listing, RealmSettings, Settings, ShardId};
use stentor::shard::{Absent, Ask, Finding, LastWords, MOST_IN_PART, Mail, Question, Whom};
use stentor::wamp::{MatchPolicy, SessionId, SubscriptionId, Value};

use super::peer::{Peer, network_with, pipeline};
use crate::support::{Network, Serializer};

const QUESTION_MS: u64 = 2_000;
/// An id that no session and no subscription of this node has.
const ELSEWHERE: u64 = 9_000_000_000_000_000;

fn network(shards: usize) -> Network {
    network_with(|settings| settings.question_ms = QUESTION_MS, shards)
}

fn post(network: &mut Network, shard: usize, ticket: u64, question: Question) {
    let (asker, realm) = (ShardId::CLUSTER, Arc::from("realm1"));
    let ask = Mail::Ask(Box::new(Ask { asker, ticket, realm, question }));
    network.deliver_counted(shard, ask);
}

/// What a shard answers, once, in a single part.
fn answer(network: &mut Network, question: Question) -> Finding {
    post(network, network.shard_count() - 1, 77, question);
    network.settle();
    let mut parts = std::mem::take(&mut network.links.gateway.parts);
    let part = parts.pop().expect("it answers");
    assert_eq!((parts.len(), part.ticket, part.is_last), (0, 77, true));
    part.finding
}

fn join(network: &mut Network, count: usize) -> Vec<Peer> {
    let shards = network.shard_count();
    (0..count).map(|n| Peer::join(network, n % shards, Serializer::Json)).collect()
}

fn subscribe(network: &mut Network, peer: &mut Peer, topic: &str) -> SubscriptionId {
    peer.say(network, &json!([32, 1, {}, topic]));
    let heard = peer.hear(network);
    SubscriptionId::new(heard[0][2].as_u64().expect("an id")).expect("an id")
}

fn id(peer: &Peer) -> SessionId {
    SessionId::new(peer.session).expect("an id")
}

fn words() -> LastWords {
    LastWords { reason: "com.myapp.out".into(), message: "".into() }
}

fn elsewhere() -> SessionId {
    SessionId::new(ELSEWHERE).expect("an id")
}

fn check_end(mut network: Network, peers: &[Peer]) {
    peers.iter().for_each(|peer| network.lose(peer.pipe));
    network.settle();
    network.check_empty();
    assert_eq!(network.router.held_bytes(), 0);
}

#[test]
fn each_question_is_answered_for_the_whole_node() {
    for shards in [1, 3] {
        let mut network = network(shards);
        let mut peers = join(&mut network, 4);
        let x = subscribe(&mut network, &mut peers[0], "com.x");
        assert_eq!(subscribe(&mut network, &mut peers[1], "com.x"), x);
        let none = SubscriptionId::new(ELSEWHERE).expect("an id");
        let roles = |role: &str| Some(Arc::from([Box::from(role)]));
        let uri: Arc<str> = "com.x".into();
        let of_two = |finding| match finding {
            Finding::Sessions(Some(ids)) => Finding::Count(Some(ids.len() as u64)),
            other => other,
        };
        let policy = MatchPolicy::Exact;
        for (question, expected) in [
            (Question::CountSessions { roles: None }, Finding::Count(Some(4))),
            (Question::CountSessions { roles: roles("anonymous") }, Finding::Count(Some(4))),
            (Question::CountSessions { roles: roles("admin") }, Finding::Count(Some(0))),
            (Question::ListSessions { roles: None }, Finding::Count(Some(4))),
            (Question::GetSession(elsewhere()), Finding::Session(None)),
            (
                Question::KillSession { session: elsewhere(), words: words() },
                Finding::Done(Err(Absent::Session)),
            ),
            (
                Question::ListSubscriptions,
                Finding::Subscriptions(Listing { exact: vec![x], ..Listing::default() }),
            ),
            (
                Question::LookUpSubscription { uri: Arc::clone(&uri), policy },
                Finding::Subscription(Some(x)),
            ),
            (Question::MatchSubscriptions { uri }, Finding::Matches(vec![x])),
            (Question::GetSubscription(none), Finding::Described(None)),
            (Question::CountSubscribers(x), Finding::Count(Some(2))),
            (Question::CountSubscribers(none), Finding::Count(None)),
            (Question::ListSubscribers(x), Finding::Count(Some(2))),
            (Question::ListSubscribers(none), Finding::Sessions(None)),
        ] {
            let shown = format!("{question:?}");
            assert_eq!(of_two(answer(&mut network, question)), expected, "{shown}");
        }
        let found = answer(&mut network, Question::GetSession(id(&peers[2])));
        let Finding::Session(Some(details)) = found else { panic!("it is here") };
        assert_eq!(details[0].1, Value::UInt(peers[2].session));
        let found = answer(&mut network, Question::GetSubscription(x));
        assert!(matches!(found, Finding::Described(Some(found)) if &*found.uri == "com.x"));
        let removal = |subscription, session| Question::RemoveSubscriber {
            subscription,
            session,
            reason: Some("com.myapp.out".into()),
        };
        let found = answer(&mut network, removal(none, id(&peers[0])));
        assert_eq!(found, Finding::Done(Err(Absent::Subscription)));
        let found = answer(&mut network, removal(x, elsewhere()));
        assert_eq!(found, Finding::Done(Err(Absent::Session)));
        assert_eq!(answer(&mut network, removal(x, id(&peers[0]))), Finding::Done(Ok(())));
        assert_eq!(answer(&mut network, Question::CountSubscribers(x)), Finding::Count(Some(1)));
        check_end(network, &peers);
    }
}

/// However often it is asked, and whoever asks.
#[test]
fn a_session_is_killed_once() {
    let mut network = network(2);
    let mut peers = join(&mut network, 5);
    let kill = |session| Question::KillSession { session, words: words() };
    assert_eq!(answer(&mut network, kill(id(&peers[0]))), Finding::Done(Ok(())));
    assert_eq!(answer(&mut network, kill(id(&peers[0]))), Finding::Done(Err(Absent::Session)));
    // Two nodes at once, one of which spares a session of its own, as it thinks.
    let caller = id(&peers[1]);
    for ticket in [1, 2] {
        let role = Whom::Authrole("anonymous".into());
        let (whom, words) = (if ticket == 1 { role } else { Whom::All }, words());
        post(
            &mut network,
            ticket as usize - 1,
            ticket,
            Question::KillSessions { whom, caller, words },
        );
    }
    network.settle();
    let killed = network.links.gateway.parts.drain(..).map(|part| match part.finding {
        Finding::Count(Some(count)) => count,
        other => panic!("no count: {other:?}"),
    });
    assert_eq!(killed.sum::<u64>(), 3);
    let whom = Whom::Authid("nobody".into());
    let question = Question::KillSessions { whom, caller: elsewhere(), words: words() };
    assert_eq!(answer(&mut network, question), Finding::Sessions(Some(Vec::new())));
    for (number, peer) in peers.iter_mut().enumerate() {
        let heard = peer.hear(&mut network);
        assert_eq!(heard, if number == 1 { vec![] } else { vec![json!([6, {}, "com.myapp.out"])] });
    }
    assert_eq!(network.router.snapshot().sessions_killed, 4);
    check_end(network, &peers);
}

#[test]
fn long_answers_go_in_parts() {
    let mut network = network(1);
    let peers = join(&mut network, 1);
    let count = 2 * MOST_IN_PART + 5;
    let subscribe = |n| json!([32, n, {}, format!("com.{n}")]);
    pipeline(&mut network, &peers[0], (1..=count).map(subscribe));
    network.settle();
    post(&mut network, 0, 7, Question::ListSubscriptions);
    network.settle();
    let parts = std::mem::take(&mut network.links.gateway.parts);
    let (mut ids, mut lengths) = (Vec::new(), Vec::new());
    for part in parts {
        let Finding::Subscriptions(listing) = part.finding else { panic!("subscriptions") };
        lengths.push((part.ticket, listing.len(), part.is_last));
        ids.extend(listing.exact);
    }
    assert_eq!(lengths, [(7, MOST_IN_PART, false), (7, MOST_IN_PART, false), (7, 5, true)]);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    check_end(network, &peers);
}

/// A list that is longer than an answer may be is not sent at all.
#[test]
fn what_is_too_long_is_said_to_be() {
    let mut network = network_with(|settings| settings.limits.meta_list_items = 3, 2);
    let mut peers = join(&mut network, 4);
    let x = peers.iter_mut().map(|peer| subscribe(&mut network, peer, "com.x")).last();
    let x = x.expect("there are four");
    let found = answer(&mut network, Question::ListSessions { roles: None });
    assert_eq!(found, Finding::TooMany);
    assert_eq!(answer(&mut network, Question::ListSubscribers(x)), Finding::TooMany);
    assert_eq!(answer(&mut network, Question::CountSubscribers(x)), Finding::Count(Some(4)));
    check_end(network, &peers);
}

/// Who cannot answer says so: it is missing, and nobody waits for it.
#[test]
fn a_node_without_room_or_realm_says_so() {
    let mut network = network_with(
        |settings| {
            settings.question_ms = QUESTION_MS;
            settings.limits.held_total_bytes = 100_000;
        },
        1,
    );
    let topic: Arc<str> = "x".repeat(200_000).into();
    assert_eq!(answer(&mut network, Question::MatchSubscriptions { uri: topic }), Finding::Unable);
    let question = Question::CountSessions { roles: None };
    let (asker, realm) = (ShardId::CLUSTER, Arc::from("realm2"));
    let ask = Ask { asker, ticket: 5, realm, question };
    network.deliver_counted(0, Mail::Ask(Box::new(ask)));
    network.settle();
    let part = network.links.gateway.parts.pop().expect("it answers");
    assert_eq!((part.ticket, part.finding, part.is_last), (5, Finding::Unable, true));
    check_end(network, &[]);
}

/// Long questions wait in a line, which is bounded. What waits so long that nobody waits for its
/// answer is not begun, so nobody is killed whom the answer does not tell of.
#[test]
fn questions_of_nodes_wait_for_their_turn_and_not_for_ever() {
    let change = |settings: &mut Settings| {
        settings.question_ms = QUESTION_MS;
        (settings.turn.step_units, settings.turn.turn_units) = (20, 20);
    };
    let mut network = network_with(change, 1);
    let mut peers = join(&mut network, 1);
    let list = || Question::ListSessions { roles: None };
    for ticket in 1..=2_000 {
        let mail =
            Ask { asker: ShardId::CLUSTER, ticket, realm: "realm1".into(), question: list() };
        network.deliver_counted(0, Mail::Ask(Box::new(mail)));
        let waiting = network.shard(0).poll_count();
        assert!(waiting <= 1_024 + 8, "{waiting} questions are under way");
    }
    network.settle();
    let parts = std::mem::take(&mut network.links.gateway.parts);
    assert_eq!(parts.len(), 2_000, "each is answered once");
    // The mail of one turn, which handles no more: the others come up when it is too late.
    for ticket in 1..=100 {
        let (whom, caller) = (Whom::All, id(&peers[0]));
        let question = match ticket {
            100 => Question::KillSessions { whom, caller: elsewhere(), words: words() },
            _ => Question::KillSessions { whom, caller, words: words() },
        };
        post(&mut network, 0, ticket, question);
    }
    network.advance(QUESTION_MS + 1);
    network.settle();
    let parts = std::mem::take(&mut network.links.gateway.parts);
    let unable = parts.iter().filter(|part| part.finding == Finding::Unable).count();
    assert!(parts.len() == 100 && unable > 0, "{unable} of {}", parts.len());
    let is_late = parts.iter().any(|part| part.ticket == 100 && part.finding == Finding::Unable);
    let heard = peers[0].hear(&mut network);
    assert_eq!(heard.is_empty(), is_late, "{heard:?}");
    check_end(network, &peers);
}

/// The realm of a question may be gone by a reload before its turn comes.
#[test]
fn a_realm_that_is_gone_has_nothing() {
    let settings = Settings { question_ms: QUESTION_MS, ..Settings::default() };
    let realms = vec![RealmSettings::named("realm1"), RealmSettings::named("realm2")];
    let mut network = Network::new(settings.clone(), realms.clone(), 1);
    let peers = join(&mut network, 2);
    assert_eq!(
        answer(&mut network, Question::CountSessions { roles: None }),
        Finding::Count(Some(2))
    );
    network.reload(settings, realms[1..].to_vec());
    network.settle();
    assert_eq!(answer(&mut network, Question::CountSessions { roles: None }), Finding::Unable);
    check_end(network, &peers);
}
