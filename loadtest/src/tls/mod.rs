//! TLS for the generator and for the floor program: whom they trust, who they are, and a stream
//! that encrypts. What a handshake or a record costs the router is what a run is about, so nothing
//! is resumed unless that is asked for.

mod secured;

use std::fmt;
use std::fs;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

pub use secured::Secured;

use crate::error::{Error, Result};

/// The authority that a client trusts, and nobody else.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

/// A certificate for `127.0.0.1` with its key, as PEM.
pub struct Identity {
    pub certificate: String,
    key: String,
}

impl Trust {
    /// Reads the certificates of a PEM file.
    ///
    /// # Errors
    /// A text that says what is wrong with the file.
    pub fn of_file(path: &str) -> Result<Self, String> {
        let pem = fs::read(path).map_err(|error| format!("cannot read it: {error}"))?;
        Self::of_pem(&pem)
    }

    /// # Errors
    /// A text that says what is wrong with the certificates.
    pub fn of_pem(pem: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        if roots.is_empty() {
            return Err("it holds no certificate (PEM is expected)".to_owned());
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// Lets later connections resume the sessions of earlier ones.
    pub fn resuming(&self) -> Self {
        let mut config = (*self.0).clone();
        config.resumption = Resumption::in_memory_sessions(RESUMABLE);
        Self(Arc::new(config))
    }

    /// A client's end on `socket`, to the host of `host` and perhaps a port.
    pub fn secure<S>(&self, socket: S, host: &str) -> Result<Secured<S>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| Error::Usage(format!("{name} is no name for a certificate")))?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name)
            .map_err(|error| Error::Io("beginning a TLS handshake", io::Error::other(error)))?;
        Ok(Secured::new(socket, connection.into()))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

impl Identity {
    /// A new one, which signs itself: for a program that is measured on this machine.
    pub fn make() -> Result<Self> {
        let fail = |error| Error::Io("making a certificate", io::Error::other(error));
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
        let made = made.map_err(fail)?;
        Ok(Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() })
    }

    /// Both parts, as [`Acceptor::of_pem`] reads them.
    pub fn pem(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }
}

/// What makes connections into the server's ends of TLS.
#[derive(Clone)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Of a certificate and its key.
    pub fn of_pem(pem: &[u8]) -> Result<Self> {
        let fail =
            |error: String| Error::Usage(format!("the floor program's certificate: {error}"));
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|error| fail(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| fail(error.to_string()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self(Arc::new(config)))
    }

    pub fn secure<S>(&self, socket: S) -> io::Result<Secured<S>> {
        let connection = ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
        Ok(Secured::new(socket, connection.into()))
    }
}

/// Sessions that a client keeps to resume them.
const RESUMABLE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_authority_is_explained() {
        assert!(Trust::of_file("/nonexistent").unwrap_err().contains("cannot read"));
        assert!(Trust::of_pem(b"nothing").unwrap_err().contains("no certificate"));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Trust::of_pem(broken).is_err());
    }
}
