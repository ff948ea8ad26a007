//! An executor that is paused past its session changes nothing in a job that somebody else has taken over.

use std::time::Duration;

use slipstream_cimi::State;
use slipstream_cimi::overview::ledger::{Ledger, Outcome};
use slipstream_test_ensemble::Fault;

use crate::load::step;
use crate::part::Way;
use crate::records::How;
use crate::site::{Options, Site, program};
use crate::support::{PASSWORD, eventually, text};

/// Longer than the session and the pause together, so that the job is under way when it is taken over.
const LONG: Duration = Duration::from_secs(6);
/// Over before the paused executor goes on.
const SHORT: Duration = Duration::from_secs(2);

/// The one who was paused does not learn of the end of its session before it writes, as it is cut off from `ZooKeeper`: so
/// the server alone stands between it and the jobs. It writes how far the loud job is, and how the quiet one ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_executor_changes_nothing() {
    let mut site = Site::start(Options { executors: 1, ..Options::default() }).await;
    let loud = site.client.add("job", &step("loud", LONG), None).await.expect("added");
    let quiet = site.client.add("job", &step("quiet", SHORT), None).await.expect("added");
    for id in [&loud, &quiet] {
        eventually("the job runs", async || (site.ledger(id).await?.attempts.len() == 1).then_some(())).await;
    }
    site.hire_executor().await;
    site.until_all_work().await;
    site.executors[0].process().pause().await;
    for id in [&loud, &quiet] {
        eventually("it is taken over", async || (site.ledger(id).await?.attempts.len() == 2).then_some(())).await;
    }
    // until both runs of the quiet one would be over
    eventually("the other one ends it", async || (site.state(&quiet).await? == State::Success).then_some(())).await;
    assert_eq!(site.state(&loud).await, Some(State::Running));
    let before = site.client.get(&quiet).await.expect("there");
    site.executors[0].set(Way::ZooKeeper, Fault::Cut);
    assert_eq!(site.executors[0].process().state(), Some('T'), "it stood still all the while");
    site.executors[0].process().resume();

    for (id, wish) in [(&loud, None), (&quiet, Some(State::Success))] {
        let refused = eventually("a write is refused as late", async || {
            let ledger = site.ledger(id).await?;
            ledger.refused.iter().find(|write| write.state == wish).cloned()
        })
        .await;
        assert_eq!(refused.executor, "executor-1");
    }
    assert_eq!(site.client.get(&quiet).await.expect("there"), before, "a final job is what it was");
    eventually("the other one ends it", async || (site.state(&loud).await? == State::Success).then_some(())).await;
    site.executors[0].set(Way::ZooKeeper, Fault::None);
    for id in [&loud, &quiet] {
        assert_taken_over(&site, id).await;
    }
    // it is of use again
    site.executors[1].process().kill();
    let next = site.client.add("job", &step("loud", Duration::ZERO), None).await.expect("added");
    eventually("it does jobs again", async || (site.state(&next).await? == State::Success).then_some(())).await;
}

/// Two attempts, of which the second one had its way; and a person is shown what was refused.
async fn assert_taken_over(site: &Site, id: &str) {
    let Ledger { attempts, refused_total, lost, .. } = site.ledger(id).await.expect("there");
    let outcomes: Vec<_> = attempts.iter().map(|attempt| (attempt.executor.as_str(), attempt.outcome)).collect();
    let expected = [("executor-1", Some(Outcome::Lost)), ("executor-2", Some(Outcome::Finished))];
    assert_eq!((outcomes.as_slice(), lost), (&expected[..], 1));
    assert!(refused_total >= 1);
    let job = site.client.get(id).await.expect("there");
    assert_eq!(text(&job, "statusMessage"), "done on executor-2");
    let mut command = program();
    command.args(["jobs", "show", id, "--ss-user", "super"]).env("SLIPSTREAM_PASS", PASSWORD);
    command.env("SLIPSTREAM_URL", format!("http://{}", site.address));
    let shown = command.output().expect("the program runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = |start: &str| shown.lines().find(|line| line.trim_start().starts_with(start)).map(str::to_owned);
    let count = line("refused writes").unwrap_or_else(|| panic!("no count of refused writes: {shown}"));
    assert!(count.ends_with(&refused_total.to_string()), "{shown}");
    let table = shown.split("latest writes refused").nth(1).unwrap_or_else(|| panic!("no table: {shown}"));
    assert!(table.contains("executor-1") && !table.contains("executor-2"), "{shown}");
}

/// The session ends under an executor that goes on: it learns of it from `ZooKeeper`, cancels what it runs, and writes
/// nothing more of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_whose_session_has_ended_cancels_and_writes_nothing() {
    let mut site = Site::start(Options { executors: 1, ..Options::default() }).await;
    let id = site.client.add("job", &step("quiet", LONG), None).await.expect("added");
    eventually("the job runs", async || (site.ledger(&id).await?.attempts.len() == 1).then_some(())).await;
    site.hire_executor().await;
    site.until_all_work().await;
    site.executors[0].set(Way::ZooKeeper, Fault::HalfOpen);
    eventually("it is taken over", async || (site.ledger(&id).await?.attempts.len() == 2).then_some(())).await;
    assert!(site.executors[0].injected(Way::ZooKeeper) > 0);
    assert!(!site.records().iter().any(|record| record.how == How::Cancelled), "nobody told it yet");
    site.executors[0].set(Way::ZooKeeper, Fault::None);
    eventually("it is cancelled", async || {
        site.records().iter().any(|it| it.how == How::Cancelled && it.executor == "executor-1").then_some(())
    })
    .await;
    eventually("the other one ends it", async || (site.state(&id).await? == State::Success).then_some(())).await;
    let ledger = site.ledger(&id).await.expect("there");
    assert_eq!((ledger.attempts.len(), ledger.refused_total), (2, 0), "{ledger:?}");
    let records = site.records();
    let begun: Vec<_> = records.iter().filter(|it| matches!(it.how, How::Begun { .. })).collect();
    assert_eq!(
        begun.iter().map(|it| it.how).collect::<Vec<_>>(),
        [How::Begun { rerun: false }, How::Begun { rerun: true }]
    );
}
