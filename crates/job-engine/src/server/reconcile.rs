//! The reconciler: compares what is stored with what is queued and mends the difference (decision 2).
//!
//! One idempotent round, started by a timer and by a nudge. A round lists the entries afresh, walks the jobs that are
//! not final, and puts an entry for each that has none; entries of final jobs are consumed unless somebody holds
//! them, and entries of ids that this store never knew are reported and left alone. There are no retries inside a
//! round: the next round is the retry.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_coordination::Election;

use super::entries::EntriesError;
use super::error::chain;
use super::job_document::{priority_of, state_of};
use super::job_record::entry_of;
use super::jobs;
use super::store::{Query, Record, Store, StoreError};
use super::{Shared, generation};
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
/// Documents read at once.
const PAGE: u64 = 1_000;

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
    let entries = shared.entries.list().await?;
    let before = shared.clock.now() - untouched;
    shared.jobs.settled().await;
    let Walk { recorded, missing } = walk(&*shared.store, &entries).await?;
    let mut unrecorded = ids_at(shared, entries.difference(&recorded).take(MOST_MENDED)).await?;
    let mut mended = Mended::default();
    let missing = missing.into_iter().filter_map(|record| {
        let there = unrecorded.remove(&record.id);
        (updated(&record) <= before).then(|| put_missing(shared, record, there))
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

struct Walk {
    /// Entries that count for a job that is not final.
    recorded: BTreeSet<String>,
    /// Jobs that are not final and whose entry is not there.
    missing: Vec<Record>,
}

async fn walk(store: &dyn Store, entries: &BTreeSet<String>) -> Result<Walk, StoreError> {
    let mut walk = Walk { recorded: BTreeSet::new(), missing: Vec::new() };
    let mut after = None;
    while walk.missing.len() < MOST_MENDED {
        let page = unfinished(store, after).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for record in page {
            match entry_of(&record) {
                // An entry that two jobs record is one's alone: the other gets a new one.
                Some(entry) if entries.contains(entry) && walk.recorded.insert(entry.to_owned()) => {}
                _ => walk.missing.push(record),
            }
        }
    }
    walk.missing.truncate(MOST_MENDED);
    Ok(walk)
}

/// What a coordinator that forgets everything has to be told at its start.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Name of each entry, and the id of its job.
    pub entries: BTreeMap<String, Vec<u8>>,
    /// How many jobs have no entry recorded, or one that cannot be theirs: a round gives them one.
    pub without: usize,
}

/// The entries recorded for jobs that are not final.
pub async fn recorded_entries(store: &dyn Store) -> Result<Recorded, StoreError> {
    let mut recorded = Recorded::default();
    let mut after = None;
    loop {
        let page = unfinished(store, after).await?;
        let Some(last) = page.last() else { return Ok(recorded) };
        after = Some(last.id.clone());
        for record in page {
            let path = entry_of(&record).filter(|path| nodes::is_entry(path));
            let name = path.and_then(|path| path.rsplit('/').next()).map(str::to_owned);
            match name.map(|name| recorded.entries.entry(name)) {
                Some(Entry::Vacant(place)) => {
                    place.insert(record.id.into_bytes());
                }
                Some(Entry::Occupied(_)) | None => recorded.without += 1,
            }
        }
    }
}

async fn unfinished(store: &dyn Store, after: Option<String>) -> Result<Vec<Record>, StoreError> {
    let is = |state: State| {
        let literal = Literal::Text(state.as_str().to_owned());
        Filter::Compare(Attribute("state".to_owned()), Comparison::Equal, literal)
    };
    let unfinished = State::ALL.into_iter().filter(|state| !state.is_final()).map(is).collect();
    let query = Query { filter: Some(Filter::Any(unfinished)), after, limit: PAGE, ..Query::default() };
    Ok(store.query(JOB.name, &query).await?.records)
}

async fn ids_at(
    shared: &Shared,
    paths: impl Iterator<Item = &String>,
) -> Result<BTreeMap<String, String>, EntriesError> {
    let mut ids = BTreeMap::new();
    for path in paths {
        if let Some(id) = shared.entries.text_at(path).await? {
            ids.insert(id, path.clone());
        }
    }
    Ok(ids)
}

/// Gives a job its entry: the one that is there already, or a new one. The record is written only if the job is still
/// the one that was read; an entry that is not recorded then is found by the next round.
async fn put_missing(shared: &Shared, record: Record, there: Option<String>) -> Result<bool, ReconcileError> {
    let entry = match there {
        Some(entry) => entry,
        None => shared.entries.put(&record.id, priority_of(&record.document)).await?,
    };
    Ok(jobs::record_other_entry(shared, &record, &entry).await?)
}

fn updated(record: &Record) -> Timestamp {
    let updated = record.document.get("updated").and_then(Value::as_str).and_then(|text| text.parse().ok());
    updated.unwrap_or(Timestamp::MIN)
}
