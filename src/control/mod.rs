//! IO: what operators see of a router while it runs, by HTTP on a listener of their own, or as WAMP
//! clients of the management realm.
//!
//! One thread, `control`, with a runtime of its own: it answers also when every shard is busy. It
//! reads counters, and asks shards by parcels; nothing that a client waits for waits for it. What
//! operators may change is changed by whoever owns it: an [`Order`] goes there.

mod ask;
mod bulletins;
mod busiest;
mod changes;
mod desk;
mod door;
mod explain;
mod guard;
mod health;
mod http;
mod json;
mod keeping;
mod kick;
mod log_tail;
mod management;
mod measures;
mod metrics;
mod metrics_by_name;
mod metrics_of_changes;
mod metrics_of_cluster;
mod nodes;
mod pages;
mod process;
mod record;
mod roles;
mod sessions;
mod sight;
mod subscribers;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod trace;
mod webhooks;

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::config::{Admin, Changes, Config, ListenAddress};
use crate::net::{LoneTls, LoneTlsError, View};
use bulletins::Bulletins;
use desk::{Desk, MOST_ORDERS};
use door::{Bound, Door};
use health::Health;
use management::Manager;
use record::Record;
use sight::Sight;
use token::{Lock, TokenError};

pub use desk::{Answer, Order};

pub use log_tail::{LogLine, LogTail};
pub use record::{HIDDEN, QUOTING};

/// Whoever answers operators, with the admin listener if there is one. Dropping it ends it.
#[derive(Debug)]
pub struct Control {
    address: Option<ListenAddress>,
    is_secure: bool,
    health: Arc<Health>,
    record: Arc<Record>,
    orders: Receiver<Order>,
    log: Tail,
    /// Dropped to stop the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where the log leaves its lines, as soon as somebody says it.
type Tail = Arc<OnceLock<Arc<LogTail>>>;

/// Why nobody answers operators.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("the admin listener cannot listen on {address}: {source}")]
    Listen { address: ListenAddress, source: io::Error },
    #[error("the admin listener has no token: {0}")]
    Token(String),
    #[error("the admin listener has no TLS: {0}")]
    Tls(String),
    #[error("cannot start the thread that answers operators: {0}")]
    Thread(io::Error),
}

impl From<LoneTlsError> for ControlError {
    fn from(error: LoneTlsError) -> Self {
        Self::Tls(error.to_string())
    }
}

impl From<TokenError> for ControlError {
    fn from(error: TokenError) -> Self {
        Self::Token(error.to_string())
    }
}

impl Control {
    /// Starts what `[admin]` and `[management]` ask for; `None` if they ask for nothing.
    ///
    /// # Errors
    /// An address that cannot be bound, a file of the token or of a certificate that cannot be
    /// used, or a lack of system resources.
    pub fn start(config: &Config, view: View) -> Result<Option<Self>, ControlError> {
        if !config.is_observed() {
            return Ok(None);
        }
        let admin = &config.admin;
        let lock = Arc::new(Lock::new(admin, now())?);
        let tls = admin.tls_listener().map(|listener| LoneTls::start(&listener)).transpose()?;
        let tls = tls.map(Arc::new);
        let bound = admin.listen.as_ref().map(|address| {
            let error = |source| ControlError::Listen { address: address.clone(), source };
            let bound = Bound::new(address, admin).map_err(error)?;
            let address = bound.address(address).map_err(error)?;
            Ok::<_, ControlError>((bound, address))
        });
        let (bound, address) = bound.transpose()?.unzip();
        let (giving, orders) = bounded(MOST_ORDERS);
        let (record, turn) = (Arc::new(Record::new()), Arc::default());
        let desk = Desk { view, tls, lock, record, orders: giving, turn };
        Self::spawn(admin, desk, bound, (address, orders)).map(Some).map_err(ControlError::Thread)
    }

    fn spawn(
        admin: &Admin,
        desk: Desk,
        bound: Option<Bound>,
        (address, orders): (Option<ListenAddress>, Receiver<Order>),
    ) -> io::Result<Self> {
        let (is_secure, record) = (desk.tls.is_some(), Arc::clone(&desk.record));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let health = Arc::new(Health::new(desk.view.clone()));
        let log = Tail::default();
        let sight = Sight::new(&desk, Arc::clone(&health), admin, Arc::clone(&log));
        let manager = Manager::new(sight.clone(), desk.clone());
        let bulletins = Bulletins::new(sight.clone(), desk.clone());
        let tls = desk.tls.clone();
        let app = http::routes(desk, sight);
        let (stop, stopped) = oneshot::channel();
        let pulse = Arc::clone(&health);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::spawn(manager.run());
                tokio::spawn(bulletins.run());
                let door = bound.map(|bound| Door::open(bound, tls)).transpose();
                let door = door.unwrap_or_else(|error| {
                    tracing::error!(%error, "the admin listener has failed");
                    None
                });
                http::serve(door, app, pulse, stopped).await;
            });
            // What is still under way is cut off: there is nothing left to tell of.
            runtime.shutdown_background();
        })?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self { address, is_secure, health, record, orders, log, stop, thread })
    }

    /// Where the admin listener is, if there is one; port 0 is resolved.
    pub const fn address(&self) -> Option<&ListenAddress> {
        self.address.as_ref()
    }

    /// What the commands take as `--admin`, if there is an admin listener.
    pub fn url(&self) -> Option<String> {
        Some(match self.address.as_ref()? {
            ListenAddress::Tcp(address) if self.is_secure => format!("https://{address}"),
            ListenAddress::Tcp(address) => format!("http://{address}"),
            address @ ListenAddress::Unix(_) => address.to_string(),
        })
    }

    /// What operators ask of whoever owns the router, who is to answer each order soon.
    pub const fn orders(&self) -> &Receiver<Order> {
        &self.orders
    }

    /// What a reload has changed, or why it was refused: shown from now on. Whoever reloads says
    /// so, whether an order was the reason or not.
    pub fn note_reload(&self, outcome: Result<Changes, String>) {
        self.record.note_reload(outcome);
    }

    /// Shows these lines as the log. To be called once; later calls change nothing.
    pub fn show_log(&self, tail: Arc<LogTail>) {
        let _ = self.log.set(tail);
    }

    /// The router stops: `/healthz` misses no event loop from now on, as they end.
    pub fn set_ending(&self) {
        self.health.set_ending();
    }

    /// What `/readyz` says from now on: whether clients should come to this router.
    pub fn set_ready(&self, is_ready: bool) {
        self.health.set_ready(is_ready);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was logged when it came.
            let _ = thread.join();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the thread `control`")]
fn now() -> Instant {
    Instant::now()
}
