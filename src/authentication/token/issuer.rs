//! One issuer of tokens: its keys, what its tokens must say, and whom they make of their bearers.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::jws::Token;
use super::keys::KeySet;
use super::verified::Verified;
use crate::authentication::json::from_json;
use crate::authentication::{Grant, MAX_AUTHID_BYTES};
use crate::wamp::{Dict, Timestamp};

/// How tokens are recognized, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenSettings {
    /// The file of the keys: a JSON Web Key Set, or a public key in PEM.
    pub keys: Option<PathBuf>,
    /// Whether that file may be one that everybody can read although it holds a secret.
    pub readable_by_others: bool,
    /// The address of a JSON Web Key Set.
    pub keys_url: Option<String>,
    /// The environment variable of a shared secret, as `${NAME}`.
    pub secret: Option<String>,
    /// What `iss` must be; `None`: anything.
    pub issuer: Option<String>,
    /// What `aud` must name; `None`: anybody.
    pub audience: Option<String>,
    /// How far clocks may differ, in milliseconds: 0 to 600,000.
    pub leeway_ms: u64,
    /// The claim that is the authid.
    pub authid_claim: String,
    /// The claim that the role comes from.
    pub role_claim: Option<String>,
    /// Which role what the claim says makes. The first that fits counts; what is not listed is
    /// ignored.
    pub roles: Vec<RoleRule>,
    /// Claims that become `WELCOME.Details.authextra`.
    pub extra_claims: Vec<String>,
    /// How long before its end a session is warned, in milliseconds.
    pub warn_ms: u64,
    /// How old keys from an address may become before they are fetched again, in milliseconds.
    pub refresh_ms: u64,
    /// The authorities for `https`, in PEM; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Whether the address may be plain `http` on another machine.
    pub plain_http: bool,
    /// The digest of the file of authorities as it was read: with another one this is another way
    /// to ask.
    #[serde(skip)]
    pub ca_digest: Option<[u8; 32]>,
    /// The keys of the file, or the secret, as they were read at the start.
    #[serde(skip)]
    pub loaded: Option<Arc<KeySet>>,
}

/// One row of the table of roles.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RoleRule {
    pub claim: String,
    pub role: String,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            keys: None,
            readable_by_others: false,
            keys_url: None,
            secret: None,
            issuer: None,
            audience: None,
            leeway_ms: 30_000,
            authid_claim: "sub".into(),
            role_claim: None,
            roles: Vec::new(),
            extra_claims: Vec::new(),
            warn_ms: 60_000,
            refresh_ms: 900_000,
            ca: None,
            ca_digest: None,
            plain_http: false,
            loaded: None,
        }
    }
}

/// Why a token lets nobody in. For the log: a client only learns that it is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is longer than 16 KiB")]
    TooLong,
    #[error("the token is malformed")]
    Malformed,
    #[error("the token has a `crit` header")]
    Critical,
    #[error("no key has the `kid` of the token")]
    UnknownKey,
    #[error("the keys of the issuer are not there yet")]
    NoKeys,
    #[error("the key has another algorithm than the token says")]
    OtherAlgorithm,
    #[error("the signature is wrong")]
    BadSignature,
    #[error("the token has no `exp`")]
    NoExpiry,
    #[error("`exp`, `nbf` or `iat` is no number")]
    NoNumber,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("no authenticator of the realm takes tokens of those who come this way")]
    NotHere,
    #[error("`iss` is another one")]
    OtherIssuer,
    #[error("`aud` does not name this router")]
    OtherAudience,
    #[error("the claim of the authid is missing, no text, or too long")]
    NoAuthid,
    #[error("the client says another authid than the token")]
    OtherAuthid,
    #[error("no claim makes a role")]
    NoRole,
}

/// How long a session may last, and who may renew it.
#[derive(Clone)]
pub struct Lease {
    pub issuer: Arc<Issuer>,
    pub expires: Timestamp,
}

