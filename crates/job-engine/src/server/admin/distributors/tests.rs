use jiff::Timestamp;
use slipstream_cimi::overview::executors::Process;

use super::*;
use crate::process::registry::RegisteredTerm;

fn candidate(name: &str, who: &str, term: Option<RegisteredTerm>) -> RegisteredDistributor {
    let process = Process { host: "here".to_owned(), id: 1, version: "0.1.0".to_owned() };
    let (name, candidate, schedule) = (name.to_owned(), who.to_owned(), format!("as {who} has it"));
    RegisteredDistributor { name, election: Some("e".to_owned()), candidate, process, schedule, term, problem: None }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn standing(names: &[&str]) -> Vec<Contender> {
    let contender = |name: &&str| {
        let (node, identifier) = (format!("/election/e/{name}"), Some((*name).to_owned()));
        Contender { node, identifier, is_stray: name.starts_with("stray") }
    };
    names.iter().map(contender).collect()
}

#[test]
fn what_a_leader_says_counts_while_the_election_knows_it_as_such() {
    let term = RegisteredTerm { last: Some(Timestamp::UNIX_EPOCH), next: Some(Timestamp::MAX), given_up: None, rounds: Vec::new() };
    let (kenny, stan) = (candidate("each", "Kenny", Some(term)), candidate("each", "Stan", None));
    let rows: [(&[&str], &str, Option<RegisteredTerm>); 4] = [
        (&["Kenny", "Stan"], "as Kenny has it", Some(term)),
        (&["Stan", "Kenny"], "as Stan has it", None),
        (&["foreign", "Stan"], "as Stan has it", None),
        (&[], "as Stan has it", None),
    ];
    for (candidates, schedule, known) in rows {
        let [shown] = in_election("e", &standing(candidates), &[&stan, &kenny]).try_into().expect("one distributor");
        assert_eq!((shown.name.as_str(), shown.leader.as_deref()), ("each", candidates.first().copied()));
        assert_eq!(shown.candidates, texts(candidates));
        assert_eq!((shown.last, shown.next), (known.and_then(|term| term.last), known.and_then(|term| term.next)));
        assert_eq!(shown.schedule.as_deref(), Some(schedule), "{candidates:?}");
    }
}

#[test]
fn the_leaders_problem_counts_or_else_that_of_who_stands() {
    let term = RegisteredTerm { last: None, next: None, given_up: None, rounds: Vec::new() };
    let (mut kenny, mut stan) = (candidate("each", "Kenny", Some(term)), candidate("each", "Stan", None));
    stan.problem = Some("stands behind".to_owned());
    let problem = |candidates: &[&str], kenny: &RegisteredDistributor| {
        let [shown] = in_election("e", &standing(candidates), &[&stan, kenny]).try_into().expect("one distributor");
        shown.problem
    };
    assert_eq!(problem(&["Kenny", "Stan"], &kenny), None, "a leader at work has none");
    assert_eq!(problem(&["foreign", "Stan"], &kenny).as_deref(), Some("stands behind"));
    kenny.problem = Some("leads badly".to_owned());
    assert_eq!(problem(&["Kenny", "Stan"], &kenny).as_deref(), Some("leads badly"));
}

#[test]
fn a_candidate_without_a_session_is_named_with_what_to_do() {
    let term = RegisteredTerm { last: None, next: None, given_up: None, rounds: Vec::new() };
    let kenny = candidate("each", "Kenny", Some(term));
    let rows: [(&[&str], Option<&str>, &[&str]); 3] = [
        (&["stray", "Kenny"], None, &["Kenny"]),
        (&["Kenny", "stray"], Some("Kenny"), &["Kenny"]),
        (&["stray"], None, &[]),
    ];
    for (names, leader, candidates) in rows {
        for ours in [&[&kenny][..], &[]] {
            let [shown] = in_election("e", &standing(names), ours).try_into().expect("one distributor");
            assert_eq!((shown.leader.as_deref(), shown.candidates), (leader, texts(candidates)), "{names:?}");
            let problem = shown.problem.expect("a problem");
            assert!(
                problem.starts_with("/election/e/stray has no session") && problem.ends_with("delete it"),
                "{problem}"
            );
        }
    }
}

#[test]
fn an_election_of_foreign_candidates_is_a_distributor_of_its_name() {
    let [shown] = in_election("cleanup_jobs", &standing(&["old"]), &[]).try_into().expect("one distributor");
    assert_eq!((shown.name.as_str(), shown.leader.as_deref(), shown.schedule), ("cleanup_jobs", Some("old"), None));
    assert!(in_election("cleanup_jobs", &[], &[]).is_empty(), "where nobody stands there is none");
}

#[test]
fn one_that_has_not_started_is_shown_alone_or_with_those_of_its_name() {
    let unstarted = |name: &str, problem: Option<&str>| RegisteredDistributor {
        election: None,
        problem: problem.map(str::to_owned),
        ..candidate(name, "Stan", None)
    };
    let term = RegisteredTerm { last: None, next: None, given_up: None, rounds: Vec::new() };
    let mut shown = in_election("e", &standing(&["Kenny"]), &[&candidate("each", "Kenny", Some(term))]);
    for ours in [
        unstarted("each", None),
        unstarted("each", Some("its script does not start")),
        unstarted("lost", Some("its script does not start")),
        unstarted("lost", Some("that of another neither")),
    ] {
        add_unstarted(&mut shown, &ours);
    }
    let [each, lost] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!(
        (each.leader.as_deref(), each.problem.as_deref()),
        (Some("Kenny"), Some("on here: its script does not start"))
    );
    assert_eq!((&*lost.name, &*lost.election, lost.leader.as_deref()), ("lost", "", None));
    assert_eq!(lost.problem.as_deref(), Some("its script does not start"));
    let mut shown = Vec::new();
    add_unstarted(&mut shown, &unstarted("new", None));
    assert_eq!((shown.len(), shown[0].problem.as_deref()), (1, None), "it is just being started");
}
