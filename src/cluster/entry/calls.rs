//! What nodes say to each other of calls whose halves they have.
//!
//! The node of the caller numbers its calls, and both name each by that number.

use std::borrow::Cow;

use minicbor::{Decoder, Encoder};

use super::{
    Entry, TAKES_ALL, Unreadable, Written, is_null, make_room, read_dict, read_payload, skip,
    write_dict, write_payload,
};
use crate::router::Place;
use crate::shard::{CallElsewhere, Outcome};
use crate::wamp::{CancelMode, Dict, PayloadBuf, RegistrationId, SessionId, Value, WampError};

/// A call of another node for a session of this one.
#[derive(Debug)]
pub struct ForeignCall {
    /// Higher than those before it.
    pub number: u64,
    pub realm: Box<str>,
    pub callee: SessionId,
    pub registration: RegistrationId,
    /// The grant of the callee, of which the other node has read.
    pub place: Place,
    /// [`SessionId::ROUTER`]: the other node itself asks.
    pub caller: SessionId,
    pub receive_progress: bool,
    pub takes_passthru: bool,
    pub details: Dict,
    pub payload: PayloadBuf,
}

/// `[kind, number, realm, callee, registration, grant, caller or null, receive_progress,
/// takes_passthru, details, payload]`
pub(in crate::cluster) fn encode_invoke(
    number: u64,
    call: &CallElsewhere,
    payload: &PayloadBuf,
    into: &mut Vec<u8>,
) {
    make_room(payload, into);
    let CallElsewhere { realm, invoke } = call;
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(11)?.u8(INVOKE)?.u64(number)?.str(realm.name())?;
        encoder.u64(invoke.callee.session.get())?.u64(invoke.registration.get())?;
        encoder.u64(invoke.place.grant())?;
        match invoke.call.caller {
            caller if caller.is_router() => encoder.null()?,
            caller => encoder.u64(caller.session.get())?,
        };
        encoder.bool(invoke.receive_progress)?.bool(invoke.takes_passthru)?;
        write_dict(encoder, &invoke.details)?;
        write_payload(encoder, payload)
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, number, details, payload]`
pub(in crate::cluster) fn encode_chunk(
    number: u64,
    details: &Dict,
    payload: &PayloadBuf,
    into: &mut Vec<u8>,
) {
    make_room(payload, into);
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        write_dict(encoder.array(4)?.u8(CHUNK)?.u64(number)?, details)?;
        write_payload(encoder, payload)
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, number, mode]`
pub(in crate::cluster) fn encode_cancel(number: u64, mode: CancelMode, into: &mut Vec<u8>) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(3)?.u8(CANCEL)?.u64(number)?.u8(number_of(mode)).map(|_| ())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, number, outcome, payload]`
pub(in crate::cluster) fn encode_return(
    number: u64,
    outcome: &Outcome,
    payload: &PayloadBuf,
    into: &mut Vec<u8>,
) {
    make_room(payload, into);
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        write_outcome(encoder.array(4)?.u8(RETURN)?.u64(number)?, outcome)?;
        write_payload(encoder, payload)
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, ..]`: details, or URI and details, or URI and sentence, or nothing
fn write_outcome(encoder: &mut Encoder<&mut Vec<u8>>, outcome: &Outcome) -> Written {
    match outcome {
        Outcome::Progress { details } => write_dict(encoder.array(2)?.u8(PROGRESS)?, details),
        Outcome::Result { details } => write_dict(encoder.array(2)?.u8(RESULT)?, details),
        Outcome::Error { error, details } => {
            write_dict(encoder.array(3)?.u8(ERROR)?.str(error)?, details)
        }
        Outcome::Refused { error, message } => {
            encoder.array(3)?.u8(REFUSED)?.str(error.uri())?.str(message).map(|_| ())
        }
        Outcome::Busy => encoder.array(1)?.u8(BUSY).map(|_| ()),
    }
}

/// `[kind, callee, registration, reason or null]`
pub(in crate::cluster) fn encode_revocation(
    callee: SessionId,
    registration: RegistrationId,
    reason: Option<&str>,
    into: &mut Vec<u8>,
) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(4)?.u8(REVOCATION)?.u64(callee.get())?.u64(registration.get())?;
        encoder.encode(reason).map(|_| ())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// The entry of this kind, and how many fields more than these it has.
