//! `drain-backlog`: what a job costs, and how much memory and how long a start takes, when few and when very many wait.
//!
//! Each run is a process of its own, so that its memory is that of the engine at this backlog.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::Bench;
use super::engine::{Engine, SLOTS};
use super::load::{fill, remove};
use super::process::{Memory, Moment, Spent, memory};
use crate::figures::{Figure, Report};

/// Jobs of one round at the small backlog: it is measured while the backlog falls from 1,500 to 500.
const ROUND: u64 = 2_000;
/// Jobs done before a measurement begins and left when it ends, so that as many are under way at both.
const MARGIN: u64 = 500;
/// Jobs measured in a round.
const MEASURED: u64 = ROUND - 2 * MARGIN;

/// What a run saw.
#[derive(Serialize, Deserialize)]
pub struct Seen {
    /// From opening the store to the first line of the first action, in seconds.
    ready: f64,
    /// Processor time of a job in milliseconds.
    cpu: f64,
    /// Jobs in a second.
    rate: f64,
    /// Mebibytes, once jobs are done.
    resident: f64,
    /// Mebibytes at the most.
    highest: f64,
}

pub async fn run(bench: &mut Bench, backlog: u64) -> anyhow::Result<()> {
    let jobs = bench.jobs;
    Report::about(&format!(
        "drain-backlog: processor time of a job while {jobs} are drained out of a backlog of 1,000 (in rounds from 1,500 \
         down to 500) and out of {backlog} (each of {} runs goes on with the same store), each run in a process of its \
         own; ready: from opening the store to the first line of the first action",
        bench.runs
    ));
    let mut few = Vec::new();
    for _ in 0..bench.runs {
        let path = bench.stores.copy(ROUND).await?;
        few.push(child("backlog-few", &path, jobs)?);
        remove(&path)?;
    }
    let needed = (jobs + 2 * MARGIN + 2 * SLOTS as u64) * bench.runs as u64;
    ensure!(needed <= backlog, "{} runs of {jobs} jobs need a --backlog of at least {needed}", bench.runs);
    let (path, built) = bench.stores.take(backlog).await?;
    if let Some(built) = built {
        bench.report.add(Figure::new(format!("fill-{backlog}"), "s", vec![built.time.as_secs_f64()]));
    }
    let size = std::fs::metadata(&path)?.len() >> 20;
    println!("the store with {backlog} jobs has {size} MiB");
    let mut many = Vec::new();
    for _ in 0..bench.runs {
        many.push(child("backlog-many", &path, jobs)?);
    }
    remove(&path)?;
    show(&mut bench.report, &few, &many, backlog);
    Ok(())
}

fn show(report: &mut Report, few: &[Seen], many: &[Seen], backlog: u64) {
    let figure = |what: &str, unit: &str, value: fn(&Seen) -> f64| {
        let of = |seen: &[Seen]| seen.iter().map(value).collect();
        let small = Figure::new(format!("backlog-1000 {what}"), unit, of(few));
        let large = Figure::new(format!("backlog-{backlog} {what}"), unit, of(many)).of("backlog-1000", small.median);
        [small, large]
    };
    for figure in figure("drain", "jobs/s", |seen| seen.rate) {
        report.add(figure);
    }
    let [small, large] = figure("cpu", "ms/job", |seen| seen.cpu);
    let ratio = Figure::new("backlog cpu ratio", "times", vec![large.median / small.median]).at_most(1.5);
    report.add(small);
    report.add(large);
    report.add(ratio);
    let limited = [
        (figure("ready", "s", |seen| seen.ready), 5.0),
        (figure("resident", "MiB", |seen| seen.resident), 400.0),
        (figure("most resident", "MiB", |seen| seen.highest), 400.0),
    ];
    for ([small, large], promised) in limited {
        report.add(small);
        report.add(large.at_most(promised));
    }
}

/// Runs one of the two below in a process of its own.
fn child(task: &str, store: &Path, jobs: u64) -> anyhow::Result<Seen> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["embedded", task]).arg(store).arg(jobs.to_string()).stderr(std::process::Stdio::inherit());
    let output = command.output()?;
    ensure!(output.status.success(), "{task} failed: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{task} printed no figures"))
}

/// Rounds at a backlog of about 1,000, beginning with a store in which [`ROUND`] jobs wait.
pub async fn few(store: &Path, jobs: u64) -> anyhow::Result<()> {
    let begin = Instant::now();
    let engine = Engine::open(store, false).await?;
    let mut whole = Spent::default();
    let mut first: Option<(f64, Memory)> = None;
    let rounds = jobs.div_ceil(MEASURED);
    for round in 0..rounds {
        let done = round * ROUND;
        if round > 0 {
            fill(&engine, ROUND).await?;
        }
        let marks = [MARGIN, MARGIN + MEASURED, ROUND].map(|number| engine.gone.mark(done + number));
        let ready = engine.begun.mark(done + 1);
        let working = engine.work(SLOTS, &engine.client);
        let ready = (ready.reached().await?.at - begin).as_secs_f64();
        let [from, to, end] = marks;
        let (from, to) = (from.reached().await?, to.reached().await?);
        first.get_or_insert((ready, memory()?));
        end.reached().await?;
        whole += from.until(to);
        working.end().await?;
    }
    engine.ensure_done(rounds * ROUND).await?;
    engine.close().await?;
    let (ready, memory) = first.context("there was a round")?;
    print(ready, whole, rounds * MEASURED, memory.resident)
}

/// So many jobs out of a store in which more wait.
pub async fn many(store: &Path, jobs: u64) -> anyhow::Result<()> {
    let begin = Instant::now();
    let engine = Engine::open(store, false).await?;
    let (from, to) = (engine.gone.mark(MARGIN), engine.gone.mark(MARGIN + jobs));
    let ready = engine.begun.mark(1);
    let working = engine.work(SLOTS, &engine.client);
    let ready = (ready.reached().await?.at - begin).as_secs_f64();
    let from: Moment = from.reached().await?;
    let resident = memory()?.resident;
    let spent = from.until(to.reached().await?);
    working.end().await?;
    engine.close().await?;
    print(ready, spent, jobs, resident)
}

fn print(ready: f64, spent: Spent, jobs: u64, resident: f64) -> anyhow::Result<()> {
    let (cpu, rate, highest) = (spent.cpu_each(jobs), spent.rate(jobs), memory()?.highest);
    println!("{}", serde_json::to_string(&Seen { ready, cpu, rate, resident, highest })?);
    Ok(())
}
