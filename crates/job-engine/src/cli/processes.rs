//! `slipstream-job threads`, `drain`, `resume` and `log`: what is asked of services of this machine, without their API.

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::help::example;
use super::terminal::{self, many_lines};
use crate::process::admin::client::{Service, Target, ask, find, status};
use crate::process::admin::verb::{Status, Verb};

/// How often a draining executor is asked whether it is done.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// For how long one that is still there may give no answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which process of this machine is meant.
#[derive(Debug, Args)]
pub struct ProcessOptions {
    /// Process id [default: that of the only service of this machine]
    #[arg(value_name = "PID", conflicts_with = "name", value_parser = parse_process)]
    process: Option<u32>,
    /// Name of the service instead: of an executor or a distributor
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

fn parse_process(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "expected a process id, or --name and a name".to_owned())
}

/// The process itself says whether it is one.
fn parse_level(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected error, warn, info, debug, or a filter such as warn,hyper=debug".to_owned()),
        level => Ok(level.to_owned()),
    }
}

impl ProcessOptions {
    /// Without an id or a name, the only service that is of use.
    fn find(self, is_of_use: fn(&Status) -> bool) -> anyhow::Result<Service> {
        let target = match (self.process, self.name) {
            (Some(process), _) => Target::Process(process),
            (None, Some(name)) => Target::Name(name),
            (None, None) => Target::Only,
        };
        find(&target, is_of_use)
    }
}

/// How `threads` asks.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "Answers also if the process is stuck. SIGUSR1 writes the same into its log.",
    "slipstream-job threads --name kenny"
))]
pub struct ThreadsArguments {
    #[command(flatten)]
    process: ProcessOptions,
    /// Print JSON: the process, its slots, threads with their functions, and hosts with what they say
    #[arg(long)]
    json: bool,
}

/// How `drain` asks.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "Running jobs go on, and others wait for other executors. `resume` undoes it, and\n\
     so does a restart. SIGUSR2 does the same.",
    "slipstream-job drain --wait"
))]
pub struct DrainArguments {
    #[command(flatten)]
    process: ProcessOptions,
    /// Wait until no job runs any more
    #[arg(long)]
    wait: bool,
    /// Print how the process is as JSON; with --wait once it is drained
    #[arg(long)]
    json: bool,
}

/// How `resume` asks.
#[derive(Debug, Args)]
#[command(after_help = example!("slipstream-job resume"))]
pub struct ResumeArguments {
    #[command(flatten)]
    process: ProcessOptions,
}

/// How `log` asks.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "Holds until the process ends, or it is told otherwise.",
    "slipstream-job log debug"
))]
pub struct LogArguments {
    /// What is logged: error, warn, info, debug, or a filter such as warn,hyper=debug
    #[arg(value_name = "LEVEL", value_parser = parse_level)]
    level: String,
    #[command(flatten)]
    process: ProcessOptions,
}

/// Shows what a process is doing.
pub fn threads(arguments: ThreadsArguments) -> anyhow::Result<()> {
    let process = arguments.process.find(|_| true)?;
    if !arguments.json {
        return terminal::print(&ask(process, &Verb::Threads)?.join("\n"));
    }
    let shown: Value = serde_json::from_str(&ask(process, &Verb::ThreadsInJson)?.concat())?;
    terminal::print(&many_lines(&serde_json::to_string_pretty(&shown)?))
}

/// Has an executor take no more jobs.
pub async fn drain(arguments: DrainArguments) -> anyhow::Result<()> {
    let DrainArguments { process, wait, json } = arguments;
    let process = process.find(Status::takes_jobs)?;
    let mut said = ask(process, &Verb::Drain)?.join("\n");
    if !json && !wait && said == NOTHING_LEFT {
        said = settled(process, said).await;
    }
    if !json {
        terminal::print(&said)?;
    }
    let told = |status: &Status| {
        if !json && status.words != said {
            said.clone_from(&status.words);
            terminal::print(&said)?;
        }
        Ok(())
    };
    let drained = if wait { Some(until_drained(process, told).await?) } else { None };
    if !json {
        return Ok(());
    }
    let status = drained.map_or_else(|| status(process), Ok)?;
    terminal::print(&many_lines(&serde_json::to_string_pretty(&status)?))
}

/// What it says while nothing runs, and a slot may be about to get a job yet.
const NOTHING_LEFT: &str = "draining: 0 jobs";
/// How often it is asked whether that has changed, which it does at once.
const MOST_ASKED: usize = 10;

/// What an executor says next that has just been told to drain and does nothing: mostly that it is drained.
async fn settled(process: Service, said: String) -> String {
    for _ in 0..MOST_ASKED {
        match status(process) {
            Ok(status) if status.words != said => return status.words,
            Ok(_) => tokio::time::sleep(ASK_AGAIN).await,
            Err(_) => break,
        }
    }
    said
}

/// How an executor is that has been drained; until then each status is told.
async fn until_drained(
    process: Service,
    mut told: impl FnMut(&Status) -> anyhow::Result<()>,
) -> anyhow::Result<Status> {
    let mut answered = Instant::now();
    loop {
        let status = match status(process) {
            Ok(status) => status,
            Err(_) if !process.is_there() => bail!("process {process} has ended meanwhile"),
            // it may be too busy at present, or about to end
            Err(_) if answered.elapsed() < PATIENCE => {
                tokio::time::sleep(ASK_AGAIN).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        answered = Instant::now();
        told(&status)?;
        match (status.draining, status.drained) {
            (false, _) => bail!("somebody has resumed it meanwhile"),
            (true, true) => return Ok(status),
            (true, false) => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

/// Has an executor take jobs again.
pub fn resume(arguments: ResumeArguments) -> anyhow::Result<()> {
    terminal::print(&ask(arguments.process.find(Status::takes_jobs)?, &Verb::Resume)?.join("\n"))
}

/// Changes what a process logs.
pub fn log(arguments: LogArguments) -> anyhow::Result<()> {
    let process = arguments.process.find(|_| true)?;
    ask(process, &Verb::Log(arguments.level.clone()))?;
    terminal::print(&format!("process {process} logs {} from now on", arguments.level))
}
