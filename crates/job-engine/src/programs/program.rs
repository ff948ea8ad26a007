//! [`Program`]: what is started, and what it may use.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments. The program is an absolute path, or a name without a slash that is looked up in `PATH`.
    pub command: Vec<OsString>,
    /// The file that says so: the manifest, the executable itself, or the folder of class files.
    pub file: PathBuf,
    /// Variables that the manifest sets.
    pub env: BTreeMap<String, String>,
    /// Names of the executor's own variables that are passed on.
    pub pass_env: Vec<String>,
    /// What a process may use.
    pub limits: Limits,
}

/// What a program and all its descendants may use; what uses more is killed, and its job FAILED.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Resident memory, in bytes.
    pub memory: Option<u64>,
    /// Processor time; of a host, for each job.
    pub cpu_time: Option<Duration>,
    /// Open files of each process (`RLIMIT_NOFILE`).
    pub open_files: Option<u64>,
}
