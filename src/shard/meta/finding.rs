//! What has been found of a [`Question`] in one place, and how that of several places becomes one
//! answer. Pure: who is asked, and who does not answer, is `polls`' concern.

use std::mem;

use super::super::requests::Refusal;
use super::history::TOO_MANY_QUESTIONS;
use super::question::Question;
use super::sessions::NO_SUCH_SESSION;
use super::subscriptions::NO_SUCH_SUBSCRIPTION;
use super::{TOO_MANY_ITEMS, details_of, listing};
use crate::router::{Described, Listing, NodeName, NodeNumber};
use crate::wamp::{Dict, SessionId, SubscriptionId, Value, dict_heap_bytes, heap_block, vec_block};

/// What one shard, or one node, has found.
#[derive(Debug, PartialEq)]
pub enum Finding {
    /// How many sessions; `None`: no subscription has the id.
    Count(Option<u64>),
    /// Which sessions; `None`: no subscription has the id.
    Sessions(Option<Vec<SessionId>>),
    /// What is known of a session.
    Session(Option<Dict>),
    /// What was to be done to one session is done, or who is not there.
    Done(Result<(), Absent>),
    Subscriptions(Listing<SubscriptionId>),
    /// The one of a pattern.
    Subscription(Option<SubscriptionId>),
    /// Those that match a topic.
    Matches(Vec<SubscriptionId>),
    Described(Option<Described>),
    /// More than one answer lists (`limits.meta_list_items`).
    TooMany,
    /// There was no room to look.
    Unable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    Session,
    Subscription,
}

/// What another node has found, or a piece of it: on its way to who has asked.
#[derive(Debug)]
pub struct Part {
    /// That of the [`Ask`](super::Ask).
    pub ticket: u64,
    pub finding: Finding,
    /// Nothing follows.
    pub is_last: bool,
}

/// What the way to other nodes says of a question of this node.
#[derive(Debug)]
pub struct Reply {
    /// That of the [`Ask`](super::Ask).
    pub ticket: u64,
    pub word: Word,
}

#[derive(Debug)]
pub enum Word {
    /// These nodes are asked. Comes first.
    Asked(Vec<(NodeNumber, NodeName)>),
    /// What one of them has found, or a piece of it, in the order in which it was sent.
    Found { node: NodeNumber, finding: Finding, is_last: bool },
    /// These will not answer.
    Missing(Vec<NodeNumber>),
}

