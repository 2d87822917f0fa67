//! The client against a router of others: `tests/foreign/run.sh` starts one and names it.
//!
//! Only what the specification has: what a router leaves out is told as such.

mod support;

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use stentor_client::{
    CallError, CancelMode, Client, Codec, Credential, Error, Invocation, InvokePolicy, LoginError,
    MatchPolicy, Reconnect, Status, SubscriptionItem, Value,
};

use support::{Proxy, REALM, soon};

const WHY: &str = "wants a router of others: tests/foreign/run.sh";
const PRIVATE: &str = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510";

/// Where the router is, by WebSocket and by RawSocket.
fn urls() -> [String; 2] {
    ["STENTOR_FOREIGN_WS", "STENTOR_FOREIGN_RS"].map(|name| env::var(name).expect(WHY))
}

async fn connect(url: &str) -> Client {
    soon(Client::builder(url, REALM).connect()).await.unwrap()
}

#[tokio::test]
#[ignore = "wants a router of others: tests/foreign/run.sh"]
async fn every_transport_serializer_and_method() {
    for url in urls() {
        for codec in Codec::ALL {
            for (credential, role) in [
                (Credential::anonymous(), "guest"),
                (Credential::ticket("t"), "user"),
                (Credential::wampcra("pencil"), "user"),
                (Credential::cryptosign(PRIVATE).unwrap(), "user"),
            ] {
                let place = format!("{url} {codec:?} {}", credential.method());
                let builder = Client::builder(&url, REALM).serializer(codec);
                let builder = if role == "user" { builder.authid("joe") } else { builder };
                let client = soon(builder.credential(credential).connect()).await;
                let client = client.unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_eq!(client.session().unwrap().authrole().as_deref(), Some(role), "{place}");
                let echo = async |invocation: Invocation| Ok(invocation.args::<(String, u64)>()?);
                let registration = soon(client.register("com.echo", echo)).await.unwrap();
                let said = ("größe".to_owned(), (1_u64 << 53) - 1);
                let reply = soon(client.call("com.echo", &said)).await.unwrap();
                assert_eq!(reply.args::<(String, u64)>().unwrap(), said, "{place}");
                soon(registration.unregister()).await.unwrap();
                let gone = soon(client.call("com.echo", &said)).await.unwrap_err();
                assert_eq!(gone.uri(), Some("wamp.error.no_such_procedure"), "{place}");
                soon(client.leave()).await;
            }
        }
        let wrong = Client::builder(&url, REALM).authid("joe").credential(Credential::ticket("u"));
        let error = soon(wrong.connect()).await.unwrap_err();
        assert!(matches!(error, Error::Login(LoginError::Refused { .. })), "{error:?}");
    }
}

