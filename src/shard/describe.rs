//! What somebody who is asked about a client learns of its transport: what crossbar tells, under
//! its old names and its new ones, with null for what the router does not know.

use super::connection::Connection;
use crate::address::Address;
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
        // As far as it is known: to the router, or to the listed proxy that says so.
        let is_secure = self.is_confidential && self.peer != Address::UNIX;
        let channel_type = match self.peer.ip() {
            Some(_) if is_secure => "tls",
            Some(_) => "tcp",
            None => "unix",
        };
        vec![
            ("type".into(), kind.into()),
            ("protocol".into(), protocol.clone()),
            ("peer".into(), describe_peer(self.peer).into()),
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

/// `scheme:host:port`, which some split at the colons; `scheme:host` if no proxy has said the port,
/// and `unix` alone.
fn describe_peer(peer: Address) -> String {
    let Some(ip) = peer.ip() else { return peer.to_string() };
    let scheme = if ip.is_ipv4() { "tcp4" } else { "tcp6" };
    let port = peer.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}:{ip}{port}")
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, SocketAddr};

    use super::*;

    #[test]
    fn a_peer_is_described_as_far_as_it_is_known() {
        let of = |text: &str| describe_peer(text.parse::<SocketAddr>().expect("valid").into());
        assert_eq!(of("192.0.2.1:80"), "tcp4:192.0.2.1:80");
        assert_eq!(of("[::ffff:192.0.2.1]:80"), "tcp4:192.0.2.1:80");
        assert_eq!(of("[2001:db8::1]:80"), "tcp6:2001:db8::1:80");
        let ip: IpAddr = "192.0.2.1".parse().expect("valid");
        assert_eq!(describe_peer(Address::new(ip, None)), "tcp4:192.0.2.1");
        assert_eq!(describe_peer(Address::UNIX), "unix");
    }
}
