//! Who may publish and call at a path: from which networks, of which pages, and by which key. What
//! is shown as a token others judge ([`super::bearer`]).

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::bearer::Tokens;
use super::pool::SessionKey;
use crate::address::{Address, Network};
use crate::authentication::{TokenError, has_form_of_token};
use crate::clock::Millis;
use crate::config::AdminToken;
use crate::rate::{Bucket, Rate};
use crate::transport::Origins;

/// What decides about those who come.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) path: String,
    /// Where they may come from; empty: from everywhere.
    pub(super) networks: Vec<Network>,
    pub(super) origins: Origins,
    /// As whom they come without a key, if there are no keys.
    pub(super) open: Option<SessionKey>,
    pub(super) keys: Vec<(AdminToken, SessionKey)>,
    /// The tokens that are taken besides.
    pub(super) tokens: Option<Tokens>,
    pub(super) told: Told,
}

/// What somebody has shown who may come.
#[derive(Debug)]
pub(super) enum Shown<'a> {
    /// Nothing that is needed, or a key: it is this one.
    Known(&'a SessionKey),
    /// A token, which nobody has verified.
    Token(&'a Tokens, &'a str),
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    Network,
    Origin,
    NoKey,
    WrongKey,
    Token(TokenError),
}

/// When the log was told of those who may not.
#[derive(Debug)]
pub(super) struct Told {
    began: Instant,
    bucket: Mutex<Bucket>,
}

impl Default for Told {
    fn default() -> Self {
        Self { began: Instant::now(), bucket: Mutex::default() }
    }
}

impl Door {
    /// Has the log tell of somebody who may not, now and then.
    pub(super) fn tell(&self, denied: Denied, peer: Address) {
        let is_told = matches!(denied, Denied::Network | Denied::WrongKey | Denied::Token(_));
        if is_told && self.told.may_tell() {
            let (path, reason) = (&self.path, denied.reason());
            tracing::warn!(%peer, %path, reason, "an HTTP request was refused");
        }
    }

    /// What somebody comes in with.
    pub(super) fn enter<'a>(
        &'a self,
        headers: &'a HeaderMap,
        peer: Address,
    ) -> Result<Shown<'a>, Denied> {
        let is_from_there = |network: &Network| network.contains(peer);
        if !self.networks.is_empty() && !self.networks.iter().any(is_from_there) {
            return Err(Denied::Network);
        }
        if self.is_of_foreign_page(headers) {
            return Err(Denied::Origin);
        }
        if let Some(open) = &self.open {
            return Ok(Shown::Known(open));
        }
        let shown = shown_key(headers).ok_or(Denied::NoKey)?;
        if let Some(tokens) = &self.tokens
            && let Ok(token) = str::from_utf8(shown)
            && has_form_of_token(token)
        {
            return Ok(Shown::Token(tokens, token));
        }
        // Each is compared, and whole: who shows one learns from the time how many there are.
        let mut found = None;
        for (hash, key) in &self.keys {
            if hash.is_of(shown) {
                found = Some(key);
            }
        }
        found.map(Shown::Known).ok_or(Denied::WrongKey)
    }

    /// Whether a browser says that a page of another origin asks, which may not.
    fn is_of_foreign_page(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return false };
        origins.next().is_some() || !self.allows(origin, headers)
    }

    fn allows(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        origin.to_str().is_ok_and(|origin| self.origins.allow(origin, host))
    }

    /// What a browser is told about who may read the answer: the origin, and whether it depends on
    /// the one that asks. Pages of the same origin need nothing.
    pub(super) fn shared_with(&self, headers: &HeaderMap) -> (Option<HeaderValue>, bool) {
        let Origins::Listed(listed) = &self.origins else {
            let is_local = matches!(self.origins, Origins::Local);
            let origin =
                headers.get(ORIGIN).filter(|origin| is_local && self.allows(origin, headers));
            return (origin.cloned(), is_local);
        };
        if listed.iter().any(|origin| origin == "*") {
            return (Some(HeaderValue::from_static("*")), false);
        }
        (headers.get(ORIGIN).filter(|origin| self.allows(origin, headers)).cloned(), true)
    }
}

impl Denied {
    fn reason(self) -> String {
        match self {
            Self::Network => "its network is none of `require_ip`".into(),
            Self::Origin => "its page is of an origin that may not".into(),
            Self::NoKey => "it shows no key".into(),
            Self::WrongKey => "it shows a key that is none of this path".into(),
            Self::Token(error) => error.to_string(),
        }
    }
}

impl Told {
    fn may_tell(&self) -> bool {
        let since = self.began.elapsed().as_millis();
        let now = Millis(u64::try_from(since).unwrap_or(u64::MAX));
        let Some(rate) = Rate::new(TOLD_PER_SECOND, TOLD_AT_ONCE) else { return false };
        let mut bucket = self.bucket.lock();
        if bucket.ready_at(rate, now).is_some() {
            return false;
        }
        bucket.take(rate, 1, now);
        true
    }
}

