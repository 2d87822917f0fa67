//! What nodes say to each other, as bytes: CBOR lists, one behind the other.
//!
//! The first field of an entry is its kind. A kind or a form that this version does not know ends
//! the link; nodes link with what the older one of them knows.

mod calls;
mod copies;
mod questions;
mod rosters;

use std::convert::Infallible;
use std::sync::Arc;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder, decode, encode};
use thiserror::Error;

pub use calls::ForeignCall;
pub(super) use calls::{
    encode_cancel, encode_chunk, encode_invoke, encode_return, encode_revocation,
};
pub use copies::{Book, Offered};
pub(super) use copies::{
    MOST_OFFERED, encode_copied, encode_edge, encode_holds, encode_holds_end, encode_offer,
    encode_recorded, encode_retained, encode_wants,
};
pub(super) use questions::{encode_ask, encode_part};
pub(super) use rosters::{encode_deaf, encode_listen, encode_meta, encode_roster};

use crate::codec::{self, Codec};
use crate::router::{
    Audience, Holds, Interest, InterestSlot, MetaFamily, NodeNumber, Publisher, RetainedEvent,
    Shape, Stamp, StoredEvent,
};
use crate::shard::{Elsewhere, Finding, ForeignMetaEvent, Outcome, Question, RosterPiece};
use crate::wamp::{
    CancelMode, Dict, Payload, PayloadBuf, PublicationId, ReceiverFilter, RegistrationId,
    SessionId, Timestamp, Value,
};

/// One thing that a node says to another.
#[derive(Debug)]
pub enum Entry {
    /// What falls into these slots is wanted from now on, or is not.
    Slots { slots: Vec<InterestSlot>, wanted: bool },
    /// Patterns of these shapes are used from now on, or are not. They come before their slots.
    Shapes { shapes: Vec<Shape>, used: bool },
    /// All that the sender wants has been said; what comes are changes.
    Complete,
    /// The sender has read the bucket up to this revision, and done what follows.
    Read(u64),
    /// A publication of a session of the sender.
    Event(Box<ForeignEvent>),
    /// The sender has this of a book, and nothing up to an edge: what the receiver has more is to
    /// be offered.
    Holds { book: Book, holds: Holds, edge: Option<Stamp> },
    /// These were all of its books.
    HoldsEnd,
    /// The sender has these events of a book, and waits to hear which of them are wanted.
    Offer { book: Book, offered: Offered },
    /// Of what was offered last, those that are wanted.
    Wants(Vec<bool>),
    /// A retained event that was wanted, and its topic.
    Retained { realm: Box<str>, topic: Box<str>, event: Box<RetainedEvent> },
    /// An event of a history that was wanted.
    Recorded { book: Book, event: Box<StoredEvent> },
    /// The sender keeps nothing of a book up to here, but for what it has offered since.
    Edge { book: Book, edge: Stamp },
    /// All that the receiver has said to lack was offered.
    Copied,
    /// A call for a session of the receiver.
    Invoke(Box<ForeignCall>),
    /// A further chunk of a progressive call of the sender.
    Chunk { number: u64, details: Dict, payload: PayloadBuf },
    /// The sender has given up on its call, or with `kill` wishes for its end.
    Cancel { number: u64, mode: CancelMode },
    /// The answer to a call of the receiver.
    Return { number: u64, outcome: Outcome, payload: PayloadBuf },
    /// An administrator ends the registration of a session of the receiver, perhaps for a reason.
    Revocation { callee: SessionId, registration: RegistrationId, reason: Option<Box<str>> },
    /// The sender asks what the receiver has of this.
    Ask { number: u64, realm: Box<str>, question: Question },
    /// The answer to a question of the receiver, or a piece of it.
    Part { number: u64, finding: Finding, is_last: bool },
    /// The sender listens to meta events from now on.
    Listen { number: u64, realm: Box<str>, family: MetaFamily, is_news: bool },
    /// It does not any more.
    Deaf(u64),
    /// What stands at the sender of what the receiver listens to.
    Roster { number: u64, piece: RosterPiece },
    /// A meta event of the sender to which the receiver listens.
    Meta { number: u64, event: Box<ForeignMetaEvent> },
}

