//! [`rounds`]: which rounds to distribute now. Pure.

use jiff::{SignedDuration, Timestamp};

use super::schedule::Schedule;
use crate::marks::HighWaterMark;
use crate::process::clock::Age;

/// With [`Missed::Skip`] a round can be begun this long after its time.
pub const SKIP_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
/// How many missed rounds are caught up unless configured otherwise.
pub const CATCH_UP_LIMIT: usize = 1000;

/// What becomes of rounds whose time passed while nobody led, while the server was out of reach, or while an earlier
/// round took longer than until the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// Only the latest one counts, and only within `SKIP_TOLERANCE` of its time.
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

/// The mark as it counts at `now` under this schedule. An empty one counts from now on, so that the first round ever is
/// the first one after the first start; so does one of another schedule, or of one that it does not know, because its
/// times say nothing about this one, but for a round that is pending. What is ahead of `now` by more than clocks may
/// differ by was written by a clock that was wrong, or this one is: it is not believed, so that it silences nobody, and
/// kept, so that no round comes twice once it has come.
#[must_use]
pub fn settled(mark: &HighWaterMark, schedule: &str, now: Timestamp) -> HighWaterMark {
    let is_unbelievable = |time: &Timestamp| matches!(Age::of(*time, now), Age::Unbelievable(_));
    let unbelieved = |time: Option<Timestamp>| time.filter(is_unbelievable);
    let has_come = |time: &Timestamp| matches!(Age::of(*time, now), Age::Past(_));
    let (come, still_ahead) = (mark.ahead.filter(has_come), mark.ahead.filter(|ahead| !has_come(ahead)));
    let pending = mark.pending.filter(|pending| !is_unbelievable(pending));
    let done = mark.done.max(come).filter(|done| !is_unbelievable(done));
    let is_known = mark.schedule.as_deref() == Some(schedule) && (pending.is_some() || done.is_some());
    HighWaterMark {
        pending,
        done: if is_known { done } else { done.max(Some(now)) },
        schedule: Some(schedule.to_owned()),
        // the schedule's times are a second apart at least: once it has come, what was pending is due again
        ahead: unbelieved(mark.pending).map(|pending| pending - SHORTEST).max(unbelieved(mark.done)).max(still_ahead),
    }
}

/// Which rounds to distribute at `now`. A pending round comes first, whatever the policy: it may be half done. A mark
/// that is later than `now` by what clocks may differ by means waiting until the schedule has passed it, so that no round
/// comes twice.
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
mod tests;
