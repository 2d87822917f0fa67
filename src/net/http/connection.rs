//! One connection that speaks HTTP: its requests one after the other, with a bound on everything
//! that its peer decides.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch::Receiver;

use super::stream::{Begun, Patient};
use super::tls::TlsIo;
use super::{HttpPlace, Season, Shared, Visitor};
use crate::address::Address;
use crate::http::{Caller, Content, Polling, answer_elsewhere};
use crate::limits::HTTP_HEADERS;
use crate::net::socket::OwnedSocket;
use crate::net::tls::OpenTls;
use crate::router::{Counters, Seat, Settings};

/// What a connection has from the beginning to its end.
struct Visit {
    listener: u32,
    peer: Address,
    is_confidential: bool,
    is_by_proxy: bool,
    shared: Arc<Shared>,
    season: Receiver<Season>,
    polling: Polling,
    _counted: Counted,
    _place: HttpPlace,
    _seat: Option<Box<Seat>>,
}

/// Counts a connection until it is dropped.
struct Counted(Arc<Counters>);

impl Counted {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.http_connections.increment();
        Self(Arc::clone(counters))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.http_connections.subtract(1);
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(visitor: Visitor, shared: Arc<Shared>, season: Receiver<Season>) {
    let Visitor { socket, tls, handover, place } = visitor;
    let edition = shared.router.edition();
    let visit = Visit {
        listener: handover.rules.listener,
        peer: handover.peer,
        is_confidential: handover.is_confidential,
        is_by_proxy: handover.is_by_proxy,
        _counted: Counted::new(&shared.counters),
        shared,
        season,
        polling: Polling::default(),
        _place: place,
        _seat: handover.seat,
    };
    let peer = handover.peer;
    let served = match open(socket) {
        Ok(Opened::Tcp(stream)) => {
            start(stream, tls, handover.input, visit, &edition.settings).await
        }
        Ok(Opened::Unix(stream)) => {
            start(stream, tls, handover.input, visit, &edition.settings).await
        }
        Err(error) => {
            tracing::warn!(%peer, %error, "a connection cannot be handed over");
            return;
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "an HTTP connection failed");
    }
}

enum Opened {
    Tcp(TcpStream),
    Unix(UnixStream),
}

fn open(socket: OwnedSocket) -> io::Result<Opened> {
    Ok(match socket {
        OwnedSocket::Tcp(stream) => Opened::Tcp(TcpStream::from_std(stream)?),
        OwnedSocket::Unix(stream) => Opened::Unix(UnixStream::from_std(stream)?),
    })
}

/// Puts together what lies between the socket and HTTP.
async fn start<S>(
    socket: S,
    tls: Option<OpenTls>,
    input: Vec<u8>,
    visit: Visit,
    settings: &Settings,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let socket = Patient::new(socket, Duration::from_millis(settings.output.stall_ms));
    match tls {
        None => speak(Begun::new(input, socket), visit, settings).await,
        Some(tls) => speak(Begun::new(input, TlsIo::new(socket, tls)), visit, settings).await,
    }
}

async fn speak<S>(stream: S, visit: Visit, settings: &Settings) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut season = visit.season.clone();
    let visit = &visit;
    let service =
        service_fn(move |request| async move { Ok::<_, Infallible>(visit.answer(request).await) });
    // hyper wants 8 KiB at least; a head is at most as long as on a shard.
    let buffered = settings.limits.http_head_bytes.max(8 * 1024);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.timeouts.http_idle_ms))
        .max_headers(HTTP_HEADERS)
        .max_buf_size(buffered)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // Whoever has sent a request is answered, even if it comes in the last moment.
        biased;
        ended = connection.as_mut() => return ended,
        _ = season.wait_for(|season| *season != Season::Open) => {}
    }
    if visit.polling.is_noted() {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = visit.shared.staff.longpolls.run_out() => {}
            _ = season.wait_for(|season| *season == Season::Over) => {}
        }
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

impl Visit {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Content> {
        request.extensions_mut().insert(self.polling.clone());
        let site = self.shared.sites.load().get(&self.listener).cloned();
        let answer = match site {
            Some(site) => site.answer(request, self.caller(), &self.shared.staff).await,
            None => answer_elsewhere(&request.into_parts().0),
        };
        self.count(answer.status());
        answer
    }

    fn caller(&self) -> Caller {
        let Shared { occupancy, most, is_ready, router, .. } = &*self.shared;
        let most = most.load(Ordering::Relaxed);
        let may_serve = router.serves_until().is_none_or(|until| self.shared.now() < until);
        Caller {
            peer: self.peer,
            is_confidential: self.is_confidential,
            is_by_proxy: self.is_by_proxy,
            is_ready: is_ready.load(Ordering::Relaxed) && may_serve,
            is_stopping: *self.season.borrow() != Season::Open,
            // Who waits for nothing keeps no place while few are left.
            is_last: occupancy.http() > most - most / 4,
        }
    }

    fn count(&self, status: StatusCode) {
        let counters = &self.shared.counters;
        match status.as_u16() {
            ..400 => counters.http_answered.increment(),
            400..500 => counters.http_refused.increment(),
            _ => counters.http_failed.increment(),
        }
    }
}
