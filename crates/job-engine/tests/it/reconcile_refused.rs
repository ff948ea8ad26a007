//! What the coordinator refuses of one node is that node's fault: it is left alone and told, and everything else goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use serde_json::json;
use slipstream_coordination::session::{Mode, Operation, Session};
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::server::Server;
use slipstream_job_engine::internals::server::reconcile::{Mended, ReconcileError};
use slipstream_store::StoreError;
use slipstream_store::memory::MemoryStore;

use crate::failing_store::{Failing, Fault};
use crate::site::Site;
use crate::support::{eventually, job};

async fn round(server: &Server) -> Mended {
    server.reconcile_once(SignedDuration::ZERO).await.expect("a round")
}

async fn lose_entries(site: &Site) {
    for name in site.names(paths::ENTRIES).await {
        let delete = Operation::delete(format!("{}/{name}", paths::ENTRIES));
        site.tree().session().commit(vec![delete]).await.expect("deleted");
    }
}

async fn put(site: &Site, name: &str, value: &str) -> String {
    let path = format!("{}/{name}", paths::ENTRIES);
    let create = Operation::create(path.clone(), value, Mode::Persistent);
    site.tree().session().commit(vec![create]).await.expect("created");
    path
}

#[tokio::test]
async fn an_entry_that_may_not_be_read_keeps_no_other_job_from_its_entry() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, client) = site.server(store).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(client.add("job", &job("noop"), None).await.expect("added"));
    }
    lose_entries(&site).await;
    let path = put(&site, "entry-000-0000000000", "not ours").await;
    site.faults().forbid(&path);
    assert_eq!(round(&server).await, Mended { put: 5, refused: 1, ..Mended::default() });
    assert!(site.faults().not_done.load(Ordering::SeqCst) > 0, "it was asked for");
    lose_entries(&site).await;
    let path = put(&site, "entry-000-0000000000", "not ours").await;
    site.faults().forbid(&path);
    let restored = client.operation("queue", "restore").await.expect("restored");
    let left_out = json!([{"count": 1, "names": [path], "reason": "not allowed for this login"}]);
    assert_eq!((&restored["queued"], &restored["left_out"]), (&json!(5), &left_out));
    let mut queued = site.queued().await;
    assert_eq!(queued.remove(0), "not ours");
    assert_eq!(queued, ids);
}

/// After a coordinator was wiped, somebody else's entry may have the path that a job recorded; or a login lost the right
/// to read its own.
#[tokio::test]
async fn a_job_whose_entry_an_executor_could_not_read_gets_another_if_the_server_cannot_read_it_either() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, client) = site.server(store).await;
    for _ in 0..2 {
        client.add("job", &job("noop"), None).await.expect("added");
    }
    let paths: Vec<String> =
        site.names(paths::ENTRIES).await.iter().map(|name| format!("{}/{name}", paths::ENTRIES)).collect();
    site.faults().forbid(&paths[0]);
    assert_eq!(round(&server).await, Mended::default(), "nobody has tried to read them");
    let unread = |path: &String| json!({"entry": path, "job": null, "reason": "r", "until": "2099-01-01T00:00:00Z"});
    let executor = json!({
        "name": "Kenny", "process": {"host": "h", "id": 1, "version": "1"}, "slots": 1, "actions": ["noop"],
        "begun": "2026-11-24T00:00:00Z", "passed_over": paths.iter().map(unread).collect::<Vec<_>>()
    });
    let register = [paths::OWN, paths::EXECUTORS].map(|folder| Operation::create(folder, "", Mode::Persistent));
    let session = site.tree().session();
    for folder in register {
        // it may be there
        drop(session.commit(vec![folder]).await);
    }
    let register = Operation::create(format!("{}/kenny", paths::EXECUTORS), executor.to_string(), Mode::Ephemeral);
    session.commit(vec![register]).await.expect("registered");
    assert_eq!(round(&server).await, Mended { put: 1, ..Mended::default() }, "the other one can be read here");
    assert_eq!(site.names(paths::ENTRIES).await.len(), 3);
    assert_eq!(round(&server).await, Mended { refused: 1, ..Mended::default() }, "and no third one");
    site.faults().forbid(paths::EXECUTORS);
    assert_eq!(round(&server).await, Mended { refused: 2, ..Mended::default() }, "who may not be read ends no round");
}

