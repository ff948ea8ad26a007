//! Aggregations (specification 4.6), and pages that follow each other, through the routes.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_cimi::query::{Aggregation, Algorithm, Search};
use slipstream_store::memory::MemoryStore;
use slipstream_store::sqlite::SqliteStore;
use slipstream_store::{Record, Revision, Store, StoreExt};

use crate::access::session_of;
use crate::support::{InProcess, Raw, cookie, document};

struct Api {
    engine: InProcess,
    cookie: String,
}

impl Api {
    async fn new() -> Self {
        let engine = InProcess::new().await;
        let cookie = cookie(&*engine.transport).await;
        Self { engine, cookie }
    }

    async fn put(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Raw::new("PUT", path).header("cookie", &self.cookie);
        let answered = request.text("application/x-www-form-urlencoded", form).send(&*self.engine.transport).await;
        (answered.status, answered.body)
    }

    async fn search(&self, form: &[(&str, &str)]) -> Value {
        let (status, body) = self.put("/api/job", form).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn refused(&self, form: &[(&str, &str)]) -> String {
        let (status, body) = self.put("/api/job", form).await;
        assert_eq!((status, &body["status"]), (400, &json!(400)), "{body}");
        body["message"].as_str().expect("a message").to_owned()
    }

    /// A job as the store has it, whatever the route would make of it.
    async fn store(&self, id: &str, job: Value) {
        let mut job = document(job);
        job.insert("id".to_owned(), id.into());
        let record =
            Record { id: id.to_owned(), revision: Revision::default(), document: job.into(), ledger: Value::Null };
        self.engine.store.insert(record).await.expect("stored");
    }

    async fn with_jobs() -> Self {
        let api = Self::new().await;
        for (number, state) in ["QUEUED", "QUEUED", "RUNNING", "SUCCESS"].into_iter().enumerate() {
            let target = (number != 3).then(|| json!({"href": format!("credential/{}", number % 2)}));
            api.store(
                &format!("job/{number}"),
                json!({
                    "state": state, "priority": 10 * number, "progress": 20 * (number / 2), "targetResource": target,
                    "affectedResources": [{"href": "credential/0"}, {"href": format!("credential/{number}")}],
                    "created": format!("2026-01-01T00:00:0{number}.000Z"),
                }),
            )
            .await;
        }
        api
    }
}

fn ids(collection: &Value) -> Vec<String> {
    let jobs = collection["jobs"].as_array().expect("a list");
    jobs.iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn every_aggregation_is_answered_at_top_level_under_its_tag() {
    let api = Api::with_jobs().await;
    let percentiles = json!({
        "values": {"1.0": 0.3, "5.0": 1.5, "25.0": 7.5, "50.0": 15.0, "75.0": 22.5, "95.0": 28.5, "99.0": 29.7},
    });
    let states = json!([
        {"key": "QUEUED", "doc_count": 2}, {"key": "RUNNING", "doc_count": 1}, {"key": "SUCCESS", "doc_count": 1},
    ]);
    let terms =
        |buckets: Value| json!({"doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": buckets});
    let rows = [
        ("min:priority", json!({"value": 0.0})),
        ("max:priority", json!({"value": 30.0})),
        ("sum:priority", json!({"value": 60.0})),
        ("avg:priority", json!({"value": 15.0})),
        ("stats:priority", json!({"count": 4, "min": 0.0, "max": 30.0, "avg": 15.0, "sum": 60.0})),
        (
            "extendedstats:progress",
            json!({
                "count": 4, "min": 0.0, "max": 20.0, "avg": 10.0, "sum": 40.0, "sum_of_squares": 800.0,
                "variance": 100.0, "std_deviation": 10.0, "std_deviation_bounds": {"upper": 30.0, "lower": -10.0},
            }),
        ),
        ("count:targetResource/href", json!({"value": 3.0})),
        ("percentiles:priority", percentiles),
        ("cardinality:targetResource/href", json!({"value": 2.0})),
        ("missing:targetResource/href", json!({"doc_count": 1})),
        ("terms:state", terms(states)),
        (
            "terms:affectedResources/href",
            terms(json!([
                {"key": "credential/0", "doc_count": 4}, {"key": "credential/1", "doc_count": 1},
                {"key": "credential/2", "doc_count": 1}, {"key": "credential/3", "doc_count": 1},
            ])),
        ),
        ("max:created", json!({"value": 1_767_225_603_000.0, "value_as_string": "2026-01-01T00:00:03.000Z"})),
        ("max:unknown", json!({"value": null})),
    ];
    let tags: Vec<&str> = rows.iter().map(|(tag, _)| *tag).collect();
    for name in ["$aggregation", "aggregation"] {
        for form in [vec![(name, tags.join(" , "))], tags.iter().map(|tag| (name, (*tag).to_owned())).collect()] {
            let mut form: Vec<(&str, &str)> = form.iter().map(|(name, tags)| (*name, tags.as_str())).collect();
            form.push(("$last", "0"));
            let found = api.search(&form).await;
            assert_eq!((&found["count"], &found["jobs"], found.get("next")), (&json!(4), &json!([]), None));
            let answers = found["aggregations"].as_object().expect("an object");
            assert_eq!(answers.keys().collect::<Vec<_>>(), tags);
            for (tag, expected) in &rows {
                assert_eq!(answers[*tag], *expected, "{tag}");
            }
        }
    }
}

#[tokio::test]
async fn aggregations_are_over_all_matches_whatever_the_page() {
    let api = Api::with_jobs().await;
    let form = [("$filter", "state='QUEUED'"), ("$aggregation", "MAX:priority,foo:state,max:priority,min:priority")];
    for page in
        [vec![], vec![("$last", "1")], vec![("$first", "2"), ("$orderby", "priority:desc")], vec![("$after", "job/0")]]
    {
        let form: Vec<_> = form.into_iter().chain(page).collect();
        let found = api.search(&form).await;
        assert_eq!(found["count"], 2, "{form:?}");
        assert_eq!(
            found["aggregations"],
            json!({"max:priority": {"value": 10.0}, "min:priority": {"value": 0.0}}),
            "{form:?}"
        );
    }
    let without = api.search(&[("$last", "0"), ("$aggregation", "foo:state,max")]).await;
    assert_eq!(without.get("aggregations"), None, "unknown algorithms are ignored");
}

#[tokio::test]
async fn an_aggregation_that_fails_is_an_error_that_names_it() {
    let api = Api::with_jobs().await;
    let message = api.refused(&[("$aggregation", "terms:state,avg:state")]).await;
    assert_eq!(message, "cannot compute avg:state: not all values of state are numbers");
    let tags: Vec<String> = (0..65).map(|number| format!("max:a{number}")).collect();
    let message = api.refused(&[("$aggregation", &tags.join(","))]).await;
    assert_eq!(message, "a search takes at most 64 aggregations");
    let found = api.search(&[("$aggregation", &tags[..64].join(","))]).await;
    assert_eq!(found["aggregations"].as_object().map(serde_json::Map::len), Some(64));
}

#[tokio::test]
async fn other_collections_are_aggregated_as_they_are_shown() {
    let api = Api::with_jobs().await;
    let (status, sessions) = api.put("/api/session", &[("$aggregation", "terms:username,missing:name")]).await;
    assert_eq!((status, &sessions["count"]), (200, &json!(1)));
    assert_eq!(sessions["aggregations"]["terms:username"]["buckets"], json!([{"key": "super", "doc_count": 1}]));
    assert_eq!(sessions["aggregations"]["missing:name"], json!({"doc_count": 1}));
    let (status, templates) = api.put("/api/session-template", &[("$aggregation", "count:method")]).await;
    assert_eq!((status, &templates["aggregations"]["count:method"]), (200, &json!({"value": 1.0})));
    let (status, _) = api.put("/api/session-template", &[("$aggregation", "sum:method")]).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn aggregations_of_users_are_over_all_matches_whatever_is_shown() {
    let api = Api::new().await;
    let jane = document(json!({"username": "jane", "password": "long enough"}));
    api.engine.client.add("user", &jane, None).await.expect("added");
    let asked = [("$aggregation", "terms:state"), ("$last", "0"), ("$select", "username")];
    let (status, users) = api.put("/api/user", &asked).await;
    assert_eq!((status, &users["count"], &users["users"]), (200, &json!(2), &json!([])));
    assert_eq!(users["aggregations"]["terms:state"]["buckets"], json!([{"key": "ACTIVE", "doc_count": 2}]));
}

#[tokio::test]
async fn a_client_reads_aggregations() {
    let api = Api::with_jobs().await;
    let aggregations = vec![Aggregation { algorithm: Algorithm::Terms, attribute: "targetResource/href".to_owned() }];
    let search = Search { aggregations, last: Some(0), ..Search::default() };
    let found = api.engine.client.search("job", &search).await.expect("found");
    let terms = &found.aggregations["terms:targetResource/href"];
    assert_eq!(terms["buckets"][0], json!({"key": "credential/0", "doc_count": 2}));
}

#[tokio::test]
async fn nobody_learns_from_aggregations_or_pages_of_what_is_not_theirs() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = SqliteStore::open(&folder.path().join("store.db")).expect("opened");
    let stores: [Arc<dyn Store>; 2] = [Arc::new(MemoryStore::default()), Arc::new(sqlite)];
    for store in stores {
        let engine = InProcess::over(store).await;
        let (_, jane) = session_of(&*engine.store, "jane", "USER ANON").await;
        let api = Api { engine, cookie: jane };
        for number in 0..6 {
            let owner = if number % 2 == 0 { "jane" } else { "joe" };
            let owner = json!({"owner": {"type": "USER", "principal": owner}});
            let progress = if number % 2 == 0 { json!(number) } else { json!("a text of joe's") };
            api.store(
                &format!("job/{number}"),
                json!({"state": "QUEUED", "action": format!("a{number}"), "progress": progress, "acl": owner}),
            )
            .await;
        }
        let tags = "terms:action,terms:state,sum:progress,count:id,missing:action,cardinality:acl/owner/principal";
        let found = api.search(&[("$aggregation", tags), ("$last", "2")]).await;
        assert_eq!((&found["count"], ids(&found)), (&json!(3), vec!["job/0".into(), "job/2".into()]));
        assert_eq!(found["next"], "job/2");
        let actions = json!([
            {"key": "a0", "doc_count": 1}, {"key": "a2", "doc_count": 1}, {"key": "a4", "doc_count": 1},
        ]);
        let answers = &found["aggregations"];
        assert_eq!(answers["terms:action"]["buckets"], actions);
        assert_eq!(answers["terms:state"]["buckets"], json!([{"key": "QUEUED", "doc_count": 3}]));
        assert_eq!(answers["sum:progress"], json!({"value": 6.0}), "the others' texts do not even make it fail");
        assert_eq!(
            (&answers["count:id"], &answers["missing:action"]),
            (&json!({"value": 3.0}), &json!({"doc_count": 0}))
        );
        assert_eq!(answers["cardinality:acl/owner/principal"], json!({"value": 1.0}));
        let rest = api.search(&[("$after", "job/2"), ("$last", "2")]).await;
        assert_eq!((&rest["count"], ids(&rest), rest.get("next")), (&json!(3), vec!["job/4".into()], None));
        let nobody = Raw::new("GET", "/api/job?aggregation=count:id").send(&*api.engine.transport).await;
        assert_eq!(nobody.status, 403);
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_order_of_id() {
    let api = Api::new().await;
    for number in [3, 0, 4, 1, 2] {
        api.store(&format!("job/{number}"), json!({"state": if number == 1 { "FAILED" } else { "QUEUED" }})).await;
    }
    let first = api.search(&[("$last", "2"), ("$filter", "state='QUEUED'")]).await;
    assert_eq!(
        (&first["count"], ids(&first), &first["next"]),
        (&json!(4), vec!["job/0".into(), "job/2".into()], &json!("job/2"))
    );
    let last = api.search(&[("$last", "2"), ("$filter", "state='QUEUED'"), ("$after", "job/2")]).await;
    assert_eq!((&last["count"], ids(&last), last.get("next")), (&json!(4), vec!["job/3".into(), "job/4".into()], None));
    let middle = api.search(&[("last", "1"), ("after", "job/2")]).await;
    assert_eq!((&middle["count"], ids(&middle), &middle["next"]), (&json!(5), vec!["job/3".into()], &json!("job/3")));
    let from_the_start = api.search(&[("$after", ""), ("$last", "1")]).await;
    assert_eq!((ids(&from_the_start), &from_the_start["next"]), (vec!["job/0".into()], &json!("job/0")));
    let rest = api.search(&[("$after", "job/0")]).await;
    assert_eq!((ids(&rest).len(), rest.get("next")), (4, None));
    let by_place = api.search(&[("$first", "2"), ("$last", "3")]).await;
    assert_eq!((ids(&by_place), &by_place["next"]), (vec!["job/1".into(), "job/2".into()], &json!("job/2")));
    for no_more in [
        vec![],
        vec![("$last", "5")],
        vec![("$first", "4"), ("$last", "5")],
        vec![("$first", "9")],
        vec![("$last", "0")],
        vec![("$last", "0"), ("$after", "job/0")],
        vec![("$after", "job/4")],
        vec![("$last", "2"), ("$orderby", "id")],
    ] {
        assert_eq!(api.search(&no_more).await.get("next"), None, "{no_more:?}");
    }
    let counted = api.search(&[("$last", "0"), ("$after", "job/0")]).await;
    assert_eq!((&counted["count"], ids(&counted).len()), (&json!(5), 0));
}

#[tokio::test]
async fn what_does_not_go_with_after_is_refused() {
    let api = Api::with_jobs().await;
    for other in [("$orderby", "created"), ("$first", "1")] {
        let message = api.refused(&[("$after", "job/1"), other]).await;
        assert!(message.contains("it takes neither $orderby nor $first"), "{message}");
    }
    for pages in [[("$first", "1"), ("$last", "10001")], [("$after", "job/1"), ("$last", "10001")]] {
        let message = api.refused(&pages).await;
        assert!(message.starts_with("size 10001 too large; limit is 10000"), "{message}");
        assert!(message.contains("$after"), "{message}");
    }
}

#[tokio::test]
async fn a_walk_sees_each_job_that_is_there_all_the_while_exactly_once() {
    let api = Api::new().await;
    for number in 0..60 {
        api.store(&format!("job/{number:03}a"), json!({"state": "QUEUED"})).await;
    }
    let mut search = Search { last: Some(7), ..Search::default() };
    let (mut seen, mut deleted) = (Vec::new(), BTreeSet::new());
    for page in 0..30 {
        let found = api.engine.client.search("job", &search).await.expect("found");
        assert_eq!(found.count, 60, "one is added for each that is deleted");
        let shown: Vec<String> =
            found.documents.iter().filter_map(|job| job["id"].as_str()).map(str::to_owned).collect();
        // the last one shown, which is the cursor, and one that is yet to come
        for id in shown.last().into_iter().chain([&format!("job/{:03}a", 59 - page)]) {
            if let Some(record) = api.engine.store.get(id).await.expect("answers") {
                api.engine.store.remove(id, record.revision).await.expect("removed");
                deleted.insert(id.clone());
                api.store(&format!("{id}b"), json!({"state": "QUEUED"})).await;
            }
        }
        seen.extend(shown);
        search.after = found.next;
        if search.after.is_none() {
            break;
        }
    }
    assert!(deleted.len() > 10, "a floor of changes: {deleted:?}");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "none twice");
    let stayed = (0..60).map(|number| format!("job/{number:03}a")).filter(|id| !deleted.contains(id));
    let missed: Vec<String> = stayed.filter(|id| !seen.contains(id)).collect();
    assert_eq!(missed, Vec::<String>::new());
    assert!(search.after.is_none(), "the walk ends");
}

#[tokio::test]
async fn more_than_ten_thousand_jobs_are_read_page_by_page() {
    let api = Api::new().await;
    for number in 0..10_003 {
        api.store(&format!("job/{number:05}"), json!({"state": "QUEUED"})).await;
    }
    let first = api.search(&[("$select", "id")]).await;
    assert_eq!((&first["count"], ids(&first).len(), &first["next"]), (&json!(10_003), 10_000, &json!("job/09999")));
    let rest = api.search(&[("$after", "job/09999"), ("$select", "id")]).await;
    assert_eq!((&rest["count"], ids(&rest).len(), rest.get("next")), (&json!(10_003), 3, None));
    let full = api.search(&[("$after", "job/00001"), ("$select", "id")]).await;
    assert_eq!((ids(&full).len(), &full["next"]), (10_000, &json!("job/10001")));
}
