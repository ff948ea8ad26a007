//! Aggregations look at documents only where they must, and not for ever.

use slipstream_cimi::query::Aggregation;

use super::*;
use crate::conformance::{self, asked};

async fn fill(store: &Arc<SqliteStore>) {
    for batch in 0..4 {
        let changes = (0..250).map(|number| {
            let id = format!("job/{batch}-{number}");
            let state = if number < 100 { "QUEUED" } else { "SUCCESS" };
            let created = format!("2026-01-0{}T00:00:00.000Z", batch + 1);
            let document = json!({
                "id": id, "state": state, "action": "noop", "created": created, "priority": number, "progress": 7,
            });
            insert(&id, &document)
        });
        assert!(in_one_group(store, changes.collect()).await.iter().all(Result::is_ok));
    }
}

async fn aggregate(store: &SqliteStore, query: &Query, asked: &[Aggregation]) -> Result<Vec<Value>, StoreError> {
    conformance::aggregate(store, "job", query, asked).await
}

#[tokio::test]
async fn what_has_a_column_is_answered_without_any_document() {
    let (_folder, _path, store) = new_store();
    let store = Arc::new(store);
    fill(&store).await;
    // what cannot be read is not read
    let damage = |connection: &Connection| connection.execute("UPDATE resource SET document = 'x'", []).unwrap();
    assert_eq!(inspect(&store, damage).await, 1_000);
    let queued = Query { filter: Some(Filter::parse("state='QUEUED'").unwrap()), ..Query::default() };
    let wanted = asked(&["terms:action", "max:created", "sum:priority", "cardinality:id", "missing:parentJob"]);
    let answers = aggregate(&store, &queued, &wanted).await.unwrap();
    assert_eq!(answers[0]["buckets"], json!([{"key": "noop", "doc_count": 400}]));
    assert_eq!(answers[1]["value_as_string"], "2026-01-04T00:00:00.000Z");
    assert_eq!(answers[2..4], [json!({"value": 19_800.0}), json!({"value": 400.0})]);
    assert_eq!(answers[4], json!({"doc_count": 400}));
    let error = aggregate(&store, &queued, &asked(&["sum:progress"])).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn states_and_actions_are_answered_from_the_tally() {
    let (_folder, _path, store) = new_store();
    let store = Arc::new(store);
    fill(&store).await;
    // behind the back of the tally
    let change = |connection: &Connection| connection.execute("DELETE FROM resource", []).unwrap();
    assert_eq!(inspect(&store, change).await, 1_000);
    let answers = aggregate(&store, &Query::default(), &asked(&["terms:state", "count:action"])).await.unwrap();
    let states = json!([{"key": "SUCCESS", "doc_count": 600}, {"key": "QUEUED", "doc_count": 400}]);
    assert_eq!((&answers[0]["buckets"], &answers[1]), (&states, &json!({"value": 1_000.0})));
    assert_eq!(aggregate(&store, &Query::default(), &asked(&["count:id"])).await.unwrap(), [json!({"value": 0.0})]);
}

#[tokio::test]
async fn an_aggregation_that_takes_too_long_is_stopped() {
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
    fill(&store).await;
    for tag in ["sum:progress", "percentiles:priority", "sum:progress"] {
        let stopped = aggregate(&store, &Query::default(), &asked(&[tag])).await.unwrap_err();
        let expected: &[&str] = if tag == "sum:progress" { &["progress"] } else { &[] };
        assert!(matches!(&stopped, StoreError::TooSlow { unindexed } if unindexed == expected), "{tag}: {stopped}");
    }
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    let sum = aggregate(&store, &Query::default(), &asked(&["sum:progress"])).await.unwrap();
    assert_eq!(sum, [json!({"value": 7_000.0})]);
}
