//! Everything behind the API that is not a job: the cloud entry point (specification 1), sessions as documents
//! (specification 2.3), login templates, and how documents and collections are presented (specification 3.4 and 4.2).

pub mod search;

use std::sync::Arc;

use http::{HeaderMap, header};
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::acl;
use slipstream_cimi::dialect::{self, JOB, Kind, SESSION, SESSION_TEMPLATE, USER};
use slipstream_cimi::query::{Aggregation, Parameters};
use slipstream_cimi::resource::format_time;
use slipstream_store;
use slipstream_store::{Record, StoreError};

use self::search::{Found, search};
use super::Shared;
use super::auth::access::Caller;
use super::auth::peer;
use super::error::ApiError;
use super::http::pages;
use super::jobs::document;
use super::jobs::schema;
use super::routes::Answer;

/// Id of the entry point.
pub const ENTRY_POINT: &str = dialect::ENTRY_POINT;
/// Members of the entry point that an administrator may set.
const ENTRY_POINT_MEMBERS: [&str; 3] = ["name", "description", "properties"];

/// Presents the entry point: what there is, and where.
pub async fn entry_point(shared: &Shared, caller: &Caller, headers: &HeaderMap) -> Result<Answer, ApiError> {
    let stored = stored_entry_point(shared).await?;
    Ok(Answer::ok(presented_entry_point(shared, &stored, caller, headers)))
}

/// Merges what the administrator sent into the entry point.
pub async fn edit_entry_point(
    shared: &Shared,
    caller: &Caller,
    headers: &HeaderMap,
    mut changes: Document,
) -> Result<Answer, ApiError> {
    caller.require_administrator()?;
    changes.retain(|name, _| ENTRY_POINT_MEMBERS.contains(&name.as_str()));
    let violations = schema::common_violations(&changes);
    if !violations.is_empty() {
        return Err(ApiError::schema(&violations));
    }
    let mut stored = stored_entry_point(shared).await?;
    let document = Arc::make_mut(&mut stored.document);
    document.extend(changes);
    document.insert("updated".to_owned(), json!(format_time(shared.clock.now())));
    shared.store.replace(stored.clone()).await?;
    Ok(Answer::ok(presented_entry_point(shared, &stored, caller, headers)))
}

/// The entry point is stored when it is first asked for, so that `created` stays what it was.
async fn stored_entry_point(shared: &Shared) -> Result<Record, ApiError> {
    if let Some(record) = shared.store.get(ENTRY_POINT).await? {
        return Ok(record);
    }
    let now = format_time(shared.clock.now());
    let document = object(json!({
        "id": ENTRY_POINT, "resourceURI": dialect::ENTRY_POINT_URI, "created": now, "updated": now,
        "acl": {"owner": {"principal": "ADMIN", "type": "ROLE"},
                "rules": [{"principal": "ANON", "type": "ROLE", "right": "VIEW"}]},
    }));
    let record = Record { id: ENTRY_POINT.to_owned(), revision: 0, document: document.into(), ledger: Value::Null };
    match shared.store.insert(record.clone()).await {
        Ok(()) => Ok(Record { revision: 1, ..record }),
        Err(StoreError::Full { .. }) => Ok(record),
        Err(StoreError::Exists(_)) => {
            let stored = shared.store.get(ENTRY_POINT).await?;
            stored.ok_or_else(|| ApiError::not_found(ENTRY_POINT))
        }
        Err(error) => Err(error.into()),
    }
}

