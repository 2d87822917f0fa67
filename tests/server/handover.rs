//! Connections that shards hand over: kept alive, with TLS and without, counted, drained, reloaded.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use rustls::version::{TLS12, TLS13};
use stentor::codec::Codec;
use stentor::config::{Config, ListenerPath};
use stentor::control::Control;
use stentor::net::Server;
use stentor::transport::ForwardedBy;

use super::files::{serving, site};
use crate::sockets::{
    Client, Kind, PATIENCE, Pki, Stream, Web, address, config, eventually, http_upgrade, settles,
    start, tls_config,
};

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    let site = site();
    let server = start(&serving(2, site.path()));
    let mut web = Web::connect(address(&server));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    web.send(format!("{}{}{}", get("/app.js"), get("/none"), get("/docs/")));
    web.response().check(200, "code();");
    web.response().check(404, "Nothing is here.\n");
    web.response().check(200, "docs");
    // A head that comes in pieces, the first one included.
    let mut web = Web::connect(address(&server));
    for _ in 0..2 {
        get("/app.js").as_bytes().iter().for_each(|byte| web.send([*byte]));
        web.response().check(200, "code();");
    }
    let last = web.get_with("/app.js", "Connection: close\r\n");
    assert_eq!(last.header("connection"), Some("close"));
    web.check_over();
    let mut old = Web::connect(address(&server));
    old.send("GET /app.js HTTP/1.0\r\n\r\n");
    old.response().check(200, "code();");
    old.check_over();
    settles(&server);
}

/// A WebSocket begins a connection, and a proxy that might send it later keeps none.
#[test]
fn a_websocket_behind_another_request_is_refused_clearly() {
    let site = site();
    let server = start(&serving(1, site.path()));
    let mut web = Web::connect(address(&server));
    web.get("/").check(200, "<!doctype html>page");
    web.send(http_upgrade("/ws", "wamp.2.json"));
    let refused = web.response();
    assert_eq!(refused.status, 426);
    assert!(refused.text().contains("open a new one"), "{}", refused.text());
    assert_eq!(refused.header("connection"), Some("close, Upgrade"));
    web.check_over();
    for field in ["X-Forwarded-For: 203.0.113.1", "Via: 1.1 x", "Forwarded: for=1.2.3.4"] {
        let mut web = Web::connect(address(&server));
        let answer = web.get_with("/app.js", &format!("{field}\r\n"));
        assert_eq!(answer.header("connection"), Some("close"), "{field}");
        web.check_over();
    }
    settles(&server);
}

fn serving_tls(pki: &Pki, directory: &std::path::Path) -> Config {
    let mut config = serving(2, directory);
    let tls = tls_config(2, &[&pki.issue("a", &["localhost"])]);
    config.listeners[0].tls = tls.listeners[0].tls.clone();
    config
}

#[test]
fn tls_goes_on_where_the_shard_has_left_it() {
    let (pki, site) = (Pki::new(), site());
    let bytes: Vec<u8> = (0..2_000_003u32).map(|n| ((n * 37) >> 2) as u8).collect();
    fs::write(site.path().join("large.bin"), &bytes).unwrap();
    let server = start(&serving_tls(&pki, site.path()));
    for version in [&TLS12, &TLS13] {
        let mut client = pki.client(&[version], None);
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = Arc::new(client);
        for resumed in [false, true] {
            let stream = Stream::connect(address(&server)).unwrap().secured(&client, "localhost");
            let mut web = Web::over(stream);
            web.get("/").check(200, "<!doctype html>page");
            let tls = web.stream.tls();
            assert_eq!(tls.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            let kind = tls.conn.handshake_kind();
            assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), resumed, "{version:?}");
            assert!(web.get("/large.bin").body == bytes);
            if version.version == rustls::ProtocolVersion::TLSv1_3 {
                web.stream.tls().conn.refresh_traffic_keys().unwrap();
            }
            // Many records in one segment, and a request cut by records.
            for piece in ["GET /app.js HT", "TP/1.1\r\nHo", "st: x\r\n\r\n"] {
                web.stream.write_all(piece.as_bytes()).unwrap();
            }
            web.response().check(200, "code();");
            web.stream.tls().conn.send_close_notify();
            web.stream.flush().unwrap();
            web.check_over();
        }
    }
    settles(&server);
}

