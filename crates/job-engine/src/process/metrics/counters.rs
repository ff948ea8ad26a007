//! [`Counters`]: what the changes of jobs count, by action. The one source: metrics are read from it at a scrape, and the
//! server's history is made of its differences.
//!
//! It is on the path of each job: an action that is known is found without a lock and without an allocation, and counting
//! is an addition to an atomic or two.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// So many actions are counted by name, those that come first; the others together.
pub(crate) const MOST_ACTIONS: usize = 200;
/// What those are called.
pub(crate) const OTHER: &str = slipstream_cimi::overview::work::OTHER;
/// Places for names, most of which stay empty so that a name is found in the first place or two: 8 KiB.
const PLACES: usize = 512;
/// Of times: from a millisecond to 13 hours, a factor of √2 apart; what takes longer is in the last one.
pub(crate) const BUCKETS: usize = 52;
/// How many kinds of [`Count`] there are.
pub(crate) const COUNTS: usize = 12;

/// What is counted of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// A job was added.
    Added,
    /// A job is SUCCESS, …
    Success,
    /// … FAILED, …
    Failed,
    /// … or STOPPED.
    Stopped,
    /// An attempt has ended its job, …
    AttemptFinished,
    /// … which is FAILED, …
    AttemptFailed,
    /// … or has given it back, …
    AttemptReleased,
    /// … or is lost.
    AttemptLost,
    /// A write was refused since its lease is late, …
    RefusedLate,
    /// … since the job is queued under another entry, …
    RefusedSuperseded,
    /// … since the job has ended, …
    RefusedFinal,
    /// … or for another contradiction.
    RefusedConflict,
}

/// What is measured of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// From the add of a job to the begin of its first attempt.
    Wait,
    /// From the begin of the attempt that ended its job to that end, unless somebody has stopped the job.
    Run,
}

/// Numbers of one action since the process began.
pub(crate) struct OfAction {
    /// Its name, or [`OTHER`].
    pub(crate) name: Box<str>,
    counts: [AtomicU64; COUNTS],
    times: [Times; 2],
}

/// How long something took, each time.
struct Times {
    buckets: [AtomicU64; BUCKETS],
    /// All of it, in microseconds.
    sum: AtomicU64,
}

/// [`OfAction`] at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// By [`Count`].
    pub(crate) counts: [u64; COUNTS],
    /// By [`Span`], then by bucket.
    pub(crate) times: [[u64; BUCKETS]; 2],
}

/// All actions.
pub(crate) struct Counters {
    places: [OnceLock<Box<OfAction>>; PLACES],
    other: OnceLock<Box<OfAction>>,
    hasher: RandomState,
    /// How many are known by name.
    known: AtomicUsize,
    /// Held by whoever adds one.
    adding: Mutex<()>,
    /// Something was counted since [`Self::changed`] was last awaited.
    is_changed: AtomicBool,
    change: Notify,
}

impl Counters {
    /// Counts one.
    pub(crate) fn count(&self, action: &str, count: Count) {
        // in one order with the flag: what is not told of by it is seen by whoever has taken it back
        self.of(action).counts[count as usize].fetch_add(1, Ordering::SeqCst);
        self.tell();
    }

    /// Counts how long something took.
    pub(crate) fn measure(&self, action: &str, span: Span, duration: Duration) {
        let times = &self.of(action).times[span as usize];
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        times.sum.fetch_add(micros, Ordering::Relaxed);
        times.buckets[bucket(micros)].fetch_add(1, Ordering::SeqCst);
        self.tell();
    }

    /// Waits until something is counted that no wait before has told of. One waits at a time.
    pub(crate) async fn changed(&self) {
        loop {
            let told = self.change.notified();
            if self.is_changed.swap(false, Ordering::SeqCst) {
                return;
            }
            told.await;
        }
    }

    /// All actions that something was counted of.
    pub(crate) fn actions(&self) -> impl Iterator<Item = &OfAction> {
        self.places.iter().chain([&self.other]).filter_map(|place| place.get().map(|of| &**of))
    }

    fn tell(&self) {
        if !self.is_changed.load(Ordering::SeqCst) && !self.is_changed.swap(true, Ordering::SeqCst) {
            self.change.notify_one();
        }
    }

    fn of(&self, action: &str) -> &OfAction {
        self.find(action).unwrap_or_else(|_| self.add(action))
    }

    /// The numbers of an action that is known, or the first empty place where it would be.
    fn find(&self, action: &str) -> Result<&OfAction, usize> {
        let first = usize::try_from(self.hasher.hash_one(action) % PLACES as u64).unwrap_or_default();
        for place in (first..PLACES).chain(0..first) {
            match self.places[place].get() {
                Some(of) if &*of.name == action => return Ok(of),
                Some(_) => {}
                None => return Err(place),
            }
        }
        unreachable!("most places stay empty")
    }

