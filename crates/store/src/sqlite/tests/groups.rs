//! Lists of changes by several callers in one group: each is answered in its place, whatever becomes of the others.

use super::*;

fn shown(answers: &[Result<Revision, StoreError>]) -> Vec<String> {
    let shown = |answer: &Result<Revision, StoreError>| match answer {
        Ok(revision) => revision.0.to_string(),
        Err(StoreError::Full { .. }) => "full".to_owned(),
        Err(error) => error.to_string(),
    };
    answers.iter().map(shown).collect()
}

fn replace(id: &str, revision: u64, document: &Value) -> crate::Write {
    crate::Write::Replace(Record { revision: Revision(revision), ..record(id, document) })
}

fn remove(id: &str) -> crate::Write {
    crate::Write::Remove(id.to_owned(), Revision(1))
}

#[tokio::test]
async fn each_caller_is_answered_its_own_changes_in_their_order() {
    let (_folder, path, store) = new_store();
    let store = Arc::new(store);
    let before = transactions_in_log(&path);
    let one = vec![insert("job/1", &json!({})), insert("job/1", &json!({})), replace("job/1", 1, &json!({"n": 1}))];
    let other = vec![replace("job/1", 2, &json!({"n": 2})), remove("job/2"), insert("job/2", &json!({}))];
    let answers = lists_in_one_group(&store, vec![one, vec![], other, vec![remove("job/2")]]).await;
    let answers: Vec<_> = answers.iter().map(|answers| shown(answers)).collect();
    let other = ["3", "job/2 was changed meanwhile", "1"];
    assert_eq!(answers, [&["1", "job/1 exists", "2"][..], &[], &other, &["1"]]);
    assert_eq!(transactions_in_log(&path) - before, 1);
    assert_eq!(store.get("job/1").await.unwrap().unwrap().document["n"], 2);
}

/// What fits in one request is one transaction, and what does not is several, each change answered in its place.
#[tokio::test]
async fn a_list_that_is_longer_than_a_group_is_answered_as_one() {
    let (_folder, path, store) = new_store();
    let before = transactions_in_log(&path);
    let exists = |number: usize| number.is_multiple_of(700);
    store.insert(record("job/again", &json!({}))).await.unwrap();
    let id = |number| if exists(number) { "job/again".to_owned() } else { format!("job/{number}") };
    let list = (0..=2 * writer::LARGEST_GROUP).map(|number| insert(&id(number), &json!({})));
    let answers = store.write(list.collect()).await;
    assert_eq!(answers.len(), 2 * writer::LARGEST_GROUP + 1);
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_err(), exists(number), "{number}: {answer:?}");
    }
    assert_eq!(transactions_in_log(&path) - before, 1 + 3);
}

/// Limits the database to what it has, and so many pages more.
async fn limit(store: &SqliteStore, more: u32) {
    inspect(store, move |connection| {
        let pages: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit = format!("PRAGMA max_page_count = {}", pages + more);
        connection.query_row(&limit, [], |row| row.get::<_, u32>(0)).unwrap();
    })
    .await;
}

/// Fault: one of the changes has no space, and there is no reserve that could be given back for it.
#[tokio::test]
async fn a_change_that_has_no_space_takes_no_other_of_its_list_or_group_with_it() {
    let (_folder, _path, store) = new_store();
    let store = Arc::new(store);
    for number in 0..4 {
        store.insert(record(&format!("job/{number}"), &json!({"state": "RUNNING"}))).await.unwrap();
    }
    limit(&store, 0).await;
    let large = json!({"text": "x".repeat(200_000)});
    let ended = json!({"state": "SUCCESS"});
    let one = vec![replace("job/0", 1, &ended), insert("job/large", &large), remove("job/1"), remove("job/none")];
    let other = vec![insert("job/larger", &large), replace("job/2", 1, &ended), insert("job/2", &json!({}))];
    let answers = lists_in_one_group(&store, vec![one, other]).await;
    let answers: Vec<_> = answers.iter().map(|answers| shown(answers)).collect();
    let one = ["2", "full", "1", "job/none was changed meanwhile"];
    assert_eq!(answers, [&one[..], &["full", "2", "job/2 exists"]]);
    assert!(store.get("job/large").await.unwrap().is_none());
}

/// Fault: somebody reads for so long that nothing is admitted but what frees space and ends jobs; or the file is gone.
#[tokio::test]
async fn refusals_and_answers_of_what_is_admitted_stand_in_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let limits = Limits { search: SEARCH_LIMIT, log: 1 };
    let store = Arc::new(SqliteStore::open_within(&path, limits, Declared::default(), &Opening::default()).unwrap());
    for number in 0..3 {
        store.insert(record(&format!("job/{number}"), &json!({"state": "RUNNING"}))).await.unwrap();
    }
    let mut reader = Connection::open(&path).unwrap();
    let reading = reader.transaction().unwrap();
    reading.query_row("SELECT count(*) FROM resource", [], |row| row.get::<_, i64>(0)).unwrap();
    store.remove("job/0", Revision(1)).await.unwrap();
    let running = json!({"state": "RUNNING", "progress": 1});
    let one = vec![insert("job/3", &json!({})), remove("job/1"), replace("job/2", 1, &running)];
    let other = vec![remove("job/none"), insert("job/4", &json!({})), replace("job/2", 1, &json!({"state": "FAILED"}))];
    let answers = lists_in_one_group(&store, vec![one, other]).await;
    let outcome = |answer: &Result<Revision, StoreError>| match answer {
        Err(StoreError::LogTooLong { .. }) => "refused",
        Err(StoreError::Changed(_)) => "changed",
        Err(_) => "failed",
        Ok(_) => "done",
    };
    let outcomes: Vec<Vec<_>> = answers.iter().map(|answers| answers.iter().map(outcome).collect()).collect();
    assert_eq!(outcomes, [["refused", "done", "refused"], ["changed", "refused", "done"]]);
    drop(reading);
    fs::rename(&path, beside(&path, "-elsewhere")).unwrap();
    let moved = lists_in_one_group(&store, vec![vec![remove("job/0"), remove("job/1")], vec![remove("job/2")]]).await;
    assert_eq!(moved.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert!(moved.iter().flatten().all(|answer| matches!(answer, Err(StoreError::Moved { .. }))), "{moved:?}");
}
