use slipstream_cimi::{AttemptIdentity, Code, Lease, State};

use super::*;

const MAX_ATTEMPTS: u32 = 5;
const RECORDED: &str = "/job/entries/entry-999-0000000001";
const ANOTHER: &str = "/job/entries/entry-999-0000000002";
const NOT_FINAL: [State; 3] = [State::Queued, State::Running, State::Stopping];
const FINAL: [State; 3] = [State::Success, State::Failed, State::Stopped];
const ALL_THERE: Facts =
    Facts { recorded_entry_exists: Some(true), claim_lives: Some(true), lost_together: Some(false) };
const NOTHING_THERE: Facts =
    Facts { recorded_entry_exists: Some(false), claim_lives: Some(false), lost_together: Some(false) };

fn attempt(generation: i64, zxid: i64, entry: &str) -> AttemptIdentity {
    let lease = Lease { generation, zxid };
    AttemptIdentity { job: "job/0a".to_owned(), lease, entry: entry.to_owned(), executor: "Kenny".to_owned() }
}

/// A job that an attempt under lease 2.10 runs.
fn begun() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.begin(Some(&attempt(2, 10, RECORDED)), false, Timestamp::UNIX_EPOCH);
    ledger
}

fn queued() -> Ledger {
    Ledger { entry: Some(RECORDED.to_owned()), ..Ledger::default() }
}

fn verdict(stored: State, ledger: &Ledger, by: Option<&AttemptIdentity>, to: Option<State>, facts: Facts) -> Judgement {
    judge(stored, ledger, Edit { attempt: by, state: to }, facts, MAX_ATTEMPTS).expect("every fact is known")
}

fn every_wish() -> impl Iterator<Item = Option<State>> {
    State::ALL.into_iter().map(Some).chain([None])
}

#[test]
fn row_1_a_lease_that_is_none_is_a_bad_request_whatever_the_state() {
    for stored in State::ALL {
        for (generation, zxid) in [(0, 5), (5, 0), (-1, 5), (5, -1)] {
            let by = attempt(generation, zxid, RECORDED);
            assert_eq!(verdict(stored, &begun(), Some(&by), None, ALL_THERE), Judgement::InvalidLease);
        }
    }
}

#[test]
fn row_2_a_lower_lease_is_late_whatever_the_state_and_the_wish() {
    for stored in State::ALL {
        for to in every_wish() {
            for by in [attempt(2, 9, RECORDED), attempt(1, 99, RECORDED)] {
                let judgement = verdict(stored, &begun(), Some(&by), to, ALL_THERE);
                assert_eq!(judgement, Judgement::Refuse(Code::LateLease), "{stored} → {to:?}");
            }
        }
    }
}

#[test]
fn row_3_the_same_final_state_again_changes_nothing() {
    for stored in FINAL {
        for by in [None, Some(attempt(2, 10, RECORDED)), Some(attempt(3, 1, ANOTHER))] {
            assert_eq!(verdict(stored, &begun(), by.as_ref(), Some(stored), ALL_THERE), Judgement::Unchanged);
        }
    }
}

#[test]
fn row_4_an_old_executor_may_finish_a_stopped_job() {
    for to in [State::Success, State::Failed] {
        assert_eq!(verdict(State::Stopped, &begun(), None, Some(to), ALL_THERE), Judgement::Accept);
        let by = attempt(2, 10, RECORDED);
        let with_lease = verdict(State::Stopped, &begun(), Some(&by), Some(to), ALL_THERE);
        assert_eq!(with_lease, Judgement::Refuse(Code::Final));
    }
}

