//! Files of one directory, as browsers ask for them (RFC 9110): whole or a part of them, if they
//! have changed, and compressed if somebody has compressed them before.
//!
//! tower-http's `ServeDir` has most of it, but opens files by their paths: it follows links out of
//! the directory and serves what begins with a dot, and a check in front of it would look at
//! another file than the one that it opens. All that it does behind that depends on the file.
//!
//! Everything here blocks, and runs on the threads behind `http`.

mod conditions;
mod media;
mod open;
mod range;

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use parking_lot::Mutex;

use self::conditions::{Condition, Version};
use self::media::{Encoding, encodings};
use self::open::{Name, open_beneath};
use self::range::Ranged;
use super::answers::{not_found, plain, set, unavailable};
use super::content::{Content, FileRest, PIECE_BYTES, read_piece};
use super::disk::Disk;

/// A directory whose files are served.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    fallback: Option<Name>,
    cache: Option<HeaderValue>,
    /// When the log was last told that a file cannot be served.
    told: Mutex<Option<SystemTime>>,
}

/// What somebody asks for.
#[derive(Debug)]
pub(super) struct Ask {
    method: Method,
    headers: HeaderMap,
    /// The path below the directory's, as [`path_of`](crate::transport::path_of) gives it: empty,
    /// or with a slash in front.
    below: String,
    /// What a redirect appends a slash to, and what follows it.
    target: (String, Option<String>),
    /// Where what does not fit into one piece is read.
    disk: Disk,
}

/// A file that was found.
struct Found {
    file: File,
    metadata: Metadata,
    media: &'static str,
    encoding: Option<Encoding>,
    /// Whether the header `Accept` has decided.
    is_by_accept: bool,
}

impl Ask {
    pub(super) fn new(head: &Parts, below: &str, disk: &Disk) -> Self {
        let target = (head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
        let (method, headers) = (head.method.clone(), head.headers.clone());
        Self { method, headers, below: below.to_owned(), target, disk: disk.clone() }
    }

    fn accepts_html(&self) -> bool {
        let accepted = self.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        accepted.flat_map(|value| value.split(',')).any(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/html")
        })
    }
}

impl Files {
    /// `fallback` and `cache` are as the configuration has checked them.
    pub(super) fn new(directory: &Path, fallback: Option<&str>, cache: &Option<String>) -> Self {
        let fallback = fallback.and_then(|name| Name::of(&format!("/{name}")));
        let cache = cache.as_ref().and_then(|cache| cache.parse().ok());
        Self { directory: directory.to_owned(), fallback, cache, told: Mutex::default() }
    }

    pub(super) fn answer(&self, ask: &Ask) -> Response<Content> {
        let answer = match Name::of(&ask.below) {
            Some(name) => self.look(ask, name),
            None => Ok(not_found()),
        };
        answer.unwrap_or_else(|error| {
            self.tell(&error);
            unavailable()
        })
    }

