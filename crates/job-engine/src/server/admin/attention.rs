//! [`attention`]: what a person should look at, a table over what was found out.

use std::fmt::Display;

use form_urlencoded::byte_serialize;
use jiff::{SignedDuration, Timestamp};
use slipstream_cimi::filter::Literal;
use slipstream_cimi::overview::distributors::GivenUp;
use slipstream_cimi::overview::work::{ActionWork, Attention, Failures, LateWrite};

use crate::server::reconcile::Unheld;

/// So many jobs of an action have ended at least …
const FEWEST_ENDED: u64 = 5;
/// … before it is told that this share of them in percent failed, or more.
const FAILING_PERCENT: u64 = 25;
/// Most rows of one kind.
const MOST_ALIKE: usize = 10;

/// What was found out.
#[derive(Debug, Default)]
pub struct Facts {
    /// Why the coordinator says nothing, if it does not.
    pub away: Option<String>,
    /// RUNNING jobs that nobody holds.
    pub unheld: Unheld,
    /// What was done in the last quarter of an hour, …
    pub recently: Vec<ActionWork>,
    /// … and what failed of it.
    pub failures: Vec<Failures>,
    /// Distributors that gave up rounds.
    pub given_up: Vec<(String, GivenUp)>,
    /// Late writes of the last hour, newest first.
    pub late: Vec<LateWrite>,
    /// How many jobs wait of each action that no registered executor takes.
    pub unserved: Vec<(String, u64)>,
    /// Somebody executes without saying which actions.
    pub has_foreign: bool,
}

/// The table, the worst first.
#[must_use]
pub fn attention(facts: &Facts) -> Vec<Attention> {
    let mut rows: Vec<Attention> = facts.away.iter().map(|reason| away(reason)).collect();
    rows.extend(unheld(&facts.unheld));
    rows.extend(
        facts.unserved.iter().map(|(action, count)| unserved(action, *count, facts.has_foreign)).take(MOST_ALIKE),
    );
    let failing = facts.recently.iter().filter(|action| is_failing(action));
    rows.extend(failing.map(|action| failing_row(action, facts)).take(MOST_ALIKE));
    rows.extend(facts.given_up.iter().map(|(name, given_up)| rounds(name, *given_up)).take(MOST_ALIKE));
    rows.extend(late(&facts.late));
    rows
}

fn away(reason: &str) -> Attention {
    let text = format!("the coordinator cannot be asked: {reason}");
    row("coordinator-away", text, 1, "about".to_owned())
}

fn unheld(unheld: &Unheld) -> Option<Attention> {
    let oldest = unheld.oldest.as_ref()?;
    let text = format!("{} RUNNING that nobody holds", jobs(unheld.count));
    // one is shown by itself, with why it does not go on
    let href = match unheld.count {
        1 => format!("jobs/{}", encoded(oldest.job.strip_prefix("job/").unwrap_or(&oldest.job))),
        _ => by_filter("state='RUNNING'"),
    };
    Some(Attention { since: Some(oldest.since), ..row("lost", text, unheld.count, href) })
}

fn unserved(action: &str, count: u64, has_foreign: bool) -> Attention {
    let may = if has_foreign { ", unless one does that does not register" } else { "" };
    let text = format!("{action}: {} waiting, and no registered executor takes them{may}", jobs(count));
    let href = by_filter(&format!("state='QUEUED' and action={}", quoted(action)));
    row("no-executor", text, count, href)
}

fn is_failing(action: &ActionWork) -> bool {
    action.ended >= FEWEST_ENDED && action.failed * 100 >= action.ended * FAILING_PERCENT
}

fn failing_row(action: &ActionWork, facts: &Facts) -> Attention {
    let mut of_it = facts.failures.iter().filter(|alike| alike.action == action.name);
    let latest = of_it.clone().map(|alike| alike.latest).max();
    // the most frequent one
    let message = of_it.next().map(|alike| format!(", \"{}\" {} times", alike.message, alike.count));
    let (name, message) = (&action.name, message.unwrap_or_default());
    let text = format!("{name} fails: {} of {} in the last 15 minutes{message}", action.failed, action.ended);
    // the address stays the same while time goes on
    let href = by_filter(&format!("state='FAILED' and action={} and updated>='now-15m'", quoted(name)));
    Attention { latest, ..row("failing", text, action.failed, href) }
}

fn rounds(distributor: &str, given_up: GivenUp) -> Attention {
    let GivenUp { times, first, latest } = given_up;
    let often = counted(times, "time", "times");
    let text = format!("{distributor} gave up rounds that it had missed, {often} since its leader began");
    let href = format!("distributors/{}", encoded(distributor));
    Attention { since: Some(first), latest: Some(latest), ..row("rounds-given-up", text, times, href) }
}

fn late(writes: &[LateWrite]) -> Option<Attention> {
    let (latest, oldest) = (writes.first()?, writes.last()?);
    let count = writes.len() as u64;
    let mut executors: Vec<&str> = writes.iter().filter_map(|write| write.executor.as_deref()).collect();
    executors.sort_unstable();
    executors.dedup();
    let whose = match executors[..] {
        [only] => format!(", of {only}"),
        [] => String::new(),
        _ => format!(", of {} executors", executors.len()),
    };
    let text = format!("{} refused in the last hour{whose}", counted(count, "late write", "late writes"));
    let href = format!("jobs/{}", encoded(latest.job.strip_prefix("job/").unwrap_or(&latest.job)));
    let (since, last) = (Some(oldest.time), Some(latest.time));
    Some(Attention { since, latest: last, ..row("late-writes", text, count, href) })
}

fn row(code: &str, text: String, count: u64, href: String) -> Attention {
    Attention { code: code.to_owned(), text, since: None, latest: None, count, href }
}

