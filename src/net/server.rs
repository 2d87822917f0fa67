//! A running router: its threads, its listeners, and the way to stop it.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, never, unbounded};
use mio::Poll;
use parking_lot::Mutex;

use super::acceptor::{Acceptor, Control, Occupancy, Plan};
#[cfg(not(feature = "cluster"))]
use super::alone::Gateway;
use super::client::ClientError;
use super::event_loop::{EventLoop, HoldBudget, WAKER, wall_clock};
#[cfg(feature = "cluster")]
use super::gateway::{ClusterError, Gateway};
use super::inherited::{Inherited, InheritedError};
use super::judges::JudgeThreads;
use super::mesh::{Inbox, Mesh, Parcel};
use super::pulse::Pulse;
use super::reload::{Bench, Listens, ReloadError, Running};
use super::store::{self, STORE_PATIENCE, StoreThread};
use super::threads::{Term, Threads};
use super::tls::{CertificateError, TlsContext, TlsShare};
use super::view::{Shown, View};
use crate::config::{Config, ListenAddress, Listener};
use crate::hash::HashSeed;
use crate::limits::TurnLimits;
use crate::router::{Batch, Deposit, Router, Settings, ShardId, Snapshot};
use crate::shard::{Mail, Shard};
use crate::storage::{Storage, StorageError, Unsaved};
use crate::wamp::{RegistrationId, SessionId, SubscriptionId};

/// Why a router did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {source}{}", hint(.source))]
    Listen { address: ListenAddress, source: io::Error },
    #[error("cannot start the event loops: {0}")]
    Threads(#[from] io::Error),
    #[error("the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[cfg(feature = "cluster")]
    #[error("cannot join the cluster: {0}")]
    Cluster(#[from] ClusterError),
    #[error(
        "the configuration has a [cluster], and this Stentor was built without: build it with \
         `--features cluster`"
    )]
    NoClusters,
    #[error("this node has no name that can be one; set `node` of [cluster]")]
    NoNodeName,
    #[error("the node was not long of its cluster; the log says why")]
    NodeEnded,
    /// Whoever started it wanted it no more.
    #[error("the start was given up")]
    Stopped,
}

impl StartError {
    fn of_reload(error: ReloadError) -> Self {
        match error {
            ReloadError::Client(error) => Self::Client(error),
            ReloadError::Threads(error) => Self::Threads(error),
            ReloadError::Certificate(error) => Self::Certificate(error),
            ReloadError::Listen { address, source } => Self::Listen { address, source },
        }
    }
}

/// What to look at when a listener cannot be bound.
pub(super) fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::AddrInUse => "; is another program using it?",
        ErrorKind::AddrNotAvailable => "; no network interface of this machine has this address",
        ErrorKind::NotFound => "; does its directory exist?",
        ErrorKind::PermissionDenied => {
            "; this user may not: ports below 1024 need a capability, files a writable directory"
        }
        _ => "",
    }
}

/// What went wrong by the time a router had stopped. Its threads have ended all the same, but for
/// one that hangs.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// What ended an event loop before its time.
    #[error(transparent)]
    Thread(#[from] io::Error),
    #[error(transparent)]
    Unsaved(#[from] Unsaved),
    #[error(
        "the store `{}` has not written anything for {seconds} s at the stop, its disk hangs: \
         {queued_bytes} bytes of publications wait for it, and they and what it was writing may \
         be lost",
        .path.display()
    )]
    StoreHangs { path: PathBuf, seconds: u64, queued_bytes: usize },
}

/// A running router. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    pub(super) router: Arc<Router>,
    pub(super) mesh: Arc<Mesh>,
    /// By shard.
    pulses: Vec<Arc<Pulse>>,
    addresses: Vec<ListenAddress>,
    /// Of each listener that there is.
    pub(super) acceptor: Control,
    pub(super) occupancy: Arc<Occupancy>,
    pub(super) threads: Threads,
    /// Those that serve until the stop, and are waited for then.
    handles: Vec<JoinHandle<io::Result<()>>>,
    storage: Option<StoreThread>,
    /// To other nodes, if there are any to be.
    gateway: Option<Gateway>,
    /// What a reload may replace.
    pub(super) running: Mutex<Running>,
    pub(super) shown: Arc<Shown>,
    /// When the router's clock began.
    pub(super) started: Instant,
}

