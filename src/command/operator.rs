//! The admin listener of a running router, asked by the commands that see and change it.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use stentor::config::{Secret, TokenFileFault, is_loopback, is_token, read_token_file};
use stentor::net::{ClientError, tls_of_clients};
use ureq::http::Response;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body};

use crate::command::unix_http::UnixConnector;
use crate::shell::fault;

/// Where the router is asked, and by what right.
#[derive(Args, Debug)]
pub(crate) struct AdminFlags {
    /// The router's admin listener (`[admin]` of its configuration): http://127.0.0.1:9080,
    /// https://stentor.example.org:9080, or unix:/run/stentor/admin.sock
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9080")]
    admin: String,
    /// The authorities that the admin listener's certificate must come from, in PEM [default: those
    /// of the system]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The file with the token for changes (`token_file` in `[admin]`); without it the environment
    /// variable STENTOR_ADMIN_TOKEN holds the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Why there is no answer that could be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorError {
    #[error(
        "error: no answer from {url}: {source}\n  = help: the router needs `[admin]` with \
         `listen = \"127.0.0.1:9080\"`; --admin names another address"
    )]
    NoAnswer { url: String, source: ureq::Error },
    #[error("error: {text}{}", help(*.status))]
    Refused { status: u16, text: String },
    #[error(
        "error: the token would go to {0} unencrypted\n  = help: write `https://`, or ask on the \
         router's own machine"
    )]
    InClear(String),
    #[error("error: what {0} answers is not from Stentor's admin listener")]
    Strange(String),
    #[error("error: there is no file `{}` with a token", .0.display())]
    NoTokenFile(PathBuf),
    #[error("error: {0}")]
    TokenFile(#[from] TokenFileFault),
    #[error("error: {0}")]
    Authorities(#[from] ClientError),
    #[error("error: the environment variable {TOKEN_VARIABLE} holds no token")]
    NoToken,
    #[error("error: {0} says no more: the router has stopped, or the connection is lost")]
    Interrupted(String),
}

impl OperatorError {
    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::NoAnswer { .. } | Self::Interrupted(_) => fault::NO_CONNECTION,
            Self::Refused { status: 401 | 403, .. } => fault::REFUSED,
            Self::Refused { .. } | Self::Strange(_) => fault::ERROR,
            Self::InClear(_)
            | Self::NoTokenFile(_)
            | Self::TokenFile(_)
            | Self::Authorities(_)
            | Self::NoToken => fault::USAGE,
        }
    }
}

fn help(status: u16) -> &'static str {
    match status {
        401 => {
            "\n  = help: --token-file names the file with the token, or STENTOR_ADMIN_TOKEN holds \
             it"
        }
        _ => "",
    }
}

/// One question.
pub(crate) enum Ask<'a> {
    Get(&'a str, &'a [(&'a str, &'a str)]),
    Post(&'a str, &'a Value),
    /// What everybody may know, asked without the token.
    Probe(&'a str),
}

impl AdminFlags {
    /// Without a token.
    pub(crate) const fn at(admin: String, ca: Option<PathBuf>) -> Self {
        Self { admin, ca, token_file: None }
    }

    /// What the router says to a question, if it does what it is asked for.
    pub(crate) fn ask(&self, ask: &Ask<'_>) -> Result<String, OperatorError> {
        self.ask_within(ask, PATIENCE)
    }

    /// The same, for those who wait for `patience` at most.
    pub(crate) fn ask_within(
        &self,
        ask: &Ask<'_>,
        patience: Duration,
    ) -> Result<String, OperatorError> {
        let (url, mut response) = self.send(ask, patience)?;
        let text = response.body_mut().with_config().limit(MOST_BYTES).read_to_string();
        text.map_err(|source| OperatorError::NoAnswer { url, source })
    }

    /// The answer as it comes, which takes `patience` at most.
    pub(crate) fn follow(
        &self,
        ask: &Ask<'_>,
        patience: Duration,
    ) -> Result<impl BufRead + use<>, OperatorError> {
        let (_, response) = self.send(ask, patience)?;
        Ok(BufReader::new(response.into_body().into_reader()))
    }

