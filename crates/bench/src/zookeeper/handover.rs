//! How long nobody has what one has let go, or what one has died with.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use slipstream_cimi::dialect::JOB;
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, Election, LockingQueue, Session, ZooKeeper};
use slipstream_test_ensemble::Ensemble;
use tokio::time::timeout;

use super::roles::HOLD;
use super::site::{Site, job};
use crate::figures::{Figure, Report, percentile};

/// How often something is handed over, and how often somebody is killed.
const TIMES: usize = 200;
const KILLS: usize = 3;
/// Longest wait for anything.
const SOON: Duration = Duration::from_secs(30);
/// How long the sessions of executors live without being heard of, and how exact these ensembles are about it, in seconds.
const SESSION: f64 = 10.0;
const TICK: f64 = 0.2;

pub async fn run(report: &mut Report, folder: &Path) -> anyhow::Result<()> {
    Report::about("hand-over: from when somebody lets go, or is killed, until the next one has it");
    let ensemble = Ensemble::start_as_on_a_site(1, &[], &[]).await;
    let connect =
        async || ZooKeeper::new(Settings::new(&ensemble.hosts()))?.connect().await.map_err(anyhow::Error::from);
    let sessions = [connect().await?, connect().await?];
    for (name, times) in [("leadership", leaderships(&sessions).await?), ("claim", claims(&sessions).await?)] {
        report.add(Figure::new(format!("{name} let go, p50"), "ms", vec![percentile(&times, 50)]));
        report.add(Figure::new(format!("{name} let go, p99"), "ms", vec![percentile(&times, 99)]).at_most(100.0));
    }
    let killed = killed(folder).await?;
    report.add(Figure::new("job of an executor that is killed", "s", killed).at_most(SESSION + TICK + 1.0));
    Ok(())
}

/// Two candidates take turns; in milliseconds.
async fn leaderships(sessions: &[Arc<dyn Session>; 2]) -> anyhow::Result<Vec<f64>> {
    let elections =
        sessions.clone().map(|session| Arc::new(Election::new(session, "/election/benchmark", "candidate")));
    let mut leader = elections[0].lead().await?;
    let mut times = Vec::new();
    for turn in 1..=TIMES {
        let next = elections[turn % 2].clone();
        let waiting = tokio::spawn(async move { (next.lead().await, Instant::now()) });
        stands(&elections[0]).await?;
        let left = Instant::now();
        leader.resign().await?;
        let (next, since) = timeout(SOON, waiting).await??;
        times.push(since.duration_since(left).as_secs_f64() * 1_000.0);
        leader = next?;
    }
    leader.resign().await?;
    Ok(times)
}

/// Waits until the next leader waits behind the first.
async fn stands(election: &Election) -> anyhow::Result<()> {
    let both = async {
        while election.contenders().await?.len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        anyhow::Ok(())
    };
    timeout(SOON, both).await?
}

/// Two queues hand one entry back and forth; in milliseconds.
async fn claims(sessions: &[Arc<dyn Session>; 2]) -> anyhow::Result<Vec<f64>> {
    let mut queues = Vec::new();
    for (session, claimant) in sessions.iter().zip(["a", "b"]) {
        queues.push(LockingQueue::open(session.clone(), "/benchmark", &claimant.repeat(32)).await?);
    }
    queues[0].put(b"job/1", 999).await?;
    let mut claim = queues[0].take().await?;
    let mut times = Vec::new();
    for turn in 1..=TIMES {
        let next = queues[turn % 2].clone();
        let waiting = tokio::spawn(async move { (next.take().await, Instant::now()) });
        let left = Instant::now();
        claim.release().await?;
        let (next, since) = timeout(SOON, waiting).await??;
        times.push(since.duration_since(left).as_secs_f64() * 1_000.0);
        claim = next?;
    }
    Ok(times)
}

/// An executor is killed with its job begun, and another one begins it; in seconds.
async fn killed(folder: &Path) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..KILLS {
        let mut site = Site::start(folder).await?;
        site.employ(1, 1).await?;
        site.client.add(JOB.name, &job(HOLD), None).await?;
        timeout(SOON, site.begun.recv()).await?.context("the executor has gone")?;
        site.employ(1, 1).await?;
        let killed = Instant::now();
        site.kill_first();
        timeout(SOON, site.begun.recv()).await?.context("the other executor has gone")?;
        times.push(killed.elapsed().as_secs_f64());
    }
    Ok(times)
}
