//! The admin listener of a real router, asked over a real socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::*;
use crate::config::{ADMIN_CONNECTIONS, Access, Group, Listener, Permission, Role};
use crate::net::Server;

struct Running {
    server: Server,
    control: Control,
}

fn start() -> Running {
    let listen = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut config =
        Config { shards: 2, listeners: vec![Listener::on(listen.clone())], ..Config::default() };
    let role = Role::new("anonymous", vec![Permission::everything_below("")]);
    config.realms[0].access = Access::Roles(vec![role]);
    config.admin.listen = Some(listen);
    config.admin.hosts = vec!["stentor.internal".into()];
    config.admin.environment = Some("staging".into());
    config.admin.color = Some("#00aa00".into());
    config.metrics.clients = vec!["wampy.js".into()];
    config.metrics.groups = vec![Group { name: "shop".into(), prefix: "com.shop.".into() }];
    let server = Server::start(&config).unwrap();
    let control = Control::start(&config, server.view()).unwrap().expect("it listens");
    Running { server, control }
}

impl Running {
    fn address(&self) -> SocketAddr {
        self.control.address().and_then(ListenAddress::tcp).expect("it is on TCP")
    }

    /// The status line and what follows the head.
    fn ask(&self, request: &str) -> (String, String) {
        let mut socket = TcpStream::connect(self.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        (head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        let host = self.address();
        let (head, body) =
            self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert!(head.contains("nosniff") && head.contains("default-src 'none'"), "{head}");
        (head[9..12].parse().unwrap(), body)
    }
}

#[test]
fn it_says_whether_the_threads_turn_and_whether_clients_should_come() {
    let running = start();
    assert_eq!(running.get("/healthz").0, 200);
    assert_eq!(running.get("/readyz").0, 503, "it is not said to be ready");
    running.control.set_ready(true);
    assert_eq!(running.get("/readyz"), (200, "ready\n".into()));
    running.control.set_ready(false);
    assert_eq!(running.get("/readyz").0, 503);
    assert_eq!(running.get("/").0, 200);
    assert_eq!(running.get("/api").0, 404);
}

#[test]
fn metrics_are_openmetrics() {
    let running = start();
    let (status, page) = running.get("/metrics");
    assert_eq!(status, 200);
    assert!(page.ends_with("# EOF\n"), "{page}");
    for line in [
        "# TYPE stentor_build info",
        "stentor_sessions{shard=\"1\"} 0",
        "# TYPE stentor_events_dropped counter",
        "stentor_events_dropped_total{reason=\"slow\"} 0",
        "stentor_tls_handshakes_total{kind=\"resumed\"} 0",
        "stentor_authorization_total{realm=\"realm1\",role=\"anonymous\",action=\"call\",\
         outcome=\"denied\",cached=\"true\"} 0",
        "# UNIT stentor_event_loop_turn_seconds seconds",
        "stentor_realm_sessions{realm=\"realm1\"} 0",
        "stentor_client_sessions{client=\"wampy.js\"} 0",
        "stentor_group_calls_total{group=\"shop\"} 0",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} in {page}");
    }
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let mut names: Vec<_> = samples.map(|line| line.rsplit_once(' ').unwrap().0).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "each sample once");
    let values: BTreeMap<_, _> = page.lines().filter_map(|line| line.rsplit_once(' ')).collect();
    let histograms = page.lines().filter_map(|line| line.strip_suffix(" histogram"));
    for family in histograms.filter_map(|line| line.strip_prefix("# TYPE ")) {
        let all =
            values.keys().filter_map(|name| name.strip_prefix(family)?.strip_prefix("_count"));
        for labels in all.clone() {
            let more = labels.trim_start_matches('{').trim_end_matches('}');
            let comma = if more.is_empty() { "" } else { "," };
            let total = format!("{family}_bucket{{le=\"+Inf\"{comma}{more}}}");
            let other = format!("{family}_bucket{{{more}{comma}le=\"+Inf\"}}");
            let last = values.get(&*total).or_else(|| values.get(&*other));
            assert_eq!(last, values.get(&*format!("{family}_count{labels}")), "{family}{labels}");
            assert!(last.is_some(), "without it no quantile can be told");
        }
        assert!(all.count() > 0 || family == "stentor_hook_duration_seconds", "{family}");
    }
}

/// What the pages for operators name is there.
#[test]
fn docs_and_alerts_name_metrics_that_there_are() {
    let page = start().get("/metrics").1;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut named = 0;
    for file in ["operations.md", "monitoring/alerts.yml", "monitoring/grafana.json"] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        for word in
            words.filter(|word| word.starts_with("stentor_") || word.starts_with("process_"))
        {
            named += 1;
            // Some have no samples before something has happened.
            let family = format!("# TYPE {} ", word.strip_suffix("_total").unwrap_or(word));
            let is_there = page.lines().any(|line| {
                line.strip_prefix(word).is_some_and(|rest| rest.starts_with(['{', ' ']))
                    || line.starts_with(&family)
            });
            assert!(is_there, "{file} names {word}");
        }
    }
    assert!(named > 20, "{named}");
}

