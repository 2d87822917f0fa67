//! What nodes say to each other of what they keep: retained events, and event histories.

use minicbor::{Decoder, Encoder};

use super::{
    Entry, Kept, TAKES_ALL, Unreadable, Written, is_null, read_audience, read_dict, read_kept,
    read_payload, read_stamp, read_time, write_audience, write_dict, write_kept, write_payload,
    write_stamp,
};
use crate::router::{Audience, Holds, RetainedEvent, Stamp, StoredEvent};
use crate::wamp::{MatchPolicy, PublicationId, Timestamp};

/// What a node keeps in one place: the retained events of a realm, or one of its histories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Book {
    pub realm: Box<str>,
    /// Of the history; `None`: the retained events.
    pub pattern: Option<(MatchPolicy, Box<str>)>,
}

/// Events of a book that the receiver may not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// By topic and stamp.
    Retained(Vec<(Box<str>, Stamp)>),
    /// By id and time.
    Recorded(Vec<(PublicationId, Timestamp)>),
}

/// `[kind, book, count, digest, edge or null]`
pub(in crate::cluster) fn encode_holds(
    book: &Book,
    holds: Holds,
    edge: Option<Stamp>,
    into: &mut Vec<u8>,
) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        write_book(encoder.array(5)?.u8(HOLDS)?, book)?;
        encoder.u64(holds.count)?.u64(holds.digest)?;
        match edge {
            Some(edge) => write_stamp(encoder, edge),
            None => encoder.null().map(|_| ()),
        }
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

pub(in crate::cluster) fn encode_holds_end(into: &mut Vec<u8>) {
    write_kind(HOLDS_END, into);
}

/// `[kind, book, list]`, of pairs: topic and stamp, or publication and time
pub(in crate::cluster) fn encode_offer(book: &Book, offered: &Offered, into: &mut Vec<u8>) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        write_book(encoder.array(3)?.u8(OFFER)?, book)?;
        match offered {
            Offered::Retained(events) => {
                encoder.array(events.len() as u64)?;
                let mut events = events.iter();
                events.try_for_each(|(topic, stamp)| {
                    write_stamp(encoder.array(2)?.str(topic)?, *stamp)
                })
            }
            Offered::Recorded(events) => {
                encoder.array(events.len() as u64)?;
                let mut events = events.iter();
                events.try_for_each(|(publication, at)| {
                    encoder.array(2)?.u64(publication.get())?.i64(at.unix_us()).map(|_| ())
                })
            }
        }
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, bytes]`: a bit for each event that was offered, the lowest of a byte first
pub(in crate::cluster) fn encode_wants(wanted: &[bool], into: &mut Vec<u8>) {
    let byte = |bits: &[bool]| {
        bits.iter().zip(0..8_u8).fold(0, |byte, (bit, place)| byte | u8::from(*bit) << place)
    };
    let bytes: Vec<u8> = wanted.chunks(8).map(byte).collect();
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(2)?.u8(WANTS)?.bytes(&bytes).map(|_| ())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, realm, topic, publication, excluded or null, lists or null, details, payload, kept]`
pub(in crate::cluster) fn encode_retained(
    realm: &str,
    topic: &str,
    event: &RetainedEvent,
    into: &mut Vec<u8>,
) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(9)?.u8(RETAINED)?.str(realm)?.str(topic)?.u64(event.publication.get())?;
        write_audience(encoder, &event.audience)?;
        write_dict(encoder, &event.details)?;
        write_payload(encoder, &event.payload)?;
        write_kept(encoder, event.stamp, event.publisher.as_deref())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, book, topic, publication, null, lists or null, details, payload, time]`
pub(in crate::cluster) fn encode_recorded(book: &Book, event: &StoredEvent, into: &mut Vec<u8>) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        write_book(encoder.array(9)?.u8(RECORDED)?, book)?;
        encoder.str(&event.topic)?.u64(event.publication.get())?;
        write_audience(encoder, &Audience { excluded: None, lists: event.lists.clone() })?;
        write_dict(encoder, &event.details)?;
        write_payload(encoder, &event.payload)?;
        encoder.i64(event.timestamp.unix_us()).map(|_| ())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, book, edge]`
