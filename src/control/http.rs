//! The admin listener: its connections, and what is found under which path.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router as Routes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::busiest::{ProcedureFilter, TopicFilter};
use super::changes::{self, Refused, peer_of};
use super::desk::Desk;
use super::door::{Door, Visitor};
use super::guard::{Forbidden, Guard};
use super::health::{BEAT, Health};
use super::log_tail::LogFilter;
use super::sessions::Filter;
use super::sight::Sight;
use super::token::{Denied, Lock};
use super::{
    busiest, explain, json, keeping, log_tail, metrics, nodes, pages, roles, sessions, trace,
    webhooks,
};
use crate::address::Address;
use crate::config::ADMIN_CONNECTIONS;

/// Who may ask for what.
#[derive(Clone, Debug)]
struct Entry {
    guard: Guard,
    /// Where it must be open also for those who change nothing.
    lock: Option<Arc<Lock>>,
}

pub(super) fn routes(desk: Desk, sight: Sight) -> Routes {
    let guard = Guard::new(&sight.admin.hosts);
    // Where others than those of this machine connect, who only wants to see something must show
    // the token, too.
    let guards_reads = sight.admin.guards_reads();
    let entry = Entry { guard, lock: guards_reads.then(|| Arc::clone(&desk.lock)) };
    Routes::new()
        .route("/", get(front))
        .route("/help", get(|| async { INDEX }))
        .route("/pages/{name}", get(page_file))
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/clusterz", get(clusterz))
        .route("/api/router", get(router))
        .route("/api/shards", get(shards))
        .route("/api/sessions", get(open_sessions))
        .route("/api/sessions/closed", get(closed_sessions))
        .route("/api/reasons", get(reasons))
        .route("/api/topics", get(topics))
        .route("/api/procedures", get(procedures))
        .route("/api/explain", get(explain))
        .route("/api/roles", get(roles))
        .route("/api/histories", get(histories))
        .route("/api/store", get(store))
        .route("/api/webhooks", get(webhooks_page))
        .route("/api/log", get(log_lines))
        .fallback(|| async { (StatusCode::NOT_FOUND, NOT_FOUND) })
        .with_state(sight)
        .merge(trace::routes(desk.clone()))
        .merge(changes::routes(desk))
        .layer(middleware::from_fn_with_state(entry, admit))
}

async fn admit(State(entry): State<Entry>, request: Request, next: Next) -> Response {
    let mut response = match entry.guard.check(request.headers()) {
        Ok(()) => match entry.check_read(&request) {
            Ok(()) => next.run(request).await,
            Err(denied) => denied.into_response(),
        },
        Err(reason @ Forbidden::NoHost) => refusal(StatusCode::BAD_REQUEST, &reason),
        Err(reason) => refusal(StatusCode::FORBIDDEN, &reason),
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

impl Entry {
    /// Whether somebody may see what is under a path. Whether the router is well, and pages that
    /// are the same for everybody, are for all; changes look at the token themselves.
    fn check_read(&self, request: &Request) -> Result<(), Denied> {
        let Some(lock) = &self.lock else { return Ok(()) };
        let path = request.uri().path();
        let is_open = !path.starts_with("/api/") && !["/metrics", "/clusterz"].contains(&path);
        if is_open || request.method() == Method::POST {
            return Ok(());
        }
        lock.check(request.headers(), peer_of(request), now())
    }
}

fn refusal(status: StatusCode, reason: &Forbidden) -> Response {
    (status, format!("{reason}\n")).into_response()
}

/// The dashboard for browsers, and what there is for everybody else.
async fn front(State(sight): State<Sight>, headers: HeaderMap) -> Response {
    match pages::are_wanted(&headers) {
        true => pages::front(&headers, &sight.view.urls()),
        false => ([(VARY, "accept")], INDEX).into_response(),
    }
}

async fn page_file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    pages::file(&name, &headers)
        .unwrap_or_else(|| (StatusCode::NOT_FOUND, NOT_FOUND).into_response())
}

async fn reasons(State(sight): State<Sight>) -> Response {
    page_of(&sessions::reasons(&sight.view)).into_response()
}

async fn metrics_page(State(sight): State<Sight>) -> Response {
    let page = sight.metrics.page();
    ([(CONTENT_TYPE, metrics::CONTENT)], page).into_response()
}

async fn healthz(State(sight): State<Sight>) -> Response {
    let standing = sight.health.standing(now());
    let is_well = standing.is_nothing();
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, page_of(&standing.to_json())).into_response()
}

async fn readyz(State(sight): State<Sight>) -> Response {
    match sight.health.unready(now()) {
        None => "ready\n".into_response(),
        Some(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response()
        }
    }
}

async fn clusterz(State(sight): State<Sight>) -> Response {
    match nodes::list(&sight.view, now()) {
        Some(page) => page_of(&page).into_response(),
        None => (StatusCode::NOT_FOUND, format!("{}\n", nodes::ALONE)).into_response(),
    }
}