/// A publication of another node, as its events will be.
#[derive(Debug)]
pub struct ForeignEvent {
    pub realm: Box<str>,
    pub topic: Box<str>,
    pub publication: PublicationId,
    pub publisher: SessionId,
    pub audience: Audience,
    pub details: Dict,
    pub payload: PayloadBuf,
    /// By the clock of its node.
    pub at: Timestamp,
    /// If it is to be kept for late subscribers.
    pub kept: Option<Kept>,
}

/// When a retained event was published, and who has done so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub stamp: Stamp,
    pub publisher: Option<Arc<Publisher>>,
}

/// Bytes that are no entry of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an entry of a parcel cannot be read")]
pub struct Unreadable;

impl From<decode::Error> for Unreadable {
    fn from(_: decode::Error) -> Self {
        Self
    }
}

type Written = Result<(), encode::Error<Infallible>>;

/// Slots that are wanted, or are not.
pub(super) fn encode_slots(slots: &[InterestSlot], wanted: bool, into: &mut Vec<u8>) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(3)?.u8(SLOTS)?.bool(wanted)?.array(slots.len() as u64)?;
        slots.iter().try_for_each(|slot| encoder.u32(slot.get()).map(|_| ()))
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// Shapes that are used, or are not.
pub(super) fn encode_shapes(shapes: &[Shape], used: bool, into: &mut Vec<u8>) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(3)?.u8(SHAPES)?.bool(used)?.array(shapes.len() as u64)?;
        shapes.iter().try_for_each(|shape| match *shape {
            Shape::Prefix(length) => encoder.array(1)?.u64(length as u64).map(|_| ()),
            Shape::Wildcard { components, open } => {
                let components = encoder.array(2)?.u64(components as u64)?;
                components.bytes(&open.to_be_bytes()).map(|_| ())
            }
        })
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// The writes of the bucket that were read up to this revision are known here.
pub(super) fn encode_read(revision: u64, into: &mut Vec<u8>) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(2)?.u8(READ)?.u64(revision)?;
        Ok(())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

pub(super) fn encode_complete(into: &mut Vec<u8>) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(1)?.u8(COMPLETE)?;
        Ok(())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, realm, topic, publication, publisher, excluded or null, lists or null, details,
