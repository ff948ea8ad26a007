//! `slipstream-job queue`: what waits, and who holds what; and what puts everything into it again.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use slipstream_cimi::overview::queue::{
    Claim, LeftAlone, PLACE, Priority, Queue, Refused, Released, ReleasedJob, Restored, Sample, Waiting, WaitingAction,
};

use super::adopt::{self, AdoptArguments};
use super::example;
use super::options::connection::{ShowOptions, understood};
use super::spinner::Spinner;
use super::terminal::{Screen, age, ago, lasting, one_line};
use crate::process::clock::Clock;

/// How long `restore` waits: the server reads each job that is not queued, and writes to it.
const RESTORE_LIMIT: Duration = Duration::from_hours(1);

/// What `queue` is asked for.
#[derive(Debug, Args)]
#[command(
    mut_arg("json", |json| json.help("Print JSON: waiting jobs by priority, claims, released jobs")),
    args_conflicts_with_subcommands = true,
    after_help = example!("slipstream-job queue --json")
)]
pub struct QueueArguments {
    #[command(subcommand)]
    command: Option<QueueCommand>,
    #[command(flatten)]
    show: ShowOptions,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Queue every unfinished job that has no entry
    #[command(
        mut_arg("json", |json| json.help("Print how many were queued as JSON, and which were not and why")),
        after_help = example!(
            "For a ZooKeeper that has lost its nodes. The server also does it by itself, ten thousand jobs in half a \
             minute. Running it twice queues nothing twice.",
            "slipstream-job queue restore"
        )
    )]
    Restore(ShowOptions),
    #[command(about = "Assign a folder of ZooKeeper to another store")]
    Adopt(Box<AdoptArguments>),
}

/// Shows the queue, or restores it.
pub async fn run(arguments: QueueArguments) -> anyhow::Result<()> {
    match arguments.command {
        None => show(arguments.show).await,
        Some(QueueCommand::Restore(options)) => restore(options).await,
        Some(QueueCommand::Adopt(arguments)) => adopt::run(*arguments).await,
    }
}

async fn restore(options: ShowOptions) -> anyhow::Result<()> {
    let client = options.connection.client_within(RESTORE_LIMIT)?;
    let answer = Spinner::on("queueing").during(client.operation(PLACE, "restore")).await?;
    let restored: Restored = understood(answer)?;
    options.print(&restored, |_| render_restored(&restored))
}

fn render_restored(restored: &Restored) -> String {
    let queued = match restored.queued {
        0 if restored.left_out.is_empty() => "nothing to queue: every unfinished job has its entry".to_owned(),
        0 => "nothing queued".to_owned(),
        1 => "1 job queued".to_owned(),
        queued => format!("{queued} jobs queued"),
    };
    let left_out = restored.left_out.iter().map(|Refused { sample: jobs, reason }| {
        let mut lines = vec![format!("{} left out: {}", jobs.count, one_line(reason))];
        lines.extend(jobs.names.iter().map(|job| format!("  {}", one_line(job))));
        lines.join("\n")
    });
    std::iter::once(queued).chain(left_out).collect::<Vec<_>>().join("\n")
}

async fn show(options: ShowOptions) -> anyhow::Result<()> {
    let queue: Queue = options.connection.view(PLACE).await?;
    options.print(&queue, |screen| render(&queue, Clock::system().now(), screen))
}

