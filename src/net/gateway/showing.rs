//! What is shown of the thread: once a second, if somebody could look.

use std::sync::Arc;

use super::super::cluster::{BusView, ClusterShown, ClusterView};
use super::super::mesh::Mesh;
use crate::bus::{Bus, Happening, Told};
use crate::clock::Millis;
use crate::cluster::Node;
use crate::cluster::bucket::Outcome;
use crate::router::ShardId;

/// What is noted for those who look.
pub(super) struct Showing {
    cluster: Arc<str>,
    /// Where they look, if somebody could.
    shown: Option<Arc<ClusterShown>>,
    show_at: Millis,
    /// Since when there is a connection, or none.
    since: Millis,
    is_lost: bool,
    reconnects: u64,
    unanswered_writes: u64,
    /// Since when no write was answered that should have been.
    unanswered_since: Option<Millis>,
    unwatched_since: Option<Millis>,
}

impl Showing {
    pub(super) fn new(cluster: &str, shown: Option<Arc<ClusterShown>>, now: Millis) -> Self {
        Self {
            cluster: cluster.into(),
            shown,
            show_at: now,
            since: now,
            is_lost: false,
            reconnects: 0,
            unanswered_writes: 0,
            unanswered_since: None,
            unwatched_since: None,
        }
    }

    pub(super) fn note(&mut self, happening: &Happening, now: Millis) {
        match happening {
            Happening::Disconnected => (self.since, self.is_lost) = (now, true),
            Happening::Connected if self.is_lost => {
                (self.since, self.is_lost) = (now, false);
                self.reconnects += 1;
            }
            Happening::Written(_, Outcome::Unknown) => {
                self.unanswered_writes += 1;
                self.unanswered_since.get_or_insert(now);
            }
            Happening::Written(..) | Happening::Told(Told::Entry { .. }) => {
                self.unanswered_since = None;
            }
            // The first connection was there before the node.
            Happening::Connected
            | Happening::Told(_)
            | Happening::Message(_)
            | Happening::Beat(_)
            | Happening::NoResponder(_) => {}
        }
    }

    /// Something is to be seen at once.
    pub(super) const fn hurry(&mut self, now: Millis) {
        self.show_at = now;
    }

    /// When it is to be shown again.
    pub(super) fn next_at(&self) -> Option<Millis> {
        self.shown.is_some().then_some(self.show_at)
    }

    /// Shows how the node is, if that is due.
    pub(super) fn show(&mut self, (bus, node, mesh): (&Bus, &Node, &Mesh), now: Millis) {
        let Some(shown) = self.shown.as_ref().filter(|_| self.show_at <= now) else { return };
        self.show_at = now + SHOW_MS;
        let (is_open, openings) = bus.watching();
        // The library notices late that a watch is dead.
        let is_watched = is_open && bus.is_connected();
        self.unwatched_since = if is_watched { None } else { self.unwatched_since.or(Some(now)) };
        if bus.writes() == 0 && node.next_write_at().is_none() {
            self.unanswered_since = None;
        }
        let silent_since = self.unwatched_since.into_iter().chain(self.unanswered_since).min();
        shown.show(ClusterView {
            cluster: Arc::clone(&self.cluster),
            at: now,
            mail_bytes: mesh.queued_bytes(ShardId::CLUSTER),
            bus: BusView {
                is_connected: bus.is_connected(),
                since_ms: now.since(self.since),
                reconnects: self.reconnects,
                is_watched,
                watch_reopenings: openings.saturating_sub(1),
                writes: bus.writes(),
                unanswered_writes: self.unanswered_writes,
                silent_ms: silent_since.map(|since| now.since(since)),
            },
            node: node.view(now),
        });
    }
}

/// How often it is shown, in milliseconds.
const SHOW_MS: u64 = 1_000;
