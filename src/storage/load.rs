//! Reading a store at the start, no more of it than the router may hold.

use std::collections::VecDeque;
use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};
use smallvec::SmallVec;

use super::StorageReason;
use super::database::damaged;
use super::record;
use super::tables::{EVENTS, HISTORIES, NEVER, RETAINED};
use crate::router::{History, Record, Router, Saved, SavedHistory, SavedRetained};
use crate::wamp::Timestamp;

pub(super) fn load(file: &Database, router: &Router) -> Result<Saved, StorageReason> {
    let reading = file.begin_read().map_err(damaged)?;
    let mut saved = Saved::default();
    load_histories(&reading, router, &mut saved)?;
    load_retained(&reading, router, &mut saved)?;
    Ok(saved)
}

fn load_histories(
    reading: &ReadTransaction,
    router: &Router,
    saved: &mut Saved,
) -> Result<(), StorageReason> {
    let events = reading.open_table(EVENTS).map_err(damaged)?;
    let known = router.durable_histories();
    for row in reading.open_table(HISTORIES).map_err(damaged)?.iter().map_err(damaged)? {
        let (key, value) = row.map_err(damaged)?;
        let (id, evicted) = value.value();
        let mut history = SavedHistory {
            key: key.value().into(),
            evicted: (evicted != NEVER).then(|| Timestamp::from_unix_ms(evicted)),
            events: VecDeque::new(),
            is_trimmed: false,
        };
        let configured = known.iter().find(|known| known.key == history.key);
        if let Some(configured) = configured {
            load_history(&events, id, configured, &mut history)?;
        }
        saved.histories.push(history);
    }
    Ok(())
}

fn load_history(
    events: &ReadOnlyTable<(u64, u64), &'static [u8]>,
    id: u64,
    configured: &History,
    history: &mut SavedHistory,
) -> Result<(), StorageReason> {
    let mut bytes = 0;
    for row in events.range((id, 0)..=(id, u64::MAX)).map_err(damaged)? {
        let (place, value) = row.map_err(damaged)?;
        let event = record::decode_event(value.value()).ok_or_else(unreadable)?;
        history.push(place.value().1, event, configured.bounds(), &mut bytes);
    }
    Ok(())
}

/// The rows come by realm, there from old to new.
fn load_retained(
    reading: &ReadTransaction,
    router: &Router,
    saved: &mut Saved,
) -> Result<(), StorageReason> {
    let edition = router.edition();
    let limits = &edition.settings.limits;
    let (mut kept, mut bytes) = (VecDeque::<SavedRetained>::new(), 0);
    for row in reading.open_table(RETAINED).map_err(damaged)?.iter().map_err(damaged)? {
        let (place, value) = row.map_err(damaged)?;
        let (realm, number) = place.value();
        if router.durable_realm(realm).is_none() {
            saved.surplus.push(released(realm, number));
            continue;
        }
        if kept.front().is_some_and(|first| *first.realm != *realm) {
            saved.retained.extend(kept.drain(..));
            bytes = 0;
        }
        let (topic, event) = record::decode_retained(value.value()).ok_or_else(unreadable)?;
        bytes += event.weight(&topic);
        kept.push_back(SavedRetained { realm: realm.into(), number, topic, event });
        while kept.len() > limits.retained_events || bytes > limits.retained_bytes {
            let Some(oldest) = kept.pop_front() else { break };
            bytes -= oldest.event.weight(&oldest.topic);
            saved.surplus.push(released(realm, oldest.number));
        }
    }
    saved.retained.extend(kept);
    Ok(())
}

fn released(realm: &str, number: u64) -> Record {
    Record::Released { realm: Arc::from(realm), numbers: SmallVec::from_slice(&[number]) }
}

fn unreadable() -> StorageReason {
    StorageReason::Damaged("an event in it cannot be read".into())
}
