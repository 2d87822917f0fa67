//! Files that are in use, foreign or damaged.

use std::fs;

use super::*;

fn refusal(path: &Path) -> StorageReason {
    Storage::open(path, &router(1_000)).map(drop).unwrap_err().reason
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    for text in ["# a file of somebody else", "x", &"long ".repeat(10_000)] {
        fs::write(&path, text).unwrap();
        let reason = refusal(&path);
        assert!(matches!(reason, StorageReason::Foreign), "{reason:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::remove_file(&path).unwrap();
    let foreign = redb::Database::create(&path).unwrap();
    let writing = foreign.begin_write().unwrap();
    writing.open_table(redb::TableDefinition::<u64, u64>::new("accounts")).unwrap();
    writing.commit().unwrap();
    drop(foreign);
    assert!(matches!(refusal(&path), StorageReason::Foreign));
    assert!(matches!(refusal(directory.path()), StorageReason::Io(_)));
    assert!(matches!(refusal(Path::new("/nowhere/store")), StorageReason::Io(_)));
}

#[test]
fn another_format_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(open(&path));
    let file = redb::Database::open(&path).unwrap();
    let writing = file.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("stentor");
    writing.open_table(meta).unwrap().insert("format", 2).unwrap();
    writing.commit().unwrap();
    drop(file);
    assert!(matches!(refusal(&path), StorageReason::Format { found: 2, known: 1 }));
}

#[test]
fn one_file_serves_one_router() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let _storage = open(&path);
    assert!(matches!(refusal(&path), StorageReason::Locked));
}

/// Cut short or overwritten anywhere, a store is read as it was or refused; it never panics.
#[test]
fn damage_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let router = router(1_000);
    let mut storage = open(&path);
    storage.clean((1..=300).map(|number| publish(&router, number)).collect()).unwrap();
    drop(storage);
    let good = fs::read(&path).unwrap();
    let mut refused = 0;
    let step = good.len() / 30;
    for place in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        let end = bad.len().min(place + step);
        bad[place..end].fill(0xA5);
        for bytes in [&bad[..], &good[..place]] {
            let file = directory.path().join("damaged");
            fs::write(&file, bytes).unwrap();
            match Storage::open(&file, &router) {
                Ok((_, saved)) if !bytes.is_empty() => {
                    let events = saved.histories.iter().map(|h| h.events.len()).sum::<usize>();
                    assert_eq!(events, 300, "at {place}");
                }
                Ok(_) => {}
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 30, "only {refused} of 60 were refused");
}

/// What a crash left of a try to write the store anew takes no room for ever.
#[test]
fn an_unfinished_new_file_goes_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let unfinished = directory.path().join("store.stentor-new");
    fs::write(&unfinished, "half a store").unwrap();
    drop(open(&path));
    assert!(!unfinished.exists() && path.exists());
}
