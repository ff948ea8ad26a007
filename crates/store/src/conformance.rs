//! What every [`Store`] keeps to: each case runs over each adapter.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_cimi::acl::{Principal, default_acl};
use slipstream_cimi::filter::Filter;
use slipstream_cimi::query::{Aggregation, Order};
use slipstream_cimi::{Document, Lease};

pub(super) use self::aggregations::asked;
use self::aggregations::{
    aggregations_are_over_all_that_is_selected, aggregations_are_over_what_may_be_seen,
    irregular_values_are_aggregated, what_cannot_be_computed_is_refused,
};
use self::filters::{
    a_filter_of_thousands_of_terms, dates_compare_as_instants, filters_select, irregular_values_are_found,
    lists_of_thousands, one_irregular_value_is_enough, prefixes_and_lists_select,
};
use self::meaning::{
    row_conversions, row_dates, row_lists_in_documents, row_lists_words_and_properties, row_missing,
    row_reversed_operands, row_strings, row_types,
};
use self::visibility::{
    callers_see_what_names_them, changed_access_control_holds_at_once, names_that_are_numbers, shared_with_ever_others,
};
use crate::memory::MemoryStore;
use crate::sqlite::{Declared, Opening, SqliteStore};
use crate::{Found, IndexRow, Query, Record, Revision, Store, StoreError, StoreExt, StoredDocument};

mod aggregations;
mod filters;
mod meaning;
mod property;
mod visibility;

/// Runs each case over each store.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $case() { super::$case(super::Arc::new(super::MemoryStore::default())).await; })+
        }
        mod sqlite {
            $(#[tokio::test] async fn $case() {
                let folder = tempfile::tempdir().unwrap();
                super::$case(super::Arc::new(super::SqliteStore::open(&folder.path().join("store.db")).unwrap())).await;
            })+
        }
        mod sqlite_with_declared_attributes {
            $(#[tokio::test] async fn $case() {
                let folder = tempfile::tempdir().unwrap();
                super::$case(super::Arc::new(super::with_declared(&folder.path().join("store.db")))).await;
            })+
        }
    };
}

cases!(
    insert_adds_as_revision_1_and_refuses_a_second,
    get_finds_nothing_where_nothing_is,
    replace_needs_the_stored_revision,
    what_was_read_is_found_as_it_was_changed,
    remove_needs_the_stored_revision,
    one_of_many_concurrent_replaces_wins_each_revision,
    one_of_many_concurrent_inserts_wins,
    documents_keep_the_order_of_their_members,
    a_search_sees_only_its_type,
    filters_select,
    missing_values_come_last_in_both_directions,
    equal_values_are_ordered_by_id,
    of_several_values_the_extreme_one_orders,
    pages_do_not_overlap_and_count_everything,
    a_page_that_is_large_names_its_other_documents,
    limit_0_counts,
    a_walk_sees_each_exactly_once,
    a_walk_passes_over_no_form_of_ids,
    unfinished_jobs_are_told_by_id_with_their_entries,
    what_is_unfinished_follows_every_change,
    dates_compare_as_instants,
    prefixes_and_lists_select,
    lists_of_thousands,
    irregular_values_are_found,
    one_irregular_value_is_enough,
    remove_matching_removes_those_and_no_others,
    a_filter_of_thousands_of_terms,
    row_missing,
    row_lists_in_documents,
    row_strings,
    row_conversions,
    row_reversed_operands,
    row_lists_words_and_properties,
    row_types,
    row_dates,
    aggregations_are_over_all_that_is_selected,
    aggregations_are_over_what_may_be_seen,
    irregular_values_are_aggregated,
    what_cannot_be_computed_is_refused,
    callers_see_what_names_them,
    changed_access_control_holds_at_once,
    shared_with_ever_others,
    names_that_are_numbers,
);

/// Indexes that nothing may depend on: every document is found as without them.
const DECLARED: [&str; 9] =
    ["name", "note", "progress", "nested/list", "flag", "tags", "nowhere", "properties/a", "statusMessage"];

/// A store in which jobs have these indexes.
fn with_declared(path: &Path) -> SqliteStore {
    let mut declared = Declared::default();
    declared.add("job", DECLARED.map(str::to_owned));
    SqliteStore::open_as(path, declared, &Opening::default()).unwrap()
}