impl Server {
    /// Binds all listeners and starts the threads: one per shard and one that accepts.
    ///
    /// # Errors
    /// A listener that cannot be bound, or a lack of system resources. Nothing is left running.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_with(config, Inherited::default())
    }

    /// The same with sockets that a service manager has passed: a listener takes the one with its
    /// `name`, or else with its address, instead of binding one.
    ///
    /// # Errors
    /// As [`Self::start`]; also a passed socket that no listener wants.
    pub fn start_with(config: &Config, passed: Inherited) -> Result<Self, StartError> {
        Self::start_until(config, passed, &never())
    }

    /// The same, given up when `stop` says something or is disconnected: a node of a cluster waits
    /// for the others, as long as it takes.
    ///
    /// # Errors
    /// As [`Self::start_with`]; or [`StartError::Stopped`].
    #[expect(clippy::disallowed_methods, reason = "the start of the router's clock")]
    pub fn start_until(
        config: &Config,
        passed: Inherited,
        stop: &Receiver<()>,
    ) -> Result<Self, StartError> {
        let shards = config.shard_count();
        let contexts = contexts(config)?;
        let (started, threads) = (Instant::now(), Threads::new());
        let gateway = Gateway::join(config, started, &threads, stop)?;
        let node = gateway.as_ref().map(Gateway::ids);
        let router = Arc::new(Router::new(
            Settings { node, claims: node.is_some(), rosters: node.is_some(), ..settings(config) },
            config.realms.clone(),
            shards,
            HashSeed::new(u64::from_ne_bytes(random()?)),
        ));
        let storage = store::open(config, &router)?;
        let polls = (0..shards).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let (mesh, mut inboxes) = weave(config, &polls, gateway.as_ref())?;
        let storage = storage.map(|storage| spawn_storage(&threads, (&mesh, &router), storage));
        let (store, storage) = storage.transpose()?.unzip();
        if let Some(gateway) = &gateway
            && let Some(inbox) = inboxes.pop()
        {
            gateway.serve(&router, inbox, store.clone(), stop)?;
        }
        let occupancy = Arc::new(Occupancy::new(shards));
        let (acceptor, control) =
            Acceptor::new(Arc::clone(&router), Arc::clone(&mesh), Arc::clone(&occupancy), started)?;
        let mut plan = Plan::new(config);
        let listeners = listen(config, contexts, passed, &control, &mut plan)?;
        let contexts = listeners.iter().filter_map(|listens| listens.tls.clone()).collect();
        let addresses = listeners.iter().map(|listens| listens.address.clone()).collect();
        let cluster = gateway.as_ref().and_then(Gateway::shown);
        let shown = Arc::new(Shown::new(config, &listeners, cluster));
        let running = Running::new(config, listeners);
        let pulses = (0..shards).map(|_| Arc::default()).collect();
        let mut server = Self {
            router,
            mesh,
            pulses,
            addresses,
            acceptor: control,
            occupancy,
            threads,
            handles: Vec::new(),
            storage,
            gateway,
            running: Mutex::new(running),
            shown,
            started,
        };
        let bench = server.seat_judges(config, &server.router.edition());
        let bench = bench.map_err(StartError::of_reload)?;
        server.running.lock().judges = bench;
        server.spawn_shards(config, polls.into_iter().zip(inboxes), store.as_ref())?;
        server.acceptor.follow(plan);
        server.spawn("acceptor".to_owned(), || acceptor.run())?;
        let watch = server.watch(contexts)?;
        server.running.lock().watch = watch;
        Ok(server)
    }

    /// Starts the event loops, and what they hand connections over to.
    fn spawn_shards(
        &mut self,
        config: &Config,
        loops: impl Iterator<Item = (Poll, Inbox)>,
        store: Option<&Sender<Batch<Deposit>>>,
    ) -> Result<(), StartError> {
        let budget = HoldBudget::new(config.tuning.flush_delay_us, &config.output);
        let aside = self.open_http(&mut self.running.lock(), config);
        let aside = aside.map_err(StartError::of_reload)?;
        for (number, (poll, inbox)) in (0u8..).zip(loops) {
            let shard = Shard::new(ShardId(number), Arc::clone(&self.router), random()?);
            let occupancy = Arc::clone(&self.occupancy);
            let (store, aside) = (store.cloned(), aside.clone());
            let tls = self.tls_share(number, config);
            let pulse = Arc::clone(&self.pulses[usize::from(number)]);
            let (pulse, started) = ((pulse, config.is_observed()), self.started);
            let event_loop = EventLoop::new(
                shard, poll, inbox, budget, occupancy, store, tls, aside, started, pulse,
            )?;
            self.spawn(format!("shard-{number}"), || event_loop.run())?;
        }
        Ok(())
    }

    fn tls_share(&self, shard: u8, config: &Config) -> TlsShare {
        let counters = Arc::clone(&self.router.counters()[usize::from(shard)]);
        let handshakes = config.limits.tls_handshakes.div_ceil(self.router.shard_count());
        TlsShare::new(config.tuning.read_budget_bytes, handshakes, counters)
    }

    /// Where the router listened when it had started, in the order of the configuration; port 0 is
    /// resolved.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Where it listens after reloads, in the order of the configuration that it runs.
    pub fn current_addresses(&self) -> Vec<ListenAddress> {
        self.running.lock().listeners.iter().map(|listens| listens.address.clone()).collect()
    }

    /// The counters of all shards together.
    pub fn snapshot(&self) -> Snapshot {
        self.router.snapshot()
    }

    /// What the router looks like from outside of its threads.
    pub fn view(&self) -> View {
        let (router, mesh) = (Arc::clone(&self.router), Arc::clone(&self.mesh));
        let (pulses, shown) = (self.pulses.clone(), Arc::clone(&self.shown));
        View { router, mesh, pulses, shown, started: self.started }
    }

    /// The shared tables, for tests.
    #[doc(hidden)]
    pub const fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// Receives the name of every thread that has ended. Before [`Self::stop`] none should: a
    /// router that has lost a thread cannot serve, and is best stopped.
    pub const fn ended_threads(&self) -> &Receiver<String> {
        self.threads.ended()
    }

    /// Ends a subscription of a session, and tells the client if it announced
    /// `subscription_revocation` (AP-REVS-01). Takes effect soon, on the session's own thread.
    ///
    /// `false` if there is no such realm or session; a subscription that the session does not hold
    /// is none of its errors, since it may have gone meanwhile.
    pub fn revoke_subscription(
        &self,
        realm: &str,
        session: SessionId,
        subscription: SubscriptionId,
        reason: Option<&str>,
    ) -> bool {
        let Some(subscriber) = self.router.realm(realm).and_then(|realm| realm.find(session))
        else {
            return false;
        };
        let reason = reason.map(Into::into);
        self.send(subscriber.shard, Mail::Revoke { subscriber, subscription, reason });
        true
    }

    /// Ends a registration of a session, and tells the client if it announced
    /// `registration_revocation` (AP-REVR-01). Takes effect soon, on the session's own thread: no
    /// call goes to the callee from then on, and its pending invocations may still be answered.
    ///
    /// `false` if there is no such realm or session; a registration that the session does not hold
    /// is none of its errors, since it may have gone meanwhile.
    pub fn revoke_registration(
        &self,
        realm: &str,
        session: SessionId,
        registration: RegistrationId,
        reason: Option<&str>,
    ) -> bool {
        let Some(callee) = self.router.realm(realm).and_then(|realm| realm.find(session)) else {
            return false;
        };
        let reason = reason.map(Into::into);
        self.send(callee.shard, Mail::RevokeRegistration { callee, registration, reason });
        true
    }

    /// Says GOODBYE to all sessions, waits for what is left to be written, and ends the threads.
    /// The store has as long as it needs while it gets on, and 10 s while it does not.
    ///
    /// # Errors
    /// What ended a thread before its time, with the thread's name, and what is not saved. If there
    /// are several errors, the first is returned and the others are logged.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.stop_threads()
    }

    /// Mail from outside of all shards.
    fn send(&self, to: ShardId, mail: Mail) {
        self.mesh.send(to, Parcel::Mail(mail.into()));
    }

    fn spawn(
        &mut self,
        name: String,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let thread = self.threads.spawn(name, &Term::default(), run)?;
        self.handles.push(thread);
        Ok(())
    }

    /// Starts the threads of those who judge what takes long.
    pub(super) fn start_judging(&self, bench: &mut Bench, threads: JudgeThreads) -> io::Result<()> {
        for (name, run) in threads.computing {
            let run = || {
                run();
                Ok(())
            };
            bench.computing.push(self.threads.spawn(name, &bench.term, run)?);
        }
        for (name, run) in threads.waiting {
            // Its end is told, and not waited for.
            drop(self.threads.spawn(name, &bench.term, run)?);
        }
        Ok(())
    }

    fn stop_threads(&mut self) -> Result<(), StopError> {
        self.acceptor.stop();
        let Running { watch, judges, http, .. } = self.running.get_mut();
        *watch = None;
        // The thread ends when this end of its orders is dropped.
        self.handles.extend(http.take().map(|(_, handle)| handle));
        if let Some(bench) = judges.take() {
            bench.judges.stop();
            self.handles.extend(bench.computing);
        }
        for shard in self.mesh.shards() {
            self.mesh.send(shard, Parcel::Shutdown);
        }
        let result = join_all(self.handles.drain(..), Ok(()));
        // Behind the last mail of the shards.
        let gateway = self.gateway.take().and_then(|mut gateway| gateway.leave());
        let result = join_all(gateway.into_iter(), result);
        self.running.get_mut().posts.stop();
        // The store says what it lost, whatever else has failed.
        let stored = self.storage.take().map_or(Ok(()), |storage| {
            storage.stop(self.router.storage_counters(), &self.mesh, STORE_PATIENCE)
        });
        match (result, stored) {
            (result, Ok(())) => Ok(result?),
            (Ok(()), Err(loss)) => Err(loss),
            (Err(error), Err(loss)) => {
                tracing::error!("{loss}");
                Err(error.into())
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop_threads() {
            tracing::error!("{error}");
        }
    }
}

/// The thread of the store ends when the last who has something for it has, with everything written
/// or named.
fn spawn_storage(
    threads: &Threads,
    (mesh, router): (&Arc<Mesh>, &Arc<Router>),
    storage: Storage,
) -> io::Result<(Sender<Batch<Deposit>>, StoreThread)> {
    let (sender, deposits) = unbounded();
    let (said, result) = bounded(1);
    let (mesh, router) = (Arc::clone(mesh), Arc::clone(router));
    let path = storage.path().to_owned();
    let handle = threads.spawn("storage".to_owned(), &Term::default(), move || {
        let report = |outcome| store::report(&mesh, outcome);
        // Nobody listens any more if it took too long.
        let _ = said.send(storage.run(&router, &deposits, report));
    })?;
    Ok((sender, StoreThread { path, handle, result }))
}

/// Waits for threads; the first error is what counts.
fn join_all(
    threads: impl Iterator<Item = JoinHandle<io::Result<()>>>,
    mut result: io::Result<()>,
) -> io::Result<()> {
    for thread in threads {
        let name = thread.thread().name().unwrap_or_default().to_owned();
        let ended = match thread.join() {
            Ok(ended) => ended.map_err(|error| {
                io::Error::new(error.kind(), format!("the thread {name} failed: {error}"))
            }),
            Err(_) => Err(panicked(&name)),
        };
        match (&result, ended) {
            (Err(_), Err(error)) => tracing::error!(%error, "stopped with another error"),
            (Ok(()), ended) => result = ended,
            (Err(_), Ok(())) => {}
        }
    }
    result
}

pub(super) fn panicked(name: &str) -> io::Error {
    io::Error::other(format!("the thread {name} panicked"))
}

/// The mesh, and the inboxes of the shards; behind them that of the thread `cluster`, if there is
/// one.
fn weave(
    config: &Config,
    polls: &[Poll],
    gateway: Option<&Gateway>,
) -> io::Result<(Arc<Mesh>, Vec<Inbox>)> {
    let registries: Vec<_> = polls.iter().map(Poll::registry).collect();
    let alarm = gateway.map(Gateway::alarm);
    Mesh::with_cluster(&registries, WAKER, high_mark_bytes(config), alarm)
}

/// Binds all listeners, but for those whose sockets were passed.
fn listen(
    config: &Config,
    contexts: Vec<Option<Arc<TlsContext>>>,
    mut passed: Inherited,
    control: &Control,
    plan: &mut Plan,
) -> Result<Vec<Listens>, StartError> {
    let mut listeners = Vec::new();
    for (listener, tls) in config.listeners.iter().zip(contexts) {
        let bound = match passed.take(listener, config) {
            Ok(None) => control.bind(plan, listener, tls.clone(), config),
            Ok(Some(socket)) => control.take(plan, socket, listener, tls.clone(), config),
            Err(error) => Err(error),
        };
        let (number, address) = bound.map_err(|source| {
            let address = listener.address.clone();
            StartError::Listen { address, source }
        })?;
        listeners.push(Listens { number, address, tls });
    }
    passed.finish()?;
    Ok(listeners)
}

/// Of each listener, what its handshakes begin with.
fn contexts(config: &Config) -> Result<Vec<Option<Arc<TlsContext>>>, CertificateError> {
    let context = |listener: &Listener| {
        let has_tls = !listener.tls.is_empty();
        has_tls.then(|| TlsContext::new(listener).map(Arc::new)).transpose()
    };
    config.listeners.iter().map(context).collect()
}

/// Bytes queued to a shard from which on those who feed it are not read: long before publications
/// are refused.
pub(super) fn high_mark_bytes(config: &Config) -> usize {
    let held = config.limits.held_total_bytes / (2 * config.shard_count());
    config.tuning.shard_queue_bytes.min(held)
}

pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        limits: config.limits,
        output: config.output,
        timeouts: config.timeouts,
        turn: TurnLimits { read_bytes: config.tuning.read_budget_bytes, ..TurnLimits::default() },
        request_ids: config.protocol.request_ids,
        started: wall_clock(),
        strict_roles: config.protocol.strict_roles,
        durable_retained: config.storage.retained,
        is_observed: config.is_observed(),
        clients: config.metrics.clients.clone(),
        groups: config.metrics.groups.clone(),
        node: None,
        visible_ms: config.cluster.cork_ms(),
        interest_bits: config.cluster.interest_bits,
        claims: false,
        rosters: false,
        question_ms: if config.cluster.name.is_some() { QUESTION_MS } else { 0 },
    }
}

