//! `stentor passwd` and `stentor keygen`: entries of users files, made from secrets that are read
//! from a terminal, standard input or the environment, never from an argument.

use std::env;
use std::io::{self, BufRead, IsTerminal, Read, Write};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use stentor::authentication::{
    Argon2Cost, CraKey, Kdf, MAX_AUTHID_BYTES, ScramRecord, Secret, TicketHash, generate_key,
};
use stentor::config::{Method, WebhookSecret};

use crate::command::cli::{KeyKind, KeygenFlags, PasswdFlags};

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("error: the authid must have 1 to {MAX_AUTHID_BYTES} bytes")]
    Authid,
    #[error("error: the environment variable `{0}` is not set, or no text")]
    Environment(String),
    #[error("error: this is no user's: leave authid and role out")]
    Nobody,
    #[error("error: the two secrets differ")]
    Differ,
    #[error("error: the secret is empty")]
    Empty,
    #[error("error: the secret has more than {MAX_SECRET_BYTES} bytes, or is no UTF-8")]
    Unfit,
    #[error("error: this password holds characters that SASLprep (RFC 4013) forbids")]
    Forbidden,
    #[error("error: cannot read the secret: {0}")]
    Read(#[from] io::Error),
    #[error("error: the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// The entry of a user with a password.
pub(crate) fn passwd(flags: &PasswdFlags) -> Result<String, SecretError> {
    check_authid(&flags.authid)?;
    let secret = read_secret(flags)?;
    if secret.bytes().is_empty() {
        return Err(SecretError::Empty);
    }
    let salt = random()?;
    let text = match flags.method {
        Method::Wampcra => {
            let iterations = flags.iterations.unwrap_or(CRA_ITERATIONS);
            CraKey::derived(secret.bytes(), salt, iterations).to_text()
        }
        Method::Scram => {
            let Argon2Cost { memory_kib, passes, .. } = Argon2Cost::default();
            let kdf = match flags.kdf.as_str() {
                "pbkdf2" => {
                    Kdf::Pbkdf2 { iterations: flags.iterations.unwrap_or(SCRAM_ITERATIONS) }
                }
                _ => Kdf::Argon2id13 { passes, memory_kib },
            };
            let password = str::from_utf8(secret.bytes()).map_err(|_| SecretError::Unfit)?;
            Some(ScramRecord::of(password, kdf, salt).ok_or(SecretError::Forbidden)?.to_text())
        }
        _ => {
            let hash = TicketHash::of_chosen(secret.bytes(), salt, Argon2Cost::default());
            hash.map(|hash| hash.to_text())
        }
    };
    let text = text.expect("what is derived at a usual cost has a text form");
    Ok(entry(&flags.authid, flags.role.as_deref(), flags.method, &text))
}

/// The entry of a user with a new key or a new ticket, which is told on standard error; or a new
/// key of the router, or a new token for its operators.
pub(crate) fn keygen(flags: &KeygenFlags) -> Result<String, SecretError> {
    let seed: [u8; 32] = random()?;
    let (method, name, private, public) = match flags.kind {
        KeyKind::Router | KeyKind::Token | KeyKind::Webhook
            if flags.authid.is_some() || flags.role.is_some() =>
        {
            return Err(SecretError::Nobody);
        }
        KeyKind::Token => {
            let token = BASE64URL_NOPAD.encode(&seed);
            writeln!(io::stderr().lock(), "token: {token}")?;
            let hash = TicketHash::of_random(token.as_bytes()).to_text();
            return Ok(format!("[admin]\ntoken = \"{hash}\"\n"));
        }
        KeyKind::Webhook => return Ok(format!("{}\n", WebhookSecret::to_text(&seed))),
        KeyKind::Router => {
            writeln!(io::stderr().lock(), "public key: {}", generate_key(&seed))?;
            return Ok(format!("{}\n", HEXLOWER.encode(&seed)));
        }
        KeyKind::Cryptosign => {
            let (private, public) = (HEXLOWER.encode(&seed), generate_key(&seed).to_string());
            (Method::Cryptosign, "private key", private, public)
        }
        KeyKind::Ticket => {
            let ticket = BASE64URL_NOPAD.encode(&seed);
            let hash = TicketHash::of_random(ticket.as_bytes()).to_text();
            (Method::Ticket, "ticket", ticket, hash)
        }
    };
    let authid = flags.authid.as_deref().unwrap_or_default();
    check_authid(authid)?;
    writeln!(io::stderr().lock(), "{name}: {private}")?;
    Ok(entry(authid, flags.role.as_deref(), method, &public))
}

fn check_authid(authid: &str) -> Result<(), SecretError> {
    let fits = (1..=MAX_AUTHID_BYTES).contains(&authid.len());
    if fits { Ok(()) } else { Err(SecretError::Authid) }
}

fn entry(authid: &str, role: Option<&str>, method: Method, text: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let role = role.map_or_else(String::new, |role| format!("role = {}\n", quoted(role)));
    let (authid, text) = (quoted(authid), quoted(text));
    format!("[[user]]\nauthid = {authid}\n{role}{} = {text}\n", method.as_str())
}

fn read_secret(flags: &PasswdFlags) -> Result<Secret, SecretError> {
    if let Some(name) = &flags.secret_env {
        let secret = env::var(name).map_err(|_| SecretError::Environment(name.clone()))?;
        return Ok(Secret::new(secret));
    }
    if !io::stdin().is_terminal() {
        return read_line();
    }
    let secret = ask("Password: ")?;
    if secret == ask("Again: ")? { Ok(secret) } else { Err(SecretError::Differ) }
}

/// Asks on the terminal, which shows nothing of the answer.
pub(crate) fn ask(question: &str) -> Result<Secret, SecretError> {
    // Before the question: who answers at once is not shown either.
    let _quiet = Quiet::new()?;
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let secret = read_line();
    writeln!(stderr)?;
    secret
}

fn read_line() -> Result<Secret, SecretError> {
    let mut line = Vec::new();
    let limit = MAX_SECRET_BYTES as u64 + 3;
    io::stdin().lock().take(limit).read_until(b'\n', &mut line)?;
    let end = line.strip_suffix(b"\n").unwrap_or(&line);
    let end = end.strip_suffix(b"\r").unwrap_or(end).len();
    line.truncate(end);
    let fits = line.len() <= MAX_SECRET_BYTES && str::from_utf8(&line).is_ok();
    if fits { Ok(Secret::new(line)) } else { Err(SecretError::Unfit) }
}

/// A terminal that does not show what is typed, as long as this lives.
struct Quiet(Termios);

impl Quiet {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn random<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
    Ok(bytes)
}

/// Clients in browsers derive the key in JavaScript, some of them slowly.
const CRA_ITERATIONS: u32 = 10_000;

/// What OWASP recommends for PBKDF2 is more, and takes a browser's script seconds.
const SCRAM_ITERATIONS: u32 = 210_000;

/// What fits into AUTHENTICATE by default.
const MAX_SECRET_BYTES: usize = 32 * 1024;
