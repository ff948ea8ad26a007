use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{self, AssertUnwindSafe};

use rusqlite::params;
use serde_json::{Value, json};
use slipstream_cimi::acl::Principal;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::{Document, Lease};

use super::version_2::TABLES as VERSION_2;
use super::*;
use crate::sqlite::SqliteStore;
use crate::{Query, Store as _, StoreError, StoreExt as _, StoredDocument};

mod small_disk;

/// What made a file of version 2 out of one of version 1.
const BACK_TO_1: &str = "
    DROP INDEX resource_by_state_and_id;
    ALTER TABLE resource DROP COLUMN lease;
    CREATE INDEX resource_by_state_and_id ON resource (type, state, id, entry);
    PRAGMA user_version = 1;
";

const QUEUED: &str = "job/01a22896-57ff-7010-b0be-14f3f033efd6";
const RUNNING: &str = "job/01a22896-5800-7010-b0be-14f3f033efd6";
const ENDED: &str = "job/01a22896-5801-7010-b0be-14f3f033efd6";
const DAMAGED: &str = "job/01a22896-5802-7010-b0be-14f3f033efd6";
const USER: &str = "user/jane";

fn document(id: &str, state: &str, owner: &str) -> Document {
    let document = json!({
        "id": id, "state": state, "action": "noop", "created": "2026-11-29T18:34:31.296Z",
        "updated": "2026-11-29T18:34:31.350Z", "priority": 999, "targetResource": {"href": "dummy/0"},
        "acl": {"owner": {"type": "USER", "principal": owner}, "rules": [{"type": "USER", "principal": "joe", "right": "VIEW"}]},
    });
    document.as_object().unwrap().clone()
}

fn ledger(generation: u64) -> Value {
    json!({"entry": "/job/entries/entry-999-0000000001", "lease": {"generation": generation, "zxid": 42}, "lost": 0})
}

/// As the version before wrote it, in its columns what it had there.
fn file_of_version_2(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(VERSION_2).unwrap();
    connection
        .execute("INSERT INTO audience (type, viewers) VALUES ('job', '[\"USER jane\",\"USER joe\"]')", [])
        .unwrap();
    let put = |id: &str, document: &str, ledger: Option<String>, state: Option<&str>| {
        let sql = "INSERT INTO resource (type, id, revision, document, ledger, irregular, state, action, created, updated, \
                   priority, entry, audience) VALUES (?, ?, 3, ?, ?, 0, ?, 'noop', '2026-11-29T18:34:31.296Z', \
                   '2026-11-29T18:34:31.350Z', 999, ?, 1)";
        let kind = id.split_once('/').unwrap().0;
        let entry = ledger.as_ref().map(|_| "/job/entries/entry-999-0000000001");
        assert_eq!(connection.execute(sql, params![kind, id, document, ledger, state, entry]).unwrap(), 1);
    };
    let text = |id, state| Value::Object(document(id, state, "jane")).to_string();
    put(QUEUED, &text(QUEUED, "QUEUED"), None, Some("QUEUED"));
    put(RUNNING, &text(RUNNING, "RUNNING"), Some(ledger(7).to_string()), Some("RUNNING"));
    put(ENDED, &text(ENDED, "SUCCESS"), Some(ledger(7).to_string()), Some("SUCCESS"));
    put(DAMAGED, "{\"id\":", Some(ledger(7).to_string()), Some("RUNNING"));
    put(USER, &text(USER, "ACTIVE"), None, Some("ACTIVE"));
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
}

