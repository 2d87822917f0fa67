//! The threads that post the events of webhooks. Each webhook has its own, so an address that hangs
//! holds up nobody else.
//!
//! A reload gives a webhook that has changed another crew; what the old one could not deliver is
//! left to that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{Client, Posted, explain};
use super::event_loop::wall_clock;
use super::reload::ReloadError;
use super::server::Server;
use super::threads::Term;
use crate::authentication::Endpoint;
use crate::config::{Config, Webhook as Settings};
use crate::http::{Crew, Letter, Webhook, signature};

/// The webhooks that there are, with those who post their events.
#[derive(Debug, Default)]
pub(super) struct Posts(Vec<Post>);

#[derive(Clone, Debug)]
struct Post {
    webhook: Arc<Webhook>,
    crew: Crew,
    /// Of the threads of the crew.
    term: Term,
}

/// What becomes of webhooks with another configuration. To drop it changes nothing.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Those that there are then, and what they are told.
    posts: Vec<(Post, Option<Settings>)>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        let begun = self.posts.drain(..).filter(|(_, told)| told.is_some());
        begun.for_each(|(post, _)| post.end());
    }
}

impl Post {
    fn end(&self) {
        self.term.end();
        self.webhook.dismiss(&self.crew);
    }
}

impl Posts {
    /// Applies a plan. Gives the webhooks that there are now.
    pub(super) fn follow(&mut self, mut plan: Plan) -> Vec<Arc<Webhook>> {
        let mut posts = Vec::new();
        for (post, told) in std::mem::take(&mut plan.posts) {
            if let Some(settings) = told {
                if let Some(old) = self.find(&post.webhook) {
                    old.end();
                }
                post.webhook.change(settings);
                post.webhook.begin(&post.crew);
            }
            posts.push(post);
        }
        let is_gone = |old: &&Post| !posts.iter().any(|post| same(&post.webhook, &old.webhook));
        for gone in self.0.iter().filter(is_gone) {
            gone.webhook.end();
            gone.end();
            gone.webhook.bury();
        }
        self.0 = posts;
        self.webhooks()
    }

    pub(super) fn webhooks(&self) -> Vec<Arc<Webhook>> {
        self.0.iter().map(|post| Arc::clone(&post.webhook)).collect()
    }

    fn find(&self, webhook: &Arc<Webhook>) -> Option<&Post> {
        self.0.iter().find(|post| same(&post.webhook, webhook))
    }

    /// Nothing is posted any more.
    pub(super) fn stop(&self) {
        self.0.iter().for_each(Post::end);
    }
}

fn same(one: &Arc<Webhook>, other: &Arc<Webhook>) -> bool {
    Arc::ptr_eq(one, other)
}

impl Server {
    /// Finds what becomes of webhooks, and starts the threads of those that are new or have
    /// changed: they begin when the plan is applied.
    pub(super) fn plan_webhooks(
        &self,
        posts: &Posts,
        config: &Config,
    ) -> Result<Plan, ReloadError> {
        let mut plan = Plan::default();
        for realm in &config.realms {
            for settings in &realm.webhooks {
                let is_it = |post: &&Post| {
                    *post.webhook.realm == *realm.name && *post.webhook.name == *settings.name
                };
                let known = posts.0.iter().find(is_it);
                if let Some(post) = known
                    && post.webhook.settings().is_some_and(|old| *old == *settings)
                {
                    plan.posts.push((post.clone(), None));
                    continue;
                }
                let webhook = match known {
                    Some(post) => Arc::clone(&post.webhook),
                    None => Arc::new(Webhook::new(&realm.name, settings.clone())),
                };
                let post = Post { webhook, crew: Crew::default(), term: Term::default() };
                plan.posts.push((post.clone(), Some(settings.clone())));
                self.start_crew(&post, settings)?;
            }
        }
        Ok(plan)
    }

