use jiff::Timestamp;
use serde_json::json;
use slipstream_action::{Reports, Success};
use slipstream_cimi::{Job, State};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::executor::tests::fake_server::{FakeServer, Fault};

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// A job that was added long ago, and whose last update was then.
fn add(server: &FakeServer, id: &str, state: State, updated: &str) {
    server.store(id, "act", state);
    let mut document = server.document(id);
    document.insert("created".to_owned(), json!("2020-01-01T00:00:00.000Z"));
    document.insert("updated".to_owned(), json!(updated));
    server.store_document(document);
}

async fn clean(server: &FakeServer, reports: &Reports) -> Result<Success, Failure> {
    server.store("job/self", "cleanup_jobs", State::Running);
    let job = Job::from_document(server.document("job/self")).unwrap();
    let handle = JobHandle::new(job, server.client(), false, reports.clone(), CancellationToken::new());
    CleanupJobs { clock: Clock::starting_at(now()) }.run(handle).await
}

#[tokio::test(start_paused = true)]
async fn jobs_that_ended_more_than_a_week_ago_are_removed_and_nothing_else() {
    let server = FakeServer::default();
    for (number, state) in State::ALL.into_iter().enumerate() {
        add(&server, &format!("job/old-{number}"), state, "2026-11-17T11:59:59.999Z");
        add(&server, &format!("job/new-{number}"), state, "2026-11-17T12:00:00.000Z");
    }
    let success = clean(&server, &Reports::new()).await.unwrap();
    assert_eq!(success, Success::with_message("Cleanup of completed jobs finished. Removed 3 jobs."));
    let kept: Vec<bool> = (0..6).map(|number| !server.state(&format!("job/old-{number}")).is_empty()).collect();
    assert_eq!(kept, [true, true, true, false, false, false], "QUEUED, RUNNING, STOPPING stay");
    assert_eq!(server.count(), 9 + 1);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_ended_in_the_future_are_left_and_told() {
    let server = FakeServer::default();
    add(&server, "job/old", State::Success, "2026-11-01T00:00:00.000Z");
    add(&server, "job/ahead", State::Success, "2026-11-24T12:05:00.000Z");
    add(&server, "job/by-a-wrong-clock", State::Success, "2036-11-24T12:00:00.000Z");
    add(&server, "job/runs", State::Running, "2036-11-24T12:00:00.000Z");
    let message = clean(&server, &Reports::new()).await.unwrap().message.unwrap();
    let removed = "Cleanup of completed jobs finished. Removed 1 jobs. Left 1 whose end is in the future: ";
    assert!(message.starts_with(removed), "{message}");
    assert_eq!(server.count(), 3 + 1);
}

#[tokio::test(start_paused = true)]
async fn many_jobs_are_removed_in_pages_with_progress() {
    let server = FakeServer::default();
    for number in 0..1203 {
        add(&server, &format!("job/{number}"), State::Success, "2026-11-01T00:00:00.000Z");
    }
    let reports = Reports::new();
    let success = clean(&server, &reports).await.unwrap();
    assert_eq!(success.message.unwrap(), "Cleanup of completed jobs finished. Removed 1203 jobs.");
    assert_eq!((server.count(), server.served("job").len()), (1, 4));
    assert_eq!(reports.take().progress, Some(100));
}

#[tokio::test(start_paused = true)]
async fn jobs_that_cannot_be_removed_are_passed_over_and_told() {
    let server = FakeServer::default();
    for number in 0..1203 {
        add(&server, &format!("job/{number}"), State::Success, &format!("2026-11-01T00:00:00.{:03}Z", number % 1000));
    }
    let stubborn =
        |id: &str| id.strip_prefix("job/").and_then(|number| number.parse::<u32>().ok()).is_some_and(|it| it < 600);
    server.script(move |asked| {
        if asked.method == http::Method::DELETE && stubborn(&asked.id) { Fault::Status(500) } else { Fault::None }
    });
    let message = clean(&server, &Reports::new()).await.unwrap().message.unwrap();
    assert!(
        message.starts_with(
            "Cleanup of completed jobs have some failures: removed 603 jobs, could not remove 600, the first because of: DELETE"
        ),
        "{message}"
    );
    assert_eq!((server.injected(), server.count()), (600, 601));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_vanished_meanwhile_is_no_failure() {
    let server = FakeServer::default();
    add(&server, "job/1", State::Success, "2026-11-01T00:00:00.000Z");
    add(&server, "job/2", State::Success, "2026-11-01T00:00:00.000Z");
    let other = server.clone();
    server.script(
        move |asked| {
            if asked.id == "job/2" && asked.method == http::Method::DELETE { Fault::Gone } else { Fault::None }
        },
    );
    let success = clean(&server, &Reports::new()).await.unwrap();
    assert_eq!(other.injected(), 1);
    assert_eq!(success.message.unwrap(), "Cleanup of completed jobs finished. Removed 1 jobs.");
}

#[tokio::test(start_paused = true)]
async fn a_search_that_fails_fails_the_job() {
    let server = FakeServer::default();
    server.script(|_| Fault::Unreachable);
    let failure = clean(&server, &Reports::new()).await.unwrap_err();
    assert_eq!(failure.message, "no answer to PUT /api/job: connection refused");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_ends_early_with_a_failure() {
    let server = FakeServer::default();
    add(&server, "job/1", State::Success, "2026-11-01T00:00:00.000Z");
    let job = Job::from_document(server.document("job/1")).unwrap();
    let cancellation = CancellationToken::new();
    cancellation.cancel();
    let handle = JobHandle::new(job, server.client(), false, Reports::new(), cancellation);
    let failure = CleanupJobs { clock: Clock::starting_at(now()) }.run(handle).await.unwrap_err();
    assert_eq!(failure.message, "cancelled after 0 jobs were removed");
    assert_eq!(server.count(), 1);
}
