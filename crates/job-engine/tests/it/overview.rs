//! `/api/queue`, `/api/executor`, `/api/distributor`: for administrators, true of foreign peers too, and bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::queue::MOST_LISTED;
use slipstream_cimi::{AttemptIdentity, Lease};
use slipstream_coordination::session::{Coordinator, Mode, Operation, make_path};
use slipstream_coordination::{LockingQueue, Session};
use slipstream_job_engine::internals::process::paths;
use slipstream_store::memory::MemoryStore;

use crate::site::Site;
use crate::support::{InProcess, Raw, cookie, document, job};

const PATHS: [&str; 5] = ["/api/queue", "/api/executor", "/api/distributor", "/api/doctor", "/api/notices"];

async fn create(session: &dyn Session, path: &str, data: &str, mode: Mode) {
    session.commit(vec![Operation::create(path, data, mode)]).await.expect("created");
}

#[tokio::test]
async fn only_administrators_see_them_and_they_are_only_read() {
    let engine = InProcess::new().await;
    let jane = document(json!({"username": "jane", "password": "a secret of jane"}));
    engine.client.add("user", &jane, None).await.expect("added");
    let login = json!({"sessionTemplate": {
        "href": "session-template/internal", "username": "jane", "password": "a secret of jane",
    }});
    let session = Raw::new("POST", "/api/session").json(&login).send(&*engine.transport).await;
    let jane = session.headers["set-cookie"].to_str().expect("text").to_owned();
    let administrator = cookie(&*engine.transport).await;
    for path in PATHS {
        let anonymous = Raw::new("GET", path).send(&*engine.transport).await;
        let user = Raw::new("GET", path).header("cookie", &jane).send(&*engine.transport).await;
        for refused in [anonymous, user] {
            assert_eq!((refused.status, &refused.body["message"]), (403, &json!("credentials required")), "{path}");
        }
        for method in ["POST", "PUT", "DELETE"] {
            let wrong = Raw::new(method, path).header("cookie", &administrator).send(&*engine.transport).await;
            assert_eq!(wrong.status, 405, "{method} {path}");
        }
        let good = Raw::new("GET", path).header("cookie", &administrator).send(&*engine.transport).await;
        assert_eq!((good.status, &good.body["id"]), (200, &json!(path.trim_start_matches("/api/"))));
    }
    assert_eq!(engine.client.get("executor").await.expect("read")["executors"], json!([]));
    assert_eq!(engine.client.get("distributor").await.expect("read")["distributors"], json!([]));
    assert_eq!(engine.client.get("queue").await.expect("read")["waiting"]["count"], 0);
}

/// Foreign engines claim and lead, and do not register (decision 17).
#[tokio::test]
async fn foreign_peers_are_shown_by_what_they_leave() {
    let engine = InProcess::new().await;
    let foreign = engine.coordinator.connect().await.expect("connected");
    let id = engine.client.add(JOB.name, &job("noop"), None).await.expect("added");
    let claimant = "f".repeat(32);
    let queue = LockingQueue::open(foreign.clone(), paths::JOB, &claimant).await.expect("opened");
    let claim = queue.take().await.expect("claimed");
    make_path(&*foreign, "/election/cleanup_jobs").await.expect("made");
    let candidate = format!("/election/cleanup_jobs/{claimant}__lock__");
    create(&*foreign, &candidate, "old-machine", Mode::EphemeralSequential).await;
    make_path(&*foreign, paths::EXECUTORS).await.expect("made");
    create(&*foreign, &format!("{}/0a", paths::EXECUTORS), "{\"of\": \"a newer version\"}", Mode::Ephemeral).await;
    let seen = engine.client.get("queue").await.expect("read");
    let expected = json!({
        "entry": claim.entry(), "job": id, "action": "noop", "state": "QUEUED", "claimant": claimant,
        "executor": null, "host": null, "since": null,
    });
    assert_eq!(seen["claimed"], json!({"count": 1, "claims": [expected]}));
    let executors = engine.client.get("executor").await.expect("read");
    assert_eq!(executors["count"], 0, "what is not understood is left out");
    assert_eq!(executors["foreign"], json!([{"claimant": claimant, "busy": 1}]));
    let distributors = engine.client.get("distributor").await.expect("read")["distributors"].clone();
    let expected = json!([{
        "name": "cleanup_jobs", "election": "cleanup_jobs", "schedule": null, "leader": "old-machine",
        "candidates": ["old-machine"], "last": null, "next": null, "problem": null,
    }]);
    assert_eq!(distributors, expected);
    drop(claim);
}

