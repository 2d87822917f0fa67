//! Webhooks: what is published to some topics is posted to an address.
//!
//! Each has a session of its own, which is attended on the thread `http` and puts events into a
//! bounded queue. Threads that may hang take them out and post them. While an address does not
//! answer, what is over the bounds is dropped and counted: neither the session nor anybody else
//! waits for it.

mod queue;
mod signature;

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use self::queue::Queue;
use super::events::line::Heard;
use super::joining;
use super::said::Said;
use super::session::Lost;
use super::subscriber::{NotSubscribed, Over, Subscriber};
use crate::address::Address;
use crate::config::{Webhook as Settings, place_of_webhook as place_of};
use crate::http::inner::{Inner, Inside, NotOpened};
use crate::transport::{Appointment, Entrance, TransportRules};

pub(crate) use queue::{Crew, Letter};
pub(crate) use signature::signature;

/// One webhook of a realm, as long as it is configured.
#[derive(Debug)]
pub(crate) struct Webhook {
    pub(crate) realm: Box<str>,
    pub(crate) name: Box<str>,
    /// `None`: it is not configured any more.
    settings: watch::Sender<Option<Arc<Settings>>>,
    queue: Queue,
    /// The last publications, if several topics may match one.
    heard: Mutex<Heards>,
    standing: Mutex<Standing>,
    counts: Counts,
}

/// What it has done.
#[derive(Debug, Default)]
struct Counts {
    delivered: AtomicU64,
    /// Dropped, as there was no room.
    dropped: AtomicU64,
    /// Given up, after all tries.
    given_up: AtomicU64,
    /// Requests without success.
    failures: AtomicU64,
}

/// How it stands.
#[derive(Debug, Default)]
struct Standing {
    /// Why nothing is heard, if it is so.
    silence: Option<String>,
    is_listening: bool,
    /// Why the last request failed; `None`: it did not.
    failure: Option<String>,
    is_dropping: bool,
}

/// What operators see of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebhookView {
    pub(crate) realm: Box<str>,
    pub(crate) name: Box<str>,
    /// Without what may be a secret.
    pub(crate) url: String,
    pub(crate) is_listening: bool,
    /// Why not.
    pub(crate) silence: Option<String>,
    /// Why the last request failed, if it did.
    pub(crate) failure: Option<String>,
    pub(crate) queued: usize,
    pub(crate) queued_bytes: usize,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
    pub(crate) given_up: u64,
    pub(crate) failures: u64,
}

