//! `/api/queue`: what waits, and who holds what.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Below `/api/`.
pub const PLACE: &str = "queue";
/// The same, as it was a moment ago: one answer for all who ask within a while.
pub const RECENT: &str = "queue/recent";
/// How many claims are shown one by one, the oldest ones.
pub const MOST_LISTED: usize = 1_000;
/// Most names in a [`Sample`].
pub const MOST_NAMES: usize = 10;

/// What waits, and who holds what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Entries that nobody holds.
    pub waiting: Waiting,
    /// Entries that somebody holds.
    pub claimed: Claimed,
    /// What the reconciler found and leaves alone; none if no reconciler is at work, or a foreign one.
    #[serde(default)]
    pub left_alone: Option<LeftAlone>,
    /// What became free again without having ended; none of a server of an earlier version.
    #[serde(default)]
    pub released: Option<Released>,
    /// When it was so; none of a server of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Timestamp>,
}

/// Entries that nobody holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// How many there are.
    pub count: u64,
    /// How many there are of each priority that has any, the first priority first.
    pub priorities: Vec<Priority>,
    /// How many jobs are QUEUED of each action, the most first, of 100 actions at most; empty of an earlier server. A job
    /// whose entry was claimed a moment ago still counts.
    #[serde(default)]
    pub actions: Vec<WaitingAction>,
    /// The job that has been QUEUED for longest, if any is.
    pub oldest: Option<WaitingJob>,
}

/// Entries of one priority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Priority {
    /// 0 (first) to 999 (last).
    pub priority: u16,
    /// How many entries.
    pub count: u64,
}

/// Jobs of one action that wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingAction {
    /// The action.
    pub action: String,
    /// How many jobs.
    pub count: u64,
}

/// Most actions of [`Waiting::actions`].
pub const MOST_ACTIONS: usize = 100;

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingJob {
    /// Its id.
    pub job: String,
    /// Its action.
    pub action: Option<String>,
    /// When it was added.
    pub created: Option<String>,
}

/// Entries that somebody holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// How many there are.
    pub count: usize,
    /// The oldest [`MOST_LISTED`] of them, the oldest first.
    pub claims: Vec<Claim>,
}

/// An entry that somebody holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Path of the entry.
    pub entry: String,
    /// Id of the job; none if the entry has just gone.
    pub job: Option<String>,
    /// The job's action.
    pub action: Option<String>,
    /// The job's state.
    pub state: Option<String>,
    /// What the claim shows: who holds it.
    pub claimant: String,
    /// The executor's name; none of a foreign one, which does not register.
    pub executor: Option<String>,
    /// The executor's machine.
    pub host: Option<String>,
    /// When the attempt was begun; none if it has not been.
    pub since: Option<Timestamp>,
}

/// What the reconciler leaves alone, for a person to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// Entries that hold no id of a job that this store ever knew, of those that it has looked at.
    pub entries: Sample,
    /// Nodes among the claims without an entry, for longer than a round.
    pub claims: Sample,
    /// Paths of claims that no session holds, as backup tools restore them: nobody ends them, and their jobs wait for
    /// ever unless a person deletes them.
    #[serde(default)]
    pub without_session: Sample,
    /// What could not be read or changed while the rest was, by reason: paths of nodes, and ids of jobs.
    #[serde(default)]
    pub refused: Vec<Refused>,
}

/// What could not be done for one and the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// How many, and some of them.
    #[serde(flatten)]
    pub sample: Sample,
    /// Why, in words for people.
    pub reason: String,
}

/// How many there are of a kind, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// How many.
    pub count: usize,
    /// Names of the first [`MOST_NAMES`].
    pub names: Vec<String>,
}

impl Sample {
    /// All of these, by the first of them.
    #[must_use]
    pub fn of(mut names: Vec<String>) -> Self {
        let count = names.len();
        names.truncate(MOST_NAMES);
        Self { count, names }
    }
}

/// What was given back, was lost, or had lost its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Since when they are counted: since this server began.
    pub since: Timestamp,
    /// How many there were; a job counts as often as it was.
    pub count: u64,
    /// The latest of them, at most 20, the last one first.
    pub latest: VecDeque<ReleasedJob>,
}

/// A job that became free again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedJob {
    /// Its id.
    pub job: String,
    /// When this server learnt of it.
    pub time: Timestamp,
    /// The executor whose attempt it was; none where there was no attempt.
    pub executor: Option<String>,
    /// Why, in words: lower case, no full stop.
    pub reason: String,
}

/// What a restore has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// How many jobs were queued.
    pub queued: usize,
    /// Under which generation leases go on.
    pub generation: i64,
    /// Jobs without an entry that were not queued, and nodes that could not be read or changed, by reason.
    #[serde(default)]
    pub left_out: Vec<Refused>,
}
