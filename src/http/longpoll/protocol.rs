//! What the clients of a transport speak, by the names that WebSocket has for it (TR-LP-01).

use std::fmt;

use crate::codec::Codec;

/// A serializer, and whether requests and answers carry one message or a batch of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) codec: Codec,
    pub(super) is_batched: bool,
}

impl Protocol {
    /// The protocol of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.strip_prefix(PREFIX)?;
        let (codec, is_batched) = match name.strip_suffix(BATCHED) {
            Some(codec) => (codec, true),
            None => (name, false),
        };
        let codec = Codec::ALL.into_iter().find(|known| known.as_str() == codec)?;
        Some(Self { codec, is_batched })
    }

    /// The type of what clients receive (TR-LP-03).
    pub(super) const fn content_type(self) -> &'static str {
        match self.codec {
            Codec::Json => "application/json; charset=utf-8",
            Codec::MsgPack => "application/x-msgpack",
            Codec::Cbor => "application/cbor",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batched = if self.is_batched { BATCHED } else { "" };
        write!(f, "{PREFIX}{}{batched}", self.codec.as_str())
    }
}

const PREFIX: &str = "wamp.2.";
const BATCHED: &str = ".batched";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_names_and_no_others_are_known() {
        for codec in ["json", "msgpack", "cbor"] {
            for end in ["", ".batched"] {
                let name = format!("wamp.2.{codec}{end}");
                let protocol = Protocol::named(&name).expect("a known name");
                assert_eq!((protocol.to_string(), protocol.is_batched), (name, !end.is_empty()));
            }
        }
        for name in ["", "json", "wamp.2.", "wamp.2.JSON", "wamp.2.json.batched.batched", "wamp.1"]
        {
            assert_eq!(Protocol::named(name), None, "{name}");
        }
    }
}
