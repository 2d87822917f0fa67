//! The users files that authenticators name: who may log in, and what is kept of their secrets.
//!
//! No sentence here quotes a value of such a file, as it may be a secret in the wrong place.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use super::keys::nearest;
use super::{Authenticator, Method};
use crate::authentication::{BadCredential, Credential, MAX_AUTHID_BYTES, Principal, Source};

/// What is wrong with a users file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsersFault {
    #[error("cannot read the users file `{file}`: {reason}")]
    Read { file: String, reason: String },
    #[error("everybody on this machine can read the users file `{0}`")]
    Readable(String),
    #[error("the users file `{file}` is no TOML from line {line} on")]
    Syntax { file: String, line: usize },
    #[error("unknown key `{key}` in the users file `{file}`, {place}")]
    UnknownKey { file: String, place: String, key: String },
    #[error("the users file `{file}`, {place}: {reason}")]
    Entry { file: String, place: String, reason: String },
    #[error("nobody in the users file `{file}` has a `{}`", .method.as_str())]
    Nobody { file: String, method: Method },
}

impl UsersFault {
    pub(super) fn help(&self) -> Option<String> {
        Some(match self {
            Self::Readable(file) => format!(
                "`chmod o-r {file}`, or set `readable_by_others = true` if that is as it should be"
            ),
            Self::UnknownKey { key, .. } => {
                let near = nearest(key, KEYS)?;
                format!("did you mean `{near}`?")
            }
            Self::Nobody { method, .. } => match method {
                Method::Cryptosign => "`stentor keygen cryptosign` makes an entry".into(),
                Method::Tls => "`stentor cert fingerprint FILE` prints how to name one".into(),
                method => format!("`stentor passwd --method {}` makes one", method.as_str()),
            },
            _ => return None,
        })
    }
}

/// Reads the users that an authenticator names, those who have a credential for its method.
pub(super) fn read(
    authenticator: &Authenticator,
    file: &Path,
) -> Result<Vec<Arc<Principal>>, UsersFault> {
    let name = file.display().to_string();
    let text = read_private(file, authenticator.readable_by_others)
        .map_err(|error| UsersFault::Read { file: name.clone(), reason: error.to_string() })?
        .ok_or_else(|| UsersFault::Readable(name.clone()))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().map_or(0, |span| span.start);
        let line = text[..text.floor_char_boundary(before)].matches('\n').count() + 1;
        UsersFault::Syntax { file: name.clone(), line }
    })?;
    let mut reader = Reader { file: &name, authenticator, principals: Vec::new() };
    reader.read(&table)?;
    if reader.principals.is_empty() {
        return Err(UsersFault::Nobody { file: name, method: authenticator.method });
    }
    Ok(reader.principals)
}

/// The text of the file; `None` if others may read it and must not.
fn read_private(file: &Path, may_be_read: bool) -> io::Result<Option<String>> {
    let mut opened = File::open(file)?;
    if !may_be_read && is_readable_by_others(&opened.metadata()?) {
        return Ok(None);
    }
    let mut text = String::new();
    opened.read_to_string(&mut text)?;
    Ok(Some(text))
}

/// The first bytes of a file, which must not be longer.
pub(super) fn read_bounded(file: &Path, limit: u64) -> io::Result<(Vec<u8>, fs::Metadata)> {
    let opened = File::open(file)?;
    let metadata = opened.metadata()?;
    let mut bytes = Vec::new();
    opened.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        ));
    }
    Ok((bytes, metadata))
}

#[cfg(unix)]
pub(super) fn is_readable_by_others(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
pub(super) const fn is_readable_by_others(_: &fs::Metadata) -> bool {
    false
}

struct Reader<'a> {
    file: &'a str,
    authenticator: &'a Authenticator,
    principals: Vec<Arc<Principal>>,
}

