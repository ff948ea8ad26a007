//! `cargo xtask bench zookeeper`: what a site does in a second, and what that costs.
//!
//! A real `ZooKeeper` of its own, a server and executors, each in a process of its own; the action ends at once. While
//! the backlog is held at its size by adding as many jobs as are done, jobs, requests and processor time are counted
//! between two moments. All jobs are checked to be done in the end, and the queue to be empty.

mod flow;
mod handover;
mod pickup;
mod raw;
mod roles;
mod site;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use self::flow::Sustained;
use self::site::Site;
use crate::figures::{Figure, Report};

/// What this program is asked to do.
#[derive(Subcommand)]
pub enum Task {
    /// Measures what a site does in a second, and what that costs
    #[command(override_usage = "cargo xtask bench zookeeper [OPTIONS]")]
    Run(Options),
    /// The process of the server
    #[command(hide = true)]
    Serve { hosts: String, store: PathBuf },
    /// The process of an executor
    #[command(hide = true)]
    Execute { hosts: String, endpoint: String, name: String, threads: usize },
}

#[derive(clap::Args)]
pub struct Options {
    /// Jobs that wait all the while [default: measures at 1,000, 20,000 and 1,000,000]
    #[arg(long)]
    backlog: Option<u64>,
    /// Executors [default: measures with 1, 2 and 4]
    #[arg(long)]
    executors: Option<usize>,
    /// Jobs at once of each executor
    #[arg(long, default_value_t = 128)]
    threads: usize,
    /// Idle executors whose cost is measured
    #[arg(long, default_value_t = 16)]
    idle: usize,
    /// Length of each measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Only this: flow, executors, idle, pickup, handover, million
    #[arg(long, value_delimiter = ',', value_parser = NAMES)]
    only: Vec<String>,
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

/// Names that `--only` takes.
const NAMES: [&str; 6] = ["flow", "executors", "idle", "pickup", "handover", "million"];
/// Backlogs unless somebody says otherwise.
const FEW: u64 = 1_000;
const SOME: u64 = 20_000;
const MANY: u64 = 1_000_000;
/// How often each number of executors is measured.
const TURNS: usize = 5;
/// Jobs in a second beside idle executors, fewer than one executor can do.
const LEISURE: u64 = 1_000;

/// Does it.
pub async fn perform(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Run(options) => run(options).await,
        Task::Serve { hosts, store } => roles::serve(&hosts, &store).await,
        Task::Execute { hosts, endpoint, name, threads } => roles::execute(&hosts, &endpoint, name, threads).await,
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.folder)?;
    let mut report = Report::new(options.commit.clone(), options.machine.clone(), options.command.clone());
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let one_case = options.backlog.is_some() || options.executors.is_some();
    let raw = raw::run(&mut report).await?;
    if one_case {
        let (backlog, executors) = (options.backlog.unwrap_or(FEW), options.executors.unwrap_or(1));
        sustained(&mut report, raw, &options, backlog, executors).await?;
        return Ok(());
    }
    let mut few = None;
    if wanted("flow") || wanted("million") {
        few = Some(sustained(&mut report, raw, &options, FEW, 1).await?);
    }
    if wanted("flow") {
        sustained(&mut report, raw, &options, SOME, 1).await?;
    }
    if wanted("executors") {
        more_executors(&mut report, &options).await?;
    }
    if wanted("idle") {
        idle(&mut report, &options).await?;
    }
    if wanted("pickup") {
        pickup::run(&mut report, &options.folder).await?;
    }
    if wanted("handover") {
        handover::run(&mut report, &options.folder).await?;
    }
    if let Some(few) = few.filter(|_| wanted("million")) {
        let many = sustained(&mut report, raw, &options, MANY, 1).await?;
        let times = Figure::new("executor CPU at a million to a thousand", "times", vec![many.executor / few.executor]);
        report.add(times.at_most(1.2));
    }
    let json = options.folder.join("zookeeper.json");
    report.write(&json)?;
    println!("\nwritten      {}", json.display());
    Ok(())
}

