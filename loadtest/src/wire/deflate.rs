//! permessage-deflate (RFC 7692) as a client needs it, where neither side takes its context over:
//! the offer, what is made of the answer, and messages to and from DEFLATE.
//!
//! Receivers of one event get the same bytes. So what has been inflated is remembered, and the same
//! bytes once more cost a comparison: all messages are checked, and few are inflated.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// What browsers offer.
pub const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// What was agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The window for what the client sends is 2^n bytes.
    window_bits: u8,
}

/// Compresses what one client sends.
pub struct Deflater {
    state: Compress,
    out: Vec<u8>,
}

/// Decompresses what all clients of a generator get.
pub struct Inflater {
    state: Decompress,
    /// The last messages, the oldest first; that one has the number `first`.
    known: VecDeque<Known>,
    first: u64,
    /// The number of each of them.
    numbers: HashMap<Arc<[u8]>, u64>,
    known_bytes: usize,
    inflated: u64,
}

struct Known {
    compressed: Arc<[u8]>,
    plain: Vec<u8>,
}

/// Reads the answer to [`OFFER`], the value of `Sec-WebSocket-Extensions`.
pub fn agree(answer: &str) -> Result<Agreed, String> {
    let mut parts = answer.split(';').map(str::trim_ascii);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate")) {
        return Err(if answer.is_empty() {
            "--deflate: permessage-deflate was not agreed to; does the listener offer it?"
                .to_owned()
        } else {
            format!("--deflate: {answer:?} was answered, which was not offered")
        });
    }
    let (mut shares, mut agreed) = (false, Agreed { window_bits: 15 });
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim_ascii().trim_matches('"');
        match (name.trim_ascii().to_ascii_lowercase().as_str(), value.parse()) {
            ("server_no_context_takeover", _) if value.is_empty() => shares = true,
            ("client_no_context_takeover", _) if value.is_empty() => {}
            // A smaller window than that of what inflates is no concern of it.
            ("server_max_window_bits", Ok(8..=15)) => {}
            // zlib has none of 2^8.
            ("client_max_window_bits", Ok(bits @ 9..=15)) => agreed.window_bits = bits,
            _ => return Err(format!("--deflate: {part:?} was answered, which is not understood")),
        }
    }
    if !shares {
        return Err("--deflate: the answer lacks server_no_context_takeover. Without it no two \
                    clients get the same bytes, and the generator cannot keep up with checking \
                    them"
            .to_owned());
    }
    Ok(agreed)
}

impl Deflater {
    pub fn new(agreed: Agreed) -> Self {
        let state = Compress::new_with_window_bits(Compression::fast(), false, agreed.window_bits);
        Self { state, out: Vec::new() }
    }

    /// `message` by itself, compressed (7.2.1); `None` if that is no shorter.
    pub fn deflate(&mut self, message: &[u8]) -> Option<&[u8]> {
        self.state.reset();
        self.out.clear();
        self.out.reserve(message.len());
        let done = self.state.compress_vec(message, &mut self.out, FlushCompress::Sync);
        let is_all = done.is_ok() && self.state.total_in() == message.len() as u64;
        // What fills all the room may not be all, and is not shorter.
        let has_room = self.out.len() < self.out.capacity();
        let shorter = self.out.strip_suffix(TAIL).filter(|_| is_all && has_room);
        shorter.filter(|shorter| shorter.len() < message.len())
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            state: Decompress::new(false),
            known: VecDeque::new(),
            first: 0,
            numbers: HashMap::new(),
            known_bytes: 0,
            inflated: 0,
        }
    }
}

impl Inflater {
    /// A message by itself (7.2.2). `expected` is the number of the message that the client will
    /// probably get next, and is moved on.
    pub fn inflate(
        &mut self,
        compressed: &[u8],
        expected: &mut u64,
    ) -> Result<&[u8], &'static str> {
        let number = match self.find(compressed, *expected) {
            Some(number) => number,
            None => self.add(compressed)?,
        };
        *expected = number + 1;
        Ok(&self.known[(number - self.first) as usize].plain)
    }

    /// Messages that were inflated so far, each different from those before.
    pub const fn inflated(&self) -> u64 {
        self.inflated
    }

    fn find(&self, compressed: &[u8], expected: u64) -> Option<u64> {
        let guess = expected.checked_sub(self.first).and_then(|at| self.known.get(at as usize));
        if guess.is_some_and(|known| *known.compressed == *compressed) {
            return Some(expected);
        }
        self.numbers.get(compressed).copied()
    }

    /// Inflates what is not known yet: its number.
    fn add(&mut self, compressed: &[u8]) -> Result<u64, &'static str> {
        self.state.reset(false);
        let mut plain = Vec::with_capacity(4 * compressed.len() + SPARE_BYTES);
        for part in [compressed, TAIL] {
            let before = self.state.total_in();
            loop {
                let read = (self.state.total_in() - before) as usize;
                if plain.len() == plain.capacity() {
                    plain.reserve(plain.len());
                }
                let flush = FlushDecompress::Sync;
                let done = self.state.decompress_vec(&part[read..], &mut plain, flush);
                done.map_err(|_| "a compressed message is no DEFLATE")?;
                if plain.len() > MAX_MESSAGE_BYTES {
                    return Err("a compressed message is longer than 64 MiB");
                }
                if plain.len() < plain.capacity() {
                    break;
                }
            }
            if self.state.total_in() - before < part.len() as u64 {
                return Err("something is behind the end of a compressed message");
            }
        }
        let number = self.first + self.known.len() as u64;
        self.remember(Known { compressed: compressed.into(), plain });
        Ok(number)
    }

    fn remember(&mut self, known: Known) {
        let number = self.first + self.known.len() as u64;
        self.inflated += 1;
        self.known_bytes += known.compressed.len() + known.plain.len();
        self.numbers.insert(known.compressed.clone(), number);
        self.known.push_back(known);
        while self.known.len() > KNOWN_MESSAGES
            || self.known_bytes > KNOWN_BYTES && self.known.len() > 1
        {
            let oldest = self.known.pop_front().expect("there are some");
            self.known_bytes -= oldest.compressed.len() + oldest.plain.len();
            self.numbers.remove(&oldest.compressed);
            self.first += 1;
        }
    }
}

