//! Jobs that the server refuses for what they are, again and again.

use std::time::Duration;

use serde_json::json;
use slipstream_cimi::State;
use tokio::time::{Instant, sleep};

use super::fake_server::{Asked, Fault};
use super::harness::{Harness, Runs};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// An executor whose server refuses what this says; the action takes no time.
async fn refusing(runs: &Runs, refused: impl Fn(&Asked) -> bool + Send + 'static) -> Harness {
    let mut harness = Harness::new().await;
    harness.catalogue.register("act", runs.action(Duration::ZERO), None);
    harness.server.script(move |asked| if refused(asked) { Fault::Status(400) } else { Fault::None });
    harness
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_begin_is_always_refused_for_what_it_holds_fails_with_the_reason_and_others_go_on() {
    let runs = Runs::default();
    let mut harness = refusing(&runs, |asked| asked.id == "job/1" && asked.state() == Some("RUNNING")).await;
    harness.add("job/1", "act").await;
    harness.add("job/2", "act").await;
    let begun = Instant::now();
    harness.start();
    harness.until_state("job/2", State::Success).await;
    harness.until_state("job/1", State::Failed).await;
    assert!((5 * MINUTE..15 * MINUTE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    harness.until_empty().await;
    assert_eq!((harness.server.injected(), runs.begun()), (10, 1));
    let message = harness.server.attribute("job/1", "statusMessage");
    let message = message.as_str().unwrap();
    assert!(message.starts_with("the server refuses its reports: "), "{message}");
    assert!(message.contains("job/1 was refused"), "{message}");
    harness.finish().await;
}

/// Here it is no text that the server takes.
#[tokio::test(start_paused = true)]
async fn it_is_failed_by_the_plainest_edit_that_the_server_takes() {
    let runs = Runs::default();
    let mut harness = refusing(&runs, |asked| asked.state() == Some("RUNNING") || asked.body.len() > 1).await;
    harness.add("job/1", "act").await;
    harness.start();
    harness.until_empty().await;
    assert_eq!((harness.server.state("job/1").as_str(), runs.begun()), ("FAILED", 0));
    assert_eq!(harness.server.attribute("job/1", "statusMessage"), json!(null));
    harness.finish().await;
}

/// As when it is no fault of the job's: then whatever is written of it is refused.
#[tokio::test(start_paused = true)]
async fn a_job_of_which_nothing_may_be_written_waits_is_shown_by_name_and_tried_once_in_an_hour() {
    let runs = Runs::default();
    let mut harness = refusing(&runs, |asked| asked.method == "PUT").await;
    let entry = harness.add("job/1", "act").await;
    harness.start();
    sleep(3 * HOUR).await;
    assert_eq!(harness.queue.entries().await.unwrap(), std::slice::from_ref(&entry));
    let refused = harness.server.injected();
    sleep(10 * HOUR).await;
    assert!(refused > 10 && harness.server.injected() > refused, "{refused}");
    // a begin and the edits that would fail it, each time
    assert!(harness.server.injected() - refused <= 11 * 4, "{} and {refused}", harness.server.injected());
    let passed_over = harness.only_passed_over().await;
    assert_eq!((&passed_over.entry, passed_over.job.as_deref()), (&entry, Some("job/1")));
    assert!(passed_over.reason.starts_with("the server refuses its reports: "), "{passed_over:?}");
    harness.server.heal();
    harness.until_empty().await;
    assert_eq!((harness.server.state("job/1").as_str(), runs.begun()), ("SUCCESS", 1));
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_no_version_here_understands_fails_with_the_reason() {
    let mut harness = Harness::new().await;
    harness.catalogue.register("act", Runs::default().action(Duration::ZERO), None);
    harness.add("job/1", "act").await;
    let mut document = harness.server.document("job/1");
    document.insert("progress".to_owned(), json!("half"));
    harness.server.store_document(document);
    harness.start();
    harness.until_empty().await;
    let message = harness.server.attribute("job/1", "statusMessage");
    let message = message.as_str().unwrap();
    assert_eq!(harness.server.state("job/1"), "FAILED");
    assert!(message.starts_with("this version does not understand the job: "), "{message}");
    harness.finish().await;
}

/// With a server that counts no attempts it would be run for ever.
#[tokio::test(start_paused = true)]
async fn a_final_report_of_which_the_state_alone_is_taken_ends_the_job() {
    let runs = Runs::default();
    let mut harness = refusing(&runs, |asked| asked.body.len() > 1).await;
    harness.add("job/1", "act").await;
    harness.start();
    harness.until_empty().await;
    assert_eq!((harness.server.state("job/1").as_str(), runs.begun()), ("SUCCESS", 1));
    assert_eq!(harness.server.injected(), 2);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_success_is_always_refused_is_run_a_bounded_number_of_times() {
    let runs = Runs::default();
    let mut harness = refusing(&runs, |asked| asked.state() == Some("SUCCESS")).await;
    harness.add("job/1", "act").await;
    harness.start();
    harness.until_empty().await;
    assert_eq!((harness.server.state("job/1").as_str(), runs.begun()), ("FAILED", 10));
    harness.finish().await;
}
