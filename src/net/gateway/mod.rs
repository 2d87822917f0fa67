//! The thread `cluster` of a node: it joins the cluster, and then carries mail between the shards
//! and other nodes.
//!
//! It has a runtime of its own, so nothing that others do holds up links. Here it is started and
//! stopped; `joining` and `serving` are what it does.

mod joining;
mod serving;
mod showing;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::cluster::ClusterShown;
use super::mesh::Inbox;
use super::server::{StartError, random};
use super::threads::{Term, Threads};
use crate::bus::BusError;
use crate::clock::Millis;
use crate::cluster::members::{Ended, Identity, Members};
use crate::cluster::wire::Versions;
use crate::config::{Cluster, Config, Realm};
use crate::router::{Batch, Deposit, NodeIds, Router};
use joining::{Joined, Joining};

/// Why a router is not, or not any more, a node of its cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// The way to the thread of a cluster.
#[derive(Debug)]
pub(super) struct Gateway {
    ids: NodeIds,
    alarm: Arc<Notify>,
    /// The thread leaves the cluster when this end is dropped.
    orders: Option<UnboundedSender<Service>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
    shown: Option<Arc<ClusterShown>>,
}

/// What the thread serves once the router is there.
struct Service {
    router: Arc<Router>,
    inbox: Inbox,
    /// The way to the store, if there is one.
    store: Option<Sender<Batch<Deposit>>>,
    /// Told when clients may come.
    ready: Sender<()>,
}

/// What the thread begins with.
struct Plan {
    cluster: Cluster,
    name: String,
    members: Members,
    /// What the others are told of the configuration.
    digest: u64,
    started: Instant,
    alarm: Arc<Notify>,
    orders: UnboundedReceiver<Service>,
    /// Where it shows how it is, if somebody could look.
    shown: Option<Arc<ClusterShown>>,
    joined: Sender<Result<NodeIds, ClusterError>>,
}

impl Gateway {
    /// Starts the thread, if there is a cluster to be of, and waits until this node is a member:
    /// as long as it takes, or until `stop` is disconnected or says something.
    ///
    /// # Errors
    /// What waiting does not make better.
    pub(super) fn join(
        config: &Config,
        started: Instant,
        threads: &Threads,
        stop: &Receiver<()>,
    ) -> Result<Option<Self>, StartError> {
        let cluster = &config.cluster;
        let Some(name) = &cluster.name else { return Ok(None) };
        let node = cluster.node_name().ok_or(StartError::NoNodeName)?;
        let digest = digest(config);
        let (versions, stops_ms) = (Versions::OWN, cluster.stops_ms());
        let identity = Identity { name: node, versions, digest, stops_ms };
        let (orders, ordered) = unbounded_channel();
        let ((joined, outcome), (farewell, ended)) = (bounded(1), bounded(0));
        let alarm = Arc::new(Notify::new());
        let shown = config.is_observed().then(Arc::<ClusterShown>::default);
        let plan = Plan {
            cluster: cluster.clone(),
            name: name.clone(),
            members: Members::new(identity, random()?),
            digest,
            started,
            alarm: Arc::clone(&alarm),
            orders: ordered,
            shown: shown.clone(),
            joined,
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = threads.spawn("cluster".to_owned(), &Term::default(), move || {
            let _farewell: Sender<()> = farewell;
            run(runtime, plan)
        })?;
        let ids = select! {
            recv(outcome) -> outcome => match outcome {
                Ok(outcome) => outcome?,
                Err(_) => return Err(super::server::panicked("cluster").into()),
            },
            // The thread ends by itself when its orders are dropped, and takes its key along.
            recv(stop) -> _ => {
                drop(orders);
                let _ = ended.recv_timeout(Duration::from_millis(LEAVE_MS));
                return Err(StartError::Stopped);
            }
        };
        Ok(Some(Self { ids, alarm, orders: Some(orders), thread: Some(thread), ended, shown }))
    }

    pub(super) const fn ids(&self) -> NodeIds {
        self.ids
    }

    /// Where the thread shows how it is, if somebody could look.
    pub(super) fn shown(&self) -> Option<Arc<ClusterShown>> {
        self.shown.clone()
    }

    /// What the thread sleeps behind, for the mesh.
    pub(super) fn alarm(&self) -> Arc<Notify> {
        Arc::clone(&self.alarm)
    }

    /// Has the thread serve the router, and waits until it is linked with the other nodes: as
    /// [`Self::join`].
    pub(super) fn serve(
        &self,
        router: &Arc<Router>,
        inbox: Inbox,
        store: Option<Sender<Batch<Deposit>>>,
        stop: &Receiver<()>,
    ) -> Result<(), StartError> {
        let (ready, is_ready) = bounded(1);
        let service = Service { router: Arc::clone(router), inbox, store, ready };
        // A thread that has ended is not ready.
        let _ = self.orders.as_ref().map(|orders| orders.send(service));
        select! {
            recv(is_ready) -> ready => ready.map_err(|_| StartError::NodeEnded),
            recv(stop) -> _ => Err(StartError::Stopped),
        }
    }

    /// Has the thread leave the cluster, behind the last mail of the shards, which have ended.
    pub(super) fn leave(&mut self) -> Option<JoinHandle<io::Result<()>>> {
        drop(self.orders.take());
        let thread = self.thread.take();
        match self.ended.recv_timeout(LEAVE_PATIENCE) {
            Err(RecvTimeoutError::Disconnected) | Ok(()) => thread,
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("the cluster's thread did not end in time, and is left behind");
                None
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.leave();
        }
    }
}

fn run(runtime: Runtime, plan: Plan) -> io::Result<()> {
    let outcome = runtime.block_on(async {
        match Joining::new(plan).run().await {
            Some(Joined { serving }) => serving.run().await,
            None => Ok(()),
        }
    });
    // What the library has begun is left behind.
    runtime.shutdown_background();
    outcome.map_err(io::Error::other)
}

/// Of what must be alike on all nodes: another one is told in the log.
fn digest(config: &Config) -> u64 {
    let text =
        |realm: &Realm| serde_json::json!([realm.name, realm.uri_rule, realm.access]).to_string();
    let mut realms: Vec<_> = config.realms.iter().map(text).collect();
    realms.sort_unstable();
    let mut hasher = Sha256::new();
    hasher.update([config.cluster.interest_bits]);
    realms.iter().for_each(|realm| hasher.update(realm));
    let hash: [u8; 32] = hasher.finalize().into();
    u64::from_be_bytes(std::array::from_fn(|index| hash[index]))
}

/// The router's time.
#[expect(clippy::disallowed_methods, reason = "one clock read for each turn")]
fn now(started: Instant) -> Millis {
    let elapsed = Instant::now().duration_since(started);
    Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// When a moment of the router's time is, for the runtime.
fn moment(started: Instant, at: Millis) -> tokio::time::Instant {
    (started + Duration::from_millis(at.0)).into()
}

/// Writes of the bucket that are under way at a time.
const MOST_WRITES: usize = 256;

/// How long a node takes at most to leave, in milliseconds: for its last mail, and for its key.
const LEAVE_MS: u64 = 4_000;

/// Longer than that.
const LEAVE_PATIENCE: Duration = Duration::from_secs(6);

/// How often is said what a node waits for, in milliseconds.
const SAID_MS: u64 = 5_000;
