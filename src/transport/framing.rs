//! The header in front of an outgoing message, written without moving the message.
//!
//! Server frames are unmasked, so one frame serves every connection with the same framing.

use std::ops::Range;

use super::rawsocket::HEADER_BYTES;

/// What goes in front of an outgoing WAMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    RawSocket,
    WebSocketText,
    WebSocketBinary,
    /// Text that may be compressed (RFC 7692): see [`Deflater`](super::Deflater).
    DeflateText,
    DeflateBinary,
}

/// Where a frame was begun.
#[derive(Debug)]
#[must_use = "a frame that was begun must be finished"]
pub struct FrameStart(usize);

impl Framing {
    /// Ways in which messages of one serializer are framed.
    pub const WAYS: usize = 3;

    /// Which of them it is: RawSocket, plain, or perhaps compressed.
    #[inline]
    pub const fn way(self) -> usize {
        (self as usize).div_ceil(2)
    }

    /// Whether messages may be compressed.
    #[inline]
    pub const fn compresses(self) -> bool {
        matches!(self, Self::DeflateText | Self::DeflateBinary)
    }

    /// The transport's name in logs.
    pub const fn transport_name(self) -> &'static str {
        match self {
            Self::RawSocket => "rawsocket",
            _ => "websocket",
        }
    }

    /// Reserves room for the largest header at the end of `out`; the message is to be encoded
    /// behind it.
    pub fn begin(self, out: &mut Vec<u8>) -> FrameStart {
        let start = out.len();
        match self {
            Self::RawSocket => out.extend_from_slice(&[0; HEADER_BYTES]),
            _ => out.extend_from_slice(&[0; ROOM]),
        }
        debug_assert_eq!(out.len(), start + self.room());
        FrameStart(start)
    }

    /// Writes the header right before the message and returns where the whole frame lies in `out`.
    ///
    /// A RawSocket message of more than 2^24 bytes has no valid header; such a frame is larger
    /// than any peer's `max_message_bytes`, so it is never sent.
    pub fn finish(self, out: &mut [u8], start: FrameStart) -> Range<usize> {
        let message = start.0 + self.room();
        let mut header = [0; ROOM];
        let length = self.write_header(&mut header, out.len() - message);
        let frame = message - length;
        out[frame..message].copy_from_slice(&header[..length]);
        frame..out.len()
    }

    /// The same of a message that is compressed.
    pub(super) fn finish_compressed(self, out: &mut [u8], start: FrameStart) -> Range<usize> {
        let frame = self.finish(out, start);
        out[frame.start] |= COMPRESSED_BIT;
        frame
    }

    /// Where the message begins.
    pub(super) const fn message_start(self, start: &FrameStart) -> usize {
        start.0 + self.room()
    }

    /// The bytes of the message in a frame of `frame_bytes`, as it goes over the wire: what a
    /// peer's limit is about.
    pub const fn message_bytes(self, frame_bytes: usize) -> usize {
        match self {
            Self::RawSocket => frame_bytes - HEADER_BYTES,
            _ => match frame_bytes {
                0..=127 => frame_bytes - 2,
                128..=0x1_0003 => frame_bytes - 4,
                _ => frame_bytes - 10,
            },
        }
    }

    /// No more than RawSocket needs, so that its frames lie side by side.
    const fn room(self) -> usize {
        match self {
            Self::RawSocket => HEADER_BYTES,
            _ => ROOM,
        }
    }

    fn write_header(self, header: &mut [u8; ROOM], length: usize) -> usize {
        let opcode = match self {
            Self::RawSocket => {
                header[..HEADER_BYTES].copy_from_slice(&super::rawsocket::header(0, length));
                return HEADER_BYTES;
            }
            Self::WebSocketText | Self::DeflateText => 1,
            Self::WebSocketBinary | Self::DeflateBinary => 2,
        };
        header[0] = 0x80 | opcode;
        match length {
            0..=125 => {
                header[1] = length as u8;
                2
            }
            126..=0xFFFF => {
                header[1] = 126;
                header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            _ => {
                header[1] = 127;
                header[2..].copy_from_slice(&(length as u64).to_be_bytes());
                10
            }
        }
    }
}

/// The largest header: WebSocket, unmasked, 64-bit length.
const ROOM: usize = 10;

/// RSV1 (RFC 7692, 6).
pub(super) const COMPRESSED_BIT: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(framing: Framing, length: usize) -> Vec<u8> {
        let mut out = b"before".to_vec();
        let start = framing.begin(&mut out);
        out.resize(out.len() + length, b'm');
        let range = framing.finish(&mut out, start);
        assert_eq!(framing.message_bytes(range.len()), length);
        assert!(out.starts_with(b"before"));
        out[range].to_vec()
    }

    #[test]
    fn ways_are_told_apart() {
        let all = [
            Framing::RawSocket,
            Framing::WebSocketText,
            Framing::WebSocketBinary,
            Framing::DeflateText,
            Framing::DeflateBinary,
        ];
        assert_eq!(all.map(Framing::way), [0, 1, 1, 2, 2]);
        assert!(all.iter().all(|framing| framing.compresses() == (framing.way() == 2)));
    }

    #[test]
    fn headers_at_every_border() {
        for (length, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xFFFF, &[0x81, 126, 0xFF, 0xFF]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = frame(Framing::WebSocketText, length);
            assert_eq!(text[..header.len()], *header);
            assert_eq!(text.len(), header.len() + length);
            assert_eq!(frame(Framing::WebSocketBinary, length)[0], 0x82);
        }
    }

    /// TR-RS-06: the 25th bit stands for a payload of exactly 2^24 octets.
    #[test]
    fn rawsocket_headers() {
        assert_eq!(frame(Framing::RawSocket, 0), [0; 4]);
        assert_eq!(frame(Framing::RawSocket, 0x01_0203)[..4], [0, 1, 2, 3]);
        assert_eq!(frame(Framing::RawSocket, (1 << 24) - 1)[..4], [0, 0xFF, 0xFF, 0xFF]);
        assert_eq!(frame(Framing::RawSocket, 1 << 24)[..4], [8, 0, 0, 0]);
    }
}
