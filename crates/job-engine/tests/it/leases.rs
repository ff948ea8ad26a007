//! Leases, attempts and final states, against the real routes (decisions 3 to 6 and 13).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use slipstream_cimi::{AttemptIdentity, Client, Code, Document, Error, Lease};
use slipstream_coordination::session::{Mode, Operation};
use slipstream_coordination::{Coordinator, LockingQueue, Session};
use slipstream_job_engine::internals::executor;
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::{Catalogue, JobHandle, Success};
use slipstream_store::StoreExt;
use slipstream_store::memory::MemoryStore;
use tokio::sync::Semaphore;

use crate::site::Site;
use crate::support::{InProcess, document, eventually, job, state};

fn lease(generation: i64, zxid: i64) -> Lease {
    Lease { generation, zxid }
}

fn writer(engine: &InProcess, lease: Lease, id: &str, entry: &str) -> Client {
    let executor = format!("executor-{}", lease.zxid);
    let identity = AttemptIdentity { job: id.to_owned(), lease, entry: entry.to_owned(), executor };
    engine.client.for_attempt(identity)
}

async fn entry_of(engine: &InProcess, id: &str) -> String {
    let job = engine.client.get(id).await.expect("the job is there");
    job["properties"]["zookeeper-path"].as_str().expect("its entry is recorded").to_owned()
}

async fn set(client: &Client, id: &str, changes: Value) -> Result<Document, Error> {
    client.edit(id, &document(changes), &[]).await
}

fn refusal(answer: Result<Document, Error>) -> (u16, Option<Code>) {
    let error = answer.expect_err("refused");
    let refusal = error.refusal().expect("answered by the server");
    (refusal.status, refusal.code)
}

async fn ledger(engine: &InProcess, id: &str) -> Value {
    Value::Object(engine.client.operation(id, "ledger").await.expect("the ledger is there"))
}

/// A job whose attempt under lease 1.10 runs.
async fn running(engine: &InProcess) -> (String, String) {
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    let entry = entry_of(engine, &id).await;
    let begun =
        set(&writer(engine, lease(1, 10), &id, &entry), &id, json!({"state": "RUNNING"})).await.expect("accepted");
    assert_eq!(state(&begun), "RUNNING");
    (id, entry)
}

#[tokio::test]
async fn a_write_under_an_older_lease_changes_nothing_and_is_shown() {
    let engine = InProcess::new().await;
    let (id, entry) = running(&engine).await;
    let before =
        set(&writer(&engine, lease(1, 20), &id, &entry), &id, json!({"state": "RUNNING"})).await.expect("later");
    let late = writer(&engine, lease(1, 10), &id, &entry);
    for changes in [json!({"state": "SUCCESS"}), json!({"progress": 77}), json!({"state": "QUEUED"})] {
        assert_eq!(refusal(set(&late, &id, changes).await), (409, Some(Code::LateLease)));
    }
    let after = engine.client.get(&id).await.expect("there");
    assert_eq!((&after["state"], &after["progress"]), (&before["state"], &before["progress"]));
    let ledger = ledger(&engine, &id).await;
    assert_eq!(ledger["refused-total"], 3);
    assert_eq!(ledger["refused"][0]["executor"], "executor-10");
    assert_eq!(ledger["refused"][0]["state"], "SUCCESS");
    assert_eq!(ledger["lease"], json!({"generation": 1, "zxid": 20}));
    assert_eq!(ledger["attempts"][0]["outcome"], "lost");
}

#[tokio::test]
async fn the_same_final_report_twice_is_answered_and_changes_nothing() {
    let engine = InProcess::new().await;
    let (id, entry) = running(&engine).await;
    let holder = writer(&engine, lease(1, 10), &id, &entry);
    let first = set(&holder, &id, json!({"state": "SUCCESS", "returnCode": 0})).await.expect("accepted");
    assert_eq!(ledger(&engine, &id).await["attempts"][0]["outcome"], "finished");
    let again = set(&holder, &id, json!({"state": "SUCCESS", "returnCode": 5})).await.expect("accepted");
    assert_eq!(first, again);
    assert_eq!(refusal(set(&holder, &id, json!({"state": "FAILED"})).await), (409, Some(Code::Final)));
    assert_eq!(refusal(set(&engine.client, &id, json!({"progress": 5})).await), (409, Some(Code::Final)));
}