#[test]
fn row_5_final_is_final() {
    for stored in FINAL {
        for to in every_wish().filter(|to| *to != Some(stored)) {
            let old_executor_finishes = stored == State::Stopped && matches!(to, Some(State::Success | State::Failed));
            if !old_executor_finishes {
                assert_eq!(verdict(stored, &begun(), None, to, ALL_THERE), Judgement::Refuse(Code::Final));
            }
            for by in [attempt(2, 10, RECORDED), attempt(9, 9, ANOTHER)] {
                let judgement = verdict(stored, &begun(), Some(&by), to, ALL_THERE);
                assert_eq!(judgement, Judgement::Refuse(Code::Final), "{stored} → {to:?}");
            }
        }
    }
}

#[test]
fn row_6_the_stored_lease_is_accepted() {
    for stored in NOT_FINAL {
        for to in every_wish() {
            let by = attempt(2, 10, RECORDED);
            assert_eq!(verdict(stored, &begun(), Some(&by), to, ALL_THERE), Judgement::Accept);
        }
    }
}

/// Claims that one transaction made have one lease.
#[test]
fn row_6_the_stored_lease_on_another_entry_is_another_attempt_and_never_accepted() {
    for stored in NOT_FINAL {
        for to in every_wish() {
            let by = attempt(2, 10, ANOTHER);
            let there = verdict(stored, &begun(), Some(&by), to, ALL_THERE);
            assert_eq!(there, Judgement::Refuse(Code::Superseded), "{stored} → {to:?}");
            let gone = verdict(stored, &begun(), Some(&by), to, NOTHING_THERE);
            assert_eq!(gone, Judgement::Refuse(Code::LateLease), "{stored} → {to:?}");
        }
    }
}

#[test]
fn row_7_a_higher_lease_on_another_entry_is_superseded_while_the_recorded_one_exists() {
    for stored in NOT_FINAL {
        let by = attempt(2, 11, ANOTHER);
        let there = verdict(stored, &begun(), Some(&by), Some(State::Running), ALL_THERE);
        assert_eq!(there, Judgement::Refuse(Code::Superseded));
        let gone = verdict(stored, &begun(), Some(&by), Some(State::Running), NOTHING_THERE);
        assert_eq!(gone, Judgement::BeginAttempt);
    }
}

#[test]
fn row_8_the_sixth_claim_of_a_job_that_was_lost_five_times_gives_it_up() {
    let mut ledger = queued();
    for zxid in 1..=5 {
        let by = attempt(1, zxid, RECORDED);
        let judgement = verdict(State::Running, &ledger, Some(&by), Some(State::Running), ALL_THERE);
        assert_eq!(judgement, Judgement::BeginAttempt, "attempt {zxid}");
        ledger.begin(Some(&by), false, Timestamp::UNIX_EPOCH);
    }
    let by = attempt(1, 6, RECORDED);
    assert_eq!(verdict(State::Running, &ledger, Some(&by), Some(State::Running), ALL_THERE), Judgement::GiveUp);
    assert_eq!(ledger.give_up(false, Timestamp::UNIX_EPOCH), "given up after 5 attempts, last on Kenny");
}

#[test]
fn row_8_what_is_lost_at_once_with_others_counts_half_and_never_nothing() {
    let mut ledger = queued();
    let together = Facts { lost_together: Some(true), ..ALL_THERE };
    for zxid in 1..=10 {
        let by = attempt(1, zxid, RECORDED);
        let judgement = verdict(State::Running, &ledger, Some(&by), Some(State::Running), together);
        assert_eq!(judgement, Judgement::BeginAttempt, "attempt {zxid}");
        ledger.begin(Some(&by), true, Timestamp::UNIX_EPOCH);
    }
    assert_eq!((ledger.lost, ledger.lost_together), (9, 9));
    let by = attempt(1, 11, RECORDED);
    let alone = verdict(State::Running, &ledger, Some(&by), Some(State::Running), ALL_THERE);
    let judgement = verdict(State::Running, &ledger, Some(&by), Some(State::Running), together);
    assert_eq!([judgement, alone], [Judgement::GiveUp; 2]);
}

