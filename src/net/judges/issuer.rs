//! The thread that keeps the keys of one issuer up to date: it reads a file when it has changed, or
//! fetches them from an address from time to time, and when a token names a key that is not there.
//!
//! The last keys that were good stay. Whoever names keys that nobody has costs one request in
//! [`LEAST_INTERVAL`] at most.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::client::{Client, ClientError, explain};
use super::line::{Line, Next};
use super::{Issuer, Mesh, Proof, tell, wall_clock};
use crate::authentication::{KeySet, TokenSettings};
use crate::config::read_keys;
use crate::net::tls::{Look, look_at};

pub(super) struct Keeper {
    issuer: Arc<Issuer>,
    source: Source,
    /// Those whose tokens name keys that are not there.
    waiting: Line<Proof>,
    mesh: Arc<Mesh>,
}

/// Where the keys are.
enum Source {
    File {
        path: PathBuf,
        /// As it was when it was read.
        read: Look,
        /// As it was a moment ago: a file that still changes is left alone.
        last: Look,
    },
    Address {
        client: Client,
        url: String,
        refresh: Duration,
        /// When the keys are to be fetched next, and not before.
        due: Instant,
        not_before: Instant,
        failures: u32,
        keys: Option<KeySet>,
    },
}

impl Keeper {
    /// `None` if the keys of this issuer never change.
    pub(super) fn new(
        issuer: &Arc<Issuer>,
        waiting: Line<Proof>,
        mesh: &Arc<Mesh>,
    ) -> Result<Option<Self>, ClientError> {
        let Some(source) = Source::of(issuer.settings())? else { return Ok(None) };
        let (issuer, mesh) = (Arc::clone(issuer), Arc::clone(mesh));
        Ok(Some(Self { issuer, source, waiting, mesh }))
    }

    /// Keeps until nobody can send a token any more. Who comes by HTTP does not stand in the line:
    /// its search is a mark at the issuer.
    pub(super) fn run(mut self) {
        loop {
            let now = now();
            let patience = self.source.patience(now).min(SEARCH_INTERVAL);
            let first = match self.waiting.next_until(Some(now + patience)) {
                Next::Somebody(waiter, check) => Some((waiter, check)),
                Next::Nobody => None,
                Next::Closed => return,
            };
            let is_sought = self.issuer.is_sought();
            self.source.look(&self.issuer, first.is_some() || is_sought, self::now);
            if is_sought {
                self.issuer.end_search();
            }
            for (waiter, check) in first.into_iter().chain(self.waiting.drain()) {
                tell(&self.mesh, waiter.session, check.run(wall_clock()));
            }
        }
    }
}

impl Source {
    fn of(settings: &TokenSettings) -> Result<Option<Self>, ClientError> {
        if let Some(url) = &settings.keys_url {
            let (client, url) = (Client::for_keys(settings)?, url.clone());
            let (refresh, due) = (Duration::from_millis(settings.refresh_ms), now());
            let (not_before, failures, keys) = (due, 0, None);
            return Ok(Some(Self::Address {
                client,
                url,
                refresh,
                due,
                not_before,
                failures,
                keys,
            }));
        }
        let file = |path: &PathBuf| {
            let read = look_at(path);
            Self::File { path: path.clone(), last: read.clone(), read }
        };
        Ok(settings.keys.as_ref().map(file))
    }

    /// How long nothing has to be done.
    fn patience(&self, now: Instant) -> Duration {
        match self {
            Self::File { .. } => FILE_INTERVAL,
            Self::Address { due, .. } => due.saturating_duration_since(now),
        }
    }

    /// `is_asked`: somebody waits whose key is not there.
    fn look(&mut self, issuer: &Issuer, is_asked: bool, clock: impl Fn() -> Instant) {
        match self {
            Self::File { path, read, last } => {
                let seen = look_at(path);
                let is_settled = seen == *last;
                last.clone_from(&seen);
                if seen != *read && is_settled {
                    *read = seen;
                    read_again(path, issuer);
                }
            }
            Self::Address { client, url, refresh, due, not_before, failures, keys } => {
                let now = clock();
                if now < *due && !(is_asked && now >= *not_before) {
                    return;
                }
                let is_good = fetch(client, url, issuer, keys);
                *failures = if is_good { 0 } else { failures.saturating_add(1) };
                let wait = if is_good { *refresh } else { backoff(*failures).min(*refresh) };
                let now = clock();
                (*due, *not_before) = (now + wait, now + LEAST_INTERVAL);
            }
        }
    }
}

fn read_again(path: &Path, issuer: &Issuer) {
    let file = path.display();
    match read_keys(path, issuer.settings().readable_by_others) {
        Ok(keys) => {
            tracing::info!(%file, keys = keys.len(), "keys of tokens were read again");
            issuer.replace_keys(keys);
        }
        Err(reason) => {
            tracing::error!(%file, %reason, "keys of tokens changed and cannot be used, the old \
                ones stay");
        }
    }
}

/// `true` if there are keys that can be used.
fn fetch(client: &Client, url: &str, issuer: &Issuer, last: &mut Option<KeySet>) -> bool {
    // What stands behind a question mark may be a secret.
    let shown = url.split('?').next().unwrap_or_default();
    let fetched = client.get(url).map_err(|error| explain(&error));
    let keys = fetched.and_then(|body| {
        KeySet::from_jwks(&body, false).map_err(|error| format!("what is there {error}"))
    });
    match keys {
        Ok(keys) => {
            if last.as_ref() != Some(&keys) {
                tracing::info!(url = shown, keys = keys.len(), "keys of tokens were fetched");
                issuer.replace_keys(keys.clone());
                *last = Some(keys);
            }
            true
        }
        Err(reason) => {
            let stay = if last.is_some() { "the last ones stay" } else { "no token is good yet" };
            tracing::warn!(url = shown, reason, "keys of tokens cannot be fetched, {stay}");
            false
        }
    }
}

fn backoff(failures: u32) -> Duration {
    (LEAST_INTERVAL / 2 * 2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_BACKOFF)
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, away from the shards")]
fn now() -> Instant {
    Instant::now()
}

/// How often a file is looked at. Twice as long passes before a change is noticed at the latest.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether somebody who comes by HTTP seeks a key.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// Between two requests because of tokens that name keys which are not there.
const LEAST_INTERVAL: Duration = Duration::from_secs(10);

const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
