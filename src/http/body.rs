//! The body of a request: how long it may be and take, and what it must be.

use std::future::poll_fn;
use std::pin::Pin;

use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use tokio::time::{Instant, timeout_at};

use super::format::Format;
use super::room::Taken;

/// Why a body is not read, or not to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyFault {
    #[error(
        "the body must be JSON in UTF-8, CBOR or MessagePack: send `Content-Type: \
         application/json`, `application/cbor` or `application/msgpack`"
    )]
    Type,
    #[error("the body must not be compressed: leave `Content-Encoding` out")]
    Encoding,
    #[error("a body is needed, with its length in `Content-Length`, or in chunks")]
    NoLength,
    #[error("the body is longer than the {0} bytes that this path takes")]
    TooLong(usize),
    #[error("the body would be longer as JSON than the {0} bytes that this path takes")]
    TooLongAsJson(usize),
    #[error("the body has not come whole in {0} ms")]
    Slow(u64),
    #[error("the body is not as HTTP has it, or has broken off")]
    Broken,
    #[error("the router has no room for this body now: try again later")]
    NoRoom,
}

impl BodyFault {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Type | Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoLength => StatusCode::LENGTH_REQUIRED,
            Self::TooLong(_) | Self::TooLongAsJson(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The format of a body, if it is what its path takes, as far as the head says it. One that is not
/// is not read.
pub(super) fn judge(headers: &HeaderMap, most: usize) -> Result<Format, BodyFault> {
    let format = Format::of_body(headers).ok_or(BodyFault::Type)?;
    let is_plain = |value: &[u8]| value.eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| !is_plain(value.as_bytes())) {
        return Err(BodyFault::Encoding);
    }
    judge_length(headers, most)?;
    Ok(format)
}

/// The same of its length alone. What a length may look like was judged with the head.
pub(super) fn judge_length(headers: &HeaderMap, most: usize) -> Result<(), BodyFault> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.map(str::parse::<u64>) {
        None if most > 0 && !headers.contains_key(TRANSFER_ENCODING) => Err(BodyFault::NoLength),
        Some(Ok(length)) if length > most as u64 => Err(BodyFault::TooLong(most)),
        Some(Err(_)) => Err(BodyFault::TooLong(most)),
        _ => Ok(()),
    }
}

/// Reads a body to its end, if that comes in so many milliseconds and it has `most` bytes at most.
/// What has come counts in `taken`.
pub(super) async fn read(
    mut body: Incoming,
    most: usize,
    patience_ms: u64,
    taken: &mut Taken,
) -> Result<Vec<u8>, BodyFault> {
    let deadline = Instant::now() + std::time::Duration::from_millis(patience_ms);
    let mut read = Vec::new();
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let frame = timeout_at(deadline, frame).await;
        let Some(frame) = frame.map_err(|_| BodyFault::Slow(patience_ms))? else { break };
        // Trailers say nothing here.
        let Ok(data) = frame.map_err(|_| BodyFault::Broken)?.into_data() else { continue };
        if read.len() + data.len() > most {
            return Err(BodyFault::TooLong(most));
        }
        if !taken.grow(data.len()) {
            return Err(BodyFault::NoRoom);
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use hyper::header::{CONTENT_TYPE, HeaderName};

    use super::*;

    #[track_caller]
    fn check(fields: &[(HeaderName, &str)], expected: Result<(), BodyFault>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), value.parse().unwrap());
        }
        assert_eq!(judge(&headers, 100).map(drop), expected, "{fields:?}");
    }

    #[test]
    fn what_a_head_says_of_a_body_is_enough_to_refuse_it() {
        let length = |length| (CONTENT_LENGTH, length);
        check(&[length("100"), (CONTENT_TYPE, "application/cbor")], Ok(()));
        check(&[length("100"), (CONTENT_TYPE, "text/plain")], Err(BodyFault::Type));
        check(&[length("0")], Ok(()));
        check(&[(TRANSFER_ENCODING, "chunked")], Ok(()));
        check(&[], Err(BodyFault::NoLength));
        check(&[length("101")], Err(BodyFault::TooLong(100)));
        check(&[length("99999999999999999999")], Err(BodyFault::TooLong(100)));
        check(&[length("1"), (CONTENT_ENCODING, "gzip")], Err(BodyFault::Encoding));
        check(&[length("1"), (CONTENT_ENCODING, "identity")], Ok(()));
    }
}
