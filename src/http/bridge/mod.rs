//! Publications, calls and streams of events by HTTP, for backends and pages that speak no WAMP: at
//! paths of a listener, as a realm, a role and keys of the path say. Webhooks besides.
//!
//! To everybody else an HTTP client is a session: all who come by one path with one key share it.
//! What is malformed is refused here, since in that session it would be a violation of the
//! protocol, and end it for all.

mod bearer;
mod converted;
mod door;
mod events;
mod joining;
mod pool;
mod repeated;
mod reply;
mod request;
mod said;
mod session;
mod share;
mod subscriber;
mod webhook;

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE,
    HeaderMap, HeaderName, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

pub(crate) use self::webhook::{Crew, Letter, Webhook, WebhookView, signature};

use self::bearer::{Guest, Tokens};
use self::door::{Denied, Door, Shown, Told};
use self::events::{Known, StreamPlace, Wish};
use self::pool::{Deadline, Opening, Outcome, Pool, SessionKey};
use self::repeated::{Begun, LONGEST_KEY};
use self::reply::Reply;
use self::request::{Act, Asked, Message, RequestLimits};
use self::session::Lost;
use self::share::{Share, share_of};
use super::answers::set;
use super::body;
use super::content::Content;
use super::format::Format;
use super::inner::Inside;
use super::room::Room;
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
    /// Which ways in there are.
    known: watch::Sender<Known>,
}

/// One path where clients publish, call or listen.
#[derive(Debug)]
pub(super) struct Bridge {
    purpose: Purpose,
    door: Door,
    limits: RequestLimits,
    body_bytes: usize,
    room_bytes: usize,
    body_ms: u64,
    answer_ms: u64,
    /// Calls that a stranger may have under way.
    most_calls: usize,
    heartbeat_ms: u64,
    most_streams: u64,
    opening: Opening,
}

/// What is done at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Ask(Act),
    Events,
}

impl Purpose {
    const fn methods(self) -> &'static str {
        match self {
            Self::Ask(_) => "POST, PUT, OPTIONS",
            Self::Events => "GET, OPTIONS",
        }
    }
}

impl Bridges {
    /// `inside`: the way into the router. To be made before the thread `http` runs, which counts.
    pub(crate) fn new(inside: Arc<dyn Inside>, counters: Arc<Counters>) -> Self {
        let (bodies, answers) = (Room::new(0), Room::new(0));
        let (known, _) = watch::channel(Known::default());
        Self { pool: Pool::new(inside), bodies, answers, counters, known }
    }

    /// Knows the ways in of these sites, and forgets all others.
    pub(crate) fn follow(&self, sites: &Sites) {
        let bridges = sites.values().flat_map(|site| site.bridges());
        let known: Known = Arc::new(bridges.flat_map(Bridge::keys).cloned().collect());
        self.pool.retain(|key| known.contains(&key.way()));
        self.known.send_replace(known);
    }
}

impl Bridge {
    /// `None` if nobody publishes, calls or listens at this path. `rules` and `address` are its
    /// listener's.
    pub(super) fn new(
        apart: &ListenerPath,
        listener: &Listener,
        config: &Config,
        rules: &TransportRules,
        address: Address,
    ) -> Option<Self> {
        let purpose = match apart.http? {
            HttpUse::Publish => Purpose::Ask(Act::Publish),
            HttpUse::Call => Purpose::Ask(Act::Call),
            HttpUse::Events => Purpose::Events,
            HttpUse::LongPoll => return None,
        };
        let key = |authid: &str, role: &Option<String>| SessionKey {
            listener: rules.listener,
            path: apart.path.as_str().into(),
            realm: apart.realm.clone().unwrap_or_default().into(),
            role: role.clone().unwrap_or_default().into(),
            authid: authid.into(),
            is_by_token: false,
        };
        let keys = apart.keys.iter().filter_map(|one| {
            let role = if one.role.is_some() { &one.role } else { &apart.role };
            Some((one.hash.clone()?, key(&one.name, role)))
        });
        let keys: Vec<_> = keys.collect();
        let tokens = apart.jwt.then(|| Tokens {
            entrance: apart.entrance_name(listener),
            way: SessionKey { is_by_token: true, ..key("", &None) },
        });
        // If there is any key, or tokens are taken, one is demanded.
        let is_open = apart.keys.is_empty() && tokens.is_none();
        let open = is_open.then(|| key(&apart.path, &apart.role));
        let origins = apart.origins.as_ref().unwrap_or(&listener.origins);
        let door = Door {
            path: apart.path.clone(),
            networks: apart.require_ip.clone(),
            origins: allowed_origins(origins, config.development),
            open,
            keys,
            tokens,
            told: Told::default(),
        };
        let (limits, timeouts) = (&config.limits, &config.timeouts);
        let batch = limits.http_batch;
        let (message_bytes, nesting) = (limits.message_bytes, limits.nesting);
        let rules = rules.clone();
        let idle_ms = timeouts.http_session_ms;
        Some(Self {
            purpose,
            door,
            limits: RequestLimits { message_bytes, nesting, batch },
            body_bytes: apart.body_bytes.unwrap_or(message_bytes),
            room_bytes: limits.http_bodies_bytes,
            body_ms: timeouts.http_body_ms,
            answer_ms: timeouts.http_answer_ms,
            most_calls: share_of(limits.calls_per_session),
            heartbeat_ms: timeouts.http_heartbeat_ms,
            most_streams: limits.http_streams as u64,
            opening: Opening {
                rules,
                address,
                idle_ms,
                // The others are for everybody else.
                most_by_token: limits.http_connections / 2,
                answers: Room::new(0),
            },
        })
    }

