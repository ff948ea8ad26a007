//! How long a job waits for an executor that has nothing else to do.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use slipstream_cimi::dialect::JOB;
use slipstream_job_engine::internals::process::Clock;

use super::roles::PICKUP;
use super::site::{Site, job};
use crate::figures::{Figure, Report, percentile};

/// Jobs that are measured, and those before them: by then Java has compiled what `ZooKeeper` does for a job.
const JOBS: usize = 1_000;
const FIRST: usize = 3_000;
/// Between two jobs that are measured: the queue is idle when one comes.
const REST: Duration = Duration::from_millis(10);
/// Longest wait for one job.
const SOON: Duration = Duration::from_secs(10);

pub async fn run(report: &mut Report, folder: &Path) -> anyhow::Result<()> {
    Report::about("pickup: one job at a time on an idle queue, from the request to add it until its action begins");
    let mut site = Site::start(folder).await?;
    site.employ(1, 8).await?;
    let (clock, document) = (Clock::system(), job(PICKUP));
    let mut times = Vec::new();
    for number in 0..FIRST + JOBS {
        let asked = clock.now();
        site.client.add(JOB.name, &document, None).await?;
        let begun = tokio::time::timeout(SOON, site.begun.recv()).await?.context("the executor has gone")?;
        if number >= FIRST {
            times.push(begun.duration_since(asked).as_secs_f64() * 1_000.0);
        }
        if number + 1 >= FIRST {
            tokio::time::sleep(REST).await;
        }
    }
    report.add(Figure::new("pickup p50", "ms", vec![percentile(&times, 50)]));
    report.add(Figure::new("pickup p99", "ms", vec![percentile(&times, 99)]).at_most(15.0));
    Ok(())
}
