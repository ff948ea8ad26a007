//! Aggregations, the same in every store.

use std::collections::BTreeMap;

use slipstream_cimi::acl::Principal;
use slipstream_cimi::query::{Aggregation, Algorithm};

use super::{Arc, Query, Store, StoreError, Value, aggregate, fill, filter, json};
use crate::aggregate::AggregationError;

pub fn asked(tags: &[&str]) -> Vec<Aggregation> {
    let aggregation = |tag: &&str| {
        let (name, attribute) = tag.split_once(':').unwrap();
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == name).unwrap();
        Aggregation { algorithm, attribute: attribute.to_owned() }
    };
    tags.iter().map(aggregation).collect()
}

fn counts(terms: &Value) -> BTreeMap<&str, u64> {
    let buckets = terms["buckets"].as_array().unwrap().iter();
    buckets.map(|bucket| (bucket["key"].as_str().unwrap(), bucket["doc_count"].as_u64().unwrap())).collect()
}

async fn fill_jobs(store: &dyn Store) {
    let states = ["QUEUED", "RUNNING", "SUCCESS", "FAILED"];
    for number in 0..40 {
        let id = format!("job/{number:02}");
        let document = json!({
            "id": id, "state": states[number % 4], "priority": number, "progress": number % 5,
            "created": format!("2026-01-01T00:00:{number:02}.000Z"), "parentJob": (number < 3).then_some("job/x"),
            "acl": {"owner": {"type": "USER", "principal": if number < 10 { "jane" } else { "joe" }}},
        });
        fill(store, &[(id.as_str(), document)]).await;
    }
}

pub(super) async fn aggregations_are_over_all_that_is_selected(store: Arc<dyn Store>) {
    fill_jobs(&*store).await;
    fill(&*store, &[("session/1", json!({"state": "QUEUED", "priority": 1_000}))]).await;
    let wanted = asked(&[
        "terms:state",
        "max:priority",
        "sum:progress",
        "missing:parentJob",
        "count:parentJob",
        "min:created",
        "cardinality:id",
        "percentiles:priority",
        "avg:nothing",
        "missing:nothing",
    ]);
    let query = Query {
        filter: Some(filter("progress<4 and (state='QUEUED' or state='FAILED')")),
        order: vec![super::order("priority", true)],
        offset: 3,
        limit: 1,
        ..Query::default()
    };
    let answers = aggregate(&*store, "job", &query, &wanted).await.unwrap();
    assert_eq!(counts(&answers[0]), BTreeMap::from([("QUEUED", 8), ("FAILED", 8)]));
    assert_eq!(answers[1], json!({"value": 36.0}));
    assert_eq!(answers[2], json!({"value": 24.0}));
    assert_eq!(answers[3], json!({"doc_count": 15}));
    assert_eq!(answers[4], json!({"value": 1.0}));
    assert_eq!(answers[5]["value_as_string"], "2026-01-01T00:00:00.000Z");
    assert_eq!(answers[6], json!({"value": 16.0}));
    assert_eq!(answers[7]["values"]["50.0"], 18.0);
    assert_eq!(answers[8], json!({"value": null}));
    assert_eq!(answers[9], json!({"doc_count": 16}));
    let all = aggregate(&*store, "job", &Query::default(), &wanted).await.unwrap();
    assert_eq!((&all[1], &all[3]), (&json!({"value": 39.0}), &json!({"doc_count": 37})));
    assert_eq!(
        aggregate(&*store, "user", &Query::default(), &asked(&["count:id"])).await.unwrap(),
        [json!({"value": 0.0})]
    );
}

pub(super) async fn aggregations_are_over_what_may_be_seen(store: Arc<dyn Store>) {
    fill_jobs(&*store).await;
    let query = Query { visible_to: Some(vec![Principal::User("jane".to_owned())]), ..Query::default() };
    let answers =
        aggregate(&*store, "job", &query, &asked(&["max:priority", "sum:progress", "terms:state"])).await.unwrap();
    assert_eq!(answers[..2], [json!({"value": 9.0}), json!({"value": 20.0})]);
    assert_eq!(counts(&answers[2]), BTreeMap::from([("QUEUED", 3), ("RUNNING", 3), ("SUCCESS", 2), ("FAILED", 2)]));
}

pub(super) async fn irregular_values_are_aggregated(store: Arc<dyn Store>) {
    let documents = [
        ("job/1", json!({"state": "QUEUED", "priority": 2.5})),
        ("job/2", json!({"state": ["QUEUED", "QUEUED", "ODD"], "priority": [1, 1]})),
        ("job/3", json!({"state": {"object": 1}, "priority": null})),
        ("job/4", json!({"created": "2026-01-01T01:00:00.0005+01:00"})),
    ];
    fill(&*store, &documents).await;
    let wanted = asked(&["terms:state", "count:state", "missing:state", "sum:priority", "terms:created"]);
    let answers = aggregate(&*store, "job", &Query::default(), &wanted).await.unwrap();
    assert_eq!(counts(&answers[0]), BTreeMap::from([("QUEUED", 2), ("ODD", 1)]));
    assert_eq!(answers[1..4], [json!({"value": 5.0}), json!({"doc_count": 1}), json!({"value": 4.5})]);
    assert_eq!(answers[4]["buckets"][0]["key"], 1_767_225_600_000_i64);
}

pub(super) async fn what_cannot_be_computed_is_refused(store: Arc<dyn Store>) {
    fill_jobs(&*store).await;
    fill(&*store, &[("job/x", json!({"id": "job/x", "progress": "much"}))]).await;
    for tag in ["sum:state", "percentiles:id", "extendedstats:progress"] {
        let error = aggregate(&*store, "job", &Query::default(), &asked(&["count:id", tag])).await.unwrap_err();
        let expected = &asked(&[tag])[0];
        assert!(
            matches!(&error, StoreError::Aggregation(AggregationError::NotComputable { aggregation, .. }) if aggregation == expected),
            "{tag}: {error}"
        );
    }
    let numbers = Query { filter: Some(filter("progress<9")), ..Query::default() };
    assert_eq!(aggregate(&*store, "job", &numbers, &asked(&["sum:progress"])).await.unwrap(), [json!({"value": 80.0})]);
}