    fn start_crew(&self, post: &Post, settings: &Settings) -> Result<(), ReloadError> {
        let endpoint = Arc::new(Endpoint::new(settings.endpoint()));
        let client = Client::for_endpoint(&endpoint)?;
        for number in 0..settings.concurrency {
            let carrier = Carrier {
                webhook: Arc::clone(&post.webhook),
                crew: post.crew.clone(),
                endpoint: Arc::clone(&endpoint),
                client: client.clone(),
                settings: settings.clone(),
            };
            let name = format!("webhook-{number}");
            // It may hang in a request: its end is not waited for.
            drop(self.threads.spawn(name, &post.term, || carrier.run())?);
        }
        Ok(())
    }
}

/// One thread that posts.
struct Carrier {
    webhook: Arc<Webhook>,
    crew: Crew,
    endpoint: Arc<Endpoint>,
    client: Client,
    settings: Settings,
}

/// Why an event was not delivered.
struct Failure {
    reason: String,
    /// Nor will be, however often it is tried.
    is_final: bool,
    /// How long the address wants to be left alone.
    pause: Option<Duration>,
}

impl Carrier {
    /// Posts until others take over.
    fn run(self) {
        while let Some(letter) = self.webhook.take(&self.crew) {
            self.carry(letter);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the thread has no other clock")]
    fn carry(&self, mut letter: Letter) {
        let since = *letter.since.get_or_insert_with(Instant::now);
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(failure) = self.post(&letter) else { return self.webhook.deliver(&letter) };
            let patience = Duration::from_millis(self.settings.retry_ms);
            let left = patience.saturating_sub(since.elapsed());
            if failure.is_final || left.is_zero() {
                return self.webhook.give_up(&letter, failure.reason);
            }
            // The last try is at the end of its time.
            let wanted =
                failure.pause.map_or_else(|| jittered(pause), |asked| asked.max(LEAST_PAUSE));
            let wanted = wanted.min(left);
            let kept = self.webhook.retry(&self.crew, letter, failure.reason, wanted);
            let Some(kept) = kept else { return };
            letter = kept;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn post(&self, letter: &Letter) -> Result<(), Failure> {
        let (id, body) = (letter.publication.to_string(), letter.body());
        let now = wall_clock().unix_ms() / 1_000;
        let timestamp = u64::try_from(now).unwrap_or_default();
        let signature = signature(&self.settings.secret_values, &id, timestamp, &body);
        let timestamp = timestamp.to_string();
        let mut fields = vec![("webhook-id", id.as_str()), ("webhook-timestamp", &timestamp)];
        if !signature.is_empty() {
            fields.push(("webhook-signature", &signature));
        }
        // Names are looked up on threads, of which there may be no more.
        let deliver = || self.client.deliver(&self.endpoint, &fields, &body);
        let posted = catch_unwind(AssertUnwindSafe(deliver)).map_err(|_| Failure {
            reason: "the request could not be made".into(),
            is_final: false,
            pause: None,
        })?;
        let Posted { status, retry_after } = posted.map_err(|error| Failure {
            reason: explain(&error),
            is_final: false,
            pause: None,
        })?;
        if (200..300).contains(&status) {
            return Ok(());
        }
        let reason = format!("the address answers with status {status}");
        Err(Failure { reason, is_final: FINAL.contains(&status), pause: retry_after })
    }
}

/// So that those who failed together do not come again together.
fn jittered(pause: Duration) -> Duration {
    let mut chance = [u8::MAX / 2];
    // Without chance they come together.
    let _ = getrandom::fill(&mut chance);
    pause.mul_f64(0.8 + 0.4 * f64::from(chance[0]) / f64::from(u8::MAX))
}

/// What says that this event will never be taken: nothing is wanted any more (Standard Webhooks),
/// or it is too large, or of the wrong kind. Others would wait for it in vain.
const FINAL: [u16; 4] = [410, 413, 415, 422];

/// The shortest pause that an address can ask for.
const LEAST_PAUSE: Duration = Duration::from_millis(250);

/// Between one try and the next, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
