//! `cargo xtask bench idle`: what an `up` that nobody uses costs, and how soon it answers.
//! `cargo xtask bench query`: how long searches take in a store with very many jobs.
//! `cargo xtask bench embedded`: what an engine in one process does in a second, and what that costs.
//! `cargo xtask bench hosts`: what actions cost that are programs, and how soon they start and end.
//! `cargo xtask bench zookeeper`: what a site over a real `ZooKeeper` does in a second, and what that costs.
//! `cargo xtask bench dashboard`: what the dashboard costs over a store with very many jobs, and how soon its pages are there.
//! `cargo xtask bench peers`: other job engines beside this one, in turns.
//! `cargo xtask bench filter`: how long a filter takes to be parsed and to be held against a document.
//!
//! Linux only: the figures come from `/proc`. The ratio is to the same program doing nothing (`--version`), started in
//! the same run.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::commands;

/// Starts with an empty data directory whose time to the first answer is taken.
const STARTS: usize = 21;
/// Between the start and the measurement of an idle process: long enough for what happens once.
const SETTLING: Duration = Duration::from_secs(15);
/// How long an idle process is watched unless told otherwise.
const WATCHED: Duration = Duration::from_mins(1);
/// Clock ticks per second in `/proc/<pid>/stat` (proc(5); fixed on every Linux that Rust supports).
const TICKS: f64 = 100.0;

/// Jobs in the store that is searched unless told otherwise.
const JOBS: &str = "1000000";
/// The package of the program itself.
const ENGINE: &str = "slipstream-job-engine";
const USAGE: &str = "\
cargo xtask bench idle [--seconds N] | query [--jobs N] | filter
cargo xtask bench embedded [--help | OPTIONS] | hosts [--help | OPTIONS] | zookeeper [--help | OPTIONS]
cargo xtask bench dashboard [--help | OPTIONS] | peers [--help | OPTIONS] | compare A.json B.json";

/// Runs a benchmark by its name.
pub fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let watched = match arguments {
        [name] if name == "idle" => WATCHED,
        [name, flag, seconds] if name == "idle" && flag == "--seconds" => {
            Duration::from_secs(seconds.parse().context("--seconds takes a whole number")?)
        }
        [name] if name == "query" => return query(JOBS),
        [name, flag, jobs] if name == "query" && flag == "--jobs" => return query(jobs),
        [name, options @ ..] if name == "embedded" => return engine(name, options, &[]),
        [name, options @ ..] if name == "hosts" => {
            // its keepers
            build_engine(&commands::root()?)?;
            return engine(name, options, &[]);
        }
        [name, options @ ..] if name == "zookeeper" => {
            crate::zookeeper::set_up()?;
            return engine(name, options, &[]);
        }
        [name, options @ ..] if name == "dashboard" => {
            let root = commands::root()?;
            crate::browser::set_up()?;
            let python = crate::python::set_up(&root)?.display().to_string();
            return engine(name, options, &["--python".to_owned(), python]);
        }
        [name, options @ ..] if name == "peers" => {
            let found = crate::peers::set_up(&commands::root()?, options);
            return engine(name, options, &found);
        }
        [name, before, after] if name == "compare" => {
            return benchmark("embedded", &["compare", before, after]);
        }
        [name] if name == "filter" => return filter(),
        _ => bail!(USAGE),
    };
    let root = commands::root()?;
    build_engine(&root)?;
    let program = commands::target(&root).join("packaged/slipstream-job");
    idle(&program, watched)?;
    Ok(true)
}

/// Builds the program itself.
fn build_engine(root: &Path) -> anyhow::Result<()> {
    commands::run(commands::cargo(root).args(["build", "--profile", "packaged", "--locked", "--package", ENGINE]))
}

/// Fails if an answer takes longer than is promised.
fn query(jobs: &str) -> anyhow::Result<bool> {
    let jobs: u64 = jobs.parse().context("--jobs takes a whole number")?;
    println!("command      cargo xtask bench query --jobs {jobs}");
    println!("machine      {}", machine()?);
    benchmark("query", &[&jobs.to_string()])
}

/// Fails only if something does not work: whether a promise is kept is printed. `found` are options that nobody gave: what
/// was set up, and where.
fn engine(name: &str, options: &[String], found: &[String]) -> anyhow::Result<bool> {
    let root = commands::root()?;
    let folder = commands::target(&root).join("bench").display().to_string();
    let (machine, commit) = (machine()?, commit(&root)?);
    let command = [&[format!("cargo xtask bench {name}")], options].concat().join(" ");
    let mut arguments = vec!["run", "--machine", &machine, "--commit", &commit, "--command", &command];
    arguments.extend(["--folder", &folder]);
    arguments.extend(options.iter().chain(found).map(String::as_str));
    benchmark(name, &arguments)
}