pub(super) fn record(id: &str, document: &Value) -> Record {
    let document = document.as_object().expect("a document is an object").clone();
    Record { id: id.to_owned(), revision: Revision(0), document: document.into(), ledger: Value::Null }
}

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap()
}

fn order(attribute: &str, descending: bool) -> Order {
    Order { attribute: attribute.to_owned(), descending }
}

fn ids(page: &Found) -> Vec<&str> {
    page.records.iter().map(|record| record.id.as_str()).collect()
}

async fn fill(store: &dyn Store, documents: &[(&str, Value)]) {
    for (id, document) in documents {
        store.insert(record(id, document)).await.unwrap();
    }
}

/// The answers about what a query selects.
pub(super) async fn aggregate(
    store: &dyn Store,
    kind: &str,
    query: &Query,
    asked: &[Aggregation],
) -> Result<Vec<Value>, StoreError> {
    let query = Query { aggregations: asked.to_vec(), limit: 0, ..query.clone() };
    store.search(kind, &query).await.map(|found| found.aggregations)
}

async fn search(store: &dyn Store, text: &str) -> Vec<String> {
    let query = Query { filter: Some(filter(text)), limit: 100, ..Query::default() };
    let page = store.search("job", &query).await.unwrap();
    assert_eq!(page.count, page.records.len() as u64, "{text}");
    page.records.into_iter().map(|record| record.id).collect()
}

async fn insert_adds_as_revision_1_and_refuses_a_second(store: Arc<dyn Store>) {
    let first = Record {
        revision: Revision(7),
        ledger: json!({"attempts": []}),
        ..record("job/1", &json!({"state": "QUEUED"}))
    };
    store.insert(first.clone()).await.unwrap();
    let second = store.insert(record("job/1", &json!({"state": "RUNNING"}))).await;
    assert!(matches!(second, Err(StoreError::Exists(id)) if id == "job/1"));
    assert_eq!(store.get("job/1").await.unwrap(), Some(Record { revision: Revision(1), ..first }));
}

async fn get_finds_nothing_where_nothing_is(store: Arc<dyn Store>) {
    fill(&*store, &[("job/1", json!({}))]).await;
    assert_eq!(store.get("job/2").await.unwrap(), None);
    assert_eq!(store.get("").await.unwrap(), None);
}

