//! Publications and calls by HTTP, for backends and pages that speak no WAMP: at paths of a
//! listener, as a realm, a role and keys of the path say.
//!
//! To everybody else an HTTP client is a session: all who come by one path with one key share it.
//! What is malformed is refused here, since in that session it would be a violation of the
//! protocol, and end it for all.

mod body;
mod door;
mod pool;
mod repeated;
mod request;
mod room;
mod said;
mod session;

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, RETRY_AFTER, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use self::door::{Denied, Door, Told};
use self::pool::{Deadline, Opening, Outcome, Pool, SessionKey};
use self::repeated::{Begun, LONGEST_KEY};
use self::request::{Asked, Message, RequestLimits};
use self::room::{Room, counted};
use self::session::Lost;
use super::answers::set;
use super::content::Content;
use super::inner::Inside;
use super::site::{Caller, Sites};
use crate::address::Address;
use crate::config::{Config, HttpUse, Listener, ListenerPath, allowed_origins};
use crate::router::Counters;
use crate::transport::TransportRules;

/// What the paths of all listeners share.
#[derive(Debug)]
pub(crate) struct Bridges {
    pool: Pool,
    bodies: Room,
    answers: Room,
    counters: Arc<Counters>,
}

/// One path where clients publish or call.
#[derive(Debug)]
pub(super) struct Bridge {
    http: HttpUse,
    door: Door,
    limits: RequestLimits,
    body_bytes: usize,
    room_bytes: usize,
    body_ms: u64,
    answer_ms: u64,
    opening: Opening,
}

/// What a client gets.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    json: Bytes,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Bridges {
    /// `inside`: the way into the router. To be made before the thread `http` runs, which counts.
    pub(crate) fn new(inside: Arc<dyn Inside>, counters: Arc<Counters>) -> Self {
        let (bodies, answers) = (Room::new(0), Room::new(0));
        Self { pool: Pool::new(inside), bodies, answers, counters }
    }

    /// Forgets ways in that are not configured any more: no site has them.
    pub(crate) fn follow(&self, sites: &Sites) {
        let is_known = |key: &SessionKey| {
            let mut bridges = sites.values().flat_map(|site| site.bridges());
            bridges.any(|bridge| bridge.keys().any(|known| known == key))
        };
        self.pool.retain(is_known);
    }
}

impl Bridge {
    /// `None` if nobody publishes or calls at this path. `rules` and `address` are its listener's.
    pub(super) fn new(
        apart: &ListenerPath,
        listener: &Listener,
        config: &Config,
        rules: &TransportRules,
        address: Address,
    ) -> Option<Self> {
        let http = apart.http?;
        let key = |authid: &str, role: &Option<String>| SessionKey {
            listener: rules.listener,
            path: apart.path.as_str().into(),
            realm: apart.realm.clone().unwrap_or_default().into(),
            role: role.clone().unwrap_or_default().into(),
            authid: authid.into(),
        };
        let keys = apart.keys.iter().filter_map(|one| {
            let role = if one.role.is_some() { &one.role } else { &apart.role };
            Some((one.hash.clone()?, key(&one.name, role)))
        });
        let keys: Vec<_> = keys.collect();
        // If there is any key, one is demanded.
        let open = apart.keys.is_empty().then(|| key(&apart.path, &apart.role));
        let origins = apart.origins.as_ref().unwrap_or(&listener.origins);
        let door = Door {
            path: apart.path.clone(),
            networks: apart.require_ip.clone(),
            origins: allowed_origins(origins, config.development),
            open,
            keys,
            told: Told::default(),
        };
        let (limits, timeouts) = (&config.limits, &config.timeouts);
        let batch = limits.http_batch;
        let (message_bytes, nesting) = (limits.message_bytes, limits.nesting);
        let rules = rules.clone();
        let idle_ms = timeouts.http_session_ms;
        Some(Self {
            http,
            door,
            limits: RequestLimits { message_bytes, nesting, batch },
            body_bytes: apart.body_bytes.unwrap_or(message_bytes),
            room_bytes: limits.http_bodies_bytes,
            body_ms: timeouts.http_body_ms,
            answer_ms: timeouts.http_answer_ms,
            opening: Opening { rules, address, idle_ms, answers: Room::new(0) },
        })
    }

