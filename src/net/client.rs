//! HTTP to endpoints, issuers and the addresses of webhooks: one request, one bounded answer,
//! within a time. No redirects, no proxies, no cookies, and no authorities but those of the system
//! or of a file.
//!
//! Blocks; only threads that may hang use it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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

/// The answer to what was delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posted {
    pub(super) status: u16,
    /// How long the other side wants to be left alone.
    pub(super) retry_after: Option<Duration>,
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
        for webhook in &realm.webhooks {
            Client::for_endpoint(&Endpoint::new(webhook.endpoint()))?;
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

    /// Posts JSON with these fields of the head; what stands in the answer matters to nobody.
    pub(super) fn deliver(
        &self,
        endpoint: &Endpoint,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Result<Posted, ureq::Error> {
        let patience = Duration::from_millis(endpoint.timeout_ms());
        let mut request = self.0.post(endpoint.url()).header("content-type", "application/json");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        if let Some(value) = endpoint.authorization() {
            request = request.header("authorization", value.bytes());
        }
        let request = request.config().timeout_global(Some(patience)).build();
        let mut response = request.send(body)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| read_pause(value.to_str().ok()?));
        // What was read to its end leaves a connection for the next one.
        let _ = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec();
        Ok(Posted { status, retry_after })
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

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a moment.
fn read_pause(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    #[expect(clippy::disallowed_methods, reason = "the moment is one of the calendar")]
    at.duration_since(SystemTime::now()).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_read_in_both_forms() {
        assert_eq!(read_pause("120"), Some(Duration::from_secs(120)));
        assert!(read_pause("Tue, 31 Dec 2199 23:59:59 GMT") > Some(Duration::from_secs(3_600)));
        for nothing in ["", "-1", "soon", "Fri, 31 Dec 1999 23:59:59 GMT", "99999999999"] {
            assert_eq!(read_pause(nothing), None, "{nothing}");
        }
    }
}
