//! `kill -9` of executors, keepers and programs at random moments, one at a time: nothing is lost, every attempt beyond the
//! first is explained by a kill, and nothing of what was killed is left after two seconds.
//!
//! `KILLS_SEED=n` takes another seed, `KILLS_ROUNDS=n` has so many rounds, however long they take.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use futures_util::FutureExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use slipstream_action::{Catalogue, Failure, JobHandle, Success, host};
use slipstream_cimi::Client;
use slipstream_cimi::overview::ledger::Ledger;
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::server::DEFAULT_MAX_ATTEMPTS;
use tokio::time::{Instant, sleep_until};

use super::explain::{Kill, Offerer, Story, Victim};
use super::support::{Found, Place};
use crate::services::support::Service;
use crate::support::{document, eventually, state};

/// Rounds unless `KILLS_ROUNDS` says otherwise: on a busy machine fewer, but each kind of kill once.
const ROUNDS: usize = 30;
const FEWEST: usize = KINDS * 2;
const LONG_ENOUGH: Duration = Duration::from_secs(45);
/// Kinds of kills, of which an executor's is as frequent as those of all keepers together.
const KINDS: usize = 9;
/// Jobs that are not final, at most.
const UNDER_WAY: usize = 14;
const EXECUTORS: [&str; 2] = ["one", "two"];
/// Jobs at once of each.
const THREADS: usize = 3;
/// All that descends from what was killed has to be gone by then.
const ORPHANS_LIVE: Duration = Duration::from_secs(2);
/// Says to a process of this very binary that it is to be a host.
const HOST: &str = "KILLS_HOST";
/// The test that is the host when that is set.
const TEST: &str = "programs::kills::this_binary_is_a_host_when_it_is_told_so";

/// Actions, and whose they are. Each takes as long as its target says, `wait/<milliseconds>`, and has a child in a session of its own.
const ACTIONS: [(&str, Option<Offerer>); 4] = [
    ("noop", None),
    ("kept_command", Some(Offerer::Command)),
    ("kept_host", Some(Offerer::RustHost)),
    ("kept_class", Some(Offerer::ClassFile)),
];

const COMMAND: &str = r#"#!/bin/sh
echo "$SLIPSTREAM_JOB $$" >> HERE/begun
setsid sh -c 'trap "" TERM; (sleep 1000 &); sleep 1001; :' &
sleep "$(printf '0.%03d' "${SLIPSTREAM_TARGET#wait/}")"
echo done
"#;

const CLASS_FILE: &str = r"
import os, subprocess, time
from ..actions import action

@action('kept_class')
class Kept(object):
    def __init__(self, executor, job):
        self.job = job

    def do_work(self):
        with open('HERE/begun', 'a') as begun:
            begun.write('%s %d\n' % (self.job.id, os.getpid()))
        child = subprocess.Popen(['setsid', 'sleep', '1002'])
        self.job.set_progress(50)
        time.sleep(int(self.job['targetResource']['href'][5:]) / 1000.0)
        child.kill()
        child.wait()
        return 0
";

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable);
    text.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_is_left_whatever_is_killed() {
    let seed = number("KILLS_SEED", 0);
    let rounds = usize::try_from(number("KILLS_ROUNDS", 0)).expect("few");
    let mut world = World::new(seed).await;
    let (fewest, most) = if rounds > 0 { (rounds, rounds) } else { (FEWEST, ROUNDS) };
    let result = AssertUnwindSafe(world.run(fewest, most)).catch_unwind().await;
    if result.is_err() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kills-{seed}.txt"));
        fs::write(&path, world.logs()).expect("the folder for temporary files can be written to");
        panic!("KILLS_SEED={seed} begins as this did; logs are in {}, kills: {:#?}", path.display(), world.kills);
    }
}

