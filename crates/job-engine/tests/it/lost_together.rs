//! A job that ends its process, and its neighbours.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use slipstream_action::{Catalogue, Failure, JobHandle, Success};
use slipstream_cimi::{AttemptIdentity, Document, Lease, State};
use slipstream_job_engine::internals::executor::{self, ActionRuntime, Options};
use slipstream_job_engine::internals::process::Stop;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::failing_store::Failing;
use crate::support::{InProcess, document, job, state};

const NEIGHBOURS: usize = 3;
/// Lives of the process: more than it takes.
const LIVES: usize = 40;

async fn states(engine: &InProcess, ids: &[String]) -> Vec<String> {
    let mut states = Vec::new();
    for id in ids {
        states.push(state(&engine.client.get(id).await.expect("there")).to_owned());
    }
    states
}

/// The fault: whenever the first job begins, its process is gone at once, and with it whatever else runs there.
#[tokio::test(start_paused = true)]
async fn a_job_that_ends_its_process_is_failed_and_its_neighbours_succeed() {
    let engine = InProcess::new().await;
    let ends = Arc::new(Notify::new());
    let mut catalogue = Catalogue::new();
    let told = ends.clone();
    let ending = move |_job: JobHandle| {
        let told = told.clone();
        async move {
            told.notify_one();
            std::future::pending::<Result<Success, Failure>>().await
        }
    };
    let neighbour = async |_job: JobHandle| {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Ok(Success::default())
    };
    assert!(catalogue.register("ends its process", ending, None));
    assert!(catalogue.register("neighbour", neighbour, None));
    let mut ids = Vec::new();
    for action in std::iter::once("ends its process").chain([("neighbour"); NEIGHBOURS]) {
        ids.push(engine.client.add("job", &job(action), None).await.expect("added"));
    }
    let mut ended = 0;
    for _ in 0..LIVES {
        let options = Options { threads: NEIGHBOURS + 1, ..Options::new("mortal", ActionRuntime::shared()) };
        let coordinator = Arc::new(engine.coordinator.clone());
        let run = executor::run(options, coordinator, engine.client.clone(), catalogue.clone(), Stop::new());
        let process = tokio::spawn(run);
        let is_ended = timeout(Duration::from_mins(10), ends.notified()).await.is_ok();
        process.abort();
        assert!(process.await.is_err_and(|error| error.is_cancelled()), "it does not end by itself");
        if !is_ended {
            break;
        }
        ended += 1;
    }
    // five if each counted whole
    assert!((6..=10).contains(&ended), "it ended {ended} processes");
    let states = states(&engine, &ids).await;
    assert_eq!(states[0], State::Failed.as_str());
    assert!(states[1..].iter().all(|state| state == State::Success.as_str()), "{states:?}");
    let failed: Document = engine.client.get(&ids[0]).await.expect("there");
    assert_eq!(failed["statusMessage"], format!("given up after {ended} attempts, last on mortal"));
}

/// A crash loses as many attempts as there are slots: what the server works on is not searched for in the store.
#[tokio::test]
async fn who_was_lost_with_jobs_that_are_worked_on_is_found_without_a_search() {
    let store = Arc::new(Failing::default());
    let engine = InProcess::over(store.clone()).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(engine.client.add("job", &job("noop"), None).await.expect("added"));
    }
    let begin = async |id: &str, zxid| {
        let entry = engine.client.get(id).await.expect("there")["properties"]["zookeeper-path"].clone();
        let entry = entry.as_str().expect("its entry is recorded").to_owned();
        let lease = Lease { generation: 1, zxid };
        let attempt = AttemptIdentity { job: id.to_owned(), lease, entry, executor: "mortal".to_owned() };
        let running = document(json!({"state": "RUNNING"}));
        engine.client.for_attempt(attempt).edit(id, &running, &[]).await.expect("accepted");
    };
    begin(&ids[0], 10).await;
    begin(&ids[1], 11).await;
    let before = store.reads();
    begin(&ids[0], 20).await;
    assert_eq!(store.reads(), before, "nothing was read");
    let ledger = engine.client.operation(&ids[0], "ledger").await.expect("read");
    assert_eq!((&ledger["lost"], &ledger["lost-together"]), (&json!(1), &json!(1)), "{ledger:?}");
}