pub(super) fn read(
    kind: u8,
    fields: u64,
    decoder: &mut Decoder<'_>,
) -> Result<(Entry, u64), Unreadable> {
    let (entry, known) = match kind {
        INVOKE => (Entry::Invoke(Box::new(read_invoke(decoder)?)), 11),
        CHUNK => {
            let (number, details) = (decoder.u64()?, read_dict(decoder)?);
            (Entry::Chunk { number, details, payload: read_payload(decoder)? }, 4)
        }
        CANCEL => (Entry::Cancel { number: decoder.u64()?, mode: read_mode(decoder)? }, 3),
        RETURN => (read_return(decoder)?, 4),
        REVOCATION => (read_revocation(decoder)?, 4),
        _ => return Err(Unreadable),
    };
    Ok((entry, fields.checked_sub(known).ok_or(Unreadable)?))
}

fn read_invoke(decoder: &mut Decoder<'_>) -> Result<ForeignCall, Unreadable> {
    let (number, realm) = (decoder.u64()?, decoder.str()?.into());
    let callee = SessionId::new(decoder.u64()?).ok_or(Unreadable)?;
    let registration = RegistrationId::new(decoder.u64()?).ok_or(Unreadable)?;
    let place = Place::of_grant(decoder.u64()?);
    let caller = match is_null(decoder)? {
        true => SessionId::ROUTER,
        false => SessionId::new(decoder.u64()?).ok_or(Unreadable)?,
    };
    Ok(ForeignCall {
        number,
        realm,
        callee,
        registration,
        place,
        caller,
        receive_progress: decoder.bool()?,
        takes_passthru: decoder.bool()?,
        details: read_dict(decoder)?,
        payload: read_payload(decoder)?,
    })
}

fn read_revocation(decoder: &mut Decoder<'_>) -> Result<Entry, Unreadable> {
    let callee = SessionId::new(decoder.u64()?).ok_or(Unreadable)?;
    let registration = RegistrationId::new(decoder.u64()?).ok_or(Unreadable)?;
    let reason: Option<&str> = decoder.decode()?;
    Ok(Entry::Revocation { callee, registration, reason: reason.map(Into::into) })
}

fn read_mode(decoder: &mut Decoder<'_>) -> Result<CancelMode, Unreadable> {
    let number = decoder.u8()?;
    let is_it = |mode: &CancelMode| number_of(*mode) == number;
    MODES.into_iter().find(is_it).ok_or(Unreadable)
}

fn read_return(decoder: &mut Decoder<'_>) -> Result<Entry, Unreadable> {
    let number = decoder.u64()?;
    let fields = decoder.array()?.ok_or(Unreadable)?;
    let (outcome, known) = match decoder.u8()? {
        PROGRESS => (Outcome::Progress { details: read_dict(decoder)? }, 2),
        RESULT => (Outcome::Result { details: read_dict(decoder)? }, 2),
        ERROR => {
            let (error, details) = (decoder.str()?.into(), read_dict(decoder)?);
            (Outcome::Error { error, details }, 3)
        }
        REFUSED => return read_refused(number, fields, decoder),
        BUSY => (Outcome::Busy, 1),
        _ => return Err(Unreadable),
    };
    skip(decoder, fields, known)?;
    Ok(Entry::Return { number, outcome, payload: read_payload(decoder)? })
}

/// A refusal has no payload. One with an error that only later versions know is passed on as it
/// looks to clients.
fn read_refused(number: u64, fields: u64, decoder: &mut Decoder<'_>) -> Result<Entry, Unreadable> {
    let (uri, sentence) = (decoder.str()?, decoder.str()?);
    skip(decoder, fields, 3)?;
    read_payload(decoder)?;
    if let Some(error) = WampError::of_uri(uri) {
        let outcome = Outcome::Refused { error, message: Cow::Owned(sentence.to_owned()) };
        return Ok(Entry::Return { number, outcome, payload: PayloadBuf::Empty });
    }
    let outcome = Outcome::Error { error: uri.into(), details: Dict::new() };
    let payload = PayloadBuf::Values { args: vec![Value::from(sentence)], kwargs: Dict::new() };
    Ok(Entry::Return { number, outcome, payload })
}

/// How a mode is named between nodes.
const fn number_of(mode: CancelMode) -> u8 {
    match mode {
        CancelMode::Skip => 0,
        CancelMode::Kill => 1,
        CancelMode::KillNoWait => 2,
    }
}

const MODES: [CancelMode; 3] = [CancelMode::Skip, CancelMode::Kill, CancelMode::KillNoWait];

/// The first kind of an entry about calls, and the last.
pub(super) const INVOKE: u8 = 20;
const CHUNK: u8 = 21;
const CANCEL: u8 = 22;
const RETURN: u8 = 23;
pub(super) const REVOCATION: u8 = 24;

