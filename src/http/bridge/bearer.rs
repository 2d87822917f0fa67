//! Who shows a token: whom it makes of its bearer, and until when.
//!
//! Each request's token is judged, some 50 us on the thread `http` for a new one, so what was good
//! a moment ago counts for nothing. What the realm's authenticators say of tokens holds here as at
//! a login.

use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::time::{Instant, sleep};

use super::door::Denied;
use super::pool::SessionKey;
use crate::authentication::{Grant, Judgement, Lease, MissingKey, TokenError};
use crate::http::inner::Inside;
use crate::http::site::Caller;

/// The tokens that a path takes.
#[derive(Debug)]
pub(super) struct Tokens {
    /// What authenticators call the path.
    pub(super) entrance: Option<String>,
    /// The way of all who bear one: of nobody in particular.
    pub(super) way: SessionKey,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) key: SessionKey,
    /// When a token ends that it has shown.
    pub(super) until: Option<Instant>,
}

impl Guest {
    /// By a key of the path, or without any.
    pub(super) const fn of(key: SessionKey) -> Self {
        Self { key, until: None }
    }
}

impl Tokens {
    /// As whom the bearer of a token comes in. If it names a key that is not there yet, keys are
    /// fetched first, unless they were just now.
    pub(super) async fn admit(
        &self,
        token: &str,
        caller: Caller,
        inside: &dyn Inside,
    ) -> Result<Guest, Denied> {
        let is_confidential = caller.is_confidential;
        let entrance = self.entrance.as_deref();
        let judge = || inside.judge_token(&self.way.realm, entrance, is_confidential, token);
        let mut judgement = judge();
        if let Judgement::KeyMissing(MissingKey(issuer, _)) = &judgement
            && issuer.settings().keys_url.is_some()
        {
            issuer.seek_keys();
            let patience = Instant::now() + LONGEST_SEARCH;
            while issuer.is_sought() && Instant::now() < patience {
                sleep(LOOK_AGAIN).await;
            }
            judgement = judge();
        }
        match judgement {
            Judgement::Granted { grant, lease: Some(lease) } => {
                self.guest(*grant, &lease, inside).ok_or(Denied::Token(TokenError::NoAuthid))
            }
            Judgement::KeyMissing(MissingKey(_, error)) | Judgement::Denied(Some(error)) => {
                Err(Denied::Token(error))
            }
            _ => Err(Denied::Token(TokenError::Malformed)),
        }
    }

    fn guest(&self, grant: Grant, lease: &Lease, inside: &dyn Inside) -> Option<Guest> {
        let key = SessionKey { role: grant.role, authid: grant.authid?, ..self.way.clone() };
        let left = inside.left_until(lease.expires).min(LONGEST_TIMER);
        Some(Guest { key, until: Some(Instant::now() + left) })
    }
}

/// What whoever has shown a bad token is told of it (RFC 6750, 3): that its time is over, as it
/// can do something about that, and no more.
pub(super) fn challenge(error: TokenError) -> (HeaderValue, &'static str) {
    let (header, text) = match error {
        TokenError::Expired => (
            "Bearer error=\"invalid_token\", error_description=\"the token has expired\"",
            "the token has expired",
        ),
        TokenError::NotYetValid => (
            "Bearer error=\"invalid_token\", error_description=\"the token is not valid yet\"",
            "the token is not valid yet",
        ),
        _ => (
            "Bearer error=\"invalid_token\", error_description=\"the token is not taken here\"",
            "this is no token that is taken here",
        ),
    };
    (HeaderValue::from_static(header), text)
}

/// How long keys may be looked for: as long as they may take to come, and a moment more.
const LONGEST_SEARCH: Duration = Duration::from_secs(12);

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Timers reach about two years; whose token lasts longer begins its stream anew.
const LONGEST_TIMER: Duration = Duration::from_secs(365 * 24 * 3_600);