#[tokio::test]
#[ignore = "wants a router of others: tests/foreign/run.sh"]
async fn events_by_every_policy_with_arguments_of_every_kind() {
    for url in urls() {
        let (client, other) = (connect(&url).await, connect(&url).await);
        let mut exact = soon(client.subscribe("com.a.b")).await.unwrap();
        let prefix = client.subscribe("com.a.").matching(MatchPolicy::Prefix);
        let mut prefix = soon(prefix).await.unwrap();
        let wildcard = client.subscribe("com..b").matching(MatchPolicy::Wildcard);
        let mut wildcard = soon(wildcard).await.unwrap();
        let values = (-1, 2.5, "ü", [true, false], None::<u8>);
        let published = other.publish("com.a.b", values).kwargs(BTreeMap::from([("k", 2)]));
        let id = soon(published.acknowledge()).await.unwrap().unwrap();
        for subscription in [&mut exact, &mut prefix, &mut wildcard] {
            let event = soon(subscription.next()).await.unwrap();
            assert_eq!((event.topic(), event.publication()), ("com.a.b", id));
            let args = event.args::<(i8, f64, String, [bool; 2], Option<u8>)>().unwrap();
            assert_eq!(args, (-1, 2.5, "ü".to_owned(), [true, false], None));
            assert_eq!(event.kwargs::<BTreeMap<String, u8>>().unwrap()["k"], 2);
        }
        let session = client.session().unwrap().id();
        let others = other.publish("com.a.b", ("others",)).exclude([session]);
        soon(others.acknowledge()).await.unwrap();
        let us = other.publish("com.a.b", ("us",)).eligible([session]);
        soon(us.acknowledge()).await.unwrap();
        let event = soon(exact.next()).await.unwrap();
        assert_eq!(event.args::<(String,)>().unwrap().0, "us");
        soon(exact.unsubscribe()).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "wants a router of others: tests/foreign/run.sh"]
async fn calls_with_progress_errors_cancellation_and_shared_callees() {
    for url in urls() {
        let (callee, caller) = (connect(&url).await, connect(&url).await);
        let counts = async |invocation: Invocation| {
            let (to,): (u64,) = invocation.args()?;
            for number in 0..to {
                invocation.progress((number,)).await?;
            }
            Ok((to,))
        };
        soon(callee.register("com.count", counts)).await.unwrap().keep();
        let mut call = soon(caller.call("com.count", (50,)).progress()).await.unwrap();
        for number in 0..50_u64 {
            assert_eq!(soon(call.next()).await.unwrap().first::<u64>().unwrap(), number);
        }
        assert_eq!(soon(call.finish()).await.unwrap().first::<u64>().unwrap(), 50);

        let fails = async |_: Invocation| -> Result<(), CallError> {
            Err(CallError::new("com.error").arg("why").kwarg("code", 7_u64))
        };
        soon(callee.register("com.fail", fails)).await.unwrap().keep();
        let Err(Error::Wamp(failure)) = soon(caller.call("com.fail", ())).await else {
            panic!("it fails");
        };
        assert_eq!((&*failure.uri, failure.message().as_deref()), ("com.error", Some("why")));
        assert_eq!(failure.payload.values().unwrap().1, [("code".into(), Value::UInt(7))]);

        let waits = async |_: Invocation| {
            std::future::pending::<()>().await;
            Ok(())
        };
        soon(callee.register("com.wait", waits)).await.unwrap().keep();
        let call = soon(caller.call("com.wait", ()).start()).await.unwrap();
        call.cancel(CancelMode::KillNoWait);
        let error = soon(call.finish()).await.unwrap_err();
        assert_eq!(error.uri(), Some("wamp.error.canceled"), "{error:?}");

        for (name, of) in [("one", &callee), ("two", &caller)] {
            let says = move |_: Invocation| async move { Ok((name,)) };
            let register = of.register("com.shared", says).invoke(InvokePolicy::RoundRobin);
            soon(register).await.unwrap().keep();
        }
        let mut heard = Vec::new();
        for _ in 0..4 {
            let reply = soon(caller.call("com.shared", ())).await.unwrap();
            heard.push(reply.first::<String>().unwrap());
        }
        assert!(heard[0] != heard[1] && heard[..2] == heard[2..], "{heard:?}");
        let refused = soon(callee.register("com.shared", async |_: Invocation| Ok(()))).await;
        // Crossbar has a URI of its own for another policy.
        let uri = refused.err().unwrap().uri().map(str::to_owned).unwrap_or_default();
        assert!(uri.starts_with("wamp.error.procedure_"), "{uri}");
        let me = caller.session().unwrap().id().get();
        let all = soon(caller.meta().session_list(None)).await.unwrap();
        assert!(all.contains(&me), "{all:?} and not {me}");
    }
}

/// After a cut the client subscribes and registers again by itself. What came meanwhile is there
/// from the history, or a gap is told: nothing comes twice, or out of order.
#[tokio::test]
#[ignore = "wants a router of others: tests/foreign/run.sh"]
async fn a_cut_connection_comes_back_with_all_it_had() {
    const EVENTS: u64 = 60;
    for url in urls() {
        let scheme = url.split(':').next().unwrap();
        let address = url.split("://").nth(1).unwrap().trim_end_matches('/');
        let proxy = Proxy::to(address.parse().unwrap()).await;
        let path = if scheme == "rs" { "" } else { "/" };
        let quickly =
            Reconnect::default().min(Duration::from_millis(2)).max(Duration::from_millis(50));
        let builder = Client::builder(proxy.url(scheme).replace("/ws", path), REALM);
        let client = soon(builder.reconnect(quickly).connect()).await.unwrap();
        let other = connect(&url).await;
        let mut events = soon(client.subscribe("com.kept")).await.unwrap();
        let echo = async |invocation: Invocation| Ok(invocation.args::<(u64,)>()?);
        soon(client.register("com.back", echo)).await.unwrap().keep();
        let (mut next, mut gaps) = (0, 0);
        for number in 0..EVENTS {
            soon(other.publish("com.kept", (number,)).acknowledge()).await.unwrap();
            if number % 20 == 10 {
                proxy.cut();
                let is_back = async {
                    while !matches!(client.status(), Status::Connected(_)) {
                        soon(client.status_after(&client.status())).await;
                    }
                };
                soon(is_back).await;
            }
        }
        // The last ones come to a subscription that stands again.
        while next < EVENTS {
            match tokio::time::timeout(Duration::from_secs(1), events.next_item()).await {
                Ok(Some(SubscriptionItem::Event(event))) => {
                    let (number,) = event.args::<(u64,)>().unwrap();
                    assert!(number >= next, "{number} comes after {next}");
                    assert!(number == next || gaps > 0, "{next} is missing, and no gap was told");
                    next = number + 1;
                }
                Ok(Some(SubscriptionItem::Gap(_))) => gaps += 1,
                Ok(other) => panic!("{other:?}"),
                Err(_) => {
                    soon(other.publish("com.kept", (EVENTS,)).acknowledge()).await.unwrap();
                }
            }
        }
        assert!(proxy.opened() >= 2, "it was cut");
        // The router may notice later than the client that the old session is gone.
        let answered = async {
            loop {
                match other.call("com.back", (7,)).await {
                    Ok(reply) => return reply.first::<u64>().unwrap(),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        assert_eq!(soon(answered).await, 7);
    }
}
