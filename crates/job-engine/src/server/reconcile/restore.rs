//! `POST /api/queue/restore`: queues all jobs of the store that have no entry, at once. For a coordinator that has lost
//! its nodes: the reconciler would do it too, ten thousand jobs a round and each after ten seconds.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use slipstream_cimi::overview::queue::{Refused, Restored};
use slipstream_store::{StoreError, each_unfinished};

use super::ReconcileError;
use super::mend::{JOBS_AT_ONCE, Missing, held_by, mend, without_entry};
use super::refusals::{Refusals, note_generation};
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::jobs::document::{priority_of, time_of};
use crate::server::queue::QueueError;

/// How many jobs are read at once.
const READS_AT_ONCE: usize = 64;
/// How many entries are read before what they hold is noted.
const ENTRIES_AT_ONCE: usize = 10_000;

/// Jobs that others write to may be queued by them.
const WRITTEN_MEANWHILE: &str = "changed meanwhile, the reconciler queues them if need be";

/// Queues every job that is not final and whose id no entry holds, those of one priority in the order in which they were
/// added, and answers what was done. The generation rises first. May be repeated, also after it was cut
/// short: what is queued stays so.
pub async fn all(shared: &Shared, caller: &Caller) -> Result<Restored, ApiError> {
    caller.require_administrator()?;
    Ok(restore(shared).await?)
}

async fn restore(shared: &Shared) -> Result<Restored, ReconcileError> {
    // the reconciler of this server, and whoever asks for the same, has to wait
    let _turn = shared.reconcile_lock.lock().await;
    let begun = shared.clock.now();
    let session = shared.queue.session().await?;
    let generation = shared.generation.raise().await?;
    let mut left_out = Refusals::default();
    note_generation(shared.generation.agree(&*session).await, &mut left_out)?;
    let queued = queued_ids(shared, &mut left_out).await?;
    shared.jobs.settled().await;
    let missing = missing(shared, &queued).await?;
    drop(queued);
    tracing::info!(jobs = missing.len(), generation, "queueing all jobs without an entry");
    let mut queued = 0;
    let mut missing = missing.into_iter();
    while missing.len() > 0 {
        let jobs = without_entry(shared, missing.by_ref().take(JOBS_AT_ONCE)).await?;
        let given = mend(shared, &jobs, begun, &mut left_out).await?;
        queued += given.count;
        for id in given.just_written {
            left_out.add(id, WRITTEN_MEANWHILE);
        }
    }
    let left_out = left_out.list();
    for Refused { sample, reason } in &left_out {
        tracing::warn!(count = sample.count, first = sample.names.first(), reason, "jobs left out of the queue");
    }
    tracing::info!(jobs = queued, "queued all other jobs without an entry");
    Ok(Restored { queued, generation, left_out })
}

/// What all entries hold that may be read.
async fn queued_ids(shared: &Shared, left_out: &mut Refusals) -> Result<HashSet<String>, QueueError> {
    let mut ids = HashSet::new();
    for names in shared.queue.list().await?.chunks(ENTRIES_AT_ONCE) {
        ids.extend(held_by(shared, names, left_out).await?.into_iter().map(|(_, id)| id));
    }
    Ok(ids)
}

/// Jobs whose id no entry holds: first by priority, then by age.
async fn missing(shared: &Shared, queued: &HashSet<String>) -> Result<Vec<Missing>, StoreError> {
    let mut jobs = Vec::new();
    each_unfinished(&*shared.store, |job| {
        if !queued.contains(&job.id) {
            jobs.push(Missing::from(job));
        }
    })
    .await?;
    let read = async |job: Missing| {
        let record = shared.jobs.get(&job.id).await?;
        let rank = record.map(|it| (priority_of(&it.document), time_of(&it.document, "created")));
        Ok::<_, StoreError>(rank.map(|rank| (rank, job)))
    };
    let read = stream::iter(jobs.into_iter().map(read)).buffer_unordered(READS_AT_ONCE);
    let mut missing: Vec<_> = read.try_filter_map(async |job| Ok(job)).try_collect().await?;
    missing.sort_unstable();
    Ok(missing.into_iter().map(|(_, job)| job).collect())
}
