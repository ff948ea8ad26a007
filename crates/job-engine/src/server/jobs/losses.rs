//! Whether attempts of one process were lost at once: then none of them need have been what ended it.

use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::Filter;
use slipstream_store::Query;

use super::document::state_of;
use super::ledger::Ledger;
use super::record::JobRecord;
use crate::server::Shared;
use crate::server::error::ApiError;

/// Most running jobs that are looked at in the store, and the bytes of them that are read.
const MOST_LOOKED_AT: u64 = 200;
const AT_ONCE: u64 = 1024 * 1024;

/// Whether the open attempt of this job, which is lost, was open together with one of another job that is lost too or may be.
/// Those that have ended since are not seen, so that the last of many may count as alone. What is being worked on is looked
/// at first; the store knows of others after a start of the server.
pub async fn is_lost_together(shared: &Shared, job: &JobRecord, ledger: &Ledger) -> Result<bool, ApiError> {
    let Some(lost) = ledger.open_attempt() else { return Ok(false) };
    let is_with = |other: &JobRecord| {
        let is_running = other.id != job.id && state_of(&other.document) == State::Running;
        is_running && other.ledger().is_ok_and(|ledger| ledger.was_open_with(lost))
    };
    if shared.jobs.any(is_with) {
        return Ok(true);
    }
    let filter = Filter::parse("state='RUNNING'").expect("it is a filter");
    let query = Query { filter: Some(filter), limit: MOST_LOOKED_AT, at_once: Some(AT_ONCE), ..Query::default() };
    let running = shared.store.search(JOB.name, &query).await?;
    Ok(running.records.into_iter().map(JobRecord::from).any(|other| is_with(&other)))
}
