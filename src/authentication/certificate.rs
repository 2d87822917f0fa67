//! Certificates of TLS clients (AU-TRN-01): what is known of one that was verified, and how a users
//! file names it.
//!
//! Whether a certificate is good is not judged here: TLS has done so before anybody asks. What a
//! client says of its transport itself (`HELLO.Details.transport.auth`) counts for nothing
//! (AU-TRN-02).

use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest, Sha256};

/// What a certificate can be told by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateName {
    /// The SHA-256 of its DER encoding.
    Fingerprint([u8; 32]),
    /// A DNS name among its subject alternative names, in lower case.
    Dns(Box<str>),
    /// A URI among them, to the letter.
    Uri(Box<str>),
    /// An e-mail address among them: the host in lower case, what is before it to the letter (RFC
    /// 5280, 7.5).
    Email(Box<str>),
    /// The common name of its subject, to the letter.
    CommonName(Box<str>),
    /// Its subject as text (RFC 4514), to the letter.
    Subject(Box<str>),
}

impl CertificateName {
    /// The name of a DNS host, in the form in which it is compared.
    pub fn dns(name: &str) -> Self {
        Self::Dns(name.to_ascii_lowercase().into())
    }

    /// An e-mail address, in the form in which it is compared; `None` if it is none.
    pub fn email(address: &str) -> Option<Self> {
        let (before, host) = address.rsplit_once('@')?;
        let is_good = !before.is_empty() && is_host(host);
        is_good.then(|| Self::Email(format!("{before}@{}", host.to_ascii_lowercase()).into()))
    }

    /// Reads what a users file says: `sha256:` and 64 hexadecimal digits, with colons between them
    /// or without, `dns:` and a name, `uri:` and a URI, `email:` and an address, `cn:` and a common
    /// name, or `subject:` and a whole subject.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once(':')?;
        match kind {
            "sha256" => {
                let digits: String = value.chars().filter(|c| *c != ':').collect();
                let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
                Some(Self::Fingerprint(bytes.try_into().ok()?))
            }
            "dns" if is_host(value) => Some(Self::dns(value)),
            "uri" if value.contains(':') && value.len() <= MAX_NAME_BYTES => {
                Some(Self::Uri(value.into()))
            }
            "email" if value.len() <= MAX_NAME_BYTES => Self::email(value),
            "cn" if (1..=MAX_NAME_BYTES).contains(&value.len()) => {
                Some(Self::CommonName(value.into()))
            }
            "subject" if value.contains('=') && value.len() <= MAX_SUBJECT_BYTES => {
                Some(Self::Subject(value.into()))
            }
            _ => None,
        }
    }

    /// Whether it is no longer than any honest name.
    fn is_short(&self) -> bool {
        match self {
            Self::Fingerprint(_) => true,
            Self::Dns(text) | Self::Uri(text) | Self::Email(text) | Self::CommonName(text) => {
                text.len() <= MAX_NAME_BYTES
            }
            Self::Subject(text) => text.len() <= MAX_SUBJECT_BYTES,
        }
    }
}

/// The form of the users file.
impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(bytes) => write!(f, "sha256:{}", HEXLOWER.encode(bytes)),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(uri) => write!(f, "uri:{uri}"),
            Self::Email(address) => write!(f, "email:{address}"),
            Self::CommonName(name) => write!(f, "cn:{name}"),
            Self::Subject(subject) => write!(f, "subject:{subject}"),
        }
    }
}

fn is_host(name: &str) -> bool {
    let is_usual = |b: u8| b.is_ascii_alphanumeric() || b"-._*".contains(&b);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_usual)
}

/// A certificate that a client has shown, and that one of the listener's authorities has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The fingerprint first.
    names: Vec<CertificateName>,
}

impl ClientCertificate {
    /// From its DER encoding and the names in it. What is beyond `MAX_NAMES`, or longer than any
    /// honest name, is left out: it is kept with the connection.
    pub fn new(der: &[u8], names: impl Iterator<Item = CertificateName>) -> Self {
        let fingerprint = CertificateName::Fingerprint(Sha256::digest(der).into());
        let names = names.filter(CertificateName::is_short).take(MAX_NAMES);
        Self { names: std::iter::once(fingerprint).chain(names).collect() }
    }

    /// What it can be told by, the fingerprint first.
    pub fn names(&self) -> &[CertificateName] {
        &self.names
    }
}

/// Names of one certificate that count.
const MAX_NAMES: usize = 64;

/// Bytes of a name: those of the longest DNS name, and more than any SPIFFE ID that is in use.
const MAX_NAME_BYTES: usize = 255;

/// Bytes of a subject: several attributes of up to 64 characters each (RFC 5280, appendix A).
const MAX_SUBJECT_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let fingerprint = format!("sha256:{digits}");
        for text in [
            &*fingerprint,
            "dns:device7.example.org",
            "uri:spiffe://example.org/device/7",
            "email:Joe@example.org",
            "cn:Joe Doe",
            "subject:CN=Joe Doe,O=Example\\, Inc.",
        ] {
            assert_eq!(CertificateName::parse(text).unwrap().to_string(), text);
        }
        // As OpenSSL prints it.
        let pairs: Vec<_> =
            digits.as_bytes().chunks(2).map(|two| str::from_utf8(two).unwrap()).collect();
        let colons = format!("sha256:{}", pairs.join(":").to_ascii_uppercase());
        assert_eq!(CertificateName::parse(&colons), CertificateName::parse(&fingerprint));
        assert_eq!(
            CertificateName::parse("dns:A.Example"),
            Some(CertificateName::dns("a.example"))
        );
        let shouted = CertificateName::parse("email:Joe@EXAMPLE.org");
        assert_eq!(shouted, CertificateName::email("Joe@example.org"));
        assert_ne!(shouted, CertificateName::email("joe@example.org"));
        for bad in [
            "",
            "sha256:",
            "sha256:ab",
            "dns:",
            "dns:a b",
            "uri:no-scheme",
            "cn:",
            "joe",
            "email:joe",
            "email:@example.org",
            "email:joe@",
            "subject:joe",
            digits,
        ] {
            assert_eq!(CertificateName::parse(bad), None, "{bad}");
        }
    }

    /// FIPS 180-4 has the hash of `abc`.
    #[test]
    fn what_is_kept_of_a_certificate_is_bounded() {
        let many = (0..1000).map(|number| CertificateName::dns(&format!("{number}.example")));
        let long = CertificateName::Uri(format!("x:{}", "y".repeat(255)).into());
        let certificate = ClientCertificate::new(b"abc", std::iter::once(long).chain(many));
        assert_eq!(certificate.names().len(), 1 + MAX_NAMES);
        let digits = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(certificate.names()[0].to_string(), digits);
        assert_eq!(certificate.names()[1].to_string(), "dns:0.example");
    }
}
