//! The names of the serializers. What they make of a message is the business of `codec`.

/// The serializers (requirements 1.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    Cbor,
    Json,
    MsgPack,
}

impl Codec {
    pub const ALL: [Self; 3] = [Self::Cbor, Self::Json, Self::MsgPack];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cbor => "cbor",
            Self::Json => "json",
            Self::MsgPack => "msgpack",
        }
    }
}
