use std::time::Duration;

use proptest::prelude::*;

use super::*;

const CATCH_UP: Missed = Missed::CatchUp { limit: 3 };

/// Seconds since the epoch; the schedule is every 100 s.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn mark(pending: Option<i64>, done: Option<i64>) -> HighWaterMark {
    HighWaterMark { pending: pending.map(at), done: done.map(at), ..HighWaterMark::default() }
}

/// What, pending, done, policy, now → due, given up, next.
type Row = (&'static str, Option<i64>, Option<i64>, Missed, i64, &'static [i64], Option<i64>, i64);

#[test]
fn each_policy_row_by_row() {
    let schedule = Schedule::every(Duration::from_secs(100)).unwrap();
    let rows: &[Row] = &[
        ("first start", None, None, Missed::Coalesce, 1000, &[], None, 1100),
        ("nothing due", None, Some(1000), Missed::Coalesce, 1099, &[], None, 1100),
        ("due on the second", None, Some(1000), Missed::Coalesce, 1100, &[1100], None, 1200),
        ("due on the second, skip", None, Some(1000), Missed::Skip, 1100, &[1100], None, 1200),
        ("due on the second, catch up", None, Some(1000), CATCH_UP, 1100, &[1100], None, 1200),
        ("late within the tolerance", None, Some(1000), Missed::Skip, 1160, &[1100], None, 1200),
        ("late beyond it", None, Some(1000), Missed::Skip, 1161, &[], Some(1100), 1200),
        ("three missed, skip, latest just now", None, Some(1000), Missed::Skip, 1310, &[1300], Some(1100), 1400),
        ("three missed, skip", None, Some(1000), Missed::Skip, 1390, &[], Some(1100), 1400),
        ("three missed, coalesce", None, Some(1000), Missed::Coalesce, 1390, &[1300], Some(1100), 1400),
        ("three missed, catch up", None, Some(1000), CATCH_UP, 1390, &[1100, 1200, 1300], None, 1400),
        ("five missed, catch up to the limit", None, Some(1000), CATCH_UP, 1590, &[1300, 1400, 1500], Some(1100), 1600),
        ("no limit below one", None, Some(1000), Missed::CatchUp { limit: 0 }, 1190, &[1100], None, 1200),
        ("pending", Some(1100), Some(1000), Missed::Coalesce, 1110, &[1100], None, 1200),
        ("pending, however old", Some(1100), Some(1000), Missed::Skip, 1180, &[1100], None, 1200),
        ("pending and missed", Some(1100), Some(1000), Missed::Coalesce, 1490, &[1100, 1400], Some(1200), 1500),
        ("pending and missed, skip", Some(1100), Some(1000), Missed::Skip, 1490, &[1100], Some(1200), 1500),
        ("pending, nothing done ever", Some(1100), None, Missed::Coalesce, 1110, &[1100], None, 1200),
        ("clock set back", None, Some(5000), Missed::Coalesce, 1000, &[], None, 5100),
        ("clock set back in a round", Some(5000), Some(4900), Missed::Coalesce, 1000, &[5000], None, 5100),
    ];
    for (what, pending, done, missed, now, due, given_up, next) in rows {
        let expected =
            Rounds { due: due.iter().copied().map(at).collect(), given_up: given_up.map(at), next: Some(at(*next)) };
        assert_eq!(rounds(&mark(*pending, *done), &schedule, *missed, at(*now)), expected, "{what}");
    }
}

