//! A few threads that compare tickets with their hashes, which takes tens of milliseconds and as
//! many MiB each: no shard can wait for that.
//!
//! Bounded: `limits.login_queue` wait at most, the next one is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::mesh::{Mesh, Parcel};
use crate::authentication::Check;
use crate::router::SessionRef;
use crate::shard::Mail;

/// The way to the verifiers.
#[derive(Clone, Debug)]
pub(super) struct Verifiers {
    jobs: Sender<(SessionRef, Check)>,
    is_over: Arc<AtomicBool>,
}

/// One of their threads.
#[derive(Debug)]
pub(super) struct Verifier {
    jobs: Receiver<(SessionRef, Check)>,
    is_over: Arc<AtomicBool>,
}

impl Verifiers {
    /// The way to so many threads, and those.
    pub(super) fn new(threads: usize, queue: usize) -> (Self, Vec<Verifier>) {
        let (jobs, receiver) = bounded(queue);
        let is_over = Arc::new(AtomicBool::new(false));
        let verifier = || Verifier { jobs: receiver.clone(), is_over: Arc::clone(&is_over) };
        let verifiers = (0..threads).map(|_| verifier()).collect();
        (Self { jobs, is_over }, verifiers)
    }

    /// `false` if too many wait already.
    pub(super) fn judge(&self, applicant: SessionRef, check: Check) -> bool {
        self.jobs.try_send((applicant, check)).is_ok()
    }

    /// Nothing that still waits is looked at.
    pub(super) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Verifier {
    /// Judges until all ways to it are gone.
    pub(super) fn run(self, mesh: &Mesh) {
        for (applicant, check) in self.jobs {
            if self.is_over.load(Ordering::Relaxed) {
                continue;
            }
            let mail = Mail::Judged { applicant, is_genuine: check.run() };
            let weight = mail.weight();
            mesh.send(applicant.shard, Parcel::Mail { batch: vec![mail], weight });
        }
    }
}
