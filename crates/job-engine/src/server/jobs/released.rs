//! [`Released`]: which jobs became free again without having ended, for whoever looks after an outage. Kept in memory and
//! counted since this server began; a job that goes well leaves nothing here.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::api::ledger::{Attempt, Outcome};
use crate::api::queue::{Released, ReleasedJob};

/// How many are listed one by one.
const MOST_LISTED: usize = 20;

impl Released {
    /// None since then.
    #[must_use]
    pub fn since(since: Timestamp) -> Self {
        Self { since, count: 0, latest: VecDeque::new() }
    }

    /// The attempt at this job was given back, or is known to be lost as another one begins.
    pub fn note_attempt(&mut self, job: &str, attempt: Attempt, now: Timestamp) {
        let is_lost = attempt.outcome == Some(Outcome::Lost);
        let reason = if is_lost { "its attempt was lost" } else { "it was released" };
        self.note(job, Some(attempt.executor), reason, now);
    }

    /// The job's entry was gone, and another one was put.
    pub fn note_entry(&mut self, job: &str, now: Timestamp) {
        self.note(job, None, "its entry was gone", now);
    }

    fn note(&mut self, job: &str, executor: Option<String>, reason: &str, time: Timestamp) {
        self.count += 1;
        self.latest.truncate(MOST_LISTED - 1);
        self.latest.push_front(ReleasedJob { job: job.to_owned(), time, executor, reason: reason.to_owned() });
    }
}