async fn router(State(sight): State<Sight>) -> Response {
    page_of(&json::router(&sight.view, &sight.admin, sight.age())).into_response()
}

async fn shards(State(sight): State<Sight>) -> Response {
    page_of(&json::shards(&sight.view, &sight.health.lags(now()))).into_response()
}

async fn open_sessions(State(sight): State<Sight>, filter: Asked) -> Response {
    match filter {
        Ok(Query(filter)) => {
            let _turn = match sight.turn().await {
                Ok(turn) => turn,
                Err(declined) => return Refused::from(declined).into_response(),
            };
            page_of(&sessions::open(&sight.view, &filter).await).into_response()
        }
        Err(fault) => unclear(&fault),
    }
}

async fn closed_sessions(State(sight): State<Sight>, filter: Asked) -> Response {
    match filter {
        Ok(Query(filter)) => page_of(&sessions::closed(&sight.view, &filter)).into_response(),
        Err(fault) => unclear(&fault),
    }
}

async fn topics(State(sight): State<Sight>, filter: Of<TopicFilter>) -> Response {
    match filter {
        Ok(Query(filter)) => {
            let _turn = match sight.turn().await {
                Ok(turn) => turn,
                Err(declined) => return Refused::from(declined).into_response(),
            };
            page_of(&busiest::topics(&sight.view, &filter).await).into_response()
        }
        Err(fault) => unclear(&fault),
    }
}

async fn procedures(State(sight): State<Sight>, filter: Of<ProcedureFilter>) -> Response {
    match filter {
        Ok(Query(filter)) => {
            let _turn = match sight.turn().await {
                Ok(turn) => turn,
                Err(declined) => return Refused::from(declined).into_response(),
            };
            page_of(&busiest::procedures(&sight.view, &filter).await).into_response()
        }
        Err(fault) => unclear(&fault),
    }
}

async fn explain(State(sight): State<Sight>, request: Of<explain::Request>) -> Response {
    let request = match request {
        Ok(Query(request)) => request,
        Err(fault) => return unclear(&fault),
    };
    let _turn = match sight.turn().await {
        Ok(turn) => turn,
        Err(declined) => return Refused::from(declined).into_response(),
    };
    match explain::page(&sight.view, &request).await {
        Ok(page) => page_of(&page).into_response(),
        Err(fault) => (StatusCode::BAD_REQUEST, format!("{fault}\n")).into_response(),
    }
}

async fn roles(
    State(sight): State<Sight>,
    filter: Result<Query<roles::Filter>, QueryRejection>,
) -> Response {
    match filter {
        Ok(Query(filter)) => page_of(&roles::page(&sight.view, &filter)).into_response(),
        Err(fault) => unclear(&fault),
    }
}

async fn webhooks_page(State(sight): State<Sight>) -> Response {
    page_of(&webhooks::page(&sight.view)).into_response()
}

async fn histories(State(sight): State<Sight>) -> Response {
    page_of(&keeping::histories(&sight.view)).into_response()
}

async fn store(State(sight): State<Sight>) -> Response {
    page_of(&keeping::store(&sight.view)).into_response()
}

async fn log_lines(State(sight): State<Sight>, filter: Of<LogFilter>) -> Response {
    match filter {
        Ok(Query(filter)) => page_of(&log_tail::page(sight.log.get(), &filter)).into_response(),
        Err(fault) => unclear(&fault),
    }
}

fn unclear(fault: &QueryRejection) -> Response {
    (StatusCode::BAD_REQUEST, format!("{}\n", fault.body_text())).into_response()
}

type Of<T> = Result<Query<T>, QueryRejection>;
type Asked = Of<Filter>;

fn page_of(value: &Value) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "application/json")], format!("{value}\n"))
}

