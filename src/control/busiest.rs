//! The busiest topics and procedures, as operators ask for them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::subscribers::Popular;
use super::{ask, subscribers};
use crate::net::View;
use crate::net::inquiry::Inquiry;
use crate::router::{Busiest, Busyness, Fanouts, Rate, SPAN_SECONDS, ShardId};
use crate::wamp::{MatchPolicy, SubscriptionId};

/// Which topics are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TopicFilter {
    realm: Option<String>,
    sort: Sort,
    /// Up to [`MOST_SHOWN`].
    limit: usize,
}

/// Which procedures are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProcedureFilter {
    realm: Option<String>,
    /// Up to [`MOST_SHOWN`].
    limit: usize,
}

/// Which topics come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    /// To which most is published.
    #[default]
    Rate,
    /// Of which most events are delivered.
    Events,
    /// Which have most subscribers: by subscription, whether something is published or not.
    Subscribers,
}

impl Default for TopicFilter {
    fn default() -> Self {
        Self { realm: None, sort: Sort::default(), limit: SHOWN }
    }
}

impl Default for ProcedureFilter {
    fn default() -> Self {
        Self { realm: None, limit: SHOWN }
    }
}

/// A URI, and how often it came in one sense or two.
struct Row {
    realm: Arc<str>,
    uri: Arc<str>,
    is_cut: bool,
    first: Rate,
    second: Rate,
}

/// What the shards have said.
struct Survey {
    busiest: Busiest,
    since_seconds: f64,
}

pub(super) async fn topics(view: &View, filter: &TopicFilter) -> Value {
    let mut unanswered = Vec::new();
    let publications = survey(view, Busyness::Publications, &mut unanswered).await;
    let events = survey(view, Busyness::Events, &mut unanswered).await;
    let (leads, other) = match filter.sort {
        Sort::Events => (&events.busiest, &publications.busiest),
        _ => (&publications.busiest, &events.busiest),
    };
    let said = Said { publications: &publications, events: &events };
    if filter.sort == Sort::Subscribers {
        return most_subscribed(view, filter, &said, unanswered).await;
    }
    let rows = best(leads, other, filter.realm.as_deref(), filter.limit);
    let counts = all_subscribers(view, &rows, &mut unanswered).await;
    let rows = rows.iter().zip(counts).map(|(row, subscribers)| {
        let (published, delivered) = match filter.sort {
            Sort::Events => (row.second, row.first),
            _ => (row.first, row.second),
        };
        let mut json = row.json(published);
        put_traffic(&mut json, published, delivered);
        json["subscribers"] = subscribers.map_or(Value::Null, Into::into);
        json
    });
    said.page(leads.unlisted(), rows.collect(), &unanswered)
}

/// What the shards have said of topics.
struct Said<'a> {
    publications: &'a Survey,
    events: &'a Survey,
}

impl Said<'_> {
    fn page(&self, unlisted_rate: f64, topics: Vec<Value>, unanswered: &[u8]) -> Value {
        json!({
            "since_seconds": self.publications.since_seconds,
            "rate_seconds": SPAN_SECONDS,
            "unlisted_rate": unlisted_rate,
            "topics": topics,
            "unanswered_shards": unanswered,
        })
    }
}

/// The subscriptions with most subscribers. What is published under a pattern nobody knows.
async fn most_subscribed(
    view: &View,
    filter: &TopicFilter,
    said: &Said<'_>,
    mut unanswered: Vec<u8>,
) -> Value {
    let most = filter.limit.min(MOST_SHOWN);
    let ranking = subscribers::rank(view, filter.realm.as_deref(), most, &mut unanswered).await;
    let rows = ranking.best.iter().map(|subscription| {
        let Popular { realm, uri, is_cut, policy, subscribers, .. } = subscription;
        let mut json = json!({
            "realm": &**realm,
            "uri": &**uri,
            "match": policy,
            "is_cut": is_cut,
            "subscribers": subscribers.0,
        });
        if *policy == MatchPolicy::Exact.as_str() {
            let topic = Arc::from(&**uri);
            let of = |survey: &Survey| survey.busiest.get(realm, &topic);
            put_traffic(&mut json, of(said.publications), of(said.events));
        }
        json
    });
    let unlisted = said.publications.busiest.unlisted();
    let mut page = said.page(unlisted, rows.collect(), &unanswered);
    page["looked_at"] = ranking.looked_at.into();
    page["is_complete"] = (ranking.is_complete && unanswered.is_empty()).into();
    page
}

/// How often something is published to a topic, and delivered of it.
fn put_traffic(row: &mut Value, published: Rate, delivered: Rate) {
    row["rate"] = known(published, published.rate);
    row["rate_at_least"] = published.at_least.into();
    row["rate_at_most"] = published.at_most.into();
    row["publications"] = known(published, rounded(published.total));
    row["events"] = known(delivered, rounded(delivered.total));
    row["event_rate"] = known(delivered, delivered.rate);
}

