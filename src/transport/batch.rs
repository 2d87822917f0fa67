//! Batches: several WAMP messages in one message of a WebSocket (TR-BAT-01 to TR-BAT-04).
//!
//! How one message is told from the next, in both directions. Knows no frames and keeps no bytes.

use std::ops::Range;

use crate::codec::Codec;

/// How the messages in the batches of a connection are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// By an octet behind each, as all JSON. The peer's first batch says which of two; until then
    /// it is that of the specification.
    Undecided,
    /// By 0x1E behind each, as the specification has it.
    RecordSeparator,
    /// By 0x18 behind each, as autobahn has it.
    Cancel,
    /// By its length before each: four octets, the highest first.
    Prefixed,
}

/// Why a batch cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchFault {
    Empty,
    Truncated,
    Unterminated,
}

impl Batching {
    /// Before the peer has sent anything.
    pub const fn of(codec: Codec) -> Self {
        match codec {
            Codec::Json => Self::Undecided,
            Codec::MsgPack | Codec::Cbor => Self::Prefixed,
        }
    }

    /// Where the first message of a batch lies, and where the next one begins.
    ///
    /// Neither separator can occur in JSON, so the first of them in the first batch decides.
    pub fn first(&mut self, batch: &[u8]) -> Result<(Range<usize>, usize), BatchFault> {
        if batch.is_empty() {
            return Err(BatchFault::Empty);
        }
        let separator = match *self {
            Self::Prefixed => return prefixed(batch).ok_or(BatchFault::Truncated),
            Self::Undecided => memchr::memchr2(RECORD_SEPARATOR, CANCEL, batch),
            Self::RecordSeparator => memchr::memchr(RECORD_SEPARATOR, batch),
            Self::Cancel => memchr::memchr(CANCEL, batch),
        };
        let end = separator.ok_or(BatchFault::Unterminated)?;
        *self = if batch[end] == CANCEL { Self::Cancel } else { Self::RecordSeparator };
        Ok((0..end, end + 1))
    }

    /// Appends a message, of less than 4 GiB.
    pub fn put(self, message: &[u8], batch: &mut Vec<u8>) {
        if self == Self::Prefixed {
            batch.extend_from_slice(&(message.len() as u32).to_be_bytes());
        }
        batch.extend_from_slice(message);
        match self {
            Self::Undecided | Self::RecordSeparator => batch.push(RECORD_SEPARATOR),
            Self::Cancel => batch.push(CANCEL),
            Self::Prefixed => {}
        }
    }
}

impl BatchFault {
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Empty => "batch_empty",
            Self::Truncated => "batch_truncated",
            Self::Unterminated => "batch_unterminated",
        }
    }

    /// One phrase for a close frame or a log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "it holds no message",
            Self::Truncated => "it ends within a message or its length",
            Self::Unterminated => "no separator (0x1e) is behind its last message",
        }
    }
}

fn prefixed(batch: &[u8]) -> Option<(Range<usize>, usize)> {
    let (length, rest) = batch.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let end = LENGTH_BYTES + length;
    (length <= rest.len()).then_some((LENGTH_BYTES..end, end))
}

const RECORD_SEPARATOR: u8 = 0x1E;
const CANCEL: u8 = 0x18;
const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut batching: Batching, mut batch: &[u8]) -> Result<Vec<&[u8]>, BatchFault> {
        let mut messages = Vec::new();
        loop {
            let (message, next) = batching.first(batch)?;
            messages.push(&batch[message]);
            batch = &batch[next..];
            if batch.is_empty() {
                return Ok(messages);
            }
        }
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let messages: [&[u8]; 4] = [b"one", b"", &[7; 300], b"four"];
        for batching in [Batching::RecordSeparator, Batching::Cancel, Batching::Prefixed] {
            let mut batch = Vec::new();
            messages.iter().for_each(|message| batching.put(message, &mut batch));
            assert_eq!(all(batching, &batch), Ok(messages.to_vec()));
        }
    }

    /// TR-BAT-01: the example of the specification, and what autobahn sends.
    #[test]
    fn the_first_separator_decides() {
        let decided = |batch: &[u8]| {
            let mut batching = Batching::Undecided;
            let first = batching.first(batch).map(|(_, next)| next);
            (first, batching)
        };
        assert_eq!(decided(b"[1]\x1e[2\x18]\x1e"), (Ok(4), Batching::RecordSeparator));
        assert_eq!(decided(b"[1]\x18[2]\x18"), (Ok(4), Batching::Cancel));
        assert_eq!(decided(b"[1]"), (Err(BatchFault::Unterminated), Batching::Undecided));
        let mut mute = Vec::new();
        Batching::Undecided.put(b"[1]", &mut mute);
        assert_eq!(mute, b"[1]\x1e");
    }

    /// TR-BAT-03
    #[test]
    fn faults_are_told_apart() {
        for batching in [Batching::Undecided, Batching::Cancel, Batching::Prefixed] {
            assert_eq!(all(batching, b""), Err(BatchFault::Empty));
        }
        assert_eq!(all(Batching::Undecided, b"[1]\x1e[2]"), Err(BatchFault::Unterminated));
        assert_eq!(all(Batching::Undecided, b"[1]\x1e[2]\x18"), Err(BatchFault::Unterminated));
        for batch in [&b"\0\0\0"[..], b"\0\0\0\x02a", b"\0\0\0\x01ab", b"\xff\xff\xff\xffabc"] {
            assert_eq!(all(Batching::Prefixed, batch), Err(BatchFault::Truncated), "{batch:?}");
        }
    }
}
