//! `stentor cert`: an authority and a certificate to develop with, and the names of certificates.
//!
//! The authority's key is used once and kept nowhere, so whoever trusts it trusts this one
//! certificate only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, TimeDelta};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use stentor::net::certificate_of;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertError {
    #[error("cannot make the directory `{}`: {source}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("`{}` is there already: remove it, or choose another place with --dir", .0.display())]
    Exists(PathBuf),
    #[error("cannot read `{}`: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "`{}` holds no certificate: it must begin with `-----BEGIN CERTIFICATE-----`", .0.display()
    )]
    NoCertificate(PathBuf),
    #[error("cannot write `{}`: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a certificate for {names}: {source}")]
    Make { names: String, source: rcgen::Error },
}

/// Makes the files in `directory`, for this machine and `names`, and says how to use them.
pub(crate) fn make(directory: &Path, names: &[String]) -> Result<String, CertError> {
    fs::create_dir_all(directory)
        .map_err(|source| CertError::Directory { path: directory.to_owned(), source })?;
    let path = |name| directory.join(name);
    let files = [path(AUTHORITY), path(CERTIFICATE), path(KEY)];
    if let Some(taken) = files.iter().find(|file| file.exists()) {
        return Err(CertError::Exists(taken.clone()));
    }
    let all: Vec<_> = LOCAL.iter().map(|name| (*name).to_owned()).chain(names.to_vec()).collect();
    let made = issue(&all).map_err(|source| CertError::Make { names: all.join(", "), source })?;
    let [authority, certificate, key] = &files;
    write(authority, &pem("CERTIFICATE", &made.authority), PUBLIC)?;
    write(certificate, &pem("CERTIFICATE", &made.certificate), PUBLIC)?;
    write(key, &pem("PRIVATE KEY", &made.key), PRIVATE)?;
    Ok(instructions(&files, &all))
}

/// Each name by which a users file can tell the first certificate in a file.
pub(crate) fn names(file: &Path) -> Result<String, CertError> {
    let text =
        fs::read(file).map_err(|source| CertError::Read { path: file.to_owned(), source })?;
    let der = CertificateDer::from_pem_slice(&text)
        .map_err(|_| CertError::NoCertificate(file.to_owned()))?;
    let certificate = certificate_of(&der);
    let lines = certificate.names().iter().map(|name| {
        // A subject may hold what a TOML string must escape.
        format!("tls = {}\n", toml::Value::from(name.to_string()))
    });
    Ok(lines.collect())
}

/// Each as DER.
struct Made {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

fn issue(names: &[String]) -> Result<Made, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Stentor development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    limit(&mut params);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = named("Stentor development certificate");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    limit(&mut params);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?;
    Ok(Made {
        authority: authority.der().to_vec(),
        certificate: certificate.der().to_vec(),
        key: key.serialize_der(),
    })
}

fn named(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::CommonName, name);
    all
}

/// Valid from yesterday on, by the machine's clock: other clocks may be behind.
fn limit(params: &mut CertificateParams) {
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    let now = DateTime::from_timestamp(now, 0).unwrap_or_default();
    let day = |from_now| {
        let then = now + TimeDelta::days(from_now);
        date_time_ymd(then.year(), then.month() as u8, then.day() as u8)
    };
    (params.not_before, params.not_after) = (day(-1), day(VALID_DAYS));
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(PEM_COLUMNS) {
        lines.push_str(str::from_utf8(line).expect("Base64 is ASCII"));
        lines.push('\n');
    }
    lines.push_str(&format!("-----END {label}-----\n"));
    lines
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertError> {
    let open = || OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    open()
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| CertError::Write { path: path.to_owned(), source })
}

fn instructions([authority, certificate, key]: &[PathBuf; 3], names: &[String]) -> String {
    let (ca, certificate, key) = (authority.display(), certificate.display(), key.display());
    format!(
        "Made a certificate for {}, valid for {VALID_DAYS} days. For development only.\n\n\
         The router, in its configuration:\n\n\
         [[listener]]\nlisten = \"127.0.0.1:8443\"\n\
         [[listener.tls]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\n\
         Clients connect to wss://localhost:8443/ws or rss://localhost:8443, and must trust \
         {ca}:\n\n\
         \x20 Node.js    NODE_EXTRA_CA_CERTS={ca} node ...\n\
         \x20 Python     ssl.create_default_context(cafile=\"{ca}\")\n\
         \x20 curl       curl --cacert {ca} ...\n\
         \x20 browsers   import it as an authority in the settings of certificates\n\
         \x20 Debian     sudo cp {ca} /usr/local/share/ca-certificates/stentor-dev.crt\n\
         \x20            sudo update-ca-certificates\n",
        names.join(", ")
    )
}

const AUTHORITY: &str = "ca.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What browsers accept at most of a certificate, about.
const VALID_DAYS: i64 = 397;

const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;
const PEM_COLUMNS: usize = 64;
