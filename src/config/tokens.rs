//! The keys of tokens and the secrets of endpoints and webhooks: files and environment variables,
//! read at the start.
//!
//! No sentence here quotes what they hold.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use super::users::{is_readable_by_others, read_bounded};
use super::{Authenticator, Authorizer, Webhook, WebhookSecret};
use crate::authentication::{BadKeys, KeySet, RouterKey, Secret, TokenSettings};
use crate::router::BadWebhookSecret;

/// What is wrong with the keys or secrets of an authenticator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensFault {
    #[error("cannot read the keys in `{file}`: {reason}")]
    Read { file: String, reason: String },
    #[error("everybody on this machine can read `{0}`, which holds a secret")]
    Readable(String),
    #[error("`{file}` {bad}")]
    Keys { file: String, bad: BadKeys },
    #[error(
        "`{file}` begins neither like JSON (a key set) nor like PEM (`-----BEGIN PUBLIC KEY-----`)"
    )]
    NoKeys { file: String },
    #[error("`{0}` must be the name of an environment variable, as in \"${{STENTOR_SECRET}}\"")]
    NoVariable(&'static str),
    #[error("the environment variable `{0}` is not set, empty, or no text")]
    NotSet(String),
    #[error("the environment variable `{variable}` {bad}")]
    Secret { variable: String, bad: BadKeys },
    #[error("the environment variable `{variable}` {bad}")]
    WebhookSecret { variable: String, bad: BadWebhookSecret },
    #[error("`{0}` is no private key: 64 hexadecimal digits")]
    NoRouterKey(String),
    #[error("the environment variable `{0}` holds what cannot stand in an HTTP header")]
    NoHeader(String),
}

impl TokensFault {
    pub(super) fn help(&self) -> Option<String> {
        match self {
            Self::WebhookSecret { .. } => Some("`stentor keygen webhook` makes one".into()),
            Self::NoRouterKey(_) => Some("`stentor keygen router` makes one".into()),
            Self::Readable(file) => Some(format!(
                "`chmod o-r {file}`, or set `readable_by_others = true` if that is as it should be"
            )),
            _ => None,
        }
    }
}

/// Reads what an authenticator names, from files beside the configuration's; gives the key and what
/// is wrong with it.
pub(super) fn load(
    authenticator: &mut Authenticator,
    folder: &Path,
) -> Result<(), (&'static str, TokensFault)> {
    if let Some(file) = &mut authenticator.router_key {
        *file = folder.join(&*file);
        let key = read_router_key(file, authenticator.readable_by_others);
        authenticator.router_key_value = Some(key.map_err(|fault| ("router_key", fault))?);
    }
    let Authenticator { ca, ca_digest, authorization, authorization_value, .. } = authenticator;
    *authorization_value = load_of_endpoint((ca, ca_digest), authorization.as_deref(), folder)?;
    match &mut authenticator.jwt {
        Some(jwt) => load_keys(jwt, folder).map_err(|fault| ("jwt", fault)),
        None => Ok(()),
    }
}

/// The same of an endpoint that is an authorizer.
pub(super) fn load_authorizer(
    authorizer: &mut Authorizer,
    folder: &Path,
) -> Result<(), (&'static str, TokensFault)> {
    let Authorizer { ca, ca_digest, authorization, authorization_value, .. } = authorizer;
    *authorization_value = load_of_endpoint((ca, ca_digest), authorization.as_deref(), folder)?;
    Ok(())
}

/// The same of a webhook, and the secrets with which it signs.
pub(super) fn load_webhook(
    webhook: &mut Webhook,
    folder: &Path,
) -> Result<(), (&'static str, TokensFault)> {
    let Webhook { ca, ca_digest, authorization, authorization_value, .. } = webhook;
    *authorization_value = load_of_endpoint((ca, ca_digest), authorization.as_deref(), folder)?;
    let secret = |name: &String| {
        let (variable, value) = variable("secrets", name)?;
        let secret = WebhookSecret::parse(&value);
        secret.map_err(|bad| TokensFault::WebhookSecret { variable, bad })
    };
    let secrets = webhook.secrets.iter().map(secret).collect::<Result<_, _>>();
    webhook.secret_values = secrets.map_err(|fault| ("secrets", fault))?;
    Ok(())
}

/// Finds the file of authorities, and gives what is to stand in `Authorization`.
fn load_of_endpoint(
    (ca, ca_digest): (&mut Option<PathBuf>, &mut Option<[u8; 32]>),
    authorization: Option<&str>,
    folder: &Path,
) -> Result<Option<Secret>, (&'static str, TokensFault)> {
    if let Some(ca) = ca {
        *ca = folder.join(&*ca);
        *ca_digest = digest_of(ca);
    }
    let Some(name) = authorization else { return Ok(None) };
    let (variable, value) =
        variable("authorization", name).map_err(|fault| ("authorization", fault))?;
    let is_visible = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    if !value.bytes().all(is_visible) {
        return Err(("authorization", TokensFault::NoHeader(variable)));
    }
    Ok(Some(Secret::new(value)))
}

