//! What somebody who is asked about a client learns of its transport: what crossbar tells, under
//! its old names and its new ones, with null for what the router does not know.

use core::net::SocketAddr;

use super::connection::Connection;
use crate::transport::Framing;
use crate::wamp::{Dict, Value};

impl Connection {
    /// The `transport` of `session_details`.
    pub(super) fn describe(&self) -> Dict {
        let (kind, serializer) = (self.framing.transport_name(), self.codec.as_str());
        let protocol = match self.framing {
            Framing::RawSocket => Value::Null,
            _ => format!("wamp.2.{serializer}").into(),
        };
        let (scheme, peer) = describe_peer(&self.peer);
        let is_secure = self.channel_id.is_some();
        let channel_type = match (is_secure, scheme) {
            (true, _) => "tls",
            (false, "unix") => "unix",
            (false, _) => "tcp",
        };
        vec![
            ("type".into(), kind.into()),
            ("protocol".into(), protocol.clone()),
            ("peer".into(), peer.into()),
            ("http_headers_received".into(), Value::Null),
            ("http_headers_sent".into(), Value::Null),
            ("cbtid".into(), Value::Null),
            ("client_cert".into(), Value::Null),
            ("channel_type".into(), channel_type.into()),
            ("channel_framing".into(), kind.into()),
            ("channel_serializer".into(), serializer.into()),
            ("channel_id".into(), Value::Null),
            ("peer_cert".into(), Value::Null),
            ("is_secure".into(), is_secure.into()),
            ("websocket_protocol".into(), protocol),
            ("http_cbtid".into(), Value::Null),
        ]
    }
}

/// `scheme:host:port`, which some split at the colons.
fn describe_peer(peer: &str) -> (&'static str, String) {
    let Ok(address) = peer.parse::<SocketAddr>() else { return ("unix", format!("unix:{peer}")) };
    let scheme = if address.is_ipv4() { "tcp4" } else { "tcp6" };
    (scheme, format!("{scheme}:{}:{}", address.ip(), address.port()))
}
