//! TLS: whom a client believes, and the certificate that it shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::ConnectError;
use crate::url::Target;

/// What TLS is to be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsSettings {
    /// Authorities to believe instead of the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The client's own certificate, and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// All of it, made by the application.
    pub(crate) config: Option<Arc<ClientConfig>>,
}

impl TlsSettings {
    pub(super) async fn connect(
        &self,
        target: &Target,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let config = match &self.config {
            Some(config) => Arc::clone(config),
            None => {
                // Files are read anew for each connection: certificates are renewed.
                let settings = self.clone();
                let read = tokio::task::spawn_blocking(move || settings.read());
                let failed = |error: tokio::task::JoinError| ConnectError::Tls {
                    target: target.text.clone(),
                    error: error.into(),
                };
                Arc::new(read.await.map_err(failed)??)
            }
        };
        let name = ServerName::try_from(target.host().to_owned());
        let why = "its host is no name that a certificate can be for";
        let name = name.map_err(|_| ConnectError::Url { url: target.text.clone(), why })?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| ConnectError::Tls { target: target.text.clone(), error })
    }

    fn read(&self) -> Result<ClientConfig, ConnectError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| fault(path, &error))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                // A system may hold some that nobody can read; those are not believed.
                roots.add_parsable_certificates(found.certs);
            }
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has what the default versions need")
            .with_root_certificates(roots);
        let Some((path, key_path)) = &self.certificate else {
            return Ok(builder.with_no_client_auth());
        };
        let key =
            PrivateKeyDer::from_pem_file(key_path).map_err(|error| fault(key_path, &error))?;
        builder.with_client_auth_cert(certificates(path)?, key).map_err(|error| fault(path, &error))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| fault(path, &error))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| fault(path, &error))?;
    if found.is_empty() { Err(fault(path, &"it holds no certificate")) } else { Ok(found) }
}

fn fault(path: &Path, why: &dyn std::fmt::Display) -> ConnectError {
    ConnectError::File { path: path.to_owned(), why: why.to_string() }
}

/// `tls-exporter` (RFC 9266), which stands for the channel in TLS 1.3 only.
pub(super) fn channel(session: &ClientConnection) -> Option<[u8; 32]> {
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    session.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()
}
