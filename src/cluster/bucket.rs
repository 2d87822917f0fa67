//! The bucket of keys that all nodes share: what stands in it, and how it is written to.
//!
//! Whoever keeps it puts all writes in one order and numbers them: a write's number is its
//! *revision*. One key is written on the condition of what stands there, which is all the consensus
//! that nodes need.

use std::convert::Infallible;

use minicbor::{Decoder, Encoder, decode, encode};

use super::wire::{Incarnation, Versions};
use crate::router::{NodeName, NodeNumber};

/// A change of the bucket that a node wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What the answer names it by.
    pub ticket: u64,
    pub key: Box<str>,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The key gets this value, if it has none. The marker of a removed key is none.
    Create(Vec<u8>),
    /// It gets another value, if its last revision is this one.
    Replace { revision: u64, value: Vec<u8> },
    /// It goes, if its last revision is this one; a marker stays for a while.
    Remove { revision: u64 },
    /// All keys go that begin so.
    Purge,
}

/// What has become of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made, with this revision; [`Action::Purge`] has none.
    Written(u64),
    /// Its condition did not hold.
    Refused,
    /// There was no answer, nobody decides, or there is no connection: it was made or not, or will
    /// be.
    Unknown,
}

/// A key as this version understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// What ids and slots are hashed with.
    Seed,
    Node(NodeNumber),
    Claim(ClaimKey),
}

/// Names a claim: the life of the node that has made it, and which one of that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClaimKey {
    pub(super) owner: Incarnation,
    pub(super) count: u64,
}

impl Key {
    /// `None`: nothing that this version knows.
    pub(super) fn read(key: &str) -> Option<Self> {
        if key == SEED_KEY {
            return Some(Self::Seed);
        }
        if let Some(claim) = key.strip_prefix(CLAIMS_PREFIX) {
            let (owner, count) = claim.split_once('.')?;
            let owner = Incarnation(u64::from_str_radix(owner, 16).ok()?);
            let claim = ClaimKey { owner, count: count.parse().ok()? };
            return (*claim_key(claim) == *key).then_some(Self::Claim(claim));
        }
        let number = key.strip_prefix(NODE_PREFIX)?.parse().ok()?;
        let number = NodeNumber::new(number)?;
        (*node_key(number) == *key).then_some(Self::Node(number))
    }
}

pub(super) fn node_key(number: NodeNumber) -> Box<str> {
    format!("{NODE_PREFIX}{}", number.get()).into()
}

/// What the keys of all claims of a node begin with.
pub(super) fn claims_prefix(incarnation: Incarnation) -> Box<str> {
    format!("{CLAIMS_PREFIX}{incarnation}.").into()
}

pub(super) fn claim_key(claim: ClaimKey) -> Box<str> {
    format!("{CLAIMS_PREFIX}{}.{}", claim.owner, claim.count).into()
}

/// The name of the member whose key this is; `None` if it is none's.
pub fn member_of(key: &str, value: &[u8]) -> Option<Box<str>> {
    let is_of_node = matches!(Key::read(key), Some(Key::Node(_)));
    let record = is_of_node.then(|| NodeRecord::decode(value)).flatten();
    record.map(|record| record.name.as_str().into())
}

/// What stands at the key of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    pub incarnation: Incarnation,
    pub name: NodeName,
    pub versions: Versions,
    /// Of what the configurations of all nodes should have alike.
    pub digest: u64,
    /// The revision by which it became a member, if it has written its key again since; 0 before.
    pub joined: u64,
    /// It serves nobody any more before its key has stood unchanged for so long, in milliseconds,
    /// and so nobody removes it sooner; 0: it serves in any case.
    pub stops_ms: u64,
}

