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
#[derive(Clone, Debug, PartialEq)]
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
    /// This node is none of the cluster just now, so nobody is asked. Comes alone.
    Alone,
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
            Word::Alone => 0,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::question::{LastWords, Whom};
    use super::*;
    use crate::wamp::{MatchPolicy, Timestamp};

    fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<SubscriptionId> {
        ids.into_iter().map(|id| SubscriptionId::new(id).expect("an id")).collect()
    }

    fn sessions(ids: &[u64]) -> Finding {
        let id = |id: &u64| SessionId::new(*id).expect("an id");
        Finding::Sessions(Some(ids.iter().map(id).collect()))
    }

    fn described(created_ms: i64) -> Finding {
        let (uri, policy) = ("com.x".into(), MatchPolicy::Exact);
        let created = Timestamp::from_unix_ms(created_ms);
        Finding::Described(Some(Described { uri, policy, invoke: None, created }))
    }

    /// One of each kind, with something that may be found of it.
    fn questions() -> Vec<(Question, Finding)> {
        let (session, id) = (SessionId::new(7).expect("an id"), ids([7])[0]);
        let words = LastWords { reason: "com.x".into(), message: "".into() };
        let (uri, policy): (Arc<str>, _) = ("com.x".into(), MatchPolicy::Exact);
        let kill = |whom| Question::KillSessions { whom, caller: session, words: words.clone() };
        let removal = Question::RemoveSubscriber { subscription: id, session, reason: None };
        let all = Listing { exact: ids([7]), prefix: ids([8, 9]), wildcard: Vec::new() };
        vec![
            (Question::CountSessions { roles: None }, Finding::Count(Some(2))),
            (Question::ListSessions { roles: None }, sessions(&[3, 4])),
            (Question::GetSession(session), Finding::Session(Some(Dict::new()))),
            (Question::KillSession { session, words: words.clone() }, Finding::Done(Ok(()))),
            (kill(Whom::All), Finding::Count(Some(2))),
            (kill(Whom::Authid("joe".into())), sessions(&[3])),
            (Question::ListSubscriptions, Finding::Subscriptions(all)),
            (
                Question::LookUpSubscription { uri: Arc::clone(&uri), policy },
                Finding::Subscription(Some(id)),
            ),
            (Question::MatchSubscriptions { uri }, Finding::Matches(ids([7]))),
            (Question::GetSubscription(id), described(1)),
            (Question::CountSubscribers(id), Finding::Count(Some(2))),
            (Question::ListSubscribers(id), sessions(&[3])),
            (removal, Finding::Done(Ok(()))),
        ]
    }

    /// Whoever has nothing changes nothing, and what is asked decides what is an answer.
    #[test]
    fn a_part_is_of_the_kind_that_is_asked_for() {
        for (question, something) in questions() {
            let (mut first, mut last) = (Finding::nothing(&question), Finding::nothing(&question));
            assert_eq!(first.merge(something.clone(), 9), Ok(()));
            assert_eq!(last.merge(Finding::nothing(&question), 9), Ok(()));
            assert_eq!(last, Finding::nothing(&question));
            assert_eq!(first.merge(last, 9), Ok(()));
            assert_eq!(first, something, "{question:?}");
            for (other, wrong) in questions() {
                let is_alike = Finding::nothing(&other) == Finding::nothing(&question)
                    || mem::discriminant(&wrong) == mem::discriminant(&something);
                let merged = first.merge(wrong, 9);
                assert_eq!(merged.is_ok(), is_alike, "{other:?} for {question:?}");
                first = something.clone();
            }
            assert_eq!(first.merge(Finding::Unable, 9), Err(Malformed));
            assert_eq!(first, something);
        }
    }

    #[test]
    fn the_order_of_parts_does_not_count() {
        let merged = |parts: [Finding; 3], question: &Question| {
            let mut all = Finding::nothing(question);
            parts.into_iter().for_each(|part| assert_eq!(all.merge(part, 5), Ok(())));
            all.put_in_order();
            all
        };
        let question = Question::GetSubscription(ids([7])[0]);
        let created = |at: [i64; 3]| merged(at.map(described), &question);
        assert_eq!(created([2, 1, 3]), described(1));
        assert_eq!(created([1, 3, 2]), described(1));
        let question = Question::ListSessions { roles: None };
        let parts = || [sessions(&[9, 2]), sessions(&[2]), sessions(&[5])];
        let [a, b, c] = parts();
        assert_eq!(merged([c, a, b], &question), sessions(&[2, 5, 9]));
        assert_eq!(merged(parts(), &question), sessions(&[2, 5, 9]));
        let [a, b, _] = parts();
        assert_eq!(merged([a, Finding::TooMany, b], &question), Finding::TooMany);
        let [a, b, _] = parts();
        assert_eq!(merged([a, sessions(&[1, 2, 3, 4]), b], &question), Finding::TooMany);
    }

    /// Whatever is long goes in parts that may be, and comes together again.
    #[test]
    fn parts_make_the_whole() {
        let most = MOST_IN_PART as u64;
        for [exact, prefix, wildcard] in [[0, 0, 0], [most, 1, 0], [3, 2 * most + 1, most]] {
            let lists = [1..=exact, 1..=prefix, 1..=wildcard].map(ids);
            let [exact, prefix, wildcard] = lists;
            let mut whole = Finding::Subscriptions(Listing { exact, prefix, wildcard });
            let parts = whole.clone().into_parts();
            assert_eq!(parts.len(), whole.listed().div_ceil(MOST_IN_PART).max(1));
            let mut again = Finding::nothing(&Question::ListSubscriptions);
            for part in parts {
                assert!(part.is_sound(0));
                assert_eq!(again.merge(part, usize::MAX), Ok(()));
            }
            again.put_in_order();
            whole.put_in_order();
            assert_eq!(again, whole);
        }
    }
}
