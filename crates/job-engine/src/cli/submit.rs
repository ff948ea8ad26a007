//! `slipstream-job submit`: adds a job and, if asked to, watches it to its end.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::job::{self, NewJob};
use slipstream_cimi::{Client, Document, Error};
use uuid::Uuid;

use super::options::connection::Connection;
use super::spinner::{Spinner, asking};
use super::{ends_with_the_job, terminal, watch};
use crate::process::output;

/// How often, and after which pauses, an add that was not answered is sent again.
const PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// What `submit` is asked for.
#[derive(Debug, Args)]
#[command(after_help = ends_with_the_job!(
    "Prints the job's id. With --wait, ends when the job does.",
    "slipstream-job submit dummy_test_action --wait"
))]
pub struct SubmitArguments {
    /// Name of the action to run
    #[arg(value_name = "ACTION")]
    action: String,
    /// What the action works on, e.g. credential/abc
    #[arg(long, value_name = "HREF")]
    target: Option<String>,
    /// From 0 (first) to 999 (last) [default: 999]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=i64::from(job::LOWEST_PRIORITY)))]
    priority: Option<u16>,
    /// Idempotency key: submitting again under it adds no second job
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Watch the job to its end
    #[arg(long)]
    wait: bool,
    /// Print JSON: {"id": …}, or the final document with --wait
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Adds the job, and watches it with `--wait`.
pub async fn run(arguments: SubmitArguments) -> anyhow::Result<ExitCode> {
    let client = arguments.connection.client()?;
    let document = arguments.document();
    let adding = add(&client, &document, arguments.key.clone());
    let id = Spinner::on("adding the job").during(adding).await?;
    if let Some(key) = &arguments.key {
        check_same(&asking(client.get(&id)).await?, &arguments, key)?;
    }
    match (arguments.wait, arguments.json) {
        (false, false) => terminal::print(&id)?,
        (false, true) => terminal::print(&json!({ "id": id }).to_string())?,
        (true, is_json) => return wait(&client, &id, is_json).await,
    }
    Ok(ExitCode::SUCCESS)
}

impl SubmitArguments {
    fn document(&self) -> Document {
        let Self { action, target, priority, .. } = self;
        NewJob { action: action.clone(), target: target.clone(), priority: *priority, ..NewJob::default() }.document()
    }
}

/// A key that was used for another job adds nothing, and must not be taken for this one's.
fn check_same(job: &Document, arguments: &SubmitArguments, key: &str) -> anyhow::Result<()> {
    let wanted = arguments.document();
    let differs = |name: &&str| wanted.get(*name).is_some() && wanted.get(*name) != job.get(*name);
    match ["action", "targetResource", "priority"].iter().find(|name| differs(name)) {
        Some(name) => {
            let id = terminal::text(job, "id");
            bail!("the key {key} belongs to {id}, which has another {name}: nothing was added, choose another key")
        }
        None => Ok(()),
    }
}

/// Adds under a key in any case, so that an add whose answer was lost can be sent again (decision 11).
async fn add(client: &Client, document: &Document, key: Option<String>) -> anyhow::Result<String> {
    let key = key.unwrap_or_else(|| Uuid::new_v4().to_string());
    let mut pauses = PAUSES.into_iter();
    let mut is_in_doubt = false;
    loop {
        let error = match client.add(JOB.name, document, Some(&key)).await {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        is_in_doubt |= leaves_doubt(&error);
        match pauses.next() {
            Some(pause) if error.is_transient() => tokio::time::sleep(pause).await,
            _ if is_in_doubt => return Err(error).context(format!("perhaps added: submit it again with --key {key}")),
            _ => return Err(error.into()),
        }
    }
}

/// Whether the job may have been added all the same: the answer to the add, not to a login before it, is missing.
fn leaves_doubt(error: &Error) -> bool {
    let (Error::Unreachable { request, .. } | Error::Unintelligible { request, .. } | Error::Refused { request, .. }) =
        error;
    error.is_transient() && request.ends_with("/api/job")
}

async fn wait(client: &Client, id: &str, is_json: bool) -> anyhow::Result<ExitCode> {
    if !is_json {
        terminal::print(id)?;
    }
    let ending = watch::to_the_end(client, id, None).await?;
    if is_json {
        let document =
            ending.document().cloned().unwrap_or_else(|| [("id".to_owned(), json!(id))].into_iter().collect());
        terminal::print(&serde_json::to_string_pretty(&document)?)?;
    }
    if let Some(remark) = ending.remark(id) {
        output::report(&remark);
    }
    Ok(ExitCode::from(ending.exit_code()))
}

#[cfg(test)]
mod tests;
