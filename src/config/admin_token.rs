//! The token that lets operators change a running router: as a hash in the configuration, or as a
//! file that holds it.
//!
//! No sentence here quotes what was found, as it may be the token in the wrong place.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};

use super::users::{is_readable_by_others, read_bounded};
use crate::authentication::{Credential, Method, Secret, Source, TicketHash};

/// What is kept of a token: the SHA-256 of long random text. It is compared where others wait for
/// answers, so there are no hashes here that take long, as those of passwords do; at 128 random
/// bits nobody guesses it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AdminToken(TicketHash);

impl AdminToken {
    /// Whether it was made from this token. Takes the same time whatever the token is.
    pub fn is_of(&self, token: &[u8]) -> bool {
        self.0.is_of(token)
    }

    /// What is kept of a token of at least [`MIN_TOKEN_BYTES`].
    pub fn of(token: &Secret) -> Self {
        Self(TicketHash::of_random(token.bytes()))
    }
}

/// That there is one, and no more.
impl Serialize for AdminToken {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

impl TryFrom<String> for AdminToken {
    type Error = BadToken;

    fn try_from(text: String) -> Result<Self, BadToken> {
        match Credential::parse(Method::Ticket, &text, Source::File) {
            Ok(Credential::Ticket(hash)) => match hash {
                TicketHash::Sha256(_) => Ok(Self(hash)),
                TicketHash::Argon2id { .. } => Err(BadToken::Chosen),
            },
            _ => Err(BadToken::NoHash),
        }
    }
}

/// Why a text is not what is kept of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("it must be a hash as `stentor keygen token` prints it, beginning with `$sha256$`")]
    NoHash,
    #[error(
        "it is the hash of a password, which takes too long to compare here; a random token needs \
         no such hash: `stentor keygen token` makes one"
    )]
    Chosen,
}

/// What is wrong with the file of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFileFault {
    #[error("cannot read the token in `{file}`: {reason}")]
    Read { file: String, reason: String },
    #[error("everybody on this machine can read `{0}`, which holds the token for changes")]
    Readable(String),
    #[error(
        "`{0}` holds no token: one line of at least {MIN_TOKEN_BYTES} visible characters without \
         spaces"
    )]
    NoToken(String),
}

impl TokenFileFault {
    pub(super) fn help(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Readable(file) => Some(format!("`chmod 600 {file}`")),
            Self::NoToken(_) => Some(
                "remove the file, and the router makes one; or write what `stentor keygen token` \
                 says on standard error"
                    .into(),
            ),
        }
    }
}

/// The token in a file, alone or as `stentor keygen token` prints it; `None` if there is no such
/// file.
///
/// # Errors
/// [`TokenFileFault`] if it cannot be read, everybody can read it, or it holds something else.
pub fn read_token_file(path: &Path) -> Result<Option<Secret>, TokenFileFault> {
    let file = path.display().to_string();
    let (text, metadata) = match read_bounded(path, MAX_TOKEN_FILE_BYTES) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TokenFileFault::Read { file, reason: error.to_string() }),
    };
    let text = Secret::new(text);
    if is_readable_by_others(&metadata) {
        return Err(TokenFileFault::Readable(file));
    }
    let line = text.bytes().trim_ascii();
    let token = line.strip_prefix(b"token: ").unwrap_or(line);
    if !is_token(token) {
        return Err(TokenFileFault::NoToken(file));
    }
    Ok(Some(Secret::new(token)))
}

/// Whether these bytes can stand in `Authorization: Bearer`, and are too many to be guessed.
pub fn is_token(bytes: &[u8]) -> bool {
    bytes.len() >= MIN_TOKEN_BYTES && bytes.iter().all(u8::is_ascii_graphic)
}

/// Bytes of the shortest token: 128 random bits in Base64.
pub const MIN_TOKEN_BYTES: usize = 22;

const MAX_TOKEN_FILE_BYTES: u64 = 1_024;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TOKEN: &str = "HuuBgMNe6NTBKs4rJrgTx5zLKmh4qWsSUvyUTGHr5Gw";

    #[test]
    fn only_a_hash_of_a_random_token_is_taken() {
        let hash = TicketHash::of_random(TOKEN.as_bytes()).to_text();
        let token = AdminToken::try_from(hash).unwrap();
        assert!(token.is_of(TOKEN.as_bytes()) && !token.is_of(b"") && !token.is_of(b"x"));
        assert_eq!(format!("{token:?}"), "AdminToken");
        let chosen = TicketHash::of_chosen(b"pencil", [7; 16], Default::default()).unwrap();
        assert_eq!(AdminToken::try_from(chosen.to_text()), Err(BadToken::Chosen));
        for text in ["", TOKEN, "$sha256$AAAA"] {
            assert_eq!(AdminToken::try_from(text.to_owned()), Err(BadToken::NoHash), "{text}");
        }
    }

    #[test]
    fn a_file_holds_a_line_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let name = file.display().to_string();
        assert!(read_token_file(&file).unwrap().is_none(), "there is none yet");
        fs::write(&file, format!("{TOKEN}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o604)).unwrap();
        assert_eq!(read_token_file(&file), Err(TokenFileFault::Readable(name)));
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_token_file(&file).unwrap(), Some(Secret::new(TOKEN)));
        fs::write(&file, format!("token: {TOKEN}\n")).unwrap();
        assert_eq!(read_token_file(&file).unwrap(), Some(Secret::new(TOKEN)));
        let long = "x".repeat(2_000);
        for (text, is_read) in [("", true), ("short", true), (&*format!("{TOKEN} x"), true)] {
            fs::write(&file, text).unwrap();
            let fault = read_token_file(&file).unwrap_err();
            assert_eq!(matches!(fault, TokenFileFault::NoToken(_)), is_read, "{text}");
        }
        fs::write(&file, long).unwrap();
        assert!(matches!(read_token_file(&file), Err(TokenFileFault::Read { .. })));
    }
}
