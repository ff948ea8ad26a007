use jiff::Timestamp;
use slipstream_cimi::overview::executors::loaded::{FailedToLoad, Loaded};
use slipstream_cimi::overview::executors::{Process, RegisteredExecutor};
use slipstream_cimi::overview::queue::{Refused, Sample};

use super::*;
use crate::server::reconcile::Unheld;

/// The time of all that is found.
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

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
        given_up: None,
    }
}

fn coordinated() -> Coordinated {
    Coordinated {
        round_trip: Duration::from_millis(2),
        version: Some("3.9.2".to_owned()),
        ahead: Some(SignedDuration::from_secs(1)),
        reconciler: Some(reconciler(LeftAlone::default())),
        unheld: Vec::new(),
        executors: vec![executor("Kenny", "1", &["noop"])],
        has_foreign: false,
        distributors: vec![candidate("cleanup", Some("node-1"), None)],
        candidates: vec![("node-1".to_owned(), "1".to_owned())],
    }
}

fn reconciler(left_alone: LeftAlone) -> RegisteredReconciler {
    let process = Process { host: "here".to_owned(), id: 7, version: "1".to_owned() };
    let (candidate, unheld) = ("here".to_owned(), Unheld::default());
    RegisteredReconciler { candidate, process, begun: NOW, round: Some(NOW), left_alone, unheld }
}

/// What is said of a site, each as `sign about: text`.
fn said_with(
    store: Result<(), String>,
    coordinator: Result<Coordinated, String>,
    waiting: &[(&str, u64)],
) -> Vec<String> {
    let waiting = waiting.iter().map(|(action, count)| ((*action).to_owned(), *count)).collect();
    said_of(&Facts { version: "1", store, space: None, now: NOW, waiting, today: Vec::new(), coordinator })
}

