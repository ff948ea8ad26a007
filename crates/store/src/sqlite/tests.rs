//! What only the `SQLite` store has: the file, the log, groups, plans.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as blocking;

use rusqlite::Connection;
use serde_json::{Value, json};
use slipstream_cimi::acl::Principal;
use slipstream_cimi::query::Order;
use tempfile::TempDir;

use super::*;
use crate::StoreExt;
use crate::conformance::record;

mod aggregate;
mod audiences;
mod backup;
mod declared;
mod file;
mod groups;
mod plans;

fn new_store() -> (TempDir, PathBuf, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    (folder, path, store)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn writer(store: &SqliteStore) -> mpsc::Sender<Request> {
    store.sender(|channels| &channels.writes, "write").unwrap()
}

/// Runs on the writer's own connection.
async fn inspect<T: Send + 'static>(store: &SqliteStore, look: impl FnOnce(&Connection) -> T + Send + 'static) -> T {
    let (answer, answered) = oneshot::channel();
    let look = Box::new(move |connection: &Connection| drop(answer.send(look(connection))));
    assert!(writer(store).send(Request::Inspect(look)).await.is_ok());
    answered.await.unwrap()
}

/// Holds up the writer, hands it all these changes at once, each by itself, and gives their answers.
async fn in_one_group(store: &Arc<SqliteStore>, changes: Vec<crate::Write>) -> Vec<Result<Revision, StoreError>> {
    let lists = changes.into_iter().map(|change| vec![change]).collect();
    lists_in_one_group(store, lists).await.into_iter().flatten().collect()
}

/// The same with lists of changes, each of a caller of its own.
async fn lists_in_one_group(
    store: &Arc<SqliteStore>,
    lists: Vec<Vec<crate::Write>>,
) -> Vec<Vec<Result<Revision, StoreError>>> {
    let (release, released) = blocking::channel::<()>();
    let (entered, held) = oneshot::channel();
    let stall = Box::new(move |_: &Connection| {
        entered.send(()).unwrap();
        released.recv().unwrap();
    });
    assert!(writer(store).send(Request::Inspect(stall)).await.is_ok());
    held.await.unwrap();
    let count = lists.len();
    let writes: Vec<_> = lists
        .into_iter()
        .map(|list| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                store
                    .carry_out(list.into_iter().map(|write| Change::of(write, &store.declared)).collect())
                    .await
                    .expect("the writer lives")
            })
        })
        .collect();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let writes_waiting = WAITING - writer(store).capacity();
    assert_eq!(writes_waiting, count, "all wait while the writer is held up");
    release.send(()).unwrap();
    let mut answers = Vec::new();
    for write in writes {
        answers.push(write.await.unwrap());
    }
    answers
}

fn insert(id: &str, document: &Value) -> crate::Write {
    crate::Write::Create(record(id, document))
}

