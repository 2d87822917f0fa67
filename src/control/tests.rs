//! The admin listener of a real router, asked over a real socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::*;
use crate::config::{ADMIN_CONNECTIONS, Access, Group, Listener, Permission, Role};
use crate::net::Server;
use reference::{metrics_of, rows};

mod grafana;
/// Shared with tests/docs.rs.
#[path = "../../tests/docs/metrics.rs"]
mod reference;

struct Running {
    server: Server,
    control: Control,
}

fn start() -> Running {
    start_as(|view| view)
}

/// A router that operators see as a node of a cluster.
fn start_as_node() -> Running {
    start_as(|view| view.into_node(nodes::tests::example()))
}

fn start_as(shown: impl FnOnce(View) -> View) -> Running {
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
    let control = Control::start(&config, shown(server.view())).unwrap().expect("it listens");
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

/// A node that was removed, or is yet to be linked, has no clients sent to it.
#[test]
fn clients_should_come_to_members_that_are_linked() {
    let ready = |is_member, is_ready| {
        let mut view = nodes::tests::example();
        (view.node.is_member, view.node.is_ready) = (is_member, is_ready);
        let running = start_as(|shown| shown.into_node(view));
        running.control.set_ready(true);
        running.get("/readyz")
    };
    assert_eq!(ready(true, true), (200, "ready\n".into()));
    let said = "not ready: this node is not linked with the others yet\n";
    assert_eq!(ready(true, false), (503, said.into()));
    let said = "not ready: this node is no member of its cluster just now\n";
    assert_eq!(ready(false, true), (503, said.into()));
}

/// A node whose thread shows nothing any more is not well, but for the end of it at a stop.
#[test]
fn a_thread_of_a_cluster_that_stands_still_is_named() {
    let running = start_as_node();
    let health = Health::new(running.server.view().into_node(nodes::tests::example()));
    let start = now();
    let is_stuck = |seconds| health.standing(start + Duration::from_secs(seconds)).cluster;
    health.beat(start);
    health.beat(start + Duration::from_secs(1));
    assert!(!is_stuck(11) && is_stuck(12));
    let said = health.standing(start + Duration::from_secs(12)).to_json();
    assert_eq!((&said["status"], &said["stuck_cluster"]), (&"stuck".into(), &true.into()));
    health.set_ending();
    assert!(!is_stuck(12));
}

#[test]
fn nodes_are_shown_by_nodes() {
    let (status, page) = start().get("/clusterz");
    assert_eq!((status, page), (404, format!("{}\n", nodes::ALONE)));
    let (status, page) = start_as_node().get("/clusterz");
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!((status, &page["cluster"]), (200, &"demo".into()));
    assert_eq!(page["nodes"][0]["round_trip_us"], 1_250);
}

#[test]
fn a_node_has_metrics_of_its_cluster() {
    assert!(!start().get("/metrics").1.contains("stentor_cluster_"));
    let page = start_as_node().get("/metrics").1;
    for line in [
        "stentor_cluster_members 3",
        "stentor_cluster_linked_nodes 2",
        "stentor_cluster_removals_total{of=\"other\"} 1",
        "stentor_cluster_parcels_total{node=\"a\",direction=\"sent\"} 7",
        "stentor_cluster_bytes_total{node=\"c\",direction=\"received\"} 500",
        "stentor_cluster_parcels_resent_total{node=\"a\"} 2",
        "stentor_cluster_round_trip_seconds{node=\"a\"} 0.00125",
        "stentor_cluster_queued_bytes{node=\"a\"} 10",
        "stentor_cluster_calls_failed_total{reason=\"lost\"} 2",
        "stentor_cluster_calls_failed_total{reason=\"refused\"} 3",
        "stentor_cluster_claims_total{outcome=\"granted\"} 6",
        "stentor_cluster_bucket_silent_seconds 0.0",
        "stentor_cluster_corks 0",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} in {page}");
    }
}

/// As tests/docs.rs makes references of a running router: a node would need NATS.
/// `STENTOR_WRITE_DOCS=1` writes it anew.
#[test]
fn the_reference_of_a_clusters_metrics_is_that_of_the_program() {
    let page = start_as_node().get("/metrics").1;
    let of_cluster: Vec<_> = metrics_of(&page)
        .into_iter()
        .filter(|metric| metric.name.starts_with("stentor_cluster_"))
        .collect();
    assert!(of_cluster.len() > 30, "only {} metrics", of_cluster.len());
    let made = METRICS_OF_CLUSTERS.to_owned() + &rows(&of_cluster, |_, label| label == "node");
    let file = "docs/reference/metrics-of-clusters.md";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("STENTOR_WRITE_DOCS").is_some() {
        return std::fs::write(path, made).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    assert!(made == known, "{file}: STENTOR_WRITE_DOCS=1 cargo test --lib reference_of_a_cluster");
}

const METRICS_OF_CLUSTERS: &str = "\
# Metrics of clusters

What `/metrics` of a router with `[cluster]` says besides [the others](metrics.md); this page is
made from the program. `node` is the name of another node. They are a second old at most. What to do
about them: [alerts](../cluster.md#alerts).

| metric | kind | |
|---|---|---|
";

/// Of two nodes under one name a page that a scraper refuses would be made.
#[test]
fn a_name_has_one_sample() {
    let mut view = nodes::tests::example();
    view.node.peers[1].name = view.node.peers[0].name.clone();
    let page = start_as(|shown| shown.into_node(view)).get("/metrics").1;
    assert_eq!(page.matches("stentor_cluster_linked{node=\"a\"}").count(), 1, "{page}");
}

#[test]
fn metrics_are_openmetrics() {
    let running = start_as_node();
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
    let page = start_as_node().get("/metrics").1;
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
