//! What a realm says of its webhooks: events that the router posts to addresses.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::authentication::{EndpointSettings, Secret};
use crate::wamp::MatchPolicy;

/// Topics whose events are posted to an address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookSettings {
    /// What operators call it, and the authid of its session. One of a realm.
    pub name: String,
    /// An absolute `https` URL, or `http` where that is allowed.
    pub url: String,
    /// Topics, or patterns of topics.
    pub topics: Vec<String>,
    /// How they are matched, as in SUBSCRIBE.
    #[serde(rename = "match")]
    pub policy: MatchPolicy,
    /// The authrole of its session.
    pub role: String,
    /// The environment variables of the secrets with which requests are signed, as `${NAME}`: one,
    /// or several while it is changed.
    pub secrets: Vec<String>,
    /// The environment variable of the request's `Authorization` header, as `${NAME}`.
    pub authorization: Option<String>,
    /// The authorities for `https`, in PEM; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Whether `url` may be plain `http` on another machine.
    pub plain_http: bool,
    /// How long an answer may take, in milliseconds: 10 to 600,000.
    pub timeout_ms: u64,
    /// How long one event is tried, in milliseconds, up to 86,400,000; 0: once.
    pub retry_ms: u64,
    /// Requests under way at the same time, each on a thread of its own: 1 to 64. With one, events
    /// come in their order.
    pub concurrency: usize,
    /// Events that wait, 1 to 1,000,000: what comes then is dropped, and counted.
    pub queue_events: usize,
    /// The same of their bytes, 4 KiB to 1 GiB.
    pub queue_bytes: usize,
    /// The digest of the file of authorities as it was read: with another one this is another way
    /// to ask.
    #[serde(skip)]
    pub ca_digest: Option<[u8; 32]>,
    /// What the environment variables hold.
    #[serde(skip)]
    pub secret_values: Vec<WebhookSecret>,
    #[serde(skip)]
    pub authorization_value: Option<Secret>,
}

/// Scheme and host of an address: what stands behind them may be a secret.
pub fn place_of_webhook(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// What requests are signed with: the key of an HMAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSecret(Secret);

/// The text is no secret of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWebhookSecret;

impl fmt::Display for BadWebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "must hold `{PREFIX}` and base64 of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes"
        )
    }
}

impl WebhookSecret {
    /// Reads the text form: `whsec_`, and the bytes of the key in base64 (Standard Webhooks).
    ///
    /// # Errors
    /// [`BadWebhookSecret`] for anything else, and for keys of less than 24 or more than 64 bytes.
    pub fn parse(text: &str) -> Result<Self, BadWebhookSecret> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(BadWebhookSecret)?;
        let key = data_encoding::BASE64.decode(encoded.as_bytes()).map_err(|_| BadWebhookSecret)?;
        let fits = (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&key.len());
        if fits { Ok(Self(Secret::new(key))) } else { Err(BadWebhookSecret) }
    }

    /// The text form of a key.
    pub fn to_text(key: &[u8]) -> String {
        format!("{PREFIX}{}", data_encoding::BASE64.encode(key))
    }

    /// The key of the HMAC.
    pub fn key(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl WebhookSettings {
    /// How its address is asked.
    pub fn endpoint(&self) -> EndpointSettings {
        EndpointSettings {
            authorization: self.authorization.clone(),
            ca: self.ca.clone(),
            ca_digest: self.ca_digest,
            plain_http: self.plain_http,
            timeout_ms: self.timeout_ms,
            concurrency: self.concurrency,
            authorization_value: self.authorization_value.clone(),
            ..EndpointSettings::at(&*self.url)
        }
    }

    /// Whether another one has the same session.
    pub fn has_same_session(&self, other: &Self) -> bool {
        let session = |of: &Self| (of.name.clone(), of.topics.clone(), of.policy, of.role.clone());
        session(self) == session(other)
    }
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            topics: Vec::new(),
            policy: MatchPolicy::Exact,
            role: String::new(),
            secrets: Vec::new(),
            authorization: None,
            ca: None,
            ca_digest: None,
            plain_http: false,
            timeout_ms: 10_000,
            retry_ms: 600_000,
            concurrency: 1,
            queue_events: 10_000,
            queue_bytes: 16 * 1024 * 1024,
            secret_values: Vec::new(),
            authorization_value: None,
        }
    }
}

const PREFIX: &str = "whsec_";
const MIN_SECRET_BYTES: usize = 24;
const MAX_SECRET_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_as_libraries_write_them() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        assert_eq!(secret.key().len(), 24);
        assert_eq!(WebhookSecret::to_text(secret.key()), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let long = WebhookSecret::to_text(&[7; 65]);
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ", &long] {
            assert_eq!(WebhookSecret::parse(bad), Err(BadWebhookSecret), "{bad}");
        }
        assert!(!format!("{secret:?}").contains("Mf"), "it is no text for the log");
    }
}
