//! Routers that break the protocol, lie about lengths, flood, or fall silent: RawSocket in JSON, by
//! hand.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use stentor_client::{Client, Codec, Credential, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use support::{REALM, soon};

/// One connection of a client.
struct Router(TcpStream);

impl Router {
    async fn accept(listener: &TcpListener) -> Self {
        let (mut stream, _) = soon(listener.accept()).await.unwrap();
        let mut octets = [0; 4];
        stream.read_exact(&mut octets).await.unwrap();
        stream.write_all(&[0x7F, 0xF1, 0, 0]).await.unwrap();
        Self(stream)
    }

    async fn joined(listener: &TcpListener) -> Self {
        let mut router = Self::accept(listener).await;
        assert_eq!(router.hear().await[0], 1);
        router.say(&json!([2, 7, {}])).await;
        router
    }

    async fn hear(&mut self) -> Value {
        let mut header = [0; 4];
        soon(self.0.read_exact(&mut header)).await.unwrap();
        let mut message = vec![0; u32::from_be_bytes(header) as usize];
        soon(self.0.read_exact(&mut message)).await.unwrap();
        serde_json::from_slice(&message).unwrap()
    }

    async fn say(&mut self, message: &Value) {
        let text = message.to_string();
        self.0.write_all(&(text.len() as u32).to_be_bytes()).await.unwrap();
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits until the client has gone.
    async fn wait_until_left(mut self) {
        let mut rest = Vec::new();
        // Whether it ends or resets the connection, it has gone.
        let _ = soon(self.0.read_to_end(&mut rest)).await;
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rs://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// A client in a session with a router of the test.
async fn session() -> (Client, Router) {
    let (listener, url) = listen().await;
    let builder = Client::builder(url, REALM).serializer(Codec::Json).no_reconnect();
    let (client, router) = tokio::join!(soon(builder.connect()), Router::joined(&listener));
    (client.unwrap(), router)
}

#[tokio::test]
async fn a_router_that_breaks_the_protocol_is_told_and_left() {
    for (message, why) in [
        (json!([2, 8, {}]), "sent WELCOME in a session that has begun"),
        (json!([16, 1, {}, "com.x"]), "unknown message type 16"),
        (json!([36, 1]), "EVENT must have 4 to 6 elements"),
        (json!({"a": 1}), "a message must be a list"),
    ] {
        let (client, mut router) = session().await;
        router.say(&message).await;
        let abort = router.hear().await;
        assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")));
        let reason = soon(client.closed()).await;
        assert!(reason.contains(why), "{reason}");
        router.wait_until_left().await;
    }
}

#[tokio::test]
async fn what_nobody_has_asked_for_changes_nothing() {
    let (client, mut router) = session().await;
    for message in [
        json!([36, 5, 1, {}, [1]]),
        json!([17, 9, 9]),
        json!([50, 9, {}, [1]]),
        json!([8, 48, 9, {}, "com.e"]),
        json!([33, 9, 5]),
        json!([35, 0, {"subscription": 5}]),
        json!([69, 5, {}]),
    ] {
        router.say(&message).await;
    }
    router.say(&json!([68, 5, 5, {}])).await;
    assert_eq!(router.hear().await, json!([8, 68, 5, {}, "wamp.error.no_such_registration"]));
    let call = tokio::spawn(client.call("com.x", ()).into_future());
    assert_eq!(router.hear().await, json!([48, 1, {}, "com.x"]));
    router.say(&json!([50, 1, {}, [7]])).await;
    assert_eq!(soon(call).await.unwrap().unwrap().first::<u8>().unwrap(), 7);
}

/// It says how long the message will be; that is enough.
#[tokio::test]
async fn a_message_that_is_too_long_is_not_read() {
    let (listener, url) = listen().await;
    let builder = Client::builder(url, REALM).serializer(Codec::Json).no_reconnect();
    let builder = builder.max_message_bytes(1_000);
    let (client, router) = tokio::join!(soon(builder.connect()), Router::joined(&listener));
    let (client, mut router) = (client.unwrap(), router);
    router.0.write_all(&[0, 0, 0x10, 0]).await.unwrap();
    assert_eq!(router.hear().await[2], json!("wamp.error.payload_size_exceeded"));
    let reason = soon(client.closed()).await;
    assert!(reason.contains("4096 bytes, and 1000 are the most"), "{reason}");
}

/// The client reads no further when its queue is full and nothing waits for an answer: the router
/// cannot fill its memory.
#[tokio::test]
async fn a_flood_of_events_stops_at_the_queue() {
    let (client, mut router) = session().await;
    let subscribing = tokio::spawn(client.subscribe("com.x").queue(10).into_future());
    assert_eq!(router.hear().await[0], 32);
    router.say(&json!([33, 1, 5])).await;
    let mut events = soon(subscribing).await.unwrap().unwrap();
    let event = json!([36, 5, 1, {}, ["x".repeat(60_000)]]).to_string();
    let mut frame = (event.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(event.as_bytes());
    let mut sent = 0_usize;
    // Buffers of the system take a few megabytes; then nothing goes any more.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_secs(2), router.0.write_all(&frame)).await
    {
        written.unwrap();
        sent += 1;
        assert!(sent < 2_000, "120 MB were taken");
    }
    for _ in 0..sent.min(100) {
        assert!(soon(events.next()).await.is_some());
    }
}

#[tokio::test]
async fn a_login_that_the_router_makes_odd_ends_with_a_sentence() {
    for (challenge, why) in [
        (json!([4, "wampcra", {}]), "asks for the method \"wampcra\""),
        (json!([2, 7, {"authmethod": "wamp-scram"}]), "has not proven"),
        (json!([3, {"message": "go away"}, "com.no"]), "com.no: go away"),
        (json!([36, 1, 1, {}]), "sent EVENT before WELCOME"),
    ] {
        let (listener, url) = listen().await;
        let builder = Client::builder(url, REALM).serializer(Codec::Json).authid("joe");
        let builder = builder.credential(Credential::scram("pencil").unwrap());
        let router = async {
            let mut router = Router::accept(&listener).await;
            router.hear().await;
            router.say(&challenge).await;
            router
        };
        let (client, _router) = tokio::join!(soon(builder.connect()), router);
        let error = client.unwrap_err();
        assert!(matches!(error, Error::Login(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_router_that_is_silent_is_left() {
    let (listener, url) = listen().await;
    let builder = Client::builder(&url, REALM).serializer(Codec::Json).no_reconnect();
    let builder = builder.keep_alive(Some(Duration::from_millis(20)));
    let (client, _router) = tokio::join!(soon(builder.connect()), Router::joined(&listener));
    let reason = soon(client.unwrap().closed()).await;
    assert!(reason.contains("silent"), "{reason}");
    let builder = Client::builder(&url, REALM).connect_timeout(Duration::from_millis(50));
    let error = soon(builder.connect()).await.unwrap_err();
    assert!(error.to_string().contains("within 50ms"), "{error}");
}
