//! `drain-N`: jobs that were queued beforehand.

use slipstream_job_engine::internals::process::Metrics;

use super::Bench;
use super::engine::{Engine, SLOTS, Working};
use super::load::remove;
use super::process::{Moment, Spent};
use crate::figures::{Figure, Report};

/// What is promised: jobs in a second.
const PROMISED: f64 = 15_000.0;

pub async fn run(bench: &mut Bench, jobs: u64) -> anyhow::Result<()> {
    let name = format!("drain-{jobs}");
    Report::about(&format!(
        "{name}: {jobs} jobs queued beforehand, then an executor of {SLOTS} slots in the same process until all are \
         SUCCESS and the queue is empty"
    ));
    if let (_, Some(built)) = bench.stores.filled(jobs).await? {
        bench.report.add(Figure::new(format!("fill-{jobs}"), "s", vec![built.time.as_secs_f64()]));
    }
    let mut spent = Vec::new();
    for _ in 0..bench.runs {
        spent.push(once(bench, jobs, Metrics::default()).await?);
    }
    let rates = spent.iter().map(|spent| spent.rate(jobs)).collect();
    let cpu = spent.iter().map(|spent| spent.cpu_each(jobs)).collect();
    let raw = &bench.raw;
    let rate = Figure::new(&name, "jobs/s", rates).at_least(PROMISED).of("raw SQLite", raw.finish.rate(raw.rows));
    let cpu = Figure::new(format!("{name} cpu"), "ms/job", cpu).of("raw SQLite", raw.finish.cpu_each(raw.rows));
    bench.report.add(rate);
    bench.report.add(cpu);
    Ok(())
}

/// One run, which counts in these.
pub async fn once(bench: &mut Bench, jobs: u64, metrics: Metrics) -> anyhow::Result<Spent> {
    let path = bench.stores.copy(jobs).await?;
    let engine = Engine::counting(&path, false, metrics).await?;
    let (spent, working) = work_off(&engine, jobs).await?;
    engine.ensure_done(jobs).await?;
    working.end().await?;
    engine.close().await?;
    remove(&path)?;
    Ok(spent)
}

/// Works off so many jobs that wait, from the start of an executor, which goes on.
pub async fn work_off(engine: &Engine, jobs: u64) -> anyhow::Result<(Spent, Working)> {
    let all_gone = engine.gone.mark(jobs);
    let begin = Moment::now();
    let working = engine.work(SLOTS, &engine.client);
    let end = all_gone.reached().await?;
    Ok((begin.until(end), working))
}
