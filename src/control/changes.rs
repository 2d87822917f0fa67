//! What operators change over the admin listener, behind the token.

use std::time::Instant;

use axum::Router as Routes;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::desk::{Declined, Desk, Drain, Operator};
use super::token::Denied;
use crate::address::Address;

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
    Declined(Declined),
    TooLong,
    /// As many as may do it already.
    Busy(String),
}

impl Refused {
    pub(super) fn unclear(what: impl ToString) -> Self {
        Self::Declined(Declined::Unclear(what.to_string()))
    }
}

impl From<Declined> for Refused {
    fn from(declined: Declined) -> Self {
        Self::Declined(declined)
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
            Self::Declined(declined) => {
                let status = match declined {
                    Declined::Unclear(_) => StatusCode::BAD_REQUEST,
                    Declined::Forbidden(_) => StatusCode::FORBIDDEN,
                    Declined::Missing(..) => StatusCode::NOT_FOUND,
                    Declined::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
                    Declined::Unavailable(_) | Declined::NoTurn(_) | Declined::Unawaited => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                    Declined::Late => StatusCode::GATEWAY_TIMEOUT,
                };
                said(status, &json!({ "error": declined.to_string() }))
            }
            Self::Busy(text) => said(StatusCode::TOO_MANY_REQUESTS, &json!({ "error": text })),
            Self::TooLong => {
                let text =
                    format!("the body has more than {MOST_BODY_BYTES} bytes, or did not come");
                said(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": text }))
            }
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
        let body = body.map_err(|_| Refused::TooLong)?;
        Ok(Self { peer, body })
    }

    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Declined> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Declined::Unclear(format!("the body is not as it must be: {error}")))
    }

    fn operator(&self) -> Operator {
        Operator::Peer(self.peer)
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
    said(StatusCode::OK, &desk.record.last_reload(may_see_all, usize::MAX))
}

async fn reload(State(desk): State<Desk>, request: Request) -> Result<Response, Refused> {
    let asked = Asked::from(request, &desk).await?;
    Ok(done(&desk.reload(&asked.operator(), usize::MAX).await?))
}

async fn log_level(State(desk): State<Desk>, request: Request) -> Result<Response, Refused> {
    let asked = Asked::from(request, &desk).await?;
    Ok(done(&desk.set_level(&asked.operator(), asked.read()?).await?))
}

async fn drain(State(desk): State<Desk>, request: Request) -> Result<Response, Refused> {
    let asked = Asked::from(request, &desk).await?;
    let order = if asked.body.is_empty() { Drain::default() } else { asked.read()? };
    Ok(done(&desk.drain(&asked.operator(), order).await?))
}

async fn kick_sessions(State(desk): State<Desk>, request: Request) -> Result<Response, Refused> {
    let asked = Asked::from(request, &desk).await?;
    Ok(done(&desk.kick(&asked.operator(), asked.read()?).await?))
}

/// Who sits at the other end of a connection: `serve` puts it into each request.
pub(super) fn peer_of(request: &Request) -> Address {
    request.extensions().get::<Address>().copied().expect("each connection has a peer")
}

fn done(value: &Value) -> Response {
    said(StatusCode::OK, value)
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
