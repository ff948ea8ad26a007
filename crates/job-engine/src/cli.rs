//! The command line: arguments, and which function does what they ask for. No command decides anything of its own.

mod actions;
mod adopt;
mod backup;
pub mod config;
mod distributors;
mod doctor;
mod executors;
mod failure;
mod faults;
mod help;
pub mod jobs;
mod options;
mod overview;
mod processes;
mod queue;
mod secrets;
mod services;
mod settings;
mod spinner;
pub mod submit;
mod terminal;
mod users;
mod watch;
mod why;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use faults::Said;
use help::{ends_with_the_job, example};
use options::connection::ShowOptions;
use options::loading::{LoadingOptions, ScriptOptions};
use options::log::LogOptions;
use options::monitoring::MonitoringOptions;
use options::{RunningOptions, ServingOptions, UnknownActionOptions};
use secrecy::SecretString;
use settings::{Refused, Resolved};

use crate::config::Config;
use crate::executor::load::settings::Loading;
use crate::process::activity::Activity;
use crate::process::clock::Clock;
use crate::process::metrics::Metrics;
use crate::process::output;
use crate::process::telemetry::Wanted;
use crate::roles::up;

/// The job was not done: `submit --wait` and `jobs watch ID` end with this.
pub const JOB_NOT_DONE: u8 = 1;
/// The command could not do what it was asked for; wrong arguments end with this too.
pub const COMMAND_FAILED: u8 = 2;

/// A distributed job engine: jobs are documents behind a REST API, executors run them, distributors add them.
#[derive(Debug, Parser)]
#[command(
    name = "slipstream-job",
    version,
    arg_required_else_help = true,
    max_term_width = 80,
    after_help = ends_with_the_job!(
        "Every command has --help. The others find a running `up` of this machine by themselves.",
        "slipstream-job up --demo"
    )
)]
pub struct Arguments {
    /// Configuration file [default: /etc/slipstream/job-engine.toml; of `up`: DIR/config.toml if it is there]
    #[arg(long, global = true, value_name = "FILE", value_parser = options::parse_path(), env = "SLIPSTREAM_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run server, executor and distributors in this process
    Up(UpArguments),
    /// Run a server, for executors and distributors on other machines
    Server(services::ServerArguments),
    /// Run an executor: run the jobs of a server
    Executor(services::ExecutorArguments),
    /// Run a distributor: add jobs to a server on a schedule
    Distributor(services::DistributorArguments),
    /// Add a job
    Submit(submit::SubmitArguments),
    /// List, show, watch, stop and delete jobs
    Jobs(jobs::JobsArguments),
    /// Show waiting jobs by priority, and claims
    Queue(queue::QueueArguments),
    /// List executors
    #[command(
        mut_arg("json", |json| json.help("Print the executors as a JSON array")),
        after_help = example!("slipstream-job executors --json")
    )]
    Executors(ShowOptions),
    /// List actions, check folders of them, write a new one
    Actions(actions::ActionsArguments),
    /// List distributors, their schedules and leaders
    Distributors(distributors::DistributorsArguments),
    /// Show how many jobs there are, what was done lately, and what needs attention
    Overview(overview::OverviewArguments),
    /// Say whether the engine is well, and what to do
    #[command(
        mut_arg("json", |json| json.help("Print the server's answer as JSON")),
        after_help = example!(
            "Exits with 1 if work does not get done (✕), which monitoring may watch.",
            "slipstream-job doctor"
        )
    )]
    Doctor(ShowOptions),
    /// List, add, change and delete users
    Users(users::UsersArguments),
    /// Back up the store to a file, with or without a running server
    Backup(backup::BackupArguments),
    /// Show what a service of this machine is doing, down to its threads
    Threads(processes::ThreadsArguments),
    /// Have an executor of this machine take no more jobs
    Drain(processes::DrainArguments),
    /// Have a drained executor take jobs again
    Resume(processes::ResumeArguments),
    /// Change what a running service of this machine logs
    Log(processes::LogArguments),
    /// Show or check the configuration of this machine's services
    Config(config::ConfigArguments),
    /// Print shell completions
    Completions(CompletionsArguments),
}

