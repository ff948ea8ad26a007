//! Sessions that are suspended, that expire, and what becomes of claims.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use slipstream_action::{JobHandle, Success};
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_cimi::{Lease, State};
use slipstream_coordination::session::{Mode, Operation};
use slipstream_coordination::{Coordinator as _, LockingQueue, Session as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::fake_server::Fault;
use super::harness::{Closure, Harness, Runs, name_of, until};
use crate::executor::ActionRuntime;
use crate::process::paths;
use crate::process::registry::host_name;

const SECOND: Duration = Duration::from_secs(1);

async fn harness(runs: &Runs, duration: Duration) -> Harness {
    let mut harness = Harness::new().await;
    harness.catalogue.register("act", runs.action(duration), None);
    harness
}

#[tokio::test(start_paused = true)]
async fn after_an_expired_session_the_loser_writes_nothing_and_the_job_is_run_again() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 10 * SECOND).await;
    harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    let first = harness.server.served("job/1").last().unwrap().asked.lease;
    let written = harness.server.served("job/1").len();
    harness.sessions.latest().expire();
    until("it is cancelled", || runs.cancelled() == 1).await;
    harness.until_empty().await;

    assert_eq!((harness.sessions.opened(), runs.begun()), (2, 2));
    let served = harness.server.served("job/1");
    assert!(served[written..].iter().all(|served| served.asked.lease > first), "the loser wrote: {served:?}");
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING", "RUNNING", "SUCCESS"]);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_node_deleted_by_somebody_cancels_and_nothing_is_touched() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 10 * SECOND).await;
    let entry = harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    let claim = format!("{}/{}", paths::TAKEN, name_of(&entry));
    let written = harness.server.served("job/1").len();
    // In one transaction, so that nobody else is faster.
    let operations =
        vec![Operation::delete(claim.as_str()), Operation::create(claim.as_str(), "other", Mode::Ephemeral)];
    harness.session.commit(operations).await.unwrap();
    until("it is cancelled", || runs.cancelled() == 1).await;
    sleep(10 * SECOND).await;
    assert_eq!(harness.server.served("job/1").len(), written);
    assert_eq!(harness.children(paths::ENTRIES).await, [name_of(&entry)]);
    assert_eq!(harness.children(paths::TAKEN).await, [name_of(&entry)]);
    harness.delete_node(&claim).await;
    harness.until_empty().await;
    assert_eq!(runs.begun(), 2);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_session_cancels_nothing_takes_nothing_and_goes_on() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 200 * SECOND).await;
    harness.options.threads = 2;
    harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    harness.sessions.latest().suspend();
    harness.add("job/2", "act").await;
    sleep(100 * SECOND).await;
    assert_eq!((runs.now(), runs.begun(), runs.cancelled()), (1, 1, 0));
    assert_eq!(harness.server.state("job/2"), "QUEUED");
    harness.sessions.latest().resume();
    harness.until_empty().await;
    assert_eq!((runs.begun(), runs.cancelled(), harness.sessions.opened()), (2, 0, 1));
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_action_is_cancelled_when_coordinator_and_server_are_both_out_of_reach_for_too_long() {
    for timeout in [10 * SECOND, 30 * SECOND, 300 * SECOND] {
        out_of_reach(timeout).await;
    }
}

async fn out_of_reach(timeout: Duration) {
    let runs = Runs::default();
    let mut harness = harness(&runs, 1000 * SECOND).await;
    harness.sessions.timeout = Some(timeout);
    harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    harness.sessions.latest().suspend();
    harness.server.fail(Fault::Unreachable);
    let begun = Instant::now();
    until("it is cancelled", || runs.cancelled() == 1).await;
    let elapsed = begun.elapsed();
    // that the server is out of reach is found out half a minute later at most
    assert!(elapsed > timeout && elapsed < timeout + 35 * SECOND, "{elapsed:?}");
    assert!(harness.server.injected() > 0);
    harness.server.heal();
    harness.sessions.latest().expire();
    until("it runs again", || runs.begun() == 2).await;
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING", "RUNNING"]);
    harness.finish().await;
}

