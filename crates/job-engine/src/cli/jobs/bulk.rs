//! `slipstream-job jobs bulk`: does one thing with all jobs that a filter matches.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::bulk::{Count, Deed, Operation, PLACE, Wish};
use slipstream_cimi::query::Search;
use slipstream_cimi::{Client, Document, Error, State};

use super::super::terminal::{self, one_line, text};
use super::filter::hint;
use crate::cli::options::connection::Connection;
use crate::cli::spinner::{Spinner, asking};
use crate::cli::{COMMAND_FAILED, example};
use crate::process::clock::Clock;

/// Between looks at how far it is.
const PAUSE: Duration = Duration::from_millis(500);

/// What `jobs bulk` is asked for.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "The server does it in the background, also if this command is interrupted. `jobs --help` says what filters can.",
    "slipstream-job jobs bulk retry --filter \"state='FAILED'\" --yes"
))]
pub struct BulkArguments {
    #[command(subcommand)]
    deed: DeedCommand,
}

#[derive(Debug, Subcommand)]
enum DeedCommand {
    /// Stop all jobs that match
    #[command(after_help = example!("slipstream-job jobs bulk stop --filter \"action='noop'\""))]
    Stop(MatchingJobs),
    /// Delete all jobs that match, running ones too
    #[command(after_help = example!("slipstream-job jobs bulk delete --filter \"created<'2026-01-01'\""))]
    Delete(MatchingJobs),
    /// Run all jobs that match again, each as a new job, but for those that were retried already
    #[command(after_help = example!("slipstream-job jobs bulk retry --filter \"state='FAILED'\" --yes"))]
    Retry(MatchingJobs),
}

