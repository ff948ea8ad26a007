//! Jobs that are stopped or deleted while they run, and the executor's own stop.

use std::time::Duration;

use futures_util::FutureExt as _;
use slipstream_action::Success;
use slipstream_cimi::State;
use tokio::time::{Instant, sleep};

use super::fake_server::Fault;
use super::harness::{Closure, Harness, Runs, until};
use crate::process::paths;

const SECOND: Duration = Duration::from_secs(1);

async fn harness(runs: &Runs, duration: Duration) -> Harness {
    let mut harness = Harness::new().await;
    harness.catalogue.register("act", runs.action(duration), None);
    harness
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_vanishes_with_a_stopped_job_cancels_the_action() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 1000 * SECOND).await;
    let entry = harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    harness.server.store("job/1", "act", State::Stopped);
    let stopped = Instant::now();
    harness.delete_node(&entry).await;
    until("it is cancelled", || runs.cancelled() == 1).await;
    assert!(stopped.elapsed() < SECOND, "{:?}", stopped.elapsed());
    harness.until_empty().await;
    assert_eq!(harness.server.state("job/1"), "STOPPED");
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING"]);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_vanishes_with_a_deleted_job_cancels_the_action_also_after_a_failed_read() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 1000 * SECOND).await;
    let entry = harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    let mut first = true;
    harness.server.script(move |_| if std::mem::take(&mut first) { Fault::Unreachable } else { Fault::None });
    harness.server.remove("job/1");
    let deleted = Instant::now();
    harness.delete_node(&entry).await;
    until("it is cancelled", || runs.cancelled() == 1).await;
    assert_eq!(harness.server.injected(), 1);
    assert!(deleted.elapsed() < 5 * SECOND, "{:?}", deleted.elapsed());
    harness.until_empty().await;
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_vanishes_alone_leaves_the_action_to_its_end() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 100 * SECOND).await;
    let entry = harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    harness.delete_node(&entry).await;
    harness.until_empty().await;
    assert_eq!((harness.server.state("job/1").as_str(), runs.cancelled()), ("SUCCESS", 0));
    // Read at once and every 30 seconds.
    let reads = harness.server.served("job/1").iter().filter(|served| served.asked.method == "GET").count();
    assert_eq!(reads, 5);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_stopped_without_any_event_is_noticed_within_half_a_minute() {
    for state in [State::Stopped, State::Stopping] {
        let runs = Runs::default();
        let mut harness = harness(&runs, 1000 * SECOND).await;
        harness.add("job/1", "act").await;
        harness.start();
        until("it runs", || runs.now() == 1).await;
        harness.server.store("job/1", "act", state);
        let stopped = Instant::now();
        until("it is cancelled", || runs.cancelled() == 1).await;
        assert!(stopped.elapsed() <= 31 * SECOND, "{:?}", stopped.elapsed());
        harness.until_empty().await;
        assert_eq!(harness.server.state("job/1"), "STOPPED", "who asks for a stop gets it");
        harness.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn within_the_grace_running_jobs_end_and_no_new_ones_begin() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 60 * SECOND).await;
    harness.add("job/1", "act").await;
    harness.add("job/2", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    harness.stop.ask();
    harness.ended().await;
    assert_eq!(harness.server.state("job/1"), "SUCCESS");
    assert_eq!(harness.server.state("job/2"), "QUEUED");
    assert!(harness.server.served("job/2").is_empty());
    assert_eq!((runs.begun(), runs.cancelled()), (1, 0));
    assert_eq!(harness.children(paths::ENTRIES).await.len(), 1);
    assert!(harness.children(paths::TAKEN).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_the_grace_running_jobs_are_set_queued_and_then_released() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 1000 * SECOND).await;
    let entry = harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    // The edit takes long enough to see that the claim is still there meanwhile.
    harness.server.script(|asked| if asked.state() == Some("QUEUED") { Fault::Late(SECOND) } else { Fault::None });
    let asked = Instant::now();
    harness.stop.ask();
    until("the release begins", || harness.server.injected() == 1).await;
    assert!(asked.elapsed() >= harness.options.grace, "{:?}", asked.elapsed());
    assert_eq!(runs.now(), 0, "released before it ended");
    assert_eq!(harness.children(paths::TAKEN).await.len(), 1, "released before it is QUEUED");
    harness.until_free(&entry).await;
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING", "QUEUED"]);
    harness.ended().await;
    assert_eq!(runs.cancelled(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_action_deaf_to_its_interruption_is_aborted_and_released() {
    let mut harness = Harness::new().await;
    let runs = Runs::default();
    let counting = runs.clone();
    let deaf = move |_| {
        let counting = counting.clone();
        async move {
            let _counted = counting.count();
            std::future::pending().await
        }
        .boxed()
    };
    harness.catalogue.register("act", Closure(deaf), None);
    let entry = harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    harness.finish().await;
    harness.until_free(&entry).await;
    assert_eq!(runs.now(), 0);
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING", "QUEUED"]);
}

#[tokio::test(start_paused = true)]
async fn an_action_that_succeeds_while_it_is_interrupted_has_succeeded() {
    let mut harness = Harness::new().await;
    let runs = Runs::default();
    let counting = runs.clone();
    let action = move |job: slipstream_action::JobHandle| {
        let counting = counting.clone();
        async move {
            let _counted = counting.count();
            job.cancelled().await;
            sleep(SECOND).await;
            Ok(Success::default())
        }
        .boxed()
    };
    harness.catalogue.register("act", Closure(action), None);
    harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    harness.finish().await;
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING", "SUCCESS"]);
    assert!(harness.children(paths::ENTRIES).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_in_time_whatever_hangs() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 1000 * SECOND).await;
    harness.options.threads = 2;
    harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    // From now on no answer comes, and the coordinator is cut off.
    harness.server.script(|_| Fault::Late(100_000 * SECOND));
    harness.sessions.latest().suspend();
    let asked = Instant::now();
    harness.stop.ask_at_once();
    until("it ended", || harness.has_ended()).await;
    assert!(harness.server.injected() > 0);
    assert!(asked.elapsed() < 30 * SECOND, "{:?}", asked.elapsed());
    assert!(harness.children(paths::TAKEN).await.is_empty());
    assert_eq!(harness.children(paths::ENTRIES).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_back_what_waits_for_the_server_at_once() {
    let runs = Runs::default();
    let mut harness = harness(&runs, SECOND).await;
    let entry = harness.add("job/1", "act").await;
    harness.server.script(|_| Fault::Unreachable);
    harness.start();
    until("it is asked", || harness.server.injected() > 0).await;
    let asked = Instant::now();
    harness.stop.ask();
    harness.ended().await;
    assert!(asked.elapsed() < SECOND, "{:?}", asked.elapsed());
    harness.until_free(&entry).await;
}

/// A program may mean "for ever" by it.
#[tokio::test(start_paused = true)]
async fn the_longest_durations_there_are_end_no_attempt() {
    let runs = Runs::default();
    let mut harness = Harness::new().await;
    harness.options.cimi_grace = Duration::MAX;
    harness.options.grace = Duration::MAX;
    harness.options.unknown_action.after = Duration::MAX;
    harness.catalogue.register("act", runs.action(SECOND), Some(Duration::MAX));
    harness.add("job/1", "act").await;
    let waiting = harness.add("job/2", "dance").await;
    harness.start();
    harness.until_state("job/1", State::Success).await;
    assert_eq!(runs.begun(), 1);
    harness.stop.ask();
    harness.ended().await;
    assert_eq!(harness.queue.entries().await.unwrap(), [waiting]);
}
