//! Messages while they pass, for operators who ask: the shards are asked again and again what they
//! have seen, and an answer goes on as long as the trace.
//!
//! A trace ends with its time, with its connection, or with this thread. Shards that are not told
//! so forget it when nobody has asked for some time.

mod lines;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router as Routes;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use hyper::body::Frame;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::ask;
use super::changes::{Asked, Desk, Refused};
use super::http::Life;
use crate::address::Network;
use crate::clock::Millis;
use crate::net::View;
use crate::net::inquiry::{
    Inquiry, MOST_TEXT_BYTES, MOST_TRACES, TraceFilter, TraceHaul, TraceRequest,
};
use crate::wamp::{SessionId, Timestamp};
use lines::{Lines, put_line};

pub(super) fn routes(desk: Desk) -> Routes {
    let seats = Arc::default();
    Routes::new().route("/api/trace", post(trace)).with_state(Stand { desk, seats })
}

/// What the handler works with.
#[derive(Clone, Debug)]
struct Stand {
    desk: Desk,
    seats: Arc<Seats>,
}

/// What is to be traced, and how much of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    session: Option<u64>,
    authid: Option<String>,
    /// What a topic or procedure, or an error, begins with.
    uri: Option<String>,
    address: Option<Network>,
    realm: Option<String>,
    #[serde(default = "usual_seconds")]
    for_seconds: u64,
    /// Lines a second.
    #[serde(default = "usual_rate")]
    rate: u32,
    /// Of each payload; 0: none.
    #[serde(default)]
    payload_bytes: usize,
}

const fn usual_seconds() -> u64 {
    USUAL_SECONDS
}

const fn usual_rate() -> u32 {
    USUAL_RATE
}

/// Why nothing is traced.
#[derive(Debug, thiserror::Error)]
enum BadOrder {
    #[error("say what to trace: `session`, `authid`, `uri` or `address`")]
    Nothing,
    #[error("there is no realm `{0}`")]
    NoRealm(String),
    #[error("there is no session {0}")]
    NoSession(u64),
    #[error("`{0}` must have {MOST_TEXT_BYTES} bytes at most")]
    Long(&'static str),
    #[error("`for_seconds` must be 1 to {MOST_SECONDS}")]
    Seconds,
    #[error("`rate` must be 1 to {MOST_RATE} lines a second")]
    Rate,
    #[error("`payload_bytes` must be {MOST_PAYLOAD_BYTES} at most")]
    Payload,
}

impl Order {
    fn filter(&self, view: &View) -> Result<TraceFilter, BadOrder> {
        let Self { session, authid, uri, address, realm, .. } = self;
        if session.is_none() && authid.is_none() && uri.is_none() && address.is_none() {
            return Err(BadOrder::Nothing);
        }
        for (name, text) in [("authid", authid), ("uri", uri), ("realm", realm)] {
            if text.as_ref().is_some_and(|text| text.len() > MOST_TEXT_BYTES) {
                return Err(BadOrder::Long(name));
            }
        }
        let edition = view.router().edition();
        if let Some(realm) = realm
            && edition.domain(realm).is_none()
        {
            return Err(BadOrder::NoRealm(realm.clone()));
        }
        let id = session.map(|session| {
            let id = SessionId::new(session).ok_or(BadOrder::NoSession(session))?;
            let is_here = edition.realms().any(|realm| realm.find(id).is_some());
            if is_here { Ok(id) } else { Err(BadOrder::NoSession(session)) }
        });
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        Ok(TraceFilter {
            session: id.transpose()?,
            authid: text(authid),
            realm: text(realm),
            address: *address,
            uri: text(uri),
        })
    }

