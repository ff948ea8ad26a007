use super::*;
use crate::registry::{Process, RegisteredTerm};

fn candidate(name: &str, who: &str, term: Option<RegisteredTerm>) -> RegisteredDistributor {
    let process = Process { host: "here".to_owned(), id: 1, version: "0.1.0".to_owned() };
    let (name, candidate, schedule) = (name.to_owned(), who.to_owned(), format!("as {who} has it"));
    RegisteredDistributor { name, election: "e".to_owned(), candidate, process, schedule, term }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_leader_says_counts_while_the_election_knows_it_as_such() {
    let term = RegisteredTerm { last: Some(Timestamp::UNIX_EPOCH), next: Some(Timestamp::MAX) };
    let (kenny, stan) = (candidate("each", "Kenny", Some(term)), candidate("each", "Stan", None));
    let rows: [(&[&str], &str, Option<RegisteredTerm>); 4] = [
        (&["Kenny", "Stan"], "as Kenny has it", Some(term)),
        (&["Stan", "Kenny"], "as Stan has it", None),
        (&["foreign", "Stan"], "as Stan has it", None),
        (&[], "as Stan has it", None),
    ];
    for (candidates, schedule, known) in rows {
        let [told] = in_election("e", &texts(candidates), &[&stan, &kenny]).try_into().expect("one distributor");
        assert_eq!((told.name.as_str(), told.leader.as_deref()), ("each", candidates.first().copied()));
        assert_eq!(told.candidates, texts(candidates));
        assert_eq!((told.last, told.next), (known.and_then(|term| term.last), known.and_then(|term| term.next)));
        assert_eq!(told.schedule.as_deref(), Some(schedule), "{candidates:?}");
    }
}

#[test]
fn an_election_of_foreign_candidates_is_a_distributor_of_its_name() {
    let [told] = in_election("cleanup_jobs", &texts(&["old"]), &[]).try_into().expect("one distributor");
    assert_eq!((told.name.as_str(), told.leader.as_deref(), told.schedule), ("cleanup_jobs", Some("old"), None));
    assert!(in_election("cleanup_jobs", &[], &[]).is_empty(), "where nobody stands there is none");
}
