//! `cargo xtask bench dashboard`: what the dashboard costs an engine, and how soon its pages are there, over a store with
//! very many jobs.
//!
//! The engine is a process of its own, put together as `slipstream-job up` does it. Viewers are connections of this
//! process, each with a session and, where it is said, an open stream; they compete with the engine for the processor.

mod site;
mod viewers;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use futures_util::future::try_join_all;
use serde_json::json;
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_cimi::{Client, Credentials};
use tokio::process::Command;

use self::viewers::{Audience, LOOK, Viewer, pages};
use crate::arrays::Bulk;
use crate::embedded::engine::{PASSWORD, job};
use crate::embedded::load::{ARRAY, SUBMITTERS};
use crate::embedded::process::count;
use crate::figures::{Figure, Report, median, percentile};
use crate::hosts::processes::cpu;
use crate::peers::program;
use crate::query::documents::{BUSY_USER, RARE_USER};

/// Users without administration: one with very many jobs and one with three.
const USERS: [&str; 2] = [BUSY_USER, RARE_USER];
/// Viewers of each page: a hundred of twenty.
const VIEWERS: usize = 5;
/// Open pages of an engine that has nothing to do.
const IDLE: usize = 10;
/// Jobs added in one array, and arrays in a second: each job is added, begun and ended, a thousand changes.
const FLOW: u64 = 34;
const FLOWS: u64 = 10;
/// Longest wait for the engine to have nothing to do: it then uses less than a hundredth of a core for so long.
const SOON: Duration = Duration::from_mins(2);
const MOMENT: Duration = Duration::from_secs(2);
/// What is drawn by a browser so often.
const DRAWN: usize = 11;

/// What this program is asked to do.
#[derive(Subcommand)]
pub enum Task {
    /// Measures what the dashboard costs, and how soon its pages are there
    #[command(override_usage = "cargo xtask bench dashboard [OPTIONS]")]
    Run(Options),
    /// The process of the engine
    #[command(hide = true)]
    Obey { store: PathBuf },
}

#[derive(clap::Args)]
pub struct Options {
    /// Jobs in the store
    #[arg(long, default_value_t = 1_000_000)]
    stored: u64,
    /// Jobs of each drain
    #[arg(long, default_value_t = 20_000)]
    jobs: u64,
    /// Drains with viewers and without, in turns
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How long pages are looked at while jobs are done, and how long an idle engine is watched
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the figures go as JSON; seen from the root of the project [default: target/bench/dashboard.json]
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where the store is kept meanwhile, and the figures: on the disk that is to be measured
    #[arg(long, hide = true)]
    folder: PathBuf,
    /// An interpreter with Playwright; nothing is drawn without one
    #[arg(long, hide = true)]
    python: Option<PathBuf>,
    /// What is measured
    #[arg(long, hide = true)]
    commit: String,
    /// On what
    #[arg(long, hide = true)]
    machine: String,
    /// The command line, for the report
    #[arg(long, hide = true)]
    command: String,
}

/// Does it.
pub async fn perform(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Run(options) => run(options).await,
        Task::Obey { store } => site::obey(&store).await,
    }
}

/// The engine, and who asks it.
struct World {
    engine: program::Program,
    endpoint: String,
    bulk: Bulk,
    viewers: Vec<Viewer>,
}

