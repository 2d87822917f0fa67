//! What is found under which path of a listener, and who gets it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, VIA,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Version};

use super::answers;
use super::bridge::{Bridge, Bridges};
use super::content::Content;
use super::disk::Disk;
use super::files::{Ask, Files};
use super::longpoll::{LongPoll, LongPolls};
use crate::address::Address;
use crate::config::{Config, Listener, ListenerPath};
use crate::transport::{Purpose, TransportRules, is_below, path_of};

/// What each listener serves, by its number ([`TransportRules::listener`]).
pub(crate) type Sites = BTreeMap<u32, Arc<Site>>;

/// What one listener serves.
#[derive(Debug)]
pub(crate) struct Site {
    rules: TransportRules,
    /// The longest paths first.
    places: Vec<Place>,
}

/// What is served at a path and below.
#[derive(Debug)]
struct Place {
    base: String,
    served: Served,
}

#[derive(Debug)]
enum Served {
    /// Files, here and below.
    Files(Arc<Files>),
    /// Publications or calls, here alone.
    Bridge(Box<Bridge>),
    /// Sessions in plain requests, below.
    LongPoll(Box<LongPoll>),
}

/// Who does what takes long.
#[derive(Debug)]
pub(crate) struct Staff {
    pub(crate) disk: Disk,
    pub(crate) bridges: Arc<Bridges>,
    pub(crate) longpolls: Arc<LongPolls>,
}

/// What is known of a request besides its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// Where it comes from.
    pub(crate) peer: Address,
    /// Nobody on its way can read along.
    pub(crate) is_confidential: bool,
    /// A listed proxy has sent it.
    pub(crate) is_by_proxy: bool,
    /// Whether clients should come to this router.
    pub(crate) is_ready: bool,
    /// The router is about to stop: nothing new begins.
    pub(crate) is_stopping: bool,
    /// The connection is to end with the answer.
    pub(crate) is_last: bool,
}

impl Site {
    /// What a listener serves that has these rules and this address.
    pub(crate) fn new(
        listener: &Listener,
        config: &Config,
        rules: TransportRules,
        address: Address,
    ) -> Self {
        let place = |apart: &ListenerPath| {
            // The configuration has paths that can be asked for.
            let base = path_of(&apart.path).unwrap_or_default().trim_end_matches('/').to_owned();
            let served = if let Some(longpoll) = LongPoll::new(apart, listener, config, &rules) {
                Served::LongPoll(Box::new(longpoll))
            } else if let Some(bridge) = Bridge::new(apart, listener, config, &rules, address) {
                Served::Bridge(Box::new(bridge))
            } else {
                let (files, fallback) = (apart.files.as_ref()?, apart.fallback.as_deref());
                Served::Files(Arc::new(Files::new(files, fallback, &apart.cache)))
            };
            Some(Place { base, served })
        };
        let mut places: Vec<_> = listener.http_paths().filter_map(place).collect();
        places.sort_by_key(|place| std::cmp::Reverse(place.base.len()));
        Self { rules, places }
    }

    pub(super) fn bridges(&self) -> impl Iterator<Item = &Bridge> {
        self.places.iter().filter_map(|place| match &place.served {
            Served::Bridge(bridge) => Some(&**bridge),
            Served::Files(_) | Served::LongPoll(_) => None,
        })
    }

    /// Answers one request. A body that nobody wants is not read.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        caller: Caller,
        staff: &Staff,
    ) -> Response<Content> {
        let (head, body) = request.into_parts();
        let answer = self.judge(&head, body, caller, staff).await;
        let is_by_proxy = caller.is_by_proxy || is_by_some_proxy(&head.headers);
        finish(answer, &head, caller.is_last || is_by_proxy)
    }

    async fn judge(
        &self,
        head: &Parts,
        body: Incoming,
        caller: Caller,
        staff: &Staff,
    ) -> Response<Content> {
        let hosts = head.headers.get_all(HOST).iter().count();
        if hosts > 1 || hosts == 0 && head.version > Version::HTTP_10 {
            return answers::no_host();
        }
        let Some(path) = path_of(head.uri.path()) else { return answers::bad_target() };
        let is_reading = matches!(head.method, Method::GET | Method::HEAD);
        match self.rules.purpose(&path) {
            Purpose::WebSocket => answers::websocket_alone(),
            Purpose::Nothing => answers::not_found(),
            Purpose::Health if is_reading => answers::health(caller.is_ready),
            Purpose::Health => answers::only_reading(),
            Purpose::Http => match self.place(&path) {
                None => answers::not_found(),
                Some(Place { base, served: Served::Bridge(bridge) }) => {
                    match path.trim_end_matches('/') == base {
                        true => bridge.answer(head, body, caller, &staff.bridges).await,
                        false => answers::not_found(),
                    }
                }
                Some(Place { base, served: Served::LongPoll(longpoll) }) => {
                    let place = &path[base.len()..];
                    longpoll.answer(head, place, body, caller, &staff.longpolls).await
                }
                Some(_) if !is_reading => answers::only_reading(),
                Some(Place { base, served: Served::Files(files) }) => {
                    serve(files, Ask::new(head, &path[base.len()..], &staff.disk), staff).await
                }
            },
        }
    }

    fn place(&self, path: &str) -> Option<&Place> {
        self.places.iter().find(|place| is_below(path, &place.base))
    }
}

async fn serve(files: &Arc<Files>, ask: Ask, staff: &Staff) -> Response<Content> {
    let files = Arc::clone(files);
    let answer = staff.disk.clone().run(move || files.answer(&ask)).await;
    answer.unwrap_or_else(answers::unavailable)
}

/// The answer to a request on a listener that serves nothing any more.
pub(crate) fn answer_elsewhere(head: &Parts) -> Response<Content> {
    finish(answers::not_found(), head, true)
}

fn finish(mut answer: Response<Content>, head: &Parts, is_last: bool) -> Response<Content> {
    if head.method == Method::HEAD {
        if let Some(length) = answer.body().length() {
            answer.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        *answer.body_mut() = Content::default();
    }
    if is_last {
        answer.headers_mut().entry(CONNECTION).or_insert(HeaderValue::from_static("close"));
    }
    answer
}

/// Whether some proxy has sent a request, as nearly all of them say. A proxy may send the next
/// request of anybody on a connection that it keeps, and that may be the one for a WebSocket.
fn is_by_some_proxy(headers: &HeaderMap) -> bool {
    let said = [VIA, FORWARDED].iter().any(|name| headers.contains_key(name));
    said || X_HEADERS.iter().any(|name| headers.contains_key(name))
}

const X_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];