    fn keys(&self) -> impl Iterator<Item = &SessionKey> {
        let tokens = self.door.tokens.iter().map(|tokens| &tokens.way);
        let keys = self.door.keys.iter().map(|(_, key)| key);
        self.door.open.iter().chain(keys).chain(tokens)
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
        let room = bridges.answers.with_most(self.room_bytes);
        let mut answer = match self.purpose {
            Purpose::Ask(act) => {
                let served = self.serve(act, head, body, caller, bridges).await;
                let reply = served.unwrap_or_else(|refused| refused);
                reply.into_response(Format::of_answer(&head.headers), &room)
            }
            Purpose::Events => {
                let begun = self.hear(head, caller, bridges).await;
                begun.unwrap_or_else(|refused| refused.into_response(Format::JSON, &room))
            }
        };
        self.share(&head.headers, answer.headers_mut());
        answer
    }

    async fn serve(
        &self,
        act: Act,
        head: &Parts,
        body: Incoming,
        caller: Caller,
        bridges: &Arc<Bridges>,
    ) -> Result<Reply, Reply> {
        let is_meant = matches!(head.method, Method::POST | Method::PUT);
        let Guest { key, .. } = self.enter(is_meant, head, caller, bridges).await?;
        let repeated = repetition(act, &head.headers).map_err(Reply::closing)?;
        let format = body::judge(&head.headers, self.body_bytes).map_err(Reply::from)?;
        let mut taken = bridges.bodies.with_most(self.room_bytes).enter();
        let body = body::read(body, self.body_bytes, self.body_ms, &mut taken).await;
        let body = body.map_err(Reply::from)?;
        let nesting = self.limits.nesting;
        let body = converted::body_as_json(body, format, nesting, self.body_bytes, &mut taken)?;
        let mut asked = request::read(&body, act, &self.limits).map_err(|fault| {
            let fault = if format == Format::JSON { fault } else { fault.without_lines() };
            Reply::refused(fault.status(), &fault.to_string())
        })?;
        let taken = Arc::new(taken);
        for message in &mut asked.messages {
            message.taken = Some(Arc::clone(&taken));
        }
        match repeated {
            None => {
                let _under_way = self.share_of_calls(&key, &asked, caller, bridges)?;
                let deadline = Deadline::in_ms(self.answer_ms);
                Ok(self.visit(key, bridges).ask(&asked, Some(deadline)).await.0)
            }
            Some(name) => {
                // By a key of the path comes one client; without keys they are strangers, and those
                // who bear tokens are many.
                let owner = if key.is_by_token {
                    Some(format!("{:?}", (&key.role, &key.authid)))
                } else {
                    self.stranger(caller)
                };
                let name = (owner.as_deref(), name);
                self.ask_once(key, name, &body, asked, bridges).await
            }
        }
    }

    /// What tells those apart who come without a key or a token.
    fn stranger(&self, caller: Caller) -> Option<String> {
        self.door.open.is_some().then(|| format!("{:?}", caller.peer.client()))
    }

    /// What a stranger's calls take of those that the session which it shares may make.
    fn share_of_calls(
        &self,
        key: &SessionKey,
        asked: &Asked,
        caller: Caller,
        bridges: &Bridges,
    ) -> Result<Option<Share>, Reply> {
        let calls = asked.messages.iter().filter(|message| message.act == Act::Call).count();
        let Some(stranger) = self.stranger(caller).filter(|_| calls > 0) else { return Ok(None) };
        let seat = bridges.pool.seat(key, self.opening.most_by_token);
        let share = seat.calls.take(&stranger, calls, self.most_calls);
        share.map(Some).ok_or_else(|| Reply::lost(&Lost::TooMany(self.most_calls)))
    }

