//! TLS between the sockets of a shard and their transports (rustls; RFC 8446, RFC 5246).
//!
//! A [`TlsStream`] belongs to one connection and runs on its shard. It reads no file: certificates
//! come from a [`TlsContext`], which a thread of its own keeps up to date.

mod alone;
mod certificates;
mod channel;
mod context;
mod exporter;
mod open;
mod records;
mod share;
mod stream;
#[cfg(test)]
pub(super) mod tests;
mod watch;

pub use certificates::{CertificateError, certificate_of};
pub use context::check_certificates;

pub(crate) use alone::{LoneTls, LoneTlsError};
pub(super) use context::{Fresh, TlsContext};
pub(super) use open::OpenTls;
pub(super) use share::TlsShare;
pub(super) use stream::TlsStream;
pub(super) use watch::{Look, Watch, look_at, watch};
