use proptest::prelude::*;

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn times(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
    let mut at = time(after);
    (0..count)
        .map(|_| {
            at = schedule.next(at).unwrap();
            at.to_string()
        })
        .collect()
}

#[test]
fn intervals_are_aligned_to_the_epoch() {
    let rows = [
        (15, "2026-11-24T12:00:01Z", "2026-11-24T12:00:15Z"),
        (15, "2026-11-24T12:00:14.999999999Z", "2026-11-24T12:00:15Z"),
        (15, "2026-11-24T12:00:15Z", "2026-11-24T12:00:30Z"),
        (86_400, "2026-11-24T12:00:00Z", "2026-11-25T00:00:00Z"),
        (86_400, "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z"),
        (86_400, "1969-12-30T23:00:00Z", "1969-12-31T00:00:00Z"),
        (7, "1970-01-01T00:00:00Z", "1970-01-01T00:00:07Z"),
    ];
    for (seconds, after, next) in rows {
        let schedule = Schedule::every(Duration::from_secs(seconds)).unwrap();
        assert_eq!(schedule.next(time(after)), Some(time(next)), "every {seconds} s after {after}");
    }
}

#[test]
fn cron_means_the_clock_of_its_zone() {
    let daily = Schedule::cron("0 3 * * *", "Europe/Zurich").unwrap();
    assert_eq!(times(&daily, "2026-11-24T12:00:00Z", 1), ["2026-11-25T02:00:00Z"]);
    let in_summer = times(&daily, "2026-07-01T12:00:00Z", 1);
    assert_eq!(in_summer, ["2026-07-02T01:00:00Z"]);
    let seconds = Schedule::cron("*/20 * * * * *", "UTC").unwrap();
    assert_eq!(times(&seconds, "2026-11-24T12:00:00.5Z", 2), ["2026-11-24T12:00:20Z", "2026-11-24T12:00:40Z"]);
}

/// 2026-03-29, 02:00 becomes 03:00: what was fixed in between runs at 03:00, which is 01:00 UTC.
#[test]
fn a_fixed_time_that_the_clock_jumps_over_is_due_after_the_jump() {
    let schedule = Schedule::cron("30 2 * * *", "Europe/Zurich").unwrap();
    assert_eq!(
        times(&schedule, "2026-03-27T12:00:00Z", 3),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
}

/// 2026-10-25, 03:00 becomes 02:00: 02:30 comes twice and is due the first time only.
#[test]
fn a_fixed_time_that_the_clock_repeats_is_due_once() {
    let schedule = Schedule::cron("30 2 * * *", "Europe/Zurich").unwrap();
    assert_eq!(times(&schedule, "2026-10-24T12:00:00Z", 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    let half_hourly = Schedule::cron("*/30 * * * *", "Europe/Zurich").unwrap();
    assert_eq!(
        times(&half_hourly, "2026-10-24T23:59:00Z", 4),
        ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"],
        "an interval goes on through both hours"
    );
}

#[test]
fn what_is_no_schedule_is_refused() {
    let message = |schedule: Result<Schedule, ScheduleError>| schedule.unwrap_err().to_string();
    assert_eq!(message(Schedule::every(Duration::from_millis(999))), "the interval 999ms is shorter than a second");
    assert_eq!(message(Schedule::cron("0 0 30 2 *", "UTC")), "`0 0 30 2 *` never comes");
    for (expression, part) in [("*/90 * * * *", "*/90"), ("0 3,4-6/4 * * *", "4-6/4"), ("*/61 * * * * *", "*/61")] {
        let text = message(Schedule::cron(expression, "UTC"));
        assert!(text.starts_with(&format!("`{part}` in `{expression}` steps further than its field goes")), "{text}");
    }
    for expression in ["*/60 */24 * * *", "0 4-6/3 * * *", "0 0 */31 */12 *"] {
        assert!(Schedule::cron(expression, "UTC").is_ok(), "{expression}");
    }
    let no_zones = unknown("Europe/Zurich", true).to_string();
    assert!(no_zones.contains("no time zone database was found, install it (`tzdata`)"), "{no_zones}");
    assert!(message(Schedule::cron("0 3 * * *", "Europe/Zürich")).starts_with("the time zone `Europe/Zürich`"));
    for expression in ["", "0", "61 * * * *", "0 3 * * * * 2027", "every day"] {
        let text = message(Schedule::cron(expression, "UTC"));
        assert!(text.starts_with(&format!("`{expression}` is not a cron expression: ")), "{text}");
    }
}

#[test]
fn the_newest_are_the_last_ones_in_order() {
    let after = time("2026-01-01T00:00:00Z");
    let until = time("2026-11-24T00:00:00Z");
    let daily = Schedule::cron("30 2 * * *", "Europe/Zurich").unwrap();
    let all = daily.newest(after, until, 1000);
    assert_eq!(all.len(), 327);
    assert_eq!(daily.newest(after, until, 3), all[324..]);
    assert_eq!(daily.newest(until, after, 3), [], "an empty span has none");
    let each_second = Schedule::every(SHORTEST_INTERVAL).unwrap();
    assert_eq!(each_second.newest(Timestamp::UNIX_EPOCH, until, 100).len(), 100, "56 years of seconds cost nothing");
}

/// If day of month and day of week are both given, one is enough, unless `+` asks for both.
#[test]
fn days_of_month_and_of_week_are_combined_as_documented() {
    let rows = [
        ("0 0 13 * 5", ["2026-11-06", "2026-11-13", "2026-11-20"]),
        ("0 0 13 * +5", ["2026-11-13", "2027-08-13", "2028-10-13"]),
        ("0 0 13 * *", ["2026-11-13", "2026-12-13", "2027-01-13"]),
        ("0 0 ? * 5", ["2026-11-06", "2026-11-13", "2026-11-20"]),
        ("0 0 */10 * 5", ["2026-11-01", "2026-11-06", "2026-11-11"]),
        ("0 0 L * *", ["2026-11-30", "2026-12-31", "2027-01-31"]),
    ];
    for (expression, days) in rows {
        let found = times(&Schedule::cron(expression, "UTC").unwrap(), "2026-10-31T12:00:00Z", 3);
        assert_eq!(found, days.map(|day| format!("{day}T00:00:00Z")), "{expression}");
    }
}

fn zones() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "America/Santiago"])
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let expressions = prop::sample::select(vec![
        "30 2 * * *",
        "0 0 * * *",
        "*/7 * * * *",
        "*/20 * * * * *",
        "0 3 * * 1-5",
        "15 1,2,3 L * *",
        "0 12 29 2 *",
    ]);
    prop_oneof![
        (1_000_u64..100_000_000).prop_map(|millis| Schedule::every(Duration::from_millis(millis)).unwrap()),
        (expressions, zones()).prop_map(|(expression, zone)| Schedule::cron(expression, zone).unwrap()),
    ]
}

