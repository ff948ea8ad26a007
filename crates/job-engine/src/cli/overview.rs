//! `slipstream-job overview`: how many jobs there are, what was done lately, what needs attention, and what takes longest.

use std::fmt::Write as _;

use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use slipstream_cimi::overview::queue::WaitingJob;
use slipstream_cimi::overview::work::{
    ActionWork, Attention, Longest, Overview, PLACE, Percentiles, RunningJob, SPAN, Span, Totals, Work,
};

use super::example;
use super::options::connection::ShowOptions;
use super::terminal::{Screen, age, ago, one_line};
use crate::process::clock::Clock;

/// Most actions that are shown.
const MOST_ACTIONS: usize = 20;

/// What `overview` is asked for.
#[derive(Debug, Args)]
#[command(
    mut_arg("json", |json| json.help("Print the server's answer as JSON")),
    after_help = example!(
        "Times are at most 19 % off. Who is no administrator sees how many jobs of theirs there are.",
        "slipstream-job overview --span 24h"
    )
)]
pub struct OverviewArguments {
    /// How far back
    #[arg(long, value_name = "SPAN", default_value = "15m",
          value_parser = PossibleValuesParser::new(Span::ALL.map(Span::as_str)))]
    span: String,
    #[command(flatten)]
    show: ShowOptions,
}

/// Shows what the server knows.
pub async fn run(arguments: OverviewArguments) -> anyhow::Result<()> {
    let OverviewArguments { span, show } = arguments;
    let overview: Overview = show.connection.view_with(PLACE, &[(SPAN, &span)]).await?;
    show.print(&overview, |screen| render(&overview, Clock::system().now(), screen))
}

fn render(overview: &Overview, now: Timestamp, screen: Screen) -> String {
    let counts: Vec<(String, String)> =
        overview.jobs.iter().map(|(state, count)| (one_line(state), count.to_string())).collect();
    let counts = if counts.is_empty() {
        "there are no jobs".to_owned()
    } else {
        format!("{}\n{}", screen.bold("JOBS"), screen.pairs(&counts).join("\n"))
    };
    let mut parts = vec![counts];
    if let Some(work) = &overview.work {
        parts.push(totals(overview.span, &work.total));
        parts.push(attention(&work.attention, now, screen));
        parts.extend(running(&work.longest, now, screen));
        parts.extend(work.longest.waiting.as_ref().map(|job| waiting(job, now)));
        parts.extend(actions(work, screen));
    }
    parts.join("\n\n")
}

fn totals(span: Span, total: &Totals) -> String {
    let back = match span {
        Span::Quarter => "15 minutes",
        Span::Day => "24 hours",
        Span::Season => "90 days",
    };
    if total.added + total.ended() == 0 {
        return format!("no job was added or has ended in the last {back}");
    }
    let mut text = format!(
        "in the last {back}: {} added, {} ended, {} of them FAILED ({})",
        total.added,
        total.ended(),
        total.failed,
        share(total.failed, total.ended())
    );
    if total.added_per_second + total.ended_per_second > 0.0 {
        let (added, ended) = (total.added_per_second, total.ended_per_second);
        write!(text, "\nper second, mean of the last minute: {added:.1} added, {ended:.1} ended")
            .expect("a text takes it");
    }
    for (what, times) in [("waited", total.wait), ("ran", total.run)] {
        if let Some(Percentiles { p50, p99, .. }) = times {
            write!(text, "\n{what}: median {}, 99 % at most {}", lasting(p50), lasting(p99)).expect("a text takes it");
        }
    }
    text
}

fn attention(rows: &[Attention], now: Timestamp, screen: Screen) -> String {
    if rows.is_empty() {
        return "nothing needs attention".to_owned();
    }
    let row = |row: &Attention| {
        let when = match (row.latest, row.since) {
            (Some(latest), _) => format!(" (last {})", ago(latest, now)),
            (None, Some(since)) => format!(" (for {})", age(since, now)),
            (None, None) => String::new(),
        };
        format!("  ! {}{when}", one_line(&row.text))
    };
    let lines: Vec<String> = rows.iter().map(row).collect();
    format!("{}\n{}", screen.bold("NEEDS ATTENTION"), lines.join("\n"))
}

fn running(longest: &Longest, now: Timestamp, screen: Screen) -> Option<String> {
    let row = |job: &RunningJob| {
        let executor = job.executor.as_deref().unwrap_or_default();
        vec![one_line(&job.job), one_line(&job.action), one_line(executor), age(job.since, now)]
    };
    let rows: Vec<Vec<String>> = longest.running.iter().map(row).collect();
    (!rows.is_empty()).then(|| screen.listing(&["RUNNING LONGEST", "ACTION", "EXECUTOR", "FOR"], &[1, 2], rows))
}

fn waiting(job: &WaitingJob, now: Timestamp) -> String {
    let id = one_line(&job.job);
    let action = job.action.as_deref().map(|action| format!(", {}", one_line(action))).unwrap_or_default();
    let created = job.created.as_deref().and_then(|created| created.parse().ok());
    let long = created.map(|created| format!(", for {}", age(created, now))).unwrap_or_default();
    format!("waiting longest: {id}{action}{long}\n  `slipstream-job jobs explain {id}` says why")
}

