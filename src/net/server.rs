//! A running router: its threads, its listeners, and the way to stop it.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::Poll;

use super::acceptor::{Acceptor, Occupancy, StopAcceptor};
use super::event_loop::{EventLoop, HoldBudget, WAKER, wall_clock};
use super::judges::{ClientError, Judges};
use super::mesh::{Look, Mesh, Parcel};
use super::pulse::Pulse;
use super::store::{self, STORE_PATIENCE, StoreThread};
use super::tls::{self, CertificateError, TlsContext, TlsShare, Watch};
use crate::config::{Config, ListenAddress, Listener};
use crate::hash::HashSeed;
use crate::limits::TurnLimits;
use crate::router::{Batch, Deposit, Destination, Router, Settings, ShardId, Snapshot};
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
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What to look at when a listener cannot be bound.
fn hint(source: &io::Error) -> &'static str {
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
    router: Arc<Router>,
    mesh: Arc<Mesh>,
    /// By shard.
    pulses: Vec<Arc<Pulse>>,
    addresses: Vec<ListenAddress>,
    acceptor: StopAcceptor,
    threads: Vec<JoinHandle<io::Result<()>>>,
    storage: Option<StoreThread>,
    /// What keeps the thread alive that watches certificates, if there are some.
    watch: Option<Watch>,
    judges: Option<Judges>,
    /// The names of threads that have ended.
    ended: (Sender<String>, Receiver<String>),
}

/// What can be seen of a router, and asked of it, while its threads run and after they have ended.
#[derive(Clone, Debug)]
pub struct View {
    router: Arc<Router>,
    mesh: Arc<Mesh>,
    pulses: Vec<Arc<Pulse>>,
}

impl View {
    #[doc(hidden)]
    pub const fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// By shard.
    #[doc(hidden)]
    pub fn pulses(&self) -> &[Arc<Pulse>] {
        &self.pulses
    }

    /// Asks a shard to show by its pulse that its event loop turns.
    pub(crate) fn probe(&self, shard: ShardId, number: u64) {
        self.mesh.send(shard, Parcel::Probe(number));
    }

    /// Asks a shard for the sessions in some of its slots.
    pub(crate) fn look(&self, shard: ShardId, look: Look) {
        self.mesh.send(shard, Parcel::Look(look));
    }

    /// Bytes of mail, or of what is to be stored, that wait there.
    pub(crate) fn queued_bytes(&self, at: impl Into<Destination>) -> usize {
        self.mesh.queued_bytes(at)
    }
}

/// Tells that a thread has ended, however it did.
struct Farewell {
    name: String,
    ended: Sender<String>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens any more once the server is gone.
        let _ = self.ended.send(std::mem::take(&mut self.name));
    }
}

