//! HTTP of those who want to do harm: forms that two readers understand differently, requests and
//! answers that never end, and what is too large. Each costs its own connection, and no other.

use std::fs;

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::Config;

use super::files::{serving, site};
use crate::sockets::{Client, Kind, Stream, Web, address, eventually, settles, start};

/// Patience so short that a test can wait for its end.
fn impatient(directory: &std::path::Path) -> Config {
    let mut config = serving(2, directory);
    config.timeouts.http_idle_ms = 1000;
    config.output.stall_ms = 1000;
    config
}

/// All that is said until the end of the connection.
fn said(mut web: Web) -> String {
    let mut all = Vec::new();
    let _ = std::io::Read::read_to_end(&mut web.stream, &mut all);
    String::from_utf8_lossy(&all).into_owned()
}

/// What follows a body of which it is not clear where it ends is no request.
#[test]
fn nothing_is_smuggled() {
    let site = site();
    let server = start(&impatient(site.path()));
    let hidden = "GET /app.js HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = hidden.len();
    for fields in [
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        format!("Content-Length: {length}, 0"),
        format!("Content-Length: +{length}"),
        format!("Content-Length: -{length}"),
        format!("Content-Length: 0x{length:x}"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: gzip"),
        "Transfer-Encoding: chunked, identity".to_owned(),
        "Transfer-Encoding: identity".to_owned(),
        "Transfer-Encoding: xchunked".to_owned(),
        format!("Content-Length : {length}"),
        format!("Content-Length: {length}\r\n Folded: x"),
        format!("Content-Length: {length}"),
    ] {
        // As the first request of a connection, which a shard reads, and as a later one.
        for is_first in [true, false] {
            let mut web = Web::connect(address(&server));
            if !is_first {
                web.get("/docs/").check(200, "docs");
            }
            web.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{hidden}"));
            let said = said(web);
            assert!(!said.contains("code();"), "{fields}, {is_first}: {said}");
            let is_refused = said.starts_with("HTTP/1.1 40") || said.is_empty();
            assert!(is_refused, "{fields}, {is_first}: {said}");
        }
    }
    settles(&server);
}

/// One body has two lengths: the chunks count, and nothing is answered behind it.
#[test]
fn a_body_with_two_lengths_is_the_last_one() {
    let site = site();
    let server = start(&impatient(site.path()));
    let hidden = "GET /app.js HTTP/1.1\r\nHost: x\r\n\r\n";
    for is_first in [true, false] {
        let mut web = Web::connect(address(&server));
        if !is_first {
            web.get("/docs/").check(200, "docs");
        }
        web.send(format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n\
             0\r\n\r\n{hidden}",
            5 + hidden.len()
        ));
        let said = said(web);
        assert!(said.starts_with("HTTP/1.1 4") && !said.contains("code();"), "{said}");
    }
    settles(&server);
}

#[test]
fn heads_and_bodies_that_never_end_cost_their_connection() {
    let site = site();
    let mut config = impatient(site.path());
    // All of them are there before the first has waited for so long.
    config.timeouts.http_idle_ms = 3000;
    let server = start(&config);
    let mut witness = Client::join(address(&server), Kind::Ws(Codec::Json));
    let mut halves: Vec<_> = (0..100)
        .map(|_| {
            let mut web = Web::connect(address(&server));
            web.get("/app.js").check(200, "code();");
            web.send("GET /app.js HTTP/1.1\r\nHost: x\r\nX-");
            web
        })
        .collect();
    assert_eq!(server.snapshot().http_connections, 100);
    witness.publish_acknowledged("com.x", &json!(1));
    Web::connect(address(&server)).get("/docs/").check(200, "docs");
    halves.drain(..).for_each(Web::check_over);
    // Nobody reads the body, so nobody waits for it.
    for framing in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let mut web = Web::connect(address(&server));
        web.send(format!("POST /app.js HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n5\r\nabc"));
        assert_eq!(web.response().status, 405);
        web.check_over();
    }
    // As soon as there is a whole head, whatever its length says.
    let mut web = Web::connect(address(&server));
    web.send(
        "GET /app.js HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    );
    web.response().check(200, "code();");
    web.check_over();
    witness.goodbye();
    settles(&server);
}

#[test]
fn a_request_names_one_host() {
    let site = site();
    let server = start(&serving(1, site.path()));
    for (head, status) in [
        ("GET /app.js HTTP/1.1\r\n\r\n", 400),
        ("GET /app.js HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET /app.js HTTP/1.1\r\nHost:\r\n\r\n", 200),
        ("GET /app.js HTTP/1.0\r\n\r\n", 200),
    ] {
        let mut web = Web::connect(address(&server));
        web.send(head);
        assert_eq!(web.response().status, status, "{head}");
    }
    settles(&server);
}

#[test]
fn large_heads_are_refused() {
    let site = site();
    let server = start(&serving(1, site.path()));
    let most = 16 * 1024;
    for is_first in [true, false] {
        for (fields, status) in [
            (format!("X-Long: {}\r\n", "x".repeat(most)), "431"),
            ("X-Many: 1\r\n".repeat(200), "431"),
            ("X-Some: 1\r\n".repeat(100), "200"),
        ] {
            let mut web = Web::connect(address(&server));
            if !is_first {
                web.get("/docs/").check(200, "docs");
            }
            web.send(format!("GET /app.js HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
            let status_line = String::from_utf8(web.take(12)).unwrap();
            assert_eq!(status_line, format!("HTTP/1.1 {status}"), "{is_first}");
        }
    }
    settles(&server);
}

#[test]
fn who_takes_no_answer_is_given_up() {
    let site = site();
    fs::write(site.path().join("large.bin"), vec![7; 30_000_000]).unwrap();
    let server = start(&impatient(site.path()));
    let stalled: Vec<_> = (0..10)
        .map(|_| {
            let mut web = Web::over(Stream::connect_small(address(&server)));
            web.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
            web
        })
        .collect();
    // A thousand requests at once, of which no answer is read.
    let mut flood = Web::over(Stream::connect_small(address(&server)));
    flood.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000));
    Web::connect(address(&server)).get("/app.js").check(200, "code();");
    eventually("they are gone", || server.snapshot().http_connections == 0);
    drop((stalled, flood));
    settles(&server);
}

/// What is broken in the middle of it all leaves nothing behind.
#[test]
fn connections_that_break_off_leave_nothing() {
    let site = site();
    fs::write(site.path().join("large.bin"), vec![7; 3_000_000]).unwrap();
    let server = start(&serving(2, site.path()));
    for number in 0..60 {
        let mut web = Web::connect(address(&server));
        match number % 4 {
            0 => web.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n"),
            1 => web.send("GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\nGET"),
            2 => web.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"),
            _ => web.send("GET / HTTP/1.1\r\nHost"),
        }
        web.stream.reset();
    }
    settles(&server);
    assert!(server.ended_threads().is_empty());
    server.stop().unwrap();
}
