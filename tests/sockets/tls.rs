//! A certificate authority for tests, and clients that trust it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use stentor::config::{Config, Tls};
use tempfile::TempDir;

use super::config;

/// An authority, and a directory for what it issues.
pub(crate) struct Pki {
    pub(crate) directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) files: Tls,
    pub(crate) certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Issued {
    /// A server that shows it.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from(self.key.clone_key());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key);
        Arc::new(config.unwrap())
    }
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority for tests");
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), authority }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a certificate for `names`, in files named after `file`.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Issued {
        self.issue_until(file, names, (2000, 4000))
    }

    /// Makes one that is valid from the beginning of one year to that of another.
    pub(crate) fn issue_until(&self, file: &str, names: &[&str], (from, to): (i32, i32)) -> Issued {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        self.issue_with(file, &params)
    }

    /// Makes one as it is described.
    pub(crate) fn issue_with(&self, file: &str, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let files = Tls {
            certificate: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
            allow_readable_key: false,
        };
        write_pem(&files.certificate, "CERTIFICATE", certificate.der(), 0o644);
        write_pem(&files.key, "PRIVATE KEY", &key.serialize_der(), 0o600);
        Issued { files, certificate: certificate.der().clone(), key: key.serialize_der().into() }
    }

    /// The authority's own certificate, in a file.
    pub(crate) fn authority_file(&self) -> PathBuf {
        let path = self.path("authority.pem");
        write_pem(&path, "CERTIFICATE", self.authority.der(), 0o644);
        path
    }

    /// A client that trusts this authority, and shows a certificate if it has one.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> ClientConfig {
        self.client_by(ring::default_provider(), versions, own)
    }

    /// The same, by other cryptography.
    pub(crate) fn client_by(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from(own.key.clone_key());
                builder.with_client_auth_cert(vec![own.certificate.clone()], key).unwrap()
            }
        }
    }

    /// A client of TLS 1.3 that shows no certificate.
    pub(crate) fn plain_client(&self) -> Arc<ClientConfig> {
        Arc::new(self.client(&[&rustls::version::TLS13], None))
    }
}

/// A configuration with one listener that has these certificates.
pub(crate) fn tls_config(shards: usize, certificates: &[&Issued]) -> Config {
    let mut config = config(shards);
    config.listeners[0].tls = certificates.iter().map(|issued| issued.files.clone()).collect();
    config
}

/// Replaces the file in one step, as whoever renews certificates should.
fn write_pem(path: &Path, label: &str, der: &[u8], mode: u32) {
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new).unwrap();
    let body = STANDARD.encode(der);
    write!(file, "-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").unwrap();
    fs::rename(new, path).unwrap();
}
