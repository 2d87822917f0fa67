//! What all shards share: the realms with their tables, the settings, and who is where.
//!
//! The tables say which shards have receivers or callees; the sessions themselves live in their
//! shard. No guard of a concurrent map leaves the function that took it.

mod audience;
mod batch;
mod busy;
mod callees;
mod clients;
mod counters;
mod crowd;
mod deposit;
mod destination;
mod directory;
mod edition;
mod groups;
mod held;
mod history;
mod ids;
mod interest;
mod ledger;
mod measures;
mod meta;
mod pattern;
mod procedures;
mod query;
mod realm;
mod retained;
mod ring;
mod roles;
mod rules;
mod sessions;
mod settings;
mod shapes;
mod stamp;
mod topics;
mod webhook;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::authentication::Failures;
use crate::clock::Millis;
use crate::hash::HashSeed;
use crate::limits::{HELD_FRACTION, Limits, OutputLimits, Timeouts, TurnLimits};
use crate::wamp::{SessionId, Timestamp};

pub use audience::{Audience, Horizon, Identity, Numbering, ReceiverLists};
pub use batch::{Batch, Weighed};
pub use busy::{Busiest, BusyList, BusyUri, Busyness, HALF_LIFE_MS, Rate, SPAN_SECONDS};
pub use callees::{LoadSlot, Place, Tour};
pub use clients::{
    ClientCounts, ClientName, ClientNames, MAX_CLIENT_NAMES, OTHER_CLIENTS, client_key, client_name,
};
pub use counters::{Counter, Counters, Snapshot};
pub use crowd::{Crowd, Crowded, Seat};
pub use deposit::{Deposit, Receipt, Record, Saved, SavedHistory, SavedRetained};
pub use destination::{Destination, Destinations, MAX_SHARDS};
pub use directory::{Described, Listing};
pub use edition::{Domain, Edition};
pub use groups::{GroupCounts, MAX_URI_GROUPS, UriGroup, UriGroups};
pub use held::{Held, HeldCount, HeldMetaEvent};
pub use history::{
    Bounds, History, HistoryAnswer, HistorySettings, HistoryStore, HistoryTable, StoredEvent,
};
pub use ids::{Ids, NodeIds};
pub use interest::{Interest, InterestSlot, Nodes};
pub use ledger::Walk;
pub use measures::{
    CLASSES, CorkCounts, Distribution, Histogram, Levels, Measures, Moment, Names, PollCounts,
    Tally,
};
pub use meta::{Departure, MetaFamily, MetaFeed, MetaTopic};
pub use procedures::{
    Callee, Foreseen, Installed, Notice, PickError, Picked, ProcedureTable, RegisterError,
    Registered, Traits,
};
pub use query::{Answer, Page, Query, Scan};
pub use realm::{Member, Profile, Realm};
pub use retained::{Found, Holds, Kept, Look, Publisher, RetainedEvent, RetainedTable, Stored};
pub use ring::{Holding, Pushed};
pub(crate) use roles::Source;
pub use roles::{DecisionCount, RealmRole};
pub use rules::RealmRules;
pub use sessions::{Closed, ClosedSessions, EndReason, OpenSession, Side, Traffic};
pub use settings::{CallerDisclosure, GoodbyeReply, PublisherDisclosure, RealmSettings};
pub use shapes::{MAX_WILDCARD_COMPONENTS, Shape, TooManyShapes};
pub use stamp::{NodeName, NodeNumber, Stamp};
pub use topics::{Fanout, Fanouts, Joined, TopicTable};
pub use webhook::{BadWebhookSecret, WebhookSecret, WebhookSettings, place_of_webhook};

/// An event-loop thread, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u8);

impl ShardId {
    /// No event loop: where the sessions of other nodes are, as far as the mail is concerned.
    pub const CLUSTER: Self = Self(63);
}

