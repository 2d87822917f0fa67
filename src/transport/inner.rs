//! Connections that the router makes to itself, for clients that speak HTTP: whom they let in, and
//! as whom.

use super::{Entrance, Origins, TransportRules};
use crate::codec::Codec;

/// Who a session is that the router opens for others. It proves nothing: who may use it was judged
/// by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appointment {
    /// The realm that it joins, whatever HELLO says.
    pub realm: Box<str>,
    /// Its authrole. The realm must have it when the session joins, and while it lasts.
    pub role: Box<str>,
    pub authid: Box<str>,
    /// In a drain it is told to leave when no others are left.
    pub leaves_last: bool,
}

impl TransportRules {
    /// The rules of a connection that the router makes to itself for clients of this listener, by
    /// RawSocket. Without an appointment its client says HELLO and proves who it is, as far as
    /// `entrance` demands; `is_confidential`: nobody on its way to the router can read along.
    ///
    /// RawSocket's limits are powers of two: this one is not below `message_bytes`, which whoever
    /// writes to the connection has to keep.
    pub fn inner(
        &self,
        entrance: Entrance,
        appointed: Option<Appointment>,
        is_confidential: bool,
    ) -> Self {
        Self {
            message_bytes: self.message_bytes.next_power_of_two(),
            hello_bytes: self.hello_bytes,
            websocket: false,
            rawsocket: true,
            rawsocket_min_peer_bytes: 512,
            tls: is_confidential,
            entrance,
            // How the router talks to itself is no choice of clients.
            codecs: if appointed.is_some() { Codec::ALL.to_vec() } else { self.codecs.clone() },
            appointed: appointed.map(Into::into),
            is_inner: true,
            is_unordered: false,
            listener: self.listener,
            paths: Vec::new(),
            paths_apart: Vec::new(),
            http_paths: Vec::new(),
            health: None,
            allowed_origins: Origins::Listed(Vec::new()),
            admin: None,
            // Whom a proxy speaks for is known already.
            proxies: Vec::new(),
            ..Self::default()
        }
    }
}
