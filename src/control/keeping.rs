//! What a router keeps: its histories, and how the store gets on, as operators ask for them.

use serde_json::{Value, json};

use crate::net::View;
use crate::router::{Destination, History, Realm};

/// All histories, by their realms.
pub(super) fn histories(view: &View) -> Value {
    let mut realms = view.router().realms();
    realms.sort_unstable_by_key(|realm| realm.name().clone());
    let rows = realms.iter().flat_map(|realm| {
        let rows = realm.histories.iter().map(|history| history_row(realm, history));
        rows.collect::<Vec<_>>()
    });
    json!({ "histories": rows.collect::<Vec<_>>() })
}

fn history_row(realm: &Realm, history: &History) -> Value {
    let (bounds, uri) = (history.bounds(), realm.topics.get(history.subscription));
    json!({
        "realm": &**realm.name(),
        "uri": uri.map(|described| described.uri.to_string()),
        "match": history.policy.as_str(),
        "events": history.len(),
        "bytes": history.bytes(),
        "limit": bounds.events,
        "limit_bytes": bounds.bytes,
        "limit_age_ms": bounds.age_ms,
        "durable": history.is_durable,
    })
}

/// Whether what is durable is safe.
pub(super) fn store(view: &View) -> Value {
    let router = view.router();
    let counters = router.storage_counters().snapshot();
    let commits = router.storage_measures().commits_us.read();
    let durable_retained = router.edition().settings.durable_retained;
    let histories = router.durable_histories().len();
    json!({
        "is_used": durable_retained || histories > 0,
        "is_writable": counters.store_outages == counters.store_recoveries,
        "queued_bytes": view.queued_bytes(Destination::Store),
        "durable_histories": histories,
        "durable_retained": durable_retained,
        "publications_saved": counters.deposits_saved,
        "publications_failed": counters.deposits_failed,
        "outages": counters.store_outages,
        "recoveries": counters.store_recoveries,
        "retries_failed": counters.store_retries_failed,
        "commits": commits.count(),
        "commit_seconds": commits.sum as f64 / 1e6,
    })
}
