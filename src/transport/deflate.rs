//! permessage-deflate (RFC 7692), but for its negotiation: messages to and from DEFLATE, each by
//! itself, since neither side takes its context over (7.1.1).
//!
//! So connections hold no state of it: a shard has one [`Deflater`] and one [`Inflater`], made when
//! they are first used. What is inflated never has more bytes than its message may have.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Framing;
use super::framing::FrameStart;
use crate::codec::Codec;

/// Compresses what a shard sends.
#[derive(Default)]
pub struct Deflater {
    state: Option<Box<Compress>>,
    scratch: Vec<u8>,
    /// The last batch of each serializer: many receivers of the same events have the same one.
    batches: [Option<Box<Known>>; Codec::ALL.len()],
    tally: Tally,
}

/// A message, and what it is compressed; empty if that is no shorter.
struct Known {
    plain: Vec<u8>,
    compressed: Vec<u8>,
}

/// Decompresses what a shard gets.
#[derive(Default)]
pub struct Inflater {
    state: Option<Box<Decompress>>,
    tally: Tally,
}

/// What has been done since somebody last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that went over the wire compressed.
    pub messages: u64,
    /// Their bytes before and after, whichever way they went.
    pub plain_bytes: u64,
    pub compressed_bytes: u64,
    /// Bytes of plain messages that were made or read, also of those that failed or were no shorter
    /// compressed.
    pub worked_bytes: usize,
}

/// Why a message cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InflateError {
    /// It is no DEFLATE, or something is behind it.
    Malformed,
    /// It has more bytes than it may have.
    TooBig,
}

/// Not the bytes: there may be a ticket among them.
impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl Deflater {
    /// As [`Framing::finish`], for a framing that compresses: the message becomes compressed if
    /// it has `min_bytes` and gets shorter.
    pub fn finish(
        &mut self,
        framing: Framing,
        out: &mut Vec<u8>,
        start: FrameStart,
        min_bytes: usize,
    ) -> std::ops::Range<usize> {
        let message = framing.message_start(&start);
        let bytes = out.len() - message;
        if bytes < min_bytes.max(1) || !self.compress(&out[message..]) {
            return framing.finish(out, start);
        }
        out.truncate(message);
        out.extend_from_slice(&self.scratch);
        self.give_back();
        framing.finish_compressed(out, start)
    }

    /// The same for a batch, which is compressed or not as a whole. The same batch of a serializer
    /// is compressed once, if nothing else of it comes between.
    pub fn finish_batch(
        &mut self,
        (codec, framing): (Codec, Framing),
        out: &mut Vec<u8>,
        start: FrameStart,
        min_bytes: usize,
    ) -> std::ops::Range<usize> {
        let message = framing.message_start(&start);
        let plain = &out[message..];
        if plain.len() < min_bytes.max(1) {
            return framing.finish(out, start);
        }
        let known = &self.batches[codec as usize];
        let is_known = known.as_ref().is_some_and(|known| known.plain == plain);
        if !is_known {
            let gains = self.compress(plain);
            let compressed = if gains { std::mem::take(&mut self.scratch) } else { Vec::new() };
            let known = Known { plain: plain.to_vec(), compressed };
            self.batches[codec as usize] = Some(Box::new(known));
        }
        let known = self.batches[codec as usize].as_ref().expect("it was just made");
        if known.compressed.is_empty() {
            return framing.finish(out, start);
        }
        if is_known {
            self.tally.note(known.plain.len(), known.compressed.len());
        }
        out.truncate(message);
        out.extend_from_slice(&known.compressed);
        framing.finish_compressed(out, start)
    }

    /// What was done since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Plain bytes that were worked on since then.
    #[inline]
    pub const fn worked_bytes(&self) -> usize {
        self.tally.worked_bytes
    }

    pub fn has_no_batches(&self) -> bool {
        self.batches.iter().all(Option::is_none)
    }

    /// Forgets the batches of this turn: what they hold is no longer sent.
    pub fn forget_batches(&mut self) {
        self.batches = Default::default();
    }

    /// Puts a message into `scratch`, compressed; `false` if that is no shorter.
    fn compress(&mut self, plain: &[u8]) -> bool {
        let new = || Box::new(Compress::new(Compression::new(LEVEL), false));
        let state = self.state.get_or_insert_with(new);
        state.reset();
        self.scratch.clear();
        self.scratch.reserve(plain.len());
        self.tally.worked_bytes += plain.len();
        let done = state.compress_vec(plain, &mut self.scratch, FlushCompress::Sync);
        // What fills all the room may not be all, and is not shorter.
        let is_all = done.is_ok() && state.total_in() == plain.len() as u64;
        let has_room = self.scratch.len() < self.scratch.capacity();
        let Some(shorter) = self.scratch.strip_suffix(TAIL).map(<[u8]>::len) else { return false };
        let gains = is_all && has_room && shorter < plain.len();
        self.scratch.truncate(shorter);
        if gains {
            self.tally.note(plain.len(), shorter);
        }
        gains
    }

    /// One large message does not keep its memory for ever.
    fn give_back(&mut self) {
        if self.scratch.capacity() > KEEP_BYTES {
            self.scratch = Vec::new();
        }
    }
}