pub(super) async fn procedures(view: &View, filter: &ProcedureFilter) -> Value {
    let mut unanswered = Vec::new();
    let calls = survey(view, Busyness::Calls, &mut unanswered).await;
    let nothing = Busiest::default();
    let rows = best(&calls.busiest, &nothing, filter.realm.as_deref(), filter.limit);
    let rows = rows.iter().map(|row| {
        let mut json = row.json(row.first);
        json["calls"] = rounded(row.first.total);
        json["callees"] = callees(view, row).map_or(Value::Null, Into::into);
        json
    });
    json!({
        "since_seconds": calls.since_seconds,
        "rate_seconds": SPAN_SECONDS,
        "unlisted_rate": calls.busiest.unlisted(),
        "procedures": rows.collect::<Vec<_>>(),
        "unanswered_shards": unanswered,
    })
}

impl Row {
    /// What is said of every URI. Of one that is cut the end is not known.
    fn json(&self, rate: Rate) -> Value {
        json!({
            "realm": &*self.realm,
            "uri": &*self.uri,
            "is_cut": self.is_cut,
            "rate": rate.rate,
            "rate_at_least": rate.at_least,
            "rate_at_most": rate.at_most,
        })
    }
}

async fn survey(view: &View, what: Busyness, unanswered: &mut Vec<u8>) -> Survey {
    let lists = ask::ask_all(view, unanswered, |answer| Inquiry::Busiest(what, answer)).await;
    let age_ms = lists.iter().map(|list| list.age_ms).max().unwrap_or_default();
    Survey { busiest: Busiest::of(&lists), since_seconds: age_ms as f64 / 1_000.0 }
}

/// The first ones of a realm, or of all, with what is known of them in another sense.
fn best(leads: &Busiest, other: &Busiest, realm: Option<&str>, limit: usize) -> Vec<Row> {
    let wanted = leads.iter().filter(|(of, ..)| realm.is_none_or(|realm| realm == &***of));
    let mut rows: Vec<_> = wanted
        .map(|(realm, uri, is_cut, first)| {
            let second = other.get(realm, uri);
            let (realm, uri) = (Arc::clone(realm), Arc::clone(uri));
            Row { realm, uri, is_cut, first, second }
        })
        .collect();
    let by_rate = |one: &Row, other: &Row| other.first.rate.total_cmp(&one.first.rate);
    // Those that came equally often stay in the order of their names.
    rows.sort_by(|one, other| match by_rate(one, other) {
        Ordering::Equal => other.first.total.total_cmp(&one.first.total),
        unequal => unequal,
    });
    rows.truncate(limit.min(MOST_SHOWN));
    rows
}

/// How many receivers the subscriptions of each topic have. A session counts as often as it would
/// get an event. `None` of what would take too many look-ups: clients decide how many patterns
/// match.
async fn all_subscribers(
    view: &View,
    rows: &[Row],
    unanswered: &mut Vec<u8>,
) -> Vec<Option<usize>> {
    let mut left = MOST_SUBSCRIPTIONS;
    let matches: Vec<Option<Fanouts>> = rows
        .iter()
        .map(|row| {
            let realm = view.router().realm(&row.realm).filter(|_| !row.is_cut)?;
            let fanouts = realm.topics.matches(&row.uri);
            left = left.checked_sub(fanouts.len())?;
            Some(fanouts)
        })
        .collect();
    let mut wanted: BTreeMap<ShardId, Vec<SubscriptionId>> = BTreeMap::new();
    for fanout in matches.iter().flatten().flatten() {
        for shard in fanout.to.shards() {
            wanted.entry(shard).or_default().push(fanout.subscription);
        }
    }
    let counts = ask::receivers(view, wanted, ask::list_ends(), unanswered).await;
    let count = |fanouts: Fanouts| {
        let found = fanouts.iter().filter_map(|fanout| counts.get(&fanout.subscription));
        found.sum()
    };
    matches.into_iter().map(|matches| matches.map(count)).collect()
}

/// How many callees the registration has that calls of a procedure go to.
fn callees(view: &View, row: &Row) -> Option<usize> {
    let realm = view.router().realm(&row.realm).filter(|_| !row.is_cut)?;
    let registration = realm.procedures.best_match(&row.uri);
    Some(registration.and_then(|it| realm.procedures.callee_count(it)).unwrap_or_default())
}

/// `null` of what no shard lists, and may have come all the same.
fn known(rate: Rate, value: impl Into<Value>) -> Value {
    if rate.total <= 0.0 && rate.at_most > 0.0 { Value::Null } else { value.into() }
}

fn rounded(count: f64) -> Value {
    (count.round() as u64).into()
}

/// Subscriptions that are looked up for one answer.
const MOST_SUBSCRIPTIONS: usize = 4_096;

/// URIs that are shown if nothing else is asked for, and at most.
const SHOWN: usize = 100;
const MOST_SHOWN: usize = 1_000;