    /// One line in a while: whoever asks decides how often this happens.
    fn tell(&self, error: &io::Error) {
        let (mut told, now) = (self.told.lock(), now());
        let is_new = told.is_none_or(|at| now.duration_since(at).is_ok_and(|age| age > TOLD_EVERY));
        if is_new {
            *told = Some(now);
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "files cannot be served");
        }
    }

    fn look(&self, ask: &Ask, name: Name) -> io::Result<Response<Content>> {
        let is_directory = name.is_directory();
        let name = if is_directory { name.join(INDEX) } else { name };
        if let Some(found) = self.find(ask, &name)? {
            return self.send(ask, found);
        }
        if !is_directory && open_beneath(&self.directory, &name.join(INDEX))?.is_some() {
            return Ok(redirect(&ask.target));
        }
        match &self.fallback {
            Some(fallback) if ask.accepts_html() => match self.find(ask, fallback)? {
                Some(found) => self.send(ask, Found { is_by_accept: true, ..found }),
                None => Ok(not_found()),
            },
            Some(_) => {
                let mut answer = not_found();
                set(&mut answer, VARY, "accept");
                Ok(answer)
            }
            None => Ok(not_found()),
        }
    }

    /// The file of a name, in the encoding that the client likes best of those that there are.
    fn find(&self, ask: &Ask, name: &Name) -> io::Result<Option<Found>> {
        let Some((file, metadata)) = open_beneath(&self.directory, name)? else { return Ok(None) };
        let media = media::of(name.last());
        let found = |file, metadata, encoding| {
            Ok(Some(Found { file, metadata, media, encoding, is_by_accept: false }))
        };
        for encoding in encodings(ask.headers.get_all(ACCEPT_ENCODING)) {
            if let Some((file, metadata)) =
                open_beneath(&self.directory, &name.with_suffix(encoding.suffix()))?
            {
                return found(file, metadata, Some(encoding));
            }
        }
        found(file, metadata, None)
    }

    fn send(&self, ask: &Ask, found: Found) -> io::Result<Response<Content>> {
        let length = found.metadata.len();
        let version = version_of(&found);
        let mut headers = self.headers_of(&found, &version);
        let answer = |status, headers: HeaderMap, content| {
            let mut answer = Response::new(content);
            (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
            Ok(answer)
        };
        match version.judge(&ask.headers) {
            Condition::Holds => {}
            Condition::NotModified => {
                headers.remove(CONTENT_TYPE);
                headers.remove(CONTENT_ENCODING);
                return answer(StatusCode::NOT_MODIFIED, headers, Content::default());
            }
            Condition::Failed => {
                let text = "The file is another one than the request is about.\n";
                return Ok(plain(StatusCode::PRECONDITION_FAILED, text));
            }
        }
        let may_be_part = ask.method == Method::GET && version.allows_range(&ask.headers);
        let ranged = if may_be_part { range::of(&ask.headers, length) } else { Ranged::Whole };
        let (status, from, count) = match ranged {
            Ranged::Whole => (StatusCode::OK, 0, length),
            Ranged::Part { first, last } => {
                let part = format!("bytes {first}-{last}/{length}");
                headers.insert(CONTENT_RANGE, value(part));
                (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
            }
            Ranged::Outside => {
                let text = format!("The file has {length} bytes.\n");
                let mut answer = plain(StatusCode::RANGE_NOT_SATISFIABLE, text);
                let range = value(format!("bytes */{length}"));
                answer.headers_mut().insert(CONTENT_RANGE, range);
                return Ok(answer);
            }
        };
        if ask.method == Method::HEAD {
            headers.insert(hyper::header::CONTENT_LENGTH, HeaderValue::from(count));
            return answer(status, headers, Content::default());
        }
        answer(status, headers, read(found.file, from, count, &ask.disk)?)
    }

    fn headers_of(&self, found: &Found, version: &Version) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: HeaderValue| headers.insert(name, value);
        add(CONTENT_TYPE, HeaderValue::from_static(found.media));
        if let Some(encoding) = found.encoding {
            add(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        add(ETAG, value(version.tag.clone()));
        add(LAST_MODIFIED, value(httpdate::fmt_http_date(version.modified)));
        add(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let is_page = found.media.starts_with("text/html");
        let cache = self.cache.as_ref().filter(|_| !is_page);
        add(CACHE_CONTROL, cache.cloned().unwrap_or(HeaderValue::from_static("no-cache")));
        let varies = if found.is_by_accept { "accept, accept-encoding" } else { "accept-encoding" };
        add(VARY, HeaderValue::from_static(varies));
        add(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers
    }
}

/// Two versions of a file differ in when they were written, or in length. What was written just now
/// may be written once more at the same time, as clocks tick: then it is weak (RFC 9110, 8.8.2.2).
fn version_of(found: &Found) -> Version {
    let metadata = &found.metadata;
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let encoding = found.encoding.map_or("", Encoding::suffix);
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let bare = format!("\"{seconds:x}.{nanoseconds:x}-{:x}{encoding}\"", metadata.len());
    let age = now().duration_since(modified);
    let is_weak = age.map_or(true, |age| age < SETTLED);
    let tag = if is_weak { format!("W/{bare}") } else { bare };
    // HTTP knows seconds alone, and none before its time.
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let modified = SystemTime::UNIX_EPOCH.checked_add(seconds.min(LATEST));
    Version { tag, modified: modified.unwrap_or(SystemTime::UNIX_EPOCH) }
}

#[expect(clippy::disallowed_methods, reason = "the clock that file systems go by")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// What fits into one piece is read at once, of all else the first piece.
fn read(mut file: File, from: u64, count: u64, disk: &Disk) -> io::Result<Content> {
    use std::io::{Seek, SeekFrom};
    if from > 0 {
        file.seek(SeekFrom::Start(from))?;
    }
    let first = count.min(PIECE_BYTES as u64);
    let (file, piece) = read_piece(file, first)?;
    if first == count {
        return Ok(Content::of(piece));
    }
    Ok(Content::with_rest(piece, FileRest::new(file, count - first, disk.clone())))
}

/// To the directory of an index: what it links to goes by its path. `Name::of` has no empty parts,
/// so that nothing here is taken for the name of a host.
fn redirect((path, query): &(String, Option<String>)) -> Response<Content> {
    let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = plain(StatusCode::PERMANENT_REDIRECT, "This is a directory.\n");
    match HeaderValue::try_from(format!("{path}/{query}")) {
        Ok(location) => {
            answer.headers_mut().insert(LOCATION, location);
            answer
        }
        Err(_) => not_found(),
    }
}

/// Of digits, and what is written here.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// The least time between two lines of the log.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What a directory shows.
const INDEX: &str = "index.html";

/// A file of this age is not written again at the same time.
const SETTLED: Duration = Duration::from_secs(2);

/// The last second of the year 9999, beyond which dates have no form.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

#[cfg(test)]
mod tests;
