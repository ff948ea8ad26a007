//! [`MemoryStore`]: the plainest store there is; what the others are compared with.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, Filter, values_at};
use slipstream_cimi::query::{Aggregation, Order};

use crate::sort::sort_key;
use crate::{Page, Query, Record, Store, StoreError, Unfinished, aggregate, is_unfinished, kind_of};

/// Keeps documents in memory, for tests and simulations; forgets them when dropped.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Record>>);

impl MemoryStore {
    /// Each change is one step on the map, so what a panicking thread left behind is whole.
    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn insert(&self, record: Record) -> Result<(), StoreError> {
        match self.records().entry(record.id.clone()) {
            Entry::Occupied(taken) => Err(StoreError::Exists(taken.key().clone())),
            Entry::Vacant(free) => {
                free.insert(Record { revision: 1, ..record });
                Ok(())
            }
        }
    }

    async fn get(&self, id: &str) -> Result<Option<Record>, StoreError> {
        Ok(self.records().get(id).cloned())
    }

    async fn replace(&self, record: Record) -> Result<u64, StoreError> {
        match self.records().get_mut(&record.id) {
            Some(stored) if stored.revision == record.revision => {
                let revision = record.revision + 1;
                *stored = Record { revision, ..record };
                Ok(revision)
            }
            _ => Err(StoreError::Changed(record.id)),
        }
    }

    async fn remove(&self, id: &str, revision: u64) -> Result<(), StoreError> {
        let mut records = self.records();
        if records.get(id).is_none_or(|stored| stored.revision != revision) {
            return Err(StoreError::Changed(id.to_owned()));
        }
        records.remove(id);
        Ok(())
    }

    async fn query(&self, kind: &str, query: &Query) -> Result<Page, StoreError> {
        let records = self.records();
        let mut found: Vec<&Record> = records.values().filter(|record| query.selects(kind, record)).collect();
        found.sort_by(|left, right| compare(left, right, &query.order));
        let count = if query.after.is_some() { 0 } else { found.len() as u64 };
        let mut page = Page { count, ..Page::default() };
        let mut read = 0;
        for record in found.into_iter().skip(saturating(query.offset)).take(saturating(query.limit)) {
            if query.at_once.is_some_and(|at_once| read >= at_once) {
                page.rest.push(record.id.clone());
                continue;
            }
            if query.at_once.is_some() {
                read += written(&record.document);
            }
            page.records.push(record.clone());
        }
        Ok(page)
    }

    async fn aggregate(&self, kind: &str, query: &Query, asked: &[Aggregation]) -> Result<Vec<Value>, StoreError> {
        let records = self.records();
        let selected = records.values().filter(|record| query.selects(kind, record));
        Ok(aggregate::over(selected.map(|record| &*record.document), asked)?)
    }

    async fn unfinished(&self, after: Option<&str>, limit: u64) -> Result<Vec<Unfinished>, StoreError> {
        let records = self.records();
        let is_next = |record: &&Record| after.is_none_or(|after| *record.id > *after) && is_unfinished_job(record);
        let told = |record: &Record| Unfinished {
            id: record.id.clone(),
            entry: record.entry().map(str::to_owned),
            lease: record.lease(),
        };
        Ok(records.values().filter(is_next).take(saturating(limit)).map(told).collect())
    }

    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        let mut records = self.records();
        let before = records.len();
        records.retain(|id, record| kind_of(id) != kind || !filter.matches(&record.document));
        Ok((before - records.len()) as u64)
    }
}

fn is_unfinished_job(record: &Record) -> bool {
    let states = values_at(&record.document, &Attribute("state".to_owned()));
    kind_of(&record.id) == JOB.name && matches!(*states, [Value::String(state)] if is_unfinished(state))
}

/// Bytes of the document as it would be stored.
fn written(document: &Document) -> u64 {
    serde_json::to_string(document).map_or(0, |text| text.len() as u64)
}

fn compare(left: &Record, right: &Record, order: &[Order]) -> Ordering {
    let by_attribute = |order: &Order| {
        let attribute = Attribute(order.attribute.clone());
        let key = |record: &Record| sort_key(&record.document, &attribute, order.descending);
        match (key(left), key(right)) {
            (Some(left), Some(right)) if order.descending => right.cmp(&left),
            (Some(left), Some(right)) => left.cmp(&right),
            (left, right) => left.is_none().cmp(&right.is_none()),
        }
    };
    order.iter().map(by_attribute).find(|ordering| ordering.is_ne()).unwrap_or_else(|| left.id.cmp(&right.id))
}

fn saturating(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