fn presented_entry_point(shared: &Shared, stored: &Record, caller: &Caller, headers: &HeaderMap) -> Document {
    let mut document = Document::clone(&stored.document);
    document.insert("baseURI".to_owned(), json!(base_uri(headers)));
    for kind in [JOB, SESSION, SESSION_TEMPLATE, USER] {
        document.insert(kind.plural.to_owned(), json!({"href": kind.name}));
    }
    // whoever knows nothing of lists sends single requests
    document.insert(dialect::REPORTS.to_owned(), json!({"href": dialect::REPORTS_PLACE}));
    document.insert(dialect::BULK_ADD.to_owned(), json!({"href": JOB.name}));
    // whoever takes entries out of a queue finds out whether they are this server's
    if let Some(identity) = &shared.identity {
        document.insert(dialect::STORE.to_owned(), json!({"id": identity}));
    }
    if caller.is_administrator() {
        document.insert("operations".to_owned(), json!([{"rel": "edit", "href": ENTRY_POINT}]));
    }
    document
}

fn base_uri(headers: &HeaderMap) -> String {
    let asked = || headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(peer::host);
    let host = peer::forwarded_host(headers).unwrap_or_else(|| asked().unwrap_or("localhost").to_owned());
    format!("{}://{host}/api/", peer::forwarded_scheme(headers).unwrap_or("http"))
}

/// Searches jobs and presents the collection.
pub async fn search_jobs(shared: &Shared, caller: &Caller, parameters: &Parameters) -> Result<Answer, ApiError> {
    caller.require_user()?;
    let found = search(shared, JOB, caller, parameters).await?;
    let (caller, select) = (caller.clone(), parameters.select.clone());
    let may_add = caller.is_administrator();
    let present = move |record: Record| {
        let entry = record.entry().map(str::to_owned);
        let document = Arc::unwrap_or_clone(record.document);
        presented_job(&caller, document::shown(document, entry.as_deref()), &select)
    };
    Ok(presented_search(shared, JOB, found, parameters, may_add, present))
}

/// What a search found as its answer.
#[must_use]
pub fn presented_search(
    shared: &Shared,
    kind: Kind,
    mut found: Found,
    parameters: &Parameters,
    may_add: bool,
    present: impl Fn(Record) -> Document + Send + 'static,
) -> Answer {
    let head = collection_head(kind, found.count, may_add);
    let mut tail = Document::new();
    add_aggregations(&mut tail, &parameters.aggregations, std::mem::take(&mut found.aggregations));
    Answer::page(pages::body(shared.store.clone(), kind, (&head, tail), found, present))
}

/// Answers the aggregations about a collection that is shown whole.
pub fn aggregate(kind: Kind, collection: &mut Document, asked: &[Aggregation]) -> Result<(), ApiError> {
    let shown = collection.get(kind.plural).and_then(Value::as_array).into_iter().flatten();
    let answers = slipstream_store::aggregate::over(shown.filter_map(Value::as_object), asked);
    add_aggregations(collection, asked, answers.map_err(StoreError::from)?);
    Ok(())
}

/// Adds answers at top level, by their tags (specification 4.6).
fn add_aggregations(collection: &mut Document, asked: &[Aggregation], answers: Vec<Value>) {
    if !asked.is_empty() {
        let answers: Document = asked.iter().map(Aggregation::to_string).zip(answers).collect();
        collection.insert("aggregations".to_owned(), Value::Object(answers));
    }
}

/// A job with the operations that the caller may use, limited to the selected attributes; `id`, `resourceURI`, `acl` and
/// `operations` are always there, because old clients need them to do anything with it (quirk 11). As in the original,
/// whoever may view a job is told how to stop it (specification 5.4).
#[must_use]
pub fn presented_job(caller: &Caller, mut job: Document, select: &[String]) -> Document {
    let may_modify = caller.may_modify(&job);
    let id = job.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    keep_selected(&mut job, select);
    let mut operations = Vec::new();
    if may_modify {
        operations.extend(["edit", "delete"].map(|rel| json!({"rel": rel, "href": id})));
    }
    operations.extend([dialect::STOP_REL, "stop"].map(|rel| json!({"rel": rel, "href": format!("{id}/stop")})));
    job.insert("operations".to_owned(), Value::Array(operations));
    job
}

