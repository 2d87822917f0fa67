//! What nodes say to each other of what meta events tell of.
//!
//! A node numbers what it listens to, and others name it by that.

use minicbor::{Decoder, Encoder};

use super::super::numbers::{POLICIES, number_of};
use super::{Entry, TAKES_ALL, Unreadable, Written, is_null, read_dict, skip, write_dict};
use crate::codec::{self, Codec};
use crate::router::{Described, MetaFamily, MetaTopic};
use crate::shard::{ForeignMetaEvent, RosterEntries, RosterPiece, SessionEntry, SubscriptionEntry};
use crate::wamp::{SessionId, SubscriptionId, Timestamp, Value};

/// `[kind, number, realm, family, whether what is not known is news]`
pub(in crate::cluster) fn encode_listen(
    number: u64,
    realm: &str,
    family: MetaFamily,
    is_news: bool,
    into: &mut Vec<u8>,
) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(5)?.u8(LISTEN)?.u64(number)?.str(realm)?;
        encoder.u8(number_of(&MetaFamily::ALL, family))?.bool(is_news).map(|_| ())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, number]`
pub(in crate::cluster) fn encode_deaf(number: u64, into: &mut Vec<u8>) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(2)?.u8(DEAF)?.u64(number).map(|_| ())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, number, first, last, family, entries]`
pub(in crate::cluster) fn encode_roster(number: u64, piece: &RosterPiece, into: &mut Vec<u8>) {
    let RosterPiece { is_first, is_last, entries } = piece;
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(6)?.u8(ROSTER)?.u64(number)?.bool(*is_first)?.bool(*is_last)?;
        encoder.u8(number_of(&MetaFamily::ALL, entries.family()))?;
        match entries {
            RosterEntries::Sessions(entries) => {
                encoder.array(entries.len() as u64)?;
                entries.iter().try_for_each(|entry| write_session(encoder, entry))
            }
            RosterEntries::Subscriptions(entries) => {
                encoder.array(entries.len() as u64)?;
                entries.iter().try_for_each(|entry| write_subscription(encoder, entry))
            }
        }
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[session, authid, authrole, details or null]`
fn write_session(encoder: &mut Encoder<&mut Vec<u8>>, entry: &SessionEntry) -> Written {
    let SessionEntry { session, authid, authrole, details } = entry;
    encoder.array(4)?.u64(session.get())?.str(authid)?.str(authrole)?;
    match details {
        Some(details) => write_dict(encoder, details),
        None => encoder.null().map(|_| ()),
    }
}

/// `[subscription, URI, match, created]`, or `[subscription, null, null, null]`
fn write_subscription(encoder: &mut Encoder<&mut Vec<u8>>, entry: &SubscriptionEntry) -> Written {
    let SubscriptionEntry { subscription, described } = entry;
    let encoder = encoder.array(4)?.u64(subscription.get())?;
    match described {
        Some(Described { uri, policy, created, .. }) => {
            encoder.str(uri)?.u8(number_of(&POLICIES, *policy))?.i64(created.unix_us())?
        }
        None => encoder.null()?.null()?.null()?,
    };
    Ok(())
}

/// `[kind, number, topic, cause, about, args, whether nobody is to hear of it]`
pub(in crate::cluster) fn encode_meta(number: u64, event: &ForeignMetaEvent, into: &mut Vec<u8>) {
    let ForeignMetaEvent { topic, cause, about, args, is_quiet } = event;
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(7)?.u8(META)?.u64(number)?.u8(number_of(&MetaTopic::ALL, *topic))?;
        encoder.u64(cause.get())?.u64(*about)?;
        let args = codec::encode_value(Codec::Cbor, &Value::List(args.clone()));
        encoder.bytes(&args.expect("CBOR expresses every value"))?;
        encoder.bool(*is_quiet).map(|_| ())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// The entry of this kind, and how many fields more than these it has.
pub(super) fn read(
    kind: u8,
    fields: u64,
    decoder: &mut Decoder<'_>,
) -> Result<(Entry, u64), Unreadable> {
    let number = decoder.u64()?;
    let (entry, known) = match kind {
        LISTEN => {
            let (realm, family) = (decoder.str()?.into(), read_family(decoder)?);
            (Entry::Listen { number, realm, family, is_news: decoder.bool()? }, 5)
        }
        DEAF => (Entry::Deaf(number), 2),
        ROSTER => (Entry::Roster { number, piece: read_piece(decoder)? }, 6),
        _ => (Entry::Meta { number, event: Box::new(read_meta(decoder)?) }, 7),
    };
    Ok((entry, fields.checked_sub(known).ok_or(Unreadable)?))
}

fn read_piece(decoder: &mut Decoder<'_>) -> Result<RosterPiece, Unreadable> {
    let (is_first, is_last) = (decoder.bool()?, decoder.bool()?);
    let family = read_family(decoder)?;
    let count = decoder.array()?.ok_or(Unreadable)?;
    let entries = match family {
        MetaFamily::Sessions => {
            let entries: Result<_, Unreadable> =
                (0..count).map(|_| read_session(decoder)).collect();
            RosterEntries::Sessions(entries?)
        }
        MetaFamily::Subscriptions => {
            let entries: Result<_, Unreadable> =
                (0..count).map(|_| read_subscription(decoder)).collect();
            RosterEntries::Subscriptions(entries?)
        }
    };
    Ok(RosterPiece { is_first, is_last, entries })
}

fn read_session(decoder: &mut Decoder<'_>) -> Result<SessionEntry, Unreadable> {
    let fields = decoder.array()?.ok_or(Unreadable)?;
    let session = SessionId::new(decoder.u64()?).ok_or(Unreadable)?;
    let (authid, authrole) = (decoder.str()?.into(), decoder.str()?.into());
    let details = if is_null(decoder)? { None } else { Some(read_dict(decoder)?) };
    skip(decoder, fields, 4)?;
    Ok(SessionEntry { session, authid, authrole, details })
}

fn read_subscription(decoder: &mut Decoder<'_>) -> Result<SubscriptionEntry, Unreadable> {
    let fields = decoder.array()?.ok_or(Unreadable)?;
    let subscription = SubscriptionId::new(decoder.u64()?).ok_or(Unreadable)?;
    let described = if is_null(decoder)? {
        decoder.null()?;
        decoder.null()?;
        None
    } else {
        let uri = decoder.str()?.into();
        let policy = POLICIES.get(usize::from(decoder.u8()?)).copied().ok_or(Unreadable)?;
        let created = Timestamp::from_unix_us(decoder.i64()?);
        Some(Described { uri, policy, invoke: None, created })
    };
    skip(decoder, fields, 4)?;
    Ok(SubscriptionEntry { subscription, described })
}

fn read_meta(decoder: &mut Decoder<'_>) -> Result<ForeignMetaEvent, Unreadable> {
    let topic = MetaTopic::ALL.get(usize::from(decoder.u8()?)).copied().ok_or(Unreadable)?;
    let cause = SessionId::new(decoder.u64()?).ok_or(Unreadable)?;
    let about = decoder.u64()?;
    let Ok(Value::List(args)) = codec::decode_value(Codec::Cbor, decoder.bytes()?) else {
        return Err(Unreadable);
    };
    Ok(ForeignMetaEvent { topic, cause, about, args, is_quiet: decoder.bool()? })
}

fn read_family(decoder: &mut Decoder<'_>) -> Result<MetaFamily, Unreadable> {
    MetaFamily::ALL.get(usize::from(decoder.u8()?)).copied().ok_or(Unreadable)
}

pub(super) const LISTEN: u8 = 15;
const DEAF: u8 = 16;
const ROSTER: u8 = 17;
pub(super) const META: u8 = 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::decode_all;
    use super::*;
    use crate::wamp::MatchPolicy;

    fn session(number: u64) -> SessionId {
        SessionId::new(number).expect("an id")
    }

    fn pieces() -> Vec<RosterPiece> {
        let entry = |number, details| SessionEntry {
            session: session(number),
            authid: "joe".into(),
            authrole: "user".into(),
            details,
        };
        let details = vec![("authid".into(), "joe".into())];
        let sessions = vec![entry(4, None), entry(5, Some(details))];
        let described = |policy| {
            let created = Timestamp::from_unix_us(1_714_564_800_123_456);
            Described { uri: "com.x".into(), policy, invoke: None, created }
        };
        let all = [None, Some(described(MatchPolicy::Wildcard))];
        let subscriptions = all.into_iter().zip(1..).map(|(described, number)| {
            let subscription = SubscriptionId::new(number).expect("an id");
            SubscriptionEntry { subscription, described }
        });
        let entries = [
            RosterEntries::Sessions(sessions),
            RosterEntries::Subscriptions(subscriptions.collect()),
            RosterEntries::Sessions(Vec::new()),
        ];
        let flags = [(true, false), (false, true), (true, true)];
        let pairs = entries.into_iter().zip(flags);
        pairs
            .map(|(entries, (is_first, is_last))| RosterPiece { is_first, is_last, entries })
            .collect()
    }

    fn event(topic: MetaTopic) -> ForeignMetaEvent {
        let args = vec![7.into(), "x".into()];
        ForeignMetaEvent { topic, cause: session(7), about: 9, args, is_quiet: false }
    }

    #[test]
    fn rosters_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        encode_listen(1, "realm1", MetaFamily::Subscriptions, true, &mut bytes);
        encode_deaf(2, &mut bytes);
        pieces().iter().for_each(|piece| encode_roster(3, piece, &mut bytes));
        for topic in MetaTopic::ALL {
            encode_meta(4, &event(topic), &mut bytes);
        }
        let mut entries = decode_all(&bytes).expect("they can be read").into_iter();
        let Some(Entry::Listen { number: 1, realm, family, is_news: true }) = entries.next() else {
            panic!("LISTEN comes first")
        };
        assert_eq!((&*realm, family), ("realm1", MetaFamily::Subscriptions));
        assert!(matches!(entries.next(), Some(Entry::Deaf(2))));
        for expected in pieces() {
            let Some(Entry::Roster { number: 3, piece }) = entries.next() else {
                panic!("a piece")
            };
            assert_eq!(piece, expected);
        }
        for topic in MetaTopic::ALL {
            let Some(Entry::Meta { number: 4, event: read }) = entries.next() else {
                panic!("an event")
            };
            assert_eq!(*read, event(topic));
        }
        assert!(entries.next().is_none());
    }

    #[test]
    fn later_fields_are_skipped_and_strange_rosters_refused() {
        let later = [
            &[0x83, DEAF, 1, 0x61, b'x'][..],
            &[0x86, ROSTER, 1, 0xf5, 0xf5, 0, 0x81, 0x85, 7, 0x61, b'a', 0x61, b'r', 0xf6, 9],
        ];
        assert_eq!(decode_all(&later.concat()).map(|entries| entries.len()), Ok(2));
        for strange in [
            &[0x85, LISTEN, 1, 0x61, b'r', 2, 0xf5][..],
            &[0x84, LISTEN, 1, 0x61, b'r', 0],
            &[0x86, ROSTER, 1, 0xf5, 0xf5, 0, 0x81, 0x84, 0, 0x61, b'a', 0x61, b'r', 0xf6],
            &[0x86, ROSTER, 1, 0xf5, 0xf5, 1, 0x81, 0x84, 1, 0x61, b'u', 3, 0],
            &[0x86, ROSTER, 1, 0xf5, 0xf5, 0, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x87, META, 1, 10, 7, 9, 0x41, 0x80, 0xf4],
            &[0x87, META, 1, 0, 7, 9, 0x41, 0x07, 0xf4],
            &[0x86, META, 1, 0, 7, 9, 0x41, 0x80],
        ] {
            assert!(decode_all(strange).is_err(), "{strange:x?}");
        }
    }

    proptest! {
        /// Whatever the bytes are, they are entries or an error, and no panic.
        #[test]
        fn any_bytes_are_rosters_or_none(
            kind in LISTEN..=META + 1,
            fields in 0..8_u8,
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut entry = vec![0x80 | fields, kind, 1];
            entry.extend(&bytes);
            let _ = decode_all(&entry);
        }
    }
}