async fn sustained(
    report: &mut Report,
    raw: f64,
    options: &Options,
    backlog: u64,
    executors: usize,
) -> anyhow::Result<Sustained> {
    let threads = options.threads;
    Report::about(&format!("flow: {backlog} jobs wait all the while, {executors} executors with {threads} threads"));
    let (sustained, listing) = hold(options, backlog, executors).await?;
    if backlog >= MANY {
        report.add(Figure::new("first job begun after", "s", vec![listing.as_secs_f64()]));
    }
    let name = format!("{backlog} waiting, {executors} executors");
    report.add(Figure::new(format!("jobs, {name}"), "jobs/s", vec![sustained.rate]).at_least(4_000.0).of("raw", raw));
    report.add(Figure::new("  executors' CPU", "ms/job", vec![sustained.executor]).at_most(0.25));
    report.add(Figure::new("  server's CPU", "ms/job", vec![sustained.server]));
    report.add(Figure::new("  ZooKeeper's CPU", "ms/job", vec![sustained.zookeeper]));
    report.add(Figure::new("  load's CPU", "ms/job", vec![sustained.load]));
    report.add(Figure::new("  requests to ZooKeeper", "a job", vec![sustained.coordinator_requests]));
    report.add(Figure::new("  requests to the API", "a job", vec![sustained.api_requests]));
    Ok(sustained)
}

/// What is done with so many jobs waiting all the while, and how long it took until the first one was begun.
async fn hold(options: &Options, backlog: u64, executors: usize) -> anyhow::Result<(Sustained, Duration)> {
    let mut site = Site::start(&options.folder).await?;
    site.add(backlog).await?;
    let listing = site.employ(executors, options.threads).await?;
    let sustained = flow::hold(&mut site, Duration::from_secs(options.seconds)).await?;
    site.finish(backlog < MANY).await?;
    Ok((sustained, listing))
}

/// One, two and four in turns, so that what else the machine does falls on all of them.
async fn more_executors(report: &mut Report, options: &Options) -> anyhow::Result<()> {
    const NUMBERS: [usize; 3] = [1, 2, 4];
    let threads = options.threads;
    Report::about(&format!(
        "executors: {FEW} jobs wait all the while, {NUMBERS:?} executors with {threads} threads, in turns"
    ));
    let mut runs: [Vec<Sustained>; 3] = Default::default();
    for _ in 0..TURNS {
        for (executors, runs) in NUMBERS.into_iter().zip(&mut runs) {
            runs.push(hold(options, FEW, executors).await?.0);
        }
    }
    for (executors, these) in NUMBERS.into_iter().zip(&runs) {
        let all = |part: fn(&Sustained) -> f64| these.iter().map(part).collect::<Vec<_>>();
        report.add(Figure::new(format!("jobs, {executors} executors"), "jobs/s", all(|it| it.rate)));
        report.add(Figure::new("  executors' CPU", "ms/job", all(|it| it.executor)).at_most(0.25));
        report.add(Figure::new("  server's CPU", "ms/job", all(|it| it.server)));
        report.add(Figure::new("  ZooKeeper's CPU", "ms/job", all(|it| it.zookeeper)));
        report.add(Figure::new("  requests to ZooKeeper", "a job", all(|it| it.coordinator_requests)));
    }
    for (executors, these) in NUMBERS.into_iter().zip(&runs).skip(1) {
        let times = these.iter().zip(&runs[0]).map(|(these, one)| these.rate / one.rate).collect();
        report.add(Figure::new(format!("rate of {executors} executors to one"), "times", times).at_least(1.0));
    }
    Ok(())
}

/// One executor, and then many of which most have nothing to do, at a rate that one of them can do alone.
async fn idle(report: &mut Report, options: &Options) -> anyhow::Result<()> {
    let idle = options.idle;
    Report::about(&format!("idle: {LEISURE} jobs a second, and {idle} executors more than are needed"));
    let mut costs = Vec::new();
    for executors in [1, 1 + idle] {
        let mut site = Site::start(&options.folder).await?;
        site.employ(executors, options.threads).await?;
        let leisure = flow::at_rate(&mut site, LEISURE, Duration::from_secs(options.seconds)).await?;
        site.finish(true).await?;
        report.add(Figure::new(format!("ZooKeeper's CPU, {executors} executors"), "ms/job", vec![leisure.zookeeper]));
        report.add(Figure::new(format!("executors' CPU, {executors} executors"), "ms/job", vec![leisure.executor]));
        costs.push(leisure.zookeeper);
    }
    report
        .add(Figure::new(format!("ZooKeeper's CPU with {idle} idle"), "times", vec![costs[1] / costs[0]]).at_most(1.5));
    Ok(())
}
