//! Reports: a list of edits of running attempts in one `POST /api/job/reports`, answered item by item. An extension.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use slipstream_cimi::dialect::{MOST_ITEMS, REPORTS};
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::{AttemptIdentity, Document, lease};

use super::Shared;
use super::access::Caller;
use super::error::{ApiError, chain};
use super::job_document::Shown;
use super::jobs::{self, EditRequest};
use super::store::Record;
use crate::nodes;

/// Longest name of an executor in bytes; in a header it is bounded as all headers are.
const NAME_LIMIT: usize = 1024;

/// One item of the list.
#[derive(Debug)]
struct Report {
    id: String,
    /// Without one the job is only read.
    edit: Option<EditRequest>,
    /// Whether the job is asked for.
    document: bool,
}

/// Carries out every item as the edit of that job by that attempt would be, or as its read if it changes nothing. Items
/// about different jobs are carried out at once, those about one job one after the other. Answers the body as text.
pub async fn carry_out(
    shared: &Shared,
    caller: &Caller,
    mut body: Document,
    request_id: &str,
) -> Result<Vec<u8>, ApiError> {
    caller.require_administrator()?;
    let Some(Value::Array(items)) = body.shift_remove(REPORTS) else {
        return Err(ApiError::bad_request(format!("expected a list `{REPORTS}`")));
    };
    check_length(&items)?;
    let mut answers: Vec<Answer> = Vec::new();
    let mut by_job: BTreeMap<String, Vec<(usize, Report)>> = BTreeMap::new();
    for (index, item) in items.into_iter().enumerate() {
        answers.push(match Report::read(item) {
            Ok(report) => {
                by_job.entry(report.id.clone()).or_default().push((index, report));
                Answer::Done
            }
            Err(error) => Answer::Refused(refused(error, "a report", request_id)),
        });
    }
    let one_job = async |(id, reports): (String, Vec<(usize, Report)>)| {
        let mut answers = Vec::with_capacity(reports.len());
        for (index, report) in reports {
            let refused = |error| Answer::Refused(refused(error, &format!("report of {id}"), request_id));
            answers.push((index, report.carry_out(shared, caller).await.unwrap_or_else(refused)));
        }
        answers
    };
    for (index, answer) in join_all(by_job.into_iter().map(one_job)).await.into_iter().flatten() {
        answers[index] = answer;
    }
    Ok(serde_json::to_vec(&BTreeMap::from([(REPORTS, answers)])).expect("answers are made of documents"))
}

/// The answer to an item.
enum Answer {
    Done,
    Job(Arc<Record>),
    Refused(Value),
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = match self {
            Self::Refused(refusal) => return refusal.serialize(serializer),
            Self::Done => None,
            Self::Job(record) => Some(record),
        };
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("status", &200)?;
        if let Some(record) = record {
            let shown = Shown { document: &record.document, entry: jobs::entry_of(record) };
            members.serialize_entry("document", &shown)?;
        }
        members.end()
    }
}

/// Refuses a list that is too long.
pub fn check_length(items: &[Value]) -> Result<(), ApiError> {
    if items.len() <= MOST_ITEMS {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("a list has at most {MOST_ITEMS} items, not {}", items.len())))
}

/// The answer to an item that was not carried out: the body that a request of its own would have got.
#[must_use]
pub fn refused(error: ApiError, request: &str, request_id: &str) -> Value {
    serde_json::to_value(error.tell(request, request_id)).expect("a refusal is made of texts and numbers")
}

impl Report {
    fn read(item: Value) -> Result<Self, ApiError> {
        let Value::Object(mut item) = item else {
            return Err(ApiError::bad_request("expected a JSON object as report"));
        };
        let id = match item.shift_remove("id") {
            Some(Value::String(id)) if is_job_id(&id) => id,
            _ => return Err(ApiError::bad_request("a report needs the `id` of a job")),
        };
        let document = item.get("document").is_some_and(|document| document == &Value::Bool(true));
        let edit = match item.shift_remove("changes") {
            None => None,
            Some(Value::Object(changes)) => {
                let attempt = Some(attempt(&id, &item)?);
                Some(EditRequest { changes, remove: Vec::new(), attempt })
            }
            Some(_) => return Err(ApiError::bad_request("the `changes` of a report are a JSON object")),
        };
        Ok(Self { id, edit, document })
    }

    async fn carry_out(self, shared: &Shared, caller: &Caller) -> Result<Answer, ApiError> {
        let job = match &self.edit {
            Some(edit) => jobs::edit(shared, caller, &self.id, edit).await?,
            None => jobs::read(shared, caller, &self.id).await?,
        };
        Ok(if self.document { Answer::Job(job) } else { Answer::Done })
    }
}

/// Who writes: what an attempt's headers say of a request of its own.
fn attempt(job: &str, item: &Document) -> Result<AttemptIdentity, ApiError> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let required =
        |name: &str| text(name).ok_or_else(|| ApiError::bad_request(format!("a report needs a text `{name}`")));
    let not_a_lease = |error: lease::NotALease| ApiError::bad_request(chain(&error));
    let lease = required("lease")?.parse().map_err(not_a_lease)?;
    let entry = required("entry")?;
    if !nodes::is_entry(entry) {
        return Err(ApiError::bad_request("the `entry` of a report is not the path of an entry"));
    }
    let executor = text("executor").unwrap_or("unnamed");
    if executor.len() > NAME_LIMIT {
        return Err(ApiError::bad_request(format!("the `executor` of a report is longer than {NAME_LIMIT} bytes")));
    }
    Ok(AttemptIdentity { job: job.to_owned(), lease, entry: entry.to_owned(), executor: executor.to_owned() })
}