    fn check(&self) -> Result<(), BadOrder> {
        if !(1..=MOST_SECONDS).contains(&self.for_seconds) {
            return Err(BadOrder::Seconds);
        }
        if !(1..=MOST_RATE).contains(&self.rate) {
            return Err(BadOrder::Rate);
        }
        if self.payload_bytes > MOST_PAYLOAD_BYTES {
            return Err(BadOrder::Payload);
        }
        Ok(())
    }
}

async fn trace(State(stand): State<Stand>, request: Request) -> Result<Response, Refused> {
    let life = request.extensions().get::<Life>().cloned();
    let asked = Asked::from(request, &stand.desk).await?;
    let order: Order = asked.read()?;
    order.check().map_err(Refused::unclear)?;
    let view = stand.desk.view;
    let filter = order.filter(&view).map_err(Refused::unclear)?;
    let seat = Seats::take(&stand.seats).ok_or_else(|| {
        let text = format!("{MOST_TRACES} traces run, which is as many as may");
        Refused::Bad(StatusCode::TOO_MANY_REQUESTS, text)
    })?;
    let time = Duration::from_secs(order.for_seconds);
    if let Some(life) = life {
        life.prolong(time + AFTERWARDS);
    }
    let Order { session, authid, uri, realm, payload_bytes, rate, .. } = &order;
    let address = order.address.map(|network| network.to_string());
    let (operator, seconds) = (asked.peer, order.for_seconds);
    tracing::info!(
        %operator, session, authid, uri, address, realm, seconds, payload_bytes, "a trace begins"
    );
    let number = stand.seats.numbers.fetch_add(1, Ordering::Relaxed);
    let (rate, payload_bytes) = (*rate, *payload_bytes);
    let order = AtomicU64::default();
    let request = TraceRequest { number, place: seat.place, filter, rate, payload_bytes, order };
    let (lines, body) = mpsc::channel(BATCHES);
    let tracing = Tracing { view, request: Arc::new(request), _seat: seat };
    tokio::spawn(tracing.run(time, lines));
    let body = Body::new(LineBody(body));
    Ok(([(CONTENT_TYPE, "application/jsonl")], body).into_response())
}

/// The places of traces that run.
#[derive(Debug, Default)]
struct Seats {
    taken: Mutex<[bool; MOST_TRACES]>,
    numbers: AtomicU64,
}

/// One place, which is free again when this is dropped.
#[derive(Debug)]
struct Seat {
    place: u8,
    of: Arc<Seats>,
}

impl Seats {
    fn take(all: &Arc<Self>) -> Option<Seat> {
        let mut taken = all.taken.lock();
        let free = taken.iter().position(|taken| !taken)?;
        taken[free] = true;
        Some(Seat { place: u8::try_from(free).ok()?, of: Arc::clone(all) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.of.taken.lock()[usize::from(self.place)] = false;
    }
}

/// A trace that runs. It ends everywhere when this is dropped, by whom it may be.
#[derive(Debug)]
struct Tracing {
    view: View,
    request: Arc<TraceRequest>,
    _seat: Seat,
}

impl Drop for Tracing {
    fn drop(&mut self) {
        for shard in ask::shards(&self.view) {
            self.view.inquire(shard, Inquiry::EndTrace(self.request.number));
        }
        tracing::info!("a trace ends");
    }
}

impl Tracing {
    async fn run(self, time: Duration, to: mpsc::Sender<Bytes>) {
        let began = Instant::now();
        let until = began + time;
        let mut questions: Vec<_> = ask::shards(&self.view).map(|shard| (shard, None)).collect();
        let mut lines = Lines::new(self.request.rate);
        let (mut is_first, mut interrupted) = (true, 0);
        let mut begun = BTreeSet::new();
        loop {
            let is_last = Instant::now() >= until;
            let (began_ms, ends) = (wall_clock_ms(), Instant::now() + ROUND);
            for (shard, question) in &mut questions {
                question.get_or_insert_with(|| self.ask(*shard, until));
            }
            for (shard, question) in &mut questions {
                let Some(heard) = question else { continue };
                if let Ok(answer) = timeout_at(ends, heard).await {
                    *question = None;
                    let haul = answer.unwrap_or_default();
                    interrupted += u64::from(haul.is_beginning && !begun.insert(shard.0));
                    lines.add(haul);
                }
            }
            // Each shard comes first in its turn, in case there is not room for all.
            questions.rotate_left(1);
            let mut text = String::new();
            let is_on = begun.len() == questions.len() || began.elapsed() > BEGINNING;
            if is_first && (is_on || is_last) {
                is_first = false;
                put_line(&mut text, &self.first_line(time, questions.len()).to_string());
            }
            // What shards deal with from then on is dated from then on.
            let settled_ms = if is_last { i64::MAX } else { began_ms };
            let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            if !is_first {
                text.push_str(&lines.take(settled_ms, settled_ms - PATIENCE_MS, Millis(now)));
            }
            if is_last {
                let silent = questions.iter().filter(|(_, question)| question.is_some());
                let silent: Vec<_> = silent.map(|(shard, _)| shard.0).collect();
                put_line(&mut text, &last_line(&lines, interrupted, &silent).to_string());
            }
            if !text.is_empty()
                && !matches!(timeout(PATIENCE, to.send(text.into())).await, Ok(Ok(())))
            {
                return;
            }
            if is_last {
                return;
            }
            tokio::select! {
                () = to.closed() => return,
                () = sleep_until(ends.min(until)) => {}
            }
        }
    }

    fn ask(&self, shard: crate::router::ShardId, until: Instant) -> oneshot::Receiver<TraceHaul> {
        let (said, heard) = oneshot::channel();
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        // One step more, so that the last question finds it.
        let left_ms = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(AFTERWARDS_MS);
        let answer = Box::new(move |answer| {
            // The trace may have ended.
            let _ = said.send(answer);
        });
        let request = Arc::clone(&self.request);
        self.view.inquire(shard, Inquiry::Trace { request, left_ms, answer });
        heard
    }

    fn first_line(&self, time: Duration, shards: usize) -> Value {
        json!({
            "begun": Timestamp::from_unix_ms(wall_clock_ms()).to_string(),
            "for_seconds": time.as_secs(),
            "rate": self.request.rate,
            "payload_bytes": self.request.payload_bytes,
            "shards": shards,
        })
    }
}

fn last_line(lines: &Lines, interrupted: u64, unanswered_shards: &[u8]) -> Value {
    json!({
        "ended": Timestamp::from_unix_ms(wall_clock_ms()).to_string(),
        "shown": lines.shown,
        "left_out": lines.left_out,
        "lost": lines.lost,
        "interrupted": interrupted,
        "unanswered_shards": unanswered_shards,
    })
}

/// Lines, as they come.
struct LineBody(mpsc::Receiver<Bytes>);

impl hyper::body::Body for LineBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|lines| Some(Ok(Frame::data(lines?))))
    }
}

/// By the clock that lines are dated by.
#[expect(clippy::disallowed_methods, reason = "the wall clock of the thread `control`")]
fn wall_clock_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

const USUAL_SECONDS: u64 = 60;
const MOST_SECONDS: u64 = 600;
const USUAL_RATE: u32 = 100;
const MOST_RATE: u32 = 1_000;
const MOST_PAYLOAD_BYTES: usize = 4_096;

/// How often shards are asked.
const ROUND: Duration = Duration::from_millis(200);

/// How long the first line waits for all shards to trace.
const BEGINNING: Duration = Duration::from_secs(2);

/// How long a line waits for a shard to count receivers, in milliseconds.
const PATIENCE_MS: i64 = 1_000;

/// How long a reader may take for what is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Batches of lines that wait for the reader.
const BATCHES: usize = 4;

/// What a connection and a shard's trace live longer than the trace: for the last lines.
const AFTERWARDS: Duration = Duration::from_secs(10);
const AFTERWARDS_MS: u64 = 2_000;