/// The frames of the log that end a transaction: those with a size of the database (`SQLite`'s file format, 4.1).
fn transactions_in_log(path: &Path) -> usize {
    let log = fs::read(beside(path, "-wal")).unwrap();
    if log.is_empty() {
        return 0;
    }
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let frame = 24 + number(8) as usize;
    let frames = (32..log.len()).step_by(frame);
    frames.filter(|at| log[at + 8..at + 16] == log[16..24] && number(at + 4) != 0).count()
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let (_folder, path, store) = new_store();
    let stored = Record { ledger: json!({"z": [1], "a": null}), ..record("job/1", &json!({"b": 1, "a": "é"})) };
    store.insert(stored.clone()).await.unwrap();
    store.replace(Record { revision: Revision(1), ..stored.clone() }).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.query_row("SELECT count(*) FROM resource", [], |row| row.get::<_, i64>(0)).unwrap();
    store.close().unwrap();
    let log = fs::metadata(beside(&path, "-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0, "closing puts all into the one file");
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.get("job/1").await.unwrap(), Some(Record { revision: Revision(2), ..stored }));
}

#[tokio::test]
async fn what_was_accepted_is_written_before_the_store_is_dropped() {
    let (_folder, path, store) = new_store();
    for number in 0..50 {
        let (answer, _) = oneshot::channel();
        let write = Write {
            changes: vec![Change::of(insert(&format!("job/{number}"), &json!({})), &Declared::default())],
            answer,
        };
        assert!(writer(&store).send(Request::Write(write)).await.is_ok());
    }
    drop(store);
    let count = Query::default();
    assert_eq!(SqliteStore::open(&path).unwrap().search("job", &count).await.unwrap().count, 50);
}

#[tokio::test]
async fn a_closed_store_refuses_whatever_comes_later() {
    let (_folder, path, store) = new_store();
    let store = Arc::new(store);
    store.insert(record("job/1", &json!({}))).await.unwrap();
    store.close().unwrap();
    SqliteStore::open(&path).unwrap().close().unwrap();
    let refused = store.insert(record("job/2", &json!({}))).await.unwrap_err();
    assert!(matches!(refused, StoreError::Gone { why: "it is closed", .. }), "{refused}");
    let refused = store.get("job/1").await.unwrap_err();
    assert!(matches!(refused, StoreError::Gone { why: "it is closed", .. }), "{refused}");
    store.close().unwrap();
}

#[tokio::test]
async fn an_answered_write_survives_the_end_of_the_process() {
    let (folder, path, store) = new_store();
    for number in 0..20 {
        store.insert(record(&format!("job/{number}"), &json!({"n": number}))).await.unwrap();
        let copy = folder.path().join(format!("copy-{number}.db"));
        fs::copy(&path, &copy).unwrap();
        fs::copy(beside(&path, "-wal"), beside(&copy, "-wal")).unwrap();
        let copy = SqliteStore::open(&copy).unwrap();
        assert_eq!(copy.search("job", &Query::default()).await.unwrap().count, number + 1);
        assert!(copy.get(&format!("job/{number}")).await.unwrap().is_some());
    }
}

/// Fault: the process was killed, and left a log. To put that into the database takes long, and is for later.
#[tokio::test]
async fn opening_leaves_the_log_of_a_killed_process_where_it_is() {
    let (folder, path, store) = new_store();
    for number in 0..20 {
        store.insert(record(&format!("job/{number}"), &json!({"n": number}))).await.unwrap();
    }
    let copy = folder.path().join("copy.db");
    for suffix in ["", "-wal"] {
        fs::copy(beside(&path, suffix), beside(&copy, suffix)).unwrap();
    }
    let (before, log) = (fs::read(&copy).unwrap(), fs::read(beside(&copy, "-wal")).unwrap());
    let store = SqliteStore::open(&copy).unwrap();
    assert_eq!(store.search("job", &Query::default()).await.unwrap().count, 20);
    assert!(fs::read(&copy).unwrap() == before && fs::read(beside(&copy, "-wal")).unwrap() == log && !log.is_empty());
    store.close().unwrap();
    assert!(fs::read(&copy).unwrap() != before);
}

#[tokio::test]
async fn the_writer_writes_ahead_and_synchronises_fully() {
    let (_folder, _path, store) = new_store();
    let pragmas = inspect(&store, |connection| {
        let text = |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, String>(0));
        let number = |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        (text("journal_mode").unwrap(), number("synchronous").unwrap(), number("mmap_size").unwrap())
    });
    assert_eq!(pragmas.await, ("wal".to_owned(), 2, 0));
}

#[tokio::test]
async fn writes_that_wait_share_a_transaction() {
    let (_folder, path, store) = new_store();
    let store = Arc::new(store);
    let before = transactions_in_log(&path);
    let changes = (0..100).map(|number| insert(&format!("job/{number}"), &json!({}))).collect();
    let answers = in_one_group(&store, changes).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(transactions_in_log(&path) - before, 1);
    store.insert(record("job/alone", &json!({}))).await.unwrap();
    assert_eq!(transactions_in_log(&path) - before, 2);
}

#[tokio::test]
async fn a_group_has_a_largest_size() {
    let (_folder, path, store) = new_store();
    let store = Arc::new(store);
    let before = transactions_in_log(&path);
    let changes = (0..=writer::LARGEST_GROUP).map(|number| insert(&format!("job/{number}"), &json!({}))).collect();
    assert!(in_one_group(&store, changes).await.iter().all(Result::is_ok));
    assert_eq!(transactions_in_log(&path) - before, 2);
}

