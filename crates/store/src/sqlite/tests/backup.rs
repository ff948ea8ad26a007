//! Backups: whole, sound, of one moment, and never over another file.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

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
    assert_eq!(backup(&path, &whole, false, &[]).unwrap().jobs, copied);
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
    assert_eq!(backup(&path, &folder.path().join("again.db"), false, &[]).unwrap().jobs, 50);
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
    assert!(matches!(backup(&path, &copy, false, &[]), Err(BackupError::Exists { .. })));
    assert!(matches!(backup(&path, &copy, true, &[]), Err(BackupError::NoBackup { .. })));
    assert_eq!(fs::read(&copy).unwrap(), b"something else");
    fs::remove_file(&copy).unwrap();
    for is_wanted in [false, true] {
        assert!(matches!(backup(&path, &path, is_wanted, &[]), Err(BackupError::Exists { .. })));
    }
    fs::write(beside(&copy, ".new"), "what a backup that was killed has left").unwrap();
    for _ in 0..2 {
        assert_eq!(backup(&path, &copy, true, &[]).unwrap().jobs, 1);
        assert!(!beside(&copy, ".new").exists());
    }
    let missing = backup(&folder.path().join("missing.db"), &copy, true, &[]).unwrap_err();
    assert!(matches!(missing, BackupError::Missing { .. }), "{missing}");
    assert_eq!(jobs(&copy).await, 1);
    let nowhere = backup(&path, &folder.path().join("no/copy.db"), false, &[]).unwrap_err();
    assert!(nowhere.to_string().starts_with("cannot write"), "{nowhere}");
}

/// Each of these would be lost, and with the log every job that it holds alone.
#[tokio::test]
async fn a_backup_takes_the_place_of_no_file_that_an_engine_works_with() {
    let (folder, path, store) = new_store();
    store.insert(record("job/1", &json!({}))).await.unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let link = elsewhere.join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let suffixes = ["-wal", "-shm", "-journal", "-reserve", "-lock", ".new", ".before-1", ".before-27"];
    let taken = ["lock", "super.password"];
    let own = suffixes.iter().map(|suffix| format!("{name}{suffix}"));
    for name in own.chain(["lock", "super.password", "super.password.new"].map(str::to_owned)) {
        let target = folder.path().join("elsewhere/..").join(&name);
        // to read a file of SQLite would take the locks from it that this process has
        let identity = || target.metadata().map(|found| (found.ino(), found.len())).ok();
        let before = identity();
        for (from, is_wanted) in [(&path, false), (&path, true), (&link, true)] {
            let refused = backup(from, &target, is_wanted, &taken).unwrap_err();
            assert!(matches!(refused, BackupError::OfEngine { .. }), "{name} {is_wanted}: {refused}");
        }
        assert_eq!(identity(), before, "{name}");
    }
    let unfinished = folder.path().join("other.new");
    fs::write(&unfinished, "").unwrap();
    let refused = backup(&unfinished, &folder.path().join("other"), false, &[]).unwrap_err();
    assert!(matches!(refused, BackupError::OfEngine { .. }), "it would begin by removing the store: {refused}");
    store.insert(record("job/2", &json!({}))).await.unwrap();
    store.close().unwrap();
    assert_eq!(jobs(&path).await, 2);
}

#[tokio::test]
async fn a_backup_replaces_an_older_one_only() {
    let (folder, path, store) = new_store();
    store.insert(record("job/1", &json!({}))).await.unwrap();
    let target = folder.path().join("target.db");
    let refused = |what: &str| {
        let before = fs::read(&target).ok();
        let refused = backup(&path, &target, true, &[]).unwrap_err();
        assert!(matches!(refused, BackupError::NoBackup { .. }), "{what}: {refused}");
        assert_eq!(fs::read(&target).ok(), before, "{what}");
    };
    fs::write(&target, "").unwrap();
    refused("nothing");
    fs::write(&target, "SQLite format 3\0").unwrap();
    refused("a beginning");
    fs::remove_file(&target).unwrap();
    let other = Connection::open(&target).unwrap();
    other.execute_batch("CREATE TABLE song (title); PRAGMA user_version = 1;").unwrap();
    refused("a database of another program");
    other.execute_batch("CREATE TABLE resource (id); PRAGMA user_version = 0;").unwrap();
    refused("one without a version");
    other.execute_batch("PRAGMA user_version = 1000;").unwrap();
    refused("one of a newer version");
    drop(other);
    fs::remove_file(&target).unwrap();
    SqliteStore::open(&target).unwrap().close().unwrap();
    refused("the store of another engine");
    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    refused("a folder");
    fs::remove_dir(&target).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &target, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(backup(&path, &target, true, &[]), Err(BackupError::NoBackup { .. })), "a pipe");
    fs::remove_file(&target).unwrap();
    backup(&path, &target, false, &[]).unwrap();
    store.insert(record("job/2", &json!({}))).await.unwrap();
    assert_eq!(backup(&path, &target, true, &[]).unwrap().jobs, 2);
    store.close().unwrap();
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
    let error = backup(&path, &copy, false, &[]).unwrap_err();
    assert!(matches!(error, BackupError::Unsound { .. } | BackupError::Copy { .. }), "{error}");
    assert!(!copy.exists() && !beside(&copy, ".new").exists());
}
