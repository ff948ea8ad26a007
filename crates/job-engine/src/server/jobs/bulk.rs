//! Bulk operations: one thing done with all jobs that a filter matches. The operation is a document whose ledger has the
//! cursor, so that whoever is elected goes on with it, after a restart too; each step reads the asker's rights again.

mod count;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipstream_action::with_causes;
use slipstream_cimi::dialect::{JOB, OPERATION};
use slipstream_cimi::filter::Filter;
use slipstream_cimi::overview::bulk::{Deed, Operation, Wish};
use slipstream_cimi::{Code, Document, State, acl};
use slipstream_store::{Query, Record, Revision, StoreError, StoreExt};
use tokio::sync::{Mutex, Notify};
use uuid::Uuid;

use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;

pub use self::count::count;

/// Most operations at a time, in all and of one user. Exact in one server; several may let one more in each.
const MOST_RUNNING: usize = 4;
const MOST_OF_A_USER: usize = 1;
/// Between looks for operations that another server has taken in, and after one that could not go on.
const PERIOD: Duration = Duration::from_secs(30);
/// Those that ended longer ago are removed.
const KEPT: &str = "state!='RUNNING' and updated<'now-7d'";

/// What requests and the loop share.
#[derive(Default)]
pub struct Bulk {
    begun: Notify,
    admission: Mutex<()>,
}

/// Begins an operation, if so many jobs match as were counted, or fewer.
pub async fn begin(shared: &Shared, caller: &Caller, wish: Wish) -> Result<Operation, ApiError> {
    caller.require_user()?;
    require_right_to(wish.deed, caller)?;
    let (Some(by), Some(_)) = (caller.name(), caller.session()) else {
        let message = "a bulk operation needs a login: it reads the rights of its user again and again";
        return Err(ApiError::bad_request(message));
    };
    let now = now(shared)?;
    let before = wish.before.unwrap_or(now);
    let query = meant(caller, &wish.filter, before)?;
    let _turn = shared.bulk.admission.lock().await;
    admit(shared, by).await?;
    shared.jobs.settled().await;
    let matched = shared.store.search(JOB.name, &query).await?.count;
    if matched > wish.expect {
        let message = format!("{matched} jobs match, and {} were expected: count again", wish.expect);
        return Err(ApiError::contradiction(JOB.name, Code::Changed, message));
    }
    let operation = Operation {
        id: format!("{}/{}", OPERATION.name, Uuid::now_v7()),
        state: State::Running,
        deed: wish.deed,
        filter: wish.filter,
        before,
        by: by.to_owned(),
        created: now,
        updated: now,
        matched,
        done: 0,
        retried: 0,
        refused: BTreeMap::new(),
        message: None,
    };
    let record = Record {
        id: operation.id.clone(),
        revision: Revision::default(),
        document: document_of(&operation).into(),
        ledger: Value::Null,
    };
    shared.store.insert(record).await?;
    shared.bulk.begun.notify_one();
    Ok(operation)
}