/// Without having been looked at as a whole.
async fn what_was_read_is_found_as_it_was_changed(store: Arc<dyn Store>) {
    let acl = json!({"owner": {"type": "USER", "principal": "jane"}, "rules": []});
    let before = json!({"id": "job/1", "state": "QUEUED", "action": "a", "priority": 7, "acl": default_acl(),
                        "parentJob": "job/2", "targetResource": {"href": "x/1"}, "tags": [1, {"b": null}]});
    fill(&*store, &[("job/1", before), ("job/2", json!({"id": "job/2", "state": "QUEUED"}))]).await;
    let change = async |remove: &[&str], set: Value| {
        let mut changed = store.get("job/1").await.unwrap().unwrap();
        let remove: Vec<String> = remove.iter().map(|&name| name.to_owned()).collect();
        changed.document.change(&remove, set.as_object().unwrap().clone());
        store.replace(changed).await.unwrap();
        let text = serde_json::to_string(&*store.get("job/1").await.unwrap().unwrap().document).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let after = change(&[], json!({"state": "RUNNING", "started": "now"})).await;
    assert_eq!(
        (&after["state"], &after["started"], &after["tags"][1]),
        (&json!("RUNNING"), &json!("now"), &json!({"b": null}))
    );
    assert_eq!(search(&*store, "state='RUNNING' and action='a' and priority=7 and parentJob='job/2'").await, ["job/1"]);
    assert_eq!(search(&*store, "acl/owner/principal='ADMIN' and targetResource/href='x/1'").await, ["job/1"]);
    let after = change(&["parentJob", "started"], json!({"acl": acl, "action": "b", "priority": "high"})).await;
    assert_eq!((after.get("parentJob"), after.get("started"), &after["acl"]), (None, None, &acl));
    assert_eq!(search(&*store, "acl/owner/principal='jane' and action='b' and priority='high'").await, ["job/1"]);
    let jane = Query { visible_to: Some(vec![Principal::User("jane".to_owned())]), limit: 9, ..Query::default() };
    assert_eq!(ids(&store.search("job", &jane).await.unwrap()), ["job/1"]);
    assert_eq!(search(&*store, "parentJob='job/2' or started='now'").await, [""; 0]);
}

async fn replace_needs_the_stored_revision(store: Arc<dyn Store>) {
    fill(&*store, &[("job/1", json!({"state": "QUEUED"}))]).await;
    let mut changed = store.get("job/1").await.unwrap().unwrap();
    changed.document.make_mut().insert("state".into(), json!("RUNNING"));
    changed.ledger = json!({"lease": 3});
    assert_eq!(store.replace(changed.clone()).await.unwrap(), Revision(2));
    let late = store.replace(Record { document: StoredDocument::default(), ..changed.clone() }).await;
    assert!(matches!(late, Err(StoreError::Changed(id)) if id == "job/1"));
    assert_eq!(store.get("job/1").await.unwrap(), Some(Record { revision: Revision(2), ..changed }));
    assert_eq!(search(&*store, "state='RUNNING'").await, ["job/1"]);
    assert!(search(&*store, "state='QUEUED'").await.is_empty());
    let missing = store.replace(Record { revision: Revision(1), ..record("job/2", &json!({})) }).await;
    assert!(matches!(missing, Err(StoreError::Changed(id)) if id == "job/2"));
}

async fn remove_needs_the_stored_revision(store: Arc<dyn Store>) {
    fill(&*store, &[("job/1", json!({})), ("job/2", json!({}))]).await;
    assert!(matches!(store.remove("job/1", Revision(2)).await, Err(StoreError::Changed(id)) if id == "job/1"));
    store.remove("job/1", Revision(1)).await.unwrap();
    assert!(matches!(store.remove("job/1", Revision(1)).await, Err(StoreError::Changed(_))));
    assert_eq!(store.get("job/1").await.unwrap(), None);
    assert!(store.get("job/2").await.unwrap().is_some());
    store.insert(record("job/1", &json!({}))).await.unwrap();
}

async fn one_of_many_concurrent_replaces_wins_each_revision(store: Arc<dyn Store>) {
    fill(&*store, &[("job/1", json!({}))]).await;
    for revision in (1..=5).map(Revision) {
        let attempts: Vec<_> = (0..16)
            .map(|writer| {
                let store = Arc::clone(&store);
                let change = Record { revision, ..record("job/1", &json!({"writer": writer})) };
                tokio::spawn(async move { store.replace(change).await.map(|new| (writer, new)) })
            })
            .collect();
        let mut winners = Vec::new();
        for attempt in attempts {
            match attempt.await.unwrap() {
                Ok(winner) => winners.push(winner),
                Err(error) => assert!(matches!(error, StoreError::Changed(_)), "{error}"),
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(winners[0].1, Revision(revision.0 + 1));
        let stored = store.get("job/1").await.unwrap().unwrap();
        assert_eq!(
            (stored.document["writer"].as_i64(), stored.revision),
            (Some(winners[0].0), Revision(revision.0 + 1))
        );
    }
}

async fn one_of_many_concurrent_inserts_wins(store: Arc<dyn Store>) {
    let inserts = (0..16).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.insert(record("job/1", &json!({"writer": writer}))).await.is_ok() })
    });
    let won = futures_util::future::join_all(inserts).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
}

async fn documents_keep_the_order_of_their_members(store: Arc<dyn Store>) {
    let text = r#"{"z":1,"a":{"y":null,"b":[1,2.5,"\u0000é"]},"m":18446744073709551615}"#;
    fill(&*store, &[("job/1", serde_json::from_str(text).unwrap())]).await;
    let stored = store.get("job/1").await.unwrap().unwrap();
    assert_eq!(serde_json::to_string(&*stored.document).unwrap(), text);
}

async fn a_search_sees_only_its_type(store: Arc<dyn Store>) {
    fill(&*store, &[("job/1", json!({})), ("jobs/2", json!({})), ("session/3", json!({})), ("job/4", json!({}))]).await;
    let everything = Query { limit: 10, ..Query::default() };
    assert_eq!(ids(&store.search("job", &everything).await.unwrap()), ["job/1", "job/4"]);
    assert_eq!(ids(&store.search("session", &everything).await.unwrap()), ["session/3"]);
    assert_eq!(store.search("user", &everything).await.unwrap(), Found::default());
}

