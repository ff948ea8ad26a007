//! `/api/job/<uuid>/retry` and `/api/job/<uuid>/retries`: final jobs that are run again, each time as a new job.

use serde::{Deserialize, Serialize};

/// The operation of a final job that adds it again: it takes a [`Wish`], and is answered like an add.
pub const RETRY: &str = "retry";
/// The operation of a job that answers its [`Retries`].
pub const RETRIES: &str = "retries";
/// The attribute of a job by which it names the one that it repeats, as a link.
pub const RETRY_OF: &str = "retryOf";

/// As what a job was run again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Id of the job.
    pub job: String,
    /// How many retries there are; what has been deleted, and what came after it, is not counted.
    pub count: u32,
    /// Ids of those that the asker may see, the oldest first.
    pub retries: Vec<String>,
}

/// That a job be run again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// How many retries whoever asks has seen ([`Retries::count`]): whoever asks twice after having looked once adds one.
    pub retries: u32,
}
