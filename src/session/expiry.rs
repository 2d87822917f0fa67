//! When a session ends by itself, and what may renew it: of those who joined by a token.

use std::sync::Arc;

use crate::authentication::{Interest, Issuer};
use crate::clock::Millis;
use crate::wamp::RequestId;

/// The end of a session that joined by a token.
#[derive(Debug)]
pub struct Expiry {
    /// Who may renew it.
    pub issuer: Arc<Issuer>,
    /// When it ends.
    pub at: Millis,
    /// When the client is to be warned; `None`: it was.
    pub warn_at: Option<Millis>,
    /// The CALL with a new token that is being judged.
    pub asked: Option<(RequestId, Interest)>,
}

impl Expiry {
    /// An end in so many milliseconds.
    pub fn new(issuer: Arc<Issuer>, now: Millis, in_ms: u64) -> Self {
        let in_ms = in_ms.min(LONGEST_MS);
        let warn_ms = issuer.settings().warn_ms;
        let warn_at = Some(now + in_ms.saturating_sub(warn_ms));
        Self { issuer, at: now + in_ms, warn_at, asked: None }
    }

    /// Puts the end off to so many milliseconds from now, unless it was later.
    pub fn renew(&mut self, now: Millis, in_ms: u64) {
        let renewed = Self::new(Arc::clone(&self.issuer), now, in_ms);
        if renewed.at > self.at {
            *self = Self { asked: self.asked.take(), ..renewed };
        }
    }

    /// When something is to be done next: the warning, or the end.
    pub fn next(&self) -> Millis {
        self.warn_at.map_or(self.at, |warn_at| warn_at.min(self.at))
    }
}

/// A century: what is further away counts as that.
const LONGEST_MS: u64 = 100 * 365 * 24 * 3_600_000;
