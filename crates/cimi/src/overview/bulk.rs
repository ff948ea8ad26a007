//! `/api/job/bulk` and `/api/operation`: one thing done with all jobs that a filter matches, in the background.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::State;

/// Where an operation is begun with a [`Wish`], below `/api/`; a GET with `do`, `filter` and maybe `before` answers the
/// [`Count`].
pub const PLACE: &str = "job/bulk";
/// The operation of an operation that ends it.
pub const STOP: &str = "stop";

/// Of at most so many jobs it is counted which have a retry.
pub const MOST_COUNTED: u64 = 10_000;

/// What is done with each job, as a request about that job alone would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// It is stopped.
    Stop,
    /// It is deleted.
    Delete,
    /// It is run again, as a new job, unless a retry of it is there already.
    Retry,
}

impl Deed {
    /// Its name in requests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Delete => "delete",
            Self::Retry => "retry",
        }
    }
}

impl Count {
    /// How many jobs it would be done with.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.matched.saturating_sub(self.retried.unwrap_or_default())
    }
}

/// How many jobs are meant, before anything is done with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What is to be done.
    #[serde(rename = "do")]
    pub deed: Deed,
    /// With which jobs.
    pub filter: String,
    /// Added by then: when they were counted, unless something else was asked for.
    pub before: Timestamp,
    /// How many match: what [`Wish::expect`] takes.
    pub matched: u64,
    /// How many of them a retry leaves out because it finds a retry of theirs. None where that was not counted: with
    /// other deeds, or because more than [`MOST_COUNTED`] match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried: Option<u64>,
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
    /// How many a retry has left out because a retry of theirs was there already.
    #[serde(default)]
    pub retried: u64,
    /// With how many it was refused, by code or status.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    /// Why it could not go on.
    #[serde(default, rename = "statusMessage", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