    fn keys(&self) -> impl Iterator<Item = &SessionKey> {
        self.door.open.iter().chain(self.door.keys.iter().map(|(_, key)| key))
    }

    /// Answers one request.
    pub(super) async fn answer(
        &self,
        head: &Parts,
        body: Incoming,
        caller: Caller,
        bridges: &Arc<Bridges>,
    ) -> Response<Content> {
        if head.method == Method::OPTIONS {
            return self.preflight(&head.headers);
        }
        let reply = self.serve(head, body, caller, bridges).await;
        let mut answer = reply.unwrap_or_else(|refused| refused).into_response();
        self.share(&head.headers, answer.headers_mut());
        answer
    }

    async fn serve(
        &self,
        head: &Parts,
        body: Incoming,
        caller: Caller,
        bridges: &Arc<Bridges>,
    ) -> Result<Reply, Reply> {
        if !matches!(head.method, Method::POST | Method::PUT) {
            let text = "only POST and PUT are supported here";
            let refused = Reply::refused(StatusCode::METHOD_NOT_ALLOWED, text);
            return Err(refused.with(ALLOW, METHODS).closing());
        }
        if caller.is_stopping {
            return Err(Reply::lost(&Lost::Stopping).closing());
        }
        let key = self.door.enter(&head.headers, caller.peer).map_err(|denied| {
            if denied == Denied::WrongKey {
                bridges.counters.http_keys_refused.increment();
            }
            denied_reply(denied).closing()
        })?;
        let repeated = self.repetition(&head.headers).map_err(Reply::closing)?;
        let refuse_body = |fault: body::BodyFault| {
            let refused = Reply::refused(fault.status(), &fault.to_string()).closing();
            match fault {
                body::BodyFault::NoRoom => refused.later(1),
                _ => refused,
            }
        };
        body::judge(&head.headers, self.body_bytes).map_err(refuse_body)?;
        let mut taken = bridges.bodies.with_most(self.room_bytes).enter();
        let body = body::read(body, self.body_bytes, self.body_ms, &mut taken).await;
        let body = body.map_err(refuse_body)?;
        let asked = request::read(&body, self.http, &self.limits);
        let mut asked =
            asked.map_err(|fault| Reply::refused(fault.status(), &fault.to_string()))?;
        let taken = Arc::new(taken);
        for message in &mut asked.messages {
            message.taken = Some(Arc::clone(&taken));
        }
        match repeated {
            None => {
                let deadline = Deadline::in_ms(self.answer_ms);
                Ok(self.visit(key, bridges).ask(&asked, Some(deadline)).await.0)
            }
            Some(name) => self.ask_once(key, name, &body, asked, bridges).await,
        }
    }

    fn visit(&self, key: &SessionKey, bridges: &Arc<Bridges>) -> Visit {
        let answers = bridges.answers.with_most(self.room_bytes);
        let opening = Opening { answers, ..self.opening.clone() };
        Visit { key: key.clone(), opening, bridges: Arc::clone(bridges) }
    }

    /// The key by which a request may come again.
    fn repetition<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h [u8]>, Reply> {
        let bad = |text: &str| Reply::refused(StatusCode::BAD_REQUEST, text);
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if self.http == HttpUse::Call {
            return Err(bad(
                "`Idempotency-Key` is for publications: what a call does, and whether \
                it may be done twice, its callee knows",
            ));
        }
        let value = value.as_bytes();
        let is_good = (1..=LONGEST_KEY).contains(&value.len()) && values.next().is_none();
        if !is_good {
            return Err(bad("`Idempotency-Key` must stand there once, with 1 to 255 characters"));
        }
        Ok(Some(value))
    }

