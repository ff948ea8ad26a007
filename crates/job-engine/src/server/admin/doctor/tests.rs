use jiff::Timestamp;
use slipstream_cimi::overview::executors::loaded::{FailedToLoad, Loaded};
use slipstream_cimi::overview::executors::{Process, RegisteredExecutor};
use slipstream_cimi::overview::queue::{Refused, Sample};

use super::*;

fn executor(name: &str, version: &str, actions: &[&str]) -> Executor {
    let registered = RegisteredExecutor {
        name: name.to_owned(),
        process: Process { host: "here".to_owned(), id: 1, version: version.to_owned() },
        slots: 4,
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        loaded: Loaded::default(),
        begun: Timestamp::UNIX_EPOCH,
        passed_over: Vec::new(),
        draining: false,
    };
    Executor { claimant: "0a".to_owned(), registered, busy: Some(0) }
}

fn candidate(name: &str, leader: Option<&str>, problem: Option<&str>) -> Distributor {
    Distributor {
        name: name.to_owned(),
        election: name.to_owned(),
        schedule: None,
        leader: leader.map(str::to_owned),
        candidates: Vec::new(),
        last: None,
        next: None,
        problem: problem.map(str::to_owned),
    }
}

fn coordinated() -> Coordinated {
    Coordinated {
        round_trip: Duration::from_millis(2),
        left_alone: Some(LeftAlone::default()),
        unheld: Vec::new(),
        executors: vec![executor("Kenny", "1", &["noop"])],
        has_foreign: false,
        distributors: vec![candidate("cleanup", Some("node-1"), None)],
    }
}

/// What is said of a site, each as `sign about: text`.
fn said_with(
    store: Result<(), String>,
    coordinator: Result<Coordinated, String>,
    waiting: &[(&str, u64)],
) -> Vec<String> {
    let waiting = waiting.iter().map(|(action, count)| ((*action).to_owned(), *count)).collect();
    let findings = diagnose(&Facts { version: "1", store, waiting, coordinator });
    let line = |Finding { about, health, text, hint }: Finding| {
        assert_eq!(hint.is_none(), health == Health::Well, "what is not well says what to do: {about}");
        let sign = match health {
            Health::Well => "+",
            Health::Doubtful => "!",
            Health::Ill => "x",
        };
        format!("{sign} {about}: {text}")
    };
    findings.into_iter().map(line).collect()
}

/// What is said of it that is not well.
fn wrong(coordinated: Coordinated, waiting: &[(&str, u64)]) -> Vec<String> {
    said_with(Ok(()), Ok(coordinated), waiting).into_iter().filter(|line| !line.starts_with('+')).collect()
}

#[test]
fn a_site_that_is_well_says_so_point_by_point() {
    assert_eq!(
        said_with(Ok(()), Ok(coordinated()), &[("noop", 3)]),
        [
            "+ store: it takes writes",
            "+ coordinator: it answers in 2 ms",
            "+ reconciler: it is at work and leaves nothing alone",
            "+ running jobs: somebody holds each of them",
            "+ executors: 1 with 4 slots",
            "+ distributor cleanup: node-1 leads",
        ]
    );
}

#[test]
fn without_store_or_coordinator_nothing_gets_done() {
    let said = said_with(Err("store: full".to_owned()), Err("no session".to_owned()), &[("noop", 3)]);
    assert_eq!(said, ["x store: store: full", "x coordinator: it cannot be asked: no session"]);
}

#[test]
fn what_the_reconciler_leaves_alone_is_told() {
    let none = Coordinated { left_alone: None, ..coordinated() };
    assert_eq!(wrong(none, &[]), ["x reconciler: none is at work"]);
    let sample = |names: &[&str]| Sample::of(names.iter().map(|name| (*name).to_owned()).collect());
    let left_alone = LeftAlone {
        entries: sample(&["a"]),
        claims: sample(&[]),
        without_session: sample(&["b"]),
        refused: vec![Refused { sample: sample(&["c", "d", "e", "f", "g", "h"]), reason: "not allowed".to_owned() }],
    };
    assert_eq!(
        wrong(Coordinated { left_alone: Some(left_alone), ..coordinated() }, &[]),
        [
            "x reconciler: claims without a session: b",
            "! reconciler: refused, not allowed: c, d, e, f, g and 1 more",
            "! reconciler: 1 entries and 0 claims belong to no job of this store",
        ]
    );
}

#[test]
fn jobs_and_actions_that_do_not_get_done_are_told() {
    let unheld = Coordinated { unheld: vec!["job/0a".to_owned()], ..coordinated() };
    assert_eq!(wrong(unheld, &[]), ["! running jobs: RUNNING, and nobody holds them: job/0a"]);
    let text = "3 jobs of the action other wait, and no registered executor takes them";
    assert_eq!(wrong(coordinated(), &[("other", 3), ("noop", 1)]), [format!("x actions: {text}")]);
    let foreign = Coordinated { has_foreign: true, ..coordinated() };
    assert_eq!(wrong(foreign, &[("other", 3)]), [format!("! actions: {text}")], "a foreign one may have it");
    let mut drained = coordinated();
    drained.executors[0].registered.draining = true;
    let text = "1 jobs of the action noop wait, and no registered executor takes them";
    assert_eq!(wrong(drained, &[("noop", 1)]), [format!("x actions: {text}")]);
}

#[test]
fn executors_and_distributors_that_need_somebody_are_told() {
    let none = Coordinated { executors: Vec::new(), ..coordinated() };
    assert_eq!(wrong(none, &[]), ["! executors: none is registered"]);
    let mut two = coordinated();
    two.executors.push(executor("Stan", "2", &[]));
    let failed = FailedToLoad { file: "/a".into(), line: None, reason: "why".to_owned() };
    two.executors[0].registered.loaded.failed.push(failed);
    assert_eq!(
        wrong(two, &[]),
        ["! executors: of another version than this server (1): Stan", "! executors: actions failed to load: Kenny"]
    );
    let distributors = vec![
        candidate("a", None, None),
        candidate("b", None, Some("blocked")),
        candidate("c", Some("node-1"), Some("the mark is damaged")),
    ];
    assert_eq!(
        wrong(Coordinated { distributors, ..coordinated() }, &[]),
        [
            "x distributor a: nobody leads: it adds no jobs",
            "x distributor b: blocked",
            "! distributor c: the mark is damaged",
        ]
    );
}
