//! `/api/job/bulk` and `/api/operation`: one thing done with all jobs that a filter matches, in the background.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::State;

/// Where an operation is begun with a [`Wish`], below `/api/`.
pub const PLACE: &str = "job/bulk";
/// The operation of an operation that ends it.
pub const STOP: &str = "stop";

/// What is done with each job, as a request about that job alone would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// It is stopped.
    Stop,
    /// It is deleted.
    Delete,
    /// It is run again, as a new job.
    Retry,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What.
    #[serde(rename = "do")]
    pub deed: Deed,
    /// With which jobs, in the language of filters.
    pub filter: String,
    /// How many they were when they were counted: nothing is done if there are more now.
    pub expect: u64,
    /// When they were counted: jobs that were added later are left alone. Now, unless it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
}

/// What is being done, or was done in the last seven days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// `operation/<uuid>`.
    pub id: String,
    /// RUNNING, then SUCCESS once all jobs were seen, FAILED if it could not go on, STOPPED if somebody ended it.
    pub state: State,
    /// What is done.
    #[serde(rename = "do")]
    pub deed: Deed,
    /// With which jobs.
    pub filter: String,
    /// Added by then.
    pub before: Timestamp,
    /// The user who asked.
    pub by: String,
    /// When it was begun.
    pub created: Timestamp,
    /// When it last went on.
    pub updated: Timestamp,
    /// How many jobs matched at its begin.
    pub matched: u64,
    /// With how many it has been done. A deed that a crash interrupted counts once more, or not at all.
    pub done: u64,
    /// With how many it was refused, by code or status.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    /// Why it could not go on.
    #[serde(default, rename = "statusMessage", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
