//! CIMI out of reach, lost answers, refusals.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use slipstream_action::{JobHandle, Success};
use slipstream_cimi::{Lease, State};
use tokio::time::Instant;

use super::fake_server::Fault;
use super::harness::{Closure, Harness, Runs, until};
use crate::process::paths;

const SECOND: Duration = Duration::from_secs(1);
const LATER: Lease = Lease { generation: 9, zxid: 1 };

async fn harness(runs: &Runs) -> Harness {
    let mut harness = Harness::new().await;
    harness.catalogue.register("act", runs.action(10 * SECOND), None);
    harness
}

#[tokio::test(start_paused = true)]
async fn a_server_out_of_reach_before_the_run_is_waited_for_then_the_entry_is_released_and_run_later() {
    for fault in [Fault::Unreachable, Fault::ProxyNotFound, Fault::Status(503), Fault::Status(500)] {
        let runs = Runs::default();
        let mut harness = harness(&runs).await;
        harness.server.fail(fault);
        let entry = harness.add("job/1", "act").await;
        let begun = Instant::now();
        harness.start();
        until("it is asked", || harness.server.injected() > 0).await;
        harness.until_free(&entry).await;
        assert!(begun.elapsed() >= harness.options.cimi_grace, "{fault:?}");
        let asked = harness.server.injected();
        assert!((6..=12).contains(&asked), "{asked} requests in two minutes for {fault:?}");
        assert_eq!(runs.begun(), 0);

        harness.server.heal();
        harness.until_empty().await;
        assert_eq!(harness.server.states_written("job/1"), ["RUNNING", "SUCCESS"], "{fault:?}");
        harness.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn slots_share_one_pause_while_the_server_is_out_of_reach() {
    let runs = Runs::default();
    let mut harness = harness(&runs).await;
    harness.options.threads = 8;
    let (begun, asked) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let asking = asked.clone();
    harness.server.fail(Fault::Unreachable);
    harness.server.script(move |_| {
        asking.lock().unwrap().push(begun.elapsed().as_secs());
        Fault::Unreachable
    });
    for number in 0..20 {
        harness.add(&format!("job/{number}"), "act").await;
    }
    harness.start();
    tokio::time::sleep(60 * SECOND).await;
    let mut times = asked.lock().unwrap().clone();
    assert!(times.len() <= 6 * 8, "{times:?}");
    times.dedup();
    assert_eq!(times, [0, 1, 3, 7, 15, 31]);
    harness.server.heal();
    for number in 0..20 {
        harness.until_state(&format!("job/{number}"), State::Success).await;
    }
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_none_of_the_known_releases_with_growing_pauses() {
    let runs = Runs::default();
    let mut harness = harness(&runs).await;
    harness.server.script(|asked| if asked.state() == Some("RUNNING") { Fault::Status(400) } else { Fault::None });
    harness.add("job/1", "act").await;
    harness.start();
    until("it is refused", || harness.server.injected() >= 1).await;
    tokio::time::sleep(100 * SECOND).await;
    // After 1, 3, 7, 15, 31, 63 seconds.
    assert_eq!(harness.server.injected(), 7);
    harness.server.heal();
    harness.until_empty().await;
    assert_eq!(harness.server.state("job/1"), "SUCCESS");
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_final_report_is_repeated_until_it_is_answered_while_the_claim_is_held() {
    for fault in [Fault::Unreachable, Fault::AnswerLost, Fault::Status(500)] {
        let runs = Runs::default();
        let mut harness = harness(&runs).await;
        let failures = AtomicUsize::new(0);
        harness.server.script(move |asked| {
            let fails = asked.state() == Some("SUCCESS") && failures.fetch_add(1, Ordering::SeqCst) < 4;
            if fails { fault } else { Fault::None }
        });
        harness.add("job/1", "act").await;
        harness.start();
        until("the report fails", || harness.server.injected() == 2).await;
        assert_eq!(harness.children(paths::TAKEN).await.len(), 1);
        harness.until_empty().await;
        assert_eq!(harness.server.state("job/1"), "SUCCESS", "{fault:?}");
        assert_eq!((harness.server.injected(), runs.begun()), (4, 1), "{fault:?}");
        harness.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_report_that_is_not_delivered_in_time_releases_and_the_job_is_run_again() {
    let runs = Runs::default();
    let mut harness = harness(&runs).await;
    harness.server.script(|asked| if asked.state() == Some("SUCCESS") { Fault::Unreachable } else { Fault::None });
    let entry = harness.add("job/1", "act").await;
    harness.start();
    until("the report fails", || harness.server.injected() > 1).await;
    harness.until_free(&entry).await;
    // its action has run: a job that is QUEUED again, and so not counted, could be run without end
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING"]);
    harness.server.heal();
    harness.until_empty().await;
    assert_eq!((harness.server.state("job/1").as_str(), runs.begun()), ("SUCCESS", 2));
    harness.finish().await;
}

/// The fault is one job's: it is answered like this whatever it is asked, and others are not.
#[tokio::test(start_paused = true)]
async fn a_job_that_is_always_refused_or_never_answered_keeps_no_slot_from_the_others() {
    for fault in [Fault::Status(500), Fault::Status(503), Fault::Status(403), Fault::ProxyNotFound, Fault::Unreachable]
    {
        let runs = Runs::default();
        let mut harness = Harness::new().await;
        harness.catalogue.register("act", runs.action(Duration::ZERO), None);
        harness.server.script(move |asked| if asked.id == "job/1" { fault } else { Fault::None });
        let entry = harness.add("job/1", "act").await;
        for number in 2..10 {
            harness.add(&format!("job/{number}"), "act").await;
        }
        let begun = Instant::now();
        harness.start();
        for number in 2..10 {
            harness.until_state(&format!("job/{number}"), State::Success).await;
        }
        assert!(begun.elapsed() < 10 * SECOND, "{:?} for {fault:?}", begun.elapsed());
        tokio::time::sleep(100 * SECOND).await;
        // three times after 0, 4, 9, 16, 27, 46 and 81 seconds
        assert!((15..=24).contains(&harness.server.injected()), "{} for {fault:?}", harness.server.injected());
        let passed_over = harness.only_passed_over().await;
        assert_eq!((&passed_over.entry, passed_over.job.as_deref()), (&entry, Some("job/1")));
        assert!(passed_over.reason.starts_with("the server does not answer for this job: "), "{passed_over:?}");
        harness.server.heal();
        harness.until_empty().await;
        assert_eq!((harness.server.state("job/1").as_str(), runs.begun()), ("SUCCESS", 9));
        harness.finish().await;
    }
}

/// As for a job of its own, and then it is an outage: nothing else is taken.
#[tokio::test(start_paused = true)]
async fn while_no_job_and_nothing_else_is_answered_nothing_new_is_taken() {
    let runs = Runs::default();
    let mut harness = harness(&runs).await;
    harness.server.fail(Fault::Status(503));
    let first = harness.add("job/1", "act").await;
    for number in 2..10 {
        harness.add(&format!("job/{number}"), "act").await;
    }
    harness.start();
    until("it is asked", || harness.server.injected() > 3).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(harness.children(paths::TAKEN).await, [super::harness::name_of(&first)]);
    harness.server.heal();
    harness.until_empty().await;
    assert_eq!(runs.begun(), 9);
    harness.finish().await;
}

/// The fault: the server refuses the final report for what it holds.
#[tokio::test(start_paused = true)]
async fn a_final_report_that_is_refused_for_what_it_holds_is_written_without_that() {
    for status in [400, 413, 422] {
        let mut harness = Harness::new().await;
        let runs = Runs::default();
        let counting = runs.clone();
        let action = move |job: JobHandle| {
            let counting = counting.clone();
            async move {
                let _counted = counting.count();
                job.add_affected_resource("a/1");
                Ok(Success { return_code: Some(7), message: Some("done".to_owned()) })
            }
            .boxed()
        };
        harness.catalogue.register("act", Closure(action), None);
        harness.server.script(move |asked| {
            if asked.body.contains_key("affectedResources") { Fault::Status(status) } else { Fault::None }
        });
        harness.add("job/1", "act").await;
        harness.start();
        harness.until_empty().await;
        assert!(harness.server.injected() > 0);
        let document = harness.server.document("job/1");
        assert_eq!((&document["state"], runs.begun()), (&json!("SUCCESS"), 1));
        let message = document["statusMessage"].as_str().unwrap();
        assert!(message.starts_with("done\n(left out, as the server refused it: "), "{message}");
        assert!(message.contains("affectedResources") && message.contains("job/1 was refused"), "{message}");
        harness.finish().await;
    }
}

/// What is released after its action has run counts as an attempt: it is not QUEUED again.
#[tokio::test(start_paused = true)]
async fn a_final_report_that_is_refused_whatever_it_holds_is_no_clean_release() {
    let runs = Runs::default();
    let mut harness = harness(&runs).await;
    harness.server.script(|asked| if asked.state() == Some("SUCCESS") { Fault::Status(400) } else { Fault::None });
    let entry = harness.add("job/1", "act").await;
    harness.start();
    until("the report is refused, the short one and its state alone too", || harness.server.injected() == 3).await;
    harness.until_free(&entry).await;
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING"]);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn progress_that_cannot_be_written_does_not_count_and_is_written_later() {
    let mut harness = Harness::new().await;
    let action = |job: JobHandle| {
        async move {
            job.set_progress(10);
            job.set_status_message("first");
            job.add_affected_resource("a/1");
            tokio::time::sleep(100 * SECOND).await;
            Ok(Success::default())
        }
        .boxed()
    };
    harness.catalogue.register("act", Closure(action), None);
    harness.server.script(|asked| if asked.body.contains_key("progress") { Fault::Status(500) } else { Fault::None });
    harness.add("job/1", "act").await;
    harness.start();
    harness.until_empty().await;
    assert!((50..=101).contains(&harness.server.injected()), "{}", harness.server.injected());
    let document = harness.server.document("job/1");
    assert_eq!((&document["state"], &document["statusMessage"]), (&json!("SUCCESS"), &json!("first")));
    assert_eq!(document["affectedResources"], json!([{ "href": "a/1" }]));
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_under_way_when_the_action_ends_is_waited_for_or_goes_with_the_final_one() {
    for (delay, edits) in [(SECOND, 3), (1000 * SECOND, 2)] {
        let mut harness = Harness::new().await;
        let action = |job: JobHandle| {
            async move {
                job.set_progress(50);
                job.add_affected_resource("a/1");
                tokio::time::sleep(SECOND / 10).await;
                Ok(Success::default())
            }
            .boxed()
        };
        harness.catalogue.register("act", Closure(action), None);
        harness.server.script(
            move |asked| {
                if asked.body.contains_key("progress") { Fault::Late(delay) } else { Fault::None }
            },
        );
        harness.add("job/1", "act").await;
        let begun = Instant::now();
        harness.start();
        harness.until_empty().await;
        assert!(begun.elapsed() < 5 * SECOND, "{:?}", begun.elapsed());
        assert_eq!(harness.server.injected(), 1);
        assert_eq!(harness.server.attribute("job/1", "affectedResources"), json!([{ "href": "a/1" }]));
        let served = harness.server.served("job/1");
        assert_eq!(served.iter().filter(|served| served.asked.method == "PUT").count(), edits);
        assert_eq!(served.last().unwrap().asked.state(), Some("SUCCESS"), "the report overtook the final one");
        harness.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn progress_refused_as_late_cancels_the_action_and_releases_the_claim() {
    let mut harness = Harness::new().await;
    let runs = Runs::default();
    let counting = runs.clone();
    let action = move |job: JobHandle| {
        let counting = counting.clone();
        async move {
            let _counted = counting.count();
            tokio::time::sleep(5 * SECOND).await;
            job.set_progress(50);
            job.cancelled().await;
            counting.cancel();
            Ok(Success::with_message("never written"))
        }
        .boxed()
    };
    harness.catalogue.register("act", Closure(action), None);
    let entry = harness.add("job/1", "act").await;
    harness.start();
    until("it runs", || runs.now() == 1).await;
    harness.server.raise_lease("job/1", LATER);
    until("it is cancelled", || runs.cancelled() == 1).await;
    harness.until_free(&entry).await;
    assert_eq!(harness.server.states_written("job/1"), ["RUNNING"]);
    assert_eq!(harness.server.served("job/1").last().unwrap().status, 409);
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_final_report_refused_as_late_or_final_changes_nothing() {
    let runs = Runs::default();
    let mut harness = harness(&runs).await;
    harness.options.threads = 2;
    let late = harness.add("job/late", "act").await;
    harness.add("job/final", "act").await;
    harness.start();
    until("both run", || runs.now() == 2).await;
    harness.server.raise_lease("job/late", LATER);
    harness.server.store("job/final", "act", State::Failed);
    harness.until_state("job/late", State::Running).await;
    until("both ended", || runs.now() == 0).await;
    harness.until_free(&late).await;
    assert_eq!(harness.children(paths::ENTRIES).await.len(), 1, "the final one is consumed");
    assert_eq!(harness.server.states_written("job/late"), ["RUNNING"]);
    assert_eq!(harness.server.state("job/final"), "FAILED");
    harness.finish().await;
}
