//! [`Avoidance`]: how long an executor leaves an entry alone that it released (decision 15), and why.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::process::backoff::Pauses;

/// The longest that a released entry is left alone.
const LONGEST: Duration = Duration::from_mins(5);
/// The same for one whose job has been refused so often that nobody expects anything else.
const LONGEST_REFUSED: Duration = Duration::from_hours(1);
/// So many refusals of a job, one after the other, are meant: the last comes 8 minutes after the first.
pub(super) const MOST_REFUSALS: u32 = 10;
/// How many entries are remembered.
const CAPACITY: usize = 10_000;

/// Remembers how often each entry was released.
#[derive(Debug, Default)]
pub(super) struct Avoidance(BTreeMap<String, Avoided>);

/// Why an entry is released.
#[derive(Debug)]
pub(super) struct Reason {
    /// In words for people.
    pub(super) text: String,
    /// Whether its job is refused for what it is.
    pub(super) is_refusal: bool,
}

/// An entry that is left alone.
#[derive(Clone, Debug)]
pub(super) struct Avoided {
    pauses: Pauses,
    /// When it was first released.
    since: Instant,
    /// How often its job was refused, without anything else in between.
    refusals: u32,
    /// Id of its job.
    pub(super) job: String,
    /// Why, in words for people.
    pub(super) reason: String,
    /// Until when.
    pub(super) until: Instant,
}

impl Avoidance {
    /// The entry is released: how long to leave it alone.
    pub(super) fn released(&mut self, entry: &str, job: &str, reason: Reason) -> Duration {
        // What is forgotten is only tried again sooner.
        if self.0.len() >= CAPACITY && !self.0.contains_key(entry) {
            self.0.pop_first();
        }
        let now = Instant::now();
        let first = || Avoided {
            pauses: Pauses::up_to(LONGEST),
            since: now,
            refusals: 0,
            job: job.to_owned(),
            reason: String::new(),
            until: now,
        };
        let avoided = self.0.entry(entry.to_owned()).or_insert_with(first);
        avoided.refusals = if reason.is_refusal { avoided.refusals.saturating_add(1) } else { 0 };
        avoided.pauses.limit(if avoided.refusals < MOST_REFUSALS { LONGEST } else { LONGEST_REFUSED });
        let pause = avoided.pauses.take();
        avoided.reason = reason.text;
        avoided.until = now + pause;
        pause
    }

    /// How often the entry's job was refused, without anything else in between.
    pub(super) fn refusals(&self, entry: &str) -> u32 {
        self.0.get(entry).map_or(0, |avoided| avoided.refusals)
    }

    /// How long ago the entry was first released.
    pub(super) fn known_for(&self, entry: &str) -> Duration {
        self.0.get(entry).map_or(Duration::ZERO, |avoided| avoided.since.elapsed())
    }

    /// The entry is gone, or not ours any more. Answers whether it was remembered.
    pub(super) fn forget(&mut self, entry: &str) -> bool {
        // nearly always there is none
        !self.0.is_empty() && self.0.remove(entry).is_some()
    }

    /// At most so many of those that are left alone now, the latest first.
    pub(super) fn latest(&self, most: usize) -> Vec<(&str, &Avoided)> {
        let now = Instant::now();
        let mut avoided: Vec<_> = self.0.iter().filter(|(_, avoided)| avoided.until > now).collect();
        avoided.sort_unstable_by_key(|(_, avoided)| std::cmp::Reverse(avoided.until));
        avoided.truncate(most);
        avoided.into_iter().map(|(entry, avoided)| (entry.as_str(), avoided)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(avoidance: &mut Avoidance, entry: &str) -> u64 {
        release(avoidance, entry, false)
    }

    fn release(avoidance: &mut Avoidance, entry: &str, is_refusal: bool) -> u64 {
        let reason = Reason { text: "a reason".to_owned(), is_refusal };
        avoidance.released(entry, "job/1", reason).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_from_a_second_to_five_minutes_for_each_entry() {
        let mut avoidance = Avoidance::default();
        let pauses: Vec<u64> = (0..11).map(|_| released(&mut avoidance, "a")).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(released(&mut avoidance, "b"), 1);
        assert!(avoidance.forget("a") && !avoidance.forget("a"));
        assert_eq!(released(&mut avoidance, "a"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_of_what_is_refused_again_and_again_double_to_an_hour_until_it_is_something_else() {
        let mut avoidance = Avoidance::default();
        let pauses: Vec<u64> = (0..14).map(|_| release(&mut avoidance, "a", true)).collect();
        assert_eq!(pauses[8..], [256, 300, 600, 1200, 2400, 3600]);
        assert_eq!((avoidance.refusals("a"), avoidance.refusals("b")), (14, 0));
        assert_eq!((released(&mut avoidance, "a"), avoidance.refusals("a")), (300, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let mut avoidance = Avoidance::default();
        for number in 0..CAPACITY + 10 {
            released(&mut avoidance, &format!("entry-{number:010}"));
        }
        assert_eq!(avoidance.0.len(), CAPACITY);
        assert_eq!(released(&mut avoidance, &format!("entry-{:010}", CAPACITY + 9)), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_are_told_and_only_as_long_as_they_are_left_alone() {
        let mut avoidance = Avoidance::default();
        for entry in ["a", "b", "b", "c", "c", "c"] {
            released(&mut avoidance, entry);
        }
        let told = |avoidance: &Avoidance| {
            avoidance.latest(2).into_iter().map(|(entry, _)| entry.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(told(&avoidance), ["c", "b"]);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(told(&avoidance), ["c"]);
        assert_eq!(avoidance.known_for("a"), Duration::from_secs(3));
    }
}