/// What is in a file of authorities. Whoever asks by it says what is wrong with it.
fn digest_of(ca: &Path) -> Option<[u8; 32]> {
    let (text, _) = read_bounded(ca, AUTHORITIES_BYTES).ok()?;
    Some(Sha256::digest(text).into())
}

fn load_keys(jwt: &mut TokenSettings, folder: &Path) -> Result<(), TokensFault> {
    if let Some(ca) = &mut jwt.ca {
        *ca = folder.join(&*ca);
        jwt.ca_digest = digest_of(ca);
    }
    if let Some(name) = &jwt.secret {
        let (variable, value) = variable("secret", name)?;
        let keys = KeySet::from_secret(Secret::new(value));
        let keys = keys.map_err(|bad| TokensFault::Secret { variable, bad })?;
        jwt.loaded = Some(Arc::new(keys));
    } else if let Some(keys) = &mut jwt.keys {
        *keys = folder.join(&*keys);
        jwt.loaded = Some(Arc::new(read_keys(keys, jwt.readable_by_others)?));
    }
    Ok(())
}

/// Reads a JSON Web Key Set, or a public key in PEM. What holds a secret must not be readable by
/// everybody, unless it may.
///
/// # Errors
/// [`TokensFault`] if it cannot be read, or no key of it can be used.
pub fn read_keys(path: &Path, readable_by_others: bool) -> Result<KeySet, TokensFault> {
    let file = path.display().to_string();
    let (text, metadata) = read_bounded(path, KEYS_BYTES)
        .map_err(|error| TokensFault::Read { file: file.clone(), reason: error.to_string() })?;
    let keys = if text.trim_ascii_start().starts_with(b"{") {
        KeySet::from_jwks(&text, true)
    } else {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(&text)
            .map_err(|_| TokensFault::NoKeys { file: file.clone() })?;
        KeySet::from_public_key(&key)
    };
    let keys = keys.map_err(|bad| TokensFault::Keys { file: file.clone(), bad })?;
    if keys.holds_secrets() && !readable_by_others && is_readable_by_others(&metadata) {
        return Err(TokensFault::Readable(file));
    }
    Ok(keys)
}

fn read_router_key(path: &Path, readable_by_others: bool) -> Result<RouterKey, TokensFault> {
    let file = path.display().to_string();
    let (text, metadata) = read_bounded(path, ROUTER_KEY_BYTES)
        .map_err(|error| TokensFault::Read { file: file.clone(), reason: error.to_string() })?;
    if !readable_by_others && is_readable_by_others(&metadata) {
        return Err(TokensFault::Readable(file));
    }
    let text = Secret::new(text);
    let key = str::from_utf8(text.bytes()).ok().and_then(RouterKey::parse);
    key.ok_or(TokensFault::NoRouterKey(file))
}

/// The environment variable that a value names, and what it holds.
fn variable(key: &'static str, text: &str) -> Result<(String, String), TokensFault> {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let name = name.filter(|name| !name.is_empty()).ok_or(TokensFault::NoVariable(key))?;
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.map(|value| (name.to_owned(), value)).ok_or_else(|| TokensFault::NotSet(name.to_owned()))
}

/// Bytes of the longest file with a key of the router.
const ROUTER_KEY_BYTES: u64 = 1_024;

/// Bytes of the longest file of authorities.
const AUTHORITIES_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of the longest file of keys.
const KEYS_BYTES: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::config::{Config, Loader};

    /// A reload looks whether anything is another: the path alone does not say.
    #[test]
    fn other_authorities_are_another_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = |authorities: &str| -> Config {
            fs::write(folder.path().join("ca.pem"), authorities).unwrap();
            let text = "[[realm]]\nname = \"realm1\"\n\
                [[realm.authenticator]]\nmethod = \"ticket\"\n\
                url = \"https://127.0.0.1:1/\"\nca = \"ca.pem\"\nrole = \"a\"\n\
                [[realm.role]]\nname = \"a\"\n\
                [[realm.webhook]]\nname = \"hook\"\nrole = \"a\"\n\
                url = \"https://127.0.0.1:1/\"\nca = \"ca.pem\"\ntopics = [\"com.a\"]\n";
            let file = folder.path().join("a.toml").display().to_string();
            Loader::from_text(file, text.to_owned()).finish().unwrap()
        };
        let (one, again, other) = (config("one"), config("one"), config("other"));
        assert_eq!(one.realms, again.realms);
        assert_ne!(one.realms[0].authenticators, other.realms[0].authenticators);
        assert_ne!(one.realms[0].webhooks, other.realms[0].webhooks);
    }
}
