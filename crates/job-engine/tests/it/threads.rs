//! `threads` of actions that are stuck in every way that there is.

use std::collections::BTreeMap;
use std::hint::spin_loop;
use std::io::Write as _;
use std::panic::catch_unwind;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rustix::process::getppid;
use slipstream_action::{Catalogue, Failure, JobHandle, Success};
use slipstream_job_engine::internals::executor::{self, ActionRuntime, Options};
use slipstream_job_engine::internals::process::{Activity, Stop, admin};
use tokio::runtime::Builder;

use crate::commands::Ran;
use crate::programs::support::Place;
use crate::services::support::Service;
use crate::support::{InProcess, eventually, job, program};

/// Makes this binary the process that is asked.
const ROLE: &str = "SLIPSTREAM_TEST_STUCK_ACTIONS";
const TEST: &str = "threads::actions_that_are_stuck_in_every_way_are_shown_with_the_function_that_they_are_in";
/// How often it is asked, unless this says otherwise.
const TURNS: usize = 20;
const TURNS_VARIABLE: &str = "THREADS_TURNS";

/// The actions, and what each is in.
const STUCK: [(&str, &str); 6] = [
    ("mutex", "locks_a_mutex"),
    ("spin", "spins_for_ever"),
    ("panic", "panics_again_and_again"),
    ("c", "runs_c_code"),
    ("wait", "waits_for_nobody"),
    ("wait_too", "waits_for_nobody"),
];

static HELD: Mutex<()> = Mutex::new(());
static NEVER: AtomicBool = AtomicBool::new(false);

#[inline(never)]
fn locks_a_mutex() -> MutexGuard<'static, ()> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

#[inline(never)]
fn spins_for_ever() {
    while !NEVER.load(Ordering::Relaxed) {
        spin_loop();
    }
}

#[inline(never)]
fn panics_again_and_again() {
    while !NEVER.load(Ordering::Relaxed) {
        catch_unwind(|| panic!("as the test wants it")).expect_err("it panics");
    }
}

#[inline(never)]
fn runs_c_code() {
    let connection = rusqlite::Connection::open_in_memory().expect("there is memory");
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i < 0";
    connection.query_row(endless, [], |row| row.get::<_, i64>(0)).expect("it does not end");
}

#[inline(never)]
fn waits_for_nobody() {
    let (_held, never) = mpsc::channel::<()>();
    never.recv().expect_err("nobody sends");
}

async fn act(job: JobHandle) -> Result<Success, Failure> {
    match &*job.job().action {
        "mutex" => drop(locks_a_mutex()),
        "spin" => spins_for_ever(),
        "panic" => panics_again_and_again(),
        "c" => runs_c_code(),
        _ => waits_for_nobody(),
    }
    Ok(Success::default())
}

/// An executor whose actions are stuck, and then its runtime, too. Ends with whoever has started it.
fn be_stuck() {
    std::panic::set_hook(Box::new(|_| {}));
    let _held = locks_a_mutex();
    let parent = getppid();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let activity = Activity::new();
    activity.has_role("executor", "stuck");
    let _admin = admin::start(activity.clone()).expect("it listens");
    runtime.block_on(async {
        let engine = InProcess::new().await;
        let mut catalogue = Catalogue::new();
        for (action, _) in STUCK {
            catalogue = catalogue.with(action, act);
            engine.client.add("job", &job(action), None).await.expect("added");
        }
        let options = Options {
            threads: STUCK.len() + 1,
            activity: activity.clone(),
            ..Options::new("stuck", ActionRuntime::start(STUCK.len()).expect("threads"))
        };
        let coordinator = Arc::new(engine.coordinator.clone());
        tokio::spawn(executor::run(options, coordinator, engine.client.clone(), catalogue, Stop::new()));
        let all_run = async || {
            (activity.attempts().iter().filter(|(_, it)| it.thread().is_some()).count() == STUCK.len()).then_some(())
        };
        eventually("all are stuck", all_run).await;
        for _ in 0..2 {
            tokio::spawn(async { waits_for_nobody() });
        }
    });
    writeln!(std::io::stdout(), "all are stuck").expect("somebody reads it");
    while getppid() == parent {
        std::thread::park_timeout(Duration::from_secs(1));
    }
    std::process::exit(0);
}

