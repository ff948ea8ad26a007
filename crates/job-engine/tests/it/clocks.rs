//! A stored time is only as good as the clock that wrote it: what was written under one that was ahead is queued as
//! everything else, by the reconciler and by `queue restore`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipstream_cimi::{AttemptIdentity, Code, Lease};
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::server::Writers;
use slipstream_job_engine::internals::server::new_document;
use slipstream_job_engine::internals::server::reconcile::Mended;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Record, Revision, StoreExt};
use tokio::sync::Semaphore;

use crate::site::{START, Site};
use crate::support::{document, eventually, job};

/// How long the reconciler leaves a job alone.
const UNTOUCHED: SignedDuration = SignedDuration::from_secs(10);

/// A job that was written so many seconds after the servers start.
async fn stored(store: &MemoryStore, id: &str, seconds: i64) {
    let start: Timestamp = START.parse().expect("a time");
    let document = new_document(id, job("noop"), start + SignedDuration::from_secs(seconds));
    let record =
        Record { id: id.to_owned(), revision: Revision::default(), document: document.into(), ledger: json!({}) };
    store.insert(record).await.expect("new");
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_clock_that_was_an_hour_ahead_are_queued_after_a_wipe() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let clock = Clock::starting_at("2026-11-24T11:00:00Z".parse().expect("a time"));
    let (ahead, client) = site.server_with(store.clone(), clock, Writers::One).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(client.add("job", &job("noop"), None).await.expect("added"));
    }
    ahead.close().await;
    drop((ahead, client));
    site.wipe();
    let (right, client) = site.server(store).await;
    assert_eq!(right.reconcile_once(UNTOUCHED).await.expect("a round"), Mended { put: 20, ..Mended::default() });
    assert_eq!(site.queued().await, ids);
    site.wipe();
    let restored = eventually("another session", async || client.operation("queue", "restore").await.ok()).await;
    assert_eq!((&restored["queued"], &restored["left_out"]), (&json!(20), &json!([])));
    assert_eq!(site.queued().await, ids);
}

/// By how much a time is ahead makes no difference: only one that lies before now, and by less than that, says that
/// somebody has just written.
#[tokio::test(start_paused = true)]
async fn only_a_time_before_now_leaves_a_job_alone() {
    for (seconds, put) in [
        (-3600, 1),
        (-10, 1),
        (-9, 0),
        (-1, 0),
        (0, 0),
        (1, 1),
        (60, 1),
        (299, 1),
        (301, 1),
        (3600, 1),
        (315_360_000, 1),
    ] {
        let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
        stored(&store, "job/0a", seconds).await;
        let (server, _client) = site.server(store).await;
        let mended = server.reconcile_once(UNTOUCHED).await.expect("a round");
        assert_eq!(mended, Mended { put, ..Mended::default() }, "{seconds} s");
    }
}

/// A job is being added and the clock is set back by seconds, or that of another server is behind: an entry is put
/// beside the one that is under way. One of the two is recorded, and whoever claims the other is told so.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_a_second_entry_that_nobody_runs() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let start: Timestamp = START.parse().expect("a time");
    let seconds = Arc::new(AtomicI64::new(3));
    let shown = seconds.clone();
    let clock = Clock::showing(move || start + SignedDuration::from_secs(shown.load(Ordering::SeqCst)));
    let (server, client) = site.server_with(store, clock, Writers::One).await;
    let puts = Arc::new(Semaphore::new(0));
    *site.faults().held.lock().expect("not poisoned") = Some(puts.clone());
    let adding = tokio::spawn({
        let client = client.clone();
        async move { client.add("job", &job("noop"), None).await }
    });
    let begun = || site.faults().sizes.lock().expect("not poisoned").len();
    eventually("its put is under way", async || (begun() == 1).then_some(())).await;
    *site.faults().held.lock().expect("not poisoned") = None;
    seconds.store(0, Ordering::SeqCst);
    assert_eq!(server.reconcile_once(UNTOUCHED).await.expect("a round").put, 1);
    puts.add_permits(1);
    let id = adding.await.expect("no panic").expect("added");
    assert_eq!(site.queued().await, [id.clone(), id.clone()], "there are two");
    let job = client.get(&id).await.expect("there");
    let recorded = job["properties"]["zookeeper-path"].as_str().expect("one of them is recorded").to_owned();
    let names = site.names(paths::ENTRIES).await;
    let other = names.iter().map(|name| format!("{}/{name}", paths::ENTRIES)).find(|path| *path != recorded);
    let started = async |zxid: i64, entry: String| {
        let (job, lease) = (id.clone(), Lease { generation: 1, zxid });
        let attempt = AttemptIdentity { job, lease, entry, executor: "Kenny".to_owned() };
        let running = document(json!({"state": "RUNNING"}));
        let answer = client.for_attempt(Arc::new(attempt)).edit(&id, &running, &[]).await;
        answer.err().and_then(|error| error.refusal()?.code)
    };
    assert_eq!(started(100, other.expect("a second one")).await, Some(Code::Superseded));
    assert_eq!(started(101, recorded).await, None);
}
