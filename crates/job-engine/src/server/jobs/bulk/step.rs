//! One step of a bulk operation: a page of jobs in order of id, then the cursor.

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use serde_json::json;
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::bulk::{Deed, Operation};
use slipstream_cimi::overview::user;
use slipstream_store::{Query, Record, StoreError, StoreExt};

use super::{document_of, filter_of, read_operation};
use crate::server::Shared;
use crate::server::auth::accounts;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::jobs;
use crate::server::jobs::document::state_of;
use crate::server::jobs::retry::retry_once;

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
    let done: Vec<Became> = stream::iter(deeds)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    for done in done {
        match done {
            Became::Done => operation.done += 1,
            Became::Retried => operation.retried += 1,
            Became::Refused(code) => *operation.refused.entry(code).or_default() += 1,
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

/// What has come of a job.
enum Became {
    /// It was done.
    Done,
    /// It was left out: a retry of it is there already.
    Retried,
    /// It was refused, for this reason.
    Refused(String),
}

/// Does it with one job, as a single request would. An error concerns all of them.
async fn one(shared: &Shared, asker: &Caller, deed: Deed, begun: Timestamp, id: &str) -> Result<Became, ApiError> {
    let is_final = || Became::Refused("final".to_owned());
    let done = match deed {
        Deed::Stop => jobs::stop(shared, asker, id)
            .await
            .map(|job| if state_of(&job.document) == State::Stopped { Became::Done } else { is_final() }),
        Deed::Delete => jobs::delete(shared, asker, id).await.map(|()| Became::Done),
        Deed::Retry => {
            retry_once(shared, asker, id, begun).await.map(|is_new| if is_new { Became::Done } else { Became::Retried })
        }
    };
    match done {
        Ok(done) => Ok(done),
        Err(error) if error.refusal.status >= 500 => Err(error),
        Err(error) => {
            let code = error.refusal.code.map(|code| code.as_str().to_owned());
            Ok(Became::Refused(code.unwrap_or_else(|| error.refusal.status.to_string())))
        }
    }
}
