//! Jobs behind the API: add, read, edit, stop, delete.

pub mod bulk;
pub mod bulk_add;
pub mod cache;
mod counts;
pub mod document;
mod edit;
pub mod explain;
pub mod feed;
pub mod ledger;
mod priority;
pub mod record;
pub mod released;
pub mod reports;
pub mod retry;
pub mod schema;
mod update;

use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_action::with_causes;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::ledger::CLAIM;
use slipstream_cimi::{Document, State};
use slipstream_store::Revision;
use uuid::Uuid;

use self::cache::Durability;
use self::document::{Patch, action_of, priority_of, state_of};
pub use self::edit::{EditRequest, edit, fence, note_output};
use self::ledger::Outcome;
use self::record::JobRecord;
use self::schema::job_violations;
use self::update::{Change, Decision, Updated, update, update_from};
use super::Shared;
use super::auth::caller::Caller;
use super::error::ApiError;
use super::queue::QueueError;

/// Ids of repeatable adds are UUIDs of version 5 in this name space (itself drawn once, at random).
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x5f2b_7a0c_3e64_4d0e_9c1b_84f6_a1d2_77e3);

/// Stores a job as QUEUED, then puts its entry, then records the entry's path if none is recorded (decision 1). The
/// job is added once it is stored; an entry that cannot be put now is put by the reconciler.
pub async fn add(shared: &Shared, caller: &Caller, sent: Document, key: Option<&str>) -> Result<String, ApiError> {
    put_new(shared, prepare(shared, caller, sent, key)?).await
}

/// All but the first step of [`add`]; answers the job's id.
async fn put_new(shared: &Shared, new: JobRecord) -> Result<String, ApiError> {
    let stored = store(shared, new).await?;
    let id = stored.id().to_owned();
    if let [Some(entry)] = &*put_entries(shared, std::slice::from_ref(&stored)).await {
        record_entry(shared, stored, entry).await;
    }
    Ok(id)
}

/// A job that is stored and waits for its entry. As long as this is held, the job need not be read to record that.
#[derive(Debug)]
pub struct Stored(Arc<JobRecord>);

impl Stored {
    /// Id of the job.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }
}

/// The first step of [`add`]: the record of a new job, checked. Ids rise in the order in which they are drawn here.
pub fn prepare(shared: &Shared, caller: &Caller, sent: Document, key: Option<&str>) -> Result<JobRecord, ApiError> {
    caller.require_administrator()?;
    let id = match key {
        Some(key) => id_of_key(JOB.name, caller.name().unwrap_or(""), key),
        None => format!("{}/{}", JOB.name, Uuid::now_v7()),
    };
    let document = document::new_document(&id, sent, shared.clock.now());
    refuse(&job_violations(&document))?;
    Ok(JobRecord::new(&id, document))
}

/// The id of the document of this kind that this user adds with this `Idempotency-Key`, however often (decision 11).
#[must_use]
pub fn id_of_key(kind: &str, user: &str, key: &str) -> String {
    format!("{kind}/{}", Uuid::new_v5(&KEY_NAMESPACE, format!("{user}\n{key}").as_bytes()))
}

/// The second step of [`add`]: what it answers is on disk.
pub async fn store(shared: &Shared, new: JobRecord) -> Result<Stored, ApiError> {
    let stored = shared.jobs.insert(new).await.map(Stored)?;
    shared.metrics.added(&action_of(&stored.0.document));
    Ok(stored)
}

/// The third step of [`add`], for several at once and in their order: puts the entries and answers their paths, which
/// are still to be recorded. What cannot be put now, or may not have been, is left to the reconciler.
pub async fn put_entries(shared: &Shared, stored: &[Stored]) -> Vec<Option<String>> {
    let jobs = stored.iter().map(|stored| (stored.id().to_owned(), priority_of(&stored.0.document))).collect();
    let mut failed = Vec::new();
    let put = |(stored, put): (&Stored, Result<String, QueueError>)| match put {
        Ok(entry) => Some(entry),
        Err(error) => {
            failed.push((stored.id().to_owned(), error));
            None
        }
    };
    let entries = stored.iter().zip(shared.queue.put_all(jobs).await).map(put).collect();
    if let Some((job, error)) = failed.first() {
        let (count, error) = (failed.len(), with_causes(error));
        if shared.queue.complaint().is_first() {
            tracing::warn!(
                job,
                error,
                count,
                "entries not put yet, the reconciler will; logged once until it works again"
            );
        } else {
            tracing::debug!(job, error, count, "entries not put yet");
        }
        shared.nudge.notify_one();
    } else {
        shared.queue.complaint().settle();
    }
    entries
}

