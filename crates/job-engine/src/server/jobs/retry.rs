//! A final job is run again as a new one: final is final, and its ledger is its history. The new job's id is made of the
//! old one's and of how many retries there were, so that they are found without an index, and a double click adds one.

use jiff::Timestamp;
use serde_json::json;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::retries::{RETRY_OF, Retries, Wish};
use slipstream_cimi::{Code, Document};
use uuid::Uuid;

use super::document::{new_document, state_of, time_of};
use super::record::JobRecord;
use super::schema::job_violations;
use super::{put_new, read, refuse};
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;

#[cfg(test)]
mod tests;

/// Ids of retries are UUIDs of version 5 in this name space (itself drawn once, at random).
const RETRY_NAMESPACE: Uuid = Uuid::from_u128(0x8f0a_1d52_7c3b_4e96_a3de_50b4_c2f7_196d);
/// Most retries of one job.
const MOST_RETRIES: u32 = 1_000;

/// What a retry has of the job that it repeats: what somebody asked for, and nothing of what came of it.
const COPIED: [&str; 9] = [
    "name",
    "description",
    "action",
    "targetResource",
    "affectedResources",
    "parentJob",
    "priority",
    "properties",
    "acl",
];

/// Adds the job `id` once more, and answers the new job's id. Whoever may add and may see the job may do that.
pub async fn retry(shared: &Shared, caller: &Caller, id: &str, wish: Wish) -> Result<String, ApiError> {
    caller.require_administrator_for(id)?;
    let job = read(shared, caller, id).await?;
    if !state_of(&job.document).is_final() {
        let message = format!("{id} is {}: only a job that has ended can be run again", state_of(&job.document));
        return Err(ApiError::contradiction(id, Code::Conflict, message));
    }
    let count = retries(shared, caller, id).await?.count;
    if wish.retries > count || count >= MOST_RETRIES {
        let message = format!("{id} has {count} retries, of {MOST_RETRIES} at most, and not {}", wish.retries);
        return Err(ApiError::contradiction(id, Code::Conflict, message));
    }
    // one that is there already is refused, and named
    let new = id_of_retry(id, wish.retries);
    let mut document = new_document(&new, copied(&job.document), shared.clock.now());
    document.insert(RETRY_OF.to_owned(), json!({ "href": id }));
    refuse(&job_violations(&document))?;
    put_new(shared, JobRecord::new(&new, document)).await
}

/// The retries of the job `id`, for whoever may see it.
pub async fn retries(shared: &Shared, caller: &Caller, id: &str) -> Result<Retries, ApiError> {
    read(shared, caller, id).await?;
    let mut found = Retries { job: id.to_owned(), ..Retries::default() };
    while found.count < MOST_RETRIES {
        let retry = id_of_retry(id, found.count);
        let Some(job) = shared.jobs.get(&retry).await? else { break };
        found.count += 1;
        if caller.may_view(&job.document) {
            found.retries.push(retry);
        }
    }
    Ok(found)
}

/// How many of these jobs were run again: of how many the first retry is there.
pub async fn are_retried(shared: &Shared, ids: &[String]) -> Result<u64, ApiError> {
    let firsts: Vec<String> = ids.iter().map(|id| id_of_retry(id, 0)).collect();
    let firsts: Vec<&str> = firsts.iter().map(String::as_str).collect();
    let mut count = 0;
    for found in shared.store.read(&firsts).await {
        count += u64::from(found?.is_some());
    }
    Ok(count)
}

/// Runs a job again unless a retry of it is there; answers whether this was done. One that was added since `begun` counts
/// as done: whoever asks may have crashed after it.
pub async fn retry_once(shared: &Shared, caller: &Caller, id: &str, begun: Timestamp) -> Result<bool, ApiError> {
    let first = id_of_retry(id, 0);
    match retry(shared, caller, id, Wish { retries: 0 }).await {
        Ok(_) => Ok(true),
        Err(error) if error.refusal.status == 409 && error.refusal.resource_id.as_deref() == Some(&first) => {
            let there = shared.jobs.get(&first).await?;
            Ok(there.is_some_and(|job| time_of(&job.document, "created") >= begun))
        }
        Err(error) => Err(error),
    }
}

/// The id of the retry of this job before which there were so many.
fn id_of_retry(id: &str, before: u32) -> String {
    format!("{}/{}", JOB.name, Uuid::new_v5(&RETRY_NAMESPACE, format!("{id}\n{before}").as_bytes()))
}

/// What somebody would have to send to add this job.
fn copied(job: &Document) -> Document {
    let copied = COPIED.iter().filter_map(|name| Some(((*name).to_owned(), job.get(*name)?.clone())));
    copied.collect()
}
