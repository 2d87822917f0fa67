//! The HTTP half of the WebSocket handshake (TR-WS-02, TR-WS-03, TR-WS-06).

use stentor::codec::Codec;
use stentor::limits::HTTP_HEADERS;
use stentor::transport::{
    Framing, HttpRefusal, Origins, TransportError, TransportRules, UNLIMITED_BYTES,
};

use crate::harness::{Connection, Event, check_cuts, masked, upgrade};

fn rules() -> TransportRules {
    TransportRules { paths: vec!["/ws".into()], ..Default::default() }
}

fn codec_for(headers: &[(&str, &str)], rules: &TransportRules) -> Option<Codec> {
    let connection = check_cuts(rules, upgrade(headers).as_bytes(), &[1, 7, 100]);
    match connection.events.first() {
        Some(Event::Opened(codec, _, UNLIMITED_BYTES)) => Some(*codec),
        _ => None,
    }
}

fn refusal(request: &str, rules: &TransportRules) -> (HttpRefusal, String) {
    let connection = check_cuts(rules, request.as_bytes(), &[1, 13]);
    let Some(TransportError::Http(refusal)) = connection.error else {
        panic!("not refused: {request}");
    };
    let answer = String::from_utf8(connection.reply).expect("plain text");
    assert!(answer.starts_with(&format!("HTTP/1.1 {} ", refusal.status())), "{answer}");
    assert!(answer.contains("\r\nConnection: close"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    assert!(body.ends_with(".\n"), "{body}");
    (refusal, answer)
}

/// RFC 6455, 1.3: the accept key of the specification's own example.
#[test]
fn the_specifications_own_key() {
    let mut connection = Connection::new(rules());
    connection.feed(upgrade(&[("Sec-WebSocket-Protocol", "wamp.2.json")]).as_bytes());
    let reply = String::from_utf8(connection.reply).expect("ASCII");
    assert!(reply.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(reply.ends_with("\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n"));
    let opened = Event::Opened(Codec::Json, Framing::WebSocketText, UNLIMITED_BYTES);
    assert_eq!(connection.events, [opened]);
}

/// TR-WS-03: the first of the client's list that we support.
#[test]
fn the_client_decides_between_what_is_supported() {
    const NAME: &str = "Sec-WebSocket-Protocol";
    let all = rules();
    assert_eq!(codec_for(&[(NAME, "wamp.2.cbor, wamp.2.json")], &all), Some(Codec::Cbor));
    assert_eq!(codec_for(&[(NAME, "soap,,wamp.2.msgpack ,x")], &all), Some(Codec::MsgPack));
    let two = [(NAME, "soap"), (NAME, "wamp.2.json"), (NAME, "wamp.2.cbor")];
    assert_eq!(codec_for(&two, &all), Some(Codec::Json));
    let only_cbor = TransportRules { codecs: vec![Codec::Cbor], ..rules() };
    assert_eq!(codec_for(&two, &only_cbor), Some(Codec::Cbor));
}

/// TR-WS-03: refused by default, with an option.
#[test]
fn a_client_without_a_subprotocol() {
    let (reason, answer) = refusal(&upgrade(&[]), &rules());
    assert_eq!((reason, reason.status()), (HttpRefusal::NoSubprotocol, 400));
    assert!(answer.contains("wamp.2.json") && answer.contains("wamp.2.cbor"));
    let lenient = TransportRules { default_subprotocol: Some(Codec::Json), ..rules() };
    let connection = check_cuts(&lenient, upgrade(&[]).as_bytes(), &[1]);
    assert!(!String::from_utf8_lossy(&connection.reply).contains("Sec-WebSocket-Protocol"));
    assert_eq!(connection.events.len(), 1);
}

#[test]
fn an_answer_says_what_was_offered_and_what_is_supported() {
    let offer = [("Sec-WebSocket-Protocol", "wamp.1, soap")];
    let (reason, answer) = refusal(&upgrade(&offer), &rules());
    assert_eq!((reason, reason.status()), (HttpRefusal::Subprotocol, 400));
    assert!(answer.contains("Offered: wamp.1, soap. Supported: "), "{answer}");
}

/// TR-WS-06.
#[test]
fn headers_as_proxies_and_browsers_write_them() {
    let request = "GET /ws?token=1 HTTP/1.1\r\nHOST: h\r\nuser-agent: x\r\nupgrade: WebSocket\r\n\
        connection: keep-alive, Upgrade\r\nsec-websocket-version:13\r\ncookie: a=b\r\n\
        sec-websocket-extensions: permessage-deflate\r\nContent-Length: 0\r\n\
        sec-websocket-key:   dGhlIHNhbXBsZSBub25jZQ==  \r\n\
        sec-websocket-protocol: wamp.2.json\r\n\r\n";
    let connection = check_cuts(&rules(), request.as_bytes(), &[1, 10]);
    assert_eq!(connection.error, None);
    let reply = String::from_utf8_lossy(&connection.reply).to_ascii_lowercase();
    assert!(!reply.contains("extensions"));
}

#[test]
fn every_refusal_has_its_status() {
    let good = upgrade(&[("Sec-WebSocket-Protocol", "wamp.2.json")]);
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (from, to, reason, status) in [
        ("GET", "POST", HttpRefusal::Method, 405),
        ("GET /ws", "GET *", HttpRefusal::Target, 400),
        ("Host: example.org", "Host: user@example.org", HttpRefusal::Host, 400),
        ("Host: example.org", "Host: a, b", HttpRefusal::Host, 400),
        ("/ws", "/other", HttpRefusal::Path, 404),
        ("Upgrade: websocket\r\n", "", HttpRefusal::NotUpgrade, 426),
        ("Upgrade: websocket", "Upgrade: h2c", HttpRefusal::NotUpgrade, 426),
        ("Connection: Upgrade", "Connection: keep-alive", HttpRefusal::NotUpgrade, 426),
        ("HTTP/1.1", "HTTP/1.0", HttpRefusal::OldHttp, 400),
        ("HTTP/1.1", "HTTP/2.0", HttpRefusal::Malformed, 400),
        ("Host: example.org\r\n", "", HttpRefusal::Host, 400),
        ("Host:", "Host: a\r\nHost:", HttpRefusal::Host, 400),
        ("Version: 13", "Version: 8", HttpRefusal::Version, 426),
        ("Sec-WebSocket-Version: 13\r\n", "", HttpRefusal::Version, 426),
        (key, "", HttpRefusal::Key, 400),
        (key, "Sec-WebSocket-Key: short==\r\n", HttpRefusal::Key, 400),
        ("Host", "Transfer-Encoding: chunked\r\nHost", HttpRefusal::Body, 400),
        ("Host", "Content-Length: 5\r\nHost", HttpRefusal::Body, 400),
        ("Host: ", "Ho st: ", HttpRefusal::Malformed, 400),
        ("Host: ", "Host", HttpRefusal::Malformed, 400),
        ("\r\nHost", "\n\nHost", HttpRefusal::Malformed, 400),
    ] {
        let (found, _) = refusal(&good.replacen(from, to, 1), &rules());
        assert_eq!((found, found.status()), (reason, status), "{from:?} -> {to:?}");
    }
}

#[test]
fn a_browser_that_just_looks_learns_what_this_is() {
    let (reason, answer) = refusal("GET /ws HTTP/1.1\r\nHost: h\r\n\r\n", &rules());
    assert_eq!(reason, HttpRefusal::NotUpgrade);
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"));
    assert!(answer.contains("wamp.2.json") && answer.contains("ws://<this host>/ws"));
    let wrong_version = upgrade(&[]).replace("Version: 13", "Version: 7");
    assert!(refusal(&wrong_version, &rules()).1.contains("\r\nSec-WebSocket-Version: 13\r\n"));
}

#[test]
fn a_page_connects_to_its_own_host_or_where_a_list_lets_it() {
    let listed = |origins: &[&str]| {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        TransportRules { allowed_origins: Origins::Listed(origins), ..rules() }
    };
    let (strict, open) = (listed(&["*.example.org"]), listed(&["*"]));
    let with = |origin| upgrade(&[("Sec-WebSocket-Protocol", "wamp.2.json"), ("Origin", origin)]);
    for (origin, rules) in
        [("https://evil.net", &strict), ("https://evil.net", &rules()), ("null", &rules())]
    {
        assert_eq!(refusal(&with(origin), rules).0, HttpRefusal::Origin, "{origin}");
    }
    for (request, rules) in [
        (with("https://app.example.org"), &strict),
        (upgrade(&[("Sec-WebSocket-Protocol", "wamp.2.json")]), &strict),
        (with("https://evil.net"), &open),
        (with("https://example.org"), &rules()),
    ] {
        assert_eq!(check_cuts(rules, request.as_bytes(), &[]).error, None);
    }
}

#[test]
fn a_head_over_the_limit_is_refused_without_its_end() {
    let rules = TransportRules { http_head_bytes: 512, ..rules() };
    let endless = format!("GET /ws HTTP/1.1\r\nX: {}", "x".repeat(512));
    let (reason, _) = refusal(&endless, &rules);
    assert_eq!((reason, reason.status()), (HttpRefusal::HeadTooLarge, 431));
    let good = upgrade(&[("Sec-WebSocket-Protocol", "wamp.2.json")]);
    let exact = TransportRules { http_head_bytes: good.len(), ..rules.clone() };
    assert_eq!(check_cuts(&exact, good.as_bytes(), &[1]).error, None);
    let short = TransportRules { http_head_bytes: good.len() - 1, ..rules };
    assert_eq!(refusal(&good, &short).0, HttpRefusal::HeadTooLarge);
}

/// The reason is the true one: not the bytes.
#[test]
fn headers_are_counted() {
    let with = |count| {
        let mut headers = vec![("A", "b"); count - 5];
        headers[0] = ("Sec-WebSocket-Protocol", "wamp.2.json");
        upgrade(&headers)
    };
    assert_eq!(check_cuts(&rules(), with(HTTP_HEADERS).as_bytes(), &[7]).error, None);
    let (reason, answer) = refusal(&with(HTTP_HEADERS + 1), &rules());
    assert_eq!((reason, reason.status()), (HttpRefusal::TooManyHeaders, 431));
    assert!(answer.ends_with("\r\n\r\nThe request has too many headers. The limit is 128.\n"));
}

/// Browsers send all cookies of a domain; 8,718 bytes have been seen.
#[test]
fn real_cookies_fit_by_default() {
    let cookies = "c".repeat(12_000);
    let headers = [("Sec-WebSocket-Protocol", "wamp.2.json"), ("Cookie", &*cookies)];
    assert_eq!(check_cuts(&rules(), upgrade(&headers).as_bytes(), &[1000]).error, None);
    let more = [headers[0], ("Cookie", &*cookies), ("X", &*cookies)];
    let (reason, answer) = refusal(&upgrade(&more), &rules());
    assert_eq!(reason, HttpRefusal::HeadTooLarge);
    assert!(answer.contains("The limit is 16384 bytes."), "{answer}");
}

/// RFC 9112, 3.2: the path is what the target says, in either form, and nothing else.
#[test]
fn the_target_names_the_path() {
    let protocol = [("Sec-WebSocket-Protocol", "wamp.2.json")];
    for (target, verdict) in [
        ("/ws", None),
        ("/ws?a=b", None),
        ("/%77%73", None),
        ("http://example.org/ws", None),
        ("HTTP://EXAMPLE.ORG:80/ws?a", None),
        ("/public://x/ws", Some(HttpRefusal::Path)),
        ("/WS", Some(HttpRefusal::Path)),
        ("/ws/", Some(HttpRefusal::Path)),
        ("//ws", Some(HttpRefusal::Path)),
        ("http://example.org", Some(HttpRefusal::Path)),
        ("public://x/ws", Some(HttpRefusal::Target)),
        ("http:///ws", Some(HttpRefusal::Target)),
        ("http://user@example.org/ws", Some(HttpRefusal::Target)),
        ("example.org:80", Some(HttpRefusal::Target)),
        ("*", Some(HttpRefusal::Target)),
        ("/ws#x", Some(HttpRefusal::Target)),
        ("/%7", Some(HttpRefusal::Target)),
    ] {
        let request = upgrade(&protocol).replace("GET /ws ", &format!("GET {target} "));
        let connection = check_cuts(&rules(), request.as_bytes(), &[1, 9]);
        assert_eq!(connection.error, verdict.map(TransportError::Http), "{target}");
    }
    let request = upgrade(&protocol).replace("GET /ws ", "GET /a%2fb ");
    let escaped = TransportRules { paths: vec!["/%61%2Fb".into()], ..rules() };
    assert_eq!(check_cuts(&escaped, request.as_bytes(), &[]).error, None);
}

/// RFC 9110, 9.3.2: all of the answer but its body.
#[test]
fn an_answer_to_head_has_no_body() {
    let rules = TransportRules { http_head_bytes: 512, ..rules() };
    let long = format!("HEAD /ws HTTP/1.1\r\nX: {}", "x".repeat(512));
    for (request, refusal) in [
        ("HEAD /ws HTTP/1.1\r\nHost: h\r\n\r\n", HttpRefusal::Method),
        ("HEAD /ws\r\n\r\n", HttpRefusal::Malformed),
        (&long, HttpRefusal::HeadTooLarge),
    ] {
        let connection = check_cuts(&rules, request.as_bytes(), &[1, 9]);
        assert_eq!(connection.error, Some(TransportError::Http(refusal)));
        let answer = String::from_utf8(connection.reply).expect("plain text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(body.is_empty(), "{answer}");
        assert!(head.contains("\r\nContent-Length: ") && !head.contains(": 0\r\n"), "{head}");
    }
}

/// A client may send its HELLO behind the request without waiting.
#[test]
fn pipelined_bytes_belong_to_the_websocket() {
    let mut bytes = upgrade(&[("Sec-WebSocket-Protocol", "wamp.2.json")]).into_bytes();
    bytes.extend(masked(0x81, b"[1]"));
    bytes.extend(masked(0x81, b"[2]"));
    let connection = check_cuts(&rules(), &bytes, &[1, 2, 3, 50, 200]);
    assert_eq!(connection.messages(), [b"[1]", b"[2]"]);
}

/// Whatever the request looks like that load balancers write.
#[test]
fn health_checks_are_answered_at_their_path_alone() {
    let ready = TransportRules { health: Some("/healthz".into()), ..rules() };
    let stopping = TransportRules { is_ready: false, ..ready.clone() };
    for (rules, status, text) in
        [(&ready, "200 OK", "ready\n"), (&stopping, "503 Service", "not ready: stopping\n")]
    {
        for (request, body) in [
            ("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", text),
            ("GET /healthz HTTP/1.0\r\n\r\n", text),
            ("GET /%68ealthz?x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", text),
            ("HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n", ""),
        ] {
            let connection = check_cuts(rules, request.as_bytes(), &[1, 9]);
            assert_eq!(connection.error, Some(TransportError::HealthCheck), "{request}");
            let answer = String::from_utf8(connection.reply).expect("plain text");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            let (head, said) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains("\r\nConnection: close") && said == body, "{answer}");
            assert!(head.contains(&format!("\r\nContent-Length: {}", text.len())), "{head}");
        }
        let other = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(refusal(other, rules).0, HttpRefusal::Path);
        let post = "POST /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(refusal(post, rules).0, HttpRefusal::Method);
        let protocol = [("Sec-WebSocket-Protocol", "wamp.2.json")];
        assert_eq!(codec_for(&protocol, rules), Some(Codec::Json), "WebSockets open as ever");
    }
    let check = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(refusal(check, &rules()).0, HttpRefusal::Path, "it is off by default");
}

/// What is served otherwise is for others, from its first byte on; all else is as ever.
#[test]
fn requests_for_others_are_handed_over() {
    let http_paths = vec!["/app/".into(), "/%73ite".into()];
    let serving = TransportRules { http_paths, health: Some("/app/health".into()), ..rules() };
    for request in [
        "GET /app HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /app/x?y HTTP/1.1\r\n\r\n",
        "HEAD /site HTTP/1.0\r\n\r\n",
        "GET http://h/app/x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /app HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "POST /app/x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
        "PUT /app HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let connection = check_cuts(&serving, request.as_bytes(), &[1, 9]);
        assert_eq!(connection.events, [Event::Http(request.into())], "{request}");
        assert!(connection.reply.is_empty() && connection.error.is_none(), "{request}");
        assert!(!connection.transport.may_send());
        // And whatever came with it.
        let mut connection = Connection::new(serving.clone());
        connection.feed(format!("{request}GET").as_bytes());
        assert_eq!(connection.events, [Event::Http(format!("{request}GET").into())]);
        // Where nothing is served so, it is refused as ever.
        if !request.starts_with("HEAD") {
            refusal(request, &rules());
        }
    }
    for (request, expected) in [
        ("GET /apple HTTP/1.1\r\nHost: h\r\n\r\n", HttpRefusal::Path),
        ("GET /ws HTTP/1.1\r\nHost: h\r\n\r\n", HttpRefusal::NotUpgrade),
        ("POST /ws HTTP/1.1\r\nHost: h\r\n\r\n", HttpRefusal::Method),
        ("GET /app#x HTTP/1.1\r\nHost: h\r\n\r\n", HttpRefusal::Target),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", HttpRefusal::Method),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", HttpRefusal::Method),
        ("GET /app HTTP/1.1\r\nHost : h\r\n\r\n", HttpRefusal::Malformed),
        (&upgrade(&[]).replace("/ws", "/app"), HttpRefusal::Path),
    ] {
        assert_eq!(refusal(request, &serving).0, expected, "{request}");
    }
    let check = check_cuts(&serving, b"GET /app/health HTTP/1.1\r\nHost: h\r\n\r\n", &[1]);
    assert_eq!(check.error, Some(TransportError::HealthCheck));
    let protocol = [("Sec-WebSocket-Protocol", "wamp.2.json")];
    assert_eq!(codec_for(&protocol, &serving), Some(Codec::Json), "WebSockets open as ever");
    // Without paths for WebSockets there are none, though elsewhere that would mean any.
    let alone = TransportRules { paths: Vec::new(), ..serving };
    assert_eq!(refusal(&upgrade(&protocol), &alone).0, HttpRefusal::Path);
}
