//! `slipstream-job server`, `executor` and `distributor`: the parts of the engine as processes of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, Args};
use ipnet::IpNet;

use super::account::AccountArguments;
use super::zookeeper::ZooKeeperArguments;
use super::{example, parse_duration, parse_threads};
use crate::actions;
use crate::api::ledger::DEFAULT_MAX_ATTEMPTS;
use crate::config::Config;
use crate::executor::{ActionRuntime, Options, Then, UnknownAction};
use crate::process::address::{parse_address, parse_network};
use crate::process::clock::Clock;
use crate::process::registry::host_name;
use crate::process::stop;
use crate::process::stop::Stop;
use crate::process::telemetry;
use crate::roles::peers::Peers;
use crate::roles::{distributor, executor, server};

/// How `server` runs.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "Adds are answered also while ZooKeeper is out of reach. The store's folder is\n\
     this server's alone. Password of the user super: SLIPSTREAM_SUPER_PASSWORD,\n\
     else made once and kept in super.password beside the store.\n\
     Log: SLIPSTREAM_LOG, e.g. debug (default info), on standard error.",
    "slipstream-job server --store sqlite:jobs.db --zk-hosts zk1,zk2,zk3"
))]
pub struct ServerArguments {
    /// Where the API listens: HOST:PORT, or :PORT for all addresses
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8201", env = "SLIPSTREAM_LISTEN", value_parser = parse_address)]
    listen: SocketAddr,
    /// Where documents are kept: sqlite:PATH
    #[arg(long, value_name = "STORE", value_parser = parse_store, env = "SLIPSTREAM_STORE")]
    store: PathBuf,
    /// Believe the header slipstream-authn-info (and X-Real-IP) of peers in this network; may be repeated. The proxies
    /// there must blank it in what they are sent
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = parse_network)]
    trust_authn_header_from: Vec<IpNet>,
    /// How often a job may be claimed and lost before it is given up
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_ATTEMPTS, value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: u32,
    #[command(flatten)]
    zookeeper: ZooKeeperArguments,
}

/// How `executor` runs.
#[derive(Debug, Args)]
#[command(
    // as argparse has it, by which the original engines read the same command lines
    infer_long_args = true,
    args_override_self = true,
    after_help = example!(
        "The first SIGTERM or SIGINT lets running jobs end within the grace, the second\n\
         ends at once; the jobs are done again by others.\n\
         Log: SLIPSTREAM_LOG, e.g. debug (default info), on standard error.",
        "slipstream-job executor --ss-url http://server:8201 --ss-user super"
    )
)]
pub struct ExecutorArguments {
    /// What it is called in queue and ledgers [default: host name and process id]
    #[arg(long, value_name = "NAME", env = "SLIPSTREAM_NAME")]
    name: Option<String>,
    /// How many jobs at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_threads, env = "SLIPSTREAM_THREADS")]
    threads: usize,
    /// How long running jobs may go on after a stop was asked for
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration, env = "SLIPSTREAM_GRACE")]
    grace: Duration,
    /// How long the server may be out of reach before a job is given back
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "2m",
        value_parser = parse_duration,
        env = "SLIPSTREAM_CIMI_GRACE"
    )]
    cimi_grace: Duration,
    #[command(flatten)]
    unknown_action: UnknownActionArguments,
    /// Servers of Elasticsearch: taken, as the original takes them, and not used by any built-in action
    #[arg(long = "es-hosts-list", value_name = "HOST", num_args = 1.., action = ArgAction::Set, default_value = "localhost")]
    elasticsearch: Vec<String>,
    #[command(flatten)]
    peers: PeersArguments,
}

/// What becomes of jobs whose action nobody has.
#[derive(Debug, Args)]
pub(super) struct UnknownActionArguments {
    /// How long a job waits for an executor that has its action [default: 15m; of `up`, whose executor is the only one:
    /// 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "SLIPSTREAM_UNKNOWN_ACTION_AFTER")]
    unknown_action_after: Option<Duration>,
    /// What happens to it then: it is FAILED, or waits on for as long as it takes
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Then::Fail, env = "SLIPSTREAM_UNKNOWN_ACTION")]
    unknown_action: Then,
}