async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(
        options.runs > 0 && options.seconds > 0 && options.jobs > 0,
        "--runs, --seconds and --jobs take numbers from 1"
    );
    std::fs::create_dir_all(&options.folder)?;
    let folder = tempfile::Builder::new().prefix("dashboard-").tempdir_in(&options.folder)?;
    let mut report = Report::new(options.commit.clone(), options.machine.clone(), options.command.clone());
    println!("load         {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    let store = folder.path().join("jobs.db");
    site::fill(&store, options.stored).await?;
    let mut world = World::start(&store).await?;
    sizes(&mut report, &world).await?;
    drawn(&mut report, &world, options.python.as_deref()).await?;
    idle(&mut report, &world, Duration::from_secs(options.seconds)).await?;
    looks(&mut report, &mut world, Duration::from_secs(options.seconds)).await?;
    drains(&mut report, &mut world, &options).await?;
    world.engine.end().await?;
    println!("\nload         {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    let json = options.json.unwrap_or_else(|| options.folder.join("dashboard.json"));
    report.write(&json)?;
    println!("written      {}", json.display());
    Ok(())
}

impl World {
    async fn start(store: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["dashboard", "obey"]).arg(store);
        let mut engine = program::Program::start(command)?;
        let endpoint = engine.ask("where").await?.about.context("it says where it listens")?;
        let transport = Arc::new(HttpTransport::new(&endpoint, false, SOON)?);
        let bulk = Bulk::log_in(transport.clone(), PASSWORD, job()).await?.context("this server takes no arrays")?;
        let administrator = Credentials { username: ADMINISTRATOR.to_owned(), password: PASSWORD.into() };
        let client = Client::new(transport, Some(administrator));
        for name in USERS {
            let user = json!({"username": name, "password": PASSWORD});
            client.add("user", user.as_object().expect("an object"), None).await?;
        }
        let mut viewers = Vec::new();
        for page in pages().into_iter().flat_map(|page| vec![page; VIEWERS]) {
            viewers.push(Viewer::log_in(&endpoint, page).await?);
        }
        Ok(Self { engine, endpoint, bulk, viewers })
    }

    fn used(&self) -> anyhow::Result<Duration> {
        Ok(cpu(self.engine.process().context("the engine has ended")?))
    }

    /// Adds jobs while nobody works, and waits until all is written.
    async fn queue(&self, jobs: u64) -> anyhow::Result<()> {
        self.bulk.add(jobs, ARRAY, SUBMITTERS).await?;
        self.settled().await
    }

    /// Waits until the engine has nothing to do.
    async fn settled(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut used = self.used()?;
        loop {
            tokio::time::sleep(MOMENT).await;
            let before = std::mem::replace(&mut used, self.used()?);
            if used.saturating_sub(before) < MOMENT / 100 {
                return Ok(());
            }
            ensure!(begun.elapsed() < SOON, "waited in vain: the engine has nothing to do");
        }
    }
}

async fn sizes(report: &mut Report, world: &World) -> anyhow::Result<()> {
    Report::about("sizes: each page with style, script and icon, without compression; the largest of all");
    let sizes = try_join_all(world.viewers.iter().step_by(VIEWERS).map(Viewer::size)).await?;
    let kib = |size: usize| count(size as u64) / 1_024.0;
    let (all, script) = (sizes.iter().map(|size| size.0).max(), sizes.iter().map(|size| size.1).max());
    report.add(Figure::new("largest page", "KiB", all.map(kib).into_iter().collect()).at_most(100.0));
    report.add(Figure::new("script", "KiB", script.map(kib).into_iter().collect()).at_most(8.0));
    Ok(())
}

async fn drawn(report: &mut Report, world: &World, python: Option<&Path>) -> anyhow::Result<()> {
    let Some(python) = python else { return Ok(()) };
    Report::about("drawn: Jobs in a browser that was never there, from the request to the first paint with content");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dashboard/first_page.py");
    let mut command = Command::new(python);
    command.args([script, &world.endpoint, PASSWORD, &DRAWN.to_string()]).stderr(Stdio::inherit());
    let output = command.output().await?;
    ensure!(output.status.success(), "the browser failed: {}", output.status);
    let drawn: Vec<f64> = serde_json::from_slice(&output.stdout)?;
    report.add(Figure::new("first page drawn", "ms", drawn).at_most(300.0));
    Ok(())
}

async fn idle(report: &mut Report, world: &World, watched: Duration) -> anyhow::Result<()> {
    Report::about(&format!("idle: {IDLE} different pages open, and nothing to do for {} s", watched.as_secs()));
    let of_each = world.viewers.iter().step_by(2 * VIEWERS).take(IDLE).cloned().collect();
    let mut audience = Audience::of(of_each);
    let busy = audience
        .watch_while(async {
            world.settled().await?;
            let before = world.used()?;
            tokio::time::sleep(watched).await;
            Ok(world.used()?.saturating_sub(before).as_secs_f64() / watched.as_secs_f64() * 100.0)
        })
        .await?;
    report.add(Figure::new(format!("idle, {IDLE} open pages"), "% of a core", vec![busy]).at_most(0.01));
    Ok(())
}

