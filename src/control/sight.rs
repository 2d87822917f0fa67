//! What those who only want to see something are answered from, by HTTP or by WAMP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::MutexGuard;

use super::Tail;
use super::desk::{Declined, Desk, await_turn};
use super::health::Health;
use super::metrics::Metrics;
use crate::config::Admin;
use crate::net::View;

#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) view: View,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) admin: Arc<Admin>,
    pub(super) log: Tail,
    /// Held while the shards are asked for what only they know: by one at a time.
    pub(super) asking: Arc<tokio::sync::Mutex<()>>,
}

impl Sight {
    pub(super) fn new(desk: &Desk, health: Arc<Health>, admin: &Admin, log: Tail) -> Self {
        let view = desk.view.clone();
        let metrics = Metrics::new(desk.clone(), Arc::clone(&health), Arc::clone(&log), now());
        let (metrics, admin) = (Arc::new(metrics), Arc::new(admin.clone()));
        Self { view, health, metrics, admin, log, asking: Arc::default() }
    }

    /// Waits until the shards may be asked, for [`TURN_PATIENCE`] at most.
    pub(super) async fn turn(&self) -> Result<MutexGuard<'_, ()>, Declined> {
        await_turn(&self.asking, TURN_PATIENCE).await
    }

    /// For how long the router has been looked at.
    pub(super) fn age(&self) -> Duration {
        self.metrics.age(now())
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the thread `control`")]
fn now() -> Instant {
    Instant::now()
}

/// How long a list waits for those before it, of which one may take more than 10 s.
const TURN_PATIENCE: Duration = Duration::from_secs(20);