/// Records an entry unless one is recorded. Never deletes the entry because somebody else was faster: an attempt that
/// has begun meanwhile recorded it itself. Only the entry of a job that was stopped or deleted meanwhile goes: whoever
/// did that did not know of it.
pub async fn record_entry(shared: &Shared, Stored(job): Stored, entry: &str) {
    let id = job.id.clone();
    let recorded = update_from(shared, None, &id, Some(job), |job: &JobRecord| {
        if job.entry().is_some() || state_of(&job.document).is_final() {
            return Ok(Decision::Keep);
        }
        let ledger = job.ledger()?.with_entry(entry);
        Ok(Decision::Change(Change { patch: None, ledger, durability: Durability::Soon, refusal: None }))
    });
    match recorded.await {
        Ok(Some(Updated { job, .. })) if job.entry().is_some() => {}
        Ok(_) => take_away(shared, &id, entry).await,
        Err(error) => {
            tracing::warn!(job = &*id, error = error.cause(), "entry not recorded, the reconciler will");
            shared.nudge.notify_one();
        }
    }
}

/// Reads a job.
pub async fn read(shared: &Shared, caller: &Caller, id: &str) -> Result<Arc<JobRecord>, ApiError> {
    let stored = shared.jobs.get(id).await?;
    caller.permit(id, stored, |job| &job.document, Caller::may_view)
}

/// Reads what the server keeps of a job and never shows as an attribute, and who holds its entry; only administrators
/// may.
pub async fn read_ledger(shared: &Shared, caller: &Caller, id: &str) -> Result<Document, ApiError> {
    caller.require_administrator_for(id)?;
    let record = read(shared, caller, id).await?;
    let mut ledger = match record.stored(Revision::default()).ledger {
        Value::Object(ledger) => ledger,
        _ => Document::new(),
    };
    let holder = async { shared.queue.holder(record.entry()?).await.ok() };
    // nothing is said while the coordinator cannot be asked
    if let Some(holder) = holder.await {
        ledger.insert(CLAIM.to_owned(), json!(holder));
    }
    Ok(ledger)
}

/// Stops a job that is not final: first the document, then the entry, so that whoever holds it sees it vanish
/// (decision 14). A final job stays as it is.
pub async fn stop(shared: &Shared, caller: &Caller, id: &str) -> Result<Arc<JobRecord>, ApiError> {
    let stopped = update(shared, caller, id, |job: &JobRecord| {
        if state_of(&job.document).is_final() {
            return Ok(Decision::Keep);
        }
        let (now, mut ledger) = (shared.clock.now(), job.ledger()?.clone());
        ledger.end(Outcome::Finished, now);
        let patch = Some(Patch::new(&job.document, state_alone(State::Stopped), &[], now));
        Ok(Decision::Change(Change { patch, ledger, durability: Durability::OnDisk, refusal: None }))
    });
    let Updated { job, is_written } = stopped.await?;
    if is_written {
        remove_entry(shared, &job).await;
    }
    Ok(job)
}

/// Deletes a job: first the document, then the entry.
pub async fn delete(shared: &Shared, caller: &Caller, id: &str) -> Result<(), ApiError> {
    let Updated { job, .. } = update(shared, caller, id, |_: &JobRecord| Ok(Decision::Remove)).await?;
    if !state_of(&job.document).is_final() {
        remove_entry(shared, &job).await;
    }
    Ok(())
}

async fn remove_entry(shared: &Shared, record: &JobRecord) {
    if let Some(entry) = record.entry() {
        take_away(shared, &record.id, entry).await;
    }
}

async fn take_away(shared: &Shared, id: &str, entry: &str) {
    if let Err(error) = shared.queue.remove(entry, id).await {
        tracing::warn!(job = id, entry, error = with_causes(&error), "entry not removed yet, the reconciler will");
        shared.nudge.notify_one();
    }
}

fn state_alone(state: State) -> Document {
    Document::from_iter([("state".to_owned(), state.as_str().into())])
}

fn refuse(violations: &[String]) -> Result<(), ApiError> {
    if violations.is_empty() { Ok(()) } else { Err(ApiError::schema(violations)) }
}

#[cfg(test)]
pub(super) mod tests;
