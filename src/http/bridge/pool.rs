//! The sessions of all paths: one for each way in, opened when it is first needed, and once more
//! when it has gone.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::repeated::Repeated;
use super::request::Message;
use super::session::{Answer, Beginning, Handle, Lost, Terms};
use super::share::Shares;
use crate::address::Address;
use crate::http::inner::{Inner, Inside, NotOpened};
use crate::http::room::Room;
use crate::transport::{Appointment, Entrance, TransportRules};

/// A way in: those who come by it share a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey {
    pub(super) listener: u32,
    pub(super) path: Box<str>,
    pub(super) realm: Box<str>,
    pub(super) role: Box<str>,
    pub(super) authid: Box<str>,
    /// Role and authid are what a token says.
    pub(super) is_by_token: bool,
}

impl SessionKey {
    /// The way in as the configuration knows it: of all who bear tokens it is one.
    pub(super) fn way(&self) -> Self {
        let way = self.clone();
        if self.is_by_token {
            Self { role: Box::default(), authid: Box::default(), ..way }
        } else {
            way
        }
    }
}

/// What becomes of a request.
pub(super) type Outcome = Result<Answer, Lost>;

/// Until when somebody waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    ms: u64,
}

impl Deadline {
    pub(super) fn in_ms(ms: u64) -> Self {
        Self { at: Instant::now() + Duration::from_millis(ms), ms }
    }
}

/// The sessions that there are.
#[derive(Debug)]
pub(super) struct Pool {
    inside: Arc<dyn Inside>,
    seats: Mutex<BTreeMap<SessionKey, Arc<SessionSeat>>>,
    /// Counts visits, so that it is known who was here last.
    visits: AtomicU64,
}

/// What is kept of a way in while it is configured.
#[derive(Debug, Default)]
pub(super) struct SessionSeat {
    session: Mutex<Option<Handle>>,
    /// When the last one was refused, and why: others are not tried at once.
    refused: Mutex<Option<(Instant, Lost)>>,
    pub(super) repeated: Mutex<Repeated>,
    pub(super) calls: Arc<Shares>,
    /// The number of the last visit.
    visited: AtomicU64,
}

/// How a session is opened.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) rules: TransportRules,
    /// The listener's own: nobody else comes by all that share a session.
    pub(super) address: Address,
    pub(super) idle_ms: u64,
    /// Sessions of those who bear tokens, of all paths together; over it that one ends which nobody
    /// has asked for anything for longest.
    pub(super) most_by_token: usize,
    pub(super) answers: Room,
}

impl Pool {
    pub(super) fn new(inside: Arc<dyn Inside>) -> Self {
        Self { inside, seats: Mutex::default(), visits: AtomicU64::new(0) }
    }

    pub(super) fn inside(&self) -> &dyn Inside {
        &*self.inside
    }

    pub(super) fn seat(&self, key: &SessionKey, most_by_token: usize) -> Arc<SessionSeat> {
        let visit = self.visits.fetch_add(1, Ordering::Relaxed);
        let mut seats = self.seats.lock();
        if !seats.contains_key(key) && key.is_by_token {
            make_room(&mut seats, most_by_token);
        }
        let seat = Arc::clone(seats.entry(key.clone()).or_default());
        seat.visited.store(visit, Ordering::Relaxed);
        seat
    }

    /// Forgets all others. Their sessions end when nobody waits for an answer of theirs.
    pub(super) fn retain(&self, is_there: impl Fn(&SessionKey) -> bool) {
        self.seats.lock().retain(|key, _| is_there(key));
    }