impl NodeRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut write = || -> Result<(), encode::Error<Infallible>> {
            let mut encoder = Encoder::new(&mut bytes);
            let stops = self.stops_ms > 0;
            encoder.array(if stops { FIELDS_OF_STOPPING } else { FIELDS })?;
            encoder.u64(self.incarnation.0)?.str(self.name.as_str())?;
            encoder.u8(self.versions.from)?.u8(self.versions.to)?.u64(self.digest)?;
            if stops {
                encoder.u64(self.joined)?.u64(self.stops_ms)?;
            }
            Ok(())
        };
        write().expect("a vector takes all");
        bytes
    }

    /// `None`: no node of any version has written this.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let mut read = || -> Result<Option<Self>, decode::Error> {
            let fields = decoder.array()?.unwrap_or_default();
            let incarnation = Incarnation(decoder.u64()?);
            let name = NodeName::new(decoder.str()?);
            let versions = Versions { from: decoder.u8()?, to: decoder.u8()? };
            let digest = decoder.u64()?;
            let stops = fields >= FIELDS_OF_STOPPING;
            let (joined, stops_ms) = if stops { (decoder.u64()?, decoder.u64()?) } else { (0, 0) };
            let record = |name| Self { incarnation, name, versions, digest, joined, stops_ms };
            // A later version may append fields.
            Ok(name.map(record).filter(|_| fields >= FIELDS))
        };
        read().ok().flatten()
    }
}

pub(super) fn encode_seed(seed: u128) -> Vec<u8> {
    seed.to_be_bytes().to_vec()
}

pub(super) fn decode_seed(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}

pub(super) const SEED_KEY: &str = "seed";
const NODE_PREFIX: &str = "node.";
const CLAIMS_PREFIX: &str = "reg.";

/// Of the records of this version, and of those of nodes that stop.
const FIELDS: u64 = 5;
const FIELDS_OF_STOPPING: u64 = 7;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> NodeRecord {
        let name = NodeName::new("a-1").expect("it is a name");
        let (joined, stops_ms) = (0, 0);
        let incarnation = Incarnation(u64::MAX);
        NodeRecord {
            incarnation,
            name,
            versions: Versions { from: 1, to: 2 },
            digest: 7,
            joined,
            stops_ms,
        }
    }

    #[test]
    fn records_are_read_as_they_were_written_and_later_fields_skipped() {
        let mut bytes = record().encode();
        assert_eq!(NodeRecord::decode(&bytes), Some(record()));
        for end in 0..bytes.len() {
            assert_eq!(NodeRecord::decode(&bytes[..end]), None, "{end} bytes");
        }
        assert_eq!(bytes[0], 0x85);
        bytes[0] = 0x86;
        bytes.push(0xf6);
        assert_eq!(NodeRecord::decode(&bytes), Some(record()));
        bytes[0] = 0x84;
        assert_eq!(NodeRecord::decode(&bytes), None, "too few");
    }

    #[test]
    fn who_stops_says_so() {
        let record = NodeRecord { joined: 1 << 40, stops_ms: 20_000, ..record() };
        let mut bytes = record.encode();
        assert_eq!(NodeRecord::decode(&bytes), Some(record.clone()));
        for end in 0..bytes.len() {
            assert_eq!(NodeRecord::decode(&bytes[..end]), None, "{end} bytes");
        }
        assert_eq!(bytes[0], 0x87);
        bytes[0] = 0x88;
        bytes.push(0xf6);
        assert_eq!(NodeRecord::decode(&bytes), Some(record));
    }

    #[test]
    fn keys_are_known_or_nobodys() {
        assert_eq!(Key::read("seed"), Some(Key::Seed));
        for number in 0..=NodeNumber::MAX.get() {
            let number = NodeNumber::new(number).expect("7 bits");
            assert_eq!(Key::read(&node_key(number)), Some(Key::Node(number)));
        }
        for (owner, count) in [(0, 0), (10, 7), (u64::MAX, u64::MAX)] {
            let claim = ClaimKey { owner: Incarnation(owner), count };
            assert_eq!(Key::read(&claim_key(claim)), Some(Key::Claim(claim)));
            assert!(claim_key(claim).starts_with(&*claims_prefix(claim.owner)));
        }
        for strange in ["", "node.", "node.128", "node.-1", "node.+1", "node.01", "node.1.2", "reg"]
        {
            assert_eq!(Key::read(strange), None, "{strange}");
        }
        for strange in ["reg.", "reg.a.1", "reg.000000000000000a", "reg.000000000000000a.01"] {
            assert_eq!(Key::read(strange), None, "{strange}");
        }
        assert_eq!(Key::read("reg.000000000000000A.1"), None, "in small letters");
        assert_eq!(&*claims_prefix(Incarnation(10)), "reg.000000000000000a.");
        assert_eq!(decode_seed(&encode_seed(5)), Some(5));
        assert_eq!(decode_seed(&[1, 2]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(bytes in any::<Vec<u8>>()) {
            let _ = NodeRecord::decode(&bytes);
        }
    }
}
