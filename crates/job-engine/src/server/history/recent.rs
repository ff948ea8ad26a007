//! [`Recent`]: the latest failures and the latest writes that came too late, one by one, in memory.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use slipstream_cimi::overview::work::{Failures, LateWrite};

/// How many of each are kept: with their texts at most 200 × (120 × 4 + 300) bytes, 160 KB.
const KEPT: usize = 200;
/// Most characters of a message.
const LONGEST: usize = 120;
/// What stands for a message where there is none.
const NO_MESSAGE: &str = "without a message";

/// A job that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub time: Timestamp,
    /// Id of the job.
    pub job: String,
    /// Its action.
    pub action: String,
    /// The first line of its message.
    pub message: String,
}

/// The latest of both, newest last.
#[derive(Debug, Default)]
pub struct Recent {
    failures: VecDeque<Failure>,
    late: VecDeque<LateWrite>,
}

impl Recent {
    /// A job has failed with this message.
    pub fn note_failure(&mut self, time: Timestamp, job: &str, action: &str, message: &str) {
        let failure = Failure { time, job: job.to_owned(), action: short(action), message: short(first_line(message)) };
        push(&mut self.failures, failure);
    }

    /// A write came too late.
    pub fn note_late(&mut self, write: LateWrite) {
        push(&mut self.late, write);
    }

    /// Failures since then, the same of one action together: the most frequent first.
    #[must_use]
    pub fn failures_since(&self, since: Timestamp) -> Vec<Failures> {
        let mut alike: BTreeMap<(&str, &str), Failures> = BTreeMap::new();
        for failure in self.failures.iter().filter(|failure| failure.time >= since) {
            let same = alike.entry((&failure.action, &failure.message)).or_insert_with(|| Failures {
                action: failure.action.clone(),
                message: failure.message.clone(),
                count: 0,
                latest: failure.time,
                job: failure.job.clone(),
            });
            same.count += 1;
            if failure.time >= same.latest {
                (same.latest, same.job) = (failure.time, failure.job.clone());
            }
        }
        let mut alike: Vec<Failures> = alike.into_values().collect();
        alike.sort_by_key(|same| std::cmp::Reverse(same.count));
        alike
    }

    /// Late writes since then, newest first.
    #[must_use]
    pub fn late_since(&self, since: Timestamp) -> Vec<LateWrite> {
        self.late.iter().rev().filter(|write| write.time >= since).cloned().collect()
    }
}

fn push<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= KEPT {
        list.pop_front();
    }
    list.push_back(item);
}

fn first_line(message: &str) -> &str {
    message.trim_start().lines().next().filter(|line| !line.trim().is_empty()).unwrap_or(NO_MESSAGE)
}

fn short(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST).map(|(end, _)| end);
    end.map_or_else(|| text.to_owned(), |end| format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn failures_of_one_action_with_one_first_line_are_told_together() {
        let mut recent = Recent::default();
        for (second, action, message) in [
            (1, "a", "401 Unauthorized\nby x"),
            (2, "a", "401 Unauthorized\nby y"),
            (3, "b", "401 Unauthorized"),
            (4, "a", ""),
        ] {
            recent.note_failure(at(second), &format!("job/{second}"), action, message);
        }
        let told: Vec<_> =
            recent.failures_since(at(0)).into_iter().map(|it| (it.action, it.message, it.count, it.job)).collect();
        let of = |action: &str, message: &str, count, job: &str| {
            (action.to_owned(), message.to_owned(), count, job.to_owned())
        };
        let expected = [
            of("a", "401 Unauthorized", 2, "job/2"),
            of("a", NO_MESSAGE, 1, "job/4"),
            of("b", "401 Unauthorized", 1, "job/3"),
        ];
        assert_eq!(told, expected);
        assert_eq!(recent.failures_since(at(3)).len(), 2);
    }

    #[test]
    fn so_many_are_kept_and_so_much_of_each() {
        let mut recent = Recent::default();
        for second in 0..1_000 {
            recent.note_failure(at(second), "job/1", "a", &"é".repeat(10_000));
        }
        assert_eq!(recent.failures.len(), KEPT);
        assert!(recent.failures.iter().all(|failure| failure.message.chars().count() == LONGEST + 1));
        assert_eq!(recent.failures_since(at(0))[0].latest, at(999));
    }
}
