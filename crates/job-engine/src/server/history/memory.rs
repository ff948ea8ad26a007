//! [`Memory`]: what happened lately, by second and by minute, and what no document has yet. It knows no clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::numbers::{Counts, Rows, add};

/// Seconds that are kept: a quarter of an hour.
const SECONDS: i64 = 900;
/// Minutes whose times are kept: those in which the kept seconds are.
const MINUTES: i64 = 16;
/// What is noted so many seconds late counts as the latest second: two who note may overtake each other.
const LATE: i64 = 5;
/// Minutes that wait for a store that cannot be written; older ones are lost then.
const MOST_UNWRITTEN: usize = 60;

/// What happened in a second, by action.
pub type Second = (i64, Vec<(Arc<str>, Counts)>);

/// What happened lately.
///
/// With 65 actions of which each does something in each second it has 900 × 65 rows of seconds of 48 bytes and 16 × 65 of
/// minutes of 460, 3.3 MB; as much as two minutes more, 0.1 MB, waits for its document, and 1.8 MB after an hour in which
/// the store could not be written. With two actions it has a thirtieth of that.
#[derive(Debug, Default)]
pub struct Memory {
    /// In order.
    seconds: VecDeque<Second>,
    /// In order.
    minutes: VecDeque<(i64, Rows)>,
    /// By the second with which a minute begins.
    unwritten: BTreeMap<i64, Rows>,
}

impl Memory {
    /// What happened in this second. What is far ahead of it was noted by a clock that was set back since.
    pub fn note(&mut self, second: i64, rows: &Rows) {
        let latest = self.seconds.back().map(|(latest, _)| *latest);
        let second = latest.filter(|latest| (second..=second + LATE).contains(latest)).unwrap_or(second);
        let minute = minute_of(second);
        while self.seconds.back().is_some_and(|(last, _)| *last > second) {
            self.seconds.pop_back();
        }
        while self.minutes.back().is_some_and(|(last, _)| *last > minute) {
            self.minutes.pop_back();
        }
        while self.seconds.front().is_some_and(|(first, _)| *first <= second - SECONDS) {
            self.seconds.pop_front();
        }
        while self.minutes.front().is_some_and(|(first, _)| *first <= minute - 60 * MINUTES) {
            self.minutes.pop_front();
        }
        if self.seconds.back().is_none_or(|(last, _)| *last < second) {
            let counts = rows.iter().map(|(action, numbers)| (action.clone(), numbers.counts));
            self.seconds.push_back((second, counts.collect()));
        } else if let Some((_, same)) = self.seconds.back_mut() {
            for (action, numbers) in rows {
                match same.iter_mut().find(|(known, _)| known == action) {
                    Some((_, counts)) => *counts += numbers.counts,
                    None => same.push((action.clone(), numbers.counts)),
                }
            }
        }
        if self.minutes.back().is_none_or(|(last, _)| *last < minute) {
            self.minutes.push_back((minute, Rows::new()));
        }
        if let Some((_, same)) = self.minutes.back_mut() {
            add(same, rows);
        }
        add(self.unwritten.entry(minute).or_default(), rows);
    }

    /// Seconds from this one on, in order.
    pub fn seconds_from(&self, begin: i64) -> impl Iterator<Item = &Second> {
        self.seconds.iter().filter(move |(second, _)| *second >= begin)
    }

    /// Minutes of which a part is not before this second, in order.
    pub fn minutes_from(&self, begin: i64) -> impl Iterator<Item = &(i64, Rows)> {
        self.minutes.iter().filter(move |(minute, _)| *minute > begin - 60)
    }

    /// Minutes that no document has.
    pub fn unwritten(&self) -> &BTreeMap<i64, Rows> {
        &self.unwritten
    }

    /// Takes the minutes that ended by this second, to write them.
    pub fn take_unwritten(&mut self, until: i64) -> BTreeMap<i64, Rows> {
        let later = self.unwritten.split_off(&(until - 59));
        std::mem::replace(&mut self.unwritten, later)
    }

