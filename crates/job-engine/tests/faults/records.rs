//! [`Record`]: what actions say of their runs, in a file that all executors of a site share.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipstream_job_engine::internals::process::Clock;

/// Something that happened to a run of an action.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub job: String,
    pub executor: String,
    pub time: Timestamp,
    pub how: How,
}

/// What happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    Begun {
        /// Whether the job handle said that an earlier attempt was lost.
        rerun: bool,
    },
    Cancelled,
    Done,
}

impl Record {
    pub fn new(job: &str, executor: &str, how: How) -> Self {
        Self { job: job.to_owned(), executor: executor.to_owned(), time: Clock::system().now(), how }
    }

    /// In one piece, so that lines of several processes do not mix.
    pub fn append(&self, file: &Path) {
        let line = serde_json::to_string(self).expect("texts and numbers") + "\n";
        let mut file = File::options().create(true).append(true).open(file).expect("a file of records can be opened");
        file.write_all(line.as_bytes()).expect("a file of records can be written to");
    }
}

/// All records so far; the last line may be under way.
pub fn read(file: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
