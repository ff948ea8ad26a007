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
use slipstream_cimi::query::Order;

use crate::sort::sort_key;
use crate::{
    Found, IndexRow, Query, Record, Revision, Store, StoreError, Write, aggregate, is_unfinished, kind_of, note_entry,
};

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
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>> {
        let records = self.records();
        ids.iter().map(|id| Ok(records.get(*id).cloned())).collect()
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Revision, StoreError>> {
        let mut records = self.records();
        writes.into_iter().map(|write| carry_out(&mut records, write)).collect()
    }

    async fn search(&self, kind: &str, query: &Query) -> Result<Found, StoreError> {
        let records = self.records();
        let mut matches: Vec<&Record> = records.values().filter(|record| query.selects(kind, record)).collect();
        let aggregations = aggregate::over(matches.iter().map(|record| &*record.document), &query.aggregations)?;
        matches.sort_by(|left, right| compare(left, right, &query.order));
        let mut found = Found { count: matches.len() as u64, aggregations, ..Found::default() };
        matches.retain(|record| query.after.as_ref().is_none_or(|after| by_id(&record.id, after).is_gt()));
        let mut following = matches.into_iter().skip(saturating(query.offset));
        let mut read = 0;
        for record in following.by_ref().take(saturating(query.limit)) {
            if query.at_once.is_some_and(|at_once| read >= at_once) {
                found.rest.push(record.id.clone());
                continue;
            }
            if query.at_once.is_some() {
                read += written(&record.document);
            }
            found.records.push(record.clone());
        }
        found.more = following.next().is_some();
        Ok(found)
    }

    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError> {
        let records = self.records();
        let is_later = |record: &Record| after.is_none_or(|after| by_id(&record.id, after).is_gt());
        let mut next: Vec<&Record> =
            records.values().filter(|record| is_later(record) && is_unfinished_job(record)).collect();
        next.sort_by(|left, right| by_id(&left.id, &right.id));
        let row = |record: &Record| IndexRow {
            id: record.id.clone(),
            entry: record.entry().map(str::to_owned),
            lease: record.lease(),
        };
        Ok(next.into_iter().take(saturating(limit)).map(row).collect())
    }

    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        let mut records = self.records();
        let before = records.len();
        records.retain(|id, record| kind_of(id) != kind || !filter.matches(&record.document));
        Ok((before - records.len()) as u64)
    }
}

fn carry_out(records: &mut BTreeMap<String, Record>, write: Write) -> Result<Revision, StoreError> {
    let changed = |id: &str| StoreError::Changed(id.to_owned());
    match write {
        Write::Create(record) => match records.entry(record.id.clone()) {
            Entry::Occupied(taken) => Err(StoreError::Exists(taken.key().clone())),
            Entry::Vacant(free) => Ok(free.insert(Record { revision: Revision(1), ..record }).revision),
        },
        Write::Replace(record) => {
            let stored = records.get_mut(&record.id).filter(|stored| stored.revision == record.revision);
            let stored = stored.ok_or_else(|| changed(&record.id))?;
            *stored = Record { revision: Revision(record.revision.0 + 1), ..record };
            Ok(stored.revision)
        }
        Write::NoteEntry(id, revision, entry) => {
            let stored = records.get_mut(&id).filter(|stored| stored.revision == revision);
            note_entry(&mut stored.ok_or_else(|| changed(&id))?.ledger, entry);
            Ok(revision)
        }
        Write::Remove(id, revision) => {
            records.get(&id).filter(|stored| stored.revision == revision).ok_or_else(|| changed(&id))?;
            records.remove(&id);
            Ok(revision)
        }
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
    order.iter().map(by_attribute).find(|ordering| ordering.is_ne()).unwrap_or_else(|| by_id(&left.id, &right.id))
}

/// The order of ids, see [`Query::order`].
fn by_id(left: &str, right: &str) -> Ordering {
    (is_of_server(left), left).cmp(&(is_of_server(right), right))
}

/// Whether it is the id of a job as the server makes them: a UUID in its usual form.
fn is_of_server(id: &str) -> bool {
    let is_in_form = |(place, byte)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    id.strip_prefix("job/").is_some_and(|uuid| uuid.len() == 36 && uuid.bytes().enumerate().all(is_in_form))
}

fn saturating(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
