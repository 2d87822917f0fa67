//! Threads that judge what no shard can wait for: tickets and tokens (a few threads, which
//! compute), and questions to endpoints (each endpoint has its own, which wait). So a slow endpoint
//! holds up nobody but those who are to be asked there.
//!
//! Bounded: `limits.login_queue` wait for each at most, the next one is refused.

mod client;
mod endpoint;
mod issuer;
mod verifier;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, bounded};

use super::event_loop::wall_clock;
use super::mesh::{Mesh, Parcel};
use crate::authentication::{Check, Endpoint, Issuer, Judgement, MissingKey};
use crate::config::Config;
use crate::router::{Edition, SessionRef};
use crate::shard::Mail;

use client::Client;
use endpoint::{Asker, Queued};
use issuer::Keeper;
use verifier::Verifier;

pub use client::{ClientError, check_clients};

/// Somebody to be judged.
type Job = (SessionRef, Check);

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
        let gates = || edition.domains().map(|domain| &domain.rules.gate);
        let issuers: Vec<_> = gates().flat_map(|gate| gate.issuers()).collect();
        let endpoints: Vec<_> = gates().flat_map(|gate| gate.endpoints()).collect();
        let needs_verifiers = config.has_costly_logins() || !issuers.is_empty();
        if !needs_verifiers && endpoints.is_empty() {
            return Ok(None);
        }
        let queue = config.limits.login_queue;
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
        for (number, endpoint) in endpoints.into_iter().enumerate() {
            let (sender, questions) = bounded(queue);
            let client = Client::for_endpoint(endpoint.settings())?;
            for thread in 0..endpoint.settings().concurrency {
                let (client, questions) = (client.clone(), questions.clone());
                let (mesh, is_over) = (Arc::clone(mesh), Arc::clone(&is_over));
                let asker = Asker { client, questions, mesh, is_over };
                let name = format!("ask-{number}-{thread}");
                threads.waiting.push((name, Box::new(|| asker.run())));
            }
            ways.push((Arc::clone(endpoint), sender));
        }
        Ok(Some((Self { verifiers, endpoints: ways.into(), is_over }, threads)))
    }

    /// `false` if too many wait already.
    pub(super) fn judge(&self, applicant: SessionRef, check: Check) -> bool {
        let check = match check {
            Check::Outside(check) => check,
            check => return self.verifiers.try_send((applicant, check)).is_ok(),
        };
        let mut ways = self.endpoints.iter();
        let way = ways.find(|(endpoint, _)| Arc::ptr_eq(endpoint, &check.endpoint));
        way.is_some_and(|(_, questions)| questions.try_send(Queued::of(applicant, check)).is_ok())
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
