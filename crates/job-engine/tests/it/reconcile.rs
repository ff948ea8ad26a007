//! The reconciler over a real queue: everything that an interruption can leave behind is mended, nothing else is
//! touched (decisions 1, 2 and 14).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use serde_json::json;
use slipstream_coordination::session::{Mode, Operation};
use slipstream_coordination::{Coordinator, Embedded, LockingQueue, Session};
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::server::reconcile::{self, Mended};
use slipstream_store::StoreExt;
use slipstream_store::memory::MemoryStore;

use crate::site::Site;
use crate::support::{InProcess, document, eventually, job, state};

async fn queue(engine: &InProcess) -> (Arc<dyn Session>, LockingQueue) {
    let session = engine.coordinator.connect().await.expect("connected");
    let queue = LockingQueue::open(session.clone(), paths::JOB, &"a".repeat(32)).await.expect("open");
    (session, queue)
}

async fn entries(session: &dyn Session) -> Vec<String> {
    let mut names = session.children(paths::ENTRIES).await.expect("listed");
    names.sort();
    names
}

async fn round(engine: &InProcess) -> Mended {
    engine.server.reconcile_once(SignedDuration::ZERO).await.expect("a round")
}

async fn delete(session: &dyn Session, name: &str) {
    let path = format!("{}/{name}", paths::ENTRIES);
    session.commit(vec![Operation::Delete { path, version: None }]).await.expect("deleted");
}

#[tokio::test]
async fn a_job_without_an_entry_gets_one_with_its_priority() {
    let engine = InProcess::new().await;
    let (session, _) = queue(&engine).await;
    let mut urgent = job("noop");
    urgent.insert("priority".to_owned(), json!(7));
    let queued = engine.client.add("job", &urgent, None).await.expect("added");
    let running = engine.client.add("job", &job("noop"), None).await.expect("added");
    engine.client.edit(&running, &document(json!({"state": "RUNNING"})), &[]).await.expect("begun");
    for name in entries(&*session).await {
        delete(&*session, &name).await;
    }
    assert_eq!(round(&engine).await, Mended { put: 2, ..Mended::default() });
    let names = entries(&*session).await;
    assert_eq!(names.len(), 2);
    assert!(names[0].starts_with("entry-007-") && names[1].starts_with("entry-999-"), "{names:?}");
    for (id, name) in [(&queued, &names[0]), (&running, &names[1])] {
        let shown = engine.client.get(id).await.expect("there");
        assert_eq!(shown["properties"]["zookeeper-path"], format!("{}/{name}", paths::ENTRIES));
    }
    assert_eq!(round(&engine).await, Mended::default(), "a second round finds nothing to do");
}

#[tokio::test]
async fn an_entry_that_was_put_and_not_recorded_is_adopted() {
    let engine = InProcess::new().await;
    let (session, queue) = queue(&engine).await;
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    let recorded = entries(&*session).await;
    delete(&*session, &recorded[0]).await;
    let put = queue.put(id.as_bytes(), 999).await.expect("put");
    assert_eq!(round(&engine).await, Mended { put: 1, ..Mended::default() });
    assert_eq!(entries(&*session).await.len(), 1, "no second entry");
    assert_eq!(engine.client.get(&id).await.expect("there")["properties"]["zookeeper-path"], put);
}

/// Two jobs record it: whose it is, its data tell. So they do of an entry that was put after the listing.
#[tokio::test]
async fn an_entry_that_is_there_and_is_the_jobs_is_not_put_again() {
    let store: Arc<MemoryStore> = Arc::default();
    let first = InProcess::over(store.clone()).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(first.client.add("job", &job("noop"), None).await.expect("added"));
    }
    first.server.settled().await;
    let entry = store.get(&ids[1]).await.expect("answers").expect("there").ledger["entry"].clone();
    let mut record = store.get(&ids[0]).await.expect("answers").expect("there");
    record.ledger["entry"] = entry;
    store.replace(record).await.expect("replaced");
    let engine = InProcess::over(store).await;
    let (session, queue) = queue(&engine).await;
    let name = "entry-999-0000000001";
    engine.coordinator.restore(paths::ENTRIES, vec![(name.to_owned(), ids[1].clone().into_bytes())]).expect("restored");
    assert_eq!(round(&engine).await, Mended { put: 1, ..Mended::default() });
    assert_eq!(entries(&*session).await, [name, "entry-999-0000000002"]);
    assert_eq!(round(&engine).await, Mended::default());
    assert!(queue.consume_unclaimed(&format!("{}/{name}", paths::ENTRIES)).await.expect("consumed"));
    assert_eq!(round(&engine).await, Mended { put: 1, ..Mended::default() });
}