    /// Makes requests by the session of a way in, in their order. Those that were not answered by
    /// the deadline are given up.
    pub(super) async fn ask(
        &self,
        key: &SessionKey,
        opening: &Opening,
        messages: &[Message],
        deadline: Option<Deadline>,
    ) -> Vec<Outcome> {
        let seat = self.seat(key, opening.most_by_token);
        let mut outcomes: Vec<Option<Outcome>> = messages.iter().map(|_| None).collect();
        // What has not left may be asked of another session: an idle one may end in this moment.
        for _ in 0..TRIES {
            if outcomes.iter().all(Option::is_some) {
                break;
            }
            match self.session(&seat, key, opening) {
                Ok(session) => ask_session(&session, messages, &mut outcomes, deadline).await,
                Err(lost) => {
                    let left = outcomes.iter_mut().filter(|outcome| outcome.is_none());
                    left.for_each(|outcome| *outcome = Some(Err(lost.clone())));
                }
            }
        }
        let lost = || Err(Lost::Refused("its sessions end as soon as they begin".into()));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost)).collect()
    }

    /// The session of a way in, or a new one.
    fn session(
        &self,
        seat: &Arc<SessionSeat>,
        key: &SessionKey,
        opening: &Opening,
    ) -> Result<Handle, Lost> {
        let mut session = seat.session.lock();
        if let Some(handle) = session.as_ref().filter(|handle| !handle.is_closed()) {
            return Ok(handle.clone());
        }
        if let Some((at, lost)) = &*seat.refused.lock()
            && at.elapsed() < PAUSE
        {
            return Err(lost.clone());
        }
        let inner = self.open(key, opening, opening.address)?;
        let (realm, idle_ms) = (key.realm.to_string(), opening.idle_ms);
        let terms = Terms { realm, idle_ms, room: opening.answers.clone() };
        let (handle, beginning) = Beginning::new(inner, terms);
        let seat = Arc::downgrade(seat);
        // Ends with the session, which ends with the thread at the latest.
        drop(tokio::spawn(async move {
            if let Err(lost) = beginning.run().await
                && let Some(seat) = seat.upgrade()
            {
                *seat.refused.lock() = Some((Instant::now(), lost));
            }
        }));
        *session = Some(handle.clone());
        Ok(handle)
    }

    /// A connection into the router for those who come by a way in, or for one of them from `peer`.
    pub(super) fn open(
        &self,
        key: &SessionKey,
        opening: &Opening,
        peer: Address,
    ) -> Result<Inner, Lost> {
        let appointed = Appointment {
            realm: key.realm.clone(),
            role: key.role.clone(),
            authid: key.authid.clone(),
            leaves_last: false,
        };
        let rules = opening.rules.inner(Entrance::default(), Some(appointed), true);
        let opened = self.inside.open(&Arc::new(rules), peer, false);
        opened.map_err(|error| match error {
            NotOpened::Full | NotOpened::Crowded(_) | NotOpened::Fast => Lost::Full,
            NotOpened::Failed(error) => {
                tracing::warn!(path = %key.path, %error, "no session for HTTP requests");
                Lost::Full
            }
        })
    }
}

/// Forgets those who bear tokens and were here longest ago, until there is room for one more. Their
/// sessions end when nobody waits for an answer of theirs.
fn make_room(seats: &mut BTreeMap<SessionKey, Arc<SessionSeat>>, most: usize) {
    let is_bearer = |key: &SessionKey| key.is_by_token && !key.authid.is_empty();
    while seats.keys().filter(|key| is_bearer(key)).count() >= most.max(1) {
        let bearers = seats.iter().filter(|(key, _)| is_bearer(key));
        let last = bearers.min_by_key(|(_, seat)| seat.visited.load(Ordering::Relaxed));
        let Some(key) = last.map(|(key, _)| key.clone()) else { return };
        seats.remove(&key);
    }
}

/// Makes those requests that have no outcome yet.
async fn ask_session(
    session: &Handle,
    messages: &[Message],
    outcomes: &mut [Option<Outcome>],
    deadline: Option<Deadline>,
) {
    let mut waiting = Vec::new();
    let left = outcomes.iter_mut().zip(messages).filter(|(outcome, _)| outcome.is_none());
    for (outcome, message) in left {
        match within(deadline, session.ask(message.clone())).await {
            Ok(Some(asked)) => waiting.push((outcome, asked)),
            Ok(None) => break,
            Err(late) => *outcome = Some(Err(late)),
        }
    }
    for (outcome, mut asked) in waiting {
        *outcome = match within(deadline, asked.answer()).await {
            Ok(answer) => answer,
            Err(late) => Some(Err(late)),
        };
    }
}

async fn within<T>(deadline: Option<Deadline>, what: impl Future<Output = T>) -> Result<T, Lost> {
    match deadline {
        None => Ok(what.await),
        Some(Deadline { at, ms }) => timeout_at(at, what).await.map_err(|_| Lost::Late(ms)),
    }
}

/// Sessions that a request is made to, if they end before it has left.
const TRIES: usize = 3;

/// How long nothing is tried where a session was refused, or has sent too much.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_bears_a_token_makes_way_for_others_who_do() {
        let bearer = |authid: &str| SessionKey {
            authid: authid.into(),
            is_by_token: true,
            ..SessionKey::default()
        };
        let mut seats = BTreeMap::<_, Arc<SessionSeat>>::new();
        let mut visit = |key: SessionKey, number: u64| {
            if !seats.contains_key(&key) {
                make_room(&mut seats, 3);
            }
            let seat = seats.entry(key).or_default();
            seat.visited.store(number, Ordering::Relaxed);
            seats.keys().map(|key| key.authid.to_string()).collect::<Vec<_>>().join(" ")
        };
        // Neither keys nor the way of all bearers count.
        visit(SessionKey { authid: "key".into(), ..SessionKey::default() }, 0);
        visit(bearer(""), 1);
        for (number, authid) in (2..).zip(["a", "b", "c", "a"]) {
            visit(bearer(authid), number);
        }
        assert_eq!(visit(bearer("d"), 6), " a c d key");
        assert_eq!(visit(bearer("b"), 7), " a b d key");
    }
}