#[derive(Debug, Args)]
struct MatchingJobs {
    /// Which jobs, e.g. state='FAILED'
    #[arg(long, value_name = "FILTER")]
    filter: String,
    /// Do it; without this, the jobs are only counted
    #[arg(long)]
    yes: bool,
    /// Print the operation, or what was counted, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Counts the jobs, has it done and follows that to its end.
pub async fn run(arguments: BulkArguments) -> anyhow::Result<ExitCode> {
    let (deed, jobs) = match arguments.deed {
        DeedCommand::Stop(jobs) => (Deed::Stop, jobs),
        DeedCommand::Delete(jobs) => (Deed::Delete, jobs),
        DeedCommand::Retry(jobs) => (Deed::Retry, jobs),
    };
    let client = jobs.connection.client()?;
    hint(&jobs.filter);
    let count = asking(count(&client, deed, &jobs.filter)).await?;
    if !jobs.yes || count.left() == 0 {
        terminal::print(&if jobs.json { serde_json::to_string_pretty(&count)? } else { counted(&count) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let wish = Wish { deed, filter: jobs.filter, expect: count.matched, before: Some(count.before) };
    let begun: Document = asking(client.operation_with(JOB.name, "bulk", &wish)).await?;
    let operation =
        Spinner::on("waiting for the server").during(followed(&client, text(&begun, "resource-id"))).await?;
    if jobs.json {
        terminal::print(&serde_json::to_string_pretty(&operation)?)?;
    } else {
        terminal::print(&render(&operation))?;
    }
    let is_good = operation.state == State::Success && operation.refused.is_empty();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(COMMAND_FAILED) })
}

/// How many jobs are meant. A server of before says only how many match.
async fn count(client: &Client, deed: Deed, filter: &str) -> Result<Count, Error> {
    let before = Clock::system().now();
    match client.view_with(PLACE, &[("do", deed.as_str()), ("filter", filter)]).await {
        Err(Error::Refused { refusal, .. }) if matches!(refusal.status, 404 | 405) => {
            let search = Search { filter: Some(filter.to_owned()), last: Some(0), ..Search::default() };
            let matched = client.search(JOB.name, &search).await?.count;
            Ok(Count { deed, filter: filter.to_owned(), before, matched, retried: None })
        }
        counted => counted,
    }
}

async fn followed(client: &Client, id: &str) -> anyhow::Result<Operation> {
    loop {
        let operation: Operation =
            client.view(id).await.with_context(|| format!("cannot follow {id}, which goes on"))?;
        if operation.state.is_final() {
            return Ok(operation);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn counted(count: &Count) -> String {
    let verb = count.deed.as_str();
    let matched = if count.matched == 1 { "1 job matches".to_owned() } else { format!("{} jobs match", count.matched) };
    match (count.left(), count.retried) {
        (0, Some(retried @ 1..)) => format!("{matched}, {retried} of them retried already: nothing to {verb}"),
        (0, _) => "no job matches".to_owned(),
        (left, Some(retried @ 1..)) => {
            format!("{matched}, {retried} of them retried already: add --yes to {verb} the other {left}")
        }
        (_, None) if count.deed == Deed::Retry => {
            format!("{matched}: add --yes to {verb} those that are not retried already")
        }
        (1, _) => format!("{matched}: add --yes to {verb} it"),
        _ => format!("{matched}: add --yes to {verb} them"),
    }
}

fn render(operation: &Operation) -> String {
    let done = match operation.deed {
        Deed::Stop => "stopped",
        Deed::Delete => "deleted",
        Deed::Retry => "retried",
    };
    let counted = format!("{} of {} {done}", operation.done, operation.matched);
    let retried = (operation.retried > 0).then(|| format!("{} retried already and left out", operation.retried));
    let refused = operation.refused.iter().map(|(code, count)| format!("{count} refused ({})", one_line(code)));
    let counts: Vec<String> = std::iter::once(counted).chain(retried).chain(refused).collect();
    let reason = operation.message.as_deref().map(|message| format!(": {}", one_line(message))).unwrap_or_default();
    format!("{} {}: {}{reason}", operation.id, operation.state, counts.join(", "))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn an_operation_is_told_in_a_line() {
        let mut operation = Operation {
            id: "operation/0a".to_owned(),
            state: State::Success,
            deed: Deed::Stop,
            filter: "state='QUEUED'".to_owned(),
            before: Timestamp::UNIX_EPOCH,
            by: "super".to_owned(),
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
            matched: 31,
            done: 31,
            retried: 0,
            refused: std::collections::BTreeMap::new(),
            message: None,
        };
        assert_eq!(render(&operation), "operation/0a SUCCESS: 31 of 31 stopped");
        (operation.state, operation.deed, operation.done) = (State::Failed, Deed::Retry, 3);
        operation.retried = 26;
        operation.refused.insert("final".to_owned(), 2);
        operation.message = Some("no\u{1b} index".to_owned());
        let told = "3 of 31 retried, 26 retried already and left out, 2 refused (final): no\\u001b index";
        assert_eq!(render(&operation), format!("operation/0a FAILED: {told}"));
    }

    #[test]
    fn jobs_are_counted_with_those_that_are_left_out() {
        for (deed, matched, retried, expected) in [
            (Deed::Stop, 0, None, "no job matches"),
            (Deed::Stop, 1, None, "1 job matches: add --yes to stop it"),
            (Deed::Delete, 7, None, "7 jobs match: add --yes to delete them"),
            (Deed::Retry, 0, Some(0), "no job matches"),
            (Deed::Retry, 7, Some(0), "7 jobs match: add --yes to retry them"),
            (Deed::Retry, 7, Some(2), "7 jobs match, 2 of them retried already: add --yes to retry the other 5"),
            (Deed::Retry, 7, Some(7), "7 jobs match, 7 of them retried already: nothing to retry"),
            (Deed::Retry, 7, None, "7 jobs match: add --yes to retry those that are not retried already"),
        ] {
            let before = Timestamp::UNIX_EPOCH;
            let count = Count { deed, filter: "state='FAILED'".to_owned(), before, matched, retried };
            assert_eq!(counted(&count), expected);
        }
    }
}
