//! The reconciler: compares what is stored with what is queued and mends the difference (decision 2).
//!
//! One idempotent round, started by a timer and by a nudge. A round lists the entries afresh, walks the jobs that are
//! not final, and puts an entry for each that has none; entries of final jobs are consumed unless somebody holds
//! them, and entries of ids that this store never knew are reported and left alone. There are no retries inside a
//! round: the next round is the retry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_coordination::Election;

use super::Shared;
use super::entries::EntriesError;
use super::error::chain;
use super::job_document::{priority_of, state_of};
use super::jobs::{ledger_of, ledger_value};
use super::store::{Query, Record, Store, StoreError};
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
            while leadership.holds() {
                one_round(shared).await;
                tokio::time::sleep(REST).await;
                tokio::select! {
                    biased;
                    () = leadership.lost() => break,
                    () = shared.nudge.notified() => {}
                    () = tokio::time::sleep(PERIOD) => {}
                }
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
    if let Err(error) = shared.sessions.purge(&*shared.store, shared.clock.now()).await {
        tracing::warn!(error = chain(&error), "expired sessions not removed");
    }
}

/// One round over jobs that nobody has written to for `untouched`.
pub async fn round(shared: &Shared, untouched: SignedDuration) -> Result<Mended, ReconcileError> {
    let entries = shared.entries.list().await?;
    let before = shared.clock.now() - untouched;
    let Walk { recorded, missing } = walk(&*shared.store, &entries).await?;
    let mut unrecorded = ids_at(shared, entries.difference(&recorded).take(MOST_MENDED)).await?;
    let mut mended = Mended::default();
    for record in missing {
        let there = unrecorded.remove(&record.id);
        if updated(&record) <= before && put_missing(shared, record, there).await? {
            mended.put += 1;
        }
    }
    for (id, path) in unrecorded {
        match shared.store.get(&id).await? {
            None => {
                tracing::warn!(entry = path, job = id, "entry of a job that this store never knew, left alone");
                mended.unknown += 1;
            }
            Some(record) if state_of(&record.document).is_final() => {
                mended.consumed += usize::from(shared.entries.consume_unclaimed(&path).await?);
            }
            Some(_) => {}
        }
    }
    Ok(mended)
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
            match ledger_of(&record).entry {
                Some(entry) if entries.contains(&entry) => {
                    walk.recorded.insert(entry);
                }
                _ => walk.missing.push(record),
            }
        }
    }
    walk.missing.truncate(MOST_MENDED);
    Ok(walk)
}

/// The entries recorded for jobs that are not final, as (name, job id): what a coordinator that forgets everything
/// has to be told at its start.
pub async fn recorded_entries(store: &dyn Store) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut entries = Vec::new();
    let mut after = None;
    loop {
        let page = unfinished(store, after).await?;
        let Some(last) = page.last() else { return Ok(entries) };
        after = Some(last.id.clone());
        for record in page {
            let name = ledger_of(&record).entry.and_then(|path| path.rsplit('/').next().map(str::to_owned));
            entries.extend(name.map(|name| (name, record.id.into_bytes())));
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
        if let Some(id) = shared.entries.id_at(path).await? {
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
    let mut ledger = ledger_of(&record);
    ledger.entry = Some(entry);
    match shared.store.replace(Record { ledger: ledger_value(&ledger), ..record }).await {
        Ok(_) => Ok(true),
        Err(StoreError::Changed(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn updated(record: &Record) -> Timestamp {
    let updated = record.document.get("updated").and_then(Value::as_str).and_then(|text| text.parse().ok());
    updated.unwrap_or(Timestamp::MIN)
}
