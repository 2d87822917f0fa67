//! One of the threads that ask an endpoint about clients: POST, and what the answer means
//! (AU-DYN-01). Whatever is no clear yes or no is a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::client::Client;
use super::{Judgement, Mesh, tell};
use crate::authentication::OutsideCheck;
use crate::router::SessionRef;

/// A question that waits for its turn.
#[derive(Debug)]
pub(super) struct Queued {
    applicant: SessionRef,
    check: OutsideCheck,
    since: Instant,
}

pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) questions: Receiver<Queued>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) is_over: Arc<AtomicBool>,
}

impl Queued {
    #[expect(clippy::disallowed_methods, reason = "how long a question waits for a thread")]
    pub(super) fn of(applicant: SessionRef, check: OutsideCheck) -> Self {
        Self { applicant, check, since: Instant::now() }
    }
}

impl Asker {
    /// Asks until all ways to it are gone.
    pub(super) fn run(self) {
        for Queued { applicant, check, since } in &self.questions {
            if self.is_over.load(Ordering::Relaxed) {
                continue;
            }
            let patience = Duration::from_millis(check.endpoint.settings().timeout_ms);
            let judgement = match patience.checked_sub(since.elapsed()) {
                Some(left) if !left.is_zero() => self.ask(&check, left),
                _ => Judgement::failed("too many questions wait for the endpoint"),
            };
            tell(&self.mesh, applicant, judgement);
        }
    }

    fn ask(&self, check: &OutsideCheck, patience: Duration) -> Judgement {
        let (endpoint, body) = (&check.endpoint, check.question.to_json());
        let Some(url) = endpoint.url() else {
            return Judgement::failed("a procedure is asked by the shard of the client");
        };
        let answer = self.client.post(url, endpoint.authorization(), &body, patience);
        match answer {
            Ok((200, body)) => check.read(&body).unwrap_or_else(|bad| {
                Judgement::Failed(format!("the endpoint gave no answer: {bad}").into())
            }),
            Ok((401 | 403, _)) => Judgement::Denied(None),
            Ok((status, _)) => {
                Judgement::Failed(format!("the endpoint answered with status {status}").into())
            }
            Err(error) => Judgement::Failed(format!("the endpoint gave no answer: {error}").into()),
        }
    }
}
