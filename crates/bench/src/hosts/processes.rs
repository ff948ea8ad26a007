//! The processes below this one, as Linux counts what they use.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::embedded::process::Moment;

/// A moment: on the wall, and how much processor time was used by then.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// Of this process.
    own: Moment,
    /// Of all processes below it, also those that have ended.
    programs: Duration,
}

/// What one job took.
#[derive(Clone, Copy, Debug)]
pub struct Each {
    /// Jobs in a second.
    pub rate: f64,
    /// Processor time of the engine, and of keepers and programs, in milliseconds a job.
    pub engine: f64,
    pub programs: f64,
}

impl Used {
    pub fn now() -> anyhow::Result<Self> {
        let alive: Duration = descendants(std::process::id()).into_iter().map(cpu).sum();
        Ok(Self { own: Moment::now(), programs: ended()? + alive })
    }

    /// For each of so many jobs between here and there.
    pub fn each_until(self, end: Self, jobs: u64) -> Each {
        let own = self.own.until(end.own);
        let programs = end.programs.saturating_sub(self.programs);
        Each {
            rate: own.rate(jobs),
            engine: own.cpu_each(jobs),
            programs: programs.as_secs_f64() * 1_000.0 / crate::embedded::process::count(jobs),
        }
    }
}

/// All that descend from a process.
pub fn descendants(of: u32) -> BTreeSet<u32> {
    let (mut found, mut next) = (BTreeSet::new(), vec![of]);
    while let Some(pid) = next.pop() {
        let children = children(pid);
        found.extend(&children);
        next.extend(children);
    }
    found
}

/// None if it has ended.
fn children(of: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Processor time of a process: of each thread the first number of `schedstat`, in nanoseconds. None if it has ended.
pub fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let statistics = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    statistics.filter_map(|text| Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))).sum()
}

/// Processor time of children that have ended, with theirs.
fn ended() -> anyhow::Result<Duration> {
    // SAFETY: all zero is a value of this structure of numbers, and the call writes nothing else.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) == 0).then_some(usage)
    };
    let usage = usage.context("cannot ask what children used")?;
    let time = |time: libc::timeval| -> anyhow::Result<Duration> {
        Ok(Duration::from_secs(time.tv_sec.try_into()?) + Duration::from_micros(time.tv_usec.try_into()?))
    };
    Ok(time(usage.ru_utime)? + time(usage.ru_stime)?)
}

/// Whether a process runs: not one that is only to be waited for.
pub fn is_alive(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

/// Name of a process, empty if it has ended.
pub fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Memory that a process shares with nobody, in MiB.
pub fn private(pid: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("Private_"));
    let sizes = lines.filter(|line| line.starts_with("Clean:") || line.starts_with("Dirty:"));
    let size = |line: &str| line.split_whitespace().nth(1).and_then(|size| size.parse::<f64>().ok());
    Ok(sizes.filter_map(size).sum::<f64>() / 1_024.0)
}

/// Waits until something is so, and answers how long that took.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    while !is_so() {
        anyhow::ensure!(begin.elapsed() < Duration::from_secs(30), "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(begin.elapsed())
}
