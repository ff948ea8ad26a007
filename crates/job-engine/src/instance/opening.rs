//! [`looked_after`]: whoever waits for the opening of a store that takes long sees how far it is, in the log or by a bar below
//! it, and may stop it.

use std::time::Duration;

use slipstream_store::sqlite::{Done, Step};
use tokio::time::{Instant, interval};

use crate::process::activity::{Activity, Phase};
use crate::process::output::{self, in_thousands};
use crate::process::stop::Stop;

/// How often it is looked at how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// Columns of a bar.
const BAR: usize = 20;

/// Waits for the opening of a store; notes what it is at and shows it, and stops it at the stop.
pub(super) async fn looked_after<T>(
    opened: impl Future<Output = T>,
    at: impl Fn() -> Option<Step>,
    end: impl Fn(),
    activity: &Activity,
    stop: &Stop,
) -> T {
    let mut opened = std::pin::pin!(opened);
    let (mut looks, mut logged, mut begun) = (interval(LOOK), None, Instant::now());
    loop {
        tokio::select! {
            biased;
            opened = &mut opened => {
                if logged.is_some() {
                    output::hide_progress();
                    activity.enter(Phase::Starting);
                }
                return opened;
            }
            _ = looks.tick() => {}
        }
        if stop.is_asked() {
            end();
        }
        let Some(now) = at() else { continue };
        let (doing, done) = parts(now);
        let percent = done.map(Done::percent);
        activity.enter(Phase::Changing { doing, percent });
        let has_bar = output::shows_progress();
        // each ten percent, unless a bar shows them
        let line = Some((doing, percent.filter(|_| !has_bar).map(|percent| percent / 10)));
        if logged != line {
            if logged.is_none_or(|(before, _)| before != doing) {
                begun = Instant::now();
            }
            tracing::info!(percent, "{doing}");
            logged = line;
        }
        if has_bar {
            output::show_progress(&progress(now, begun.elapsed()));
        }
    }
}

/// What a step is for people, and how much of it is done where that is known.
fn parts(step: Step) -> (&'static str, Option<Done>) {
    match step {
        Step::Waiting => ("waiting until nobody else reads the database", None),
        Step::Copying(done) => ("copying the database", Some(done)),
        Step::Checking => ("checking the copy of the database", None),
        Step::Writing(done) => ("writing the database anew for this version", Some(done)),
        Step::Indexing(done) => ("indexing the database", Some(done)),
        Step::Declaring(done) => ("indexing declared attributes", Some(done)),
    }
}

/// `3 of 4: writing ━━━━━━━━────────────  40 %, 410,000 of 1,000,003 documents, 12 s left`: a step that goes on for so long.
fn progress(step: Step, lasting: Duration) -> String {
    let (doing, done) = parts(step);
    let (number, short, things) = match step {
        Step::Waiting => return format!("{doing}, for {}", in_words(lasting)),
        Step::Checking => return format!("2 of 4: {doing}, for {}", in_words(lasting)),
        Step::Copying(_) => (1, "copying", None),
        Step::Writing(_) => (3, "writing", Some("documents")),
        Step::Indexing(_) => (4, "indexing", Some("indexes")),
        // by itself: the database has its version by then
        Step::Declaring(_) => (1, "indexing declared attributes", Some("documents")),
    };
    let done = done.expect("a step with a bar is counted");
    let full = BAR * usize::from(done.percent()) / 100;
    let (bar, rest) = ("━".repeat(full), "─".repeat(BAR - full));
    let counted = things.map(|things| format!("{} of {} {things}", in_thousands(done.done), in_thousands(done.all)));
    let left = left(done, lasting).map(|left| format!("{} left", in_words(left)));
    let all = if matches!(step, Step::Declaring(_)) { 1 } else { 4 };
    let parts = [Some(format!("{number} of {all}: {short} {bar}{rest} {:>3} %", done.percent())), counted, left];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// How long the rest takes if it is like what is done; nobody knows before some of it is.
fn left(done: Done, lasting: Duration) -> Option<Duration> {
    let rest = u128::from(done.all.saturating_sub(done.done));
    let milliseconds = (lasting.as_millis() * rest).checked_div(u128::from(done.done))?;
    (done.percent() > 0).then(|| Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX)))
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_opening_that_takes_long_is_noted_and_ends_at_the_stop() {
        let (activity, stop) = (Activity::new(), Stop::new());
        let (steps, asked) = (Cell::new(0), Cell::new(0));
        let ends = tokio::sync::Notify::new();
        let at = || {
            steps.set(steps.get() + 1);
            match steps.get() {
                1 => None,
                2 => Some(Step::Copying(Done { done: 41, all: 100 })),
                3 => Some(Step::Checking),
                _ => {
                    stop.ask();
                    Some(Step::Indexing(Done { done: 0, all: 9 }))
                }
            }
        };
        let end = || {
            asked.set(asked.get() + 1);
            // what begins at the moment of the first one does not hear it
            if asked.get() == 2 {
                ends.notify_one();
            }
        };
        let mut phases = activity.phase();
        let seen = async {
            let mut seen = Vec::new();
            while seen.last() != Some(&Phase::Starting) {
                phases.changed().await.unwrap();
                seen.push(phases.borrow_and_update().clone());
            }
            seen
        };
        let ((), seen) = tokio::join!(looked_after(ends.notified(), at, end, &activity, &stop), seen);
        let changing = |doing, percent| Phase::Changing { doing, percent };
        assert_eq!(
            (seen.first(), seen.get(1)),
            (
                Some(&changing("copying the database", Some(41))),
                Some(&changing("checking the copy of the database", None))
            )
        );
        assert_eq!(asked.get(), 2);
    }

    #[test]
    fn a_bar_says_how_much_is_done_and_how_long_the_rest_takes() {
        let written = |done| Step::Writing(Done { done, all: 1_000_003 });
        for (step, seconds, expected) in [
            (Step::Waiting, 7, "waiting until nobody else reads the database, for 7 s"),
            (Step::Copying(Done { done: 50, all: 100 }), 3, "1 of 4: copying ━━━━━━━━━━──────────  50 %, 3 s left"),
            (Step::Checking, 119, "2 of 4: checking the copy of the database, for 119 s"),
            (written(0), 0, "3 of 4: writing ────────────────────   0 %, 0 of 1,000,003 documents"),
            (
                written(410_000),
                100,
                "3 of 4: writing ━━━━━━━━────────────  40 %, 410,000 of 1,000,003 documents, 2 min left",
            ),
            (
                written(1_000_003),
                9,
                "3 of 4: writing ━━━━━━━━━━━━━━━━━━━━ 100 %, 1,000,003 of 1,000,003 documents, 0 s left",
            ),
            (
                Step::Indexing(Done { done: 5, all: 15 }),
                9,
                "4 of 4: indexing ━━━━━━──────────────  33 %, 5 of 15 indexes, 18 s left",
            ),
            (
                Step::Declaring(Done { done: 50_000, all: 100_000 }),
                1,
                "1 of 1: indexing declared attributes ━━━━━━━━━━──────────  50 %, 50,000 of 100,000 documents, 1 s left",
            ),
        ] {
            assert_eq!(progress(step, Duration::from_secs(seconds)), expected);
        }
    }
}
