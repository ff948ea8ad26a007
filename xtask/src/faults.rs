//! `cargo xtask faults`: real processes and real faults, for as many seeds as wanted; writes `docs/faults.md`.

use anyhow::{Context, bail};

use crate::bench::{commit, machine};
use crate::commands::{cargo, root, run as succeed, target};
use crate::python;
use crate::zookeeper;

const USAGE: &str = "cargo xtask faults [--seeds N] [--first N]";
/// Seeds unless somebody says otherwise.
const SEEDS: u64 = 160;
/// The page that is written.
const PAGE: &str = "docs/faults.md";

/// Above the table.
const ABOVE: &str = "\
# Faults

What the engine does while real processes are killed, paused and cut off, threads do not yield, logs are not read, clocks are \
wrong and others write into its queue. Each seed has a site on one machine: a ZooKeeper ensemble, a server on SQLite, three \
executors of six slots each and two candidates for one distributor, each a process of its own, each behind proxies of its own to \
ZooKeeper and to the API. Jobs are added all the while, the distributor has a round every second, and one fault happens. \
Sessions last two seconds without being heard of. Server and ZooKeeper are away together for 45 seconds, and slots are blocked \
for 25: many sessions. This page is written by `cargo xtask faults`.
";

/// Below the table.
const BELOW: &str = "\
**Injected**: processes killed or paused, ensembles wiped, connections reset, chunks of data that were lost or late, slots blocked \
at the same time, logs without room for the next line, entries that were lost, that could not be read or that were put again, \
and servers with another store. \
**Lost**: jobs whose add was answered 201 and that did not become SUCCESS. **Extra attempts**: those after a job's first; \
for each of them ZooKeeper itself showed that the session of the one before had ended, and the fault was one that may end \
it; or the attempt gave the job back, because its executor was asked to stop, or server and ZooKeeper were both away for \
longer than a session. **Late writes refused**: by 409 `late-lease`, as a later claim had the job. **Worst recovery**: the longest of all \
times from the end of a fault to the next end of a job, from the end of a fault to the first attempt of a job that waited \
then, and from the beginning of a fault to the next attempt of a job that lost its attempt by it.

Besides, for each seed: each job was ended by one attempt, the last one, whose action ran to its end and whose word is in \
the document; no action was run more often than there are attempts; no distributor added anything after another one was \
elected; no round was missed and none doubled; nothing was left in the queue. A server with another store ended and said why. \
What goes on while logs or entries cannot be read was seen to go on. A seed that breaks a promise fails \
the command: `FAULTS_SEED=n cargo test --release --test faults every_promise` runs it once more. The fault is the same each \
time, its moment only roughly: processes are real.
";

/// Above what the leaders' changes came to.
const LEADERS: &str = "\
## Leaders of a distributor

Three candidates, sessions of two seconds, a round every second; the leader is made to go 20 times. How long it took until \
another one said that it leads:
";

/// What the test of an ensemble without a quorum asserts.
const QUORUM: &str = "\
## A minute without quorum

Two of three members are paused for 60 seconds, and then killed for 60 seconds and started again; sessions last two seconds, \
and four jobs run all the while. Their progress is written, none is cancelled, each ends by its first attempt, and a job that \
is added meanwhile is done afterwards.
";

/// What is run.
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
