//! The stamp at the start of every payload: who sent it, its sequence number, and when it should
//! have been sent. Fixed width and printable, so that it passes every serializer unchanged and can
//! be read at a fixed distance from a frame's end without decoding the frame.

use memchr::memmem;

/// A stamp's length in bytes; the least that a payload can be.
pub const STAMP_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub sender: u32,
    pub sequence: u32,
    /// Nanoseconds since the run's clock started.
    pub at_ns: u64,
}

/// A payload of a fixed length whose stamp is rewritten for each message.
#[derive(Clone, Debug)]
pub struct Payload(Vec<u8>);

impl Payload {
    /// `length` in bytes, at least [`STAMP_BYTES`].
    pub fn new(length: usize) -> Self {
        let mut bytes = vec![b'.'; length.max(STAMP_BYTES)];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        Self(bytes)
    }

    pub fn stamped(&mut self, stamp: Stamp) -> &[u8] {
        put_hex(u64::from(stamp.sender), &mut self.0[4..8]);
        put_hex(u64::from(stamp.sequence), &mut self.0[8..16]);
        put_hex(stamp.at_ns, &mut self.0[16..32]);
        &self.0
    }
}

/// Finds stamps; remembers how far from the end the last one stood.
#[derive(Clone, Copy, Debug, Default)]
pub struct StampFinder {
    from_end: usize,
}

impl StampFinder {
    /// Where the stamp of `message` starts; `None` if it has none.
    pub fn find(&mut self, message: &[u8]) -> Option<usize> {
        let guess = message.len().wrapping_sub(self.from_end);
        if message.get(guess..guess.wrapping_add(MAGIC.len())) == Some(MAGIC) {
            return Some(guess);
        }
        let found = memmem::find(message, MAGIC)?;
        if message.len() < found + STAMP_BYTES {
            return None;
        }
        self.from_end = message.len() - found;
        Some(found)
    }
}

/// Reads the stamp that starts at `at`; `None` if it is damaged.
pub fn read(message: &[u8], at: usize) -> Option<Stamp> {
    let bytes = message.get(at..at + STAMP_BYTES)?;
    Some(Stamp {
        sender: hex(&bytes[4..8])? as u32,
        sequence: hex(&bytes[8..16])? as u32,
        at_ns: hex(&bytes[16..32])?,
    })
}

fn put_hex(mut value: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    let mut bad = 0;
    for digit in digits {
        let nibble = NIBBLES[usize::from(*digit)];
        bad |= nibble;
        value = value << 4 | u64::from(nibble & 15);
    }
    (bad < 16).then_some(value)
}

const MAGIC: &[u8; 4] = b"~sT~";

const NIBBLES: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sender: 0xabc, sequence: 70_000, at_ns: 1 << 50 };

    #[test]
    fn fixed_width_text() {
        let mut payload = Payload::new(40);
        let text = payload.stamped(STAMP);
        assert_eq!(text, b"~sT~0abc000111700004000000000000........");
        assert_eq!(read(text, 0), Some(STAMP));
        assert_eq!(Payload::new(1).stamped(STAMP).len(), STAMP_BYTES);
    }

    #[test]
    fn found_again_when_the_layout_changes() {
        let mut payload = Payload::new(40);
        let text = payload.stamped(STAMP).to_vec();
        let mut finder = StampFinder::default();
        for (before, after) in [("[36,1,2,{},[\"", "\"]]"), ("[36,1,22,{},[\"", "\"],{}]")] {
            let message = [before.as_bytes(), &text, after.as_bytes()].concat();
            for _ in 0..2 {
                let at = finder.find(&message).unwrap();
                assert_eq!((at, read(&message, at)), (before.len(), Some(STAMP)));
            }
        }
        assert_eq!(finder.find(b"[36,1,2,{}]"), None);
        assert_eq!(finder.find(b""), None);
    }

    #[test]
    fn damage_is_noticed() {
        let mut text = Payload::new(32).stamped(STAMP).to_vec();
        text[10] = b'G';
        assert_eq!(read(&text, 0), None);
        assert_eq!(read(&text[..20], 0), None);
    }
}
