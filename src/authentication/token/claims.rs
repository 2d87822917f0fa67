//! What a signed token says: until when it holds, for whom it is, and who its bearer is.

use serde_json::{Map, Number, Value as Json};

use super::TokenError;
use crate::wamp::Timestamp;

/// The claims of a token whose signature is right.
#[derive(Clone, Copy)]
pub(super) struct Claims<'a>(pub(super) &'a Map<String, Json>);

impl<'a> Claims<'a> {
    /// Checks `exp`, which must be there, and `nbf` and `iat`, which may be (RFC 7519, 4.1).
    /// Returns when the token expires, the leeway included.
    pub(super) fn check_times(
        self,
        now: Timestamp,
        leeway_ms: u64,
    ) -> Result<Timestamp, TokenError> {
        let leeway = i64::try_from(leeway_ms).unwrap_or(i64::MAX);
        let now = now.unix_ms();
        let expires = self.time("exp")?.ok_or(TokenError::NoExpiry)?.saturating_add(leeway);
        if now >= expires {
            return Err(TokenError::Expired);
        }
        if self.time("nbf")?.is_some_and(|from| now.saturating_add(leeway) < from) {
            return Err(TokenError::NotYetValid);
        }
        self.time("iat")?;
        Ok(Timestamp::from_unix_ms(expires))
    }

    /// Whether a claim is this text.
    pub(super) fn says(self, claim: &str, text: &str) -> bool {
        self.0.get(claim).and_then(Json::as_str) == Some(text)
    }

    /// Whether `aud` names this audience, alone or among others.
    pub(super) fn is_for(self, audience: &str) -> bool {
        match self.0.get("aud") {
            Some(Json::String(one)) => one == audience,
            Some(Json::Array(all)) => all.iter().any(|one| one.as_str() == Some(audience)),
            _ => false,
        }
    }

    /// A claim by its name, or by the names of the objects that it lies in, with dots between them.
    pub(super) fn find(self, path: &str) -> Option<&'a Json> {
        let Self(members) = self;
        members.get(path).or_else(|| {
            path.match_indices('.').find_map(|(dot, _)| {
                let inner = members.get(&path[..dot])?.as_object()?;
                Self(inner).find(&path[dot + 1..])
            })
        })
    }

    /// The texts of a claim: the items of a list, or the words of a text as `scope` has them.
    pub(super) fn words(self, path: &str) -> Vec<&'a str> {
        match self.find(path) {
            Some(Json::String(text)) => text.split_ascii_whitespace().collect(),
            Some(Json::Array(items)) => items.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Milliseconds since 1970.
    fn time(self, claim: &str) -> Result<Option<i64>, TokenError> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(Json::Number(number)) => Ok(Some(milliseconds(number))),
            Some(_) => Err(TokenError::NoNumber),
        }
    }
}

/// `NumericDate` (RFC 7519, 2): seconds, perhaps with a fraction. What no calendar reaches counts
/// as its end.
fn milliseconds(number: &Number) -> i64 {
    if let Some(seconds) = number.as_i64() {
        return seconds.saturating_mul(1_000);
    }
    let milliseconds = number.as_f64().unwrap_or(f64::MAX) * 1_000.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that is too large becomes the end"
    )]
    let milliseconds = milliseconds.floor() as i64;
    milliseconds
}
