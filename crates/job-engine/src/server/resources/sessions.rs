//! Sessions as documents (specification 2.3); adding one logs in, deleting it logs out.

use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::dialect::SESSION;
use slipstream_store::{Record, StoreExt};

use super::collection;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::auth::sessions::farewell_cookie;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;

/// Logs in.
pub async fn add(shared: &Shared, mut request: ApiRequest) -> Result<Answer, ApiError> {
    let body = request.login_document();
    let login = shared.sessions.login(&*shared.store, &body, &request.origin, shared.clock.now()).await?;
    Ok(Answer::created(&login.id).with_cookie(login.cookie))
}

/// The caller's own session or nothing, whatever was asked: how clients find out whether they are logged in.
pub async fn search(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    let parameters = request.search()?;
    let own = match request.caller.session() {
        None => None,
        Some(session) => shared.store.get(session).await?,
    };
    let documents = own.into_iter().map(|record| Value::Object(presented(record))).collect();
    collection::of(SESSION, documents, true, &parameters.aggregations)
}

/// Reads a session; only its owner and administrators may.
pub async fn read(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    request.parameters()?;
    Ok(Answer::ok(&presented(own_session(shared, &request.caller, id).await?)))
}

/// Deletes a session, which revokes its token. Whoever deletes its own logs out.
pub async fn delete(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    let session = own_session(shared, &request.caller, id).await?;
    shared.store.remove(id, session.revision).await?;
    shared.sessions.forget(id);
    let answer = Answer::deleted(id);
    let is_own = request.caller.session() == Some(id);
    Ok(if is_own { answer.with_cookie(farewell_cookie(shared.clock.now())) } else { answer })
}

async fn own_session(shared: &Shared, caller: &Caller, id: &str) -> Result<Record, ApiError> {
    let session = shared.store.get(id).await?;
    caller.permit(
        id,
        session,
        |session| &session.document,
        |caller, _| caller.session() == Some(id) || caller.is_administrator(),
    )
}

fn presented(record: Record) -> Document {
    let mut document = record.document.into_document();
    document.insert("operations".to_owned(), json!([{"rel": "delete", "href": record.id}]));
    document
}
