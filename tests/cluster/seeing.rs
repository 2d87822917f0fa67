//! What operators see of a cluster: by the command, the admin listener and its metrics.

use std::process::{Command, Output};

use serde_json::Value;
use stentor_client::{CallError, Client, Subscription};
use tokio::time::timeout;

use super::processes::{Nats, PATIENCE, Router, wait_until};

/// What `stentor nodes` says of a router.
fn nodes(router: &Router, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stentor"))
        .arg("nodes")
        .args(flags)
        .args(["--admin", &router.admin()])
        .output()
        .expect("it runs")
}

fn table(router: &Router) -> String {
    let output = nodes(router, &[]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}

/// The rows, by the names of the nodes.
fn rows(router: &Router) -> Vec<(String, Value)> {
    let output = nodes(router, &["--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it is text");
    let rows = text.lines().map(|line| {
        let row: Value = serde_json::from_str(line).expect("an object a line");
        (row["node"].as_str().expect("a name").to_owned(), row)
    });
    rows.collect()
}

/// How a router is linked with others, by their names.
fn links(router: &Router) -> Vec<(String, String)> {
    let link = |row: &Value| row["link"].as_str().expect("a word").to_owned();
    rows(router).into_iter().map(|(name, row)| (name, link(&row))).collect()
}

fn pairs(links: &[(&str, &str)]) -> Vec<(String, String)> {
    links.iter().map(|(name, link)| ((*name).to_owned(), (*link).to_owned())).collect()
}

/// A node that dies and one that comes back are seen at the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_node_is_seen_to_die_and_return() {
    let nats = Nats::start();
    let a = Router::start(&nats, "a");
    let mut b = Router::start(&nats, "b");
    let c = Router::start(&nats, "c");
    let all = pairs(&[("a", "self"), ("b", "linked"), ("c", "linked")]);
    wait_until("all are linked", || links(&a) == all);
    let table_of_a = table(&a);
    assert!(table_of_a.starts_with("NODE  NUMBER  LINK "), "{table_of_a}");
    assert!(table_of_a.ends_with("3 nodes of the cluster test, as a sees it\n"), "{table_of_a}");
    assert_eq!(a.get("/readyz"), (200, "ready\n".to_owned()));
    let (callee, caller) = (b.client().await, a.client().await);
    let echo = callee.register("test.echo", |_| async { Ok::<_, CallError>((1,)) });
    let _stays = echo.await.expect("nobody else has it");
    caller.call("test.echo", ()).await.expect("it crosses nodes");
    wait_until("mail is counted", || {
        let row = &rows(&a)[1].1;
        row["bytes_sent"].as_u64() > Some(0)
            && row["bytes_received"].as_u64() > Some(0)
            && row["round_trip_us"].is_u64()
            && row["queued_bytes"] == 0
    });
    b.kill();
    let gone = pairs(&[("a", "self"), ("c", "linked")]);
    wait_until("it is seen to die", || {
        let is_down = table(&a).contains("node b: there is no link with it");
        is_down || links(&a) == gone
    });
    wait_until("it is no member", || links(&a) == gone && links(&c).len() == 2);
    let removals: f64 = [&a, &c].map(|at| metric(at, REMOVALS)).iter().sum();
    assert!(removals >= 1.0, "{removals}");
    b = Router::start(&nats, "b");
    wait_until("it is back", || links(&a) == all);
    assert_eq!(links(&b), pairs(&[("a", "linked"), ("b", "self"), ("c", "linked")]));
    assert_eq!(metric(&a, "stentor_cluster_members "), 3.0);
}

/// The same by WAMP, and as it happens: with one line in the log of each node that stays, of which
/// one says that it was this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_viewer_sees_a_node_die_and_return() {
    let nats = Nats::start();
    let a = Router::start_watched(&nats, "a");
    let mut b = Router::start(&nats, "b");
    let c = Router::start(&nats, "c");
    let viewer = a.client().await;
    let all = pairs(&[("a", "self"), ("b", "linked"), ("c", "linked")]);
    wait_until("all are linked", || links(&a) == all);
    let mut changes = viewer.subscribe("stentor.node.on_change").await.expect("it may watch");
    let (page, (_, other)) = (listed(&viewer).await, a.get("/clusterz"));
    let other: Value = serde_json::from_str(&other).expect("it is JSON");
    assert_eq!(keys(&page), keys(&other));
    assert_eq!(
        (&page["nodes"][1]["node"], &page["nodes"][1]["link"]),
        (&"b".into(), &"linked".into())
    );
    b.kill();
    let gone = change_of(&mut changes, "b", &Value::Null).await;
    assert_eq!(gone["incarnation"], page["nodes"][1]["incarnation"]);
    assert_eq!(listed(&viewer).await["nodes"].as_array().map(Vec::len), Some(2));
    let lines = |text: &str| [&a, &c].map(|router| router.lines_with(text)).iter().sum::<usize>();
    wait_until("both say so", || lines(REMOVED) + lines(GONE) >= 2);
    assert_eq!((lines(REMOVED), lines(GONE)), (1, 1));
    b = Router::start(&nats, "b");
    let back = change_of(&mut changes, "b", &"linked".into()).await;
    assert_ne!(back["incarnation"], gone["incarnation"]);
    let page = listed(&viewer).await;
    assert_eq!(page["nodes"][1]["incarnation"], back["incarnation"]);
    assert_eq!((lines(REMOVED), lines(GONE)), (1, 1), "once");
    b.terminate();
    assert!(b.ended().success());
    change_of(&mut changes, "b", &Value::Null).await;
    wait_until("that it has left is said", || lines(GONE) >= 3);
    assert_eq!((lines(REMOVED), lines(GONE)), (1, 3), "nobody has removed it");
}

