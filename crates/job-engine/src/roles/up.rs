//! `slipstream-job up`: an [`Engine`] with an address, with distributors, and with somebody to talk to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;
use serde_json::json;
use slipstream_action::Catalogue;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_cimi::{Client, Document};

use super::greeting::{environment_line, notes, start_error};
use crate::config::Config;
use crate::distributor::configured::Configured;
use crate::distributor::script::found::{self, Found, RefusedScript, ScriptFile};
use crate::engine::{Engine, EngineError};
use crate::executor::UnknownAction;
use crate::executor::load::settings::Loading;
use crate::process::activity::Activity;
use crate::process::clock::Clock;
use crate::process::metrics::Metrics;
use crate::process::stop::Stop;
use crate::process::telemetry::{announce, announce_stopping, announce_up};
use crate::programs::keepers::Keepers;

/// The distributor that only `--demo` or its name in `--distributors` starts.
const DEMO_DISTRIBUTOR: &str = "dummy_test_action";
const DEMO_JOBS: usize = 10;

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
    /// What becomes of jobs whose action nobody has.
    pub unknown_action: UnknownAction,
    /// Where programs come from that do jobs.
    pub loading: Loading,
    /// Which distributors run; without any, all configured ones.
    pub distributors: Option<Vec<String>>,
    /// Folders of scripts that are distributors.
    pub scripts: Vec<PathBuf>,
    /// What the configuration files say.
    pub config: Config,
    /// Adds the dummy distributor and ten dummy jobs.
    pub demo: bool,
    /// What is counted.
    pub metrics: Metrics,
}

/// Runs until `stop`, with the actions of `catalogue`.
pub async fn up(
    options: Options,
    catalogue: Catalogue,
    clock: Clock,
    activity: Activity,
    stop: Stop,
) -> anyhow::Result<()> {
    activity.has_role("up", &options.listen.to_string());
    let Distributors { configured: distributors, scripts, refused } = chosen_distributors(&options)?;
    let keepers =
        Keepers::of_executor().context("cannot prepare this process for programs, allow it the system call prctl")?;
    let engine = Engine::builder()
        .folder(&options.data_dir)
        .listen(options.listen)
        .proxies(options.proxies.clone())
        .slots(options.threads)
        .grace(options.grace)
        .attempts(options.max_attempts)
        .unknown_action(options.unknown_action)
        .programs(options.loading.clone(), keepers)
        .distributors(distributors.clone())
        .collections(options.config.collections.clone())
        .scripts(scripts.clone(), refused)
        .catalogue(catalogue)
        .metrics(options.metrics.clone())
        .clock(clock)
        .activity(activity.clone())
        .stopped_by(stop.clone());
    let engine = match engine.start().await {
        Ok(engine) => engine,
        Err(EngineError::Stopped) => {
            announce("stopped");
            return Ok(());
        }
        Err(EngineError::Instance(error)) => return Err(start_error(error, "choose another with --data-dir")),
        Err(error) => return Err(error.into()),
    };
    let distributors = distributors.iter().map(|distributor| &*distributor.name);
    greet(
        &activity,
        &engine,
        &options,
        &distributors.chain(scripts.iter().map(|script| &*script.name)).collect::<Vec<_>>(),
    );
    let demo = if options.demo { add_demo_jobs(engine.client()).await } else { Ok(()) };
    stop.asked().await;
    announce_stopping(&activity, "running jobs", options.grace);
    let ran = stop.in_time(options.grace, engine.stop()).await?;
    announce("stopped");
    demo.and(ran.map_err(Into::into))
}

/// The distributors of this engine.
struct Distributors {
    configured: Vec<Configured>,
    scripts: Vec<ScriptFile>,
    refused: Vec<RefusedScript>,
}

/// A script takes the place of what is configured under its name.
fn chosen_distributors(options: &Options) -> anyhow::Result<Distributors> {
    let config = options.config.clone();
    let found = found::find(&options.scripts);
    for wrong in found.complaints() {
        tracing::error!("cannot load a script: {wrong}");
    }
    let Found { mut scripts, mut refused, .. } = found;
    let is_script = |name: &str| scripts.iter().any(|script| script.name == name);
    for name in options.distributors.iter().flatten().filter(|name| !name.is_empty() && !is_script(name)) {
        config.distributor(name)?;
    }
    let wanted = |name: &str| match &options.distributors {
        Some(names) => names.iter().any(|wanted| wanted == name) || (options.demo && name == DEMO_DISTRIBUTOR),
        None => options.demo || name != DEMO_DISTRIBUTOR,
    };
    let configured = config.distributors.into_iter().filter(|one| wanted(&one.name) && !is_script(&one.name)).collect();
    scripts.retain(|script| wanted(&script.name));
    refused.retain(|script| wanted(&script.name));
    Ok(Distributors { configured, scripts, refused })
}

fn greet(activity: &Activity, engine: &Engine, options: &Options, names: &[&str]) {
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let endpoint = engine.endpoint().expect("it was asked to listen");
    let (version, place, data, threads) =
        (env!("CARGO_PKG_VERSION"), engine.password().place(), engine.folder().display(), options.threads);
    let mut lines = vec![format!(
        "slipstream-job {version} is up
  API           {endpoint}/api/cloud-entry-point
  dashboard     {endpoint}/ui/
  user          {ADMINISTRATOR}
  password      {place}
  data          {data}
  jobs at once  {threads}
  distributors  {names}"
    )];
    lines.extend(notes(options.listen, &options.proxies));
    let program = std::env::args().next().unwrap_or_else(|| "slipstream-job".to_owned());
    let place = environment_line(engine.folder()).unwrap_or_default();
    lines.push(format!("Ctrl-C stops it. In another terminal:{place}\n  {program} submit {DEMO_DISTRIBUTOR} --wait"));
    announce_up(activity, &lines.join("\n"));
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
