//! What operators change, whichever way they ask for it: by orders to the thread that owns what is
//! changed, or by ending sessions. Each change is said in the log, with its operator.
//!
//! One change is under way at a time; others wait for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::time::timeout;

use super::kick::{Kick, KickError, kick};
use super::record::{Kind, Record, said};
use super::token::Lock;
use crate::address::Address;
use crate::authorization::Standing;
use crate::config::Changes;
use crate::net::{LoneTls, View, Waiter};
use crate::router::{Profile, Realm};
use crate::wamp::{WampError, quote};

/// What the owner of the router is to do. Whoever takes an order answers it.
#[derive(Debug)]
pub enum Order {
    /// To read the configuration again. The answer is what that changes, or why it was refused.
    Reload(Answer<Result<Changes, String>>),
    /// To log by this level or filter from now on, or to say why it is none.
    LogLevel(String, Answer<Result<(), String>>),
    /// To drain within so many milliseconds, or as long as the configuration says, and stop. The
    /// answer is how long that is.
    Drain(Option<u64>, Answer<u64>),
}

/// The way back to whoever gave an order, and may have gone.
#[derive(Debug)]
pub struct Answer<T>(oneshot::Sender<T>);

impl<T> Answer<T> {
    pub fn give(self, answer: T) {
        let _ = self.0.send(answer);
    }
}

/// What changes are made with.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) view: View,
    /// Of the admin listener itself.
    pub(super) tls: Option<Arc<LoneTls>>,
    pub(super) lock: Arc<Lock>,
    pub(super) record: Arc<Record>,
    pub(super) orders: Sender<Order>,
    /// Held while something is changed.
    pub(super) turn: Arc<Mutex<()>>,
}

/// Who asks for a change, as the log says it.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    /// Over the admin listener, from here.
    Peer(Address),
    /// As a WAMP client.
    Session { waiter: Waiter, profile: Arc<Profile>, realm: Arc<Realm> },
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Session { waiter, profile, realm } => {
                let (authid, session) = (quote(&profile.authid), waiter.session.session.get());
                write!(f, "{authid} as session {session} on {}", realm.name())
            }
        }
    }
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Declined {
    #[error("{0}")]
    Unclear(String),
    /// What is to be changed is not there.
    #[error("{1}")]
    Missing(WampError, String),
    /// It is understood, and cannot be had.
    #[error("{0}")]
    Refused(String),
    /// Whoever asks may not, or not any more.
    #[error("the role {} may not do this, or not any more", quote(_0))]
    Forbidden(Box<str>),
    #[error("{0}")]
    Unavailable(&'static str),
    /// Its turn has not come.
    #[error("others still come first after {} s, nothing was done: try again later", _0.as_secs())]
    NoTurn(Duration),
    /// Whoever asked has left, or has given up.
    #[error("nobody waits for this any more, and nothing was done")]
    Unawaited,
    #[error("it is not done after {} s, and goes on", PATIENCE.as_secs())]
    Late,
}

/// What to log from now on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    level: String,
}

/// How long a drain may take; `None`: as long as the configuration says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Drain {
    drain_ms: Option<u64>,
}

impl Desk {
    /// What was changed, within `most_bytes`; see [`said`].
    pub(super) async fn reload(
        &self,
        operator: &Operator,
        most_bytes: usize,
    ) -> Result<Value, Declined> {
        tracing::info!(%operator, "a reload was asked for");
        let outcome = self.order(operator, Order::Reload).await?;
        outcome.map(|changes| said(&changes, most_bytes)).map_err(Declined::Refused)
    }

    pub(super) async fn set_level(
        &self,
        operator: &Operator,
        Level { level }: Level,
    ) -> Result<Value, Declined> {
        // Said by the level of before, and after it by the new one.
        tracing::info!(%operator, level, "another log level was asked for");
        let outcome = self.order(operator, |answer| Order::LogLevel(level.clone(), answer)).await;
        let outcome = outcome?;
        self.record.count(Kind::LogLevel, outcome.is_ok());
        outcome.map_err(Declined::Refused)?;
        tracing::info!(%operator, level, "the log level was changed");
        Ok(json!({ "level": level }))
    }

