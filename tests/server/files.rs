//! Static files over real sockets: a page and what belongs to it, and the WebSocket that it opens.

use std::fs;
use std::path::Path;

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::{Config, Listener, ListenerPath};
use tempfile::TempDir;

use crate::sockets::{Client, Kind, Stream, Web, address, config, http_upgrade, settles, start};

/// A directory with a page.
pub(crate) fn site() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("index.html", "<!doctype html>page"),
        ("app.js", "code();"),
        ("app.js.gz", "gzipped"),
        ("app.js.br", "brotli"),
        ("docs/index.html", "docs"),
        (".env", "SECRET"),
        (".git/config", "SECRET"),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// A configuration whose only listener serves a directory at `/`, and WebSockets at `/ws`.
pub(crate) fn serving(shards: usize, directory: &Path) -> Config {
    let mut config = config(shards);
    let files = ListenerPath {
        path: "/".into(),
        files: Some(directory.to_owned()),
        ..ListenerPath::default()
    };
    let listener = config.listeners.pop().unwrap();
    let (paths, paths_apart) = (vec!["/ws".into()], vec![files]);
    config.listeners.push(Listener { paths, paths_apart, ..listener });
    config
}

#[test]
fn a_page_and_what_belongs_to_it_come_over_one_connection() {
    let site = site();
    let server = start(&serving(2, site.path()));
    let mut web = Web::connect(address(&server));
    let page = web.get("/");
    page.check(200, "<!doctype html>page");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("vary", "accept-encoding"),
    ] {
        assert_eq!(page.header(name), Some(value), "{}", page.head);
    }
    assert!(page.header("etag").is_some() && page.header("last-modified").is_some());
    web.get("/index.html").check(200, "<!doctype html>page");
    web.get("/app.js").check(200, "code();");
    web.get("/app.js?v=2").check(200, "code();");
    web.get("/docs/").check(200, "docs");
    let redirect = web.get("/docs?x=1");
    assert_eq!((redirect.status, redirect.header("location")), (308, Some("/docs/?x=1")));
    web.get("/none").check(404, "Nothing is here.\n");
    let head = web.head_with("/app.js", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("7")));
    web.get("http://x/app.js").check(200, "code();");
    assert_eq!(server.snapshot().http_connections, 1);
    drop(web);
    settles(&server);
    let counted = server.snapshot();
    assert_eq!((counted.http_answered, counted.http_refused, counted.http_failed), (8, 1, 0));
    assert_eq!(counted.connections_handed_over, 1);
    server.stop().unwrap();
}

/// The one thing that a page of the router is for.
#[test]
fn a_page_connects_to_where_it_came_from() {
    let site = site();
    let server = start(&serving(2, site.path()));
    Web::connect(address(&server)).get("/").check(200, "<!doctype html>page");
    let host = address(&server).to_string();
    let upgrade = http_upgrade("/ws", "wamp.2.json");
    let with_origin = |origin: &str| {
        let upgrade = upgrade.replace("Host: ", &format!("Host: {host}\r\nX-Was: "));
        upgrade.replace("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n"))
    };
    for (origin, status) in
        [(format!("http://{host}"), "101"), ("http://evil.example".into(), "403")]
    {
        let mut web = Web::connect(address(&server));
        web.send(with_origin(&origin));
        let answer = String::from_utf8(web.take(12)).unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}"), "{origin}");
    }
    let mut subscriber = Client::join(address(&server), Kind::Ws(Codec::Json));
    subscriber.subscribe("com.x");
    let mut publisher = Client::join(address(&server), Kind::Raw(Codec::Cbor));
    publisher.publish_acknowledged("com.x", &json!(1));
    assert_eq!(subscriber.expect(36)[4], json!([1]));
    drop((subscriber, publisher));
    settles(&server);
}

#[test]
fn nothing_else_is_served() {
    let site = site();
    fs::write(site.path().parent().unwrap().join("stentor-outside"), "SECRET").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", site.path().join("link")).unwrap();
    std::os::unix::fs::symlink("app.js", site.path().join("inside.js")).unwrap();
    let server = start(&serving(1, site.path()));
    let mut web = Web::connect(address(&server));
    for path in [
        "/.env",
        "/.git/config",
        "/%2eenv",
        "/%2Eenv",
        "/docs/../.env",
        "/../stentor-outside",
        "/%2e%2e/stentor-outside",
        "/..%2fstentor-outside",
        "/docs/..%2f..%2fstentor-outside",
        "/..%5cstentor-outside",
        "/..\\stentor-outside",
        "//etc/passwd",
        "/etc/passwd",
        "/link",
        "/link/",
        "/app.js%00.html",
        "/app.js/",
        "/docs//index.html",
        "/./app.js",
        "/%2e/app.js",
        "http://x/../stentor-outside",
        "/ws/../app.js",
        "/none/",
        "/app.js%2f",
        "/%c0%ae%c0%ae/x",
    ] {
        let answer = web.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.head);
        assert!(!answer.text().contains("SECRET"), "{path}");
    }
    #[cfg(target_os = "linux")]
    web.get("/inside.js").check(200, "code();");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let mut web = Web::connect(address(&server));
        web.send(format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = web.response();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    drop(web);
    fs::remove_file(site.path().parent().unwrap().join("stentor-outside")).unwrap();
    settles(&server);
}