impl Server {
    /// Binds all listeners and starts the threads: one per shard and one that accepts.
    ///
    /// # Errors
    /// A listener that cannot be bound, or a lack of system resources. Nothing is left running.
    #[expect(clippy::disallowed_methods, reason = "the start of the router's clock")]
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let shards = config.shard_count();
        let contexts = contexts(config)?;
        let router = Arc::new(Router::new(
            settings(config),
            config.realms.clone(),
            shards,
            HashSeed::new(u64::from_ne_bytes(random()?)),
        ));
        let storage = store::open(config, &router)?;
        let polls = (0..shards).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let registries: Vec<_> = polls.iter().map(Poll::registry).collect();
        // Who feeds a shard that is behind is paused long before publications are refused.
        let held = config.limits.held_total_bytes / (2 * shards);
        let high_mark_bytes = config.tuning.shard_queue_bytes.min(held);
        let (mesh, inboxes) = Mesh::new(&registries, WAKER, high_mark_bytes)?;
        let occupancy = Arc::new(Occupancy::new(shards));
        let started = Instant::now();
        let (mut acceptor, stop) =
            Acceptor::new(Arc::clone(&router), Arc::clone(&mesh), Arc::clone(&occupancy), started)?;
        let bind = |(listener, tls): (_, &Option<_>)| {
            let address =
                |source| StartError::Listen { address: listener_address(listener), source };
            acceptor.bind(listener, tls.clone(), config).map_err(address)
        };
        let addresses =
            config.listeners.iter().zip(&contexts).map(bind).collect::<Result<Vec<_>, _>>()?;
        let (threads, ended) = (Vec::new(), unbounded());
        let pulses = (0..shards).map(|_| Arc::default()).collect();
        let mut server = Self {
            router,
            mesh,
            pulses,
            addresses,
            acceptor: stop,
            threads,
            storage: None,
            watch: None,
            judges: None,
            ended,
        };
        let budget = HoldBudget {
            delay: Duration::from_micros(config.tuning.flush_delay_us),
            bytes: HELD_BYTES.min(config.output.hard_bytes / 4),
        };
        let store = storage.map(|storage| server.spawn_storage(storage)).transpose()?;
        server.judges = server.spawn_judges(config)?;
        let started = Instant::now();
        for (number, (poll, inbox)) in (0u8..).zip(polls.into_iter().zip(inboxes)) {
            let shard = Shard::new(ShardId(number), Arc::clone(&server.router), random()?);
            let occupancy = Arc::clone(&occupancy);
            let store = store.clone();
            let judges = server.judges.clone();
            let tls = server.tls_share(number, config);
            let pulse = Arc::clone(&server.pulses[usize::from(number)]);
            let pulse = (pulse, config.admin.listen.is_some());
            let event_loop = EventLoop::new(
                shard, poll, inbox, budget, occupancy, store, tls, judges, started, pulse,
            )?;
            server.spawn(format!("shard-{number}"), || event_loop.run())?;
        }
        server.spawn("acceptor".to_owned(), || acceptor.run())?;
        server.watch(contexts.into_iter().flatten().collect())?;
        Ok(server)
    }

    /// Starts the thread that reads certificates again, if there are some.
    fn watch(&mut self, contexts: Vec<Arc<TlsContext>>) -> io::Result<()> {
        if contexts.is_empty() {
            return Ok(());
        }
        let (watch, run) = tls::watch(contexts);
        self.watch = Some(watch);
        self.spawn("certificates".to_owned(), || {
            run();
            Ok(())
        })
    }

    fn tls_share(&self, shard: u8, config: &Config) -> TlsShare {
        let counters = Arc::clone(&self.router.counters()[usize::from(shard)]);
        let handshakes = config.limits.tls_handshakes.div_ceil(self.router.shard_count());
        TlsShare::new(config.tuning.read_budget_bytes, handshakes, counters)
    }

    /// Where the router listens, in the order of the configuration; port 0 is resolved.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The counters of all shards together.
    pub fn snapshot(&self) -> Snapshot {
        self.router.snapshot()
    }

    /// What the router looks like from outside of its threads.
    pub fn view(&self) -> View {
        let (router, mesh) = (Arc::clone(&self.router), Arc::clone(&self.mesh));
        View { router, mesh, pulses: self.pulses.clone() }
    }

    /// The shared tables, for tests.
    #[doc(hidden)]
    pub const fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// Receives the name of every thread that has ended. Before [`Self::stop`] none should: a
    /// router that has lost a thread cannot serve, and is best stopped.
    pub const fn ended_threads(&self) -> &Receiver<String> {
        &self.ended.1
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
        let thread = self.spawn_named(name, run)?;
        self.threads.push(thread);
        Ok(())
    }

    fn spawn_named<T: Send + 'static>(
        &self,
        name: String,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let farewell = Farewell { name: name.clone(), ended: self.ended.0.clone() };
        thread::Builder::new().name(name).spawn(move || {
            let _farewell = farewell;
            run()
        })
    }

    /// Threads that judge what takes long, if something does.
    fn spawn_judges(&mut self, config: &Config) -> Result<Option<Judges>, StartError> {
        let judges = Judges::new(config, &self.router, &self.mesh)?;
        let Some((judges, threads)) = judges else { return Ok(None) };
        for (name, run) in threads.computing {
            self.spawn(name, || {
                run();
                Ok(())
            })?;
        }
        for (name, run) in threads.waiting {
            // Its end is told, and not waited for.
            drop(self.spawn_named(name, run)?);
        }
        Ok(Some(judges))
    }

    /// The thread of the store ends when the last shard has, with everything written or named.
    fn spawn_storage(&mut self, storage: Storage) -> io::Result<Sender<Batch<Deposit>>> {
        let (sender, deposits) = unbounded();
        let (said, result) = bounded(1);
        let (mesh, router) = (Arc::clone(&self.mesh), Arc::clone(&self.router));
        let path = storage.path().to_owned();
        let handle = self.spawn_named("storage".to_owned(), move || {
            let report = |outcome| store::report(&mesh, outcome);
            // Nobody listens any more if it took too long.
            let _ = said.send(storage.run(&router, &deposits, report));
        })?;
        self.storage = Some(StoreThread { path, handle, result });
        Ok(sender)
    }

    fn stop_threads(&mut self) -> Result<(), StopError> {
        self.acceptor.stop();
        self.watch = None;
        for shard in self.mesh.shards() {
            self.mesh.send(shard, Parcel::Shutdown);
        }
        if let Some(judges) = self.judges.take() {
            judges.stop();
        }
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
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

pub(super) fn panicked(name: &str) -> io::Error {
    io::Error::other(format!("the thread {name} panicked"))
}

/// Of each listener, what its handshakes begin with.
fn contexts(config: &Config) -> Result<Vec<Option<Arc<TlsContext>>>, CertificateError> {
    let context = |listener: &Listener| {
        let has_tls = !listener.tls.is_empty();
        has_tls.then(|| TlsContext::new(listener).map(Arc::new)).transpose()
    };
    config.listeners.iter().map(context).collect()
}

fn listener_address(listener: &Listener) -> ListenAddress {
    listener.address.clone()
}

fn settings(config: &Config) -> Settings {
    Settings {
        limits: config.limits,
        output: config.output,
        timeouts: config.timeouts,
        turn: TurnLimits { read_bytes: config.tuning.read_budget_bytes, ..TurnLimits::default() },
        request_ids: config.protocol.request_ids,
        started: wall_clock(),
        strict_roles: config.protocol.strict_roles,
        durable_retained: config.storage.retained,
    }
}

/// Random bytes of the operating system: the seed of ids and hashers.
fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(StartError::Random)?;
    Ok(bytes)
}

/// Held output of a shard, in bytes, that is written without further delay: far below what makes a
/// consumer slow, for it was the router that made it wait.
const HELD_BYTES: usize = 64 * 1024;

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
