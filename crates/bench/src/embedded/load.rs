//! Adding jobs: one at a time by each of several submitters, and as fast as the engine takes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slipstream_cimi::Client;
use slipstream_cimi::dialect::JOB;
use tokio::task::JoinSet;

use super::engine::{Engine, PASSWORD, job};
use super::process::{Moment, Spent};
use crate::arrays::Bulk;

/// Jobs of one array.
pub const ARRAY: u64 = 1_000;
/// Arrays under way at once.
pub const SUBMITTERS: usize = 4;
/// Adds under way at once while a store is filled.
const CONCURRENT: usize = 1_024;
/// Jobs after which is said how far that is.
const PART: usize = 100_000;

/// Adds so many jobs: each client adds one, waits for its answer, and adds the next.
pub async fn submit(clients: Vec<Client>, jobs: u64) -> anyhow::Result<()> {
    let left = Arc::new(AtomicU64::new(jobs));
    let mut submitters = JoinSet::new();
    for client in clients {
        let left = left.clone();
        submitters.spawn(async move {
            let job = job();
            let take = |left: u64| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                client.add(JOB.name, &job, None).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = submitters.join_next().await {
        ended??;
    }
    Ok(())
}

/// Queues so many jobs, the fastest way there is.
pub async fn fill(engine: &Engine, jobs: u64) -> anyhow::Result<()> {
    let bulk = Bulk::log_in(engine.transport(), PASSWORD, job()).await?;
    for begin in (0..jobs).step_by(PART) {
        let part = (jobs - begin).min(PART as u64);
        match &bulk {
            Some(bulk) => bulk.add(part, ARRAY, SUBMITTERS).await?,
            None => submit(vec![engine.client.clone(); CONCURRENT], part).await?,
        }
        if jobs > PART as u64 {
            eprintln!("{} of {jobs} jobs queued", begin + part);
        }
    }
    Ok(())
}

/// Stores with jobs that wait, each built once and copied for each run.
pub struct Stores {
    folder: PathBuf,
    copies: u64,
}

impl Stores {
    /// Below this folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), copies: 0 }
    }

    /// A path at which there is no store.
    pub fn fresh(&mut self) -> PathBuf {
        self.copies += 1;
        self.folder.join(format!("run-{}.db", self.copies))
    }

    /// The store in which so many jobs wait, built if there is none; and how long that took.
    pub async fn filled(&self, jobs: u64) -> anyhow::Result<(PathBuf, Option<Spent>)> {
        let path = self.folder.join(format!("{jobs}.db"));
        if path.exists() {
            return Ok((path, None));
        }
        let begin = Moment::now();
        let engine = Engine::open(&path, false).await?;
        fill(&engine, jobs).await?;
        engine.ensure_queued(jobs).await?;
        engine.close().await?;
        Ok((path, Some(begin.until(Moment::now()))))
    }

    /// Such a store, which the caller may change.
    pub async fn take(&mut self, jobs: u64) -> anyhow::Result<(PathBuf, Option<Spent>)> {
        let (filled, built) = self.filled(jobs).await?;
        let path = self.fresh();
        std::fs::rename(filled, &path)?;
        Ok((path, built))
    }

    /// A copy of such a store that lies on the disk.
    pub async fn copy(&mut self, jobs: u64) -> anyhow::Result<PathBuf> {
        let (filled, _) = self.filled(jobs).await?;
        let copy = self.fresh();
        std::fs::copy(filled, &copy)?;
        std::fs::File::open(&copy)?.sync_all()?;
        Ok(copy)
    }
}

/// Removes a closed store.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    Ok(std::fs::remove_file(path)?)
}
