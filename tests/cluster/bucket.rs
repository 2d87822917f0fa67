//! The bucket and messages alone, without routers.

use std::time::Duration;

use bytes::Bytes;
use stentor::bus::{Bus, BusError, Happening, Told};
use stentor::cluster::bucket::{Action, Outcome, Write};
use stentor::cluster::wire::Incarnation;
use stentor::config::Cluster;
use tokio::time::timeout;

use super::processes::{Nats, PATIENCE};

fn cluster(nats: &Nats) -> Cluster {
    Cluster { name: Some("test".into()), nats: vec![nats.url()], ..Cluster::default() }
}

async fn connect(nats: &Nats) -> Result<Bus, BusError> {
    Bus::connect(&cluster(nats), "test", "a").await
}

/// What comes next, but for what is said of the connection.
async fn next(bus: &mut Bus) -> Happening {
    loop {
        let happening = timeout(PATIENCE, bus.next()).await.expect("something happens");
        if !matches!(happening, Happening::Connected | Happening::Disconnected) {
            return happening;
        }
    }
}

async fn told(bus: &mut Bus) -> Told {
    match next(bus).await {
        Happening::Told(told) => told,
        other => panic!("nothing of the bucket: {other:?}"),
    }
}

/// Writes, and gives the answer and what else happened meanwhile.
async fn write(bus: &mut Bus, key: &str, action: Action) -> (Outcome, Vec<Told>) {
    bus.write(Write { ticket: 7, key: key.into(), action });
    let mut before = Vec::new();
    loop {
        match next(bus).await {
            Happening::Written(7, outcome) => return (outcome, before),
            Happening::Told(told) => before.push(told),
            other => panic!("neither of the bucket nor an answer: {other:?}"),
        }
    }
}

