//! WAMP-cryptosign (AU-CSG): an Ed25519 signature of the router's challenge, and the router's of
//! ours.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use stentor_protocol::wamp::{Dict, Value};

use super::{AuthError, text};

/// A private key, which is overwritten when it is dropped.
#[derive(Clone)]
pub(super) struct Key {
    key: SigningKey,
    /// Whether logins are bound to the TLS channel.
    pub(super) is_bound: bool,
    /// Who the router must be.
    pub(super) router: Option<VerifyingKey>,
}

pub(super) fn router_key(text: &str) -> Result<VerifyingKey, AuthError> {
    let key = bytes_of(text).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    key.filter(|key| !key.is_weak()).ok_or(AuthError::RouterKey)
}

impl Key {
    pub(super) fn parse(text: &str) -> Result<Self, AuthError> {
        let bytes = bytes_of(text).ok_or(AuthError::PrivateKey)?;
        Ok(Self { key: SigningKey::from_bytes(&bytes), is_bound: false, router: None })
    }

    /// What `HELLO.Details.authextra` says.
    pub(super) fn hello(
        &self,
        has_channel: bool,
        challenge: &[u8; 32],
        extra: &mut Dict,
    ) -> Result<(), AuthError> {
        if self.is_bound && !has_channel {
            return Err(AuthError::NoChannel);
        }
        let public = HEXLOWER.encode(self.key.verifying_key().as_bytes());
        extra.push(("pubkey".into(), public.into()));
        let binding = if self.is_bound { "tls-exporter".into() } else { Value::Null };
        extra.push(("channel_binding".into(), binding));
        if self.router.is_some() {
            extra.push(("challenge".into(), HEXLOWER.encode(challenge).into()));
        }
        Ok(())
    }

    /// The signature of the router's challenge. `channel` if the login is bound, `own` is what
    /// HELLO has asked the router to sign.
    pub(super) fn answer(
        &self,
        extra: &Dict,
        channel: Option<&[u8; 32]>,
        own: &[u8; 32],
    ) -> Result<String, AuthError> {
        if let Some(router) = &self.router {
            check_router(router, extra, &bound(own, channel))?;
        }
        let binding = text(extra, "channel_binding");
        if binding != self.is_bound.then_some("tls-exporter") {
            return Err(AuthError::Challenge("channel_binding"));
        }
        let challenge = text(extra, "challenge").and_then(bytes_of);
        let challenge = challenge.ok_or(AuthError::Challenge("challenge"))?;
        let message = bound(&challenge, channel);
        let signature = self.key.sign(&message).to_bytes();
        Ok(HEXLOWER.encode(&signature) + &HEXLOWER.encode(&message))
    }
}

fn check_router(router: &VerifyingKey, extra: &Dict, message: &[u8; 32]) -> Result<(), AuthError> {
    let said = text(extra, "signature").ok_or(AuthError::RouterUnproven)?;
    let said = HEXLOWER_PERMISSIVE.decode(said.as_bytes()).unwrap_or_default();
    let (signature, signed) = said.split_first_chunk::<64>().ok_or(AuthError::RouterUnproven)?;
    let signature = Signature::from_bytes(signature);
    let is_proven = signed == message && router.verify_strict(message, &signature).is_ok();
    if is_proven { Ok(()) } else { Err(AuthError::RouterUnproven) }
}

/// A challenge, XOR the channel's id if there is one.
fn bound(challenge: &[u8; 32], channel: Option<&[u8; 32]>) -> [u8; 32] {
    let mut message = *challenge;
    for (byte, other) in message.iter_mut().zip(channel.into_iter().flatten()) {
        *byte ^= other;
    }
    message
}

fn bytes_of(text: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok()?.try_into().ok()
}
