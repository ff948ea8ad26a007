//! `slipstream-job up`: server, executor and distributors in one process, documents in `SQLite`, coordination in
//! memory. Nothing here decides anything: it puts the parts together, in the order in which they depend on each other,
//! and takes them apart in the opposite one.

pub mod data_dir;
pub mod marks;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ipnet::IpNet;
use jiff::SignedDuration;
use serde_json::json;
use slipstream_action::Catalogue;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::{Client, Credentials, Document};
use slipstream_coordination::Embedded;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};

use crate::clock::Clock;
use crate::config::Config;
use crate::distributor::configured::Configured;
use crate::distributor::{self, Surroundings};
use crate::registry::host_name;
use crate::server::sessions::ADMINISTRATOR;
use crate::server::store::sqlite::SqliteStore;
use crate::server::{self, Server, reconcile};
use crate::stop::Stop;
use crate::{executor, nodes};
use data_dir::{DataDir, Password};
use marks::StoreMarks;

/// The distributor that only `--demo` or its name in `--distributors` starts.
const DEMO_DISTRIBUTOR: &str = "dummy_test_action";
const DEMO_JOBS: usize = 10;
/// How long CIMI, which is in this very process, may be out of reach before a claim is released.
const CIMI_GRACE: Duration = Duration::from_mins(2);

/// How `up` runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Whose word counts when they say who asks: the networks of proxies.
    pub proxies: Vec<IpNet>,
    /// How many jobs at once.
    pub threads: usize,
    /// How long running actions may go on after a stop was asked for.
    pub grace: Duration,
    /// How often a job may be claimed and lost before it is given up.
    pub max_attempts: u32,
    /// Which distributors run; without any, all configured ones.
    pub distributors: Option<Vec<String>>,
    /// The configuration file; without one, `config.toml` in the data directory if it is there.
    pub config: Option<PathBuf>,
    /// Adds the dummy distributor and ten dummy jobs.
    pub demo: bool,
}

/// Runs until `stop`, with the actions of `catalogue`. The store is closed before the data directory is let go.
pub async fn up(options: Options, catalogue: Catalogue, clock: Clock, stop: Stop) -> anyhow::Result<()> {
    let data_dir = DataDir::open(&options.data_dir)?;
    let distributors = chosen_distributors(&options)?;
    let password = data_dir.password()?;
    let listener = listen(options.listen).await?;
    let store = Arc::new(SqliteStore::open(&data_dir.database()?)?);
    let started = tokio::select! {
        biased;
        () = stop.asked() => None,
        started = start(store.clone(), &clock, &password, options.max_attempts) => Some(started),
    };
    let ran = match started {
        None => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(parts)) => {
            let endpoint = data_dir.announce(listener.local_addr().context("the address that the API listens on")?)?;
            greet(&endpoint, &data_dir, &password, &options, &distributors);
            let ran = run(parts, listener, &options, catalogue, distributors, &stop).await;
            ran.and(data_dir.retract())
        }
    };
    let closed = close(store).await;
    say("stopped");
    ran.and(closed)
}

/// What everything that works in this process shares.
struct Parts {
    store: Arc<SqliteStore>,
    server: Server,
    coordinator: Arc<Embedded>,
    client: Client,
    clock: Clock,
}

/// Rebuilds the queue from the store and makes the parts.
async fn start(
    store: Arc<SqliteStore>,
    clock: &Clock,
    password: &Password,
    max_attempts: u32,
) -> anyhow::Result<Parts> {
    let coordinator = Embedded::new();
    let recorded = reconcile::recorded_entries(&*store).await.context("cannot read the jobs that wait")?;
    coordinator.restore(nodes::ENTRIES, recorded.entries).context("cannot rebuild the queue")?;
    let options = server::Options { password: password.secret().clone(), max_attempts };
    let coordinator = Arc::new(coordinator);
    let server = Server::start(store.clone(), coordinator.clone(), clock.clone(), options).await?;
    if recorded.without > 0 {
        server.reconcile_once(SignedDuration::ZERO).await.context("cannot queue the jobs that wait")?;
    }
    let credentials = Credentials { username: ADMINISTRATOR.to_owned(), password: password.secret().clone() };
    let client = Client::new(server.transport(), Some(credentials));
    Ok(Parts { store, server, coordinator, client, clock: clock.clone() })
}

/// Works until `stop`, or until a part ends that should not. The API answers until the last job has ended.
async fn run(
    parts: Parts,
    listener: TcpListener,
    options: &Options,
    catalogue: Catalogue,
    distributors: Vec<Configured>,
    stop: &Stop,
) -> anyhow::Result<()> {
    let serving = Stop::new();
    let mut api = JoinSet::new();
    {
        let (server, proxies, serving) = (parts.server.clone(), options.proxies.clone(), serving.clone());
        api.spawn(async move { server.serve_behind(listener, proxies, serving).await });
    }
    let mut work = start_work(&parts, options, catalogue, distributors, stop);
    let demo = if options.demo { add_demo_jobs(&parts.client).await } else { Ok(()) };
    let early = tokio::select! {
        biased;
        () = stop.asked() => Ok(()),
        Some(ended) = work.join_next() => Err(ended_early(ended)),
        Some(ended) = api.join_next() => Err(ended_early(ended)),
    };
    stop.ask();
    match options.grace.as_secs() {
        0 => say("stopping"),
        seconds => say(&format!("stopping: running jobs may take up to {seconds} seconds; again to stop at once")),
    }
    let worked = finish(work).await;
    serving.ask();
    let served = finish(api).await;
    demo.and(early).and(worked).and(served)
}