/// payload, time, kept or null]`
pub(super) fn encode_event(event: &Elsewhere, payload: &PayloadBuf, into: &mut Vec<u8>) {
    make_room(payload, into);
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(11)?.u8(EVENT)?.str(event.realm.name())?.str(&event.topic)?;
        encoder.u64(event.publication.get())?.u64(event.publisher.get())?;
        write_audience(encoder, &event.audience)?;
        write_dict(encoder, &event.details)?;
        write_payload(encoder, payload)?;
        encoder.i64(event.at.unix_us())?;
        match &event.kept {
            Some(kept) => write_kept(encoder, kept.stamp, kept.publisher.as_deref()),
            None => encoder.null().map(|_| ()),
        }
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// For an entry with a payload, whose bytes are then not moved while it grows.
fn make_room(payload: &PayloadBuf, into: &mut Vec<u8>) {
    /// What realms, URIs, ids and details take, as a rule.
    const BESIDES_PAYLOAD: usize = 160;
    into.reserve(payload.as_payload().weight() + BESIDES_PAYLOAD);
}

/// Excluded session or null, lists or null.
fn write_audience(encoder: &mut Encoder<&mut Vec<u8>>, audience: &Audience) -> Written {
    match audience.excluded {
        Some(excluded) => encoder.u64(excluded.get())?,
        None => encoder.null()?,
    };
    match &audience.lists {
        Some(lists) => write_dict(encoder, &lists.filter().to_dict()),
        None => encoder.null().map(|_| ()),
    }
}

/// `[time, node or null]`
fn write_stamp(encoder: &mut Encoder<&mut Vec<u8>>, stamp: Stamp) -> Written {
    encoder.array(2)?.i64(stamp.at.unix_us())?;
    match stamp.node {
        Some(node) => encoder.u8(node.get())?,
        None => encoder.null()?,
    };
    Ok(())
}

/// `[stamp, authid or null, authrole or null]`
fn write_kept(
    encoder: &mut Encoder<&mut Vec<u8>>,
    stamp: Stamp,
    publisher: Option<&Publisher>,
) -> Written {
    write_stamp(encoder.array(3)?, stamp)?;
    match publisher {
        Some(Publisher { authid, authrole }) => encoder.str(authid)?.str(authrole)?,
        None => encoder.null()?.null()?,
    };
    Ok(())
}

/// A dict as bytes of its own: an empty one, which is the rule, is one byte.
fn write_dict(encoder: &mut Encoder<&mut Vec<u8>>, dict: &Dict) -> Written {
    if dict.is_empty() {
        return encoder.bytes(&[]).map(|_| ());
    }
    let bytes = codec::encode_value(Codec::Cbor, &Value::Dict(dict.clone()));
    encoder.bytes(&bytes.expect("CBOR expresses every value")).map(|_| ())
}

/// `[serializer, args, kwargs or null]` as the publisher sent them; null for no payload.
fn write_payload(encoder: &mut Encoder<&mut Vec<u8>>, payload: &PayloadBuf) -> Written {
    let transcoded;
    let mut payload = payload.as_payload();
    if let Payload::Values { .. } = payload {
        transcoded = codec::transcode(payload, Codec::Cbor).expect("CBOR expresses every value");
        payload = transcoded.as_payload();
    }
    let Payload::Raw { codec, args, kwargs } = payload else {
        return encoder.null().map(|_| ());
    };
    encoder.array(3)?.u8(number_of(codec))?.bytes(args)?;
    match kwargs {
        Some(kwargs) => encoder.bytes(kwargs)?,
        None => encoder.null()?,
    };
    Ok(())
}

impl Entry {
    /// The next of the entries that `decoder` stands before; `None` at the end. `interest` says
    /// which slots there are.
    pub fn decode(
        decoder: &mut Decoder<'_>,
        interest: &Interest,
    ) -> Result<Option<Self>, Unreadable> {
        if decoder.position() == decoder.input().len() {
            return Ok(None);
        }
        let fields = decoder.array()?.ok_or(Unreadable)?;
        let (kind, least) = (decoder.u8()?, |count| fields.checked_sub(count).ok_or(Unreadable));
        let (entry, more) = match kind {
            SLOTS => (read_slots(decoder, interest)?, least(3)?),
            SHAPES => (read_shapes(decoder)?, least(3)?),
            COMPLETE => (Self::Complete, least(1)?),
            READ => (Self::Read(decoder.u64()?), least(2)?),
            EVENT => (Self::Event(Box::new(read_event(decoder)?)), least(11)?),
            calls::INVOKE..=calls::REVOCATION => calls::read(kind, fields, decoder)?,
            questions::ASK | questions::PART => questions::read(kind, fields, decoder)?,
            rosters::LISTEN..=rosters::META => rosters::read(kind, fields, decoder)?,
            kind => copies::read(kind, fields, decoder)?,
        };
        for _ in 0..more {
            decoder.skip()?;
        }
        Ok(Some(entry))
    }
}

fn read_slots(decoder: &mut Decoder<'_>, interest: &Interest) -> Result<Entry, Unreadable> {
    let wanted = decoder.bool()?;
    let count = decoder.array()?.ok_or(Unreadable)?;
    let slot = |decoder: &mut Decoder<'_>| interest.slot_at(decoder.u32().ok()?).ok_or(()).ok();
    let slots = (0..count).map(|_| slot(decoder)).collect::<Option<_>>().ok_or(Unreadable)?;
    Ok(Entry::Slots { slots, wanted })
}

fn read_shapes(decoder: &mut Decoder<'_>) -> Result<Entry, Unreadable> {
    let used = decoder.bool()?;
    let count = decoder.array()?.ok_or(Unreadable)?;
    let shapes = (0..count).map(|_| read_shape(decoder)).collect::<Result<_, _>>()?;
    Ok(Entry::Shapes { shapes, used })
}

fn read_shape(decoder: &mut Decoder<'_>) -> Result<Shape, Unreadable> {
    let fields = decoder.array()?.ok_or(Unreadable)?;
    let length = usize::try_from(decoder.u64()?).map_err(|_| Unreadable)?;
    let shape = match fields {
        1 => Shape::Prefix(length),
        2 => {
            let open = decoder.bytes()?.try_into().map_err(|_| Unreadable)?;
            Shape::Wildcard { components: length, open: u128::from_be_bytes(open) }
        }
        _ => return Err(Unreadable),
    };
    if shape.is_possible() { Ok(shape) } else { Err(Unreadable) }
}

fn read_event(decoder: &mut Decoder<'_>) -> Result<ForeignEvent, Unreadable> {
    let (realm, topic) = (decoder.str()?.into(), decoder.str()?.into());
    let publication = PublicationId::new(decoder.u64()?).ok_or(Unreadable)?;
    let publisher = SessionId::new(decoder.u64()?).ok_or(Unreadable)?;
    let (audience, details) = (read_audience(decoder)?, read_dict(decoder)?);
    let (payload, at) = (read_payload(decoder)?, read_time(decoder)?);
    let kept = if is_null(decoder)? { None } else { Some(read_kept(decoder)?) };
    Ok(ForeignEvent { realm, topic, publication, publisher, audience, details, payload, at, kept })
}

fn read_audience(decoder: &mut Decoder<'_>) -> Result<Audience, Unreadable> {
    let excluded = match is_null(decoder)? {
        true => None,
        false => Some(SessionId::new(decoder.u64()?).ok_or(Unreadable)?),
    };
    let filter = match is_null(decoder)? {
        true => None,
        false => {
            let filter = ReceiverFilter::from_dict(read_dict(decoder)?).ok_or(Unreadable)?;
            Some(Box::new(filter))
        }
    };
    Ok(Audience::new(excluded, filter))
}

/// A time of the calendar that leaves room for later ones: stamps of this node rise from those
/// that it has heard of.
fn read_time(decoder: &mut Decoder<'_>) -> Result<Timestamp, Unreadable> {
    let time = decoder.i64()?;
    let is_possible = (0..LATEST_US).contains(&time);
    if is_possible { Ok(Timestamp::from_unix_us(time)) } else { Err(Unreadable) }
}

fn read_stamp(decoder: &mut Decoder<'_>) -> Result<Stamp, Unreadable> {
    if decoder.array()? != Some(2) {
        return Err(Unreadable);
    }
    let at = read_time(decoder)?;
    let node = match is_null(decoder)? {
        true => None,
        false => Some(NodeNumber::new(decoder.u8()?).ok_or(Unreadable)?),
    };
    Ok(Stamp { at, node })
}

fn read_kept(decoder: &mut Decoder<'_>) -> Result<Kept, Unreadable> {
    if decoder.array()? != Some(3) {
        return Err(Unreadable);
    }
    let stamp = read_stamp(decoder)?;
    if is_null(decoder)? {
        decoder.null()?;
        return Ok(Kept { stamp, publisher: None });
    }
    let (authid, authrole) = (decoder.str()?.into(), decoder.str()?.into());
    Ok(Kept { stamp, publisher: Some(Arc::new(Publisher { authid, authrole })) })
}

/// Whether null comes, which is taken.
fn is_null(decoder: &mut Decoder<'_>) -> Result<bool, Unreadable> {
    let is_null = decoder.datatype()? == Type::Null;
    if is_null {
        decoder.null()?;
    }
    Ok(is_null)
}

fn read_dict(decoder: &mut Decoder<'_>) -> Result<Dict, Unreadable> {
    match decoder.bytes()? {
        [] => Ok(Dict::new()),
        bytes => match codec::decode_value(Codec::Cbor, bytes) {
            Ok(Value::Dict(dict)) => Ok(dict),
            _ => Err(Unreadable),
        },
    }
}

fn read_payload(decoder: &mut Decoder<'_>) -> Result<PayloadBuf, Unreadable> {
    if is_null(decoder)? {
        return Ok(PayloadBuf::Empty);
    }
    if decoder.array()? != Some(3) {
        return Err(Unreadable);
    }
    let number = decoder.u8()?;
    let is_it = |codec: &Codec| number_of(*codec) == number;
    let codec = Codec::ALL.into_iter().find(is_it).ok_or(Unreadable)?;
    let args = decoder.bytes()?;
    let kwargs = if is_null(decoder)? { None } else { Some(decoder.bytes()?) };
    Ok(Payload::Raw { codec, args, kwargs }.to_buf())
}

/// Skips what later versions have behind the known fields of a list.
fn skip(decoder: &mut Decoder<'_>, fields: u64, known: u64) -> Result<(), Unreadable> {
    for _ in 0..fields.checked_sub(known).ok_or(Unreadable)? {
        decoder.skip()?;
    }
    Ok(())
}

/// How a serializer is named between nodes.
const fn number_of(codec: Codec) -> u8 {
    match codec {
        Codec::Json => 0,
        Codec::MsgPack => 1,
        Codec::Cbor => 2,
    }
}

const SLOTS: u8 = 0;
const SHAPES: u8 = 1;
const COMPLETE: u8 = 2;
const EVENT: u8 = 3;
const READ: u8 = 12;

/// The year 3000.
const LATEST_US: i64 = 32_503_680_000_000_000;

const TAKES_ALL: &str = "a vector takes all";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::HashSeed;
    use crate::router::{HeldCount, NodeIds, Nodes, Numbering, RealmSettings, Router, Settings};
    use crate::shard::{Carried, KeptAs};

    fn interest() -> Interest {
        let node = NodeNumber::new(3).expect("7 bits");
        Interest::new(NodeIds::new(node, 42), 8, &HashSeed::new(1))
    }

    pub(super) fn decode_all(bytes: &[u8]) -> Result<Vec<Entry>, Unreadable> {
        let (mut decoder, interest) = (Decoder::new(bytes), interest());
        let mut entries = Vec::new();
        while let Some(entry) = Entry::decode(&mut decoder, &interest)? {
            entries.push(entry);
        }
        Ok(entries)
    }

    fn event(audience: Audience, details: Dict, payload: PayloadBuf) -> Vec<u8> {
        let stamp = Stamp { at: Timestamp::from_unix_us(7), node: NodeNumber::new(3) };
        let publisher = Publisher { authid: "joe".into(), authrole: "user".into() };
        let publisher = audience.excluded.map(|_| Arc::new(publisher));
        let kept = KeptAs { stamp, publisher, numbering: Numbering::Retained(1) };
        let realms = vec![RealmSettings::named("realm1")];
        let router = Router::new(Settings::default(), realms, 1, HashSeed::new(1));
        let message = Elsewhere {
            nodes: Nodes::default(),
            realm: router.realm("realm1").expect("it is configured"),
            topic: "com.x".into(),
            publication: PublicationId::new(7).expect("in range"),
            publisher: SessionId::new(8).expect("in range"),
            audience,
            at: Timestamp::from_unix_us(1_714_564_800_123_456),
            kept: (!details.is_empty()).then(|| Box::new(kept)),
            details,
        };
        let carried = Carried::publication(message, payload, &Arc::<HeldCount>::default());
        let mut bytes = Vec::new();
        encode_event(&carried.message, &carried.payload, &mut bytes);
        bytes
    }

    /// Entries lie behind each other, and each is read as it was written.
    #[test]
    fn entries_are_read_as_they_were_written() {
        let slots: Vec<_> =
            [0, 23, 255].into_iter().filter_map(|n| interest().slot_at(n)).collect();
        let shapes = [Shape::Prefix(4), Shape::Wildcard { components: 3, open: 0b010 << 125 }];
        let filter = ReceiverFilter {
            exclude: Some(vec![SessionId::new(1).expect("in range")]),
            eligible_authrole: Some(vec!["r".into()]),
            ..ReceiverFilter::default()
        };
        let audience = Audience::new(SessionId::new(9), Some(Box::new(filter)));
        let details: Dict = vec![("trustlevel".into(), 3.into())];
        let (args, kwargs) = (vec![1.into(), Value::Null], vec![("k".into(), "v".into())]);
        let payload = PayloadBuf::Values { args, kwargs };
        let mut bytes = Vec::new();
        encode_slots(&slots, true, &mut bytes);
        encode_shapes(&shapes, false, &mut bytes);
        encode_complete(&mut bytes);
        bytes.extend(event(audience.clone(), details.clone(), payload));
        bytes.extend(event(Audience::default(), Dict::new(), PayloadBuf::Empty));
        let entries = decode_all(&bytes).expect("they can be read");
        let [slots_read, shapes_read, Entry::Complete, Entry::Event(full), Entry::Event(empty)] =
            &entries[..]
        else {
            panic!("{entries:?}")
        };
        assert!(matches!(slots_read, Entry::Slots { slots: read, wanted: true } if *read == slots));
        let is_same = |read: &[Shape]| *read == shapes;
        assert!(matches!(shapes_read, Entry::Shapes { shapes, used: false } if is_same(shapes)));
        assert_eq!((&*full.realm, &*full.topic), ("realm1", "com.x"));
        assert_eq!((full.publication.get(), full.publisher.get()), (7, 8));
        assert_eq!((&full.audience, &full.details), (&audience, &details));
        let Payload::Raw { codec: Codec::Cbor, args, kwargs } = full.payload.as_payload() else {
            panic!("{:?}", full.payload)
        };
        assert_eq!(
            (args, kwargs),
            (&[0x82, 1, 0xf6][..], Some(&[0xa1, 0x61, b'k', 0x61, b'v'][..]))
        );
        let kept = full.kept.as_ref().expect("it is to be kept");
        let publisher = kept.publisher.as_ref().expect("it is known");
        assert_eq!((&*publisher.authid, &*publisher.authrole), ("joe", "user"));
        assert_eq!(kept.stamp.node, NodeNumber::new(3));
        assert_eq!((full.at, kept.stamp.at.unix_us()), (empty.at, 7));
        assert_eq!((full.at.unix_us(), empty.kept.as_ref()), (1_714_564_800_123_456, None));
        assert_eq!(empty.audience, Audience::default());
        assert!(empty.details.is_empty() && matches!(empty.payload, PayloadBuf::Empty));
    }

    /// What a later version appends is skipped; what it does not know ends the link.
    #[test]
    fn later_fields_are_skipped_and_strange_entries_refused() {
        let later = [0x83, COMPLETE, 0x61, b'x', 0xf6, 0x81, COMPLETE];
        assert_eq!(decode_all(&later).map(|entries| entries.len()), Ok(2));
        for strange in [
            &[0x81, 200][..],
            &[0x82, SLOTS, 0xf5],
            &[0x83, SLOTS, 0xf5, 0x81, 0x19, 0x01, 0x00],
            &[0x83, SHAPES, 0xf5, 0x81, 0x82, 0x18, 129, 0x50],
            &[0x80],
            &[0x61, b'x'],
        ] {
            assert!(decode_all(strange).is_err(), "{strange:x?}");
        }
        let mut impossible = Vec::new();
        let open = u128::MAX;
        encode_shapes(&[Shape::Wildcard { components: 2, open }], true, &mut impossible);
        assert!(decode_all(&impossible).is_err(), "two components are open at most");
    }

    proptest! {
        /// Whatever the bytes are, they are entries or an error, and no panic.
        #[test]
        fn any_bytes_are_entries_or_none(
            kind in 0..4_u8,
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = decode_all(&bytes);
            let mut entry = vec![0x80 | 11, kind];
            entry.extend(&bytes);
            let _ = decode_all(&entry);
        }
    }
}
