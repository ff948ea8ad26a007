//! The one place where the time of day comes from.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

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
        Self(Arc::new(move || start + jiff::SignedDuration::try_from(origin.elapsed()).unwrap_or_default()))
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

/// A time as the original servers print it: UTC, three decimals, `Z` (specification 3.2).
#[must_use]
pub fn print(time: Timestamp) -> String {
    format!("{time:.3}")
}