impl UnknownActionArguments {
    /// `after` is how long a job waits unless somebody says otherwise.
    pub(super) fn wanted(&self, after: Duration) -> UnknownAction {
        UnknownAction { after: self.unknown_action_after.unwrap_or(after), then: self.unknown_action }
    }
}

/// With whom an executor or a distributor works.
#[derive(Debug, Args)]
struct PeersArguments {
    #[command(flatten)]
    account: AccountArguments,
    #[command(flatten)]
    zookeeper: ZooKeeperArguments,
}

impl PeersArguments {
    fn peers(self) -> anyhow::Result<Peers> {
        Peers::new(self.account.account()?, self.zookeeper.settings()?)
    }
}

/// How `distributor` runs.
#[derive(Debug, Args)]
#[command(
    infer_long_args = true,
    args_override_self = true,
    after_help = example!(
        "Of several processes for one distributor one is elected to add jobs. All log in\n\
         as the same user, by whom and by its time a round is known that is repeated.\n\
         Log: SLIPSTREAM_LOG, e.g. debug (default info), on standard error.",
        "slipstream-job distributor jobs_cleanup --ss-url URL --ss-user super"
    )
)]
pub struct DistributorArguments {
    /// Which one of the configured distributors
    #[arg(value_name = "DISTRIBUTOR")]
    distributor: String,
    /// Configuration file [default: the built-in configuration]
    #[arg(long, value_name = "FILE", env = "SLIPSTREAM_CONFIG")]
    config: Option<PathBuf>,
    /// What it is called in the election [default: host name and process id]
    #[arg(long, value_name = "NAME", env = "SLIPSTREAM_NAME")]
    name: Option<String>,
    #[command(flatten)]
    peers: PeersArguments,
}

/// Serves until it is stopped.
pub async fn server(arguments: ServerArguments) -> anyhow::Result<ExitCode> {
    let options = server::Options {
        listen: arguments.listen,
        store: arguments.store,
        proxies: arguments.trust_authn_header_from,
        max_attempts: arguments.max_attempts,
        zookeeper: arguments.zookeeper.settings()?,
    };
    server::run(options, Clock::system(), begin()?).await?;
    Ok(ExitCode::SUCCESS)
}

/// Does jobs until it is stopped.
pub async fn executor(arguments: ExecutorArguments) -> anyhow::Result<ExitCode> {
    let peers = arguments.peers.peers()?;
    let clock = Clock::system();
    let options = Options {
        name: name(arguments.name),
        threads: arguments.threads,
        grace: arguments.grace,
        cimi_grace: arguments.cimi_grace,
        clock: clock.clone(),
        runtime: ActionRuntime::start(arguments.threads).context("cannot start the threads of actions")?,
        unknown_action: arguments.unknown_action.wanted(UnknownAction::default().after),
    };
    executor::run(options, peers, actions::built_in(clock), begin()?).await?;
    Ok(ExitCode::SUCCESS)
}

/// Adds jobs until it is stopped.
pub async fn distributor(arguments: DistributorArguments) -> anyhow::Result<ExitCode> {
    let config = match arguments.config.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => Config::load(&path)?,
        None => Config::default(),
    };
    let chosen = config.distributor(&arguments.distributor)?.clone();
    let peers = arguments.peers.peers()?;
    distributor::run(chosen, name(arguments.name), peers, Clock::system(), begin()?).await?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the log and listens for signals.
pub(super) fn begin() -> anyhow::Result<Stop> {
    telemetry::start("info")?;
    let stop = Stop::new();
    stop::on_signals_of_a_service(&stop).context("cannot listen for signals")?;
    Ok(stop)
}

fn name(given: Option<String>) -> String {
    given.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("{}-{}", host_name(), std::process::id()))
}

pub(super) fn parse_store(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("sqlite:").map(PathBuf::from).filter(|path| path.file_name().is_some());
    path.filter(|_| !text.ends_with('/')).ok_or_else(|| "expected sqlite:PATH, such as sqlite:jobs.db".to_owned())
}

#[cfg(test)]
mod tests;
