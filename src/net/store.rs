//! The store of a running router: opened before the first shard, told about by mail, stopped after
//! the last.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::event_loop::wall_clock;
use super::mesh::{Mesh, Parcel};
use super::server::{StartError, StopError, panicked};
use crate::config::Config;
use crate::router::{Batch, Counters, Destination, Record, Router};
use crate::shard::Mail;
use crate::storage::{Outcome, Storage, Unsaved};

/// The thread of the store, which may hang with its disk: nobody waits for that.
#[derive(Debug)]
pub(super) struct StoreThread {
    pub(super) path: PathBuf,
    pub(super) handle: JoinHandle<()>,
    /// What it says at its end; it says nothing if it panics.
    pub(super) result: Receiver<Result<(), Unsaved>>,
}

/// Opens the store if something is durable, and fills the router with what it holds.
pub(super) fn open(config: &Config, router: &Router) -> Result<Option<Storage>, StartError> {
    let Some(path) = config.store() else { return Ok(None) };
    let (mut storage, saved) = Storage::open(path, router)?;
    let histories: usize = saved.histories.iter().map(|history| history.events.len()).sum();
    let (path, retained) = (path.display(), saved.retained.len());
    tracing::info!(%path, history_events = histories, retained_events = retained, "store read");
    let surplus = router.restore(saved, wall_clock());
    for record in &surplus {
        if let Record::Forget { key } = record {
            tracing::info!(history = %key, "no longer configured as durable, removed");
        }
    }
    storage.clean(surplus)?;
    Ok(Some(storage))
}

/// Tells the publishers that wait for it what became of a batch.
pub(super) fn report(mesh: &Mesh, outcome: Outcome) {
    let is_saved = outcome.is_saved;
    let mut batches: Vec<_> = mesh.shards().map(|_| Batch::default()).collect();
    for receipt in outcome.receipts {
        let shard = usize::from(receipt.publisher.shard.0);
        batches[shard].push(Mail::Stored { receipt, is_saved });
    }
    for (shard, batch) in mesh.shards().zip(batches) {
        if !batch.is_empty() {
            mesh.send(shard, Parcel::Mail(batch));
        }
    }
    mesh.took(Destination::Store, outcome.weight);
}

impl StoreThread {
    /// The shards have ended: waits until everything is written, or named as lost. It may take as
    /// long as it needs, but no longer than `patience` for a batch or for the end of an outage.
    pub(super) fn stop(
        self,
        counters: &Counters,
        mesh: &Mesh,
        patience: Duration,
    ) -> Result<(), StopError> {
        loop {
            let before = progress(counters);
            match self.result.recv_timeout(patience) {
                Ok(result) => return Ok(result?),
                Err(RecvTimeoutError::Timeout) if progress(counters) > before => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(StopError::StoreHangs {
                        path: self.path,
                        seconds: patience.as_secs(),
                        queued_bytes: mesh.queued_bytes(Destination::Store),
                    });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // It has panicked: joined, so that it has said why before the process ends.
                    let _ = self.handle.join();
                    return Err(panicked("storage").into());
                }
            }
        }
    }
}

fn progress(counters: &Counters) -> u64 {
    counters.deposits_saved.get() + counters.deposits_failed.get()
}

/// How long the store may take at the stop for one batch, or to end an outage.
pub(super) const STORE_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use crossbeam_channel::{Sender, bounded};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    /// A store whose end is up to the test.
    fn stop(
        patience: Duration,
        behave: impl FnOnce(&Sender<Result<(), Unsaved>>, &Counters) + Send + 'static,
    ) -> String {
        let (mesh, _) = Mesh::new(&[], mio::Token(0), 100).unwrap();
        mesh.queues(Destination::Store, 77);
        let (said, result) = bounded(1);
        let counters: Arc<Counters> = Arc::default();
        let shared = Arc::clone(&counters);
        let handle = thread::spawn(move || behave(&said, &shared));
        let path = PathBuf::from("/data/store");
        let stopped = StoreThread { path, handle, result }.stop(&counters, &mesh, patience);
        stopped.map_or_else(|error| error.to_string(), |()| "saved".into())
    }

    #[test]
    fn a_stop_does_not_wait_for_a_disk_that_hangs() {
        let (_never, forever) = bounded::<()>(0);
        let text = stop(PATIENCE / 20, move |_said, _| {
            let _ = forever.recv();
        });
        let expected = "the store `/data/store` has not written anything for 0 s at the stop, its \
                        disk hangs: 77 bytes of publications wait for it, and they and what it was \
                        writing may be lost";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_stop_waits_for_a_slow_disk_and_hears_of_a_panic() {
        let slow = stop(PATIENCE, |said, counters| {
            // Each batch takes less than the patience, all together far more.
            let (_never, pause) = bounded::<()>(0);
            for _ in 0..12 {
                let _ = pause.recv_timeout(PATIENCE / 10);
                counters.deposits_saved.increment();
            }
            said.send(Ok(())).unwrap();
        });
        assert_eq!(slow, "saved");
        // To say so may take long on a busy machine.
        let panics = stop(PATIENCE * 60, |_, _| panic!("a disk on fire"));
        assert!(panics.contains("the thread storage panicked"), "{panics}");
    }
}