    /// Gives back minutes that could not be written. Answers how many of them are lost.
    pub fn give_back(&mut self, minutes: BTreeMap<i64, Rows>) -> usize {
        for (minute, rows) in minutes {
            add(self.unwritten.entry(minute).or_default(), &rows);
        }
        let lost = self.unwritten.len().saturating_sub(MOST_UNWRITTEN);
        (0..lost).for_each(|_| drop(self.unwritten.pop_first()));
        lost
    }
}

/// The second with which the minute begins that has this one.
#[must_use]
pub fn minute_of(second: i64) -> i64 {
    second - second.rem_euclid(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::history::numbers::Numbers;

    fn rows(action: &str, added: u32) -> Rows {
        let counts = Counts { added, ..Counts::default() };
        Rows::from([(Arc::from(action), Numbers { counts, ..Numbers::default() })])
    }

    fn added(memory: &Memory) -> Vec<(i64, u32)> {
        let sum = |rows: &Vec<(Arc<str>, Counts)>| rows.iter().map(|(_, counts)| counts.added).sum();
        memory.seconds_from(i64::MIN).map(|(second, rows)| (*second, sum(rows))).collect()
    }

    #[test]
    fn a_quarter_of_an_hour_is_kept_by_second() {
        let mut memory = Memory::default();
        for (second, action) in [(0, "a"), (5, "a"), (5, "b"), (5, "a"), (899, "a")] {
            memory.note(second, &rows(action, 1));
        }
        assert_eq!(added(&memory), [(0, 1), (5, 3), (899, 1)]);
        memory.note(900, &rows("a", 1));
        assert_eq!(added(&memory), [(5, 3), (899, 1), (900, 1)]);
        assert_eq!(memory.minutes_from(5).map(|(minute, _)| *minute).collect::<Vec<_>>(), [0, 840, 900]);
        for second in 1_000..9_000 {
            memory.note(second, &rows("a", 1));
        }
        assert_eq!((memory.seconds.len(), memory.minutes.len()), (900, 16));
    }

    #[test]
    fn what_is_noted_a_moment_late_takes_nothing_away() {
        let mut memory = Memory::default();
        for second in [10, 11, 10] {
            memory.note(second, &rows("a", 1));
        }
        assert_eq!(added(&memory), [(10, 1), (11, 2)]);
    }

    #[test]
    fn what_a_clock_noted_that_was_ahead_is_forgotten() {
        let mut memory = Memory::default();
        for second in [10, 5_000, 20] {
            memory.note(second, &rows("a", 1));
        }
        assert_eq!(added(&memory), [(20, 1)], "the second of before the clock went ahead is too old by it");
        assert_eq!(
            memory.unwritten().keys().copied().collect::<Vec<_>>(),
            [0, 4_980],
            "documents have it all the same"
        );
    }

    #[test]
    fn each_minute_is_taken_once_it_has_ended_and_kept_until_it_is_written() {
        let mut memory = Memory::default();
        for second in [59, 60, 61, 120] {
            memory.note(second, &rows("a", 1));
        }
        assert_eq!(memory.take_unwritten(59), BTreeMap::new());
        let taken = memory.take_unwritten(120);
        assert_eq!(
            taken.iter().map(|(minute, rows)| (*minute, rows["a"].counts.added)).collect::<Vec<_>>(),
            [(0, 1), (60, 2)]
        );
        memory.note(62, &rows("a", 1));
        assert_eq!(memory.give_back(taken), 0);
        assert_eq!(memory.unwritten()[&60]["a"].counts.added, 3);
        let many = (0..100).map(|minute| (minute * 60, rows("a", 1))).collect();
        assert_eq!(memory.give_back(many), 40);
        assert_eq!(memory.unwritten().len(), MOST_UNWRITTEN);
    }
}