/// A part that is no answer to the question, or is larger than a part may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Finding {
    /// What is found of a question where there is nothing.
    pub(super) fn nothing(question: &Question) -> Self {
        match question {
            Question::CountSessions { .. } => Self::Count(Some(0)),
            Question::ListSessions { .. } => Self::Sessions(Some(Vec::new())),
            Question::GetSession(_) => Self::Session(None),
            Question::KillSession { .. } | Question::RemoveSubscriber { .. } => {
                Self::Done(Err(Absent::Session))
            }
            Question::KillSessions { whom, .. } if whom.wants_names() => {
                Self::Sessions(Some(Vec::new()))
            }
            Question::KillSessions { .. } => Self::Count(Some(0)),
            Question::ListSubscriptions => Self::Subscriptions(Listing::default()),
            Question::LookUpSubscription { .. } => Self::Subscription(None),
            Question::MatchSubscriptions { .. } => Self::Matches(Vec::new()),
            Question::GetSubscription(_) => Self::Described(None),
            Question::CountSubscribers(_) => Self::Count(None),
            Question::ListSubscribers(_) => Self::Sessions(None),
        }
    }

    /// Adds what was found elsewhere. Of more than `most` ids none are kept.
    ///
    /// # Errors
    /// If that is no answer to the same question; nothing is changed then.
    pub(super) fn merge(&mut self, part: Self, most: usize) -> Result<(), Malformed> {
        match (&mut *self, part) {
            (Self::TooMany, _) => {}
            (Self::Sessions(_) | Self::Subscriptions(_) | Self::Matches(_), Self::TooMany) => {
                *self = Self::TooMany;
            }
            (Self::Count(sum), Self::Count(more)) => {
                *sum = match (*sum, more) {
                    (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                    (sum, more) => sum.or(more),
                };
            }
            (Self::Sessions(all), Self::Sessions(more)) => match (all, more) {
                (Some(all), Some(more)) => join(all, more),
                (all @ None, more) => *all = more,
                (Some(_), None) => {}
            },
            (Self::Session(found), Self::Session(more)) => *found = found.take().or(more),
            (Self::Done(done), Self::Done(more)) => match (*done, more) {
                (Ok(()), _) | (_, Err(Absent::Session)) => {}
                (_, more) => *done = more,
            },
            (Self::Subscriptions(all), Self::Subscriptions(more)) => {
                join(&mut all.exact, more.exact);
                join(&mut all.prefix, more.prefix);
                join(&mut all.wildcard, more.wildcard);
            }
            (Self::Subscription(found), Self::Subscription(more)) => *found = found.or(more),
            (Self::Matches(all), Self::Matches(more)) => join(all, more),
            (Self::Described(found), Self::Described(Some(more))) => {
                let is_first = found.as_ref().is_none_or(|found| more.created < found.created);
                if is_first {
                    *found = Some(more);
                }
            }
            (Self::Described(_), Self::Described(None)) => {}
            _ => return Err(Malformed),
        }
        if self.listed() > most {
            *self = Self::TooMany;
        }
        Ok(())
    }

    /// Whether it may be a part of another node.
    pub(super) fn is_sound(&self, uri_bytes: usize) -> bool {
        self.listed() <= MOST_IN_PART
            && match self {
                Self::Session(Some(details)) => dict_heap_bytes(details) <= MOST_DETAILS_BYTES,
                Self::Described(Some(described)) => {
                    described.uri.len() <= uri_bytes && described.invoke.is_none()
                }
                _ => true,
            }
    }

    /// Whether what is asked about was not found.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Count(None)
                | Self::Sessions(None)
                | Self::Session(None)
                | Self::Done(Err(_))
                | Self::Described(None)
        )
    }

    /// How many ids it lists.
    pub(super) fn listed(&self) -> usize {
        match self {
            Self::Sessions(Some(sessions)) => sessions.len(),
            Self::Subscriptions(all) => all.len(),
            Self::Matches(all) => all.len(),
            _ => 0,
        }
    }

    /// Brings the ids of several nodes in order, each once.
    pub(super) fn put_in_order(&mut self) {
        match self {
            Self::Sessions(Some(sessions)) => order(sessions),
            Self::Subscriptions(Listing { exact, prefix, wildcard }) => {
                [exact, prefix, wildcard].into_iter().for_each(order);
            }
            Self::Matches(all) => order(all),
            _ => {}
        }
    }

    /// `Arguments` of the RESULT.
    ///
    /// # Errors
    /// If nobody has what is asked about, or there is too much of it.
    pub(super) fn into_args(self, question: &Question) -> Result<Vec<Value>, Refusal> {
        let value = match self {
            Self::Count(count) => count.ok_or(NO_SUCH_SUBSCRIPTION)?.into(),
            Self::Sessions(sessions) => ids(&sessions.ok_or(NO_SUCH_SUBSCRIPTION)?),
            Self::Session(details) => Value::Dict(details.ok_or(NO_SUCH_SESSION)?),
            Self::Done(Ok(())) => return Ok(Vec::new()),
            Self::Done(Err(Absent::Session)) => return Err(NO_SUCH_SESSION),
            Self::Done(Err(Absent::Subscription)) => return Err(NO_SUCH_SUBSCRIPTION),
            Self::Subscriptions(all) => listing(all, |id| id.get()),
            Self::Subscription(found) => found.map_or(Value::Null, |id| id.get().into()),
            Self::Matches(all) if all.is_empty() => Value::Null,
            Self::Matches(all) => ids(&all),
            Self::Described(found) => {
                let found = found.ok_or(NO_SUCH_SUBSCRIPTION)?;
                let Question::GetSubscription(id) = question else {
                    unreachable!("what is found is of the kind that is asked for");
                };
                Value::Dict(details_of(id.get(), found.created, &found.uri, found.policy))
            }
            Self::TooMany => return Err(TOO_MANY_ITEMS),
            Self::Unable => return Err(TOO_MANY_QUESTIONS),
        };
        Ok(vec![value])
    }

    /// The same in parts, none of which lists more than a part may. The last one comes last.
    pub(super) fn into_parts(mut self) -> Vec<Self> {
        let mut parts = Vec::new();
        while self.listed() > MOST_IN_PART {
            parts.push(self.split());
        }
        parts.push(self);
        parts
    }

    /// Takes as many ids out as a part may list.
    fn split(&mut self) -> Self {
        match self {
            Self::Sessions(Some(all)) => Self::Sessions(Some(take(all, MOST_IN_PART))),
            Self::Matches(all) => Self::Matches(take(all, MOST_IN_PART)),
            Self::Subscriptions(all) => {
                let mut left = MOST_IN_PART;
                let [exact, prefix, wildcard] =
                    [&mut all.exact, &mut all.prefix, &mut all.wildcard].map(|ids| {
                        let taken = take(ids, left);
                        left -= taken.len();
                        taken
                    });
                Self::Subscriptions(Listing { exact, prefix, wildcard })
            }
            other => mem::replace(other, Self::TooMany),
        }
    }

    /// Bytes of memory that it owns besides itself.
    pub(in crate::shard) fn heap_bytes(&self) -> usize {
        match self {
            Self::Sessions(Some(sessions)) => vec_block(sessions),
            Self::Session(Some(details)) => dict_heap_bytes(details),
            Self::Subscriptions(all) => {
                vec_block(&all.exact) + vec_block(&all.prefix) + vec_block(&all.wildcard)
            }
            Self::Matches(all) => vec_block(all),
            Self::Described(Some(described)) => heap_block(described.uri.len()),
            _ => 0,
        }
    }
}

