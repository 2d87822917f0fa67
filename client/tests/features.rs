//! What sessions do: events, calls, progress both ways, cancellation, patterns, testaments, and
//! what happens where somebody is slow.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stentor_client::{
    Answer, Binary, CallError, CancelMode, Client, Error, Gap, Invocation, InvokePolicy,
    MatchPolicy, SubscriptionItem, Value,
};
use tokio::sync::mpsc;

use support::{REALM, config, soon, start, url};

async fn connect(url: &str) -> Client {
    soon(Client::builder(url, REALM).connect()).await.unwrap()
}

#[tokio::test]
async fn patterns_disclosure_and_retained_events() {
    let server = start(&config());
    let (client, other) = (connect(&url(&server)).await, connect(&url(&server)).await);
    soon(other.publish("com.a.b", ("kept",)).retain().acknowledge()).await.unwrap();
    let prefix = client.subscribe("com.a.").matching(MatchPolicy::Prefix).get_retained();
    let mut prefix = soon(prefix).await.unwrap();
    let mut wildcard =
        soon(client.subscribe("com..b").matching(MatchPolicy::Wildcard)).await.unwrap();
    let retained = soon(prefix.next()).await.unwrap();
    assert!(retained.is_retained() && retained.topic() == "com.a.b");
    let payload = Binary(vec![0, 1, 2]);
    let published =
        other.publish("com.a.b", (1, &payload)).kwargs(BTreeMap::from([("k", 2)])).disclose_me();
    let id = soon(published.acknowledge()).await.unwrap().unwrap();
    for subscription in [&mut prefix, &mut wildcard] {
        let event = soon(subscription.next()).await.unwrap();
        assert_eq!((event.topic(), event.publication()), ("com.a.b", id));
        assert_eq!(event.args::<(u8, Binary)>().unwrap(), (1, payload.clone()));
        assert_eq!(event.payload().values().unwrap().1, [("k".into(), Value::UInt(2))]);
    }
    let session = client.session().unwrap().id();
    soon(other.publish("com.a.b", ("not for us",)).exclude([session]).acknowledge()).await.unwrap();
    soon(other.publish("com.a.b", ("for us",)).eligible([session]).acknowledge()).await.unwrap();
    let event = soon(prefix.next()).await.unwrap();
    assert_eq!(event.args::<(String,)>().unwrap().0, "for us");
}

/// The router has one subscription for both.
#[tokio::test]
async fn two_subscriptions_to_one_topic_live_and_end_apart() {
    let server = start(&config());
    let (client, other) = (connect(&url(&server)).await, connect(&url(&server)).await);
    let mut first = soon(client.subscribe("com.x")).await.unwrap();
    let second = soon(client.subscribe("com.x")).await.unwrap();
    assert_eq!(first.id(), second.id());
    drop(second);
    soon(other.publish("com.x", (1,)).acknowledge()).await.unwrap();
    assert_eq!(soon(first.next()).await.unwrap().args::<(u8,)>().unwrap(), (1,));
    let id = first.id().unwrap();
    assert_eq!(soon(other.meta().subscriber_count(id)).await.unwrap(), 1);
    soon(first.unsubscribe()).await.unwrap();
    let gone = soon(other.meta().subscription_lookup("com.x", MatchPolicy::Exact)).await.unwrap();
    assert_eq!(gone, None);
}

#[tokio::test]
async fn progress_goes_both_ways() {
    let server = start(&config());
    let (callee, caller) = (connect(&url(&server)).await, connect(&url(&server)).await);
    let sums = async |mut invocation: Invocation| {
        let (mut sum,): (u64,) = invocation.args()?;
        while let Some(chunk) = invocation.next_chunk().await {
            sum += chunk.first::<u64>()?;
            invocation.progress((sum,)).await?;
        }
        Ok(Answer::of(&invocation, (sum,), BTreeMap::from([("is", "the end")]))?)
    };
    soon(callee.register("com.sum", sums)).await.unwrap().keep();
    let call = caller.call("com.sum", (1,)).send_progress().receive_progress();
    let mut call = soon(call.start()).await.unwrap();
    for number in 2..=300_u64 {
        soon(call.send((number,))).await.unwrap();
        let reply = soon(call.next()).await.unwrap();
        assert_eq!(reply.first::<u64>().unwrap(), number * (number + 1) / 2);
    }
    soon(call.send_last((0,))).await.unwrap();
    assert!(call.send((1,)).await.is_err(), "that was the last one");
    let reply = soon(call.finish()).await.unwrap();
    assert_eq!(reply.first::<u64>().unwrap(), 45_150);
    assert!(reply.payload().to_json().unwrap().1.unwrap().contains("the end"));
}

