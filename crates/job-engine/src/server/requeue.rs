//! `POST /api/queue/restore`: queues all jobs of the store that have no entry, at once. For a coordinator that has lost
//! its nodes: the reconciler would do it too, ten thousand jobs a round and each after ten seconds.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use slipstream_cimi::Document;

use super::access::Caller;
use super::entries::EntriesError;
use super::error::ApiError;
use super::generation::GenerationError;
use super::job_document::{priority_of, state_of, time_of};
use super::job_record::JobRecord;
use super::reconcile::each_unfinished;
use super::store::{StoreError, Unfinished};
use super::{Shared, jobs};
use crate::nodes;

/// How many jobs are read at once.
const READS_AT_ONCE: usize = 64;
/// How many are queued before the next ones are read.
const QUEUED_AT_ONCE: usize = 1_000;
/// How many entries are read before what they hold is noted.
const ENTRIES_AT_ONCE: usize = 10_000;

/// Queues every job that is not final and whose id no entry holds, those of one priority in the order in which they were
/// added, and answers how many were queued. The generation rises first. May be repeated, also after it was cut short:
/// what is queued stays so.
pub async fn all(shared: &Shared, caller: &Caller) -> Result<Document, ApiError> {
    caller.require_administrator()?;
    // the reconciler of this server, and whoever asks for the same, has to wait
    let _turn = shared.mending.lock().await;
    let begun = shared.clock.now();
    let session = shared.entries.session().await.map_err(|error| ApiError::unavailable(&error))?;
    let generation = shared.generation.raise().await.map_err(|error| ApiError::store(&error))?;
    shared.generation.agree(&*session).await.map_err(|error| match error {
        GenerationError::Store(error) => ApiError::store(&error),
        GenerationError::Coordinator(error) => ApiError::unavailable(&EntriesError::from(error)),
    })?;
    let queued = queued_ids(shared).await.map_err(|error| ApiError::unavailable(&error))?;
    shared.jobs.settled().await;
    let missing = missing(shared, &queued).await.map_err(|error| ApiError::store(&error))?;
    drop(queued);
    let total = missing.len();
    tracing::info!(jobs = total, generation, "queueing all jobs without an entry");
    let mut count = 0;
    for jobs in missing.chunks(QUEUED_AT_ONCE) {
        count += queue(shared, jobs, begun).await?;
    }
    tracing::info!(jobs = count, "all jobs without an entry are queued");
    Ok(Document::from_iter([("queued".to_owned(), count.into()), ("generation".to_owned(), generation.into())]))
}

/// What all entries hold.
async fn queued_ids(shared: &Shared) -> Result<HashSet<String>, EntriesError> {
    let mut ids = HashSet::new();
    for names in shared.entries.list().await?.chunks(ENTRIES_AT_ONCE) {
        let texts = shared.entries.texts_at(names.iter().copied().map(nodes::entry_path).collect()).await?;
        ids.extend(texts.into_iter().flatten().flatten());
    }
    Ok(ids)
}

/// A job without an entry: first by priority, then by age.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Missing {
    priority: u16,
    created: Timestamp,
    id: String,
    /// The entry that it recorded when it was seen, which was not there.
    recorded: Option<String>,
}

async fn missing(shared: &Shared, queued: &HashSet<String>) -> Result<Vec<Missing>, StoreError> {
    let mut jobs = Vec::new();
    each_unfinished(&*shared.store, |job| {
        if !queued.contains(&job.id) {
            jobs.push(job);
        }
    })
    .await?;
    let read = async |Unfinished { id, entry: recorded, .. }| {
        let record = shared.jobs.fresh(&id).await?;
        Ok::<_, StoreError>(record.map(|record| {
            let (priority, created) = (priority_of(&record.document), time_of(&record.document, "created"));
            Missing { priority, created, id, recorded }
        }))
    };
    let read = stream::iter(jobs.into_iter().map(read)).buffer_unordered(READS_AT_ONCE);
    let mut missing: Vec<Missing> = read.try_filter_map(async |job| Ok(job)).try_collect().await?;
    missing.sort_unstable();
    Ok(missing)
}

/// Puts and records entries for those that are still as they were seen, and answers how many. Not for those that were
/// queued meanwhile, nor for those that somebody has written to since this was begun and may be queueing: what has no entry
/// then is the reconciler's.
async fn queue(shared: &Shared, missing: &[Missing], begun: Timestamp) -> Result<usize, ApiError> {
    let read = missing.iter().map(async |job| {
        let record = shared.jobs.get(&job.id).await?;
        let is_as_seen = |record: &Arc<JobRecord>| {
            !state_of(&record.document).is_final()
                && record.entry() == job.recorded.as_deref()
                && time_of(&record.document, "updated") <= begun
        };
        Ok::<_, StoreError>(record.filter(is_as_seen))
    });
    let read: Result<Vec<_>, _> = join_all(read).await.into_iter().collect();
    let mut records: Vec<Arc<JobRecord>> =
        read.map_err(|error| ApiError::store(&error))?.into_iter().flatten().collect();
    let recorded: Vec<_> = records.iter().map(|record| (&*record.id, record.entry())).collect();
    let queued = shared.entries.are_queued(&recorded).await.map_err(|error| ApiError::unavailable(&error))?;
    let mut queued = queued.into_iter();
    records.retain(|_| queued.next() == Some(false));
    let puts = records.iter().map(|record| ((*record.id).to_owned(), priority_of(&record.document))).collect();
    let put = shared.entries.put_all(puts).await;
    let record = async |(record, put): (Arc<JobRecord>, Result<String, EntriesError>)| {
        let entry = put.map_err(|error| ApiError::unavailable(&error))?;
        // whoever has changed the job meanwhile has begun it, and recorded the entry; else the reconciler will
        jobs::record_other_entry(shared, record, &entry).await.map_err(|error| ApiError::store(&error))
    };
    let recorded: Result<Vec<bool>, ApiError> =
        join_all(records.into_iter().zip(put).map(record)).await.into_iter().collect();
    Ok(recorded?.len())
}
