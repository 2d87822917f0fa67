//! Answers that are a sentence: what is wrong with a request, and what to do instead.

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::content::Content;

/// A sentence in plain text.
pub(super) fn plain(status: StatusCode, text: impl Into<String>) -> Response<Content> {
    let mut answer = Response::new(Content::of(text.into()));
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, "text/plain; charset=utf-8");
    set(&mut answer, CACHE_CONTROL, "no-cache");
    set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}

pub(super) fn not_found() -> Response<Content> {
    plain(StatusCode::NOT_FOUND, "Nothing is here.\n")
}

pub(super) fn bad_target() -> Response<Content> {
    plain(StatusCode::BAD_REQUEST, "The request target must be a path or an http URL.\n")
}

/// The connection ends with it: what else comes is not read.
pub(super) fn set_last(answer: &mut Response<Content>) {
    set(answer, CONNECTION, "close");
}

/// RFC 9112, 3.2.
pub(super) fn no_host() -> Response<Content> {
    let text = "Exactly one Host header is required.\n";
    let mut answer = plain(StatusCode::BAD_REQUEST, text);
    set(&mut answer, CONNECTION, "close");
    answer
}

pub(super) fn only_reading() -> Response<Content> {
    let text = "Only GET and HEAD are supported here.\n";
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, text);
    set(&mut answer, ALLOW, "GET, HEAD");
    answer
}

/// A path where WebSockets are opened was asked for behind another request.
pub(super) fn websocket_alone() -> Response<Content> {
    let text = "This path speaks WebSocket, which begins a connection: open a new one for it.\n";
    let mut answer = plain(StatusCode::UPGRADE_REQUIRED, text);
    set(&mut answer, UPGRADE, "websocket");
    set(&mut answer, CONNECTION, "close, Upgrade");
    answer
}

pub(super) fn health(is_ready: bool) -> Response<Content> {
    let (status, text) = match is_ready {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready: stopping\n"),
    };
    let mut answer = plain(status, text);
    set(&mut answer, CACHE_CONTROL, "no-store");
    answer
}

/// The disk does not answer, or not in time.
pub(super) fn unavailable() -> Response<Content> {
    plain(StatusCode::SERVICE_UNAVAILABLE, "This cannot be read now. Try again later.\n")
}

pub(super) fn set(answer: &mut Response<Content>, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// No more connections into the router are to be had.
pub(super) fn full() -> Response<Content> {
    let text = "All connections of the router are taken. Try again later.\n";
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    set(&mut answer, RETRY_AFTER, "5");
    answer
}

/// The router is about to stop.
pub(super) fn stopping() -> Response<Content> {
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "The router stops. Try again later.\n");
    set(&mut answer, RETRY_AFTER, "5");
    answer
}
