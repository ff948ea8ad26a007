//! [`Schedule`]: when rounds are due. Pure; all candidates and all restarts agree on the times.

pub(crate) mod cron;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use jiff::tz::{TimeZone, db};
use jiff::{SignedDuration, Timestamp};

use self::cron::CronTimes;

/// The shortest time between two rounds.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time between two rounds: a hundred years of 365.25 days.
pub const LONGEST_INTERVAL: Duration = Duration::from_hours(36_525 * 24);

/// When rounds are due.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// At the multiples of this interval since 1970-01-01T00:00:00Z, so that it does not matter who starts when:
    /// `1 day` is midnight UTC.
    Every(Duration),
    /// As a cron expression says on the clocks of a zone.
    Cron(Box<CronTimes>),
}

/// Why something is not a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// Rounds would come too fast.
    #[error("the interval {0:?} is shorter than a second")]
    TooShort(Duration),
    /// Nobody would live to see it.
    #[error("the interval {0:?} is longer than a hundred years")]
    TooLong(Duration),
    /// The expression does not follow the grammar.
    #[error("`{expression}` is not a cron expression: {reason}")]
    NotCron {
        /// The expression.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The expression is well formed but no day is like that, e.g. 30 February.
    #[error("`{0}` never comes")]
    Never(String),
    /// A step that goes beyond what it steps over, and so counts for nothing.
    #[error("`{part}` in `{expression}` steps further than its field goes, so that only the first value would count")]
    StepTooWide {
        /// The expression.
        expression: String,
        /// The step, and what it steps over.
        part: String,
    },
    /// The machine's time zone database has no such zone.
    #[error("the time zone `{0}` is not known here; names look like `Europe/Zurich`")]
    UnknownZone(String),
    /// The machine has no time zone database at all.
    #[error(
        "the time zone `{0}` cannot be looked up: no time zone database was found, install it (`tzdata`) or use UTC"
    )]
    NoZones(String),
}

impl Schedule {
    /// A round every `interval`, from [`SHORTEST_INTERVAL`] to [`LONGEST_INTERVAL`].
    pub fn every(interval: Duration) -> Result<Self, ScheduleError> {
        if interval < SHORTEST_INTERVAL {
            return Err(ScheduleError::TooShort(interval));
        }
        if interval > LONGEST_INTERVAL { Err(ScheduleError::TooLong(interval)) } else { Ok(Self::Every(interval)) }
    }

    /// Rounds as `expression` says on the clocks of `zone`, an IANA name.
    pub fn cron(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone = TimeZone::get(zone).map_err(|_| unknown(zone, db().is_definitively_empty()))?;
        CronTimes::parse(expression, zone).map(Box::new).map(Self::Cron)
    }

    /// The first time after `after`; none when there is no further one before the end of the calendar.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_until(after, Timestamp::MAX)
    }

    fn next_until(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(interval) => {
                let interval = i128::try_from(interval.as_nanos()).ok()?;
                let rounds = after.as_nanosecond().checked_div_euclid(interval)? + 1;
                Timestamp::from_nanosecond(rounds.checked_mul(interval)?).ok().filter(|next| *next <= until)
            }
            Self::Cron(times) => times.next(after, until),
        }
    }

    /// The times after `after` and up to `until`, inclusive, in order; if there are more than `limit`, the newest ones.
    #[must_use]
    pub fn newest(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Timestamp> {
        // Looks back from `until` twice as far each time, so that years without a round cost as little as a day.
        let mut span = SignedDuration::from_secs(1);
        loop {
            let start = until.checked_sub(span).map_or(after, |start| start.max(after));
            let found = self.last_between(start, until, limit);
            if found.len() >= limit || start == after {
                return found.into();
            }
            span = span.saturating_mul(2);
        }
    }

    fn last_between(&self, after: Timestamp, until: Timestamp, limit: usize) -> VecDeque<Timestamp> {
        let mut found = VecDeque::new();
        let mut time = after;
        while let Some(next) = self.next_until(time, until) {
            if found.len() == limit {
                found.pop_front();
            }
            found.push_back(next);
            time = next;
        }
        found
    }
}

fn unknown(zone: &str, has_no_database: bool) -> ScheduleError {
    if has_no_database { ScheduleError::NoZones(zone.to_owned()) } else { ScheduleError::UnknownZone(zone.to_owned()) }
}

/// For people: `every 1h`, `0 3 * * * Europe/Zurich`.
impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(interval) => {
                let interval = SignedDuration::try_from(*interval).unwrap_or(SignedDuration::MAX);
                write!(formatter, "every {interval:#}")
            }
            Self::Cron(times) => times.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests;
