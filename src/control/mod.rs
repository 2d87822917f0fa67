//! IO: what operators see of a router while it runs, by HTTP on a listener of their own.
//!
//! One thread, `control`, with a runtime of its own: it answers also when every shard is busy. It
//! reads counters, and asks shards by parcels; nothing that a client waits for waits for it.

mod ask;
mod busiest;
mod explain;
mod guard;
mod health;
mod http;
mod json;
mod keeping;
mod log_tail;
mod measures;
mod metrics;
mod process;
mod sessions;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::config::{Config, ListenAddress};
use crate::net::View;
use guard::Guard;
use health::Health;

pub use log_tail::{LogLine, LogTail};

/// The running admin listener. Dropping it ends it.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    health: Arc<Health>,
    log: Tail,
    /// Dropped to stop the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where the log leaves its lines, as soon as somebody says it.
type Tail = Arc<OnceLock<Arc<LogTail>>>;

/// Why there is no admin listener.
#[derive(Debug, thiserror::Error)]
#[error("the admin listener cannot listen on {address}: {source}")]
pub struct ControlError {
    address: ListenAddress,
    source: io::Error,
}

impl Control {
    /// Starts what `[admin]` asks for; `None` if it asks for nothing.
    ///
    /// # Errors
    /// An address that cannot be bound, or a lack of system resources.
    pub fn start(config: &Config, view: View) -> Result<Option<Self>, ControlError> {
        let Some(address) = &config.admin.listen else { return Ok(None) };
        let ListenAddress::Tcp(tcp) = address else { return Ok(None) };
        let error = |source| ControlError { address: address.clone(), source };
        Self::bind(*tcp, &config.admin.hosts, view).map(Some).map_err(error)
    }

    fn bind(address: SocketAddr, hosts: &[String], view: View) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let health = Arc::new(Health::new(view.clone()));
        let log = Tail::default();
        let app = http::routes(view, Arc::clone(&health), Arc::clone(&log), Guard::new(hosts));
        let (stop, stopped) = oneshot::channel();
        let pulse = Arc::clone(&health);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => http::serve(listener, app, pulse, stopped).await,
                    Err(error) => tracing::error!(%error, "the admin listener has failed"),
                }
            });
            // Answers under way are cut off: there is nothing left to tell of.
            runtime.shutdown_background();
        })?;
        Ok(Self { address, health, log, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens; port 0 is resolved.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows these lines as the log. To be called once; later calls change nothing.
    pub fn show_log(&self, tail: Arc<LogTail>) {
        let _ = self.log.set(tail);
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
