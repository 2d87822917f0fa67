//! What the router looks like, as JSON.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::process::Process;
use crate::config::Admin;
use crate::net::View;
use crate::net::pulse::{TURN_MICROS, Turns};
use crate::router::{Realm, Router, ShardId, Snapshot};

/// The router, its realms by name, and what all shards have counted.
pub(super) fn router(view: &View, admin: &Admin, age: Duration) -> Value {
    let router = view.router();
    let snapshot = router.snapshot();
    let mut realms = router.realms();
    realms.sort_unstable_by_key(|realm| realm.name().clone());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": age.as_secs(),
        "shards": router.shard_count(),
        "realms": realms.iter().map(|realm| self::realm(realm)).collect::<Vec<_>>(),
        "gauges": rows(snapshot.gauges()),
        "totals": rows(snapshot.totals()),
        "held_bytes": router.held_bytes(),
        "process": process(),
        "environment": environment(admin),
        "cluster": cluster(view),
        "listeners": view.urls().iter().map(|urls| json!({ "urls": urls })).collect::<Vec<_>>(),
    })
}

fn process() -> Value {
    let process = Process::now();
    json!({
        "cpu_seconds": process.cpu_seconds,
        "resident_bytes": process.resident_bytes,
        "open_files": process.open_files,
        "threads": process.threads,
    })
}

/// What this router is called, if it is called something.
fn environment(admin: &Admin) -> Value {
    let name = admin.environment.as_ref();
    name.map_or(Value::Null, |name| json!({ "name": name, "color": admin.color }))
}

/// Of which cluster this router is which node, if it is one.
fn cluster(view: &View) -> Value {
    view.cluster().map_or(
        Value::Null,
        |cluster| json!({ "name": &*cluster.cluster, "node": cluster.node.name.as_str() }),
    )
}

fn realm(realm: &Realm) -> Value {
    json!({
        "name": &**realm.name(),
        "sessions": realm.session_count(),
        "subscriptions": realm.topics.len(),
        "registrations": realm.procedures.len(),
        "retained_events": realm.retained.len(),
        "kept_bytes": realm.kept_bytes(),
        "histories": realm.histories.iter().map(|history| {
            json!({ "key": &*history.key, "events": history.len(), "bytes": history.bytes() })
        }).collect::<Vec<_>>(),
    })
}

/// The event loops, each with what waits at it and how it works. `lags`: for how long each has
/// not answered.
pub(super) fn shards(view: &View, lags: &[Duration]) -> Value {
    let router = view.router();
    let shards = (0u8..).zip(router.counters()).zip(view.pulses()).zip(lags);
    let shards = shards.map(|(((number, counters), pulse), lag)| {
        let (snapshot, turns) = (counters.snapshot(), pulse.turns());
        json!({
            "shard": number,
            "busy_seconds": turns.busy.as_secs_f64(),
            "turns": turns.count(),
            "turns_by_time": turns_by_time(&turns),
            "unanswered_seconds": lag.as_secs_f64(),
            "queued_bytes": view.queued_bytes(ShardId(number)),
            "held_bytes": held_bytes(router, number),
            "gauges": rows(snapshot.gauges()),
            "totals": rows(snapshot.totals()),
        })
    });
    Value::Array(shards.collect())
}

/// How many turns took up to so many microseconds; `null` is any longer.
fn turns_by_time(turns: &Turns) -> Value {
    let bounds = TURN_MICROS.into_iter().map(Some).chain([None]);
    let classes = bounds.zip(turns.counts);
    classes.map(|(bound, turns)| json!({ "up_to_us": bound, "turns": turns })).collect()
}

fn held_bytes(router: &Router, shard: u8) -> usize {
    router.held(ShardId(shard)).get()
}

fn rows(rows: Vec<(&'static str, u64)>) -> Value {
    let rows = rows.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    Value::Object(rows.collect::<Map<_, _>>())
}

// The names in `gauges` and `totals` are those of `Snapshot`.
const _: fn(&Snapshot) -> Vec<(&'static str, u64)> = Snapshot::gauges;
