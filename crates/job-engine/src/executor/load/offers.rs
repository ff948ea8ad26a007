//! [`Offers`]: the actions that an executor has, and what it could not load.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Of which kind the code of an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Rust, in the executor's own process.
    Native,
    /// A program that is started once for each job.
    Command,
    /// A program that does one job after the other.
    Host,
    /// A Python class in a folder.
    Python,
}

/// What failed to load, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedToLoad {
    /// File or folder.
    pub file: PathBuf,
    /// Line of the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Why, for people: lower case, no full stop.
    pub reason: String,
}