    pub(super) async fn drain(
        &self,
        operator: &Operator,
        Drain { drain_ms }: Drain,
    ) -> Result<Value, Declined> {
        if drain_ms.is_some_and(|ms| ms > MOST_DRAIN_MS) {
            self.record.count(Kind::Drain, false);
            return Err(Declined::Unclear(format!("`drain_ms` must be {MOST_DRAIN_MS} at most")));
        }
        tracing::info!(%operator, drain_ms, "a drain was asked for");
        let drain_ms = self.order(operator, |answer| Order::Drain(drain_ms, answer)).await?;
        self.record.count(Kind::Drain, true);
        Ok(json!({ "drain_ms": drain_ms }))
    }

    pub(super) async fn kick(&self, operator: &Operator, order: Kick) -> Result<Value, Declined> {
        let Kick { realm, session, authid, reason, .. } = &order;
        tracing::info!(%operator, realm, session, authid, reason, "a kick was asked for");
        // Done as a whole, also if whoever asked has gone.
        let (desk, operator) = (self.clone(), operator.clone());
        let kicking = tokio::spawn(async move {
            let _turn = desk.turn_of(&operator).await?;
            let outcome = kick(&desk.view, &order).await;
            desk.record.count(Kind::Kick, outcome.is_ok());
            if let Ok(kicked) = &outcome {
                tracing::info!(%operator, kicked, "sessions were kicked");
            }
            Ok::<_, Declined>(outcome)
        });
        let outcome = kicking.await.map_err(|_| STOPPING)??;
        let kicked = outcome.map_err(|error| match error {
            KickError::NoSuchSession { .. } => {
                Declined::Missing(WampError::NoSuchSession, error.to_string())
            }
            KickError::NoSuchRealm(_) => {
                Declined::Missing(WampError::NoSuchRealm, error.to_string())
            }
            _ => Declined::Unclear(error.to_string()),
        })?;
        Ok(json!({ "kicked": kicked }))
    }

    /// Waits for the turn of an operator, for [`TURN_PATIENCE`] at most. Meanwhile the operator may
    /// have lost the right to it, or have left.
    async fn turn_of(&self, operator: &Operator) -> Result<MutexGuard<'_, ()>, Declined> {
        let turn = await_turn(&self.turn, TURN_PATIENCE).await?;
        if let Operator::Session { waiter, profile, realm } = operator {
            if waiter.has_left() {
                return Err(Declined::Unawaited);
            }
            if self.view.router().edition().standing(realm, profile) != Standing::Actor {
                return Err(Declined::Forbidden(profile.authrole.clone()));
            }
        }
        Ok(turn)
    }

    /// Gives an order, and waits for what comes of it: for [`PATIENCE`] when its turn has come.
    async fn order<T>(
        &self,
        operator: &Operator,
        order: impl FnOnce(Answer<T>) -> Order,
    ) -> Result<T, Declined> {
        let _turn = self.turn_of(operator).await?;
        let (answer, heard) = oneshot::channel();
        self.orders.try_send(order(Answer(answer))).map_err(|error| match error {
            TrySendError::Full(_) => Declined::Unavailable("orders of before are not done"),
            TrySendError::Disconnected(_) => STOPPING,
        })?;
        match timeout(PATIENCE, heard).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(STOPPING),
            Err(_) => Err(Declined::Late),
        }
    }
}

/// Waits for what others have, one after the other.
///
/// # Errors
/// [`Declined::NoTurn`] if they still have it then.
pub(super) async fn await_turn(
    turn: &Mutex<()>,
    patience: Duration,
) -> Result<MutexGuard<'_, ()>, Declined> {
    timeout(patience, turn.lock()).await.map_err(|_| Declined::NoTurn(patience))
}

const STOPPING: Declined = Declined::Unavailable("the router is stopping");

/// A day, as `timeouts.lame_duck_ms` may be.
const MOST_DRAIN_MS: u64 = 24 * 60 * 60 * 1_000;

/// How long a change waits for those before it. The command waits for 40 s, as a session does for
/// the answer to its call (`shard::management`): who is told less than the outcome is told in time
/// that nothing was done.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Orders that wait for the owner of the router. More than one does only if he is late.
pub(super) const MOST_ORDERS: usize = 4;

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn nobody_waits_for_ever_for_a_turn() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let turn = Mutex::new(());
            let first = await_turn(&turn, Duration::ZERO).await;
            let second = await_turn(&turn, Duration::ZERO).await;
            let said = second.map(|_| ()).unwrap_err().to_string();
            assert!(said.contains("nothing was done: try again later"), "{said}");
            drop(first);
            assert!(await_turn(&turn, Duration::ZERO).await.is_ok());
        });
    }
}
