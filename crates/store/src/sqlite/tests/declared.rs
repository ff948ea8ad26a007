//! Indexes of declared attributes: filled, dropped, kept, and used.

use slipstream_cimi::filter::Filter;

use super::*;

fn declared(paths: &[&str]) -> Declared {
    let mut declared = Declared::default();
    declared.add("credential", paths.iter().map(|path| (*path).to_owned()));
    declared
}

fn open(path: &Path, paths: &[&str]) -> SqliteStore {
    SqliteStore::open_as(path, declared(paths), &Opening::default()).unwrap()
}

fn credential(number: usize) -> (String, Value) {
    let id = format!("credential/{number:04}");
    let document = json!({
        "id": id, "type": if number % 4 == 0 { "cloud-cred-exoscale" } else { "ssh-key" }, "key": format!("key-{}", number % 10),
        "created": format!("2026-01-01T00:{:02}:{:02}.000Z", number / 60, number % 60),
        "connector": {"href": format!("connector/{}", number % 3)},
    });
    (id, document)
}

async fn fill(store: &SqliteStore, count: usize) {
    for (id, document) in (0..count).map(credential) {
        store.insert(record(&id, &document)).await.unwrap();
    }
}

/// Type, path and value of what the index has, each with how many documents.
async fn index(store: &SqliteStore) -> Vec<(String, String, i64)> {
    inspect(store, |connection| {
        let sql = "SELECT path, CAST(value AS TEXT), count(*) FROM attribute GROUP BY path, value ORDER BY path, value";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.collect::<rusqlite::Result<Vec<_>>>().unwrap()
    })
    .await
}

fn row(path: &str, value: &str, count: i64) -> (String, String, i64) {
    (path.to_owned(), value.to_owned(), count)
}

async fn count(store: &SqliteStore, text: &str) -> u64 {
    let query = Query { filter: Some(Filter::parse(text).unwrap()), limit: 5, ..Query::default() };
    store.search("credential", &query).await.unwrap().count
}

#[tokio::test]
async fn an_index_is_filled_when_it_is_declared_and_goes_when_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    fill(&store, 8).await;
    store.insert(record("job/1", &json!({"type": "ssh-key"}))).await.unwrap();
    assert_eq!(index(&store).await, []);
    drop(store);
    let types = [row("type", "cloud-cred-exoscale", 2), row("type", "ssh-key", 6)];
    let store = open(&path, &["type"]);
    assert_eq!(index(&store).await, types, "of credentials alone");
    drop(store);
    let store = open(&path, &["connector/href", "type"]);
    let connectors = [row("connector/href", "connector/0", 3), row("connector/href", "connector/1", 3)];
    assert_eq!(index(&store).await[..2], connectors);
    assert_eq!(index(&store).await[3..], types);
    drop(store);
    let store = open(&path, &["type"]);
    assert_eq!(index(&store).await, types);
    drop(store);
    assert_eq!(index(&SqliteStore::open(&path).unwrap()).await, []);
}

#[tokio::test]
async fn an_index_follows_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db"), &["type"]);
    fill(&store, 2).await;
    let change = async |document: Value| {
        let mut stored = store.get("credential/0001").await.unwrap().unwrap();
        stored.document = document.as_object().unwrap().clone().into();
        store.replace(stored).await.unwrap();
        index(&store).await
    };
    let first = || row("type", "cloud-cred-exoscale", 1);
    assert_eq!(change(json!({"type": "cloud-cred-exoscale"})).await, [row("type", "cloud-cred-exoscale", 2)]);
    assert_eq!(change(json!({"type": null})).await, [first()]);
    for irregular in [json!(3), json!(["a", "b"]), json!({"href": "a"}), json!("x".repeat(513))] {
        assert_eq!(change(json!({"type": irregular})).await, [first(), row("type", "", 1)], "{irregular}");
        assert_eq!(count(&store, "type^='cloud-'").await, 1);
    }
    assert_eq!(change(json!({"type": ["a", "b"]})).await[1], row("type", "", 1));
    assert_eq!((count(&store, "type='b'").await, count(&store, "type=['c','d']").await), (1, 0));
    let late = crate::Write::Remove("credential/0001".to_owned(), Revision(1));
    assert!(matches!(store.write(vec![late]).await[..], [Err(StoreError::Changed(_))]));
    assert_eq!(index(&store).await.len(), 2, "what is refused changes nothing");
    for id in ["credential/0000", "credential/0001"] {
        let revision = store.get(id).await.unwrap().unwrap().revision;
        store.remove(id, revision).await.unwrap();
    }
    assert_eq!(index(&store).await, []);
}