fn version(path: &Path) -> i64 {
    Connection::open(path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

fn ids(rows: &[crate::IndexRow]) -> Vec<&str> {
    rows.iter().map(|row| &*row.id).collect()
}

async fn holds_all(store: &SqliteStore) {
    for (id, state, ledger) in [
        (QUEUED, "QUEUED", Value::Null),
        (RUNNING, "RUNNING", ledger(7)),
        (ENDED, "SUCCESS", ledger(7)),
        (USER, "ACTIVE", Value::Null),
    ] {
        let document = document(id, state, "jane").into();
        let expected = Record { id: id.to_owned(), revision: Revision(3), document, ledger };
        assert_eq!(store.get(id).await.unwrap(), Some(expected));
    }
    let damaged = store.get(DAMAGED).await.unwrap_err();
    assert!(matches!(damaged, StoreError::Damaged { part: "document", revision: Revision(3), .. }), "{damaged}");
    let unfinished = store.index_rows(None, 10).await.unwrap();
    assert_eq!(ids(&unfinished), [QUEUED, RUNNING, DAMAGED]);
    assert_eq!(unfinished[1].lease, Some(Lease { generation: 7, zxid: 42 }));
    assert_eq!(unfinished[2].entry.as_deref(), Some("/job/entries/entry-999-0000000001"));
    for (filter, caller, count) in [
        ("state='RUNNING'", None, 2),
        ("action='noop'", None, 4),
        ("created='2026-11-29T18:34:31.296Z' and state='SUCCESS'", None, 1),
        ("action='noop'", Some("joe"), 4),
        ("action='noop'", Some("jim"), 0),
    ] {
        let query = Query {
            filter: Some(Filter::parse(filter).unwrap()),
            visible_to: caller.map(|name| vec![Principal::User(name.to_owned())]),
            ..Query::default()
        };
        assert_eq!(store.search("job", &query).await.unwrap().count, count, "{filter} {caller:?}");
    }
}

#[tokio::test]
async fn a_file_of_a_version_before_is_the_same_in_the_current_one() {
    for before in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        file_of_version_2(&path);
        if before == 1 {
            Connection::open(&path).unwrap().execute_batch(BACK_TO_1).unwrap();
        }
        let store = SqliteStore::open(&path).unwrap();
        let copy = path.with_file_name(format!("store.db.before-{before}"));
        assert_eq!((version(&copy), version(&path)), (before, VERSION), "what it was is kept");
        holds_all(&store).await;
        let changed = Record {
            id: QUEUED.to_owned(),
            revision: Revision(3),
            document: StoredDocument::default(),
            ledger: Value::Null,
        };
        assert_eq!(store.replace(changed).await.unwrap(), Revision(4), "it is still written under the name");
        store.close().unwrap();
        drop(SqliteStore::open(&path).unwrap());
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.contains(&"store.db.new".into()), "{left:?}");
    }
}

/// As the version before this one wrote it.
fn file_of_version_3(path: &Path) {
    file_of_version_2(path);
    fs::write(path.with_file_name("store.db.before-2"), "").unwrap();
    SqliteStore::open(path).unwrap().close().unwrap();
    let back = "DROP TABLE attribute; DROP TABLE indexed; PRAGMA user_version = 3;";
    Connection::open(path).unwrap().execute_batch(back).unwrap();
}

#[tokio::test]
async fn a_file_of_version_3_is_changed_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_3(&path);
    let before = fs::metadata(&path).unwrap().ino();
    let opening = Opening::looking(|_, step| panic!("{step:?} takes long"));
    let store = SqliteStore::open_as(&path, Declared::default(), &opening).unwrap();
    assert_eq!((version(&path), fs::metadata(&path).unwrap().ino()), (VERSION, before));
    assert!(!path.with_file_name("store.db.before-3").exists());
    holds_all(&store).await;
    store.close().unwrap();
    // what is declared at the same start is filled
    let mut declared = Declared::default();
    declared.add(
        "user",
        ["action".to_owned(), "targetResource/name".to_owned(), "id".to_owned(), "acl/owner/type".to_owned()],
    );
    let filled = |path: &Path| {
        let sql = "SELECT group_concat(path || '=' || value || '=' || id) FROM attribute";
        Connection::open(path).unwrap().query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap()
    };
    for file in [file_of_version_2, file_of_version_3] {
        fs::remove_file(&path).unwrap();
        file(&path);
        SqliteStore::open_as(&path, declared.clone(), &Opening::default()).unwrap().close().unwrap();
        assert_eq!(filled(&path).as_deref(), Some("acl/owner/type=USER=user/jane"));
    }
}

