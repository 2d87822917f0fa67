//! WAMP in plain requests: the HTTP long-poll transport (TR-LP-01 to TR-LP-07).
//!
//! A transport is a connection into the router ([`Inside`]), which knows nothing of HTTP. Requests
//! name it by an id that only its client knows.

mod polled;
mod protocol;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use self::polled::{NotSent, Polled, PolledLimits, PolledPlace, Received};
use self::protocol::Protocol;
use super::answers::{self, plain, set};
use super::body;
use super::content::Content;
use super::inner::{Inside, NotOpened};
use super::room::{Room, Taken};
use super::site::Caller;
use crate::codec::{Codec, DecodeLimits};
use crate::config::{Config, HttpUse, Listener, ListenerPath};
use crate::transport::{Origins, TransportRules};

/// What the paths of all listeners share: the transports that are open, which outlive a reload as
/// sessions do.
#[derive(Debug)]
pub(crate) struct LongPolls {
    inside: Arc<dyn Inside>,
    open: Mutex<BTreeMap<Id, Arc<Polled>>>,
    /// How many there are.
    count: watch::Sender<usize>,
    bodies: Room,
}

/// Whether a connection was asked for a transport that there is: its client has the last things to
/// hear and to say by it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Polling(Arc<AtomicBool>);

impl Polling {
    fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The name of a transport: 128 bits of chance, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id(Box<str>);

/// A path where transports are opened.
#[derive(Debug)]
pub(super) struct LongPoll {
    /// For clients whom somebody may overhear, and for others.
    rules: [Arc<TransportRules>; 2],
    path: Arc<str>,
    origins: Origins,
    limits: PolledLimits,
    room_bytes: usize,
    body_ms: u64,
    /// How long the router may take to take a new connection.
    patience: Duration,
    /// What is said when messages were taken (TR-LP-04).
    sent: StatusCode,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    Open,
    Send(&'a str),
    Receive(&'a str),
    Close(&'a str),
}

/// The body of `/open`.
#[derive(Deserialize)]
struct Open {
    protocols: Vec<String>,
}

/// What answers it.
#[derive(Serialize)]
struct Opened<'a> {
    protocol: String,
    transport: &'a str,
}

impl Id {
    fn new() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        Self(data_encoding::HEXLOWER.encode(&bytes).into())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LongPolls {
    /// `inside`: the way into the router.
    pub(crate) fn new(inside: Arc<dyn Inside>) -> Self {
        let (count, _) = watch::channel(0);
        Self { inside, open: Mutex::default(), count, bodies: Room::new(0) }
    }

    /// The transport of this name that was opened there.
    fn find(&self, id: &str, place: &PolledPlace) -> Option<Arc<Polled>> {
        let polled = self.open.lock().get(&Id(id.into())).cloned();
        polled.filter(|polled| polled.place == *place)
    }

    /// Until no transport is open.
    pub(crate) async fn run_out(&self) {
        let mut count = self.count.subscribe();
        // Its sender is not dropped before.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    fn enter(self: &Arc<Self>, polled: Polled) -> Id {
        let (id, polled) = (Id::new(), Arc::new(polled));
        self.open.lock().insert(id.clone(), Arc::clone(&polled));
        self.count.send_modify(|count| *count += 1);
        let (polls, watched) = (Arc::clone(self), id.clone());
        // Ends with the transport, or with the thread.
        drop(tokio::spawn(async move {
            polled.outlast().await;
            polled.end();
            polls.open.lock().remove(&watched);
            polls.count.send_modify(|count| *count -= 1);
        }));
        id
    }
}

impl<'a> Place<'a> {
    /// Of what stands behind the path.
    fn read(place: &'a str) -> Option<Self> {
        let mut parts = place.trim_start_matches('/').splitn(2, '/');
        match (parts.next()?, parts.next()) {
            ("open", None) => Some(Self::Open),
            (id, Some("send")) => Some(Self::Send(id)),
            (id, Some("receive")) => Some(Self::Receive(id)),
            (id, Some("close")) => Some(Self::Close(id)),
            _ => None,
        }
    }
}

impl LongPoll {
    /// `None` if this is no path of long-poll. `rules` are its listener's.
    pub(super) fn new(
        apart: &ListenerPath,
        listener: &Listener,
        config: &Config,
        rules: &TransportRules,
    ) -> Option<Self> {
        if apart.http != Some(HttpUse::LongPoll) {
            return None;
        }
        let (limits, timeouts) = (&config.limits, &config.timeouts);
        let path = apart.rules(listener, config.development);
        let inner = |is_confidential| {
            let inner = rules.inner(path.entrance.clone(), None, is_confidential);
            Arc::new(TransportRules { is_unordered: true, ..inner })
        };
        let decode = DecodeLimits { nesting: limits.nesting };
        Some(Self {
            rules: [false, true].map(inner),
            path: apart.path.as_str().into(),
            origins: path.allowed_origins.clone(),
            limits: PolledLimits {
                hello_bytes: rules.hello_bytes,
                message_bytes: rules.message_bytes,
                decode,
            },
            room_bytes: limits.http_bodies_bytes,
            body_ms: timeouts.http_body_ms,
            patience: Duration::from_millis(timeouts.handshake_ms),
            sent: StatusCode::from_u16(apart.sent_status.unwrap_or(202)).unwrap_or_default(),
        })
    }

    /// Answers a request for a place below the path: `/open`, or `/<id>/send` and so on.
    pub(super) async fn answer(
        &self,
        head: &Parts,
        place: &str,
        body: Incoming,
        caller: Caller,
        polls: &Arc<LongPolls>,
    ) -> Response<Content> {
        let headers = &head.headers;
        if head.method == Method::OPTIONS {
            return self.preflight(headers);
        }
        let mut answer = match Place::read(place) {
            None => answers::not_found(),
            Some(_) if head.method != Method::POST => {
                let text = "Only POST is supported here.\n";
                let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, text);
                set(&mut answer, ALLOW, "POST, OPTIONS");
                answer
            }
            Some(_) if self.is_of_foreign_page(headers) => {
                plain(StatusCode::FORBIDDEN, "Pages of this origin may not connect.\n")
            }
            Some(place) => {
                let polling = head.extensions.get::<Polling>();
                self.serve(place, (headers, polling), body, caller, polls).await
            }
        };
        self.share(headers, answer.headers_mut());
        answer
    }

    async fn serve(
        &self,
        place: Place<'_>,
        (headers, polling): (&HeaderMap, Option<&Polling>),
        body: Incoming,
        caller: Caller,
        polls: &Arc<LongPolls>,
    ) -> Response<Content> {
        let here = self.place(caller.is_confidential);
        let (polled, most) = match place {
            Place::Open => (None, OPEN_BYTES),
            Place::Send(id) | Place::Receive(id) | Place::Close(id) => {
                let Some(polled) = polls.find(id, &here) else {
                    return unknown();
                };
                let is_sent = matches!(place, Place::Send(_));
                // A batch has as many bytes as one message; what frames it is little.
                let most = if is_sent { polled.most_bytes() + FRAMING_BYTES } else { 0 };
                (Some(polled), most)
            }
        };
        if let Some(polling) = polling.filter(|_| polled.is_some()) {
            polling.note();
        }
        let mut taken = polls.bodies.with_most(self.room_bytes).enter();
        let read = async {
            body::judge_length(headers, most)?;
            body::read(body, most, self.body_ms, &mut taken).await
        };
        let body = match read.await {
            Ok(body) => Bytes::from(body),
            Err(fault) => {
                let mut answer = plain(fault.status(), format!("{fault}.\n"));
                answers::set_last(&mut answer);
                return answer;
            }
        };
        match (place, polled) {
            (Place::Send(_), Some(polled)) => self.send(&polled, body, taken).await,
            (Place::Receive(_), Some(polled)) => receive(&polled).await,
            (_, Some(polled)) => {
                polled.end();
                empty(self.sent)
            }
            (_, None) => self.open(&body, here, caller, polls).await,
        }
    }

    fn place(&self, is_confidential: bool) -> PolledPlace {
        let (listener, path) = (self.rules[0].listener, Arc::clone(&self.path));
        PolledPlace { listener, path, is_confidential }
    }

    async fn open(
        &self,
        body: &[u8],
        here: PolledPlace,
        caller: Caller,
        polls: &Arc<LongPolls>,
    ) -> Response<Content> {
        if caller.is_stopping {
            return answers::stopping();
        }
        let protocols = match serde_json::from_slice::<Open>(body) {
            Ok(open) => open.protocols,
            Err(error) => {
                let example = "{\"protocols\": [\"wamp.2.json\"]}";
                let text = format!("The body must be like {example}: {error}.\n");
                return plain(StatusCode::BAD_REQUEST, text);
            }
        };
        let rules = &self.rules[usize::from(caller.is_confidential)];
        let mut known = protocols.iter().filter_map(|name| Protocol::named(name));
        let Some(protocol) = known.find(|protocol| rules.allows(protocol.codec)) else {
            return no_protocol(rules);
        };
        let inner = match polls.inside.open(rules, caller.peer, true) {
            Ok(inner) => inner,
            Err(NotOpened::Full) => return answers::full(),
            Err(fault @ (NotOpened::Crowded(_) | NotOpened::Fast)) => {
                return plain(StatusCode::TOO_MANY_REQUESTS, format!("{fault}.\n"));
            }
            Err(NotOpened::Failed(error)) => {
                tracing::warn!(%error, "a long-poll transport cannot be opened");
                return answers::full();
            }
        };
        // A router that is about to stop closes it at once.
        let agreed = timeout(self.patience, inner.shake_hands(protocol.codec, RECEIVES_BYTES));
        let Ok(Ok(ends)) = agreed.await else { return answers::full() };
        let id = polls.enter(Polled::new(protocol, here, self.limits, ends));
        let opened = Opened { protocol: protocol.to_string(), transport: &id.0 };
        let text = serde_json::to_vec(&opened).expect("strings are JSON");
        messages("application/json", text.into())
    }

    /// Whether a browser says that a page of another origin asks, which may not.
    fn is_of_foreign_page(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return false };
        origins.next().is_some() || !is_allowed(&self.origins, origin, headers)
    }

    /// Says whether the page that asks may read the answer. Clients in browsers ask with their
    /// cookies (autobahn-js always does), so origins that are listed by name are told that they
    /// may; nobody reads cookies here, but a proxy in front may.
    fn share(&self, headers: &HeaderMap, fields: &mut HeaderMap) -> bool {
        fields.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = headers.get(ORIGIN).filter(|_| !self.is_of_foreign_page(headers)) else {
            return false;
        };
        if self.is_named(origin, headers) {
            fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            fields.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        } else {
            fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        true
    }

    /// Whether an origin that may connect may do so for more than that all may.
    fn is_named(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let Origins::Listed(listed) = &self.origins else { return true };
        let is_name = |listed: &&String| *listed != "*";
        let named = Origins::Listed(listed.iter().filter(is_name).cloned().collect());
        is_allowed(&named, origin, headers)
    }

    /// What a browser asks before it sends a request of another origin's page.
    fn preflight(&self, headers: &HeaderMap) -> Response<Content> {
        let mut answer = empty(StatusCode::NO_CONTENT);
        set(&mut answer, ALLOW, "POST, OPTIONS");
        if self.share(headers, answer.headers_mut()) {
            set(&mut answer, ACCESS_CONTROL_ALLOW_METHODS, "POST");
            set(&mut answer, ACCESS_CONTROL_ALLOW_HEADERS, "content-type");
            set(&mut answer, ACCESS_CONTROL_MAX_AGE, "600");
        }
        answer
    }

    async fn send(&self, polled: &Arc<Polled>, body: Bytes, taken: Taken) -> Response<Content> {
        match polled.send(body, taken).await {
            Ok(()) => empty(self.sent),
            Err(NotSent::Over) => {
                polled.end();
                unknown()
            }
            Err(fault @ NotSent::Malformed(_)) => {
                plain(StatusCode::BAD_REQUEST, format!("{fault}.\n"))
            }
            Err(fault @ NotSent::TooLong { .. }) => {
                plain(StatusCode::PAYLOAD_TOO_LARGE, format!("{fault}.\n"))
            }
        }
    }
}

fn is_allowed(origins: &Origins, origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    origin.to_str().is_ok_and(|origin| origins.allow(origin, host))
}

async fn receive(polled: &Polled) -> Response<Content> {
    match polled.receive().await {
        Received::Messages(bytes) => messages(polled.protocol.content_type(), bytes),
        Received::Nothing => empty(StatusCode::NO_CONTENT),
        Received::Over => {
            polled.end();
            empty(StatusCode::NO_CONTENT)
        }
        Received::Busy => {
            let text = "Another request waits for messages of this transport.\n";
            plain(StatusCode::BAD_REQUEST, text)
        }
    }
}

fn no_protocol(rules: &TransportRules) -> Response<Content> {
    let both = |codec: &Codec| {
        [false, true].map(|is_batched| Protocol { codec: *codec, is_batched }.to_string())
    };
    let served: Vec<_> = rules.codecs.iter().flat_map(both).collect();
    let text = format!("None of the protocols is served; there are {}.\n", served.join(", "));
    plain(StatusCode::BAD_REQUEST, text)
}

fn messages(content_type: &'static str, bytes: Bytes) -> Response<Content> {
    let mut answer = Response::new(Content::of(bytes));
    set(&mut answer, CONTENT_TYPE, content_type);
    set(&mut answer, CACHE_CONTROL, "no-store");
    answer
}

fn empty(status: StatusCode) -> Response<Content> {
    let mut answer = Response::new(Content::default());
    *answer.status_mut() = status;
    set(&mut answer, CACHE_CONTROL, "no-store");
    answer
}

fn unknown() -> Response<Content> {
    plain(StatusCode::NOT_FOUND, "There is no such transport, or it has ended.\n")
}

/// What a list of protocols needs at most.
const OPEN_BYTES: usize = 4 * 1024;

/// Lengths or separators of the messages of a batch.
const FRAMING_BYTES: usize = 4 * 1024;

/// Clients take messages of any length: as long as there are on RawSocket.
const RECEIVES_BYTES: usize = 16 * 1024 * 1024;
