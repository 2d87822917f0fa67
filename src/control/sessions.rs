//! The sessions of a router, open and closed, as operators ask for them.

use std::cmp::Reverse;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::ask;
use crate::address::Address;
use crate::net::View;
use crate::net::mesh::Look;
use crate::router::{Closed, EndReason, OpenSession, Profile, ShardId, Slot, Traffic};
use crate::wamp::SessionId;

/// Which sessions are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    realm: Option<String>,
    authid: Option<String>,
    authrole: Option<String>,
    /// What stands in its id, its authid or its address.
    search: Option<String>,
    /// Of closed sessions: why they ended, with the rule of a transport or without.
    reason: Option<String>,
    sort: Sort,
    /// Up to [`MOST_SHOWN`].
    limit: usize,
}

/// Which open sessions come first.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    /// Who has most bytes waiting.
    #[default]
    Pending,
    /// Whose oldest byte has waited longest.
    Oldest,
    /// Who has sent most messages.
    Messages,
    /// Who has got most bytes.
    Sent,
    /// Who has been there longest.
    Age,
}

impl Default for Filter {
    fn default() -> Self {
        let (realm, authid, authrole, search, reason) = Default::default();
        Self { realm, authid, authrole, search, reason, sort: Sort::default(), limit: SHOWN }
    }
}

impl Filter {
    fn admits(&self, session: SessionId, realm: &str, profile: &Profile, peer: Address) -> bool {
        let fits = |wanted: &Option<String>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == value)
        };
        fits(&self.realm, realm)
            && fits(&self.authid, &profile.authid)
            && fits(&self.authrole, &profile.authrole)
            && self.search.as_ref().is_none_or(|part| {
                profile.authid.contains(part.as_str())
                    || session.get().to_string().contains(part.as_str())
                    || peer.to_string().contains(part.as_str())
            })
    }

    fn limit(&self) -> usize {
        self.limit.min(MOST_SHOWN)
    }
}

/// The open sessions that come first in the order asked for. A shard that does not answer in time
/// is named instead.
pub(super) async fn open(view: &View, filter: &Filter) -> Value {
    open_until(view, filter, ask::list_ends()).await
}

async fn open_until(view: &View, filter: &Filter, until: Instant) -> Value {
    let (mut best, mut count, mut unanswered) = (Vec::new(), 0, Vec::new());
    for shard in 0..view.pulses().len() {
        let shard = ShardId(u8::try_from(shard).expect("shards are counted in 8 bits"));
        let mut from = Some(Slot::new(0));
        while let Some(slot) = from {
            let Some((sessions, next)) = page(view, shard, slot, until).await else {
                unanswered.push(shard.0);
                break;
            };
            let admitted = sessions
                .into_iter()
                .filter(|it| filter.admits(it.session, &it.realm, &it.profile, it.peer));
            let before = best.len();
            best.extend(admitted.map(|session| (shard, session)));
            count += best.len() - before;
            keep_best(&mut best, filter);
            from = next;
        }
    }
    let rows: Vec<_> = best.iter().map(|(shard, session)| open_row(*shard, session)).collect();
    json!({ "count": count, "sessions": rows, "unanswered_shards": unanswered })
}

async fn page(
    view: &View,
    shard: ShardId,
    from: Slot,
    until: Instant,
) -> Option<(Vec<OpenSession>, Option<Slot>)> {
    let now = Instant::now();
    if now >= until {
        return None;
    }
    let (said, heard) = oneshot::channel();
    let answer = Box::new(move |sessions, next| {
        // Whoever asked may have gone.
        let _ = said.send((sessions, next));
    });
    view.look(shard, Look { from, most: PAGE_SLOTS, answer });
    timeout_at(until.min(now + PATIENCE), heard).await.ok()?.ok()
}

fn keep_best(sessions: &mut Vec<(ShardId, OpenSession)>, filter: &Filter) {
    sessions.sort_by_key(|(_, session)| {
        let rank = match filter.sort {
            Sort::Pending => session.pending_bytes as u64,
            Sort::Oldest => session.oldest_ms,
            Sort::Messages => session.traffic.messages_received,
            Sort::Sent => session.traffic.bytes_sent,
            Sort::Age => session.age_ms,
        };
        (Reverse(rank), session.session)
    });
    sessions.truncate(filter.limit());
}