/// The place of a connection in its shard. When the connection has gone, it is given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// Greater than all that are given out.
    pub const MAX: Self = Self(u32::MAX);

    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The slot of this index.
    ///
    /// # Panics
    /// If the index has more than 32 bits: the configuration bounds the connections far below.
    pub fn at(index: usize) -> Self {
        Self(u32::try_from(index).expect("slots are 32 bits"))
    }

    /// For lists by slot.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a session lives. The slot finds it at once, the session id detects that the slot was
/// given to somebody else since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionRef {
    pub session: SessionId,
    pub slot: Slot,
    pub shard: ShardId,
}

impl SessionRef {
    /// The caller of what that shard itself calls.
    pub const fn router(shard: ShardId) -> Self {
        Self { session: SessionId::ROUTER, slot: Slot::MAX, shard }
    }

    pub fn is_router(self) -> bool {
        self.session == SessionId::ROUTER
    }
}

/// How request ids of clients are checked (BP-ID-06).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestIdCheck {
    /// Each must be the previous one plus 1, as the specification says.
    Strict,
    /// Each must be larger than the previous one: what deployed clients keep to.
    #[default]
    Monotonic,
    /// Any id that is not pending.
    Off,
}

/// The settings that the pure core reads.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub limits: Limits,
    pub output: OutputLimits,
    pub timeouts: Timeouts,
    pub turn: TurnLimits,
    pub request_ids: RequestIdCheck,
    /// When the router was started: what the configuration makes was created then.
    pub started: Timestamp,
    /// Whether a message of a role that the client did not announce is a violation (BP-MOD-04).
    pub strict_roles: bool,
    /// Whether retained events go to the store.
    pub durable_retained: bool,
    /// Whether somebody may ask what is busiest: there is an admin listener.
    pub is_observed: bool,
    /// The client libraries by whose names sessions are counted; see [`ClientNames::new`].
    pub clients: Vec<String>,
    /// The groups of URIs by whose names is counted; see [`UriGroups::new`].
    pub groups: Vec<UriGroup>,
    /// Of a node of a cluster; `None`: alone.
    pub node: Option<NodeIds>,
    /// How many milliseconds SUBSCRIBED and REGISTERED wait at most for other nodes to route here;
    /// 0: for nobody.
    pub visible_ms: u64,
    /// The number of slots for what nodes of a cluster want, as a power of two; see [`Interest`].
    pub interest_bits: u8,
    /// Whether a callee is claimed from the cluster before it is one, so that all nodes have the
    /// same in the same order.
    pub claims: bool,
    /// Whether listeners hear the meta events of sessions and subscriptions of other nodes.
    pub rosters: bool,
    /// How many milliseconds a question to other nodes waits for their answers; 0: none is asked.
    pub question_ms: u64,
}

/// The shared part of a router.
#[derive(Debug)]
pub struct Router {
    /// The newest one. Each shard has its own reference to it, or to the one before.
    edition: ArcSwap<Edition>,
    /// The number of the next realm.
    next_realm: AtomicUsize,
    /// Realms that were removed, as long as somebody has to do with them.
    removed: Mutex<Vec<Weak<Realm>>>,
    ids: Arc<Ids>,
    /// Of a node of a cluster.
    interest: Option<Arc<Interest>>,
    /// One per shard, in their order.
    counters: Vec<Arc<Counters>>,
    /// What each shard measures, in their order.
    measures: Vec<Arc<Measures>>,
    client_names: ClientNames,
    uri_groups: UriGroups,
    /// What the thread of the store measures.
    storage_measures: Arc<Measures>,
    /// The sessions that each shard has ended, in their order.
    closed: Vec<Arc<ClosedSessions>>,
    /// What each shard has accepted and is not delivered everywhere, in their order.
    held: Vec<Arc<HeldCount>>,
    /// Written by the thread of the store.
    storage_counters: Arc<Counters>,
    /// Written by the acceptor.
    acceptor_counters: Arc<Counters>,
    /// Written by the thread `http`.
    http_counters: Arc<Counters>,
    /// Written by whoever deals with other nodes.
    cluster_counters: Arc<Counters>,
    crowd: Arc<Crowd>,
    seed: HashSeed,
    failures: Failures,
    /// Until when clients may be served, in milliseconds of the router's clock.
    serves_until_ms: AtomicU64,
}

