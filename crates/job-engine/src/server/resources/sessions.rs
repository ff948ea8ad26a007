//! Sessions as documents (specification 2.3); adding one logs in, deleting it logs out. A user is told of all of its own,
//! and may end each.

use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::dialect::{SESSION, USER};
use slipstream_cimi::overview::sessions::Ended;
use slipstream_store::{Record, StoreError, StoreExt, StoredDocument};

use super::collection;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::auth::proxy::program;
use crate::server::auth::sessions::farewell_cookie;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;

/// Logs in.
pub async fn add(shared: &Shared, mut request: ApiRequest) -> Result<Answer, ApiError> {
    let body = request.login_document();
    request.origin.program = program(&request.headers);
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

/// All sessions of whoever asks.
pub async fn own(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    of(shared, request, named(request)?).await
}

/// Ends them all.
pub async fn end_own(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    let answer = end(shared, named(request)?).await?;
    Ok(if request.caller.session().is_some() {
        answer.with_cookie(farewell_cookie(shared.clock.now()))
    } else {
        answer
    })
}

/// All sessions of a user, for administrators.
pub async fn of_user(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    of(shared, request, existing(shared, id).await?).await
}

/// Ends them all.
pub async fn end_of_user(shared: &Shared, id: &str) -> Result<Answer, ApiError> {
    end(shared, existing(shared, id).await?).await
}

async fn of(shared: &Shared, request: &ApiRequest, user: &str) -> Result<Answer, ApiError> {
    request.parameters()?;
    let current = request.caller.session();
    Ok(Answer::ok(&shared.sessions.of_user(&*shared.store, user, current, shared.clock.now()).await?))
}

async fn end(shared: &Shared, user: &str) -> Result<Answer, ApiError> {
    let ended = shared.sessions.end_all(&*shared.store, user, shared.clock.now()).await?;
    Ok(Answer::ok(&Ended { ended }))
}

fn named(request: &ApiRequest) -> Result<&str, ApiError> {
    request.caller.name().ok_or_else(ApiError::credentials_required)
}

/// The name of a user that there is.
async fn existing<'id>(shared: &Shared, id: &'id str) -> Result<&'id str, ApiError> {
    let name = id.strip_prefix(USER.name).and_then(|name| name.strip_prefix('/')).unwrap_or(id);
    shared.store.get(id).await?.map(|_| name).ok_or_else(|| ApiError::not_found(id))
}

/// Reads a session; only its user and administrators may.
pub async fn read(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    request.parameters()?;
    Ok(Answer::ok(&presented(own_session(shared, &request.caller, id).await?)))
}

/// Deletes a session, which revokes its token. Whoever deletes the one with which it asks logs out.
pub async fn delete(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    let mut session = own_session(shared, &request.caller, id).await?;
    while let Err(error) = shared.store.remove(id, session.revision).await {
        match error {
            // that it is used is noted once in a while
            StoreError::Changed(_) => session = own_session(shared, &request.caller, id).await?,
            error => return Err(error.into()),
        }
    }
    shared.sessions.forget(id);
    let answer = Answer::deleted(id);
    let is_own = request.caller.session() == Some(id);
    Ok(if is_own { answer.with_cookie(farewell_cookie(shared.clock.now())) } else { answer })
}

async fn own_session(shared: &Shared, caller: &Caller, id: &str) -> Result<Record, ApiError> {
    let session = shared.store.get(id).await?;
    let is_own = |caller: &Caller, session: &StoredDocument| {
        caller.name().is_some_and(|name| session.get("username").and_then(Value::as_str) == Some(name))
    };
    caller.permit(
        id,
        session,
        |session| &session.document,
        |caller, session| caller.session() == Some(id) || caller.is_administrator() || is_own(caller, session),
    )
}

fn presented(record: Record) -> Document {
    let mut document = record.document.into_document();
    document.insert("operations".to_owned(), json!([{"rel": "delete", "href": record.id}]));
    document
}
