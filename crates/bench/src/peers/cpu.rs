//! Processor time of whole products: a program and the servers that keep its jobs.

use std::time::Duration;

use anyhow::Context;

use crate::hosts::processes::descendants;

/// Clock ticks per second in `/proc/<pid>/stat` (proc(5); fixed on every Linux that Rust supports).
const TICKS: f64 = 100.0;

/// What these processes and all below them have used so far, with those below them that have ended: a database server has a
/// process for each connection, and ends it with the connection.
pub fn used(processes: &[u32]) -> anyhow::Result<Duration> {
    let mut all = Duration::ZERO;
    for &process in processes {
        all += of_one(process)?;
        // who ends meanwhile is counted by its parent the next time
        all += descendants(process).into_iter().filter_map(|process| of_one(process).ok()).sum::<Duration>();
    }
    Ok(all)
}

/// A process with all of its children that have ended and were waited for.
fn of_one(process: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    let stat = stat.with_context(|| format!("process {process} has ended"))?;
    ticks(&stat).map(|ticks| Duration::from_secs_f64(ticks / TICKS)).context("/proc shows the time of a process")
}

/// Fields 14 to 17 of proc(5) `stat`, after a name in parentheses: user and system time of the process, and of its
/// children that were waited for.
fn ticks(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    fields.get(11..15)?.iter().map(|field| field.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_that_have_ended_count() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 100 20 3000 400 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(3520.0));
        assert_eq!(ticks("42 (a) S 1"), None);
    }

    #[test]
    fn a_process_that_is_there_has_used_some() {
        assert!(used(&[std::process::id()]).is_ok());
        assert!(used(&[u32::MAX]).is_err());
    }
}