/// Fault: the process is killed, or somebody writes, while a file of version 3 is changed: it is of one or the other version.
#[test]
fn a_file_of_version_3_that_somebody_writes_to_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_3(&path);
    let mut connection = schema::open_to_write(&path).unwrap();
    connection.execute_batch("CREATE TABLE attribute (other TEXT)").unwrap();
    assert!(schema::prepare_writer(&mut connection, 3).is_err());
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'indexed'", [], |row| row.get(0))
        .unwrap();
    assert_eq!((version(&path), tables), (3, 0));
}

/// Fault: the disk or the process ends while the new file is written.
#[tokio::test]
async fn what_was_left_half_written_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_2(&path);
    let unfinished = path.with_file_name("store.db.new");
    fs::write(&unfinished, "half").unwrap();
    holds_all(&SqliteStore::open(&path).unwrap()).await;
    assert!(!unfinished.exists());
}

/// Fault: the program before was killed, and what it wrote last is in the log alone.
#[tokio::test]
async fn what_is_in_the_log_alone_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (made, path) = (folder.path().join("made.db"), folder.path().join("store.db"));
    file_of_version_2(&made);
    let connection = Connection::open(&made).unwrap();
    connection
        .execute_batch("PRAGMA wal_autocheckpoint = 0; UPDATE resource SET state = 'QUEUED' WHERE id LIKE 'job/%5800%'")
        .unwrap();
    let sql = "UPDATE resource SET document = json_set(document, '$.state', 'QUEUED') WHERE id LIKE 'job/%5800%'";
    connection.execute_batch(sql).unwrap();
    // as kill -9 leaves it
    for suffix in ["", "-wal"] {
        fs::copy(files::beside(&made, suffix), files::beside(&path, suffix)).unwrap();
    }
    drop(connection);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.get(RUNNING).await.unwrap().unwrap().document["state"], "QUEUED");
    assert!(files::beside(&path, "-wal").exists(), "that of the new file");
    store.close().unwrap();
}

#[test]
fn a_file_of_the_version_before_is_changed_only_with_a_copy_unless_none_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_2(&path);
    let copy = path.with_file_name("store.db.before-2");
    fs::create_dir(&copy).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::NoCopy { .. }), "{error}");
    assert_eq!(version(&path), 2, "without a copy nothing is changed");
    fs::remove_dir(&copy).unwrap();
    fs::write(&copy, "").unwrap();
    SqliteStore::open(&path).unwrap().close().unwrap();
    assert_eq!(fs::read(&copy).unwrap(), b"", "an empty file is left empty");
}

#[test]
fn a_copy_that_has_no_room_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_2(&path);
    let size = fs::metadata(&path).unwrap().len();
    let keep = |free| before::keep_beside(&path, 2, &Opening::default(), |_| Ok(free));
    let refused = |free: u64, needed: u64| {
        let error = keep(free).unwrap_err();
        assert!(matches!(error, OpenError::NoSpaceForCopy { needed: said, .. } if said == needed), "{error}");
    };
    let copy = path.with_file_name("store.db.before-2");
    refused(2 * size - 1, 2 * size);
    assert!(!copy.exists());
    keep(2 * size).unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().len(), size);
    // a second try: the copy is put in place of the older one, which makes room for the change
    refused(size - 1, size);
    keep(size).unwrap();
    fs::write(&copy, "older").unwrap();
    refused(2 * size - 6, 2 * size - 5);
    keep(2 * size - 5).unwrap();
}