    /// As whom somebody comes in, if the router begins anything new.
    async fn enter(
        &self,
        is_meant: bool,
        head: &Parts,
        caller: Caller,
        bridges: &Bridges,
    ) -> Result<Guest, Reply> {
        if !is_meant {
            let methods = self.purpose.methods();
            let text = format!("only these methods are supported here: {methods}");
            let refused = Reply::refused(StatusCode::METHOD_NOT_ALLOWED, &text);
            return Err(refused.with(ALLOW, methods).closing());
        }
        if caller.is_stopping {
            return Err(Reply::lost(&Lost::Stopping).closing());
        }
        let entered = match self.door.enter(&head.headers, caller.peer) {
            Ok(Shown::Known(key)) => Ok(Guest::of(key.clone())),
            Ok(Shown::Token(tokens, token)) => {
                tokens.admit(token, caller, bridges.pool.inside()).await
            }
            Err(denied) => Err(denied),
        };
        entered.map_err(|denied| {
            self.door.tell(denied, caller.peer);
            if matches!(denied, Denied::WrongKey | Denied::Token(_)) {
                bridges.counters.http_keys_refused.increment();
            }
            Reply::from(denied).closing()
        })
    }

    /// Begins a stream of events.
    async fn hear(
        &self,
        head: &Parts,
        caller: Caller,
        bridges: &Bridges,
    ) -> Result<Response<Content>, Reply> {
        let is_meant = head.method == Method::GET;
        let Guest { key, until } = self.enter(is_meant, head, caller, bridges).await?;
        let wish = Wish::read(head.uri.query(), &head.headers);
        let wish =
            wish.map_err(|fault| Reply::refused(StatusCode::BAD_REQUEST, &fault.to_string()))?;
        if bridges.counters.http_streams.get() >= self.most_streams {
            return Err(Reply::lost(&Lost::Full));
        }
        let terms = events::Terms {
            message_bytes: self.limits.message_bytes,
            heartbeat_ms: self.heartbeat_ms,
            key: key.clone(),
            until,
            known: bridges.known.subscribe(),
            _place: StreamPlace::new(&bridges.counters),
        };
        let inner = bridges.pool.open(&key, &self.opening, caller.peer);
        let inner = inner.map_err(|lost| Reply::lost(&lost))?;
        let begun = events::Beginning::new(inner, wish, terms).await.map_err(Reply::from)?;
        let mut answer = Response::new(Content::streamed(begun.start()));
        set(&mut answer, CONTENT_TYPE, "text/event-stream");
        set(&mut answer, CACHE_CONTROL, "no-store");
        set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
        // nginx would hold events back until it has a buffer full.
        set(&mut answer, X_ACCEL_BUFFERING, "no");
        Ok(answer)
    }

    fn visit(&self, key: SessionKey, bridges: &Arc<Bridges>) -> Visit {
        let answers = bridges.answers.with_most(self.room_bytes);
        let opening = Opening { answers, ..self.opening.clone() };
        Visit { key, opening, bridges: Arc::clone(bridges) }
    }

    /// Makes requests that are to be made once, whatever becomes of who asks: another one with the
    /// same key learns what has come of them.
    async fn ask_once(
        &self,
        key: SessionKey,
        (owner, name): (Option<&str>, &[u8]),
        body: &[u8],
        asked: Asked,
        bridges: &Arc<Bridges>,
    ) -> Result<Reply, Reply> {
        let seat = bridges.pool.seat(&key.way(), self.opening.most_by_token);
        let begun = seat.repeated.lock().begin(owner, name, body, Instant::now());
        let name = match begun {
            Begun::New(name) => name,
            Begun::Known(json) => return Ok(Reply::json(StatusCode::OK, json)),
            refused => return Err(refused.into()),
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
        set(&mut answer, ALLOW, self.purpose.methods());
        if self.share(headers, answer.headers_mut()) {
            set(&mut answer, ACCESS_CONTROL_ALLOW_METHODS, self.purpose.methods());
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
            let exposed = HeaderValue::from_static(EXPOSED_HEADERS);
            fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        is_shared
    }
}

/// The key by which a request may come again.
fn repetition(act: Act, headers: &HeaderMap) -> Result<Option<&[u8]>, Reply> {
    let bad = |text: &str| Reply::refused(StatusCode::BAD_REQUEST, text);
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if act == Act::Call {
        return Err(bad("`Idempotency-Key` is for publications: what a call does, and whether \
            it may be done twice, its callee knows"));
    }
    let value = value.as_bytes();
    let is_good = (1..=LONGEST_KEY).contains(&value.len()) && values.next().is_none();
    if !is_good {
        return Err(bad("`Idempotency-Key` must stand there once, with 1 to 255 characters"));
    }
    Ok(Some(value))
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
        match (outcome, message.act) {
            (Ok(answer), Act::Publish) if answer.is_done => {
                counters.http_publications.increment();
            }
            (Ok(_), Act::Call) => counters.http_calls.increment(),
            _ => {}
        }
    }
}

/// What pages of other origins may read of an answer.
const EXPOSED_HEADERS: &str = "retry-after, www-authenticate";

/// What pages of other origins may send along.
const SHARED_HEADERS: &str = "authorization, content-type, idempotency-key, last-event-id";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