    fn add(&self, action: &str) -> &OfAction {
        // one that is called so shares its numbers
        if action == OTHER || self.known.load(Ordering::Acquire) >= MOST_ACTIONS {
            return self.other.get_or_init(|| OfAction::new(OTHER));
        }
        let adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        // somebody may have been faster
        match self.find(action) {
            Ok(of) => of,
            Err(empty) if self.known.load(Ordering::Acquire) < MOST_ACTIONS => {
                self.known.fetch_add(1, Ordering::Release);
                self.places[empty].get_or_init(|| OfAction::new(action))
            }
            Err(_) => {
                drop(adding);
                self.add(action)
            }
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            places: [const { OnceLock::new() }; PLACES],
            other: OnceLock::new(),
            hasher: RandomState::new(),
            known: AtomicUsize::new(0),
            adding: Mutex::default(),
            is_changed: AtomicBool::new(false),
            change: Notify::new(),
        }
    }
}

impl OfAction {
    fn new(name: &str) -> Box<Self> {
        let times = || Times { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0) };
        let counts = [const { AtomicU64::new(0) }; COUNTS];
        Box::new(Self { name: name.into(), counts, times: [times(), times()] })
    }

    /// How many so far.
    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::SeqCst)
    }

    /// How many of each length so far.
    pub(crate) fn buckets(&self, span: Span) -> [u64; BUCKETS] {
        self.times[span as usize].buckets.each_ref().map(|bucket| bucket.load(Ordering::SeqCst))
    }

    /// How long all of them took.
    pub(crate) fn sum(&self, span: Span) -> Duration {
        Duration::from_micros(self.times[span as usize].sum.load(Ordering::Relaxed))
    }

    /// All of it. What is counted meanwhile may be in it in part.
    pub(crate) fn read(&self) -> Reading {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::SeqCst));
        Reading { counts, times: [Span::Wait, Span::Run].map(|span| self.buckets(span)) }
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self { counts: [0; COUNTS], times: [[0; BUCKETS]; 2] }
    }
}

/// The longest time of a bucket, in seconds; the last one has longer ones, too.
pub(crate) fn bound(bucket: usize) -> f64 {
    let half_steps = u32::try_from(bucket).map_or(f64::MAX, f64::from);
    0.001 * (half_steps / 2.0).exp2()
}

fn bucket(micros: u64) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "the places of times that nobody can tell apart")]
    let millis = micros as f64 / 1000.0;
    let half_steps = (2.0 * millis.max(1.0).log2()).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 128")]
    let bucket = half_steps as usize;
    bucket.min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_is_as_long() {
        let rows = [(0, 0), (1_000, 0), (1_001, 1), (2_000, 2), (8_000, 6), (8_001, 7), (47_000_000_000, 51)];
        for (micros, expected) in rows.into_iter().chain([(u64::MAX, 51)]) {
            assert_eq!(bucket(micros), expected, "{micros} µs");
        }
        for place in 0..BUCKETS - 1 {
            let longer = Duration::from_secs_f64(bound(place) * 1.001).as_micros();
            assert_eq!(bucket(u64::try_from(longer).unwrap()), place + 1);
        }
        assert!(bound(BUCKETS - 1) > 13.0 * 3600.0);
    }

    #[test]
    fn each_action_has_its_numbers_and_those_that_are_too_many_share_some() {
        let counters = Counters::default();
        for number in 0..MOST_ACTIONS + 3 {
            counters.count(&format!("action-{number}"), Count::Added);
        }
        for action in ["action-7", OTHER] {
            counters.count(action, Count::Added);
        }
        let added = |name: &str| counters.actions().find(|of| &*of.name == name).map(|of| of.get(Count::Added));
        assert_eq!((added("action-7"), added("action-8"), added(OTHER)), (Some(2), Some(1), Some(4)));
        assert_eq!(counters.actions().count(), MOST_ACTIONS + 1);
    }

    #[test]
    fn actions_that_are_counted_at_once_for_the_first_time_lose_nothing() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..100 {
                        counters.count(&format!("action-{number}"), Count::Added);
                    }
                });
            }
        });
        assert_eq!(counters.actions().count(), 100);
        assert!(counters.actions().all(|of| of.get(Count::Added) == 4));
    }

    #[tokio::test]
    async fn each_change_is_told_once_whoever_waits_when() {
        let counters = Counters::default();
        counters.count("noop", Count::Added);
        counters.count("noop", Count::Success);
        counters.changed().await;
        let mut next = Box::pin(counters.changed());
        assert!(poll!(&mut next).is_pending(), "nothing was counted since");
        counters.measure("noop", Span::Wait, Duration::from_millis(3));
        next.await;
    }
}
