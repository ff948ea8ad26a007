//! `/api/job/<uuid>/explain`: why a job runs, waits or has ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The operation of a job that answers its [`Explanation`].
pub const EXPLAIN: &str = "explain";

/// Why a job runs, waits or has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Id of the job.
    pub job: String,
    /// The reasons, those that keep the job from going on first; at least one.
    pub reasons: Vec<Reason>,
    /// When the queue was listed: what is said of slots and of other entries was so then. None if it was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Timestamp>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Which.
    pub code: Code,
    /// In words: lower case, no full stop, with what to do where a person can do something.
    pub text: String,
    /// Since when it is so, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The executor that it is about, for administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// Where more is said of it, below `/api/`, for administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
    /// The job does not go on before this has passed.
    pub blocks: bool,
}

/// What a reason is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The job has ended.
    Final,
    /// An attempt is under way.
    Running,
    /// An attempt was begun, and nobody holds the job any more.
    Lost,
    /// Somebody has claimed the job after the attempt that it shows.
    TakenAgain,
    /// Somebody has claimed the job and not begun yet.
    Claimed,
    /// The coordinator cannot be reached.
    CoordinatorAway,
    /// The job has no entry in the queue.
    EntryMissing,
    /// The coordinator or the store refuses what the reconciler has to do for it.
    Refused,
    /// A node says that somebody holds it, and nobody does.
    ClaimWithoutSession,
    /// An executor has given it back, or passes it over for a while.
    Released,
    /// No registered executor has the action.
    NoExecutor,
    /// All executors that have the action take no more jobs.
    ExecutorsDraining,
    /// All slots for it are taken.
    Busy,
    /// The next free slot takes it, or one soon after.
    Next,
    /// A newer server's.
    #[serde(other)]
    Other,
}

impl Code {
    /// Whether this is something that a person may want to know of a job that waits: not that it is taken, or about to be.
    #[must_use]
    pub fn is_obstacle(self) -> bool {
        !matches!(self, Self::Final | Self::Running | Self::Claimed | Self::Next)
    }
}