/// Fault: the room is taken by what the same change has left when it was ended before.
#[test]
fn what_an_ended_change_has_left_is_removed_before_room_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_2(&path);
    let left = ["store.db.new", "store.db.before-2.new"].map(|name| path.with_file_name(name));
    for left in &left {
        fs::write(left, "half").unwrap();
    }
    let is_free = |_: &Path| Ok(if left.iter().any(|left| left.exists()) { 0 } else { u64::MAX });
    before::keep_beside(&path, 2, &Opening::default(), is_free).unwrap();
    // also where no copy is wanted
    fs::write(path.with_file_name("store.db.before-2"), "").unwrap();
    fs::write(&left[0], "half").unwrap();
    before::keep_beside(&path, 2, &Opening::default(), is_free).unwrap();
    assert!(!left[0].exists());
}

#[test]
fn an_opening_that_is_stopped_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_2(&path);
    let opening = Opening::default();
    opening.stop();
    let stopped = |left: &[&str]| {
        let error = SqliteStore::open_as(&path, Declared::default(), &opening).err().unwrap();
        assert!(matches!(error, OpenError::Stopped { .. }), "{error}");
        assert_eq!((version(&path), opening.step()), (2, None));
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names: Vec<_> = names.filter(|name| name.contains("before") || name.contains("new")).collect();
        assert_eq!(names, left);
    };
    stopped(&[]);
    // also where only the change is left to do
    fs::write(path.with_file_name("store.db.before-2"), "").unwrap();
    stopped(&["store.db.before-2"]);
    SqliteStore::open(&path).unwrap().close().unwrap();
    assert_eq!(version(&path), VERSION);
}

/// So many jobs more, of the form of version 2.
fn add_jobs(path: &Path, count: u32, bytes: u32) {
    let connection = Connection::open(path).unwrap();
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
               INSERT INTO resource (type, id, revision, document, irregular, state, action, created, updated) \
               SELECT 'job', printf('job/%08x-57ff-7010-b0be-14f3f033efd7', i), 1, \
               printf('{\"state\":\"STOPPED\",\"action\":\"more\",\"description\":\"%.*c\"}', ?2, 'x'), 0, 'STOPPED', 'more', \
               NULL, NULL FROM n";
    assert_eq!(connection.execute(sql, [count, bytes]).unwrap(), usize::try_from(count).unwrap());
}

async fn holds_jobs(store: &SqliteStore, count: u32) {
    let filter = Some(Filter::parse("action='more'").unwrap());
    let found = store.search("job", &Query { filter, ..Query::default() }).await.unwrap();
    assert_eq!(found.count, u64::from(count));
}

fn mode(path: &Path) -> String {
    Connection::open(path).unwrap().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap()
}

/// Fault: somebody stops the change, or the process is killed, at each of its steps, with a copy there already or not.
#[tokio::test]
async fn a_change_that_is_ended_at_any_step_is_done_by_the_next_start() {
    let is_at: [fn(Step) -> bool; 6] = [
        |step| matches!(step, Step::Copying(_)),
        |step| step == Step::Checking,
        |step| matches!(step, Step::Writing(Done { done: 0, .. })),
        |step| matches!(step, Step::Writing(Done { done: 1.., .. })),
        |step| matches!(step, Step::Indexing(Done { done: 0, .. })),
        |step| matches!(step, Step::Indexing(Done { done: 1.., .. })),
    ];
    for (number, is_at) in is_at.into_iter().enumerate() {
        for (is_killed, has_copy) in [(false, false), (true, true)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store.db");
            file_of_version_2(&path);
            // more than are written between two looks
            add_jobs(&path, 2_500, 10);
            let copy = path.with_file_name("store.db.before-2");
            if has_copy {
                fs::write(&copy, "of an older change").unwrap();
            }
            let opening = Opening::looking(move |opening, step| {
                if is_at(step) {
                    assert!(!is_killed, "as the test wants it");
                    opening.stop();
                }
            });
            let ended = panic::catch_unwind(AssertUnwindSafe(|| {
                SqliteStore::open_as(&path, Declared::default(), &opening).err()
            }));
            let when = format!("step {number}, killed {is_killed}, copy {has_copy}");
            match ended {
                Ok(stopped) => {
                    assert!(!is_killed && matches!(stopped, Some(OpenError::Stopped { .. })), "{when}: {stopped:?}");
                }
                Err(_) => assert!(is_killed, "{when}"),
            }
            // a killed one leaves what it had begun
            let begun = path.with_file_name("store.db.new").exists() || files::beside(&copy, ".new").exists();
            assert_eq!(begun, is_killed, "{when}");
            assert_eq!((version(&path), mode(&path).as_str()), (2, "delete"), "{when}");
            let store = SqliteStore::open(&path).unwrap();
            holds_all(&store).await;
            holds_jobs(&store, 2_500).await;
            assert_eq!((version(&copy), mode(&path).as_str()), (2, "wal"), "{when}");
            store.close().unwrap();
        }
    }
}

