//! How soon a host is ready, from the start of its keeper.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use slipstream_action::protocol::Setup;
use slipstream_job_engine::internals::executor::host::Pool;
use slipstream_job_engine::internals::executor::load::{HostProvider, Kind, Provider, Settings, read_folders};
use slipstream_job_engine::internals::programs::{Context, write_package};

use super::alone::milliseconds;
use super::world::World;
use crate::figures::{Figure, Report, median};

/// What is promised, in milliseconds.
const HELLO: f64 = 150.0;
/// Starts of each kind in each turn.
const STARTS: usize = 5;

pub async fn run(report: &mut Report, world: &World, runs: usize) -> anyhow::Result<()> {
    Report::about(&format!(
        "from the start of a host's keeper to its hello, medians of {STARTS}; first: with an executor's start, when Python has \
         not compiled the package yet"
    ));
    let context = Arc::new(Context::open(None, world.keepers.clone(), "benchmark".to_owned())?);
    let (mut first, mut python, mut rust) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..STARTS {
            let package = tempfile::tempdir()?;
            let settings = Settings::of(&world.loading, write_package(package.path())?);
            let mut hosts = read_folders(&settings).providers.into_iter().filter_map(host);
            let (one, other) = hosts.next().zip(hosts.next()).context("there are two hosts")?;
            let (class_files, host) = if one.kind == Kind::Python { (one, other) } else { (other, one) };
            times[0].push(hello(&class_files, &context).await?);
            times[1].push(hello(&class_files, &context).await?);
            times[2].push(hello(&host, &context).await?);
        }
        first.push(median(&times[0]));
        python.push(median(&times[1]));
        rust.push(median(&times[2]));
    }
    report.add(Figure::new("python first start to hello", "ms", first).at_most(HELLO));
    report.add(Figure::new("python start to hello", "ms", python).at_most(HELLO));
    report.add(Figure::new("rust start to hello", "ms", rust));
    Ok(())
}

fn host(provider: Provider) -> Option<HostProvider> {
    match provider {
        Provider::Host(host) => Some(host),
        Provider::Command(_) => None,
    }
}

async fn hello(provider: &HostProvider, context: &Arc<Context>) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let pool = Pool::start(provider.clone(), context.clone(), Setup { threads: 1, ..Setup::default() });
    let mut known = pool.known();
    let said = known.wait_for(|known| known.hello.is_some() || known.failure.is_some());
    let failure = tokio::time::timeout(Duration::from_secs(10), said).await??.failure.clone();
    anyhow::ensure!(failure.is_none(), "a host does not start: {failure:?}");
    let took = begin.elapsed();
    pool.stop().await;
    Ok(milliseconds(took))
}
