//! `cargo xtask test`: the one test command.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, pipe};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow};

use crate::browser;
use crate::commands::{cargo, root, run as succeed};
use crate::debian_root;
use crate::faults;
use crate::node;
use crate::previous;
use crate::prometheus;
use crate::python;
use crate::pythons;
use crate::simulate;
use crate::totals::Totals;
use crate::zookeeper;

/// One profile for build and tests, so that `cargo run --release` finds everything compiled.
const ARGUMENTS: [&str; 4] = ["test", "--workspace", "--release", "--locked"];

/// What asks for everything that there is to run.
const EVERYTHING: &str = "--everything";

/// Seeds of the simulation in such a run.
const SEEDS: u64 = 20_000;

/// Kills in such a run.
const ROUNDS: usize = 200;

/// Jobs in the database of the version before that is changed in such a run.
const MIGRATED: usize = 1_000_000;

/// Jobs that leave nothing behind in such a run.
const JOBS: usize = 10_000;

/// How often every thread of a process is asked for its stack in such a run.
const CAPTURES: usize = 1_000;

/// Sets up, builds, tests; closes with the totals. Answers whether all is well.
pub fn run(arguments: &[String]) -> anyhow::Result<bool> {
    if let [only] = arguments
        && only == EVERYTHING
    {
        return Ok(test_all(&[])? && everything_else()?);
    }
    test_all(arguments)
}

/// What takes too long for each run: more seeds of the simulation, more kills of programs and of what keeps them, more stacks
/// of threads, faults beside the version before, and the faults at their full length, which writes their page.
fn everything_else() -> anyhow::Result<bool> {
    timed("simulation", || simulate::simulate(SEEDS, 0))?;
    timed("kills", || one_of_it("programs::kills", "KILLS_ROUNDS", ROUNDS))?;
    timed("kills while a database is changed", || one_of_it("kill::a_database", "MIGRATED_JOBS", MIGRATED))?;
    timed("many jobs", || one_of_it("programs::many", "MANY_JOBS", JOBS))?;
    timed("stacks", stacks)?;
    timed("beside the version before", previous::run)?;
    timed("threads", || one_of_it("threads::", "THREADS_TURNS", CAPTURES))?;
    timed("faults", || faults::run(&[]))
}

/// Asks threads of every kind where they are.
fn stacks() -> anyhow::Result<()> {
    let mut command = cargo(&root()?);
    command.args(["test", "--release", "--locked", "--package", "slipstream-stacks", "--test", "threads"]);
    command.args(["--", "--nocapture"]).env("STACKS_CAPTURES", CAPTURES.to_string());
    succeed(&mut command)
}

/// Tests of the program, of which a variable says how much they do.
fn one_of_it(filter: &str, variable: &str, count: usize) -> anyhow::Result<()> {
    let mut command = cargo(&root()?);
    command.args(["test", "--release", "--locked", "--package", "slipstream-job-engine", "--test", "it"]);
    succeed(command.args([filter, "--", "--nocapture"]).env(variable, count.to_string()))
}

fn test_all(arguments: &[String]) -> anyhow::Result<bool> {
    let root = root()?;
    // what is fetched and unpacked leaves the processors to the compiler
    let (installed, build) = thread::scope(|scope| {
        let build = scope.spawn(|| timed("build", || succeed(cargo(&root).args(ARGUMENTS).arg("--no-run"))));
        (set_up(&root), build.join())
    });
    let build = build.map_err(|_| anyhow!("the build panicked"))?;
    let Installed { python, pythons, debian } = installed?;
    let refusal = debian_root::refusal(&debian);
    let totals = match build {
        Ok(()) => {
            let mut variables: Vec<(&str, OsString)> = vec![
                (python::VARIABLE, python.into()),
                (pythons::VARIABLE, pythons.into()),
                (debian_root::VARIABLE, debian.into()),
            ];
            variables.extend(refusal.iter().map(|reason| (debian_root::REFUSED, reason.into())));
            timed("tests", || test(&root, variables, arguments))?
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            Totals::default().close(false)
        }
    };
    println!("{}", totals.with_remark(refusal.as_deref()));
    Ok(totals.failed == 0)
}

/// What was set up for the tests, by its folder or its program.
struct Installed {
    python: PathBuf,
    pythons: PathBuf,
    debian: PathBuf,
}

fn set_up(root: &Path) -> anyhow::Result<Installed> {
    timed("ZooKeeper set-up", zookeeper::set_up)?;
    timed("Node.js set-up", node::set_up)?;
    timed("browser set-up", browser::set_up)?;
    timed("Prometheus set-up", prometheus::set_up)?;
    Ok(Installed {
        python: timed("Python set-up", || python::set_up(root))?,
        pythons: timed("Pythons of the Python host", || pythons::set_up(root))?,
        debian: timed("Debian set-up", || debian_root::set_up(root))?,
    })
}

/// Runs every test, its output passed on as it comes. The variables name what has been set up.
fn test(root: &Path, variables: Vec<(&str, OsString)>, arguments: &[String]) -> anyhow::Result<Totals> {
    // One pipe for both, so that what was printed stays in its order.
    let (output, input) = pipe().context("cannot make a pipe")?;
    let mut command = cargo(root);
    command.args(ARGUMENTS).arg("--no-fail-fast").args(arguments).envs(variables);
    command.stdout(input.try_clone().context("cannot share a pipe")?).stderr(input);
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command.spawn().context("cannot start cargo")?;
    // Holds the pipe open as long as it lives.
    drop(command);
    let mut totals = Totals::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what cargo prints")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        totals.add(&line);
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok(totals.close(status.success()))
}

/// Does a phase and says how long it took.
fn timed<T>(phase: &str, work: impl FnOnce() -> T) -> T {
    println!("== {phase}");
    let start = Instant::now();
    let outcome = work();
    println!("== {phase}: {:.1} s", start.elapsed().as_secs_f64());
    outcome
}
