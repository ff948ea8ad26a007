//! [`start`]: puts the parts together, in the order in which they depend on each other, and takes them apart in the
//! opposite one. Nothing here decides anything.

use std::future::ready;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::SignedDuration;
use slipstream_action::Catalogue;
use slipstream_action::protocol::Setup;
use slipstream_cimi::overview::ledger::DEFAULT_MAX_ATTEMPTS;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_cimi::{Client, Credentials};
use slipstream_coordination::Embedded;
use slipstream_store::Store;
use slipstream_store::sqlite::OpenError;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Engine;
use super::error::EngineError;
use crate::collections::Collections;
use crate::config::default_collections;
use crate::distributor::configured::Configured;
use crate::distributor::script::found::{RefusedScript, ScriptFile};
use crate::distributor::script::{Python, Script};
use crate::distributor::store_marks::StoreMarks;
use crate::distributor::{self, Deps, Kind};
use crate::executor::load::settings::Loading;
use crate::executor::offers::Offered;
use crate::executor::providers::Providers;
use crate::executor::{self, ActionRuntime, Then, UnknownAction};
use crate::instance::Instance;
use crate::instance::data_dir::{DATABASE, DataDir};
use crate::instance::error::InstanceError;
use crate::process::activity::Activity;
use crate::process::clock::Clock;
use crate::process::metrics::Metrics;
use crate::process::registry::host_name;
use crate::process::stop::Stop;
use crate::process::supervise::supervise;
use crate::programs::context::Context;
use crate::programs::keepers::Keepers;
use crate::programs::python::write_package;
use crate::server::http::in_process::InProcess;
use crate::server::{self, Server, reconcile};

/// How long CIMI, which is in this very process, may be out of reach before a claim is released.
const CIMI_GRACE: Duration = Duration::from_mins(2);

/// How many jobs at once, unless somebody says otherwise.
const DEFAULT_SLOTS: usize = 8;
/// How long running jobs may go on after a stop was asked for, unless somebody says otherwise.
const DEFAULT_GRACE: Duration = Duration::from_mins(2);

/// What an engine is to be like; the methods of the builder say more.
pub(super) struct Options {
    pub folder: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub proxies: Vec<IpNet>,
    pub slots: usize,
    pub attempts: u32,
    pub grace: Duration,
    pub catalogue: Catalogue,
    pub distributors: Vec<Configured>,
    pub collections: Collections,
    pub scripts: Vec<ScriptFile>,
    pub refused_scripts: Vec<RefusedScript>,
    pub unknown_action: UnknownAction,
    /// Where programs come from that do jobs, and who keeps them; without it none does.
    pub programs: Option<(Loading, Keepers)>,
    /// Whether the executor waits for no program to say what it has.
    pub begins_at_once: bool,
    pub clock: Clock,
    pub metrics: Metrics,
    pub activity: Activity,
    pub stop: Stop,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            folder: None,
            listen: None,
            proxies: Vec::new(),
            slots: DEFAULT_SLOTS,
            attempts: DEFAULT_MAX_ATTEMPTS,
            grace: DEFAULT_GRACE,
            catalogue: Catalogue::new(),
            distributors: Vec::new(),
            collections: default_collections(),
            scripts: Vec::new(),
            refused_scripts: Vec::new(),
            unknown_action: UnknownAction { after: Duration::ZERO, then: Then::Fail },
            programs: None,
            begins_at_once: false,
            clock: Clock::system(),
            metrics: Metrics::default(),
            activity: Activity::new(),
            stop: Stop::new(),
        }
    }
}

/// Starts everything; what it opened is closed again if it fails.
pub(super) async fn start(options: Options) -> Result<Engine, EngineError> {
    let runtime = ActionRuntime::start(options.slots).map_err(EngineError::Threads)?;
    let data_dir = options.folder.as_deref().map_or_else(DataDir::temporary, DataDir::open)?;
    let (database, declared) = (Path::new(DATABASE), options.collections.declared());
    let opened = Instance::open(data_dir, (database, declared), options.listen, &options.activity, &options.stop).await;
    let mut instance = match opened {
        Err(InstanceError::Open(OpenError::Stopped { .. })) => return Err(EngineError::Stopped),
        opened => opened?,
    };
    let started = tokio::select! {
        biased;
        () = options.stop.asked() => Err(EngineError::Stopped),
        started = Parts::start(&instance, &options) => started,
    };
    let written = started.and_then(|parts| {
        let endpoint = instance.write_endpoint()?;
        let programs = start_programs(&options, endpoint.as_deref(), &parts.client)?;
        Ok((parts, endpoint, programs))
    });
    let (parts, endpoint, programs) = match written {
        Ok(written) => written,
        Err(error) => {
            instance.close().await?;
            return Err(error);
        }
    };
    let ended = CancellationToken::new();
    Ok(Engine {
        client: parts.client.clone(),
        folder: instance.data_dir().to_owned(),
        password: instance.password().clone(),
        address: instance.address(),
        endpoint,
        feed: parts.server.feed(),
        programs: programs.clone(),
        metrics: options.metrics.clone(),
        stop: options.stop.clone(),
        ended: ended.clone(),
        running: tokio::spawn(run(parts, instance, runtime, programs, options, ended.drop_guard())),
    })
}

/// The programs of this engine.
pub(super) struct Programs {
    pub(super) providers: Providers,
    scripts: Vec<Arc<Script>>,
}

