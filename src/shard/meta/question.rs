//! What is asked about the sessions and subscriptions of a realm: here, and in a cluster on every
//! other node as well. Its arguments are checked, and whoever asks may ask it.

use std::sync::Arc;

use crate::router::{EndReason, Member, ShardId};
use crate::wamp::{MatchPolicy, SessionId, SubscriptionId, heap_block};

/// A question of the meta API whose answer one node alone does not have.
#[derive(Clone, Debug)]
pub enum Question {
    CountSessions {
        roles: Roles,
    },
    ListSessions {
        roles: Roles,
    },
    GetSession(SessionId),
    KillSession {
        session: SessionId,
        words: LastWords,
    },
    /// Ends all of a kind but for the caller's own.
    KillSessions {
        whom: Whom,
        caller: SessionId,
        words: LastWords,
    },
    ListSubscriptions,
    LookUpSubscription {
        uri: Arc<str>,
        policy: MatchPolicy,
    },
    MatchSubscriptions {
        uri: Arc<str>,
    },
    GetSubscription(SubscriptionId),
    CountSubscribers(SubscriptionId),
    ListSubscribers(SubscriptionId),
    RemoveSubscriber {
        subscription: SubscriptionId,
        session: SessionId,
        reason: Option<Arc<str>>,
    },
}

/// The authroles of the sessions that are meant, sorted; `None`: all sessions.
pub type Roles = Option<Arc<[Box<str>]>>;

/// Which sessions are to be ended.
#[derive(Clone, Debug)]
pub enum Whom {
    All,
    Authid(Arc<str>),
    Authrole(Arc<str>),
}

/// The reason and the message of a GOODBYE.
#[derive(Clone, Debug)]
pub struct LastWords {
    pub reason: Arc<str>,
    pub message: Arc<str>,
}

/// A [`Question`] on its way: to other nodes, or from one of them.
#[derive(Debug)]
pub struct Ask {
    /// Who is to get the answer; [`ShardId::CLUSTER`]: another node.
    pub asker: ShardId,
    /// Names the question at the asker.
    pub ticket: u64,
    /// The name of the realm.
    pub realm: Arc<str>,
    pub question: Question,
}

impl Question {
    /// The session that it is about, if it is for the node alone where that lives.
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::GetSession(session)
            | Self::KillSession { session, .. }
            | Self::RemoveSubscriber { session, .. } => Some(*session),
            _ => None,
        }
    }

    /// Whether its answer is gathered in pieces, or by several shards.
    pub(super) const fn is_long(&self) -> bool {
        match self {
            Self::CountSessions { roles } => roles.is_some(),
            Self::ListSessions { .. }
            | Self::KillSessions { .. }
            | Self::ListSubscriptions
            | Self::CountSubscribers(_)
            | Self::ListSubscribers(_) => true,
            _ => false,
        }
    }

    /// Bytes of memory that it owns besides itself.
    pub(in crate::shard) fn heap_bytes(&self) -> usize {
        match self {
            Self::CountSessions { roles } | Self::ListSessions { roles } => roles_heap_bytes(roles),
            Self::KillSession { words, .. } => words.heap_bytes(),
            Self::KillSessions { whom, words, .. } => whom.heap_bytes() + words.heap_bytes(),
            Self::LookUpSubscription { uri, .. } | Self::MatchSubscriptions { uri } => {
                heap_block(ARC_BYTES + uri.len())
            }
            Self::RemoveSubscriber { reason: Some(reason), .. } => {
                heap_block(ARC_BYTES + reason.len())
            }
            _ => 0,
        }
    }
}

impl Whom {
    pub(super) fn includes(&self, member: &Member) -> bool {
        match self {
            Self::All => true,
            Self::Authid(authid) => **authid == *member.profile.authid,
            Self::Authrole(authrole) => **authrole == *member.profile.authrole,
        }
    }

    /// Why the sessions end.
    pub(super) const fn end(&self) -> EndReason {
        match self {
            Self::All => EndReason::KilledWithAll,
            Self::Authid(_) | Self::Authrole(_) => EndReason::Killed,
        }
    }

    /// Whether the answer names them; otherwise it counts them (AP-SMA-02).
    pub(super) const fn wants_names(&self) -> bool {
        matches!(self, Self::Authid(_))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Authid(text) | Self::Authrole(text) => heap_block(ARC_BYTES + text.len()),
        }
    }
}

impl LastWords {
    pub(super) fn heap_bytes(&self) -> usize {
        heap_block(ARC_BYTES + self.reason.len()) + heap_block(ARC_BYTES + self.message.len())
    }
}

impl Ask {
    /// Bytes of memory that it takes, in its box.
    pub(in crate::shard) fn weight(&self) -> usize {
        heap_block(size_of::<Self>()) + self.question.heap_bytes()
    }
}

/// Bytes of memory that a filter owns.
pub(super) fn roles_heap_bytes(roles: &Roles) -> usize {
    let Some(roles) = roles else { return 0 };
    let texts = roles.iter().map(|role| heap_block(role.len())).sum::<usize>();
    heap_block(ARC_BYTES + size_of_val(&**roles)) + texts
}

/// The counts of an `Arc`.
const ARC_BYTES: usize = 2 * size_of::<usize>();