impl Reader<'_> {
    fn read(&mut self, table: &Table) -> Result<(), UsersFault> {
        if let Some(key) = table.keys().find(|key| *key != "user") {
            return Err(self.unknown_key(key, "at its top"));
        }
        let users = match table.get("user") {
            None => &[],
            Some(Value::Array(users)) => users.as_slice(),
            Some(_) => return Err(self.wrong("at its top", "write each user below `[[user]]`")),
        };
        for (index, user) in users.iter().enumerate() {
            let place = format!("user number {}", index + 1);
            let Value::Table(user) = user else {
                return Err(self.wrong(&place, "write each user below `[[user]]`"));
            };
            self.read_user(user, &place)?;
        }
        Ok(())
    }

    fn read_user(&mut self, user: &Table, place: &str) -> Result<(), UsersFault> {
        let authid = match user.get("authid") {
            Some(Value::String(authid)) if (1..=MAX_AUTHID_BYTES).contains(&authid.len()) => authid,
            Some(_) => return Err(self.wrong(place, "`authid` must be a text of 1 to 256 bytes")),
            None => return Err(self.wrong(place, "there is no `authid`")),
        };
        let place = format!("user `{authid}`");
        if let Some(key) = user.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(self.unknown_key(key, &place));
        }
        let Some(value) = user.get(self.authenticator.method.as_str()) else { return Ok(()) };
        let role = match (user.get("role"), &self.authenticator.role) {
            (Some(Value::String(role)), _) if !role.is_empty() => role,
            (None, Some(role)) => role,
            (None, None) => {
                let reason = "there is no `role`, and the authenticator has none for all";
                return Err(self.wrong(&place, reason));
            }
            _ => return Err(self.wrong(&place, "`role` must be a text that is not empty")),
        };
        if self.principals.iter().any(|other| *other.authid == **authid) {
            return Err(self.wrong(&place, "this authid was there before"));
        }
        let (authid, role) = (authid.as_str().into(), role.as_str().into());
        let credential = self.credential(value, &place)?;
        self.principals.push(Arc::new(Principal { authid, role, credential }));
        Ok(())
    }

    fn credential(&self, value: &Value, place: &str) -> Result<Credential, UsersFault> {
        let method = self.authenticator.method;
        let values = match value {
            Value::Array(keys) if matches!(method, Method::Cryptosign | Method::Tls) => {
                keys.as_slice()
            }
            value => std::slice::from_ref(value),
        };
        if !(1..=MAX_KEYS).contains(&values.len()) {
            let reason = format!("`{}` must be 1 to {MAX_KEYS} values", method.as_str());
            return Err(self.wrong(place, &reason));
        }
        let (mut keys, mut names) = (Vec::new(), Vec::new());
        for value in values {
            let Value::String(text) = value else {
                let reason = format!("`{}` must be a text", method.as_str());
                return Err(self.wrong(place, &reason));
            };
            match self.parse(text, place)? {
                Credential::Cryptosign(more) => keys.extend(more),
                Credential::Tls(more) => names.extend(more),
                credential => return Ok(credential),
            }
        }
        Ok(if method == Method::Tls {
            Credential::Tls(names)
        } else {
            Credential::Cryptosign(keys)
        })
    }

    /// The credential that a text is, or the environment variable that it names.
    fn parse(&self, text: &str, place: &str) -> Result<Credential, UsersFault> {
        let method = self.authenticator.method;
        let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let from_environment = match name {
            None => None,
            Some(name) => Some(env::var(name).map_err(|_| {
                let reason = format!(
                    "the environment variable `{name}` is not set, or no text; a service has those \
                     of its unit (`EnvironmentFile=`), a command those of its shell"
                );
                self.wrong(place, &reason)
            })?),
        };
        let parsed = match &from_environment {
            Some(text) => Credential::parse(method, text, Source::Environment),
            None => Credential::parse(method, text, Source::File),
        };
        parsed.map_err(|bad: BadCredential| {
            let of = match name {
                Some(name) if matches!(method, Method::Ticket | Method::Wampcra) => format!(
                    ": the value of the environment variable `{name}` is empty or begins with \
                     `$`, so it"
                ),
                Some(name) => format!(": the value of the environment variable `{name}`"),
                None => String::new(),
            };
            self.wrong(place, &format!("`{}`{of} {bad}", method.as_str()))
        })
    }

    fn wrong(&self, place: &str, reason: &str) -> UsersFault {
        let (file, place, reason) = (self.file.into(), place.into(), reason.into());
        UsersFault::Entry { file, place, reason }
    }

    fn unknown_key(&self, key: &str, place: &str) -> UsersFault {
        UsersFault::UnknownKey { file: self.file.into(), place: place.into(), key: key.into() }
    }
}

const KEYS: [&str; 7] = ["authid", "role", "ticket", "wampcra", "wamp-scram", "cryptosign", "tls"];

/// Public keys, or certificates, of one user.
const MAX_KEYS: usize = 64;
