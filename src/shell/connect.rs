//! From flags to a session: what holds, secrets from where they are, and tries to connect.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use stentor_client::{Client, ClientBuilder, Credential, Status};
use tokio::time::{sleep, timeout_at};
use zeroize::Zeroizing;

use super::context::{self, Context, Contexts};
use super::output::{tell, tell_terminal};
use super::settings::{ConnectFlags, Kind, Settings, Source};
use super::{Fault, Stop, now};
use crate::command::secrets;

/// What each session of a command is made with.
pub(crate) struct Connector {
    builder: ClientBuilder,
    pub(crate) url: String,
    pub(crate) serializer: stentor_client::Codec,
    wait: Option<Duration>,
}

impl Connector {
    /// Settles what holds, and reads the secrets.
    pub(crate) fn new(flags: &ConnectFlags) -> Result<Self, Fault> {
        let environment = &super::environment;
        let name = flags.context_name(environment);
        // Without a home there are no contexts, which is no fault where none is named.
        let contexts = match context::path(environment) {
            Ok(path) => Contexts::read(&path)?,
            Err(_) if name.is_none() => Contexts::default(),
            Err(error) => return Err(error.into()),
        };
        let nothing = Context::default();
        let context = contexts.find(name.as_deref())?.unwrap_or(&nothing);
        let settings = flags.settle(environment, context)?;
        let builder = builder(&settings)?;
        let Settings { url, serializer, .. } = settings;
        Ok(Self { builder, url, serializer, wait: flags.wait })
    }

    /// A session that ends with its connection.
    pub(crate) async fn connect(&self, stop: &Stop) -> Result<Client, Fault> {
        self.connect_by(self.builder.clone().no_reconnect(), stop).await
    }

    /// A session that comes again when its connection is lost.
    pub(crate) async fn connect_for_long(&self, stop: &Stop) -> Result<Client, Fault> {
        self.connect_by(self.builder.clone(), stop).await
    }

