//! [`CronTimes`]: when a cron expression is due on the clocks of a zone. Pure. The parser is croner's; the walk is ours,
//! because croner takes for fixed times only what is due once a day, and lets go of one whose day the clocks jump out of.

use std::fmt;

use croner::parser::{CronParser, Year};
use croner::time::Weekday;
use croner::{Cron, CronComponent};
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use super::ScheduleError;

/// Times as a cron expression says, on the clocks of a zone.
///
/// A day is due on which both the day of month and the day of week match; but if neither of the two is `*` or `?`, one
/// of them is enough, as in every cron: `0 0 13 * 5` is each Friday and each 13th. With `+` before the day of week both
/// count: `0 0 13 * +5` is Friday the 13th. `*/2` is not `*`.
///
/// An expression whose minute and hour do not begin with `*` names **fixed times**: each is due once on each of its
/// days. Those that the clocks jump over are due right after the jump, several of them once in all; those that they
/// repeat are due the first time. All other expressions go by the time that elapses: they are due whenever the clock
/// shows a time that matches, which it may twice or never.
#[derive(Clone, Debug, PartialEq)]
pub struct CronTimes {
    expression: Cron,
    zone: TimeZone,
    is_fixed: bool,
    hours: Vec<i8>,
    minutes: Vec<i8>,
    seconds: Vec<i8>,
}

impl CronTimes {
    /// Five fields, or six with seconds first, on the clocks of this zone.
    pub(super) fn parse(expression: &str, zone: TimeZone) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let parsed = parser.parse(expression).map_err(|error| ScheduleError::NotCron {
            expression: expression.to_owned(),
            reason: error.to_string().trim_end_matches('.').to_owned(),
        })?;
        let mut fields: Vec<&str> = parsed.as_str().split_whitespace().collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let pattern = &parsed.pattern;
        let components =
            [&pattern.seconds, &pattern.minutes, &pattern.hours, &pattern.days, &pattern.months, &pattern.days_of_week];
        if let Some(part) =
            fields.iter().zip(components).find_map(|(field, component)| too_wide_a_step(field, component))
        {
            return Err(ScheduleError::StepTooWide { expression: expression.to_owned(), part: part.to_owned() });
        }
        let is_fixed = fields[1..3].iter().all(|field| !field.starts_with('*'));
        let [seconds, minutes, hours] = [&pattern.seconds, &pattern.minutes, &pattern.hours].map(values);
        let times = Self { is_fixed, hours, minutes, seconds, expression: parsed, zone };
        if times.comes() { Ok(times) } else { Err(ScheduleError::Never(expression.to_owned())) }
    }

    /// The first time after `after` and not after `until`; none if there is none.
    pub(super) fn next(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let found = if self.is_fixed { self.next_fixed(after, until) } else { self.next_shown(after, until) };
        found.filter(|found| *found <= until)
    }

    /// Walks through the civil times that match, in their order, which is that of the moments at which they are due.
    fn next_fixed(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut from = following_second(self.zone.to_datetime(after))?;
        // the clocks may jump over what is due by then
        let end = self.zone.to_datetime(until).checked_add(2.days()).unwrap_or(DateTime::MAX);
        loop {
            let civil = self.first_match(from, end)?;
            let due = self.due(civil)?;
            if due > after {
                return Some(due);
            }
            from = following_second(civil)?;
        }
    }

    /// When a fixed time is due.
    fn due(&self, civil: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let before_the_jump = after.to_timestamp(civil).ok()?;
                self.zone.following(before_the_jump).next().map(|jump| jump.timestamp())
            }
        }
    }

    /// Walks from one change of the clocks to the next, in between of which the clock shows one civil time after another.
    fn next_shown(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut begin = after;
        let mut from = following_second(self.zone.to_datetime(after))?;
        loop {
            let offset = self.zone.to_offset(begin);
            let change = self.zone.following(begin).next().map(|change| change.timestamp());
            let end = change.map_or(DateTime::MAX, |change| offset.to_datetime(change));
            if let Some(civil) = self.first_match(from, end) {
                return offset.to_timestamp(civil).ok();
            }
            begin = change.filter(|change| *change <= until)?;
            from = self.zone.to_datetime(begin);
        }
    }

    /// The first civil time that matches, from `from` on and before `end`.
    fn first_match(&self, from: DateTime, end: DateTime) -> Option<DateTime> {
        let mut from = from;
        while from < end {
            if let Some(time) = self.is_due_on(from.date()).then(|| self.first_time(from.time())).flatten() {
                return Some(from.date().to_datetime(time)).filter(|civil| *civil < end);
            }
            from = from.date().tomorrow().ok()?.to_datetime(Time::midnight());
        }
        None
    }

    fn first_time(&self, from: Time) -> Option<Time> {
        let since = |values: &[i8], least: i8| {
            values.iter().copied().skip_while(move |value| *value < least).collect::<Vec<_>>()
        };
        for hour in since(&self.hours, from.hour()) {
            for minute in since(&self.minutes, if hour == from.hour() { from.minute() } else { 0 }) {
                let is_first = (hour, minute) == (from.hour(), from.minute());
                if let Some(second) = since(&self.seconds, if is_first { from.second() } else { 0 }).first() {
                    return Time::new(hour, minute, *second, 0).ok();
                }
            }
        }
        None
    }

    fn is_due_on(&self, date: Date) -> bool {
        let (year, month, day) =
            (i32::from(date.year()), date.month().unsigned_abs().into(), date.day().unsigned_abs().into());
        let pattern = &self.expression.pattern;
        // an error says that there is no such date
        pattern.month_match(month).unwrap_or(false)
            && pattern.day_match(year, month, day, weekday(date)).unwrap_or(false)
    }

    /// Whether there is any such time: the calendar repeats itself after 400 years.
    fn comes(&self) -> bool {
        let first = Date::constant(2000, 1, 1);
        let has_day = first.series(1.day()).take_while(|date| date.year() < 2400).any(|date| self.is_due_on(date));
        has_day && [&self.hours, &self.minutes, &self.seconds].iter().all(|values| !values.is_empty())
    }
}

/// For people: `0 3 * * * Europe/Zurich`.
impl fmt::Display for CronTimes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.expression.as_str(), self.zone.iana_name().unwrap_or_default())
    }
}

/// What the field names, as the parts of civil times are counted.
fn values(field: &CronComponent) -> Vec<i8> {
    field.values().into_iter().filter_map(|value| i8::try_from(value).ok()).collect()
}

/// The part of the field whose step is greater than the number of values that it steps over.
fn too_wide_a_step<'field>(field: &'field str, component: &CronComponent) -> Option<&'field str> {
    field.split(',').find(|part| {
        let Some((range, step)) = part.split_once('/') else { return false };
        let bounds = range.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        let (from, to): (u16, u16) = bounds.unwrap_or((component.min, component.max));
        step.parse::<u16>().is_ok_and(|step| step > to - from + 1)
    })
}

fn following_second(civil: DateTime) -> Option<DateTime> {
    civil.with().subsec_nanosecond(0).build().ok()?.checked_add(1.second()).ok()
}

fn weekday(date: Date) -> Weekday {
    Weekday::from_days_from_sunday(date.weekday().to_sunday_zero_offset().unsigned_abs().into())
}

#[cfg(test)]
mod tests;