const PROGRESS: u8 = 0;
const RESULT: u8 = 1;
const ERROR: u8 = 2;
const REFUSED: u8 = 3;
const BUSY: u8 = 4;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::tests::decode_all;
    use super::*;
    use crate::hash::HashSeed;
    use crate::router::{RealmSettings, Router, SessionRef, Settings, ShardId, Slot};
    use crate::session::CallRef;
    use crate::shard::Invoke;
    use crate::wamp::{Payload, RequestId};

    fn invoke(caller: SessionId, details: Dict, payload: &PayloadBuf) -> Vec<u8> {
        let realms = vec![RealmSettings::named("realm1")];
        let router = Router::new(Settings::default(), realms, 1, HashSeed::new(1));
        let at = |session| SessionRef { session, slot: Slot::new(0), shard: ShardId::CLUSTER };
        let request = RequestId::new(9).expect("in range");
        let call = CallElsewhere {
            realm: router.realm("realm1").expect("it is configured"),
            invoke: Invoke {
                call: CallRef { caller: at(caller), request, serial: 3 },
                callee: at(SessionId::new(6).expect("in range")),
                registration: RegistrationId::new(7).expect("in range"),
                place: Place::of_grant(10),
                details,
                is_continuation: false,
                receive_progress: true,
                takes_passthru: false,
                load: None,
            },
        };
        let mut bytes = Vec::new();
        encode_invoke(1 << 60, &call, payload, &mut bytes);
        bytes
    }

    fn payload() -> PayloadBuf {
        PayloadBuf::Values { args: vec![1.into(), "x".into()], kwargs: Dict::new() }
    }

    fn details() -> Dict {
        vec![("timeout".into(), 5.into())]
    }

    fn args_of(payload: &PayloadBuf) -> &[u8] {
        let Payload::Raw { args, .. } = payload.as_payload() else { panic!("{payload:?}") };
        args
    }

    #[test]
    fn calls_are_read_as_they_were_written() {
        let caller = SessionId::new(8).expect("in range");
        let mut bytes = invoke(caller, details(), &payload());
        bytes.extend(invoke(SessionId::ROUTER, Dict::new(), &PayloadBuf::Empty));
        encode_chunk(2, &details(), &payload(), &mut bytes);
        MODES.into_iter().for_each(|mode| encode_cancel(3, mode, &mut bytes));
        let (callee, registration) =
            (SessionId::new(5).expect("in range"), RegistrationId::new(4).expect("in range"));
        for reason in [None, Some("for a reason")] {
            let mut bytes = Vec::new();
            encode_revocation(callee, registration, reason, &mut bytes);
            let read = decode_all(&bytes).expect("it can be read");
            let [Entry::Revocation { callee: of, registration: it, reason: why }] = &read[..]
            else {
                panic!("{read:?}")
            };
            assert_eq!((*of, *it, why.as_deref()), (callee, registration, reason));
        }
        let entries = decode_all(&bytes).expect("they can be read");
        let [Entry::Invoke(call), Entry::Invoke(question), Entry::Chunk { .. }, cancels @ ..] =
            &entries[..]
        else {
            panic!("{entries:?}")
        };
        assert_eq!((call.number, &*call.realm), (1 << 60, "realm1"));
        assert_eq!((call.callee.get(), call.registration.get(), call.caller), (6, 7, caller));
        assert_eq!(call.place.grant(), 10);
        assert_eq!((call.receive_progress, call.takes_passthru), (true, false));
        assert_eq!(
            (&call.details, args_of(&call.payload)),
            (&details(), &[0x82, 1, 0x61, b'x'][..])
        );
        assert_eq!(question.caller, SessionId::ROUTER);
        assert!(question.details.is_empty() && matches!(question.payload, PayloadBuf::Empty));
        let Entry::Chunk { number: 2, details: read, payload: sent } = &entries[2] else {
            panic!("{entries:?}")
        };
        assert_eq!((read, args_of(sent)), (&details(), &[0x82, 1, 0x61, b'x'][..]));
        let modes = cancels.iter().map(|entry| match entry {
            Entry::Cancel { number: 3, mode } => *mode,
            other => panic!("{other:?}"),
        });
        assert!(modes.eq(MODES));
    }

    fn returned(outcome: &Outcome, payload: &PayloadBuf) -> (Outcome, PayloadBuf) {
        let mut bytes = Vec::new();
        encode_return(4, outcome, payload, &mut bytes);
        let mut entries = decode_all(&bytes).expect("it can be read");
        match entries.pop() {
            Some(Entry::Return { number: 4, outcome, payload }) => (outcome, payload),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_are_read_as_they_were_written() {
        let details = details();
        let (read, sent) = returned(&Outcome::Progress { details: details.clone() }, &payload());
        assert!(matches!(read, Outcome::Progress { details: read } if read == details));
        assert_eq!(args_of(&sent).len(), 4);
        let (read, _) = returned(&Outcome::Result { details: details.clone() }, &payload());
        assert!(matches!(read, Outcome::Result { details: read } if read == details));
        let error = Outcome::Error { error: "com.error".into(), details: Dict::new() };
        let (read, sent) = returned(&error, &payload());
        assert!(matches!(read, Outcome::Error { error, .. } if &*error == "com.error"));
        assert_eq!(args_of(&sent).len(), 4);
        let (read, _) = returned(&Outcome::Busy, &PayloadBuf::Empty);
        assert!(matches!(read, Outcome::Busy));
        let refused: Outcome = (WampError::Canceled, "the sentence").into();
        let (read, _) = returned(&refused, &PayloadBuf::Empty);
        let is_same = |message: &str| message == "the sentence";
        assert!(matches!(read, Outcome::Refused { error: WampError::Canceled, message }
            if is_same(&message)));
    }

    /// What only a later version knows is skipped, or passed on; what is no answer ends the link.
    #[test]
    fn later_fields_are_skipped_and_strange_calls_refused() {
        let later = [
            &[0x84, CANCEL, 5, 0, 0x61, b'x'][..],
            &[0x86, RETURN, 1, 0x83, RESULT, 0x40, 7, 0xf6, 0xf6, 0xf6],
            &[0x84, RETURN, 1, 0x82, BUSY, 7, 0xf6],
            &[0x84, RETURN, 1, 0x83, REFUSED, 0x61, b'u', 0x61, b's', 0xf6],
        ];
        let entries = decode_all(&later.concat()).expect("they can be read");
        let [.., Entry::Return { outcome: Outcome::Error { error, .. }, payload: said, .. }] =
            &entries[..]
        else {
            panic!("{entries:?}")
        };
        assert_eq!((entries.len(), &**error), (4, "u"));
        let Payload::Values { args, .. } = said.as_payload() else { panic!("{said:?}") };
        assert_eq!(args, [Value::from("s")]);
        for strange in [
            &[0x83, CANCEL, 5, 3][..],
            &[0x82, CANCEL, 5],
            &[0x84, RETURN, 1, 0x81, 5, 0xf6],
            &[0x84, RETURN, 1, 0x81, RESULT, 0xf6],
            &[0x84, RETURN, 1, 0x82, RESULT, 0x41, 0x01, 0xf6],
            &[0x83, RETURN, 1, 0x81, BUSY],
            &[0x84, CHUNK, 1, 0x40],
            &[0x81, INVOKE],
        ] {
            assert!(decode_all(strange).is_err(), "{strange:x?}");
        }
        let whole = invoke(SessionId::ROUTER, details(), &payload());
        for length in 1..whole.len() {
            assert!(decode_all(&whole[..length]).is_err(), "{length} of {}", whole.len());
        }
    }

    /// A refusal that came from another node counts the bytes of its sentence.
    #[test]
    fn what_was_read_is_counted() {
        use crate::router::{HeldCount, Weighed};
        use crate::shard::{Carried, Mail, Return};
        let weight = |outcome: Outcome| {
            let at = SessionRef::router(ShardId(0));
            let request = RequestId::new(9).expect("in range");
            let call = CallRef { caller: at, request, serial: 0 };
            let answer = Return { call, outcome };
            let count = Arc::<HeldCount>::default();
            Mail::Return(Box::new(Carried::answer(answer, PayloadBuf::Empty, &count))).weight()
        };
        let refused: Outcome = (WampError::Canceled, "x").into();
        let message = Cow::Owned("x".repeat(1_000));
        let read = Outcome::Refused { error: WampError::Canceled, message };
        assert!(weight(read) >= weight(refused) + 1_000);
    }

    proptest! {
        /// Whatever the bytes are, they are entries or an error, and no panic.
        #[test]
        fn any_bytes_are_calls_or_none(
            kind in INVOKE..=REVOCATION + 1,
            fields in 0..12_u8,
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut entry = vec![0x80 | fields, kind];
            entry.extend(&bytes);
            let _ = decode_all(&entry);
        }
    }
}