/// The schedule, pending, done and ahead of a mark.
type Mark = (Option<&'static str>, Option<i64>, Option<i64>, Option<i64>);

fn whole_mark((schedule, pending, done, ahead): Mark) -> HighWaterMark {
    HighWaterMark { schedule: schedule.map(str::to_owned), ahead: ahead.map(at), ..mark(pending, done) }
}

#[test]
fn how_a_mark_counts_row_by_row() {
    const NOW: i64 = 10_000;
    let (same, other) = (Some("every 100s"), Some("every 7s"));
    let rows: &[(&str, Mark, Mark)] = &[
        ("none yet", (None, None, None, None), (same, None, Some(NOW), None)),
        ("as it was left", (same, Some(9_000), Some(8_900), None), (same, Some(9_000), Some(8_900), None)),
        ("another schedule", (other, None, Some(9_000), None), (same, None, Some(NOW), None)),
        ("another schedule, pending", (other, Some(9_001), Some(9_000), None), (same, Some(9_001), Some(NOW), None)),
        ("an unknown schedule", (None, None, Some(9_000), None), (same, None, Some(NOW), None)),
        ("another schedule, a little ahead", (other, None, Some(10_100), None), (same, None, Some(10_100), None)),
        ("as far ahead as clocks differ", (same, None, Some(10_300), None), (same, None, Some(10_300), None)),
        ("further ahead", (same, None, Some(10_301), None), (same, None, Some(NOW), Some(10_301))),
        ("pending ahead", (same, Some(20_000), Some(19_900), None), (same, None, Some(NOW), Some(19_999))),
        ("only pending ahead", (same, Some(20_000), Some(9_900), None), (same, None, Some(9_900), Some(19_999))),
        ("still ahead", (same, None, Some(9_900), Some(20_000)), (same, None, Some(9_900), Some(20_000))),
        ("ahead twice", (same, None, Some(30_000), Some(20_000)), (same, None, Some(NOW), Some(30_000))),
        ("it has come", (same, None, Some(9_900), Some(9_950)), (same, None, Some(9_950), None)),
        ("it has come and is old", (same, None, Some(9_900), Some(9_000)), (same, None, Some(9_900), None)),
        ("about to come", (same, None, Some(9_900), Some(10_001)), (same, None, Some(9_900), Some(10_001))),
    ];
    for (what, stored, counts) in rows {
        let settled = settled(&whole_mark(*stored), "every 100s", at(NOW));
        assert_eq!(settled, whole_mark(*counts), "{what}");
        assert_eq!(super::settled(&settled, "every 100s", at(NOW)), settled, "{what}: it counts so from then on");
    }
}

proptest! {
    /// Whatever was written, by whatever clock.
    #[test]
    fn nobody_is_silent_for_longer_than_the_interval_and_what_clocks_differ_by(
        pending in prop::option::of(0_i64..200_000), done in prop::option::of(0_i64..200_000),
        ahead in prop::option::of(0_i64..200_000), is_same in any::<bool>(), now in 0_i64..200_000,
        missed in prop::sample::select(vec![Missed::Skip, Missed::Coalesce, CATCH_UP]), interval in 1_u64..500,
    ) {
        let schedule = Schedule::every(Duration::from_secs(interval)).unwrap();
        let text = schedule.to_string();
        let stored = whole_mark((is_same.then_some("every 1s"), pending, done, ahead));
        let counts = settled(&stored, &text, at(now));
        let plan = rounds(&counts, &schedule, missed, at(now));
        let silence = plan.next.unwrap().duration_since(at(now)).as_secs();
        prop_assert!(silence <= i64::try_from(interval).unwrap() + 300, "{silence} s");
        prop_assert!(plan.due.iter().all(|due| due.duration_since(at(now)).as_secs() <= 300), "{:?}", plan.due);
        let believed = stored.done.filter(|done| *done <= at(now) && stored.schedule.as_ref() == Some(&text));
        prop_assert!(counts.done >= believed, "no round comes twice");
    }

    /// No busy loop, no round twice, none before its time.
    #[test]
    fn due_rounds_are_past_and_new_and_the_next_is_ahead(
        done in 0_i64..100_000, late in -2_000_i64..2_000, pending in any::<bool>(),
        missed in prop::sample::select(vec![Missed::Skip, Missed::Coalesce, CATCH_UP]),
        interval in 1_u64..500,
    ) {
        let schedule = Schedule::every(Duration::from_secs(interval)).unwrap();
        let pending = pending.then(|| schedule.next(at(done)).unwrap());
        let mark = HighWaterMark { pending, ..HighWaterMark::from_now_on(at(done)) };
        let now = at(done + late);
        let plan = rounds(&mark, &schedule, missed, now);
        prop_assert!(plan.next.unwrap() > now);
        prop_assert!(plan.due.is_sorted_by(|earlier, later| earlier < later), "in order, none twice");
        let mut new = plan.due.iter().filter(|time| Some(**time) != pending);
        prop_assert!(new.all(|time| *time <= now && *time > at(done) && plan.next.unwrap() > *time));
        prop_assert_eq!(pending, plan.due.first().copied().filter(|_| pending.is_some()));
    }
}
