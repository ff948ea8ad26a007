//! Documents of declared collections: added, read, edited, deleted and searched as jobs are, but for what a job does.

mod document;

use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_store::{Record, Revision, StoreError, StoreExt, Write};
use uuid::Uuid;

use super::{collection, fence};
use crate::collections::Collection;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::jobs;
use crate::server::jobs::reports::{Refusals, check_length};

/// How often a write is tried again because somebody else was faster.
const TRIES: usize = 50;

/// Adds a document, or a list of them.
pub async fn add(shared: &Shared, mut request: ApiRequest, collection: &Collection) -> Result<Answer, ApiError> {
    let key = request.idempotency_key()?;
    fence(shared, &request).await?;
    if !collection::may_add(shared, collection.kind, &request.caller) {
        return Err(ApiError::credentials_required());
    }
    if let Some(list) = request.list() {
        return add_all(shared, &request, collection, list, key.as_deref()).await;
    }
    let sent = request.document();
    let new = prepare(shared, &request.caller, collection, sent, key.as_deref())?;
    let id = new.id.clone();
    shared.store.insert(new).await?;
    Ok(Answer::created(&id))
}

/// Adds each document of the list as a single add would; one that is refused harms no other. With a key, the item of this
/// index has the key `<key>/<index>`.
async fn add_all(
    shared: &Shared,
    request: &ApiRequest,
    collection: &Collection,
    list: Vec<Value>,
    key: Option<&str>,
) -> Result<Answer, ApiError> {
    check_length(list.len())?;
    let prepare = |(index, sent)| {
        let key = key.map(|key| format!("{key}/{index}"));
        match sent {
            Value::Object(sent) => prepare(shared, &request.caller, collection, sent, key.as_deref()),
            _ => Err(ApiError::bad_request("expected a JSON object as document")),
        }
    };
    let new: Vec<Result<Record, ApiError>> = list.into_iter().enumerate().map(prepare).collect();
    let writes = new.iter().filter_map(|new| new.as_ref().ok().cloned()).map(Write::Create).collect();
    let mut written = shared.store.write(writes).await.into_iter();
    let mut refusals = Refusals::default();
    let mut answer = |(index, new): (usize, Result<Record, ApiError>)| {
        let added = new.and_then(|new| {
            let written = written.next().expect("an answer to each that was written");
            written.map(|_| new.id).map_err(ApiError::from)
        });
        match added {
            Ok(id) => json!({"status": 201, "resource-id": id}),
            Err(error) => json!(refusals.refuse(error, &index, &request.id)),
        }
    };
    let answers: Vec<Value> = new.into_iter().enumerate().map(&mut answer).collect();
    refusals.log();
    Ok(Answer::ok(&Document::from_iter([(collection.kind.plural.to_owned(), answers.into())])))
}

/// The record of a new document, checked.
fn prepare(
    shared: &Shared,
    caller: &Caller,
    collection: &Collection,
    sent: Document,
    key: Option<&str>,
) -> Result<Record, ApiError> {
    let kind = collection.kind.name;
    let id = match key {
        Some(key) => jobs::id_of_key(kind, caller.name().unwrap_or(""), key),
        None => format!("{kind}/{}", Uuid::now_v7()),
    };
    let document = document::new_document(collection.kind, &id, sent, caller, shared.clock.now());
    refuse(&document::violations(collection, &document))?;
    Ok(Record { id, revision: Revision::default(), document: document.into(), ledger: Value::Null })
}

/// Searches the documents of a collection.
pub async fn search(shared: &Shared, request: &ApiRequest, collection: &Collection) -> Result<Answer, ApiError> {
    let parameters = request.search()?;
    request.caller.require_user()?;
    let (caller, select) = (request.caller.clone(), parameters.select.clone());
    let present = move |record: Record| presented(&caller, record, &select);
    collection::search(shared, collection.kind, &request.caller, &parameters, present).await
}

/// Reads a document.
pub async fn read(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    let select = request.parameters()?.select;
    let stored = shared.store.get(id).await?;
    let stored = request.caller.permit(id, stored, |record| &record.document, Caller::may_view)?;
    Ok(Answer::ok(&presented(&request.caller, stored, &select)))
}

/// Merges changes into a document, after the selected attributes are taken out, and answers the result. It is written if
/// the document is still the one that was read; otherwise all of that is done again, the caller's right too.
pub async fn edit(
    shared: &Shared,
    mut request: ApiRequest,
    collection: &Collection,
    id: &str,
) -> Result<Answer, ApiError> {
    let remove = request.parameters()?.select;
    fence(shared, &request).await?;
    let changes = request.document();
    for _ in 0..TRIES {
        let stored = shared.store.get(id).await?;
        let stored = request.caller.permit(id, stored, |record| &record.document, Caller::may_modify)?;
        let (revision, before) = (stored.revision, stored.document.into_document());
        let edited = document::edited(before, &changes, &remove, shared.clock.now());
        refuse(&document::violations(collection, &edited))?;
        let answer = Answer::ok(&edited);
        let record = Record { id: id.to_owned(), revision, document: edited.into(), ledger: Value::Null };
        match shared.store.replace(record).await {
            Ok(_) => return Ok(answer),
            Err(StoreError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Changed(id.to_owned()).into())
}

/// Deletes a document.
pub async fn delete(shared: &Shared, request: &ApiRequest, id: &str) -> Result<Answer, ApiError> {
    fence(shared, request).await?;
    for _ in 0..TRIES {
        let stored = shared.store.get(id).await?;
        let stored = request.caller.permit(id, stored, |record| &record.document, Caller::may_modify)?;
        match shared.store.remove(id, stored.revision).await {
            Ok(()) => return Ok(Answer::deleted(id)),
            Err(StoreError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Changed(id.to_owned()).into())
}

/// A document with the operations that the caller may use, limited to the selected attributes.
fn presented(caller: &Caller, record: Record, select: &[String]) -> Document {
    let may_modify = caller.may_modify(&record.document);
    let (id, mut document) = (record.id, record.document.into_document());
    collection::keep_selected(&mut document, select);
    if may_modify {
        let operations = ["edit", "delete"].map(|rel| json!({"rel": rel, "href": id}));
        document.insert("operations".to_owned(), json!(operations));
    }
    document
}

fn refuse(violations: &[String]) -> Result<(), ApiError> {
    if violations.is_empty() { Ok(()) } else { Err(ApiError::schema(violations)) }
}
