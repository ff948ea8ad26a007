//! Jobs that come and go for a while.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::site::{Moment, Site};

/// How long everything runs before it is measured: connections, caches, the compiler of `ZooKeeper`'s Java.
const WARM_UP: Duration = Duration::from_secs(5);
/// Most jobs of one array while jobs come and go, and most arrays under way at once.
const ARRAY: u64 = 500;
const UNDER_WAY: usize = 4;

/// What was measured: jobs in a second, and of each job milliseconds of processor time and requests.
#[derive(Clone, Copy, Debug)]
pub struct Sustained {
    pub rate: f64,
    pub executor: f64,
    pub server: f64,
    pub zookeeper: f64,
    pub load: f64,
    pub coordinator_requests: f64,
    pub api_requests: f64,
}

/// Adds as many jobs as are done.
pub async fn hold(site: &mut Site, time: Duration) -> anyhow::Result<Sustained> {
    run(site, time, &mut |site| site.done()).await
}

/// Adds so many jobs in a second.
pub async fn at_rate(site: &mut Site, rate: u64, time: Duration) -> anyhow::Result<Sustained> {
    let begun = Instant::now();
    let elapsed = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    run(site, time, &mut |_| elapsed() * rate / 1_000).await
}

/// Adds jobs for a while; `wanted` says how many there should be added by now.
async fn run(site: &mut Site, time: Duration, wanted: &mut dyn FnMut(&Site) -> u64) -> anyhow::Result<Sustained> {
    let begun = Instant::now();
    let mut from = None;
    let (mut added, mut arrays) = (0, JoinSet::new());
    while begun.elapsed() < WARM_UP + time {
        if from.is_none() && begun.elapsed() >= WARM_UP {
            from = Some(site.now().await?);
        }
        let missing = wanted(site).saturating_sub(added).min(ARRAY);
        if missing > 0 && arrays.len() < UNDER_WAY {
            let bulk = site.bulk.clone();
            arrays.spawn(async move { bulk.post(missing).await });
            added += missing;
        } else {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        while let Some(ended) = arrays.try_join_next() {
            ended??;
        }
    }
    let to = site.now().await?;
    while let Some(ended) = arrays.join_next().await {
        ended??;
    }
    site.count_added(added);
    Ok(between(from.unwrap_or(to), to))
}

fn between(from: Moment, to: Moment) -> Sustained {
    let jobs = count(to.done - from.done);
    let each = |from: f64, to: f64| (to - from) * 1_000.0 / jobs;
    Sustained {
        rate: jobs / (to.at - from.at).as_secs_f64(),
        executor: each(from.executors, to.executors),
        server: each(from.server, to.server),
        zookeeper: each(from.zookeeper, to.zookeeper),
        load: each(from.load, to.load),
        coordinator_requests: count(to.coordinator_requests - from.coordinator_requests) / jobs,
        api_requests: count(to.api_requests - from.api_requests) / jobs,
    }
}

/// A number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn count(number: u64) -> f64 {
    number as f64
}