#[test]
fn a_client_gets_a_part_or_nothing_anew() {
    let site = site();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
    let file = fs::File::options().append(true).open(site.path().join("app.js")).unwrap();
    file.set_modified(old).unwrap();
    let server = start(&serving(1, site.path()));
    let mut web = Web::connect(address(&server));
    let whole = web.get("/app.js");
    let tag = whole.header("etag").unwrap().to_owned();
    assert!(!tag.starts_with("W/"), "it was written long ago: {tag}");
    assert_eq!(whole.header("last-modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    for condition in [
        format!("If-None-Match: {tag}"),
        format!("If-Modified-Since: {}", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        let answer = web.get_with("/app.js", &format!("{condition}\r\n"));
        assert_eq!((answer.status, answer.header("etag")), (304, Some(&*tag)), "{condition}");
    }
    let part = web.get_with("/app.js", "Range: bytes=1-3\r\n");
    part.check(206, "ode");
    assert_eq!(part.header("content-range"), Some("bytes 1-3/7"));
    let none = web.get_with("/app.js", "Range: bytes=7-\r\n");
    assert_eq!((none.status, none.header("content-range")), (416, Some("bytes */7")));
    web.get_with("/app.js", &format!("Range: bytes=0-0\r\nIf-Range: {tag}\r\n")).check(206, "c");
    web.get_with("/app.js", "Range: bytes=0-0\r\nIf-Range: \"x\"\r\n").check(200, "code();");
    let answer = web.get_with("/app.js", "If-Match: \"x\"\r\n");
    assert_eq!(answer.status, 412);
    // Compressed by somebody before: another representation, with a tag of its own.
    for (accepted, encoding, text) in [
        ("gzip, br", Some("br"), "brotli"),
        ("gzip", Some("gzip"), "gzipped"),
        ("deflate", None, "code();"),
    ] {
        let answer = web.get_with("/app.js", &format!("Accept-Encoding: {accepted}\r\n"));
        answer.check(200, text);
        assert_eq!(answer.header("content-encoding"), encoding);
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(answer.header("etag") == Some(&tag), encoding.is_none());
    }
    drop(web);
    settles(&server);
}

#[test]
fn a_large_file_comes_whole_and_by_parts() {
    let site = site();
    let bytes: Vec<u8> = (0..3_000_017u32).map(|n| ((n * 31) >> 3) as u8).collect();
    fs::write(site.path().join("large.bin"), &bytes).unwrap();
    let server = start(&serving(1, site.path()));
    let mut web = Web::connect(address(&server));
    for _ in 0..2 {
        let answer = web.get("/large.bin");
        assert_eq!((answer.status, answer.body == bytes), (200, true));
    }
    for (from, to) in [(0, 2_999_999), (65_535, 131_073), (2_999_000, 3_000_016)] {
        let answer = web.get_with("/large.bin", &format!("Range: bytes={from}-{to}\r\n"));
        assert_eq!((answer.status, answer.body == bytes[from..=to]), (206, true));
    }
    drop(web);
    settles(&server);
}

#[test]
fn pages_that_read_the_path_get_the_fallback() {
    let site = site();
    let mut config = serving(1, site.path());
    let path = &mut config.listeners[0].paths_apart[0];
    path.fallback = Some("index.html".into());
    path.cache = Some("max-age=3600".into());
    let apart = ListenerPath {
        path: "/docs/more/".into(),
        files: Some(site.path().join("docs")),
        ..ListenerPath::default()
    };
    config.listeners[0].paths_apart.push(apart);
    let server = start(&config);
    let mut web = Web::connect(address(&server));
    let browser = "Accept: text/html,application/xhtml+xml;q=0.9\r\n";
    let page = web.get_with("/users/john.doe", browser);
    page.check(200, "<!doctype html>page");
    assert_eq!(page.header("vary"), Some("accept, accept-encoding"));
    assert_eq!(page.header("cache-control"), Some("no-cache"), "HTML is asked for anew");
    assert_eq!(web.get("/app.js").header("cache-control"), Some("max-age=3600"));
    for (path, fields) in [
        ("/none.js", "Accept: */*\r\n"),
        ("/none.js", ""),
        ("/.env", browser),
        ("/a/../b", browser),
    ] {
        web.get_with(path, fields).check(404, "Nothing is here.\n");
    }
    // The longest path decides, whatever the other would say.
    web.get("/docs/more/").check(200, "docs");
    assert_eq!(web.get("/docs/more").header("location"), Some("/docs/more/"));
    web.get_with("/docs/more/x", browser).check(404, "Nothing is here.\n");
    drop(web);
    settles(&server);
}

/// Also over a Unix socket, and on a listener that serves nothing else.
#[test]
fn files_come_by_any_socket() {
    let site = site();
    let folder = tempfile::tempdir().unwrap();
    let mut config = serving(1, site.path());
    config.listeners[0].paths.clear();
    config.listeners[0].rawsocket = false;
    config.listeners[0].address = format!("unix:{}/s", folder.path().display()).parse().unwrap();
    let server = start(&config);
    let mut web = Web::over(Stream::connect(address(&server)).unwrap());
    web.get("/app.js").check(200, "code();");
    let refused =
        Client::open_on(Stream::connect(address(&server)).unwrap(), Kind::Ws(Codec::Json));
    assert!(refused.unwrap_err().to_string().starts_with("HTTP/1.1 404 "));
    drop(web);
    settles(&server);
}
