//! The threads of a router: how they are started, and who learns that one has ended.
//!
//! A thread serves until the router stops, or until it is relieved because a reload has put others
//! in its place. One that ends before has failed, and whoever watches the router is told its name.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

#[derive(Debug)]
pub(super) struct Threads {
    ended: (Sender<String>, Receiver<String>),
}

/// Whether threads have been relieved: their end is no news.
#[derive(Clone, Debug, Default)]
pub(super) struct Term(Arc<AtomicBool>);

impl Term {
    /// The threads of this term end from now on, one after the other.
    pub(super) fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tells that a thread has ended, however it did.
struct Farewell {
    name: String,
    ended: Sender<String>,
    term: Term,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if !self.term.0.load(Ordering::Relaxed) {
            // Nobody listens any more once the server is gone.
            let _ = self.ended.send(std::mem::take(&mut self.name));
        }
    }
}

impl Threads {
    pub(super) fn new() -> Self {
        Self { ended: unbounded() }
    }

    /// Receives the name of every thread that has ended during its term.
    pub(super) const fn ended(&self) -> &Receiver<String> {
        &self.ended.1
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        name: String,
        term: &Term,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let (ended, term) = (self.ended.0.clone(), term.clone());
        let farewell = Farewell { name: name.clone(), ended, term };
        thread::Builder::new().name(name).spawn(move || {
            let _farewell = farewell;
            run()
        })
    }
}
