//! Where writers put bytes: at the end of a buffer, up to a limit.
//!
//! A write that does not fit writes nothing and closes the buffer to all further ones, so that
//! writers need no error for it; whoever made the buffer asks in the end.

use std::convert::Infallible;
use std::io;

/// Invariant: the length of `bytes` is at most `room_end`, and that is at most `end`.
pub(super) struct Out<'o> {
    bytes: &'o mut Vec<u8>,
    /// The capacity, or `end` if that is less: so one comparison decides on each write.
    room_end: usize,
    end: usize,
    is_full: bool,
}

/// The first bytes of an item: its type and, in a few bytes, its length or value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    bytes: [u8; Self::BYTES],
    length: u8,
}

impl<'o> Out<'o> {
    /// Takes at most `limit_bytes` more than are in `bytes`.
    pub(super) fn new(bytes: &'o mut Vec<u8>, limit_bytes: usize) -> Self {
        let end = bytes.len().saturating_add(limit_bytes);
        let room_end = bytes.capacity().min(end);
        Self { bytes, room_end, end, is_full: false }
    }

    /// Whether something did not fit.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        if self.makes_room(1) {
            self.bytes.push(byte);
        }
    }

    #[inline]
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.makes_room(bytes.len()) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Appends so many zeros, to be overwritten through [`Self::written_mut`].
    pub(super) fn extend_with_zeros(&mut self, count: usize) {
        if self.makes_room(count) {
            self.bytes.resize(self.bytes.len() + count, 0);
        }
    }

    /// All that is in the buffer.
    pub(super) const fn written_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut_slice()
    }

    #[inline]
    fn makes_room(&mut self, count: usize) -> bool {
        count <= self.room_end - self.bytes.len() || self.finds_room(count)
    }

    #[cold]
    fn finds_room(&mut self, count: usize) -> bool {
        if count > self.end - self.bytes.len() {
            self.end = self.bytes.len();
            self.is_full = true;
        } else {
            self.grow(count);
        }
        self.room_end = self.bytes.capacity().min(self.end);
        !self.is_full
    }

    /// Doubles the capacity, but takes no more than the limit when that is near.
    fn grow(&mut self, count: usize) {
        let needed = self.bytes.len() + count;
        let doubled = self.bytes.capacity().saturating_mul(2).max(SMALLEST_BYTES);
        let wanted = if doubled > self.end / 2 { self.end } else { doubled };
        self.bytes.reserve_exact(wanted.max(needed) - self.bytes.len());
    }
}

/// The first capacity of a buffer without a near limit.
const SMALLEST_BYTES: usize = 64;

/// For serde_json and base64, which stop at the first error.
impl io::Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend(bytes);
        if self.is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Head {
    /// The longest: a type and 64 bits.
    const BYTES: usize = 9;

    pub(super) const fn new() -> Self {
        Self { bytes: [0; Self::BYTES], length: 0 }
    }

    /// Of one byte.
    pub(super) const fn of(byte: u8) -> Self {
        let mut head = Self::new();
        head.bytes[0] = byte;
        head.length = 1;
        head
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let start = usize::from(self.length);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len() as u8;
    }
}

/// For rmp.
impl io::Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// For minicbor.
impl minicbor::encode::Write for Head {
    type Error = Infallible;

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.append(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_closes_the_buffer() {
        let mut bytes = b"before".to_vec();
        let mut out = Out::new(&mut bytes, 3);
        out.push(b'1');
        out.extend(b"23");
        assert!(!out.is_full());
        out.extend(b"");
        assert!(!out.is_full(), "nothing fits everywhere");
        out.extend(b"45");
        out.push(b'4');
        assert!(out.is_full());
        assert_eq!(bytes, b"before123");
    }

    #[test]
    fn a_closed_buffer_takes_nothing_although_there_was_room() {
        let mut bytes = Vec::new();
        let mut out = Out::new(&mut bytes, 3);
        out.extend(b"1234");
        out.push(b'1');
        assert!(out.is_full());
        assert_eq!(bytes, b"");
    }

    #[test]
    fn capacity_stays_within_the_limit_when_it_is_near() {
        let mut bytes = Vec::with_capacity(1_000);
        let mut out = Out::new(&mut bytes, 9_000);
        (0..9_000).for_each(|_| out.push(b'x'));
        assert!(!out.is_full());
        assert_eq!((bytes.len(), bytes.capacity()), (9_000, 9_000));
    }
}
