//! Threads that judge what no shard can wait for: tickets and tokens (a few threads, which
//! compute), and questions to endpoints (each endpoint has its own, which wait). So a slow endpoint
//! holds up nobody but those who are to be asked there.
//!
//! Bounded: `limits.login_queue` logins wait for each at most, the next one is refused. Of
//! questions about requests the shards have so many pending at each endpoint as at a procedure.

mod client;
mod endpoint;
mod issuer;
mod verifier;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, bounded};

use super::event_loop::wall_clock;
use super::mesh::{Mesh, Parcel};
use crate::authentication::{Endpoint, Issuer, Judgement, MissingKey, Proof};
use crate::config::Config;
use crate::router::{Edition, SessionRef, ShardId};
use crate::shard::{Errand, Mail, Ruled};
use crate::wamp::RequestId;

use client::Client;
use endpoint::{Asker, Queued, Subject};
use issuer::Keeper;
use verifier::Verifier;

pub use client::{ClientError, check_clients, tls_of_clients};

/// Somebody to be judged.
type Job = (SessionRef, Proof);

/// The ways to those who judge.
#[derive(Clone, Debug)]
pub struct Judges {
    verifiers: Sender<Job>,
    endpoints: Arc<[(Arc<Endpoint>, Sender<Queued>)]>,
    is_over: Arc<AtomicBool>,
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
        // Those that nobody wants answered any more may still lie there when others come.
        let requests = 2 * limits.questions_per_procedure * mesh.shards().count();
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
            let (jobs, waiting) = bounded(queue);
            if let Some(keeper) = Keeper::new(issuer, waiting, mesh)? {
                keepers.push((Arc::clone(issuer), jobs));
                threads.waiting.push((format!("keys-{number}"), Box::new(|| keeper.run())));
            }
        }
        let keepers: Arc<[_]> = keepers.into();
        let (verifiers, jobs) = bounded(queue);
        for number in 0..if needs_verifiers { config.tuning.login_threads } else { 0 } {
            let (jobs, mesh) = (jobs.clone(), Arc::clone(mesh));
            let (is_over, keepers) = (Arc::clone(&is_over), Arc::clone(&keepers));
            let verifier = Verifier { jobs, mesh, is_over, keepers };
            threads.computing.push((format!("auth-{number}"), Box::new(|| verifier.run())));
        }
        let mut ways = Vec::new();
        for (number, (endpoint, queue)) in endpoints.into_iter().enumerate() {
            let (sender, questions) = bounded(queue);
            let client = Client::for_endpoint(endpoint)?;
            for thread in 0..endpoint.concurrency() {
                let (client, questions) = (client.clone(), questions.clone());
                let (mesh, is_over) = (Arc::clone(mesh), Arc::clone(&is_over));
                let endpoint = Arc::clone(endpoint);
                let asker = Asker { client, endpoint, questions, mesh, is_over };
                let name = format!("ask-{number}-{thread}");
                threads.waiting.push((name, Box::new(|| asker.run())));
            }
            ways.push((Arc::clone(endpoint), sender));
        }
        Ok(Some((Self { verifiers, endpoints: ways.into(), is_over }, threads)))
    }

    /// `false` if too many wait already.
    pub(super) fn judge(&self, asker: SessionRef, errand: Errand) -> bool {
        let (way, subject) = match errand {
            Errand::Proof(proof) => return self.verifiers.try_send((asker, proof)).is_ok(),
            Errand::Client(referred) => (self.way(&referred.endpoint), Subject::Client(referred)),
            Errand::Request(check) => (self.way(&check.endpoint), Subject::Request(check)),
        };
        way.is_some_and(|questions| questions.try_send(Queued::of(asker, subject)).is_ok())
    }

    fn way(&self, to: &Arc<Endpoint>) -> Option<&Sender<Queued>> {
        let mut ways = self.endpoints.iter();
        ways.find(|(endpoint, _)| Arc::ptr_eq(endpoint, to)).map(|(_, questions)| questions)
    }

    /// Nothing that still waits is looked at.
    pub(super) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
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