/// A caller that is slow to take progressive results slows its own connection, and loses none.
#[tokio::test]
async fn a_flood_of_progress_waits_for_its_reader() {
    let server = start(&config());
    let (callee, caller) = (connect(&url(&server)).await, connect(&url(&server)).await);
    let floods = async |invocation: Invocation| {
        for number in 0..4_000_u64 {
            invocation.progress((number, "x".repeat(100))).await?;
        }
        Ok(())
    };
    soon(callee.register("com.flood", floods)).await.unwrap().keep();
    let mut call = soon(caller.call("com.flood", ()).progress_queue(4).progress()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for number in 0..4_000_u64 {
        assert_eq!(soon(call.next()).await.unwrap().first::<u64>().unwrap(), number);
    }
    assert!(soon(call.next()).await.is_none());
    soon(call.finish()).await.unwrap();
}

#[tokio::test]
async fn a_dropped_call_is_canceled_and_its_handler_ends() {
    let server = start(&config());
    let (callee, caller) = (connect(&url(&server)).await, connect(&url(&server)).await);
    let (tell, mut told) = mpsc::unbounded_channel();
    struct Tells(mpsc::UnboundedSender<&'static str>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send("ended");
        }
    }
    let waits = move |_: Invocation| {
        let tells = Tells(tell.clone());
        let _ = tells.0.send("begun");
        async move {
            std::future::pending::<()>().await;
            drop(tells);
            Ok(())
        }
    };
    soon(callee.register("com.wait", waits)).await.unwrap().keep();
    // By its future, by its handle, by hand, and by time.
    let call = tokio::spawn(caller.call("com.wait", ()).into_future());
    assert_eq!(soon(told.recv()).await, Some("begun"));
    call.abort();
    assert_eq!(soon(told.recv()).await, Some("ended"));
    let call = soon(caller.call("com.wait", ()).start()).await.unwrap();
    assert_eq!(soon(told.recv()).await, Some("begun"));
    drop(call);
    assert_eq!(soon(told.recv()).await, Some("ended"));
    for mode in [CancelMode::Kill, CancelMode::KillNoWait] {
        let call = soon(caller.call("com.wait", ()).start()).await.unwrap();
        assert_eq!(soon(told.recv()).await, Some("begun"));
        call.cancel(mode);
        let error = soon(call.finish()).await.unwrap_err();
        assert_eq!(error.uri(), Some("wamp.error.canceled"), "{error:?}");
        assert_eq!(soon(told.recv()).await, Some("ended"));
    }
    let late = soon(caller.call("com.wait", ()).timeout(Duration::from_millis(20))).await;
    assert!(matches!(late, Err(Error::Timeout)), "{late:?}");
    assert_eq!(soon(told.recv()).await, Some("begun"));
    assert_eq!(soon(told.recv()).await, Some("ended"));
    // While the call itself may still wait to be sent.
    for _ in 0..100 {
        let call = soon(caller.call("com.wait", ()).start()).await.unwrap();
        call.cancel(CancelMode::KillNoWait);
        let error = soon(call.finish()).await.unwrap_err();
        assert_eq!(error.uri(), Some("wamp.error.canceled"), "{error:?}");
    }
}