async fn missing_values_come_last_in_both_directions(store: Arc<dyn Store>) {
    let documents = [
        ("job/1", json!({"priority": null, "progress": []})),
        ("job/2", json!({"priority": 2, "progress": 2})),
        ("job/3", json!({"priority": 10, "progress": 10})),
        ("job/4", json!({})),
    ];
    fill(&*store, &documents).await;
    for attribute in ["priority", "progress"] {
        for (descending, expected) in
            [(false, ["job/2", "job/3", "job/1", "job/4"]), (true, ["job/3", "job/2", "job/1", "job/4"])]
        {
            let query = Query { order: vec![order(attribute, descending)], limit: 10, ..Query::default() };
            assert_eq!(ids(&store.search("job", &query).await.unwrap()), expected, "{attribute} {descending}");
        }
    }
}

async fn equal_values_are_ordered_by_id(store: Arc<dyn Store>) {
    let document = json!({"state": "QUEUED", "created": "2026-01-01T00:00:00.000Z", "note": "x"});
    for id in ["job/3", "job/1", "job/2"] {
        store.insert(record(id, &document)).await.unwrap();
    }
    for (attribute, descending) in [("created", true), ("created", false), ("note", true), ("state", false)] {
        let query = Query {
            filter: Some(filter("state='QUEUED' or state='RUNNING'")),
            order: vec![order(attribute, descending)],
            limit: 10,
            ..Query::default()
        };
        assert_eq!(ids(&store.search("job", &query).await.unwrap()), ["job/1", "job/2", "job/3"], "{attribute}");
    }
}

async fn of_several_values_the_extreme_one_orders(store: Arc<dyn Store>) {
    let documents = [
        ("job/1", json!({"state": ["b", "c"], "n": -1})),
        ("job/2", json!({"state": ["a", "d"], "n": -2.5})),
        ("job/3", json!({"state": {"object": 1}, "n": "0"})),
        ("job/4", json!({"state": true, "n": 0.5})),
    ];
    fill(&*store, &documents).await;
    let rows = [
        ("state", false, ["job/4", "job/2", "job/1", "job/3"]),
        ("state", true, ["job/2", "job/1", "job/4", "job/3"]),
        ("n", false, ["job/2", "job/1", "job/4", "job/3"]),
        ("n", true, ["job/3", "job/4", "job/1", "job/2"]),
    ];
    for (attribute, descending, expected) in rows {
        let query = Query { order: vec![order(attribute, descending)], limit: 10, ..Query::default() };
        assert_eq!(ids(&store.search("job", &query).await.unwrap()), expected, "{attribute} {descending}");
    }
}

async fn pages_do_not_overlap_and_count_everything(store: Arc<dyn Store>) {
    for number in 0..25 {
        let document = json!({"state": if number % 5 == 0 { "FAILED" } else { "QUEUED" }, "priority": number % 3});
        store.insert(record(&format!("job/{number:02}"), &document)).await.unwrap();
    }
    let mut seen = Vec::new();
    for offset in (0..30).step_by(6) {
        let query = Query {
            filter: Some(filter("state='QUEUED'")),
            order: vec![order("priority", true)],
            offset,
            limit: 6,
            ..Query::default()
        };
        let page = store.search("job", &query).await.unwrap();
        assert_eq!(page.count, 20);
        seen.extend(page.records.into_iter().map(|record| record.id));
    }
    assert_eq!(seen.len(), 20);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 20);
}

async fn a_page_that_is_large_names_its_other_documents(store: Arc<dyn Store>) {
    for number in 0..10 {
        let document = json!({"text": "x".repeat(1_000), "priority": 9 - number});
        store.insert(record(&format!("job/{number}"), &document)).await.unwrap();
    }
    for order in [Vec::new(), vec![order("priority", false)]] {
        let whole = Query { order, offset: 1, limit: 7, ..Query::default() };
        let expected = store.search("job", &whole).await.unwrap();
        for (at_once, read) in [(1, 1), (1_100, 2), (100_000, 7)] {
            let page = store.search("job", &Query { at_once: Some(at_once), ..whole.clone() }).await.unwrap();
            assert_eq!((page.count, page.records.len()), (10, read), "{at_once}");
            let named: Vec<&str> = ids(&page).into_iter().chain(page.rest.iter().map(String::as_str)).collect();
            assert_eq!(named, ids(&expected), "{at_once}");
        }
    }
}

