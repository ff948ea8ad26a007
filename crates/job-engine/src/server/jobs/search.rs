//! What is asked of all jobs, and what of it the caller may know (specification 4).

use jiff::Timestamp;
use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::query::{Parameters, window};

use super::shown;
use crate::server::Shared;
use crate::server::access::Caller;
use crate::server::error::ApiError;
use crate::server::store::{Page, Query};

/// What a search of jobs found.
#[derive(Debug)]
pub struct Found {
    /// How many match, on whatever page.
    pub count: u64,
    /// The page that was asked for.
    pub documents: Vec<Document>,
    /// The answers to the aggregations about all matches, in their order.
    pub aggregations: Vec<Value>,
    /// What to go on after, if more documents follow in order of id: the id of the last one shown.
    pub next: Option<String>,
}

/// Searches the jobs that the caller may view. A job that is there all the while is on exactly one of the pages that
/// follow each other by `next`, whatever is added or deleted meanwhile.
pub async fn search(shared: &Shared, caller: &Caller, parameters: &Parameters) -> Result<Found, ApiError> {
    caller.require_user()?;
    let query = Query { visible_to: caller.searches_as(), ..query(parameters, shared.clock.now())? };
    let all = Query { filter: query.filter.clone(), visible_to: query.visible_to.clone(), ..Query::default() };
    let store = |error| ApiError::store(&error);
    let is_walk = query.after.is_some();
    // a walk counts nothing, so only one document more can tell whether any follows
    let one_more = u64::from(is_walk && query.limit > 0);
    let asked = Query { limit: query.limit + one_more, ..query.clone() };
    let Page { count, mut records } = shared.store.query(JOB.name, &asked).await.map_err(store)?;
    let count = if is_walk { shared.store.query(JOB.name, &all).await.map_err(store)?.count } else { count };
    let more = if is_walk { records.len() as u64 > query.limit } else { query.offset + (records.len() as u64) < count };
    records.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    let next = records.last().filter(|_| more && query.order.is_empty()).map(|last| last.id.clone());
    let aggregations = match parameters.aggregations.as_slice() {
        [] => Vec::new(),
        asked => shared.store.aggregate(JOB.name, &all, asked).await.map_err(store)?,
    };
    Ok(Found { count, documents: records.into_iter().map(shown).collect(), aggregations, next })
}

/// The page that is asked for.
fn query(parameters: &Parameters, now: Timestamp) -> Result<Query, ApiError> {
    let after = parameters.after.clone();
    if after.is_some() && (parameters.first.is_some() || !parameters.order.is_empty()) {
        let message = "$after goes on in order of id, from where a page ended: it takes neither $orderby nor $first";
        return Err(ApiError::bad_request(message));
    }
    let (offset, limit) =
        window(parameters.first, parameters.last).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let filter = parameters.filter.clone().map(|filter| filter.resolve(now));
    Ok(Query { filter, order: parameters.order.clone(), after, offset, limit, visible_to: None })
}
