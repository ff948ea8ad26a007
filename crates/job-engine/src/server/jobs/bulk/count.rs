//! How many jobs a bulk operation would be done with, before it begins.

use jiff::Timestamp;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::bulk::{Count, Deed, MOST_COUNTED};
use slipstream_store::Query;

use super::{meant, now, require_right_to};
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::jobs::retry::are_retried;

/// Ids that are looked up at a time.
const AT_ONCE: usize = 500;

/// Counts the jobs that match, were added by then and may be seen by the caller; of a retry also those that it leaves
/// out.
pub async fn count(
    shared: &Shared,
    caller: &Caller,
    deed: Deed,
    filter: String,
    before: Option<Timestamp>,
) -> Result<Count, ApiError> {
    caller.require_user()?;
    require_right_to(deed, caller)?;
    let before = before.map_or_else(|| now(shared), Ok)?;
    let query = meant(caller, &filter, before)?;
    shared.jobs.settled().await;
    let matched = shared.store.search(JOB.name, &query).await?.count;
    let mut count = Count { deed, filter, before, matched, retried: None };
    if deed == Deed::Retry && matched <= MOST_COUNTED {
        // ids alone: the documents may be large
        let found = Query { limit: MOST_COUNTED, at_once: Some(0), ..query };
        let found = shared.store.search(JOB.name, &found).await?;
        let ids: Vec<String> = found.records.into_iter().map(|record| record.id).chain(found.rest).collect();
        let mut retried = 0;
        for ids in ids.chunks(AT_ONCE) {
            retried += are_retried(shared, ids).await?;
        }
        // one search is as of a later moment than the other
        count.matched = ids.len() as u64;
        count.retried = Some(retried);
    }
    Ok(count)
}
