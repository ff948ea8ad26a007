use jiff::SignedDuration;
use slipstream_cimi::overview::executors::PassedOver;
use slipstream_cimi::overview::executors::loaded::Loaded;

use super::*;
use crate::process::registry::this_process;

const ENTRY: &str = "/job/entries/entry-999-0000000007";
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn executor(name: &str, actions: &[&str], passed_over: Vec<PassedOver>) -> RegisteredExecutor {
    RegisteredExecutor {
        name: name.to_owned(),
        process: this_process(),
        slots: 1,
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        loaded: Loaded::default(),
        begun: Timestamp::UNIX_EPOCH,
        passed_over,
        draining: false,
    }
}

fn passed_over(entry: &str, job: Option<&str>) -> PassedOver {
    let (entry, job) = (entry.to_owned(), job.map(str::to_owned));
    PassedOver { entry, job, reason: "because".to_owned(), until: NOW + SignedDuration::from_secs(1) }
}

/// What is said, each as `executor: reason`.
fn said(
    state: State,
    entry: Option<&str>,
    claim: Claim,
    refused: Option<&str>,
    executors: &[RegisteredExecutor],
) -> Vec<String> {
    let refused = refused.map(str::to_owned);
    let facts = Facts { id: "job/0a", action: "noop", state, entry, claim, refused, executors, now: NOW };
    let line = |reason: Reason| format!("{}: {}", reason.executor.unwrap_or_default(), reason.reason);
    facts.reasons().into_iter().map(line).collect()
}

fn waits(entry: Option<&str>, claim: Claim, refused: Option<&str>, executors: &[RegisteredExecutor]) -> Vec<String> {
    said(State::Queued, entry, claim, refused, executors)
}

#[test]
fn a_job_that_nobody_holds_up_says_nothing() {
    let able = [executor("Kenny", &["noop"], vec![passed_over("/job/entries/entry-999-0000000008", Some("job/0b"))])];
    assert_eq!(said(State::Queued, Some(ENTRY), Claim::Nobody, None, &able), Vec::<String>::new());
    assert_eq!(said(State::Running, Some(ENTRY), Claim::Somebody, None, &[]), Vec::<String>::new());
}

#[test]
fn each_reason_has_its_words() {
    let able = [executor("Kenny", &["noop"], vec![])];
    assert_eq!(
        waits(None, Claim::Nobody, None, &able),
        [": it has no entry in the queue yet, the reconciler will put one"]
    );
    assert_eq!(
        waits(Some(ENTRY), Claim::WithoutSession, None, &able),
        [": its claim has no session: delete the node /job/taken/entry-999-0000000007"]
    );
    let unable = [executor("Stan", &["other"], vec![])];
    assert_eq!(waits(Some(ENTRY), Claim::Nobody, None, &unable), [": no registered executor has the action noop"]);
    let draining = RegisteredExecutor { draining: true, ..executor("Stan", &["noop"], vec![]) };
    assert_eq!(
        waits(Some(ENTRY), Claim::Nobody, None, &[unable[0].clone(), draining.clone()]),
        [": each executor that has the action noop is draining"]
    );
    assert_eq!(waits(Some(ENTRY), Claim::Nobody, None, &[draining, able[0].clone()]), Vec::<String>::new());
    assert_eq!(waits(Some(ENTRY), Claim::Nobody, Some("not allowed"), &able), [": not allowed"]);
    for passed in [passed_over(ENTRY, None), passed_over("/job/entries/x", Some("job/0a"))] {
        assert_eq!(
            waits(Some(ENTRY), Claim::Nobody, None, &[executor("Kenny", &["noop"], vec![passed])]),
            ["Kenny: because"]
        );
    }
}

#[test]
fn who_passed_over_it_says_nothing_any_more_once_it_is_held_or_the_time_has_come() {
    let passed = passed_over(ENTRY, Some("job/0a"));
    let executors = |passed: &PassedOver| [executor("Kenny", &["noop"], vec![passed.clone()])];
    assert_eq!(waits(Some(ENTRY), Claim::Nobody, None, &executors(&passed)), ["Kenny: because"]);
    for state in [State::Queued, State::Running, State::Stopping] {
        let said = said(state, Some(ENTRY), Claim::Somebody, None, &executors(&passed));
        assert_eq!(said, Vec::<String>::new(), "{state}: another executor has it");
    }
    for until in [NOW, NOW - SignedDuration::from_secs(1)] {
        let past = PassedOver { until, ..passed.clone() };
        assert_eq!(waits(Some(ENTRY), Claim::Nobody, None, &executors(&past)), Vec::<String>::new(), "{until}");
    }
}
