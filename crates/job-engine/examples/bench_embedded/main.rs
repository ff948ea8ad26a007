//! `cargo xtask bench embedded`: what an engine in one process does in a second, and what that costs.
//!
//! The engine is put together as `slipstream-job up` does it, with its store in a file; the action ends at once. Figures
//! are medians of several runs. Beside each stands its ratio to something simpler that was measured in the same
//! invocation, because machines and disks differ.

mod baseline;
mod components;
mod counter;
mod drain;
mod engine;
mod figures;
mod flow;
mod load;
mod meters;
mod process;

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Parser, Subcommand};

use self::baseline::Raw;
use self::figures::{Figure, Report, percentile};
use self::flow::Way;
use self::load::Stores;
use self::process::Spent;

/// Names that `--only` takes.
const NAMES: [&str; 6] = ["drain", "adds-and-drain", "adds-and-drain-http", "submit", "pickup", "components"];
/// Jobs drained unless somebody says otherwise: a few, and many.
const DRAINED: [u64; 2] = [20_000, 200_000];

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures
    Run(Options),
    /// Prints two reports side by side
    Compare {
        /// The report of before
        before: PathBuf,
        /// The report of after
        after: PathBuf,
    },
}

#[derive(clap::Args)]
struct Options {
    /// Jobs of each run, instead of 20,000 (and, for draining, 200,000)
    #[arg(long)]
    jobs: Option<u64>,
    /// Submitters, each of which adds one job at a time
    #[arg(long, default_value_t = 64)]
    submitters: usize,
    /// Runs of which each figure is the median
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only these measurements
    #[arg(long, value_delimiter = ',', value_parser = NAMES)]
    only: Vec<String>,
    /// Where the figures go as JSON
    #[arg(long)]
    json: PathBuf,
    /// Where stores are kept meanwhile: on the disk that is to be measured
    #[arg(long)]
    folder: PathBuf,
    /// What is measured
    #[arg(long)]
    commit: String,
    /// On what
    #[arg(long)]
    machine: String,
    /// The command line, for the report
    #[arg(long)]
    command: String,
}

/// What all measurements share.
struct Bench {
    stores: Stores,
    report: Report,
    runs: usize,
    jobs: u64,
    submitters: usize,
    raw: Raw,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Run(options) => run(options).await,
        Task::Compare { before, after } => figures::compare(&before, &after),
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(options.runs > 0, "--runs takes a number from 1");
    ensure!(options.jobs != Some(0), "--jobs takes a number from 1");
    std::fs::create_dir_all(&options.folder)?;
    let folder = tempfile::tempdir_in(&options.folder)?;
    let report = Report::new(options.commit, options.machine, options.command);
    let stores = Stores::new(folder.path());
    let (runs, submitters) = (options.runs, options.submitters);
    let jobs = options.jobs.unwrap_or(DRAINED[0]);
    let mut bench = Bench { stores, report, runs, jobs, submitters, raw: Raw::default() };
    baselines(&mut bench).await?;
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    if wanted("drain") {
        for jobs in options.jobs.map_or(DRAINED.to_vec(), |jobs| vec![jobs]) {
            drain::run(&mut bench, jobs).await?;
        }
    }
    for (name, way) in [("adds-and-drain", Way::InProcess), ("adds-and-drain-http", Way::Http)] {
        if wanted(name) {
            flow::adds_and_drain(&mut bench, way).await?;
        }
    }
    if wanted("submit") {
        flow::submits(&mut bench).await?;
    }
    if wanted("pickup") {
        flow::pickup(&mut bench).await?;
    }
    if wanted("components") {
        components::run(&mut bench).await?;
    }
    bench.report.write(&options.json)?;
    println!("\nwritten      {}", options.json.display());
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