fn actions(work: &Work, screen: Screen) -> Option<String> {
    let time = |times: Option<Percentiles>, which: fn(Percentiles) -> f64| {
        times.map(|times| lasting(which(times))).unwrap_or_default()
    };
    let row = |action: &ActionWork| {
        vec![
            one_line(&action.name),
            action.added.to_string(),
            action.ended.to_string(),
            share(action.failed, action.ended),
            time(action.run, |times| times.p50),
            time(action.run, |times| times.p99),
        ]
    };
    let rows: Vec<Vec<String>> = work.actions.iter().take(MOST_ACTIONS).map(row).collect();
    let titles = ["ACTION", "ADDED", "ENDED", "FAILED", "RAN, MEDIAN", "99 %"];
    (!rows.is_empty()).then(|| screen.listing(&titles, &[0], rows))
}

/// How much of it, in percent; nothing of nothing.
fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let percent = part as f64 * 100.0 / whole as f64;
    format!("{percent:.1} %")
}

/// So many seconds, for people.
fn lasting(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", (seconds * 1_000.0).max(1.0)),
        ..100.0 => format!("{seconds:.1} s"),
        ..6_000.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;
    use slipstream_cimi::overview::work::Series;

    use super::*;

    const SCREEN: Screen = Screen { width: None, colours: false };

    fn overview(total: Totals, attention: Vec<Attention>, actions: Vec<ActionWork>) -> Overview {
        let begin = Timestamp::UNIX_EPOCH;
        let series = Series { begin, step: 10, added: Vec::new(), ended: Vec::new(), failed: Vec::new() };
        let (failures, late) = (Vec::new(), Vec::new());
        let longest = Longest::default();
        let work = Work { since: begin, total, series, actions, failures, late, attention, longest, checked: None };
        let jobs = BTreeMap::from([("QUEUED".to_owned(), 12), ("SUCCESS".to_owned(), 981)]);
        Overview { time: begin, span: Span::Quarter, jobs, work: Some(work) }
    }

    #[test]
    fn what_was_done_and_what_needs_attention() {
        let times = Some(Percentiles { count: 4, p50: 0.003, p99: 1.2 });
        let total = Totals { added: 5, success: 3, failed: 1, added_per_second: 0.1, wait: times, ..Totals::default() };
        let row = |text: &str, since, latest| {
            let (code, href) = ("a code".to_owned(), "jobs".to_owned());
            Attention { code, text: text.to_owned(), since, latest, count: 3, href }
        };
        let at = |second| Some(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second));
        let attention = vec![
            row("3 jobs\u{1b} RUNNING that nobody holds", at(0), None),
            row("collect fails: 3 of 5", None, at(38)),
            row("collect: 3 jobs waiting", None, None),
        ];
        let (name, series, failed_series) = ("collect".to_owned(), Vec::new(), Vec::new());
        let action = ActionWork { name, added: 5, ended: 4, failed: 1, wait: None, run: times, series, failed_series };
        let mut shown = overview(total, attention, vec![action]);
        let work = shown.work.as_mut().expect("it is for administrators");
        let running = |job: &str, executor: Option<&str>| {
            let (job, action, executor) = (job.to_owned(), "collect".to_owned(), executor.map(str::to_owned));
            RunningJob { job, action, executor, since: Timestamp::UNIX_EPOCH }
        };
        work.longest.running = vec![running("job/0a", Some("node-3")), running("job/0b", None)];
        let created = Some("1970-01-01T00:00:11.000Z".to_owned());
        work.longest.waiting =
            Some(WaitingJob { job: "job/0c".to_owned(), action: Some("resize".to_owned()), created });
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(41);
        let expected = "JOBS
  QUEUED   12
  SUCCESS  981

in the last 15 minutes: 5 added, 4 ended, 1 of them FAILED (25.0 %)
per second, mean of the last minute: 0.1 added, 0.0 ended
waited: median 3 ms, 99 % at most 1.2 s

NEEDS ATTENTION
  ! 3 jobs\\u001b RUNNING that nobody holds (for 41s)
  ! collect fails: 3 of 5 (last 3s ago)
  ! collect: 3 jobs waiting

RUNNING LONGEST  ACTION   EXECUTOR  FOR
job/0a           collect  node-3    41s
job/0b           collect            41s

waiting longest: job/0c, resize, for 30s
  `slipstream-job jobs explain job/0c` says why

ACTION   ADDED  ENDED  FAILED  RAN, MEDIAN  99 %
collect  5      4      25.0 %  3 ms         1.2 s";
        assert_eq!(render(&shown, now, SCREEN), expected);
    }

    #[test]
    fn an_idle_engine_and_somebody_who_sees_no_more_than_counts() {
        let idle = overview(Totals::default(), Vec::new(), Vec::new());
        let expected = "JOBS
  QUEUED   12
  SUCCESS  981

no job was added or has ended in the last 15 minutes

nothing needs attention";
        assert_eq!(render(&idle, Timestamp::UNIX_EPOCH, SCREEN), expected);
        let reduced = Overview { work: None, jobs: BTreeMap::new(), ..idle };
        assert_eq!(render(&reduced, Timestamp::UNIX_EPOCH, SCREEN), "there are no jobs");
    }
}