    /// The beginning of what the router says, if it does what it is asked for, and whom was asked.
    fn send(
        &self,
        ask: &Ask<'_>,
        patience: Duration,
    ) -> Result<(String, Response<Body>), OperatorError> {
        let (Ask::Get(path, _) | Ask::Post(path, _) | Ask::Probe(path)) = ask;
        let url = match self.socket() {
            // The router takes requests for this machine. By a name it would be looked up, though
            // nobody connects to it: that fails where there is no /etc/hosts.
            Some(_) => format!("http://127.0.0.1{path}"),
            None => format!("{}{path}", self.admin.trim_end_matches('/')),
        };
        let agent = self.agent(&url, patience)?;
        let token = match ask {
            Ask::Probe(_) => None,
            Ask::Get(..) | Ask::Post(..) => self.token()?,
        };
        if token.is_some() && self.socket().is_none() && is_in_clear(&url) {
            return Err(OperatorError::InClear(self.admin.clone()));
        }
        let no_answer = |source| OperatorError::NoAnswer { url: url.clone(), source };
        let mut response = send(&agent, &url, token.as_ref(), ask).map_err(no_answer)?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok((url, response));
        }
        let text = response.body_mut().with_config().limit(MOST_BYTES).read_to_string();
        let text = text.map_err(no_answer)?;
        Err(OperatorError::Refused { status, text: error_in(&text) })
    }

    /// The same, as JSON.
    pub(crate) fn ask_json(&self, ask: &Ask<'_>) -> Result<Value, OperatorError> {
        let text = self.ask(ask)?;
        serde_json::from_str(&text).map_err(|_| self.strange())
    }

    /// Which router, as the operator has written it.
    pub(crate) fn address(&self) -> &str {
        &self.admin
    }

    /// The Unix socket that the router listens on, if it does.
    fn socket(&self) -> Option<&Path> {
        self.admin.strip_prefix("unix:").map(Path::new)
    }

    fn agent(&self, url: &str, patience: Duration) -> Result<Agent, OperatorError> {
        let config = Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0);
        let config = match url.starts_with("https:") {
            true => config.tls_config(tls_of_clients(self.ca.as_deref())?).build(),
            false => config.build(),
        };
        Ok(match self.socket() {
            Some(socket) => {
                Agent::with_parts(config, UnixConnector::new(socket), DefaultResolver::default())
            }
            None => config.into(),
        })
    }

    pub(crate) fn interrupted(&self) -> OperatorError {
        OperatorError::Interrupted(self.admin.clone())
    }

    pub(crate) fn strange(&self) -> OperatorError {
        OperatorError::Strange(self.admin.clone())
    }

    fn token(&self) -> Result<Option<Secret>, OperatorError> {
        if let Some(file) = &self.token_file {
            let token = read_token_file(file)?;
            return token.map(Some).ok_or_else(|| OperatorError::NoTokenFile(file.clone()));
        }
        let token = env::var_os(TOKEN_VARIABLE).filter(|token| !token.is_empty());
        let Some(token) = token else { return Ok(None) };
        let token = token.into_string().ok().map(Secret::new);
        let token = token.filter(|token| is_token(token.bytes()));
        token.map(Some).ok_or(OperatorError::NoToken)
    }
}

/// Whether others could read what is sent there.
fn is_in_clear(url: &str) -> bool {
    let authority = url.strip_prefix("http://").map(|rest| rest.split('/').next());
    authority.flatten().is_some_and(|authority| !is_loopback(authority))
}

fn send(
    agent: &Agent,
    url: &str,
    token: Option<&Secret>,
    ask: &Ask<'_>,
) -> Result<Response<Body>, ureq::Error> {
    let token = token.map(|token| [b"Bearer ", token.bytes()].concat());
    match ask {
        Ask::Get(_, query) => {
            let mut request = agent.get(url).query_pairs(query.iter().copied());
            if let Some(token) = token {
                request = request.header("authorization", &*token);
            }
            request.call()
        }
        Ask::Probe(_) => agent.get(url).call(),
        Ask::Post(_, body) => {
            let mut request = agent.post(url).content_type("application/json");
            if let Some(token) = token {
                request = request.header("authorization", &*token);
            }
            request.send(body.to_string())
        }
    }
}

/// What is wrong, out of an answer that says so in JSON or as text.
fn error_in(text: &str) -> String {
    let json: Option<Value> = serde_json::from_str(text).ok();
    let error = json.as_ref().and_then(|json| json["error"].as_str());
    let error = error.unwrap_or(text).trim_end();
    printable(error.strip_prefix("error: ").unwrap_or(error))
}

/// What others chose moves no cursor.
pub(crate) fn printable(text: &str) -> String {
    let letter = |letter: char| match letter {
        '\n' => letter,
        _ if letter.is_control() => '\u{fffd}',
        _ => letter,
    };
    text.chars().map(letter).collect()
}

const TOKEN_VARIABLE: &str = "STENTOR_ADMIN_TOKEN";

/// Longer than the router lets an order wait.
const PATIENCE: Duration = Duration::from_secs(40);
const MOST_BYTES: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_to_other_machines_is_in_clear() {
        for url in ["http://10.0.0.5:9080/api/reload", "http://stentor.example/", "http://[::2]/"] {
            assert!(is_in_clear(url), "{url}");
        }
        for url in
            ["http://127.0.0.1:9080/x", "http://[::1]:9080/", "http://localhost/", "https://a.b/"]
        {
            assert!(!is_in_clear(url), "{url}");
        }
    }
}
