//! [`JobRecord`]: a job as the server works on it, with its ledger as such.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_store::{Record, Revision, Write};

use super::document::{Patch, Shown};
use super::ledger::Ledger;
use crate::server::error::ApiError;

/// A job and its ledger.
#[derive(Clone, Debug)]
pub struct JobRecord {
    /// `job/<uuid>`.
    pub id: Arc<str>,
    /// The document, without `operations`; changed by [`set`](Self::set) alone.
    pub document: Arc<Document>,
    ledger: Result<Ledger, UnreadableLedger>,
    /// Its revision in the store when it was read or written.
    pub(super) revision: Revision,
    changed: Changed,
}

/// What has changed of a job since it was added or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    Nothing,
    /// It has an entry, where it had none.
    Entry,
    More,
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
        let (document, ledger) = (document.into(), Ok(Ledger::default()));
        Self { id: id.into(), document, ledger, revision: Revision::default(), changed: Changed::Nothing }
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

    /// How it gets into a store that has it in this revision: as a whole, unless only its entry is new.
    #[must_use]
    pub fn write(&self, revision: Revision) -> Write {
        match (self.changed, self.entry()) {
            (Changed::Entry, Some(entry)) => Write::NoteEntry((*self.id).to_owned(), revision, entry.to_owned()),
            _ => Write::Replace(self.stored(revision)),
        }
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
        self.changed = match &self.ledger {
            Ok(before) if self.changed == Changed::Nothing && has_new_entry(before, &ledger) => Changed::Entry,
            _ => Changed::More,
        };
        self.ledger = Ok(ledger);
    }

    /// Another document from now on, and another ledger.
    pub fn set(&mut self, patch: Patch, ledger: Ledger) {
        // copied only if somebody else still looks at it as it was
        patch.apply(Arc::make_mut(&mut self.document));
        self.ledger = Ok(ledger);
        self.changed = Changed::More;
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
        LEDGER_ITEM + ledger + self.document.values().map(weight).sum::<usize>()
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
        let Record { id, document, revision, .. } = record;
        Self { id: id.into(), document, ledger, revision, changed: Changed::Nothing }
    }
}

/// Whether an entry is recorded where none was, and all else is the same.
fn has_new_entry(before: &Ledger, after: &Ledger) -> bool {
    let entry = &after.entry;
    before.entry.is_none() && entry.is_some() && Ledger { entry: entry.clone(), ..before.clone() } == *after
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

/// About how much memory a value takes, in bytes.
fn weight(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(weight).sum(),
            Value::Object(members) => members.iter().map(|(name, value)| 64 + name.len() + weight(value)).sum(),
        }
}
