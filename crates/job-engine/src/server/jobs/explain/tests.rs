use jiff::SignedDuration;
use slipstream_cimi::overview::executors::loaded::Loaded;
use slipstream_cimi::overview::executors::{PassedOver, RegisteredExecutor};
use slipstream_cimi::overview::ledger::Attempt;

use super::*;
use crate::process::registry::this_process;

const ENTRY: &str = "/job/entries/entry-999-0000000007";
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn lease(zxid: i64) -> Lease {
    Lease { generation: 1, zxid }
}

fn executor(name: &str, actions: &[&str]) -> Executor {
    let registered = RegisteredExecutor {
        name: name.to_owned(),
        process: this_process(),
        slots: 2,
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        loaded: Loaded::default(),
        begun: NOW,
        passed_over: Vec::new(),
        draining: false,
    };
    Executor { claimant: format!("claimant of {name}"), registered, busy: Some(0) }
}

fn draining(executor: Executor) -> Executor {
    Executor { registered: RegisteredExecutor { draining: true, ..executor.registered }, ..executor }
}

fn passing(executor: Executor, passed_over: PassedOver) -> Executor {
    let passed_over = vec![passed_over];
    Executor { registered: RegisteredExecutor { passed_over, ..executor.registered }, ..executor }
}

fn passed_over(entry: &str, job: Option<&str>) -> PassedOver {
    let (entry, job) = (entry.to_owned(), job.map(str::to_owned));
    PassedOver { entry, job, reason: "because".to_owned(), until: NOW + SignedDuration::from_secs(1) }
}

fn attempt(zxid: Option<i64>, outcome: Option<Outcome>) -> Attempt {
    let (lease, executor, ended) = (zxid.map(lease), "Stan".to_owned(), outcome.map(|_| NOW));
    Attempt { lease, executor, begun: NOW, ended, outcome, output: Vec::new() }
}

fn queued() -> Ledger {
    Ledger { entry: Some(ENTRY.to_owned()), ..Ledger::default() }
}

fn begun(attempts: Vec<Attempt>) -> Ledger {
    Ledger { lease: attempts.iter().filter_map(|attempt| attempt.lease).max(), attempts, ..queued() }
}

fn held(zxid: i64, by: &str) -> Claim {
    Claim::Somebody(Some((lease(zxid), format!("claimant of {by}"))))
}

struct Case {
    state: State,
    ledger: Ledger,
    claim: Claim,
    executors: Vec<Executor>,
    has_foreign: bool,
    before: usize,
    refused: Option<&'static str>,
    is_away: bool,
    said: Said<'static>,
    retry: Option<&'static str>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            state: State::Queued,
            ledger: queued(),
            claim: Claim::Nobody,
            executors: vec![executor("Kenny", &["noop"])],
            has_foreign: false,
            before: 0,
            refused: None,
            is_away: false,
            said: Said::default(),
            retry: None,
        }
    }
}

impl Case {
    fn explained_to(&self, sees_all: bool) -> Vec<Reason> {
        let seen = Seen {
            claim: self.claim.clone(),
            executors: &self.executors,
            has_foreign: self.has_foreign,
            before: self.before,
        };
        explain(&Facts {
            id: "job/0a",
            action: "noop",
            state: self.state,
            updated: NOW,
            ledger: &self.ledger,
            max_attempts: 5,
            refused: self.refused,
            said: self.said,
            retry: self.retry,
            away: self.is_away.then_some(NOW),
            queue: (!self.is_away).then_some(seen),
            sees_all,
            now: NOW,
        })
    }

    /// What an administrator is told, each as `code executor: text`, with a `!` before what blocks.
    fn explained(&self) -> Vec<String> {
        let line = |Reason { code, text, executor, blocks, .. }: Reason| {
            let code = serde_json::to_string(&code).unwrap();
            let (code, sign) = (code.trim_matches('"'), if blocks { "!" } else { "" });
            let who = executor.map(|executor| format!(" {executor}")).unwrap_or_default();
            format!("{sign}{code}{who}: {text}")
        };
        self.explained_to(true).into_iter().map(line).collect()
    }
}

#[test]
fn a_final_job_says_how_it_ended() {
    let finished = begun(vec![attempt(Some(7), Some(Outcome::Finished))]);
    let case = |state, ledger: &Ledger| Case { state, ledger: ledger.clone(), is_away: true, ..Case::default() };
    let again = "; `slipstream-job jobs retry job/0a` runs it again";
    assert_eq!(case(State::Success, &finished).explained(), ["final Stan: it is SUCCESS"]);
    assert_eq!(case(State::Failed, &finished).explained(), [format!("final Stan: it is FAILED{again}")]);
    let lost = begun(vec![attempt(Some(7), Some(Outcome::Lost))]);
    let text = "final Stan: it is FAILED after its attempt was over";
    assert_eq!(case(State::Failed, &lost).explained(), [format!("{text}{again}")]);
    let text = "final: it is STOPPED, and no attempt was begun";
    assert_eq!(case(State::Stopped, &queued()).explained(), [format!("{text}{again}")]);
    let said = Said { message: Some("\n disk full \nat line 7"), code: Some(3) };
    let told = Case { said, retry: Some("job/0b"), ..case(State::Failed, &finished) };
    let text = "it is FAILED, return code 3: disk full; it was run again as job/0b";
    assert_eq!(told.explained(), [format!("final Stan: {text}")]);
    assert_eq!(told.explained_to(false)[0].text, text, "its owner is told the same");
    assert_eq!(case(State::Failed, &finished).explained_to(false)[0].text, "it is FAILED", "others may not retry");
    let long = "x".repeat(1_000);
    assert_eq!(first_line(&long).map(|line| line.chars().count()), Some(LONGEST_LINE + 1));
}