#[tokio::test]
async fn one_refused_put_ends_no_round_and_no_restore() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, client) = site.server(store).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(client.add("job", &job("noop"), None).await.expect("added"));
    }
    lose_entries(&site).await;
    site.faults().forbid_put(&ids[1]);
    assert_eq!(round(&server).await, Mended { put: 4, refused: 1, ..Mended::default() });
    assert_eq!(site.queued().await.len(), 4);
    let restored = client.operation("queue", "restore").await.expect("restored");
    assert_eq!((&restored["queued"], &restored["left_out"][0]["names"]), (&json!(0), &json!([ids[1]])));
    let reason = restored["left_out"][0]["reason"].as_str().expect("a text");
    assert!(reason.contains("quota"), "{reason}");
    site.faults().not_put.lock().expect("not poisoned").clear();
    assert_eq!(round(&server).await, Mended { put: 1, ..Mended::default() });
}

/// The fault: the store is gone once a round has listed the jobs. That is no refusal of each of them.
#[tokio::test]
async fn a_store_that_is_gone_ends_the_round() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(Failing::default()));
    let (server, client) = site.server(store.clone()).await;
    for _ in 0..5 {
        client.add("job", &job("noop"), None).await.expect("added");
    }
    server.settled().await;
    lose_entries(&site).await;
    store.set(Fault::Gone);
    let ended = server.reconcile_once(SignedDuration::ZERO).await;
    assert!(matches!(ended, Err(ReconcileError::Store(StoreError::Gone { .. }))), "{ended:?}");
    assert!(store.injected() > 0, "it was asked for");
    store.set(Fault::None);
    assert_eq!(round(&server).await, Mended { put: 5, ..Mended::default() });
}

#[tokio::test]
async fn a_generation_that_may_not_be_read_keeps_no_job_from_its_entry() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, client) = site.server(store).await;
    client.add("job", &job("noop"), None).await.expect("added");
    lose_entries(&site).await;
    site.faults().forbid(paths::GENERATION);
    assert_eq!(round(&server).await, Mended { put: 1, refused: 1, ..Mended::default() });
    lose_entries(&site).await;
    assert_eq!(client.operation("queue", "restore").await.expect("restored")["queued"], 1);
}

/// A backup tool has restored what went with a session as what stays.
#[tokio::test(start_paused = true)]
async fn what_is_left_alone_is_told_by_name() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, client) = site.server(store).await;
    let id = client.add("job", &job("noop"), None).await.expect("added");
    let name = site.names(paths::ENTRIES).await.remove(0);
    let claim = Operation::create(format!("{}/{name}", paths::TAKEN), "a".repeat(32), Mode::Persistent);
    site.tree().session().commit(vec![claim]).await.expect("created");
    let path = put(&site, "entry-000-0000000000", "not ours").await;
    site.faults().forbid(&path);
    let stop = Stop::new();
    let (running, asked) = (server.clone(), stop.clone());
    let running = tokio::spawn(async move { running.reconcile("one", asked).await });
    let told = eventually("it is told", async || {
        let queue = client.get("queue").await.ok()?;
        let left = queue["left_alone"].clone();
        (left["without_session"]["count"] == 1).then_some(left)
    })
    .await;
    assert_eq!(told["without_session"]["names"], json!([format!("{}/{name}", paths::TAKEN)]));
    assert_eq!(told["refused"], json!([{"count": 1, "names": [path], "reason": "not allowed for this login"}]));
    let why = client.get(&format!("{id}/explain")).await.expect("explained")["reasons"][0]["code"].clone();
    assert_eq!(why, "claim-without-session", "and the job says why it waits");
    stop.ask();
    running.await.expect("no panic");
}
