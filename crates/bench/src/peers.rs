//! `cargo xtask bench peers`: other job engines beside this one, measured in turns in one run, with jobs that do nothing.
//!
//! Each measurement of a product is made by a program of its own, which is told what to do by one protocol
//! (`program.rs`), beside a database server of its own, if it needs one: nothing of another product runs meanwhile. What
//! else the machine does meets all alike, as they take turns; so ratios are taken turn by turn.

mod cpu;
mod measure;
mod ours;
mod product;
pub mod program;
mod servers;
mod table;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Subcommand;

use self::measure::{Measurement, Seen, about};
use self::product::{Contestant, Product};
use crate::embedded::bulk::MORE;
use crate::embedded::flow::{FEW as FEW_SUBMITTERS, PICKUPS};
use crate::figures::Report;

/// Names that `--only` takes.
const NAMES: [&str; 6] = ["drain-20000", "drain-200000", "submit-8", "submit-64", "bulk-add", "pickup"];
/// Jobs of each run unless somebody says otherwise, and many.
const FEW: u64 = 20_000;
const MANY: u64 = 200_000;
/// Submitters of the second `submit`.
const MANY_SUBMITTERS: usize = 64;

/// What each product saw in one turn.
type Turn = BTreeMap<Product, Seen>;

/// What this program is asked to do.
#[derive(Subcommand)]
pub enum Task {
    /// Measures other job engines beside this one
    #[command(override_usage = "cargo xtask bench peers [OPTIONS]")]
    Run(Box<Options>),
    /// The program of ours, which does what it is told
    #[command(hide = true)]
    Obey { store: PathBuf },
}

#[derive(clap::Args)]
pub struct Options {
    /// Jobs of each run, instead of 20,000; then nothing is measured with 200,000
    #[arg(long)]
    jobs: Option<u64>,
    /// Turns of which each figure is the median
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only these measurements
    #[arg(long, value_delimiter = ',', value_parser = NAMES)]
    only: Vec<String>,
    /// Only these engines beside ours [default: graphile,river,asynq]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Product>,
    /// Where the figures go as JSON; seen from the root of the project [default: target/bench/peers.json]
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where jobs are kept meanwhile, and the figures: on the disk that is to be measured
    #[arg(long, hide = true)]
    folder: PathBuf,
    /// The folder of `PostgreSQL`'s programs
    #[arg(long, hide = true)]
    postgres: Option<PathBuf>,
    /// The program of Redis
    #[arg(long, hide = true)]
    redis: Option<PathBuf>,
    /// The programs of the peers
    #[arg(long, hide = true)]
    graphile: Option<PathBuf>,
    #[arg(long, hide = true)]
    river: Option<PathBuf>,
    #[arg(long, hide = true)]
    asynq: Option<PathBuf>,
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
        Task::Run(options) => run(*options).await,
        Task::Obey { store } => ours::obey(&store).await,
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(options.runs > 0, "--runs takes a number from 1");
    ensure!(options.jobs != Some(0), "--jobs takes a number from 1");
    std::fs::create_dir_all(&options.folder)?;
    // a server runs as somebody else, who has to get there
    let everybody = Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().prefix("peers-").permissions(everybody).tempdir_in(&options.folder)?;
    let mut report = Report::new(options.commit.clone(), options.machine.clone(), options.command.clone());
    println!("load         {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    let mut contestants = contestants(&options, folder.path()).await?;
    for measurement in measurements(&options) {
        Report::about(&measurement.about());
        let turns = turns(measurement, &mut contestants, options.runs, folder.path()).await?;
        table::show(&mut report, measurement, &turns);
    }
    println!("\nload         {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    let json = options.json.unwrap_or_else(|| options.folder.join("peers.json"));
    report.write(&json)?;
    println!("written      {}", json.display());
    Ok(())
}

/// What is asked for, in order.
fn measurements(options: &Options) -> Vec<Measurement> {
    let jobs = options.jobs.unwrap_or(FEW);
    let wanted = |name: &&str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let of_name = |name| {
        Some(match name {
            "drain-20000" => Measurement::Drain { jobs },
            "drain-200000" if options.jobs.is_some() => return None,
            "drain-200000" => Measurement::Drain { jobs: MANY },
            "submit-8" => Measurement::Submit { submitters: FEW_SUBMITTERS, jobs },
            "submit-64" => Measurement::Submit { submitters: MANY_SUBMITTERS, jobs },
            "bulk-add" => Measurement::Bulk { jobs: jobs * MORE },
            _ => Measurement::Pickup { jobs: jobs.min(PICKUPS) },
        })
    };
    NAMES.into_iter().filter(wanted).filter_map(of_name).collect()
}

/// Ours, and the peers that work here; each is tried, and says what it is.
async fn contestants(options: &Options, folder: &Path) -> anyhow::Result<Vec<Contestant>> {
    let ours = Contestant::ours()?;
    println!("{:<12} {}", ours.product.name(), about(&ours, folder).await.context("ours does not work")?);
    let mut contestants = vec![ours];
    let peers = if options.peers.is_empty() { &Product::PEERS[..] } else { &options.peers };
    for &product in peers {
        let said = match Contestant::peer(product, options) {
            None => "not measured: it is not installed".to_owned(),
            Some(peer) => match about(&peer, folder).await {
                Ok(about) => {
                    contestants.push(peer);
                    about
                }
                Err(error) => format!("not measured: {error:#}"),
            },
        };
        println!("{:<12} {said}", product.name());
    }
    Ok(contestants)
}

/// So many turns, each of which begins with another product. A peer that fails is left out from then on.
async fn turns(
    measurement: Measurement,
    contestants: &mut Vec<Contestant>,
    runs: usize,
    folder: &Path,
) -> anyhow::Result<Vec<Turn>> {
    let mut turns = vec![Turn::new(); runs];
    for number in 0..runs {
        let mut order = contestants.clone();
        let first = number % order.len();
        order.rotate_left(first);
        for contestant in order {
            let product = contestant.product;
            eprintln!("{}: turn {} of {runs}, {}", measurement.name(), number + 1, product.name());
            match measurement.of(&contestant, folder).await {
                Ok(seen) => turns[number].extend(seen.map(|seen| (product, seen))),
                Err(error) if product == Product::Ours => return Err(error),
                Err(error) => {
                    println!("{} is measured no more: {error:#}", product.name());
                    contestants.retain(|contestant| contestant.product != product);
                    for turn in &mut turns {
                        turn.remove(&product);
                    }
                }
            }
        }
    }
    Ok(turns)
}
