//! [`Folding`]: which edits of the own job are sent, and which go with the next. Pure: who calls says what time it is.
//!
//! An action may report progress a thousand times a second, and each of its clients waits for an answer. The first report
//! goes out and is answered by the server. What comes within [`PERIOD`] of it is answered from the job as it will be, and
//! goes out together. The last value of each attribute always arrives, and none arrives after a later one.

use std::time::Duration;

use serde_json::Value;
use slipstream_action::LONGEST_MESSAGE;
use slipstream_cimi::Document;
use slipstream_cimi::resource::is_id;
use tokio::time::Instant;

/// Reports go out at most so often.
pub(super) const PERIOD: Duration = Duration::from_millis(100);
/// Pause after reports that could not be delivered.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What was reported and where it is.
#[derive(Debug, Default)]
pub(super) struct Folding {
    /// The job as the server answered it last; none before that, and after a report that was not taken.
    known: Option<Document>,
    /// What is under way to the server.
    sent: Option<Document>,
    /// What was answered here and is still to be sent.
    pending: Document,
    /// No report goes out before this.
    not_before: Option<Instant>,
}

/// What becomes of a report.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Taken {
    /// These changes are to be sent; what the server answers is its answer.
    Send(Document),
    /// It goes with the next: this is its answer.
    Answered(Document),
    /// Not known yet: to be taken again once what is under way is answered, or at [`Folding::due`].
    Later(Document),
}

impl Folding {
    /// Takes a report, as [`report_of`] finds it in an edit.
    pub(super) fn report(&mut self, changes: Document, now: Instant) -> Taken {
        if self.sent.is_none() && self.not_before.is_none_or(|not_before| now >= not_before) {
            self.pending.extend(changes);
            return Taken::Send(self.take(now).expect("nothing is under way, and a report says something"));
        }
        let Some(mut job) = self.known.clone() else { return Taken::Later(changes) };
        self.pending.extend(changes);
        job.extend(self.unsettled());
        Taken::Answered(job)
    }

    /// What is pending, to be sent now; none if there is nothing, or something is under way.
    pub(super) fn take(&mut self, now: Instant) -> Option<Document> {
        if self.sent.is_some() || self.pending.is_empty() {
            return None;
        }
        self.not_before = Some(now + PERIOD);
        self.sent = Some(std::mem::take(&mut self.pending));
        self.sent.clone()
    }

    /// When reports may go out again; none if something is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.sent.is_none())
    }

    /// Whether something waits to be sent.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What was sent is in the job, or refused, so that it never will be; none if the server does not show the job.
    pub(super) fn settled(&mut self, job: Option<Document>) {
        self.sent = None;
        self.known = job;
    }

    /// What was sent has no answer: it is sent again, below what came later.
    pub(super) fn undelivered(&mut self, now: Instant) {
        if let Some(mut again) = self.sent.take() {
            again.extend(std::mem::take(&mut self.pending));
            self.pending = again;
        }
        // whoever reports next hears of it
        self.known = None;
        self.not_before = Some(now + AFTER_FAILURE);
    }

    /// Another edit was answered with the job as it is then.
    pub(super) fn learned(&mut self, job: Option<Document>) {
        self.known = job;
    }

    /// What was answered and may not be in the job yet.
    pub(super) fn unsettled(&self) -> Document {
        let mut unsettled = self.sent.clone().unwrap_or_default();
        unsettled.extend(self.pending.clone());
        unsettled
    }
}

/// The changes of an edit that holds progress, message and affected resources alone, and such that a server takes them.
/// Any other edit has to be judged by the server.
pub(super) fn report_of(body: &[u8]) -> Option<Document> {
    let changes: Document = serde_json::from_slice(body).ok()?;
    let is_good = |(name, value): (&String, &Value)| match name.as_str() {
        "progress" => value.as_i64().is_some_and(|percent| (0..=100).contains(&percent)),
        // the names of both dialects
        "statusMessage" | "status-message" => value.as_str().is_some_and(|text| text.len() <= LONGEST_MESSAGE),
        "affectedResources" | "affected-resources" => {
            value.as_array().is_some_and(|links| !links.is_empty() && links.iter().all(is_link))
        }
        _ => false,
    };
    (!changes.is_empty() && changes.iter().all(is_good)).then_some(changes)
}

fn is_link(link: &Value) -> bool {
    link["href"].as_str().is_some_and(is_id)
}

#[cfg(test)]
mod tests;
