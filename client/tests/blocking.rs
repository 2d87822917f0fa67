//! The blocking client against a router in this process.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use stentor_client::blocking::{Client, Invocation};
use stentor_client::{CallError, Codec, Error};

use support::{PATIENCE, REALM, config, start, url};

fn connect(url: &str) -> Client {
    Client::builder(url, REALM).connect_blocking().unwrap()
}

#[test]
fn events_and_calls_go_round() {
    let server = start(&config());
    let (callee, caller) = (connect(&url(&server)), connect(&url(&server)));
    let add = |invocation: Invocation| {
        let (a, b): (i64, i64) = invocation.args()?;
        Ok((a + b,))
    };
    callee.register("com.add", add).send().unwrap().keep();
    assert_eq!(caller.call("com.add", (2, 3)).send().unwrap().first::<i64>().unwrap(), 5);
    let wrong = caller.call("com.add", ("x",)).send().unwrap_err();
    assert_eq!(wrong.uri(), Some("wamp.error.invalid_argument"), "{wrong}");
    let missing = caller.call("com.nothing", ()).send().unwrap_err();
    assert_eq!(missing.uri(), Some("wamp.error.no_such_procedure"), "{missing}");

    let mut events = caller.subscribe("com.topic").send().unwrap();
    assert!(matches!(events.next_timeout(Duration::from_millis(1)), Err(Error::Timeout)));
    assert!(callee.publish("com.topic", (1, "a")).acknowledge().send().unwrap().is_some());
    assert_eq!(callee.publish("com.topic", (2, "b")).send().unwrap(), None);
    for number in [1, 2] {
        let event = events.next_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(event.args::<(i64, String)>().unwrap().0, number);
    }
    assert!(caller.meta().session_count(None).unwrap() >= 2);
    events.unsubscribe().unwrap();
}

#[test]
fn progressive_results_are_an_iterator() {
    let server = start(&config());
    let client = connect(&url(&server));
    let count = |invocation: Invocation| {
        let (to,): (u32,) = invocation.args()?;
        for number in 0..to {
            invocation.progress((number,))?;
        }
        Ok(("done",))
    };
    client.register("com.count", count).send().unwrap().keep();
    let mut call = client.call("com.count", (500,)).progress().unwrap();
    let numbers: Vec<u32> = call.by_ref().map(|reply| reply.first().unwrap()).collect();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    assert_eq!(call.finish().unwrap().first::<String>().unwrap(), "done");
}

#[test]
fn a_dropped_client_says_goodbye_and_what_was_sent_arrives() {
    let server = start(&config());
    let listener = connect(&url(&server));
    let mut events = listener.subscribe("com.topic").send().unwrap();
    let mut left = listener.subscribe("wamp.session.on_leave").send().unwrap();
    let client = connect(&url(&server));
    for number in 0..100 {
        client.publish("com.topic", (number,)).send().unwrap();
    }
    drop(client);
    for number in 0..100 {
        let event = events.next_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(event.args::<(i32,)>().unwrap(), (number,));
    }
    assert!(left.next_timeout(PATIENCE).unwrap().is_some());
}

#[test]
fn leaving_ends_whoever_waits() {
    let server = start(&config());
    let client = connect(&url(&server));
    let events = client.subscribe("com.topic").send().unwrap();
    let waiting = thread::spawn(move || events.count());
    client.leave();
    assert_eq!(waiting.join().unwrap(), 0);
    assert_eq!(client.closed(), "left");
    let late = client.call("com.x", ()).send().unwrap_err();
    assert!(matches!(late, Error::Closed { may_have_happened: false }), "{late:?}");
}

#[test]
fn a_handler_that_panics_or_is_canceled_ends_the_call() {
    let server = start(&config());
    let client = connect(&url(&server));
    let panics = |_: Invocation| -> Result<(), CallError> { panic!("as the test wants it") };
    client.register("com.panics", panics).send().unwrap().keep();
    let error = client.call("com.panics", ()).send().unwrap_err();
    assert_eq!(error.uri(), Some("wamp.error.unavailable"));
    let saw_it = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&saw_it);
    let waits = move |invocation: Invocation| -> Result<(), CallError> {
        while !invocation.is_canceled() {
            thread::sleep(Duration::from_millis(1));
        }
        seen.store(true, Ordering::Relaxed);
        Ok(())
    };
    client.register("com.waits", waits).send().unwrap().keep();
    let call = client.call("com.waits", ()).timeout(Duration::from_millis(20));
    assert!(matches!(call.send(), Err(Error::Timeout)));
    while !saw_it.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_serializer_works() {
    let server = start(&config());
    for codec in Codec::ALL {
        let builder = Client::builder(url(&server), REALM).serializer(codec);
        let client = builder.connect_blocking().unwrap();
        client
            .register("com.echo", |i: Invocation| Ok(i.args::<(String,)>()?))
            .send()
            .unwrap()
            .keep();
        let reply = client.call("com.echo", ("größe",)).send().unwrap();
        assert_eq!(reply.first::<String>().unwrap(), "größe");
    }
}
