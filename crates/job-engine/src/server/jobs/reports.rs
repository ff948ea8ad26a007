//! Reports: a list of reads, begins and edits of attempts in one `POST /api/job/reports`, answered item by item. An extension.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;
use slipstream_action::with_causes;
use slipstream_cimi::dialect::{ACTIONS, MOST_ITEMS, REPORTS};
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::{AttemptIdentity, Document, Lease, State, lease};

use super::EditRequest;
use super::document::{Shown, state_of};
use super::edit::Editor;
use super::record::JobRecord;
use super::update::{Decide, Decision, update};
use crate::process::paths;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::jobs;

/// Longest name of an executor in bytes; in a header it is bounded as all headers are.
const NAME_LIMIT: usize = 1024;

/// One item of the list.
#[derive(Debug)]
struct Report {
    id: String,
    /// Without one the job is only read.
    edit: Option<EditRequest>,
    asked: Asked,
}

/// What an item is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// The job as it is then.
    Job,
    /// The job as it was before, and whether its attempt was begun: only a job that waits or runs, and that names one of
    /// the list's actions, is edited.
    Begin,
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
    let actions = actions(body.shift_remove(ACTIONS))?;
    let mut answers: Vec<Vec<u8>> = Vec::with_capacity(items.len());
    let mut by_job: BTreeMap<String, Vec<(usize, Report)>> = BTreeMap::new();
    let mut refusals = Refusals::default();
    for (index, item) in items.into_iter().enumerate() {
        answers.push(match Report::read(item) {
            Ok(report) => {
                by_job.entry(report.id.clone()).or_default().push((index, report));
                Vec::new()
            }
            Err(error) => written(&refusals.refuse(error, &index, request_id)),
        });
    }
    shared.jobs.prepare(by_job.keys().map(String::as_str)).await;
    let one_job = async |(id, reports): (String, Vec<(usize, Report)>)| {
        let mut answers = Vec::with_capacity(reports.len());
        for (index, report) in reports {
            answers.push((index, report.carry_out(shared, caller, &actions).await));
        }
        (id, answers)
    };
    for (id, of_job) in join_all(by_job.into_iter().map(one_job)).await {
        for (index, answer) in of_job {
            answers[index] = answer.unwrap_or_else(|error| written(&refusals.refuse(error, &id, request_id)));
        }
    }
    refusals.log();
    let mut body = format!("{{\"{REPORTS}\":[").into_bytes();
    body.extend(answers.join(&b','));
    body.extend(b"]}");
    Ok(body)
}

/// The answer to an item that was carried out. Written down before anybody changes the job further.
#[derive(Serialize)]
struct Answer<'a> {
    status: u16,
    /// Of a begin: whether the attempt was begun, and whether another one had been before and was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    begun: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rerun: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Shown<'a>>,
}

fn written(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("an answer is made of documents, texts and numbers")
}

/// Names of the actions that whoever sends the list can run.
fn actions(sent: Option<Value>) -> Result<HashSet<String>, ApiError> {
    let refused = || ApiError::bad_request(format!("`{ACTIONS}` is a list of texts"));
    sent.map_or(Ok(HashSet::new()), |sent| serde_json::from_value(sent).map_err(|_| refused()))
}

/// Refuses a list that is too long.
pub fn check_length(items: &[Value]) -> Result<(), ApiError> {
    if items.len() <= MOST_ITEMS {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("a list has at most {MOST_ITEMS} items, not {}", items.len())))
}

/// The items of a list that are not carried out. The log gets one line for each cause, not for each item: on a full disk it
/// is the same for all.
#[derive(Default)]
pub struct Refusals {
    /// By the cause, how many items there are and which one is the first.
    causes: BTreeMap<String, (usize, String)>,
}

impl Refusals {
    /// The answer to this item, its job or its index: the body that a request of its own would have got.
    #[must_use]
    pub fn refuse(&mut self, mut error: ApiError, item: &dyn Display, request_id: &str) -> Value {
        if let Some(cause) = error.log.take() {
            self.causes.entry(cause).or_insert_with(|| (0, item.to_string())).0 += 1;
        }
        serde_json::to_value(error.respond(request_id)).expect("a refusal is made of texts and numbers")
    }

