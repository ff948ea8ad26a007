//! [`mend`]: gives jobs their entries.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use slipstream_action::with_causes;
use slipstream_coordination::queue::EntryName;
use slipstream_store::{IndexRow, StoreError};

use super::ReconcileError;
use super::refusals::{Refusals, only_its_own};
use crate::process::paths;
use crate::server::Shared;
use crate::server::jobs::cache::Durability;
use crate::server::jobs::document::{is_written_within, priority_of, state_of};
use crate::server::jobs::record::JobRecord;
use crate::server::queue::QueueError;

/// How many jobs are given their entries before the next ones are read.
pub(super) const JOBS_AT_ONCE: usize = 1_000;

/// A job that is not final and has no entry, as far as somebody has seen.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Missing {
    pub(super) id: String,
    /// The entry that it records, which is not there.
    pub(super) recorded: Option<String>,
    /// One that is there, is the job's, and is not recorded.
    pub(super) there: Option<String>,
}

/// What became of jobs without an entry.
#[derive(Default)]
pub(super) struct Given {
    /// How many of them have one.
    pub(super) count: usize,
    /// Ids of those that are left alone: whoever has written to them may be putting their entry.
    pub(super) just_written: Vec<String>,
}

impl From<IndexRow> for Missing {
    fn from(job: IndexRow) -> Self {
        Self { id: job.id, recorded: job.entry, there: None }
    }
}

/// Those of the jobs whose recorded entry is not there or is another job's. An entry put since somebody has looked is
/// there, as are those of all jobs that come meanwhile: none of these jobs is read.
pub(super) async fn without_entry(
    shared: &Shared,
    jobs: impl Iterator<Item = Missing>,
) -> Result<Vec<Missing>, QueueError> {
    let jobs: Vec<Missing> = jobs.collect();
    let recorded: Vec<_> = jobs.iter().map(|job| (job.id.as_str(), job.recorded.as_deref())).collect();
    let mut queued = shared.queue.are_queued(&recorded).await?.into_iter();
    Ok(jobs.into_iter().filter(|_| queued.next() == Some(false)).collect())
}

/// What these entries hold, as far as they are there and may be read.
pub(super) async fn held_by(
    shared: &Shared,
    names: &[EntryName],
    refusals: &mut Refusals,
) -> Result<Vec<(EntryName, String)>, QueueError> {
    let texts = shared.queue.texts_at(names.iter().copied().map(paths::entry_path).collect()).await?;
    let mut held = Vec::with_capacity(names.len());
    for (name, text) in names.iter().zip(texts) {
        match text {
            Ok(id) => held.extend(id.map(|id| (*name, id))),
            Err(cause) => refusals.add(paths::entry_path(*name), cause.to_string()),
        }
    }
    Ok(held)
}

/// Gives these jobs their entries: the one that is there already, or a new one, these in the order of the jobs. That is
/// done, and recorded, only for jobs that are still as they were seen and that nobody has written to since then. An entry
/// that is not recorded is found by the next round, unless whoever was faster has recorded it.
pub(super) async fn mend(
    shared: &Shared,
    jobs: &[Missing],
    since: Timestamp,
    refusals: &mut Refusals,
) -> Result<Given, ReconcileError> {
    let mut given = Given::default();
    let read = join_all(jobs.iter().map(|job| shared.jobs.get(&job.id))).await;
    let now = shared.clock.now();
    let mut records = Vec::with_capacity(jobs.len());
    for (job, read) in jobs.iter().zip(read) {
        let Some(Some(record)) = only_its_own(read.map_err(ReconcileError::from), &job.id, refusals)? else { continue };
        if record.entry() != job.recorded.as_deref() || state_of(&record.document).is_final() {
            continue;
        }
        if is_written_within(&record.document, now.duration_since(since), now) {
            given.just_written.push(job.id.clone());
        } else {
            records.push((job, record));
        }
    }
    let put = records.iter().filter(|(job, _)| job.there.is_none());
    let put = put.map(|(job, record)| (job.id.clone(), priority_of(&record.document))).collect();
    let mut put = shared.queue.put_all(put).await.into_iter();
    let entries = records.into_iter().filter_map(|(job, record)| {
        let entry = job.there.clone().map(Ok).or_else(|| put.next())?;
        Some(async move {
            let recorded = match entry {
                Ok(entry) => record_entry(shared, record, &entry).await.map_err(ReconcileError::from),
                Err(error) => Err(error.into()),
            };
            (job, recorded)
        })
    });
    let recorded = join_all(entries.collect::<Vec<_>>()).await;
    for (job, recorded) in recorded {
        let Some(is_recorded) = only_its_own(recorded, &job.id, refusals)? else { continue };
        // a new one is there, whoever was faster: an executor may have begun the job under it
        given.count += usize::from(is_recorded || job.there.is_none());
        if is_recorded && job.recorded.is_some() {
            shared.released().note_entry(&job.id, shared.clock.now());
        }
    }
    Ok(given)
}

/// Records this entry for a job that is still this one, whatever is recorded. Answers whether that was so.
async fn record_entry(shared: &Shared, record: Arc<JobRecord>, entry: &str) -> Result<bool, StoreError> {
    let ledger = match record.ledger() {
        Ok(ledger) => ledger.with_entry(entry),
        Err(error) => {
            tracing::error!(entry, error = with_causes(error), "entry not recorded");
            return Ok(false);
        }
    };
    match shared.jobs.change(record, Durability::OnDisk, |record| record.set_ledger(ledger)).await {
        Ok(_) => Ok(true),
        Err(StoreError::Changed(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
