//! What the kernel tells of the threads of this process.

use std::fs;
use std::path::Path;
use std::time::Duration;

const TASKS: &str = "/proc/self/task";

/// What is known of a thread without asking it.
#[derive(Debug, PartialEq, Eq)]
pub struct Task {
    pub name: String,
    pub state: char,
    /// Processor time.
    pub cpu: Duration,
    /// Signals that it blocks: signal 1 is the lowest bit.
    pub blocked: u64,
    /// Signals that wait for it.
    pub pending: u64,
}

/// The ids of all threads, in their order but for that of the main thread, which is the first one.
pub fn all() -> Vec<i32> {
    let entries = fs::read_dir(TASKS).into_iter().flatten().flatten();
    let mut all: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // ids begin again at some time
    all.sort_unstable_by_key(|id| (id.cast_unsigned() != std::process::id(), *id));
    all
}

/// None if it is gone.
pub fn read(id: i32) -> Option<Task> {
    let folder = Path::new(TASKS).join(id.to_string());
    // a name may be of any bytes
    let text = |file| fs::read(folder.join(file)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    task(&text("stat")?, &text("status")?, rustix::param::clock_ticks_per_second())
}

/// `proc_pid_stat(5)`, `proc_pid_status(5)`
fn task(stat: &str, status: &str, ticks_per_second: u64) -> Option<Task> {
    // the name may hold anything, parentheses too
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let used = ticks(11)? + ticks(12)?;
    let signals = |key: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
    };
    Some(Task {
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        cpu: Duration::from_millis(used * 1000 / ticks_per_second.max(1)),
        blocked: signals("SigBlk")?,
        pending: signals("SigPnd")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str =
        "Name:\tx\nThreads:\t9\nSigPnd:\t0000010000000000\nShdPnd:\t0000000000000000\nSigBlk:\t00000000000000ff\n";

    #[test]
    fn a_thread_may_have_any_name() {
        let rest = "S 1 7 7 0 -1 4194304 9 0 0 0 150 25 0 0 20 0 4 0 300";
        for name in ["main", "a b", "a) R 1", "(", ")", ""] {
            let found = task(&format!("42 ({name}) {rest}"), STATUS, 100).unwrap();
            let cpu = Duration::from_millis(1750);
            assert_eq!(found, Task { name: name.to_owned(), state: 'S', cpu, blocked: 0xff, pending: 1 << 40 });
        }
    }

    #[test]
    fn what_is_cut_off_is_no_thread() {
        assert_eq!(task("", STATUS, 100), None);
        assert_eq!(task("42 (main) S 1 7", STATUS, 100), None);
        assert_eq!(task("42 (main) S 1 7 7 0 -1 4194304 9 0 0 0 150 25", "Name:\tx\n", 100), None);
    }

    #[test]
    fn this_thread_is_among_all() {
        let found = all();
        assert_eq!(found.first().map(|id| id.cast_unsigned()), Some(std::process::id()));
        let names: Vec<String> = found.into_iter().filter_map(read).map(|task| task.name).collect();
        let own = std::thread::current().name().unwrap().chars().take(15).collect::<String>();
        assert!(names.contains(&own), "{own} is not in {names:?}");
    }
}
