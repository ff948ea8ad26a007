//! A job that waits is given another priority: its entry moves, and where it cannot, the edit is refused.

use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_cimi::{Client, Code};
use slipstream_coordination::LockingQueue;
use slipstream_coordination::session::Session;
use slipstream_job_engine::internals::process::paths;
use slipstream_store::memory::MemoryStore;

use crate::site::Site;
use crate::support::{document, job};

async fn added(client: &Client, priority: u16) -> String {
    let mut job = job("noop");
    job.insert("priority".to_owned(), json!(priority));
    client.add("job", &job, None).await.expect("added")
}

async fn edit(client: &Client, id: &str, changes: Value) -> Result<Value, (u16, Option<Code>)> {
    match client.edit(id, &document(changes), &[]).await {
        Ok(job) => Ok(job["priority"].clone()),
        Err(error) => Err(error.refusal().map(|refusal| (refusal.status, refusal.code)).expect("answered")),
    }
}

#[tokio::test]
async fn the_entry_of_a_waiting_job_moves_to_the_priority_that_it_is_given() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (_server, client) = site.server(store).await;
    let (first, second) = (added(&client, 5).await, added(&client, 5).await);
    assert_eq!(site.queued().await, [first.clone(), second.clone()]);
    let before = site.names(paths::ENTRIES).await;
    assert_eq!(edit(&client, &second, json!({"priority": 5, "name": "n"})).await, Ok(json!(5)));
    assert_eq!(site.names(paths::ENTRIES).await, before, "the same one moves nothing");
    assert_eq!(edit(&client, &second, json!({"priority": 1})).await, Ok(json!(1)));
    assert_eq!(site.queued().await, [second.clone(), first.clone()]);
    let recorded = client.get(&second).await.expect("there")["properties"]["zookeeper-path"].clone();
    let names = site.names(paths::ENTRIES).await;
    assert_eq!(recorded, format!("{}/{}", paths::ENTRIES, names[0]), "it is recorded");
    assert!(names[0].starts_with("entry-001-"), "{names:?}");
    for wrong in [json!(1000), json!(-1), json!("1"), json!(null)] {
        assert_eq!(edit(&client, &second, json!({"priority": wrong})).await, Err((400, None)));
    }
    assert_eq!(site.names(paths::ENTRIES).await, names, "what is refused moves nothing");
}

#[tokio::test]
async fn the_priority_of_a_job_that_somebody_holds_stays() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (_server, client) = site.server(store).await;
    let id = added(&client, 5).await;
    let session: Arc<dyn Session> = Arc::new(site.tree().session());
    let queue = LockingQueue::open(session, paths::JOB, &"a".repeat(32)).await.expect("open");
    let claim = queue.take().await.expect("taken");
    assert_eq!(edit(&client, &id, json!({"priority": 1})).await, Err((409, Some(Code::Conflict))));
    assert_eq!(client.get(&id).await.expect("there")["priority"], 5, "nothing was changed");
    assert_eq!(edit(&client, &id, json!({"name": "n"})).await, Ok(json!(5)), "anything else is");
    claim.release().await.expect("released");
    assert_eq!(edit(&client, &id, json!({"priority": 1})).await, Ok(json!(1)));
    assert_eq!(site.queued().await, [id]);
}

/// The claim that is made for the move must not be taken for an executor's, nor stay.
#[tokio::test]
async fn a_move_leaves_no_claim_behind() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (_server, client) = site.server(store).await;
    let id = added(&client, 5).await;
    for priority in [4, 3, 2] {
        assert_eq!(edit(&client, &id, json!({ "priority": priority })).await, Ok(json!(priority)));
    }
    assert_eq!(site.names(paths::TAKEN).await, Vec::<String>::new());
    assert_eq!(site.queued().await, [id]);
}
