//! What a program and all its descendants use, against what they may.

use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::Pid;
use tokio::time::sleep;

use crate::process::descendants::descendants;
use crate::programs::program::Limits;

/// How often it is measured.
const SAMPLE: Duration = Duration::from_secs(1);

/// What a tree of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory, in bytes: pages that processes share count for each.
    pub(crate) memory: u64,
    /// Processor time, also of those that have ended.
    pub(crate) cpu_time: Duration,
}

/// What all that descends from a keeper uses now.
pub(crate) fn usage(keeper: Pid) -> Usage {
    let mut used = Usage::default();
    for pid in descendants(keeper) {
        let (memory, ticks) = read(pid).unwrap_or_default();
        used.memory += memory;
        used.cpu_time += ticks;
    }
    used.cpu_time += stat(keeper).map(|stat| ticks(&stat, 15..17)).unwrap_or_default();
    used
}

/// Ends when a limit is exceeded, with the figure; never without a limit. `before` is what was used before this job. Measures at
/// once: a host may have used too much before.
pub(crate) async fn exceeded(keeper: Pid, limits: &Limits, before: Duration) -> String {
    if limits.memory.is_none() && limits.cpu_time.is_none() {
        return std::future::pending().await;
    }
    loop {
        if let Some(exceeded) = above(usage(keeper), limits, before) {
            return exceeded;
        }
        sleep(SAMPLE).await;
    }
}

fn above(used: Usage, limits: &Limits, before: Duration) -> Option<String> {
    if let Some(memory) = limits.memory.filter(|memory| used.memory > *memory) {
        return Some(format!("used {} of memory, and {} is its limit", mebibytes(used.memory), mebibytes(memory)));
    }
    let cpu_time = used.cpu_time.saturating_sub(before);
    let limit = limits.cpu_time.filter(|limit| cpu_time > *limit)?;
    Some(format!("used {cpu_time:.1?} of processor time, and {limit:?} is its limit"))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn read(pid: Pid) -> Option<(u64, Duration)> {
    let stat = stat(pid)?;
    let pages: u64 = field(&stat, 24)?;
    Some((pages * u64::try_from(page_size()).ok()?, ticks(&stat, 13..17)))
}

fn stat(pid: Pid) -> Option<String> {
    fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()
}

/// The sum of fields of time, counted from 1 as proc(5) does, less one: 14 and 15 are the process's own, 16 and 17 those of
/// the children that it waited for.
fn ticks(stat: &str, fields: std::ops::Range<usize>) -> Duration {
    let ticks: u64 = fields.filter_map(|index| field(stat, index + 1)).sum();
    Duration::from_millis(ticks * 1000 / clock_ticks_per_second().max(1))
}

/// A field by its number in proc(5). The second may hold anything and ends with the last bracket.
fn field(stat: &str, number: usize) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(number - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const STAT: &str = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 200 100 50 30 20 0 1 0 99 1048576 3 18446744073709551615";

    #[test]
    fn fields_are_those_of_proc_5() {
        assert_eq!(field(STAT, 4), Some(1));
        assert_eq!(field(STAT, 24), Some(3));
        let second = clock_ticks_per_second();
        assert_eq!(ticks(STAT, 13..17), Duration::from_millis(380_000 / second));
        assert_eq!(ticks(STAT, 15..17), Duration::from_millis(80_000 / second));
        assert_eq!(field("garbage", 4), None);
    }

    #[test]
    fn more_than_a_limit_is_said_with_the_figure() {
        let used = Usage { memory: 3 << 20, cpu_time: Duration::from_secs(5) };
        let limits = |memory, cpu_time| Limits { memory, cpu_time, open_files: None };
        let before = Duration::from_secs(1);
        assert_eq!(above(used, &limits(Some(3 << 20), Some(Duration::from_secs(4))), before), None);
        let memory = above(used, &limits(Some(2 << 20), None), before);
        assert_eq!(memory.as_deref(), Some("used 3 MiB of memory, and 2 MiB is its limit"));
        let cpu_time = above(used, &limits(None, Some(Duration::from_secs(3))), before);
        assert_eq!(cpu_time.as_deref(), Some("used 4.0s of processor time, and 3s is its limit"));
    }

    #[tokio::test]
    async fn what_is_used_too_much_already_is_seen_at_once() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        // for a moment a process that begins has no memory
        let deadline = std::time::Instant::now() + Duration::from_mins(1);
        while usage(rustix::process::getpid()).memory <= 1 {
            assert!(std::time::Instant::now() < deadline, "it has begun");
            std::thread::yield_now();
        }
        let some = Limits { memory: Some(1), ..Limits::default() };
        let seen = exceeded(rustix::process::getpid(), &some, Duration::ZERO).now_or_never();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen.is_some_and(|seen| seen.ends_with("and 1 MiB is its limit")));
    }

    #[test]
    fn this_process_uses_something() {
        let (memory, _) = read(rustix::process::getpid()).unwrap();
        assert!(memory > 1 << 20, "{memory}");
    }
}
