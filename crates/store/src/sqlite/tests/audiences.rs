//! What is kept of who may see documents, and of how many there are.

use super::*;

/// How many audiences, viewers and counts there are.
async fn kept(store: &SqliteStore) -> [i64; 3] {
    inspect(store, |connection| {
        ["audience", "viewer", "tally"]
            .map(|table| connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap())
    })
    .await
}

fn is_tallied(plan: &[String]) -> bool {
    plan.iter().any(|line| line.starts_with("SEARCH tally USING INDEX tally_by_all (scope=? AND type=?"))
        && plan.iter().all(|line| !line.contains("resource"))
}

fn job(state: &str, owner: &Value) -> Value {
    let rule = json!({"type": "ROLE", "principal": "ADMIN", "right": "ALL"});
    json!({"state": state, "action": "noop", "acl": {"owner": owner, "rules": [rule]}})
}

#[tokio::test]
async fn an_audience_lives_as_long_as_a_document_has_it() {
    let (_folder, _path, store) = new_store();
    let jane = json!({"type": "USER", "principal": "jane"});
    let administrator = json!({"type": "ROLE", "principal": "ADMIN"});
    store.insert(record("job/1", &job("QUEUED", &administrator))).await.unwrap();
    assert_eq!(kept(&store).await, [0, 0, 2], "administrators alone are no audience");
    store.insert(record("job/2", &job("QUEUED", &jane))).await.unwrap();
    store.insert(record("job/3", &job("QUEUED", &jane))).await.unwrap();
    assert_eq!(kept(&store).await, [1, 2, 4], "jane and administrators");
    let running = Record { revision: Revision(1), ..record("job/2", &job("RUNNING", &jane)) };
    store.replace(running).await.unwrap();
    assert_eq!(kept(&store).await, [1, 2, 7]);
    store.remove("job/3", Revision(1)).await.unwrap();
    assert_eq!(kept(&store).await, [1, 2, 5]);
    let taken_away = Record { revision: Revision(2), ..record("job/2", &job("RUNNING", &administrator)) };
    store.replace(taken_away).await.unwrap();
    assert_eq!(kept(&store).await, [0, 0, 4]);
    let everything = Filter::parse("action='noop'").unwrap();
    assert_eq!(store.remove_matching("job", &everything).await.unwrap(), 2);
    assert_eq!(kept(&store).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_refused_write_leaves_no_audience() {
    let (_folder, _path, store) = new_store();
    let administrator = json!({"type": "ROLE", "principal": "ADMIN"});
    store.insert(record("job/1", &job("QUEUED", &administrator))).await.unwrap();
    let before = kept(&store).await;
    let jane = job("QUEUED", &json!({"type": "USER", "principal": "jane"}));
    assert!(store.insert(record("job/1", &jane)).await.is_err());
    assert!(store.replace(Record { revision: Revision(7), ..record("job/1", &jane) }).await.is_err());
    assert!(store.replace(Record { revision: Revision(1), ..record("job/2", &jane) }).await.is_err());
    assert_eq!(kept(&store).await, before);
}

#[tokio::test]
async fn what_a_caller_may_see_is_found_in_the_order_wanted_and_counted_without_looking() {
    let (_folder, path, store) = new_store();
    for (number, owner) in ["jane", "joe", "jane", "rachel"].iter().enumerate() {
        let owner = json!({"type": "USER", "principal": owner});
        store.insert(record(&format!("job/{number}"), &job("QUEUED", &owner))).await.unwrap();
    }
    let reader = Reader::open(&path, Arc::default(), SEARCH_LIMIT).unwrap();
    let newest = vec![Order { attribute: "created".into(), descending: true }];
    let callers = ["jane", "joe"].map(|name| Principal::User(name.to_owned())).to_vec();
    for (filter, order, index) in [
        (None, newest.clone(), "resource_by_audience "),
        (Some("state='QUEUED'"), newest.clone(), "resource_by_audience_and_state "),
        (Some("action='noop'"), newest, "resource_by_audience_and_action "),
        (None, Vec::new(), "resource_by_audience_and_id "),
    ] {
        let filter = filter.map(|text| Filter::parse(text).unwrap());
        let query = Query { filter, order, visible_to: Some(callers.clone()), limit: 20, ..Query::default() };
        let page = reader.plan("job", &query, false, false).unwrap();
        let reads: Vec<_> = page.iter().filter(|line| line.contains("resource")).collect();
        assert_eq!(reads.len(), 2, "{page:#?}");
        assert!(reads.iter().all(|line| format!("{line} ").contains(index)), "{page:#?}");
        assert!(page.iter().all(|line| !line.contains("TEMP B-TREE")), "{page:#?}");
        let count = reader.plan("job", &query, true, false).unwrap();
        assert!(is_tallied(&count), "{count:#?}");
    }
}

#[tokio::test]
async fn what_a_caller_of_many_audiences_may_see_is_counted_without_looking() {
    let (_folder, path, store) = new_store();
    for number in 0..40 {
        let mut document = job("QUEUED", &json!({"type": "USER", "principal": "jane"}));
        let rule = json!({"type": "USER", "principal": number.to_string(), "right": "VIEW"});
        document["acl"]["rules"].as_array_mut().unwrap().push(rule);
        store.insert(record(&format!("job/{number}"), &document)).await.unwrap();
    }
    let reader = Reader::open(&path, Arc::default(), SEARCH_LIMIT).unwrap();
    let callers = vec![Principal::User("jane".to_owned())];
    let query = Query { visible_to: Some(callers), limit: 20, ..Query::default() };
    let count = reader.plan("job", &query, true, false).unwrap();
    assert!(is_tallied(&count), "{count:#?}");
}

#[tokio::test]
async fn states_actions_and_an_owner_are_counted_without_looking() {
    let (_folder, path, _store) = new_store();
    let reader = Reader::open(&path, Arc::default(), SEARCH_LIMIT).unwrap();
    for text in [
        "state='QUEUED' and action='noop'",
        "state=['QUEUED','RUNNING'] or action^='no'",
        "acl/owner/principal='jane' and state='QUEUED'",
        "state!=null",
    ] {
        let query = Query { filter: Some(Filter::parse(text).unwrap()), limit: 20, ..Query::default() };
        let count = reader.plan("job", &query, true, false).unwrap();
        assert!(is_tallied(&count), "{text}: {count:#?}");
    }
}
#[tokio::test]
async fn a_caller_of_very_many_audiences_looks_at_theirs_alone() {
    let (_folder, path, store) = new_store();
    for number in 0..40 {
        let mut document = job("QUEUED", &json!({"type": "USER", "principal": "jane"}));
        document["acl"]["rules"] = json!([{"type": "USER", "principal": format!("user-{number}"), "right": "VIEW"}]);
        store.insert(record(&format!("job/{number}"), &document)).await.unwrap();
    }
    let reader = Reader::open(&path, Arc::default(), SEARCH_LIMIT).unwrap();
    let callers = vec![Principal::User("jane".to_owned()), Principal::Role("ANON".to_owned())];
    let order = vec![Order { attribute: "created".into(), descending: true }];
    let query = Query { visible_to: Some(callers), order, limit: 20, ..Query::default() };
    let count = reader.plan("job", &query, true, false).unwrap();
    assert!(is_tallied(&count), "{count:#?}");
    let page = reader.plan("job", &query, false, true).unwrap();
    assert!(page.iter().any(|line| line.contains("(type=? AND audience=?)")), "{page:#?}");
    assert_eq!(store.search("job", &query).await.unwrap().count, 40);
    assert!(!reader.sorts("job", &query, 60).unwrap(), "of 40 documents");
    for number in 0..100 {
        store.insert(record(&format!("job/other-{number}"), &json!({"state": "QUEUED"}))).await.unwrap();
    }
    assert!(reader.sorts("job", &query, 60).unwrap(), "of 140, not only of those that the caller may see");
}