impl Router {
    /// A router for so many shards, 1 to [`MAX_SHARDS`].
    pub fn new(
        settings: Settings,
        realms: Vec<RealmSettings>,
        shards: usize,
        seed: HashSeed,
    ) -> Self {
        assert!((1..=MAX_SHARDS).contains(&shards), "the configuration bounds the shards");
        let ids = Arc::new(Ids::from(settings.node));
        let interest = |ids| Arc::new(Interest::new(ids, settings.interest_bits, &seed));
        let interest = settings.node.map(interest);
        let mut domains = seed.map();
        let next_realm = AtomicUsize::new(realms.len());
        for (number, realm) in realms.into_iter().enumerate() {
            let name = realm.name.clone().into_boxed_str();
            let identity = Realm::new(&realm, number, &settings, &seed, &ids, interest.as_ref());
            let rules = Arc::new(RealmRules::new(realm, shards, None));
            domains.insert(name, Domain { realm: Arc::new(identity), rules });
        }
        let counters = (0..shards).map(|_| Arc::default()).collect();
        let client_names = ClientNames::new(&settings.clients);
        let uri_groups = UriGroups::new(&settings.groups);
        let measures = || Arc::new(Measures::new(&client_names, &uri_groups));
        let measures = (0..shards).map(|_| measures()).collect();
        let failures = Failures::new(settings.limits.login_failures(), &seed);
        let held = (0..shards).map(|_| Arc::default()).collect();
        let closed = (0..shards).map(|_| Arc::new(ClosedSessions::new(shards))).collect();
        let limits = &settings.limits;
        let crowd = Arc::new(Crowd::new(limits.crowd(), limits.connections, &seed));
        let (storage_counters, acceptor_counters) = Default::default();
        let (http_counters, cluster_counters) = Default::default();
        Self {
            edition: ArcSwap::from_pointee(Edition::new(settings, domains)),
            next_realm,
            removed: Mutex::default(),
            ids,
            interest,
            counters,
            measures,
            client_names,
            uri_groups,
            storage_measures: Arc::default(),
            closed,
            held,
            storage_counters,
            acceptor_counters,
            http_counters,
            cluster_counters,
            crowd,
            seed,
            failures,
            serves_until_ms: AtomicU64::new(u64::MAX),
        }
    }

    /// Until when clients may be served, unless it is prolonged; `None`: in any case. Shards are
    /// told by themselves.
    pub fn serves_until(&self) -> Option<Millis> {
        let until = self.serves_until_ms.load(Ordering::Relaxed);
        (until != u64::MAX).then_some(Millis(until))
    }

    /// Says so; by whoever deals with other nodes.
    pub fn set_serves_until(&self, until: Millis) {
        self.serves_until_ms.store(until.0, Ordering::Relaxed);
    }

    /// The settings and realms as they are now. Shards have their own reference.
    pub fn edition(&self) -> Arc<Edition> {
        self.edition.load_full()
    }

    /// Replaces the settings and the realms by others, and returns what the shards are to be told
    /// of; see [`Self::prepare`].
    pub fn reload(&self, settings: Settings, realms: Vec<RealmSettings>) -> Arc<Edition> {
        let edition = self.prepare(settings, realms);
        self.adopt(&edition);
        edition
    }