#[tokio::test]
async fn a_conflict_does_not_fail_its_group() {
    let (_folder, path, store) = new_store();
    let store = Arc::new(store);
    store.insert(record("job/1", &json!({"n": 1}))).await.unwrap();
    let before = transactions_in_log(&path);
    let replace = |revision| crate::Write::Replace(Record { revision, ..record("job/1", &json!({})) });
    let remove = |id: &str| crate::Write::Remove(id.to_owned(), Revision(1));
    let changes = vec![
        insert("job/2", &json!({})),
        insert("job/1", &json!({})),
        replace(Revision(1)),
        replace(Revision(1)),
        replace(Revision(2)),
        remove("job/3"),
        remove("job/2"),
        insert("job/2", &json!({"again": true})),
    ];
    let answers = in_one_group(&store, changes).await;
    assert_eq!(transactions_in_log(&path) - before, 1);
    let shown: Vec<String> = answers
        .iter()
        .map(|answer| answer.as_ref().map_or_else(ToString::to_string, |revision| revision.0.to_string()))
        .collect();
    let expected =
        ["1", "job/1 exists", "2", "job/1 was changed meanwhile", "3", "job/3 was changed meanwhile", "1", "1"];
    assert_eq!(shown, expected);
    assert_eq!(*store.get("job/2").await.unwrap().unwrap().document, *json!({"again": true}).as_object().unwrap());
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_survived() {
    let (_folder, path, store) = new_store();
    let store = Arc::new(store);
    let limit = |pages: u32| {
        move |connection: &Connection| {
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, u32>(0)).unwrap()
        }
    };
    let pages = inspect(&store, limit(40)).await;
    assert_eq!(pages, 40);
    let long = json!({"text": "x".repeat(1_000), "state": "QUEUED"});
    let mut stored = 0;
    let refused = loop {
        match store.insert(record(&format!("job/{stored:03}"), &long)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 200, "the limit is never reached");
    };
    assert!(matches!(&refused, StoreError::Full { path: full } if *full == path.display().to_string()), "{refused}");
    assert!(stored > 10);
    let group = (0..60).map(|number| insert(&format!("job/group-{number}"), &long)).collect();
    let answers = in_one_group(&store, group).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Full { .. }))), "all of a group or none");
    let everything = Query { limit: 1_000, ..Query::default() };
    assert_eq!(store.search("job", &everything).await.unwrap().count, stored);

    inspect(&store, limit(10_000)).await;
    store.insert(record("job/again", &long)).await.unwrap();
    drop(store);
    let page = SqliteStore::open(&path).unwrap().search("job", &everything).await.unwrap();
    assert_eq!((page.count, page.records.len() as u64), (stored + 1, stored + 1));
}

#[tokio::test]
async fn a_newer_version_is_left_alone() {
    let (_folder, path, store) = new_store();
    store.close().unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    let before = fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 5, .. }), "{error}");
    assert!(error.to_string().contains("run the program that wrote it"), "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    fs::write(&path, "this is not a database".repeat(1_000)).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore it from a backup, or move it away"), "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(error.source().unwrap().to_string().contains("not a database"), "{error:?}");
}

