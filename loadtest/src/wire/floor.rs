//! What clients and the floor program say to each other: who the client is, then ready frames with
//! RawSocket's header of four octets.

use std::ops::Range;

/// What a client tells the floor program about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introduction<'a> {
    Publish(&'a [u8]),
    Subscribe(&'a [u8]),
    Call(&'a [u8]),
    Answer(&'a [u8]),
    /// Exchanges as many bytes as a WebSocket handshake and HELLO and WELCOME are.
    Join,
}

/// Writes `introduction`: an octet, the length of the name, the name.
pub fn put_introduction(introduction: Introduction<'_>, out: &mut Vec<u8>) {
    let (octet, name) = match introduction {
        Introduction::Publish(topic) => (b'P', topic),
        Introduction::Subscribe(topic) => (b'S', topic),
        Introduction::Call(procedure) => (b'C', procedure),
        Introduction::Answer(procedure) => (b'A', procedure),
        Introduction::Join => (b'J', &FILLER[..REQUEST_BYTES - 2]),
    };
    let length = u8::try_from(name.len()).expect("the harness names its topics shortly");
    out.extend_from_slice(&[octet, length]);
    out.extend_from_slice(name);
}

/// Reads an introduction and its length; `None` if it is not all there yet.
pub fn read_introduction(bytes: &[u8]) -> Option<(Introduction<'_>, usize)> {
    let &[octet, length] = bytes.get(..2)? else { return None };
    let end = 2 + usize::from(length);
    let name = bytes.get(2..end)?;
    let introduction = match octet {
        b'P' => Introduction::Publish(name),
        b'S' => Introduction::Subscribe(name),
        b'C' => Introduction::Call(name),
        b'A' => Introduction::Answer(name),
        _ => Introduction::Join,
    };
    Some((introduction, end))
}

/// The whole frames at the start of `bytes`, headers included.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let &[_, a, b, c] = bytes.get(at..at + 4)? else { return None };
        let end = at + 4 + u32::from_be_bytes([0, a, b, c]) as usize;
        let frame = (end <= bytes.len()).then_some(at..end)?;
        at = end;
        Some(frame)
    })
}

/// A message as long as a HELLO, without its header.
pub const fn hello() -> [u8; HELLO_BYTES] {
    [b'.'; HELLO_BYTES]
}

/// A frame as long as a WELCOME.
pub const fn welcome() -> [u8; 4 + WELCOME_BYTES] {
    let mut frame = [b'.'; 4 + WELCOME_BYTES];
    let [_, a, b, c] = (WELCOME_BYTES as u32).to_be_bytes();
    (frame[0], frame[1], frame[2], frame[3]) = (0, a, b, c);
    frame
}

/// What the floor program answers an introduction with.
pub const READY: u8 = b'R';

/// Lengths of a join over WebSocket with MessagePack: the upgrade, its answer, HELLO and WELCOME.
pub const REQUEST_BYTES: usize = 195;
pub const ANSWER_BYTES: usize = 169;
pub const HELLO_BYTES: usize = 142;
pub const WELCOME_BYTES: usize = 537;

const FILLER: [u8; REQUEST_BYTES] = [b'.'; REQUEST_BYTES];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn introductions_there_and_back() {
        for introduction in [
            Introduction::Publish(b"a.b"),
            Introduction::Subscribe(b""),
            Introduction::Call(b"f"),
            Introduction::Answer(b"f"),
        ] {
            let mut out = Vec::new();
            put_introduction(introduction, &mut out);
            assert_eq!(read_introduction(&out), Some((introduction, out.len())));
            assert_eq!(read_introduction(&out[..out.len() - 1]), None);
        }
        let mut out = Vec::new();
        put_introduction(Introduction::Join, &mut out);
        assert_eq!(read_introduction(&out), Some((Introduction::Join, REQUEST_BYTES)));
    }

    #[test]
    fn whole_frames_only() {
        let bytes = b"\0\0\0\x01a\0\0\0\x02bc\0\0\0\x03de";
        assert_eq!(frames(bytes).collect::<Vec<_>>(), [0..5, 5..11]);
        assert_eq!(frames(&welcome()).next(), Some(0..4 + WELCOME_BYTES));
        assert_eq!(frames(b"\0\0").next(), None);
    }
}
