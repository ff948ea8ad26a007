//! Whether attempts of one process were lost at once: then none of them need have been what ended it.

use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::Filter;

use super::Shared;
use super::error::ApiError;
use super::job_record::{JobRecord, ledger_of};
use super::ledger::Ledger;
use super::store::Query;

/// Most running jobs that are looked at.
const MOST_LOOKED_AT: u64 = 200;

/// Whether the open attempt of this job, which is lost, was open together with one of another job that is lost too or may be.
/// Those that have ended since are not seen, so that the last of many may count as alone.
pub async fn is_lost_together(shared: &Shared, job: &JobRecord, ledger: &Ledger) -> Result<bool, ApiError> {
    let Some(lost) = ledger.open_attempt() else { return Ok(false) };
    let filter = Filter::parse("state='RUNNING'").expect("it is a filter");
    let query = Query { filter: Some(filter), limit: MOST_LOOKED_AT, ..Query::default() };
    let running = shared.store.query(JOB.name, &query).await.map_err(|error| ApiError::store(&error))?;
    let others = running.records.iter().filter(|other| *other.id != *job.id);
    Ok(others.filter_map(|other| ledger_of(other).ok()).any(|other| other.was_open_with(lost)))
}
