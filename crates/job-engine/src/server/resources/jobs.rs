//! Jobs as documents: what each request about them comes to, and how they are shown. What happens to a job is in
//! [`crate::server::jobs`].

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_cimi::dialect::{self, JOB};
use slipstream_cimi::overview::ledger::EXECUTOR;
use slipstream_cimi::overview::retries::RETRY;
use slipstream_cimi::{Document, State};
use slipstream_store::{Record, StoredDocument};

use super::{collection, fence};
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::jobs::{EditRequest, bulk_add, document, reports};
use crate::server::{Shared, jobs};

/// Adds a job, or a list of them.
pub async fn add(shared: &Shared, mut request: ApiRequest) -> Result<Answer, ApiError> {
    let key = request.idempotency_key()?;
    fence(shared, &request).await?;
    if let Some(list) = request.list() {
        return Ok(Answer::ok(&bulk_add::add_all(shared, &request.caller, list, key.as_deref(), &request.id).await?));
    }
    let sent = request.document();
    Ok(Answer::created(&jobs::add(shared, &request.caller, sent, key.as_deref()).await?))
}

/// Searches jobs.
pub async fn search(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    let parameters = request.search()?;
    request.caller.require_user()?;
    let (caller, select) = (request.caller.clone(), parameters.select.clone());
    let present = move |record: Record| {
        let entry = record.entry().map(str::to_owned);
        let is_told = caller.is_administrator() && select.iter().any(|name| name == EXECUTOR);
        let executor = if is_told { last_executor(&record) } else { None };
        let mut job = presented(&caller, record.document, entry.as_deref(), &select);
        job.extend(executor.map(|executor| (EXECUTOR.to_owned(), json!(executor))));
        job
    };
    collection::search(shared, JOB, &request.caller, &parameters, present).await
}

/// The name of the executor of the last attempt, unless the job waits for another one.
fn last_executor(record: &Record) -> Option<String> {
    if document::state_of(&record.document) == State::Queued {
        return None;
    }
    let attempts = record.ledger.get("attempts").and_then(Value::as_array)?;
    attempts.last()?.get("executor").and_then(Value::as_str).map(str::to_owned)
}

/// Reads a job.
pub async fn read(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    let select = request.parameters()?.select;
    let job = jobs::read(shared, &request.caller, id).await?;
    Ok(Answer::ok(&presented(&request.caller, job.document.clone(), job.entry(), &select)))
}

/// Edits a job, as one of its attempts if the request says so.
pub async fn edit(shared: &Shared, mut request: ApiRequest, id: &str) -> Result<Answer, ApiError> {
    let remove = request.parameters()?.select;
    let attempt = request.attempt()?.filter(|attempt| attempt.job == id);
    if attempt.is_none() {
        fence(shared, &request).await?;
    }
    let edit = EditRequest { changes: Cow::Owned(request.document()), remove, attempt: attempt.map(Arc::new) };
    Ok(Answer::ok(&jobs::edit(shared, &request.caller, id, &edit).await?.to_show()))
}

/// Deletes a job.
pub async fn delete(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    fence(shared, request).await?;
    jobs::delete(shared, &request.caller, id).await?;
    Ok(Answer::deleted(id))
}

/// Stops a job.
pub async fn stop(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    fence(shared, request).await?;
    Ok(Answer::ok(&jobs::stop(shared, &request.caller, id).await?.to_show()))
}

/// Reads a job's ledger.
pub async fn ledger(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    Ok(Answer::ok(&jobs::read_ledger(shared, &request.caller, id).await?))
}

/// Says why a job runs, waits or has ended.
pub async fn explain(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    Ok(Answer::ok(&jobs::explain::of(shared, &request.caller, id).await?))
}

/// Runs a final job again, as a new one.
pub async fn retry(shared: &Shared, mut request: ApiRequest, id: &str) -> Result<Answer, ApiError> {
    fence(shared, &request).await?;
    request.caller.require_administrator_for(id)?;
    let wish = serde_json::from_value(Value::Object(request.document()))
        .map_err(|error| ApiError::bad_request(format!("expected how many `retries` you have seen: {error}")))?;
    Ok(Answer::created(&jobs::retry::retry(shared, &request.caller, id, wish).await?))
}

/// Says as what a job was run again.
pub async fn retries(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    Ok(Answer::ok(&jobs::retry::retries(shared, &request.caller, id).await?))
}

/// Takes what the program of an attempt printed last.
pub async fn output(shared: &Shared, mut request: ApiRequest, id: &str) -> Result<Answer, ApiError> {
    let attempt = request.attempt()?.filter(|attempt| attempt.job == id);
    let attempt = attempt.ok_or_else(|| ApiError::bad_request("only an attempt of the job hands in its output"))?;
    let printed = serde_json::from_value(Value::Object(request.document()))
        .map_err(|error| ApiError::bad_request(format!("expected the last lines of output as `lines`: {error}")))?;
    jobs::note_output(shared, &request.caller, &attempt, &printed).await?;
    Ok(Answer::ok(&jobs::read(shared, &request.caller, id).await?.to_show()))
}

/// Carries out a list of reports.
pub async fn report(shared: &Shared, mut request: ApiRequest) -> Result<Answer, ApiError> {
    fence(shared, &request).await?;
    if let Some(list) = request.reports.take() {
        return Ok(Answer::reports(reports::carry_out_values(shared, &request.caller, &list, &request.id).await?));
    }
    let body = request.document();
    Ok(Answer::text(reports::carry_out_text(shared, &request.caller, body, &request.id).await?))
}

/// A job with the operations that the caller may use, limited to the selected attributes; `id`, `resourceURI`, `acl` and
/// `operations` are always there, because old clients need them to do anything with it (quirk 11). As in the original,
/// whoever may view a job is told how to stop it (specification 5.4), also one that has ended: old clients look for that.
fn presented(caller: &Caller, job: StoredDocument, entry: Option<&str>, select: &[String]) -> Document {
    let may_modify = caller.may_modify(&job);
    let may_retry = caller.is_administrator() && document::state_of(&job).is_final();
    let mut job = document::shown(job.into_document(), entry);
    let id = job.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    collection::keep_selected(&mut job, select);
    let mut operations = Vec::new();
    if may_modify {
        operations.extend(["edit", "delete"].map(|rel| json!({"rel": rel, "href": id})));
    }
    operations.extend([dialect::STOP_REL, "stop"].map(|rel| json!({"rel": rel, "href": format!("{id}/stop")})));
    operations.extend(may_retry.then(|| json!({"rel": RETRY, "href": format!("{id}/{RETRY}")})));
    job.insert("operations".to_owned(), Value::Array(operations));
    job
}
