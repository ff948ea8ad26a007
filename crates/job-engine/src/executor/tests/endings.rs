//! How jobs end when nothing is out of reach.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipstream_action::{Catalogue, Failure, JobHandle, Success};
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_cimi::overview::executors::loaded::{FailedToLoad, Loaded};
use slipstream_cimi::{Lease, State};
use slipstream_coordination::session::{Mode, Operation, Session as _, make_path};
use tokio::time::{Instant, sleep};

use super::harness::{Closure, Harness, Runs, until};
use crate::executor::{Then, run};
use crate::process::clock::Clock;
use crate::process::paths;
use crate::process::registry::{registered, this_process};
use crate::process::stop::Stop;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_job_is_run_and_reported_under_its_lease() {
    let mut harness = Harness::new().await;
    harness.write_generation(7).await;
    let action = |job: JobHandle| {
        async move {
            assert!(!job.is_rerun());
            assert_eq!(job.job().state, State::Queued);
            job.set_progress(40);
            job.set_status_message("on its way");
            tokio::time::sleep(SECOND).await;
            job.add_affected_resource("credential/1");
            Ok(Success { return_code: Some(10_000), message: None })
        }
        .boxed()
    };
    harness.catalogue.register("act", Closure(action), None);
    let entry = harness.add("job/1", "act").await;
    harness.start();
    harness.until_empty().await;

    assert_eq!(harness.server.states_written("job/1"), ["RUNNING", "SUCCESS"]);
    let document = harness.server.document("job/1");
    assert_eq!(document["returnCode"], json!(10_000));
    assert_eq!(document["progress"], json!(40));
    assert_eq!(document["statusMessage"], json!("on its way"));
    assert_eq!(document["affectedResources"], json!([{ "href": "credential/1" }]));
    for served in harness.server.served("job/1") {
        assert_eq!(served.asked.entry.as_ref(), Some(&entry));
        assert_eq!(served.asked.lease.unwrap().generation, 7);
        assert!(served.asked.lease.unwrap().is_valid());
    }
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn affected_resources_are_added_to_those_in_the_document() {
    let mut harness = Harness::new().await;
    let action = |job: JobHandle| {
        async move {
            job.add_affected_resource("a/2");
            tokio::time::sleep(SECOND).await;
            job.add_affected_resource("a/1");
            job.add_affected_resource("a/3");
            Ok(Success::default())
        }
        .boxed()
    };
    harness.catalogue.register("act", Closure(action), None);
    harness.server.store("job/1", "act", State::Queued);
    let mut document = harness.server.document("job/1");
    document.insert("affectedResources".to_owned(), json!([{ "href": "a/1" }]));
    harness.server.store_document(document);
    harness.queue.put(b"job/1", 10).await.unwrap();
    harness.start();
    harness.until_state("job/1", State::Success).await;
    let links = harness.server.attribute("job/1", "affectedResources");
    assert_eq!(links, json!([{ "href": "a/1" }, { "href": "a/2" }, { "href": "a/3" }]));
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_becomes_failed_with_its_message_and_code() {
    let mut harness = Harness::new().await;
    let action = |_| async { Err(Failure { message: "no disk".to_owned(), return_code: Some(3) }) }.boxed();
    harness.catalogue.register("act", Closure(action), None);
    harness.add("job/1", "act").await;
    harness.start();
    harness.until_empty().await;
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING", "FAILED"]);
    assert_eq!(harness.server.attribute("job/1", "statusMessage"), json!("no disk"));
    assert_eq!(harness.server.attribute("job/1", "returnCode"), json!(3));
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_becomes_failed_and_the_slot_lives_on() {
    let mut harness = Harness::new().await;
    harness.catalogue.register("panics", Closure(|_| async { panic!("at the {}", "disco") }.boxed()), None);
    harness.catalogue.register("act", Closure(|_| async { Ok(Success::default()) }.boxed()), None);
    harness.add("job/1", "panics").await;
    harness.add("job/2", "act").await;
    harness.start();
    harness.until_empty().await;
    assert_eq!(harness.server.state("job/1"), "FAILED");
    assert_eq!(harness.server.attribute("job/1", "statusMessage"), json!("at the disco"));
    assert_eq!(harness.server.state("job/2"), "SUCCESS");
    assert_eq!(harness.sessions.opened(), 1);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_cancels_the_action_and_fails_the_job() {
    let mut harness = Harness::new().await;
    let runs = Runs::default();
    harness.catalogue.register("act", runs.action(100 * SECOND), Some(90 * SECOND));
    harness.add("job/1", "act").await;
    harness.start();
    harness.until_empty().await;
    assert_eq!(harness.server.state("job/1"), "FAILED");
    assert_eq!(harness.server.attribute("job/1", "statusMessage"), json!("time limit of 90s exceeded"));
    assert_eq!(runs.cancelled(), 1);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_deaf_to_its_time_limit_is_aborted() {
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
    harness.catalogue.register("act", Closure(deaf), Some(SECOND));
    harness.add("job/1", "act").await;
    harness.start();
    harness.until_empty().await;
    assert_eq!(harness.server.attribute("job/1", "statusMessage"), json!("time limit of 1s exceeded"));
    assert_eq!((runs.begun(), runs.now()), (1, 0));
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_action_and_none_at_all_fail_the_job() {
    let mut harness = Harness::new().await;
    harness.add("job/1", "dance").await;
    harness.add("job/2", "").await;
    harness.start();
    harness.until_empty().await;
    for (id, message) in [("job/1", "Not implemented action: dance"), ("job/2", "Not implemented action: ")] {
        assert_eq!(harness.server.states_written(id), ["FAILED"]);
        assert_eq!(harness.server.attribute(id, "statusMessage"), json!(message));
        assert!(harness.server.served(id).iter().all(|served| served.asked.lease.is_some()));
    }
    harness.finish().await;
}

/// Decision 17: what failed to load there may be the action.
#[tokio::test(start_paused = true)]
async fn an_action_that_nobody_has_is_waited_for_while_anything_has_failed_to_load() {
    let mut harness = Harness::new().await;
    harness.options.unknown_action.after = Duration::ZERO;
    let failed = FailedToLoad { file: "/etc/slipstream/actions/dance.sh".into(), line: None, reason: "why".to_owned() };
    let path = register_another(&harness, Loaded::new([], &[failed])).await;
    let entry = harness.add("job/1", "dance").await;
    harness.start();
    until("it was looked at", || !harness.server.served("job/1").is_empty()).await;
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(harness.queue.entries().await.unwrap(), [entry]);
    assert!(harness.server.states_written("job/1").is_empty());
    let (_, executor) =
        registered::<RegisteredExecutor>(&*harness.session, paths::EXECUTORS).await.unwrap().all.swap_remove(1);
    assert_eq!(
        executor.passed_over[0].reason,
        "no executor has its action, and something failed to load: see slipstream-job actions"
    );
    harness.session.commit(vec![Operation::delete(path)]).await.unwrap();
    harness.until_empty().await;
    assert_eq!(harness.server.states_written("job/1"), ["FAILED"]);
    harness.finish().await;
}

/// Another executor, without actions; answers the path of its node.
async fn register_another(harness: &Harness, loaded: Loaded) -> String {
    let other = RegisteredExecutor {
        name: "other".to_owned(),
        process: this_process(),
        slots: 1,
        actions: Vec::new(),
        loaded,
        begun: Timestamp::UNIX_EPOCH,
        passed_over: Vec::new(),
        draining: false,
    };
    make_path(&*harness.session, paths::EXECUTORS).await.unwrap();
    let path = format!("{}/{}", paths::EXECUTORS, "b".repeat(32));
    let data = serde_json::to_vec(&other).unwrap();
    harness.session.commit(vec![Operation::create(path.clone(), data, Mode::Ephemeral)]).await.unwrap();
    path
}

/// Decision 17.
#[tokio::test(start_paused = true)]
async fn an_action_that_another_executor_has_is_left_to_it_and_fails_when_that_has_gone() {
    let mut harness = Harness::new().await;
    let (name, actions, begun) = ("other".to_owned(), vec!["dance".to_owned()], Timestamp::UNIX_EPOCH);
    let (process, loaded, passed_over) = (this_process(), Loaded::default(), Vec::new());
    let other = RegisteredExecutor { name, process, slots: 1, actions, loaded, begun, passed_over, draining: false };
    make_path(&*harness.session, paths::EXECUTORS).await.unwrap();
    let path = format!("{}/{}", paths::EXECUTORS, "b".repeat(32));
    let data = serde_json::to_vec(&other).unwrap();
    harness.session.commit(vec![Operation::create(path.clone(), data, Mode::Persistent)]).await.unwrap();
    let entry = harness.add("job/1", "dance").await;
    harness.start();
    until("it was looked at", || !harness.server.served("job/1").is_empty()).await;
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(harness.queue.entries().await.unwrap(), [entry]);
    assert!(harness.server.states_written("job/1").is_empty());
    let gone = Instant::now();
    harness.session.commit(vec![Operation::delete(path)]).await.unwrap();
    harness.until_empty().await;
    assert!(gone.elapsed() >= harness.options.unknown_action.after, "{:?}", gone.elapsed());
    assert_eq!(harness.server.states_written("job/1"), ["FAILED"]);
    harness.finish().await;
}

async fn add_created(harness: &Harness, created: Timestamp) {
    harness.server.store("job/1", "dance", State::Queued);
    let mut document = harness.server.document("job/1");
    document.insert("created".to_owned(), json!(slipstream_cimi::resource::format_time(created)));
    harness.server.store_document(document);
    harness.queue.put(b"job/1", 999).await.unwrap();
}

/// For how long jobs of an action that nobody has are left alone, in paused time: one that was added so long after the
/// executor began, else one that was added long before it began.
async fn left_alone(harness: &mut Harness, before: Option<Duration>) -> Duration {
    let (clock, begun) = (Clock::starting_at("2026-11-28T00:00:00Z".parse().unwrap()), Instant::now());
    harness.options.clock = clock.clone();
    if let Some(before) = before {
        harness.start();
        sleep(before).await;
    }
    let created = if before.is_some() { clock.now() } else { clock.now() - SignedDuration::from_hours(24) };
    add_created(harness, created).await;
    if before.is_none() {
        harness.start();
    }
    harness.until_empty().await;
    assert_eq!(harness.server.state("job/1"), "FAILED");
    begun.elapsed()
}

const AFTER: Duration = Duration::from_mins(15);
/// The longest pause between two looks.
const PAUSE: Duration = Duration::from_mins(5);

#[tokio::test(start_paused = true)]
async fn an_action_that_nobody_has_is_waited_for_since_the_executor_began_and_the_job_was_added() {
    let mut harness = Harness::new().await;
    let waited = left_alone(&mut harness, None).await;
    assert!((AFTER..AFTER + 2 * PAUSE).contains(&waited), "{waited:?}");
    harness.finish().await;
    let mut harness = Harness::new().await;
    let waited = left_alone(&mut harness, Some(10 * AFTER)).await;
    assert!((11 * AFTER..11 * AFTER + 2 * PAUSE).contains(&waited), "{waited:?}");
    harness.finish().await;
}

/// An executor that was restarted is waited for, as its actions are known longer than its session lives.
#[tokio::test(start_paused = true)]
async fn an_action_is_waited_for_since_an_executor_that_had_it_was_there() {
    let mut harness = Harness::new().await;
    harness.options.clock = Clock::starting_at("2026-11-28T00:00:00Z".parse().unwrap());
    harness.start();
    sleep(AFTER).await;
    let (other, stop) = (harness.options.clone(), Stop::new());
    let mut catalogue = Catalogue::new();
    catalogue.register("dance", Runs::default().action(SECOND), None);
    let coordinator = Arc::new(harness.sessions.clone());
    let work = tokio::spawn(run(other, coordinator, harness.server.client(), catalogue, stop.clone()));
    sleep(SECOND).await;
    stop.ask();
    work.await.unwrap();
    let gone = Instant::now();
    harness.add("job/1", "dance").await;
    harness.until_empty().await;
    assert_eq!(harness.server.state("job/1"), "FAILED");
    assert!(gone.elapsed() + SECOND >= AFTER, "{:?}", gone.elapsed());
    harness.finish().await;
}

/// Executors of the original are registered nowhere, and may have any action.
#[tokio::test(start_paused = true)]
async fn an_action_is_waited_for_as_long_as_a_stranger_takes_jobs() {
    let mut harness = Harness::new().await;
    harness.start();
    let claim = format!("{}/entry-999-0000000099", paths::TAKEN);
    harness.session.commit(vec![Operation::create(claim.as_str(), "e".repeat(32), Mode::Ephemeral)]).await.unwrap();
    sleep(AFTER).await;
    let entry = harness.add("job/1", "dance").await;
    sleep(3 * AFTER).await;
    assert_eq!(harness.queue.entries().await.unwrap(), [entry], "the stranger may have it");
    assert_eq!(harness.server.state("job/1"), "QUEUED");
    harness.session.commit(vec![Operation::delete(claim)]).await.unwrap();
    harness.until_empty().await;
    assert_eq!(harness.server.state("job/1"), "FAILED");
    harness.finish().await;
}

/// A backup tool has restored an ephemeral claim as a persistent one: whoever made it is gone.
#[tokio::test(start_paused = true)]
async fn a_claim_without_a_session_is_no_stranger_who_may_have_the_action() {
    let mut harness = Harness::new().await;
    let claim = format!("{}/entry-999-0000000099", paths::TAKEN);
    harness.session.commit(vec![Operation::create(claim.as_str(), "e".repeat(32), Mode::Persistent)]).await.unwrap();
    harness.add("job/1", "dance").await;
    harness.start();
    harness.until_state("job/1", State::Failed).await;
    assert!(harness.session.data(&claim).await.is_ok(), "it is there all the while");
    harness.delete_node(&claim).await;
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_that_is_to_be_released_is_never_failed_and_why_it_waits_is_shown() {
    let mut harness = Harness::new().await;
    harness.options.unknown_action.then = Then::Release;
    let entry = harness.add("job/1", "dance").await;
    harness.start();
    sleep(10 * AFTER).await;
    assert_eq!(harness.server.state("job/1"), "QUEUED");
    let passed_over = harness.only_passed_over().await;
    assert_eq!(passed_over.reason, "no executor has its action, waiting for one");
    assert_eq!((&passed_over.entry, passed_over.job.as_deref()), (&entry, Some("job/1")));
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn until_when_an_unknown_action_is_waited_for_is_shown_and_that_its_job_is_failed_then() {
    let mut harness = Harness::new().await;
    let clock = Clock::starting_at("2026-11-28T00:00:00Z".parse().unwrap());
    harness.options.clock = clock.clone();
    add_created(&harness, clock.now()).await;
    harness.start();
    for _ in 0..2 {
        sleep(PAUSE).await;
        let expected = "no executor has its action, the job fails unless one has it by 2026-11-28T00:15:00Z";
        assert_eq!(harness.only_passed_over().await.reason, expected);
    }
    harness.until_empty().await;
    assert_eq!(harness.server.state("job/1"), "FAILED");
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn final_and_missing_jobs_and_entries_without_a_job_are_consumed_untouched() {
    let mut harness = Harness::new().await;
    let runs = Runs::default();
    harness.catalogue.register("act", runs.action(SECOND), None);
    for (id, state) in [("job/1", State::Success), ("job/2", State::Failed), ("job/3", State::Stopped)] {
        harness.server.store(id, "act", state);
        harness.queue.put(id.as_bytes(), 999).await.unwrap();
    }
    for value in ["job/missing", "job/../credential/1", "credential/1", "job/", ""] {
        harness.queue.put(value.as_bytes(), 999).await.unwrap();
    }
    harness.start();
    harness.until_empty().await;
    assert_eq!(runs.begun(), 0);
    for id in ["job/1", "job/2", "job/3"] {
        assert_eq!(harness.server.states_written(id), Vec::<String>::new());
        assert_eq!(harness.server.served(id).len(), 1);
    }
    assert_eq!(harness.server.served("job/missing").len(), 1);
    assert!(harness.server.served("credential/1").is_empty());
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_found_running_is_run_again_and_its_action_knows() {
    let mut harness = Harness::new().await;
    let action = |job: JobHandle| async move { Ok(Success::with_message(job.is_rerun().to_string())) }.boxed();
    harness.catalogue.register("act", Closure(action), None);
    harness.server.store("job/1", "act", State::Running);
    harness.queue.put(b"job/1", 999).await.unwrap();
    harness.start();
    harness.until_empty().await;
    assert_eq!(harness.server.attribute("job/1", "statusMessage"), json!("true"));
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn as_many_jobs_run_at_once_as_there_are_slots_and_never_more() {
    let mut harness = Harness::new().await;
    let runs = Runs::default();
    harness.options.threads = 3;
    harness.catalogue.register("act", runs.action(SECOND), None);
    for number in 0..10 {
        harness.add(&format!("job/{number}"), "act").await;
    }
    harness.start();
    until("three run", || runs.now() == 3).await;
    assert_eq!(harness.children(paths::TAKEN).await.len(), 3, "no claim beyond the free slots");
    harness.until_empty().await;
    assert_eq!((runs.begun(), runs.most()), (10, 3));
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn progress_is_reported_while_the_action_runs_one_edit_at_a_time() {
    let mut harness = Harness::new().await;
    let action = |job: JobHandle| {
        async move {
            for percent in 1..=90 {
                job.set_progress(percent);
                tokio::time::sleep(SECOND / 10).await;
            }
            Ok(Success::default())
        }
        .boxed()
    };
    harness.catalogue.register("act", Closure(action), None);
    let (mut times, slow) = (0, SECOND);
    harness.server.script(move |asked| {
        let progress = asked.body.contains_key("progress");
        times += usize::from(progress);
        assert!(times < 12, "edits overtake each other");
        if progress { super::fake_server::Fault::Late(slow) } else { super::fake_server::Fault::None }
    });
    harness.add("job/1", "act").await;
    harness.start();
    until("half of it is reported", || harness.server.attribute("job/1", "progress").as_u64() >= Some(50)).await;
    assert_eq!(harness.server.state("job/1"), "RUNNING");
    harness.until_empty().await;
    assert!(harness.server.injected() >= 8, "{}", harness.server.injected());
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn leases_refused_as_late_make_the_executor_read_the_generation_again() {
    let mut harness = Harness::new().await;
    let runs = Runs::default();
    harness.catalogue.register("act", runs.action(SECOND), None);
    harness.start();
    until("a session", || harness.sessions.opened() == 1).await;
    harness.add("job/0", "act").await;
    harness.until_state("job/0", State::Success).await;
    harness.write_generation(2).await;
    harness.server.store("job/1", "act", State::Queued);
    harness.server.raise_lease("job/1", Lease { generation: 2, zxid: 1 });
    harness.queue.put(b"job/1", 999).await.unwrap();
    harness.until_empty().await;
    assert_eq!(harness.server.state("job/1"), "SUCCESS");
    let refused = harness.server.served("job/1").iter().filter(|served| served.status == 409).count();
    assert_eq!((refused, runs.begun()), (1, 2));
    harness.finish().await;
}