#[test]
fn json_shows_the_router_and_its_shards() {
    let running = start();
    let json = |path| -> serde_json::Value { serde_json::from_str(&running.get(path).1).unwrap() };
    let router = json("/api/router");
    assert_eq!(router["realms"][0]["name"], "realm1");
    assert_eq!(router["gauges"]["sessions"], 0);
    let shards = json("/api/shards");
    assert_eq!(shards.as_array().unwrap().len(), 2);
    assert_eq!(shards[1]["shard"], 1);
    assert_eq!(shards[1]["gauges"]["connections"], 0);
}

#[test]
fn json_says_which_router_it_is_where_clients_connect_and_why_sessions_end() {
    let running = start();
    let json = |path| -> serde_json::Value { serde_json::from_str(&running.get(path).1).unwrap() };
    let router = json("/api/router");
    assert_eq!(router["environment"], serde_json::json!({ "name": "staging", "color": "#00aa00" }));
    let address = &running.server.addresses()[0];
    assert_eq!(router["listeners"][0]["urls"][0], format!("ws://{address}/ws"));
    let shard = &json("/api/shards")[0];
    let classes = shard["turns_by_time"].as_array().unwrap();
    assert_eq!(classes.first().unwrap()["up_to_us"], 50);
    assert!(classes.last().unwrap()["up_to_us"].is_null());
    let reasons = json("/api/reasons");
    let reasons = reasons["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), crate::router::EndReason::LABELS.len());
    for reason in reasons {
        assert_eq!(reason["count"], 0, "{reason}");
        assert!(reason["when"].as_str().unwrap().ends_with('.'), "{reason}");
    }
}

#[test]
fn browsers_get_the_dashboard_and_keep_its_files() {
    let running = start();
    let host = running.address();
    let ask = |path: &str, header: &str| {
        running.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\nConnection: close\r\n\r\n"
        ))
    };
    let (head, page) = ask("/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8");
    assert!(page.starts_with("<!doctype html>"), "{page}");
    let address = &running.server.addresses()[0];
    assert!(head.contains(&format!("connect-src 'self' ws://{address};")), "{head}");
    assert!(head.contains("script-src 'self';"), "{head}");
    assert!(ask("/", "Accept: */*").1.starts_with("Stentor's admin listener"));
    assert!(ask("/help", "Accept: text/html").1.contains("/api/reasons"));
    let (head, script) = ask("/pages/main.js", "Accept: */*");
    assert!(script.contains("import"), "{script}");
    assert!(head.contains("cache-control: no-cache") && !head.contains("no-store"), "{head}");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag");
    let (head, body) = ask("/pages/main.js", &format!("If-None-Match: \"x\", W/{tag}"));
    assert!(head.starts_with("HTTP/1.1 304 ") && body.is_empty(), "{head}");
    for path in ["/pages/", "/pages/main", "/pages/..%2fhttp.rs", "/pages/index.html"] {
        assert!(ask(path, "Accept: */*").0.starts_with("HTTP/1.1 404 "), "{path}");
    }
}

#[test]
fn other_sites_and_names_are_refused() {
    let running = start();
    let host = running.address();
    for (headers, status) in [
        (format!("Host: {host}"), 200),
        ("Host: stentor.internal:9080".into(), 200),
        ("Host: evil.example".into(), 403),
        (format!("Host: {host}\r\nOrigin: http://evil.example"), 403),
        (format!("Host: {host}\r\nOrigin: http://{host}"), 200),
    ] {
        let request = format!("GET /metrics HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n");
        let (head, _) = running.ask(&request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {head}");
    }
}

/// A load balancer that gets no answer would end the router: who only sits there gives way.
#[test]
fn whoever_holds_all_places_keeps_nobody_out() {
    let running = start();
    let connect = |_| TcpStream::connect(running.address()).unwrap();
    let mut idle: Vec<_> = (0..ADMIN_CONNECTIONS).map(connect).collect();
    assert_eq!(running.get("/healthz").0, 200);
    let last = idle.last_mut().unwrap();
    last.set_nonblocking(true).unwrap();
    let still_open = last.read(&mut [0]).unwrap_err();
    assert_eq!(still_open.kind(), io::ErrorKind::WouldBlock, "only the oldest had to go");
    idle[0].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(idle[0].read(&mut [0]).unwrap(), 0);
}

/// The router stops although all places are held.
#[test]
fn it_outlives_the_router_and_stops_with_connections_open() {
    let Running { server, control } = start();
    let idle: Vec<_> = (0..80)
        .map(|_| {
            TcpStream::connect(control.address().and_then(ListenAddress::tcp).unwrap()).unwrap()
        })
        .collect();
    server.stop().unwrap();
    drop(control);
    drop(idle);
}
