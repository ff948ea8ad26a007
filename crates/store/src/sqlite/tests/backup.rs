//! Backups: whole, sound, of one moment, and never over another file.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::*;
use crate::sqlite::backup::{BackupError, backup, in_steps};

async fn jobs(path: &Path) -> u64 {
    let store = SqliteStore::open(path).unwrap();
    let count = store.search("job", &Query::default()).await.unwrap().count;
    store.close().unwrap();
    count
}

/// Each step is followed by a write, at which the copy begins again.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_busy_store_comes_to_an_end_and_holds_all_that_was_answered_before() {
    let (folder, path, store) = new_store();
    let long = json!({"text": "x".repeat(2_000)});
    for number in 0..200 {
        store.insert(record(&format!("job/{number}"), &long)).await.unwrap();
    }
    let copy = folder.path().join("copy.db");
    let (from, to, runtime) = (path.clone(), copy.clone(), tokio::runtime::Handle::current());
    let copied = tokio::task::spawn_blocking(move || {
        let mut written = 0;
        crate::files::begin(&to).unwrap();
        let jobs = crate::sqlite::backup::copy(&from, &to, 1, &Opening::default(), || {
            runtime.block_on(store.insert(record(&format!("job/more-{written}"), &json!({})))).unwrap();
            written += 1;
            assert!(written < 1_000, "it comes to no end");
        });
        (jobs.unwrap(), written, store)
    });
    let (copied, written, store) = copied.await.unwrap();
    assert!((5..100).contains(&written), "writes go on beside it: {written}");
    assert_eq!(copied, 200 + written, "all but a write that came after the last step");
    assert_eq!(jobs(&copy).await, copied);
    let whole = folder.path().join("whole.db");
    assert_eq!(backup(&path, &whole, false).unwrap().jobs, copied);
    assert_eq!(fs::metadata(&whole).unwrap().permissions().mode() & 0o777, 0o600);
    store.close().unwrap();
}

/// The fault: an upgrade puts another file in place of the one that is being copied.
#[tokio::test]
async fn a_store_that_is_replaced_while_it_is_copied_gives_no_backup() {
    let (folder, path, store) = new_store();
    let (_other_folder, other, next) = new_store();
    for store in [&store, &next] {
        for number in 0..50 {
            store.insert(record(&format!("job/{number}"), &json!({"text": "x".repeat(2_000)}))).await.unwrap();
        }
        store.close().unwrap();
    }
    let copy = folder.path().join("copy.db");
    crate::files::begin(&copy).unwrap();
    let mut steps = 0;
    let copied = crate::sqlite::backup::copy(&path, &copy, 1, &Opening::default(), || {
        if steps == 0 {
            fs::rename(&other, &path).unwrap();
        }
        steps += 1;
    });
    assert!(steps > 0 && matches!(copied, Err(BackupError::Replaced { .. })), "{copied:?}");
    assert_eq!(backup(&path, &folder.path().join("again.db"), false).unwrap().jobs, 50);
}

/// The fault: after the first step another program locks the file, and keeps it.
#[test]
fn a_store_that_stays_locked_is_waited_for_within_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE long (text); INSERT INTO long VALUES (zeroblob(100000));").unwrap();
    let source = Connection::open(&path).unwrap();
    source.busy_timeout(Duration::ZERO).unwrap();
    let mut copy = Connection::open_in_memory().unwrap();
    let mut steps = 0;
    let error = in_steps(&source, &mut copy, 1, &Opening::default(), || {
        if steps == 0 {
            other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        }
        steps += 1;
        assert!(steps < 100, "it is tried for ever");
    });
    assert_eq!(error.unwrap_err().sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    assert!(steps > 1, "it is tried again: {steps}");
    other.execute_batch("COMMIT").unwrap();
    in_steps(&source, &mut copy, 1, &Opening::default(), || {}).unwrap();
}

#[tokio::test]
async fn a_backup_replaces_nothing_unasked_and_never_the_store() {
    let (folder, path, store) = new_store();
    store.insert(record("job/1", &json!({}))).await.unwrap();
    let copy = folder.path().join("copy.db");
    fs::write(&copy, "something else").unwrap();
    assert!(matches!(backup(&path, &copy, false), Err(BackupError::Exists { .. })));
    assert_eq!(fs::read(&copy).unwrap(), b"something else");
    for is_wanted in [false, true] {
        assert!(matches!(backup(&path, &path, is_wanted), Err(BackupError::Exists { .. })));
    }
    fs::write(beside(&copy, ".new"), "what a backup that was killed has left").unwrap();
    assert_eq!(backup(&path, &copy, true).unwrap().jobs, 1);
    assert!(!beside(&copy, ".new").exists());
    assert_eq!(jobs(&copy).await, 1);
    let missing = backup(&folder.path().join("missing.db"), &copy, true).unwrap_err();
    assert!(matches!(missing, BackupError::Missing { .. }), "{missing}");
    let nowhere = backup(&path, &folder.path().join("no/copy.db"), false).unwrap_err();
    assert!(nowhere.to_string().starts_with("cannot write"), "{nowhere}");
}

#[tokio::test]
async fn a_damaged_store_gives_no_backup() {
    let (folder, path, store) = new_store();
    for number in 0..100 {
        store.insert(record(&format!("job/{number}"), &json!({"text": "x".repeat(500)}))).await.unwrap();
    }
    store.close().unwrap();
    let mut file = fs::read(&path).unwrap();
    let damaged: Vec<_> = file.chunks_mut(4_096).filter(|page| page.windows(100).any(|it| it == [b'x'; 100])).collect();
    assert!(!damaged.is_empty());
    for page in damaged {
        page.fill(0xee);
    }
    fs::write(&path, file).unwrap();
    let copy = folder.path().join("copy.db");
    let error = backup(&path, &copy, false).unwrap_err();
    assert!(matches!(error, BackupError::Unsound { .. } | BackupError::Copy { .. }), "{error}");
    assert!(!copy.exists() && !beside(&copy, ".new").exists());
}
