use std::time::Duration;

use proptest::prelude::*;

use super::*;

const CATCH_UP: Missed = Missed::CatchUp { limit: 3 };

/// Seconds since the epoch; the schedule is every 100 s.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn mark(pending: Option<i64>, done: Option<i64>) -> HighWaterMark {
    HighWaterMark { pending: pending.map(at), done: done.map(at) }
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

proptest! {
    /// No busy loop, no round twice, none before its time.
    #[test]
    fn due_rounds_are_past_and_new_and_the_next_is_ahead(
        done in 0_i64..100_000, late in -2_000_i64..2_000, pending in any::<bool>(),
        missed in prop::sample::select(vec![Missed::Skip, Missed::Coalesce, CATCH_UP]),
        interval in 1_u64..500,
    ) {
        let schedule = Schedule::every(Duration::from_secs(interval)).unwrap();
        let pending = pending.then(|| schedule.next(at(done)).unwrap());
        let mark = HighWaterMark { pending, done: Some(at(done)) };
        let now = at(done + late);
        let plan = rounds(&mark, &schedule, missed, now);
        prop_assert!(plan.next.unwrap() > now);
        prop_assert!(plan.due.is_sorted_by(|earlier, later| earlier < later), "in order, none twice");
        let mut new = plan.due.iter().filter(|time| Some(**time) != pending);
        prop_assert!(new.all(|time| *time <= now && *time > at(done) && plan.next.unwrap() > *time));
        prop_assert_eq!(pending, plan.due.first().copied().filter(|_| pending.is_some()));
    }
}