#[test]
fn a_running_job_says_which_attempt_runs_and_where() {
    let ledger = Ledger { lost: 1, ..begun(vec![attempt(Some(7), None)]) };
    let running = |claim| Case { state: State::Running, claim, ledger: ledger.clone(), ..Case::default() }.explained();
    let text = "it runs, attempt 2 of at most 5, and was last written to at 1970-01-01T00:00:00Z";
    assert_eq!(running(held(7, "Kenny")), [format!("running Stan: {text}")]);
    assert_eq!(running(Claim::Somebody(None)), [format!("running Stan: {text}")], "whose it is may not be read");
    let text = "its attempt was lost, and another one is about to begin";
    assert_eq!(running(held(8, "Kenny")), [format!("taken-again Kenny: {text}")]);
    assert_eq!(running(held(8, "Kyle")), [format!("taken-again foreign claimant of Kyle: {text}")]);
    let lost = "it was begun, attempt 2 of at most 5, and nobody holds it any more: the next free slot takes it";
    let next = "it is taken by one of the next free slots; no entry is before it";
    assert_eq!(running(Claim::Nobody), [format!("lost Stan: {lost}"), format!("next: {next}")]);
}

#[test]
fn a_job_that_runs_without_leases_is_not_taken_for_lost() {
    let ledger = begun(vec![attempt(None, None)]);
    let case = Case { state: State::Running, claim: held(8, "Kenny"), ledger, ..Case::default() };
    assert_eq!(case.explained_to(true)[0].code, Code::Running);
}

#[test]
fn without_the_coordinator_nothing_else_is_known() {
    let away = |state| Case { state, is_away: true, ..Case::default() }.explained();
    assert_eq!(
        away(State::Queued),
        ["!coordinator-away: the coordinator cannot be reached, nobody takes it meanwhile"]
    );
    assert_eq!(
        away(State::Running),
        ["coordinator-away: the coordinator cannot be reached, whether it still runs is not known"]
    );
    assert_eq!(Case { is_away: true, ..Case::default() }.explained_to(false)[0].since, Some(NOW), "since when");
}

#[test]
fn a_job_whose_entry_is_missing_claimed_or_refused_says_so() {
    let ledger = Ledger::default();
    assert_eq!(
        Case { ledger: ledger.clone(), ..Case::default() }.explained(),
        ["!entry-missing: it has no entry in the queue yet, the reconciler will put one within a minute"]
    );
    assert_eq!(
        Case { claim: held(7, "Kenny"), ..Case::default() }.explained(),
        ["claimed Kenny: it is claimed and about to begin"]
    );
    assert_eq!(
        Case { claim: Claim::WithoutSession, ..Case::default() }.explained(),
        ["!claim-without-session: its claim has no session, so that nobody ends it: delete the node \
          /job/taken/entry-999-0000000007"]
    );
    let refused = Case { refused: Some("not allowed"), ..Case::default() }.explained();
    assert_eq!(refused[0], "!refused: not allowed", "what blocks leads");
    assert_eq!(refused.len(), 2);
}

#[test]
fn a_waiting_job_says_who_could_take_it() {
    let with = |executors: Vec<Executor>| Case { executors, ..Case::default() };
    let unable = || executor("Stan", &["other"]);
    let full = || Executor { busy: Some(2), ..executor("Butters", &["other"]) };
    let nobody = "no registered executor has the action noop";
    let what = ": start one that has it, `slipstream-job actions` lists what there is";
    assert_eq!(
        with(vec![unable(), full()]).explained(),
        [format!("!no-executor: {nobody}{what}; without it: Stan, Butters (all slots busy)")]
    );
    let many = (0..30).map(|number| executor(&number.to_string(), &["other"])).collect();
    assert!(with(many).explained()[0].ends_with(", 19, 10 more"), "a bound");
    assert_eq!(with(vec![unable()]).explained_to(false)[0].text, format!("{nobody}{what}"), "others see no names");
    assert_eq!(
        Case { has_foreign: true, ..with(vec![]) }.explained(),
        [format!("!no-executor: {nobody}; one that does not register may have it{what}")]
    );
    let drained = || draining(executor("Kyle", &["noop"]));
    assert_eq!(
        with(vec![unable(), drained()]).explained(),
        ["!executors-draining: each executor that has the action noop is draining"]
    );
    let busy = || Executor { busy: Some(2), ..executor("Kenny", &["noop"]) };
    assert_eq!(
        Case { before: 1, ..with(vec![busy(), drained(), unable()]) }.explained(),
        ["!busy: all slots for it are busy, 2 of 2; 1 entry is before it"],
        "those that are draining do not count"
    );
    assert_eq!(
        Case { before: 12, ..with(vec![busy(), executor("Kyle", &["noop"])]) }.explained(),
        ["next: it is taken by one of the next free slots; 12 entries are before it"]
    );
    let unknown = Executor { busy: None, ..busy() };
    assert_eq!(with(vec![unknown]).explained_to(true)[0].code, Code::Next, "too many claims to count them");
}