    /// Makes requests that are to be made once, whatever becomes of who asks: another one with the
    /// same key learns what has come of them.
    async fn ask_once(
        &self,
        key: &SessionKey,
        name: &[u8],
        body: &[u8],
        asked: Asked,
        bridges: &Arc<Bridges>,
    ) -> Result<Reply, Reply> {
        let seat = bridges.pool.seat(key);
        let begun = seat.repeated.lock().begin(name, body, Instant::now());
        let name = match begun {
            Begun::New(name) => name,
            Begun::Known(json) => return Ok(Reply::json(StatusCode::OK, json)),
            refused => return Err(repeated_reply(&refused)),
        };
        let (reply, replied) = oneshot::channel();
        let visit = self.visit(key, bridges);
        // It ends with the session, as each of its requests does.
        drop(tokio::spawn(async move {
            let (answer, is_done) = visit.ask(&asked, None).await;
            let mut repeated = seat.repeated.lock();
            match is_done {
                // What is remembered is no answer on its way.
                true => repeated.finish(name, Bytes::copy_from_slice(&answer.json)),
                false => repeated.forget(name),
            }
            drop(repeated);
            let _ = reply.send(answer);
        }));
        let patience = std::time::Duration::from_millis(self.answer_ms);
        match timeout(patience, replied).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(Reply::lost(&Lost::Stopping)),
            Err(_) => Err(Reply::lost(&Lost::Late(self.answer_ms))),
        }
    }

    /// What a browser asks before it sends a request of another origin's page.
    fn preflight(&self, headers: &HeaderMap) -> Response<Content> {
        let mut answer = Response::new(Content::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        set(&mut answer, ALLOW, METHODS);
        if self.share(headers, answer.headers_mut()) {
            set(&mut answer, ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            set(&mut answer, ACCESS_CONTROL_ALLOW_HEADERS, SHARED_HEADERS);
            set(&mut answer, ACCESS_CONTROL_MAX_AGE, "600");
        }
        answer
    }

    /// Says whose pages may read the answer. `false`: none but those of the same origin. Cookies
    /// count for nothing here, so they are not allowed for.
    fn share(&self, headers: &HeaderMap, fields: &mut HeaderMap) -> bool {
        let (origin, varies) = self.door.shared_with(headers);
        if varies {
            fields.append(VARY, HeaderValue::from_static("origin"));
        }
        let is_shared = origin.is_some();
        if let Some(origin) = origin {
            fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        is_shared
    }
}

/// One client's requests on their way.
#[derive(Debug)]
struct Visit {
    key: SessionKey,
    opening: Opening,
    bridges: Arc<Bridges>,
}

impl Visit {
    /// The reply, and whether something was done.
    async fn ask(&self, asked: &Asked, deadline: Option<Deadline>) -> (Reply, bool) {
        let Self { key, opening, bridges } = self;
        let outcomes = bridges.pool.ask(key, opening, &asked.messages, deadline).await;
        for (outcome, message) in outcomes.iter().zip(&asked.messages) {
            self.count(outcome, message);
        }
        let is_done = outcomes.iter().flatten().any(|answer| answer.is_done);
        (Reply::of(outcomes, asked.is_list), is_done)
    }

    fn count(&self, outcome: &Outcome, message: &Message) {
        let counters = &self.bridges.counters;
        match (outcome, message.http) {
            (Ok(answer), HttpUse::Publish) if answer.is_done => {
                counters.http_publications.increment();
            }
            (Ok(_), HttpUse::Call) => counters.http_calls.increment(),
            _ => {}
        }
    }
}

impl Reply {
    fn json(status: StatusCode, json: impl Into<Bytes>) -> Self {
        Self { status, json: json.into(), fields: Vec::new() }
    }

    /// As crossbar refuses: the sentence is the error.
    fn refused(status: StatusCode, text: &str) -> Self {
        Self::json(
            status,
            serde_json::json!({ "error": text, "args": [], "kwargs": {} }).to_string(),
        )
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.fields.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The connection ends with it: what else comes is not read.
    fn closing(self) -> Self {
        self.with(CONNECTION, "close")
    }

    fn later(mut self, seconds: u16) -> Self {
        self.fields.push((RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }

    fn lost(lost: &Lost) -> Self {
        let (status, later) = match lost {
            Lost::Stopping => (StatusCode::SERVICE_UNAVAILABLE, Some(5)),
            Lost::OverRate => (StatusCode::TOO_MANY_REQUESTS, Some(1)),
            Lost::Late(_) => (StatusCode::GATEWAY_TIMEOUT, None),
            Lost::Ended(_) => (StatusCode::BAD_GATEWAY, None),
            Lost::Full | Lost::Refused(_) | Lost::NoRoom => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(1))
            }
        };
        let refused = Self::refused(status, &lost.to_string());
        later.into_iter().fold(refused, Self::later)
    }

    /// Of a list the answers to those that were answered, and errors for the others; if nobody
    /// was asked for anything, the reason for that.
    fn of(mut outcomes: Vec<Outcome>, is_list: bool) -> Self {
        let none = outcomes.iter().all(Result::is_err).then(|| outcomes.first()).flatten();
        if let Some(Err(lost)) = none {
            return Self::lost(lost);
        }
        if !is_list && let Some(Ok(answer)) = outcomes.pop() {
            let json = counted(answer.json.into_bytes(), vec![answer.taken]);
            return Self::json(StatusCode::OK, json);
        }
        let (mut json, mut taken) = (Vec::from(*b"["), Vec::new());
        for outcome in outcomes {
            if json.len() > 1 {
                json.push(b',');
            }
            match outcome {
                Ok(answer) => {
                    json.extend_from_slice(answer.json.as_bytes());
                    taken.push(answer.taken);
                }
                Err(lost) => json.extend_from_slice(lost.to_json().as_bytes()),
            }
        }
        json.push(b']');
        Self::json(StatusCode::OK, counted(json, taken))
    }

    fn into_response(self) -> Response<Content> {
        let Self { status, json, fields } = self;
        let mut answer = Response::new(Content::of(json));
        *answer.status_mut() = status;
        set(&mut answer, CONTENT_TYPE, "application/json");
        set(&mut answer, CACHE_CONTROL, "no-store");
        set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
        answer.headers_mut().extend(fields);
        answer
    }
}

fn denied_reply(denied: Denied) -> Reply {
    let (status, text) = match denied {
        Denied::Network => (StatusCode::FORBIDDEN, "this address may not come here"),
        Denied::Origin => (StatusCode::FORBIDDEN, "pages of this origin may not come here"),
        Denied::NoKey => {
            (StatusCode::UNAUTHORIZED, "this needs the header `Authorization: Bearer` with a key")
        }
        Denied::WrongKey => (StatusCode::UNAUTHORIZED, "this is no key of this path"),
    };
    let reply = Reply::refused(status, text);
    match denied {
        Denied::NoKey => reply.with(WWW_AUTHENTICATE, "Bearer"),
        Denied::WrongKey => reply.with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
        Denied::Network | Denied::Origin => reply,
    }
}

fn repeated_reply(refused: &Begun) -> Reply {
    match refused {
        Begun::Other => Reply::refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this `Idempotency-Key` came with another body before",
        ),
        Begun::UnderWay => {
            let text =
                "a request with this `Idempotency-Key` is under way: ask again for its answer";
            Reply::refused(StatusCode::CONFLICT, text).later(1)
        }
        _ => {
            let text = "too many requests with an `Idempotency-Key` are under way: try again later";
            Reply::refused(StatusCode::SERVICE_UNAVAILABLE, text).later(1)
        }
    }
}

const METHODS: &str = "POST, PUT, OPTIONS";

/// What pages of other origins may send along.
const SHARED_HEADERS: &str = "authorization, content-type, idempotency-key";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
