use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, ToSpan};
use proptest::prelude::*;

use super::*;
use crate::distributor::schedule::Schedule;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// All times of `expression` in (after, until], one by one.
fn walked(expression: &str, zone: &str, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let schedule = Schedule::cron(expression, zone).unwrap();
    let times = std::iter::successors(schedule.next(after), |time| schedule.next(*time));
    times.take_while(|time| *time <= until).collect()
}

/// Zone, expression, after, and the times that follow.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// In Zurich 02:00 becomes 03:00 on 2026-03-29 and 03:00 becomes 02:00 on 2026-10-25; in Nuuk the clocks jump from 23:00
/// to midnight on 2026-03-28; Apia had no 2011-12-30.
const ROWS: &[Row] = &[
    (
        "Europe/Zurich",
        "30 2,14 * * *",
        "2026-03-28T12:00:00Z",
        &["2026-03-28T13:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T12:30:00Z"],
    ),
    ("Europe/Zurich", "30 2,14 * * *", "2026-10-24T13:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-25T13:30:00Z"]),
    ("Europe/Zurich", "0,30 2 * * *", "2026-03-29T00:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
    (
        "Europe/Zurich",
        "0,30 2 * * *",
        "2026-10-24T23:00:00Z",
        &["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:00:00Z"],
    ),
    (
        "Europe/Zurich",
        "15 2,3 * * *",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-29T01:15:00Z", "2026-03-30T00:15:00Z"],
    ),
    ("Europe/Zurich", "15 2,3 * * *", "2026-10-24T23:00:00Z", &["2026-10-25T00:15:00Z", "2026-10-25T02:15:00Z"]),
    (
        "Europe/Zurich",
        "0 1-23/2 * * *",
        "2026-03-28T23:30:00Z",
        &["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"],
    ),
    ("Europe/Zurich", "0 2-3 * * *", "2026-03-29T00:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
    ("Europe/Zurich", "*/20 30 2 * * *", "2026-03-29T00:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
    (
        "Europe/Zurich",
        "*/30 30 2 * * *",
        "2026-10-25T00:29:59Z",
        &["2026-10-25T00:30:00Z", "2026-10-25T00:30:30Z", "2026-10-26T01:30:00Z"],
    ),
    ("Europe/Zurich", "@daily", "2026-03-28T12:00:00Z", &["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]),
    ("America/Nuuk", "30 23 28 * *", "2026-03-27T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-04-29T00:30:00Z"]),
    ("America/Nuuk", "30 23 * * 6", "2026-03-27T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-04-05T00:30:00Z"]),
    ("America/Nuuk", "30 23 L 3 *", "2026-03-27T12:00:00Z", &["2026-04-01T00:30:00Z"]),
    (
        "Pacific/Apia",
        "0 12 * * *",
        "2011-12-29T12:00:00Z",
        &["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"],
    ),
    // what begins with `*` goes by the time that elapses
    ("Europe/Zurich", "*/30 2 * * *", "2026-03-28T23:00:00Z", &["2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"]),
    (
        "Europe/Zurich",
        "*/30 2 * * *",
        "2026-10-24T23:00:00Z",
        &[
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:00:00Z",
        ],
    ),
    (
        "Europe/Zurich",
        "30 * * * *",
        "2026-10-24T23:40:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"],
    ),
    (
        "Europe/Zurich",
        "*/60 2 * * *",
        "2026-10-24T23:00:00Z",
        &["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-26T01:00:00Z"],
    ),
];

#[test]
fn times_around_a_change_of_the_clocks_row_by_row() {
    for (zone, expression, after, expected) in ROWS {
        let last = time(expected.last().unwrap());
        let found: Vec<String> = walked(expression, zone, time(after), last).iter().map(ToString::to_string).collect();
        assert_eq!(found, *expected, "{expression} in {zone} after {after}");
    }
}

/// The values of one field, and its text.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    values: BTreeSet<i8>,
}

impl Field {
    fn begins_with_a_star(&self) -> bool {
        self.text.starts_with('*')
    }
}

fn field(least: i8, most: i8) -> impl Strategy<Value = Field> {
    let number = (least..=most).prop_map(|value| (value.to_string(), vec![value]));
    let range = (least..=most, least..=most, 1..=5_i8).prop_map(|(one, other, step)| {
        let (from, to) = (one.min(other), one.max(other));
        let step = step.min(to - from + 1);
        let values = (from..=to).step_by(usize::try_from(step).unwrap()).collect();
        (if step == 1 { format!("{from}-{to}") } else { format!("{from}-{to}/{step}") }, values)
    });
    let all = (1..=most - least + 1).prop_map(move |step| {
        let values = (least..=most).step_by(usize::try_from(step).unwrap()).collect();
        (if step == 1 { "*".to_owned() } else { format!("*/{step}") }, values)
    });
    let parts = prop_oneof![
        3 => prop::collection::vec(prop_oneof![number, range], 1..4),
        1 => all.prop_map(|all| vec![all]),
    ];
    parts.prop_map(|parts: Vec<(String, Vec<i8>)>| Field {
        text: parts.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(","),
        values: parts.into_iter().flat_map(|(_, values)| values).collect(),
    })
}

