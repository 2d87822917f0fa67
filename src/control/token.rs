//! Who may change something: whoever shows the token.
//!
//! A token is 128 random bits at least, and the comparison is a SHA-256: each one that is shown is
//! compared, also after many wrong ones, so that nobody locks those out who have the right one.
//! What is bounded is how often the log tells of wrong ones.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use data_encoding::BASE64URL_NOPAD;
use parking_lot::Mutex;

use crate::address::Address;
use crate::clock::Millis;
use crate::config::{Admin, AdminToken, Secret, TokenFileFault, read_token_file};
use crate::rate::{Bucket, Rate};

/// What is kept of the token, if there is one, and how often it was not shown.
#[derive(Debug)]
pub(super) struct Lock {
    token: Option<AdminToken>,
    started: Instant,
    wrong: Mutex<Bucket>,
    refused: [AtomicU64; Denied::ALL.len()],
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error(
        "changes need a token, and this router has none: set `token_file` (the router makes the \
         file) or `token` (`stentor keygen token` makes one) in [admin], and restart it"
    )]
    NoToken,
    #[error("this needs the header `Authorization: Bearer` with the token of [admin]")]
    NotShown,
    #[error("this is not the token of [admin]")]
    Wrong,
    #[error("too many wrong tokens were shown lately")]
    TooMany,
}

impl Denied {
    pub(super) const ALL: [Self; 4] = [Self::NoToken, Self::NotShown, Self::Wrong, Self::TooMany];

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::NoToken => StatusCode::FORBIDDEN,
            Self::NotShown | Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// As the metric calls it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::NotShown => "not_shown",
            Self::Wrong => "wrong",
            Self::TooMany => "too_many",
        }
    }
}

/// Why there is no token although one is configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error(transparent)]
    File(#[from] TokenFileFault),
    #[error("cannot make the token in `{}`: {source}", .path.display())]
    Make { path: PathBuf, source: io::Error },
}

impl Lock {
    /// Makes the file of the token if it is named and not there.
    pub(super) fn new(admin: &Admin, started: Instant) -> Result<Self, TokenError> {
        let token = match &admin.token_file {
            Some(file) => Some(AdminToken::of(&token_of(file)?)),
            None => admin.token.clone(),
        };
        Ok(Self { token, started, wrong: Mutex::default(), refused: Default::default() })
    }

    /// Whether these headers show the token. `peer` stands in the log.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        peer: Address,
        now: Instant,
    ) -> Result<(), Denied> {
        let denied = match (&self.token, shown(headers)) {
            (None, _) => Denied::NoToken,
            (Some(_), None) => Denied::NotShown,
            (Some(token), Some(shown)) if token.is_of(shown) => return Ok(()),
            (Some(_), Some(_)) => self.note_wrong(peer, now),
        };
        self.refused[denied as usize].fetch_add(1, Ordering::Relaxed);
        Err(denied)
    }

    /// Whether these headers show the token; it counts for nothing if they do not.
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        self.token.as_ref().zip(shown(headers)).is_some_and(|(token, shown)| token.is_of(shown))
    }

    /// How often each has happened.
    pub(super) fn refused(&self) -> impl Iterator<Item = (Denied, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Denied::ALL.into_iter().zip(counts)
    }

    fn note_wrong(&self, peer: Address, now: Instant) -> Denied {
        let since = now.saturating_duration_since(self.started).as_millis();
        let now = Millis(u64::try_from(since).unwrap_or(u64::MAX));
        let rate = Rate::new(WRONG_PER_SECOND, WRONG_AT_ONCE).expect("it is not zero");
        let mut wrong = self.wrong.lock();
        if wrong.ready_at(rate, now).is_some() {
            return Denied::TooMany;
        }
        wrong.take(rate, 1, now);
        drop(wrong);
        tracing::warn!(%peer, "a wrong token was shown on the admin listener");
        Denied::Wrong
    }
}

/// What stands behind `Bearer`, if it stands there once.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let value = first.filter(|_| second.is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

fn token_of(file: &Path) -> Result<Secret, TokenError> {
    if let Some(token) = read_token_file(file)? {
        return Ok(token);
    }
    let error = |source| TokenError::Make { path: file.to_owned(), source };
    let token = make(file).map_err(error)?;
    tracing::info!(file = %file.display(), "made a token for changes on the admin listener");
    Ok(token)
}

fn make(file: &Path) -> io::Result<Secret> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let token = Secret::new(BASE64URL_NOPAD.encode(&random));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(token.bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    Ok(token)
}

const SCHEME: &[u8] = b"bearer ";

/// Wrong tokens that are told one by one.
const WRONG_PER_SECOND: u32 = 1;
const WRONG_AT_ONCE: u32 = 10;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn moment() -> Instant {
        Instant::now()
    }

    fn ask(lock: &Lock, values: &[&str], now: Instant) -> Result<(), Denied> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        lock.check(&headers, Address::UNIX, now)
    }

    #[test]
    fn a_token_is_made_once_and_read_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let admin = Admin { token_file: Some(file.clone()), ..Admin::default() };
        let lock = Lock::new(&admin, moment()).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let token = fs::read_to_string(&file).unwrap();
        let shown = format!("Bearer {}", token.trim_end());
        assert_eq!(ask(&lock, &[&shown], moment()), Ok(()));
        let again = Lock::new(&admin, moment()).unwrap();
        assert_eq!(ask(&again, &[&shown], moment()), Ok(()), "it is read, not made anew");
        assert_eq!(fs::read_to_string(&file).unwrap(), token);
        let nowhere = Admin { token_file: Some(folder.path().join("a/b")), ..Admin::default() };
        assert!(matches!(Lock::new(&nowhere, moment()), Err(TokenError::Make { .. })));
    }

    #[test]
    fn only_the_right_token_opens_and_wrong_ones_lock_nobody_out() {
        let token = "0123456789012345678901";
        let kept = AdminToken::of(&Secret::new(token));
        let admin = Admin { token: Some(kept), ..Admin::default() };
        let start = moment();
        let lock = Lock::new(&admin, start).unwrap();
        let right = format!("bearer  {token}");
        assert_eq!(ask(&lock, &[], start), Err(Denied::NotShown));
        assert_eq!(ask(&lock, &[&right, &right], start), Err(Denied::NotShown));
        assert_eq!(ask(&lock, &[&format!("Basic {token}")], start), Err(Denied::NotShown));
        for wrong in ["Bearer x", "Bearer ", &format!("Bearer {token}x")].iter().cycle().take(10) {
            assert_eq!(ask(&lock, &[wrong], start), Err(Denied::Wrong));
        }
        assert_eq!(ask(&lock, &["Bearer x"], start), Err(Denied::TooMany));
        assert_eq!(ask(&lock, &[&right], start), Ok(()));
        assert_eq!(ask(&lock, &["Bearer x"], start + Duration::from_secs(2)), Err(Denied::Wrong));
        let refused: Vec<_> = lock.refused().map(|(_, count)| count).collect();
        assert_eq!(refused, [0, 3, 11, 1]);
    }

    #[test]
    fn without_a_token_nothing_opens() {
        let lock = Lock::new(&Admin::default(), moment()).unwrap();
        assert_eq!(ask(&lock, &["Bearer x"], moment()), Err(Denied::NoToken));
        assert_eq!(ask(&lock, &["Bearer "], moment()), Err(Denied::NoToken));
    }
}
