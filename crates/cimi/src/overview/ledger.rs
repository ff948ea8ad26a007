//! `/api/job/<uuid>/ledger`: what the server keeps of a job and never shows as an attribute, with who holds the job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Lease, State};

/// How often a job may be claimed and lost before it is given up, unless somebody says otherwise (decision 6).
pub const DEFAULT_MAX_ATTEMPTS: u32 = 5;

/// Member beside those of the [`Ledger`]: the [`Holder`] of the recorded entry; null if nobody holds it.
pub const CLAIM: &str = "claim";

/// An attribute of jobs that nobody stores: a search that selects it is told the name of the executor of the last attempt
/// of each job that is not QUEUED, if an administrator asks.
pub const EXECUTOR: &str = "executor";

/// What the server keeps of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ledger {
    /// Path of the queue entry that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The highest lease ever seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// How many attempts were begun and lost; a clean release does not count (decision 6).
    #[serde(default)]
    pub lost: u32,
    /// How many of these were lost at once with others of their process: most likely it was not this job that ended it,
    /// so that each counts half.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_together: u32,
    /// The last attempts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The last writes that were refused because their lease was late, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedWrite>,
    /// How many writes were refused in all.
    #[serde(default)]
    pub refused_total: u64,
}

/// One run of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// Set unless the executor knows no leases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Name of the executor.
    pub executor: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// When it ended, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How it ended; missing while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The last lines that its program printed, oldest first, if it did not succeed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}

/// Most lines of an attempt's output.
pub const MOST_LINES: usize = 20;
/// Most bytes of them together.
pub const MOST_OUTPUT: usize = 4000;

/// The operation of a job by which its latest attempt hands in what its program printed last: [`Printed`].
pub const OUTPUT: &str = "output";

/// What a program printed last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Printed {
    /// Oldest first.
    pub lines: Vec<String>,
}

impl Printed {
    /// The last of these lines, as many as a ledger keeps: of one that is too long by itself, the beginning.
    #[must_use]
    pub fn last(lines: Vec<String>) -> Self {
        let mut left = MOST_OUTPUT;
        let mut kept = Vec::new();
        for mut line in lines.into_iter().rev().take(MOST_LINES) {
            line.truncate(line.floor_char_boundary(MOST_OUTPUT / 4));
            if line.len() > left {
                break;
            }
            left -= line.len();
            kept.push(line);
        }
        kept.reverse();
        Self { lines: kept }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It reported a final state, or the job was stopped under it.
    Finished,
    /// The executor gave the job back.
    Released,
    /// Its claim was lost: a later claim began the next attempt.
    Lost,
}

/// A write that came too late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RefusedWrite {
    /// Its lease.
    pub lease: Lease,
    /// Name of the executor that sent it.
    pub executor: String,
    /// When it came.
    pub time: Timestamp,
    /// The state that it asked for, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

/// Who holds an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// What the claim shows.
    pub claimant: String,
    /// The transaction that made the claim.
    pub zxid: i64,
    /// The executor's name; none of a foreign one, which does not register.
    pub executor: Option<String>,
    /// The executor's machine.
    pub host: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded_in_lines_and_bytes() {
        let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
        assert_eq!(Printed::last(lines(&["a", "b"])).lines, ["a", "b"]);
        let many: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        assert_eq!(Printed::last(many.clone()).lines, many[30..]);
        let long = "é".repeat(MOST_OUTPUT);
        let kept = Printed::last(vec![long.clone(); 10]).lines;
        assert_eq!((kept.len(), kept[0].len()), (4, MOST_OUTPUT / 4));
        assert!(kept.iter().all(|line| long.starts_with(line)));
        assert_eq!(Printed::last(vec![long.clone(), "x".repeat(900), "y".repeat(2900), "z".to_owned()]).lines.len(), 4);
    }
}