/// An issuer of tokens on one realm. Its keys are replaced as a whole while others read them.
pub struct Issuer {
    settings: TokenSettings,
    /// The role of bearers that no claim makes one of.
    role: Option<String>,
    keys: ArcSwapOption<KeySet>,
    verified: Verified,
    /// Somebody waits whose token names a key that is not there.
    is_sought: AtomicBool,
}

impl Issuer {
    pub fn new(settings: TokenSettings, role: Option<String>) -> Self {
        let keys = ArcSwapOption::new(settings.loaded.clone());
        let (verified, is_sought) = (Verified::default(), AtomicBool::new(false));
        Self { settings, role, keys, verified, is_sought }
    }

    pub const fn settings(&self) -> &TokenSettings {
        &self.settings
    }

    /// Asks whoever keeps the keys at an address to look for newer ones, if it may already.
    pub fn seek_keys(&self) {
        self.is_sought.store(true, Ordering::Release);
    }

    /// Whether somebody has asked for that, and nobody has looked since.
    pub fn is_sought(&self) -> bool {
        self.is_sought.load(Ordering::Acquire)
    }

    /// The keys are as new as they can be now.
    pub fn end_search(&self) {
        self.is_sought.store(false, Ordering::Release);
    }

    /// From now on these are its keys.
    pub fn replace_keys(&self, keys: KeySet) {
        self.keys.store(Some(Arc::new(keys)));
    }

    /// Whom a token makes of its bearer, and until when. `authid` is what the client says itself.
    ///
    /// # Errors
    /// [`TokenError`] if it lets nobody in.
    pub fn judge(
        &self,
        text: &str,
        authid: Option<&str>,
        now: Timestamp,
    ) -> Result<(Grant, Timestamp), TokenError> {
        let token = Token::parse(text)?;
        let claims = Claims(&token.claims);
        // First, since several issuers may be asked, and only one of them knows the key.
        if self.settings.issuer.as_ref().is_some_and(|issuer| !claims.says("iss", issuer)) {
            return Err(TokenError::OtherIssuer);
        }
        let keys = self.keys.load_full().ok_or(TokenError::NoKeys)?;
        self.verified.check(text, &keys, || token.verify(&keys))?;
        let expires = claims.check_times(now, self.settings.leeway_ms)?;
        if self.settings.audience.as_ref().is_some_and(|audience| !claims.is_for(audience)) {
            return Err(TokenError::OtherAudience);
        }
        let own = self.authid(claims)?;
        if authid.is_some_and(|authid| authid != own) {
            return Err(TokenError::OtherAuthid);
        }
        let grant = Grant {
            authid: Some(own.into()),
            role: self.role(claims).ok_or(TokenError::NoRole)?.into(),
            realm: None,
            extra: self.extra(claims),
            credential: None,
        };
        Ok((grant, expires))
    }

    fn authid<'t>(&self, claims: Claims<'t>) -> Result<&'t str, TokenError> {
        let authid = claims.find(&self.settings.authid_claim).and_then(|claim| claim.as_str());
        let is_good = |authid: &&str| {
            (1..=MAX_AUTHID_BYTES).contains(&authid.len()) && !authid.chars().any(char::is_control)
        };
        authid.filter(is_good).ok_or(TokenError::NoAuthid)
    }

    /// The first role of the table that the token has a claim to, or else the one for all.
    fn role(&self, claims: Claims<'_>) -> Option<&str> {
        let words = self.settings.role_claim.as_ref().map(|path| claims.words(path));
        let words = words.unwrap_or_default();
        let listed = self.settings.roles.iter().find(|rule| words.contains(&&*rule.claim));
        listed.map(|rule| rule.role.as_str()).or(self.role.as_deref())
    }

    fn extra(&self, claims: Claims<'_>) -> Dict {
        let found = self.settings.extra_claims.iter();
        let found = found.filter_map(|path| Some((path, claims.find(path)?)));
        found.map(|(path, claim)| (path.clone().into(), from_json(claim))).collect()
    }
}

/// Two leases are the same if one issuer gave them until the same time.
impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.issuer, &other.issuer) && self.expires == other.expires
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease until {}", self.expires)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("issuer", &self.settings.issuer).finish_non_exhaustive()
    }
}
