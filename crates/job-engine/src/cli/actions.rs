//! `slipstream-job actions`: which actions there are, and what their authors need.

mod check;
mod list;
mod new;
mod trial;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::example;
use super::options::connection::ShowOptions;
use crate::config::Config;

/// What `actions` is asked for.
#[derive(Debug, Args)]
#[command(
    mut_arg("json", |json| json.help("Print the actions as a JSON array")),
    args_conflicts_with_subcommands = true,
    after_help = example!("Without a command, lists the actions that executors know.", "slipstream-job actions")
)]
pub struct ActionsArguments {
    #[command(subcommand)]
    command: Option<ActionsCommand>,
    #[command(flatten)]
    show: ShowOptions,
}

#[derive(Debug, Subcommand)]
enum ActionsCommand {
    /// List the actions that executors know, and what failed to load there
    #[command(
        mut_arg("json", |json| json.help("Print the actions as a JSON array")),
        after_help = example!("slipstream-job actions list --json")
    )]
    List(ShowOptions),
    /// Load folders of actions as an executor would, without a server
    Check(check::CheckArguments),
    /// Do one job of an action, without a server
    Test(trial::TestArguments),
    /// Write a new action that works at once
    New(new::NewArguments),
}

/// Does what `actions` is asked for.
pub async fn run(arguments: ActionsArguments, config: &Config) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match arguments.command {
        None => list::run(arguments.show).await.map(done),
        Some(ActionsCommand::List(options)) => list::run(options).await.map(done),
        Some(ActionsCommand::Check(arguments)) => check::run(&arguments, config).await,
        Some(ActionsCommand::Test(arguments)) => trial::run(arguments, config).await,
        Some(ActionsCommand::New(arguments)) => new::run(&arguments).map(done),
    }
}
