//! HTTP long-poll over real sockets (TR-LP-01 to TR-LP-07): sessions in plain requests, and what
//! their clients do wrong.

use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::{Config, HttpUse, Listener, ListenerPath};

use crate::sockets::{
    Client, Kind, PATIENCE, Response, Stream, Web, address, config, eventually, settles, start,
};

/// A configuration whose only listener has long-poll at `/lp`.
fn polled(shards: usize) -> Config {
    let mut config = config(shards);
    let path = ListenerPath {
        path: "/lp".into(),
        http: Some(HttpUse::LongPoll),
        ..ListenerPath::default()
    };
    let listener = config.listeners.pop().unwrap();
    config.listeners.push(Listener { paths_apart: vec![path], ..listener });
    config
}

fn post(web: &mut Web, path: &str, body: &[u8]) -> Response {
    let length = body.len();
    web.send(format!("POST /lp/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"));
    web.send(body);
    web.response()
}

/// A transport and the connections on which its client asks.
struct Poller {
    web: Web,
    id: String,
}

impl Poller {
    fn open(server: &stentor::net::Server, protocol: &str) -> Self {
        let mut web = Web::connect(address(server));
        let opened =
            post(&mut web, "open", json!({"protocols": [protocol]}).to_string().as_bytes());
        assert_eq!(opened.status, 200, "{}", opened.text());
        assert_eq!(opened.header("content-type"), Some("application/json"));
        let said: Value = serde_json::from_slice(&opened.body).unwrap();
        assert_eq!(said["protocol"], protocol);
        let id = said["transport"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 32);
        Self { web, id }
    }

    fn ask(&mut self, verb: &str, body: &[u8]) -> Response {
        let path = format!("{}/{verb}?x=17", self.id);
        post(&mut self.web, &path, body)
    }

    #[track_caller]
    fn send(&mut self, message: &Value) {
        self.ask("send", message.to_string().as_bytes()).check(202, "");
    }

