//! IO: what operators see of a router while it runs, by HTTP on a listener of their own.
//!
//! One thread, `control`, with a runtime of its own: it answers also when every shard is busy. It
//! reads counters, and asks shards by parcels; nothing that a client waits for waits for it. What
//! operators may change is changed by whoever owns it: an [`Order`] goes there.

mod ask;
mod busiest;
mod changes;
mod door;
mod explain;
mod guard;
mod health;
mod http;
mod json;
mod keeping;
mod kick;
mod log_tail;
mod measures;
mod metrics;
mod metrics_of_changes;
mod pages;
mod process;
mod record;
mod sessions;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod trace;

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::config::{Admin, Changes, Config, ListenAddress};
use crate::net::{LoneTls, LoneTlsError, View};
use changes::{Desk, MOST_ORDERS};
use door::{Bound, Door};
use health::Health;
use record::Record;
use token::{Lock, TokenError};

pub use changes::{Answer, Order};

pub use log_tail::{LogLine, LogTail};
pub use record::{HIDDEN, QUOTING};

/// The running admin listener. Dropping it ends it.
#[derive(Debug)]
pub struct Control {
    address: ListenAddress,
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

/// Why there is no admin listener.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("the admin listener cannot listen on {address}: {source}")]
    Listen { address: ListenAddress, source: io::Error },
    #[error("the admin listener has no token: {0}")]
    Token(String),
    #[error("the admin listener has no TLS: {0}")]
    Tls(String),
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
    /// Starts what `[admin]` asks for; `None` if it asks for nothing.
    ///
    /// # Errors
    /// An address that cannot be bound, a file of the token or of a certificate that cannot be
    /// used, or a lack of system resources.
    pub fn start(config: &Config, view: View) -> Result<Option<Self>, ControlError> {
        let admin = &config.admin;
        let Some(address) = &admin.listen else { return Ok(None) };
        let lock = Lock::new(admin, now())?;
        let tls = admin.tls_listener().map(|listener| LoneTls::start(&listener)).transpose()?;
        let error = |source| ControlError::Listen { address: address.clone(), source };
        Self::bind(address, admin, lock, tls.map(Arc::new), view).map(Some).map_err(error)
    }

    fn bind(
        address: &ListenAddress,
        admin: &Admin,
        lock: Lock,
        tls: Option<Arc<LoneTls>>,
        view: View,
    ) -> io::Result<Self> {
        let bound = Bound::new(address, admin)?;
        let address = bound.address(address)?;
        let is_secure = tls.is_some();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let health = Arc::new(Health::new(view.clone()));
        let record = Arc::new(Record::new());
        let (giving, orders) = bounded(MOST_ORDERS);
        let desk = Desk {
            view,
            tls: tls.clone(),
            lock: Arc::new(lock),
            record: Arc::clone(&record),
            orders: giving,
            turn: Arc::default(),
        };
        let log = Tail::default();
        let admin = Arc::new(admin.clone());
        let app = http::routes(desk, Arc::clone(&health), Arc::clone(&log), admin);
        let (stop, stopped) = oneshot::channel();
        let pulse = Arc::clone(&health);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            runtime.block_on(async {
                match Door::open(bound, tls) {
                    Ok(door) => http::serve(door, app, pulse, stopped).await,
                    Err(error) => tracing::error!(%error, "the admin listener has failed"),
                }
            });
            // Answers under way are cut off: there is nothing left to tell of.
            runtime.shutdown_background();
        })?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(Self { address, is_secure, health, record, orders, log, stop, thread })
    }

    /// Where it listens; port 0 is resolved.
    pub const fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// What the commands take as `--admin`.
    pub fn url(&self) -> String {
        match &self.address {
            ListenAddress::Tcp(address) if self.is_secure => format!("https://{address}"),
            ListenAddress::Tcp(address) => format!("http://{address}"),
            ListenAddress::Unix(_) => self.address.to_string(),
        }
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
