//! What this process has used: processor time and memory, as Linux counts them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// On the wall.
    pub at: Instant,
    /// Processor time of the whole process so far, user and system.
    pub cpu: Duration,
}

impl Moment {
    pub fn now() -> Self {
        Self { at: Instant::now(), cpu: cpu(libc::CLOCK_PROCESS_CPUTIME_ID) }
    }

    /// From here to there.
    pub fn until(self, end: Self) -> Spent {
        Spent { time: end.at - self.at, cpu: end.cpu.saturating_sub(self.cpu) }
    }
}

/// What passed between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub time: Duration,
    pub cpu: Duration,
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, more: Self) {
        self.time += more.time;
        self.cpu += more.cpu;
    }
}

impl Spent {
    /// Of so many things, how many in a second.
    pub fn rate(self, number: u64) -> f64 {
        count(number) / self.time.as_secs_f64()
    }

    /// Processor time for each of so many things, in milliseconds.
    pub fn cpu_each(self, number: u64) -> f64 {
        self.cpu.as_secs_f64() * 1_000.0 / count(number)
    }
}

/// A number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn count(number: u64) -> f64 {
    number as f64
}

/// Processor time of the calling thread so far.
pub fn thread_cpu() -> Duration {
    cpu(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn cpu(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer leads to a timespec that lives longer than the call, which writes nothing else.
    let answer = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(answer, 0, "every Linux has the clocks of processor time");
    let seconds = u64::try_from(time.tv_sec).expect("processor time is not negative");
    Duration::new(seconds, u32::try_from(time.tv_nsec).expect("nanoseconds are below a billion"))
}

/// Memory of this process in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident: f64,
    /// The most that was ever resident.
    pub highest: f64,
}

pub fn memory() -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> anyhow::Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1_024.0)
    };
    Ok(Memory { resident: field("VmRSS:")?, highest: field("VmHWM:")? })
}

/// Processor time of the living threads so far, by name (equal names are added up).
pub fn threads() -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        // a thread that ends meanwhile is none
        if let Ok((name, time)) = thread(&task?.path()) {
            *threads.entry(name).or_default() += time;
        }
    }
    Ok(threads)
}

/// Name and time on a processor: the first number of `schedstat`, in nanoseconds.
fn thread(task: &Path) -> anyhow::Result<(String, Duration)> {
    let name = std::fs::read_to_string(task.join("comm"))?.trim().to_owned();
    let statistics = std::fs::read_to_string(task.join("schedstat"))?;
    let time = statistics.split_whitespace().next().context("schedstat is empty")?;
    Ok((name, Duration::from_nanos(time.parse()?)))
}
