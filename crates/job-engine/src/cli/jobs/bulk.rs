//! `slipstream-job jobs bulk`: does one thing with all jobs that a filter matches.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::bulk::{Deed, Operation, Wish};
use slipstream_cimi::query::Search;
use slipstream_cimi::{Client, Document, State};

use super::super::terminal::{self, one_line, text};
use crate::cli::options::connection::Connection;
use crate::cli::spinner::{Spinner, asking};
use crate::cli::{COMMAND_FAILED, example};
use crate::process::clock::Clock;

/// Between looks at how far it is.
const PAUSE: Duration = Duration::from_millis(500);

/// What `jobs bulk` is asked for.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "The server does it in the background, also if this command is interrupted.",
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
    /// Run all jobs that match again, each as a new job
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
    /// Print the operation as JSON
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
    let before = Clock::system().now();
    let search = Search { filter: Some(jobs.filter.clone()), last: Some(0), ..Search::default() };
    let expect = asking(client.search(JOB.name, &search)).await?.count;
    if !jobs.yes {
        let line = format!("{expect} jobs match: add --yes to {} them", verb(deed));
        terminal::print(&line)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wish = Wish { deed, filter: jobs.filter, expect, before: Some(before) };
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

fn verb(deed: Deed) -> &'static str {
    match deed {
        Deed::Stop => "stop",
        Deed::Delete => "delete",
        Deed::Retry => "retry",
    }
}

fn render(operation: &Operation) -> String {
    let done = match operation.deed {
        Deed::Stop => "stopped",
        Deed::Delete => "deleted",
        Deed::Retry => "retried",
    };
    let counted = format!("{} of {} {done}", operation.done, operation.matched);
    let refused = operation.refused.iter().map(|(code, count)| format!("{count} refused ({})", one_line(code)));
    let counts: Vec<String> = std::iter::once(counted).chain(refused).collect();
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
            refused: std::collections::BTreeMap::new(),
            message: None,
        };
        assert_eq!(render(&operation), "operation/0a SUCCESS: 31 of 31 stopped");
        (operation.state, operation.deed, operation.done) = (State::Failed, Deed::Retry, 3);
        operation.refused.insert("final".to_owned(), 2);
        operation.message = Some("no\u{1b} index".to_owned());
        assert_eq!(render(&operation), "operation/0a FAILED: 3 of 31 retried, 2 refused (final): no\\u001b index");
    }
}