#[test]
fn a_damaged_schema_is_found_at_once() {
    let (_folder, path, store) = new_store();
    store.close().unwrap();
    let mut file = fs::read(&path).unwrap();
    file[100..1_000].fill(0xee);
    fs::write(&path, file).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn damage_found_later_is_named_with_what_to_do() {
    let (_folder, path, store) = new_store();
    let documents = 100;
    for number in 0..documents {
        store.insert(record(&format!("job/{number}"), &json!({"text": "x".repeat(500)}))).await.unwrap();
    }
    store.close().unwrap();
    let mut file = fs::read(&path).unwrap();
    for page in file.chunks_mut(4_096).filter(|page| page.windows(100).any(|bytes| bytes == [b'x'; 100])) {
        page.fill(0xee);
    }
    fs::write(&path, file).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let mut damaged = 0;
    for number in 0..documents {
        match store.get(&format!("job/{number}")).await {
            Ok(_) => (),
            Err(error @ StoreError::Failed { .. }) => {
                damaged += 1;
                let text = error.to_string();
                assert!(text.contains("is damaged; restore it from a backup, or move it away"), "{text}");
                assert!(text.contains(&path.display().to_string()), "{text}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(damaged > 0);
}

#[test]
fn a_missing_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(SqliteStore::open(&folder.path().join("no/store.db")), Err(OpenError::Unreachable { .. })));
}

#[test]
fn a_stopped_search_does_not_stop_what_comes_next() {
    let (_folder, path, _store) = new_store();
    let reader = Reader::open(&path, Arc::default(), Duration::ZERO).unwrap();
    assert_eq!(reader.search("job", &Query::default()).unwrap().count, 0);
    for _ in 0..1_000 {
        assert!(reader.get("job/1").unwrap().is_none());
    }
}

#[tokio::test]
async fn more_than_a_page_is_removed() {
    let (_folder, _path, store) = new_store();
    let store = Arc::new(store);
    for batch in 0..5 {
        let changes = (0..500).map(|number| insert(&format!("job/{batch}-{number}"), &json!({"old": number != 7})));
        assert!(in_one_group(&store, changes.collect()).await.iter().all(Result::is_ok));
    }
    assert_eq!(store.remove_matching("job", &Filter::parse("old=true").unwrap()).await.unwrap(), 2_495);
    assert_eq!(store.search("job", &Query::default()).await.unwrap().count, 5);
}

#[tokio::test]
async fn a_search_that_takes_too_long_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Arc::new(
        SqliteStore::open_within(
            &path,
            Limits { search: Duration::ZERO, log: log::LONGEST },
            Declared::default(),
            &Opening::default(),
        )
        .unwrap(),
    );
    for batch in 0..4 {
        let changes = (0..250).map(|number| insert(&format!("job/{batch}-{number}"), &json!({"n": number})));
        assert!(in_one_group(&store, changes.collect()).await.iter().all(Result::is_ok));
    }
    let scan = Query { filter: Some(Filter::parse("n=0 or n=1").unwrap()), limit: 10, ..Query::default() };
    let sort = Query { order: vec![Order { attribute: "m".into(), descending: true }], limit: 1, ..Query::default() };
    let large = Query { filter: Some(Filter::parse("id^='job/'").unwrap()), ..Query::default() };
    for (query, cause) in [
        (&scan, "the search takes too long: no index on 'n'; narrow it by state, action, "),
        (&sort, "the search takes too long: no index on 'm'; narrow it by "),
        (&large, "the search takes too long: too many documents match; narrow it by "),
        (&scan, "no index on 'n'"),
    ] {
        let stopped = store.search("job", query).await.unwrap_err();
        assert!(matches!(stopped, StoreError::TooSlow { .. }), "{stopped}");
        assert!(stopped.to_string().contains(cause), "{stopped}");
    }
    store.remove("job/0-0", Revision(1)).await.unwrap();
    drop(store);
    assert_eq!(SqliteStore::open(&path).unwrap().search("job", &scan).await.unwrap().count, 7);
}

#[tokio::test]
async fn the_servers_own_walks_wait_behind_no_search() {
    let (_folder, _path, store) = new_store();
    let store = Arc::new(store);
    store.insert(record("job/1", &json!({"state": "QUEUED"}))).await.unwrap();
    let mut searches = Vec::new();
    for _ in 0..2 {
        let (entered, under_way) = oneshot::channel();
        let (release, released) = blocking::channel::<()>();
        let own = Arc::clone(&store);
        let search = tokio::spawn(async move {
            let slow = move |_: &Reader| {
                entered.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            };
            own.look(|channels| &channels.searches, "search".to_owned(), slow).await
        });
        under_way.await.unwrap();
        searches.push((release, search));
    }
    assert_eq!(store.index_rows(None, 10).await.unwrap().len(), 1);
    assert_eq!(store.remove_matching("job", &Filter::parse("state='QUEUED'").unwrap()).await.unwrap(), 1);
    for (release, search) in searches {
        assert!(!search.is_finished(), "both searches are under way all the while");
        release.send(()).unwrap();
        search.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_read_that_panics_ends_no_other() {
    let (_folder, _path, store) = new_store();
    store.insert(record("job/1", &json!({}))).await.unwrap();
    for _ in 0..3 {
        let panics = |_: &Reader| -> rusqlite::Result<()> { panic!("as the test wants it") };
        let failed = store.look(|channels| &channels.gets, "read".to_owned(), panics).await.unwrap_err();
        assert!(matches!(failed, StoreError::Failed { .. }), "{failed}");
        assert!(store.get("job/1").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_writer_that_panics_is_told_to_whoever_runs_the_server() {
    let (_folder, path, store) = new_store();
    store.insert(record("job/1", &json!({}))).await.unwrap();
    store.inspect(|_| panic!("as the test wants it")).await;
    store.broken().await;
    assert!(store.insert(record("job/2", &json!({}))).await.is_err());
    assert!(store.close().is_err());
    let store = SqliteStore::open(&path).unwrap();
    assert!(store.get("job/1").await.unwrap().is_some(), "what was answered is there");
}