    async fn connect_by(&self, builder: ClientBuilder, stop: &Stop) -> Result<Client, Fault> {
        let deadline = self.wait.map(|wait| now() + wait);
        let mut pause = FIRST_PAUSE;
        let mut is_told = false;
        loop {
            let trial = async {
                let connecting = builder.clone().connect();
                match deadline {
                    None => Ok(connecting.await?),
                    Some(deadline) => match timeout_at(deadline, connecting).await {
                        Ok(connected) => Ok(connected?),
                        Err(_) => Err(Fault::Lost(format!("no session at {} in time", self.url))),
                    },
                }
            };
            let failed: Fault = match stop.or(trial).await? {
                Ok(client) => return Ok(client),
                Err(failed) => failed,
            };
            let is_over = deadline.is_none_or(|deadline| now() + pause >= deadline);
            if is_over || !failed.is_momentary() {
                return Err(failed);
            }
            if !std::mem::replace(&mut is_told, true) {
                tell_terminal(&format!("waiting for {}: {failed}", self.url));
            }
            stop.or(sleep(pause)).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Says on standard error when the connection is lost and when it is there again, until it is over;
/// then why.
pub(crate) async fn watch(client: &Client) -> String {
    let mut seen = client.status();
    loop {
        match client.status_after(&seen).await {
            Status::Closed { reason } => return reason,
            Status::Reconnecting { tries: 0, ref reason } => {
                tell(&format!("connection lost ({reason}), trying again"));
            }
            Status::Connected(_) if !matches!(seen, Status::Connected(_)) => {
                tell("connected again");
            }
            _ => {}
        }
        seen = client.status();
        if let Status::Closed { reason } = seen {
            return reason;
        }
    }
}

fn builder(settings: &Settings) -> Result<ClientBuilder, Fault> {
    let mut builder =
        Client::builder(&*settings.url, &*settings.realm).serializer(settings.serializer);
    if let Some(authid) = &settings.authid {
        builder = builder.authid(authid);
    }
    if let Some(authrole) = &settings.authrole {
        builder = builder.authrole(authrole);
    }
    if let Some(ca) = &settings.ca {
        builder = builder.ca_file(ca);
    }
    if let Some((cert, key)) = &settings.certificate {
        builder = builder.client_certificate(cert, key);
    }
    let credentials = credentials(settings)?;
    Ok(credentials.into_iter().fold(builder, ClientBuilder::credential))
}

/// What is offered to the router, the better proof first.
fn credentials(settings: &Settings) -> Result<Vec<Credential>, Fault> {
    let mut secrets = Vec::new();
    let needed = settings.method.as_deref().map(Kind::of_method);
    for (kind, source) in &settings.secrets {
        if needed.is_none_or(|needed| needed == Some(*kind)) {
            secrets.push((*kind, read(*kind, source)?));
        }
    }
    let method = settings.method.as_deref();
    if secrets.is_empty() {
        match (needed.flatten(), method) {
            (Some(kind), Some(method)) => secrets.push((kind, asked(kind, method)?)),
            (None, None)
                if settings.authid.is_some()
                    && settings.certificate.is_none()
                    && io::stdin().is_terminal() =>
            {
                secrets.push((Kind::Secret, asked(Kind::Secret, "wampcra")?));
            }
            _ => {}
        }
    }
    let mut credentials = Vec::new();
    for (kind, secret) in &secrets {
        let fault = |error| Fault::Credential { kind: kind.name(), error };
        match kind {
            Kind::PrivateKey => credentials.push(Credential::cryptosign(secret).map_err(fault)?),
            Kind::Ticket => credentials.push(Credential::ticket(secret.as_str())),
            Kind::Secret => {
                credentials.push(Credential::scram(secret).map_err(fault)?);
                credentials.push(Credential::wampcra(secret.as_str()));
            }
        }
    }
    if settings.certificate.is_some() {
        credentials.push(Credential::tls());
    }
    match method {
        Some("tls") => credentials.push(Credential::tls()),
        Some("anonymous") => credentials.push(Credential::anonymous()),
        None if secrets.is_empty() => credentials.push(Credential::anonymous()),
        _ => {}
    }
    if let Some(method) = method {
        credentials.retain(|credential| credential.method() == method);
        credentials.truncate(1);
    }
    Ok(credentials)
}

fn read(kind: Kind, source: &Source) -> Result<Zeroizing<String>, Fault> {
    let secret = match source {
        Source::Argument(secret) => {
            let (flag, name) = (kind.flag(), kind.name());
            tell(&format!(
                "warning: other users of this machine can see the {name} in the list of processes: \
                 better is --{flag}-file"
            ));
            secret.clone()
        }
        Source::Variable(name) => {
            let value = std::env::var(name).map_err(|_| Fault::NoVariable(name.clone()))?;
            Zeroizing::new(value)
        }
        Source::File(path) => file(kind, path)?,
    };
    let is_fit = (1..=MOST_BYTES).contains(&secret.len());
    if is_fit { Ok(secret) } else { Err(Fault::Secret(kind.name())) }
}

/// The first line of a file. A ticket or a key stands alone there, or behind its name, as `stentor
/// keygen` prints it; a secret that people choose is the line as it is.
fn file(kind: Kind, path: &Path) -> Result<Zeroizing<String>, Fault> {
    let fault = |error| Fault::SecretFile { kind: kind.name(), path: path.to_owned(), error };
    let file = File::open(path).map_err(fault)?;
    let mode = file.metadata().map_err(fault)?.mode();
    if mode & 0o007 != 0 {
        let name = kind.name();
        let words = format!("warning: others may read the {name} in `{}`", path.display());
        tell(&words);
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MOST_BYTES as u64 + 2).read_to_string(&mut text).map_err(fault)?;
    let line = text.lines().next().unwrap_or_default();
    let is_made = kind != Kind::Secret;
    let named = line.strip_prefix(kind.name()).filter(|_| is_made);
    let named = named.and_then(|rest| rest.strip_prefix(": "));
    Ok(Zeroizing::new(named.unwrap_or(line).to_owned()))
}

/// Asks at the terminal, if there is one.
fn asked(kind: Kind, method: &str) -> Result<Zeroizing<String>, Fault> {
    let no_secret =
        || Fault::NoSecret { method: method.to_owned(), kind: kind.name(), flag: kind.flag() };
    if !io::stdin().is_terminal() {
        return Err(no_secret());
    }
    let mut name = kind.name().to_owned();
    name[..1].make_ascii_uppercase();
    let secret = secrets::ask(&format!("{name}: ")).map_err(|_| no_secret())?;
    let text = str::from_utf8(secret.bytes()).map_err(|_| no_secret())?;
    let is_fit = !text.is_empty();
    if is_fit { Ok(Zeroizing::new(text.to_owned())) } else { Err(Fault::Secret(kind.name())) }
}

/// As many bytes as fit into AUTHENTICATE by default.
const MOST_BYTES: usize = 32 * 1024;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(method: Option<&str>, secrets: Vec<(Kind, Source)>) -> Settings {
        Settings {
            url: "ws://localhost/".to_owned(),
            realm: "realm1".to_owned(),
            authid: None,
            authrole: None,
            method: method.map(str::to_owned),
            serializer: stentor_client::Codec::Cbor,
            ca: None,
            certificate: None,
            secrets,
        }
    }

    fn methods(settings: &Settings) -> Result<Vec<&'static str>, Fault> {
        Ok(credentials(settings)?.iter().map(Credential::method).collect())
    }

    #[test]
    fn what_is_offered_follows_from_what_there_is() {
        let given = |kind| (kind, Source::Argument("00".repeat(32).into()));
        let all = || vec![given(Kind::Secret), given(Kind::Ticket), given(Kind::PrivateKey)];
        assert_eq!(methods(&settings(None, vec![])).unwrap(), ["anonymous"]);
        let offered = methods(&settings(None, all())).unwrap();
        assert_eq!(offered, ["wamp-scram", "wampcra", "ticket", "cryptosign"]);
        for method in super::super::settings::METHODS {
            assert_eq!(methods(&settings(Some(method), all())).unwrap(), [method]);
        }
        let mut with_certificate = settings(None, vec![]);
        with_certificate.certificate = Some(("a".into(), "b".into()));
        assert_eq!(methods(&with_certificate).unwrap(), ["tls", "anonymous"]);
        with_certificate.method = Some("tls".to_owned());
        assert_eq!(methods(&with_certificate).unwrap(), ["tls"]);
    }

    #[test]
    fn a_secret_is_one_line_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "hunter2\nmore\n").unwrap();
        assert_eq!(*read(Kind::Secret, &Source::File(path.clone())).unwrap(), "hunter2");
        for (kind, line) in [(Kind::Ticket, "ticket: x"), (Kind::PrivateKey, "private key: x\n")] {
            std::fs::write(&path, line).unwrap();
            assert_eq!(*read(kind, &Source::File(path.clone())).unwrap(), "x");
            assert_eq!(*read(Kind::Secret, &Source::File(path.clone())).unwrap(), line.trim());
        }
        std::fs::write(&path, "secret: x").unwrap();
        assert_eq!(*read(Kind::Secret, &Source::File(path.clone())).unwrap(), "secret: x");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(read(Kind::Ticket, &Source::File(path.clone())), Err(Fault::Secret(_))));
        std::fs::write(&path, "x".repeat(MOST_BYTES + 1)).unwrap();
        assert!(matches!(read(Kind::Ticket, &Source::File(path)), Err(Fault::Secret(_))));
        let nowhere = Source::File("no/such".into());
        let missing = read(Kind::PrivateKey, &nowhere).unwrap_err().to_string();
        assert!(missing.contains("private key") && missing.contains("no/such"), "{missing}");
        let unset = Source::Variable("STENTOR_TEST_NO_SUCH".to_owned());
        assert!(matches!(read(Kind::Secret, &unset), Err(Fault::NoVariable(_))));
    }
}