#[tokio::test]
async fn a_job_lost_five_times_is_given_up() {
    let engine = InProcess::new().await;
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    let entry = entry_of(&engine, &id).await;
    for zxid in 1..=5 {
        let holder = writer(&engine, lease(1, zxid), &id, &entry);
        let begun = set(&holder, &id, json!({"state": "RUNNING"})).await.expect("accepted");
        assert_eq!(state(&begun), "RUNNING", "attempt {zxid}");
    }
    let sixth = writer(&engine, lease(1, 6), &id, &entry);
    assert_eq!(refusal(set(&sixth, &id, json!({"state": "RUNNING"})).await), (409, Some(Code::Final)));
    let job = engine.client.get(&id).await.expect("there");
    assert_eq!(state(&job), "FAILED");
    assert_eq!(job["statusMessage"], "given up after 5 attempts, last on executor-5");
    let fifth = writer(&engine, lease(1, 5), &id, &entry);
    assert_eq!(refusal(set(&fifth, &id, json!({"state": "SUCCESS"})).await), (409, Some(Code::LateLease)));
    let ledger = ledger(&engine, &id).await;
    assert_eq!((&ledger["lost"], &ledger["lease"]["zxid"]), (&json!(5), &json!(6)));
    assert_eq!(ledger["attempts"][4]["outcome"], "lost");
}

#[tokio::test]
async fn a_released_attempt_does_not_count() {
    let engine = InProcess::new().await;
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    let entry = entry_of(&engine, &id).await;
    for zxid in 1..=12 {
        let holder = writer(&engine, lease(1, zxid), &id, &entry);
        set(&holder, &id, json!({"state": "RUNNING"})).await.expect("accepted");
        let released = set(&holder, &id, json!({"state": "QUEUED"})).await.expect("accepted");
        assert_eq!(state(&released), "QUEUED");
    }
    assert_eq!(ledger(&engine, &id).await["lost"], 0);
}

/// An executor whose RUNNING was lost on its way cannot know, and gives back what it never began.
#[tokio::test]
async fn a_release_of_what_was_never_begun_does_not_count() {
    let engine = InProcess::new().await;
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    let entry = entry_of(&engine, &id).await;
    for zxid in 1..=12 {
        let released = set(&writer(&engine, lease(1, zxid), &id, &entry), &id, json!({"state": "QUEUED"})).await;
        assert_eq!(state(&released.expect("accepted")), "QUEUED");
    }
    let ledger = ledger(&engine, &id).await;
    assert_eq!((&ledger["lost"], &ledger["attempts"][11]["outcome"]), (&json!(0), &json!("released")));
}

#[tokio::test]
async fn a_lease_that_is_none_is_a_bad_request() {
    let engine = InProcess::new().await;
    let (id, entry) = running(&engine).await;
    for bad in [lease(0, 5), lease(1, 0), lease(-1, 5), lease(1, -1)] {
        assert_eq!(refusal(set(&writer(&engine, bad, &id, &entry), &id, json!({"progress": 1})).await), (400, None));
    }
    // its executor reads the generation again, and nothing is kept of this one
    for unknown in [lease(2, 1), lease(i64::MAX, 1)] {
        let answer = refusal(set(&writer(&engine, unknown, &id, &entry), &id, json!({"progress": 1})).await);
        assert_eq!(answer, (409, Some(Code::LateLease)));
    }
    assert_eq!(ledger(&engine, &id).await["lease"]["generation"], 1);
}

#[tokio::test]
async fn a_second_entry_of_a_job_is_superseded_while_the_recorded_one_exists() {
    let engine = InProcess::new().await;
    let (id, _) = running(&engine).await;
    let another = "/job/entries/entry-999-0000009999";
    let second = writer(&engine, lease(1, 30), &id, another);
    assert_eq!(refusal(set(&second, &id, json!({"state": "RUNNING"})).await), (409, Some(Code::Superseded)));
    assert_eq!(ledger(&engine, &id).await["refused-total"], 0, "only late writes are noted");
    let session = engine.coordinator.connect().await.expect("connected");
    let path = entry_of(&engine, &id).await;
    session.commit(vec![Operation::Delete { path, version: None }]).await.expect("deleted");
    set(&second, &id, json!({"state": "RUNNING"})).await.expect("the recorded entry is gone");
    assert_eq!(ledger(&engine, &id).await["entry"], another);
}