fn render(queue: &Queue, now: Timestamp, screen: Screen) -> String {
    let Queue { waiting, claimed, left_alone, released, listed: _ } = queue;
    let left_alone = left_alone.iter().flat_map(|left| render_left_alone(left, screen));
    let released = released.iter().filter(|released| released.count > 0).map(|it| render_released(it, now, screen));
    if waiting.count == 0 && claimed.count == 0 {
        let empty = "the queue is empty".to_owned();
        return std::iter::once(empty).chain(left_alone).chain(released).collect::<Vec<_>>().join("\n\n");
    }
    let mut parts = vec![render_waiting(waiting, now, screen)];
    if !claimed.claims.is_empty() {
        let row = |claim: &Claim| claim_row(claim, now);
        let titles = ["JOB", "HELD", "ACTION", "EXECUTOR"];
        parts.push(screen.listing(&titles, &[2, 3], claimed.claims.iter().map(row).collect()));
    }
    let shown = claimed.claims.len();
    parts.push(screen.dimmed(&match claimed.count {
        0 => "no job is claimed".to_owned(),
        count if count == shown => format!("{count} held"),
        count => format!("{shown} of {count} held, oldest first"),
    }));
    parts.extend(left_alone);
    parts.extend(released);
    parts.join("\n\n")
}

/// What became free again without having ended, such as after an outage.
fn render_released(released: &Released, now: Timestamp, screen: Screen) -> String {
    let Released { since, count, latest } = released;
    let row = |ReleasedJob { job, time, executor, reason }: &ReleasedJob| {
        let name = one_line(job.strip_prefix("job/").unwrap_or(job));
        vec![name, ago(*time, now), one_line(reason), executor.as_deref().map(one_line).unwrap_or_default()]
    };
    let listing = screen.listing(&["JOB", "RELEASED", "WHY", "EXECUTOR"], &[3], latest.iter().map(row).collect());
    let (shown, since) = (latest.len() as u64, format!("since the server began at {since:.0}"));
    let total = if *count > shown { format!(", the latest {shown} of them") } else { String::new() };
    format!("{listing}\n\n{}", screen.dimmed(&format!("{count} released {since}{total}")))
}

/// What the reconciler leaves alone, if there is any.
fn render_left_alone(left_alone: &LeftAlone, screen: Screen) -> Vec<String> {
    let LeftAlone { entries, claims, without_session, refused } = left_alone;
    let kinds = [
        (entries, "ignored, of jobs unknown to this store:".to_owned()),
        (claims, "ignored, claimed without an entry:".to_owned()),
        (without_session, "claimed without a session, delete these nodes:".to_owned()),
    ];
    let refused = refused.iter().map(|Refused { sample, reason }| {
        (sample, format!("ignored, cannot be read or changed, {}:", one_line(reason)))
    });
    let kind = |(sample, what): (&Sample, String)| {
        let mut lines = vec![screen.dimmed(&format!("{} {what}", sample.count))];
        lines.extend(sample.names.iter().map(|name| format!("  {}", one_line(name))));
        lines.join("\n")
    };
    kinds.into_iter().chain(refused).filter(|(sample, _)| sample.count > 0).map(kind).collect()
}

fn render_waiting(waiting: &Waiting, now: Timestamp, screen: Screen) -> String {
    let mut lines = Vec::new();
    if !waiting.priorities.is_empty() {
        let row = |priority: &Priority| vec![priority.priority.to_string(), priority.count.to_string()];
        lines.push(screen.listing(&["PRIORITY", "WAITING"], &[], waiting.priorities.iter().map(row).collect()));
        lines.push(String::new());
    }
    if waiting.count > 0 && !waiting.actions.is_empty() {
        let row = |it: &WaitingAction| vec![one_line(&it.action), it.count.to_string()];
        lines.push(screen.listing(&["ACTION", "QUEUED"], &[0], waiting.actions.iter().map(row).collect()));
        lines.push(String::new());
    }
    // a job that was claimed a moment ago may still say that it is queued
    let oldest = waiting.oldest.as_ref().filter(|_| waiting.count > 0).map(|oldest| {
        let created: Option<Timestamp> = oldest.created.as_deref().and_then(|created| created.parse().ok());
        let waits = created.map(|created| format!(" {}", lasting(created, now))).unwrap_or_default();
        format!(", the oldest{waits}: {}", one_line(&oldest.job))
    });
    let total = format!("{} waiting{}", waiting.count, oldest.unwrap_or_default());
    lines.push(screen.dimmed(&total));
    lines.join("\n")
}

