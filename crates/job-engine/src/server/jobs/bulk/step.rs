//! One step of a bulk operation: a page of jobs in order of id, then the cursor.

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use serde_json::json;
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::bulk::{Deed, Operation};
use slipstream_cimi::overview::retries::Wish;
use slipstream_cimi::overview::user;
use slipstream_store::{Query, Record, StoreError, StoreExt};

use super::{document_of, filter_of, read_operation};
use crate::server::Shared;
use crate::server::auth::accounts;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::jobs;
use crate::server::jobs::document::{state_of, time_of};

/// Jobs of a step.
const STEP: u64 = 500;
/// Of which so many at the same time: a group of writes for the disk, and no more.
const AT_ONCE: usize = 16;
/// Bytes of documents that are read for a step.
const MOST_READ: u64 = 16 * 1024 * 1024;

/// Does one step, and answers whether another one follows.
pub(super) async fn step(shared: &Shared, record: Record) -> Result<bool, ApiError> {
    let mut operation = read_operation(&record)?;
    let Some(asker) = asker(shared, &operation.by).await? else {
        let message = "the user who asked may no longer log in".to_owned();
        return end(shared, record, operation, State::Failed, Some(message)).await;
    };
    let ids = match page(shared, &operation, &asker, cursor(&record)).await {
        Ok(ids) => ids,
        // it does not become quicker by trying again
        Err(error @ StoreError::TooSlow { .. }) => {
            return end(shared, record, operation, State::Failed, Some(error.to_string())).await;
        }
        Err(error) => return Err(error.into()),
    };
    let Some(last) = ids.last().cloned() else { return end(shared, record, operation, State::Success, None).await };
    let deeds = ids.into_iter().map(|id| {
        let (asker, operation) = (&asker, &operation);
        async move { one(shared, asker, operation.deed, operation.created, &id).await }
    });
    let done: Vec<Result<(), String>> = stream::iter(deeds)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    for done in done {
        match done {
            Ok(()) => operation.done += 1,
            Err(code) => *operation.refused.entry(code).or_default() += 1,
        }
    }
    operation.updated = shared.clock.now();
    let ledger = json!({ "cursor": last });
    write(shared, Record { document: document_of(&operation).into(), ledger, ..record }).await
}

async fn end(
    shared: &Shared,
    record: Record,
    operation: Operation,
    state: State,
    message: Option<String>,
) -> Result<bool, ApiError> {
    let operation = Operation { state, message, updated: shared.clock.now(), ..operation };
    write(shared, Record { document: document_of(&operation).into(), ..record }).await?;
    Ok(false)
}

/// Who has changed it meanwhile has stopped it, or does the same: what is stored counts.
async fn write(shared: &Shared, record: Record) -> Result<bool, ApiError> {
    match shared.store.replace(record).await {
        Ok(_) | Err(StoreError::Changed(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn cursor(record: &Record) -> Option<String> {
    record.ledger.get("cursor").and_then(|cursor| cursor.as_str()).map(str::to_owned)
}

/// The user as it is now; none if it may not log in.
async fn asker(shared: &Shared, name: &str) -> Result<Option<Caller>, ApiError> {
    let stored = shared.store.get(&user::id(name)).await?.filter(accounts::is_active);
    let roles = |user: &Record| accounts::roles(user).split(' ').map(str::to_owned).collect();
    Ok(stored.map(|user| Caller::User { name: name.to_owned(), roles: roles(&user), session: None }))
}

/// Ids of the next jobs after the cursor.
async fn page(
    shared: &Shared,
    operation: &Operation,
    asker: &Caller,
    after: Option<String>,
) -> Result<Vec<String>, StoreError> {
    let filter = filter_of(&operation.filter, operation.before).expect("it was a filter when it was stored");
    shared.jobs.settled().await;
    let query = Query {
        filter: Some(filter),
        visible_to: asker.searches_as(),
        after,
        limit: STEP,
        at_once: Some(MOST_READ),
        ..Query::default()
    };
    let found = shared.store.search(JOB.name, &query).await?;
    Ok(found.records.into_iter().map(|record| record.id).chain(found.rest).collect())
}

/// Does it with one job, as a single request would. The inner error is why that was refused; the outer one concerns all.
async fn one(
    shared: &Shared,
    asker: &Caller,
    deed: Deed,
    begun: Timestamp,
    id: &str,
) -> Result<Result<(), String>, ApiError> {
    let done = match deed {
        Deed::Stop => jobs::stop(shared, asker, id).await.map(|job| state_of(&job.document) == State::Stopped),
        Deed::Delete => jobs::delete(shared, asker, id).await.map(|()| true),
        Deed::Retry => again(shared, asker, begun, id).await.map(|()| true),
    };
    match done {
        Ok(true) => Ok(Ok(())),
        Ok(false) => Ok(Err("final".to_owned())),
        Err(error) if error.refusal.status >= 500 => Err(error),
        Err(error) => {
            let code = error.refusal.code.map(|code| code.as_str().to_owned());
            Ok(Err(code.unwrap_or_else(|| error.refusal.status.to_string())))
        }
    }
}

/// Runs the job again unless that has been done since the operation began: its step may be repeated after a crash.
async fn again(shared: &Shared, asker: &Caller, begun: Timestamp, id: &str) -> Result<(), ApiError> {
    let found = jobs::retry::retries(shared, asker, id).await?;
    if let Some(latest) = found.retries.last() {
        let latest = jobs::read(shared, asker, latest).await?;
        if time_of(&latest.document, "created") >= begun {
            return Ok(());
        }
    }
    jobs::retry::retry(shared, asker, id, Wish { retries: found.count }).await.map(drop)
}
