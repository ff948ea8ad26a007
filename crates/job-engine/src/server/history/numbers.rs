//! [`Numbers`]: what happened to the jobs of one action within some time. Everything here is arithmetic.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use slipstream_cimi::overview::work::Percentiles;

use crate::process::metrics::counters::{BUCKETS, Count, Reading, Span, bound};

/// What happened within some time, by action.
pub type Rows = BTreeMap<Arc<str>, Numbers>;

/// What happened, and how long it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// How often.
    pub counts: Counts,
    /// From the add of a job to the begin of its first attempt.
    pub wait: Times,
    /// How long the attempts ran that ended their jobs.
    pub run: Times,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs added, …
    pub added: u32,
    /// … that became SUCCESS, …
    pub success: u32,
    /// … FAILED …
    pub failed: u32,
    /// … or STOPPED.
    pub stopped: u32,
    /// Attempts that were lost …
    pub lost: u32,
    /// … or given back.
    pub released: u32,
    /// Writes refused.
    pub refused: u32,
}

/// How many took how long, by bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times([u32; BUCKETS]);

impl Counts {
    /// Jobs that ended.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.success.saturating_add(self.failed).saturating_add(self.stopped)
    }

    /// In the order in which documents have them.
    fn to_list(self) -> [u32; 7] {
        let Self { added, success, failed, stopped, lost, released, refused } = self;
        [added, success, failed, stopped, lost, released, refused]
    }

    fn from_list([added, success, failed, stopped, lost, released, refused]: [u32; 7]) -> Self {
        Self { added, success, failed, stopped, lost, released, refused }
    }

    /// The share of these of one part of a time, so that all parts together have all.
    #[must_use]
    pub fn part(self, part: u32, parts: u32) -> Self {
        let until = |count: u32, part: u32| {
            let until = u64::from(count) * u64::from(part) / u64::from(parts.max(1));
            u32::try_from(until).unwrap_or(u32::MAX)
        };
        Self::from_list(self.to_list().map(|count| until(count, part + 1) - until(count, part)))
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let (mut sum, others) = (self.to_list(), other.to_list());
        for (one, other) in sum.iter_mut().zip(others) {
            *one = one.saturating_add(other);
        }
        *self = Self::from_list(sum);
    }
}

impl Times {
    /// What these buckets have; all longer ones are left out.
    pub fn of(buckets: impl IntoIterator<Item = u32>) -> Self {
        let mut times = Self::default();
        for (place, count) in times.0.iter_mut().zip(buckets) {
            *place = count;
        }
        times
    }

    /// How many were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// The middle and the longest but a hundredth; none without any. Each is at most 19 % off, as it is the middle of a
    /// bucket that ends a factor of √2 from where it begins, and a bucket's middle is 2^¼ = 1.19 from either end.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let count = self.count();
        let at = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut before = 0;
            let bucket = self.0.iter().position(|count| {
                before += u64::from(*count);
                before >= rank
            });
            bucket.map(|bucket| bound(bucket) / 2_f64.powf(0.25))
        };
        Some(Percentiles { count, p50: at(50)?, p99: at(99)? })
    }

    /// The first bucket that has any and all from there to the last one; nothing without any.
    fn to_json(&self) -> Value {
        let Some(first) = self.0.iter().position(|count| *count > 0) else { return json!([]) };
        let last = self.0.iter().rposition(|count| *count > 0).unwrap_or(first);
        let counts = self.0[first..=last].iter().map(|count| u64::from(*count));
        std::iter::once(first as u64).chain(counts).collect()
    }

    fn from_json(value: &Value) -> Self {
        let mut numbers = value.as_array().into_iter().flatten().map(|number| number.as_u64().unwrap_or_default());
        let first = numbers.next().and_then(|first| usize::try_from(first).ok()).unwrap_or_default();
        Self::of(std::iter::repeat_n(0, first.min(BUCKETS)).chain(numbers.map(saturated)))
    }
}

impl Default for Times {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl AddAssign<&Self> for Times {
    fn add_assign(&mut self, other: &Self) {
        for (one, other) in self.0.iter_mut().zip(other.0) {
            *one = one.saturating_add(other);
        }
    }
}

impl Numbers {
    /// What was counted between two readings of the counters.
    #[must_use]
    pub(super) fn between(before: &Reading, after: &Reading) -> Self {
        let of = |count: Count| saturated(after.counts[count as usize] - before.counts[count as usize]);
        let times = |span: Span| {
            let (before, after) = (&before.times[span as usize], &after.times[span as usize]);
            Times::of(before.iter().zip(after).map(|(before, after)| saturated(after - before)))
        };
        let refused = [Count::RefusedLate, Count::RefusedSuperseded, Count::RefusedFinal, Count::RefusedConflict];
        let counts = Counts {
            added: of(Count::Added),
            success: of(Count::Success),
            failed: of(Count::Failed),
            stopped: of(Count::Stopped),
            lost: of(Count::AttemptLost),
            released: of(Count::AttemptReleased),
            refused: refused.map(of).into_iter().fold(0, u32::saturating_add),
        };
        Self { counts, wait: times(Span::Wait), run: times(Span::Run) }
    }