/// What an expression says, held against a civil time in the plainest way.
#[derive(Clone, Debug)]
struct Pattern {
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    weekday: Field,
}

impl Pattern {
    fn text(&self) -> String {
        let Self { second, minute, hour, day, weekday } = self;
        format!("{} {} {} {} * {}", second.text, minute.text, hour.text, day.text, weekday.text)
    }

    fn has_day(&self, date: Date) -> bool {
        let day = self.day.values.contains(&date.day());
        let weekday = self.weekday.values.contains(&date.weekday().to_sunday_zero_offset());
        match (self.day.text == "*", self.weekday.text == "*") {
            (false, false) => day || weekday,
            _ => day && weekday,
        }
    }

    fn has(&self, civil: DateTime) -> bool {
        self.second.values.contains(&civil.second())
            && self.minute.values.contains(&civil.minute())
            && self.hour.values.contains(&civil.hour())
            && self.has_day(civil.date())
    }

    /// Lives through (after, until] and looks at the clock on the wall at each step. Fixed times: what it shows for the
    /// first time counts, with all that it passed over on the way; else: whatever it shows.
    fn lived(&self, zone: &TimeZone, after: Timestamp, until: Timestamp, step: SignedDuration) -> Vec<Timestamp> {
        let is_fixed = !self.minute.begins_with_a_star() && !self.hour.begins_with_a_star();
        let mut latest = zone.to_datetime(after - SignedDuration::from_hours(30));
        let mut now = after - SignedDuration::from_hours(30);
        let mut due = Vec::new();
        while now < until {
            now += step;
            let shown = zone.to_datetime(now);
            let is_due = if is_fixed {
                let mut counts = false;
                while latest < shown {
                    latest += step;
                    counts |= self.has(latest);
                }
                counts
            } else {
                self.has(shown)
            };
            if is_due && now > after {
                due.push(now);
            }
        }
        due
    }
}

fn zero() -> Field {
    Field { text: "0".to_owned(), values: BTreeSet::from([0]) }
}

fn patterns(with_seconds: bool) -> impl Strategy<Value = Pattern> {
    let second = if with_seconds { field(0, 59).boxed() } else { Just(zero()).boxed() };
    let any = |least, most| {
        let all = Field { text: "*".to_owned(), values: (least..=most).collect() };
        prop_oneof![Just(all), field(least, most)]
    };
    (second, field(0, 59), field(0, 23), any(1, 31), any(0, 6))
        .prop_map(|(second, minute, hour, day, weekday)| Pattern { second, minute, hour, day, weekday })
}

/// A zone, and a moment within a day of one of the changes of its clocks between 2000 and 2037, if it has any.
fn places() -> impl Strategy<Value = (String, Timestamp)> {
    let zones: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    assert!(zones.len() > 300, "tests need a time zone database");
    let start = time("2000-01-01T00:00:00Z");
    (prop::sample::select(zones), any::<prop::sample::Index>(), -86_400_i64..86_400).prop_map(
        move |(name, index, offset)| {
            let zone = TimeZone::get(&name).unwrap();
            let until = time("2037-12-31T00:00:00Z");
            let changes: Vec<Timestamp> =
                zone.following(start).map(|change| change.timestamp()).take_while(|change| *change < until).collect();
            let near = if changes.is_empty() {
                start + (i64::try_from(index.index(13_000)).unwrap() * 24).hours()
            } else {
                *index.get(&changes)
            };
            (name, near + SignedDuration::from_secs(offset))
        },
    )
}

fn agrees(pattern: &Pattern, name: &str, near: Timestamp, span: SignedDuration, step: SignedDuration) {
    let zone = TimeZone::get(name).unwrap();
    let (after, until) = (near - span, near + span);
    let floor = |time: Timestamp| {
        time.round(jiff::TimestampRound::new().smallest(jiff::Unit::Minute).mode(jiff::RoundMode::Floor)).unwrap()
    };
    let (after, until) = (floor(after), floor(until));
    let expected = pattern.lived(&zone, after, until, step);
    let text = pattern.text();
    let schedule = Schedule::cron(&text, name).unwrap();
    assert_eq!(walked(&text, name, after, until), expected, "{text} in {name}, {after} to {until}");
    for limit in [1, 3, usize::MAX] {
        let newest = &expected[expected.len().saturating_sub(limit)..];
        assert_eq!(schedule.newest(after, until, limit), newest, "{text} in {name}, newest {limit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn minutes_are_due_as_whoever_watches_the_clock_would_say(pattern in patterns(false), (zone, near) in places()) {
        agrees(&pattern, &zone, near, SignedDuration::from_hours(40), SignedDuration::from_mins(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn seconds_are_due_as_whoever_watches_the_clock_would_say(pattern in patterns(true), (zone, near) in places()) {
        agrees(&pattern, &zone, near, SignedDuration::from_hours(5), SignedDuration::from_secs(1));
    }
}
