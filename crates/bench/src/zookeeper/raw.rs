//! What `ZooKeeper` does alone: entries are created, claimed, read and consumed, and nothing else happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slipstream_coordination::session::{Mode, Operation, make_path};
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, Session, ZooKeeper};
use slipstream_test_ensemble::Ensemble;
use tokio::task::JoinSet;

use super::flow::count;
use crate::figures::{Figure, Report};

/// Before it is measured, and while it is.
const WARM_UP: Duration = Duration::from_secs(3);
const TIME: Duration = Duration::from_secs(5);

/// Cycles one by one, of which so many are under way; and batches of cycles.
const WAYS: [(&str, usize, usize); 2] = [("raw cycles, 64 at once", 64, 1), ("raw cycles, 4 times 50", 4, 50)];

/// Answers the better rate.
pub async fn run(report: &mut Report) -> anyhow::Result<f64> {
    Report::about("raw: entries are created, claimed, read and consumed by one session, without server and executor");
    let ensemble = Ensemble::start_as_on_a_site(1, &[], &[]).await;
    let session = ZooKeeper::new(Settings::new(&ensemble.hosts()))?.connect().await?;
    make_path(&*session, "/raw/entries").await?;
    make_path(&*session, "/raw/taken").await?;
    let mut best = 0.0_f64;
    for (name, under_way, batch) in WAYS {
        let rate = rate(&session, under_way, batch).await?;
        best = best.max(rate);
        report.add(Figure::new(name, "jobs/s", vec![rate]));
    }
    Ok(best)
}

async fn rate(session: &Arc<dyn Session>, under_way: usize, batch: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..under_way {
        let session = session.clone();
        workers.spawn(async move {
            let mut cycles = 0_u64;
            while begun.elapsed() < WARM_UP + TIME {
                cycle(&*session, batch).await?;
                cycles += if begun.elapsed() < WARM_UP { 0 } else { batch as u64 };
            }
            anyhow::Ok(cycles)
        });
    }
    let mut cycles = 0;
    while let Some(worker) = workers.join_next().await {
        cycles += worker??;
    }
    Ok(count(cycles) / TIME.as_secs_f64())
}

async fn cycle(session: &dyn Session, batch: usize) -> anyhow::Result<()> {
    let id = "job/00000000-0000-4000-8000-000000000000";
    let create = || Operation::create("/raw/entries/entry-999-", id, Mode::PersistentSequential);
    let entries = session.commit((0..batch).map(|_| create()).collect()).await?;
    let taken = |entry: &String| entry.replace("entries", "taken");
    let claims = entries.iter().map(|entry| Operation::create(taken(entry), [b'a'; 32], Mode::Ephemeral)).collect();
    session.commit(claims).await?;
    session.nodes(entries.clone()).await?;
    let ends = entries.iter().flat_map(|entry| [Operation::delete(entry), Operation::delete(taken(entry))]).collect();
    session.commit(ends).await?;
    Ok(())
}