/// 2020 to 2030, to the nanosecond, half of them within a day of a change of the clocks in Europe or America.
fn moments() -> impl Strategy<Value = Timestamp> {
    let changes = ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"];
    let changes: Vec<i64> = changes.into_iter().map(|change| time(change).as_second()).collect();
    let near = (prop::sample::select(changes), -90_000_i64..90_000).prop_map(|(change, offset)| change + offset);
    (prop_oneof![1_577_836_800_i64..1_893_456_000, near], 0_i32..1_000_000_000)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap())
}

#[test]
fn schedules_read_as_they_are_written() {
    for (seconds, expected) in [(1, "every 1s"), (90, "every 1m 30s"), (86_400, "every 24h")] {
        assert_eq!(Schedule::every(Duration::from_secs(seconds)).unwrap().to_string(), expected);
    }
    assert_eq!(Schedule::cron("0 3 * * *", "Europe/Zurich").unwrap().to_string(), "0 3 * * * Europe/Zurich");
    assert_eq!(Schedule::cron("*/5 * * * * *", "UTC").unwrap().to_string(), "*/5 * * * * * UTC");
}

proptest! {
    #[test]
    fn the_next_time_is_later(schedule in schedules(), after in moments()) {
        prop_assert!(schedule.next(after).unwrap() > after);
    }

    /// Whoever asks in between gets the same answer: candidates that start at different moments agree.
    #[test]
    fn all_moments_before_a_time_agree_on_it(schedule in schedules(), after in moments(), share in 0.0_f64..1.0) {
        let next = schedule.next(after).unwrap();
        let between = after + next.duration_since(after).mul_f64(share);
        prop_assert_eq!(schedule.next(between.min(next - SignedDuration::from_nanos(1))), Some(next));
        prop_assert!(schedule.next(next).unwrap() > next);
    }

    #[test]
    fn intervals_are_even(millis in 1_000_u64..100_000_000, after in moments()) {
        let schedule = Schedule::every(Duration::from_millis(millis)).unwrap();
        let first = schedule.next(after).unwrap();
        let second = schedule.next(first).unwrap();
        prop_assert_eq!(second.duration_since(first).as_millis(), i128::from(millis));
        prop_assert!(first.duration_since(after).as_millis() <= i128::from(millis));
        prop_assert_eq!(first.as_millisecond() % i64::try_from(millis).unwrap(), 0);
    }

    #[test]
    fn the_newest_times_are_the_tail_of_all(
        schedule in schedules(), until in moments(), seconds in 0_i64..200_000, limit in 1_usize..20,
    ) {
        let after = until - SignedDuration::from_secs(seconds);
        let all = Vec::from(schedule.last_between(after, until, usize::MAX));
        prop_assert_eq!(schedule.newest(after, until, limit), &all[all.len().saturating_sub(limit)..]);
    }
}