#[test]
fn a_job_that_is_passed_over_says_by_whom() {
    for passed in [passed_over(ENTRY, None), passed_over("/job/entries/x", Some("job/0a"))] {
        let one = passing(executor("Kenny", &["noop"]), passed);
        let alone = Case { executors: vec![one.clone()], ..Case::default() };
        assert_eq!(alone.explained(), ["!released Kenny: because"], "nobody else could take it");
        let both = Case { executors: vec![one, executor("Kyle", &["noop"])], ..Case::default() };
        let next = "next: it is taken by one of the next free slots; no entry is before it";
        assert_eq!(both.explained(), ["released Kenny: because", next]);
    }
    let other = passing(executor("Kenny", &["noop"]), passed_over("/job/entries/x", Some("job/0b")));
    assert_eq!(Case { executors: vec![other], ..Case::default() }.explained_to(true)[0].code, Code::Next);
    let ledger = begun(vec![attempt(Some(6), Some(Outcome::Released)), attempt(Some(7), Some(Outcome::Released))]);
    let given_back = Case { ledger, ..Case::default() }.explained();
    assert_eq!(given_back[0], "released Stan: it was given back 2 times");
}

#[test]
fn who_passed_over_it_says_nothing_any_more_once_it_is_held_or_the_time_has_come() {
    let passed = passed_over(ENTRY, Some("job/0a"));
    let executors = |passed: &PassedOver| vec![passing(executor("Kenny", &["noop"]), passed.clone())];
    for state in [State::Queued, State::Running, State::Stopping] {
        let case = Case { state, claim: held(7, "Kyle"), executors: executors(&passed), ..Case::default() };
        assert!(case.explained_to(true).iter().all(|reason| reason.code != Code::Released), "{state}");
    }
    for until in [NOW, NOW - SignedDuration::from_secs(1)] {
        let past = PassedOver { until, ..passed.clone() };
        let case = Case { executors: executors(&past), ..Case::default() };
        assert_eq!(case.explained_to(true)[0].code, Code::Next, "{until}");
    }
}

#[test]
fn only_administrators_are_told_of_executors_and_nodes() {
    let passed = passing(executor("Kenny", &["noop"]), passed_over(ENTRY, None));
    let cases = [
        Case { executors: vec![passed], refused: Some("not allowed: /job/taken"), ..Case::default() },
        Case { claim: Claim::WithoutSession, ..Case::default() },
        Case { claim: held(7, "Kenny"), ..Case::default() },
        Case { state: State::Running, ledger: begun(vec![attempt(Some(7), None)]), ..Case::default() },
        Case {
            state: State::Failed,
            ledger: begun(vec![attempt(Some(7), Some(Outcome::Finished))]),
            ..Case::default()
        },
    ];
    for case in cases {
        let (told, all) = (case.explained_to(false), case.explained_to(true));
        let codes = |reasons: &[Reason]| reasons.iter().map(|reason| reason.code).collect::<Vec<_>>();
        assert_eq!(codes(&told), codes(&all), "the same reasons");
        let text = serde_json::to_string(&told).unwrap();
        for secret in ["Kenny", "Stan", "because", "/job/taken"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn reasons_lead_administrators_to_where_more_is_said() {
    let rows = [
        (Code::Final, Some("job/0a/ledger")),
        (Code::NoExecutor, Some("executor")),
        (Code::Next, Some("queue")),
        (Code::CoordinatorAway, Some("doctor")),
        (Code::Other, None),
    ];
    for (code, expected) in rows {
        assert_eq!(place_of(code, "job/0a").as_deref(), expected, "{code:?}");
    }
    let ledger = Ledger::default();
    let facts = |sees_all| Facts {
        id: "job/0a",
        action: "dance",
        state: State::Queued,
        updated: NOW,
        ledger: &ledger,
        max_attempts: 5,
        refused: None,
        said: Said::default(),
        retry: None,
        queue: None,
        away: None,
        sees_all,
        now: NOW,
    };
    let hrefs = |sees_all| explain(&facts(sees_all)).into_iter().map(|reason| reason.href).collect::<Vec<_>>();
    assert_eq!(hrefs(true), [Some("doctor".to_owned())]);
    assert_eq!(hrefs(false), [None], "others are not led to what they may not see");
}
