//! What operators change: the paths that take POST, each behind the token, and the orders to the
//! thread that owns what is changed.
//!
//! One change is under way at a time; others wait for it, each as long as its connection lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router as Routes;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use crossbeam_channel::{Sender, TrySendError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use super::kick::{Kick, KickError, kick};
use super::record::{Kind, Record};
use super::token::{Denied, Lock};
use crate::address::Address;
use crate::config::Changes;
use crate::net::{LoneTls, View};

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

/// What the handlers of changes work with.
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

pub(super) fn routes(desk: Desk) -> Routes {
    Routes::new()
        .route("/api/token", get(token))
        .route("/api/changes", get(changes))
        .route("/api/reload", post(reload))
        .route("/api/log-level", post(log_level))
        .route("/api/drain", post(drain))
        .route("/api/sessions/kick", post(kick_sessions))
        .with_state(desk)
}

/// Why nothing was done.
#[derive(Debug)]
pub(super) enum Refused {
    Denied(Denied),
    /// The request is not understood, or cannot be done.
    Bad(StatusCode, String),
}

impl Refused {
    pub(super) fn unclear(what: impl ToString) -> Self {
        Self::Bad(StatusCode::BAD_REQUEST, what.to_string())
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let answer = said(self.status(), &json!({ "error": self.to_string() }));
        match self {
            Self::NotShown | Self::Wrong => {
                ([(WWW_AUTHENTICATE, "Bearer")], answer).into_response()
            }
            Self::TooMany => ([(RETRY_AFTER, "1")], answer).into_response(),
            Self::NoToken => answer,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Denied(denied) => denied.into_response(),
            Self::Bad(status, text) => said(status, &json!({ "error": text })),
        }
    }
}

/// Who asks for a change, and what stands in the body.
pub(super) struct Asked {
    pub(super) peer: Address,
    body: Bytes,
}

impl Asked {
    /// What comes of those who do not show the token is dropped, and not left unread: else their
    /// write would fail before they could read why.
    pub(super) async fn from(request: Request, desk: &Desk) -> Result<Self, Refused> {
        let peer = peer_of(&request);
        let checked = desk.lock.check(request.headers(), peer, now());
        let body = to_bytes(request.into_body(), MOST_BODY_BYTES).await;
        checked.map_err(Refused::Denied)?;
        let body = body.map_err(|_| {
            let text = format!("the body has more than {MOST_BODY_BYTES} bytes, or did not come");
            Refused::Bad(StatusCode::PAYLOAD_TOO_LARGE, text)
        })?;
        Ok(Self { peer, body })
    }

    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Refused::unclear(format!("the body is not as it must be: {error}")))
    }
}

async fn token(State(desk): State<Desk>, request: Request) -> Response {
    match desk.lock.check(request.headers(), peer_of(&request), now()) {
        Ok(()) => said(StatusCode::OK, &json!({ "right": true })),
        Err(denied) => denied.into_response(),
    }
}

/// The last reload. Why one was refused quotes lines of the file, which only those see who could
/// ask for it themselves.
async fn changes(State(desk): State<Desk>, request: Request) -> Response {
    let may_see_all = desk.lock.is_shown(request.headers());
    said(StatusCode::OK, &desk.record.last_reload(may_see_all))
}

