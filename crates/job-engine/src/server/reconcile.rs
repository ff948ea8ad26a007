//! The reconciler: compares what is stored with what is queued and mends the difference (decision 2).
//!
//! One idempotent round, started by a timer and by a nudge. A round lists the entries afresh, walks the jobs that are
//! not final without reading their documents, and puts an entry for each that has none; entries of final jobs are
//! consumed unless somebody holds them, and entries of ids that this store never knew are reported and left alone.
//! There are no retries inside a round: the next round is the retry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_coordination::queue::EntryName;
use slipstream_coordination::{Election, Embedded};

use super::entries::EntriesError;
use super::error::chain;
use super::job_document::{priority_of, state_of};
use super::store::{Store, StoreError, Unfinished};
use super::{Shared, generation, jobs};
use crate::nodes;
use crate::stop::Stop;

/// Jobs written to within this time are left alone: whoever wrote may still be putting the entry.
const UNTOUCHED: SignedDuration = SignedDuration::from_secs(10);
/// Time between rounds that nobody asked for.
const PERIOD: Duration = Duration::from_secs(30);
/// Shortest time between rounds, however often somebody asks.
const REST: Duration = Duration::from_secs(1);
/// Most entries put or consumed in a round.
const MOST_MENDED: usize = 10_000;
/// Jobs given their entry at the same time.
const PUT_AT_ONCE: usize = 64;
/// Most entries of unknown jobs named in the log of a round.
const REPORTED: usize = 10;
/// Time between removals of expired sessions.
const PURGE_PERIOD: Duration = Duration::from_mins(10);
/// Jobs walked over at once.
const PAGE: u64 = 10_000;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Jobs whose entry was put or, where it was there already, recorded.
    pub put: usize,
    /// Entries of final jobs that were consumed.
    pub consumed: usize,
    /// Entries of ids that this store never knew.
    pub unknown: usize,
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The store.
    #[error("cannot read the jobs")]
    Store(#[from] StoreError),
    /// The coordinator.
    #[error("cannot read the queue")]
    Entries(#[from] EntriesError),
}

/// Why the queue could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The jobs that are to be queued again cannot be read.
    #[error("cannot read the jobs that wait")]
    Store(#[from] StoreError),
    /// They cannot be queued.
    #[error("cannot rebuild the queue")]
    Queue(#[from] slipstream_coordination::Error),
}

/// Runs rounds while elected, until `stop`.
pub async fn run(shared: &Shared, name: &str, stop: Stop) {
    while !stop.is_asked() {
        let term = async {
            let session = shared.entries.session().await?;
            let leadership = Election::new(session, nodes::RECONCILER, name).lead().await?;
            let rounds = async {
                loop {
                    one_round(shared).await;
                    tokio::time::sleep(REST).await;
                    tokio::select! {
                        biased;
                        // What is left to this reconciler was written just now: a round at once would leave it alone.
                        () = shared.nudge.notified() => tokio::time::sleep(UNTOUCHED.unsigned_abs()).await,
                        () = tokio::time::sleep(PERIOD) => {}
                    }
                }
            };
            tokio::select! {
                biased;
                () = leadership.lost() => {}
                () = rounds => {}
                () = purge_sessions(shared) => {}
            }
            Ok::<(), EntriesError>(())
        };
        tokio::select! {
            biased;
            () = stop.asked() => return,
            ended = term => if let Err(error) = ended {
                tracing::warn!(error = chain(&error), "reconciler cannot be elected");
            }
        }
        tokio::select! {
            biased;
            () = stop.asked() => return,
            () = tokio::time::sleep(REST) => {}
        }
    }
}

async fn one_round(shared: &Shared) {
    match round(shared, UNTOUCHED).await {
        Ok(mended) if mended == Mended::default() => {}
        Ok(mended) => tracing::info!(mended.put, mended.consumed, mended.unknown, "queue reconciled with the jobs"),
        Err(error) => tracing::warn!(error = chain(&error), "round of the reconciler cut short"),
    }
}

async fn purge_sessions(shared: &Shared) {
    loop {
        if let Err(error) = shared.sessions.purge(&*shared.store, shared.clock.now()).await {
            tracing::warn!(error = chain(&error), "expired sessions not removed");
        }
        tokio::time::sleep(PURGE_PERIOD).await;
    }
}

/// One round over jobs that nobody has written to for `untouched`.
pub async fn round(shared: &Shared, untouched: SignedDuration) -> Result<Mended, ReconcileError> {
    raise_forgotten_generation(shared).await?;
    let mut entries = shared.entries.list().await?;
    let before = shared.clock.now() - untouched;
    shared.jobs.settled().await;
    let missing = walk(&*shared.store, &mut entries).await?;
    let mut unrecorded = ids_at(shared, entries.into_iter().take(MOST_MENDED)).await?;
    let mut mended = Mended::default();
    let missing = missing.into_iter().map(|job| {
        let there = unrecorded.remove(&job.id);
        put_missing(shared, job, there, before)
    });
    // Side by side, so that the store can commit many at once.
    let mut puts = futures_util::stream::iter(missing.collect::<Vec<_>>()).buffer_unordered(PUT_AT_ONCE);
    while let Some(put) = puts.next().await {
        mended.put += usize::from(put?);
    }
    drop(puts);
    for (id, path) in unrecorded {
        match shared.store.get(&id).await? {
            None => {
                mended.unknown += 1;
                if mended.unknown <= REPORTED {
                    tracing::warn!(entry = path, job = id, "entry of a job that this store never knew, left alone");
                }
            }
            Some(record) if state_of(&record.document).is_final() => {
                mended.consumed += usize::from(shared.entries.consume_unclaimed(&path).await?);
            }
            Some(_) => {}
        }
    }
    Ok(mended)
}

/// A coordinator without the generation's node has forgotten everything, and its zxids may have started again: leases
/// go on under a higher generation (decision 3).
async fn raise_forgotten_generation(shared: &Shared) -> Result<(), ReconcileError> {
    let shown = shared.entries.text_at(nodes::GENERATION).await?;
    if shown.is_some_and(|text| text.parse::<i64>().is_ok()) {
        return Ok(());
    }
    let generation = generation::raise(&*shared.store).await?;
    generation::publish(&shared.entries, generation).await?;
    shared.generation.fetch_max(generation, Ordering::Relaxed);
    tracing::warn!(generation, "the coordinator had forgotten the generation, it is raised");
    Ok(())
}

/// Takes those entries out that are recorded for a job that is not final, and answers the jobs that are not final and
/// whose entry is not among them.
async fn walk(store: &dyn Store, entries: &mut BTreeSet<EntryName>) -> Result<Vec<Unfinished>, StoreError> {
    let mut missing = Vec::new();
    let mut after: Option<String> = None;
    while missing.len() < MOST_MENDED {
        let page = store.unfinished(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        // An entry that two jobs record is one's alone, as it is taken out once: the other gets a new one.
        let mut has_entry = |job: &Unfinished| {
            let name = job.entry.as_deref().and_then(nodes::entry_name);
            name.is_some_and(|name| entries.remove(&name))
        };
        missing.extend(page.into_iter().filter(|job| !has_entry(job)));
    }
    if missing.len() >= MOST_MENDED {
        // the walk ended early: whether the others are recorded, the next round will see
        entries.clear();
    }
    missing.truncate(MOST_MENDED);
    Ok(missing)
}

/// Tells a coordinator that forgets everything, at its start, which entries are recorded for jobs that are not final.
/// Answers how many of these have none recorded, or one that cannot be theirs: a round gives them one.
pub async fn restore(store: &dyn Store, coordinator: &Embedded) -> Result<usize, RestoreError> {
    let mut without = 0;
    let mut after: Option<String> = None;
    loop {
        let page = store.unfinished(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(without) };
        after = Some(last.id.clone());
        let jobs = page.len();
        let entry = |job: Unfinished| {
            let path = job.entry.filter(|path| nodes::is_entry(path))?;
            let (_, name) = path.rsplit_once('/')?;
            Some((name.to_owned(), job.id.into_bytes()))
        };
        let entries: Vec<_> = page.into_iter().filter_map(entry).collect();
        without += jobs - entries.len();
        without += coordinator.restore(nodes::ENTRIES, entries)?;
    }
}

async fn ids_at(
    shared: &Shared,
    names: impl Iterator<Item = EntryName>,
) -> Result<BTreeMap<String, String>, EntriesError> {
    let mut ids = BTreeMap::new();
    for path in names.map(nodes::entry_path) {
        if let Some(id) = shared.entries.text_at(&path).await? {
            ids.insert(id, path);
        }
    }
    Ok(ids)
}

/// Gives a job its entry: the one that is there already, or a new one. That is done, and recorded, only if the job is
/// still as the walk saw it and nobody has written to it after `before`; an entry that is not recorded then is found by
/// the next round.
async fn put_missing(
    shared: &Shared,
    job: Unfinished,
    there: Option<String>,
    before: Timestamp,
) -> Result<bool, ReconcileError> {
    if let Some(entry) = job.entry.as_deref().filter(|entry| nodes::is_entry(entry))
        && shared.entries.text_at(entry).await?.is_some_and(|id| id == job.id)
    {
        // Put since the entries were listed, as are those of all jobs that come meanwhile: none of them is read.
        return Ok(false);
    }
    let Some(record) = shared.jobs.get(&job.id).await? else { return Ok(false) };
    let is_as_seen = record.entry() == job.entry.as_deref() && !state_of(&record.document).is_final();
    if !is_as_seen || updated(&record.document) > before {
        return Ok(false);
    }
    let entry = match there {
        Some(entry) => entry,
        None => shared.entries.put(&record.id, priority_of(&record.document)).await?,
    };
    Ok(jobs::record_other_entry(shared, record, &entry).await?)
}

fn updated(document: &Document) -> Timestamp {
    let updated = document.get("updated").and_then(Value::as_str).and_then(|text| text.parse().ok());
    updated.unwrap_or(Timestamp::MIN)
}
