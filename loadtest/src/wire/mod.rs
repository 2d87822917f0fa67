//! The bytes of WAMP as a client needs them: transport handshakes, frame headers and compression, a
//! writer and a head reader for three serializers, and the stamp in each payload; and as much of
//! NATS and Redis as publishing takes. Pure: no sockets, no clock.

pub mod decode;
pub mod deflate;
pub mod floor;
pub mod frame;
pub mod handshake;
pub mod message;
pub mod nats;
pub mod reader;
pub mod redis;
pub mod stamp;
pub mod writer;

use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    Json,
    MessagePack,
    Cbor,
}

impl Serializer {
    pub const ALL: [Self; 3] = [Self::Json, Self::MessagePack, Self::Cbor];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "msgpack",
            Self::Cbor => "cbor",
        }
    }

    /// The number in the second octet of a RawSocket handshake.
    pub const fn rawsocket_id(self) -> u8 {
        match self {
            Self::Json => 1,
            Self::MessagePack => 2,
            Self::Cbor => 3,
        }
    }
}

impl FromStr for Serializer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|serializer| serializer.name() == text);
        found.ok_or_else(|| "expected json, msgpack or cbor".to_owned())
    }
}