/// What is no TLS record ends the connection, with an alert for who can read it.
#[test]
fn broken_records_end_the_connection() {
    let (pki, site) = (Pki::new(), site());
    let server = start(&serving_tls(&pki, site.path()));
    let client = Arc::new(pki.client(&[&TLS13], None));
    for garbage in [&[23u8, 3, 3, 0, 17, 0][..], &[23, 3, 3, 255, 255], b"GET / HTTP/1.1\r\n\r\n"] {
        let stream = Stream::connect(address(&server)).unwrap().secured(&client, "localhost");
        let mut web = Web::over(stream);
        web.get("/app.js").check(200, "code();");
        let below = &mut web.stream.tls().sock;
        below.write_all(garbage).unwrap();
        below.write_all(&[0; 64]).unwrap();
        web.check_over();
    }
    settles(&server);
}

#[test]
fn so_many_connections_speak_http_and_no_more() {
    let site = site();
    let mut config = serving(2, site.path());
    config.limits.http_connections = 4;
    let server = start(&config);
    let mut webs: Vec<_> = (0..4).map(|_| Web::connect(address(&server))).collect();
    let answers: Vec<_> = webs.iter_mut().map(|web| web.get("/app.js")).collect();
    // Who is the last to find a place does not keep it.
    let closes = |answer: &crate::sockets::Response| answer.header("connection") == Some("close");
    assert_eq!(answers.iter().map(closes).collect::<Vec<_>>(), [false, false, false, true]);
    drop(webs.pop());
    eventually("a place is free", || server.snapshot().http_connections == 3);
    // One that is slow keeps its place, and the next one is refused.
    let mut slow = Web::over(Stream::connect_small(address(&server)));
    fs::write(site.path().join("large.bin"), vec![7; 30_000_000]).unwrap();
    slow.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
    slow.take(100);
    let mut refused = Web::connect(address(&server));
    let answer = refused.get("/app.js");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    refused.check_over();
    let mut client = Client::join(address(&server), Kind::Ws(Codec::Json));
    client.goodbye();
    drop((webs, slow));
    eventually("all places are free", || server.snapshot().http_connections == 0);
    Web::connect(address(&server)).get("/app.js").check(200, "code();");
    settles(&server);
}

/// They count among all connections, and among those of their address.
#[test]
fn connections_that_were_handed_over_are_counted_as_before() {
    let site = site();
    let mut config = serving(1, site.path());
    config.limits.connections = 1;
    let server = start(&config);
    let mut web = Web::connect(address(&server));
    web.get("/app.js").check(200, "code();");
    let mut refused = Web::connect(address(&server));
    assert_eq!(refused.get("/app.js").status, 503);
    drop((web, refused));
    settles(&server);
    server.stop().unwrap();

    let mut config = serving(1, site.path());
    config.limits.connections_per_address = 1;
    config.listeners[0].trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    config.listeners[0].forwarded = ForwardedBy::XForwardedFor;
    let server = start(&config);
    let ask = |client: u8, path: &str| {
        let mut web = Web::over(Stream::connect_small(address(&server)));
        web.send(format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.{client}\r\n\r\n"
        ));
        web
    };
    fs::write(site.path().join("large.bin"), vec![7; 30_000_000]).unwrap();
    let mut first = ask(1, "/large.bin");
    first.take(100);
    assert_eq!(ask(1, "/app.js").response().status, 503);
    ask(2, "/app.js").response().check(200, "code();");
    drop(first);
    eventually("its place is free", || ask(1, "/app.js").response().status == 200);
    settles(&server);
}

#[test]
fn health_is_told_on_any_request() {
    let site = site();
    let mut config = serving(1, site.path());
    config.listeners[0].health = Some("/healthz".into());
    let server = start(&config);
    let mut web = Web::connect(address(&server));
    web.get("/app.js").check(200, "code();");
    web.get("/healthz").check(200, "ready\n");
    Web::connect(address(&server)).get("/healthz").check(200, "ready\n");
    server.withdraw();
    web.get("/healthz").check(503, "not ready: stopping\n");
    web.get("/app.js").check(200, "code();");
    drop(web);
    settles(&server);
}

