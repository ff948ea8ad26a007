//! `slipstream-job jobs`: lists, shows, stops and deletes jobs.

mod bulk;
mod explain;
mod filter;
mod id;
mod list;
mod retry;
mod show;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use slipstream_cimi::Client;

use self::filter::filter_help;
use self::id::{JobId, found};
use super::options::connection::Connection;
use super::spinner::Spinner;
use super::terminal::text;
use super::{COMMAND_FAILED, example, failure, terminal};
use crate::process::output;

/// What `jobs` is asked for.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = example!(
        concat!("Without a command, lists jobs. ", filter_help!()),
        "slipstream-job jobs --filter \"state='FAILED'\""
    )
)]
pub struct JobsArguments {
    #[command(subcommand)]
    command: Option<JobsCommand>,
    #[command(flatten)]
    list: list::ListArguments,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// List jobs, newest first
    List(list::ListArguments),
    /// Show a job: its attributes, claim, attempts and refused writes
    Show(show::ShowArguments),
    /// Say why a job runs, waits or has ended
    Explain(explain::ExplainArguments),
    /// Stop jobs: waiting ones are not run, running ones are cancelled
    #[command(after_help = example!(
        "Prints each job's state afterwards; a final state does not change.",
        "slipstream-job jobs stop 01991d3c-7c1e-7a3b-8f3c-0123456789ab"
    ))]
    Stop(ChosenJobs),
    /// Delete jobs, running ones too
    #[command(after_help = example!("slipstream-job jobs delete 01991d3c-7c1e-7a3b-8f3c-0123456789ab"))]
    Delete(ChosenJobs),
    /// Run jobs again that have ended, each as a new job
    #[command(after_help = example!(
        "Prints the new job's id beside the old one's.",
        "slipstream-job jobs retry 01991d3c-7c1e-7a3b-8f3c-0123456789ab"
    ))]
    Retry(ChosenJobs),
    /// Stop, delete or retry all jobs that match a filter
    Bulk(bulk::BulkArguments),
    /// Watch jobs: a live table, or one job to its end
    Watch(watch::WatchArguments),
}

#[derive(Debug, Args)]
struct ChosenJobs {
    /// Ids, with or without job/, or their beginnings
    #[arg(value_name = "ID", required = true)]
    ids: Vec<JobId>,
    /// Print a line of JSON for each job: its id, and what became of it: its state, or the new job that repeats it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Does what `jobs` is asked for.
pub async fn run(arguments: JobsArguments) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match arguments.command {
        None => list::run(arguments.list).await.map(done),
        Some(JobsCommand::List(arguments)) => list::run(arguments).await.map(done),
        Some(JobsCommand::Show(arguments)) => show::run(arguments).await.map(done),
        Some(JobsCommand::Explain(arguments)) => explain::run(arguments).await.map(done),
        Some(JobsCommand::Stop(chosen)) => each("stopping", &chosen, stop).await,
        Some(JobsCommand::Delete(chosen)) => each("deleting", &chosen, delete).await,
        Some(JobsCommand::Retry(chosen)) => each("adding", &chosen, again).await,
        Some(JobsCommand::Bulk(arguments)) => bulk::run(arguments).await,
        Some(JobsCommand::Watch(arguments)) => watch::run(arguments).await,
    }
}

/// What became of a job.
enum Became {
    State(String),
    Deleted,
    Repeated { by: String },
}

/// Does the same with each job and prints what became of it; one that fails does not keep the others from
/// it.
async fn each(
    what: &'static str,
    chosen: &ChosenJobs,
    work: impl AsyncFn(&Client, &str) -> anyhow::Result<Became>,
) -> anyhow::Result<ExitCode> {
    let client = chosen.connection.client()?;
    let mut code = ExitCode::SUCCESS;
    let spinner = Spinner::bar(what, chosen.ids.len());
    for id in &chosen.ids {
        let work = async {
            let id = found(&client, id).await?;
            Ok((work(&client, &id).await?, id))
        };
        match spinner.during(work).await {
            Ok((became, id)) => spinner.aside(|| terminal::print(&render(&id, &became, chosen.json)))?,
            Err(error) => {
                spinner.aside(|| output::report(&failure::explain(&error)));
                code = ExitCode::from(COMMAND_FAILED);
            }
        }
    }
    Ok(code)
}

fn render(id: &str, became: &Became, is_json: bool) -> String {
    match became {
        Became::State(state) if is_json => json!({ "id": id, "state": state }).to_string(),
        Became::Deleted if is_json => json!({ "id": id }).to_string(),
        Became::Repeated { by } if is_json => json!({ "id": id, "retry": by }).to_string(),
        Became::State(state) => format!("{id} {}", terminal::one_line(state)),
        Became::Deleted => format!("{id} deleted"),
        Became::Repeated { by } => format!("{id} retried as {}", terminal::one_line(by)),
    }
}

async fn stop(client: &Client, id: &str) -> anyhow::Result<Became> {
    let answer = client.operation(id, "stop").await?;
    // specification 3.5: some servers answer the standard body instead of the document
    let job = if answer.contains_key("state") { answer } else { client.get(id).await? };
    Ok(Became::State(text(&job, "state").to_owned()))
}

async fn delete(client: &Client, id: &str) -> anyhow::Result<Became> {
    client.delete(id).await?;
    Ok(Became::Deleted)
}

async fn again(client: &Client, id: &str) -> anyhow::Result<Became> {
    Ok(Became::Repeated { by: retry::retry(client, id).await? })
}