const REMOVED: &str = "removed a node that was not heard";
const GONE: &str = "a node has left, or another one has removed it";

/// What `stentor.node.list` says.
async fn listed(viewer: &Client) -> Value {
    let answer = viewer.call("stentor.node.list", ()).await.expect("it may watch");
    answer.first().expect("one argument")
}

fn keys(page: &Value) -> Vec<&String> {
    page.as_object().expect("an object").keys().collect()
}

/// The event by which a node is linked so.
async fn change_of(changes: &mut Subscription, node: &str, link: &Value) -> Value {
    let next = async {
        loop {
            let event = changes.next().await.expect("the subscription stays");
            let (said,): (Value,) = event.args().expect("one argument");
            let mut rows = said["nodes"].as_array().expect("a list").iter();
            if let Some(row) = rows.find(|row| row["node"] == node && row["link"] == *link) {
                return row.clone();
            }
        }
    };
    timeout(PATIENCE, next).await.expect("it is told")
}

const REMOVALS: &str = "stentor_cluster_removals_total{of=\"other\"} ";

fn metric(router: &Router, name: &str) -> f64 {
    let (status, page) = router.get("/metrics");
    assert_eq!(status, 200);
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.expect("it is there").parse().expect("a number")
}

/// What is wrong with NATS, and with a node that has another configuration, is said in words.
#[test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
fn what_is_wrong_is_said() {
    let mut nats = Nats::start();
    let a = Router::start(&nats, "a");
    let b = Router::start_as(&nats, "b", &[("STENTOR_CLUSTER__INTEREST_BITS", "18")]);
    wait_until("another configuration is named", || {
        table(&a).contains("node b: it has other realms, roles or interest_bits than this node")
            && table(&b).contains("node a: it has other realms")
    });
    let page = |router: &Router| -> Value {
        let (status, page) = router.get("/clusterz");
        assert_eq!(status, 200);
        serde_json::from_str(&page).expect("it is JSON")
    };
    let before = page(&a);
    assert_eq!(before["nats"]["is_connected"], true);
    assert_eq!(before["nats"]["reconnects"], 0);
    nats.kill();
    wait_until("NATS is missed", || {
        let text = table(&a);
        text.contains("there has been no connection to NATS for 0:00:0")
            && text.contains("the bucket has been silent for ")
    });
    assert_eq!(a.get("/healthz").0, 200, "its thread turns");
    nats.run();
    wait_until("NATS is back", || {
        let page = page(&a);
        page["nats"]["reconnects"] == 1
            && page["bucket"]["silent_ms"].is_null()
            && page["bucket"]["watch_reopenings"].as_u64() > Some(0)
            && page["nodes"][1]["link"] == "linked"
    });
    assert!(!table(&a).contains("NATS"), "nothing is wrong with it any more");
}

/// A router that is no node says so.
#[test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
fn a_router_alone_has_no_nodes() {
    let alone = Router::alone();
    let output = nodes(&alone, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("this router is no node of a cluster"), "{text}");
    assert_eq!(alone.get("/clusterz").0, 404);
    assert!(!alone.get("/metrics").1.contains("stentor_cluster_"));
}