/// An attempt may hold it; whoever begins under it is told that it is superseded.
#[tokio::test]
async fn a_second_entry_of_a_waiting_job_is_left_alone() {
    let engine = InProcess::new().await;
    let (session, queue) = queue(&engine).await;
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    queue.put(id.as_bytes(), 999).await.expect("put");
    assert_eq!(round(&engine).await, Mended::default());
    assert_eq!(entries(&*session).await.len(), 2);
}

#[tokio::test]
async fn the_entry_of_a_final_job_is_consumed_unless_somebody_holds_it() {
    let engine = InProcess::new().await;
    let (session, queue) = queue(&engine).await;
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    let claim = queue.take().await.expect("taken");
    engine.client.edit(&id, &document(json!({"state": "SUCCESS"})), &[]).await.expect("ended");
    assert_eq!(round(&engine).await, Mended::default(), "the holder consumes it");
    assert_eq!(entries(&*session).await.len(), 1);
    claim.release().await.expect("released");
    assert_eq!(round(&engine).await, Mended { consumed: 1, ..Mended::default() });
    assert_eq!(entries(&*session).await, Vec::<String>::new());
    assert_eq!(session.children(paths::TAKEN).await.expect("listed"), Vec::<String>::new());
}

#[tokio::test]
async fn entries_that_this_store_never_knew_are_reported_and_left_alone() {
    let engine = InProcess::new().await;
    let (session, queue) = queue(&engine).await;
    queue.put(b"job/of-somebody-else", 999).await.expect("put");
    assert_eq!(round(&engine).await, Mended { unknown: 1, ..Mended::default() });
    assert_eq!(entries(&*session).await.len(), 1);
}

/// Found by simulation: a server that had just started when the coordinator was wiped never showed a generation again,
/// and executors waited for it for ever.
#[tokio::test]
async fn a_forgotten_generation_is_raised() {
    let engine = InProcess::new().await;
    let (session, _) = queue(&engine).await;
    let shown = async || String::from_utf8(session.data(paths::GENERATION).await.expect("there").data).expect("text");
    assert_eq!(shown().await, "1");
    let forget = Operation::Delete { path: paths::GENERATION.to_owned(), version: None };
    session.commit(vec![forget]).await.expect("deleted");
    round(&engine).await;
    assert_eq!(shown().await, "2");
    round(&engine).await;
    assert_eq!(shown().await, "2");
}

#[tokio::test]
async fn jobs_just_written_to_are_left_alone() {
    let engine = InProcess::new().await;
    let (session, _) = queue(&engine).await;
    engine.client.add("job", &job("noop"), None).await.expect("added");
    for name in entries(&*session).await {
        delete(&*session, &name).await;
    }
    let untouched = engine.server.reconcile_once(SignedDuration::from_secs(10)).await.expect("a round");
    assert_eq!(untouched, Mended::default());
    assert_eq!(round(&engine).await.put, 1);
}