async fn limit_0_counts(store: Arc<dyn Store>) {
    fill(&*store, &[("job/1", json!({"n": 1})), ("job/2", json!({"n": 2})), ("job/3", json!({"n": 2}))]).await;
    let query = Query { filter: Some(filter("n=2")), ..Query::default() };
    assert_eq!(store.search("job", &query).await.unwrap(), Found { count: 2, more: true, ..Found::default() });
    for (after, more) in [("job/1", true), ("job/3", false)] {
        let query = Query { after: Some(after.to_owned()), ..query.clone() };
        let expected = Found { count: 2, more, ..Found::default() };
        assert_eq!(store.search("job", &query).await.unwrap(), expected, "after {after}");
    }
}

async fn a_walk_sees_each_exactly_once(store: Arc<dyn Store>) {
    for number in 0..40 {
        let state = ["QUEUED", "RUNNING", "SUCCESS", "FAILED"][number % 4];
        store.insert(record(&format!("job/{number:02}"), &json!({"state": state}))).await.unwrap();
    }
    let mut query = Query { filter: Some(filter("state='QUEUED' or state='RUNNING'")), limit: 3, ..Query::default() };
    let mut seen = Vec::new();
    for _ in 0..10 {
        let page = store.search("job", &query).await.unwrap();
        query.after = page.records.last().map(|record| record.id.clone());
        seen.extend(page.records.into_iter().map(|record| record.id));
        assert_eq!((page.count, page.more), (20, seen.len() < 20), "of all, on each page");
        if query.after.is_none() {
            break;
        }
    }
    let expected: Vec<String> =
        (0..40).filter(|number| number % 4 < 2).map(|number| format!("job/{number:02}")).collect();
    assert_eq!(seen, expected);
}

/// Ids of the server's making and others: all are walked through, told and removed, each page after the other.
async fn a_walk_passes_over_no_form_of_ids(store: Arc<dyn Store>) {
    let of_server = |number: u32| format!("job/{number:08x}-57ff-7010-b0be-14f3f033efd6");
    let others = ["job/", "job/a", "job/zzz", "job/01a22896-57ff-7010-b0be-14f3f033efdG"].map(str::to_owned);
    let others = (0..1_010).map(|number| format!("job/{number}")).chain(others);
    let ids: BTreeSet<String> = (0..200).map(|number| of_server(number << 24)).chain(others).collect();
    let add = |id: &String| crate::Write::Create(record(id, &json!({"state": "QUEUED"})));
    assert!(store.write(ids.iter().map(add).collect()).await.iter().all(Result::is_ok));
    let mut query = Query { after: Some(String::new()), limit: 100, ..Query::default() };
    let (mut walked, mut listed, mut after) = (BTreeSet::new(), BTreeSet::new(), None::<String>);
    loop {
        let page = store.search("job", &query).await.unwrap();
        let Some(last) = page.records.last() else { break };
        query.after = Some(last.id.clone());
        for found in page.records {
            assert!(walked.insert(found.id.clone()), "{} is seen twice", found.id);
        }
    }
    loop {
        let page = store.index_rows(after.as_deref(), 100).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        listed.extend(page.into_iter().map(|row| row.id));
    }
    assert_eq!((walked.len(), walked == ids, listed == ids), (ids.len(), true, true));
    assert_eq!(store.remove_matching("job", &filter("state='QUEUED'")).await.unwrap(), ids.len() as u64);
}

fn unfinished(id: &str, entry: Option<&str>) -> IndexRow {
    IndexRow { id: id.to_owned(), entry: entry.map(str::to_owned), lease: None }
}

