//! One session: who joined, what it holds, and which requests are pending on either side.
//!
//! Owned by one shard and touched by no other thread. Decides nothing about routing.

mod calls;
mod expiry;
mod permissions;
mod registrations;
mod request_ids;
mod rulings;
mod testaments;

use std::sync::Arc;

use crate::authentication::Interest;
use crate::clock::Millis;
use crate::hash::{HashSeed, Map};
use crate::router::{
    ClientName, Domain, Horizon, Identity, Profile, Realm, RealmRules, RequestIdCheck,
};
use crate::wamp::{Call, RequestId, Roles, SessionId, SubscriptionId};

pub use calls::{
    Answered, CallExtra, CallRef, EndedUploads, Invocations, PendingCall, PendingInvocation,
    Rerouting, Upload,
};
pub use expiry::Expiry;
pub use permissions::{Decided, Deciding, Denied, Permissions, Ruled};
pub use registrations::{
    Claim, ClaimId, Claimed, Farewell, Grant, RegisteredPattern, Registrations, Retired,
};
pub use request_ids::{RequestIds, SequenceError};
pub use testaments::{Scope, Testament, Testaments};

/// A session from WELCOME to its end.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub realm: Arc<Realm>,
    /// Those of the realm that hold for this session.
    pub rules: Arc<RealmRules>,
    pub roles: Roles,
    pub profile: Arc<Profile>,
    pub joined: Millis,
    /// As which client it was counted when it joined.
    pub client: ClientName,
    pub request_ids: RequestIds,
    /// Its requests may overtake each other on their way (TR-LP-06).
    pub is_unordered: bool,
    pub subscriptions: Map<SubscriptionId, Membership>,
    pub registrations: Registrations,
    /// Calls of this session as a caller: each ends exactly once (BP-CALL-03).
    pub calls: Map<RequestId, PendingCall>,
    /// Bytes that are kept for `calls`, by [`CallExtra::kept_bytes`].
    pub kept_bytes: usize,
    /// The [`PendingCall::serial`] of the last call.
    pub last_call: u32,
    /// Only for callers that send progressive calls.
    pub ended_uploads: Option<Box<EndedUploads>>,
    /// Invocations of this session as a callee.
    pub invocations: Invocations,
    /// What is published when it ends.
    pub testaments: Option<Box<Testaments>>,
    pub permissions: Permissions,
    /// What a reload has left to be done with it.
    pub outdated: Option<Box<Outdated>>,
    /// Only of those who joined by a token.
    pub expiry: Option<Box<Expiry>>,
    /// The call of the management API that it waits for.
    pub managing: Option<Box<Managing>>,
}

/// A call of the management API under way.
#[derive(Debug)]
pub struct Managing {
    pub request: RequestId,
    /// When nobody waits for its answer any more.
    pub deadline: Millis,
    /// Whoever answers it learns by this that its caller has left.
    pub interest: Interest,
}

/// What a reload has changed for a session, until its shard has seen to it.
#[derive(Debug)]
pub enum Outdated {
    /// It has no right to be here, has no permissions any more, and is to be ended.
    Unwelcome(Removed),
    /// It may do something else than these permitted: what it holds is to be compared.
    Permissions(Permissions),
}

/// What was removed, so that a session may not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    Realm,
    Role,
    User,
}

impl Removed {
    /// For the client.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Realm => "this realm was removed from the router",
            Self::Role => "the role of this session was removed from the realm",
            Self::User => "the realm does not know this user, or not with this role, any more",
        }
    }
}

/// A subscription of this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Where the session stands in the subscription's receiver list.
    pub position: u32,
    pub horizon: Horizon,
}

impl Session {
    pub fn new(
        id: SessionId,
        Domain { realm, rules }: Domain,
        roles: Roles,
        profile: Arc<Profile>,
        joined: Millis,
        seed: HashSeed,
    ) -> Self {
        let state = seed.state();
        let permissions = Permissions::new(&rules, &profile.authrole);
        Self {
            permissions,
            id,
            realm,
            rules,
            roles,
            profile,
            joined,
            client: ClientName::default(),
            request_ids: RequestIds::default(),
            is_unordered: false,
            subscriptions: Map::with_hasher(state.clone()),
            registrations: Registrations::new(Map::with_hasher(state.clone())),
            calls: Map::with_hasher(state.clone()),
            kept_bytes: 0,
            last_call: 0,
            ended_uploads: None,
            invocations: Invocations::new(state),
            testaments: None,
            outdated: None,
            expiry: None,
            managing: None,
        }
    }

    /// How the ids of its requests are checked where this is how those of others are.
    #[inline]
    pub const fn request_id_check(&self, configured: RequestIdCheck) -> RequestIdCheck {
        if self.is_unordered { RequestIdCheck::Off } else { configured }
    }

    /// A call has ended with its first message: if it is progressive, what follows is late.
    pub fn expect_late_chunks(&mut self, call: &Call<'_>) {
        if call.options.progress {
            self.ended_uploads.get_or_insert_default().insert(call.request);
        }
    }

    /// What the lists of a publication may name this session by.
    pub fn identity(&self) -> Identity<'_> {
        let Profile { authid, authrole, .. } = &*self.profile;
        Identity { session: self.id, authid, authrole }
    }
}
