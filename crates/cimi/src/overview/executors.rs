//! `/api/executor`: who executes.

pub mod loaded;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::loaded::Loaded;

/// Below `/api/`.
pub const PLACE: &str = "executor";

/// The executors that have a session, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Executors {
    /// How many there are.
    pub count: usize,
    /// Each of them.
    pub executors: Vec<Executor>,
    /// Whoever holds entries and does not register, the busiest first and a thousand at most; nobody where more are
    /// held in all than are looked at.
    #[serde(default)]
    pub foreign: Vec<Foreign>,
}

/// An executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Executor {
    /// What its claims show: a name for its session.
    pub claimant: String,
    /// What it says of itself.
    #[serde(flatten)]
    pub registered: RegisteredExecutor,
    /// How many entries it holds; none where more are held in all than are looked at.
    pub busy: Option<usize>,
}

/// A claimant that does not register: an executor of another engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// What its claims show.
    pub claimant: String,
    /// How many entries it holds.
    pub busy: usize,
}

/// What an executor says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredExecutor {
    /// As in ledgers; need not be unique.
    pub name: String,
    /// Where it runs.
    pub process: Process,
    /// How many jobs at once.
    pub slots: usize,
    /// Names of the actions that it can do.
    pub actions: Vec<String>,
    /// Where these come from, and what failed to load.
    #[serde(flatten)]
    pub loaded: Loaded,
    /// When its session began.
    pub begun: Timestamp,
    /// Entries that it leaves alone for a while, the latest `MOST_PASSED_OVER` at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// It takes no more entries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

/// How many entries an executor says that it leaves alone.
pub const MOST_PASSED_OVER: usize = 20;

/// An entry that an executor leaves alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Path of the entry.
    pub entry: String,
    /// Id of the job, if it is known.
    pub job: Option<String>,
    /// Why, in words for people: lower case, no full stop.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

/// A process of an operating system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Name of the machine.
    pub host: String,
    /// Process id.
    pub id: u32,
    /// Version of the engine.
    pub version: String,
}
