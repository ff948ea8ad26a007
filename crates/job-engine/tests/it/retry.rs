//! Retry: a job that has ended is run again as a new one, once however often somebody clicks.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use slipstream_cimi::filter::Filter;
use slipstream_coordination::Coordinator;
use slipstream_job_engine::internals::process::paths;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Found, IndexRow, Query, Record, Revision, Store, StoreError, Write};

use crate::support::{Answered, InProcess, Raw, cookie, document};

struct World {
    engine: InProcess,
    cookie: String,
}

impl World {
    async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::default())).await
    }

    async fn over(store: Arc<dyn Store>) -> Self {
        let engine = InProcess::over(store).await;
        let cookie = cookie(&*engine.transport).await;
        Self { engine, cookie }
    }

    async fn send(&self, request: Raw) -> Answered {
        request.header("cookie", &self.cookie).send(&*self.engine.transport).await
    }

    /// A job that has failed.
    async fn failed(&self) -> String {
        let job = json!({"action": "noop", "name": "n", "priority": 7, "properties": {"colour": "red"}});
        let id = self.engine.client.add("job", &document(job), None).await.expect("added");
        let edit = document(json!({"state": "FAILED", "statusMessage": "no", "returnCode": 3}));
        let path = format!("/api/{id}");
        assert_eq!(self.send(Raw::new("PUT", &path).json(&Value::Object(edit))).await.status, 200);
        id
    }

    async fn retry(&self, id: &str, seen: u32) -> Answered {
        self.send(Raw::new("POST", &format!("/api/{id}/retry")).json(&json!({"retries": seen}))).await
    }

    async fn retries(&self, id: &str) -> Value {
        self.send(Raw::new("GET", &format!("/api/{id}/retries"))).await.body
    }
}

fn added(answer: &Answered) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body["resource-id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_job_that_has_ended_is_run_again_as_a_new_one_that_names_it() {
    let world = World::new().await;
    let old = world.failed().await;
    let before = world.engine.client.get(&old).await.expect("there");
    let new = added(&world.retry(&old, 0).await);
    let job = world.engine.client.get(&new).await.expect("there");
    let expected = json!({"href": old});
    assert_eq!((&job["state"], &job["retryOf"], &job["progress"]), (&json!("QUEUED"), &expected, &json!(0)));
    for same in ["action", "name", "priority", "acl"] {
        assert_eq!(job[same], before[same], "{same}");
    }
    assert_eq!(job["properties"]["colour"], "red");
    assert!(!job.contains_key("statusMessage") && !job.contains_key("returnCode"), "{job:?}");
    assert_eq!(world.engine.client.get(&old).await.expect("there"), before, "final is final");
    let session = world.engine.coordinator.connect().await.expect("connected");
    assert_eq!(session.children(paths::ENTRIES).await.expect("listed").len(), 2, "it has an entry, as the old one has");
    let found = world.send(Raw::new("GET", &format!("/api/job?$filter=retryOf/href='{old}'"))).await;
    assert_eq!((&found.body["count"], &found.body["jobs"][0]["id"]), (&json!(1), &json!(new)), "{}", found.text);
    // nobody says of a job that it repeats another one, and nobody takes that away
    let edit = Raw::new("PUT", &format!("/api/{new}?select=retryOf")).json(&json!({"retryOf": {"href": "job/0a"}}));
    assert_eq!(world.send(edit).await.body["retryOf"], expected);
}

#[tokio::test]
async fn a_double_click_adds_one_and_names_it() {
    let world = World::new().await;
    let old = world.failed().await;
    let (one, other) = tokio::join!(world.retry(&old, 0), world.retry(&old, 0));
    let (good, bad) = if one.status == 201 { (one, other) } else { (other, one) };
    let first = added(&good);
    assert_eq!((bad.status, &bad.body["resource-id"]), (409, &json!(first)), "{}", bad.text);
    assert_eq!(world.retries(&old).await, json!({"job": old, "count": 1, "retries": [first]}));
    let second = added(&world.retry(&old, 1).await);
    assert_ne!(first, second);
    assert_eq!(world.retries(&old).await, json!({"job": old, "count": 2, "retries": [first, second]}));
}

#[tokio::test]
async fn what_cannot_be_run_again_is_refused_and_nothing_is_added() {
    let world = World::new().await;
    let old = world.failed().await;
    let waiting = world.engine.client.add("job", &document(json!({"action": "noop"})), None).await.expect("added");
    let refused = world.retry(&waiting, 0).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{}", refused.text);
    assert!(refused.text.contains("is QUEUED"), "{}", refused.text);
    assert_eq!(world.retry(&old, 1).await.status, 409, "nobody has seen one");
    assert_eq!(world.retry("job/0a", 0).await.status, 404);
    for body in [json!({}), json!({"retries": -1}), json!({"retries": "0"})] {
        let refused = world.send(Raw::new("POST", &format!("/api/{old}/retry")).json(&body)).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.text);
    }
    assert_eq!(world.retries(&old).await["count"], 0);
}

/// A store in which no job is found but by its id: among a million there is no other way that is quick.
struct ById(MemoryStore);

#[async_trait]
impl Store for ById {
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>> {
        self.0.read(ids).await
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Revision, StoreError>> {
        self.0.write(writes).await
    }

    async fn search(&self, kind: &str, query: &Query) -> Result<Found, StoreError> {
        if kind == "job" {
            Err(StoreError::TooSlow { unindexed: Vec::new() })
        } else {
            self.0.search(kind, query).await
        }
    }

    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError> {
        self.0.index_rows(after, limit).await
    }

    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        self.0.remove_matching(kind, filter).await
    }
}

#[tokio::test]
async fn retries_are_found_by_their_ids_and_not_by_a_search_among_all_jobs() {
    let world = World::over(Arc::new(ById(MemoryStore::default()))).await;
    let old = world.failed().await;
    let first = added(&world.retry(&old, 0).await);
    let second = added(&world.retry(&old, 1).await);
    let found = world.retries(&old).await;
    assert_eq!((&found["count"], &found["retries"]), (&json!(2), &json!([first, second])));
    let searched = world.send(Raw::new("GET", "/api/job")).await;
    assert_eq!(searched.status, 400, "a search would have failed: {}", searched.text);
}
