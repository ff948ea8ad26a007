//! [`Provider`]: what a folder or a manifest says of a program that does jobs. Nothing of it has been started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use slipstream_cimi::overview::executors::loaded::Kind;

pub use crate::programs::program::{Limits, Program};

/// How long a stopped action may take to end, unless its manifest says otherwise.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);

/// Who does jobs, as a file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// A program that is started once for each job of one action.
    Command(CommandProvider),
    /// A program that stays, says itself which actions it has, and does one job after the other.
    Host(HostProvider),
}

impl Provider {
    /// What is started.
    #[must_use]
    pub fn program(&self) -> &Program {
        match self {
            Self::Command(command) => &command.program,
            Self::Host(host) => &host.program,
        }
    }
}

/// A program that is started once for each job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandProvider {
    /// The action.
    pub name: String,
    /// Its program.
    pub program: Program,
    /// How long it may take.
    pub terms: Terms,
}

/// A program that does one job after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostProvider {
    /// `Host`, or `Python` for a folder's class files.
    pub kind: Kind,
    /// Where in the file of its program its command is, if that is a manifest.
    pub line: Option<usize>,
    /// The program.
    pub program: Program,
    /// Most processes at once; without it, as many as the executor has slots.
    pub processes: Option<usize>,
    /// After so many jobs a process is replaced by another.
    pub jobs_per_process: u64,
    /// How long a process may take to say hello.
    pub start_within: Duration,
    /// How long its actions may take, unless `actions` says otherwise.
    pub terms: Terms,
    /// What differs for single actions.
    pub actions: BTreeMap<String, Own>,
}

/// What a manifest says of one action of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// How long it may take.
    pub terms: Terms,
    /// The manifest.
    pub file: PathBuf,
    /// The line of it, from 1.
    pub line: usize,
}

/// How long a run may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The longest that a run may take; without one, as long as it wants.
    pub time_limit: Option<Duration>,
    /// How long it may take to end once it is stopped; then it is killed.
    pub stop_grace: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { time_limit: None, stop_grace: DEFAULT_STOP_GRACE }
    }
}
