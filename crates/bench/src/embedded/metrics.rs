//! `metrics`: what it costs to count, and how long a scrape takes when very many jobs wait.

use std::time::Instant;

use slipstream_job_engine::internals::process::Metrics;

use super::Bench;
use super::drain;
use super::engine::Engine;
use super::load::remove;
use crate::figures::{Figure, Report, percentile};

/// Scrapes of which the slowest ones are shown.
const SCRAPES: usize = 100;
/// What is promised: processor time of a job with metrics to that without, and milliseconds of a scrape.
const COST: f64 = 1.01;
const SCRAPE: f64 = 50.0;

pub async fn run(bench: &mut Bench, jobs: u64, backlog: u64) -> anyhow::Result<()> {
    cost(bench, jobs).await?;
    scrape(bench, backlog).await
}

/// In turns, since what else the machine does changes from minute to minute.
async fn cost(bench: &mut Bench, jobs: u64) -> anyhow::Result<()> {
    Report::about(&format!(
        "metrics: {jobs} jobs drained as in drain-{jobs}, in turns with all that is counted and without any of it; the ratio is \
         that of the two runs of a turn"
    ));
    bench.stores.filled(jobs).await?;
    let [mut with, mut without, mut cpu_ratios, mut rate_ratios] = [const { Vec::new() }; 4];
    for turn in 0..bench.runs {
        // whoever comes first has the machine as the one before has left it
        let mut pair = [Metrics::default(), Metrics::off()].map(Some);
        let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut spent = [None, None];
        for index in order {
            let metrics = pair[index].take().expect("each has one turn");
            spent[index] = Some(drain::once(bench, jobs, metrics).await?);
        }
        let [on, off] = spent.map(|spent| spent.expect("both have had their turn"));
        with.push(on.rate(jobs));
        without.push(off.rate(jobs));
        cpu_ratios.push(on.cpu_each(jobs) / off.cpu_each(jobs));
        rate_ratios.push(off.rate(jobs) / on.rate(jobs));
    }
    let without = Figure::new("drain without metrics", "jobs/s", without);
    let with = Figure::new("drain with metrics", "jobs/s", with).of("without", without.median);
    let report = &mut bench.report;
    report.add(without);
    report.add(with);
    report.add(Figure::new("processor time with / without", "times", cpu_ratios).at_most(COST));
    report.add(Figure::new("time with / without", "times", rate_ratios).at_most(COST));
    Ok(())
}

async fn scrape(bench: &mut Bench, backlog: u64) -> anyhow::Result<()> {
    Report::about(&format!(
        "scrape: the text of all metrics of a server in whose store {backlog} jobs wait, after a round of the reconciler; \
         {SCRAPES} times"
    ));
    let (path, _) = bench.stores.take(backlog).await?;
    let engine = Engine::open(&path, false).await?;
    engine.reconcile().await?;
    let mut times = Vec::with_capacity(SCRAPES);
    let waiting = format!("slipstream_queue_jobs{{priority=\"999\"}} {backlog}\n");
    for _ in 0..SCRAPES {
        let begin = Instant::now();
        let text = engine.metrics.text().await;
        times.push(begin.elapsed().as_secs_f64() * 1_000.0);
        anyhow::ensure!(text.contains(&waiting), "it does not say that {backlog} jobs wait: {text}");
    }
    engine.close().await?;
    remove(&path)?;
    for (percent, name) in [(50, "p50"), (99, "p99")] {
        bench
            .report
            .add(Figure::new(format!("scrape {name}"), "ms", vec![percentile(&times, percent)]).at_most(SCRAPE));
    }
    Ok(())
}