impl Part {
    /// Bytes of memory that it takes, in its box.
    pub(in crate::shard) fn weight(&self) -> usize {
        heap_block(size_of::<Self>()) + self.finding.heap_bytes()
    }
}

impl Reply {
    /// Bytes of memory that it takes, in its box.
    pub(in crate::shard) fn weight(&self) -> usize {
        let heap_bytes = match &self.word {
            Word::Asked(nodes) => {
                vec_block(nodes) + nodes.iter().map(|(_, name)| name.heap_bytes()).sum::<usize>()
            }
            Word::Found { finding, .. } => finding.heap_bytes(),
            Word::Missing(nodes) => vec_block(nodes),
        };
        heap_block(size_of::<Self>()) + heap_bytes
    }
}

fn ids<I: Copy + Into<u64>>(ids: &[I]) -> Value {
    Value::List(ids.iter().map(|id| Value::UInt((*id).into())).collect())
}

/// Without a copy of what is long, where one of the two is empty.
fn join<I>(all: &mut Vec<I>, mut more: Vec<I>) {
    if all.is_empty() {
        *all = more;
    } else {
        all.append(&mut more);
    }
}

fn order<I: Ord>(ids: &mut Vec<I>) {
    ids.sort_unstable();
    ids.dedup();
}

/// The last of the ids, in their order.
fn take<I>(ids: &mut Vec<I>, most: usize) -> Vec<I> {
    ids.split_off(ids.len().saturating_sub(most))
}

/// Ids that one part of another node lists at most: 32 KiB.
pub const MOST_IN_PART: usize = 4_096;

/// Bytes of memory of what another node says of a session. What a client says of itself there is
/// its authid, which HELLO brings.
const MOST_DETAILS_BYTES: usize = 64 * 1024;
