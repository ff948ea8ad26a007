//! [`Avoidance`]: how long an executor leaves an entry alone that it released (decision 15).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::pauses::Pauses;

/// The longest that a released entry is left alone.
const LONGEST: Duration = Duration::from_mins(5);
/// How many entries are remembered.
const CAPACITY: usize = 10_000;

/// Remembers how often each entry was released.
#[derive(Debug, Default)]
pub(super) struct Avoidance(BTreeMap<String, Pauses>);

impl Avoidance {
    /// The entry is released: how long to leave it alone.
    pub(super) fn released(&mut self, entry: &str) -> Duration {
        // What is forgotten is only tried again sooner.
        if self.0.len() >= CAPACITY && !self.0.contains_key(entry) {
            self.0.pop_first();
        }
        self.0.entry(entry.to_owned()).or_insert_with(|| Pauses::up_to(LONGEST)).take()
    }

    /// The entry is gone, or not ours any more.
    pub(super) fn forget(&mut self, entry: &str) {
        self.0.remove(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_second_to_five_minutes_for_each_entry() {
        let mut avoidance = Avoidance::default();
        let pauses: Vec<u64> = (0..11).map(|_| avoidance.released("a").as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(avoidance.released("b").as_secs(), 1);
        avoidance.forget("a");
        assert_eq!(avoidance.released("a").as_secs(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut avoidance = Avoidance::default();
        for number in 0..CAPACITY + 10 {
            avoidance.released(&format!("entry-{number:010}"));
        }
        assert_eq!(avoidance.0.len(), CAPACITY);
        assert_eq!(avoidance.released(&format!("entry-{:010}", CAPACITY + 9)).as_secs(), 2);
    }
}
