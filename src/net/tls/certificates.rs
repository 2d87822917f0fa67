//! Certificates and keys in files: read, and checked as a pair before anybody is shown them.
//!
//! Runs at the start, in `stentor check`, and on the thread that watches the files; never on a
//! shard.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError as Verdict, Error as TlsError, InconsistentKeys, RootCertStore};
use webpki::EndEntityCert;
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

use crate::authentication::{CertificateName, ClientCertificate};
use crate::config::Tls;
use crate::wamp::Timestamp;

/// What is wrong with the files of a listener's TLS, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read `{}`: {source}{}", .path.display(), hint(.source))]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "`{}` holds no certificate: it must begin with `-----BEGIN CERTIFICATE-----`, the \
         server's own first, then those that it was signed by", .0.display()
    )]
    NoCertificate(PathBuf),
    #[error(
        "`{}` holds no private key that can be used: it must begin with `-----BEGIN PRIVATE \
         KEY-----` (or EC or RSA PRIVATE KEY); a key with a passphrase must be decrypted first, as \
         with `openssl pkey -in OLD -out NEW`", .0.display()
    )]
    NoKey(PathBuf),
    #[error(
        "`{}` is damaged: {reason}; copy it again from where it was made", .path.display()
    )]
    Malformed { path: PathBuf, reason: String },
    #[error(
        "everybody on this machine can read or change the private key `{}` (mode {mode:04o}): \
         `chmod 640` it, or set `allow_readable_key = true`", .path.display()
    )]
    ReadableKey { path: PathBuf, mode: u32 },
    #[error(
        "the private key `{}` cannot be used: {reason}; make one with ECDSA P-256, Ed25519, or \
         RSA of 2048 to 8192 bits", .path.display()
    )]
    UnsupportedKey { path: PathBuf, reason: TlsError },
    #[error(
        "the certificate `{}` is not for the key `{}`: take both from the same issue",
        .certificate.display(), .key.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error(
        "the certificate `{}` has expired on {at}: renew it, then start again, or, if the router \
         runs, just put it in its place", .path.display()
    )]
    Expired { path: PathBuf, at: String },
    #[error(
        "the certificate `{}` is not valid before {at}: wait, or look at this machine's clock",
        .path.display()
    )]
    NotYetValid { path: PathBuf, at: String },
    #[error("`{}` holds no certificate authority that can be used: {reason}", .path.display())]
    BadAuthority { path: PathBuf, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(TlsError),
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "; is the path right, seen from where the router starts?",
        io::ErrorKind::PermissionDenied => {
            "; let the router's user read it, for example by the group of the file, or with \
             systemd's LoadCredential="
        }
        _ => "",
    }
}

/// A certificate with its key, as it is shown to clients.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) path: PathBuf,
    pub(super) key: Arc<CertifiedKey>,
    /// The last second of its validity, since 1970.
    pub(super) expires: u64,
}

/// What a certificate can be told by: its fingerprint, what its subject says, and the DNS names,
/// URIs and e-mail addresses in it.
pub fn certificate_of(der: &CertificateDer<'_>) -> ClientCertificate {
    let Ok(parsed) = EndEntityCert::try_from(der) else {
        return ClientCertificate::new(der, std::iter::empty());
    };
    let dns = parsed.valid_dns_names().map(CertificateName::dns);
    let uris = parsed.valid_uri_names().map(|uri| CertificateName::Uri(uri.into()));
    ClientCertificate::new(der, subject_names(der).into_iter().chain(dns).chain(uris))
}

