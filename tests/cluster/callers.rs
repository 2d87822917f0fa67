//! Clients that call, and clients whose procedures come and go, until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stentor_client::{CallError, Client, Error, Invocation, InvokePolicy, Registration};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::processes::{PATIENCE, Router};

const PROCEDURE: &str = "com.example.double";

/// Of each caller, if its last call has ended.
const CALL_EVERY: Duration = Duration::from_millis(2);

/// Of each client whose procedures come and go, if that has been done.
const COME_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn double(invocation: Invocation) -> Result<(u64,), CallError> {
    let (number,): (u64,) = invocation.args()?;
    Ok((2 * number,))
}

pub(super) async fn register(client: &Client, invoke: InvokePolicy) -> Result<Registration, Error> {
    client.register(PROCEDURE, double).invoke(invoke).await
}

pub(super) async fn call(client: &Client, number: u64) -> Result<u64, Error> {
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
                let (mut errors, mut pace) = (Vec::new(), interval(CALL_EVERY));
                pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
                for number in 0.. {
                    pace.tick().await;
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
        wait_for(&self.answered, more).await;
    }

    /// The errors that came.
    pub(super) async fn stop(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        ended(self.tasks).await
    }
}

/// Clients, each at its own node, that register a procedure of their own, see that it is called,
/// and unregister it, until they are told to stop.
pub(super) struct Comers {
    is_over: Arc<AtomicBool>,
    came: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Comers {
    pub(super) async fn start(nodes: &[&Router]) -> Self {
        let mut comers = Self { is_over: Arc::default(), came: Arc::default(), tasks: Vec::new() };
        for (index, node) in nodes.iter().enumerate() {
            let procedure = format!("com.example.comes.{index}");
            let client = node.client().await;
            let caller = nodes[(index + 1) % nodes.len()].client().await;
            let (is_over, came) = (Arc::clone(&comers.is_over), Arc::clone(&comers.came));
            comers.tasks.push(tokio::spawn(async move {
                let (mut errors, mut pace) = (Vec::new(), interval(COME_EVERY));
                pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
                while !is_over.load(Ordering::Relaxed) {
                    pace.tick().await;
                    if let Err(error) = come_and_go(&client, &caller, &procedure).await {
                        errors.push(error.uri().map_or_else(|| error.to_string(), str::to_owned));
                    }
                    came.fetch_add(1, Ordering::Relaxed);
                }
                errors
            }));
        }
        comers
    }

    pub(super) async fn wait_for(&self, more: u64) {
        wait_for(&self.came, more).await;
    }

    /// The errors that came.
    pub(super) async fn stop(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        ended(self.tasks).await
    }
}

async fn come_and_go(client: &Client, caller: &Client, procedure: &str) -> Result<(), Error> {
    let registration = client.register(procedure, double).await?;
    let answered = caller.call(procedure, (4,)).timeout(PATIENCE).await;
    registration.unregister().await?;
    assert_eq!(answered?.first::<u64>().expect("a number"), 8);
    Ok(())
}

/// Waits until something was counted so many times more.
pub(super) async fn wait_for(count: &AtomicU64, more: u64) {
    let target = count.load(Ordering::Relaxed) + more;
    let waits = async {
        while count.load(Ordering::Relaxed) < target {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waits).await.expect("it goes on");
}

async fn ended(tasks: Vec<JoinHandle<Vec<String>>>) -> Vec<String> {
    let mut errors = Vec::new();
    for task in tasks {
        let ended = timeout(PATIENCE, task).await.expect("each ends");
        errors.extend(ended.expect("all answers are right"));
    }
    errors
}