/// Publications in the order in which they were heard.
#[derive(Debug, Default)]
struct Heards {
    known: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl Heards {
    /// Whether it is a new one.
    fn note(&mut self, publication: u64) -> bool {
        let is_new = self.known.insert(publication);
        if is_new {
            self.order.push_back(publication);
        }
        if self.order.len() > MOST_HEARD
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        is_new
    }
}

/// Why a session of a webhook is over.
#[derive(Debug)]
enum End {
    Changed,
    /// It may come again.
    Lost(String),
}

impl Webhook {
    pub(crate) fn new(realm: &str, settings: Settings) -> Self {
        Self {
            realm: realm.into(),
            name: settings.name.as_str().into(),
            settings: watch::Sender::new(Some(Arc::new(settings))),
            queue: Queue::default(),
            heard: Mutex::default(),
            standing: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// How it is configured; `None`: not any more.
    pub(crate) fn settings(&self) -> Option<Arc<Settings>> {
        self.settings.borrow().clone()
    }

    /// Has these settings from now on. Another crew posts what is there.
    pub(crate) fn change(&self, settings: Settings) {
        self.settings.send_replace(Some(Arc::new(settings)));
    }

    /// Ends its session.
    pub(crate) fn end(&self) {
        self.settings.send_replace(None);
    }

    pub(crate) fn view(&self) -> WebhookView {
        let (standing, counts) = (self.standing.lock(), &self.counts);
        let (queued, queued_bytes) = self.queue.size();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let url = self.settings().map(|settings| settings.url.clone()).unwrap_or_default();
        WebhookView {
            realm: self.realm.clone(),
            name: self.name.clone(),
            url: place_of(&url).to_owned(),
            is_listening: standing.is_listening,
            silence: standing.silence.clone(),
            failure: standing.failure.clone(),
            queued,
            queued_bytes,
            delivered: count(&counts.delivered),
            dropped: count(&counts.dropped),
            given_up: count(&counts.given_up),
            failures: count(&counts.failures),
        }
    }

    /// Until no event waits or is under way.
    pub(crate) async fn run_out(&self) {
        self.queue.hurry();
        self.queue.run_out().await;
    }

    /// Says what is lost with its end.
    pub(crate) fn bury(&self) {
        let (events, _) = self.queue.size();
        if events > 0 {
            let (realm, webhook) = (&self.realm, &self.name);
            tracing::warn!(%realm, %webhook, events, "events of a webhook are lost with its end");
        }
    }
}

/// What is done with its events, on threads of their own.
impl Webhook {
    /// This crew posts them from now on.
    pub(crate) fn begin(&self, crew: &Crew) {
        self.queue.begin(crew);
    }

    /// This crew does not.
    pub(crate) fn dismiss(&self, crew: &Crew) {
        self.queue.end(crew);
    }

    /// The next event, as soon as there is one; `None`: the crew is dismissed.
    pub(crate) fn take(&self, crew: &Crew) -> Option<Letter> {
        self.queue.take(crew)
    }

    /// It is delivered.
    pub(crate) fn deliver(&self, letter: &Letter) {
        self.counts.delivered.fetch_add(1, Ordering::Relaxed);
        self.queue.finish(letter, true);
        if self.standing.lock().failure.take().is_some() {
            let (realm, webhook) = (&self.realm, &self.name);
            tracing::info!(%realm, %webhook, "the address of a webhook answers again");
        }
    }

    /// It was not delivered this time. Waits before the next one; gives the letter back when others
    /// take over meanwhile.
    pub(crate) fn retry(
        &self,
        crew: &Crew,
        mut letter: Letter,
        failure: String,
        pause: Duration,
    ) -> Option<Letter> {
        self.note(failure);
        if self.queue.wait(crew, &mut letter, pause) {
            return Some(letter);
        }
        self.queue.give_back(letter);
        None
    }

    /// It is not delivered, and not tried again.
    pub(crate) fn give_up(&self, letter: &Letter, failure: String) {
        self.counts.given_up.fetch_add(1, Ordering::Relaxed);
        self.note(failure);
        self.queue.finish(letter, false);
    }

    fn note(&self, failure: String) {
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        let known = self.standing.lock().failure.replace(failure.clone());
        if known.is_none() {
            let (realm, webhook) = (&self.realm, &self.name);
            tracing::warn!(%realm, %webhook, failure, "a webhook cannot deliver");
        }
    }
}

/// Its session.
impl Webhook {
    /// Joins and listens for as long as it is configured and the router does not stop.
    pub(crate) async fn attend(
        &self,
        inside: &Arc<dyn Inside>,
        rules: &TransportRules,
        mut stops: watch::Receiver<bool>,
    ) {
        let mut watched = self.settings.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let now = watched.borrow_and_update().clone();
            let Some(now) = now else { return };
            let end = tokio::select! {
                biased;
                () = changed(&mut watched, &now) => End::Changed,
                end = self.listen(&now, inside, rules) => end,
            };
            let was_listening = std::mem::take(&mut self.standing.lock().is_listening);
            // Its session has heard what there was.
            if *stops.borrow() {
                return;
            }
            if was_listening {
                self.queue.note_gap();
            }
            match end {
                End::Changed => pause = FIRST_PAUSE,
                End::Lost(reason) => {
                    if was_listening {
                        pause = FIRST_PAUSE;
                    }
                    self.say_lost(reason);
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = watched.changed() => {}
                        _ = stops.wait_for(|stops| *stops) => return,
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn say_lost(&self, reason: String) {
        let (realm, webhook) = (&self.realm, &self.name);
        let known = self.standing.lock().silence.replace(reason.clone());
        if known.as_ref() != Some(&reason) && reason != joining::STOPPING {
            tracing::warn!(%realm, %webhook, reason, "a webhook has no session");
        }
    }

    async fn listen(
        &self,
        settings: &Settings,
        inside: &Arc<dyn Inside>,
        rules: &TransportRules,
    ) -> End {
        let appointed = Appointment {
            realm: self.realm.clone(),
            role: settings.role.as_str().into(),
            authid: self.name.clone(),
            leaves_last: true,
        };
        let rules = rules.inner(Entrance::default(), Some(appointed), true);
        let inner = match inside.open(&Arc::new(rules), Address::UNIX, false) {
            Ok(inner) => inner,
            Err(NotOpened::Failed(error)) => return End::Lost(error.to_string()),
            Err(error) => return End::Lost(error.to_string()),
        };
        match self.follow(settings, inner).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    /// Subscribes, and hears until the session is over.
    async fn follow(&self, settings: &Settings, inner: Inner) -> Result<Infallible, End> {
        let policy = settings.policy.as_str();
        let mut subscriber = Subscriber::join(inner, &self.realm, MOST_BYTES).await;
        let subscriber = subscriber.as_mut().map_err(|lost| End::from(lost.clone()))?;
        for topic in &settings.topics {
            subscriber.subscribe(policy, topic).await?;
            for message in subscriber.take_early() {
                self.hear(subscriber, &message)?;
            }
        }
        {
            let mut standing = self.standing.lock();
            (standing.is_listening, standing.silence) = (true, None);
        }
        loop {
            let message = subscriber.next().await?;
            self.hear(subscriber, &message)?;
        }
    }

    fn hear(&self, subscriber: &Subscriber, message: &[u8]) -> Result<(), End> {
        match Said::read(message) {
            Some(Said::Event { subscription, publication, details, args, kwargs }) => {
                let heard = Heard { publication, details, args, kwargs, timestamp: None };
                self.enqueue(&heard, subscriber.topic(subscription));
                Ok(())
            }
            Some(said) => Over::of(&said).map_or(Ok(()), |over| Err(over.into())),
            None => Err(End::Lost(joining::UNREADABLE.into())),
        }
    }

    fn enqueue(&self, heard: &Heard<'_>, topic: &str) {
        let Some(settings) = self.settings() else { return };
        // Several patterns may match a publication.
        if settings.topics.len() > 1 && !self.heard.lock().note(heard.publication) {
            return;
        }
        let most = (settings.queue_events, settings.queue_bytes);
        let id = format!(",\"publication\":{}", heard.publication);
        let letter = Letter::new(heard.publication, heard.to_json(topic, &id));
        let is_taken = self.queue.push(letter, most);
        let was_dropping = std::mem::replace(&mut self.standing.lock().is_dropping, !is_taken);
        if !is_taken {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            if !was_dropping {
                let (realm, webhook) = (&self.realm, &self.name);
                tracing::warn!(%realm, %webhook, "the queue of a webhook is full: it drops events");
            }
        }
    }
}

impl From<Over> for End {
    fn from(Over(reason): Over) -> Self {
        Self::Lost(reason)
    }
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        Self::Lost(match lost {
            Lost::Stopping => joining::STOPPING.to_owned(),
            lost => lost.to_string(),
        })
    }
}

impl From<NotSubscribed> for End {
    fn from(not: NotSubscribed) -> Self {
        match not {
            NotSubscribed::Lost(lost) => lost.into(),
            NotSubscribed::Refused { error, sentence } => Self::Lost(match sentence.as_str() {
                "" => format!("a subscription is refused: {error}"),
                sentence => format!("a subscription is refused: {error}: {sentence}"),
            }),
        }
    }
}

/// Until its session has to be another one.
async fn changed(watched: &mut watch::Receiver<Option<Arc<Settings>>>, now: &Arc<Settings>) {
    let is_other = |settings: &Option<Arc<Settings>>| {
        settings.as_ref().is_none_or(|settings| !settings.has_same_session(now))
    };
    // Its sender is not dropped before.
    let _ = watched.wait_for(is_other).await;
}

/// Publications that are remembered, so that each is posted once.
const MOST_HEARD: usize = 1_000;

/// The longest message that is taken of the router: whatever publishers may have said.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Between one session and the next, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