#[derive(Debug, Args)]
#[command(after_help = example!(
    "For bash, in ~/.bashrc: source <(slipstream-job completions bash)",
    "slipstream-job completions zsh"
))]
struct CompletionsArguments {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(
    mut_arg("threads", |threads| threads.default_value("8")),
    mut_arg("admin_listen", |listen| listen.default_value(SERVER_ADMIN)),
    after_help = example!(
        "Password of the user super: SLIPSTREAM_SUPER_PASSWORD, else generated once and kept in DIR/super.password.",
        "slipstream-job up --demo"
    )
)]
struct UpArguments {
    #[command(flatten)]
    serving: ServingOptions,
    #[arg(
        long,
        value_name = "DIR",
        help = "Data directory [env: SLIPSTREAM_DATA_DIR] [default: ~/.local/share/slipstream-job]"
    )]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    running: RunningOptions,
    #[command(flatten)]
    loading: LoadingOptions,
    #[command(flatten)]
    scripts: ScriptOptions,
    #[command(flatten)]
    unknown_action: UnknownActionOptions,
    /// Names of the distributors to run [default: all configured ones]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    distributors: Option<Vec<String>>,
    /// Add the dummy distributor and ten dummy jobs
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    monitoring: MonitoringOptions,
    #[command(flatten)]
    log: LogOptions,
}

/// Where a server answers metrics and health, unless somebody says otherwise.
const SERVER_ADMIN: &str = "127.0.0.1:8203";

impl Arguments {
    /// What a service logs.
    fn log(self) -> anyhow::Result<Wanted> {
        match self.command {
            Command::Up(arguments) => arguments.log.wanted(),
            Command::Server(arguments) => arguments.log(),
            Command::Executor(arguments) => arguments.log(),
            Command::Distributor(arguments) => arguments.log(),
            _ => Ok(Wanted::default()),
        }
    }

    /// What a service would find wrong before it begins; `zookeeper` is the password that its environment has.
    fn check(self, config: &Config, zookeeper: Option<SecretString>) -> anyhow::Result<()> {
        let metrics = Metrics::of("config");
        match self.command {
            Command::Up(arguments) => arguments.prepared().map(drop),
            Command::Server(arguments) => arguments.prepared(config.collections.clone(), &metrics, zookeeper).map(drop),
            Command::Executor(arguments) => arguments.prepared(&metrics, zookeeper).map(drop),
            Command::Distributor(arguments) => arguments.prepared(config, &metrics, zookeeper).map(drop),
            _ => Ok(()),
        }
    }
}

/// Runs the command line and answers the exit code.
#[must_use]
pub fn run() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let ended = match settings::resolve(&words) {
        // not before: the arguments are sound
        Ok(Resolved { arguments, config }) => secrets::hide().and_then(|()| dispatch(arguments, config)),
        Err(Refused::Usage(error)) => error.exit(),
        Err(Refused::Files(error)) => Err(error),
    };
    let code = ended.unwrap_or_else(|error| {
        output::append(&failure::explain(&error));
        ExitCode::from(COMMAND_FAILED)
    });
    output::flush();
    code
}

/// All commands with their options, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// That of an argument that is missing has a usage line in which each option seems to be required that the environment
/// gives; then the one that help has is shown.
fn with_whole_usage(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    if error.kind() == ErrorKind::MissingRequiredArgument {
        let mut all = Arguments::command();
        all.build();
        let mut command = &mut all;
        for word in &words[1..] {
            if command.find_subcommand(word).is_some() {
                command = command.find_subcommand_mut(word).expect("it was just found");
            }
        }
        error.insert(ContextKind::Usage, ContextValue::StyledStr(command.render_usage()));
    }
    error
}

fn dispatch(Arguments { config: named, command }: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let done = |()| ExitCode::SUCCESS;
    let code = runtime.block_on(async {
        match command {
            Command::Up(arguments) => run_up(arguments, config).await.map(done),
            Command::Server(arguments) => services::server(arguments, &config).await.map(done),
            Command::Executor(arguments) => services::executor(arguments, &config).await.map(done),
            Command::Distributor(arguments) => services::distributor(arguments, &config).await.map(done),
            Command::Submit(arguments) => submit::run(arguments).await,
            Command::Jobs(arguments) => jobs::run(arguments).await,
            Command::Queue(arguments) => queue::run(arguments).await.map(done),
            Command::Executors(options) => executors::executors(options).await.map(done),
            Command::Actions(arguments) => actions::run(arguments, &config).await,
            Command::Distributors(arguments) => distributors::run(arguments).await.map(done),
            Command::Overview(arguments) => overview::run(arguments).await.map(done),
            Command::Doctor(options) => doctor::run(options).await,
            Command::Users(arguments) => users::run(arguments).await.map(done),
            Command::Backup(arguments) => backup::run(arguments).await.map(done),
            Command::Threads(arguments) => processes::threads(arguments).map(done),
            Command::Drain(arguments) => processes::drain(arguments).await.map(done),
            Command::Resume(arguments) => processes::resume(arguments).map(done),
            Command::Log(arguments) => processes::log(arguments).map(done),
            Command::Config(arguments) => config::run(arguments, named.as_deref()).await,
            Command::Completions(arguments) => print_completions(arguments.shell).map(done),
        }
    });
    runtime.shutdown_timeout(LAST_TASKS);
    code
}

