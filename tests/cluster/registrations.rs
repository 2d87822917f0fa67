//! Registrations and calls across nodes: one callee for all, and each call ends once, whatever
//! becomes of NATS and of others.

use std::time::{Duration, Instant};

use stentor_client::InvokePolicy;
use tokio::time::{sleep, timeout};

use super::callers::{Callers, call, double, register};
use super::processes::{Nats, PATIENCE, Router};

const EXISTS: &str = "wamp.error.procedure_already_exists";
const LOST: &str = "wamp.error.network_failure";

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_callee_is_called_from_every_node_and_is_the_only_one() {
    let nats = Nats::start();
    let nodes = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    let [a, b, c] = &nodes;
    let (first, second) = (b.client().await, c.client().await);
    let registration = register(&first, InvokePolicy::Single).await.expect("nobody has it");
    let callers = Callers::start(&[a, b, c]).await;
    callers.wait_for(300).await;
    let refused = register(&second, InvokePolicy::Single).await.expect_err("somebody has it");
    assert_eq!(refused.uri(), Some(EXISTS), "{refused}");
    callers.wait_for(30).await;
    assert_eq!(callers.stop().await, Vec::<String>::new());
    registration.unregister().await.expect("it is registered");
    let refused = call(&a.client().await, 1).await.expect_err("nobody has it");
    assert_eq!(refused.uri(), Some("wamp.error.no_such_procedure"), "{refused}");
    let _other = register(&second, InvokePolicy::Single).await.expect("nobody has it");
    assert_eq!(call(&first, 4).await.expect("it is registered"), 8);
}

/// BP-REG-02, AP-SHR: a worker that comes and goes costs no call of those that the others take.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn workers_that_come_and_go_cost_no_call() {
    let nats = Nats::start();
    let nodes = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    let [a, b, c] = &nodes;
    let steady = a.client().await;
    let _steady = register(&steady, InvokePolicy::RoundRobin).await.expect("nobody has it");
    let callers = Callers::start(&[a, b, c, c]).await;
    let workers = [b.client().await, c.client().await];
    for _ in 0..20 {
        for worker in &workers {
            let registration = register(worker, InvokePolicy::RoundRobin).await;
            let registration = registration.expect("it is shared");
            callers.wait_for(20).await;
            registration.unregister().await.expect("it is registered");
        }
    }
    assert_eq!(callers.stop().await, Vec::<String>::new());
}

/// Calls to it end with a reason, and whoever wants its procedure has it within seconds.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_killed_node_gives_its_procedures_back() {
    let nats = Nats::start();
    let [a, mut b, c] = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    let callee = b.client().await;
    let _registration = register(&callee, InvokePolicy::Single).await.expect("nobody has it");
    let callers = Callers::start(&[&a, &c, &c]).await;
    callers.wait_for(200).await;
    b.kill();
    let since = Instant::now();
    let next = c.client().await;
    let _next = register(&next, InvokePolicy::Single).await.expect("its callee has gone");
    let took = since.elapsed();
    callers.wait_for(200).await;
    let errors = callers.stop().await;
    let is_explained = |error: &String| [LOST, "wamp.error.no_such_procedure"].contains(&&**error);
    assert!(errors.iter().all(is_explained), "{errors:?}");
    // Three seconds without an answer, and then the bucket.
    assert!(took < PATIENCE / 2, "it took {took:?}");
}

/// A router that hangs is removed; what somebody else has registered meanwhile is that one's.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn a_router_that_hangs_loses_what_others_register_meanwhile() {
    let nats = Nats::start();
    let nodes = ["a", "b", "c"].map(|node| Router::start(&nats, node));
    let [a, b, c] = &nodes;
    let (first, second) = (b.client().await, c.client().await);
    let _first = register(&first, InvokePolicy::Single).await.expect("nobody has it");
    let kept = first.register("com.example.kept", double).await.expect("nobody has it");
    b.hang(true);
    let _second = register(&second, InvokePolicy::Single).await.expect("its callee hangs");
    b.hang(false);
    let caller = a.client().await;
    let comes_back = async {
        while caller.call("com.example.kept", (1,)).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, comes_back).await.expect("what nobody else wants is claimed anew");
    let refused = register(&a.client().await, InvokePolicy::Single).await;
    assert_eq!(refused.expect_err("somebody has it").uri(), Some(EXISTS));
    assert_eq!(call(&caller, 7).await.expect("it is registered"), 14);
    kept.unregister().await.expect("it is registered");
    assert_eq!(b.lines_with("this node was removed"), 1, "{}", b.log());
    assert_eq!(b.lines_with("member of the cluster again"), 1, "{}", b.log());
    let removed = |router: &Router| router.lines_with("removed a node that was not heard");
    assert_eq!((removed(a) + removed(c), removed(b)), (1, 0));
}