/// What `threads` says of each thread that has a slot, by the slot's number.
fn stacks(shown: &str) -> BTreeMap<String, Vec<&str>> {
    let mut stacks = BTreeMap::new();
    let mut slot = None;
    for line in shown.lines() {
        if let Some(frame) = line.strip_prefix("    ") {
            if let Some(slot) = &slot {
                stacks.entry(String::clone(slot)).or_insert_with(Vec::new).push(frame);
            }
        } else {
            slot = line
                .strip_prefix("thread ")
                .and_then(|rest| rest.split_once(", slot ")?.1.split_once(':'))
                .map(|(slot, _)| slot.to_owned());
        }
    }
    stacks
}

#[test]
fn actions_that_are_stuck_in_every_way_are_shown_with_the_function_that_they_are_in() {
    if std::env::var_os(ROLE).is_some() {
        return be_stuck();
    }
    let wanted = std::env::var(TURNS_VARIABLE).ok().map(|turns| turns.parse().expect("a number"));
    let turns: usize = wanted.unwrap_or(TURNS);
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.args(["--exact", TEST, "--nocapture"]).env(ROLE, "");
    let mut service = Service::start(command);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(service.says("all are stuck"));
    let process = service.process().to_string();
    let mut found = BTreeMap::<&str, usize>::new();
    for turn in 0..turns {
        let shown = Ran::of(&program().args(["threads", &process]).output().expect("the binary starts")).good();
        let stacks = stacks(&shown);
        for (action, function) in STUCK {
            let row = shown.lines().find(|line| line.starts_with("slot ") && line.contains(&format!("  {action}  ")));
            let row = row.unwrap_or_else(|| panic!("{turn}: no slot of {action} in\n{shown}"));
            let slot = row["slot ".len()..].split(' ').next().expect("a number");
            let stack = stacks.get(slot).unwrap_or_else(|| panic!("{turn}: no thread of {action} in\n{shown}"));
            if stack.iter().any(|frame| frame.contains(function)) {
                *found.entry(action).or_default() += 1;
            }
            let is_other = |(_, other): &(&str, &str)| *other != function && stack.iter().any(|it| it.contains(other));
            assert!(!STUCK.iter().any(is_other), "{turn}: {action} is in {stack:?}");
        }
    }
    // some are found between two rounds of their loop, or are not given a processor in time: how many is a matter of the
    // machine, and is asked for only where it has nothing else to do
    let least = if wanted.is_some() { turns * 9 / 10 } else { 1 };
    let enough = |action| found.get(action).is_some_and(|times| *times >= least);
    assert!(STUCK.iter().all(|(action, _)| enough(action)), "of {turns} turns: {found:?}");
    assert!(service.is_running(), "it came to no harm: {:?}", service.said());
}

/// A class file with an action that sleeps, and one that does not come back from C.
const IN_PYTHON: &str = "\
import time
from ..actions import action

@action('sleeps')
class Sleeps(object):
    def __init__(self, executor, job):
        self.job = job

    def do_work(self):
        time.sleep(600)

@action('runs_c')
class RunsC(Sleeps):
    def do_work(self):
        sum(iter(int, 1))
";

#[tokio::test]
async fn actions_in_python_say_in_which_line_they_are() {
    let place = Place::new().await;
    place.action("stuck.py", IN_PYTHON);
    let kenny = place.executor("Kenny", 2).await;
    for action in ["sleeps", "runs_c"] {
        place.site.run(&["submit", action]).good();
    }
    let process = kenny.process().to_string();
    let lines = ["stuck.py\", line 10 in do_work", "stuck.py\", line 15 in do_work"];
    let are_shown = async || {
        let shown = Ran::of(&program().args(["threads", &process]).output().expect("the binary starts")).good();
        // a program may have begun between the lines about slots and those about programs
        let is_whole = shown.matches("program python3, process ").count() == lines.len();
        (is_whole && lines.iter().all(|line| shown.contains(line))).then_some(shown)
    };
    let shown = eventually("both are shown", are_shown).await;
    for (action, line) in ["sleeps", "runs_c"].into_iter().zip(lines) {
        let row = shown.lines().find(|row| row.contains(&format!("  {action} "))).expect("it has a slot");
        let number = row.rsplit_once(", process ").expect("a program does it").1.split(',').next();
        let head = format!("program {} ", number.expect("a number"));
        let own = shown.split_once(&format!("\n{head}")).expect("it says something itself").1;
        let own = own.lines().skip(1).take_while(|line| line.starts_with("    ")).collect::<Vec<_>>().join("\n");
        assert!(own.contains(line), "{action}:\n{shown}");
    }
    kenny.kill();
}
