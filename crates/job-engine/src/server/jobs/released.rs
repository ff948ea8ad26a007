//! [`Releases`]: which jobs became free again without having ended, for whoever looks after an outage. Kept in memory and
//! counted since this server began; a job that goes well leaves nothing here.

use std::collections::VecDeque;

use jiff::Timestamp;
use slipstream_cimi::overview::ledger::{Attempt, Outcome};
use slipstream_cimi::overview::queue::{Released, ReleasedJob};

/// How many are listed one by one.
const MOST_LISTED: usize = 20;

/// Counts them and keeps the latest.
pub struct Releases(Released);

impl Releases {
    /// None since then.
    #[must_use]
    pub fn since(since: Timestamp) -> Self {
        Self(Released { since, count: 0, latest: VecDeque::new() })
    }

    /// They, as they are shown.
    pub fn shown(&self) -> Released {
        self.0.clone()
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
        self.0.count += 1;
        self.0.latest.truncate(MOST_LISTED - 1);
        self.0.latest.push_front(ReleasedJob { job: job.to_owned(), time, executor, reason: reason.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_counted_and_the_latest_are_told_with_their_reason() {
        let mut releases = Releases::since(Timestamp::UNIX_EPOCH);
        let attempt = |outcome| Attempt {
            lease: None,
            executor: "node-1".to_owned(),
            begun: Timestamp::UNIX_EPOCH,
            ended: None,
            outcome: Some(outcome),
            output: Vec::new(),
        };
        releases.note_attempt("job/1", attempt(Outcome::Lost), Timestamp::UNIX_EPOCH);
        releases.note_attempt("job/2", attempt(Outcome::Released), Timestamp::UNIX_EPOCH);
        releases.note_entry("job/3", Timestamp::UNIX_EPOCH);
        let told = |released: &Released| -> Vec<(String, Option<String>, String)> {
            released.latest.iter().map(|it| (it.job.clone(), it.executor.clone(), it.reason.clone())).collect()
        };
        let node = || Some("node-1".to_owned());
        let expected = [
            ("job/3".to_owned(), None, "its entry was gone".to_owned()),
            ("job/2".to_owned(), node(), "it was released".to_owned()),
            ("job/1".to_owned(), node(), "its attempt was lost".to_owned()),
        ];
        assert_eq!(told(&releases.shown()), expected);
        (0..100).for_each(|_| releases.note_entry("job/4", Timestamp::UNIX_EPOCH));
        assert_eq!((releases.shown().count, releases.shown().latest.len()), (103, MOST_LISTED));
    }
}
