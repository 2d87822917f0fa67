//! A token by the letter of RFC 7515, 7519 and 8725: all of its faults, not the first one alone.

use serde_json::{Map, Value as Json};
use stentor::authentication::{MAX_TOKEN_BYTES, TokenError, TokenSettings};

use super::keys::{Key, base64};
use super::{LEEWAY_MS, NOW};

/// What a token says.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) faults: Vec<TokenError>,
    /// Whom it makes of its bearer, if nothing is wrong with that.
    pub(super) bearer: Option<Bearer>,
    /// Since 1970, the leeway included.
    pub(super) expires_ms: f64,
}

#[derive(Debug, PartialEq)]
pub(super) struct Bearer {
    pub(super) authid: String,
    pub(super) role: String,
    /// The names of the claims that are passed on.
    pub(super) extra: Vec<String>,
}

type Claims = Map<String, Json>;

impl Reading {
    pub(super) fn of(
        token: &str,
        keys: &[Key],
        settings: &TokenSettings,
        role: Option<&str>,
        authid: Option<&str>,
    ) -> Self {
        let mut reading = Self::default();
        if token.len() > MAX_TOKEN_BYTES {
            reading.faults.push(TokenError::TooLong);
        }
        let Some((header, claims, signature)) = parts(token) else {
            reading.faults.push(TokenError::Malformed);
            return reading;
        };
        let signed = &token[..token.rfind('.').expect("it has three parts")];
        reading.check_signature(&header, keys, signed.as_bytes(), &signature);
        reading.check_times(&claims);
        let is_said = |claim: &str, text: &str| claims.get(claim) == Some(&Json::from(text));
        if settings.issuer.as_ref().is_some_and(|issuer| !is_said("iss", issuer)) {
            reading.faults.push(TokenError::OtherIssuer);
        }
        let is_for = |audience: &String| match claims.get("aud") {
            Some(Json::Array(all)) => all.contains(&Json::from(audience.as_str())),
            _ => is_said("aud", audience),
        };
        if settings.audience.as_ref().is_some_and(|audience| !is_for(audience)) {
            reading.faults.push(TokenError::OtherAudience);
        }
        reading.read_bearer(&claims, settings, role, authid);
        reading
    }

    fn check_signature(&mut self, header: &Claims, keys: &[Key], signed: &[u8], signature: &[u8]) {
        if header.contains_key("crit") {
            self.faults.push(TokenError::Critical);
        }
        let id = header.get("kid");
        let (Some(Json::String(algorithm)), None | Some(Json::String(_))) = (header.get("alg"), id)
        else {
            self.faults.push(TokenError::Malformed);
            return;
        };
        let is_named = |key: &&Key| match (&key.id, id) {
            (Some(own), Some(id)) => id == own,
            _ => true,
        };
        let named: Vec<_> = keys.iter().filter(is_named).collect();
        let fitting: Vec<_> = named.iter().filter(|key| key.algorithm == algorithm).collect();
        if named.is_empty() {
            self.faults.push(TokenError::UnknownKey);
        } else if fitting.is_empty() {
            self.faults.push(TokenError::OtherAlgorithm);
        } else if !fitting.iter().any(|key| key.has_signed(signed, signature)) {
            self.faults.push(TokenError::BadSignature);
        }
    }

    fn check_times(&mut self, claims: &Claims) {
        let mut time = |claim: &str| {
            let said = claims.get(claim)?;
            if !said.is_number() {
                self.faults.push(TokenError::NoNumber);
            }
            Some((said.as_f64()? * 1_000.0).floor())
        };
        let (expires, begins, _) = (time("exp"), time("nbf"), time("iat"));
        let (now, leeway) = ((NOW * 1_000) as f64, LEEWAY_MS as f64);
        if let Some(expires) = expires {
            self.expires_ms = expires + leeway;
            self.faults.extend((now >= self.expires_ms).then_some(TokenError::Expired));
        }
        if begins.is_some_and(|begins| now + leeway < begins) {
            self.faults.push(TokenError::NotYetValid);
        }
        if !claims.contains_key("exp") {
            self.faults.push(TokenError::NoExpiry);
        }
    }

    fn read_bearer(
        &mut self,
        claims: &Claims,
        settings: &TokenSettings,
        role: Option<&str>,
        authid: Option<&str>,
    ) {
        let own = find(claims, &settings.authid_claim).and_then(Json::as_str);
        let is_good =
            |own: &&str| !own.is_empty() && own.len() <= 256 && !own.chars().any(char::is_control);
        let own = own.filter(is_good);
        match (own, authid) {
            (None, _) => self.faults.push(TokenError::NoAuthid),
            (Some(own), Some(authid)) if own != authid => self.faults.push(TokenError::OtherAuthid),
            _ => {}
        }
        let said = settings.role_claim.as_ref().and_then(|path| find(claims, path));
        let listed = settings.roles.iter().find(|rule| says(said, &rule.claim));
        let Some(role) = listed.map(|rule| &*rule.role).or(role) else {
            self.faults.push(TokenError::NoRole);
            return;
        };
        let extra = settings.extra_claims.iter().filter(|path| find(claims, path).is_some());
        let extra = extra.cloned().collect();
        self.bearer =
            own.map(|own| Bearer { authid: own.to_owned(), role: role.to_owned(), extra });
    }
}

/// Whether a claim is a list with this text, or a text with this word.
fn says(said: Option<&Json>, word: &str) -> bool {
    match said {
        Some(Json::Array(items)) => items.contains(&Json::from(word)),
        Some(Json::String(text)) => {
            let is_space = |letter| matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0C');
            text.split(is_space).any(|one| one == word)
        }
        _ => false,
    }
}

/// A claim by all ways to read its name, the longest names of outer objects last.
fn find<'c>(claims: &'c Claims, path: &str) -> Option<&'c Json> {
    if let Some(claim) = claims.get(path) {
        return Some(claim);
    }
    let names: Vec<&str> = path.split('.').collect();
    (1..names.len()).find_map(|outer| {
        let Some(Json::Object(inner)) = claims.get(&names[..outer].join(".")) else { return None };
        find(inner, &names[outer..].join("."))
    })
}

fn parts(token: &str) -> Option<(Claims, Claims, Vec<u8>)> {
    let parts: Option<Vec<Vec<u8>>> = token.split('.').map(base64).collect();
    let [header, claims, signature] = <[Vec<u8>; 3]>::try_from(parts?).ok()?;
    let object = |bytes: &[u8]| match serde_json::from_slice(bytes) {
        Ok(Json::Object(members)) => Some(members),
        _ => None,
    };
    Some((object(&header)?, object(&claims)?, signature))
}