#[tokio::test]
async fn the_ledger_says_who_has_a_claim_on_the_entry() {
    let engine = InProcess::new().await;
    let id = engine.client.add(JOB.name, &job("noop"), None).await.expect("added");
    let claim_told = async || engine.client.operation(&id, "ledger").await.expect("read").get("claim").cloned();
    assert_eq!(claim_told().await, Some(Value::Null));
    let session = engine.coordinator.connect().await.expect("connected");
    let claimant = "e".repeat(32);
    let queue = LockingQueue::open(session.clone(), paths::JOB, &claimant).await.expect("opened");
    let claim = queue.take().await.expect("claimed");
    let mut expected = json!({"claimant": claimant, "zxid": claim.zxid(), "executor": null, "host": null});
    assert_eq!(claim_told().await, Some(expected.clone()));
    make_path(&*session, paths::EXECUTORS).await.expect("made");
    let registered = json!({
        "name": "Kenny", "process": {"host": "node-7", "id": 5, "version": "0"}, "slots": 1, "actions": [],
        "begun": "2026-11-24T10:00:00Z",
    });
    let node = format!("{}/{claimant}", paths::EXECUTORS);
    create(&*session, &node, &registered.to_string(), Mode::Ephemeral).await;
    expected["executor"] = json!("Kenny");
    expected["host"] = json!("node-7");
    assert_eq!(claim_told().await, Some(expected));
    assert_eq!(engine.client.get("executor").await.expect("read")["foreign"], json!([]));
    // a claim without a name that could be looked up
    claim.consume().await.expect("consumed");
    let other = engine.client.add(JOB.name, &job("noop"), None).await.expect("added");
    let entry = engine.client.operation(&other, "ledger").await.expect("read")["entry"].clone();
    let taken = entry.as_str().expect("text").replace(paths::ENTRIES, paths::TAKEN);
    create(&*session, &taken, "../../job/entries", Mode::Ephemeral).await;
    let told = engine.client.operation(&other, "ledger").await.expect("read")["claim"].clone();
    assert_eq!((&told["claimant"], &told["executor"]), (&json!("../../job/entries"), &Value::Null));
}

#[tokio::test]
async fn a_large_queue_is_counted_by_names_and_the_oldest_claims_are_told() {
    const WAITING: u64 = 100_000;
    const CLAIMED: u64 = 1_500;
    let site = Arc::new(Site::default());
    let (_server, client) = site.server(Arc::new(MemoryStore::default())).await;
    let name = |priority: u64, number: u64| format!("entry-{priority:03}-{number:010}");
    // Entries whose data nobody could read as a job: what waits is told by its name.
    let entries = (0..WAITING + CLAIMED).map(|number| (name(number % 4, number), b"no job".to_vec()));
    site.tree().restore(paths::ENTRIES, entries.collect()).expect("restored");
    let session: Arc<dyn Session> = site.tree().connect().await.expect("connected");
    make_path(&*session, paths::TAKEN).await.expect("made");
    let newest_first = (WAITING..WAITING + CLAIMED).rev();
    for number in newest_first.clone() {
        create(&*session, &format!("{}/{}", paths::TAKEN, name(number % 4, number)), "someone", Mode::Ephemeral).await;
    }
    client.login().await.expect("logged in");
    site.faults().read.store(0, Ordering::SeqCst);
    let seen = client.get("queue").await.expect("read");
    let read = site.faults().read.load(Ordering::SeqCst);
    let most = usize::try_from(CLAIMED).expect("a small number") + MOST_LISTED;
    assert!(read <= most, "{read} nodes were read, claims and the entries that are told are {most}");
    let waiting = &seen["waiting"];
    assert_eq!(waiting["count"], WAITING);
    let expected: Vec<Value> = (0..4).map(|priority| json!({"priority": priority, "count": WAITING / 4})).collect();
    assert_eq!((&waiting["priorities"], &waiting["oldest"]), (&json!(expected), &Value::Null));
    assert_eq!(seen["claimed"]["count"], CLAIMED);
    let told: Vec<&str> = seen["claimed"]["claims"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|claim| claim["entry"].as_str())
        .collect();
    let oldest: Vec<String> = newest_first
        .take(MOST_LISTED)
        .map(|number| format!("{}/{}", paths::ENTRIES, name(number % 4, number)))
        .collect();
    assert_eq!(told, oldest);
}

