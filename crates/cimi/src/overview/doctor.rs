//! `/api/doctor`: whether the engine is well, point by point, with what to do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Below `/api/`.
pub const PLACE: &str = "doctor";

/// What was looked at, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// When.
    pub time: Timestamp,
    /// Version of the server that answers.
    pub version: String,
    /// Each point, in the order in which they are to be read.
    pub findings: Vec<Finding>,
}

/// One point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub about: String,
    /// How it is.
    pub health: Health,
    /// What was found: lower case, no full stop.
    pub text: String,
    /// What to do about it; none if it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Well,
    /// A person should look at it.
    Doubtful,
    /// Work does not get done.
    Ill,
}

impl Diagnosis {
    /// The worst of all points.
    #[must_use]
    pub fn worst(&self) -> Health {
        self.findings.iter().map(|finding| finding.health).max().unwrap_or(Health::Well)
    }
}