/// Ends an operation after the step that it is in. One that has ended stays as it is.
pub async fn stop(shared: &Shared, caller: &Caller, id: &str) -> Result<Document, ApiError> {
    loop {
        let stored = shared.store.get(id).await?;
        let record = caller.permit(id, stored, |record| &record.document, Caller::may_modify)?;
        let mut operation = read_operation(&record)?;
        if operation.state != State::Running {
            return Ok(record.document.into_document());
        }
        (operation.state, operation.updated) = (State::Stopped, shared.clock.now());
        let document = document_of(&operation);
        match shared.store.replace(Record { document: document.clone().into(), ..record }).await {
            Ok(_) => return Ok(document),
            Err(StoreError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Goes on with all operations, step by step in turn, for ever.
pub async fn run(shared: &Shared) {
    loop {
        let goes_on = match round(shared).await {
            Ok(goes_on) => goes_on,
            Err(error) => {
                tracing::warn!(error = error.cause(), "bulk operations cut short, trying again");
                false
            }
        };
        if !goes_on {
            tokio::select! {
                () = shared.bulk.begun.notified() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }
}

/// Removes operations that ended long ago.
pub async fn purge(shared: &Shared) {
    let filter = Filter::parse(KEPT).expect("it is a filter").resolve(shared.clock.now());
    if let Err(error) = shared.store.remove_matching(OPERATION.name, &filter).await {
        tracing::warn!(error = with_causes(&error), "old bulk operations not removed");
    }
}

/// One step of each operation; answers whether any of them goes on at once.
async fn round(shared: &Shared) -> Result<bool, ApiError> {
    let mut goes_on = false;
    for record in running(shared).await? {
        let id = record.id.clone();
        match step::step(shared, record).await {
            Ok(more) => goes_on |= more,
            Err(error) => {
                tracing::warn!(operation = id, error = error.cause(), "bulk operation cut short, trying again");
            }
        }
        // other requests go first
        tokio::task::yield_now().await;
    }
    Ok(goes_on)
}

/// Refuses one too many.
async fn admit(shared: &Shared, by: &str) -> Result<(), ApiError> {
    let running: Vec<Operation> = running(shared).await?.iter().filter_map(|it| read_operation(it).ok()).collect();
    let own = running.iter().filter(|operation| operation.by == by).count();
    if own >= MOST_OF_A_USER || running.len() >= MOST_RUNNING {
        let whose = if own >= MOST_OF_A_USER { "an operation of yours is" } else { "four operations are" };
        let message = format!("{whose} under way: wait for its end, or stop it");
        return Err(ApiError::contradiction(OPERATION.name, Code::Conflict, message));
    }
    Ok(())
}

async fn running(shared: &Shared) -> Result<Vec<Record>, StoreError> {
    let filter = Filter::parse("state='RUNNING'").expect("it is a filter");
    let query = Query { filter: Some(filter), limit: 100, ..Query::default() };
    Ok(shared.store.search(OPERATION.name, &query).await?.records)
}

/// Only administrators add jobs; anything else is decided job by job.
fn require_right_to(deed: Deed, caller: &Caller) -> Result<(), ApiError> {
    if deed == Deed::Retry { caller.require_administrator() } else { Ok(()) }
}

/// As precise as times in documents are: what is added from now on is not earlier.
fn now(shared: &Shared) -> Result<Timestamp, ApiError> {
    Timestamp::from_millisecond(shared.clock.now().as_millisecond()).map_err(|error| ApiError::unexpected(&error))
}

/// Counts the jobs that this caller means.
fn meant(caller: &Caller, filter: &str, before: Timestamp) -> Result<Query, ApiError> {
    let filter = filter_of(filter, before).map_err(ApiError::bad_request)?;
    Ok(Query { filter: Some(filter), visible_to: caller.searches_as(), ..Query::default() })
}

/// The jobs that are meant: by the filter as it was understood then, and added by then.
fn filter_of(text: &str, before: Timestamp) -> Result<Filter, String> {
    Filter::parse(text).map_err(|error| error.to_string())?;
    let time = slipstream_cimi::resource::format_time(before);
    let filter = Filter::parse(&format!("({text}) and created<='{time}'")).map_err(|error| error.to_string())?;
    Ok(filter.resolve(before))
}

fn document_of(operation: &Operation) -> Document {
    let Value::Object(mut document) = json!(operation) else { unreachable!("an operation is an object") };
    document.insert("resourceURI".to_owned(), json!(OPERATION.resource_uri));
    let owner = json!({"owner": {"principal": operation.by, "type": "USER"}});
    document.insert("acl".to_owned(), acl::with_administrator_rule(owner));
    document
}

fn read_operation(record: &Record) -> Result<Operation, ApiError> {
    let operation = serde_json::from_value(Value::Object(Document::clone(&record.document)));
    operation.map_err(|error| ApiError::unexpected(&error))
}