#[tokio::test]
async fn callees_share_a_procedure_and_their_errors_arrive() {
    let server = start(&config());
    let caller = connect(&url(&server)).await;
    let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let mut callees = Vec::new();
    for count in &counts {
        let callee = connect(&url(&server)).await;
        let count = Arc::clone(count);
        let fails = move |invocation: Invocation| {
            count.fetch_add(1, Ordering::Relaxed);
            let procedure = invocation.procedure().to_owned();
            let error = CallError::new("com.error").arg(procedure).kwarg("code", 7_u64);
            async move { Err::<(), _>(error) }
        };
        let register = callee.register("com.shared.", fails).invoke(InvokePolicy::RoundRobin);
        soon(register.matching(MatchPolicy::Prefix)).await.unwrap().keep();
        callees.push(callee);
    }
    for _ in 0..10 {
        let Err(Error::Wamp(failure)) = soon(caller.call("com.shared.x", ())).await else {
            panic!("it fails");
        };
        assert_eq!(
            (&*failure.uri, failure.message().as_deref()),
            ("com.error", Some("com.shared.x"))
        );
        assert_eq!(failure.payload.values().unwrap().1, [("code".into(), Value::UInt(7))]);
    }
    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 5));
}

#[tokio::test]
async fn testaments_and_meta_procedures() {
    let server = start(&config());
    let (client, other) = (connect(&url(&server)).await, connect(&url(&server)).await);
    let mut wills = soon(other.subscribe("com.will")).await.unwrap();
    soon(client.testament("com.will", ("gone", 1)).kwargs(BTreeMap::from([("why", "left")])))
        .await
        .unwrap();
    let id = client.session().unwrap().id();
    assert_eq!(soon(other.meta().session_get(id)).await.unwrap().session, id.get());
    assert_eq!(soon(other.meta().session_list(None)).await.unwrap().len(), 2);
    soon(client.leave()).await;
    let event = soon(wills.next()).await.unwrap();
    assert_eq!(event.args::<(String, u8)>().unwrap(), ("gone".to_owned(), 1));
    assert_eq!(event.payload().values().unwrap().1, [("why".into(), Value::from("left"))]);
}

/// With the oldest dropped, the newest are there and the rest is counted; with backpressure, a call
/// between two events still gets its answer.
#[tokio::test]
async fn slow_readers() {
    let server = start(&config());
    let (client, other) = (connect(&url(&server)).await, connect(&url(&server)).await);
    let mut newest = soon(client.subscribe("com.x").queue(10).drop_oldest()).await.unwrap();
    let mut all = soon(client.subscribe("com.x").queue(10)).await.unwrap();
    for number in 0..1_000 {
        soon(other.publish("com.x", (number,))).await.unwrap();
    }
    soon(other.publish("com.x", (1_000,)).acknowledge()).await.unwrap();
    for number in 0..=1_000 {
        let event = soon(all.next()).await.unwrap();
        assert_eq!(event.args::<(i32,)>().unwrap(), (number,));
        if number % 100 == 0 {
            assert!(soon(client.meta().session_count(None)).await.unwrap() >= 2);
        }
    }
    let Some(SubscriptionItem::Gap(Gap::Dropped(dropped))) = soon(newest.next_item()).await else {
        panic!("some were dropped");
    };
    assert_eq!(dropped, 991);
    for number in 991..=1_000 {
        let event = soon(newest.next()).await.unwrap();
        assert_eq!(event.args::<(i32,)>().unwrap(), (number,));
    }
}

#[tokio::test]
async fn what_cannot_be_sent_says_why() {
    let server = start(&config());
    let client = connect(&url(&server)).await;
    for (error, word) in [
        (soon(client.call("com..x", ())).await.unwrap_err(), "no URI"),
        (soon(client.call("com.x", "text")).await.unwrap_err(), "must be a tuple"),
        (soon(client.publish("", ())).await.unwrap_err(), "no URI"),
        (soon(client.call("com.x", ("x".repeat(17 << 20),))).await.unwrap_err(), "bytes"),
    ] {
        assert!(error.to_string().contains(word), "{error}");
    }
    assert!(soon(client.meta().session_count(None)).await.is_ok(), "the session goes on");
}