    fn to_json(&self) -> Value {
        json!({"counts": self.counts.to_list(), "wait": self.wait.to_json(), "run": self.run.to_json()})
    }

    fn from_json(value: &Value) -> Self {
        let mut counts = [0; 7];
        for (count, stored) in counts.iter_mut().zip(value["counts"].as_array().into_iter().flatten()) {
            *count = saturated(stored.as_u64().unwrap_or_default());
        }
        let times = |name: &str| Times::from_json(&value[name]);
        Self { counts: Counts::from_list(counts), wait: times("wait"), run: times("run") }
    }
}

impl AddAssign<&Self> for Numbers {
    fn add_assign(&mut self, other: &Self) {
        self.counts += other.counts;
        self.wait += &other.wait;
        self.run += &other.run;
    }
}

/// Adds rows to others.
pub fn add(rows: &mut Rows, others: &Rows) {
    for (action, numbers) in others {
        *rows.entry(action.clone()).or_default() += numbers;
    }
}

/// Rows as a document has them.
#[must_use]
pub fn to_json(rows: &Rows) -> Value {
    Value::Object(rows.iter().map(|(action, numbers)| (action.to_string(), numbers.to_json())).collect::<Map<_, _>>())
}

/// Rows of a document. What is none of ours counts as nothing.
#[must_use]
pub fn from_json(value: &Value) -> Rows {
    let rows = value.as_object().into_iter().flatten();
    rows.map(|(action, numbers)| (Arc::from(action.as_str()), Numbers::from_json(numbers))).collect()
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_those_of_the_times_within_a_fifth() {
        assert_eq!(Times::default().percentiles(), None);
        // 98 of a second and two of a minute: a second is in the bucket that ends at 2^10 ms
        let mut buckets = [0; BUCKETS];
        (buckets[20], buckets[32]) = (98, 2);
        let found = Times::of(buckets).percentiles().unwrap();
        assert_eq!(found.count, 100);
        for (found, true_one) in [(found.p50, 1.0), (found.p99, 60.0)] {
            assert!((1.0 / 1.19..=1.19).contains(&(found / true_one)), "{found} for {true_one}");
        }
        let one = Times::of([1]).percentiles().unwrap();
        assert!(one.p50 < 0.001 && (one.p50 - one.p99).abs() < f64::EPSILON);
    }

    #[test]
    fn parts_of_a_time_have_all_of_it_together() {
        let counts = Counts { added: 7, failed: 1, success: 60, ..Counts::default() };
        let mut sum = Counts::default();
        let parts: Vec<u32> =
            (0..6).map(|part| counts.part(part, 6)).map(|part| (sum += part, part.success).1).collect();
        assert_eq!((sum, parts), (counts, vec![10; 6]));
    }

    #[test]
    fn what_is_none_of_ours_counts_as_nothing() {
        for text in
            ["null", "[]", r#"{"noop": 7}"#, r#"{"noop": {"counts": ["x", -1], "wait": [9999, 1], "run": [51, 1, 2]}}"#]
        {
            let rows = from_json(&serde_json::from_str(text).unwrap());
            assert!(
                rows.values().all(|numbers| numbers.counts == Counts::default() && numbers.wait.count() == 0),
                "{text}"
            );
        }
    }

    fn numbers() -> impl Strategy<Value = Numbers> {
        let times = || prop::collection::vec(0..5_u32, BUCKETS).prop_map(Times::of);
        (prop::array::uniform7(any::<u32>()), times(), times()).prop_map(|(counts, wait, run)| Numbers {
            counts: Counts::from_list(counts),
            wait,
            run,
        })
    }

    proptest! {
        #[test]
        fn a_document_has_what_happened(rows in prop::collection::btree_map("[a-z]{1,3}", numbers(), 0..4)) {
            let rows: Rows = rows.into_iter().map(|(action, numbers)| (Arc::from(action), numbers)).collect();
            prop_assert_eq!(from_json(&to_json(&rows)), rows);
        }
    }
}
