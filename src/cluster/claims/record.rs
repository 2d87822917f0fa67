//! What stands at the key of a claim: a callee, and what all nodes have to know of it.

use std::convert::Infallible;

use minicbor::{Decoder, Encoder, decode, encode};

use super::super::numbers::{INVOKES, POLICIES, number_of};
use crate::router::Traits;
use crate::wamp::{Features, InvokePolicy, MatchPolicy, SessionId, Timestamp};

/// A callee of a procedure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct ClaimRecord {
    pub(in crate::cluster) realm: Box<str>,
    pub(in crate::cluster) uri: Box<str>,
    pub(in crate::cluster) callee: CalleeRecord,
}

/// All but the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct CalleeRecord {
    pub(in crate::cluster) policy: MatchPolicy,
    pub(in crate::cluster) invoke: InvokePolicy,
    pub(in crate::cluster) session: SessionId,
    pub(in crate::cluster) traits: Traits,
    pub(in crate::cluster) concurrency: Option<u32>,
    /// When it was asked for.
    pub(in crate::cluster) created: Timestamp,
}

impl ClaimRecord {
    /// `[realm, match, uri, invoke, session, features, disclose, forward timeout, limit or null,
    /// created]`
    pub(in crate::cluster) fn encode(realm: &str, uri: &str, callee: &CalleeRecord) -> Vec<u8> {
        let CalleeRecord { policy, invoke, session, traits, concurrency, created } = callee;
        let mut bytes = Vec::new();
        let mut write = || -> Result<(), encode::Error<Infallible>> {
            let mut encoder = Encoder::new(&mut bytes);
            encoder.array(FIELDS)?.str(realm)?.u8(number_of(&POLICIES, *policy))?.str(uri)?;
            encoder
                .u8(number_of(&INVOKES, *invoke))?
                .u64(session.get())?
                .u16(traits.features.bits())?;
            encoder.bool(traits.disclose_caller)?.bool(traits.forward_timeout)?;
            encoder.encode(*concurrency)?.i64(created.unix_us())?;
            Ok(())
        };
        write().expect("a vector takes all");
        bytes
    }

    /// `None`: no node of this version has written this, nor one that is to be understood.
    pub(in crate::cluster) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        read(&mut decoder).ok().flatten()
    }
}

/// A later version may append fields.
fn read(decoder: &mut Decoder<'_>) -> Result<Option<ClaimRecord>, decode::Error> {
    let fields = decoder.array()?;
    let realm = decoder.str()?.into();
    let policy = POLICIES.get(usize::from(decoder.u8()?)).copied();
    let uri = decoder.str()?.into();
    let invoke = INVOKES.get(usize::from(decoder.u8()?)).copied();
    let session = SessionId::new(decoder.u64()?);
    let features = Features::from_bits(decoder.u16()?);
    let (disclose_caller, forward_timeout) = (decoder.bool()?, decoder.bool()?);
    let traits = Traits { features, disclose_caller, forward_timeout, is_limited_elsewhere: false };
    let concurrency: Option<u32> = decoder.decode()?;
    let created = Timestamp::from_unix_us(decoder.i64()?);
    let is_whole = fields.is_some_and(|fields| fields >= FIELDS) && concurrency != Some(0);
    let callee = || {
        let (policy, invoke, session) = (policy?, invoke?, session?);
        Some(CalleeRecord { policy, invoke, session, traits, concurrency, created })
    };
    Ok(callee().filter(|_| is_whole).map(|callee| ClaimRecord { realm, uri, callee }))
}

/// Of the records of this version.
const FIELDS: u64 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wamp::Feature;

    fn record(invoke: InvokePolicy, policy: MatchPolicy, concurrency: Option<u32>) -> ClaimRecord {
        let features = Features::default().with(Feature::CallReroute).with(Feature::CallCanceling);
        let traits = Traits { features, disclose_caller: true, ..Traits::default() };
        let session = SessionId::new(7).expect("an id");
        let created = Timestamp::from_unix_us(1_714_564_800_123_456);
        let callee = CalleeRecord { policy, invoke, session, traits, concurrency, created };
        ClaimRecord { realm: "realm1".into(), uri: "com.x".into(), callee }
    }

    fn encode(record: &ClaimRecord) -> Vec<u8> {
        ClaimRecord::encode(&record.realm, &record.uri, &record.callee)
    }

    #[test]
    fn records_are_read_as_they_were_written_and_later_fields_skipped() {
        for invoke in INVOKES {
            for policy in POLICIES {
                for concurrency in [None, Some(1), Some(u32::MAX)] {
                    let record = record(invoke, policy, concurrency);
                    assert_eq!(ClaimRecord::decode(&encode(&record)), Some(record));
                }
            }
        }
        let whole = record(InvokePolicy::Last, MatchPolicy::Wildcard, Some(3));
        let mut bytes = encode(&whole);
        for end in 0..bytes.len() {
            assert_eq!(ClaimRecord::decode(&bytes[..end]), None, "{end} bytes");
        }
        assert_eq!(bytes[0], 0x8a);
        bytes[0] = 0x8b;
        bytes.push(0xf6);
        assert_eq!(ClaimRecord::decode(&bytes), Some(whole));
        let nobody = record(InvokePolicy::Last, MatchPolicy::Exact, Some(0));
        assert_eq!(ClaimRecord::decode(&encode(&nobody)), None, "nobody takes no calls");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(bytes in any::<Vec<u8>>()) {
            let _ = ClaimRecord::decode(&bytes);
        }
    }
}
