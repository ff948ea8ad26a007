//! The file: made whole or not at all, one store's at a time, and the one under its name.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_helper = |name: &str| ["-lock", "-reserve", "-shm"].iter().any(|suffix| name.ends_with(suffix));
    let mut names: Vec<String> = names.filter(|name| !is_helper(name)).collect();
    names.sort();
    names
}

fn refusal(path: &Path) -> OpenError {
    SqliteStore::open(path).err().expect("it is refused")
}

#[tokio::test]
async fn what_was_being_made_when_a_start_ended_is_made_again() {
    // all that a start can leave before the file has its name: any part of the file under the other one
    let (_folder, whole, store) = new_store();
    store.close().unwrap();
    let whole = fs::read(whole).unwrap();
    for length in [0, 1, 100, 4_096, 5_000, whole.len() - 1, whole.len()] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        fs::write(beside(&path, ".new"), &whole[..length]).unwrap();
        let store = SqliteStore::open(&path).unwrap();
        store.insert(record("job/1", &json!({}))).await.unwrap();
        store.close().unwrap();
        assert_eq!(names(folder.path()), ["store.db"], "{length} bytes were left");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds the hashes of passwords");
    }
}

#[test]
fn what_was_whole_and_is_empty_or_gone_is_not_made_again() {
    let (folder, path, store) = new_store();
    store.close().unwrap();
    fs::write(&path, "").unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Empty { .. }), "{error}");
    assert!(error.to_string().contains("restore it from a backup, or remove it to start without jobs"), "{error}");
    fs::remove_file(&path).unwrap();
    fs::write(beside(&path, "-wal"), "jobs that nobody has put into the database").unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Gone { .. }) && error.to_string().contains("store.db-wal"), "{error}");
    assert_eq!(names(folder.path()), ["store.db-wal"], "nothing is touched");
    fs::write(beside(&path, "-wal"), "").unwrap();
    drop(SqliteStore::open(&path).unwrap());
}

#[test]
fn one_store_at_a_time_has_a_file_whatever_name_leads_to_it() {
    let (_folder, path, store) = new_store();
    let other = tempfile::tempdir().unwrap();
    let link = other.path().join("jobs.db");
    symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let error = refusal(name);
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("another process uses the database"), "{error}");
    }
    store.close().unwrap();
    SqliteStore::open(&link).unwrap().close().unwrap();
    fs::hard_link(&path, other.path().join("hard.db")).unwrap();
    let error = refusal(&path);
    assert!(error.to_string().contains("has several names"), "{error}");
}

#[test]
fn a_link_to_nowhere_is_followed_and_stays() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (link, path) = (here.path().join("store.db"), there.path().join("real.db"));
    symlink(&path, &link).unwrap();
    SqliteStore::open(&link).unwrap().close().unwrap();
    assert!(link.is_symlink() && path.is_file());
}

#[tokio::test]
async fn nothing_is_written_to_a_file_that_was_moved_away_or_replaced() {
    let (folder, path, store) = new_store();
    store.insert(record("job/1", &json!({}))).await.unwrap();
    let elsewhere = folder.path().join("moved.db");
    let refused = |answer: Result<(), StoreError>| {
        let error = answer.unwrap_err();
        assert!(matches!(error, StoreError::Moved { .. }), "{error}");
    };
    fs::rename(&path, &elsewhere).unwrap();
    refused(store.insert(record("job/2", &json!({}))).await.map(drop));
    fs::copy(&elsewhere, &path).unwrap();
    refused(store.remove("job/1", Revision(1)).await);
    fs::rename(&elsewhere, &path).unwrap();
    store.insert(record("job/3", &json!({}))).await.unwrap();
    assert_eq!(store.search("job", &Query::default()).await.unwrap().count, 2);
}

#[tokio::test]
async fn a_reader_that_stays_does_not_let_the_log_grow_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open_within(
        &path,
        Limits { search: SEARCH_LIMIT, log: 1 << 20 },
        Declared::default(),
        &Opening::default(),
    )
    .unwrap();
    store.insert(record("job/0", &json!({}))).await.unwrap();
    let mut reader = Connection::open(&path).unwrap();
    let reading = reader.transaction().unwrap();
    reading.query_row("SELECT count(*) FROM resource", [], |row| row.get::<_, i64>(0)).unwrap();
    let long = json!({"text": "x".repeat(10_000)});
    let mut added = 0;
    let refused = loop {
        match store.insert(record(&format!("job/long-{added}"), &long)).await {
            Ok(_) => added += 1,
            Err(error) => break error,
        }
        assert!(added < 1_000, "the log is bounded");
    };
    assert!(matches!(refused, StoreError::LogTooLong { .. }), "{refused}");
    assert!(added > 5, "a floor of work: {added}");
    store.remove("job/0", Revision(1)).await.expect("what frees space is done all the same");
    assert!(fs::metadata(beside(&path, "-wal")).unwrap().len() < 2 << 20);
    drop(reading);
    store.insert(record("job/after", &long)).await.expect("the reader has ended");
}