/// How long a question of the meta API waits for other nodes of the cluster, in milliseconds.
const QUESTION_MS: u64 = 2_000;

/// Random bytes of the operating system: the seed of ids and hashers.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(StartError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        let listener = Listener::on("127.0.0.1:0".parse().unwrap());
        Server::start(&Config { shards: 1, listeners: vec![listener], ..Config::default() })
            .unwrap()
    }

    /// Nothing is lost without a word: not by a thread that started last either.
    #[test]
    fn an_error_of_any_thread_is_what_stop_returns() {
        let mut server = server();
        let full = || Err(io::Error::new(ErrorKind::StorageFull, "3 events are not saved"));
        server.spawn("storage".into(), full).unwrap();
        assert_eq!(server.ended_threads().recv().as_deref(), Ok("storage"));
        server.spawn("last".into(), || Err(io::Error::other("too"))).unwrap();
        let error = server.stop().unwrap_err();
        assert!(
            matches!(&error, StopError::Thread(error) if error.kind() == ErrorKind::StorageFull)
        );
        assert_eq!(error.to_string(), "the thread storage failed: 3 events are not saved");
        self::server().stop().unwrap();
    }

    #[test]
    fn a_listener_that_cannot_be_bound_says_why() {
        for (kind, expected) in [
            (ErrorKind::AddrInUse, "is another program using it?"),
            (ErrorKind::AddrNotAvailable, "no network interface"),
            (ErrorKind::PermissionDenied, "this user may not"),
            (ErrorKind::NotFound, "does its directory exist?"),
        ] {
            let address = "127.0.0.1:80".parse().unwrap();
            let text = StartError::Listen { address, source: kind.into() }.to_string();
            assert!(text.starts_with("cannot listen on 127.0.0.1:80: "), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }
}
