//! [`ReleaseBackoff`]: how long an executor leaves an entry alone that it has released (decision 15), and why.

use std::collections::BTreeMap;
use std::time::Duration;

use slipstream_coordination::retry::Pauses;
use tokio::time::Instant;

/// The shortest and the longest that a released entry is left alone.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);
/// The same for one whose job has been refused so often that it will be refused again.
const LONGEST_REFUSED: Duration = Duration::from_hours(1);
/// After this many refusals in a row a job is given up: the last comes 8 minutes after the first.
pub(super) const MOST_REFUSALS: u32 = 10;
/// How many entries are remembered.
const CAPACITY: usize = 10_000;

/// Remembers how often each entry was released.
#[derive(Debug, Default)]
pub(super) struct ReleaseBackoff(BTreeMap<String, BackedOff>);

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
pub(super) struct BackedOff {
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

impl ReleaseBackoff {
    /// The entry is released: how long to leave it alone.
    pub(super) fn released(&mut self, entry: &str, job: &str, reason: Reason) -> Duration {
        // What is forgotten is only tried again sooner.
        if self.0.len() >= CAPACITY && !self.0.contains_key(entry) {
            self.0.pop_first();
        }
        let now = Instant::now();
        let first = || BackedOff {
            pauses: Pauses::new(SHORTEST, LONGEST),
            since: now,
            refusals: 0,
            job: job.to_owned(),
            reason: String::new(),
            until: now,
        };
        let entry = self.0.entry(entry.to_owned()).or_insert_with(first);
        entry.refusals = if reason.is_refusal { entry.refusals.saturating_add(1) } else { 0 };
        entry.pauses.limit(if entry.refusals < MOST_REFUSALS { LONGEST } else { LONGEST_REFUSED });
        let pause = entry.pauses.take();
        entry.reason = reason.text;
        entry.until = now + pause;
        pause
    }

    /// How often the entry's job was refused, without anything else in between.
    pub(super) fn refusals(&self, entry: &str) -> u32 {
        self.0.get(entry).map_or(0, |entry| entry.refusals)
    }

    /// How long ago the entry was first released.
    pub(super) fn known_for(&self, entry: &str) -> Duration {
        self.0.get(entry).map_or(Duration::ZERO, |entry| entry.since.elapsed())
    }

    /// The entry is gone, or not ours any more. Answers whether it was remembered.
    pub(super) fn forget(&mut self, entry: &str) -> bool {
        // nearly always there is none
        !self.0.is_empty() && self.0.remove(entry).is_some()
    }

    /// The entries that are left alone now, at most this many, the latest first.
    pub(super) fn latest(&self, most: usize) -> Vec<(&str, &BackedOff)> {
        let now = Instant::now();
        let mut entries: Vec<_> = self.0.iter().filter(|(_, entry)| entry.until > now).collect();
        entries.sort_unstable_by_key(|(_, entry)| std::cmp::Reverse(entry.until));
        entries.truncate(most);
        entries.into_iter().map(|(name, entry)| (name.as_str(), entry)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(backoff: &mut ReleaseBackoff, entry: &str) -> u64 {
        release(backoff, entry, false)
    }

    fn release(backoff: &mut ReleaseBackoff, entry: &str, is_refusal: bool) -> u64 {
        let reason = Reason { text: "a reason".to_owned(), is_refusal };
        backoff.released(entry, "job/1", reason).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_from_a_second_to_five_minutes_for_each_entry() {
        let mut backoff = ReleaseBackoff::default();
        let pauses: Vec<u64> = (0..11).map(|_| released(&mut backoff, "a")).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(released(&mut backoff, "b"), 1);
        assert!(backoff.forget("a") && !backoff.forget("a"));
        assert_eq!(released(&mut backoff, "a"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_of_what_is_refused_again_and_again_double_to_an_hour_until_it_is_something_else() {
        let mut backoff = ReleaseBackoff::default();
        let pauses: Vec<u64> = (0..14).map(|_| release(&mut backoff, "a", true)).collect();
        assert_eq!(pauses[8..], [256, 300, 600, 1200, 2400, 3600]);
        assert_eq!((backoff.refusals("a"), backoff.refusals("b")), (14, 0));
        assert_eq!((released(&mut backoff, "a"), backoff.refusals("a")), (300, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let mut backoff = ReleaseBackoff::default();
        for number in 0..CAPACITY + 10 {
            released(&mut backoff, &format!("entry-{number:010}"));
        }
        assert_eq!(backoff.0.len(), CAPACITY);
        assert_eq!(released(&mut backoff, &format!("entry-{:010}", CAPACITY + 9)), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_are_shown_and_only_as_long_as_they_are_left_alone() {
        let mut backoff = ReleaseBackoff::default();
        for entry in ["a", "b", "b", "c", "c", "c"] {
            released(&mut backoff, entry);
        }
        let latest = |backoff: &ReleaseBackoff| {
            backoff.latest(2).into_iter().map(|(entry, _)| entry.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(latest(&backoff), ["c", "b"]);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(latest(&backoff), ["c"]);
        assert_eq!(backoff.known_for("a"), Duration::from_secs(3));
    }
}