/// Since when a late write counts.
#[must_use]
pub fn late_since(now: Timestamp) -> Timestamp {
    now.checked_sub(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MIN)
}

fn jobs(count: u64) -> String {
    counted(count, "job", "jobs")
}

fn counted(count: u64, one: impl Display, many: impl Display) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn by_filter(filter: &str) -> String {
    format!("jobs?filter={}", encoded(filter))
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// A text in the filter language.
fn quoted(text: &str) -> String {
    Literal::Text(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use slipstream_cimi::Code;

    use super::*;
    use crate::server::reconcile::OldestUnheld;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("it is one")
    }

    fn action(name: &str, ended: u64, failed: u64) -> ActionWork {
        let name = name.to_owned();
        ActionWork {
            name,
            added: ended,
            ended,
            failed,
            wait: None,
            run: None,
            series: Vec::new(),
            failed_series: Vec::new(),
        }
    }

    fn told(facts: &Facts) -> Vec<(String, String, u64, String)> {
        attention(facts).into_iter().map(|row| (row.code, row.text, row.count, row.href)).collect()
    }

    fn told_as(code: &str, text: &str, count: u64, href: &str) -> Vec<(String, String, u64, String)> {
        vec![(code.to_owned(), text.to_owned(), count, href.to_owned())]
    }

    #[test]
    fn nothing_is_told_where_all_is_well() {
        let facts = Facts {
            recently: vec![action("well", 100, 24), action("rare", 4, 4), action("idle", 0, 0)],
            has_foreign: true,
            ..Facts::default()
        };
        assert_eq!(told(&facts), []);
    }

    #[test]
    fn a_coordinator_that_is_away() {
        let facts = Facts { away: Some("no session".to_owned()), ..Facts::default() };
        assert_eq!(
            told(&facts),
            told_as("coordinator-away", "the coordinator cannot be asked: no session", 1, "about")
        );
    }

    #[test]
    fn running_jobs_that_nobody_holds() {
        let oldest = Some(OldestUnheld { job: "job/a b".to_owned(), since: at(7) });
        let mut facts = Facts { unheld: Unheld { count: 1, oldest }, ..Facts::default() };
        assert_eq!(told(&facts), told_as("lost", "1 job RUNNING that nobody holds", 1, "jobs/a+b"));
        facts.unheld.count = 3;
        assert_eq!(
            told(&facts),
            told_as("lost", "3 jobs RUNNING that nobody holds", 3, "jobs?filter=state%3D%27RUNNING%27")
        );
        assert_eq!(attention(&facts)[0].since, Some(at(7)));
    }

    #[test]
    fn an_action_that_fails() {
        let alike = |message: &str, count| Failures {
            action: "a'b".to_owned(),
            message: message.to_owned(),
            count,
            latest: at(9),
            job: "job/1".to_owned(),
        };
        let mut facts = Facts {
            recently: vec![action("a'b", 40, 31), action("at the border", 8, 2)],
            failures: vec![alike("401 Unauthorized", 29), alike("timeout", 2)],
            ..Facts::default()
        };
        let texts: Vec<String> = attention(&facts).into_iter().map(|row| row.text).collect();
        let first = "a'b fails: 31 of 40 in the last 15 minutes, \"401 Unauthorized\" 29 times";
        assert_eq!(texts, [first, "at the border fails: 2 of 8 in the last 15 minutes"]);
        facts.recently.truncate(1);
        facts.failures[1].latest = at(11);
        assert_eq!((attention(&facts)[0].since, attention(&facts)[0].latest), (None, Some(at(11))), "of any message");
        let href = attention(&facts).remove(0).href;
        let (_, filter) = form_urlencoded::parse(href.trim_start_matches("jobs?").as_bytes()).next().expect("a filter");
        slipstream_cimi::filter::Filter::parse(&filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    }

    #[test]
    fn rounds_that_were_given_up() {
        let given_up = GivenUp { times: 2, first: at(3), latest: at(9) };
        let facts = Facts { given_up: vec![("nightly".to_owned(), given_up)], ..Facts::default() };
        let text = "nightly gave up rounds that it had missed, 2 times since its leader began";
        assert_eq!(told(&facts), told_as("rounds-given-up", text, 2, "distributors/nightly"));
        assert_eq!((attention(&facts)[0].since, attention(&facts)[0].latest), (Some(at(3)), Some(at(9))));
    }

    #[test]
    fn writes_that_came_too_late() {
        let write = |second, executor: &str| LateWrite {
            time: at(second),
            job: format!("job/{second}"),
            executor: Some(executor.to_owned()),
            lease: None,
            code: Code::LateLease,
        };
        let mut facts = Facts { late: vec![write(9, "node-3"), write(5, "node-3")], ..Facts::default() };
        assert_eq!(
            told(&facts),
            told_as("late-writes", "2 late writes refused in the last hour, of node-3", 2, "jobs/9")
        );
        assert_eq!((attention(&facts)[0].since, attention(&facts)[0].latest), (Some(at(5)), Some(at(9))));
        facts.late.push(write(4, "node-4"));
        assert_eq!(attention(&facts)[0].text, "3 late writes refused in the last hour, of 2 executors");
    }

    #[test]
    fn an_action_that_no_registered_executor_has() {
        let mut facts = Facts { unserved: vec![("orchestrate".to_owned(), 4_100)], ..Facts::default() };
        let href = "jobs?filter=state%3D%27QUEUED%27+and+action%3D%27orchestrate%27";
        let text = "orchestrate: 4100 jobs waiting, and no registered executor takes them";
        assert_eq!(told(&facts), told_as("no-executor", text, 4_100, href));
        facts.has_foreign = true;
        assert!(attention(&facts)[0].text.ends_with(", unless one does that does not register"));
    }
}
