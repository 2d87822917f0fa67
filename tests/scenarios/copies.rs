//! What nodes keep alike: retained events and event histories, live and copied.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stentor::cluster::NodeSettings;
use stentor::router::{HistorySettings, HistoryStore, RealmSettings, Settings};
use stentor::wamp::MatchPolicy;

use super::cluster::{check_end, hear, join, say, subscribe};
use super::peer::Peer;
use crate::support::Cluster;

/// Nodes whose retained events are durable, as are the histories of `com.x`, `log.` and `a..c`.
fn cluster(nodes: usize, change: impl Fn(&mut Settings, &mut NodeSettings)) -> Cluster {
    let mut settings = Settings { visible_ms: 250, interest_bits: 20, ..Settings::default() };
    settings.timeouts.ping_interval_ms = 0;
    settings.durable_retained = true;
    let mut node = NodeSettings { max_payload: 1 << 20, silence_ms: 10_000, queue_bytes: 1 << 20 };
    change(&mut settings, &mut node);
    let mut cluster = Cluster::new(nodes, 1, (&settings, node), &[realm("realm1")]);
    cluster.settle_for(100);
    assert!(cluster.is_linked());
    cluster
}

fn realm(name: &str) -> RealmSettings {
    let history = |topic: &str, policy| HistorySettings {
        topic: topic.into(),
        policy,
        store: HistoryStore::Durable,
        events: Some(2_000),
        ..HistorySettings::default()
    };
    let mut realm = RealmSettings::named(name);
    realm.histories = vec![
        history("com.x", MatchPolicy::Exact),
        history("log.", MatchPolicy::Prefix),
        history("a..c", MatchPolicy::Wildcard),
    ];
    realm
}

/// Publishes, and returns the publication.
fn publish(
    cluster: &mut Cluster,
    node: usize,
    peer: &mut Peer,
    (request, mut options, topic): (u64, Value, &str),
) -> u64 {
    options["acknowledge"] = true.into();
    say(cluster, node, peer, &json!([16, request, options, topic, [request]]));
    let heard = hear(cluster, node, peer);
    let published = heard.iter().find(|message| message[0] == 17);
    published.unwrap_or_else(|| panic!("{heard:?}"))[2].as_u64().expect("an id")
}

/// What comes with a subscription: publications and details.
fn retained(
    cluster: &mut Cluster,
    node: usize,
    (topic, policy): (&str, &str),
) -> Vec<(u64, Value)> {
    let mut peer = join(cluster, node);
    let got = retained_for(cluster, node, &mut peer, (topic, policy));
    cluster.members[node].network.lose(peer.pipe);
    got
}

fn retained_for(
    cluster: &mut Cluster,
    node: usize,
    peer: &mut Peer,
    (topic, policy): (&str, &str),
) -> Vec<(u64, Value)> {
    let options = json!({"get_retained": true, "match": policy});
    say(cluster, node, peer, &json!([32, 1_000, options, topic]));
    let heard = hear(cluster, node, peer);
    assert_eq!(heard[0][0], 33, "{heard:?}");
    let event = |event: &Value| (event[2].as_u64().expect("an id"), event[3].clone());
    heard[1..].iter().map(event).collect()
}

/// Topics and publications that a node retains.
fn table(cluster: &Cluster, node: usize) -> Vec<(String, u64)> {
    let realm = cluster.members[node].network.router.realm("realm1").expect("it is there");
    let (_, events) = realm.retained.holding();
    let mut events: Vec<_> = events
        .into_iter()
        .map(|(_, topic, event)| (topic.to_string(), event.publication.get()))
        .collect();
    events.sort_unstable();
    events
}

/// Publications of the history of a pattern, in their order, with their times.
fn history(cluster: &Cluster, node: usize, uri: &str, policy: MatchPolicy) -> Vec<(u64, i64)> {
    let realm = cluster.members[node].network.router.realm("realm1").expect("it is there");
    let found = realm.topics.look_up(uri, policy).expect("it is there");
    let history = realm.histories.get(found.subscription).expect("it is kept");
    let events = history.events().into_iter();
    events.map(|(_, event)| (event.publication.get(), event.timestamp.unix_us())).collect()
}

