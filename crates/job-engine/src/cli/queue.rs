//! `slipstream-job queue`: what waits, and who holds what.

use clap::Args;
use jiff::Timestamp;

use super::connection::Connection;
use super::example;
use super::terminal::{self, Screen, age, one_line};
use crate::clock::Clock;
use crate::server::overview::{ClaimTold, Overview, Priority, Queue, Waiting};

/// What `queue` is asked for.
#[derive(Debug, Args)]
#[command(after_help = example!("slipstream-job queue --json"))]
pub struct QueueArguments {
    /// Print JSON: what waits by priority, and who holds what
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Shows the queue.
pub async fn run(arguments: QueueArguments) -> anyhow::Result<()> {
    let queue: Queue = arguments.connection.overview(Overview::Queue).await?;
    if arguments.json {
        return terminal::print(&serde_json::to_string_pretty(&queue)?);
    }
    terminal::print(&render(&queue, Clock::system().now(), Screen::standard_output()))
}

fn render(queue: &Queue, now: Timestamp, screen: Screen) -> String {
    let Queue { waiting, claimed } = queue;
    if waiting.count == 0 && claimed.count == 0 {
        return "the queue is empty".to_owned();
    }
    let mut parts = vec![render_waiting(waiting, now, screen)];
    if !claimed.claims.is_empty() {
        let row = |claim: &ClaimTold| claim_row(claim, now);
        let titles = ["JOB", "HELD", "ACTION", "EXECUTOR"];
        parts.push(screen.listing(&titles, &[2, 3], claimed.claims.iter().map(row).collect()));
    }
    let told = claimed.claims.len();
    parts.push(screen.dimmed(&match claimed.count {
        0 => "nobody holds any job".to_owned(),
        count if count == told => format!("{count} held"),
        count => format!("{told} of {count} held, the oldest ones"),
    }));
    parts.join("\n\n")
}

fn render_waiting(waiting: &Waiting, now: Timestamp, screen: Screen) -> String {
    let mut lines = Vec::new();
    if !waiting.priorities.is_empty() {
        let row = |priority: &Priority| vec![priority.priority.to_string(), priority.count.to_string()];
        lines.push(screen.listing(&["PRIORITY", "WAITING"], &[], waiting.priorities.iter().map(row).collect()));
        lines.push(String::new());
    }
    // a job that was claimed a moment ago may still say that it is queued
    let oldest = waiting.oldest.as_ref().filter(|_| waiting.count > 0).map(|oldest| {
        let created: Option<Timestamp> = oldest.created.as_deref().and_then(|created| created.parse().ok());
        let waits = created.map(|created| format!(" for {}", age(created, now))).unwrap_or_default();
        format!(", the oldest{waits}: {}", one_line(&oldest.job))
    });
    let total = format!("{} waiting{}", waiting.count, oldest.unwrap_or_default());
    lines.push(screen.dimmed(&total));
    lines.join("\n")
}

fn claim_row(claim: &ClaimTold, now: Timestamp) -> Vec<String> {
    let name = claim.job.as_deref().map_or(claim.entry.as_str(), |job| job.strip_prefix("job/").unwrap_or(job));
    vec![
        one_line(name),
        claim.since.map(|since| age(since, now)).unwrap_or_default(),
        claim.action.as_deref().map(one_line).unwrap_or_default(),
        one_line(claim.executor.as_deref().unwrap_or(&claim.claimant)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::overview::{Claimed, WaitingJob};

    const SCREEN: Screen = Screen { width: Some(80), colours: false };

    fn claim(last: &str, executor: Option<&str>, since: Option<&str>) -> ClaimTold {
        ClaimTold {
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
        let claims = vec![
            claim("1", Some("node-1"), Some("2026-11-24T11:58:00Z")),
            claim("2", None, Some("2026-11-24T11:59:57Z")),
            claim("3", Some("node-1"), None),
        ];
        let queue = Queue {
            waiting: Waiting { count: 1_000_002, priorities, oldest: Some(oldest) },
            claimed: Claimed { count: 5, claims },
        };
        let expected = "\
PRIORITY  WAITING
5         2
999       1000000

1000002 waiting, the oldest for 1h: job/01991d3c-7c1e-7a3b-8f3c-000000000009

JOB                                   HELD  ACTION             EXECUTOR
01991d3c-7c1e-7a3b-8f3c-000000000001  2m    dummy_test_action  node-1
01991d3c-7c1e-7a3b-8f3c-000000000002  3s    dummy_test_action  0123456789abcdef…
/job/entries/entry-999-0000000003                              node-1

3 of 5 held, the oldest ones";
        assert_eq!(render(&queue, "2026-11-24T12:00:00Z".parse().unwrap(), SCREEN), expected);
    }

    #[test]
    fn an_empty_queue_says_so() {
        let waiting = Waiting { count: 0, priorities: Vec::new(), oldest: None };
        let queue = Queue { waiting, claimed: Claimed { count: 0, claims: Vec::new() } };
        assert_eq!(render(&queue, Timestamp::UNIX_EPOCH, SCREEN), "the queue is empty");
    }

    #[test]
    fn nothing_that_waits_has_no_oldest() {
        let oldest = WaitingJob { job: "job/0a".to_owned(), action: None, created: None };
        let waiting = Waiting { count: 0, priorities: Vec::new(), oldest: Some(oldest) };
        let queue = Queue { waiting, claimed: Claimed { count: 1, claims: vec![claim("1", None, None)] } };
        let shown = render(&queue, Timestamp::UNIX_EPOCH, SCREEN);
        assert_eq!(shown.lines().next(), Some("0 waiting"));
    }
}
