//! `adds-and-drain`, `submit` and `pickup`: jobs that are added while the engine runs.

use std::time::{Duration, Instant};

use slipstream_cimi::Client;
use slipstream_cimi::dialect::JOB;

use super::Bench;
use super::baseline::syncs;
use super::engine::{Engine, HTTP_SLOTS, Listening, SLOTS, job};
use super::load::{remove, submit};
use super::process::Moment;
use crate::figures::{Figure, Report, percentile};

/// Adds of which each is waited for until it is done.
pub const PICKUPS: u64 = 1_000;
/// Submitters of the second figure of `submit`.
pub const FEW: usize = 8;

/// How requests get to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a call.
    InProcess,
    /// Over connections, each submitter with its own.
    Http,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::InProcess, Self::Http];

    /// Of a figure's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::InProcess => "",
            Self::Http => "-http",
        }
    }

    fn slots(self) -> usize {
        match self {
            Self::InProcess => SLOTS,
            Self::Http => HTTP_SLOTS,
        }
    }
}

/// An engine with the clients that a run needs, all logged in.
struct Scene {
    engine: Engine,
    listening: Option<Listening>,
    executor: Client,
    submitters: Vec<Client>,
}

impl Scene {
    async fn open(path: &std::path::Path, way: Way, submitters: usize) -> anyhow::Result<Self> {
        let engine = Engine::open(path, false).await?;
        let (mut listening, mut executor) = (None, engine.client.clone());
        let mut clients = vec![executor.clone(); submitters];
        if way == Way::Http {
            let api = engine.listen().await?;
            executor = api.client().await?;
            for client in &mut clients {
                *client = api.client().await?;
            }
            listening = Some(api);
        }
        Ok(Self { engine, listening, executor, submitters: clients })
    }

    async fn close(self) -> anyhow::Result<()> {
        let Self { engine, listening, executor, submitters } = self;
        drop((executor, submitters));
        if let Some(listening) = listening {
            listening.end().await?;
        }
        engine.close().await
    }
}

/// Adds while an executor works, from the first add to the last SUCCESS.
pub async fn adds_and_drain(bench: &mut Bench, way: Way) -> anyhow::Result<()> {
    let name = format!("adds-and-drain{}", way.suffix());
    let (jobs, submitters, slots) = (bench.jobs, bench.submitters, way.slots());
    let (connected, promised) = match way {
        Way::InProcess => ("in the same process", 10_000.0),
        Way::Http => ("all over HTTP with single requests, clients and server on this machine", 3_000.0),
    };
    Report::about(&format!(
        "{name}: {jobs} jobs added one at a time by each of {submitters} submitters while an executor of {slots} slots \
         works, {connected}"
    ));
    let mut spent = Vec::new();
    for _ in 0..bench.runs {
        let path = bench.stores.fresh();
        let mut scene = Scene::open(&path, way, submitters).await?;
        let working = scene.engine.work(slots, &scene.executor);
        let all_gone = scene.engine.gone.mark(jobs);
        let begin = Moment::now();
        submit(std::mem::take(&mut scene.submitters), jobs).await?;
        spent.push(begin.until(all_gone.reached().await?));
        scene.engine.ensure_done(jobs).await?;
        working.end().await?;
        scene.close().await?;
        remove(&path)?;
    }
    let raw = bench.raw;
    let mut both = raw.insert;
    both += raw.finish;
    let rates = spent.iter().map(|spent| spent.rate(jobs)).collect();
    let cpu = spent.iter().map(|spent| spent.cpu_each(jobs)).collect();
    bench.report.add(Figure::new(&name, "jobs/s", rates).at_least(promised).of("raw SQLite", both.rate(raw.rows)));
    let cpu = Figure::new(format!("{name} cpu"), "ms/job", cpu);
    bench.report.add(cpu.of("raw SQLite", both.cpu_each(raw.rows)));
    Ok(())
}

/// Adds alone.
pub async fn submits(bench: &mut Bench) -> anyhow::Result<()> {
    let jobs = bench.jobs;
    Report::about(&format!("submit: {jobs} jobs added one at a time by each of so many submitters, no executor"));
    for way in Way::BOTH {
        for submitters in [bench.submitters, FEW] {
            let mut rates = Vec::new();
            for _ in 0..bench.runs {
                let path = bench.stores.fresh();
                let mut scene = Scene::open(&path, way, submitters).await?;
                let clients = std::mem::take(&mut scene.submitters);
                let begin = Moment::now();
                submit(clients, jobs).await?;
                rates.push(begin.until(Moment::now()).rate(jobs));
                scene.close().await?;
                remove(&path)?;
            }
            let raw = bench.raw;
            let figure = Figure::new(format!("submit{} {submitters}", way.suffix()), "adds/s", rates);
            bench.report.add(figure.of("raw SQLite", raw.insert.rate(raw.rows)));
        }
    }
    Ok(())
}

/// From before an add to the first line of the action, on an engine that does nothing else.
pub async fn pickup(bench: &mut Bench) -> anyhow::Result<()> {
    Report::about(&format!(
        "pickup: {PICKUPS} adds, each after the one before is done, from before the add to the first line of the action"
    ));
    // right now: a disk that others use is not as quick at one time as at another
    let sync = percentile(&syncs(&bench.stores.fresh())?, 50);
    bench.report.add(Figure::new("sync p50 before pickup", "ms", vec![sync]));
    for (way, promised) in [(Way::InProcess, 3.0), (Way::Http, 5.0)] {
        let (mut half, mut most) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs {
            let times: Vec<f64> = pickups(bench, way).await?.iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
            half.push(percentile(&times, 50));
            most.push(percentile(&times, 99));
        }
        let name = format!("pickup{}", way.suffix());
        bench.report.add(Figure::new(format!("{name} p50"), "ms", half).of("sync", sync));
        bench.report.add(Figure::new(format!("{name} p99"), "ms", most).at_most(promised).of("sync", sync));
    }
    Ok(())
}

async fn pickups(bench: &mut Bench, way: Way) -> anyhow::Result<Vec<Duration>> {
    let path = bench.stores.fresh();
    let scene = Scene::open(&path, way, 1).await?;
    let working = scene.engine.work(way.slots(), &scene.executor);
    let times = pick_up(&scene.engine, &scene.submitters[0], PICKUPS).await?;
    scene.engine.ensure_done(PICKUPS).await?;
    working.end().await?;
    scene.close().await?;
    remove(&path)?;
    Ok(times)
}

/// Adds so many jobs, each after the one before is done, to an engine that has done none; answers how long each waited for
/// its action to begin.
pub async fn pick_up(engine: &Engine, submitter: &Client, jobs: u64) -> anyhow::Result<Vec<Duration>> {
    let job = job();
    let mut times = Vec::new();
    for number in 1..=jobs {
        let (begun, gone) = (engine.begun.mark(number), engine.gone.mark(number));
        let before = Instant::now();
        submitter.add(JOB.name, &job, None).await?;
        times.push(begun.reached().await?.at - before);
        gone.reached().await?;
    }
    Ok(times)
}
