//! Many requests in one, for servers that announce it in their entry point: bulk adds and reports. Extensions.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Call, Client, is_earlier_add, path};
use crate::dialect::{ACTIONS, BULK_ADD, JOB, REPORTS, REPORTS_PLACE};
use crate::error::{Error, Refusal};
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

/// The place counts, too: other servers may have resources of that name.
fn leads_to(entry_point: &Document, name: &str, place: &str) -> bool {
    entry_point.get(name).is_some_and(|link| link["href"] == place)
}

/// One edit or read of a job by an attempt, written down as it is sent.
#[derive(Clone, Debug)]
pub struct Report {
    id: String,
    method: Method,
    begins: bool,
    text: String,
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
#[derive(Debug)]
pub struct Reported {
    /// The job as JSON, if it was asked for.
    pub document: Option<Box<RawValue>>,
    /// Of [`Report::begin`]: whether the attempt was begun.
    pub begun: bool,
    /// Of [`Report::begin`]: whether another attempt was begun before, and lost.
    pub rerun: Option<bool>,
}

impl Reported {
    /// Reads the job that `request` asked for.
    pub fn job<Answer: DeserializeOwned>(self, request: &str) -> Result<Answer, Error> {
        let unintelligible = |reason: String| Error::Unintelligible { request: request.to_owned(), reason };
        let document = self.document.ok_or_else(|| unintelligible("it shows no document".to_owned()))?;
        serde_json::from_str(document.get()).map_err(|error| unintelligible(error.to_string()))
    }
}

impl<'a> Item<'a> {
    fn edit(attempt: &'a AttemptIdentity, changes: &'a Document) -> Self {
        Self {
            id: &attempt.job,
            lease: Some(attempt.lease.to_string()),
            entry: Some(&attempt.entry),
            executor: Some(&attempt.executor),
            changes: Some(changes),
            document: false,
            begin: false,
        }
    }
}

impl Report {
    /// Reads a job.
    #[must_use]
    pub fn read(id: &str) -> Self {
        let (lease, entry, executor, changes) = (None, None, None, None);
        Self::new(Method::GET, &Item { id, lease, entry, executor, changes, document: true, begin: false })
    }

    /// Reads the attempt's job and, if it waits or runs and the list's actions include its own, edits it: answered are
    /// the job as it was before, and whether that was done.
    #[must_use]
    pub fn begin(attempt: &AttemptIdentity, changes: &Document) -> Self {
        // a server that knows no begins edits the job, whatever it is, and shows it then
        Self::new(Method::PUT, &Item { begin: true, document: true, ..Item::edit(attempt, changes) })
    }

    /// Edits the attempt's job; `document` asks for the job as it is then.
    #[must_use]
    pub fn edit(attempt: &AttemptIdentity, changes: &Document, document: bool) -> Self {
        Self::new(Method::PUT, &Item { document, ..Item::edit(attempt, changes) })
    }

    fn new(method: Method, item: &Item<'_>) -> Self {
        let text = serde_json::to_string(item).expect("an item's keys are texts");
        Self { id: item.id.to_owned(), method, begins: item.begin, text }
    }

    /// How many bytes of a request it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.text.len() + 1
    }

    /// The request that this report stands for.
    #[must_use]
    pub fn request(&self) -> String {
        format!("{} {}", self.method, path(&self.id))
    }

    fn answer(&self, answer: ItemAnswer) -> Result<Reported, Error> {
        match answer {
            ItemAnswer { status, document, begun, rerun, .. } if is_good(status) => {
                Ok(Reported { document, begun, rerun })
            }
            refused => Err(Error::Refused { request: self.request(), refusal: refused.refusal() }),
        }
    }
}

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
struct ReportAnswers {
    reports: Vec<ItemAnswer>,
}

#[derive(Deserialize)]
struct Added {
    jobs: Vec<ItemAnswer>,
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
    /// Sends reports in one request, and answers each as its own request would have been answered: with the job if it
    /// was asked for. `actions` are those that [`Report::begin`] may begin. Only for servers that announce it, see [`takes_reports`]; they take at most
    /// [`MOST_ITEMS`](crate::dialect::MOST_ITEMS) in a body of at most 1 MiB. The outer error is that of the request.
    pub async fn report(&self, reports: &[Report], actions: &[String]) -> Result<Vec<Result<Reported, Error>>, Error> {
        let mut body = String::with_capacity(32 + reports.iter().map(Report::size).sum::<usize>());
        body.push('{');
        if reports.iter().any(|report| report.begins) {
            let actions = serde_json::to_string(actions).expect("a list of texts");
            body.extend(["\"", ACTIONS, "\":", &actions, ","]);
        }
        body.extend(["\"", REPORTS, "\":["]);
        for (index, report) in reports.iter().enumerate() {
            body.push_str(if index == 0 { "" } else { "," });
            body.push_str(&report.text);
        }
        body.push_str("]}");
        let call = Call::new(Method::POST, path(REPORTS_PLACE)).json_text(Bytes::from(body));
        let ReportAnswers { reports: answers } = self.send(&call).await?;
        call.has_all(answers.len(), reports.len())?;
        Ok(reports.iter().zip(answers).map(|(report, answer)| report.answer(answer)).collect())
    }

    /// Adds documents to the collection `kind` in one request, and answers for each its id or why it was refused. With
    /// a `key` the whole is repeatable, as [`add`](Self::add) is. Only for servers that announce it, see
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
        let added = |answer: ItemAnswer| match answer {
            ItemAnswer { status, resource_id: Some(id), .. } if is_good(status) => Ok(id),
            ItemAnswer { status, .. } if is_good(status) => Err(call.unintelligible("an item has no resource-id")),
            refused => match refused.refusal() {
                Refusal { resource_id: Some(id), ref status, ref code, .. }
                    if key.is_some() && is_earlier_add(*status, *code) =>
                {
                    Ok(id)
                }
                refusal => Err(Error::Refused { request: call.to_string(), refusal }),
            },
        };
        Ok(answers.into_iter().map(added).collect())
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
