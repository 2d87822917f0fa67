//! Registrations and calls across nodes: one callee for all, and each call ends once, whatever
//! becomes of NATS and of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stentor_client::{CallError, Client, Error, Invocation, InvokePolicy, Registration};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::processes::{Nats, PATIENCE, Router};
use super::servers::Servers;

const PROCEDURE: &str = "com.example.double";
const EXISTS: &str = "wamp.error.procedure_already_exists";
const LOST: &str = "wamp.error.network_failure";

async fn double(invocation: Invocation) -> Result<(u64,), CallError> {
    let (number,): (u64,) = invocation.args()?;
    Ok((2 * number,))
}

pub(super) async fn register(client: &Client, invoke: InvokePolicy) -> Result<Registration, Error> {
    client.register(PROCEDURE, double).invoke(invoke).await
}

async fn call(client: &Client, number: u64) -> Result<u64, Error> {
    let answered = client.call(PROCEDURE, (number,)).timeout(PATIENCE).await;
    answered.map(|reply| reply.first().expect("a number"))
}

/// Clients that call one after the other, each at its own node, until they are told to stop. Every
/// answer is the right one, or an error for which there is a reason.
pub(super) struct Callers {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Callers {
    pub(super) async fn start(nodes: &[&Router]) -> Self {
        let mut callers =
            Self { is_over: Arc::default(), answered: Arc::default(), tasks: Vec::new() };
        for node in nodes {
            let client = node.client().await;
            let (is_over, answered) = (Arc::clone(&callers.is_over), Arc::clone(&callers.answered));
            callers.tasks.push(tokio::spawn(async move {
                let mut errors = Vec::new();
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    match call(&client, number).await {
                        Ok(answer) => assert_eq!(answer, 2 * number),
                        Err(error) => {
                            errors.push(error.uri().unwrap_or("no ERROR").to_owned());
                            sleep(Duration::from_millis(20)).await;
                        }
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                errors
            }));
        }
        callers
    }

    pub(super) async fn wait_for(&self, more: u64) {
        let target = self.answered.load(Ordering::Relaxed) + more;
        let waits = async {
            while self.answered.load(Ordering::Relaxed) < target {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, waits).await.expect("calls are answered");
    }

    /// The errors that came.
    pub(super) async fn stop(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut errors = Vec::new();
        for task in self.tasks {
            let ended = timeout(PATIENCE, task).await.expect("each call ends");
            errors.extend(ended.expect("all answers are right"));
        }
        errors
    }
}

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

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn no_call_is_lost_while_each_of_three_servers_is_killed() {
    let mut servers = Servers::start(3);
    let nodes = ["a", "b", "c"].map(|node| {
        let mut router = Router::begin_at(&servers.urls(), node, &[]);
        router.wait_until_served();
        router
    });
    let [a, b, c] = &nodes;
    let callee = b.client().await;
    let _registration = register(&callee, InvokePolicy::Single).await.expect("nobody has it");
    let callers = Callers::start(&[a, b, c, c]).await;
    callers.wait_for(200).await;
    for index in 0..3 {
        servers.kill(index);
        callers.wait_for(500).await;
        servers.run(index);
        servers.wait(index);
        callers.wait_for(100).await;
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