struct World {
    place: Place,
    client: Client,
    executors: BTreeMap<&'static str, Service>,
    chance: StdRng,
    jobs: BTreeMap<String, Option<Offerer>>,
    under_way: BTreeSet<String>,
    kills: Vec<Kill>,
    /// Of executors that were killed.
    said: Vec<String>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let place = Place::new().await;
        place.action("kept_command", COMMAND);
        place.action("kept.py", CLASS_FILE);
        let this = std::env::current_exe().expect("this binary has a path");
        let starts = format!("#!/bin/sh\nexec '{}' --exact {TEST} --nocapture\n", this.display());
        place.action("kept_host.sh", &starts);
        place.action(
            "host.toml",
            &format!("[[host]]\ncommand = [\"./kept_host.sh\"]\nenv = {{ {HOST} = \"HERE/begun\" }}\n"),
        );
        let client = place.site.client();
        let mut executors = BTreeMap::new();
        for name in EXECUTORS {
            executors.insert(name, place.executor(name, THREADS).await);
        }
        let chance = StdRng::seed_from_u64(seed);
        let (jobs, under_way, kills, said) = Default::default();
        Self { place, client, executors, chance, jobs, under_way, kills, said }
    }

    async fn run(&mut self, fewest: usize, most: usize) {
        let begun = Instant::now();
        for victim in self.plan(most) {
            if self.kills.len() >= fewest && begun.elapsed() > LONG_ENOUGH {
                break;
            }
            self.add_jobs().await;
            self.random_pause().await;
            self.inject(victim).await;
        }
        eventually("all jobs are final", async || {
            self.look_what_is_final().await;
            self.under_way.is_empty().then_some(())
        })
        .await;
        self.judge().await;
        for service in self.executors.values_mut() {
            service.stop().await;
        }
        self.place.expect_nothing_left(&EXECUTORS);
    }

    /// All kinds, and again all kinds, each time in an order that the seed decides.
    fn plan(&mut self, rounds: usize) -> Vec<Victim> {
        let offerers = [Offerer::Command, Offerer::RustHost, Offerer::ClassFile];
        let kinds = offerers.into_iter().flat_map(|of| [Victim::Executor, Victim::Keeper(of), Victim::Program(of)]);
        let mut plan: Vec<Victim> = kinds.cycle().take(rounds).collect();
        plan.chunks_mut(KINDS).for_each(|kinds| kinds.shuffle(&mut self.chance));
        plan
    }

    async fn add_jobs(&mut self) {
        self.look_what_is_final().await;
        for _ in self.under_way.len()..UNDER_WAY {
            let (action, offerer) = ACTIONS[self.jobs.len() % ACTIONS.len()];
            let milliseconds = self.chance.random_range(0..800);
            let job = json!({"action": action, "targetResource": {"href": format!("wait/{milliseconds}")}});
            let id = self.client.add("job", &document(job), None).await.expect("added");
            self.under_way.insert(id.clone());
            self.jobs.insert(id, offerer);
        }
    }

    async fn look_what_is_final(&mut self) {
        let mut left = BTreeSet::new();
        for id in &self.under_way {
            let document = self.client.get(id).await.expect("it is there");
            if ["QUEUED", "RUNNING"].contains(&state(&document)) {
                left.insert(id.clone());
            }
        }
        self.under_way = left;
    }

    async fn random_pause(&mut self) {
        let pause = Duration::from_millis(self.chance.random_range(0..400));
        sleep_until(Instant::now() + pause).await;
    }

    async fn inject(&mut self, victim: Victim) {
        match victim {
            Victim::Executor => self.kill_executor().await,
            Victim::Keeper(whose) | Victim::Program(whose) => self.kill_below(victim, whose).await,
        }
    }

    async fn kill_executor(&mut self) {
        let name = *EXECUTORS.choose(&mut self.chance).expect("there are some");
        let service = self.executors.remove(name).expect("it runs");
        self.said.extend(service.said());
        let from = Clock::system().now();
        service.kill();
        let (victim, executor, until) = (Victim::Executor, name.to_owned(), Clock::system().now());
        self.kills.push(Kill { victim, executor, from, until, program: None, job: None });
        expect_gone(&self.place.work(name)).await;
        self.executors.insert(name, self.place.executor(name, THREADS).await);
    }

    async fn kill_below(&mut self, victim: Victim, whose: Offerer) {
        let (name, keeper, program, from) = loop {
            self.add_jobs().await;
            let found = self.find(whose).choose(&mut self.chance).cloned();
            let Some((name, keeper)) = found else { continue };
            let program = keeper.program(&self.place.work(name));
            let target = if victim == Victim::Keeper(whose) { Some(&keeper) } else { program.as_ref() };
            let from = Clock::system().now();
            if target.is_some_and(Found::kill) {
                break (name, keeper, program, from);
            }
        };
        self.kills.push(Kill {
            victim,
            executor: name.to_owned(),
            from,
            until: Clock::system().now(),
            program: program.map(|program| program.pid),
            job: keeper.variable("SLIPSTREAM_JOB").map(str::to_owned),
        });
        expect_gone(&keeper.directory()).await;
    }

    /// Keepers of such programs, with the names of their executors.
    fn find(&self, whose: Offerer) -> Vec<(&'static str, Found)> {
        let part = match whose {
            Offerer::Command => "/kept_command ",
            Offerer::RustHost => "/kept_host.sh ",
            Offerer::ClassFile => " slipstream_host ",
        };
        let all = self.executors.iter().flat_map(|(name, service)| {
            let keepers = Found::keepers_of(service, &self.place.work(name));
            keepers.into_iter().map(|keeper| (*name, keeper))
        });
        all.filter(|(_, keeper)| keeper.arguments.contains(part)).collect()
    }

    async fn judge(&self) {
        let begun = fs::read_to_string(self.place.path("begun")).expect("jobs have begun");
        let mut wrong = Vec::new();
        let mut succeeded: BTreeMap<Option<Offerer>, usize> = BTreeMap::new();
        for (id, offerer) in &self.jobs {
            let story = self.story(id, *offerer, &begun).await;
            let unexplained = story.unexplained(&self.kills, DEFAULT_MAX_ATTEMPTS as usize);
            wrong.extend(unexplained.into_iter().map(|what| format!("{id} ({offerer:?}): {what}")));
            *succeeded.entry(*offerer).or_default() += usize::from(story.state == "SUCCESS");
        }
        assert_eq!(wrong, Vec::<String>::new(), "not explained by a kill");
        let injected: BTreeSet<Victim> = self.kills.iter().map(|kill| kill.victim).collect();
        assert_eq!(injected.len(), KINDS - 2, "each kind was injected, that of executors more often: {injected:?}");
        let done: usize = succeeded.values().sum();
        let each = ACTIONS
            .iter()
            .all(|(_, offerer)| succeeded.get(offerer).is_some_and(|&count| count * 3 >= self.kills.len()));
        assert!(each && 2 * done > self.jobs.len(), "of {} jobs too few succeeded: {succeeded:?}", self.jobs.len());
    }

    async fn story(&self, id: &str, offerer: Option<Offerer>, begun: &str) -> Story {
        let document = self.client.get(id).await.expect("nothing is lost");
        let ledger = self.client.operation(id, "ledger").await.expect("read");
        let ledger: Ledger = serde_json::from_value(Value::Object(ledger)).expect("a ledger");
        let pids = begun.lines().filter_map(|line| line.strip_prefix(id)?.trim().parse().ok());
        Story {
            id: id.to_owned(),
            offerer,
            state: state(&document).to_owned(),
            message: document.get("statusMessage").and_then(Value::as_str).unwrap_or_default().to_owned(),
            attempts: ledger.attempts,
            began_in: pids.collect(),
        }
    }

    fn logs(&self) -> String {
        let said = self.executors.values().flat_map(Service::said);
        self.said.iter().cloned().chain(said).collect::<Vec<_>>().join("\n")
    }
}

