//! TLS of a listener: which files hold its certificates, and whether clients must show theirs.
//!
//! Opens no file: whether they can be used is for `net`, which reads them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A certificate and its key. Both files are in PEM, and read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The server's certificate, and behind it those that it was signed by.
    pub certificate: PathBuf,
    /// The private key, without a passphrase.
    pub key: PathBuf,
    /// Whether the key may be readable by everybody on the machine.
    pub allow_readable_key: bool,
}

/// Whether clients show a certificate of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked, and may have none; one that is shown must be good.
    Request,
    /// Who has none is refused.
    Require,
}
