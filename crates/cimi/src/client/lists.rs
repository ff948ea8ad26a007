//! Many requests in one, for servers that announce it in their entry point: bulk adds and reports. Extensions.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Call, Client, is_earlier_add, path};
use crate::dialect::{ACTIONS, BULK_ADD, ITEM_KEY, ITEM_KEYS, JOB, REPORTS, REPORTS_PLACE};
use crate::error::{Error, Refusal};
use crate::job::{Job, State};
use crate::lease::AttemptIdentity;
use crate::resource::Document;

/// Whether the server with this entry point takes [`Client::report`].
#[must_use]
pub fn takes_reports(entry_point: &Document) -> bool {
    leads_to(entry_point, REPORTS, REPORTS_PLACE)
}

/// Whether the server with this entry point takes [`Client::add_all`] of jobs.
#[must_use]
pub fn takes_bulk_adds(entry_point: &Document) -> bool {
    leads_to(entry_point, BULK_ADD, JOB.name)
}

/// Whether the items of such a list may have keys of their own, as [`keyed`] gives them.
#[must_use]
pub fn takes_item_keys(entry_point: &Document) -> bool {
    takes_bulk_adds(entry_point) && entry_point.get(BULK_ADD).is_some_and(|link| link[ITEM_KEYS] == true)
}

/// A document as the item of a list to add whose key is its own: repeatable in whatever list it is sent. Only for servers
/// that announce it, see [`takes_item_keys`].
#[must_use]
pub fn keyed(mut document: Document, key: String) -> Document {
    document.insert(ITEM_KEY.to_owned(), Value::String(key));
    document
}

/// The place counts, too: other servers may have resources of that name.
fn leads_to(entry_point: &Document, name: &str, place: &str) -> bool {
    entry_point.get(name).is_some_and(|link| link["href"] == place)
}

/// One read, begin or edit of a job by an attempt.
#[derive(Clone, Debug)]
pub enum Report {
    /// Reads a job.
    Read {
        /// The job.
        id: String,
        /// Whether it is to be answered, and not only whether it is there.
        shows_job: bool,
    },
    /// Reads the attempt's job and, if it waits or runs and the list's actions include its own, sets it RUNNING.
    Begin {
        /// Who begins.
        attempt: Arc<AttemptIdentity>,
        /// What else is changed with the state, as in an edit.
        changes: Document,
    },
    /// Edits the attempt's job.
    Edit {
        /// Who edits.
        attempt: Arc<AttemptIdentity>,
        /// Replaces whole values at top level.
        changes: Document,
        /// Whether the job is to be answered, as it is then.
        shows_job: bool,
    },
}

/// As the server reads it.
#[derive(Serialize)]
struct Item<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a Document>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    document: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    begin: bool,
}

/// What is answered to a report that was carried out.
#[derive(Clone, Debug)]
pub enum Reported {
    /// Nothing was asked for.
    Done,
    /// The job as it is then.
    Job(Document),
    /// To [`Report::Begin`].
    Begin {
        /// The job as it was before; or why it is none that this version understands.
        job: Result<Box<Job>, String>,
        /// Whether the attempt was begun.
        begun: bool,
        /// Whether another attempt was begun before, and lost; none if the server does not say that.
        rerun: Option<bool>,
    },
}

impl Report {
    /// Id of the job.
    #[must_use]
    pub fn job(&self) -> &str {
        match self {
            Self::Read { id, .. } => id,
            Self::Begin { attempt, .. } | Self::Edit { attempt, .. } => &attempt.job,
        }
    }

    /// How many bytes of a request it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.text().len() + 1
    }

    /// The request that this report stands for.
    #[must_use]
    pub fn request(&self) -> String {
        let method = if matches!(self, Self::Read { .. }) { Method::GET } else { Method::PUT };
        format!("{method} {}", path(self.job()))
    }

    fn text(&self) -> String {
        let running;
        let (attempt, changes, document, begin) = match self {
            Self::Read { shows_job, .. } => (None, None, *shows_job, false),
            // a server that knows no begins edits the job, whatever it is, and shows it then
            Self::Begin { attempt, changes } => {
                let state = ("state".to_owned(), State::Running.as_str().into());
                running = changes.clone().into_iter().chain([state]).collect::<Document>();
                (Some(attempt), Some(&running), true, true)
            }
            Self::Edit { attempt, changes, shows_job } => (Some(attempt), Some(changes), *shows_job, false),
        };
        let item = Item {
            id: self.job(),
            lease: attempt.map(|attempt| attempt.lease.to_string()),
            entry: attempt.map(|attempt| &*attempt.entry),
            executor: attempt.map(|attempt| &*attempt.executor),
            changes,
            document,
            begin,
        };
        serde_json::to_string(&item).expect("an item's keys are texts")
    }

    fn refused(&self, refusal: Refusal) -> Error {
        Error::Refused { request: self.request(), refusal }
    }

    fn answer(&self, answer: ItemAnswer) -> Result<Reported, Error> {
        if !is_good(answer.status) {
            return Err(self.refused(answer.refusal()));
        }
        let ItemAnswer { document, begun, rerun, .. } = answer;
        let document = document.ok_or("it shows no document");
        match self {
            Self::Begin { .. } => {
                let job = document.map_err(str::to_owned).and_then(|document| read(&document));
                Ok(Reported::Begin { job, begun, rerun })
            }
            Self::Read { shows_job: true, .. } | Self::Edit { shows_job: true, .. } => {
                let job = document.map_err(str::to_owned).and_then(|document| read(&document));
                let unintelligible = |reason| Error::Unintelligible { request: self.request(), reason };
                job.map(Reported::Job).map_err(unintelligible)
            }
            Self::Read { .. } | Self::Edit { .. } => Ok(Reported::Done),
        }
    }
}

