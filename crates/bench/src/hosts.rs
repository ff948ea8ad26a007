//! `cargo xtask bench hosts`: what actions cost that are programs, beside those in the engine's own process.
//!
//! One engine with its store in a file does jobs of all kinds, in turns, so that what else the machine does meets all alike.
//! Each figure is the median of several turns. Keepers are the program `slipstream-job` of the same build.

mod alone;
mod folder;
pub mod processes;
mod rates;
mod starts;
mod stops;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::ensure;
use clap::Subcommand;
use slipstream_action::{Catalogue, Failure, JobHandle, Success, host};

use self::world::World;
use crate::figures::Report;

/// The first argument by which this program is a host in Rust.
pub const HOST: &str = "host";
/// Jobs at once.
const SLOTS: usize = 64;

/// What this program is asked to do.
#[derive(Subcommand)]
pub enum Task {
    /// Measures what actions cost that are programs
    #[command(override_usage = "cargo xtask bench hosts [OPTIONS]")]
    Run(Options),
    /// An executor that is to be killed
    #[command(hide = true)]
    Victim {
        /// Where its files are
        folder: PathBuf,
        /// The interpreter of its class files
        python: PathBuf,
    },
}

#[derive(clap::Args)]
pub struct Options {
    /// Jobs of each kind in each turn; of commands a twentieth
    #[arg(long, default_value_t = 10_000)]
    jobs: u64,
    /// Turns of which each figure is the median
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// The interpreter of class files: the program itself, and no script that looks for one [default: the one that python3 is]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where the figures go as JSON; seen from the root of the project [default: target/bench/hosts.json]
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where the store is kept meanwhile, and the figures: on the disk that is to be measured
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

/// Does it.
pub async fn perform(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Run(options) => run(options).await,
        Task::Victim { folder, python } => stops::be_killed(&folder, python).await,
    }
}

/// A host with one action, which succeeds at once.
pub fn serve() -> ExitCode {
    host::run(Catalogue::new().with("rust", noop))
}

/// Succeeds at once.
async fn noop(_job: JobHandle) -> Result<Success, Failure> {
    Ok(Success::default())
}

/// What is behind the name python3, which may be a script that costs more than the interpreter.
fn interpreter() -> anyhow::Result<PathBuf> {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable, end='')"]).output()?;
    ensure!(asked.status.success() && !asked.stdout.is_empty(), "there is no python3: name one with --python");
    Ok(PathBuf::from(String::from_utf8(asked.stdout)?))
}

fn version(python: &Path) -> anyhow::Result<String> {
    let asked = Command::new(python).arg("-V").output()?;
    ensure!(asked.status.success(), "{} is no Python", python.display());
    Ok(String::from_utf8(asked.stdout)?.trim().to_owned())
}

async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(options.runs > 0, "--runs takes a number from 1");
    ensure!(options.jobs >= 20, "--jobs takes a number from 20");
    std::fs::create_dir_all(&options.folder)?;
    let folder = tempfile::Builder::new().prefix("hosts-").tempdir_in(&options.folder)?;
    let mut report = Report::new(options.commit, options.machine, options.command);
    println!("load         {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    let python = options.python.map_or_else(interpreter, Ok)?;
    println!("python       {}", version(&python)?);
    let world = World::start(folder.path(), python).await?;
    rates::run(&mut report, &world, options.jobs, options.runs).await?;
    alone::run(&mut report, &world, options.runs).await?;
    starts::run(&mut report, &world, options.runs).await?;
    stops::run(&mut report, &world, options.runs).await?;
    world.stop().await?;
    println!("\nload         {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    let json = options.json.unwrap_or_else(|| options.folder.join("hosts.json"));
    report.write(&json)?;
    println!("written      {}", json.display());
    Ok(())
}