fn entry(revision: u64, key: &str, value: Option<&'static [u8]>) -> Told {
    Told::Entry { revision, key: key.into(), value: value.map(Bytes::from_static) }
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn writes_are_made_on_their_conditions_and_told_in_order() {
    let nats = Nats::start();
    let mut bus = connect(&nats).await.expect("it is there");
    assert_eq!(told(&mut bus).await, Told::Current, "it is empty");
    let mut heard = Vec::new();
    let create = |value: &[u8]| Action::Create(value.to_vec());
    for (key, action, expected) in [
        ("node.0", create(b"a"), Outcome::Written(1)),
        ("node.0", create(b"b"), Outcome::Refused),
        ("node.0", Action::Replace { revision: 5, value: b"b".to_vec() }, Outcome::Refused),
        ("node.0", Action::Replace { revision: 1, value: b"b".to_vec() }, Outcome::Written(2)),
        ("node.0", Action::Remove { revision: 1 }, Outcome::Refused),
        ("node.0", Action::Remove { revision: 2 }, Outcome::Written(3)),
        // A marker is no value.
        ("node.0", create(b"c"), Outcome::Written(4)),
        ("reg.1.1", create(b"x"), Outcome::Written(5)),
        ("reg.1.", Action::Purge, Outcome::Written(0)),
        ("reg.1.1", create(b"y"), Outcome::Written(6)),
    ] {
        let (outcome, told) = write(&mut bus, key, action.clone()).await;
        assert_eq!(outcome, expected, "{key} {action:?}");
        heard.extend(told);
    }
    while heard.len() < 6 {
        heard.push(told(&mut bus).await);
    }
    let expected = [
        entry(1, "node.0", Some(b"a")),
        entry(2, "node.0", Some(b"b")),
        entry(3, "node.0", None),
        entry(4, "node.0", Some(b"c")),
        entry(5, "reg.1.1", Some(b"x")),
        entry(6, "reg.1.1", Some(b"y")),
    ];
    assert_eq!(heard, expected);
    // Another one reads what stands there, and no more.
    let mut later = connect(&nats).await.expect("it is there");
    assert_eq!(told(&mut later).await, expected[3]);
    assert_eq!(told(&mut later).await, expected[5]);
    assert_eq!(told(&mut later).await, Told::Current);
    // Opened anew, it goes on behind that, or begins from the start.
    later.watch_again(false);
    assert_eq!(told(&mut later).await, Told::Current);
    later.watch_again(true);
    for expected in [Told::Reset, expected[3].clone(), expected[5].clone(), Told::Current] {
        assert_eq!(told(&mut later).await, expected);
    }
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_server_that_was_away_is_read_on_and_one_without_files_anew() {
    let mut nats = Nats::start();
    let mut bus = connect(&nats).await.expect("it is there");
    assert_eq!(told(&mut bus).await, Told::Current);
    let (outcome, mut heard) = write(&mut bus, "seed", Action::Create(vec![1])).await;
    assert_eq!(outcome, Outcome::Written(1));
    if heard.is_empty() {
        heard.push(told(&mut bus).await);
    }
    nats.kill();
    nats.run();
    let mut is_connected = false;
    while !is_connected {
        is_connected = matches!(bus.next().await, Happening::Connected);
    }
    bus.watch_again(false);
    assert_eq!(told(&mut bus).await, Told::Current, "nothing is told twice");
    let mut nats_anew = nats;
    nats_anew.forget();
    let mut told = Vec::new();
    while told.last() != Some(&Told::Current) {
        match timeout(PATIENCE, bus.next()).await.expect("something happens") {
            Happening::Told(now) => told.push(now),
            Happening::Connected => bus.watch_again(false),
            _ => {}
        }
    }
    assert_eq!(told, [Told::Reset, Told::Current], "the bucket is another one, and empty");
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn messages_come_in_order_and_those_to_nobody_come_back() {
    let nats = Nats::start();
    let (mut a, mut b) = (connect(&nats).await.unwrap(), connect(&nats).await.unwrap());
    assert_eq!((told(&mut a).await, told(&mut b).await), (Told::Current, Told::Current));
    let [of_a, of_b, nobody] = [1, 0xfeed_0000_0000_0002, 3].map(Incarnation);
    a.listen_as(of_a).await.unwrap();
    b.listen_as(of_b).await.unwrap();
    // The server knows of it when a first message comes.
    let hears = async {
        loop {
            a.send(of_b, Bytes::from_static(b"?")).await;
            match timeout(Duration::from_millis(100), next(&mut b)).await {
                Ok(Happening::Message(_)) => return,
                Ok(other) => panic!("nothing else happens: {other:?}"),
                Err(_) => {}
            }
        }
    };
    timeout(PATIENCE, hears).await.expect("it listens");
    while let Some(Happening::NoResponder(_)) = a.take_next() {}
    for number in 0..1_000_u32 {
        a.send(of_b, Bytes::copy_from_slice(&number.to_be_bytes())).await;
    }
    for number in 0..1_000_u32 {
        match next(&mut b).await {
            Happening::Message(message) => assert_eq!(message[..], number.to_be_bytes()),
            other => panic!("no message: {other:?}"),
        }
    }
    b.send_to_all(Bytes::from_static(b"beat")).await;
    loop {
        match next(&mut a).await {
            Happening::Beat(message) => break assert_eq!(&message[..], b"beat"),
            // Of what was sent before anybody listened.
            Happening::NoResponder(peer) if peer == of_b => {}
            other => panic!("no heartbeat: {other:?}"),
        }
    }
    a.send(nobody, Bytes::from_static(b"x")).await;
    match next(&mut a).await {
        Happening::NoResponder(peer) => assert_eq!(peer, nobody),
        other => panic!("somebody takes it: {other:?}"),
    }
    // Under another life it is deaf to what is sent to the former, once the server knows.
    b.listen_as(Incarnation(9)).await.unwrap();
    let comes_back = async {
        loop {
            a.send(of_b, Bytes::from_static(b"x")).await;
            match timeout(Duration::from_millis(200), next(&mut a)).await {
                Ok(Happening::NoResponder(peer)) => return peer,
                Ok(other) => panic!("nothing else happens: {other:?}"),
                // It was taken for the former life, and lost.
                Err(_) => {}
            }
        }
    };
    assert_eq!(timeout(PATIENCE, comes_back).await.expect("it comes back"), of_b);
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn what_is_missing_is_said() {
    let plain = Nats::start_with(&[]);
    let error = connect(&plain).await.err().expect("it has no JetStream");
    assert!(matches!(error, BusError::NoJetStream) && !error.is_final(), "{error}");
    let closed = Nats::start_with(&["-js", "--user", "u", "--pass", "right"]);
    let error = connect(&closed).await.err().expect("it lets nobody in");
    assert!(matches!(error, BusError::Login(_)) && error.is_final(), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "right\n").unwrap();
    let (user, password_file) = (Some("u".to_owned()), Some(password_file));
    let login = Cluster { user, password_file, ..cluster(&closed) };
    assert!(Bus::connect(&login, "test", "a").await.is_ok());
    let many = Cluster { replicas: 3, name: Some("many".into()), ..login };
    let error = Bus::connect(&many, "many", "a").await.err().expect("it is one server");
    assert!(matches!(error, BusError::Replicas { replicas: 3, .. }), "{error}");
    let away = Nats::absent(&[]);
    let error = timeout(Duration::from_secs(30), connect(&away)).await.unwrap();
    let error = error.err().expect("nobody is there");
    assert!(matches!(error, BusError::Connect(_)) && !error.is_final(), "{error}");
}
