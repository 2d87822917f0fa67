//! One of the threads that ask an endpoint about clients or requests: POST, and what the answer
//! means (AU-DYN-01, AU-AZ-04). Whatever is no clear yes or no is a failure.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::client::Client;
use super::line::Line;
use super::{Judgement, Mesh, tell, tell_ruling};
use crate::authentication::{Endpoint, Referred, Secret};
use crate::shard::RequestCheck;

/// A question that waits for its turn.
#[derive(Debug)]
pub(super) struct Queued {
    subject: Subject,
    since: Instant,
}

/// What it is about.
#[derive(Debug)]
pub(super) enum Subject {
    Client(Referred),
    Request(RequestCheck),
}

pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) line: Line<Queued>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) is_over: Arc<AtomicBool>,
}

/// Status and body of a response, or why there is none.
type Answer = Result<(u16, Vec<u8>), Cow<'static, str>>;

impl Queued {
    #[expect(clippy::disallowed_methods, reason = "how long a question waits for a thread")]
    pub(super) fn now(subject: Subject) -> Self {
        Self { subject, since: Instant::now() }
    }
}

impl Asker {
    /// Asks until all ways to it are gone.
    pub(super) fn run(self) {
        while let Some((waiter, Queued { subject, since })) = self.line.next() {
            if self.is_over.load(Ordering::Relaxed) {
                continue;
            }
            match subject {
                Subject::Client(referred) => {
                    let body = || referred.question.to_json();
                    let answer = self.ask(body, self.endpoint.timeout_ms(), since);
                    let judgement = match answer {
                        Ok((status, body)) => referred.read(status, &body),
                        Err(why) => Judgement::Failed(why),
                    };
                    tell(&self.mesh, waiter.session, judgement);
                }
                Subject::Request(check) => {
                    let answer = self.ask(|| check.to_json(), check.patience_ms, since);
                    let ruled = answer.and_then(|(status, body)| check.read(status, &body));
                    tell_ruling(&self.mesh, waiter.session.shard, check.question, ruled);
                }
            }
        }
    }

    fn ask(&self, body: impl FnOnce() -> Secret, patience_ms: u64, since: Instant) -> Answer {
        let patience = Duration::from_millis(patience_ms).checked_sub(since.elapsed());
        let Some(patience) = patience.filter(|left| !left.is_zero()) else {
            return Err("too many questions wait for the endpoint".into());
        };
        let answer = self.client.post(&self.endpoint, &body(), patience);
        answer.map_err(|error| format!("the endpoint gave no answer: {error}").into())
    }
}
