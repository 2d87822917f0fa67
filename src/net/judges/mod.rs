//! Threads that judge what no shard can wait for: tickets and tokens (a few threads, which
//! compute), and questions to endpoints (each endpoint has its own, which wait). So a slow endpoint
//! holds up nobody but those who are to be asked there.
//!
//! Bounded: `limits.login_queue` logins wait for each at most, the next one is refused. Of
//! questions about requests the shards have so many pending at each endpoint as at a procedure.
//! Who leaves gives up its place (`line`): nobody is refused for the sake of those who are gone.

mod endpoint;
mod issuer;
mod line;
mod verifier;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client::{Client, ClientError};
use super::event_loop::wall_clock;
use super::mesh::{Mesh, Parcel};
use crate::authentication::{Endpoint, Issuer, Judgement, MissingKey, Proof};
use crate::config::Config;
use crate::router::{Edition, SessionRef, ShardId};
use crate::shard::{Errand, Mail, Ruled, Waiter};
use crate::wamp::RequestId;

use endpoint::{Asker, Queued, Subject};
use issuer::Keeper;
use line::Line;
use verifier::Verifier;

/// The ways to those who judge.
#[derive(Clone, Debug)]
pub(super) struct Judges {
    ways: Arc<Ways>,
    is_over: Arc<AtomicBool>,
}

/// Closed when nobody has them any more.
#[derive(Debug)]
struct Ways {
    verifiers: Line<Proof>,
    keepers: Arc<[(Arc<Issuer>, Line<Proof>)]>,
    endpoints: Vec<(Arc<Endpoint>, Line<Queued>)>,
}

/// What is to run on threads, each with its name.
pub(super) struct JudgeThreads {
    /// They end with the shards.
    pub(super) computing: Vec<(String, Box<dyn FnOnce() + Send>)>,
    /// They may hang in a request, and nobody waits for them.
    pub(super) waiting: Vec<(String, Box<dyn FnOnce() + Send>)>,
}

impl Judges {
    /// The ways to all judges that a router needs, and those; `None` if it needs none.
    pub(super) fn new(
        config: &Config,
        edition: &Edition,
        mesh: &Arc<Mesh>,
    ) -> Result<Option<(Self, JudgeThreads)>, ClientError> {
        let rules = || edition.domains().map(|domain| &domain.rules);
        let issuers: Vec<_> = rules().flat_map(|rules| rules.gate.issuers()).collect();
        let limits = &config.limits;
        let queue = limits.login_queue;
        let requests = limits.questions_per_procedure * mesh.shards().count();
        let endpoints = rules().flat_map(|rules| {
            let of_logins = rules.gate.endpoints().map(|endpoint| (endpoint, queue));
            of_logins.chain(rules.authorizers().map(|endpoint| (endpoint, requests)))
        });
        let endpoints: Vec<_> = endpoints.collect();
        let needs_verifiers = config.has_costly_logins() || !issuers.is_empty();
        if !needs_verifiers && endpoints.is_empty() {
            return Ok(None);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let mut threads = JudgeThreads { computing: Vec::new(), waiting: Vec::new() };
        let mut keepers = Vec::new();
        for (number, issuer) in issuers.into_iter().enumerate() {
            let line = Line::new(queue);
            if let Some(keeper) = Keeper::new(issuer, line.clone(), mesh)? {
                keepers.push((Arc::clone(issuer), line));
                threads.waiting.push((format!("keys-{number}"), Box::new(|| keeper.run())));
            }
        }
        let keepers: Arc<[_]> = keepers.into();
        let verifiers = Line::new(queue);
        for number in 0..if needs_verifiers { config.tuning.login_threads } else { 0 } {
            let (line, mesh) = (verifiers.clone(), Arc::clone(mesh));
            let (is_over, keepers) = (Arc::clone(&is_over), Arc::clone(&keepers));
            let verifier = Verifier { line, mesh, is_over, keepers };
            threads.computing.push((format!("auth-{number}"), Box::new(|| verifier.run())));
        }
        let mut asked = Vec::new();
        for (number, (endpoint, room)) in endpoints.into_iter().enumerate() {
            let line = Line::new(room);
            let client = Client::for_endpoint(endpoint)?;
            for thread in 0..endpoint.concurrency() {
                let (client, line) = (client.clone(), line.clone());
                let (mesh, is_over) = (Arc::clone(mesh), Arc::clone(&is_over));
                let endpoint = Arc::clone(endpoint);
                let asker = Asker { client, endpoint, line, mesh, is_over };
                let name = format!("ask-{number}-{thread}");
                threads.waiting.push((name, Box::new(|| asker.run())));
            }
            asked.push((Arc::clone(endpoint), line));
        }
        let ways = Arc::new(Ways { verifiers, keepers, endpoints: asked });
        Ok(Some((Self { ways, is_over }, threads)))
    }

    /// `false` if too many wait already.
    pub(super) fn judge(&self, waiter: Waiter, errand: Errand) -> bool {
        let (line, subject) = match errand {
            Errand::Proof(proof) => return self.ways.verifiers.push(waiter, proof),
            Errand::Client(referred) => (self.line(&referred.endpoint), Subject::Client(referred)),
            Errand::Request(check) => (self.line(&check.endpoint), Subject::Request(check)),
            // Nothing is to be judged.
            Errand::Management(_) => return false,
        };
        line.is_some_and(|line| line.push(waiter, Queued::now(subject)))
    }

    fn line(&self, to: &Arc<Endpoint>) -> Option<&Line<Queued>> {
        let mut ways = self.ways.endpoints.iter();
        ways.find(|(endpoint, _)| Arc::ptr_eq(endpoint, to)).map(|(_, line)| line)
    }

    /// Nothing that still waits is looked at.
    pub(super) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.verifiers.close();
        self.keepers.iter().for_each(|(_, line)| line.close());
        self.endpoints.iter().for_each(|(_, line)| line.close());
    }
}

/// Tells the shard of a client what came of it.
fn tell(mesh: &Mesh, applicant: SessionRef, judgement: Judgement) {
    let mail = Mail::Judged { applicant, judgement: Box::new(judgement) };
    mesh.send(applicant.shard, Parcel::Mail(mail.into()));
}

/// Tells a shard what was decided about one of its requests.
fn tell_ruling(mesh: &Mesh, shard: ShardId, question: RequestId, ruled: Ruled) {
    let mail = Mail::Ruled { question, ruled: Box::new(ruled) };
    mesh.send(shard, Parcel::Mail(mail.into()));
}
