//! The stamp at the start of every payload: who sent it, its sequence number, and when it should
//! have been sent. Fixed width and printable, so that it passes every serializer unchanged and can
//! be read at a fixed distance from a frame's end without decoding the frame.

use std::str::FromStr;

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

/// What stands behind the stamp, in each message of a run the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    Dots,
    /// Text like JSON, without quotes that JSON would have to escape: short records of the same
    /// members, with other values in each. DEFLATE makes a third of it.
    Records,
}

impl FromStr for Filling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dots" => Ok(Self::Dots),
            "records" => Ok(Self::Records),
            _ => Err("expected dots or records".to_owned()),
        }
    }
}

impl Payload {
    /// `length` in bytes, at least [`STAMP_BYTES`].
    pub fn new(filling: Filling, length: usize) -> Self {
        let length = length.max(STAMP_BYTES);
        let mut bytes = [MAGIC, &[b'.'; STAMP_BYTES - MAGIC.len()][..]].concat();
        match filling {
            Filling::Dots => {}
            Filling::Records => put_records(length, &mut bytes),
        }
        bytes.resize(length, b'.');
        Self(bytes)
    }

    /// What stands behind the stamp.
    pub fn text(&self) -> &[u8] {
        &self.0[STAMP_BYTES..]
    }

    pub fn stamped(&mut self, stamp: Stamp) -> &[u8] {
        write(stamp, &mut self.0);
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

/// Writes another stamp over that at the start of `payload`.
pub fn write(stamp: Stamp, payload: &mut [u8]) {
    put_hex(u64::from(stamp.sender), &mut payload[4..8]);
    put_hex(u64::from(stamp.sequence), &mut payload[8..16]);
    put_hex(stamp.at_ns, &mut payload[16..32]);
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

/// Appends records until there are `length` bytes or more.
fn put_records(length: usize, out: &mut Vec<u8>) {
    let mut state = 1u32;
    let mut draw = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    while out.len() < length {
        let (id, room, state) = (draw(100_000), draw(40), STATES[draw(3) as usize]);
        let (celsius, humidity) = (f64::from(150 + draw(100)) / 10.0, 30 + draw(40));
        let record = format!(
            "{{'id':{id},'room':'hall {room}','celsius':{celsius:.1},'humidity':{humidity},\
             'state':'{state}'}},"
        );
        out.extend_from_slice(record.as_bytes());
    }
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
const STATES: [&str; 3] = ["ok", "warm", "offline"];

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
        let mut payload = Payload::new(Filling::Dots, 40);
        let text = payload.stamped(STAMP);
        assert_eq!(text, b"~sT~0abc000111700004000000000000........");
        assert_eq!(read(text, 0), Some(STAMP));
        assert_eq!(payload.text(), b"........");
        for filling in [Filling::Dots, Filling::Records] {
            assert_eq!(Payload::new(filling, 1).stamped(STAMP).len(), STAMP_BYTES);
        }
    }

    #[test]
    fn records_are_like_json_and_get_shorter() {
        let mut payload = Payload::new(Filling::Records, 1024);
        assert!(payload.text().starts_with(b"{'id':"), "{payload:?}");
        assert!(!payload.text().contains(&b'"') && payload.text().is_ascii());
        let text = payload.stamped(STAMP).to_vec();
        assert_eq!((text.len(), read(&text, 0)), (1024, Some(STAMP)));
        let agreed = super::super::deflate::agree("permessage-deflate; server_no_context_takeover");
        let mut deflater = super::super::deflate::Deflater::new(agreed.unwrap());
        let bytes = deflater.deflate(&text).unwrap().len();
        assert!((250..400).contains(&bytes), "{bytes}");
    }

    #[test]
    fn found_again_when_the_layout_changes() {
        let mut payload = Payload::new(Filling::Dots, 40);
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
        let mut text = Payload::new(Filling::Dots, 32).stamped(STAMP).to_vec();
        text[10] = b'G';
        assert_eq!(read(&text, 0), None);
        assert_eq!(read(&text[..20], 0), None);
    }
}