/// What the verifier does not read: the subject, its common name if it has one, and e-mail
/// addresses. Nothing, if any of that is not as RFC 5280 has it.
fn subject_names(der: &[u8]) -> Vec<CertificateName> {
    let Ok(parsed) = x509_cert::Certificate::from_der(der) else { return Vec::new() };
    let certificate = parsed.tbs_certificate();
    let Ok(alternative) = certificate.get_extension::<SubjectAltName>() else { return Vec::new() };
    let mut names = Vec::new();
    let subject = certificate.subject();
    if !subject.is_empty() {
        names.push(CertificateName::Subject(subject.to_string().into()));
    }
    // Of several nobody could say which one is meant.
    let mut common = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    if let (Some(name), None) = (common.next(), common.next())
        && let Ok(name) = DirectoryString::try_from(&name.value)
    {
        names.push(CertificateName::CommonName(name.value().into()));
    }
    let alternative = alternative.into_iter().flat_map(|(_, names)| names.0);
    names.extend(alternative.filter_map(|name| match name {
        GeneralName::Rfc822Name(address) => CertificateName::email(address.as_str()),
        _ => None,
    }));
    names
}

/// Reads a certificate and its key, and checks that they can be used together at `now`.
pub(super) fn load(
    files: &Tls,
    provider: &CryptoProvider,
    now: u64,
) -> Result<Certificate, CertificateError> {
    let chain = read_chain(&files.certificate)?;
    let key = read_key(files)?;
    let path = || files.key.clone();
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|reason| CertificateError::UnsupportedKey { path: path(), reason })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let (certificate, key) = (files.certificate.clone(), path());
            return Err(CertificateError::Mismatch { certificate, key });
        }
        Err(reason) => return Err(malformed(&files.certificate, &reason)),
    }
    let (from, expires) = validity(&certified.cert[0], provider)
        .map_err(|reason| malformed(&files.certificate, &reason))?;
    let path = files.certificate.clone();
    if now > expires {
        return Err(CertificateError::Expired { path, at: date(expires) });
    }
    if now < from {
        return Err(CertificateError::NotYetValid { path, at: date(from) });
    }
    Ok(Certificate { path, key: Arc::new(certified), expires })
}

/// The certificate authorities that clients' certificates must come from.
pub(super) fn load_authorities(path: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate).map_err(|reason| CertificateError::BadAuthority {
            path: path.to_owned(),
            reason: reason.to_string(),
        })?;
    }
    Ok(roots)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|reason| malformed(path, &reason))?;
    if chain.is_empty() { Err(CertificateError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

fn read_key(files: &Tls) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let path = &files.key;
    let metadata = fs::metadata(path)
        .map_err(|source| CertificateError::Read { path: path.clone(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS_READ_OR_WRITE != 0 && !files.allow_readable_key {
        return Err(CertificateError::ReadableKey { path: path.clone(), mode });
    }
    match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) => Err(CertificateError::NoKey(path.clone())),
        Err(reason) => Err(malformed(path, &reason)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

fn malformed(path: &Path, reason: &impl ToString) -> CertificateError {
    CertificateError::Malformed { path: path.to_owned(), reason: reason.to_string() }
}

/// The first and last second of a certificate's validity, since 1970. The verifier tells them to
/// whoever asks at the wrong time, which is cheaper than a parser of our own.
fn validity(
    certificate: &CertificateDer<'_>,
    provider: &CryptoProvider,
) -> Result<(u64, u64), TlsError> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let nobody = RootCertStore::empty();
    let algorithms = provider.signature_verification_algorithms.all;
    let ask = |seconds| {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], at, algorithms)
    };
    let from = match ask(0) {
        Err(TlsError::InvalidCertificate(Verdict::NotValidYetContext { not_before, .. })) => {
            not_before.as_secs()
        }
        _ => 0,
    };
    let until = match ask(END_OF_TIME) {
        Err(TlsError::InvalidCertificate(Verdict::ExpiredContext { not_after, .. })) => {
            not_after.as_secs()
        }
        _ => END_OF_TIME,
    };
    Ok((from, until))
}

/// A day as people write it, with its time.
pub(super) fn date(seconds: u64) -> String {
    let milliseconds = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
    Timestamp::from_unix_ms(milliseconds).to_string()
}

/// Permissions of a key's file that nobody but its user and group should have.
const OTHERS_READ_OR_WRITE: u32 = 0o006;

/// The last second of the year 9999, which is how "never" is written in a certificate (RFC 5280,
/// 4.1.2.5).
const END_OF_TIME: u64 = 253_402_300_799;
