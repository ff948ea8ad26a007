//! `cargo xtask faults`: real processes and real faults, for as many seeds as wanted; writes `docs/faults.md`.

use anyhow::{Context, bail};

use crate::bench::{commit, machine};
use crate::commands::{cargo, root, run as succeed, target};
use crate::python;
use crate::zookeeper;

const USAGE: &str = "cargo xtask faults [--seeds N] [--first N]";
/// The default number of seeds.
const SEEDS: u64 = 160;
/// The page to write.
const PAGE: &str = "docs/faults.md";

/// Above the table.
const ABOVE: &str = "\
# Faults

How the engine behaves while real processes are killed, paused and cut off, actions block their threads, logs are not read, \
clocks are wrong, and other programs write into its queue. Each seed is one site on one machine: a ZooKeeper ensemble, a \
server on SQLite, three executors with six slots each, and two candidates for one distributor. Each is a process of its own, \
and reaches ZooKeeper and the API through proxies of its own. Jobs are added throughout, the distributor has a round every \
second, and one fault is injected. The session timeout is two seconds. Server and ZooKeeper are away together for 45 \
seconds, and slots are blocked for 25, both many times the session timeout. This page is written by `cargo xtask faults`.
";

/// Below the table.
const BELOW: &str = "\
**Injected**: processes killed or paused, ensembles wiped, connections reset, chunks of data lost or delayed, slots blocked \
at the same time, logs without room for the next line, entries lost, made unreadable or put again, and servers with another \
store. **Lost**: jobs whose add was answered 201 and that did not become SUCCESS. **Extra attempts**: those after a job's \
first. For each of them, either ZooKeeper itself showed that the session of the previous attempt had ended, and the fault \
was one that can end it; or the previous attempt released the job, because its executor was asked to stop, or because server \
and ZooKeeper were both away for longer than a session. **Late writes refused**: by 409 `late-lease`, because a later claim \
had the job. **Worst recovery**: the longest time from the end of a fault until the next job ended, from the end of a fault \
until the first attempt of a job that was waiting then, or from the beginning of a fault until the next attempt of a job \
that lost its attempt to it.

Also checked for each seed: each job was ended by exactly one attempt, its last, whose action ran to its end and whose \
result is in the document; no action ran more often than there are attempts; no distributor added anything after another one \
was elected; no round was missed or duplicated; nothing was left in the queue. A server with another store exited and said \
why. Whatever should go on while logs or entries cannot be read did go on. A seed that breaks a promise fails the command: \
`FAULTS_SEED=n cargo test --release --test faults every_promise` runs it once more. A seed always injects the same fault, \
but only at roughly the same moment, because the processes are real.
";

/// Above the table of leader changes.
const LEADERS: &str = "\
## Leaders of a distributor

Three candidates, a session timeout of two seconds, a round every second; the leader is made to leave 20 times. How long it \
took until another candidate reported that it leads:
";

/// What the test of an ensemble without a quorum asserts.
const QUORUM: &str = "\
## A minute without quorum

Two of three members are paused for 60 seconds, then killed for 60 seconds and started again. The session timeout is two \
seconds, and four jobs run throughout. Their progress is written, none is cancelled, each ends in its first attempt, and a \
job added meanwhile is done afterwards.
";

/// The tests to run.
const TESTS: [&str; 3] =
    ["every_promise_holds_whatever_fails", "the_schedule_survives_leader_changes", "a_minute_without_quorum"];

/// Runs the seeds; the page is written when all promises hold.
pub fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let (mut seeds, mut first) = (SEEDS, 0);
    for pair in arguments.chunks(2) {
        let [flag, number] = pair else { bail!(USAGE) };
        let number: u64 = number.parse().with_context(|| format!("{flag} takes a whole number"))?;
        match flag.as_str() {
            "--seeds" => seeds = number,
            "--first" => first = number,
            _ => bail!(USAGE),
        }
    }
    zookeeper::set_up()?;
    let root = root()?;
    let python = python::set_up(&root)?;
    let commit = commit(&root)?;
    let folder = target(&root).join("faults");
    std::fs::create_dir_all(&folder).context("the folder for what the tests say")?;
    let mut command = cargo(&root);
    command.args(["test", "--release", "--locked", "--package", "slipstream-job-engine", "--test", "faults"]);
    command.args(["--", "--nocapture"]).args(TESTS);
    command.env("FAULTS_SEEDS", seeds.to_string()).env("FAULTS_FIRST", first.to_string());
    command.env("FAULTS_FOLDER", &folder).env("FAULTS_QUORUM_SECONDS", "60");
    command.env("FAULTS_AT_LENGTH", "1").env(python::VARIABLE, python);
    succeed(command.env_remove("FAULTS_SEED"))?;
    let said =
        |name: &str| std::fs::read_to_string(folder.join(name)).with_context(|| format!("the tests wrote no {name}"));
    let (seeds_table, leaders) = (said("seeds.md")?, said("leaders.md")?);
    let last = first + seeds.saturating_sub(1);
    let head = format!(
        "```text\ncommand      cargo xtask faults --seeds {seeds} --first {first}\ncommit       {commit}\n\
         machine      {}\nseeds        {first} to {last}\n```\n",
        machine()?
    );
    let page = format!("{ABOVE}\n{head}\n{seeds_table}\n{BELOW}\n{LEADERS}\n{leaders}\n{QUORUM}");
    std::fs::write(root.join(PAGE), page).context(PAGE)?;
    println!("written      {PAGE}");
    Ok(true)
}
