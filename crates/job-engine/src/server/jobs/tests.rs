use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;
use slipstream_cimi::{AttemptIdentity, Lease};
use slipstream_coordination::Embedded;
use slipstream_store::Store;
use slipstream_store::memory::MemoryStore;

use super::ledger::Ledger;
use super::*;
use crate::process::clock::Clock;
use crate::server::queue::QueueClient;
use crate::server::queue::generation::Generation;
use crate::server::{Options, Writers};

pub(crate) async fn shared() -> Shared {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let clock = Clock::starting_at("2026-11-24T10:00:00Z".parse().expect("a time"));
    let generation = Generation::begin(store.clone(), true).await.expect("the memory store answers");
    let options = Options {
        password: "secret".into(),
        max_attempts: 5,
        writers: Writers::One,
        coordinator_forgets: true,
        collections: crate::config::default_collections(),
        metrics: crate::process::metrics::Metrics::default(),
    };
    Shared::new(store, Arc::new(Embedded::new()), clock, generation, &options).await
}

fn administrator(name: &str) -> Caller {
    Caller::User { name: name.to_owned(), roles: vec!["ADMIN".to_owned()], session: Some("session/1".to_owned()) }
}

fn sent() -> Document {
    json!({"action": "noop"}).as_object().cloned().expect("an object")
}

async fn ledger(shared: &Shared, id: &str) -> Ledger {
    let record = shared.jobs.get(id).await.expect("the memory store answers").expect("the job is there");
    record.ledger().expect("readable").clone()
}

async fn stored(shared: &Shared, id: &str) -> Stored {
    Stored(shared.jobs.get(id).await.expect("the memory store answers").expect("the job is there"))
}

async fn entries(shared: &Shared) -> usize {
    shared.queue.list().await.expect("the embedded coordinator answers").len()
}

#[tokio::test]
async fn an_entry_is_recorded_only_where_none_is_and_never_deleted() {
    let shared = shared().await;
    let id = add(&shared, &administrator("super"), sent(), None).await.expect("added");
    let recorded = ledger(&shared, &id).await.entry;
    assert!(recorded.is_some());
    let another = shared.queue.put(&id, 999).await.expect("put");
    record_entry(&shared, stored(&shared, &id).await, &another).await;
    assert_eq!(ledger(&shared, &id).await.entry, recorded, "the first one counts");
    assert_eq!(entries(&shared).await, 2, "whoever lost leaves its entry alone: an attempt may hold it");
    let gone =
        store(&shared, prepare(&shared, &administrator("super"), sent(), None).expect("good")).await.expect("stored");
    let unknown = shared.queue.put(gone.id(), 999).await.expect("put");
    delete(&shared, &administrator("super"), gone.id()).await.expect("deleted");
    assert_eq!(entries(&shared).await, 3);
    record_entry(&shared, gone, &unknown).await;
    assert_eq!(entries(&shared).await, 2, "nobody knew of it when the job was deleted");
}

/// An executor can be faster than the add that put its entry.
#[tokio::test]
async fn the_entry_that_an_attempt_recorded_stays_recorded() {
    let shared = shared().await;
    let id = format!("job/{}", Uuid::now_v7());
    let document = document::new_document(&id, sent(), shared.clock.now());
    shared.jobs.insert(JobRecord::new(&id, document)).await.expect("stored");
    let entry = shared.queue.put(&id, 999).await.expect("put");
    let lease = Lease { generation: 1, zxid: 5 };
    let attempt = AttemptIdentity { job: id.clone(), lease, entry: entry.clone(), executor: "Kenny".to_owned() };
    let changes = json!({"state": "RUNNING"}).as_object().cloned().expect("an object");
    let request = EditRequest { changes: Cow::Owned(changes), remove: Vec::new(), attempt: Some(attempt.into()) };
    edit(&shared, &administrator("super"), &id, &request).await.expect("begun");
    record_entry(&shared, stored(&shared, &id).await, "/job/entries/entry-999-0000000099").await;
    let ledger = ledger(&shared, &id).await;
    assert_eq!((ledger.entry, ledger.lease, ledger.attempts.len()), (Some(entry), Some(lease), 1));
    assert_eq!(entries(&shared).await, 1);
}

#[tokio::test]
async fn a_key_is_its_users_alone() {
    let shared = shared().await;
    let first = add(&shared, &administrator("jane"), sent(), Some("key")).await.expect("added");
    let other = add(&shared, &administrator("john"), sent(), Some("key")).await.expect("another user's key");
    assert_ne!(first, other);
    let again = add(&shared, &administrator("jane"), sent(), Some("key")).await.expect_err("known");
    assert_eq!((again.refusal.status, again.refusal.resource_id), (409, Some(first)));
}

impl QueueClient {
    async fn put(&self, id: &str, priority: u16) -> Result<String, QueueError> {
        let put = self.put_all(vec![(id.to_owned(), priority)]).await.pop();
        put.expect("one that is put has one answer")
    }
}
