//! Connections that are cut: what was missed comes from the event history, once and in order, or a
//! gap is told.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stentor::config::{Config, History};
use stentor::net::Server;
use stentor_client::{
    CallError, Client, ClientBuilder, Codec, Error, Event, Gap, Invocation, MatchPolicy, Reconnect,
    RunningCall, Status, Subscription, SubscriptionItem,
};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use support::{Proxy, REALM, config, soon, start, tcp, url};

/// A router that keeps the last `events` below `com.kept.`, and of `com.kept.one`.
fn with_history(events: usize) -> Server {
    let history = |topic: &str, policy| History {
        topic: topic.into(),
        policy,
        events: Some(events),
        ..History::default()
    };
    let mut config: Config = config();
    config.realms[0].histories = vec![
        history("com.kept.", MatchPolicy::Prefix),
        history("com.kept.one", MatchPolicy::Exact),
    ];
    start(&config)
}

fn quickly() -> Reconnect {
    Reconnect::default().min(Duration::from_millis(2)).max(Duration::from_millis(20))
}

async fn connect(url: impl Into<String>) -> Client {
    soon(Client::builder(url, REALM).reconnect(quickly()).connect()).await.unwrap()
}

/// Random numbers of a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

async fn next(events: &mut Subscription) -> Event {
    match soon(events.next_item()).await {
        Some(SubscriptionItem::Event(event)) => event,
        other => panic!("{other:?} is no event"),
    }
}