/// How long what is left of the program's tasks may go on after the command has ended.
const LAST_TASKS: Duration = Duration::from_secs(1);

fn print_completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut command = command();
    clap_complete::generate(shell, &mut command, "slipstream-job", &mut script);
    terminal::print(String::from_utf8_lossy(&script).trim_end())
}

/// What an `up` is made of before it starts anything.
struct PreparedUp {
    log: Wanted,
    data_dir: PathBuf,
    scripts: Vec<PathBuf>,
    loading: Loading,
}

impl UpArguments {
    /// What it is made of, or what is wrong with it.
    fn prepared(&self) -> anyhow::Result<PreparedUp> {
        let log = self.log.wanted()?;
        let data_dir = options::data_dir(self.data_dir.clone())?;
        let (scripts, loading) = faults::both(self.scripts.of_up(&data_dir), self.loading.of_up(&data_dir))?;
        Ok(PreparedUp { log, data_dir, scripts, loading })
    }
}

async fn run_up(arguments: UpArguments, config: Config) -> anyhow::Result<()> {
    let PreparedUp { log, data_dir, scripts, loading } = faults::placed(arguments.prepared(), &Said::all(&config))?;
    let activity = Activity::new();
    let stop = services::begin(&log, &activity)?;
    let metrics = Metrics::of("up");
    let _monitoring = arguments.monitoring.begin(&metrics, &activity, &stop);
    let distributors = arguments.distributors;
    let options = up::Options {
        listen: arguments.serving.listen,
        scripts,
        loading,
        data_dir,
        proxies: arguments.serving.trust_authn_header_from,
        threads: arguments.running.threads,
        grace: arguments.running.grace,
        unknown_action: arguments.unknown_action.wanted(Duration::ZERO),
        max_attempts: arguments.serving.max_attempts,
        // a name of no characters is that of none
        distributors: distributors.map(|names| names.into_iter().filter(|name| !name.is_empty()).collect()),
        config,
        demo: arguments.demo,
        metrics,
    };
    let clock = Clock::system();
    let catalogue = crate::actions::built_in(clock.clone());
    up::up(options, catalogue, clock, activity, stop).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_process_is_meant_by_its_id_or_its_name() {
        let parses = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        for good in ["threads", "threads 913", "drain --name kenny --wait", "resume 913", "log debug", "log debug 913"]
        {
            assert!(parses(&format!("slipstream-job {good}")), "{good}");
        }
        for wrong in ["threads kenny", "drain 913 --name kenny", "log"] {
            assert!(!parses(&format!("slipstream-job {wrong}")), "{wrong}");
        }
    }

    #[test]
    fn jobs_lists_with_and_without_saying_so() {
        let parses = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        for good in [
            "jobs",
            "jobs --filter x --limit 5",
            "jobs list --order a:desc,b",
            "jobs show 0a --json",
            "jobs stop 0a 0b",
            "jobs watch",
            "jobs watch 0a --json",
            "queue --json",
            "queue restore",
            "queue restore --json",
            "executors",
            "actions --json",
            "actions list --json",
            "actions check",
            "actions check d e --json",
            "actions new --shell backup",
            "actions new --python collect --dir d",
            "actions new --rust greet --crates ../slipstream",
            "distributors --json",
            "distributors reset jobs_cleanup --json",
            "completions fish",
            "backup f --overwrite --data-dir d",
            "backup f --store sqlite:d/jobs.db",
            "users",
            "users list --json",
            "users add jane --administrator --password-file f",
            "users passwd jane",
            "up --trust-authn-header-from 10.0.0.0/8,fd00::/8 --trust-authn-header-from 127.0.0.1",
        ] {
            assert!(parses(&format!("slipstream-job {good}")), "{good}");
        }
        for wrong in [
            "jobs show",
            "jobs stop",
            "jobs delete",
            "jobs --filter x show 0a",
            "jobs --limit 10001",
            "jobs 0a",
            "jobs watch 0a 0b",
            "actions --json check",
            "actions new backup",
            "actions new --shell",
            "actions new --shell --python backup",
            "actions new --shell two\u{a0}words",
            "actions new --rust greet",
            "actions new --shell backup --crates d",
            "completions",
            "completions command.com",
            "backup",
            "backup f --store sqlite:d/jobs.db --data-dir d",
            "users add",
            "users add a/b",
            "users add jane secret-as-argument",
            "users passwd jane --password secret-as-argument",
            "up --trust-authn-header-from 10.0.0.0/33",
            "up --trust-authn-header-from proxy.example.org",
            "up --grace 200000000000h",
            "executor --cimi-grace 200000000000h",
            "executor --zk-session-timeout 200000000000h",
        ] {
            assert!(!parses(&format!("slipstream-job {wrong}")), "{wrong}");
        }
    }
}
