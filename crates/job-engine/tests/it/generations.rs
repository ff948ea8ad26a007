//! A server beside a coordinator that outlives it: it starts without it, and notices that it has forgotten or gone back
//! (decisions 1 and 3).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success};
use slipstream_cimi::{AttemptIdentity, Client, Lease};
use slipstream_coordination::LockingQueue;
use slipstream_coordination::session::{Mode, Operation, Session};
use slipstream_job_engine::internals::executor;
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::server::Server;
use slipstream_job_engine::internals::server::new_document;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Record, Revision, StoreExt};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::site::Site;
use crate::support::{document, job, state};

/// Until something is so, on a paused clock.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if is_so().await {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("not within five minutes: {what}");
}

async fn shows(site: &Site, generation: &str) -> bool {
    site.text(paths::GENERATION).await.as_deref() == Some(generation)
}

fn reconciler(server: &Server) -> (Stop, JoinHandle<()>) {
    let (server, stop) = (server.clone(), Stop::new());
    let asked = stop.clone();
    (stop, tokio::spawn(async move { server.reconcile("one", asked).await }))
}

/// A job of long ago that is not final and whose ledger has seen this lease.
async fn stored(store: &MemoryStore, id: &str, lease: Lease) {
    let document = new_document(id, job("noop"), Timestamp::UNIX_EPOCH);
    let ledger = json!({ "lease": lease });
    store
        .insert(Record { id: id.to_owned(), revision: Revision::default(), document: document.into(), ledger })
        .await
        .expect("new");
}

fn writer(client: &Client, id: &str, lease: Lease, entry: &str) -> Client {
    let (job, entry, executor) = (id.to_owned(), entry.to_owned(), "Kenny".to_owned());
    client.for_attempt(Arc::new(AttemptIdentity { job, lease, entry, executor }))
}

#[tokio::test(start_paused = true)]
async fn a_server_starts_without_its_coordinator_and_catches_up_once_that_is_reached() {
    let site = Arc::new(Site::default());
    site.take_away();
    let (server, client) = site.server(Arc::new(MemoryStore::default())).await;
    let (stop, running) = reconciler(&server);
    let id = client.add("job", &job("noop"), None).await.expect("answered 201");
    sleep(Duration::from_mins(1)).await;
    let tries = site.refused.load(Ordering::SeqCst);
    assert!((10..=20).contains(&tries), "pauses grow up to five seconds: {tries}");
    let seen = client.operation("queue", "restore").await.expect_err("there is nothing to restore");
    assert_eq!(seen.refusal().map(|refusal| refusal.status), Some(503));
    site.bring_back();
    until("executors are shown a generation", async || shows(&site, "1").await).await;
    until("the job has its entry", async || site.queued().await == [id.clone()]).await;
    stop.ask();
    running.await.expect("no panic");
}

#[tokio::test]
async fn a_restart_leaves_running_jobs_to_their_executors() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (first, client) = site.server(store.clone()).await;
    let id = client.add("job", &job("noop"), None).await.expect("added");
    let session: Arc<dyn Session> = Arc::new(site.tree().session());
    let queue = LockingQueue::open(session, paths::JOB, &"a".repeat(32)).await.expect("open");
    let claim = queue.take().await.expect("taken");
    let lease = Lease { generation: 1, zxid: claim.zxid() };
    let running = document(json!({"state": "RUNNING"}));
    writer(&client, &id, lease, claim.entry()).edit(&id, &running, &[]).await.expect("begun");
    first.close().await;
    drop((first, client));
    let (second, client) = site.server(store).await;
    assert!(shows(&site, "1").await);
    second.reconcile_once(SignedDuration::ZERO).await.expect("a round");
    assert!(shows(&site, "1").await);
    let done = document(json!({"state": "SUCCESS"}));
    writer(&client, &id, lease, claim.entry()).edit(&id, &done, &[]).await.expect("still the attempt");
    claim.abandon();
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_wiped_under_a_running_server_is_filled_again_under_a_higher_generation() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, client) = site.server(store).await;
    let (stop, running) = reconciler(&server);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(client.add("job", &job("noop"), None).await.expect("added"));
    }
    site.wipe();
    until("the generation is raised", async || shows(&site, "2").await).await;
    until("all jobs are queued again", async || site.queued().await == ids).await;
    stop.ask();
    running.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_session_keeper_crashes_queues_again() {
    let site = Arc::new(Site::default());
    let (server, client) = site.server(Arc::new(MemoryStore::default())).await;
    let (stop, running) = reconciler(&server);
    site.bugs.store(3, Ordering::SeqCst);
    site.end_sessions();
    until("it crashed three times", async || site.bugs.load(Ordering::SeqCst) == 0).await;
    let id = client.add("job", &job("noop"), None).await.expect("answered 201");
    until("the job has its entry", async || site.queued().await == [id.clone()]).await;
    let second = client.add("job", &job("noop"), None).await.expect("answered 201");
    until("the next one is put at once", async || site.queued().await == [id.clone(), second.clone()]).await;
    stop.ask();
    running.await.expect("no panic");
}