/// The commit that is built, and whether something was changed since.
pub fn commit(root: &Path) -> anyhow::Result<String> {
    let git = |arguments: &[&str]| commands::read(Command::new("git").current_dir(root).args(arguments));
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changed = if git(&["status", "--porcelain"])?.is_empty() { "" } else { " with changes" };
    Ok(format!("{}{changed}", commit.trim()))
}

/// The machine comes first, as in the other benchmarks.
fn filter() -> anyhow::Result<bool> {
    println!("command      cargo xtask bench filter");
    println!("machine      {}", machine()?);
    cargo_run(&["--package", "slipstream-cimi", "--example", "bench_filter"])
}

/// Runs one of the benchmarks of `crates/bench`.
fn benchmark(name: &str, arguments: &[&str]) -> anyhow::Result<bool> {
    cargo_run(&[&["--package", "slipstream-bench", "--", name], arguments].concat())
}

fn cargo_run(arguments: &[&str]) -> anyhow::Result<bool> {
    let mut command = commands::cargo(&commands::root()?);
    commands::run(command.args(["run", "--profile", "packaged", "--locked", "--quiet"]).args(arguments))?;
    Ok(true)
}

fn idle(program: &Path, watched: Duration) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("slipstream-bench-{}", std::process::id()));
    let mut nothing = Vec::new();
    let mut ready = Vec::new();
    for start in 0..STARTS {
        let before = Instant::now();
        let status = Command::new(program).arg("--version").stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{} --version failed", program.display());
        nothing.push(before.elapsed());
        let (up, answered) = Up::start(program, &folder.join(start.to_string()))?;
        ready.push(answered);
        drop(up);
    }
    let (up, _) = Up::start(program, &folder.join("idle"))?;
    wait(SETTLING);
    let before = up.ticks()?;
    wait(watched);
    let busy = (up.ticks()? - before) / TICKS / watched.as_secs_f64();
    let resident = up.resident()?;
    drop(up);
    std::fs::remove_dir_all(&folder)?;
    let (nothing, ready) = (summary(&mut nothing), summary(&mut ready));
    println!("command      cargo xtask bench idle --seconds {}", watched.as_secs());
    println!("machine      {}", machine()?);
    println!(
        "ready        median {:.0} ms, worst {:.0} ms of {STARTS} starts with an empty data directory",
        ready.0, ready.1
    );
    println!("  ratio      {:.1} times `slipstream-job --version` (median {:.1} ms)", ready.0 / nothing.0, nothing.0);
    println!("processor    {:.3} % of a core over {} s", busy * 100.0, watched.as_secs());
    println!("resident     {:.1} MiB", resident / 1024.0);
    Ok(())
}

/// Median and maximum in milliseconds.
fn summary(times: &mut [Duration]) -> (f64, f64) {
    times.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    (milliseconds(times[times.len() / 2]), milliseconds(times[times.len() - 1]))
}

/// Nothing to wait for: time itself is what is measured against.
fn wait(duration: Duration) {
    std::thread::park_timeout(duration);
}

/// Cores and model.
pub fn machine() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("{cores} cores, {}", model.map_or("unknown", |(_, model)| model)))
}

/// A running `up`; stopped when dropped.
struct Up(Child);

impl Up {
    /// Starts it and answers how long the first good answer of its API took.
    fn start(program: &Path, data_dir: &Path) -> anyhow::Result<(Self, Duration)> {
        let before = Instant::now();
        let mut command = Command::new(program);
        command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
        let mut up = Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let output = up.0.stdout.take().context("standard output is a pipe")?;
        let mut lines = BufReader::new(output).lines();
        let address = loop {
            let line = lines.next().context("up has ended")??;
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split('/').next().unwrap_or_default().to_owned();
            }
        };
        let mut stream = TcpStream::connect(&address)?;
        write!(stream, "GET /api/cloud-entry-point HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the API answered: {answer}");
        let answered = before.elapsed();
        // Whatever else it says has a reader for as long as it runs.
        std::thread::spawn(move || lines.for_each(drop));
        Ok((up, answered))
    }

    /// Processor time used so far, in clock ticks: user and system (fields 14 and 15 of proc(5) `stat`).
    fn ticks(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields = stat.rsplit_once(") ").context("stat names the program in parentheses")?.1;
        let number = |index: usize| fields.split(' ').nth(index).and_then(|field| field.parse::<f64>().ok());
        Ok(number(11).context("user time")? + number(12).context("system time")?)
    }

    /// Resident memory in KiB.
    fn resident(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = killed {
            eprintln!("xtask: cannot end process {}: {error}", self.0.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_median_and_worst() {
        let mut times = [30, 10, 20].map(Duration::from_millis);
        assert_eq!(summary(&mut times), (20.0, 30.0));
    }
}
