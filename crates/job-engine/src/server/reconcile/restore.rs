//! `POST /api/queue/restore`: queues all jobs of the store that have no entry, at once. For a coordinator that has lost
//! its nodes: the reconciler would do it too, ten thousand jobs a round and each after ten seconds.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use slipstream_cimi::Document;
use slipstream_store::each_unfinished;
use slipstream_store::{IndexRow, StoreError};

use super::Refusals;
use super::round::note_generation;
use crate::api::queue::{Refused, Restored};
use crate::process::paths;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::jobs::document::is_written_within;
use crate::server::jobs::document::{priority_of, state_of, time_of};
use crate::server::jobs::record::JobRecord;
use crate::server::queue::EntriesError;
use crate::server::{Shared, jobs};

/// How many jobs are read at once.
const READS_AT_ONCE: usize = 64;
/// How many are queued before the next ones are read.
const QUEUED_AT_ONCE: usize = 1_000;
/// How many entries are read before what they hold is noted.
const ENTRIES_AT_ONCE: usize = 10_000;

/// Jobs that others write to may be queued by them.
const WRITTEN_MEANWHILE: &str = "written to while this went on, the reconciler queues those that nobody else does";

/// Queues every job that is not final and whose id no entry holds, those of one priority in the order in which they were
/// added, and answers what was done as [`Restored`]. The generation rises first. May be repeated, also after it was cut
/// short: what is queued stays so.
pub async fn all(shared: &Shared, caller: &Caller) -> Result<Document, ApiError> {
    caller.require_administrator()?;
    let restored = serde_json::to_value(restore(shared).await?);
    let Ok(serde_json::Value::Object(restored)) = restored else { unreachable!("an object with texts as keys") };
    Ok(restored)
}

async fn restore(shared: &Shared) -> Result<Restored, ApiError> {
    // the reconciler of this server, and whoever asks for the same, has to wait
    let _turn = shared.mending.lock().await;
    let begun = shared.clock.now();
    let session = shared.entries.session().await?;
    let generation = shared.generation.raise().await?;
    let mut left_out = Refusals::default();
    note_generation(shared.generation.agree(&*session).await, &mut left_out)?;
    let queued = queued_ids(shared, &mut left_out).await?;
    shared.jobs.settled().await;
    let missing = missing(shared, &queued).await?;
    drop(queued);
    let total = missing.len();
    tracing::info!(jobs = total, generation, "queueing all jobs without an entry");
    let mut tally = Tally { queued: 0, left_out };
    for jobs in missing.chunks(QUEUED_AT_ONCE) {
        queue(shared, jobs, begun, &mut tally).await?;
    }
    let left_out = tally.left_out.told();
    for Refused { told, reason } in &left_out {
        tracing::warn!(told.count, first = told.names.first(), reason, "left out");
    }
    tracing::info!(jobs = tally.queued, "all other jobs without an entry are queued");
    Ok(Restored { queued: tally.queued, generation, left_out })
}

/// What became of the jobs so far.
struct Tally {
    queued: usize,
    left_out: Refusals,
}

/// What all entries hold that may be read.
async fn queued_ids(shared: &Shared, left_out: &mut Refusals) -> Result<HashSet<String>, EntriesError> {
    let mut ids = HashSet::new();
    for names in shared.entries.list().await?.chunks(ENTRIES_AT_ONCE) {
        let texts = shared.entries.texts_at(names.iter().copied().map(paths::entry_path).collect()).await?;
        for (name, text) in names.iter().zip(texts) {
            match text {
                Ok(id) => ids.extend(id),
                Err(cause) => left_out.add(paths::entry_path(*name), cause.to_string()),
            }
        }
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
    let read = async |IndexRow { id, entry: recorded, .. }| {
        let record = shared.jobs.get(&id).await?;
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

/// Puts and records entries for those that are still as they were seen. Not for those that were queued meanwhile, nor for
/// those that somebody has written to since this was begun and may be queueing: what has no entry then is the
/// reconciler's.
async fn queue(shared: &Shared, missing: &[Missing], begun: Timestamp, tally: &mut Tally) -> Result<(), ApiError> {
    let read = missing.iter().map(async |job| {
        let record = shared.jobs.get(&job.id).await?;
        let is_as_seen = |record: &Arc<JobRecord>| {
            !state_of(&record.document).is_final() && record.entry() == job.recorded.as_deref()
        };
        Ok::<_, StoreError>(record.filter(is_as_seen))
    });
    let read: Result<Vec<_>, _> = join_all(read).await.into_iter().collect();
    let now = shared.clock.now();
    let is_written_meanwhile =
        |record: &Arc<JobRecord>| is_written_within(&record.document, now.duration_since(begun), now);
    let (written, mut records): (Vec<_>, Vec<_>) = read?.into_iter().flatten().partition(is_written_meanwhile);
    for record in &written {
        tally.left_out.add(&*record.id, WRITTEN_MEANWHILE);
    }
    let recorded: Vec<_> = records.iter().map(|record| (&*record.id, record.entry())).collect();
    let queued = shared.entries.are_queued(&recorded).await?;
    let mut queued = queued.into_iter();
    records.retain(|_| queued.next() == Some(false));
    let puts = records.iter().map(|record| ((*record.id).to_owned(), priority_of(&record.document))).collect();
    let mut put = Vec::new();
    for (record, answer) in records.into_iter().zip(shared.entries.put_all(puts).await) {
        match answer {
            Ok(entry) => put.push((record, entry)),
            Err(error @ EntriesError::Refused { .. }) => {
                tally.left_out.add(&*record.id, error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    tally.queued += put.len();
    // whoever has changed the job meanwhile has begun it, and recorded the entry; else the reconciler will
    let record = async |(record, entry): (Arc<JobRecord>, String)| {
        let lost = record.entry().is_some().then(|| record.id.clone());
        let is_recorded = jobs::record_other_entry(shared, record, &entry).await;
        let is_recorded = is_recorded?;
        if let Some(job) = lost.filter(|_| is_recorded) {
            shared.released().note_entry(&job, shared.clock.now());
        }
        Ok(is_recorded)
    };
    join_all(put.into_iter().map(record)).await.into_iter().collect::<Result<Vec<bool>, _>>().map(drop)
}
