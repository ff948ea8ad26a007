//! `slipstream-job server`, `executor` and `distributor`: the parts of the engine as processes of their own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{ArgAction, Args, value_parser};

use super::options::account::AccountArguments;
use super::options::loading::{LoadingOptions, PythonOption, ScriptOptions, work_of_a_site};
use super::options::log::LogOptions;
use super::options::monitoring::{Monitoring, MonitoringOptions};
use super::options::zookeeper::ZooKeeperArguments;
use super::options::{RunningOptions, ServingOptions, UnknownActionOptions, parse_duration, parse_store};
use super::{SERVER_ADMIN, example};
use crate::actions;
use crate::config::Config;
use crate::distributor::script::found;
use crate::executor::{ActionRuntime, Options, UnknownAction};
use crate::process::activity::Activity;
use crate::process::admin;
use crate::process::clock::Clock;
use crate::process::metrics::Metrics;
use crate::process::output;
use crate::process::registry::host_name;
use crate::process::service_manager;
use crate::process::stop;
use crate::process::stop::Stop;
use crate::process::telemetry;
use crate::programs::keepers::Keepers;
use crate::roles::peers::Peers;
use crate::roles::{distributor, executor, server};

/// Where an executor answers metrics and health, unless somebody says otherwise.
const EXECUTOR_ADMIN: &str = "127.0.0.1:8202";

/// How `server` runs.
#[derive(Debug, Args)]
#[command(
    mut_arg("admin_listen", |listen| listen.default_value(SERVER_ADMIN)),
    after_help = example!(
    "Adds jobs even while ZooKeeper is unreachable. The store's folder belongs to\n\
     this server alone. Password of the user super: SLIPSTREAM_SUPER_PASSWORD,\n\
     else generated once and kept in super.password beside the store.",
    "slipstream-job server --store sqlite:jobs.db --zk-hosts zk1,zk2,zk3"
    )
)]
pub struct ServerArguments {
    #[command(flatten)]
    serving: ServingOptions,
    /// Where documents are kept: sqlite:PATH
    #[arg(long, value_name = "STORE", value_parser = parse_store, env = "SLIPSTREAM_STORE", display_order = 0)]
    store: PathBuf,
    #[command(flatten)]
    zookeeper: ZooKeeperArguments,
    #[command(flatten)]
    monitoring: MonitoringOptions,
    #[command(flatten)]
    log: LogOptions,
}

/// How `executor` runs.
#[derive(Debug, Args)]
#[command(
    // as argparse has it, by which the original engines read the same command lines
    infer_long_args = true,
    args_override_self = true,
    mut_arg("admin_listen", |listen| listen.default_value(EXECUTOR_ADMIN)),
    after_help = example!(
        "The first SIGTERM or SIGINT lets running jobs end within the grace period, the\n\
         second stops at once; other executors run these jobs again.",
        "slipstream-job executor --ss-url http://server:8201 --ss-user super"
    )
)]
pub struct ExecutorArguments {
    /// Name of this executor in queue and ledgers [default: host name and process id]
    #[arg(long, value_name = "NAME", env = "SLIPSTREAM_NAME")]
    name: Option<String>,
    #[command(flatten)]
    running: RunningOptions,
    #[command(flatten)]
    loading: LoadingOptions,
    /// How long the server may be unreachable before a job is released
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "2m",
        value_parser = parse_duration,
        env = "SLIPSTREAM_CIMI_GRACE"
    )]
    cimi_grace: Duration,
    #[command(flatten)]
    unknown_action: UnknownActionOptions,
    /// Elasticsearch servers: accepted for compatibility, not used by any built-in action
    #[arg(long = "es-hosts-list", value_name = "HOST", num_args = 1.., action = ArgAction::Set, default_value = "localhost")]
    elasticsearch: Vec<String>,
    #[command(flatten)]
    peers: PeersArguments,
}

/// With whom an executor or a distributor works.
#[derive(Debug, Args)]
struct PeersArguments {
    #[command(flatten)]
    account: AccountArguments,
    #[command(flatten)]
    zookeeper: ZooKeeperArguments,
    #[command(flatten)]
    service: ServiceArguments,
}

/// What an operator sees of a service.
#[derive(Debug, Args)]
struct ServiceArguments {
    #[command(flatten)]
    monitoring: MonitoringOptions,
    #[command(flatten)]
    log: LogOptions,
}

impl PeersArguments {
    fn peers(self, metrics: &Metrics) -> anyhow::Result<(Peers, ServiceArguments)> {
        let (account, zookeeper) = (self.account.account()?, self.zookeeper.settings()?);
        Ok((Peers::new(account, zookeeper, metrics.clone())?, self.service))
    }
}

impl ServiceArguments {
    /// Starts the log and what is watched, which ends when the second answer is dropped.
    fn begin(self, metrics: &Metrics, activity: &Activity) -> anyhow::Result<(Stop, Monitoring)> {
        let stop = begin_as(self.log, activity)?;
        let monitoring = self.monitoring.begin(metrics, activity, &stop);
        Ok((stop, monitoring))
    }
}

