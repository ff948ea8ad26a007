//! `/api/queue`: what waits, and who holds what.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::server::jobs::released::Released;
use crate::server::reconcile::LeftAlone;

/// Below `/api/`.
pub const PLACE: &str = "queue";
/// How many claims are shown one by one, the oldest ones.
pub const MOST_TOLD: usize = 1_000;

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
}

/// Entries that nobody holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// How many there are.
    pub count: u64,
    /// How many there are of each priority that has any, the first priority first.
    pub priorities: Vec<Priority>,
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
    /// The oldest [`MOST_TOLD`] of them, the oldest first.
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
