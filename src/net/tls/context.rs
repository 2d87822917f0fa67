//! What the handshakes of one listener begin with: certificates, ticket keys, and who must show a
//! certificate. Shared by all shards, and replaced as a whole when files change.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::certificates::{self, Certificate, CertificateError};
use super::watch::{Look, look_at};
use crate::config::{ClientCertificates, Config, Listener};

/// TLS of one listener.
#[derive(Debug)]
pub(in crate::net) struct TlsContext {
    listener: Listener,
    provider: Arc<CryptoProvider>,
    /// What tickets are encrypted with, for as long as who must show a certificate stays the same.
    tickets: Arc<dyn ProducesTickets>,
    current: ArcSwap<Fresh>,
    /// The files and what they held at the start.
    first: (Vec<Look>, Vec<Certificate>),
}

/// What the files of a listener make of its handshakes.
#[derive(Debug)]
pub(in crate::net) struct Fresh {
    config: Arc<ServerConfig>,
    /// The last second of each certificate's validity, since 1970.
    expiries: Vec<u64>,
}

/// What the files of a listener held.
#[derive(Debug)]
struct Loaded {
    certificates: Vec<Certificate>,
    authorities: Option<RootCertStore>,
}

/// Reads and checks the certificates of all listeners, as a start would.
///
/// # Errors
/// The first file that cannot be used, with what to do.
pub fn check_certificates(config: &Config) -> Result<(), CertificateError> {
    let tls = config.listeners.iter().filter(|listener| !listener.tls.is_empty());
    let tls = tls.cloned().chain(config.admin.tls_listener());
    tls.map(|listener| TlsContext::new(&listener)).try_for_each(|context| context.map(drop))
}

impl TlsContext {
    /// Reads and checks all files of a listener that has [`Listener::tls`].
    pub(in crate::net) fn new(listener: &Listener) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let tickets = ring::Ticketer::new().map_err(CertificateError::Setup)?;
        // Looked at before they are read: a change in between is one that comes later.
        let looks = files(listener).iter().map(|file| look_at(file)).collect();
        let loaded = load(listener, &provider)?;
        let first = (looks, loaded.certificates.clone());
        let current = ArcSwap::from_pointee(fresh(listener, loaded, &provider, &tickets)?);
        Ok(Self { listener: listener.clone(), provider, tickets, current, first })
    }

    /// What a handshake that begins now is led by.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// When each of its certificates expires, in seconds since 1970.
    pub(in crate::net) fn expiries(&self) -> Vec<u64> {
        self.current.load().expiries.clone()
    }

    /// Whether clients are asked for a certificate.
    pub(super) fn asks_clients(&self) -> bool {
        self.listener.client_certificates != ClientCertificates::Off
    }

    pub(super) const fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Every file that it was made from.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        files(&self.listener)
    }

    /// The state of the files at the start, and the certificates that they held.
    pub(super) const fn first(&self) -> &(Vec<Look>, Vec<Certificate>) {
        &self.first
    }

    /// Reads the files again. If something is wrong with them, all stays as it is.
    pub(super) fn reload(&self) -> Result<Vec<Certificate>, CertificateError> {
        let (fresh, certificates) = self.load_again()?;
        self.install(fresh);
        Ok(certificates)
    }

    /// Reads the files again, without effect until [`Self::install`].
    pub(in crate::net) fn read_again(&self) -> Result<Fresh, CertificateError> {
        self.load_again().map(|(fresh, _)| fresh)
    }

    /// Handshakes begin with this from now on.
    pub(in crate::net) fn install(&self, fresh: Fresh) {
        self.current.store(Arc::new(fresh));
    }

    fn load_again(&self) -> Result<(Fresh, Vec<Certificate>), CertificateError> {
        let loaded = load(&self.listener, &self.provider)?;
        let certificates = loaded.certificates.clone();
        // A ticket stands for the certificate that a client has shown, and so must not outlive the
        // authority that it was judged by.
        let tickets = match self.listener.client_certificates {
            ClientCertificates::Off => Arc::clone(&self.tickets),
            _ => ring::Ticketer::new().map_err(CertificateError::Setup)?,
        };
        let fresh = fresh(&self.listener, loaded, &self.provider, &tickets)?;
        Ok((fresh, certificates))
    }
}

fn files(listener: &Listener) -> Vec<PathBuf> {
    let pairs = listener.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
    pairs.chain(&listener.client_ca).cloned().collect()
}

fn load(listener: &Listener, provider: &CryptoProvider) -> Result<Loaded, CertificateError> {
    let now = rustls::pki_types::UnixTime::now().as_secs();
    let load = |files| certificates::load(files, provider, now);
    let certificates = listener.tls.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    let authorities = match (&listener.client_ca, listener.client_certificates) {
        (Some(path), ClientCertificates::Request | ClientCertificates::Require) => {
            Some(certificates::load_authorities(path)?)
        }
        _ => None,
    };
    Ok(Loaded { certificates, authorities })
}

fn fresh(
    listener: &Listener,
    loaded: Loaded,
    provider: &Arc<CryptoProvider>,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<Fresh, CertificateError> {
    let expiries = loaded.certificates.iter().map(|certificate| certificate.expires).collect();
    let config = server_config(listener, loaded, provider, tickets)?;
    Ok(Fresh { config: Arc::new(config), expiries })
}

fn server_config(
    listener: &Listener,
    loaded: Loaded,
    provider: &Arc<CryptoProvider>,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, CertificateError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(CertificateError::Setup)?;
    let builder = match loaded.authorities {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
            let verifier = match listener.client_certificates {
                ClientCertificates::Require => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            let path = || listener.client_ca.clone().unwrap_or_default();
            let verifier = verifier.build().map_err(|reason| CertificateError::BadAuthority {
                path: path(),
                reason: reason.to_string(),
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let keys = loaded.certificates.into_iter().map(|certificate| certificate.key).collect();
    let mut config = builder.with_cert_resolver(Arc::new(ByName(keys)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Sessions live in the client's tickets alone, and nothing is answered before a handshake ends.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::clone(tickets);
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The certificates of a listener, of which the first is shown to whoever asks for no name, or for
/// one that none is for.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| self.0.iter().find(|key| is_for(key, &name)));
        named.or_else(|| self.0.first()).cloned()
    }
}

/// Whether a client that asks for `name` will accept the certificate, wildcards included.
fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.cert.first().map(ParsedCertificate::try_from);
    let Some(Ok(certificate)) = certificate else { return false };
    rustls::client::verify_server_name(&certificate, name).is_ok()
}