/// What a server remembers of a job is not the reason to refuse an attempt that another one has taken.
#[tokio::test]
async fn an_attempt_that_another_server_has_taken_is_not_refused_by_what_this_one_remembers() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (_one, client) = site.server_among_others(store.clone()).await;
    let (_other, other) = site.server_among_others(store.clone()).await;
    let id = client.add("job", &job("noop"), None).await.expect("added");
    let entry =
        client.get(&id).await.expect("there")["properties"]["zookeeper-path"].as_str().expect("queued").to_owned();
    let is_stored = async || {
        let stored = store.get(&id).await.expect("answers").expect("there");
        (stored.ledger["entry"] == entry.as_str()).then_some(())
    };
    eventually("its entry is recorded", is_stored).await;
    let session = site.tree().session();
    let second = Operation::create(format!("{}/entry-999-", paths::ENTRIES), id.clone(), Mode::PersistentSequential);
    let second = session.commit(vec![second]).await.expect("put").concat();
    let attempt = |client: &Client| {
        let identity = AttemptIdentity {
            job: id.clone(),
            lease: lease(1, 10),
            entry: second.clone(),
            executor: "Kenny".to_owned(),
        };
        client.for_attempt(identity)
    };
    // the other server takes the second entry while the first one is gone for a moment
    session.commit(vec![Operation::delete(entry.as_str())]).await.expect("deleted");
    set(&attempt(&other), &id, json!({"state": "RUNNING"})).await.expect("begun");
    session.commit(vec![Operation::create(entry.as_str(), id.clone(), Mode::Persistent)]).await.expect("put back");
    set(&attempt(&client), &id, json!({"progress": 50})).await.expect("it is the one that counts");
    set(&attempt(&client), &id, json!({"state": "SUCCESS"})).await.expect("ended");
}

/// Claims that one transaction made have one lease: the entry tells their attempts apart.
#[tokio::test]
async fn a_second_entry_of_a_job_under_the_same_lease_is_another_attempt() {
    let engine = InProcess::new().await;
    let (id, entry) = running(&engine).await;
    let other = engine.client.add("job", &job("noop"), None).await.expect("added");
    let beside = writer(&engine, lease(1, 10), &id, "/job/entries/entry-999-0000009999");
    for changes in [json!({"state": "RUNNING"}), json!({"progress": 5}), json!({"state": "SUCCESS"})] {
        assert_eq!(refusal(set(&beside, &id, changes).await), (409, Some(Code::Superseded)));
    }
    let elsewhere = set(&beside, &other, json!({"name": "touched"})).await;
    assert_eq!(refusal(elsewhere), (409, Some(Code::Superseded)), "it does not write into other documents either");
    let session = engine.coordinator.connect().await.expect("connected");
    session.commit(vec![Operation::delete(entry.as_str())]).await.expect("deleted");
    assert_eq!(refusal(set(&beside, &id, json!({"state": "RUNNING"})).await), (409, Some(Code::LateLease)));
    let holder = writer(&engine, lease(1, 10), &id, &entry);
    set(&holder, &id, json!({"state": "SUCCESS"})).await.expect("the first attempt is the one that counts");
}

