//! What observers see of a running router, and ask of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::cluster::{ClusterShown, ClusterView};
use super::http::HttpBeats;
use super::inquiry::Inquiry;
use super::mesh::{Look, Mesh, Parcel};
use super::pulse::Pulse;
use super::reload::{Listens, urls_of};
use super::tls::TlsContext;
use crate::clock::Millis;
use crate::config::Config;
use crate::http::{Webhook, WebhookView};
use crate::router::{Destination, EndReason, Router, SessionRef, ShardId};
use crate::shard::{Kill, Mail};

/// What observers see of what a reload may replace: they do not wait until one is over.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Listeners with certificates, by what the log calls them.
    tls: Mutex<Vec<(String, Arc<TlsContext>)>>,
    /// Where clients connect to, by listener.
    urls: Mutex<Arc<Vec<Vec<String>>>>,
    /// Of the thread `http`, if there is one.
    pub(super) http: OnceLock<HttpBeats>,
    webhooks: Mutex<Vec<Arc<Webhook>>>,
    /// Of the thread `cluster`, if there is one.
    cluster: Option<Arc<ClusterShown>>,
}

impl Shown {
    pub(super) fn new(
        config: &Config,
        listens: &[Listens],
        cluster: Option<Arc<ClusterShown>>,
    ) -> Self {
        let shown = Self { cluster, ..Self::default() };
        shown.update(config, listens);
        shown
    }

    /// `listens`: where the listeners of the configuration are.
    pub(super) fn update(&self, config: &Config, listens: &[Listens]) {
        let pairs = config.listeners.iter().zip(listens);
        let tls = pairs.filter_map(|(listener, listens)| {
            let tls = Arc::clone(listens.tls.as_ref()?);
            Some((listener.bound_to(listens.address.clone()).label(), tls))
        });
        *self.tls.lock() = tls.collect();
        *self.urls.lock() = Arc::new(urls_of(config, listens));
    }

    pub(super) fn show_webhooks(&self, webhooks: Vec<Arc<Webhook>>) {
        *self.webhooks.lock() = webhooks;
    }
}

/// What can be seen of a router, and asked of it, while its threads run and after they have ended.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) router: Arc<Router>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) pulses: Vec<Arc<Pulse>>,
    pub(super) shown: Arc<Shown>,
    pub(super) started: Instant,
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

    /// Where clients connect to, by listener; as [`Listener::urls`](crate::config::Listener::urls).
    pub(crate) fn urls(&self) -> Arc<Vec<Vec<String>>> {
        Arc::clone(&self.shown.urls.lock())
    }

    /// How often the thread `http` has shown that it turns, if there is one.
    pub(crate) fn http_beats(&self) -> Option<u64> {
        self.shown.http.get().map(|beats| beats.load(Ordering::Relaxed))
    }

    /// How the node is that the router is, shown once a second; `None` if it is none, or nobody
    /// could ask for it ([`Config::is_observed`]).
    pub fn cluster(&self) -> Option<Arc<ClusterView>> {
        self.shown.cluster.as_ref()?.latest()
    }

    /// How often the thread `cluster` has shown that it turns, if there is one.
    pub(crate) fn cluster_beats(&self) -> Option<u64> {
        self.shown.cluster.as_ref().map(|cluster| cluster.beats())
    }

    /// The same router, as if it were a node that is so.
    #[cfg(test)]
    pub(crate) fn into_node(self, view: ClusterView) -> Self {
        let cluster = ClusterShown::default();
        cluster.show(view);
        let shown = Arc::new(Shown { cluster: Some(Arc::new(cluster)), ..Shown::default() });
        Self { shown, ..self }
    }

    /// The webhooks of all realms.
    pub(crate) fn webhooks(&self) -> Vec<WebhookView> {
        self.shown.webhooks.lock().iter().map(|webhook| webhook.view()).collect()
    }

    /// `moment` on the router's clock.
    pub(crate) fn since_start(&self, moment: Instant) -> Millis {
        let elapsed = moment.saturating_duration_since(self.started);
        Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// Asks a shard to show by its pulse that its event loop turns.
    pub(crate) fn probe(&self, shard: ShardId, number: u64) {
        self.mesh.send(shard, Parcel::Probe(number));
    }

    /// Asks a shard for the sessions in some of its slots.
    pub(crate) fn look(&self, shard: ShardId, look: Look) {
        self.mesh.send(shard, Parcel::Look(look));
    }

    /// Ends sessions that were just taken out of their realm's list, all of one shard.
    pub(crate) fn kick(
        &self,
        shard: ShardId,
        sessions: &[SessionRef],
        reason: &Arc<str>,
        message: &Arc<str>,
    ) {
        debug_assert!(sessions.iter().all(|session| session.shard == shard));
        let kill = |session: &SessionRef| {
            let (reason, message) = (Arc::clone(reason), Arc::clone(message));
            let (session, end) = (*session, EndReason::Kicked);
            Mail::Kill(Box::new(Kill { session, reason, message, end }))
        };
        self.mesh.send(shard, Parcel::Mail(sessions.iter().map(kill).collect()));
    }

    /// The listeners that have certificates, by what the log calls them, and when each certificate
    /// expires, in seconds since 1970.
    pub(crate) fn certificate_expiries(&self) -> Vec<(String, Vec<u64>)> {
        let shown = self.shown.tls.lock().clone();
        shown.into_iter().map(|(label, tls)| (label, tls.expiries())).collect()
    }

    /// Asks a shard what only it knows.
    pub(crate) fn inquire(&self, shard: ShardId, inquiry: Inquiry) {
        self.mesh.send(shard, Parcel::Inquiry(inquiry));
    }

    /// Bytes of mail, or of what is to be stored, that wait there.
    pub(crate) fn queued_bytes(&self, at: impl Into<Destination>) -> usize {
        self.mesh.queued_bytes(at)
    }
}