/// Fault: a document is damaged where it is stored.
#[tokio::test]
async fn of_a_damaged_document_no_row_is_left_once_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path, &["type"]);
    fill(&store, 2).await;
    let damage = "UPDATE resource SET document = x'00' WHERE id = 'credential/0001'";
    inspect(&store, |connection| assert_eq!(connection.execute(damage, []).unwrap(), 1)).await;
    let whole = Record { revision: Revision(1), ..record("credential/0001", &json!({"type": "other"})) };
    store.replace(whole).await.unwrap();
    assert_eq!(index(&store).await, [row("type", "cloud-cred-exoscale", 1), row("type", "other", 1)]);
    inspect(&store, |connection| assert_eq!(connection.execute(damage, []).unwrap(), 1)).await;
    drop(store);
    // an index that is filled has it as something that is looked at
    let store = open(&path, &["key"]);
    assert_eq!(index(&store).await, [row("key", "key-0", 1), row("key", "", 1)]);
}

#[tokio::test]
async fn searches_by_declared_attributes_use_their_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let paths = ["type", "key", "connector/href"];
    let store = open(&path, &paths);
    fill(&store, 400).await;
    let reader = Reader::open(&path, Arc::new(declared(&paths)), SEARCH_LIMIT).unwrap();
    for (text, range) in [
        ("type='ssh-key'", "value=?"),
        ("type=['ssh-key','other']", "value=?"),
        ("type^='cloud-cred-'", "value>? AND value<?"),
        ("type^='cloud-cred-' and disabledMonitoring!=true", "value>? AND value<?"),
        ("connector/href='connector/1' and key='key-3'", "value=?"),
    ] {
        for (is_count, order) in [(true, None), (false, None), (false, Some("created")), (false, Some("key"))] {
            let order = order.into_iter().map(|path| Order { attribute: path.to_owned(), descending: true });
            let filter = Some(Filter::parse(text).unwrap());
            let query = Query { filter, order: order.collect(), limit: 20, ..Query::default() };
            let plan = reader.plan("credential", &query, is_count, true).unwrap();
            let told = format!("{query:?}: {plan:#?}");
            let mut reads = plan.iter().filter(|line| line.contains(" attribute ")).peekable();
            assert!(reads.peek().is_some(), "{told}");
            let search = format!("SEARCH attribute USING PRIMARY KEY (type=? AND path=? AND {range}");
            assert!(reads.all(|line| line.starts_with(&search)), "{told}");
            let mut reads = plan.iter().filter(|line| line.contains(" resource "));
            assert!(
                reads.all(|line| line.starts_with("SEARCH resource") && line.contains("type=? AND id=?")),
                "{told}"
            );
            let is_alone = is_count && !text.contains(" and ");
            assert_eq!(is_alone, !told.contains("SEARCH resource"), "{told}");
        }
    }
    assert_eq!(count(&store, "type='ssh-key' and key='key-3'").await, 40);
    assert_eq!(count(&store, "type^='cloud-cred-' and disabledMonitoring!=true").await, 100);
}

#[tokio::test]
async fn thousands_of_declared_conditions_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db"), &["type", "key", "connector/href"]);
    fill(&store, 20).await;
    let joined = |word: &str, text: &dyn Fn(usize) -> String| {
        (0..6_000).map(text).collect::<Vec<_>>().join(&format!(" {word} "))
    };
    let nested = |number| format!("(key^='key-{number}' and type^='ssh')");
    assert_eq!(count(&store, &joined("or", &nested)).await, 15);
    assert_eq!(count(&store, &joined("or", &|number| format!("key='key-{number}'"))).await, 20);
    assert_eq!(count(&store, &joined("and", &|_| "type^='ssh-'".to_owned())).await, 15);
}

/// Fault: the opening is stopped while an index is filled.
#[tokio::test]
async fn an_index_that_was_not_filled_is_filled_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    fill(&store, 8).await;
    drop(store);
    let stopping = Opening::looking(|opening, step| {
        assert_eq!(step, Step::Declaring(Done { done: 0, all: 8 }));
        opening.stop();
    });
    let stopped = SqliteStore::open_as(&path, declared(&["type"]), &stopping).err().unwrap();
    assert!(matches!(stopped, OpenError::Stopped { .. }), "{stopped}");
    let store = open(&path, &["type"]);
    assert_eq!(index(&store).await.len(), 2);
}

#[test]
fn what_has_an_index_anyway_or_holds_times_is_not_declared() {
    let mut left_out = Declared::default();
    left_out.add("credential", ["state", "created", "expiry", "acl/owner/principal"].map(str::to_owned));
    assert_eq!(left_out, declared(&[]));
    assert!(may_be_indexed("type") && may_be_indexed("acl/owner/type"));
}
