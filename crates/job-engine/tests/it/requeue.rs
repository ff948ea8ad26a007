//! `queue restore`: a coordinator that has lost its nodes is filled again, all at once (decisions 2 and 3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipstream_cimi::resource::format_time;
use slipstream_coordination::LockingQueue;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::server::reconcile::Mended;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Record, Revision, StoreExt};
use tokio::sync::Semaphore;

use crate::access::session_of;
use crate::site::{START, Site};
use crate::support::{Raw, cookie, document, eventually, job};

const JOBS: u32 = 25_000;
const STATES: [&str; 5] = ["QUEUED", "RUNNING", "STOPPING", "SUCCESS", "STOPPED"];

/// Jobs just written to, of which the ids say nothing about when they were added.
async fn fill(store: &MemoryStore, now: Timestamp) {
    for number in 0..JOBS {
        let mixed = number.wrapping_mul(2_654_435_761);
        let id = format!("job/{mixed:08x}");
        let created = now - SignedDuration::from_secs(i64::from(JOBS - number));
        let job = json!({
            "id": id, "state": STATES[(mixed >> 3) as usize % 5], "action": "noop", "priority": mixed % 3,
            "created": format_time(created), "updated": format_time(now),
        });
        let ledger = json!({"entry": format!("{}/entry-000-{number:010}", paths::ENTRIES)});
        store
            .insert(Record { id, revision: Revision::default(), document: document(job).into(), ledger })
            .await
            .expect("stored");
    }
}

#[tokio::test]
async fn all_jobs_that_are_not_final_are_queued_once_by_priority_and_age() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    fill(&store, START.parse().expect("a time")).await;
    let (server, client) = site.server(store.clone()).await;
    let added = client.add("job", &job("noop"), None).await.expect("added");
    let mut expected: Vec<(u64, u32, String)> = Vec::new();
    for number in 0..JOBS {
        let id = format!("job/{:08x}", number.wrapping_mul(2_654_435_761));
        let stored = store.get(&id).await.expect("answers").expect("there").document;
        if ["QUEUED", "RUNNING", "STOPPING"].iter().any(|state| stored["state"] == *state) {
            expected.push((stored["priority"].as_u64().expect("a number"), number, id));
        }
    }
    expected.sort();
    assert!(expected.len() > 10_000, "more than a round would mend: {}", expected.len());
    let answer = client.operation("queue", "restore").await.expect("restored");
    assert_eq!(answer, document(json!({"queued": expected.len(), "generation": 2, "left_out": []})));
    assert_eq!(site.text(paths::GENERATION).await.as_deref(), Some("2"));
    let mut ids: Vec<String> = expected.into_iter().map(|(.., id)| id).collect();
    ids.push(added);
    assert_eq!(site.queued().await, ids);
    let again = client.operation("queue", "restore").await.expect("restored");
    assert_eq!(again["queued"], 0);
    assert_eq!(server.reconcile_once(SignedDuration::ZERO).await.expect("a round"), Mended::default());
    assert_eq!(site.queued().await, ids, "nothing twice, and each entry is recorded");
}

/// One that was stored before the restore began and is put after it has listed the entries, and one that is stored after
/// that, and put when it is over.
#[tokio::test]
async fn what_others_queue_meanwhile_is_queued_once() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (_server, client) = site.server(store.clone()).await;
    let first = client.add("job", &job("noop"), None).await.expect("added");
    #[expect(clippy::async_yields_async, reason = "the add ends later than its put begins")]
    let add_slowly = async |puts: &Arc<Semaphore>| {
        *site.faults().held.lock().expect("not poisoned") = Some(puts.clone());
        let begun = || site.faults().sizes.lock().expect("not poisoned").len();
        let (client, before) = (client.clone(), begun());
        let adding = tokio::spawn(async move { client.add("job", &job("noop"), None).await });
        eventually("its put is under way", async || (begun() > before).then_some(())).await;
        adding
    };
    let (puts, later_puts) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let before = add_slowly(&puts).await;
    let reads = Arc::new(Semaphore::new(0));
    *site.faults().reads_held.lock().expect("not poisoned") = Some(reads.clone());
    let (restoring, read) = (client.clone(), site.faults().read.load(Ordering::SeqCst));
    let restoring = tokio::spawn(async move { restoring.operation("queue", "restore").await });
    let has_listed = async || (site.faults().read.load(Ordering::SeqCst) > read).then_some(());
    eventually("the entries are listed", has_listed).await;
    puts.add_permits(1);
    let before = before.await.expect("no panic").expect("added");
    let after = add_slowly(&later_puts).await;
    reads.add_permits(Semaphore::MAX_PERMITS / 2);
    assert_eq!(restoring.await.expect("no panic").expect("restored")["queued"], 0);
    later_puts.add_permits(1);
    let after = after.await.expect("no panic").expect("added");
    assert_eq!(site.queued().await, [first, before, after]);
}

#[tokio::test]
async fn a_running_server_fills_a_wiped_coordinator() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, client) = site.server(store.clone()).await;
    let mut by_priority: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for number in 0..50_u16 {
        let mut job = job("noop");
        job.insert("priority".to_owned(), json!(number % 5));
        let id = client.add("job", &job, None).await.expect("added");
        by_priority.entry(number % 5).or_default().push(id);
    }
    site.wipe();
    let restored = eventually("there is another session", async || client.operation("queue", "restore").await.ok());
    assert_eq!(restored.await["queued"], 50);
    let expected: Vec<String> = by_priority.into_values().flatten().collect();
    assert_eq!(site.queued().await, expected);
    let session = Arc::new(site.tree().session());
    let queue = LockingQueue::open(session, paths::JOB, &"a".repeat(32)).await.expect("open");
    let claim = queue.take().await.expect("taken");
    assert_eq!(claim.value(), expected[0].as_bytes());
    // what is held is queued, too
    assert_eq!(client.operation("queue", "restore").await.expect("restored")["queued"], 0);
    assert_eq!(server.reconcile_once(SignedDuration::ZERO).await.expect("a round"), Mended::default());
    claim.abandon();
}

#[tokio::test]
async fn only_administrators_restore_and_only_by_post() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (server, _client) = site.server(store.clone()).await;
    let transport = server.transport();
    let (_, jane) = session_of(&*store, "jane", "USER ANON").await;
    for cookie in [None, Some(jane)] {
        let request = Raw::new("POST", "/api/queue/restore");
        let request = if let Some(cookie) = &cookie { request.header("cookie", cookie) } else { request };
        let refused = request.send(&*transport).await;
        assert_eq!((refused.status, &refused.body["message"]), (403, &json!("credentials required")));
    }
    assert_eq!(site.text(paths::GENERATION).await.as_deref(), Some("1"), "nothing was raised");
    let cookie = cookie(&*transport).await;
    for method in ["GET", "PUT", "DELETE"] {
        let refused = Raw::new(method, "/api/queue/restore").header("cookie", &cookie).send(&*transport).await;
        assert_eq!(refused.status, 405, "{method}");
    }
}