impl Inflater {
    /// A message of at most `limit` bytes.
    pub(super) fn inflate(
        &mut self,
        compressed: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, InflateError> {
        let state = self.state.get_or_insert_with(|| Box::new(Decompress::new(false)));
        state.reset(false);
        let mut plain = Vec::new();
        let result = inflate_all(state, compressed, limit, &mut plain);
        self.tally.worked_bytes += compressed.len() + plain.len();
        result?;
        self.tally.note(plain.len(), compressed.len());
        if plain.capacity() > 2 * plain.len() + SPARE_BYTES {
            plain.shrink_to_fit();
        }
        Ok(plain)
    }

    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    #[inline]
    pub const fn worked_bytes(&self) -> usize {
        self.tally.worked_bytes
    }
}

impl Tally {
    const fn note(&mut self, plain: usize, compressed: usize) {
        self.messages += 1;
        self.plain_bytes += plain as u64;
        self.compressed_bytes += compressed as u64;
    }
}

/// 7.2.2: the four octets that were left out are put back.
fn inflate_all(
    state: &mut Decompress,
    compressed: &[u8],
    limit: usize,
    plain: &mut Vec<u8>,
) -> Result<(), InflateError> {
    for (part, is_tail) in [(compressed, false), (TAIL, true)] {
        let before = state.total_in();
        loop {
            let read = (state.total_in() - before) as usize;
            // One more than it may have, to see whether it has.
            let room = (2 * plain.len()).max(FIRST_BYTES).min(limit + 1);
            if plain.len() == plain.capacity() {
                plain.reserve_exact(room - plain.len());
            }
            let status = state.decompress_vec(&part[read..], plain, FlushDecompress::Sync);
            if plain.len() > limit {
                return Err(InflateError::TooBig);
            }
            let read = (state.total_in() - before) as usize;
            match status.map_err(|_| InflateError::Malformed)? {
                Status::StreamEnd => return end_of_stream(&part[read..], is_tail),
                // Nothing more comes of these bytes, although there was room.
                _ if plain.len() < plain.capacity() => {
                    if read < part.len() {
                        return Err(InflateError::Malformed);
                    }
                    break;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// 7.2.3.4: a last block may be marked as such; then only the beginning of an empty one is behind.
const fn end_of_stream(rest: &[u8], is_tail: bool) -> Result<(), InflateError> {
    match rest {
        [] if !is_tail => Ok(()),
        [0] if !is_tail => Ok(()),
        _ => Err(InflateError::Malformed),
    }
}

/// What a flushed stream ends with, and a message does not (7.2.1).
const TAIL: &[u8] = &[0, 0, 0xFF, 0xFF];

/// As fast as any that looks for matches at all.
const LEVEL: u32 = 3;

/// Room for the first bytes that come out.
const FIRST_BYTES: usize = 512;

const SPARE_BYTES: usize = 4 * 1024;
const KEEP_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100_000;

    fn compressed(plain: &[u8], min_bytes: usize) -> Option<Vec<u8>> {
        let (mut deflater, mut out) = (Deflater::default(), b"before".to_vec());
        let start = Framing::DeflateText.begin(&mut out);
        out.extend_from_slice(plain);
        let frame = deflater.finish(Framing::DeflateText, &mut out, start, min_bytes);
        let (frame, before) = (out[frame].to_vec(), out.starts_with(b"before"));
        assert!(before);
        let header = match frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        match frame[0] {
            0xC1 => Some(frame[header..].to_vec()),
            0x81 => {
                assert_eq!(&frame[header..], plain);
                None
            }
            other => panic!("{other:#04x}"),
        }
    }

    fn inflated(bytes: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        Inflater::default().inflate(bytes, limit)
    }

    #[test]
    fn what_goes_in_comes_out() {
        for length in [1, 10, 511, 512, 513, 1_024, 70_000] {
            let plain = b"[36,1,2,{},[\"payload\"]]".repeat(length)[..length].to_vec();
            match compressed(&plain, 100) {
                Some(bytes) => {
                    assert!(bytes.len() < plain.len() && length >= 100);
                    assert_eq!(inflated(&bytes, length), Ok(plain.clone()));
                    assert_eq!(inflated(&bytes, length - 1), Err(InflateError::TooBig));
                    assert_eq!(inflated(&bytes, LIMIT), Ok(plain));
                }
                None => assert!(length < 100, "{length}"),
            }
        }
    }

    #[test]
    fn what_gets_no_shorter_stays_as_it_is() {
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(5_000)
        .collect();
        assert_eq!(compressed(&noise, 0), None);
        assert_eq!(compressed(b"", 0), None);
    }

    /// RFC 7692, 7.2.3
    #[test]
    fn the_examples_of_the_rfc() {
        for bytes in [
            &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..],
            // 7.2.3.3: without compression.
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            // 7.2.3.4: with BFINAL.
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            // 7.2.3.5: in two blocks.
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ] {
            assert_eq!(inflated(bytes, LIMIT), Ok(b"Hello".to_vec()), "{bytes:02x?}");
        }
        // 7.2.3.6: an empty message.
        assert_eq!(inflated(&[0x00], LIMIT), Ok(vec![]));
        // 7.2.3.2: the second message refers to the first one, which nobody remembers.
        let taken_over = [0xF2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(inflated(&taken_over, LIMIT), Err(InflateError::Malformed));
    }

    #[test]
    fn what_is_no_deflate_is_refused() {
        for bytes in [
            &[0xFF; 4][..],
            &[0x07],
            &[0x00, 0x05, 0x00, 0xFB, 0xFF],
            // Something behind the last block.
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00, 0x00],
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x01],
        ] {
            assert_eq!(inflated(bytes, LIMIT), Err(InflateError::Malformed), "{bytes:02x?}");
        }
    }

    /// A thousand bytes stand for a million; no more are made than a message may have.
    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = compressed(&vec![0; 1_000_000], 0).expect("it gets shorter");
        assert!(bomb.len() < 10_000, "{}", bomb.len());
        let mut inflater = Inflater::default();
        assert_eq!(inflater.inflate(&bomb, 20_000), Err(InflateError::TooBig));
        let worked = inflater.take_tally().worked_bytes;
        assert!((20_000..=20_001 + bomb.len()).contains(&worked), "{worked}");
        assert_eq!(inflater.inflate(&bomb, 1_000_000).map(|plain| plain.len()), Ok(1_000_000));
    }

    #[test]
    fn the_same_batch_is_compressed_once() {
        let (mut deflater, framing) = (Deflater::default(), Framing::WebSocketText);
        let mut finish = |codec, text: &str| {
            let mut out = Vec::new();
            let start = framing.begin(&mut out);
            out.extend_from_slice(text.as_bytes());
            let frame = deflater.finish_batch((codec, framing), &mut out, start, 10);
            (out[frame].to_vec(), deflater.take_tally())
        };
        let (one, two) = ("one ".repeat(100), "two ".repeat(100));
        let (first, tally) = finish(Codec::Json, &one);
        assert_eq!((first[0], tally.messages, tally.worked_bytes), (0xC1, 1, 400));
        assert_eq!(finish(Codec::Cbor, &two).1.worked_bytes, 400);
        let (again, tally) = finish(Codec::Json, &one);
        assert_eq!((again, tally.messages, tally.worked_bytes), (first, 1, 0));
        assert_eq!(finish(Codec::Json, &two).1.worked_bytes, 400);
        assert_eq!(finish(Codec::Json, "short").0[0], 0x81);
    }
}