/// The fault is the same, and the session lives: nobody but this executor can give the entry back.
#[tokio::test(start_paused = true)]
async fn an_unproven_claim_is_kept_and_given_back_when_its_session_is_connected_again() {
    for server_is_back_later in [false, true] {
        let runs = Runs::default();
        let mut harness = harness(&runs, 1000 * SECOND).await;
        let entry = harness.add("job/1", "act").await;
        harness.start();
        until("it runs", || runs.now() == 1).await;
        harness.sessions.latest().suspend();
        harness.server.fail(Fault::Unreachable);
        until("it is cancelled", || runs.cancelled() == 1).await;
        sleep(100 * SECOND).await;
        assert_eq!(harness.children(paths::TAKEN).await, [name_of(&entry)], "the claim is kept");
        if server_is_back_later {
            harness.sessions.latest().resume();
            sleep(10 * SECOND).await;
            assert_eq!(harness.children(paths::TAKEN).await, [name_of(&entry)], "it is QUEUED first");
            harness.server.heal();
        } else {
            harness.server.heal();
            harness.sessions.latest().resume();
        }
        until("it runs again", || runs.begun() == 2).await;
        assert_eq!(harness.server.states_written("job/1"), ["RUNNING", "QUEUED", "RUNNING"]);
        assert_eq!(harness.sessions.opened(), 1);
        harness.finish().await;
    }
}

/// An action that cannot be ended keeps its claim, and no longer than it runs.
#[tokio::test(start_paused = true)]
async fn a_claim_whose_action_does_not_end_is_kept_until_it_has_ended() {
    let mut harness = Harness::new().await;
    harness.options.runtime = ActionRuntime::start(1).unwrap();
    let runs = Runs::default();
    let (go_on, door) = (Arc::new(Notify::new()), Arc::new((Mutex::new(false), Condvar::new())));
    let (counting, going_on, closed) = (runs.clone(), go_on.clone(), door.clone());
    let action = move |job: JobHandle| {
        let (counting, going_on, closed) = (counting.clone(), going_on.clone(), closed.clone());
        async move {
            let _counted = counting.count();
            if counting.begun() == 1 {
                going_on.notified().await;
                job.set_progress(1);
                drop(closed.1.wait_while(closed.0.lock().unwrap(), |open| !*open));
            }
            Ok(Success::default())
        }
        .boxed()
    };
    harness.catalogue.register("act", Closure(action), None);
    let entry = harness.add("job/1", "act").await;
    harness.start();
    by_threads("it runs", || runs.now() == 1).await;
    harness.server.raise_lease("job/1", Lease { generation: 2, zxid: 1 });
    harness.write_generation(2).await;
    go_on.notify_one();
    let is_late = || harness.server.served("job/1").iter().any(|served| served.status == 409);
    by_threads("its progress is refused as late", is_late).await;
    sleep(20 * SECOND).await;
    assert_eq!((harness.children(paths::TAKEN).await, runs.now()), (vec![name_of(&entry)], 1), "it keeps its claim");
    // paused time does not wait for the threads of another run, so what is asked shows whether there is one
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING"], "and nobody begins the job meanwhile");
    *door.0.lock().unwrap() = true;
    door.1.notify_all();
    by_threads("it is given back and run again", || harness.server.state("job/1") == "SUCCESS").await;
    assert_eq!(runs.begun(), 2);
    harness.until_empty().await;
    harness.finish().await;
}

