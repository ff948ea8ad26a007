//! [`rounds`]: which rounds to distribute now. Pure.

use jiff::{SignedDuration, Timestamp};

use super::HighWaterMark;
use super::schedule::Schedule;

/// With [`Missed::Skip`] a round can be begun this long after its time.
pub const SKIP_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);
/// How many missed rounds are caught up unless configured otherwise.
pub const CATCH_UP_LIMIT: usize = 1000;

/// What becomes of rounds whose time passed while nobody led, while the server was out of reach, or while an earlier
/// round took longer than until the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// Only the latest one counts, and only within [`SKIP_TOLERANCE`] of its time.
    Skip,
    /// They become one: the latest, however old.
    #[default]
    Coalesce,
    /// Each is distributed, the oldest first.
    CatchUp {
        /// At most so many, the newest ones.
        limit: usize,
    },
}

/// What to do now, and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// Schedule times to distribute now, in this order.
    pub due: Vec<Timestamp>,
    /// The first of those that the policy gives up, if it gives up any.
    pub given_up: Option<Timestamp>,
    /// The next time after now and after the mark; none if the schedule is at its end.
    pub next: Option<Timestamp>,
}

/// Which rounds to distribute at `now`. A pending round comes first, whatever the policy: it may be half done. An empty
/// mark stands for a mark at `now`: the first round ever is the first one after the first start. A mark later than
/// `now` (the clock was set back) means waiting until the schedule has passed the mark, so that no round comes twice.
#[must_use]
pub fn rounds(mark: &HighWaterMark, schedule: &Schedule, missed: Missed, now: Timestamp) -> Rounds {
    let begun = mark.pending.max(mark.done).unwrap_or(now);
    let limit = match missed {
        Missed::Skip | Missed::Coalesce => 1,
        Missed::CatchUp { limit } => limit.max(1),
    };
    let mut new = schedule.newest(begun, now, limit);
    if missed == Missed::Skip {
        new.retain(|time| now.duration_since(*time) <= SKIP_TOLERANCE);
    }
    let first = schedule.next(begun).filter(|first| *first <= now);
    let given_up = first.filter(|first| new.first() != Some(first));
    Rounds { due: mark.pending.into_iter().chain(new).collect(), given_up, next: schedule.next(begun.max(now)) }
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
