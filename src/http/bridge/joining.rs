//! How a session of HTTP clients begins: the handshake, HELLO and WELCOME.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::said::Said;
use super::session::Lost;
use crate::codec::Codec;
use crate::http::inner::{Inner, InnerReader, InnerWriter};

/// Joins a realm. `roles`: what stands behind the realm in HELLO; `most`: bytes of the longest
/// message that is taken of the router.
///
/// # Errors
/// Why there is no session.
pub(super) async fn begin(
    inner: Inner,
    realm: &str,
    roles: &str,
    most: usize,
) -> Result<(InnerReader, InnerWriter), Lost> {
    let broken = |error: io::Error| Lost::Ended(error.to_string());
    let joined = timeout_at(Instant::now() + JOINING, async {
        let shaken = inner.shake_hands(Codec::Json, most).await;
        let (mut reader, mut writer) = shaken.map_err(broken)?;
        let realm = serde_json::Value::from(realm);
        let hello = format!("[1,{realm},{roles}]");
        writer.send(hello.as_bytes()).await.map_err(broken)?;
        let said = reader.next().await.map_err(broken)?;
        let said = said.ok_or_else(|| Lost::Ended(CLOSED.into()))?;
        match Said::read(&said) {
            Some(Said::Welcome) => Ok((reader, writer)),
            Some(Said::Abort { reason, .. }) if reason == STOPPING => Err(Lost::Stopping),
            Some(Said::Abort { message, .. }) => Err(Lost::Refused(message)),
            _ => Err(Lost::Ended(UNREADABLE.into())),
        }
    });
    joined.await.unwrap_or_else(|_| Err(Lost::Refused("it does not answer in time".into())))
}

pub(super) const STOPPING: &str = "wamp.close.system_shutdown";
pub(super) const CLOSED: &str = "the end of its connection";
pub(super) const UNREADABLE: &str = "a message that cannot be read";

/// The router has as long as that for WELCOME.
const JOINING: Duration = Duration::from_secs(10);