/// The last sessions that have ended, the latest first.
pub(super) fn closed(view: &View, filter: &Filter) -> Value {
    let is_wanted = |closed: &Closed| {
        let reason = filter.reason.as_deref();
        filter.admits(closed.session, &closed.realm, &closed.profile, closed.peer)
            && reason.is_none_or(|it| it == closed.reason.label() || it == closed.reason.as_str())
    };
    let shards = view.router().closed().iter().zip(0u8..);
    let mut last: Vec<(u8, Closed)> = shards
        .flat_map(|(shard, number)| {
            let last = shard.last(filter.limit(), is_wanted);
            last.into_iter().map(move |closed| (number, closed))
        })
        .collect();
    last.sort_by_key(|(_, closed)| Reverse(closed.ended));
    last.truncate(filter.limit());
    let rows: Vec<_> = last.iter().map(|(shard, closed)| closed_row(*shard, closed)).collect();
    json!({ "sessions": rows })
}

/// The reasons for which sessions end, and how many have ended for each.
pub(super) fn reasons(view: &View) -> Value {
    let mut counts = [0; EndReason::LABELS.len()];
    for shard in view.router().closed() {
        counts.iter_mut().zip(shard.counts()).for_each(|(sum, count)| *sum += count);
    }
    let count = |reason| {
        let mut counted = EndReason::LABELS.iter().zip(counts);
        counted.find(|(label, _)| **label == reason).map(|(_, count)| count)
    };
    let rows = EndReason::TABLE.iter().map(|(reason, side, when)| {
        let when = when.concat();
        json!({
            "reason": reason,
            "closed_by": side.as_str(),
            "when": when.trim(),
            "count": count(*reason),
        })
    });
    json!({ "reasons": rows.collect::<Vec<_>>() })
}

fn open_row(shard: ShardId, open: &OpenSession) -> Value {
    let mut row = row(open.session, &open.realm, &open.profile, open.peer, open.traffic);
    row["shard"] = shard.0.into();
    row["age_ms"] = open.age_ms.into();
    row["pending_bytes"] = open.pending_bytes.into();
    row["refused_bytes"] = open.refused_bytes.into();
    row["oldest_ms"] = open.oldest_ms.into();
    row["subscriptions"] = open.subscriptions.into();
    row["registrations"] = open.registrations.into();
    row["calls"] = open.calls.into();
    row["invocations"] = open.invocations.into();
    row
}

pub(super) fn closed_row(shard: u8, closed: &Closed) -> Value {
    let mut row = row(closed.session, &closed.realm, &closed.profile, closed.peer, closed.traffic);
    row["shard"] = shard.into();
    row["reason"] = closed.reason.as_str().into();
    row["closed_by"] = closed.reason.closed_by().as_str().into();
    row["ended"] = closed.ended.to_string().into();
    row["duration_ms"] = closed.duration_ms.into();
    row["pending_bytes"] = closed.pending_bytes.into();
    row
}

/// What is said of every session.
fn row(
    session: SessionId,
    realm: &str,
    profile: &Profile,
    peer: Address,
    traffic: Traffic,
) -> Value {
    json!({
        "session": session.get(),
        "realm": realm,
        "authid": &*profile.authid,
        "authrole": &*profile.authrole,
        "authmethod": profile.authmethod,
        "peer": peer.to_string(),
        "transport": profile.transport,
        "serializer": profile.serializer,
        "messages_received": traffic.messages_received,
        "bytes_received": traffic.bytes_received,
        "bytes_sent": traffic.bytes_sent,
        "events_dropped": traffic.events_dropped,
    })
}

/// Sessions that are shown if nothing else is asked for, and at most.
const SHOWN: usize = 100;
const MOST_SHOWN: usize = 1_000;

/// Slots that a shard looks at in one step.
const PAGE_SLOTS: usize = 256;

/// How long a shard may take to show a page.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::net::Server;

    /// However slowly shards answer, the list comes: without those whose pages came too late.
    #[test]
    fn a_list_ends() {
        let config = Config { shards: 2, listeners: Vec::new(), ..Config::default() };
        let server = Server::start(&config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (view, filter) = (server.view(), Filter::default());
            let cut = open_until(&view, &filter, Instant::now()).await;
            assert_eq!(cut, json!({ "count": 0, "sessions": [], "unanswered_shards": [0, 1] }));
            let whole = open(&view, &filter).await;
            assert_eq!(whole, json!({ "count": 0, "sessions": [], "unanswered_shards": [] }));
        });
        server.stop().unwrap();
    }
}
