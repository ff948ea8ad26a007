//! [`Store`]: where the server keeps documents.

pub mod aggregate;
mod document;
pub mod files;
pub mod memory;
mod packed;
mod sort;
pub mod sqlite;

#[cfg(test)]
mod conformance;

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use slipstream_cimi::acl::{Principal, viewers};
use slipstream_cimi::filter::Filter;
use slipstream_cimi::query::{Aggregation, Order};
use slipstream_cimi::{Lease, State};

use self::aggregate::AggregationError;
pub use self::document::{StoredDocument, weight};

/// What a store calls a version of a document. Opaque: it is equal only to itself. The default is that of a document that is
/// not stored yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revision(u64);

#[cfg(any(test, feature = "testing"))]
impl Revision {
    /// That of a document in memory or in `SQLite` which has been written so many times.
    #[must_use]
    pub fn number(writes: u64) -> Self {
        Self(writes)
    }
}

/// A document with what the server keeps beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// `<type>/<uuid>`.
    pub id: String,
    /// The version that was read.
    pub revision: Revision,
    /// The document.
    pub document: StoredDocument,
    /// What is never shown as an attribute: a job's ledger; null for everything else.
    pub ledger: Value,
}

/// A row of the index of jobs that are not final: all that is asked about many of them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// The job's id.
    pub id: String,
    /// The path of the entry that its ledger records.
    pub entry: Option<String>,
    /// The highest lease that its ledger has seen.
    pub lease: Option<Lease>,
}

/// One change of a document.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a record, whatever its revision says; [`StoreError::Exists`] if there is one of its id.
    Create(Record),
    /// Replaces the record of the same id; [`StoreError::Changed`] if that has another revision.
    Replace(Record),
    /// Removes the record of this id; [`StoreError::Changed`] if it has another revision.
    Remove(String, Revision),
}

/// What a search asks of the store.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Which documents; all without one.
    pub filter: Option<Filter>,
    /// Only documents that one of these may see, see [`viewers`]; all without them.
    pub visible_to: Option<Vec<Principal>>,
    /// Then by id, so that pages do not overlap. In order of id, here as elsewhere, jobs whose ids are none of the server's
    /// making come first; else it is that of the texts.
    pub order: Vec<Order>,
    /// Only documents whose id comes later, for walking through all of them in order of id; needs an empty `order`.
    pub after: Option<String>,
    /// How many to pass over.
    pub offset: u64,
    /// How many at most; 0 asks for the count alone.
    pub limit: u64,
    /// Bytes of stored documents after which a page names the others only by their ids; all are read without it.
    pub at_once: Option<u64>,
    /// What is asked about all documents that match, on whatever page.
    pub aggregations: Vec<Aggregation>,
}

/// What a search found, all of it as of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// How many match, on whatever page.
    pub count: u64,
    /// The page, or its beginning: at least one document of one that is not empty.
    pub records: Vec<Record>,
    /// Ids of the documents of the page that follow, see [`Query::at_once`].
    pub rest: Vec<String>,
    /// Whether more documents follow those of the page.
    pub more: bool,
    /// The answers to [`Query::aggregations`], in their order.
    pub aggregations: Vec<Value>,
}

