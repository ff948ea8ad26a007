//! [`Documents`]: history in the store. A document for each minute and each hour in which something happened, of each
//! process, so that nothing rests on there being one.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::resource::format_time;
use slipstream_store::{Query, Record, Revision, Store, StoreError, StoreExt};
use uuid::Uuid;

use super::numbers::{Rows, add, from_json, to_json};
use super::timeline::Timeline;

/// Documents read at once.
const PAGE: u64 = 200;
/// Most documents that are read for an answer: 90 days of hours of 20 processes, or a day of minutes of 30.
const MOST_READ: usize = 45_000;
/// How often a document is written again because somebody else was faster. Nobody else writes it.
const TRIES: usize = 3;

/// What a document is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Minute,
    Hour,
}

/// Documents of one process among those of all.
pub struct Documents {
    store: Arc<dyn Store>,
    process: Uuid,
}

impl Period {
    /// The type of its documents, which no route leads to.
    fn kind(self) -> &'static str {
        match self {
            Self::Minute => "history-minute",
            Self::Hour => "history-hour",
        }
    }

    fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    /// Of documents that are too old.
    fn too_old(self) -> &'static str {
        match self {
            Self::Minute => "created<'now-48h'",
            Self::Hour => "created<'now-90d'",
        }
    }

    /// What ids begin with of those about the time that begins with this second.
    fn prefix(self, begin: i64) -> String {
        let time = Timestamp::from_second(begin).unwrap_or(Timestamp::MIN);
        format!("{}/{}", self.kind(), time.strftime("%Y-%m-%dT%H:%MZ"))
    }
}

impl Documents {
    pub fn new(store: Arc<dyn Store>, process: Uuid) -> Self {
        Self { store, process }
    }

    /// Adds what happened in the time that begins with this second to its document.
    pub async fn add(&self, period: Period, begin: i64, rows: &Rows) -> Result<(), StoreError> {
        let id = format!("{}_{}", period.prefix(begin), self.process);
        let mut outcome = Ok(());
        for _ in 0..TRIES {
            let (mut sum, revision) = match self.store.get(&id).await {
                Ok(Some(record)) => (from_json(&rows_of(&record)), Some(record.revision)),
                Ok(None) => (Rows::new(), None),
                // what it said is lost
                Err(StoreError::Damaged { revision, .. }) => (Rows::new(), Some(revision)),
                Err(error) => return Err(error),
            };
            add(&mut sum, rows);
            let record = self.record(&id, begin, &sum, revision.unwrap_or_default());
            let written = match revision {
                Some(_) => self.store.replace(record).await,
                None => self.store.insert(record).await,
            };
            outcome = written.map(drop);
            if !matches!(outcome, Err(StoreError::Exists(_) | StoreError::Changed(_))) {
                return outcome;
            }
        }
        outcome
    }

    fn record(&self, id: &str, begin: i64, rows: &Rows, revision: Revision) -> Record {
        let created = Timestamp::from_second(begin).unwrap_or(Timestamp::MIN);
        let document = Document::from_iter([
            ("id".to_owned(), json!(id)),
            ("created".to_owned(), json!(format_time(created))),
            ("process".to_owned(), json!(self.process.to_string())),
            ("actions".to_owned(), to_json(rows)),
        ]);
        Record { id: id.to_owned(), revision, document: document.into(), ledger: Value::Null }
    }

    /// The timeline with what the documents have of it, those of this process or not.
    pub async fn read(&self, mut timeline: Timeline, period: Period, own: bool) -> Result<Timeline, StoreError> {
        let own_end = format!("_{}", self.process);
        let mut query = Query { after: Some(period.prefix(timeline.begin())), limit: PAGE, ..Query::default() };
        let mut read = 0;
        loop {
            let found = self.store.search(period.kind(), &query).await?;
            read += found.records.len();
            for record in found.records.iter().filter(|record| own || !record.id.ends_with(&own_end)) {
                let created = record.document.text("created").and_then(|text| text.parse::<Timestamp>().ok());
                let Some(created) = created else { continue };
                for (action, numbers) in from_json(&rows_of(record)) {
                    timeline.add(created.as_second(), period.seconds(), &action, &numbers);
                }
            }
            let Some(last) = found.records.last().filter(|_| found.more && read < MOST_READ) else {
                return Ok(timeline);
            };
            query.after = Some(last.id.clone());
        }
    }

    /// Removes minutes of more than two days ago and hours of more than 90.
    pub async fn purge(&self, now: Timestamp) -> Result<(), StoreError> {
        for period in [Period::Minute, Period::Hour] {
            let filter = Filter::parse(period.too_old()).expect("it is a filter").resolve(now);
            self.store.remove_matching(period.kind(), &filter).await?;
        }
        Ok(())
    }
}

fn rows_of(record: &Record) -> Value {
    record.document.value("actions").map(Cow::into_owned).unwrap_or_default()
}