fn ids(history: &[(u64, i64)]) -> Vec<u64> {
    history.iter().map(|(publication, _)| *publication).collect()
}

/// AP-RET-01, AP-RET-02, AP-RET-07: every node keeps it though nobody there wants it; whoever wants
/// it later gets it, and who wanted it before gets it once.
#[test]
fn a_retained_event_is_on_every_node() {
    let mut cluster = cluster(3, |_, _| {});
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    let live = subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.y"]));
    let first = publish(&mut cluster, 0, &mut a, (1, json!({"retain": true}), "com.y"));
    let plain = publish(&mut cluster, 0, &mut a, (2, json!({}), "com.y"));
    let heard = hear(&mut cluster, 1, &mut b);
    let events = [json!([36, live, first, {}, [1]]), json!([36, live, plain, {}, [2]])];
    assert_eq!(heard, events, "as ever");
    for node in 0..3 {
        assert_eq!(
            retained(&mut cluster, node, ("com.y", "exact")),
            [(first, json!({"retained": true}))]
        );
        let with_topic = json!({"retained": true, "topic": "com.y"});
        assert_eq!(retained(&mut cluster, node, ("com", "prefix")), [(first, with_topic)]);
        assert_eq!(cluster.members[node].node.counts().useless_events, 0);
    }
    let next = publish(&mut cluster, 0, &mut a, (3, json!({"retain": true}), "com.y"));
    assert_eq!(table(&cluster, 2), [("com.y".to_owned(), next)]);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// AP-RET-05, AP-PID, AP-BWL: who was not to receive it does not get it later on another node
/// either, and what it says of its publisher it says there.
#[test]
fn who_may_receive_it_is_the_same_on_every_node() {
    let mut cluster = cluster(2, |_, _| {});
    let mut a = join(&mut cluster, 0);
    let mut others = [0, 1].map(|_| join(&mut cluster, 1));
    let (b_id, c_id) = (others[0].session, others[1].session);
    let keeps = |options: Value| {
        let mut all = json!({"retain": true});
        let (all_keys, options) = (all.as_object_mut().expect("a dict"), options);
        all_keys.extend(options.as_object().expect("a dict").clone());
        all
    };
    for (request, (options, gets)) in (1..).zip([
        (json!({"eligible": [b_id]}), (true, false)),
        (json!({"exclude": [b_id]}), (false, true)),
        (json!({"eligible": [b_id], "exclude": [b_id]}), (false, false)),
        (json!({"eligible_authrole": ["anonymous"], "exclude": [c_id]}), (true, false)),
        (json!({"exclude_authrole": ["anonymous"]}), (false, false)),
        (json!({"disclose_me": true}), (true, true)),
    ]) {
        let topic = format!("com.y{request}");
        let it = publish(&mut cluster, 0, &mut a, (request, keeps(options.clone()), &topic));
        let got = others
            .each_mut()
            .map(|peer| retained_for_again(&mut cluster, 1, peer, request, &topic));
        assert_eq!((got[0].len() == 1, got[1].len() == 1), gets, "{options}");
        for (publication, details) in got.iter().flatten() {
            assert_eq!(*publication, it);
            let is_disclosed = options.get("disclose_me").is_some();
            assert_eq!(details["publisher"] == a.session, is_disclosed, "{details}");
        }
    }
    let [b, c] = &others;
    check_end(cluster, &[(0, &a), (1, b), (1, c)]);
}

fn retained_for_again(
    cluster: &mut Cluster,
    node: usize,
    peer: &mut Peer,
    request: u64,
    topic: &str,
) -> Vec<(u64, Value)> {
    say(cluster, node, peer, &json!([32, request, {"get_retained": true}, topic]));
    let heard = hear(cluster, node, peer);
    let events = heard.iter().filter(|message| message[0] == 36);
    events.map(|event| (event[2].as_u64().expect("an id"), event[3].clone())).collect()
}

/// Two nodes publish at once: the later one stays, everywhere. A publisher that does not get its
/// own event gets the one before, which may be of another node.
#[test]
fn concurrent_events_end_alike_everywhere() {
    let mut cluster = cluster(3, |_, _| {});
    let [mut a, b] = [0, 1].map(|node| join(&mut cluster, node));
    for round in 1..4 {
        say(&mut cluster, 0, &a, &json!([16, round, {"retain": true}, "com.y", ["a"]]));
        say(&mut cluster, 1, &b, &json!([16, round, {"retain": true}, "com.y", ["b"]]));
        cluster.members[0].network.settle();
        cluster.advance(1);
        cluster.members[1].network.settle();
        cluster.settle_for(20);
        let tables = [0, 1, 2].map(|node| table(&cluster, node));
        assert!(tables[0] == tables[1] && tables[1] == tables[2], "{tables:?}");
        assert_eq!(tables[0].len(), 2, "the last one, and the last one that its publisher gets");
    }
    let own = retained_for(&mut cluster, 0, &mut a, ("com.y", "exact"));
    let others = retained(&mut cluster, 2, ("com.y", "exact"));
    assert!(own.len() == 1 && others.len() == 1);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// AP-RET-08: a limit lets the same go on every node, by age and not by arrival.
#[test]
fn limits_let_the_same_go_everywhere() {
    let mut cluster = cluster(2, |settings, _| settings.limits.retained_events = 4);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    for request in 1..20 {
        let topic = format!("com.{}", request % 7);
        publish(&mut cluster, 0, &mut a, (request, json!({"retain": true}), &topic));
        cluster.advance(1);
        let topic = format!("com.{}", request % 5);
        publish(&mut cluster, 1, &mut b, (request, json!({"retain": true}), &topic));
        cluster.advance(1);
    }
    cluster.settle_for(6_000);
    assert_eq!(table(&cluster, 0), table(&cluster, 1));
    assert_eq!(table(&cluster, 0).len(), 4);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// AP-HIS-01, AP-HIS-06: each node has the events of all under every policy, with their ids and
/// times; who are named by session are in none.
#[test]
fn a_history_has_the_events_of_all_nodes() {
    let mut cluster = cluster(3, |_, _| {});
    let mut peers = [0, 1, 2].map(|node| join(&mut cluster, node));
    let mut expected = [const { Vec::new() }; 3];
    for request in 1..=6 {
        for (node, peer) in peers.iter_mut().enumerate() {
            let topics = ["com.x", "log.x", "a.b.c", "com.y"];
            for (place, topic) in (0..).zip(topics) {
                let request = 4 * request + place;
                let it = publish(&mut cluster, node, peer, (request, json!({}), topic));
                if let Some(expected) = expected.get_mut(place as usize) {
                    expected.push(it);
                }
            }
        }
        cluster.settle_for(20);
    }
    assert_eq!(cluster.members[2].node.counts().useless_events, 0);
    let lists = json!({"eligible": [peers[0].session]});
    publish(&mut cluster, 0, &mut peers[0], (100, lists, "com.x"));
    let patterns = [
        ("com.x", MatchPolicy::Exact),
        ("log.", MatchPolicy::Prefix),
        ("a..c", MatchPolicy::Wildcard),
    ];
    for ((uri, policy), expected) in patterns.into_iter().zip(expected) {
        let histories = [0, 1, 2].map(|node| history(&cluster, node, uri, policy));
        assert_eq!(ids(&histories[0]), expected, "{uri}");
        assert!(histories.iter().all(|history| *history == histories[0]), "{uri}");
    }
    // As clients see it, at a node that has published nothing of it but its own.
    let network = &mut cluster.members[2].network;
    let realm = network.router.realm("realm1").expect("it is there");
    let id = realm.topics.look_up("com.x", MatchPolicy::Exact).expect("it is there").subscription;
    let call = json!([48, 200, {}, "wamp.subscription.get_events", [id.get()], {"limit": 2}]);
    say(&mut cluster, 2, &peers[2], &call);
    let heard = hear(&mut cluster, 2, &mut peers[2]);
    let result = heard.last().expect("a result");
    assert_eq!((result[0].clone(), result[3].as_array().map(Vec::len)), (json!(50), Some(2)));
    let [a, b, c] = &peers;
    check_end(cluster, &[(0, a), (1, b), (2, c)]);
}

/// What was published while two nodes did not hear each other comes to both when they link again,
/// however much it is; what both have costs little.
#[test]
fn a_link_copies_what_the_other_end_lacks() {
    let mut cluster = cluster(2, |_, _| {});
    let mut peers = [0, 1].map(|node| join(&mut cluster, node));
    let publish_all = |cluster: &mut Cluster, peers: &[Peer; 2], from: u64, count: u64| {
        for request in from..from + count {
            for (node, peer) in peers.iter().enumerate() {
                let topic = format!("log.{node}.{request}");
                let payload = "x".repeat(100);
                let message = json!([16, request, {"retain": true}, topic, [payload]]);
                say(cluster, node, peer, &message);
            }
            cluster.advance(1);
        }
        cluster.members.iter_mut().for_each(|member| member.network.settle());
    };
    publish_all(&mut cluster, &peers, 1, 10);
    cluster.settle_for(100);
    cluster.bus.cut.extend([(0, 1), (1, 0)]);
    cluster.settle_for(12_000);
    publish_all(&mut cluster, &peers, 11, 700);
    assert_ne!(table(&cluster, 0), table(&cluster, 1));
    cluster.bus.cut.clear();
    cluster.settle_for(6_000);
    assert!(cluster.is_linked());
    let log = |cluster: &Cluster, node| history(cluster, node, "log.", MatchPolicy::Prefix);
    assert_eq!(table(&cluster, 0), table(&cluster, 1));
    assert_eq!(table(&cluster, 0).len(), 1_420);
    let logs = [0, 1].map(|node| log(&cluster, node));
    let sorted = |events: &[_]| events.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(logs[0].len(), 1_420);
    assert_eq!(sorted(&logs[0][..20]), sorted(&logs[1][..20]), "from before");
    assert_eq!(logs[0][20..720], logs[1][720..], "the copies stand behind, in their order");
    assert_eq!(logs[0][720..], logs[1][20..720]);
    // Nothing has changed, so the next link says so and no more.
    cluster.bus.cut.extend([(0, 1), (1, 0)]);
    cluster.settle_for(12_000);
    let before = cluster.bus.sent_bytes;
    cluster.bus.cut.clear();
    cluster.settle_for(3_000);
    assert!(cluster.is_linked());
    let cost = cluster.bus.sent_bytes - before;
    assert!(cost < 40_000, "{cost} bytes for what both have");
    for (node, peer) in peers.iter_mut().enumerate() {
        let heard = hear(&mut cluster, node, peer);
        assert!(heard.is_empty(), "nobody has subscribed");
    }
    let [a, b] = &peers;
    check_end(cluster, &[(0, a), (1, b)]);
}

/// Who joins late serves with the copies of all: it is not ready before.
#[test]
fn who_joins_late_has_it_all() {
    let mut cluster = cluster(3, |_, _| {});
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    cluster.kill(2);
    cluster.settle_for(4_000);
    let mut expected = Vec::new();
    for round in 1..=600 {
        let topic = format!("com.{round}");
        let (node, peer) = if round % 2 == 0 { (0, &mut a) } else { (1, &mut b) };
        publish(&mut cluster, node, peer, (2 * round, json!({"retain": true}), &topic));
        expected.push(publish(&mut cluster, node, peer, (2 * round + 1, json!({}), "com.x")));
    }
    cluster.settle_for(100);
    cluster.restart(2);
    for _ in 0..200 {
        cluster.settle_for(20);
        if cluster.is_up(2) && cluster.members[2].node.is_ready() {
            break;
        }
        assert!(!cluster.is_up(2) || table(&cluster, 2).len() <= 600);
    }
    assert!(cluster.members[2].node.is_ready());
    assert_eq!(table(&cluster, 2).len(), 600);
    assert_eq!(table(&cluster, 2), table(&cluster, 0));
    let copied = history(&cluster, 2, "com.x", MatchPolicy::Exact);
    assert_eq!(ids(&copied), expected, "in their order");
    assert_eq!(copied, history(&cluster, 0, "com.x", MatchPolicy::Exact));
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// What a node had for all and has come to one of them only comes to the other from there.
#[test]
fn what_a_lost_node_had_for_all_comes_to_all() {
    let mut cluster = cluster(3, |_, _| {});
    let c = join(&mut cluster, 2);
    cluster.bus.cut.insert((2, 1));
    say(&mut cluster, 2, &c, &json!([16, 1, {"retain": true}, "com.x", [1]]));
    cluster.members[2].network.settle();
    cluster.settle();
    assert_eq!((table(&cluster, 0).len(), table(&cluster, 1).len()), (1, 0));
    cluster.kill(2);
    cluster.settle_for(6_000);
    assert!(cluster.is_linked());
    assert_eq!(table(&cluster, 1), table(&cluster, 0));
    let exact = MatchPolicy::Exact;
    assert_eq!(history(&cluster, 1, "com.x", exact), history(&cluster, 0, "com.x", exact));
    cluster.bus.cut.clear();
    check_end(cluster, &[]);
}

/// A full queue drops events, and what of them is to be kept comes later.
#[test]
fn what_a_full_queue_drops_is_made_up_for_where_it_is_kept() {
    let mut cluster = cluster(2, |_, node| node.queue_bytes = 4_000);
    let mut a = join(&mut cluster, 0);
    cluster.members[1].is_congested = true;
    for request in 1..=30 {
        let topic = if request % 2 == 0 { "com.x".to_owned() } else { format!("com.{request}") };
        let message = json!([16, request, {"retain": true}, topic, ["x".repeat(500)]]);
        say(&mut cluster, 0, &a, &message);
        cluster.settle();
    }
    assert!(cluster.members[0].node.counts().dropped_events > 10);
    assert_ne!(table(&cluster, 0), table(&cluster, 1));
    cluster.members[1].is_congested = false;
    cluster.settle_for(1_000);
    assert_eq!(table(&cluster, 0), table(&cluster, 1));
    let sorted = |node| {
        let mut all = history(&cluster, node, "com.x", MatchPolicy::Exact);
        all.sort_unstable();
        all
    };
    assert_eq!(sorted(0), sorted(1));
    assert!(hear(&mut cluster, 0, &mut a).is_empty());
    check_end(cluster, &[(0, &a)]);
}

/// A realm that comes with a reload is kept alike as those that were there, also if one node has it
/// later; one that goes is wanted no more.
#[test]
fn a_realm_may_come_and_go() {
    let mut cluster = cluster(2, |_, _| {});
    let reload = |cluster: &mut Cluster, node: usize, names: &[&str]| {
        let network = &mut cluster.members[node].network;
        let settings = network.router.edition().settings.clone();
        network.reload(settings, names.iter().map(|name| realm(name)).collect());
    };
    let held = |cluster: &Cluster, node: usize| {
        let realm = cluster.members[node].network.router.realm("realm2").expect("it is there");
        let lengths = realm.histories.iter().map(|history| history.len()).sum::<usize>();
        (realm.retained.len(), lengths)
    };
    reload(&mut cluster, 0, &["realm1", "realm2"]);
    cluster.settle_for(100);
    let roles = json!({"publisher": {}});
    let network = &mut cluster.members[0].network;
    let a = Peer::join_realm(network, 0, crate::support::Serializer::Json, "realm2", &roles);
    say(&mut cluster, 0, &a, &json!([16, 1, {"retain": true}, "com.x", [1]]));
    cluster.settle();
    reload(&mut cluster, 1, &["realm1", "realm2"]);
    cluster.settle_for(6_000);
    assert_eq!(held(&cluster, 1), (1, 1), "it has come meanwhile");
    say(&mut cluster, 0, &a, &json!([16, 2, {}, "log.x", [1]]));
    cluster.settle();
    assert_eq!((held(&cluster, 0), held(&cluster, 1)), ((1, 2), (1, 2)), "and comes live");
    cluster.members[0].network.lose(a.pipe);
    for node in 0..2 {
        reload(&mut cluster, node, &["realm1"]);
    }
    cluster.settle_for(10_000);
    cluster.check_interest();
    check_end(cluster, &[]);
}
