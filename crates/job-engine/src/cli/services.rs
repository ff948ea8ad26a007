//! `slipstream-job server`, `executor` and `distributor`: the parts of the engine as processes of their own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{ArgAction, Args, value_parser};
use console::Term;
use secrecy::SecretString;

use super::faults::{Said, both, placed};
use super::options::account::AccountArguments;
use super::options::loading::{LoadingOptions, PythonOption, ScriptOptions, work_of_a_site};
use super::options::log::LogOptions;
use super::options::monitoring::{Monitoring, MonitoringOptions};
use super::options::zookeeper::ZooKeeperArguments;
use super::options::{RunningOptions, ServingOptions, UnknownActionOptions, parse_duration, parse_store};
use super::terminal::can_redraw;
use super::{SERVER_ADMIN, example, secrets, settings};
use crate::actions;
use crate::collections::Collections;
use crate::config::Config;
use crate::distributor::configured::Configured;
use crate::distributor::script::found::{self, ScriptFile};
use crate::executor::load::settings::Loading;
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
use crate::process::telemetry::{self, Form, Wanted};
use crate::programs::keepers::Keepers;
use crate::roles::peers::{self, Peers};
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
    #[arg(
        long,
        value_name = "STORE",
        value_parser = parse_store,
        env = "SLIPSTREAM_STORE",
        display_order = 0,
        help = "Where documents are kept: sqlite:PATH [default: in a unit jobs.db in STATE_DIRECTORY]"
    )]
    store: PathBuf,
    #[command(flatten)]
    zookeeper: ZooKeeperArguments,
    #[command(flatten)]
    service: ServiceArguments,
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
    fn prepared(self, metrics: &Metrics, zookeeper: Option<SecretString>) -> anyhow::Result<(Peers, Seen)> {
        let (account, settings) = (self.account.account(), self.zookeeper.settings(zookeeper));
        let peers = both(account, settings);
        let peers = peers.and_then(|(account, settings)| Peers::new(account, settings, metrics.clone()));
        both(peers, self.service.prepared())
    }
}

impl ServiceArguments {
    fn prepared(self) -> anyhow::Result<Seen> {
        Ok(Seen { monitoring: self.monitoring, log: self.log.wanted()? })
    }
}

/// What an operator sees of a service, with nothing wrong in it.
pub struct Seen {
    monitoring: MonitoringOptions,
    log: Wanted,
}