    /// Logs what is for the log, within the span of the request.
    pub fn log(self) {
        for (cause, (items, first)) in self.causes {
            tracing::error!(cause, items, first, "request failed for some of its items");
        }
    }
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
        let wants = |name: &str| match item.get(name) {
            None => Ok(false),
            Some(Value::Bool(wanted)) => Ok(*wanted),
            // taken for false, a guarded edit would be made unguarded
            Some(_) => Err(ApiError::bad_request(format!("the `{name}` of a report is true or false"))),
        };
        let asked = match (wants("begin")?, wants("document")?) {
            (true, _) => Asked::Begin,
            (false, true) => Asked::Job,
            (false, false) => Asked::Nothing,
        };
        let edit = match item.shift_remove("changes") {
            None => None,
            Some(Value::Object(changes)) => {
                if asked == Asked::Begin && changes.get("state") != Some(&State::Running.as_str().into()) {
                    return Err(ApiError::bad_request("a report that begins an attempt sets the state RUNNING"));
                }
                let attempt = Some(attempt(&id, &item)?);
                Some(EditRequest { changes, remove: Vec::new(), attempt })
            }
            Some(_) => return Err(ApiError::bad_request("the `changes` of a report are a JSON object")),
        };
        Ok(Self { id, edit, asked })
    }

    async fn carry_out(self, shared: &Shared, caller: &Caller, actions: &HashSet<String>) -> Result<Vec<u8>, ApiError> {
        let job = match &self.edit {
            Some(edit) if self.asked == Asked::Begin => return begin(shared, caller, &self.id, edit, actions).await,
            Some(edit) => jobs::edit(shared, caller, &self.id, edit).await?,
            None => jobs::read(shared, caller, &self.id).await?,
        };
        let document = (self.asked != Asked::Nothing).then(|| job.to_show());
        Ok(written(&Answer { status: 200, begun: None, rerun: None, document }))
    }
}

/// Begins an attempt, or leaves that to whoever holds the entry.
async fn begin(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    request: &EditRequest,
    actions: &HashSet<String>,
) -> Result<Vec<u8>, ApiError> {
    let lease = request.attempt.as_ref().map(|attempt| attempt.lease);
    let editor = Editor::new(shared, caller, id, request)?;
    let mut begin = Begin { editor, lease, actions, answer: Vec::new() };
    update(shared, caller, id, &mut begin).await?;
    Ok(begin.answer)
}

struct Begin<'a> {
    editor: Editor<'a>,
    lease: Option<Lease>,
    actions: &'a HashSet<String>,
    /// With the job as it was before, written down before it is changed: it is changed where it is.
    answer: Vec<u8>,
}

impl Decide for &mut Begin<'_> {
    async fn decide(&mut self, job: &JobRecord) -> Result<Decision, ApiError> {
        let known = job.ledger().ok().zip(self.lease);
        // one that may be what ends processes is begun apart from others: whoever claims it says when
        let is_suspect = known.is_some_and(|(ledger, lease)| ledger.is_suspect(lease));
        let begins = !is_suspect && may_begin(&job.document, self.actions);
        let rerun = Some(known.is_some_and(|(ledger, lease)| ledger.is_rerun(lease)));
        self.answer = written(&Answer { status: 200, begun: Some(begins), rerun, document: Some(job.to_show()) });
        if begins { self.editor.decide(job).await } else { Ok(Decision::Keep) }
    }
}

/// Whether an attempt by somebody who has these actions may begin: what else there is to do with a job, whoever holds
/// its entry decides.
fn may_begin(job: &Document, actions: &HashSet<String>) -> bool {
    let is_known = job.get("action").and_then(Value::as_str).is_some_and(|action| actions.contains(action));
    is_known && matches!(state_of(job), State::Queued | State::Running)
}

/// Who writes: what an attempt's headers say of a request of its own.
fn attempt(job: &str, item: &Document) -> Result<AttemptIdentity, ApiError> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let required =
        |name: &str| text(name).ok_or_else(|| ApiError::bad_request(format!("a report needs a text `{name}`")));
    let not_a_lease = |error: lease::NotALease| ApiError::bad_request(with_causes(&error));
    let lease = required("lease")?.parse().map_err(not_a_lease)?;
    let entry = required("entry")?;
    if !paths::is_entry(entry) {
        return Err(ApiError::bad_request("the `entry` of a report is not the path of an entry"));
    }
    let executor = text("executor").unwrap_or("unnamed");
    if executor.len() > NAME_LIMIT {
        return Err(ApiError::bad_request(format!("the `executor` of a report is longer than {NAME_LIMIT} bytes")));
    }
    Ok(AttemptIdentity { job: job.to_owned(), lease, entry: entry.to_owned(), executor: executor.to_owned() })
}
