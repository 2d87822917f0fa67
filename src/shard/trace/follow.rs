//! What a shard remembers of traced messages for those that follow: what a request was about, for
//! its answers, and who was in a slot, for the last words to a client. Both are bounded, and
//! forget: then a line lacks what it could have said.

use std::collections::VecDeque;
use std::sync::Arc;

use super::filter::Party;
use super::record::cut;
use crate::router::Slot;
use crate::shard::connection::{Connection, Phase};
use crate::shard::timers::Owner;
use crate::wamp::{RequestId, SessionId};

/// Whose request an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The session has made it.
    Own,
    /// The router has: an INVOCATION.
    Invoked,
}

/// A request of which answers are awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) session: SessionId,
    pub(super) side: Side,
    pub(super) request: RequestId,
}

/// The topics and procedures of requests. Two that fall on the same place replace each other.
#[derive(Debug)]
pub(super) struct Followed(Vec<Option<(Key, Arc<str>)>>);

impl Default for Followed {
    fn default() -> Self {
        Self(vec![None; FOLLOWED])
    }
}

impl Followed {
    pub(super) fn note(&mut self, key: Key, uri: &str) {
        self.0[place_of(key)] = Some((key, Arc::from(cut(uri))));
    }

    pub(super) fn get(&self, key: Key) -> Option<&Arc<str>> {
        let found = self.0[place_of(key)].as_ref();
        found.filter(|(other, _)| *other == key).map(|(_, uri)| uri)
    }
}

fn place_of(key: Key) -> usize {
    let mixed = key.session.get() ^ key.request.get() << 1 ^ u64::from(key.side == Side::Invoked);
    (mixed % FOLLOWED as u64) as usize
}

/// Who has left its slot, or is about to get a session: what the connection does not say itself.
#[derive(Debug, Default)]
pub(super) struct Known(VecDeque<Left>);

#[derive(Debug)]
struct Left {
    owner: Owner,
    session: Option<SessionId>,
    realm: Option<Box<str>>,
    authid: Option<Box<str>>,
    authrole: Option<Box<str>>,
}

impl Known {
    pub(super) fn note(&mut self, slot: Slot, generation: u32, party: &Party<'_>) {
        if self.0.len() == KNOWN {
            self.0.pop_front();
        }
        self.0.push_back(Left {
            owner: Owner { slot, generation },
            session: party.session,
            realm: party.realm.map(Into::into),
            authid: party.authid.map(Into::into),
            authrole: party.authrole.map(Into::into),
        });
    }

    /// The client's side of a connection.
    pub(super) fn party<'a>(&'a self, slot: Slot, connection: &'a Connection) -> Party<'a> {
        if let Some(party) = stated(connection) {
            return party;
        }
        let owner = Owner { slot, generation: connection.generation };
        let left = self.0.iter().rev().find(|left| left.owner == owner);
        Party {
            session: left.and_then(|left| left.session),
            realm: left.and_then(|left| left.realm.as_deref()),
            authid: left.and_then(|left| left.authid.as_deref()),
            authrole: left.and_then(|left| left.authrole.as_deref()),
            peer: connection.peer,
        }
    }
}

/// What a connection itself says of its client.
pub(super) fn stated(connection: &Connection) -> Option<Party<'_>> {
    let peer = connection.peer;
    match &connection.phase {
        Phase::Joined(session) => Some(Party {
            session: Some(session.id),
            realm: Some(session.realm.name()),
            authid: Some(&session.profile.authid),
            authrole: Some(&session.profile.authrole),
            peer,
        }),
        Phase::Challenged(applicant) | Phase::Judged(applicant) => Some(Party {
            session: Some(applicant.session),
            realm: Some(applicant.realm.name()),
            authid: Some(applicant.authid()),
            authrole: None,
            peer,
        }),
        _ => None,
    }
}

/// Requests whose topics and procedures are remembered.
const FOLLOWED: usize = 1_024;

/// Clients that are remembered although their connections say nothing of them.
const KNOWN: usize = 256;