/// Its node shows a generation as before: only the leases tell.
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_was_put_back_is_noticed_in_a_session_of_its_own_and_in_a_round() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, _client) = site.server(store.clone()).await;
    sleep(Duration::from_secs(1)).await;
    stored(&store, "job/a", Lease { generation: 1, zxid: 1_000_000 }).await;
    sleep(Duration::from_mins(1)).await;
    assert!(shows(&site, "1").await);
    site.end_sessions();
    until("another session shows it", async || shows(&site, "2").await).await;
    stored(&store, "job/b", Lease { generation: 2, zxid: 1_000_000 }).await;
    sleep(Duration::from_mins(1)).await;
    server.reconcile_once(SignedDuration::ZERO).await.expect("a round");
    assert!(shows(&site, "3").await, "a round looks, too");
    server.reconcile_once(SignedDuration::ZERO).await.expect("a round");
    assert!(shows(&site, "3").await);
    stored(&store, "job/c", Lease { generation: 3, zxid: 1_000_000 }).await;
    drop(server);
    let (_second, _client) = site.server(store).await;
    until("a start looks, too", async || shows(&site, "4").await).await;
}

struct Noop;

#[async_trait]
impl Action for Noop {
    async fn run(&self, _: JobHandle) -> Result<Success, Failure> {
        Ok(Success::default())
    }
}

/// Its session lives, so that it has no reason of its own to read the generation again.
#[tokio::test(start_paused = true)]
async fn an_executor_whose_session_lives_goes_on_under_the_raised_generation() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, client) = site.server(store.clone()).await;
    let mut catalogue = Catalogue::new();
    assert!(catalogue.register("noop", Noop, None));
    let (name, clock, stop) = ("Kenny".to_owned(), Clock::system(), Stop::new());
    let (grace, cimi_grace) = (Duration::ZERO, Duration::from_mins(1));
    let runtime = executor::ActionRuntime::shared();
    let options = executor::Options { grace, cimi_grace, clock, ..executor::Options::new(name, runtime) };
    let working = tokio::spawn(executor::run(options, site.clone(), client.clone(), catalogue, stop.clone()));
    until("it is there", async || site.names(paths::EXECUTORS).await.len() == 1).await;
    let before = site.names(paths::EXECUTORS).await;
    stored(&store, "job/0a", Lease { generation: 1, zxid: 1_000_000 }).await;
    let put = Operation::create(format!("{}/entry-999-", paths::ENTRIES), "job/0a", Mode::PersistentSequential);
    site.tree().session().commit(vec![put]).await.expect("put");
    let ledger = async || client.operation("job/0a", "ledger").await.expect("there");
    until("its lease is late", async || ledger().await.get("refused-total").is_some_and(|total| *total != 0)).await;
    assert!(shows(&site, "1").await);
    server.reconcile_once(SignedDuration::ZERO).await.expect("a round");
    assert!(shows(&site, "2").await);
    until("it does the job", async || state(&client.get("job/0a").await.expect("there")) == "SUCCESS").await;
    let ledger = ledger().await;
    assert_eq!(ledger["lease"]["generation"], json!(2), "{ledger:?}");
    assert_eq!(site.names(paths::EXECUTORS).await, before, "in the session that it had");
    stop.ask();
    working.await.expect("no panic");
}
