//! `cargo xtask bench embedded`: what an engine in one process does in a second, and what that costs.
//!
//! The engine is put together as `slipstream-job up` does it, with its store in a file; the action ends at once. Figures
//! are medians of several runs. Beside each stands its ratio to something simpler that was measured in the same
//! invocation, because machines and disks differ.

mod backlog;
mod baseline;
pub mod bulk;
mod components;
mod counter;
pub mod drain;
pub mod engine;
pub mod flow;
pub mod load;
mod meters;
mod metrics;
pub mod process;

use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::Subcommand;

use self::baseline::Raw;
use self::flow::Way;
use self::load::Stores;
use self::process::Spent;
use crate::figures::{self, Figure, Report, percentile};

/// Names that `--only` takes.
const NAMES: [&str; 10] = [
    "drain-20000",
    "drain-200000",
    "drain-backlog",
    "adds-and-drain",
    "adds-and-drain-http",
    "submit",
    "bulk-add",
    "pickup",
    "components",
    "metrics",
];
/// Jobs of each run unless somebody says otherwise, and many.
const FEW: u64 = 20_000;
const MANY: u64 = 200_000;

/// Over HTTP each has a connection beside those of the executor, and a server takes 512.
const MOST_SUBMITTERS: usize = 256;

/// What this program is asked to do.
#[derive(Subcommand)]
pub enum Task {
    /// Measures what an engine in one process does in a second, and what that costs
    #[command(override_usage = "cargo xtask bench embedded [OPTIONS]")]
    Run(Options),
    /// One run of `drain-backlog`
    #[command(hide = true)]
    BacklogFew { store: PathBuf, jobs: u64 },
    /// One run of `drain-backlog`
    #[command(hide = true)]
    BacklogMany { store: PathBuf, jobs: u64 },
    /// Prints two reports side by side
    Compare {
        /// The report of before
        before: PathBuf,
        /// The report of after
        after: PathBuf,
    },
}

#[derive(clap::Args)]
pub struct Options {
    /// Jobs of each run, instead of 20,000; then nothing is measured with 200,000
    #[arg(long)]
    jobs: Option<u64>,
    /// Jobs that wait at the large backlog
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
    /// Submitters, each of which adds one job at a time
    #[arg(long, default_value_t = 64)]
    submitters: usize,
    /// Runs of which each figure is the median
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only these measurements
    #[arg(long, value_delimiter = ',', value_parser = NAMES)]
    only: Vec<String>,
    /// Where the figures go as JSON; seen from the root of the project [default: target/bench/embedded.json]
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where stores are kept meanwhile, and the figures: on the disk that is to be measured
    #[arg(long, hide = true)]
    folder: PathBuf,
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

/// What all measurements share.
pub struct Bench {
    stores: Stores,
    report: Report,
    runs: usize,
    jobs: u64,
    submitters: usize,
    raw: Raw,
}

/// Does it.
pub async fn perform(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Run(options) => run(options).await,
        Task::BacklogFew { store, jobs } => backlog::few(&store, jobs).await,
        Task::BacklogMany { store, jobs } => backlog::many(&store, jobs).await,
        Task::Compare { before, after } => figures::compare(&before, &after),
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(options.runs > 0, "--runs takes a number from 1");
    ensure!(options.jobs != Some(0), "--jobs takes a number from 1");
    ensure!(
        options.submitters > 0 && options.submitters <= MOST_SUBMITTERS,
        "--submitters takes 1 to {MOST_SUBMITTERS}"
    );
    std::fs::create_dir_all(&options.folder)?;
    let folder = tempfile::Builder::new().prefix("stores-").tempdir_in(&options.folder)?;
    let report = Report::new(options.commit, options.machine, options.command);
    let stores = Stores::new(folder.path());
    let (runs, submitters) = (options.runs, options.submitters);
    let jobs = options.jobs.unwrap_or(FEW);
    let mut bench = Bench { stores, report, runs, jobs, submitters, raw: Raw::default() };
    baselines(&mut bench).await?;
    for name in NAMES.into_iter().filter(|name| options.only.is_empty() || options.only.iter().any(|only| only == name))
    {
        match name {
            "drain-20000" => drain::run(&mut bench, jobs).await?,
            "drain-200000" if options.jobs.is_none() => drain::run(&mut bench, MANY).await?,
            "drain-200000" => {}
            "drain-backlog" => backlog::run(&mut bench, options.backlog).await?,
            "adds-and-drain" => flow::adds_and_drain(&mut bench, Way::InProcess).await?,
            "adds-and-drain-http" => flow::adds_and_drain(&mut bench, Way::Http).await?,
            "submit" => flow::submits(&mut bench).await?,
            "bulk-add" => bulk::run(&mut bench).await?,
            "pickup" => flow::pickup(&mut bench).await?,
            "components" => components::run(&mut bench).await?,
            "metrics" => metrics::run(&mut bench, jobs, options.backlog).await?,
            name => bail!("there is no measurement {name}"),
        }
    }
    let json = options.json.unwrap_or_else(|| options.folder.join("embedded.json"));
    bench.report.write(&json)?;
    println!("\nwritten      {}", json.display());
    Ok(())
}

/// What the figures are compared with.
async fn baselines(bench: &mut Bench) -> anyhow::Result<()> {
    Report::about(
        "raw SQLite: one connection, a table of two columns, the document of a finished job, 256 changes in each \
         durable transaction; finishing is two updates a job. sync: 4 KiB and fdatasync",
    );
    let document = baseline::finished_document(&bench.stores.fresh()).await?;
    let mut runs = Vec::new();
    for _ in 0..bench.runs {
        runs.push(baseline::raw(&bench.stores.fresh(), &document)?);
    }
    let syncs = baseline::syncs(&bench.stores.fresh())?;
    let rate = |spent: fn(&Raw) -> Spent| runs.iter().map(|raw| spent(raw).rate(raw.rows)).collect();
    let report = &mut bench.report;
    report.add(Figure::new("raw SQLite inserts", "jobs/s", rate(|raw| raw.insert)));
    report.add(Figure::new("raw SQLite finishing", "jobs/s", rate(|raw| raw.finish)));
    for percent in [50, 99] {
        report.add(Figure::new(format!("sync p{percent}"), "ms", vec![percentile(&syncs, percent)]));
    }
    runs.sort_by_key(|raw| raw.finish.time);
    bench.raw = runs[runs.len() / 2];
    Ok(())
}
