//! What nodes say to each other of questions of the meta API.
//!
//! The node that asks numbers its questions, and both name each by that number.

use std::sync::Arc;

use minicbor::{Decoder, Encoder};

use super::super::numbers::{POLICIES, number_of};
use super::{Entry, TAKES_ALL, Unreadable, Written, is_null, read_dict, write_dict};
use crate::router::{Described, Listing};
use crate::shard::{Absent, Finding, LastWords, MOST_ROLES, Question, Roles, Whom};
use crate::wamp::{MatchPolicy, SessionId, SubscriptionId, Timestamp};

/// `[kind, number, realm, question]`
pub(in crate::cluster) fn encode_ask(
    number: u64,
    realm: &str,
    question: &Question,
    into: &mut Vec<u8>,
) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(4)?.u8(ASK)?.u64(number)?.str(realm)?;
        write_question(encoder, question)
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[kind, number, finding, whether it is the last]`
pub(in crate::cluster) fn encode_part(
    number: u64,
    finding: &Finding,
    is_last: bool,
    into: &mut Vec<u8>,
) {
    let write = |encoder: &mut Encoder<&mut Vec<u8>>| -> Written {
        encoder.array(4)?.u8(PART)?.u64(number)?;
        write_finding(encoder, finding)?;
        encoder.bool(is_last).map(|_| ())
    };
    write(&mut Encoder::new(into)).expect(TAKES_ALL);
}

/// `[what, ..]`
fn write_question(encoder: &mut Encoder<&mut Vec<u8>>, question: &Question) -> Written {
    match question {
        Question::CountSessions { roles } => {
            write_roles(encoder.array(2)?.u8(COUNT_SESSIONS)?, roles)
        }
        Question::ListSessions { roles } => {
            write_roles(encoder.array(2)?.u8(LIST_SESSIONS)?, roles)
        }
        Question::GetSession(session) => {
            encoder.array(2)?.u8(GET_SESSION)?.u64(session.get()).map(|_| ())
        }
        Question::KillSession { session, words } => {
            write_words(encoder.array(4)?.u8(KILL_SESSION)?.u64(session.get())?, words)
        }
        Question::KillSessions { whom, caller, words } => {
            let encoder = encoder.array(6)?.u8(KILL_SESSIONS)?;
            match whom {
                Whom::All => encoder.u8(ALL)?.null()?,
                Whom::Authid(authid) => encoder.u8(AUTHID)?.str(authid)?,
                Whom::Authrole(authrole) => encoder.u8(AUTHROLE)?.str(authrole)?,
            };
            write_words(encoder.u64(caller.get())?, words)
        }
        Question::ListSubscriptions => encoder.array(1)?.u8(LIST_SUBSCRIPTIONS).map(|_| ()),
        Question::LookUpSubscription { uri, policy } => {
            let encoder = encoder.array(3)?.u8(LOOK_UP_SUBSCRIPTION)?.str(uri)?;
            encoder.u8(number_of(&POLICIES, *policy)).map(|_| ())
        }
        Question::MatchSubscriptions { uri } => {
            encoder.array(2)?.u8(MATCH_SUBSCRIPTIONS)?.str(uri).map(|_| ())
        }
        Question::GetSubscription(id) => {
            encoder.array(2)?.u8(GET_SUBSCRIPTION)?.u64(id.get()).map(|_| ())
        }
        Question::CountSubscribers(id) => {
            encoder.array(2)?.u8(COUNT_SUBSCRIBERS)?.u64(id.get()).map(|_| ())
        }
        Question::ListSubscribers(id) => {
            encoder.array(2)?.u8(LIST_SUBSCRIBERS)?.u64(id.get()).map(|_| ())
        }
        Question::RemoveSubscriber { subscription, session, reason } => {
            encoder.array(4)?.u8(REMOVE_SUBSCRIBER)?.u64(subscription.get())?;
            encoder.u64(session.get())?.encode(reason.as_deref()).map(|_| ())
        }
    }
}

/// The authroles, in their order, or null.
fn write_roles(encoder: &mut Encoder<&mut Vec<u8>>, roles: &Roles) -> Written {
    let Some(roles) = roles else { return encoder.null().map(|_| ()) };
    encoder.array(roles.len() as u64)?;
    roles.iter().try_for_each(|role| encoder.str(role).map(|_| ()))
}

/// Reason, message
fn write_words(encoder: &mut Encoder<&mut Vec<u8>>, words: &LastWords) -> Written {
    encoder.str(&words.reason)?.str(&words.message).map(|_| ())
}

/// `[what, ..]`
fn write_finding(encoder: &mut Encoder<&mut Vec<u8>>, finding: &Finding) -> Written {
    match finding {
        Finding::Count(count) => encoder.array(2)?.u8(COUNT)?.encode(count).map(|_| ()),
        Finding::Sessions(sessions) => {
            let encoder = encoder.array(2)?.u8(SESSIONS)?;
            match sessions {
                Some(sessions) => write_ids(encoder, sessions),
                None => encoder.null().map(|_| ()),
            }
        }
        Finding::Session(details) => {
            let encoder = encoder.array(2)?.u8(SESSION)?;
            match details {
                Some(details) => write_dict(encoder, details),
                None => encoder.null().map(|_| ()),
            }
        }
        Finding::Done(done) => {
            let outcome = match done {
                Ok(()) => OUTCOME_DONE,
                Err(Absent::Session) => OUTCOME_NO_SESSION,
                Err(Absent::Subscription) => OUTCOME_NO_SUBSCRIPTION,
            };
            encoder.array(2)?.u8(DONE)?.u8(outcome).map(|_| ())
        }
        Finding::Subscriptions(Listing { exact, prefix, wildcard }) => {
            encoder.array(4)?.u8(SUBSCRIPTIONS)?;
            [exact, prefix, wildcard].into_iter().try_for_each(|ids| write_ids(encoder, ids))
        }
        Finding::Subscription(found) => {
            let found = found.map(SubscriptionId::get);
            encoder.array(2)?.u8(SUBSCRIPTION)?.encode(found).map(|_| ())
        }
        Finding::Matches(all) => write_ids(encoder.array(2)?.u8(MATCHES)?, all),
        Finding::Described(None) => encoder.array(2)?.u8(DESCRIBED)?.null().map(|_| ()),
        Finding::Described(Some(Described { uri, policy, created, .. })) => {
            let encoder = encoder.array(2)?.u8(DESCRIBED)?.array(3)?.str(uri)?;
            encoder.u8(number_of(&POLICIES, *policy))?.i64(created.unix_us()).map(|_| ())
        }
        Finding::TooMany => encoder.array(1)?.u8(TOO_MANY).map(|_| ()),
        Finding::Unable => encoder.array(1)?.u8(UNABLE).map(|_| ()),
    }
}

fn write_ids<I: Copy + Into<u64>>(encoder: &mut Encoder<&mut Vec<u8>>, ids: &[I]) -> Written {
    encoder.array(ids.len() as u64)?;
    ids.iter().try_for_each(|id| encoder.u64((*id).into()).map(|_| ()))
}

/// The entry of this kind, and how many fields more than these it has.
pub(super) fn read(
    kind: u8,
    fields: u64,
    decoder: &mut Decoder<'_>,
) -> Result<(Entry, u64), Unreadable> {
    let number = decoder.u64()?;
    let entry = if kind == ASK {
        let realm = decoder.str()?.into();
        Entry::Ask { number, realm, question: read_question(decoder)? }
    } else {
        let finding = read_finding(decoder)?;
        Entry::Part { number, finding, is_last: decoder.bool()? }
    };
    Ok((entry, fields.checked_sub(4).ok_or(Unreadable)?))
}

fn read_question(decoder: &mut Decoder<'_>) -> Result<Question, Unreadable> {
    let fields = decoder.array()?.ok_or(Unreadable)?;
    let (question, known) = match decoder.u8()? {
        COUNT_SESSIONS => (Question::CountSessions { roles: read_roles(decoder)? }, 2),
        LIST_SESSIONS => (Question::ListSessions { roles: read_roles(decoder)? }, 2),
        GET_SESSION => (Question::GetSession(read_session(decoder)?), 2),
        KILL_SESSION => {
            let (session, words) = (read_session(decoder)?, read_words(decoder)?);
            (Question::KillSession { session, words }, 4)
        }
        KILL_SESSIONS => {
            let (whom, caller) = (read_whom(decoder)?, read_session(decoder)?);
            (Question::KillSessions { whom, caller, words: read_words(decoder)? }, 6)
        }
        LIST_SUBSCRIPTIONS => (Question::ListSubscriptions, 1),
        LOOK_UP_SUBSCRIPTION => {
            let (uri, policy) = (decoder.str()?.into(), read_policy(decoder)?);
            (Question::LookUpSubscription { uri, policy }, 3)
        }
        MATCH_SUBSCRIPTIONS => (Question::MatchSubscriptions { uri: decoder.str()?.into() }, 2),
        GET_SUBSCRIPTION => (Question::GetSubscription(read_subscription(decoder)?), 2),
        COUNT_SUBSCRIBERS => (Question::CountSubscribers(read_subscription(decoder)?), 2),
        LIST_SUBSCRIBERS => (Question::ListSubscribers(read_subscription(decoder)?), 2),
        REMOVE_SUBSCRIBER => {
            let (subscription, session) = (read_subscription(decoder)?, read_session(decoder)?);
            let reason: Option<&str> = decoder.decode()?;
            let reason = reason.map(Into::into);
            (Question::RemoveSubscriber { subscription, session, reason }, 4)
        }
        _ => return Err(Unreadable),
    };
    super::skip(decoder, fields, known)?;
    Ok(question)
}

/// As whoever asks has sorted them, no more than it may name.
fn read_roles(decoder: &mut Decoder<'_>) -> Result<Roles, Unreadable> {
    if is_null(decoder)? {
        return Ok(None);
    }
    let count = decoder.array()?.filter(|count| *count <= MOST_ROLES as u64).ok_or(Unreadable)?;
    let roles: Result<Arc<[Box<str>]>, Unreadable> =
        (0..count).map(|_| Ok(decoder.str()?.into())).collect();
    let roles = roles?;
    if roles.is_sorted() { Ok(Some(roles)) } else { Err(Unreadable) }
}

fn read_words(decoder: &mut Decoder<'_>) -> Result<LastWords, Unreadable> {
    Ok(LastWords { reason: decoder.str()?.into(), message: decoder.str()?.into() })
}

fn read_whom(decoder: &mut Decoder<'_>) -> Result<Whom, Unreadable> {
    match decoder.u8()? {
        ALL => {
            decoder.null()?;
            Ok(Whom::All)
        }
        AUTHID => Ok(Whom::Authid(decoder.str()?.into())),
        AUTHROLE => Ok(Whom::Authrole(decoder.str()?.into())),
        _ => Err(Unreadable),
    }
}

fn read_finding(decoder: &mut Decoder<'_>) -> Result<Finding, Unreadable> {
    let fields = decoder.array()?.ok_or(Unreadable)?;
    let (finding, known) = match decoder.u8()? {
        COUNT => (Finding::Count(decoder.decode()?), 2),
        SESSIONS if is_null(decoder)? => (Finding::Sessions(None), 2),
        SESSIONS => (Finding::Sessions(Some(read_ids(decoder, SessionId::new)?)), 2),
        SESSION if is_null(decoder)? => (Finding::Session(None), 2),
        SESSION => (Finding::Session(Some(read_dict(decoder)?)), 2),
        DONE => {
            let done = match decoder.u8()? {
                OUTCOME_DONE => Ok(()),
                OUTCOME_NO_SESSION => Err(Absent::Session),
                OUTCOME_NO_SUBSCRIPTION => Err(Absent::Subscription),
                _ => return Err(Unreadable),
            };
            (Finding::Done(done), 2)
        }
        SUBSCRIPTIONS => {
            let mut ids = || read_ids(decoder, SubscriptionId::new);
            let listing = Listing { exact: ids()?, prefix: ids()?, wildcard: ids()? };
            (Finding::Subscriptions(listing), 4)
        }
        SUBSCRIPTION if is_null(decoder)? => (Finding::Subscription(None), 2),
        SUBSCRIPTION => (Finding::Subscription(Some(read_subscription(decoder)?)), 2),
        MATCHES => (Finding::Matches(read_ids(decoder, SubscriptionId::new)?), 2),
        DESCRIBED if is_null(decoder)? => (Finding::Described(None), 2),
        DESCRIBED => (Finding::Described(Some(read_described(decoder)?)), 2),
        TOO_MANY => (Finding::TooMany, 1),
        UNABLE => (Finding::Unable, 1),
        _ => return Err(Unreadable),
    };
    super::skip(decoder, fields, known)?;
    Ok(finding)
}

fn read_described(decoder: &mut Decoder<'_>) -> Result<Described, Unreadable> {
    let fields = decoder.array()?.ok_or(Unreadable)?;
    let (uri, policy) = (decoder.str()?.into(), read_policy(decoder)?);
    let created = Timestamp::from_unix_us(decoder.i64()?);
    super::skip(decoder, fields, 3)?;
    Ok(Described { uri, policy, invoke: None, created })
}

fn read_ids<I>(
    decoder: &mut Decoder<'_>,
    id: impl Fn(u64) -> Option<I>,
) -> Result<Vec<I>, Unreadable> {
    let count = decoder.array()?.ok_or(Unreadable)?;
    (0..count).map(|_| id(decoder.u64()?).ok_or(Unreadable)).collect()
}

fn read_session(decoder: &mut Decoder<'_>) -> Result<SessionId, Unreadable> {
    SessionId::new(decoder.u64()?).ok_or(Unreadable)
}

fn read_subscription(decoder: &mut Decoder<'_>) -> Result<SubscriptionId, Unreadable> {
    SubscriptionId::new(decoder.u64()?).ok_or(Unreadable)
}

fn read_policy(decoder: &mut Decoder<'_>) -> Result<MatchPolicy, Unreadable> {
    POLICIES.get(usize::from(decoder.u8()?)).copied().ok_or(Unreadable)
}

pub(super) const ASK: u8 = 13;
pub(super) const PART: u8 = 14;

const COUNT_SESSIONS: u8 = 0;
const LIST_SESSIONS: u8 = 1;
const GET_SESSION: u8 = 2;
const KILL_SESSION: u8 = 3;
const KILL_SESSIONS: u8 = 4;
const LIST_SUBSCRIPTIONS: u8 = 5;
const LOOK_UP_SUBSCRIPTION: u8 = 6;
const MATCH_SUBSCRIPTIONS: u8 = 7;
const GET_SUBSCRIPTION: u8 = 8;
const COUNT_SUBSCRIBERS: u8 = 9;
const LIST_SUBSCRIBERS: u8 = 10;
const REMOVE_SUBSCRIBER: u8 = 11;

const ALL: u8 = 0;
const AUTHID: u8 = 1;
const AUTHROLE: u8 = 2;

const COUNT: u8 = 0;
const SESSIONS: u8 = 1;
const SESSION: u8 = 2;
const DONE: u8 = 3;
const SUBSCRIPTIONS: u8 = 4;
const SUBSCRIPTION: u8 = 5;
const MATCHES: u8 = 6;
const DESCRIBED: u8 = 7;
const TOO_MANY: u8 = 8;
const UNABLE: u8 = 9;

const OUTCOME_DONE: u8 = 0;
const OUTCOME_NO_SESSION: u8 = 1;
const OUTCOME_NO_SUBSCRIPTION: u8 = 2;

#[cfg(test)]
mod tests;
