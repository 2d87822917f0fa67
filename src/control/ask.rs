//! Questions to shards, and what to do about those that do not answer.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::net::View;
use crate::net::inquiry::{Answer, Inquiry};
use crate::router::ShardId;
use crate::wamp::SubscriptionId;

/// All shards of a router.
pub(super) fn shards(view: &View) -> impl Iterator<Item = ShardId> + use<> {
    let count = u8::try_from(view.pulses().len()).expect("shards are counted in 8 bits");
    (0..count).map(ShardId)
}

/// What the shards say that have answered before; all of them have [`PATIENCE`] together.
pub(super) async fn ask_all<T: Send + 'static>(
    view: &View,
    unanswered: &mut Vec<u8>,
    inquiry: impl Fn(Answer<T>) -> Inquiry,
) -> Vec<T> {
    let wanted: Vec<_> = shards(view).filter(|shard| !unanswered.contains(&shard.0)).collect();
    let asked: Vec<_> =
        wanted.into_iter().map(|shard| (shard, send(view, shard, &inquiry))).collect();
    let until = Instant::now() + PATIENCE;
    let mut answers = Vec::new();
    for (shard, heard) in asked {
        match timeout_at(until, heard).await {
            Ok(Ok(answer)) => answers.push(answer),
            _ => note(unanswered, shard),
        }
    }
    answers
}

fn send<T: Send + 'static>(
    view: &View,
    shard: ShardId,
    inquiry: impl FnOnce(Answer<T>) -> Inquiry,
) -> oneshot::Receiver<T> {
    let (said, heard) = oneshot::channel();
    let answer = Box::new(move |answer| {
        // Whoever asked may have gone.
        let _ = said.send(answer);
    });
    view.inquire(shard, inquiry(answer));
    heard
}

/// Until when shards may answer what one list asks of them, question by question: others wait for
/// the list, and for its caller's answer.
pub(super) fn list_ends() -> Instant {
    Instant::now() + LIST_PATIENCE
}

/// What a shard says, unless it takes too long; `None` of a list that is to end.
pub(super) async fn ask<T: Send + 'static>(
    view: &View,
    shard: ShardId,
    until: Instant,
    inquiry: impl FnOnce(Answer<T>) -> Inquiry,
) -> Option<T> {
    let now = Instant::now();
    if now >= until {
        return None;
    }
    timeout_at(until.min(now + PATIENCE), send(view, shard, inquiry)).await.ok()?.ok()
}

/// How many receivers subscriptions have, by shard the ids of those that have some there. Asks for
/// [`PAGE`] at a time; a shard that does not answer is added to `unanswered`.
pub(super) async fn receivers(
    view: &View,
    wanted: BTreeMap<ShardId, Vec<SubscriptionId>>,
    until: Instant,
    unanswered: &mut Vec<u8>,
) -> BTreeMap<SubscriptionId, usize> {
    let mut counts: BTreeMap<SubscriptionId, usize> = BTreeMap::new();
    for (shard, mut ids) in wanted {
        if unanswered.contains(&shard.0) {
            continue;
        }
        ids.sort_unstable();
        ids.dedup();
        for page in ids.chunks(PAGE) {
            let page_of = page.to_vec();
            let answered =
                ask(view, shard, until, |answer| Inquiry::Receivers(page_of, answer)).await;
            let Some(answered) = answered else {
                note(unanswered, shard);
                break;
            };
            for (id, count) in page.iter().zip(answered) {
                *counts.entry(*id).or_default() += count;
            }
        }
    }
    counts
}

pub(super) fn note(unanswered: &mut Vec<u8>, shard: ShardId) {
    if !unanswered.contains(&shard.0) {
        unanswered.push(shard.0);
    }
}

/// Subscriptions that a shard looks up in one step.
const PAGE: usize = 256;

/// How long all answers may take that one list is made of.
const LIST_PATIENCE: Duration = Duration::from_secs(10);

/// How long a shard may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
