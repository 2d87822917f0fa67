//! What is found under which path of a listener, and who gets it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, VIA,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, Version};

use super::answers;
use super::content::Content;
use super::disk::Disk;
use super::files::{Ask, Files};
use crate::config::Listener;
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
    files: Arc<Files>,
}

/// What is known of a request besides its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// A listed proxy has sent it.
    pub(crate) is_by_proxy: bool,
    /// Whether clients should come to this router.
    pub(crate) is_ready: bool,
    /// The connection is to end with the answer.
    pub(crate) is_last: bool,
}

impl Site {
    /// What a listener serves that has these rules.
    pub(crate) fn new(listener: &Listener, rules: TransportRules) -> Self {
        let place = |(path, files)| {
            // The configuration has paths that can be asked for.
            let base = path_of(path).unwrap_or_default().trim_end_matches('/').to_owned();
            Place { base, files: Arc::new(files) }
        };
        let named = listener.http_paths().filter_map(|apart| {
            let files = Files::new(apart.files.as_ref()?, apart.fallback.as_deref(), &apart.cache);
            Some((apart.path.as_str(), files))
        });
        let mut places: Vec<_> = named.map(place).collect();
        places.sort_by_key(|place| std::cmp::Reverse(place.base.len()));
        Self { rules, places }
    }

    /// Answers one request; nobody reads its body.
    pub(crate) async fn answer(
        &self,
        head: &Parts,
        caller: Caller,
        disk: &Disk,
    ) -> Response<Content> {
        let answer = self.judge(head, caller, disk).await;
        let is_by_proxy = caller.is_by_proxy || is_by_some_proxy(&head.headers);
        finish(answer, head, caller.is_last || is_by_proxy)
    }

    async fn judge(&self, head: &Parts, caller: Caller, disk: &Disk) -> Response<Content> {
        let hosts = head.headers.get_all(HOST).iter().count();
        if hosts > 1 || hosts == 0 && head.version > Version::HTTP_10 {
            return answers::no_host();
        }
        let Some(path) = path_of(head.uri.path()) else { return answers::bad_target() };
        match self.rules.purpose(&path) {
            Purpose::WebSocket => answers::websocket_alone(),
            Purpose::Nothing => answers::not_found(),
            _ if !matches!(head.method, Method::GET | Method::HEAD) => answers::only_reading(),
            Purpose::Health => answers::health(caller.is_ready),
            Purpose::Http => self.serve(head, &path, disk).await,
        }
    }

    async fn serve(&self, head: &Parts, path: &str, disk: &Disk) -> Response<Content> {
        let place = self.places.iter().find(|place| is_below(path, &place.base));
        let Some(Place { base, files }) = place else { return answers::not_found() };
        let (files, ask) = (Arc::clone(files), Ask::new(head, &path[base.len()..], disk));
        let answer = disk.clone().run(move || files.answer(&ask)).await;
        answer.unwrap_or_else(answers::unavailable)
    }
}

/// The answer to a request on a listener that serves nothing any more.
pub(crate) fn answer_elsewhere(head: &Parts) -> Response<Content> {
    finish(answers::not_found(), head, true)
}

fn finish(mut answer: Response<Content>, head: &Parts, is_last: bool) -> Response<Content> {
    if head.method == Method::HEAD {
        let length = HeaderValue::from(answer.body().length());
        answer.headers_mut().entry(CONTENT_LENGTH).or_insert(length);
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