/// Waits for what other threads do, whose time is not paused.
async fn by_threads(what: &str, mut so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "never: {what}");
        sleep(Duration::from_millis(1)).await;
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn running_jobs_are_read_again_after_a_reconnect() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 1000 * SECOND).await;
    harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    harness.sessions.latest().suspend();
    sleep(SECOND).await;
    harness.server.store("job/1", "act", State::Stopped);
    let resumed = Instant::now();
    harness.sessions.latest().resume();
    until("it is cancelled", || runs.cancelled() == 1).await;
    assert!(resumed.elapsed() < SECOND, "{:?}", resumed.elapsed());
    harness.until_empty().await;
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_generation_is_waited_for() {
    let runs = Runs::default();
    let mut harness = harness(&runs, SECOND).await;
    harness.delete_node(paths::GENERATION).await;
    harness.add("job/1", "act").await;
    harness.start();
    sleep(100 * SECOND).await;
    assert!(harness.children(paths::TAKEN).await.is_empty());
    assert_eq!(runs.begun(), 0);
    harness.write_generation(3).await;
    harness.until_empty().await;
    assert_eq!(harness.server.served("job/1").last().unwrap().asked.lease.unwrap().generation, 3);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_waiting_for_the_generation_ends_at_once() {
    let mut harness = Harness::new().await;
    harness.delete_node(paths::GENERATION).await;
    harness.start();
    sleep(SECOND).await;
    let asked = Instant::now();
    harness.stop.ask();
    harness.ended().await;
    assert!(asked.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn two_executors_share_a_queue_and_each_job_is_run_once() {
    let runs = Runs::default();
    let mut harness = harness(&runs, SECOND).await;
    harness.options.threads = 4;
    let other = harness.sessions.connect().await.unwrap();
    let queue = LockingQueue::open(other, paths::JOB, &"e".repeat(32)).await.unwrap();
    let held = tokio::spawn(async move { queue.take().await.unwrap() });
    tokio::task::yield_now().await;
    for number in 0..9 {
        harness.add(&format!("job/{number}"), "act").await;
    }
    harness.start();
    let claim = held.await.unwrap();
    until("the others are done", || runs.begun() == 8 && runs.now() == 0).await;
    assert_eq!(harness.server.state(std::str::from_utf8(claim.value()).unwrap()), "QUEUED");
    claim.release().await.unwrap();
    harness.until_empty().await;
    assert_eq!(runs.begun(), 9);
    harness.finish().await;
}

/// Decision 17.
#[tokio::test(start_paused = true)]
async fn an_executor_is_registered_for_each_session_under_what_its_claims_show() {
    let runs = Runs::default();
    let mut harness = harness(&runs, 10 * SECOND).await;
    harness.options.threads = 3;
    let entry = harness.add("job/1", "act").await;
    harness.start();
    let mut claimants = Vec::new();
    for attempts in 1..=2 {
        until("it runs", || runs.begun() == attempts).await;
        let claim = harness.session.data(&format!("{}/{}", paths::TAKEN, name_of(&entry))).await.unwrap();
        let claimant = String::from_utf8(claim.data).unwrap();
        assert_eq!(harness.children(paths::EXECUTORS).await, [claimant.as_str()]);
        let node = harness.session.data(&format!("{}/{claimant}", paths::EXECUTORS)).await.unwrap();
        let said: RegisteredExecutor = serde_json::from_slice(&node.data).unwrap();
        assert_eq!((said.name.as_str(), said.slots, said.actions), ("tester", 3, vec!["act".to_owned()]));
        assert_eq!((said.process.id, said.process.host), (std::process::id(), host_name()));
        claimants.push(claimant);
        if attempts == 1 {
            harness.sessions.latest().expire();
        }
    }
    assert_ne!(claimants[0], claimants[1]);
    harness.until_empty().await;
    harness.finish().await;
    assert!(harness.children(paths::EXECUTORS).await.is_empty(), "it goes with its session");
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_cannot_register_works_and_registers_later() {
    let runs = Runs::default();
    let mut harness = harness(&runs, SECOND).await;
    let obstacle = Operation::create(paths::EXECUTORS, "in the way", Mode::Ephemeral);
    harness.session.commit(vec![obstacle]).await.unwrap();
    harness.add("job/1", "act").await;
    harness.start();
    harness.until_empty().await;
    assert_eq!(harness.server.states_written("job/1").last().map(String::as_str), Some("SUCCESS"));
    assert!(harness.children(paths::EXECUTORS).await.is_empty(), "an ephemeral node has no children");
    harness.delete_node(paths::EXECUTORS).await;
    sleep(60 * SECOND).await;
    assert_eq!(harness.children(paths::EXECUTORS).await.len(), 1);
    harness.finish().await;
}