/// Starts the programs that do jobs, if there are any.
fn start_programs(
    options: &Options,
    endpoint: Option<&str>,
    client: &Client,
) -> Result<Option<Arc<Programs>>, EngineError> {
    let Some((loading, keepers)) = &options.programs else { return Ok(None) };
    let context = Arc::new(Context::open(loading.work_dir.as_deref(), keepers.clone(), host_name())?);
    let package = write_package(context.work_dir.path()).map_err(EngineError::Programs)?;
    let setup = Setup { url: endpoint.unwrap_or_default().to_owned(), ..context.setup(options.slots) };
    let python = Python { interpreter: loading.python.clone(), package: package.clone(), arguments: Vec::new() };
    let script = |script| Arc::new(Script::new(script, &python, context.clone(), setup.clone(), client.clone()));
    let scripts = options.scripts.iter().map(script).collect();
    let providers = Providers::start(loading, package, &options.catalogue, &context, &setup);
    let (hosts, counted) = (providers.hosts(), options.metrics.executor());
    options.metrics.refresh_by(move || {
        counted.has_hosts(hosts.processes());
        Box::pin(ready(()))
    });
    Ok(Some(Arc::new(Programs { providers, scripts })))
}

/// What everything that works in this process shares.
struct Parts {
    server: Server,
    coordinator: Arc<Embedded>,
    transport: Arc<InProcess>,
    client: Client,
}

impl Parts {
    /// Rebuilds the queue from the store and makes the parts.
    async fn start(instance: &Instance, options: &Options) -> Result<Self, EngineError> {
        let (store, password) = (instance.store(), instance.password().secret());
        let coordinator = Embedded::new();
        let without = reconcile::restore(&*store, &coordinator).await?;
        let server_options = server::Options {
            password: password.clone(),
            max_attempts: options.attempts,
            writers: server::Writers::One,
            coordinator_forgets: true,
            collections: options.collections.clone(),
            metrics: options.metrics.clone(),
        };
        let coordinator = Arc::new(coordinator);
        let server = Server::start(store, coordinator.clone(), options.clock.clone(), server_options).await?;
        if without > 0 {
            server.reconcile_once(SignedDuration::ZERO).await.map_err(EngineError::Reconcile)?;
        }
        let credentials = Credentials { username: ADMINISTRATOR.to_owned(), password: password.clone() };
        let transport = server.transport();
        let client = Client::new(transport.clone(), Some(credentials));
        Ok(Self { server, coordinator, transport, client })
    }
}

/// Works until the stop, then closes everything: first those who make requests, then the store, and the folder is let
/// go last.
async fn run(
    parts: Parts,
    mut instance: Instance,
    runtime: ActionRuntime,
    programs: Option<Arc<Programs>>,
    options: Options,
    _ended: DropGuard,
) -> Result<(), EngineError> {
    let (proxies, activity, stop) = (options.proxies.clone(), options.activity.clone(), options.stop.clone());
    let work = start_work(&parts, instance.store(), runtime, programs.clone(), options);
    let worked = instance.work(&parts.server, proxies, work, &activity, &stop).await;
    if let Some(programs) = programs {
        programs.providers.stop().await;
    }
    parts.transport.close().await;
    parts.server.close().await;
    drop(parts);
    worked.and(instance.close().await).map_err(EngineError::from)
}

/// Starts the executor and the distributors.
fn start_work(
    parts: &Parts,
    store: Arc<dyn Store>,
    runtime: ActionRuntime,
    programs: Option<Arc<Programs>>,
    options: Options,
) -> JoinSet<()> {
    let mut work = JoinSet::new();
    let stop = options.stop;
    let deps = Deps {
        coordinator: parts.coordinator.clone(),
        client: parts.client.clone(),
        marks: Arc::new(StoreMarks::new(store)),
        clock: options.clock.clone(),
        name: host_name(),
        metrics: options.metrics.clone(),
    };
    let executor_options = executor::Options {
        name: deps.name.clone(),
        threads: options.slots,
        grace: options.grace,
        cimi_grace: CIMI_GRACE,
        clock: options.clock,
        runtime,
        unknown_action: options.unknown_action,
        metrics: options.metrics,
        activity: options.activity,
    };
    let (coordinator, client, native) = (parts.coordinator.clone(), parts.client.clone(), options.catalogue.into());
    let asked = stop.clone();
    let offered: Offered = programs.as_ref().map_or(native, |programs| programs.providers.offered());
    let scripts = programs.as_ref().map(|programs| programs.scripts.clone()).unwrap_or_default();
    let executor = supervise("executor", stop.clone(), move || {
        executor::run(executor_options.clone(), coordinator.clone(), client.clone(), offered.clone(), asked.clone())
    });
    let asked = stop.clone();
    work.spawn(async move {
        // until then it is not known which actions there are
        if let Some(programs) = programs.as_ref().filter(|_| !options.begins_at_once) {
            tokio::select! {
                () = programs.providers.settled() => {}
                () = asked.asked() => {}
            }
        }
        executor.await;
    });
    let configured = options.distributors.into_iter().map(|one| (one.name.clone(), Kind::from(Arc::new(one))));
    let scripts = scripts.into_iter().map(|script| (script.name().to_owned(), Kind::from(script)));
    let refused = options.refused_scripts.into_iter().map(|script| (script.name.clone(), Kind::from(script)));
    for (name, kind) in configured.chain(scripts).chain(refused) {
        let (deps, asked) = (deps.clone(), stop.clone());
        work.spawn(supervise(format!("distributor {name}"), stop.clone(), move || {
            distributor::lead_and_distribute(kind.clone(), deps.clone(), asked.clone())
        }));
    }
    work
}
