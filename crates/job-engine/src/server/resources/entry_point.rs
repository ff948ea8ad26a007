//! The cloud entry point (specification 1): what there is, and where.

use http::{HeaderMap, header};
use serde_json::{Value, json};
use slipstream_cimi::dialect::{self, ENTRY_POINT, JOB, OPERATION, SESSION, SESSION_TEMPLATE, USER};
use slipstream_cimi::resource::format_time;
use slipstream_store::{Record, Revision, StoreError, StoreExt};

use super::object;
use crate::server::Shared;
use crate::server::auth::proxy;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::jobs::schema;

/// Members of the entry point that an administrator may set.
const MEMBERS: [&str; 3] = ["name", "description", "properties"];

/// Reads the entry point.
pub async fn read(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    Ok(presented(shared, stored(shared).await?, request))
}

/// Merges what the administrator sent into the entry point.
pub async fn edit(shared: &Shared, mut request: ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_administrator()?;
    let mut changes = request.document();
    changes.retain(|name, _| MEMBERS.contains(&name.as_str()));
    let violations: Vec<String> = schema::attribute_violations(changes.iter()).collect();
    if !violations.is_empty() {
        return Err(ApiError::schema(&violations));
    }
    let mut stored = stored(shared).await?;
    let document = stored.document.make_mut();
    document.extend(changes);
    document.insert("updated".to_owned(), json!(format_time(shared.clock.now())));
    shared.store.replace(stored.clone()).await?;
    Ok(presented(shared, stored, &request))
}

/// The entry point is stored when it is first asked for, so that `created` stays what it was.
async fn stored(shared: &Shared) -> Result<Record, ApiError> {
    if let Some(record) = shared.store.get(ENTRY_POINT).await? {
        return Ok(record);
    }
    let now = format_time(shared.clock.now());
    let document = object(json!({
        "id": ENTRY_POINT, "resourceURI": dialect::ENTRY_POINT_URI, "created": now, "updated": now,
        "acl": {"owner": {"principal": "ADMIN", "type": "ROLE"},
                "rules": [{"principal": "ANON", "type": "ROLE", "right": "VIEW"}]},
    }));
    let record = Record {
        id: ENTRY_POINT.to_owned(),
        revision: Revision::default(),
        document: document.into(),
        ledger: Value::Null,
    };
    match shared.store.insert(record.clone()).await {
        Ok(revision) => Ok(Record { revision, ..record }),
        Err(StoreError::Full { .. }) => Ok(record),
        Err(StoreError::Exists(_)) => {
            let stored = shared.store.get(ENTRY_POINT).await?;
            stored.ok_or_else(|| ApiError::not_found(ENTRY_POINT))
        }
        Err(error) => Err(error.into()),
    }
}

fn presented(shared: &Shared, stored: Record, request: &ApiRequest) -> Answer {
    let mut document = stored.document.into_document();
    document.insert("baseURI".to_owned(), json!(base_uri(&request.headers)));
    let declared = shared.collections.iter().map(|collection| collection.kind);
    for kind in [JOB, SESSION, SESSION_TEMPLATE, USER, OPERATION].into_iter().chain(declared) {
        document.insert(kind.plural.to_owned(), json!({"href": kind.name}));
    }
    // whoever knows nothing of lists sends single requests
    document.insert(dialect::REPORTS.to_owned(), json!({"href": dialect::REPORTS_PLACE}));
    document.insert(dialect::BULK_ADD.to_owned(), json!({"href": JOB.name}));
    // whoever takes entries out of a queue finds out whether they are this server's
    if let Some(identity) = &shared.identity {
        document.insert(dialect::STORE.to_owned(), json!({"id": identity}));
    }
    if request.caller.is_administrator() {
        document.insert("operations".to_owned(), json!([{"rel": "edit", "href": ENTRY_POINT}]));
    }
    Answer::ok(&document).naming_its_encoding()
}

fn base_uri(headers: &HeaderMap) -> String {
    let asked = || headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(proxy::host);
    let host = proxy::forwarded_host(headers).unwrap_or_else(|| asked().unwrap_or("localhost").to_owned());
    format!("{}://{host}/api/", proxy::forwarded_scheme(headers).unwrap_or("http"))
}
