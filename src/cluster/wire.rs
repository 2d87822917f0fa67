//! Parcels as bytes: a head, and the entries behind it.
//!
//! A head is a CBOR list. A node of a later version may append fields, which this one skips.

use std::convert::Infallible;
use std::fmt;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder, decode, encode};
use thiserror::Error;

/// One life of a node, by 64 random bits: a node that is started again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    /// 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The versions of what nodes say to each other that one of them speaks, from the lowest to the
/// highest. Each speaks two while a cluster is upgraded, which so can be one node after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub from: u8,
    pub to: u8,
}

impl Versions {
    pub const OWN: Self = Self { from: 1, to: 1 };

    /// The version that two nodes speak with each other; `None`: they have none in common.
    pub fn common(self, other: Self) -> Option<u8> {
        let highest = self.to.min(other.to);
        (highest >= self.from.max(other.from)).then_some(highest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { from, to } if from == to => write!(f, "version {to}"),
            Self { from, to } => write!(f, "versions {from} to {to}"),
        }
    }
}

/// What stands before the entries of a parcel, or alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub from: Incarnation,
    /// Which link this is for its sender, counted from 1.
    pub own: u64,
    /// Which link its sender believes that it is for the receiver; 0: it has not heard of one.
    pub peers: u64,
    /// The receiver's parcels up to this one have arrived.
    pub received: u64,
    /// Those up to this one have been dealt with.
    pub handled: u64,
    /// Which parcel this is, counted from 1; 0: it has no entries and no number.
    pub number: u64,
    pub wishes: Wishes,
}

/// What the sender of a head wants, or says of the parcel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Send all behind `received` once more.
    pub again: bool,
    /// Acknowledge at once: somebody waits for that.
    pub at_once: bool,
    /// The entry goes on in the next parcel.
    pub more: bool,
    /// In a heartbeat: the receiver was heard lately.
    pub hears: bool,
}

/// A parcel that no node of these versions sends: the link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Garbled {
    #[error("a parcel has no head that can be read")]
    Head,
    #[error("a parcel acknowledges what was not sent")]
    Acknowledgement,
    #[error("an entry in several parcels is longer than entries may be")]
    Length,
}

impl Head {
    /// Appends the head; the entries come right behind it.
    pub fn encode(&self, into: &mut Vec<u8>) {
        self.write(&mut Encoder::new(into)).expect("a vector takes all");
    }

    fn write(&self, encoder: &mut Encoder<&mut Vec<u8>>) -> Result<(), encode::Error<Infallible>> {
        encoder.array(FIELDS)?.u64(self.from.0)?.u64(self.own)?.u64(self.peers)?;
        encoder.u64(self.received)?.u64(self.handled)?.u64(self.number)?;
        encoder.u64(self.wishes.bits())?;
        Ok(())
    }

    /// The head, and the bytes behind it.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Garbled> {
        let mut decoder = Decoder::new(bytes);
        let head = read(&mut decoder).map_err(|_| Garbled::Head)?;
        Ok((head, &bytes[decoder.position()..]))
    }
}

fn read(decoder: &mut Decoder<'_>) -> Result<Head, decode::Error> {
    let length = decoder.array()?.ok_or_else(|| decode::Error::type_mismatch(Type::ArrayIndef))?;
    let mut number = || decoder.u64();
    let head = Head {
        from: Incarnation(number()?),
        own: number()?,
        peers: number()?,
        received: number()?,
        handled: number()?,
        number: number()?,
        wishes: Wishes::from_bits(number()?),
    };
    for _ in FIELDS..length {
        decoder.skip()?;
    }
    Ok(head)
}

impl Wishes {
    const fn bits(self) -> u64 {
        self.again as u64
            | (self.at_once as u64) << 1
            | (self.more as u64) << 2
            | (self.hears as u64) << 3
    }

    /// Bits of later versions are nothing to this one.
    fn from_bits(bits: u64) -> Self {
        let is_set = |bit: u64| bits & bit != 0;
        Self { again: is_set(1), at_once: is_set(2), more: is_set(4), hears: is_set(8) }
    }
}

/// Of the heads of this version.
const FIELDS: u64 = 7;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heads() -> impl Strategy<Value = Head> {
        (any::<[u64; 6]>(), any::<[bool; 4]>()).prop_map(|(numbers, wishes)| {
            let [from, own, peers, received, handled, number] = numbers;
            let [again, at_once, more, hears] = wishes;
            let wishes = Wishes { again, at_once, more, hears };
            Head { from: Incarnation(from), own, peers, received, handled, number, wishes }
        })
    }

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written(head in heads(), behind in any::<Vec<u8>>()) {
            let mut bytes = Vec::new();
            head.encode(&mut bytes);
            bytes.extend(&behind);
            prop_assert_eq!(Head::decode(&bytes), Ok((head, &behind[..])));
        }

        /// Whatever the bytes are, they cost no more than their length and no panic.
        #[test]
        fn any_bytes_are_a_head_or_none(bytes in any::<Vec<u8>>()) {
            if let Ok((_, behind)) = Head::decode(&bytes) {
                prop_assert!(behind.len() < bytes.len());
            }
        }
    }

    /// Fields that a later version has appended are skipped, and what is cut short is no head.
    #[test]
    fn later_fields_are_skipped() {
        let later = [0x89, 1, 2, 3, 4, 5, 6, 0, 0x62, b'h', b'i', 0x82, 1, 2, 0xff];
        let (head, behind) = Head::decode(&later).expect("it is a head");
        assert_eq!((head.from, head.number, behind), (Incarnation(1), 6, &[0xff][..]));
        for end in 0..later.len() - 1 {
            assert_eq!(Head::decode(&later[..end]), Err(Garbled::Head), "{end} bytes");
        }
        let endless = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 0];
        assert_eq!(Head::decode(&endless), Err(Garbled::Head), "it ends with the bytes");
        assert_eq!(Head::decode(&[0x86, 1, 2, 3, 4, 5, 6]), Err(Garbled::Head), "too few");
    }
}
