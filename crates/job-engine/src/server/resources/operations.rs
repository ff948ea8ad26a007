//! Bulk operations as documents. What they do is in [`crate::server::jobs::bulk`].

use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::dialect::OPERATION;
use slipstream_store::{Record, StoreExt, StoredDocument};

use super::collection::{self, keep_selected};
use super::fence;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::jobs::bulk;

/// Begins an operation.
pub async fn begin(shared: &Shared, mut request: ApiRequest) -> Result<Answer, ApiError> {
    fence(shared, &request).await?;
    request.caller.require_user()?;
    let wish = serde_json::from_value(Value::Object(request.document()))
        .map_err(|error| ApiError::bad_request(format!("expected `do`, `filter` and `expect`: {error}")))?;
    Ok(Answer::accepted(&bulk::begin(shared, &request.caller, wish).await?.id))
}

/// Counts the jobs that an operation would be done with.
pub async fn count(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    let deed = serde_json::from_value(json!(request.parameter("do")));
    let (Ok(deed), Some(filter)) = (deed, request.parameter("filter")) else {
        return Err(ApiError::bad_request("expected `do`, one of stop, delete and retry, and `filter`"));
    };
    let before = request.parameter("before").map(|text| text.parse()).transpose();
    let before = before.map_err(|error| ApiError::bad_request(format!("`before` is no time: {error}")))?;
    Ok(Answer::ok(&bulk::count(shared, &request.caller, deed, filter, before).await?))
}

/// Reads an operation.
pub async fn read(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    let select = request.parameters()?.select;
    let stored = shared.store.get(id).await?;
    let record = request.caller.permit(id, stored, |record| &record.document, Caller::may_view)?;
    Ok(Answer::ok(&presented(&request.caller, record.document, &select)))
}

/// Searches operations.
pub async fn search(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    let parameters = request.search()?;
    request.caller.require_user()?;
    let (caller, select) = (request.caller.clone(), parameters.select.clone());
    let present = move |record: Record| presented(&caller, record.document, &select);
    collection::search(shared, OPERATION, &request.caller, &parameters, present).await
}

/// Ends an operation.
pub async fn stop(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    fence(shared, request).await?;
    Ok(Answer::ok(&bulk::stop(shared, &request.caller, id).await?))
}

fn presented(caller: &Caller, stored: StoredDocument, select: &[String]) -> Document {
    let may_modify = caller.may_modify(&stored);
    let mut document = stored.into_document();
    if may_modify && document.get("state") == Some(&json!("RUNNING")) {
        let href = format!("{}/stop", document.get("id").and_then(Value::as_str).unwrap_or_default());
        document.insert("operations".to_owned(), json!([{"rel": "stop", "href": href}]));
    }
    keep_selected(&mut document, select);
    document
}
