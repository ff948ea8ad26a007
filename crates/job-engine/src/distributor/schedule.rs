//! [`Schedule`]: when rounds are due. Pure; all candidates and all restarts agree on the times.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The shortest time between two rounds.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// When rounds are due.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// At the multiples of this interval since 1970-01-01T00:00:00Z, so that it does not matter who starts when:
    /// `1 day` is midnight UTC.
    Every(Duration),
    /// As a cron expression says.
    Cron {
        /// Five fields, or six with seconds first.
        expression: Box<Cron>,
        /// Whose clock the expression means. Where that clock jumps over a fixed time, the round is due right after
        /// the jump; where it repeats one, the round is due once, the first time.
        zone: TimeZone,
    },
}

/// Why something is not a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// Rounds would come too fast.
    #[error("the interval {0:?} is shorter than a second")]
    TooShort(Duration),
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
    /// The machine has no such zone in its time zone database.
    #[error("the time zone `{0}` is not known here; names look like `Europe/Zurich`")]
    UnknownZone(String),
}

impl Schedule {
    /// A round every `interval`, at least a second.
    pub fn every(interval: Duration) -> Result<Self, ScheduleError> {
        if interval < SHORTEST_INTERVAL { Err(ScheduleError::TooShort(interval)) } else { Ok(Self::Every(interval)) }
    }

    /// Rounds as `expression` says on the clocks of `zone`, an IANA name.
    pub fn cron(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone = TimeZone::get(zone).map_err(|_| ScheduleError::UnknownZone(zone.to_owned()))?;
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let parsed = parser.parse(expression).map_err(|error| ScheduleError::NotCron {
            expression: expression.to_owned(),
            reason: error.to_string().trim_end_matches('.').to_owned(),
        })?;
        let schedule = Self::Cron { expression: Box::new(parsed), zone };
        if schedule.next(Timestamp::UNIX_EPOCH).is_none() {
            return Err(ScheduleError::Never(expression.to_owned()));
        }
        Ok(schedule)
    }

    /// The first time after `after`; none when there is no further one before the end of the calendar.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(interval) => {
                let interval = i128::try_from(interval.as_nanos()).ok()?;
                let rounds = after.as_nanosecond().checked_div_euclid(interval)? + 1;
                Timestamp::from_nanosecond(rounds.checked_mul(interval)?).ok()
            }
            Self::Cron { expression, zone } => {
                let found = expression.find_next_occurrence(&after.to_zoned(zone.clone()), false).ok()?;
                Some(found.timestamp())
            }
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
        while let Some(next) = self.next(time).filter(|next| *next <= until) {
            if found.len() == limit {
                found.pop_front();
            }
            found.push_back(next);
            time = next;
        }
        found
    }
}

/// For people: `every 1h`, `0 3 * * * Europe/Zurich`.
impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(interval) => {
                let interval = SignedDuration::try_from(*interval).unwrap_or(SignedDuration::MAX);
                write!(formatter, "every {interval:#}")
            }
            Self::Cron { expression, zone } => {
                write!(formatter, "{} {}", expression.as_str(), zone.iana_name().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