async fn unfinished_jobs_are_told_by_id_with_their_entries(store: Arc<dyn Store>) {
    let rows = [
        ("job/7", json!({"state": "QUEUED"}), json!({"entry": "/job/entries/entry-007-0000000001"})),
        ("job/1", json!({"state": "STOPPING"}), json!({"entry": "x"})),
        ("job/5", json!({"state": "QUEUED"}), json!({"attempts": [], "lease": {"generation": 7, "zxid": 42}})),
        ("job/3", json!({"state": "RUNNING"}), json!({"entry": 5, "lease": "7.42"})),
        ("job/2", json!({"state": "QUEUED"}), json!(null)),
        ("job/4", json!({"state": "SUCCESS"}), json!({"entry": "x", "lease": {"generation": 7, "zxid": 99}})),
        ("job/6", json!({"state": "FAILED"}), json!(null)),
        ("job/8", json!({"state": "STOPPED"}), json!({"entry": "x"})),
        ("job/9", json!({"state": "queued"}), json!({"entry": "x"})),
        ("job/91", json!({}), json!({"entry": "x"})),
        ("session/1", json!({"state": "QUEUED"}), json!(null)),
        ("a/1", json!({"state": "QUEUED"}), json!(null)),
    ];
    assert_eq!(store.index_rows(None, 10).await.unwrap(), []);
    for (id, document, ledger) in rows {
        store.insert(Record { ledger, ..record(id, &document) }).await.unwrap();
    }
    let expected = [
        unfinished("job/1", Some("x")),
        unfinished("job/2", None),
        unfinished("job/3", None),
        IndexRow { lease: Some(Lease { generation: 7, zxid: 42 }), ..unfinished("job/5", None) },
        unfinished("job/7", Some("/job/entries/entry-007-0000000001")),
    ];
    assert_eq!(store.index_rows(None, 10).await.unwrap(), expected);
    assert_eq!(store.index_rows(None, 2).await.unwrap(), expected[..2]);
    assert_eq!(store.index_rows(Some("job/2"), 2).await.unwrap(), expected[2..4]);
    assert_eq!(store.index_rows(Some("job/4"), u64::MAX).await.unwrap(), expected[3..]);
    assert_eq!(store.index_rows(Some("job/7"), 2).await.unwrap(), []);
}

async fn what_is_unfinished_follows_every_change(store: Arc<dyn Store>) {
    let change = async |state: &str, entry: Option<&str>| {
        let mut changed = store.get("job/1").await.unwrap().unwrap();
        changed.document.make_mut().insert("state".into(), json!(state));
        changed.ledger = entry.map_or(json!(null), |entry| json!({"entry": entry}));
        store.replace(changed).await.unwrap();
        store.index_rows(None, 10).await.unwrap()
    };
    fill(&*store, &[("job/1", json!({"state": "QUEUED"}))]).await;
    assert_eq!(store.index_rows(None, 10).await.unwrap(), [unfinished("job/1", None)]);
    assert_eq!(change("QUEUED", Some("a")).await, [unfinished("job/1", Some("a"))]);
    assert_eq!(change("RUNNING", Some("a")).await, [unfinished("job/1", Some("a"))]);
    assert_eq!(change("QUEUED", Some("b")).await, [unfinished("job/1", Some("b"))]);
    assert_eq!(change("SUCCESS", Some("b")).await, []);
    assert_eq!(change("STOPPING", Some("b")).await, [unfinished("job/1", Some("b"))]);
    assert_eq!(change("STOPPING", None).await, [unfinished("job/1", None)]);
    for lease in [Some(Lease { generation: 2, zxid: 5 }), Some(Lease { generation: 2, zxid: 50 }), None] {
        let mut changed = store.get("job/1").await.unwrap().unwrap();
        changed.ledger = json!({ "lease": lease });
        store.replace(changed).await.unwrap();
        let expected = IndexRow { lease, ..unfinished("job/1", None) };
        assert_eq!(store.index_rows(None, 10).await.unwrap(), [expected]);
    }
    let revision = store.get("job/1").await.unwrap().unwrap().revision;
    store.remove("job/1", revision).await.unwrap();
    assert_eq!(store.index_rows(None, 10).await.unwrap(), []);
}

async fn remove_matching_removes_those_and_no_others(store: Arc<dyn Store>) {
    for number in 0..30 {
        let document = json!({"state": if number < 20 { "SUCCESS" } else { "QUEUED" }, "n": number});
        store.insert(record(&format!("job/{number:02}"), &document)).await.unwrap();
    }
    fill(&*store, &[("session/1", json!({"state": "SUCCESS"}))]).await;
    let old = Filter::parse("(state='SUCCESS' or state='FAILED') and n<15").unwrap();
    assert_eq!(store.remove_matching("job", &old).await.unwrap(), 15);
    assert_eq!(store.remove_matching("job", &old).await.unwrap(), 0);
    assert_eq!(search(&*store, "n!=null").await.len(), 15);
    assert_eq!(search(&*store, "n<15").await.len(), 0);
    assert!(store.get("session/1").await.unwrap().is_some());
}