/// Fault: a backup, or a shell of sqlite3, reads while the newer version starts.
#[tokio::test]
async fn whoever_reads_the_file_is_waited_for_within_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_2(&path);
    let reader = Connection::open(&path).unwrap();
    reader.query_row("SELECT count(*) FROM resource", [], |row| row.get::<_, i64>(0)).unwrap();
    let old = schema::open_to_write(&path).unwrap();
    old.query_row("SELECT count(*) FROM resource", [], |row| row.get::<_, i64>(0)).unwrap();
    let error = leave_log(&old, &path, Duration::ZERO, &Opening::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    drop(old);
    let stopped = Opening::looking(|opening, step| {
        assert_eq!(step, Step::Waiting);
        opening.stop();
    });
    let error = SqliteStore::open_as(&path, Declared::default(), &stopped).err().unwrap();
    assert!(matches!(error, OpenError::Stopped { .. }), "{error:?}");
    assert_eq!(mode(&path), "wal", "nothing is changed meanwhile");
    let (mut reader, mut waited) = (Some(reader), 0);
    let (told, steps) = std::sync::mpsc::channel();
    let opening = Opening::looking(move |_, step| {
        if step == Step::Waiting {
            waited += 1;
            reader.take_if(|_| waited > 2);
        }
        told.send(step).unwrap();
    });
    holds_all(&SqliteStore::open_as(&path, Declared::default(), &opening).unwrap()).await;
    let steps: Vec<Step> = steps.try_iter().collect();
    assert!(steps[0] == Step::Waiting && steps.contains(&Step::Checking), "{steps:?}");
}

/// Somebody else's file stays theirs, whoever starts the newer version: root, to look what it does.
#[test]
fn owner_and_rights_of_the_file_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_2(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // only root may give a file away
    let is_given = std::os::unix::fs::chown(&path, Some(12_345), Some(23_456)).is_ok();
    let whose = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o7777)
    };
    let before = whose(&path);
    assert!(!is_given || before == (12_345, 23_456, 0o640), "{before:?}");
    SqliteStore::open(&path).unwrap().close().unwrap();
    assert_eq!((whose(&path), whose(&path.with_file_name("store.db.before-2"))), (before, before));
}

/// Fault: somebody has put a row into the table by hand whose type is not that of its id.
#[test]
fn a_row_that_would_be_lost_is_an_error_before_anything_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    file_of_version_2(&path);
    let connection = Connection::open(&path).unwrap();
    let sql = "INSERT INTO resource SELECT 'other', id, revision, document, ledger, irregular, state, action, target, parent, \
               created, updated, priority, owner, audience, entry, lease FROM resource WHERE id = ?";
    assert_eq!(connection.execute(sql, [QUEUED]).unwrap(), 1);
    drop(connection);
    let error = SqliteStore::open(&path).err().unwrap();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains(QUEUED) && cause.contains("is there twice"), "{error:?}");
    assert_eq!(version(&path), 2);
    assert!(!path.with_file_name("store.db.new").exists());
}