/// Reports as values, for a server in the same process, which finds them in the extensions of the request.
#[derive(Clone, Debug)]
pub struct ReportList {
    /// What is to be carried out.
    pub reports: Arc<[Report]>,
    /// Names of the actions that [`Report::Begin`] may begin.
    pub actions: Arc<[String]>,
}

impl ReportList {
    fn text(&self) -> String {
        let mut text = "{".to_owned();
        if self.reports.iter().any(|report| matches!(report, Report::Begin { .. })) {
            let actions = serde_json::to_string(&self.actions[..]).expect("a list of texts");
            text.extend(["\"", ACTIONS, "\":", &actions, ","]);
        }
        text.extend(["\"", REPORTS, "\":["]);
        for (index, report) in self.reports.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            text.push_str(&report.text());
        }
        text.push_str("]}");
        text
    }
}

/// What is answered to a [`ReportList`], report by report, in the extensions of the response.
#[derive(Clone, Debug)]
pub struct ReportAnswers(pub Vec<Result<Reported, Refusal>>);

/// What is answered to one item of a list.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ItemAnswer {
    status: u16,
    document: Option<Box<RawValue>>,
    #[serde(default)]
    begun: bool,
    rerun: Option<bool>,
    message: Option<String>,
    resource_id: Option<String>,
    code: Option<Value>,
    request_id: Option<String>,
}

#[derive(Deserialize)]
struct ListAnswer {
    reports: Vec<ItemAnswer>,
}

#[derive(Deserialize)]
struct Added {
    jobs: Vec<ItemAnswer>,
}

fn read<T: DeserializeOwned>(document: &RawValue) -> Result<T, String> {
    serde_json::from_str(document.get()).map_err(|error| error.to_string())
}

fn is_good(status: u16) -> bool {
    StatusCode::from_u16(status).is_ok_and(|status| status.is_success())
}

impl ItemAnswer {
    fn refusal(self) -> Refusal {
        let Self { status, message, resource_id, code, request_id, .. } = self;
        // a code that this version does not know is none
        let code = code.and_then(|code| serde_json::from_value(code).ok());
        let message = message.unwrap_or_else(|| "no reason given".to_owned());
        Refusal { status, message, resource_id, code, request_id }
    }
}

impl Client {
    /// Sends reports in one request, and answers each as its own request would have been answered. Only for servers that
    /// announce it, see [`takes_reports`]; they take at most [`MOST_ITEMS`](crate::dialect::MOST_ITEMS), in a body of at
    /// most 1 MiB unless they are in this process. The outer error is that of the request.
    pub async fn report(&self, list: ReportList) -> Result<Vec<Result<Reported, Error>>, Error> {
        let reports = list.reports.clone();
        let call = Call::new(Method::POST, path(REPORTS_PLACE));
        let call = if self.takes_values() { call.values(list) } else { call.json_text(list.text().into()) };
        let mut answer = self.exchange(&call).await?;
        if let Some(ReportAnswers(answers)) = answer.extensions_mut().remove() {
            call.has_all(answers.len(), reports.len())?;
            let answered = |(report, answer): (&Report, Result<_, _>)| answer.map_err(|it| report.refused(it));
            return Ok(reports.iter().zip(answers).map(answered).collect());
        }
        let ListAnswer { reports: answers } = call.answer(answer)?;
        call.has_all(answers.len(), reports.len())?;
        Ok(reports.iter().zip(answers).map(|(report, answer)| report.answer(answer)).collect())
    }

    /// Whether the server is in this process and takes values as they are.
    #[must_use]
    pub fn takes_values(&self) -> bool {
        self.session.takes_values()
    }

    /// Adds documents to the collection `kind` in one request, and answers for each its id or why it was refused. With
    /// a `key` the whole is repeatable, as [`add`](Self::add) is; so are those that are [`keyed`]. Only for servers that announce it, see
    /// [`takes_bulk_adds`], and only for jobs; they take at most [`MOST_ITEMS`](crate::dialect::MOST_ITEMS) in a body of
    /// at most 1 MiB. The outer error is that of the request.
    pub async fn add_all(
        &self,
        kind: &str,
        documents: &[Document],
        key: Option<&str>,
    ) -> Result<Vec<Result<String, Error>>, Error> {
        let call = Call::new(Method::POST, path(kind)).json(documents).keyed(key);
        let Added { jobs: answers } = self.send(&call).await?;
        call.has_all(answers.len(), documents.len())?;
        let added = |(document, answer): (&Document, ItemAnswer)| match answer {
            ItemAnswer { status, resource_id: Some(id), .. } if is_good(status) => Ok(id),
            ItemAnswer { status, .. } if is_good(status) => Err(call.unintelligible("an item has no resource-id")),
            refused => match refused.refusal() {
                Refusal { resource_id: Some(id), ref status, ref code, .. }
                    if (key.is_some() || document.contains_key(ITEM_KEY)) && is_earlier_add(*status, *code) =>
                {
                    Ok(id)
                }
                refusal => Err(Error::Refused { request: call.to_string(), refusal }),
            },
        };
        Ok(documents.iter().zip(answers).map(added).collect())
    }
}

impl Call {
    fn has_all(&self, answered: usize, asked: usize) -> Result<(), Error> {
        if answered == asked {
            return Ok(());
        }
        Err(self.unintelligible(format!("it answers {answered} of {asked} items")))
    }
}

#[cfg(test)]
mod tests;