/// Serves those who come in by the door, if there is one, until `stopped` is dropped, and looks
/// every [`BEAT`] whether the router's threads turn. Answers under way are then finished, within
/// [`LAST_WORDS`]: whoever has asked for the stop learns that it was heard.
pub(super) async fn serve(
    door: Option<Door>,
    app: Routes,
    health: Arc<Health>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut places = Places::default();
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (ending, ends) = watch::channel(());
    let (busy, mut served) = mpsc::channel(1);
    let stay = Stay { ends, _busy: busy };
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = beats.tick() => health.beat(now()),
            accepted = next_visitor(door.as_ref()) => {
                if let Some(visitor) = accepted {
                    let serving = tokio::spawn(receive(visitor, app.clone(), stay.clone()));
                    places.take(serving.abort_handle());
                    // It is served once before another could take its place.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    drop((ending, stay));
    let _ = timeout(LAST_WORDS, served.recv()).await;
}

/// What each connection holds while it is served.
#[derive(Clone, Debug)]
struct Stay {
    /// Closed when all are to end.
    ends: watch::Receiver<()>,
    /// Nobody sends; all are gone when it is closed.
    _busy: mpsc::Sender<Infallible>,
}

impl Stay {
    async fn ends(&mut self) {
        while self.ends.changed().await.is_ok() {}
    }
}

/// Without a door nobody comes.
async fn next_visitor(door: Option<&Door>) -> Option<Visitor> {
    match door {
        Some(door) => door.accept().await,
        None => std::future::pending().await,
    }
}

/// The connections that are served, the oldest first. If all places are taken the oldest gives way,
/// so that nobody who sits there keeps those out who ask whether the router is well.
#[derive(Debug, Default)]
struct Places(VecDeque<AbortHandle>);

impl Places {
    fn take(&mut self, connection: AbortHandle) {
        self.0.retain(|other| !other.is_finished());
        if self.0.len() >= ADMIN_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(connection);
    }
}

async fn receive(visitor: Visitor, app: Routes, mut stay: Stay) {
    let peer = visitor.peer();
    match visitor {
        Visitor::Unix(stream) => serve_one(stream, peer, app, stay).await,
        Visitor::Tcp(stream, _, None) => serve_one(stream, peer, app, stay).await,
        Visitor::Tcp(stream, _, Some(tls)) => {
            let handshake = timeout(HEAD_PATIENCE, TlsAcceptor::from(tls).accept(stream));
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                () = stay.ends() => return,
            };
            // Whoever does not get that far is a stranger, or has another authority.
            match shaken {
                Ok(Ok(stream)) => serve_one(stream, peer, app, stay).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS with the admin listener"),
                Err(_) => tracing::debug!(%peer, "no TLS with the admin listener in time"),
            }
        }
    }
}

/// Nobody keeps a place for long: whoever wants more comes again, unless an answer takes longer.
async fn serve_one<S>(stream: S, peer: Address, app: Routes, mut stay: Stay)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let app = TowerToHyperService::new(app);
    let life = Life::new();
    let app = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(life.clone());
        app.call(request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(MOST_BUFFERED)
            .serve_connection(TokioIo::new(stream), app)
    );
    // How a connection of an observer ended matters to nobody.
    loop {
        let ends = life.ends();
        tokio::select! {
            outcome = timeout_at(ends, connection.as_mut()) => match outcome {
                Ok(_) => return,
                Err(_) if life.ends() == ends => break,
                Err(_) => {}
            },
            () = stay.ends() => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(HEAD_PATIENCE, connection).await;
}

/// How long a connection may live; each request carries it.
#[derive(Clone, Debug)]
pub(super) struct Life(Arc<Mutex<tokio::time::Instant>>);

impl Life {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(tokio::time::Instant::now() + CONNECTION_LIFE)))
    }

    fn ends(&self) -> tokio::time::Instant {
        *self.0.lock()
    }

    /// Lets the connection live for so long from now on, at least: its answer takes time.
    pub(super) fn prolong(&self, by: Duration) {
        let ends = tokio::time::Instant::now() + by;
        let mut life = self.0.lock();
        *life = (*life).max(ends);
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the thread `control`")]
fn now() -> Instant {
    Instant::now()
}

const INDEX: &str = "\
Stentor's admin listener.

/             the dashboard, for browsers
/help         this page
/metrics      for Prometheus (OpenMetrics)
/healthz      200 while the router's threads turn
/readyz       200 while clients should come
/clusterz     the nodes of the cluster as this one sees them, JSON; 404 without [cluster]
/api/router   the router and its realms, JSON
/api/shards   its event loops, JSON
/api/sessions          open sessions; ?realm= authid= authrole= search= sort= limit=
/api/sessions/closed   the last that ended; ?reason= besides
/api/reasons           why sessions end, and how many have
/api/topics            the busiest topics; ?realm= sort=rate|events|subscribers limit=
/api/procedures        the procedures called most; ?realm= limit=
/api/explain           what would come of ?action= uri=, for session= or role=; realm= match= limit=
/api/roles             what roles may do, rule by rule; ?realm= role= limit=
/api/histories         histories and their bounds
/api/webhooks          webhooks: what they have delivered, and what fails
/api/store             whether what is durable is safe
/api/log               the last lines of the log; ?level= limit=
/api/changes           what the last reload has changed

With POST and the token of [admin] in `Authorization: Bearer`:
/api/reload            read the configuration again
/api/log-level         {level}
/api/sessions/kick     {realm, session} or {realm, authid}, and reason, message
/api/drain             {drain_ms} or nothing
/api/trace             messages while they pass, a line of JSON each, for {session}, {authid},
                       {uri} or {address}; and realm, for_seconds, rate, payload_bytes
";

const NOT_FOUND: &str = "nothing is here; `/` says what there is\n";

/// What every answer carries: nothing is kept, embedded or run.
const HEADERS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (axum::http::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (axum::http::header::REFERRER_POLICY, "no-referrer"),
];

const MOST_BUFFERED: usize = 16 * 1024;
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long answers may take that are under way when the router stops: longer than any but those
/// that go on for as long as somebody looks.
const LAST_WORDS: Duration = Duration::from_millis(500);
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