fn ended_early(ended: Result<(), JoinError>) -> anyhow::Error {
    let what = "a part of the engine has ended before it was asked to";
    match ended {
        Ok(()) => anyhow!(what),
        Err(error) => anyhow::Error::new(error).context(what),
    }
}

/// Puts everything into the one file. A request that nobody has answered may still hold the store; then the end of the
/// process closes it, which loses nothing that was answered.
async fn close(store: Arc<SqliteStore>) -> anyhow::Result<()> {
    let Some(store) = Arc::into_inner(store) else {
        tracing::warn!("requests are still open, the store is left to the end of the process");
        return Ok(());
    };
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    closed.context("closing the store has crashed")?.context("cannot close the store")
}

/// Starts the reconciler, the executor and the distributors.
fn start_work(
    parts: &Parts,
    options: &Options,
    catalogue: Catalogue,
    distributors: Vec<Configured>,
    stop: &Stop,
) -> JoinSet<()> {
    let mut work = JoinSet::new();
    let name = host_name();
    {
        let (server, name, stop) = (parts.server.clone(), name.clone(), stop.clone());
        work.spawn(async move { server.reconcile(&name, stop).await });
    }
    let executor_options = executor::Options {
        name: name.clone(),
        threads: options.threads,
        grace: options.grace,
        cimi_grace: CIMI_GRACE,
        clock: parts.clock.clone(),
    };
    let (coordinator, client) = (parts.coordinator.clone(), parts.client.clone());
    work.spawn(executor::run(executor_options, coordinator, client, catalogue, stop.clone()));
    let surroundings = Surroundings {
        coordinator: parts.coordinator.clone(),
        client: parts.client.clone(),
        marks: Arc::new(StoreMarks::new(parts.store.clone())),
        clock: parts.clock.clone(),
        name,
    };
    for distributor in distributors {
        let distributor = Arc::new(distributor);
        work.spawn(distributor::lead_and_distribute(distributor, surroundings.clone(), stop.clone()));
    }
    work
}

/// Says something to whoever started the program. Nobody has to listen: a closed pipe ends no engine.
fn say(line: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        tracing::debug!(%error, line, "nobody listens");
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: end what listens there, or choose another address with --listen")
    })
}

/// Waits for all tasks; one that panicked is an error once the others have ended.
async fn finish(mut tasks: JoinSet<()>) -> anyhow::Result<()> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(ended.context("a part of the engine has crashed"));
    }
    result
}

fn chosen_distributors(options: &Options) -> anyhow::Result<Vec<Configured>> {
    let beside = options.data_dir.join("config.toml");
    let config = match &options.config {
        Some(path) => Config::load(path)?,
        None if beside.exists() => Config::load(&beside)?,
        None => Config::default(),
    };
    let known: Vec<String> = config.distributors.iter().map(|known| known.name.clone()).collect();
    for name in options.distributors.iter().flatten().filter(|name| !name.is_empty()) {
        if !known.contains(name) {
            bail!("there is no distributor {name}, known are {}", known.join(", "));
        }
    }
    let wanted = |name: &str| match &options.distributors {
        Some(names) => names.iter().any(|wanted| wanted == name) || (options.demo && name == DEMO_DISTRIBUTOR),
        None => options.demo || name != DEMO_DISTRIBUTOR,
    };
    Ok(config.distributors.into_iter().filter(|distributor| wanted(&distributor.name)).collect())
}

fn greet(endpoint: &str, data_dir: &DataDir, password: &Password, options: &Options, distributors: &[Configured]) {
    let names: Vec<&str> = distributors.iter().map(|distributor| distributor.name.as_str()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let (version, place, data, threads) =
        (env!("CARGO_PKG_VERSION"), password.place(), data_dir.path().display(), options.threads);
    say(&format!(
        "slipstream-job {version} is up
  API           {endpoint}/api/cloud-entry-point
  user          {ADMINISTRATOR}
  password      {place}
  data          {data}
  jobs at once  {threads}
  distributors  {names}"
    ));
    if !options.listen.ip().is_loopback() {
        say(&format!("  note          plain HTTP on {}: put a proxy with TLS in front of it", options.listen));
    }
    if !options.proxies.is_empty() {
        let proxies: Vec<String> = options.proxies.iter().map(ToString::to_string).collect();
        say(&format!("  note          whoever connects from {} is believed to be anybody", proxies.join(", ")));
    }
    let program = std::env::args().next().unwrap_or_else(|| "slipstream-job".to_owned());
    let connection = match data_dir::default_path() {
        Some(default) if default == data_dir.path() => String::new(),
        _ => format!(" --ss-url {endpoint} --ss-pass PASSWORD"),
    };
    say(&format!("Ctrl-C stops it. In another terminal:\n  {program} submit {DEMO_DISTRIBUTOR} --wait{connection}"));
}

async fn add_demo_jobs(client: &Client) -> anyhow::Result<()> {
    for _ in 0..DEMO_JOBS {
        let mut job = Document::new();
        job.insert("action".to_owned(), json!(DEMO_DISTRIBUTOR));
        job.insert("targetResource".to_owned(), json!({"href": "dummy"}));
        client.add(JOB.name, &job, None).await.context("cannot add the demo jobs")?;
    }
    Ok(())
}
