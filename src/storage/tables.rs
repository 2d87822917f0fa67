//! The tables of the store, and what is written to them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use redb::{Error, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::pending::{Change, Pending};
use super::record;
use crate::router::{History, Realm, Router};
use crate::wamp::Timestamp;

/// A failed write, as a sentence.
#[derive(Debug)]
pub(super) struct Failure(Error);

type Histories<'t> = Table<'t, &'static str, (u64, i64)>;
type Events<'t> = Table<'t, (u64, u64), &'static [u8]>;
type Retained<'t> = Table<'t, (&'static str, u64), &'static [u8]>;

/// Makes an empty database a store.
pub(super) fn prepare(writing: &WriteTransaction) -> Result<(), Failure> {
    writing.open_table(META)?.insert(FORMAT, FORMAT_KNOWN)?;
    writing.open_table(HISTORIES)?;
    writing.open_table(EVENTS)?;
    writing.open_table(RETAINED)?;
    Ok(())
}

/// Writes what is pending. Returns what was to be removed and was not there.
pub(super) fn write(
    writing: &WriteTransaction,
    pending: &Pending,
) -> Result<Vec<(Arc<str>, u64)>, Failure> {
    write_histories(writing, pending)?;
    write_retained(writing, pending)
}

fn write_histories(writing: &WriteTransaction, pending: &Pending) -> Result<(), Failure> {
    let mut histories = writing.open_table(HISTORIES)?;
    let mut events = writing.open_table(EVENTS)?;
    for key in &pending.forgotten {
        let id = histories.remove(&**key)?.map(|value| value.value().0);
        if let Some(id) = id {
            events.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
        }
    }
    for (key, history) in pending.histories.iter().filter(|(_, history)| history.is_dirty) {
        let id = enter(&mut histories, key, history.evicted)?;
        for (number, event) in &history.events {
            events.insert((id, *number), record::encode_event(event).as_slice())?;
        }
        events.retain_in((id, 0)..(id, history.keep_from), |_, _| false)?;
    }
    Ok(())
}

fn write_retained(
    writing: &WriteTransaction,
    pending: &Pending,
) -> Result<Vec<(Arc<str>, u64)>, Failure> {
    let mut absent = Vec::new();
    if pending.retained.is_empty() {
        return Ok(absent);
    }
    let mut table = writing.open_table(RETAINED)?;
    for ((realm, number), change) in &pending.retained {
        let place = (&**realm, *number);
        match change {
            Change::Put(topic, event) => {
                table.insert(place, record::encode_retained(topic, event).as_slice())?;
            }
            Change::Remove => {
                if table.remove(place)?.is_none() {
                    absent.push((Arc::clone(realm), *number));
                }
            }
        }
    }
    Ok(absent)
}

/// Makes the tables hold what the router holds, whatever is in them. Returns what later records
/// are measured by, and how many events were missing.
pub(super) fn reconcile(
    writing: &WriteTransaction,
    router: &Router,
) -> Result<(Pending, usize), Failure> {
    let (mut settled, mut missing) = (Pending::default(), 0);
    let mut histories = writing.open_table(HISTORIES)?;
    let mut events = writing.open_table(EVENTS)?;
    for history in router.durable_histories() {
        missing += reconcile_history(&mut histories, &mut events, &history, &mut settled)?;
    }
    if router.edition().settings.durable_retained {
        let mut table = writing.open_table(RETAINED)?;
        for realm in router.realms() {
            missing += reconcile_retained(&mut table, &realm, &mut settled)?;
        }
    }
    Ok((settled, missing))
}

fn reconcile_history(
    histories: &mut Histories<'_>,
    events: &mut Events<'_>,
    history: &History,
    settled: &mut Pending,
) -> Result<usize, Failure> {
    let holding = history.holding();
    settled.settle_history(&history.key, &holding);
    let id = enter(histories, &history.key, holding.evicted)?;
    let mut missing: BTreeMap<_, _> = holding.events.into_iter().collect();
    let all = (id, 0)..=(id, u64::MAX);
    events.retain_in(all, |(_, number), _| missing.remove(&number).is_some())?;
    for (number, event) in &missing {
        events.insert((id, *number), record::encode_event(event).as_slice())?;
    }
    Ok(missing.len())
}

fn reconcile_retained(
    table: &mut Retained<'_>,
    realm: &Realm,
    settled: &mut Pending,
) -> Result<usize, Failure> {
    let (last_number, events) = realm.retained.holding();
    settled.settle_retained(realm.name(), last_number);
    let name: &str = realm.name();
    let mut missing: BTreeMap<_, _> =
        events.into_iter().map(|(number, topic, event)| (number, (topic, event))).collect();
    let all = (name, 0)..=(name, u64::MAX);
    table.retain_in(all, |(_, number), _| missing.remove(&number).is_some())?;
    for (number, (topic, event)) in &missing {
        table.insert((name, *number), record::encode_retained(topic, event).as_slice())?;
    }
    Ok(missing.len())
}

/// The number that stands for a history, which gets one if it has none.
fn enter(
    histories: &mut Histories<'_>,
    key: &str,
    evicted: Option<Timestamp>,
) -> Result<u64, Failure> {
    let known = histories.get(key)?.map(|value| value.value());
    let (id, before) = match known {
        Some(known) => known,
        None => (next_id(histories)?, NEVER),
    };
    let latest = evicted.map_or(NEVER, Timestamp::unix_ms).max(before);
    if known != Some((id, latest)) {
        histories.insert(key, (id, latest))?;
    }
    Ok(id)
}

fn next_id(histories: &Histories<'_>) -> Result<u64, Failure> {
    let mut next = 1;
    for row in histories.iter()? {
        next = next.max(row?.1.value().0 + 1);
    }
    Ok(next)
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Error::Io(error) => error.fmt(f),
            Error::DatabaseAlreadyOpen => f.write_str("another process uses the file"),
            other => other.fmt(f),
        }
    }
}

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("stentor");
/// By key: the number that stands for it in [`EVENTS`], and the latest time among the evicted, in
/// milliseconds since the epoch.
pub(super) const HISTORIES: TableDefinition<'_, &str, (u64, i64)> =
    TableDefinition::new("histories");
/// By history and number.
pub(super) const EVENTS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("events");
/// By realm and number.
pub(super) const RETAINED: TableDefinition<'_, (&str, u64), &[u8]> =
    TableDefinition::new("retained");

pub(super) const FORMAT: &str = "format";
pub(super) const FORMAT_KNOWN: u64 = 1;

/// Nothing was ever evicted.
pub(super) const NEVER: i64 = i64::MIN;
