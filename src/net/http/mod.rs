//! Connections whose first request is none for WAMP: a shard hands them over, and the thread `http`
//! serves them from then on.
//!
//! A current-thread runtime of tokio with hyper on it, and a few threads behind it that read files.
//! What is answered is decided by [`crate::http`]. Whoever is slow or hostile here costs its own
//! connection and no shard a turn.

mod connection;
mod inner;
mod stream;
mod tls;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{self, Permit, Receiver, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};

use self::inner::WayInside;
use super::acceptor::{ListenerId, Occupancy, rules};
use super::mesh::Mesh;
use super::socket::OwnedSocket;
use super::tls::OpenTls;
use crate::address::Address;
use crate::clock::Millis;
use crate::config::{Config, ListenAddress, Listener};
use crate::http::{Bridges, DISK_THREADS, Disk, Inside, LongPolls, Site, Sites, Staff, Webhook};
use crate::router::{Counters, Router};
use crate::shard::HandOver;
use crate::transport::TransportRules;

/// A connection on its way from a shard to the thread `http`.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) socket: OwnedSocket,
    pub(super) tls: Option<OpenTls>,
    pub(super) handover: HandOver,
    pub(super) place: HttpPlace,
}

/// The way of the shards to the thread `http`.
#[derive(Clone, Debug)]
pub(super) struct HttpDoor {
    visitors: mpsc::Sender<Visitor>,
    shared: Arc<Shared>,
}

/// The thread `http`, seen from whoever has started it. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct HttpThread {
    pub(super) door: HttpDoor,
    orders: UnboundedSender<Order>,
}

/// What the thread `http` looks at.
#[derive(Debug)]
struct Shared {
    sites: ArcSwap<Sites>,
    occupancy: Arc<Occupancy>,
    /// Connections that there may be.
    most: AtomicUsize,
    is_ready: AtomicBool,
    counters: Arc<Counters>,
    router: Arc<Router>,
    started: std::time::Instant,
    beats: HttpBeats,
    staff: Staff,
    inside: Arc<dyn Inside>,
}

/// Counts up every second while the thread `http` turns.
pub(crate) type HttpBeats = Arc<AtomicU64>;

/// The place of a connection among those that speak HTTP; given back when it is dropped. It is one
/// of `limits.connections` as well: what a connection costs most is its descriptor, whoever has it.
#[derive(Debug)]
pub(super) struct HttpPlace(Arc<Occupancy>);

impl Drop for HttpPlace {
    fn drop(&mut self) {
        self.0.leave_http();
    }
}

#[derive(Debug)]
enum Order {
    /// Connections end after the answer that is under way; dropped when none is left, and when the
    /// time is over.
    Drain(Duration, Sender<()>),
    /// These are the webhooks from now on.
    Attend(Vec<Arc<Webhook>>, Box<TransportRules>),
}

/// How long connections go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Season {
    Open,
    /// None waits for another request, but for those of clients that have nothing else to hear the
    /// last things by.
    Closing,
    /// None does.
    Over,
}

impl HttpDoor {
    /// A place for one more connection; `None` if all are taken, if too many wait for the thread,
    /// or if it has ended.
    pub(super) fn enter(&self) -> Option<(HttpPlace, Permit<'_, Visitor>)> {
        let Shared { occupancy, most, .. } = &*self.shared;
        let permit = self.visitors.try_reserve().ok()?;
        let has_entered = occupancy.enter_http(most.load(Ordering::Relaxed));
        has_entered.then(|| (HttpPlace(Arc::clone(occupancy)), permit))
    }
}

impl HttpThread {
    /// The thread's work, to be run on one.
    ///
    /// # Errors
    /// A lack of system resources.
    pub(super) fn new(
        config: &Config,
        sites: Sites,
        (occupancy, mesh): (&Arc<Occupancy>, &Arc<Mesh>),
        (router, started): (&Arc<Router>, std::time::Instant),
    ) -> io::Result<(Self, impl FnOnce() -> io::Result<()> + Send + use<>)> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(DISK_THREADS)
            .thread_name("http-disk")
            .build()?;
        let (mesh, counters) = (Arc::clone(mesh), Arc::clone(router.http_counters()));
        let (occupied, asked) = (Arc::clone(occupancy), Arc::clone(router));
        let inside: Arc<dyn Inside> = Arc::new(WayInside::new(mesh, occupied, asked, started));
        let bridges = Arc::new(Bridges::new(Arc::clone(&inside), Arc::clone(&counters)));
        bridges.follow(&sites);
        let longpolls = Arc::new(LongPolls::new(Arc::clone(&inside)));
        let shared = Arc::new(Shared {
            sites: ArcSwap::from_pointee(sites),
            occupancy: Arc::clone(occupancy),
            most: AtomicUsize::new(config.limits.http_connections),
            is_ready: AtomicBool::new(true),
            counters,
            router: Arc::clone(router),
            started,
            beats: HttpBeats::default(),
            staff: Staff { disk: Disk::default(), bridges, longpolls },
            inside,
        });
        let (visitors, waiting) = mpsc::channel(WAITING);
        let (orders, ordered) = mpsc::unbounded_channel();
        let door = HttpDoor { visitors, shared: Arc::clone(&shared) };
        let run = move || {
            run(runtime, Reception { shared, waiting, orders: ordered });
            Ok(())
        };
        Ok((Self { door, orders }, run))
    }

    pub(super) fn beats(&self) -> HttpBeats {
        Arc::clone(&self.door.shared.beats)
    }

    /// Serves this from now on, to connections that there are as well.
    pub(super) fn follow(&self, config: &Config, sites: Sites) {
        let shared = &self.door.shared;
        shared.most.store(config.limits.http_connections, Ordering::Relaxed);
        shared.staff.bridges.follow(&sites);
        shared.sites.store(Arc::new(sites));
    }

    /// Attends the sessions of these webhooks from now on.
    pub(super) fn attend(&self, config: &Config, webhooks: Vec<Arc<Webhook>>) {
        let rules = TransportRules {
            message_bytes: config.limits.message_bytes,
            hello_bytes: config.limits.hello_bytes,
            ..TransportRules::default()
        };
        // A thread that has ended has no sessions.
        let _ = self.orders.send(Order::Attend(webhooks, Box::new(rules)));
    }

    /// From here on health checks are told that nobody should come.
    pub(super) fn withdraw(&self) {
        self.door.shared.is_ready.store(false, Ordering::Relaxed);
    }

    /// Ends connections after the answer that is under way. `drained` is dropped when none is left,
    /// or when the time is over.
    pub(super) fn drain(&self, within: Duration, drained: Sender<()>) {
        self.withdraw();
        // A thread that has ended has no connections.
        let _ = self.orders.send(Order::Drain(within, drained));
    }
}