/// Two publishers number their events; each subscriber must get every number of each, once and in
/// order, while its connection is cut at random.
///
/// The publishers are few events ahead of what was read: otherwise all could be in the client's
/// queue before the first cut, and the cuts would meet nothing.
async fn loses_nothing(seed: u64, codec: Codec, scheme: &str, policy: MatchPolicy) {
    const EVENTS: u64 = 400;
    const AHEAD: usize = 64;
    let mut random = Random(seed);
    let server = with_history(100_000);
    let proxy = Proxy::to(tcp(&server)).await;
    let builder = Client::builder(proxy.url(scheme).replace("/ws", path(scheme)), REALM);
    let subscriber = builder.serializer(codec).reconnect(quickly());
    let subscriber = soon(subscriber.connect()).await.unwrap();
    let topic = if policy == MatchPolicy::Prefix { "com.kept." } else { "com.kept.one" };
    let mut events = soon(subscriber.subscribe(topic).matching(policy)).await.unwrap();
    let mut publishers = Vec::new();
    let ahead = Arc::new(Semaphore::new(AHEAD));
    for publisher in 0..2_u64 {
        let client = connect(url(&server)).await;
        let ahead = Arc::clone(&ahead);
        publishers.push(tokio::spawn(async move {
            for number in 0..EVENTS {
                soon(ahead.acquire()).await.unwrap().forget();
                let published = client.publish("com.kept.one", (publisher, number)).acknowledge();
                soon(published).await.unwrap();
            }
        }));
    }
    let mut heard: HashMap<u64, u64> = HashMap::new();
    let mut next_cut = random.below(40);
    for count in 0..2 * EVENTS {
        let event = next(&mut events).await;
        let (publisher, number): (u64, u64) = event.args().unwrap();
        let expected = heard.entry(publisher).or_default();
        assert_eq!(number, *expected, "seed {seed}, publisher {publisher}, event {count}");
        *expected += 1;
        ahead.add_permits(1);
        if count == next_cut {
            proxy.cut();
            next_cut += 1 + random.below(90);
        }
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(events.gaps(), 0);
    // A cut comes within 90 events of the one before it, and what is read `AHEAD` events behind it
    // came through a new connection.
    assert!(proxy.opened() > 3, "seed {seed}: {} connections", proxy.opened());
    // Nothing follows, not even something that was told already.
    let last = connect(url(&server)).await;
    soon(last.publish("com.kept.one", ("last",)).acknowledge()).await.unwrap();
    assert_eq!(next(&mut events).await.args::<(String,)>().unwrap().0, "last");
}

fn path(scheme: &str) -> &'static str {
    if scheme == "ws" { "/ws" } else { "" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_comes_once_and_in_order_however_often_the_connection_is_cut() {
    for (seed, (codec, scheme, policy)) in [
        (Codec::Cbor, "ws", MatchPolicy::Exact),
        (Codec::Json, "ws", MatchPolicy::Prefix),
        (Codec::MsgPack, "rs", MatchPolicy::Exact),
        (Codec::Cbor, "rs", MatchPolicy::Prefix),
        (Codec::Json, "rs", MatchPolicy::Exact),
        (Codec::MsgPack, "ws", MatchPolicy::Prefix),
    ]
    .into_iter()
    .enumerate()
    {
        loses_nothing(seed as u64, codec, scheme, policy).await;
    }
}

/// Waits for the next session after a cut.
async fn comes_back(client: &Client, cut: impl FnOnce()) {
    let before = client.status();
    cut();
    let after = soon(client.status_after(&before)).await;
    assert!(!matches!(after, Status::Closed { .. }), "{after:?}");
    soon(client.connected()).await.unwrap();
}

#[tokio::test]
async fn a_cut_before_the_first_event_loses_nothing_and_brings_nothing_older() {
    let server = with_history(100);
    let proxy = Proxy::to(tcp(&server)).await;
    let publisher = connect(url(&server)).await;
    let publish = async |number: u64| {
        soon(publisher.publish("com.kept.one", (number,)).acknowledge()).await.unwrap();
    };
    publish(1).await;
    let client = connect(proxy.url("ws")).await;
    let mut events = soon(client.subscribe("com.kept.one")).await.unwrap();
    let before = client.status();
    proxy.cut();
    publish(2).await;
    soon(client.status_after(&before)).await;
    soon(client.connected()).await.unwrap();
    publish(3).await;
    for number in [2, 3] {
        assert_eq!(next(&mut events).await.args::<(u64,)>().unwrap(), (number,));
    }
}

#[tokio::test]
async fn a_history_that_was_too_short_is_told_as_a_gap_and_what_it_has_follows() {
    let server = with_history(3);
    let proxy = Proxy::to(tcp(&server)).await;
    let client = connect(proxy.url("ws")).await;
    let publisher = connect(url(&server)).await;
    let mut events = soon(client.subscribe("com.kept.one")).await.unwrap();
    soon(publisher.publish("com.kept.one", (0,)).acknowledge()).await.unwrap();
    assert_eq!(next(&mut events).await.args::<(u64,)>().unwrap(), (0,));
    comes_back(&client, || proxy.cut()).await;
    // Nothing was missed.
    soon(publisher.publish("com.kept.one", (1,)).acknowledge()).await.unwrap();
    assert_eq!(next(&mut events).await.args::<(u64,)>().unwrap(), (1,));
    // The client sees nothing of what follows: it is cut before each try gets through.
    let before = client.status();
    proxy.cut();
    for number in 2..10 {
        soon(publisher.publish("com.kept.one", (number,)).acknowledge()).await.unwrap();
    }
    soon(client.status_after(&before)).await;
    soon(client.connected()).await.unwrap();
    soon(publisher.publish("com.kept.one", (10,)).acknowledge()).await.unwrap();
    // Either some came live after an early return, or the history had the last ones: whatever is
    // missing, a gap stands in its place. One also stands there if the history had just all that
    // were missed: as what it had before has gone, nobody can tell.
    let mut expected = 2;
    while expected <= 10 {
        match soon(events.next_item()).await.unwrap() {
            SubscriptionItem::Event(event) => {
                assert_eq!(event.args::<(u64,)>().unwrap(), (expected,));
                expected += 1;
            }
            SubscriptionItem::Gap(gap) => {
                assert_eq!(gap, Gap::Incomplete);
                let event = next(&mut events).await;
                let (number,) = event.args::<(u64,)>().unwrap();
                assert!(number >= expected, "nothing comes twice");
                expected = number + 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(events.gaps() <= 1, "it was away once");
}

/// The question goes back further than such a history does.
#[tokio::test]
async fn a_history_of_few_events_is_enough_if_nothing_was_missed_that_it_had_lost() {
    let server = with_history(10);
    let proxy = Proxy::to(tcp(&server)).await;
    let client = connect(proxy.url("ws")).await;
    let publisher = connect(url(&server)).await;
    let mut events = soon(client.subscribe("com.kept.one")).await.unwrap();
    let publish = async |number: u64| {
        soon(publisher.publish("com.kept.one", (number,)).acknowledge()).await.unwrap();
    };
    for number in 0..100_u64 {
        publish(number).await;
        assert_eq!(next(&mut events).await.args::<(u64,)>().unwrap(), (number,));
    }
    for round in 0..3 {
        let before = client.status();
        proxy.cut();
        for number in 0..4 {
            publish(100 + 5 * round + number).await;
        }
        soon(client.status_after(&before)).await;
        soon(client.connected()).await.unwrap();
        publish(100 + 5 * round + 4).await;
        for number in 0..5 {
            let expected = 100 + 5 * round + number;
            assert_eq!(next(&mut events).await.args::<(u64,)>().unwrap(), (expected,));
        }
    }
    assert_eq!(events.gaps(), 0);
}

#[tokio::test]
async fn without_a_history_a_gap_is_told_and_events_go_on() {
    let server = start(&config());
    let proxy = Proxy::to(tcp(&server)).await;
    let client = connect(proxy.url("ws")).await;
    let mut events = soon(client.subscribe("com.topic")).await.unwrap();
    let mut careless = soon(client.subscribe("com.topic").catch_up(false)).await.unwrap();
    comes_back(&client, || proxy.cut()).await;
    let Some(SubscriptionItem::Gap(Gap::NoHistory(why))) = soon(events.next_item()).await else {
        panic!("there is a gap");
    };
    assert_eq!(why, "the router announces no event history");
    soon(client.publish("com.topic", (1,)).include_me().acknowledge()).await.unwrap();
    assert_eq!(next(&mut events).await.args::<(u8,)>().unwrap(), (1,));
    assert_eq!(next(&mut careless).await.args::<(u8,)>().unwrap(), (1,));
    assert_eq!((events.gaps(), careless.gaps()), (1, 0));
}

/// The router puts them into the history for their publisher, too.
#[tokio::test]
async fn ones_own_publications_are_no_missed_events() {
    let server = with_history(1_000);
    let proxy = Proxy::to(tcp(&server)).await;
    let client = connect(proxy.url("ws")).await;
    let other = connect(url(&server)).await;
    let mut events = soon(client.subscribe("com.kept.one")).await.unwrap();
    for _ in 0..10 {
        soon(client.publish("com.kept.one", ("own",))).await.unwrap();
    }
    soon(client.publish("com.kept.one", ("own",)).acknowledge()).await.unwrap();
    comes_back(&client, || proxy.cut()).await;
    soon(other.publish("com.kept.one", ("other",)).acknowledge()).await.unwrap();
    assert_eq!(next(&mut events).await.args::<(String,)>().unwrap().0, "other");
}

/// A client whose reader has taken nothing yet of ten events, while a call lets it read on.
async fn behind(builder: ClientBuilder, callee: &Client) -> (Client, Subscription, RunningCall) {
    let slow = async |invocation: Invocation| -> Result<(), CallError> {
        invocation.canceled().await;
        Ok(())
    };
    soon(callee.register("com.slow", slow)).await.unwrap().keep();
    let client = soon(builder.connect()).await.unwrap();
    let events = soon(client.subscribe("com.kept.one").queue(1)).await.unwrap();
    let call = soon(client.call("com.slow", ()).start()).await.unwrap();
    for number in 0..10_u64 {
        let published = client.publish("com.kept.one", (number,)).include_me().acknowledge();
        soon(published).await.unwrap();
    }
    // Answered behind the events.
    soon(client.call("wamp.session.count", ())).await.unwrap();
    (client, events, call)
}

#[tokio::test]
async fn what_a_slow_reader_has_not_taken_survives_the_cut() {
    let server = with_history(100);
    let proxy = Proxy::to(tcp(&server)).await;
    let other = connect(url(&server)).await;
    let builder = Client::builder(proxy.url("ws"), REALM).reconnect(quickly());
    let (client, mut events, call) = behind(builder, &other).await;
    comes_back(&client, || proxy.cut()).await;
    assert!(soon(call.finish()).await.is_err());
    soon(other.publish("com.kept.one", (10,)).acknowledge()).await.unwrap();
    for number in 0..=10 {
        assert_eq!(next(&mut events).await.args::<(u64,)>().unwrap(), (number,));
    }
    assert_eq!(events.gaps(), 0);
}

#[tokio::test]
async fn what_a_slow_reader_has_not_taken_can_be_read_when_all_is_over() {
    let server = with_history(100);
    let proxy = Proxy::to(tcp(&server)).await;
    let other = connect(url(&server)).await;
    let builder = Client::builder(proxy.url("ws"), REALM).no_reconnect();
    let (client, mut events, call) = behind(builder, &other).await;
    proxy.cut();
    soon(client.closed()).await;
    assert!(soon(call.finish()).await.is_err());
    for number in 0..10 {
        assert_eq!(next(&mut events).await.args::<(u64,)>().unwrap(), (number,));
    }
    assert!(soon(events.next_item()).await.is_none());
}

#[tokio::test]
async fn registrations_come_back_and_calls_in_flight_fail_with_a_doubt() {
    let server = start(&config());
    let proxy = Proxy::to(tcp(&server)).await;
    let client = connect(proxy.url("ws")).await;
    let caller = connect(url(&server)).await;
    let slow = async |invocation: Invocation| -> Result<(), CallError> {
        invocation.canceled().await;
        Ok(())
    };
    soon(client.register("com.slow", slow)).await.unwrap().keep();
    let echo = async |invocation: Invocation| Ok(invocation.args::<(u64,)>()?);
    soon(client.register("com.echo", echo)).await.unwrap().keep();
    let call = soon(client.call("com.slow", ()).start()).await.unwrap();
    comes_back(&client, || proxy.cut()).await;
    let error = soon(call.finish()).await.unwrap_err();
    assert!(matches!(error, Error::Closed { may_have_happened: true }), "{error:?}");
    // The router may need a moment to see that the old session is over.
    let reply = soon(async {
        loop {
            match caller.call("com.echo", (7,)).await {
                Ok(reply) => return reply,
                Err(error) => assert!(error.uri().is_some(), "{error:?}"),
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(reply.await.first::<u64>().unwrap(), 7);
}

#[tokio::test]
async fn requests_without_a_connection_fail_at_once_and_a_client_gives_up_after_its_tries() {
    let server = start(&config());
    let builder = Client::builder(url(&server), REALM);
    let never = Reconnect::default().min(Duration::from_millis(1)).tries(3);
    let client = soon(builder.reconnect(never).connect()).await.unwrap();
    let mut events = soon(client.subscribe("com.topic")).await.unwrap();
    server.stop().unwrap();
    let error = soon(client.call("com.x", ())).await.unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error:?}");
    assert!(soon(events.next()).await.is_none());
    assert!(soon(client.closed()).await.contains("cannot reach"), "{}", client.closed().await);
    assert!(soon(client.connected()).await.is_err());
}
