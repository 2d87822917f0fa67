//! Work on disks, which may hang: on a few threads, and never more of it than there are of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Whoever has something to be read waits here for a thread, and takes it along when it leaves: a
/// disk that hangs lets nothing pile up behind it.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    free: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Disk {
    fn default() -> Self {
        Self::new(DISK_THREADS, PATIENCE)
    }
}

impl Disk {
    fn new(threads: usize, patience: Duration) -> Self {
        Self { free: Arc::new(Semaphore::new(threads)), patience }
    }

    /// Does what blocks; `None` if it is not done in time, or has panicked, which was logged. What
    /// was not begun by then is not done.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let done = async {
            let permit = self.free.acquire_owned().await.ok()?;
            let work = move || {
                let done = work();
                drop(permit);
                done
            };
            spawn_blocking(work).await.ok()
        };
        timeout(self.patience, done).await.ok().flatten()
    }
}

/// Threads behind the thread `http`.
pub(crate) const DISK_THREADS: usize = 4;

/// How long a disk may take until there is something to be sent, thread included.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn nothing_waits_behind_a_disk_that_hangs() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = Disk::new(1, Duration::from_millis(20));
            let (end, ended) = mpsc::channel::<()>();
            assert_eq!(disk.clone().run(move || ended.recv().is_err()).await, None);
            let asked = Arc::new(());
            for _ in 0..3 {
                let held = Arc::clone(&asked);
                assert!(disk.clone().run(move || held).await.is_none());
            }
            assert_eq!(Arc::strong_count(&asked), 1, "who has gone left nothing behind");
            drop(end);
            let patient = Disk { patience: PATIENCE, ..disk };
            assert_eq!(patient.run(|| 7).await, Some(7), "its thread serves on");
        });
    }
}