/// What the listeners of a configuration serve, which have these numbers and addresses; empty if
/// none serves anything.
pub(super) fn sites<'l>(
    config: &Config,
    bound: impl Iterator<Item = (ListenerId, &'l ListenAddress)>,
) -> Sites {
    let listeners = config.listeners.iter().zip(bound);
    let serving = listeners.filter(|(listener, _)| listener.http_paths().next().is_some());
    let site = |(listener, (number, address)): (&Listener, (ListenerId, &ListenAddress))| {
        let address = address.tcp().map_or(Address::UNIX, Address::from);
        let site = Site::new(listener, config, rules(number, listener, config), address);
        (number.number(), Arc::new(site))
    };
    serving.map(site).collect()
}

impl Shared {
    /// The router's time.
    fn now(&self) -> Millis {
        #[expect(clippy::disallowed_methods, reason = "for nodes of a cluster alone")]
        let elapsed = std::time::Instant::now().duration_since(self.started);
        Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What the thread takes in.
struct Reception {
    shared: Arc<Shared>,
    waiting: Receiver<Visitor>,
    orders: UnboundedReceiver<Order>,
}

fn run(runtime: Runtime, reception: Reception) {
    runtime.block_on(reception.serve());
    // Reads of a disk that hangs are left behind.
    runtime.shutdown_background();
}

impl Reception {
    async fn serve(mut self) {
        let (season, _) = watch::channel(Season::Open);
        let mut connections = JoinSet::new();
        let mut drains: Vec<(Instant, Sender<()>)> = Vec::new();
        let (mut webhooks, mut attending) = (Vec::new(), JoinSet::new());
        let (stops, _) = watch::channel(false);
        let mut beats = interval(BEAT);
        loop {
            let deadline = drains.iter().map(|(at, _)| *at).min();
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Drain(within, drained)) => {
                        season.send_replace(Season::Closing);
                        drains.push((Instant::now() + within.min(LONGEST_DRAIN), drained));
                    }
                    Some(Order::Attend(now, rules)) => {
                        let begun = (&mut attending, &stops);
                        self.attend(&now, &webhooks, &rules, begun);
                        webhooks = now;
                    }
                    None => break,
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    drains.retain(|(at, _)| Some(*at) != deadline);
                }
                _ = beats.tick() => {
                    self.shared.beats.fetch_add(1, Ordering::Relaxed);
                }
                Some(_) = connections.join_next() => {}
                Some(_) = attending.join_next() => {}
                Some(visitor) = self.waiting.recv() => {
                    let (shared, season) = (Arc::clone(&self.shared), season.subscribe());
                    connections.spawn(connection::serve(visitor, shared, season));
                }
            }
            if connections.is_empty() {
                drains.clear();
            }
        }
        // Those that wait in the line were never answered: their peers see the end.
        self.waiting.close();
        season.send_replace(Season::Over);
        stops.send_replace(true);
        let close_ms = self.shared.router.edition().settings.timeouts.close_ms;
        let all = async {
            while connections.join_next().await.is_some() {}
            // They hear what is published until all have left.
            while attending.join_next().await.is_some() {}
            for webhook in &webhooks {
                webhook.run_out().await;
            }
        };
        // Who has not taken its answer by then does not get the rest of it.
        let _ = timeout(Duration::from_millis(close_ms), all).await;
        webhooks.iter().for_each(|webhook| webhook.bury());
    }

    /// Attends those that are new.
    fn attend(
        &self,
        now: &[Arc<Webhook>],
        before: &[Arc<Webhook>],
        rules: &TransportRules,
        (attending, stops): (&mut JoinSet<()>, &watch::Sender<bool>),
    ) {
        let is_new = |webhook: &&Arc<Webhook>| !before.iter().any(|old| Arc::ptr_eq(old, webhook));
        for webhook in now.iter().filter(is_new) {
            let (webhook, inside) = (Arc::clone(webhook), Arc::clone(&self.shared.inside));
            let (rules, stops) = (rules.clone(), stops.subscribe());
            attending.spawn(async move { webhook.attend(&inside, &rules, stops).await });
        }
    }
}

/// Connections that wait for the thread: a shard refuses what is more.
const WAITING: usize = 256;

const BEAT: Duration = Duration::from_secs(1);

/// More than a drain may take.
const LONGEST_DRAIN: Duration = Duration::from_secs(7 * 24 * 3_600);