    /// What would hold with these settings and realms. Called by one thread at a time, and without
    /// effect until [`Self::adopt`].
    ///
    /// A realm with the name of one that is there is that one, with its sessions and tables. Its
    /// histories stay as they are, and so do [`Settings::turn`], [`Settings::is_observed`],
    /// [`Settings::clients`], [`Settings::groups`], [`Settings::node`], [`Settings::claims`],
    /// [`Settings::rosters`] and what concerns the store.
    pub fn prepare(&self, settings: Settings, realms: Vec<RealmSettings>) -> Arc<Edition> {
        let before = self.edition();
        let Settings {
            turn, started, durable_retained, is_observed, node, claims, rosters, ..
        } = before.settings;
        let (clients, groups) = (before.settings.clients.clone(), before.settings.groups.clone());
        let mut domains = self.seed.map();
        for realm in realms {
            let name = realm.name.clone().into_boxed_str();
            let domain = self.domain(realm, before.domain(&name), &settings);
            domains.insert(name, domain);
        }
        let fixed = Settings { turn, started, durable_retained, is_observed, node, ..settings };
        let settings = Settings { clients, groups, claims, rosters, ..fixed };
        Arc::new(Edition::new(settings, domains))
    }

    /// From here on an edition holds that was prepared last; the shards are still to be told.
    pub fn adopt(&self, edition: &Arc<Edition>) {
        let limits = &edition.settings.limits;
        self.failures.set_limits(limits.login_failures());
        self.crowd.set_limits(limits.crowd(), limits.connections);
        let before = self.edition.swap(Arc::clone(edition));
        let is_gone = |realm: &&Arc<Realm>| edition.rules_of(realm).is_none();
        let gone = before.realms().filter(is_gone).map(Arc::downgrade);
        let mut removed = self.removed.lock();
        removed.retain(|realm| realm.strong_count() > 0);
        removed.extend(gone);
    }

    /// A realm as these settings have it.
    fn domain(&self, realm: RealmSettings, before: Option<&Domain>, router: &Settings) -> Domain {
        let identity = before.map_or_else(
            || {
                let number = self.next_realm.fetch_add(1, Ordering::Relaxed);
                let interest = self.interest.as_ref();
                Arc::new(Realm::new(&realm, number, router, &self.seed, &self.ids, interest))
            },
            |domain| Arc::clone(&domain.realm),
        );
        let is_same = |old: &&Domain| old.rules.settings == realm;
        let rules = before.filter(is_same).map(|domain| Arc::clone(&domain.rules));
        let rules = rules.unwrap_or_else(|| {
            let before = before.map(|domain| &*domain.rules);
            Arc::new(RealmRules::new(realm, self.shard_count(), before))
        });
        Domain { realm: identity, rules }
    }

    /// Realms that were removed and are not gone: their sessions are being told.
    pub fn removed_realms(&self) -> Vec<Arc<Realm>> {
        self.removed.lock().iter().filter_map(Weak::upgrade).collect()
    }

    pub fn shard_count(&self) -> usize {
        self.counters.len()
    }

    /// Whether there are no more sessions than webhooks.
    pub fn has_only_webhooks(&self) -> bool {
        let edition = self.edition();
        let webhooks = edition.domains().map(|domain| domain.rules.settings.webhooks.len());
        let sessions = self.counters.iter().map(|counters| counters.sessions.get());
        sessions.sum::<u64>() <= webhooks.sum::<usize>() as u64
    }

    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// What the shards measure, by shard.
    pub fn measures(&self) -> &[Arc<Measures>] {
        &self.measures
    }

    /// What the store measures, and no shard.
    pub const fn storage_measures(&self) -> &Arc<Measures> {
        &self.storage_measures
    }

    /// The sessions that have ended, by shard.
    pub fn closed(&self) -> &[Arc<ClosedSessions>] {
        &self.closed
    }

    /// The count of what a shard has accepted and is not delivered everywhere.
    pub fn held(&self, shard: ShardId) -> &Arc<HeldCount> {
        &self.held[usize::from(shard.0)]
    }

    /// Bytes of what is accepted and not delivered everywhere, of all shards; see
    /// [`Limits::held_total_bytes`].
    pub fn held_bytes(&self) -> usize {
        self.held.iter().map(|count| count.get()).sum()
    }

    /// Bytes of the largest thing that may be held besides all that is.
    pub fn room_to_hold(&self, limits: &Limits) -> usize {
        limits.held_total_bytes.saturating_sub(self.held_bytes()) / HELD_FRACTION
    }