pub(in crate::cluster) fn encode_edge(book: &Book, edge: Stamp, into: &mut Vec<u8>) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        write_book(encoder.array(3)?.u8(EDGE)?, book)?;
        write_stamp(encoder, edge)
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

pub(in crate::cluster) fn encode_copied(into: &mut Vec<u8>) {
    write_kind(COPIED, into);
}

fn write_kind(kind: u8, into: &mut Vec<u8>) {
    let write =
        |encoder: &mut Encoder<&mut Vec<u8>>| -> Written { encoder.array(1)?.u8(kind).map(|_| ()) };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[realm]`, or `[realm, policy, pattern]`
fn write_book(encoder: &mut Encoder<&mut Vec<u8>>, book: &Book) -> Written {
    match &book.pattern {
        None => encoder.array(1)?.str(&book.realm)?,
        Some((policy, uri)) => {
            encoder.array(3)?.str(&book.realm)?.u8(number_of(*policy))?.str(uri)?
        }
    };
    Ok(())
}

/// The entry of this kind, and how many fields more than these it has.
pub(super) fn read(
    kind: u8,
    fields: u64,
    decoder: &mut Decoder<'_>,
) -> Result<(Entry, u64), Unreadable> {
    let (entry, known) = match kind {
        HOLDS => (read_holds(decoder)?, 5),
        HOLDS_END => (Entry::HoldsEnd, 1),
        OFFER => (read_offer(decoder)?, 3),
        WANTS => (Entry::Wants(read_wants(decoder)?), 2),
        RETAINED => (read_retained(decoder)?, 9),
        RECORDED => (read_recorded(decoder)?, 9),
        EDGE => (Entry::Edge { book: read_book(decoder)?, edge: read_stamp(decoder)? }, 3),
        COPIED => (Entry::Copied, 1),
        _ => return Err(Unreadable),
    };
    Ok((entry, fields.checked_sub(known).ok_or(Unreadable)?))
}

fn read_holds(decoder: &mut Decoder<'_>) -> Result<Entry, Unreadable> {
    let book = read_book(decoder)?;
    let holds = Holds { count: decoder.u64()?, digest: decoder.u64()? };
    let edge = if is_null(decoder)? { None } else { Some(read_stamp(decoder)?) };
    Ok(Entry::Holds { book, holds, edge })
}

fn read_offer(decoder: &mut Decoder<'_>) -> Result<Entry, Unreadable> {
    let book = read_book(decoder)?;
    let count = decoder.array()?.filter(|count| *count <= MOST_OFFERED as u64).ok_or(Unreadable)?;
    let pair = |decoder: &mut Decoder<'_>| match decoder.array()? {
        Some(2) => Ok(()),
        _ => Err(Unreadable),
    };
    let offered = if book.pattern.is_none() {
        let event = |_| {
            pair(decoder)?;
            Ok((decoder.str()?.into(), read_stamp(decoder)?))
        };
        Offered::Retained((0..count).map(event).collect::<Result<_, Unreadable>>()?)
    } else {
        let event = |_| {
            pair(decoder)?;
            let publication = PublicationId::new(decoder.u64()?).ok_or(Unreadable)?;
            Ok((publication, read_time(decoder)?))
        };
        Offered::Recorded((0..count).map(event).collect::<Result<_, Unreadable>>()?)
    };
    Ok(Entry::Offer { book, offered })
}

/// As many bits as there are: up to seven more than were offered.
fn read_wants(decoder: &mut Decoder<'_>) -> Result<Vec<bool>, Unreadable> {
    let bytes = decoder.bytes()?;
    if bytes.len() > MOST_OFFERED.div_ceil(8) {
        return Err(Unreadable);
    }
    Ok(bytes.iter().flat_map(|byte| (0..8).map(move |place| byte >> place & 1 == 1)).collect())
}

fn read_retained(decoder: &mut Decoder<'_>) -> Result<Entry, Unreadable> {
    let (realm, topic) = (decoder.str()?.into(), decoder.str()?.into());
    let publication = PublicationId::new(decoder.u64()?).ok_or(Unreadable)?;
    let (audience, details) = (read_audience(decoder)?, read_dict(decoder)?);
    let payload = read_payload(decoder)?;
    let Kept { stamp, publisher } = read_kept(decoder)?;
    let event = RetainedEvent { publication, stamp, audience, publisher, details, payload };
    Ok(Entry::Retained { realm, topic, event: Box::new(event) })
}

fn read_recorded(decoder: &mut Decoder<'_>) -> Result<Entry, Unreadable> {
    let (book, topic) = (read_book(decoder)?, decoder.str()?.into());
    let publication = PublicationId::new(decoder.u64()?).ok_or(Unreadable)?;
    let (audience, details) = (read_audience(decoder)?, read_dict(decoder)?);
    let (payload, timestamp) = (read_payload(decoder)?, read_time(decoder)?);
    if book.pattern.is_none() || audience.names_sessions() {
        return Err(Unreadable);
    }
    let lists = audience.lists;
    let event = StoredEvent { timestamp, publication, topic, lists, details, payload };
    Ok(Entry::Recorded { book, event: Box::new(event) })
}

fn read_book(decoder: &mut Decoder<'_>) -> Result<Book, Unreadable> {
    let fields = decoder.array()?.ok_or(Unreadable)?;
    let realm = decoder.str()?.into();
    let pattern = match fields {
        1 => None,
        3 => {
            let number = decoder.u8()?;
            let is_it = |policy: &MatchPolicy| number_of(*policy) == number;
            let policy = POLICIES.into_iter().find(is_it).ok_or(Unreadable)?;
            Some((policy, decoder.str()?.into()))
        }
        _ => return Err(Unreadable),
    };
    Ok(Book { realm, pattern })
}

/// How a policy is named between nodes.
const fn number_of(policy: MatchPolicy) -> u8 {
    match policy {
        MatchPolicy::Exact => 0,
        MatchPolicy::Prefix => 1,
        MatchPolicy::Wildcard => 2,
    }
}

const POLICIES: [MatchPolicy; 3] = [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard];

/// Events that are offered at once.
pub(in crate::cluster) const MOST_OFFERED: usize = 512;

const HOLDS: u8 = 4;
const HOLDS_END: u8 = 5;
const OFFER: u8 = 6;
const WANTS: u8 = 7;
const RETAINED: u8 = 8;
const RECORDED: u8 = 9;
const EDGE: u8 = 10;
const COPIED: u8 = 11;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::tests::decode_all;
    use super::*;
    use crate::router::{NodeNumber, Publisher};
    use crate::wamp::{PayloadBuf, ReceiverFilter, SessionId};

    fn publication(number: u64) -> PublicationId {
        PublicationId::new(number).expect("a small number is an id")
    }

    fn stamp(at: i64, node: u8) -> Stamp {
        Stamp { at: Timestamp::from_unix_us(at), node: NodeNumber::new(node) }
    }

    fn history() -> Book {
        Book { realm: "realm1".into(), pattern: Some((MatchPolicy::Wildcard, "com..x".into())) }
    }

    fn for_users() -> Audience {
        let eligible_authrole = Some(vec!["user".to_owned()]);
        let filter = ReceiverFilter { eligible_authrole, ..ReceiverFilter::default() };
        Audience::new(None, Some(Box::new(filter)))
    }

    fn retained() -> RetainedEvent {
        RetainedEvent {
            publication: publication(7),
            stamp: stamp(1_714_564_800_123_456, 127),
            audience: Audience::new(SessionId::new(9), None),
            publisher: Some(Arc::new(Publisher { authid: "joe".into(), authrole: "".into() })),
            details: vec![("trustlevel".into(), 3.into())],
            payload: PayloadBuf::Empty,
        }
    }

    fn recorded() -> StoredEvent {
        StoredEvent {
            timestamp: Timestamp::from_unix_us(5),
            publication: publication(8),
            topic: "com.y.x".into(),
            lists: for_users().lists,
            details: vec![("publisher".into(), 5.into())],
            payload: PayloadBuf::Empty,
        }
    }

    /// What is said of what is kept is read as it was written.
    #[test]
    fn copies_are_read_as_they_were_written() {
        let table = Book { realm: "realm1".into(), pattern: None };
        let holds = Holds { count: 3, digest: u64::MAX };
        let topics =
            Offered::Retained(vec![("com.x".into(), stamp(5, 0)), ("".into(), stamp(6, 1))]);
        let ids = (1..=MOST_OFFERED as u64).map(|id| (publication(id), Timestamp::EPOCH)).collect();
        let ids = Offered::Recorded(ids);
        let wanted = [true, false, false, true, true, false, false, true, true];
        let mut bytes = Vec::new();
        encode_holds(&table, holds, None, &mut bytes);
        encode_holds(&history(), holds, Some(stamp(4, 2)), &mut bytes);
        encode_holds_end(&mut bytes);
        encode_offer(&table, &topics, &mut bytes);
        encode_offer(&history(), &ids, &mut bytes);
        encode_wants(&wanted, &mut bytes);
        encode_retained("realm1", "com.x", &retained(), &mut bytes);
        encode_recorded(&history(), &recorded(), &mut bytes);
        encode_edge(&table, Stamp::default(), &mut bytes);
        encode_copied(&mut bytes);
        let entries = decode_all(&bytes).expect("they can be read");
        let [first, second, Entry::HoldsEnd, offers @ .., Entry::Copied] = &entries[..] else {
            panic!("{entries:?}")
        };
        let said = |book: Book, edge| format!("{:?}", Entry::Holds { book, holds, edge });
        assert_eq!(format!("{first:?}"), said(table.clone(), None));
        assert_eq!(format!("{second:?}"), said(history(), Some(stamp(4, 2))));
        let padded: Vec<_> = wanted.into_iter().chain([false; 7]).collect();
        let expected = [
            Entry::Offer { book: table.clone(), offered: topics },
            Entry::Offer { book: history(), offered: ids },
            Entry::Wants(padded),
            Entry::Retained {
                realm: "realm1".into(),
                topic: "com.x".into(),
                event: Box::new(retained()),
            },
            Entry::Recorded { book: history(), event: Box::new(recorded()) },
            Entry::Edge { book: table, edge: Stamp::default() },
        ];
        assert_eq!(format!("{offers:?}"), format!("{expected:?}"));
    }

    /// More than is ever offered, a time that nothing could follow, and names of sessions in a
    /// history are of no node.
    #[test]
    fn what_no_node_says_is_refused() {
        let is_refused = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            assert!(decode_all(&bytes).is_err(), "{bytes:x?}");
        };
        let many = vec![(publication(1), Timestamp::EPOCH); MOST_OFFERED + 1];
        is_refused(&|bytes| encode_offer(&history(), &Offered::Recorded(many.clone()), bytes));
        is_refused(&|bytes| encode_wants(&[true; MOST_OFFERED + 8], bytes));
        is_refused(&|bytes| encode_edge(&history(), stamp(i64::MAX, 1), bytes));
        is_refused(&|bytes| encode_edge(&history(), stamp(-1, 1), bytes));
        let filter = ReceiverFilter { eligible: Some(vec![]), ..ReceiverFilter::default() };
        let lists = Audience::new(None, Some(Box::new(filter))).lists;
        is_refused(&|bytes| {
            encode_recorded(&history(), &StoredEvent { lists: lists.clone(), ..recorded() }, bytes);
        });
        let table = Book { realm: "realm1".into(), pattern: None };
        is_refused(&|bytes| encode_recorded(&table, &recorded(), bytes));
        is_refused(&|bytes| {
            encode_offer(&table, &Offered::Retained(vec![("com.x".into(), stamp(9, 1))]), bytes);
            let last = bytes.len() - 1;
            bytes[last] = 128;
        });
    }

    proptest! {
        /// Whatever the bytes are, they are entries or an error, and no panic.
        #[test]
        fn any_bytes_are_copies_or_none(
            kind in HOLDS..=COPIED + 1,
            fields in 0..12_u8,
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut entry = vec![0x80 | fields, kind];
            entry.extend(&bytes);
            let _ = decode_all(&entry);
        }

        /// One byte that is another one makes another entry or none.
        #[test]
        fn a_broken_entry_is_an_entry_or_none(
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = Vec::new();
            encode_retained("realm1", "com.x", &retained(), &mut bytes);
            encode_recorded(&history(), &recorded(), &mut bytes);
            let offered = Offered::Recorded(vec![(publication(1), Timestamp::EPOCH)]);
            encode_offer(&history(), &offered, &mut bytes);
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = decode_all(&bytes);
        }
    }
}