#[tokio::test]
async fn a_new_start_recreates_recorded_entries_by_name_and_later_ones_come_after_them() {
    let store: Arc<MemoryStore> = Arc::default();
    let first = InProcess::over(store.clone()).await;
    let kept = first.client.add("job", &job("noop"), None).await.expect("added");
    let done = first.client.add("job", &job("noop"), None).await.expect("added");
    let also_kept = first.client.add("job", &job("noop"), None).await.expect("added");
    first.client.operation(&done, "stop").await.expect("stopped");
    first.server.settled().await;
    let revision = async |id: &str| first.store.get(id).await.expect("answers").expect("there").revision;
    let before = (revision(&kept).await, revision(&also_kept).await);

    let coordinator = Embedded::new();
    assert_eq!(reconcile::restore(&*store, &coordinator).await.expect("restored"), 0);
    let session = coordinator.connect().await.expect("connected");
    assert_eq!(entries(&*session).await, ["entry-999-0000000000", "entry-999-0000000002"]);
    let queue = LockingQueue::open(session, paths::JOB, &"a".repeat(32)).await.expect("open");
    let next = queue.put(b"job/next", 999).await.expect("put");
    assert_eq!(next, "/job/entries/entry-999-0000000003");
    let claim = queue.take().await.expect("taken");
    assert_eq!(claim.value(), kept.as_bytes());
    claim.abandon();
    assert_eq!((revision(&kept).await, revision(&also_kept).await), before, "nothing was written to the store");
}

#[tokio::test(start_paused = true)]
async fn an_add_is_answered_while_the_coordinator_is_away_and_queued_when_it_is_back() {
    let site = Arc::new(Site::default());
    let (server, client) = site.server(Arc::new(MemoryStore::default())).await;
    site.take_away();
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(client.add("job", &job("noop"), None).await.expect("answered 201"));
    }
    assert!(site.refused.load(Ordering::SeqCst) >= 1, "the coordinator was away");
    assert_eq!(site.queued().await, Vec::<String>::new());
    site.bring_back();
    let round = async || server.reconcile_once(SignedDuration::ZERO).await.ok();
    assert_eq!(eventually("the coordinator is reached again", round).await.put, ids.len());
    assert_eq!(site.queued().await, ids);
    for id in ids {
        assert_eq!(state(&client.get(&id).await.expect("there")), "QUEUED");
    }
}

#[tokio::test]
async fn the_reconciler_runs_by_itself_and_when_it_is_elected() {
    let engine = InProcess::new().await;
    let (session, _) = queue(&engine).await;
    let parent = Operation::Create { path: paths::OWN.to_owned(), data: Vec::new(), mode: Mode::Persistent };
    session.commit(vec![parent]).await.expect_err("made at the start");
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    engine.client.edit(&id, &document(json!({"state": "SUCCESS"})), &[]).await.expect("ended");
    let stop = Stop::new();
    let running = tokio::spawn({
        let (server, stop) = (engine.server.clone(), stop.clone());
        async move { server.reconcile("one", stop).await }
    });
    eventually("the entry of the final job goes", async || entries(&*session).await.is_empty().then_some(())).await;
    stop.ask();
    running.await.expect("no panic");
}

#[tokio::test]
async fn a_record_that_cannot_be_an_entry_keeps_nobody_from_starting() {
    let store: Arc<MemoryStore> = Arc::default();
    let first = InProcess::over(store.clone()).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(first.client.add("job", &job("noop"), None).await.expect("added"));
    }
    first.server.settled().await;
    let shared_by_two = first.client.get(&ids[0]).await.expect("there")["properties"]["zookeeper-path"].clone();
    for (id, entry) in [(&ids[1], shared_by_two), (&ids[2], json!("/job/entries/x/"))] {
        let mut record = store.get(id).await.expect("answers").expect("there");
        record.ledger["entry"] = entry;
        store.replace(record).await.expect("replaced");
    }
    let second = InProcess::over(store.clone()).await;
    let without = reconcile::restore(&*store, &second.coordinator).await.expect("restored");
    let (session, _) = queue(&second).await;
    assert_eq!((entries(&*session).await.len(), without), (1, 2));
    assert_eq!(round(&second).await.put, 2, "the one whose record is no entry, and one of the two that share one");
    let mut paths = HashSet::new();
    for id in &ids {
        paths.insert(second.client.get(id).await.expect("there")["properties"]["zookeeper-path"].to_string());
    }
    assert_eq!(paths.len(), 3, "each has one of its own: {paths:?}");
}