    /// Meta events that wait to be heard, of all shards.
    pub fn meta_events_waiting(&self) -> usize {
        self.held.iter().map(|count| count.meta_events()).sum()
    }

    /// The counters of all shards together.
    pub fn snapshot(&self) -> Snapshot {
        let apart = [
            &self.storage_counters,
            &self.acceptor_counters,
            &self.http_counters,
            &self.cluster_counters,
        ];
        let all = self.counters.iter().chain(apart);
        all.fold(Snapshot::default(), |sum, counters| sum + counters.snapshot())
    }

    /// The counters that the store writes, and no shard.
    pub const fn storage_counters(&self) -> &Arc<Counters> {
        &self.storage_counters
    }

    /// The counters that the acceptor writes, and no shard.
    pub const fn acceptor_counters(&self) -> &Arc<Counters> {
        &self.acceptor_counters
    }

    /// The counters that the thread `http` writes, and no shard.
    pub const fn http_counters(&self) -> &Arc<Counters> {
        &self.http_counters
    }

    /// The counters that whoever deals with other nodes writes, and no shard.
    pub const fn cluster_counters(&self) -> &Arc<Counters> {
        &self.cluster_counters
    }

    /// What clients are known for by their addresses.
    pub const fn crowd(&self) -> &Arc<Crowd> {
        &self.crowd
    }

    /// Takes in what a store kept, before the first shard runs, and says what it can forget: what
    /// is over the bounds by now, and what is not configured any more.
    pub fn restore(&self, saved: Saved, now: Timestamp) -> Vec<Record> {
        let edition = self.edition();
        let mut surplus = saved.surplus;
        for history in saved.histories {
            let key = history.key.clone();
            match self.durable_histories().into_iter().find(|candidate| candidate.key == key) {
                Some(configured) => surplus.extend(configured.restore(history, now)),
                None => surplus.push(Record::Forget { key }),
            }
        }
        for saved in saved.retained {
            let Some(realm) = self.durable_realm(&saved.realm) else { continue };
            let numbers = realm.retained.restore(saved, &edition.settings.limits);
            if !numbers.is_empty() {
                surplus.push(Record::Released { realm: Arc::clone(realm.name()), numbers });
            }
        }
        surplus
    }

    /// The logins that have failed of late.
    pub const fn failures(&self) -> &Failures {
        &self.failures
    }

    /// The realm of this name. Not for shards, which have their own edition.
    pub fn realm(&self, name: &str) -> Option<Arc<Realm>> {
        self.edition.load().realm(name).map(Arc::clone)
    }

    /// All realms. Not for shards, which have their own edition.
    pub fn realms(&self) -> Vec<Arc<Realm>> {
        self.edition.load().realms().map(Arc::clone).collect()
    }

    /// The realm of this name, if a store keeps its retained events.
    pub fn durable_realm(&self, name: &str) -> Option<Arc<Realm>> {
        self.realm(name).filter(|_| self.edition.load().settings.durable_retained)
    }

    /// The histories that a store keeps.
    pub fn durable_histories(&self) -> Vec<Arc<History>> {
        let realms = self.realms();
        let histories = realms.iter().flat_map(|realm| realm.histories.iter());
        histories.filter(|history| history.is_durable).map(Arc::clone).collect()
    }

    /// Where the ids of sessions come from, and which node this is.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// What nodes of a cluster want; `None` for a router that is alone.
    pub const fn interest(&self) -> Option<&Arc<Interest>> {
        self.interest.as_ref()
    }

    /// What the hashers of shards and sessions come from.
    pub fn seed(&self) -> HashSeed {
        self.seed.clone()
    }

    /// Whether nothing is registered or held anywhere: what must hold when the last session has
    /// gone.
    pub fn is_idle(&self) -> bool {
        let is_nothing_held = self.held_bytes() == 0 && self.meta_events_waiting() == 0;
        let mut realms = self.realms();
        realms.extend(self.removed_realms());
        is_nothing_held && self.crowd.is_idle() && realms.iter().all(|realm| realm.is_idle())
    }
}
