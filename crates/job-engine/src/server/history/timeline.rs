//! [`Timeline`]: what happened within a span, by action, in points. It knows no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use slipstream_cimi::overview::work::{ActionWork, POINTS, Series, Span, Totals};

use super::numbers::{Counts, Numbers, Times};

/// How many points of a [`Series`] are one of an action's.
const TOGETHER: usize = 3;

/// What happened within a span.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The second with which the first point begins.
    begin: i64,
    /// Seconds of a point.
    step: i64,
    actions: BTreeMap<Arc<str>, Line>,
}

/// What happened to the jobs of one action.
#[derive(Clone, Debug)]
struct Line {
    numbers: Numbers,
    points: [Point; POINTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Point {
    added: u64,
    ended: u64,
    failed: u64,
}

impl Timeline {
    /// Of nothing yet. Its last point is the one in which `now` is.
    #[must_use]
    pub fn until(now: i64, span: Span) -> Self {
        let step = i64::from(span.step());
        let points = i64::try_from(POINTS).unwrap_or_default();
        let begin = now - now.rem_euclid(step) - step * (points - 1);
        Self { begin, step, actions: BTreeMap::new() }
    }

    /// The second with which it begins.
    #[must_use]
    pub fn begin(&self) -> i64 {
        self.begin
    }

    /// Adds what happened within so many seconds from this one on, in even parts to the points that they are in. What
    /// began before the first point is none of it.
    pub fn add(&mut self, second: i64, seconds: i64, action: &Arc<str>, numbers: &Numbers) {
        if second >= self.begin {
            self.add_counts(second, seconds, action, numbers.counts);
            self.add_times(action, &numbers.wait, &numbers.run);
        }
    }

    /// The same of counts alone.
    pub fn add_counts(&mut self, second: i64, seconds: i64, action: &Arc<str>, counts: Counts) {
        let Some(first) = self.place(second) else { return };
        let parts = u32::try_from(seconds / self.step).unwrap_or(1).max(1);
        let line = self.line(action);
        line.numbers.counts += counts;
        for (part, point) in (0..parts).zip(line.points.iter_mut().skip(first)) {
            let counts = counts.part(part, parts);
            point.added += u64::from(counts.added);
            point.ended += u64::from(counts.ended());
            point.failed += u64::from(counts.failed);
        }
    }

    /// How long something took, at whatever time within the span.
    pub fn add_times(&mut self, action: &Arc<str>, wait: &Times, run: &Times) {
        let line = self.line(action);
        line.numbers.wait += wait;
        line.numbers.run += run;
    }

    fn line(&mut self, action: &Arc<str>) -> &mut Line {
        let new = || Line { numbers: Numbers::default(), points: [Point::default(); POINTS] };
        self.actions.entry(action.clone()).or_insert_with(new)
    }

    fn place(&self, second: i64) -> Option<usize> {
        let place = usize::try_from((second - self.begin).div_euclid(self.step)).ok()?;
        (place < POINTS).then_some(place)
    }

    /// All actions together. Rates are for who knows them.
    #[must_use]
    pub fn total(&self) -> Totals {
        let mut total = Totals::default();
        let (mut wait, mut run) = (Times::default(), Times::default());
        for Line { numbers, .. } in self.actions.values() {
            let Counts { added, success, failed, stopped, lost, released, refused } = numbers.counts;
            let sums = [
                (&mut total.added, added),
                (&mut total.success, success),
                (&mut total.failed, failed),
                (&mut total.stopped, stopped),
                (&mut total.lost, lost),
                (&mut total.released, released),
                (&mut total.refused, refused),
            ];
            for (sum, count) in sums {
                *sum += u64::from(count);
            }
            wait += &numbers.wait;
            run += &numbers.run;
        }
        Totals { wait: wait.percentiles(), run: run.percentiles(), ..total }
    }

    /// All actions together, over time.
    #[must_use]
    pub fn series(&self) -> Series {
        let sum = |of: fn(&Point) -> u64| {
            let at = |place: usize| self.actions.values().map(|line| of(&line.points[place])).sum();
            (0..POINTS).map(at).collect()
        };
        Series {
            begin: Timestamp::from_second(self.begin).unwrap_or(Timestamp::MIN),
            step: u32::try_from(self.step).unwrap_or(u32::MAX),
            added: sum(|point| point.added),
            ended: sum(|point| point.ended),
            failed: sum(|point| point.failed),
        }
    }

    /// Each action, those with most jobs first.
    #[must_use]
    pub fn actions(&self) -> Vec<ActionWork> {
        let work = |(name, Line { numbers, points }): (&Arc<str>, &Line)| ActionWork {
            name: name.to_string(),
            added: numbers.counts.added.into(),
            ended: numbers.counts.ended().into(),
            failed: numbers.counts.failed.into(),
            wait: numbers.wait.percentiles(),
            run: numbers.run.percentiles(),
            series: together(points, |point| point.ended),
            failed_series: together(points, |point| point.failed),
        };
        let mut actions: Vec<ActionWork> = self.actions.iter().map(work).collect();
        actions.sort_by_key(|action| std::cmp::Reverse(action.added.max(action.ended)));
        actions
    }
}

/// This number of each point, of so many points in one.
fn together(points: &[Point], of: fn(&Point) -> u64) -> Vec<u64> {
    points.chunks(TOGETHER).map(|points| points.iter().map(of).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(added: u32, failed: u32) -> Numbers {
        Numbers { counts: Counts { added, failed, ..Counts::default() }, ..Numbers::default() }
    }

    #[test]
    fn the_last_point_is_that_of_now_and_each_thing_is_at_its_time() {
        let now = 1_000_005;
        let mut timeline = Timeline::until(now, Span::Quarter);
        assert_eq!(timeline.begin(), 1_000_000 - 890);
        let action = Arc::from("a");
        for second in [now, now - 4, now - 6, timeline.begin(), timeline.begin() - 1, now + 60] {
            timeline.add(second, 1, &action, &numbers(1, 0));
        }
        let series = timeline.series();
        let there: Vec<(usize, u64)> = series.added.into_iter().enumerate().filter(|(_, added)| *added > 0).collect();
        assert_eq!(there, [(0, 1), (88, 1), (89, 2)]);
        assert_eq!((timeline.total().added, series.step), (4, 10));
    }

    #[test]
    fn a_minute_is_spread_over_its_points_and_stays_one_point_of_longer_spans() {
        let action = Arc::from("a");
        let mut quarter = Timeline::until(1_200, Span::Quarter);
        quarter.add(600, 60, &action, &numbers(60, 7));
        let series = quarter.series();
        assert_eq!(series.added.iter().filter(|added| **added == 10).count(), 6);
        assert_eq!((series.failed.iter().sum::<u64>(), quarter.total().failed), (7, 7));
        let mut day = Timeline::until(1_200, Span::Day);
        day.add(600, 60, &action, &numbers(60, 7));
        assert_eq!(day.series().added.iter().filter(|added| **added > 0).collect::<Vec<_>>(), [&60]);
    }

    #[test]
    fn actions_come_by_how_much_they_did_with_a_third_of_the_points() {
        let mut timeline = Timeline::until(0, Span::Season);
        for (action, added, failed) in [("few", 1, 1), ("many", 9, 3), ("few", 1, 0)] {
            timeline.add(0, 3_600, &Arc::from(action), &numbers(added, failed));
        }
        let stopped = Counts { stopped: 2, ..Counts::default() };
        timeline.add_counts(0, 3_600, &Arc::from("few"), stopped);
        let told: Vec<_> =
            timeline.actions().into_iter().map(|it| (it.name, it.added, it.series, it.failed_series)).collect();
        let last = |count| [vec![0; 29], vec![count]].concat();
        assert_eq!(told, [("many".to_owned(), 9, last(3), last(3)), ("few".to_owned(), 2, last(3), last(1))]);
    }
}
