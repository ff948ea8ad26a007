//! Reports: a list of reads, begins and edits of attempts in one `POST /api/job/reports`, answered item by item. An
//! extension. Whoever is in this process hands the list over as it is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;
use slipstream_action::with_causes;
use slipstream_cimi::client::lists::{Report, ReportAnswers, ReportList, Reported};
use slipstream_cimi::dialect::{ACTIONS, MOST_ITEMS, REPORTS};
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::{AttemptIdentity, Document, Job, Lease, Refusal, State, lease};
use slipstream_store::StoredDocument;

use super::document::{self, Shown, action_of, state_of};
use super::edit::Editor;
use super::record::JobRecord;
use super::update::{Decide, Decision, update};
use super::{EditRequest, state_alone};
use crate::process::paths;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::jobs;

/// Longest name of an executor in bytes; in a header it is bounded as all headers are.
const NAME_LIMIT: usize = 1024;

/// What has become of a report, for whoever answers it.
#[derive(Clone, Copy)]
enum Done<'a> {
    Nothing,
    /// The job as it is then.
    Job(&'a JobRecord),
    /// The job as it was before, whether its attempt was begun, and whether another one had been before and was lost.
    Begin(&'a JobRecord, bool, bool),
}

/// Carries out a list as text, and answers one.
pub async fn carry_out_text(
    shared: &Shared,
    caller: &Caller,
    mut body: Document,
    request_id: &str,
) -> Result<Vec<u8>, ApiError> {
    caller.require_administrator()?;
    let Some(Value::Array(items)) = body.shift_remove(REPORTS) else {
        return Err(ApiError::bad_request(format!("expected a list `{REPORTS}`")));
    };
    check_length(items.len())?;
    let actions = actions(body.shift_remove(ACTIONS))?;
    let (mut reports, mut refused) = (Vec::with_capacity(items.len()), BTreeMap::new());
    for (index, item) in items.into_iter().enumerate() {
        match read(item) {
            Ok(report) => reports.push(report),
            Err(error) => drop(refused.insert(index, error)),
        }
    }
    let mut carried_out = carry_out(shared, caller, &reports, &actions, |done| to_text(&Answer::of(done))).await;
    let mut refusals = Refusals::default();
    let mut text = format!("{{\"{REPORTS}\":[").into_bytes();
    let mut answered = reports.iter().zip(carried_out.drain(..));
    for index in 0..reports.len() + refused.len() {
        let answer = if let Some(error) = refused.remove(&index) {
            to_text(&refusals.refuse(error, &index, request_id))
        } else {
            let (report, answer) = answered.next().expect("an answer to each report");
            answer.unwrap_or_else(|error| to_text(&refusals.refuse(error, &report.job(), request_id)))
        };
        if index > 0 {
            text.push(b',');
        }
        text.extend(answer);
    }
    refusals.log();
    text.extend(b"]}");
    Ok(text)
}

/// Carries out a list of somebody in this process.
pub async fn carry_out_values(
    shared: &Shared,
    caller: &Caller,
    list: &ReportList,
    request_id: &str,
) -> Result<ReportAnswers, ApiError> {
    caller.require_administrator()?;
    check_length(list.reports.len())?;
    let carried_out = carry_out(shared, caller, &list.reports, &list.actions, to_value).await;
    let mut refusals = Refusals::default();
    let answered = |(report, answer): (&Report, Result<Reported, ApiError>)| {
        answer.map_err(|error| refusals.refuse(error, &report.job(), request_id))
    };
    let answers = list.reports.iter().zip(carried_out).map(answered).collect();
    refusals.log();
    Ok(ReportAnswers(answers))
}

/// Carries out every report as the edit of that job by that attempt would be, or as its read if it changes nothing. Reports
/// about different jobs are carried out at once, those about one job one after the other. `show` is called before anybody
/// changes the job further.
async fn carry_out<T: Send>(
    shared: &Shared,
    caller: &Caller,
    reports: &[Report],
    actions: &[String],
    show: fn(Done<'_>) -> T,
) -> Vec<Result<T, ApiError>> {
    shared.jobs.prepare(reports.iter().map(Report::job)).await;
    let mut order: Vec<usize> = (0..reports.len()).collect();
    order.sort_by_key(|index| reports[*index].job());
    let one_job = async |indices: &[usize]| {
        let mut answers = Vec::with_capacity(indices.len());
        for index in indices {
            answers.push((*index, carry_out_one(shared, caller, &reports[*index], actions, show).await));
        }
        answers
    };
    let of_each = order.chunk_by(|one, other| reports[*one].job() == reports[*other].job()).map(one_job);
    let mut answers: Vec<(usize, Result<T, ApiError>)> = join_all(of_each).await.into_iter().flatten().collect();
    answers.sort_unstable_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn carry_out_one<T: Send>(
    shared: &Shared,
    caller: &Caller,
    report: &Report,
    actions: &[String],
    show: fn(Done<'_>) -> T,
) -> Result<T, ApiError> {
    match report {
        Report::Read { id, shows_job } => {
            let job = jobs::read(shared, caller, id).await?;
            Ok(show(if *shows_job { Done::Job(&job) } else { Done::Nothing }))
        }
        Report::Begin { attempt, changes } => begin(shared, caller, attempt, changes, actions, show).await,
        Report::Edit { attempt, changes, shows_job } => {
            let request = EditRequest::of_attempt(attempt, Cow::Borrowed(changes));
            let job = jobs::edit(shared, caller, &attempt.job, &request).await?;
            Ok(show(if *shows_job { Done::Job(&job) } else { Done::Nothing }))
        }
    }
}

/// The answer to a report that was carried out.
#[derive(Serialize)]
struct Answer<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    begun: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rerun: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Shown<'a>>,
}

impl<'a> Answer<'a> {
    fn of(done: Done<'a>) -> Self {
        let (begun, rerun, document) = match done {
            Done::Nothing => (None, None, None),
            Done::Job(job) => (None, None, Some(job.to_show())),
            Done::Begin(job, begun, rerun) => (Some(begun), Some(rerun), Some(job.to_show())),
        };
        Self { status: 200, begun, rerun, document }
    }
}

fn to_text(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("an answer is made of documents, texts and numbers")
}

fn to_value(done: Done<'_>) -> Reported {
    match done {
        Done::Nothing => Reported::Done,
        Done::Job(job) => Reported::Job(document::shown(job.document.clone().into_document(), job.entry())),
        Done::Begin(job, begun, rerun) => {
            let read = Job::from_members(job.document.members()).map(|mut read| {
                document::show_entry(&mut read.others, job.entry());
                Box::new(read)
            });
            Reported::Begin { job: read.map_err(|error| error.to_string()), begun, rerun: Some(rerun) }
        }
    }
}

/// Names of the actions that whoever sends the list can run.
fn actions(sent: Option<Value>) -> Result<Vec<String>, ApiError> {
    let refused = || ApiError::bad_request(format!("`{ACTIONS}` is a list of texts"));
    sent.map_or(Ok(Vec::new()), |sent| serde_json::from_value(sent).map_err(|_| refused()))
}

/// Refuses a list that is too long.
pub fn check_length(items: usize) -> Result<(), ApiError> {
    if items <= MOST_ITEMS {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("a list has at most {MOST_ITEMS} items, not {items}")))
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
    pub fn refuse(&mut self, mut error: ApiError, item: &dyn Display, request_id: &str) -> Refusal {
        if let Some(cause) = error.log.take() {
            self.causes.entry(cause).or_insert_with(|| (0, item.to_string())).0 += 1;
        }
        error.respond(request_id)
    }

    /// Logs what is for the log, within the span of the request.
    pub fn log(self) {
        for (cause, (items, first)) in self.causes {
            tracing::error!(cause, items, first, "request failed for some of its items");
        }
    }
}

fn read(item: Value) -> Result<Report, ApiError> {
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
    let (begins, shows_job) = (wants("begin")?, wants("document")?);
    match item.shift_remove("changes") {
        None => Ok(Report::Read { id, shows_job }),
        Some(Value::Object(mut changes)) if begins => {
            if changes.shift_remove("state") != Some(State::Running.as_str().into()) {
                return Err(ApiError::bad_request("a report that begins an attempt sets the state RUNNING"));
            }
            Ok(Report::Begin { attempt: attempt(&id, &item)?.into(), changes })
        }
        Some(Value::Object(changes)) => Ok(Report::Edit { attempt: attempt(&id, &item)?.into(), changes, shows_job }),
        Some(_) => Err(ApiError::bad_request("the `changes` of a report are a JSON object")),
    }
}

/// Begins an attempt, or leaves that to whoever holds the entry.
async fn begin<T: Send>(
    shared: &Shared,
    caller: &Caller,
    attempt: &Arc<AttemptIdentity>,
    changes: &Document,
    actions: &[String],
    show: fn(Done<'_>) -> T,
) -> Result<T, ApiError> {
    let mut changes = changes.clone();
    changes.extend(state_alone(State::Running));
    let request = EditRequest::of_attempt(attempt, Cow::Owned(changes));
    let editor = Editor::new(shared, caller, &attempt.job, &request)?;
    let mut begin = Begin { editor, lease: attempt.lease, actions, show, answer: None };
    update(shared, caller, &attempt.job, &mut begin).await?;
    Ok(begin.answer.expect("a job that was found was decided on"))
}

struct Begin<'a, T> {
    editor: Editor<'a>,
    lease: Lease,
    actions: &'a [String],
    show: fn(Done<'_>) -> T,
    /// With the job as it was before, made before it is changed: it is changed where it is.
    answer: Option<T>,
}

impl<T: Send> Decide for &mut Begin<'_, T> {
    async fn decide(&mut self, job: &JobRecord) -> Result<Decision, ApiError> {
        let ledger = job.ledger().ok();
        // one that may be what ends processes is begun apart from others: whoever claims it says when
        let is_suspect = ledger.is_some_and(|ledger| ledger.is_suspect(self.lease));
        let begins = !is_suspect && may_begin(&job.document, self.actions);
        let rerun = ledger.is_some_and(|ledger| ledger.is_rerun(self.lease));
        self.answer = Some((self.show)(Done::Begin(job, begins, rerun)));
        if begins { self.editor.decide(job).await } else { Ok(Decision::Keep) }
    }
}

/// Whether an attempt by somebody who has these actions may begin: what else there is to do with a job, whoever holds
/// its entry decides.
fn may_begin(job: &StoredDocument, actions: &[String]) -> bool {
    let own = action_of(job);
    let is_known = actions.iter().any(|action| *action == own);
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