fn said_of(facts: &Facts) -> Vec<String> {
    let findings = diagnose(facts);
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
            "+ coordinator: it answers in 2 ms, ZooKeeper 3.9.2",
            "+ clock: it agrees with the coordinator's",
            "+ reconciler: it is at work, and has put right all that it found",
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
    let none = Coordinated { reconciler: None, ..coordinated() };
    assert_eq!(wrong(none, &[]), ["x reconciler: none is at work"]);
    let sample = |names: &[&str]| Sample::of(names.iter().map(|name| (*name).to_owned()).collect());
    let left_alone = LeftAlone {
        entries: sample(&["a"]),
        claims: sample(&[]),
        without_session: sample(&["b"]),
        refused: vec![Refused { sample: sample(&["c", "d", "e", "f", "g", "h"]), reason: "not allowed".to_owned() }],
    };
    assert_eq!(
        wrong(Coordinated { reconciler: Some(reconciler(left_alone)), ..coordinated() }, &[]),
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

#[test]
fn a_reconciler_that_ends_no_round_or_is_of_another_version_is_told() {
    let late =
        RegisteredReconciler { round: Some(NOW - SignedDuration::from_mins(7)), ..reconciler(LeftAlone::default()) };
    let of = |reconciler| wrong(Coordinated { reconciler: Some(reconciler), ..coordinated() }, &[]);
    assert_eq!(of(late.clone()), ["! reconciler: its last round ended 7 min ago"]);
    let none_yet = RegisteredReconciler { round: None, ..late.clone() };
    assert_eq!(of(none_yet), [""; 0], "it has just begun");
    let in_time = RegisteredReconciler { round: Some(NOW - SignedDuration::from_mins(5)), ..late.clone() };
    assert_eq!(of(in_time), [""; 0]);
    let mut other = reconciler(LeftAlone::default());
    other.process.version = "2".to_owned();
    assert_eq!(of(other), ["! reconciler: its server is of version 2, this one of 1"]);
}

#[test]
fn clocks_that_differ_are_told() {
    let of = |seconds| wrong(Coordinated { ahead: Some(SignedDuration::from_secs(seconds)), ..coordinated() }, &[]);
    assert_eq!(of(30), [""; 0]);
    assert_eq!(of(31), ["! clock: that of the coordinator is 31 s ahead of this server's"]);
    assert_eq!(of(-400), ["x clock: that of the coordinator is 400 s behind this server's"]);
}

#[test]
fn a_coordinator_says_its_version_or_that_it_does_not() {
    let of = |version: Option<&str>, ahead| {
        let version = version.map(str::to_owned);
        said_with(Ok(()), Ok(Coordinated { version, ahead, ..coordinated() }), &[]).swap_remove(1)
    };
    let second = Some(SignedDuration::from_secs(1));
    assert_eq!(of(None, second), "+ coordinator: it answers in 2 ms, its version is not known");
    assert_eq!(of(None, None), "+ coordinator: it answers in 2 ms", "it runs in this process");
}

#[test]
fn space_that_runs_out_is_told() {
    const GIB: u64 = 1 << 30;
    let of = |taken, free| {
        let space = Some(Space { taken, free });
        let facts = Facts {
            today: Vec::new(),
            version: "1",
            store: Ok(()),
            space,
            now: NOW,
            waiting: BTreeMap::new(),
            coordinator: Ok(coordinated()),
        };
        said_of(&facts).swap_remove(1)
    };
    let rows = [
        (3 * GIB / 2, 20 * GIB, "+ space: the store takes 1.5 GiB, 20.0 GiB are free"),
        (12 * GIB, 11 * GIB, "! space: the store takes 12.0 GiB, 11.0 GiB are free"),
        (1024, GIB - 1, "! space: the store takes 1.0 KiB, 1023.9 MiB are free"),
        (1023, (64 << 20) - 1, "x space: the store takes 1023 bytes, 63.9 MiB are free"),
    ];
    for (taken, free, expected) in rows {
        assert_eq!(of(taken, free), expected);
    }
}

#[test]
fn distributors_of_another_version_are_told() {
    let candidates = vec![("node-1".to_owned(), "1".to_owned()), ("node-2".to_owned(), "0".to_owned())];
    let said = wrong(Coordinated { candidates, ..coordinated() }, &[]);
    assert_eq!(said, ["! distributors: of another version than this server (1): node-2 (0)"]);
}

#[test]
fn actions_of_which_nothing_succeeded_lately_are_told_with_the_command_that_shows_them() {
    let work = |name: &str, ended, failed| {
        let name = name.to_owned();
        ActionWork {
            name,
            added: ended,
            ended,
            failed,
            wait: None,
            run: None,
            series: Vec::new(),
            failed_series: Vec::new(),
        }
    };
    let today =
        vec![work("it's", 7, 7), work("once", 1, 1), work("mostly", 9, 8), work("idle", 0, 0), work(OTHER, 3, 3)];
    let (store, waiting) = (Ok(()), BTreeMap::new());
    let facts = Facts { version: "1", store, space: None, now: NOW, waiting, today, coordinator: Ok(coordinated()) };
    let wrong: Vec<String> = said_of(&facts).into_iter().filter(|line| !line.starts_with('+')).collect();
    let expected = [
        "! actions: all 7 jobs of the action it's that ended in the last 24 hours failed",
        "! actions: the only job of the action once that ended in the last 24 hours failed",
    ];
    assert_eq!(wrong, expected);
    let hint = diagnose(&facts).into_iter().find_map(|finding| finding.hint).expect("what to do");
    let filter = hint.split('"').nth(1).expect("in quotes");
    slipstream_cimi::filter::Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
}

#[test]
fn of_many_actions_that_nobody_has_the_first_are_told_one_by_one() {
    let names: Vec<String> = (10..40).map(|number| format!("action-{number}")).collect();
    let waiting: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 2)).collect();
    let wrong = wrong(coordinated(), &waiting);
    assert_eq!(wrong.len(), MOST_ALIKE + 1);
    assert!(
        wrong[MOST_ALIKE].ends_with("action-20, action-21, action-22, action-23, action-24 and 15 more"),
        "{wrong:?}"
    );
}
