//! Bulk add: a list of jobs in one `POST /api/job`, answered item by item. An extension.

use futures_util::future::join_all;
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::dialect::{ITEM_KEY, JOB};

use super::Stored;
use super::record::JobRecord;
use super::reports::{Refusals, check_length};
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::http::request::KEY_LIMIT;
use crate::server::jobs;

/// Adds each job of the list as a single add would; one that is refused harms no other. An item that names no key of its
/// own has the key `<key>/<index>` where the list has one, so that a list that is sent again adds nothing twice.
///
/// All are stored at once, and then queued in the order of the list.
pub async fn add_all(
    shared: &Shared,
    caller: &Caller,
    list: Vec<Value>,
    key: Option<&str>,
    request_id: &str,
) -> Result<Document, ApiError> {
    caller.require_administrator()?;
    check_length(list.len())?;
    let prepare = |(index, sent)| {
        let Value::Object(mut sent) = sent else {
            return Err(ApiError::bad_request("expected a JSON object as job"));
        };
        let key = own_key(&mut sent)?.or_else(|| key.map(|key| format!("{key}/{index}")));
        jobs::prepare(shared, caller, sent, key.as_deref())
    };
    // before anything is awaited: ids rise in the order of the list
    let new: Vec<Result<JobRecord, ApiError>> = list.into_iter().enumerate().map(prepare).collect();
    let added = join_all(new.into_iter().map(async |new| jobs::store(shared, new?).await)).await;
    let (mut stored, mut refusals) = (Vec::new(), Refusals::default());
    let mut answer = |(index, added): (usize, Result<Stored, ApiError>)| match added {
        Ok(job) => {
            let answer = json!({"status": 201, "resource-id": job.id()});
            stored.push(job);
            answer
        }
        Err(error) => json!(refusals.refuse(error, &index, request_id)),
    };
    let answers: Vec<Value> = added.into_iter().enumerate().map(&mut answer).collect();
    refusals.log();
    queue(shared, stored).await;
    Ok(Document::from_iter([(JOB.plural.to_owned(), answers.into())]))
}

/// Takes the key of an item out of it.
fn own_key(sent: &mut Document) -> Result<Option<String>, ApiError> {
    match sent.shift_remove(ITEM_KEY) {
        None => Ok(None),
        Some(Value::String(key)) if (1..=KEY_LIMIT).contains(&key.len()) => Ok(Some(key)),
        Some(_) => Err(ApiError::bad_request(format!("{ITEM_KEY}: expected a text of 1 to {KEY_LIMIT} bytes"))),
    }
}

/// Puts all entries in the order of the list, and records them.
async fn queue(shared: &Shared, stored: Vec<Stored>) {
    let entries = jobs::put_entries(shared, &stored).await;
    let put = stored.into_iter().zip(entries).filter_map(|(stored, entry)| Some((stored, entry?)));
    join_all(put.map(async |(stored, entry)| jobs::record_entry(shared, stored, &entry).await)).await;
}
