//! [`JobRecord`]: a job as the server works on it, with its ledger as such.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_store::{Record, Revision, StoredDocument, weight};

use super::document::{Patch, Shown};
use super::ledger::Ledger;
use crate::server::error::ApiError;

/// A job and its ledger.
#[derive(Clone, Debug)]
pub struct JobRecord {
    /// `job/<uuid>`.
    pub id: Arc<str>,
    /// The document.
    pub document: StoredDocument,
    ledger: Result<Ledger, UnreadableLedger>,
    /// Its revision in the store when it was read or written.
    pub(super) revision: Revision,
}

/// The ledger of a stored job cannot be read, so that nobody knows who may write into the job. It stays as it is.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the ledger of {id} cannot be read")]
pub struct UnreadableLedger {
    id: String,
    stored: Value,
    #[source]
    source: Arc<serde_json::Error>,
}

impl From<&UnreadableLedger> for ApiError {
    fn from(error: &UnreadableLedger) -> Self {
        Self::unexpected(error)
    }
}

impl JobRecord {
    /// A job that is added.
    #[must_use]
    pub fn new(id: &str, document: Document) -> Self {
        Self { id: id.into(), document: document.into(), ledger: Ok(Ledger::default()), revision: Revision::default() }
    }

    /// As it is stored, in its revision there.
    #[must_use]
    pub fn stored(&self, revision: Revision) -> Record {
        let ledger = match &self.ledger {
            Ok(ledger) => serde_json::to_value(ledger).expect("a ledger is made of texts and numbers"),
            Err(unreadable) => unreadable.stored.clone(),
        };
        Record { id: (*self.id).to_owned(), revision, document: self.document.clone(), ledger }
    }

    /// What the server keeps of the job.
    pub fn ledger(&self) -> Result<&Ledger, &UnreadableLedger> {
        self.ledger.as_ref()
    }

    /// The path of the entry that counts.
    #[must_use]
    pub fn entry(&self) -> Option<&str> {
        match &self.ledger {
            Ok(ledger) => ledger.entry.as_deref(),
            Err(unreadable) => unreadable.stored.get("entry").and_then(Value::as_str),
        }
    }

    /// Another ledger from now on.
    pub fn set_ledger(&mut self, ledger: Ledger) {
        self.ledger = Ok(ledger);
    }

    /// Another document from now on, and another ledger.
    pub fn set(&mut self, patch: Patch, ledger: Ledger) {
        patch.apply(&mut self.document);
        self.set_ledger(ledger);
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let ledger = match &self.ledger {
            Ok(ledger) => {
                let executors = ledger.attempts.iter().map(|attempt| &attempt.executor);
                let executors = executors.chain(ledger.refused.iter().map(|refused| &refused.executor));
                executors.map(|executor| LEDGER_ITEM + executor.len()).sum()
            }
            Err(unreadable) => weight(&unreadable.stored),
        };
        LEDGER_ITEM + ledger + self.document.weight()
    }

    /// The job as its readers see it, to be written down.
    #[must_use]
    pub fn to_show(&self) -> Shown<'_> {
        Shown { document: &self.document, entry: self.entry() }
    }
}

impl From<Record> for JobRecord {
    fn from(record: Record) -> Self {
        let ledger = ledger_of(&record);
        Self { id: record.id.into(), document: record.document, ledger, revision: record.revision }
    }
}

/// The ledger of a job as it is stored.
pub fn ledger_of(record: &Record) -> Result<Ledger, UnreadableLedger> {
    if record.ledger.is_null() {
        return Ok(Ledger::default());
    }
    Ledger::deserialize(&record.ledger).map_err(|source| UnreadableLedger {
        id: record.id.clone(),
        stored: record.ledger.clone(),
        source: Arc::new(source),
    })
}

/// Bytes of an attempt in the ledger, or of the rest of it, without texts of any length.
const LEDGER_ITEM: usize = 128;
