//! `/api/executor`: who executes.

use serde::{Deserialize, Serialize};

use crate::process::registry::RegisteredExecutor;

/// Below `/api/`.
pub const PLACE: &str = "executor";

/// The executors that have a session, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the wire")]
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
