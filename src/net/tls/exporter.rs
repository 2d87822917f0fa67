//! `tls-exporter` (RFC 9266): a value that both ends of a channel can compute, and nobody else.
//!
//! rustls exports it from connections with buffers only. This derives it from the secret that a
//! handshake of TLS 1.3 ends with (RFC 8446, 7.5), which rustls tells where keys are logged.

use std::sync::OnceLock;

use rustls::crypto::tls13::OkmBlock;
use rustls::{KeyLog, SupportedCipherSuite};

use crate::authentication::Secret;

/// The exporter's secret of one connection, which nobody else is told. There is none before TLS
/// 1.3: only since then it is always made of the whole handshake.
#[derive(Debug, Default)]
pub(super) struct Exporter(OnceLock<Secret>);

impl KeyLog for Exporter {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        // TLS 1.2 tells its master secret, whether it is wanted or not.
        if self.will_log(label) {
            // There is one for each handshake.
            let _ = self.0.set(Secret::new(secret));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == "EXPORTER_SECRET"
    }
}

impl Exporter {
    /// What tells this channel from all others.
    pub(super) fn channel_id(&self, suite: SupportedCipherSuite) -> Option<[u8; 32]> {
        let (secret, SupportedCipherSuite::Tls13(suite)) = (self.0.get()?, suite) else {
            return None;
        };
        let hash_of_nothing = suite.common.hash_provider.hash(&[]);
        let context = hash_of_nothing.as_ref();
        let expand = |secret: &[u8], label: &[u8], out: &mut [u8]| {
            let expander = suite.hkdf_provider.expander_for_okm(&OkmBlock::new(secret));
            // HkdfLabel: lengths in front, of the output in two bytes, of what follows in one.
            let length = u16::try_from(out.len()).ok()?.to_be_bytes();
            let label_length = [u8::try_from(PREFIX.len() + label.len()).ok()?];
            let context_length = [u8::try_from(context.len()).ok()?];
            let info = [&length[..], &label_length, PREFIX, label, &context_length, context];
            expander.expand_slice(&info, out).ok()
        };
        let mut derived = vec![0; context.len()];
        expand(secret.bytes(), LABEL, &mut derived)?;
        let derived = Secret::new(derived);
        let mut id = [0; 32];
        expand(derived.bytes(), b"exporter", &mut id)?;
        Some(id)
    }
}

const PREFIX: &[u8] = b"tls13 ";
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_secret_is_kept() {
        let exporter = Exporter::default();
        exporter.log("CLIENT_RANDOM", &[1; 32], &[2; 48]);
        assert!(exporter.0.get().is_none());
        exporter.log("EXPORTER_SECRET", &[1; 32], &[3; 32]);
        assert_eq!(exporter.0.get().map(Secret::bytes), Some(&[3; 32][..]));
    }
}