#[test]
fn attempts_are_lost_together_if_one_process_had_them_open_at_the_same_time() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let mut other = Ledger::default();
    other.begin(Some(&attempt(2, 10, RECORDED)), false, at(10));
    let lost = |executor: &str, begun| {
        let (executor, begun) = (executor.to_owned(), at(begun));
        Attempt { lease: None, executor, begun, ended: None, outcome: None, output: Vec::new() }
    };
    assert!(other.was_open_with(&lost("Kenny", 5)) && other.was_open_with(&lost("Kenny", 50)));
    assert!(!other.was_open_with(&lost("Cartman", 5)), "another process");
    other.lose(true, at(20));
    assert!(other.was_open_with(&lost("Kenny", 15)) && !other.was_open_with(&lost("Kenny", 21)));
    let mut finished = Ledger::default();
    finished.begin(Some(&attempt(2, 10, RECORDED)), false, at(10));
    finished.end(Outcome::Finished, at(20));
    assert!(!finished.was_open_with(&lost("Kenny", 15)), "it was not lost");
}

#[test]
fn row_8_a_clean_release_does_not_count() {
    let mut ledger = queued();
    for zxid in 1..=40 {
        let by = attempt(1, zxid, RECORDED);
        let judgement = verdict(State::Queued, &ledger, Some(&by), Some(State::Running), ALL_THERE);
        assert_eq!(judgement, Judgement::BeginAttempt, "attempt {zxid}");
        ledger.begin(Some(&by), false, Timestamp::UNIX_EPOCH);
        ledger.end(Outcome::Released, Timestamp::UNIX_EPOCH);
    }
    assert_eq!(ledger.lost, 0);
    assert_eq!(ledger.attempts.len(), KEPT);
}

#[test]
fn row_9_a_higher_lease_begins_an_attempt() {
    for stored in NOT_FINAL {
        for ledger in [queued(), begun(), Ledger::default()] {
            let by = attempt(3, 1, RECORDED);
            let judgement = verdict(stored, &ledger, Some(&by), Some(State::Running), ALL_THERE);
            assert_eq!(judgement, Judgement::BeginAttempt);
        }
    }
}

#[test]
fn row_10_running_without_a_lease_begins_an_attempt_without_leases() {
    for stored in NOT_FINAL {
        for ledger in [queued(), begun()] {
            let judgement = verdict(stored, &ledger, None, Some(State::Running), ALL_THERE);
            assert_eq!(judgement, Judgement::BeginLeaselessAttempt);
        }
    }
}

#[test]
fn row_11_nobody_without_a_lease_changes_the_state_under_a_live_claim() {
    for to in [State::Queued, State::Success, State::Failed, State::Stopped] {
        let lives = verdict(State::Running, &begun(), None, Some(to), ALL_THERE);
        assert_eq!(lives, Judgement::Refuse(Code::Conflict), "{to}");
        assert_eq!(verdict(State::Running, &begun(), None, Some(to), NOTHING_THERE), Judgement::Accept, "{to}");
        let mut leaseless = queued();
        leaseless.begin(None, false, Timestamp::UNIX_EPOCH);
        assert_eq!(verdict(State::Running, &leaseless, None, Some(to), ALL_THERE), Judgement::Accept, "{to}");
    }
}

#[test]
fn row_12_anything_else_without_a_lease_is_accepted() {
    assert_eq!(verdict(State::Running, &begun(), None, None, ALL_THERE), Judgement::Accept);
    assert_eq!(verdict(State::Queued, &queued(), None, Some(State::Failed), ALL_THERE), Judgement::Accept);
}