#[test]
fn operators_see_what_is_served() {
    let site = site();
    let mut config = serving(2, site.path());
    config.admin.listen = Some("127.0.0.1:0".parse().unwrap());
    let server = start(&config);
    let control = Control::start(&config, server.view()).unwrap().unwrap();
    let admin = control.address().unwrap();
    let mut web = Web::connect(address(&server));
    web.get("/app.js").check(200, "code();");
    web.get("/none").check(404, "Nothing is here.\n");
    let metrics = Web::connect(admin).get_with("/metrics", "Host: localhost\r\n");
    assert_eq!(metrics.status, 400, "two hosts are none");
    let mut operator = Web::connect(admin);
    operator.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let metrics = operator.response();
    for line in [
        "stentor_http_connections 1",
        "stentor_http_requests_total{outcome=\"answered\"} 1",
        "stentor_http_requests_total{outcome=\"refused\"} 1",
        "stentor_connections_handed_over_total 1",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}");
    }
    operator.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(operator.response().text().contains("\"stuck_http\":false"));
    drop(web);
    settles(&server);
}

fn is_over(drained: &crossbeam_channel::Receiver<()>) -> bool {
    drained.recv_timeout(Duration::ZERO) == Err(RecvTimeoutError::Disconnected)
}

#[test]
fn a_drain_waits_for_answers_and_for_nothing_else() {
    let site = site();
    fs::write(site.path().join("large.bin"), vec![7; 30_000_000]).unwrap();
    let server = start(&serving(2, site.path()));
    let mut idle = Web::connect(address(&server));
    idle.get("/app.js").check(200, "code();");
    let mut slow = Web::over(Stream::connect_small(address(&server)));
    slow.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is being answered", || server.snapshot().http_answered == 2);
    let drained = server.drain(Duration::from_secs(600));
    idle.check_over();
    assert!(!is_over(&drained), "an answer is under way");
    let mut late = Web::connect(address(&server));
    assert_eq!(late.get("/app.js").status, 503);
    assert_eq!(slow.response().body.len(), 30_000_000);
    slow.check_over();
    assert_eq!(drained.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    server.stop().unwrap();

    // When its time is over it waits for nobody, and neither does the stop.
    let server = start(&serving(1, site.path()));
    let mut slow = Web::over(Stream::connect_small(address(&server)));
    slow.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
    slow.take(100);
    let drained = server.drain(Duration::from_millis(1));
    assert_eq!(drained.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    server.stop().unwrap();
}

#[test]
fn a_reload_changes_what_is_served() {
    let (site, other) = (site(), tempfile::tempdir().unwrap());
    fs::write(other.path().join("app.js"), "other();").unwrap();
    let plain = config(2);
    let server: Server = start(&plain);
    let at = address(&server).clone();
    assert_eq!(Web::connect(&at).get("/app.js").status, 404, "nothing is served");
    let with = |directory: &std::path::Path| {
        let mut config = plain.clone();
        config.listeners[0].paths = vec!["/ws".into()];
        config.listeners[0].paths_apart = vec![ListenerPath {
            path: "/".into(),
            files: Some(directory.to_owned()),
            ..ListenerPath::default()
        }];
        config
    };
    server.reload(&with(site.path())).unwrap();
    let mut web = Web::connect(&at);
    eventually("new connections are served", || {
        web = Web::connect(&at);
        web.get("/app.js").status == 200
    });
    server.reload(&with(other.path())).unwrap();
    web.get("/app.js").check(200, "other();");
    server.reload(&plain).unwrap();
    let gone = web.get("/app.js");
    assert_eq!((gone.status, gone.header("connection")), (404, Some("close")));
    web.check_over();
    eventually("nothing is served any more", || {
        let answer = Web::connect(&at).get("/app.js");
        answer.text().contains("WebSocket is served at")
    });
    server.reload(&with(site.path())).unwrap();
    eventually("the thread is still there", || Web::connect(&at).get("/app.js").status == 200);
    settles(&server);
    assert!(server.ended_threads().is_empty());
    server.stop().unwrap();
}