/// Takes out what is not selected; nothing if nothing is. `id`, `resourceURI` and `acl` stay in any case.
pub fn keep_selected(document: &mut Document, select: &[String]) {
    const ALWAYS: [&str; 3] = ["id", "resourceURI", "acl"];
    if !select.is_empty() {
        document.retain(|name, _| ALWAYS.contains(&name.as_str()) || select.contains(name));
    }
}

/// The caller's own session or nothing, whatever was asked: how clients find out whether they are logged in.
pub async fn search_sessions(shared: &Shared, caller: &Caller) -> Result<Answer, ApiError> {
    let own = match caller.session() {
        None => None,
        Some(session) => shared.store.get(session).await?,
    };
    let documents: Vec<Value> = own.into_iter().map(|record| Value::Object(presented_session(record))).collect();
    Ok(Answer::ok(collection(SESSION, documents.len() as u64, documents, true)))
}

/// Reads a session; only its owner and administrators may.
pub async fn read_session(shared: &Shared, caller: &Caller, id: &str) -> Result<Answer, ApiError> {
    Ok(Answer::ok(presented_session(own_session(shared, caller, id).await?)))
}

/// Deletes a session, which revokes its token.
pub async fn delete_session(shared: &Shared, caller: &Caller, id: &str) -> Result<(), ApiError> {
    let session = own_session(shared, caller, id).await?;
    shared.store.remove(id, session.revision).await?;
    shared.sessions.forget(id);
    Ok(())
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

fn presented_session(record: Record) -> Document {
    let mut document = Arc::unwrap_or_clone(record.document);
    document.insert("operations".to_owned(), json!([{"rel": "delete", "href": record.id}]));
    document
}

/// The login templates; anybody may read them.
#[must_use]
pub fn search_templates() -> Answer {
    Answer::ok(collection(SESSION_TEMPLATE, 1, vec![Value::Object(internal_template())], false))
}

/// Reads a login template.
pub fn read_template(id: &str) -> Result<Answer, ApiError> {
    match id {
        dialect::INTERNAL_TEMPLATE => Ok(Answer::ok(internal_template())),
        _ => Err(ApiError::not_found(id)),
    }
}

fn internal_template() -> Document {
    object(json!({
        "id": dialect::INTERNAL_TEMPLATE, "resourceURI": SESSION_TEMPLATE.resource_uri,
        "name": "Internal", "description": "Internal Authentication via Username/Password",
        "method": "internal", "methodKey": "internal", "instance": "internal", "group": "Login Methods",
        "username": "username", "password": "password",
        "created": "1970-01-01T00:00:00.000Z", "updated": "1970-01-01T00:00:00.000Z",
        "acl": {"owner": {"principal": "ADMIN", "type": "ROLE"},
                "rules": [{"principal": "ANON", "type": "ROLE", "right": "VIEW"}]},
    }))
}

/// Documents of one kind, as the answer to a search (specification 4.2).
fn collection(kind: Kind, count: u64, documents: Vec<Value>, may_add: bool) -> Document {
    let mut collection = collection_head(kind, count, may_add);
    collection.insert(kind.plural.to_owned(), Value::Array(documents));
    collection
}

/// The members before the list of documents.
fn collection_head(kind: Kind, count: u64, may_add: bool) -> Document {
    let mut collection = object(json!({
        "count": count, "acl": acl::default_acl(),
        "resourceURI": format!("{}Collection", kind.resource_uri), "id": kind.name,
    }));
    if may_add {
        collection.insert("operations".to_owned(), json!([{"rel": "add", "href": kind.name}]));
    }
    collection
}

/// A login form's fields as the document that a JSON login would be.
#[must_use]
pub fn login_form(form: &[u8]) -> Document {
    let fields = form_urlencoded::parse(form).into_owned().map(|(name, value)| (name, json!(value)));
    object(json!({"sessionTemplate": fields.collect::<Document>()}))
}

/// Old clients write `//api/…` when their endpoint ends in a slash (quirk 31).
#[must_use]
pub fn without_double_slashes(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

fn object(value: Value) -> Document {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("written as an object by the caller"),
    }
}
