//! Collections: documents of one kind, as the answer to a search (specification 3.4 and 4.2).

use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::acl;
use slipstream_cimi::dialect::Kind;
use slipstream_cimi::query::{Aggregation, Parameters};
use slipstream_store::{Record, StoreError};

use super::{object, pages, search};
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;

/// Searches the stored documents of a kind, each of which `present` shows.
pub async fn search(
    shared: &Shared,
    kind: Kind,
    caller: &Caller,
    parameters: &Parameters,
    present: impl Fn(Record) -> Document + Send + 'static,
) -> Result<Answer, ApiError> {
    let mut found = search::search(shared, kind, caller, parameters).await?;
    let head = head(kind, found.stored.count, may_add(shared, kind, caller));
    let mut tail = Document::new();
    add_aggregations(&mut tail, &parameters.aggregations, std::mem::take(&mut found.stored.aggregations));
    Ok(Answer::page(pages::body(shared.store.clone(), kind, (&head, tail), found, present)))
}

/// Whether the caller may add documents of a kind: whoever is logged in, if it is declared so, else administrators.
pub fn may_add(shared: &Shared, kind: Kind, caller: &Caller) -> bool {
    let users_may = shared.collections.get(kind.name).is_some_and(|collection| collection.users_may_add);
    caller.is_administrator() || users_may && caller.require_user().is_ok()
}

/// A collection of documents that are shown whole, with the answers to the aggregations about them.
pub fn of(kind: Kind, documents: Vec<Value>, may_add: bool, asked: &[Aggregation]) -> Result<Answer, ApiError> {
    let mut collection = head(kind, documents.len() as u64, may_add);
    let answers = slipstream_store::aggregate::over(documents.iter().filter_map(Value::as_object), asked);
    let answers = answers.map_err(StoreError::from)?;
    collection.insert(kind.plural.to_owned(), Value::Array(documents));
    add_aggregations(&mut collection, asked, answers);
    Ok(Answer::ok(&collection))
}

/// The members before the list of documents.
fn head(kind: Kind, count: u64, may_add: bool) -> Document {
    let mut collection = object(json!({
        "count": count, "acl": acl::default_acl(),
        "resourceURI": format!("{}Collection", kind.resource_uri), "id": kind.name,
    }));
    if may_add {
        collection.insert("operations".to_owned(), json!([{"rel": "add", "href": kind.name}]));
    }
    collection
}

/// Adds answers at top level, by their tags (specification 4.6).
fn add_aggregations(collection: &mut Document, asked: &[Aggregation], answers: Vec<Value>) {
    if !asked.is_empty() {
        let answers: Document = asked.iter().map(Aggregation::to_string).zip(answers).collect();
        collection.insert("aggregations".to_owned(), Value::Object(answers));
    }
}

/// Takes out what is not selected; nothing if nothing is. `id`, `resourceURI` and `acl` stay in any case.
pub fn keep_selected(document: &mut Document, select: &[String]) {
    const ALWAYS: [&str; 3] = ["id", "resourceURI", "acl"];
    if !select.is_empty() {
        document.retain(|name, _| ALWAYS.contains(&name.as_str()) || select.contains(name));
    }
}
