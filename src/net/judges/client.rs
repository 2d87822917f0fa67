//! HTTP to endpoints and issuers: one request, one bounded answer, within a time. No redirects, no
//! proxies, no cookies, and no authorities but those of the system or of a file.
//!
//! Blocks; only threads that may hang use it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::authentication::{Endpoint, EndpointSettings, Secret, TokenSettings};
use crate::config::Config;

/// Why there can be no HTTPS.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot read the authorities in `{}`: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "`{}` holds no certificate of an authority: it must begin with `-----BEGIN \
         CERTIFICATE-----`", .0.display()
    )]
    NoCertificate(PathBuf),
    #[error(
        "this system has no file of authorities for HTTPS where such files are: install its \
         `ca-certificates`, or name a file with `ca = \"...\"`"
    )]
    NoSystemAuthorities,
}

/// A way to ask; cloning shares its connections.
#[derive(Clone, Debug)]
pub(super) struct Client(Agent);

/// Reads the authorities of all that is asked over HTTPS, as a start would.
///
/// # Errors
/// The first that cannot be used.
pub fn check_clients(config: &Config) -> Result<(), ClientError> {
    for realm in &config.realms {
        let asked = realm.authenticators.iter().filter_map(EndpointSettings::of);
        for settings in asked.chain(realm.authorizer_endpoints()) {
            Client::for_endpoint(&Endpoint::new(settings))?;
        }
        let tokens = realm.authenticators.iter().filter_map(|way| way.jwt.as_ref());
        for jwt in tokens.filter(|jwt| jwt.keys_url.is_some()) {
            Client::for_keys(jwt)?;
        }
    }
    Ok(())
}

impl Client {
    pub(super) fn for_endpoint(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let is_secure = endpoint.url().starts_with("https:");
        Self::new(endpoint.ca(), is_secure, endpoint.concurrency())
    }

    pub(super) fn for_keys(settings: &TokenSettings) -> Result<Self, ClientError> {
        let is_secure = settings.keys_url.as_ref().is_some_and(|url| url.starts_with("https:"));
        Self::new(settings.ca.as_deref(), is_secure, 1)
    }

    fn new(ca: Option<&Path>, is_secure: bool, connections: usize) -> Result<Self, ClientError> {
        let authorities = if is_secure { read_authorities(ca)? } else { Vec::new() };
        let tls = believing(authorities);
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(is_secure)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent("stentor")
            .max_response_header_size(HEAD_BYTES)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .max_idle_age(IDLE_AGE)
            .build();
        Ok(Self(config.into()))
    }

    /// Posts JSON; gives the status and at most [`ANSWER_BYTES`] of body.
    pub(super) fn post(
        &self,
        endpoint: &Endpoint,
        body: &Secret,
        patience: Duration,
    ) -> Result<(u16, Vec<u8>), ureq::Error> {
        let request = self.0.post(endpoint.url()).header("content-type", "application/json");
        let request = match endpoint.authorization() {
            Some(value) => request.header("authorization", value.bytes()),
            None => request,
        };
        let request = request.config().timeout_global(Some(patience)).build();
        let mut response = request.send(body.bytes())?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec()?;
        Ok((response.status().as_u16(), body))
    }

    /// The body of a document, at most [`DOCUMENT_BYTES`].
    pub(super) fn get(&self, url: &str) -> Result<Vec<u8>, ureq::Error> {
        let request = self.0.get(url).config().timeout_global(Some(DOCUMENT_PATIENCE)).build();
        let mut response = request.call()?;
        if response.status() != 200 {
            return Err(ureq::Error::StatusCode(response.status().as_u16()));
        }
        response.body_mut().with_config().limit(DOCUMENT_BYTES).read_to_vec()
    }
}

/// Why nothing came, and what to do if it is the certificate.
pub(super) fn explain(error: &ureq::Error) -> String {
    let text = error.to_string();
    if text.contains("invalid peer certificate") {
        text + "; believed are the authorities in the file that `ca` names, or else the system's"
    } else {
        text
    }
}

/// How a client speaks TLS that believes the authorities of a file, or else the system's.
///
/// # Errors
/// [`ClientError`] if there are none, or they cannot be read.
pub fn tls_of_clients(ca: Option<&Path>) -> Result<TlsConfig, ClientError> {
    Ok(believing(read_authorities(ca)?))
}

fn believing(authorities: Vec<Certificate<'static>>) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(authorities)))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build()
}

/// The authorities of a file, or of the system.
fn read_authorities(ca: Option<&Path>) -> Result<Vec<Certificate<'static>>, ClientError> {
    let of_system = || SYSTEM_AUTHORITIES.into_iter().map(Path::new).find(|path| path.exists());
    let path = ca.or_else(of_system).ok_or(ClientError::NoSystemAuthorities)?;
    let text =
        fs::read(path).map_err(|source| ClientError::Read { path: path.to_owned(), source })?;
    let read = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
    let authorities: Vec<_> = read.map(|one| Certificate::from_der(&one).to_owned()).collect();
    let none = authorities.is_empty();
    if none { Err(ClientError::NoCertificate(path.to_owned())) } else { Ok(authorities) }
}

/// Where systems keep the authorities that they trust, in one file.
const SYSTEM_AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Bytes of the longest answer of an endpoint.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Bytes of the longest set of keys.
const DOCUMENT_BYTES: u64 = 256 * 1024;

const HEAD_BYTES: usize = 16 * 1024;

/// How long a connection stays open without a request.
const IDLE_AGE: Duration = Duration::from_secs(15);

/// How long keys may take to come.
const DOCUMENT_PATIENCE: Duration = Duration::from_secs(10);