impl Seen {
    /// Starts the log and what is watched, which ends when the second answer is dropped.
    fn begin(self, metrics: &Metrics, activity: &Activity) -> anyhow::Result<(Stop, Monitoring)> {
        let stop = begin(&self.log, activity)?;
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
pub async fn server(arguments: ServerArguments, config: &Config) -> anyhow::Result<()> {
    let metrics = Metrics::of("server");
    let prepared = arguments.prepared(config.collections.clone(), &metrics, secrets::zookeepers());
    let (options, seen) = placed(prepared, &Said::all(config))?;
    let activity = Activity::new();
    let (stop, _monitoring) = seen.begin(&metrics, &activity)?;
    server::run(options, Clock::system(), activity, stop).await
}

impl ServerArguments {
    /// What it logs.
    pub fn log(self) -> anyhow::Result<Wanted> {
        self.service.log.wanted()
    }

    /// What a server is made of, or all that is wrong with it.
    pub fn prepared(
        self,
        collections: Collections,
        metrics: &Metrics,
        zookeeper: Option<SecretString>,
    ) -> anyhow::Result<(server::Options, Seen)> {
        let zookeeper = self.zookeeper.settings(zookeeper).and_then(|settings| {
            peers::ensemble(settings.clone())?;
            Ok(settings)
        });
        let (zookeeper, seen) = both(zookeeper, self.service.prepared())?;
        let options = server::Options {
            listen: self.serving.listen,
            store: self.store,
            proxies: self.serving.trust_authn_header_from,
            max_attempts: self.serving.max_attempts,
            zookeeper,
            collections,
            metrics: metrics.clone(),
        };
        Ok((options, seen))
    }
}

/// Does jobs until it is stopped.
pub async fn executor(arguments: ExecutorArguments, config: &Config) -> anyhow::Result<()> {
    let metrics = Metrics::of("executor");
    let prepared = placed(arguments.prepared(&metrics, secrets::zookeepers()), &Said::all(config))?;
    let Prepared { name: given, running, cimi_grace, unknown_action, elasticsearch, peers, loading, seen } = prepared;
    let clock = Clock::system();
    let activity = Activity::new();
    let options = Options {
        name: name(given),
        threads: running.threads,
        grace: running.grace,
        cimi_grace,
        clock: clock.clone(),
        runtime: ActionRuntime::start(running.threads).context("cannot start the threads of actions")?,
        unknown_action,
        metrics: metrics.clone(),
        activity: activity.clone(),
    };
    let keepers =
        Keepers::of_executor().context("cannot prepare this process for programs, allow it the system call prctl")?;
    let programs = executor::Programs { loading, keepers, elasticsearch };
    let (stop, _monitoring) = seen.begin(&metrics, &activity)?;
    executor::run(options, peers, actions::built_in(clock), programs, stop).await
}

/// What an executor is made of before it starts anything.
pub struct Prepared {
    name: Option<String>,
    running: RunningOptions,
    cimi_grace: Duration,
    unknown_action: UnknownAction,
    elasticsearch: Vec<String>,
    peers: Peers,
    loading: Loading,
    seen: Seen,
}

impl ExecutorArguments {
    /// What it logs.
    pub fn log(self) -> anyhow::Result<Wanted> {
        self.peers.service.log.wanted()
    }

    /// What an executor is made of, or all that is wrong with it.
    pub fn prepared(self, metrics: &Metrics, zookeeper: Option<SecretString>) -> anyhow::Result<Prepared> {
        let ((peers, seen), loading) = both(self.peers.prepared(metrics, zookeeper), self.loading.of_a_site())?;
        Ok(Prepared {
            name: self.name,
            running: self.running,
            cimi_grace: self.cimi_grace,
            unknown_action: self.unknown_action.wanted(UnknownAction::default().after),
            elasticsearch: self.elasticsearch,
            peers,
            loading,
            seen,
        })
    }
}

/// Adds jobs until it is stopped.
pub async fn distributor(arguments: DistributorArguments, config: &Config) -> anyhow::Result<()> {
    let given = arguments.name.clone();
    let metrics = Metrics::of("distributor");
    let prepared = arguments.prepared(config, &metrics, secrets::zookeepers());
    let Distributing { found, peers, seen, wrong } = placed(prepared, &Said::all(config))?;
    let chosen = match found {
        Found::Script { script, interpreter, arguments } => distributor::Chosen::Script(distributor::Scripted {
            script,
            interpreter,
            arguments,
            work_dir: work_of_a_site(),
            keepers: Keepers::of_executor()
                .context("cannot prepare this process for programs, allow it the system call prctl")?,
        }),
        Found::Configured(configured) => distributor::Chosen::Configured(configured),
    };
    let activity = Activity::new();
    let (stop, _monitoring) = seen.begin(&metrics, &activity)?;
    for wrong in wrong {
        tracing::error!("cannot load a script: {wrong}");
    }
    distributor::run(chosen, name(given), peers, Clock::system(), activity, stop).await
}

/// What a distributor is made of before it starts anything.
pub struct Distributing {
    found: Found,
    peers: Peers,
    seen: Seen,
    /// What else is no script.
    wrong: Vec<String>,
}

/// Where a distributor was found.
enum Found {
    Script { script: ScriptFile, interpreter: PathBuf, arguments: Vec<OsString> },
    Configured(Configured),
}

impl DistributorArguments {
    /// What it logs.
    pub fn log(self) -> anyhow::Result<Wanted> {
        self.peers.service.log.wanted()
    }

    /// What a distributor is made of, or all that is wrong with it.
    pub fn prepared(
        self,
        config: &Config,
        metrics: &Metrics,
        zookeeper: Option<SecretString>,
    ) -> anyhow::Result<Distributing> {
        let found = self.scripts.of_a_site().and_then(|folders| {
            let found = found::find(&folders);
            let script = found.scripts.iter().find(|script| script.name == self.distributor).cloned();
            let refused = found.refused.iter().find(|refused| refused.name == self.distributor);
            let chosen = if let Some(script) = script {
                Found::Script { script, interpreter: self.python.wanted()?, arguments: self.arguments }
            } else {
                let configured = config.distributor(&self.distributor).map_err(|error| match refused {
                    Some(refused) => anyhow!("cannot start the script {}", refused.reason),
                    None => error.into(),
                })?;
                Found::Configured(configured.clone())
            };
            Ok((chosen, found.complaints().map(str::to_owned).collect()))
        });
        let ((found, wrong), (peers, seen)) = both(found, self.peers.prepared(metrics, zookeeper))?;
        Ok(Distributing { found, peers, seen, wrong })
    }
}

/// Starts the log and listens for signals.
pub(super) fn begin(log: &Wanted, activity: &Activity) -> anyhow::Result<Stop> {
    telemetry::start_as(log, LEVEL)?;
    if log.form == Form::Text && can_redraw(&Term::stderr()) {
        output::may_show_progress();
    }
    service_manager::keep_alive(activity);
    let admin = admin::start(activity.clone())
        .inspect_err(|error| tracing::warn!(%error, "cannot answer `threads`, `drain`, `log` and signals"));
    let told = activity.clone();
    tokio::spawn(async move {
        // it answers for as long as the service goes on
        let _admin = admin;
        match service_manager::keep_told(told).await {}
    });
    tokio::spawn(output::warn_of_dropped());
    let stop = Stop::new();
    let on_hangup = log_again(log.clone());
    stop::on_signals_of_a_service(&stop, activity, on_hangup).context("cannot listen for signals")?;
    Ok(stop)
}

/// Reads again what is to be logged. What `slipstream-job log` has changed stays as long as the files stay the same, which
/// a rotation does not change.
fn log_again(mut now: Wanted) -> impl FnMut() + Send + 'static {
    move || match settings::log_again() {
        Ok(wanted) => {
            if (&wanted.file, wanted.form) != (&now.file, now.form) {
                tracing::warn!("log-file or log-format has changed in the configuration: restart the service for it");
            }
            if wanted.filter != now.filter {
                log_from_now_on(wanted.filter.as_deref().filter(|level| !level.is_empty()));
            }
            now = wanted;
        }
        Err(error) => tracing::error!("cannot read the level of the log again: {error:#}"),
    }
}

fn log_from_now_on(filter: Option<&str>) {
    match telemetry::log_from_now_on(filter.unwrap_or(LEVEL)) {
        Ok(()) => tracing::info!(filter, "the configuration has another level of the log now"),
        Err(error) => tracing::error!("cannot read the level of the log again: {error:#}"),
    }
}

/// What is logged unless somebody says otherwise.
const LEVEL: &str = "info";

fn name(given: Option<String>) -> String {
    given.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("{}-{}", host_name(), std::process::id()))
}

#[cfg(test)]
mod tests;