/// Entries of one job, as restore scripts of the original put them.
#[tokio::test]
async fn a_job_with_several_entries_is_run_once_at_a_time_and_the_others_are_consumed() {
    const ENTRIES: usize = 7;
    let engine = InProcess::new().await;
    let id = engine.client.add("job", &job("counted"), None).await.expect("added");
    let session = engine.coordinator.connect().await.expect("connected");
    let queue = LockingQueue::open(session, paths::JOB, &"a".repeat(32)).await.expect("open");
    queue.put_all(&[(id.as_bytes(), 999); ENTRIES - 1]).await.expect("put");
    let (begun, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let mut catalogue = Catalogue::new();
    let (count, wait) = (begun.clone(), go_on.clone());
    let action = move |_job: JobHandle| {
        let (count, wait) = (count.clone(), wait.clone());
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            wait.acquire().await.expect("never closed").forget();
            Ok(Success::default())
        }
    };
    assert!(catalogue.register("counted", action, None));
    let options = executor::Options {
        threads: ENTRIES + 1,
        ..executor::Options::new("alone", executor::ActionRuntime::shared())
    };
    let stop = Stop::new();
    let coordinator = Arc::new(engine.coordinator.clone());
    let work = tokio::spawn(executor::run(options, coordinator, engine.client.clone(), catalogue, stop.clone()));
    eventually("the other entries are consumed", async || {
        (begun.load(Ordering::SeqCst) > 0 && queue.entries().await.expect("answers").len() == 1).then_some(())
    })
    .await;
    assert_eq!(begun.load(Ordering::SeqCst), 1, "it runs several times at once");
    go_on.add_permits(ENTRIES);
    eventually("it ends", async || (state(&engine.client.get(&id).await.ok()?) == "SUCCESS").then_some(())).await;
    eventually("the queue is empty", async || queue.entries().await.ok()?.is_empty().then_some(())).await;
    stop.ask();
    work.await.expect("the executor ends well");
    let ledger = ledger(&engine, &id).await;
    assert_eq!((&ledger["lost"], ledger["attempts"].as_array().map(Vec::len)), (&json!(0), Some(1)));
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

/// After a coordinator was wiped another job may have an entry of the recorded name.
#[tokio::test]
async fn the_entry_of_another_job_supersedes_nothing() {
    let engine = InProcess::new().await;
    let (id, path) = running(&engine).await;
    let session = engine.coordinator.connect().await.expect("connected");
    session
        .commit(vec![
            Operation::Delete { path: path.clone(), version: None },
            Operation::Create { path, data: b"job/another".to_vec(), mode: Mode::Persistent },
        ])
        .await
        .expect("replaced");
    let second = writer(&engine, lease(1, 30), &id, "/job/entries/entry-999-0000009999");
    set(&second, &id, json!({"state": "RUNNING"})).await.expect("the recorded entry is no longer this job's");
}

#[tokio::test]
async fn an_attempt_without_leases_takes_no_lease_away() {
    let engine = InProcess::new().await;
    let (id, entry) = running(&engine).await;
    set(&engine.client, &id, json!({"state": "RUNNING"})).await.expect("an old executor, whose claim is gone already");
    assert_eq!(ledger(&engine, &id).await["lease"], json!({"generation": 1, "zxid": 10}));
    let late = writer(&engine, lease(1, 9), &id, &entry);
    assert_eq!(refusal(set(&late, &id, json!({"progress": 1})).await), (409, Some(Code::LateLease)));
}

#[tokio::test]
async fn nobody_without_a_lease_changes_the_state_under_a_live_claim() {
    let engine = InProcess::new().await;
    let (id, entry) = running(&engine).await;
    let session = engine.coordinator.connect().await.expect("connected");
    let taken = entry.replace(paths::ENTRIES, paths::TAKEN);
    let claim = |path: &str| Operation::Create { path: path.to_owned(), data: Vec::new(), mode: Mode::Ephemeral };
    let parent = Operation::Create { path: paths::TAKEN.to_owned(), data: Vec::new(), mode: Mode::Persistent };
    // The server has made the folder already, or it has not: either is fine.
    drop(session.commit(vec![parent]).await);
    session.commit(vec![claim(&taken)]).await.expect("claimed");
    assert_eq!(refusal(set(&engine.client, &id, json!({"state": "FAILED"})).await), (409, Some(Code::Conflict)));
    set(&engine.client, &id, json!({"name": "a remark"})).await.expect("no change of state");
    session.close().await;
    set(&engine.client, &id, json!({"state": "FAILED"})).await.expect("the claim is gone");
}

#[tokio::test]
async fn an_old_executor_runs_under_the_lease_of_its_claim() {
    let engine = InProcess::new().await;
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    let entry = entry_of(&engine, &id).await;
    let queue_session = engine.coordinator.connect().await.expect("connected");
    let queue = LockingQueue::open(queue_session, paths::JOB, &"a".repeat(32)).await.expect("open");
    let claim = queue.take().await.expect("taken");
    assert_eq!(claim.entry(), entry);
    set(&engine.client, &id, json!({"state": "RUNNING"})).await.expect("accepted");
    assert_eq!(ledger(&engine, &id).await["lease"]["zxid"], claim.zxid());
    engine.client.operation(&id, "stop").await.expect("stopped");
    let finished = set(&engine.client, &id, json!({"state": "SUCCESS"})).await.expect("an old executor may finish");
    assert_eq!(state(&finished), "SUCCESS");
    claim.abandon();
}

#[tokio::test]
async fn an_unanswered_add_can_be_repeated() {
    let engine = InProcess::new().await;
    let first = engine.client.add("job", &job("noop"), Some("the key")).await.expect("added");
    let again = engine.client.add("job", &job("noop"), Some("the key")).await.expect("known already");
    let other = engine.client.add("job", &job("noop"), Some("another key")).await.expect("added");
    assert_eq!(first, again);
    assert_ne!(first, other);
    let found = engine.client.search("job", &slipstream_cimi::query::Search::default()).await.expect("searched");
    assert_eq!(found.count, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_lose_nothing() {
    let engine = InProcess::new().await;
    let (id, entry) = running(&engine).await;
    for round in 0..20 {
        let text = format!("round {round}");
        let names = ["progress", "name", "description", "statusMessage"];
        let writers = names.map(|name| {
            let client = writer(&engine, lease(1, 10), &id, &entry);
            let (id, value) = (id.clone(), if name == "progress" { json!(round) } else { json!(text) });
            tokio::spawn(async move { client.edit(&id, &document(json!({name: value})), &[]).await.map(drop) })
        });
        for write in writers {
            write.await.expect("no panic").expect("accepted");
        }
        engine.server.settled().await;
        let stored = engine.store.get(&id).await.expect("answers").expect("there").document;
        let expected = [json!(round), json!(text), json!(text), json!(text)];
        assert_eq!(names.map(|name| stored[name].clone()), expected, "no write undoes another");
    }
}

#[tokio::test]
async fn an_attempt_writes_to_other_documents_only_as_long_as_it_is_the_latest() {
    let engine = InProcess::new().await;
    let (id, entry) = running(&engine).await;
    let other = engine.client.add("job", &job("noop"), None).await.expect("added");
    let holder = writer(&engine, lease(1, 10), &id, &entry);
    set(&holder, &other, json!({"name": "touched"})).await.expect("the attempt is the latest");
    let untouched = ledger(&engine, &other).await;
    assert_eq!((untouched.get("lease"), untouched.get("attempts")), (None, None), "it is no attempt on the other job");
    set(&writer(&engine, lease(1, 20), &id, &entry), &id, json!({"state": "RUNNING"})).await.expect("taken over");
    assert_eq!(refusal(set(&holder, &other, json!({"name": "late"})).await), (409, Some(Code::LateLease)));
    assert_eq!(refusal(holder.operation(&other, "stop").await), (409, Some(Code::LateLease)));
    assert!(holder.delete(&other).await.is_err());
    assert!(holder.add("job", &job("noop"), None).await.is_err());
    assert!(holder.add("job", &job("noop"), Some("a key")).await.is_err(), "a refusal is no earlier add");
    let job = engine.client.get(&other).await.expect("still there");
    assert_eq!((&job["name"], state(&job)), (&json!("touched"), "QUEUED"));
    assert_eq!(ledger(&engine, &id).await["refused-total"], 5);
    engine.client.operation(&id, "stop").await.expect("stopped");
    let latest = writer(&engine, lease(1, 20), &id, &entry);
    assert_eq!(refusal(set(&latest, &other, json!({"name": "stopped"})).await), (409, Some(Code::Final)));
}

#[tokio::test]
async fn running_again_under_the_same_claim_is_the_same_attempt() {
    let engine = InProcess::new().await;
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    for _ in 0..7 {
        set(&engine.client, &id, json!({"state": "RUNNING"})).await.expect("nobody holds it");
    }
    let held = ledger(&engine, &id).await;
    assert_eq!((&held["lost"], held["attempts"].as_array().map(Vec::len)), (&json!(0), Some(1)));
    for life in 1..=2 {
        let session = engine.coordinator.connect().await.expect("connected");
        let queue = LockingQueue::open(session.clone(), paths::JOB, &"a".repeat(32)).await.expect("open");
        let claim = queue.take().await.expect("taken");
        for _ in 0..3 {
            set(&engine.client, &id, json!({"state": "RUNNING"})).await.expect("accepted");
        }
        let ledger = ledger(&engine, &id).await;
        assert_eq!((&ledger["lost"], &ledger["lease"]["zxid"]), (&json!(life), &json!(claim.zxid())));
        claim.abandon();
        session.close().await;
    }
}

#[tokio::test]
async fn an_edit_of_somebody_else_under_the_claim_of_the_attempt_is_no_attempt() {
    let engine = InProcess::new().await;
    let id = engine.client.add("job", &job("noop"), None).await.expect("added");
    let session = engine.coordinator.connect().await.expect("connected");
    let queue = LockingQueue::open(session, paths::JOB, &"a".repeat(32)).await.expect("open");
    let claim = queue.take().await.expect("taken");
    let holder = writer(&engine, lease(1, claim.zxid()), &id, claim.entry());
    set(&holder, &id, json!({"state": "RUNNING"})).await.expect("begun");
    set(&engine.client, &id, json!({"state": "RUNNING"})).await.expect("no change");
    set(&holder, &id, json!({"progress": 50})).await.expect("still the attempt");
    let ledger = ledger(&engine, &id).await;
    assert_eq!((&ledger["lost"], ledger["attempts"].as_array().map(Vec::len)), (&json!(0), Some(1)));
    claim.abandon();
}
