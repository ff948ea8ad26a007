//! Many requests in one, for servers that announce it in their entry point: bulk adds and reports. Extensions.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, Client, header_value, is_earlier_add, path};
use crate::dialect::{BULK_ADD, JOB, REPORTS, REPORTS_PLACE};
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
}

impl Report {
    /// Reads a job.
    #[must_use]
    pub fn read(id: &str) -> Self {
        let item = Item { id, lease: None, entry: None, executor: None, changes: None, document: true };
        Self::new(Method::GET, &item)
    }

    /// Edits the attempt's job; `document` asks for the job as it is then.
    #[must_use]
    pub fn edit(attempt: &AttemptIdentity, changes: &Document, document: bool) -> Self {
        let item = Item {
            id: &attempt.job,
            lease: Some(attempt.lease.to_string()),
            entry: Some(&attempt.entry),
            executor: Some(&attempt.executor),
            changes: Some(changes),
            document,
        };
        Self::new(Method::PUT, &item)
    }

    fn new(method: Method, item: &Item<'_>) -> Self {
        let text = serde_json::to_string(item).expect("an item's keys are texts");
        Self { id: item.id.to_owned(), method, text }
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

    fn answer(&self, answer: ItemAnswer) -> Result<Option<Document>, Error> {
        match answer {
            ItemAnswer { status, document, .. } if is_good(status) => Ok(document),
            refused => Err(Error::Refused { request: self.request(), refusal: refused.refusal() }),
        }
    }
}

/// What is answered to one item of a list.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ItemAnswer {
    status: u16,
    document: Option<Document>,
    message: Option<String>,
    resource_id: Option<String>,
    code: Option<Value>,
    request_id: Option<String>,
}

#[derive(Deserialize)]
struct Reported {
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
    /// was asked for. Only for servers that announce it, see [`takes_reports`]; they take at most
    /// [`MOST_ITEMS`](crate::dialect::MOST_ITEMS) in a body of at most 1 MiB. The outer error is that of the request.
    pub async fn report(&self, reports: &[Report]) -> Result<Vec<Result<Option<Document>, Error>>, Error> {
        let mut body = String::with_capacity(16 + reports.iter().map(Report::size).sum::<usize>());
        body.push_str("{\"reports\":[");
        for (index, report) in reports.iter().enumerate() {
            body.push_str(if index == 0 { "" } else { "," });
            body.push_str(&report.text);
        }
        body.push_str("]}");
        let call = Call::new(Method::POST, path(REPORTS_PLACE)).json_text(Bytes::from(body));
        let Reported { reports: answers } = self.send(&call).await?;
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
        let call = Call { key: key.map(header_value), ..Call::new(Method::POST, path(kind)).json(documents) };
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
#[path = "lists_tests.rs"]
mod tests;