#[test]
fn the_node_tree_is_asked_only_when_a_row_needs_it() {
    let same = attempt(2, 10, RECORDED);
    let (another, beside) = (attempt(2, 11, ANOTHER), attempt(2, 10, ANOTHER));
    let wanted =
        |stored, attempt, state, facts| judge(stored, &begun(), Edit { attempt, state }, facts, MAX_ATTEMPTS).err();
    let nothing = Facts::default();
    let running = Some(State::Running);
    assert_eq!(wanted(State::Running, Some(&same), Some(State::Success), nothing), None);
    assert_eq!(wanted(State::Running, Some(&another), running, nothing), Some(Fact::RecordedEntryExists));
    let is_gone = Facts { recorded_entry_exists: Some(false), ..nothing };
    assert_eq!(wanted(State::Running, Some(&another), running, is_gone), Some(Fact::LostTogether));
    let is_there = Facts { recorded_entry_exists: Some(true), ..nothing };
    assert_eq!(wanted(State::Running, Some(&another), running, is_there), None);
    assert_eq!(wanted(State::Running, Some(&beside), Some(State::Success), nothing), Some(Fact::RecordedEntryExists));
    assert_eq!(wanted(State::Running, None, Some(State::Failed), nothing), Some(Fact::ClaimLives));
    assert_eq!(wanted(State::Running, None, None, nothing), None);
    assert_eq!(wanted(State::Success, Some(&another), None, nothing), None);
    let first = judge(State::Queued, &queued(), Edit { attempt: Some(&same), state: running }, nothing, MAX_ATTEMPTS);
    assert_eq!(first, Ok(Judgement::BeginAttempt), "a first attempt asks for nothing");
}

#[test]
fn refused_writes_are_counted_and_the_last_ones_kept() {
    let mut ledger = begun();
    for zxid in 1..=30 {
        ledger.refuse(&attempt(1, zxid, RECORDED), Some(State::Success), Timestamp::UNIX_EPOCH);
    }
    assert_eq!((ledger.refused_total, ledger.refused.len()), (30, KEPT));
    let kept: Vec<i64> = ledger.refused.iter().map(|write| write.lease.zxid).collect();
    assert_eq!(kept, (11..=30).collect::<Vec<_>>());
}

#[test]
fn an_attempt_ends_once() {
    let mut ledger = begun();
    ledger.end(Outcome::Released, Timestamp::UNIX_EPOCH);
    let released = ledger.clone();
    ledger.end(Outcome::Finished, Timestamp::MAX);
    assert_eq!(ledger, released, "stopping a job that waits again changes nothing about its attempts");
}

#[test]
fn what_asks_to_run_under_a_lease_that_was_given_back_comes_too_late() {
    let (mut ledger, by) = (begun(), attempt(2, 10, RECORDED));
    let running = |ledger: &Ledger, by| verdict(State::Queued, ledger, Some(by), Some(State::Running), ALL_THERE);
    assert_eq!(running(&ledger, &by), Judgement::Accept, "its answer was lost");
    ledger.end(Outcome::Released, Timestamp::UNIX_EPOCH);
    assert_eq!(running(&ledger, &by), Judgement::Refuse(Code::LateLease));
    assert_eq!(running(&ledger, &attempt(2, 11, RECORDED)), Judgement::BeginAttempt);
    let again = verdict(State::Queued, &ledger, Some(&by), Some(State::Queued), ALL_THERE);
    assert_eq!(again, Judgement::Accept, "given back once more, as the first answer was lost");
}

#[test]
fn a_rerun_follows_an_attempt_that_was_lost_and_no_other() {
    let lease = |zxid| Lease { generation: 2, zxid };
    let mut ledger = begun();
    assert!(!ledger.is_rerun(lease(10)), "it is its own");
    assert!(ledger.is_rerun(lease(11)));
    ledger.end(Outcome::Released, Timestamp::UNIX_EPOCH);
    assert!(!ledger.is_rerun(lease(11)));
    ledger.begin(Some(&attempt(2, 11, RECORDED)), false, Timestamp::UNIX_EPOCH);
    ledger.begin(Some(&attempt(2, 12, RECORDED)), false, Timestamp::UNIX_EPOCH);
    assert!(ledger.is_rerun(lease(12)), "the one before it was lost");
}
