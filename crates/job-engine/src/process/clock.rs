//! The one place where the time of day comes from.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// Tells the time of day; handed to whoever needs it, so that tests and simulations bring their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that starts at `start` and moves with tokio's, which tests can pause.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        let origin = tokio::time::Instant::now();
        Self(Arc::new(move || start + SignedDuration::try_from(origin.elapsed()).unwrap_or_default()))
    }

    /// A clock that shows what `now` answers: one that jumps, for a simulation.
    #[must_use]
    pub fn showing(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.now())
    }
}

/// How far the clocks of a site may differ. A stored time that is further ahead was written by a clock that was wrong.
pub const CLOCKS_MAY_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// A stored time as this clock sees it. A stored time is only as good as the clock that wrote it: whatever compares one
/// with now does it by this, and says what becomes of one that is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It was written so long ago.
    Past(SignedDuration),
    /// It is ahead by this much, which clocks may differ by.
    Ahead(SignedDuration),
    /// It is ahead by more than clocks may differ by: not to be believed.
    Unbelievable(SignedDuration),
}

impl Age {
    /// How old `stored` is at `now`.
    #[must_use]
    pub fn of(stored: Timestamp, now: Timestamp) -> Self {
        let age = now.duration_since(stored);
        if !age.is_negative() {
            Self::Past(age)
        } else if -age <= CLOCKS_MAY_DIFFER {
            Self::Ahead(-age)
        } else {
            Self::Unbelievable(-age)
        }
    }

    /// Whether it was written less than `span` before now. A time that is ahead never was: it says nothing about when it was
    /// written.
    #[must_use]
    pub fn is_within(self, span: SignedDuration) -> bool {
        matches!(self, Self::Past(age) if age < span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_ahead_is_never_recent() {
        let now = Timestamp::UNIX_EPOCH;
        let age = |seconds| Age::of(now + SignedDuration::from_secs(seconds), now);
        assert_eq!(age(-10), Age::Past(SignedDuration::from_secs(10)));
        assert_eq!(age(0), Age::Past(SignedDuration::ZERO));
        assert_eq!(age(300), Age::Ahead(SignedDuration::from_secs(300)));
        assert_eq!(age(301), Age::Unbelievable(SignedDuration::from_secs(301)));
        let is_recent = |seconds| age(seconds).is_within(SignedDuration::from_secs(10));
        assert_eq!([-11, -10, 0, 1, 3600].map(is_recent), [false, false, true, false, false]);
    }
}
