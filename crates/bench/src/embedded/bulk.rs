//! `bulk-add`: many jobs in the array of one POST.

use super::Bench;
use super::engine::{Engine, PASSWORD, job};
use super::flow::Way;
use super::load::{ARRAY, SUBMITTERS, remove};
use super::process::Moment;
use crate::arrays::Bulk;
use crate::figures::{Figure, Report};

/// Jobs of a run are so many times those of others: an array is quick.
pub const MORE: u64 = 5;
const PROMISED: f64 = 40_000.0;

pub async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let jobs = bench.jobs * MORE;
    Report::about(&format!(
        "bulk-add: {jobs} jobs in arrays of {ARRAY}, one at a time by each of {SUBMITTERS} submitters, no executor"
    ));
    for way in Way::BOTH {
        let mut rates = Vec::new();
        for _ in 0..bench.runs {
            let path = bench.stores.fresh();
            let engine = Engine::open(&path, false).await?;
            let listening = engine.listen().await?;
            let transport = if way == Way::Http { listening.transport()? } else { engine.transport() };
            let Some(bulk) = Bulk::log_in(transport, PASSWORD, job()).await? else {
                println!("this server takes no arrays");
                return Ok(());
            };
            let begin = Moment::now();
            bulk.add(jobs, ARRAY, SUBMITTERS).await?;
            rates.push(begin.until(Moment::now()).rate(jobs));
            drop(bulk);
            engine.ensure_queued(jobs).await?;
            listening.end().await?;
            engine.close().await?;
            remove(&path)?;
        }
        let raw = bench.raw;
        let figure = Figure::new(format!("bulk-add{}", way.suffix()), "jobs/s", rates).at_least(PROMISED);
        bench.report.add(figure.of("raw SQLite", raw.insert.rate(raw.rows)));
    }
    Ok(())
}