/// How `distributor` runs.
#[derive(Debug, Args)]
#[command(
    infer_long_args = true,
    args_override_self = true,
    // with the user, which is required, it would be too wide
    override_usage = "slipstream-job distributor [OPTIONS] <DISTRIBUTOR> [-- <ARGUMENT>...]",
    after_help = example!(
        "If several processes run the same distributor, one is elected leader and adds\n\
         the jobs. All log in as the same user, so that no round is added twice.",
        "slipstream-job distributor jobs_cleanup --ss-url URL --ss-user super"
    )
)]
pub struct DistributorArguments {
    /// Name of a configured distributor, or of a script
    #[arg(value_name = "DISTRIBUTOR")]
    distributor: String,
    #[command(flatten)]
    scripts: ScriptOptions,
    #[command(flatten)]
    python: PythonOption,
    /// Configuration file [default: the built-in configuration]
    #[arg(long, value_name = "FILE", env = "SLIPSTREAM_CONFIG")]
    config: Option<PathBuf>,
    /// Name of this candidate in the election [default: host name and process id]
    #[arg(long, value_name = "NAME", env = "SLIPSTREAM_NAME")]
    name: Option<String>,
    #[command(flatten)]
    peers: PeersArguments,
    /// What a script itself is told on its command line
    #[arg(last = true, value_name = "ARGUMENT", value_parser = value_parser!(OsString))]
    arguments: Vec<OsString>,
}

/// Serves until it is stopped.
pub async fn server(arguments: ServerArguments) -> anyhow::Result<()> {
    let metrics = Metrics::of("server");
    let options = server::Options {
        listen: arguments.serving.listen,
        store: arguments.store,
        proxies: arguments.serving.trust_authn_header_from,
        max_attempts: arguments.serving.max_attempts,
        zookeeper: arguments.zookeeper.settings()?,
        metrics: metrics.clone(),
    };
    let (activity, stop) = begin(arguments.log)?;
    let _monitoring = arguments.monitoring.begin(&metrics, &activity, &stop);
    server::run(options, Clock::system(), activity, stop).await
}

/// Does jobs until it is stopped.
pub async fn executor(arguments: ExecutorArguments) -> anyhow::Result<()> {
    let metrics = Metrics::of("executor");
    let (peers, service) = arguments.peers.peers(&metrics)?;
    let clock = Clock::system();
    let activity = Activity::new();
    let options = Options {
        name: name(arguments.name),
        threads: arguments.running.threads,
        grace: arguments.running.grace,
        cimi_grace: arguments.cimi_grace,
        clock: clock.clone(),
        runtime: ActionRuntime::start(arguments.running.threads).context("cannot start the threads of actions")?,
        unknown_action: arguments.unknown_action.wanted(UnknownAction::default().after),
        metrics: metrics.clone(),
        activity: activity.clone(),
    };
    let programs = executor::Programs {
        loading: arguments.loading.of_a_site()?,
        keepers: Keepers::of_executor()
            .context("cannot prepare this process for programs, allow it the system call prctl")?,
        elasticsearch: arguments.elasticsearch,
    };
    let (stop, _monitoring) = service.begin(&metrics, &activity)?;
    executor::run(options, peers, actions::built_in(clock), programs, stop).await
}

/// Adds jobs until it is stopped.
pub async fn distributor(arguments: DistributorArguments) -> anyhow::Result<()> {
    let config = match arguments.config.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => Config::load(&path)?,
        None => Config::default(),
    };
    let found = found::find(&arguments.scripts.of_a_site()?);
    let script = found.scripts.iter().find(|script| script.name == arguments.distributor).cloned();
    let refused = found.refused.iter().find(|refused| refused.name == arguments.distributor);
    let chosen = if let Some(script) = script {
        distributor::Chosen::Script(distributor::Scripted {
            script,
            interpreter: arguments.python.wanted()?,
            arguments: arguments.arguments,
            work_dir: work_of_a_site(),
            keepers: Keepers::of_executor()
                .context("cannot prepare this process for programs, allow it the system call prctl")?,
        })
    } else {
        let configured = config.distributor(&arguments.distributor).map_err(|error| match refused {
            Some(refused) => anyhow!("cannot start the script {}", refused.reason),
            None => error.into(),
        })?;
        distributor::Chosen::Configured(configured.clone())
    };
    let (metrics, activity) = (Metrics::of("distributor"), Activity::new());
    let (peers, service) = arguments.peers.peers(&metrics)?;
    let (stop, _monitoring) = service.begin(&metrics, &activity)?;
    for wrong in found.complaints() {
        tracing::error!("cannot load a script: {wrong}");
    }
    distributor::run(chosen, name(arguments.name), peers, Clock::system(), activity, stop).await
}

/// Starts the log and listens for signals.
pub(super) fn begin(log: LogOptions) -> anyhow::Result<(Activity, Stop)> {
    let activity = Activity::new();
    let stop = begin_as(log, &activity)?;
    Ok((activity, stop))
}

fn begin_as(log: LogOptions, activity: &Activity) -> anyhow::Result<Stop> {
    telemetry::start_as(&log.wanted(), "info")?;
    service_manager::keep_alive(activity);
    let admin = admin::start(activity.clone())
        .inspect_err(|error| tracing::warn!(%error, "cannot listen for `threads`, `drain` and `log`"));
    let told = activity.clone();
    tokio::spawn(async move {
        // it answers for as long as the service goes on
        let _admin = admin;
        match service_manager::keep_told(told).await {}
    });
    tokio::spawn(output::warn_of_dropped());
    let stop = Stop::new();
    stop::on_signals_of_a_service(&stop, activity).context("cannot listen for signals")?;
    Ok(stop)
}

fn name(given: Option<String>) -> String {
    given.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("{}-{}", host_name(), std::process::id()))
}

#[cfg(test)]
mod tests;