async fn reload(State(desk): State<Desk>, request: Request) -> Result<Response, Refused> {
    let asked = Asked::from(request, &desk).await?;
    tracing::info!(operator = %asked.peer, "a reload was asked for");
    let outcome = desk.order(Order::Reload).await?;
    Ok(match outcome {
        Ok(changes) => said(StatusCode::OK, &super::record::said(&changes)),
        Err(text) => said(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": text })),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    level: String,
}

async fn log_level(State(desk): State<Desk>, request: Request) -> Result<Response, Refused> {
    let asked = Asked::from(request, &desk).await?;
    let Level { level } = asked.read()?;
    // Said by the level of before, and after it by the new one.
    let operator = asked.peer;
    tracing::info!(%operator, level, "another log level was asked for");
    let outcome = desk.order(|answer| Order::LogLevel(level.clone(), answer)).await?;
    desk.record.count(Kind::LogLevel, outcome.is_ok());
    outcome.map_err(|text| Refused::Bad(StatusCode::UNPROCESSABLE_ENTITY, text))?;
    tracing::info!(%operator, level, "the log level was changed");
    Ok(said(StatusCode::OK, &json!({ "level": level })))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Drain {
    drain_ms: Option<u64>,
}

async fn drain(State(desk): State<Desk>, request: Request) -> Result<Response, Refused> {
    let asked = Asked::from(request, &desk).await?;
    let Drain { drain_ms } = if asked.body.is_empty() { Drain::default() } else { asked.read()? };
    if drain_ms.is_some_and(|ms| ms > MOST_DRAIN_MS) {
        desk.record.count(Kind::Drain, false);
        return Err(Refused::unclear(format!("`drain_ms` must be {MOST_DRAIN_MS} at most")));
    }
    tracing::info!(operator = %asked.peer, drain_ms, "a drain was asked for");
    let drain_ms = desk.order(|answer| Order::Drain(drain_ms, answer)).await?;
    desk.record.count(Kind::Drain, true);
    Ok(said(StatusCode::OK, &json!({ "drain_ms": drain_ms })))
}

async fn kick_sessions(State(desk): State<Desk>, request: Request) -> Result<Response, Refused> {
    let asked = Asked::from(request, &desk).await?;
    let order: Kick = asked.read()?;
    let operator = asked.peer;
    let Kick { realm, session, authid, reason, .. } = &order;
    tracing::info!(%operator, realm, session, authid, reason, "a kick was asked for");
    // Done as a whole, also if whoever asked has gone.
    let kicking = tokio::spawn(async move {
        let _turn = desk.turn.lock().await;
        let outcome = kick(&desk.view, &order).await;
        desk.record.count(Kind::Kick, outcome.is_ok());
        if let Ok(kicked) = &outcome {
            tracing::info!(%operator, kicked, "sessions were kicked");
        }
        outcome
    });
    let outcome = kicking.await.map_err(|_| unavailable("the router is stopping"))?;
    let kicked = outcome.map_err(|error| match error {
        KickError::NoSuchSession { .. } | KickError::NoSuchRealm(_) => {
            Refused::Bad(StatusCode::NOT_FOUND, error.to_string())
        }
        _ => Refused::unclear(error),
    })?;
    Ok(said(StatusCode::OK, &json!({ "kicked": kicked })))
}

impl Desk {
    /// Gives an order, and waits for what comes of it: for [`PATIENCE`] when its turn has come.
    async fn order<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, Refused> {
        let _turn = self.turn.lock().await;
        let (answer, heard) = oneshot::channel();
        self.orders.try_send(order(Answer(answer))).map_err(|error| match error {
            TrySendError::Full(_) => unavailable("orders of before are not done"),
            TrySendError::Disconnected(_) => unavailable("the router is stopping"),
        })?;
        match timeout(PATIENCE, heard).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(unavailable("the router is stopping")),
            Err(_) => {
                let text = format!("it is not done after {} s, and goes on", PATIENCE.as_secs());
                Err(Refused::Bad(StatusCode::GATEWAY_TIMEOUT, text))
            }
        }
    }
}

pub(super) fn unavailable(why: &str) -> Refused {
    Refused::Bad(StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
}

/// Who sits at the other end of a connection: `serve` puts it into each request.
pub(super) fn peer_of(request: &Request) -> Address {
    request.extensions().get::<Address>().copied().expect("each connection has a peer")
}

fn said(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

#[expect(clippy::disallowed_methods, reason = "the clock of the thread `control`")]
fn now() -> Instant {
    Instant::now()
}

/// Bytes of the longest request for a change.
const MOST_BODY_BYTES: usize = 8 * 1024;

/// A day, as `timeouts.lame_duck_ms` may be.
const MOST_DRAIN_MS: u64 = 24 * 60 * 60 * 1_000;

/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Orders that wait for the owner of the router. More than one does only if he is late.
pub(super) const MOST_ORDERS: usize = 4;