/// A job whose state is set under these leases, one after the other, each by an executor of its own.
async fn attempted(engine: &InProcess, attempts: &[(i64, &str)]) -> String {
    let id = engine.client.add(JOB.name, &job("noop"), None).await.expect("added");
    let entry = engine.client.get(&id).await.expect("there")["properties"]["zookeeper-path"].clone();
    let entry = entry.as_str().expect("its entry is recorded");
    for (zxid, state) in attempts {
        let (lease, executor) = (Lease { generation: 1, zxid: *zxid }, format!("executor-{zxid}"));
        let attempt = AttemptIdentity { job: id.clone(), lease, entry: entry.to_owned(), executor };
        let changes = document(json!({ "state": state }));
        engine.client.for_attempt(attempt).edit(&id, &changes, &[]).await.expect("accepted");
    }
    id
}

#[tokio::test]
async fn what_was_given_back_lost_or_queued_again_is_told_since_the_server_began() {
    let engine = InProcess::new().await;
    attempted(&engine, &[(10, "RUNNING"), (10, "SUCCESS")]).await;
    let at_first = engine.client.get("queue").await.expect("read")["released"].clone();
    let since: Timestamp = at_first["since"].as_str().expect("a time").parse().expect("a time");
    assert_eq!((&at_first["count"], &at_first["latest"]), (&json!(0), &json!([])), "one that goes well is none");
    let given_back = attempted(&engine, &[(20, "RUNNING"), (20, "QUEUED")]).await;
    let lost = attempted(&engine, &[(30, "RUNNING"), (40, "RUNNING")]).await;
    let wiped = attempted(&engine, &[]).await;
    let entry = engine.client.get(&wiped).await.expect("there")["properties"]["zookeeper-path"].clone();
    let session = engine.coordinator.connect().await.expect("connected");
    session.commit(vec![Operation::delete(entry.as_str().expect("a path"))]).await.expect("the fault");
    engine.server.reconcile_once(SignedDuration::ZERO).await.expect("a round");
    let released = engine.client.get("queue").await.expect("read")["released"].clone();
    assert_eq!((&released["since"], &released["count"]), (&at_first["since"], &json!(3)));
    let told: Vec<[&str; 3]> = released["latest"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| ["job", "executor", "reason"].map(|name| it[name].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        [&*wiped, "", "its entry was gone"],
        [&*lost, "executor-30", "its attempt was lost"],
        [&*given_back, "executor-20", "it was released"],
    ];
    assert_eq!(told, expected, "the latest first");
    let time: Timestamp = released["latest"][0]["time"].as_str().expect("a time").parse().expect("a time");
    assert!(time >= since);
}

#[tokio::test]
async fn of_what_was_given_back_the_latest_are_told_and_all_are_counted() {
    let engine = InProcess::new().await;
    let mut last = String::new();
    for _ in 0..30 {
        last = attempted(&engine, &[(20, "RUNNING"), (20, "QUEUED")]).await;
    }
    let released = engine.client.get("queue").await.expect("read")["released"].clone();
    assert_eq!((&released["count"], &released["latest"][0]["job"]), (&json!(30), &json!(last)));
    assert_eq!(released["latest"].as_array().map(Vec::len), Some(20));
}