async fn looks(report: &mut Report, world: &mut World, watched: Duration) -> anyhow::Result<()> {
    let (viewers, pages) = (world.viewers.len(), world.viewers.len() / VIEWERS);
    Report::about(&format!(
        "looks: {viewers} viewers of {pages} pages, each with its stream open, load theirs every five seconds while jobs \
         are added, begun and ended"
    ));
    world.engine.ask("work").await?;
    let mut audience = Audience::of(world.viewers.clone());
    let bulk = world.bulk.clone();
    let (changes, times) = audience.look_while(async move { flow(&bulk, watched).await }).await?;
    world.engine.ask("rest").await?;
    let times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
    report.add(Figure::new("changes", "a second", vec![changes]).at_least(990.0));
    report.add(Figure::new("pages", "a second", vec![count(times.len() as u64) / watched.as_secs_f64()]));
    report.add(Figure::new("page p50", "ms", vec![percentile(&times, 50)]).at_most(10.0));
    report.add(Figure::new("page p99", "ms", vec![percentile(&times, 99)]).at_most(50.0));
    Ok(())
}

/// Adds jobs at an even rate; answers how many changes that were in a second.
async fn flow(bulk: &Bulk, watched: Duration) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let arrays = watched.as_secs() * FLOWS;
    for array in 0..arrays {
        let due = begin + Duration::from_secs(1) * u32::try_from(array)? / u32::try_from(FLOWS)?;
        tokio::time::sleep_until(due.into()).await;
        bulk.post(FLOW).await?;
    }
    Ok(count(arrays * FLOW * 3) / begin.elapsed().max(watched).as_secs_f64())
}

/// What a drain took.
struct Drained {
    rate: f64,
    cpu: f64,
}

async fn drains(report: &mut Report, world: &mut World, options: &Options) -> anyhow::Result<()> {
    let (viewers, jobs) = (world.viewers.len(), options.jobs);
    Report::about(&format!(
        "drains: {jobs} jobs queued beforehand, without anybody and with {viewers} viewers as above, in turns"
    ));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        world.queue(jobs).await?;
        without.push(drain(&mut world.engine, jobs).await?);
        world.queue(jobs).await?;
        let mut audience = Audience::of(world.viewers.clone());
        let engine = &mut world.engine;
        let drain = async {
            // until each has looked once
            tokio::time::sleep(LOOK).await;
            drain(engine, jobs).await
        };
        with.push(audience.look_while(drain).await?.0);
    }
    let rates = |all: &[Drained]| all.iter().map(|drained| drained.rate).collect::<Vec<_>>();
    let cpu = |all: &[Drained]| all.iter().map(|drained| drained.cpu).collect::<Vec<_>>();
    report.add(Figure::new("drain without viewers", "jobs/s", rates(&without)));
    report.add(Figure::new("  engine's CPU", "ms/job", cpu(&without)));
    report.add(Figure::new("drain with viewers", "jobs/s", rates(&with)));
    report.add(Figure::new("  engine's CPU", "ms/job", cpu(&with)));
    let ratios: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with.rate / without.rate * 100.0).collect();
    report.add(Figure::new("drain with viewers to without", "%", vec![median(&ratios)]).at_least(95.0));
    Ok(())
}

async fn drain(engine: &mut program::Program, jobs: u64) -> anyhow::Result<Drained> {
    let each = engine.ask(&format!("drain {jobs}")).await?.each;
    let [time, cpu] = each[..] else { bail!("a drain was answered {each:?}") };
    let seconds = |nanoseconds: u64| Duration::from_nanos(nanoseconds).as_secs_f64();
    Ok(Drained { rate: count(jobs) / seconds(time), cpu: seconds(cpu) * 1_000.0 / count(jobs) })
}