/// What stands behind `Bearer`, if it stands there once.
fn shown_key(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let value = first.filter(|_| second.is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

const SCHEME: &[u8] = b"bearer ";

/// Lines about those who may not, of one path.
const TOLD_PER_SECOND: u32 = 1;
const TOLD_AT_ONCE: u32 = 10;

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;
    use crate::config::Secret;

    fn key(authid: &str) -> SessionKey {
        SessionKey { authid: authid.into(), ..SessionKey::default() }
    }

    fn door() -> Door {
        let kept = |secret: &str| AdminToken::of(&Secret::new(secret));
        Door {
            path: "/publish".into(),
            networks: vec!["10.0.0.0/8".parse().unwrap(), "unix".parse().unwrap()],
            origins: Origins::Listed(vec!["https://app.example.org".into()]),
            open: None,
            keys: vec![(kept(ONE), key("one")), (kept(TWO), key("two"))],
            tokens: None,
            told: Told::default(),
        }
    }

    const ONE: &str = "0123456789012345678901";
    const TWO: &str = "abcdefghijabcdefghijab";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_key_says_who_somebody_is() {
        let door = door();
        let enter =
            |fields: &[(HeaderName, &str)]| match door.enter(&headers(fields), Address::UNIX)? {
                Shown::Known(key) => Ok(key.authid.to_string()),
                Shown::Token(_, token) => Ok(format!("the token {token}")),
            };
        let bearer = |secret: &str| format!("Bearer {secret}");
        assert_eq!(enter(&[(AUTHORIZATION, &bearer(ONE))]), Ok("one".into()));
        assert_eq!(enter(&[(AUTHORIZATION, &format!("bearer  {TWO} "))]), Ok("two".into()));
        assert_eq!(enter(&[]), Err(Denied::NoKey));
        assert_eq!(enter(&[(AUTHORIZATION, &format!("Basic {ONE}"))]), Err(Denied::NoKey));
        assert_eq!(enter(&[(AUTHORIZATION, &bearer("x"))]), Err(Denied::WrongKey));
        assert_eq!(enter(&[(AUTHORIZATION, &bearer(""))]), Err(Denied::WrongKey));
        let mut twice = headers(&[(AUTHORIZATION, &bearer(ONE))]);
        twice.append(AUTHORIZATION, bearer(ONE).parse().unwrap());
        assert_eq!(door.enter(&twice, Address::UNIX).err(), Some(Denied::NoKey));
    }

    /// What has the form of a token is never taken for a key, and only where tokens are taken.
    #[test]
    fn a_token_is_told_by_its_form() {
        let tokens = Some(Tokens { entrance: None, way: SessionKey::default() });
        let door = Door { tokens, ..door() };
        let enter = |secret: &str| {
            let headers = headers(&[(AUTHORIZATION, &format!("Bearer {secret}"))]);
            match door.enter(&headers, Address::UNIX)? {
                Shown::Known(key) => Ok(key.authid.to_string()),
                Shown::Token(_, token) => Ok(format!("the token {token}")),
            }
        };
        assert_eq!(enter("eyJh.e30.c2ln"), Ok("the token eyJh.e30.c2ln".into()));
        assert_eq!(enter(ONE), Ok("one".into()));
        for bad in ["eyJh.e30", "e30.e30.e30", "eyJh.e30.c2ln.x", "eyJh.e30.c2 ln", ""] {
            assert_eq!(enter(bad), Err(Denied::WrongKey), "{bad}");
        }
        let refused = Door { tokens: None, ..door };
        let headers = headers(&[(AUTHORIZATION, "Bearer eyJh.e30.c2ln")]);
        assert_eq!(refused.enter(&headers, Address::UNIX).err(), Some(Denied::WrongKey));
    }

    #[test]
    fn networks_and_pages_are_looked_at_before_keys() {
        let door = door();
        let right = headers(&[(AUTHORIZATION, &format!("Bearer {ONE}"))]);
        let from = |ip: &str| Address::new(ip.parse().unwrap(), None);
        assert!(door.enter(&right, from("10.1.2.3")).is_ok());
        assert_eq!(door.enter(&right, from("11.1.2.3")).err(), Some(Denied::Network));
        assert_eq!(door.enter(&right, from("::1")).err(), Some(Denied::Network));
        for (origin, is_let_in) in
            [("https://app.example.org", true), ("https://evil.example", false), ("null", false)]
        {
            let mut headers = right.clone();
            headers.insert(ORIGIN, origin.parse().unwrap());
            assert_eq!(door.enter(&headers, Address::UNIX).is_ok(), is_let_in, "{origin}");
            let shared = door.shared_with(&headers).0;
            assert_eq!(shared.is_some(), is_let_in, "{origin}");
        }
        let anybody = Door { origins: Origins::Listed(vec!["*".into()]), ..door };
        let headers = headers(&[(ORIGIN, "https://evil.example")]);
        assert_eq!(anybody.shared_with(&headers), (Some(HeaderValue::from_static("*")), false));
    }
}
