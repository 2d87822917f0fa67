//! The compact form of a signed token (RFC 7515, 7.1): its parts, its header, and its signature.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value as Json};

use super::keys::KeySet;
use super::{MAX_TOKEN_BYTES, TokenError};

/// A token that was taken apart, and of which nothing is known to be true.
pub(super) struct Token<'a> {
    header: Map<String, Json>,
    pub(super) claims: Map<String, Json>,
    /// What the signature is about.
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// Whether a ticket is meant as a token: three texts of Base64, with dots between them, of which
/// the first begins with `{"`.
pub fn has_form_of_token(ticket: &str) -> bool {
    let is_part = |part: &str| {
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        part.bytes().all(is_letter)
    };
    ticket.starts_with("eyJ") && ticket.split('.').count() == 3 && ticket.split('.').all(is_part)
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes());
        let object = |part: &str| {
            let bytes = decode(part).ok()?;
            serde_json::from_slice::<Map<String, Json>>(&bytes).ok()
        };
        Ok(Self {
            header: object(header).ok_or(TokenError::Malformed)?,
            claims: object(claims).ok_or(TokenError::Malformed)?,
            signed: signed.as_bytes(),
            signature: decode(signature).map_err(|_| TokenError::Malformed)?,
        })
    }

    /// Whether one of the keys has signed it, by the key's own algorithm, which must be the one
    /// that the token says it has (RFC 8725, 3.1).
    pub(super) fn verify(&self, keys: &KeySet) -> Result<(), TokenError> {
        // Extensions that must be understood; none is (RFC 7515, 4.1.11).
        if self.header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        let Some(Json::String(algorithm)) = self.header.get("alg") else {
            return Err(TokenError::Malformed);
        };
        let id = match self.header.get("kid") {
            None => None,
            Some(Json::String(id)) => Some(id.as_str()),
            Some(_) => return Err(TokenError::Malformed),
        };
        let mut named = keys.named(id).peekable();
        if named.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        let mut fitting = named.filter(|key| key.algorithm().as_str() == algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(TokenError::OtherAlgorithm);
        }
        let is_signed = fitting.any(|key| key.has_signed(self.signed, &self.signature));
        if is_signed { Ok(()) } else { Err(TokenError::BadSignature) }
    }
}
