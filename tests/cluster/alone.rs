//! Nodes with `alone = "stop"`: one that is cut off, or does not run, has no callee any more when
//! another one is granted the same procedure.

use std::time::{Duration, Instant};

use serde_json::Value;
use stentor_client::{CallError, Client, Invocation, Registration};
use tokio::time::sleep;

use super::processes::{Nats, PATIENCE, Router, wait_until};
use super::servers::Servers;

const PROCEDURE: &str = "com.example.only";
const EXISTS: &str = "wamp.error.procedure_already_exists";
const LOST: &str = "wamp.error.network_failure";
const GOODBYE: &str = "wamp.close.system_shutdown";

/// What its nodes stop by, and when others may go on without them, in milliseconds.
const STOPS_MS: u64 = 20_000;
const MARGIN_MS: u64 = 2_000;

const STOPPING: [(&str, &str); 1] = [("STENTOR_CLUSTER__ALONE", "stop")];

async fn register(client: &Client) -> Result<Registration, stentor_client::Error> {
    let answer = |_: Invocation| async { Ok::<_, CallError>((1,)) };
    client.register(PROCEDURE, answer).await
}

/// Tries until the procedure is granted. In the meantime nobody but its callee refuses it, or the
/// bucket decides nothing.
async fn register_at_last(client: &Client) -> (Registration, Instant) {
    let since = Instant::now();
    loop {
        match register(client).await {
            Ok(registration) => return (registration, Instant::now()),
            Err(error) => {
                assert!([Some(EXISTS), Some(LOST)].contains(&error.uri()), "{error}");
                assert!(since.elapsed() < PATIENCE, "{error}");
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// A callee calls itself for as long as its node serves it. Returns until when it did, and what its
/// client was told.
async fn call_until_gone(client: Client) -> (Instant, String) {
    let mut last = Instant::now();
    while client.call(PROCEDURE, ()).timeout(Duration::from_secs(5)).await.is_ok() {
        last = Instant::now();
        sleep(Duration::from_millis(10)).await;
    }
    (last, client.closed().await)
}

fn cluster_of(router: &Router) -> Value {
    let (status, body) = router.get("/clusterz");
    assert_eq!(status, 200);
    serde_json::from_str(&body).expect("it is JSON")
}

/// One of three NATS servers hangs, and with it the one node that knows no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn who_is_cut_off_stops_before_others_go_on() {
    let servers = Servers::start_discreet(3);
    let variables = [STOPPING[0], ("STENTOR_CLUSTER__REPLICAS", "3")];
    let urls = servers.urls();
    let [a, b, c] = [("a", 0), ("b", 1), ("c", 2)]
        .map(|(node, server)| Router::start_at(&urls[server..=server], node, &variables));
    let (callee, other) = (c.guest().await.expect("it serves"), a.client().await);
    let _registration = register(&callee).await.expect("nobody has it");
    assert_eq!(register(&other).await.expect_err("somebody has it").uri(), Some(EXISTS));
    assert_eq!(c.get("/readyz").0, 200);

    let calls = tokio::spawn(call_until_gone(callee));
    let cut_at = Instant::now();
    servers.hang(2, true);
    let (_registration, granted_at) = register_at_last(&other).await;
    let (served_until, reason) = calls.await.expect("it ends");
    assert!(served_until < granted_at, "there were two");
    assert!(reason.contains(GOODBYE), "{reason}");
    let (served, granted) = (served_until - cut_at, granted_at - cut_at);
    let last = Duration::from_millis(STOPS_MS - MARGIN_MS);
    assert!(served <= last + Duration::from_secs(1), "{served:?}, granted after {granted:?}");

    // It says why, to whoever asks.
    let (status, why) = c.get("/readyz");
    assert!(status == 503 && why.contains("alone = \"stop\""), "{status} {why}");
    let page = cluster_of(&c);
    assert_eq!((&page["stops"], &page["is_serving"]), (&true.into(), &false.into()));
    assert!(page["wrong"].to_string().contains("this node serves no client"), "{page}");
    let metrics = c.get("/metrics").1;
    assert!(metrics.contains("stentor_cluster_serving 0\n"), "{metrics}");
    assert!(metrics.contains("stentor_cluster_stops_total 1\n"), "{metrics}");
    assert!(c.log().contains("clients are sent away"), "{}", c.log());
    let refused = c.guest().await.expect_err("nobody is served");
    assert_eq!(refused.uri(), Some(GOODBYE), "{refused}");

    // It comes back by itself.
    servers.hang(2, false);
    wait_until("it serves again", || c.get("/readyz").0 == 200);
    let late = c.client().await;
    let refused = register(&late).await.expect_err("somebody has it");
    assert!([Some(EXISTS), Some(LOST)].contains(&refused.uri()), "{refused}");
    for node in [&a, &b] {
        assert!(node.get("/metrics").1.contains("stentor_cluster_stops_total 0\n"));
        assert!(!node.log().contains("clients are sent away"), "{}", node.log());
    }
}

/// A process that does not run is removed when its time is over, and when it runs again its clients
/// are sent away at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn who_wakes_late_sends_its_clients_away() {
    let nats = Nats::start();
    let urls = [nats.url()];
    let [a, b, c] = ["a", "b", "c"].map(|node| Router::start_at(&urls, node, &STOPPING));
    let (callee, other) = (c.guest().await.expect("it serves"), a.client().await);
    let _registration = register(&callee).await.expect("nobody has it");
    c.hang(true);
    let since = Instant::now();
    let (_registration, granted_at) = register_at_last(&other).await;
    // It had written its key two seconds before at the latest.
    let least = Duration::from_millis(STOPS_MS - MARGIN_MS - 1_000);
    assert!(granted_at - since >= least, "{:?}", granted_at - since);
    c.hang(false);
    assert!(callee.closed().await.contains(GOODBYE));
    wait_until("it serves again", || c.get("/readyz").0 == 200);
    let late = c.client().await;
    let refused = register(&late).await.expect_err("somebody has it");
    assert!([Some(EXISTS), Some(LOST)].contains(&refused.uri()), "{refused}");
    assert!(!b.log().contains("clients are sent away"), "{}", b.log());
}

/// The one NATS server is away: nobody knows what is decided there, and all stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn without_nats_nobody_serves_until_it_is_back() {
    let mut nats = Nats::start();
    let urls = [nats.url()];
    let variables = [STOPPING[0], ("STENTOR_CLUSTER__NODE_TIMEOUT_MS", "6000")];
    let nodes = ["a", "b"].map(|node| Router::start_at(&urls, node, &variables));
    let clients = [nodes[0].guest().await, nodes[1].guest().await];
    let clients = clients.map(|client| client.expect("it serves"));
    nats.kill();
    for client in &clients {
        assert!(client.closed().await.contains(GOODBYE));
    }
    for node in &nodes {
        let refused = node.guest().await.expect_err("nobody is served");
        assert_eq!(refused.uri(), Some(GOODBYE), "{refused}");
    }
    nats.run();
    for node in &nodes {
        wait_until("it serves again", || node.get("/readyz").0 == 200);
        assert!(node.log().contains("clients are served"), "{}", node.log());
        node.client().await;
    }
}