/// What a flushed stream ends with, and a message does not (7.2.1).
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];

/// As many as clients may be apart from each other before one of them costs more.
const KNOWN_MESSAGES: usize = 4096;
const KNOWN_BYTES: usize = 32 << 20;
const MAX_MESSAGE_BYTES: usize = 64 << 20;
const SPARE_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "permessage-deflate; server_no_context_takeover";

    #[test]
    fn answers() {
        let bits = |answer: &str| agree(answer).map(|agreed| agreed.window_bits);
        assert_eq!(bits(ANSWER), Ok(15));
        assert_eq!(bits(&format!("{ANSWER}; client_no_context_takeover")), Ok(15));
        let windows = "server_max_window_bits=10; client_max_window_bits=\"9\"";
        assert_eq!(bits(&format!("{ANSWER};{windows}")), Ok(9));
        for (answer, why) in [
            ("", "was not agreed"),
            ("x-webkit-deflate-frame", "was not offered"),
            ("permessage-deflate", "lacks server_no_context_takeover"),
            ("permessage-deflate; server_no_context_takeover=1", "is not understood"),
            ("permessage-deflate; client_max_window_bits", "is not understood"),
            ("permessage-deflate; client_max_window_bits=8", "is not understood"),
            ("permessage-deflate; mystery", "\"mystery\" was answered"),
        ] {
            let refused = agree(answer).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn there_and_back() {
        let (mut deflater, mut inflater) =
            (Deflater::new(agree(ANSWER).unwrap()), Inflater::default());
        let mut expected = 0;
        for length in [20, 512, 4096, 300_000] {
            let plain = b"{'room':17,'celsius':21.4}".repeat(length)[..length].to_vec();
            let Some(bytes) = deflater.deflate(&plain) else {
                assert_eq!(length, 20);
                continue;
            };
            assert!(bytes.len() < length / 5);
            assert_eq!(inflater.inflate(bytes, &mut expected), Ok(&plain[..]));
        }
        assert_eq!((expected, inflater.inflated()), (3, 3));
        let small =
            Deflater::new(Agreed { window_bits: 9 }).deflate(&[b'x'; 4096]).unwrap().to_vec();
        assert_eq!(inflater.inflate(&small, &mut expected), Ok(&[b'x'; 4096][..]));
    }

    #[test]
    fn the_same_bytes_are_inflated_once_whoever_gets_them() {
        let (mut deflater, mut inflater) =
            (Deflater::new(agree(ANSWER).unwrap()), Inflater::default());
        let mut message = |number: usize| {
            let plain = format!("{number} ").repeat(200).into_bytes();
            (deflater.deflate(&plain).unwrap().to_vec(), plain)
        };
        let (mut fast, mut slow, mut backwards) = (0, 0, 0);
        for number in 0..KNOWN_MESSAGES + 10 {
            let (bytes, plain) = message(number);
            assert_eq!(inflater.inflate(&bytes, &mut fast), Ok(&plain[..]));
        }
        let all = KNOWN_MESSAGES as u64 + 10;
        for number in 10..20 {
            let (bytes, plain) = message(number);
            assert_eq!(inflater.inflate(&bytes, &mut slow), Ok(&plain[..]));
        }
        for number in (10..20).rev() {
            let (bytes, plain) = message(number);
            assert_eq!(inflater.inflate(&bytes, &mut backwards), Ok(&plain[..]));
        }
        assert_eq!((inflater.inflated(), slow, backwards), (all, 20, 11));
        // The first ones are forgotten, not mistaken.
        let (bytes, plain) = message(3);
        assert_eq!(inflater.inflate(&bytes, &mut slow), Ok(&plain[..]));
        assert_eq!((inflater.inflated(), inflater.known.len()), (all + 1, KNOWN_MESSAGES));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut deflater, mut inflater) =
            (Deflater::new(agree(ANSWER).unwrap()), Inflater::default());
        for byte in 0..9 {
            let plain = vec![byte; KNOWN_BYTES / 4];
            let bytes = deflater.deflate(&plain).unwrap();
            assert!(inflater.inflate(bytes, &mut 0).is_ok());
            assert!(inflater.known_bytes <= KNOWN_BYTES, "{}", inflater.known_bytes);
        }
        assert_eq!(inflater.known.len(), 3);
    }

    #[test]
    fn what_is_no_deflate_is_refused() {
        let mut inflater = Inflater::default();
        for bytes in [&[0xff; 4][..], &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x01]] {
            assert!(inflater.inflate(bytes, &mut 0).is_err(), "{bytes:02x?}");
        }
        // RFC 7692, 7.2.3.1; and 7.2.3.2, which refers to what nobody remembers.
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflater.inflate(&hello, &mut 0), Ok(&b"Hello"[..]));
        assert!(inflater.inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], &mut 0).is_err());
    }
}