    #[track_caller]
    fn receive(&mut self) -> Value {
        let answer = self.ask("receive", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn join(server: &stentor::net::Server) -> Self {
        let mut poller = Self::open(server, "wamp.2.json");
        poller.send(&hello());
        assert_eq!(poller.receive()[0], 2);
        poller
    }
}

/// Long enough for a request that was written to be read.
#[expect(clippy::disallowed_methods, reason = "nobody sees that a request waits")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

fn hello() -> Value {
    let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
    json!([1, "realm1", {"roles": roles}])
}

#[test]
fn a_session_needs_nothing_but_requests() {
    let server = start(&polled(2));
    let mut poller = Poller::join(&server);
    poller.send(&json!([32, 1, {}, "com.topic"]));
    let subscribed = poller.receive();
    assert_eq!((&subscribed[0], &subscribed[1]), (&json!(33), &json!(1)));
    let mut other = Client::join(address(&server), Kind::Ws(Codec::MsgPack));
    other.publish_acknowledged("com.topic", &json!("hello"));
    assert_eq!(poller.receive()[4], json!(["hello"]));
    // In both directions, and waited for.
    other.register("com.echo");
    poller.send(&json!([48, 2, {}, "com.echo", ["there"]]));
    other.echo();
    assert_eq!(poller.receive(), json!([50, 2, {}, ["there"]]));
    // The end of the session, and of the transport behind it.
    poller.send(&json!([6, {}, "wamp.close.close_realm"]));
    assert_eq!(poller.receive()[0], 6);
    poller.ask("close", b"").check(202, "");
    poller.ask("receive", b"").check(404, "There is no such transport, or it has ended.\n");
    drop((poller, other));
    settles(&server);
    server.stop().unwrap();
}

/// TR-LP-03: what is there comes at once in a batch.
#[test]
fn batches_carry_all_that_is_there() {
    let server = start(&polled(1));
    let mut poller = Poller::open(&server, "wamp.2.json.batched");
    let batch = |messages: &[Value]| {
        messages.iter().map(|message| format!("{message}\u{1e}")).collect::<String>()
    };
    poller.ask("send", batch(&[hello()]).as_bytes()).check(202, "");
    let welcome = poller.ask("receive", b"");
    assert!(welcome.text().starts_with("[2,") && welcome.text().ends_with('\u{1e}'));
    let subscribes: Vec<_> =
        (1..=3).map(|id| json!([32, id, {}, format!("com.topic{id}")])).collect();
    poller.ask("send", batch(&subscribes).as_bytes()).check(202, "");
    let mut answers = 0;
    while answers < 3 {
        let text = poller.ask("receive", b"").text().to_owned();
        answers += text.matches("[33,").count();
    }
    // TR-BAT-03
    for (body, said) in [
        ("".to_owned(), "it holds no message"),
        ("[32,9,{},\"com.x\"]".to_owned(), "no separator"),
        // A million messages, of which none is looked at but the first.
        ("\u{1e}".repeat(1_000_000), "malformed json"),
    ] {
        let refused = poller.ask("send", body.as_bytes());
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(said), "{}", refused.text());
        eventually("it fails the transport", || poller.ask("receive", b"").status == 404);
        poller = Poller::open(&server, "wamp.2.json.batched");
        poller.ask("send", batch(&[hello()]).as_bytes()).check(202, "");
        assert_eq!(poller.ask("receive", b"").status, 200);
    }
    server.stop().unwrap();
}

#[test]
fn the_other_serializers_are_served_too() {
    let server = start(&polled(1));
    for (protocol, codec, kind) in [
        ("wamp.2.msgpack", Codec::MsgPack, "application/x-msgpack"),
        ("wamp.2.cbor", Codec::Cbor, "application/cbor"),
    ] {
        let mut poller = Poller::open(&server, protocol);
        poller.ask("send", &Kind::Raw(codec).encode(&hello())).check(202, "");
        let welcome = poller.ask("receive", b"");
        assert_eq!((welcome.status, welcome.header("content-type")), (200, Some(kind)));
        assert_eq!(Kind::Raw(codec).decode(&welcome.body)[0], 2);
    }
    server.stop().unwrap();
}

/// TR-LP-06: requests overtake each other on their way, and nobody is ended for it.
#[test]
fn request_ids_may_come_in_any_order() {
    let mut config = polled(1);
    config.protocol.request_ids = stentor::router::RequestIdCheck::Strict;
    let server = start(&config);
    let mut poller = Poller::join(&server);
    for request in [3, 1, 2] {
        poller.send(&json!([32, request, {}, format!("com.topic{request}")]));
        assert_eq!(poller.receive()[1], request);
    }
    server.stop().unwrap();
}

/// TR-LP-04: the request is refused, and the session hears of it.
#[test]
fn a_message_that_makes_no_sense_ends_the_session() {
    let server = start(&polled(1));
    for nonsense in ["[1,", "[999]", "{}"] {
        let mut poller = Poller::join(&server);
        let refused = poller.ask("send", nonsense.as_bytes());
        assert_eq!(refused.status, 400, "{}", refused.text());
        let abort = poller.receive();
        assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")));
        assert_eq!(poller.ask("receive", b"").status, 204);
        eventually("the transport is gone", || poller.ask("receive", b"").status == 404);
        assert_eq!(poller.ask("send", b"[]").status, 404);
    }
    server.stop().unwrap();
}

#[test]
fn what_opens_no_transport_is_told_why() {
    let server = start(&polled(1));
    let mut web = Web::connect(address(&server));
    for (body, status, said) in [
        ("", 400, "The body must be"),
        ("[]", 400, "The body must be"),
        ("{\"protocols\": []}", 400, "there are wamp.2."),
        ("{\"protocols\": [\"wamp.2.xml\"]}", 400, "wamp.2.json.batched"),
    ] {
        let refused = post(&mut web, "open", body.as_bytes());
        assert_eq!(refused.status, status, "{body}");
        assert!(refused.text().contains(said), "{}", refused.text());
    }
    assert_eq!(web.get("/lp/open").status, 405);
    assert_eq!(post(&mut web, "0123456789abcdef/receive", b"").status, 404);
    assert_eq!(post(&mut web, "0123456789abcdef/listen", b"").status, 404);
    assert_eq!(post(&mut web, "", b"").status, 404);
    let long = format!("{{\"protocols\": [\"{}\"]}}", "x".repeat(10_000));
    assert_eq!(post(&mut web, "open", long.as_bytes()).status, 413);
    server.stop().unwrap();
}

#[test]
fn one_request_waits_at_a_time_and_the_first_is_kept() {
    let server = start(&polled(1));
    let mut poller = Poller::join(&server);
    let receive =
        format!("POST /lp/{}/receive HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", poller.id);
    let mut pair = [(); 2].map(|()| Web::connect(address(&server)));
    let mut request = 0;
    eventually("one of two that ask is refused", || {
        request += 1;
        pair.iter_mut().for_each(|web| web.send(&receive));
        pause();
        poller.send(&json!([32, request, {}, "com.topic"]));
        let answers = pair.each_mut().map(Web::response);
        let taken = answers.iter().find(|answer| answer.status == 200).expect("one of them");
        assert_eq!(serde_json::from_slice::<Value>(&taken.body).unwrap()[0], 33);
        answers.iter().any(|answer| answer.status == 400)
    });
    // A client that closes has its own request answered.
    let mut waiting = Web::connect(address(&server));
    waiting.send(&receive);
    pause();
    poller.ask("close", b"").check(202, "");
    assert!([204, 404].contains(&waiting.response().status), "it may have come too late");
    drop((poller, pair, waiting));
    settles(&server);
    server.stop().unwrap();
}

/// A request that waits and whose client goes takes nothing along.
#[test]
fn whoever_hangs_up_while_it_waits_loses_nothing() {
    let server = start(&polled(1));
    let mut poller = Poller::join(&server);
    let receive =
        format!("POST /lp/{}/receive HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", poller.id);
    let mut going: Vec<_> = (0..100).map(|_| Web::connect(address(&server))).collect();
    going.iter_mut().for_each(|web| web.send(&receive));
    eventually("all are there", || server.snapshot().http_connections == 101);
    drop(going);
    // What goes out while one of them is still there may go with it.
    eventually("all have gone", || server.snapshot().http_connections == 1);
    poller.send(&json!([32, 1, {}, "com.topic"]));
    assert_eq!(poller.receive()[0], 33);
    server.stop().unwrap();
}

/// One address has as many transports as connections.
#[test]
fn transports_count_as_connections_of_their_address() {
    let mut config = polled(1);
    config.limits.connections_per_address = 4;
    config.listeners[0].trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    config.listeners[0].forwarded = stentor::config::ForwardedBy::XForwardedFor;
    let server = start(&config);
    let open = |from: &str| {
        let mut web = Web::connect(address(&server));
        let body = "{\"protocols\": [\"wamp.2.json\"]}";
        let length = body.len();
        web.send(format!(
            "POST /lp/open HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {from}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        let status = web.response().status;
        // Each of these connections ends with its answer, as a proxy's does.
        drop(web);
        eventually("it has gone", || server.snapshot().http_connections == 0);
        status
    };
    let found: Vec<_> = (0..6).map(|_| open("192.0.2.1")).collect();
    assert!(found[..3] == [200; 3] && found[5] == 429, "{found:?}");
    assert_eq!(open("192.0.2.2"), 200);
    server.stop().unwrap();
}

/// A session that the router ends with a stop is told so by the request that waits.
#[test]
fn a_stop_answers_those_who_wait() {
    let server = start(&polled(2));
    let mut poller = Poller::join(&server);
    let path = format!("{}/receive", poller.id);
    poller.web.send(format!("POST /lp/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
    pause();
    server.stop().unwrap();
    let answer = poller.web.response();
    let goodbye: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&goodbye[0], &goodbye[2]), (&json!(6), &json!("wamp.close.system_shutdown")));
}

/// What is over keeps no place, although its client goes on sending.
#[test]
fn a_transport_whose_session_is_over_goes_with_the_next_message() {
    let server = start(&polled(1));
    let mut poller = Poller::join(&server);
    poller.send(&json!([6, {}, "wamp.close.close_realm"]));
    let reply = json!([48, 1, {}, "com.late"]).to_string();
    eventually("it is over", || poller.ask("send", reply.as_bytes()).status == 404);
    assert_eq!(poller.ask("receive", b"").status, 404);
    drop(poller);
    settles(&server);
    server.stop().unwrap();
}

/// Before WELCOME messages are short, whatever they may be then.
#[test]
fn strangers_send_short_messages() {
    let mut config = polled(1);
    config.limits.hello_bytes = 1_000;
    let server = start(&config);
    let long = format!("[16,1,{{}},\"com.topic\",[\"{}\"]]", "x".repeat(10_000));
    let mut stranger = Poller::open(&server, "wamp.2.json");
    assert_eq!(stranger.ask("send", long.as_bytes()).status, 413);
    let mut poller = Poller::join(&server);
    poller.ask("send", long.as_bytes()).check(202, "");
    server.stop().unwrap();
}

/// Who knows the id of a transport knows where it was opened, too.
#[test]
fn a_transport_is_known_where_it_was_opened() {
    let mut config = polled(1);
    let other =
        ListenerPath { path: "/other".into(), ..config.listeners[0].paths_apart[0].clone() };
    config.listeners[0].paths_apart.push(other);
    let server = start(&config);
    let mut poller = Poller::join(&server);
    let mut web = Web::connect(address(&server));
    let id = &poller.id;
    web.send(format!("POST /other/{id}/close HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(web.response().status, 404);
    poller.send(&json!([32, 1, {}, "com.topic"]));
    assert_eq!(poller.receive()[0], 33);
    server.stop().unwrap();
}

/// An answer that is not taken holds up the next one: events wait where they count.
#[test]
fn one_answer_is_on_its_way_at_a_time() {
    let mut config = polled(1);
    config.limits.message_bytes = 1 << 24;
    config.limits.http_bodies_bytes = 1 << 26;
    config.output.hard_bytes = 1 << 26;
    let server = start(&config);
    let mut poller = Poller::join(&server);
    poller.send(&json!([32, 1, {}, "com.topic"]));
    assert_eq!(poller.receive()[0], 33);
    let mut publisher = Client::join(address(&server), Kind::Raw(Codec::Json));
    let blob = json!("x".repeat(10_000_000));
    (0..2).for_each(|_| publisher.publish_acknowledged("com.topic", &blob));
    let receive =
        format!("POST /lp/{}/receive HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", poller.id);
    let mut deaf = Web::over(Stream::connect_small(address(&server)));
    deaf.send(&receive);
    pause();
    pause();
    assert_eq!(poller.ask("receive", b"").status, 400, "the first was not taken");
    let answer = deaf.response();
    assert!(answer.status == 200 && answer.body.len() > 10_000_000);
    eventually("it was taken", || poller.ask("receive", b"").status == 200);
    server.stop().unwrap();
}

/// While the router drains, whoever has a transport hears the last things and says its own.
#[test]
fn a_drain_lets_clients_take_leave() {
    let server = start(&polled(1));
    let mut callee = Poller::join(&server);
    callee.send(&json!([64, 1, {}, "com.slow"]));
    assert_eq!(callee.receive()[0], 65);
    let mut caller = Client::join(address(&server), Kind::Raw(Codec::Json));
    caller.call("com.slow", &json!("x"));
    let invocation = callee.receive();
    let drained = server.drain(Duration::from_secs(20));
    callee.send(&json!([70, invocation[1], {}, ["done"]]));
    assert_eq!(caller.expect(50)[3], json!(["done"]));
    caller.expect(6);
    caller.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    assert_eq!(callee.receive()[0], 6);
    callee.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    assert_eq!(callee.ask("receive", b"").status, 204, "its transport is over");
    assert_eq!(drained.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    callee.web.check_over();
    server.stop().unwrap();
}

/// RFC 6454 and the Fetch standard: a page may ask with cookies where its origin is listed by name.
#[test]
fn pages_of_listed_origins_may_read_the_answers() {
    for (listed, origin, status, allowed, credentials) in [
        (
            "https://app.example.org",
            "https://app.example.org",
            400,
            Some("https://app.example.org"),
            Some("true"),
        ),
        ("https://app.example.org", "https://evil.example", 403, None, None),
        ("*", "https://evil.example", 400, Some("*"), None),
    ] {
        let mut config = polled(1);
        config.listeners[0].paths_apart[0].origins = Some(vec![listed.into()]);
        let server = start(&config);
        let mut web = Web::connect(address(&server));
        web.send(format!(
            "POST /lp/open HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nContent-Length: 0\r\n\r\n"
        ));
        let answer = web.response();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        assert_eq!(answer.header("access-control-allow-credentials"), credentials);
        server.stop().unwrap();
    }
}
