//! What nodes keep, in the simulation of several: at rest all retain the same, and their histories
//! have the same events, unless they are full.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use serde_json::Value;
use stentor::router::{HistorySettings, HistoryStore, RealmSettings, Settings};
use stentor::wamp::MatchPolicy;

use super::plan::pick;
use crate::support::Cluster;

/// A realm with histories, and limits that are sometimes reached.
pub(super) fn realm(rng: &mut StdRng, settings: &mut Settings) -> RealmSettings {
    settings.limits.retained_events = *pick(rng, &[3, 10_000, 10_000]);
    settings.durable_retained = *pick(rng, &[true, false]);
    let mut realm = RealmSettings::named("realm1");
    let patterns = [
        ("com.a", MatchPolicy::Exact),
        ("org", MatchPolicy::Prefix),
        (".b", MatchPolicy::Wildcard),
    ];
    let histories = patterns.into_iter().map(|(topic, policy)| HistorySettings {
        topic: topic.into(),
        policy,
        events: Some(*pick(rng, &[5, MANY, MANY])),
        store: *pick(rng, &[HistoryStore::Memory, HistoryStore::Durable]),
        ..HistorySettings::default()
    });
    realm.histories = histories.collect();
    realm
}

/// The patterns that have a history.
pub(super) const HISTORIES: [(&str, &str); 3] =
    [("com.a", "exact"), ("org", "prefix"), (".b", "wildcard")];

/// All is at rest: no node keeps what another one does not.
pub(super) fn check(cluster: &Cluster, when: &str) -> (u64, u64) {
    let realms: Vec<_> = cluster
        .up()
        .into_iter()
        .map(|node| cluster.members[node].network.router.realm("realm1").expect("it is there"))
        .collect();
    let tables = realms.iter().map(|realm| {
        let (_, events) = realm.retained.holding();
        let event = |(_, topic, event): stentor::router::Kept| {
            (topic.to_string(), event.stamp, event.publication)
        };
        events.into_iter().map(event).collect::<BTreeSet<_>>()
    });
    let tables: Vec<_> = tables.collect();
    for (node, table) in tables.iter().enumerate() {
        let differs: Vec<_> = table.symmetric_difference(&tables[0]).collect();
        assert!(differs.is_empty(), "{when}: nodes 0 and {node} retain {differs:?}");
    }
    let mut recorded = 0;
    for (uri, policy) in
        [("com.a", MatchPolicy::Exact), ("org", MatchPolicy::Prefix), (".b", MatchPolicy::Wildcard)]
    {
        let histories = realms.iter().map(|realm| {
            let found = realm.topics.look_up(uri, policy).expect("it is there");
            realm.histories.get(found.subscription).expect("it is kept")
        });
        let histories: Vec<_> = histories.collect();
        let events = histories.iter().map(|history| {
            let events = history.events();
            let ids: BTreeSet<_> = events.iter().map(|(_, event)| event.publication).collect();
            assert_eq!(ids.len(), events.len(), "{when}: each once in {uri}");
            ids
        });
        let events: Vec<_> = events.collect();
        recorded += events[0].len();
        let is_full = histories[0].bounds().events < MANY;
        for (node, ids) in events.iter().enumerate() {
            assert!(is_full || *ids == events[0], "{when}: history {uri} of node {node}");
        }
    }
    (tables[0].len() as u64, recorded as u64)
}

/// What a history answers has each publication once.
pub(super) fn check_answer(message: &Value, when: &str) {
    let events = message[3].as_array().map_or(&[][..], Vec::as_slice);
    let ids: BTreeSet<_> = events.iter().map(|event| event["publication"].as_u64()).collect();
    assert!(ids.len() == events.len() && !ids.contains(&None), "{when}: {message}");
}

/// More than are published in a run.
const MANY: usize = 100_000;