fn claim_row(claim: &Claim, now: Timestamp) -> Vec<String> {
    let name = claim.job.as_deref().map_or(claim.entry.as_str(), |job| job.strip_prefix("job/").unwrap_or(job));
    vec![
        one_line(name),
        claim.since.map(|since| age(since, now)).unwrap_or_default(),
        claim.action.as_deref().map(one_line).unwrap_or_default(),
        claim.executor.as_deref().map_or_else(|| format!("foreign {}", one_line(&claim.claimant)), one_line),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use slipstream_cimi::overview::queue::{Claimed, ReleasedJob, WaitingJob};

    use super::*;

    const SCREEN: Screen = Screen { width: Some(80), colours: false };

    fn claim(last: &str, executor: Option<&str>, since: Option<&str>) -> Claim {
        Claim {
            entry: format!("/job/entries/entry-999-000000000{last}"),
            job: since.map(|_| format!("job/01991d3c-7c1e-7a3b-8f3c-00000000000{last}")),
            action: since.map(|_| "dummy_test_action".to_owned()),
            state: None,
            claimant: "0123456789abcdef0123456789abcdef".to_owned(),
            executor: executor.map(str::to_owned),
            host: None,
            since: since.map(|since| since.parse().unwrap()),
        }
    }

    #[test]
    fn the_queue_shows_what_waits_by_priority_and_who_holds_what() {
        let oldest = WaitingJob {
            job: "job/01991d3c-7c1e-7a3b-8f3c-000000000009".to_owned(),
            action: None,
            created: Some("2026-11-24T11:00:00Z".to_owned()),
        };
        let priorities = vec![Priority { priority: 5, count: 2 }, Priority { priority: 999, count: 1_000_000 }];
        let actions = vec![
            WaitingAction { action: "nobody has\u{1b} it".to_owned(), count: 1_000_000 },
            WaitingAction { action: "noop".to_owned(), count: 2 },
        ];
        let claims = vec![
            claim("1", Some("node-1"), Some("2026-11-24T11:58:00Z")),
            claim("2", None, Some("2026-11-24T11:59:57Z")),
            claim("3", Some("node-1"), None),
        ];
        let queue = Queue {
            waiting: Waiting { count: 1_000_002, priorities, actions, oldest: Some(oldest) },
            claimed: Claimed { count: 5, claims },
            left_alone: None,
            released: None,
            listed: None,
        };
        let expected = "\
PRIORITY  WAITING
5         2
999       1000000

ACTION               QUEUED
nobody has\\u001b it  1000000
noop                 2

1000002 waiting, the oldest for 1h: job/01991d3c-7c1e-7a3b-8f3c-000000000009

JOB                                   HELD  ACTION             EXECUTOR
01991d3c-7c1e-7a3b-8f3c-000000000001  2m    dummy_test_action  node-1
01991d3c-7c1e-7a3b-8f3c-000000000002  3s    dummy_test_action  foreign 01234567…
/job/entries/entry-999-0000000003                              node-1

3 of 5 held, oldest first";
        assert_eq!(render(&queue, "2026-11-24T12:00:00Z".parse().unwrap(), SCREEN), expected);
    }

    #[test]
    fn an_empty_queue_says_so() {
        let waiting = Waiting { count: 0, priorities: Vec::new(), actions: Vec::new(), oldest: None };
        let claimed = Claimed { count: 0, claims: Vec::new() };
        let mut queue =
            Queue { waiting, claimed, left_alone: Some(LeftAlone::default()), released: None, listed: None };
        assert_eq!(render(&queue, Timestamp::UNIX_EPOCH, SCREEN), "the queue is empty");
        let sample =
            |count, names: &[&str]| Sample { count, names: names.iter().map(|name| (*name).to_owned()).collect() };
        let entries = sample(1_000, &["entry-999-0000000001", "entry-999-0000000002"]);
        let refused = vec![Refused { sample: sample(1, &["job/0a"]), reason: "not allowed".to_owned() }];
        let without_session = sample(1, &["/job/taken/entry-999-0000000003"]);
        queue.left_alone = Some(LeftAlone { entries, claims: sample(1, &["a\nb"]), without_session, refused });
        let expected = "\
the queue is empty

1000 ignored, of jobs unknown to this store:
  entry-999-0000000001
  entry-999-0000000002

1 ignored, claimed without an entry:
  a b

1 claimed without a session, delete these nodes:
  /job/taken/entry-999-0000000003

1 ignored, cannot be read or changed, not allowed:
  job/0a";
        assert_eq!(render(&queue, Timestamp::UNIX_EPOCH, SCREEN), expected);
    }

    #[test]
    fn what_was_released_is_told_with_its_reason_and_since_when_it_counts() {
        let waiting = Waiting { count: 0, priorities: Vec::new(), actions: Vec::new(), oldest: None };
        let since = "2026-11-24T11:00:00Z".parse().unwrap();
        let mut released = Released { since, count: 0, latest: VecDeque::new() };
        let shown = |released: &Released| {
            let claimed = Claimed { count: 0, claims: Vec::new() };
            let queue = Queue {
                waiting: waiting.clone(),
                claimed,
                left_alone: None,
                released: Some(released.clone()),
                listed: None,
            };
            render(&queue, "2026-11-24T12:00:00Z".parse().unwrap(), SCREEN)
        };
        assert_eq!(shown(&released), "the queue is empty");
        let one = |time: &str, executor: Option<&str>, reason: &str| ReleasedJob {
            job: "job/01991d3c-7c1e-7a3b-8f3c-000000000009".to_owned(),
            time: time.parse().unwrap(),
            executor: executor.map(str::to_owned),
            reason: reason.to_owned(),
        };
        released.count = 3;
        released.latest = VecDeque::from([
            one("2026-11-24T11:59:00Z", None, "its entry was gone"),
            one("2026-11-24T11:58:00Z", Some("node-1"), "it was released"),
            one("2026-11-24T11:57:00Z", Some("node-1"), "its attempt was lost"),
        ]);
        let expected = "\
the queue is empty

JOB                                   RELEASED  WHY                   EXECUTOR
01991d3c-7c1e-7a3b-8f3c-000000000009  1m ago    its entry was gone
01991d3c-7c1e-7a3b-8f3c-000000000009  2m ago    it was released       node-1
01991d3c-7c1e-7a3b-8f3c-000000000009  3m ago    its attempt was lost  node-1

3 released since the server began at 2026-11-24T11:00:00Z";
        assert_eq!(shown(&released), expected);
        released.count = 31;
        assert!(
            shown(&released)
                .ends_with("31 released since the server began at 2026-11-24T11:00:00Z, the latest 3 of them")
        );
    }

    #[test]
    fn a_restore_says_what_it_has_left_out_and_why() {
        let restored = |queued, left_out| render_restored(&Restored { queued, generation: 2, left_out });
        assert_eq!(restored(0, vec![]), "nothing to queue: every unfinished job has its entry");
        assert_eq!(restored(2, vec![]), "2 jobs queued");
        let left = Refused {
            sample: Sample { count: 20, names: vec!["job/0a".to_owned(), "job/0b".to_owned()] },
            reason: "for a reason".to_owned(),
        };
        assert_eq!(restored(0, vec![left]), "nothing queued\n20 left out: for a reason\n  job/0a\n  job/0b");
    }

    #[test]
    fn nothing_that_waits_has_no_oldest() {
        let oldest = WaitingJob { job: "job/0a".to_owned(), action: None, created: None };
        let waiting = Waiting { count: 0, priorities: Vec::new(), actions: Vec::new(), oldest: Some(oldest) };
        let claimed = Claimed { count: 1, claims: vec![claim("1", None, None)] };
        let queue = Queue { waiting, claimed, left_alone: None, released: None, listed: None };
        let shown = render(&queue, Timestamp::UNIX_EPOCH, SCREEN);
        assert_eq!(shown.lines().next(), Some("0 waiting"));
    }
}