/// Nothing is left that has its directory there.
async fn expect_gone(folder: &Path) {
    let begun = Instant::now();
    let mut pause = tokio::time::interval(Duration::from_millis(5));
    loop {
        let left = Found::all_with(folder);
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < ORPHANS_LIVE, "orphans: {left:#?}");
        pause.tick().await;
    }
}

async fn keep(job: JobHandle) -> Result<Success, Failure> {
    let records = PathBuf::from(std::env::var_os(HOST).expect("it is set"));
    let line = format!("{} {}\n", job.job().id, std::process::id());
    let mut begun = fs::File::options().append(true).create(true).open(records).expect("opened");
    std::io::Write::write_all(&mut begun, line.as_bytes()).expect("written");
    let mut child = Command::new("setsid").args(["sleep", "1003"]).spawn().expect("started");
    job.set_progress(50);
    let target = job.job().target_resource.clone().expect("it has one").href;
    let milliseconds = target.strip_prefix("wait/").expect("it says how long").parse().expect("a number");
    sleep_until(Instant::now() + Duration::from_millis(milliseconds)).await;
    child.kill().expect("killed");
    child.wait().expect("ended");
    Ok(Success::default())
}

#[test]
fn this_binary_is_a_host_when_it_is_told_so() {
    if std::env::var_os(HOST).is_some() {
        assert_eq!(host::run(Catalogue::new().with("kept_host", keep)), ExitCode::SUCCESS);
        return;
    }
    let this = std::env::current_exe().expect("this binary has a path");
    let mut command = Command::new(this);
    command.args(["--exact", TEST, "--nocapture"]).env(HOST, "").stdin(Stdio::null());
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("kept_host"), "started by hand it says how to try it: {said}");
}