/// Why the store did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A document of this id exists.
    #[error("{0} exists")]
    Exists(String),
    /// The document was changed or removed since it was read.
    #[error("{0} was changed meanwhile")]
    Changed(String),
    /// The disk is full; nothing was changed.
    #[error("no space left for {path}: free some and try again")]
    Full {
        /// The database file.
        path: String,
    },
    /// The database file is no longer under its name; nothing was changed.
    #[error("the database {path} was moved or replaced: put it back, or stop this server first")]
    Moved {
        /// The name.
        path: String,
    },
    /// Somebody reads the database for so long that its log has grown too long; nothing was changed.
    #[error("the write-ahead log of {path} is too long: stop what reads the database for so long, and try again")]
    LogTooLong {
        /// The database file.
        path: String,
    },
    /// A search looked at too many documents.
    #[error(
        "the search takes too long: {}; narrow it by state, action, targetResource/href, parentJob, created, updated, \
         priority or acl/owner/principal",
        too_slow(unindexed)
    )]
    TooSlow {
        /// The attributes of its filter and order for which no index helps; none where too much matches.
        unindexed: Vec<String>,
    },
    /// An aggregation has no answer.
    #[error(transparent)]
    Aggregation(#[from] AggregationError),
    /// What is stored of a record is not what this program writes; it may be replaced, or its database restored.
    #[error("the {part} of {id} is damaged; restore the database from a backup, or move it away to start empty")]
    Damaged {
        /// Id of the record.
        id: String,
        /// Which part of it.
        part: &'static str,
        /// The record's revision, with which it may be replaced.
        revision: Revision,
        /// What is wrong with it.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// Nothing can be read or written any more, whatever it is.
    #[error("cannot {what}: {why}")]
    Gone {
        /// What was tried, with the thing it was tried on.
        what: String,
        /// What has ended.
        why: &'static str,
    },
    /// Anything else that the storage engine reports; nothing was changed.
    #[error("cannot {what}")]
    Failed {
        /// What was tried, with the thing it was tried on.
        what: String,
        /// What the storage engine says.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// Documents with compare-and-set. What is answered is durable: it survives `kill -9` and power loss.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads the records of these ids, each answered in its place: none where there is no such record.
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>>;
    /// Carries out each of these changes by itself, in any order, and answers each in its place with the new revision. One
    /// that is refused keeps no other from being carried out.
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Revision, StoreError>>;
    /// Searches the documents of one type, e.g. `job`.
    async fn search(&self, kind: &str, query: &Query) -> Result<Found, StoreError>;
    /// So many rows of jobs that are not final and whose id comes later, in order of id, without reading their documents: a
    /// million are walked through at each start, and again and again.
    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError>;
    /// Removes all documents of one type that match, and answers how many.
    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError>;
    /// How much space it takes and what is left; none of a store that is in memory, or that does not know.
    async fn space(&self) -> Option<Space> {
        None
    }
}

/// Space on a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What the database takes, with its log.
    pub taken: u64,
    /// What others may still take where it lies.
    pub free: u64,
}

/// One document at a time.
pub trait StoreExt: Store {
    /// Reads a record.
    fn get(&self, id: &str) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send {
        async move { only(self.read(&[id]).await) }
    }

    /// Adds a record and answers its revision.
    fn insert(&self, record: Record) -> impl Future<Output = Result<Revision, StoreError>> + Send {
        async move { only(self.write(vec![Write::Create(record)]).await) }
    }

    /// Replaces the record of the same id if it still has `record.revision`, and answers the new revision.
    fn replace(&self, record: Record) -> impl Future<Output = Result<Revision, StoreError>> + Send {
        async move { only(self.write(vec![Write::Replace(record)]).await) }
    }

    /// Removes a record if it still has this revision.
    fn remove(&self, id: &str, revision: Revision) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { only(self.write(vec![Write::Remove(id.to_owned(), revision)]).await).map(drop) }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// The answer to the one thing that was asked.
fn only<T>(answers: Vec<T>) -> T {
    answers.into_iter().next().expect("each is answered in its place")
}

impl Write {
    /// Id of the document.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Create(record) | Self::Replace(record) => &record.id,
            Self::Remove(id, _) => id,
        }
    }
}

/// All jobs that are not final, in order of id, page by page.
pub async fn each_unfinished(store: &dyn Store, mut see: impl FnMut(IndexRow)) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let page = store.index_rows(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        page.into_iter().for_each(&mut see);
    }
}

/// Jobs that [`each_unfinished`] asks for at once.
pub const PAGE: u64 = 10_000;

impl StoreError {
    /// [`StoreError::Failed`], with what the storage engine says.
    pub fn failed(what: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { what: what.into(), source: source.into().into() }
    }
}

impl Query {
    /// Whether this document of the type `kind` matches, on whatever page it is.
    #[must_use]
    pub fn selects(&self, kind: &str, record: &Record) -> bool {
        let is_visible = |callers: &Vec<Principal>| {
            let viewers = viewers(&record.document);
            callers.iter().any(|caller| viewers.contains(caller))
        };
        kind_of(&record.id) == kind
            && self.visible_to.as_ref().is_none_or(is_visible)
            && self.filter.as_ref().is_none_or(|filter| filter.matches(&record.document))
    }
}

fn too_slow(unindexed: &[String]) -> String {
    if unindexed.is_empty() {
        return "too many documents match".to_owned();
    }
    let names: Vec<String> = unindexed.iter().map(|attribute| format!("'{attribute}'")).collect();
    format!("no index on {}", names.join(", "))
}

impl Record {
    /// The path of the entry that is recorded for it, if it is a job's.
    #[must_use]
    pub fn entry(&self) -> Option<&str> {
        self.ledger.get("entry").and_then(Value::as_str)
    }

    /// The highest lease that was seen of it, if it is a job.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.ledger.get("lease").and_then(|lease| Lease::deserialize(lease).ok())
    }
}

/// Whether a job of this state is not final.
fn is_unfinished(state: &str) -> bool {
    State::from_text(state).is_some_and(|state| !state.is_final())
}

/// The type of the document with this id: `job` for `job/1`.
fn kind_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(kind, _)| kind)
}
