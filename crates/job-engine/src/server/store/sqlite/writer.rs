//! The one connection that writes.
//!
//! Writes that come while a transaction is under way share the next one. Each is checked by itself; all are answered
//! only once the transaction is on the disk.

use std::path::Path;
use std::sync::Arc;

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params, params_from_iter};
use tokio::sync::{mpsc, oneshot};

use super::audience;
use super::column::Column;
use super::failure::failure;
use crate::server::access::viewers;
use crate::server::store::{Record, StoreError, kind_of};

/// The most writes in one transaction.
pub(super) const LARGEST_GROUP: usize = 256;

/// A record as the table has it.
pub(super) struct Row {
    id: String,
    revision: u64,
    /// `document`, `ledger`, `irregular` and the columns in their order.
    values: Vec<SqlValue>,
    /// Who may see it, as [`audience::stored`] has it.
    viewers: Option<String>,
}

impl Row {
    pub fn of(record: Record) -> Result<Self, serde_json::Error> {
        let columns = Column::ALL.map(|column| (column, column.value(&record.id, &record.document)));
        let irregular = columns.iter().filter(|(_, value)| value.is_none()).map(|(column, _)| column.bit()).sum();
        let document = SqlValue::Text(serde_json::to_string(&record.document)?);
        let ledger = if record.ledger.is_null() { SqlValue::Null } else { SqlValue::Text(record.ledger.to_string()) };
        let mut values = vec![document, ledger, SqlValue::Integer(irregular)];
        let shown = columns.into_iter().filter(|(column, _)| *column != Column::Id);
        values.extend(shown.map(|(_, value)| value.unwrap_or(SqlValue::Null)));
        let viewers = audience::stored(&viewers(&record.document));
        Ok(Self { id: record.id, revision: record.revision, values, viewers })
    }
}

/// What to write.
pub(super) enum Change {
    Insert(Row),
    Replace(Row),
    Remove {
        id: String,
        revision: u64,
    },
    /// Removes those of these ids that still have these revisions.
    RemoveUnchanged(Vec<(String, u64)>),
}

/// A change and whom to tell: the new revision, or how many were removed.
pub(super) struct Write {
    pub change: Change,
    pub answer: oneshot::Sender<Result<u64, StoreError>>,
}

/// What the writer is asked to do.
pub(super) enum Request {
    Write(Write),
    /// Lets a test hold up the writer, or look at its connection.
    #[cfg(test)]
    Inspect(Box<dyn FnOnce(&Connection) + Send>),
}

/// Works until all senders are gone and everything accepted is written, then puts all into the one file.
pub(super) fn run(
    mut connection: Connection,
    path: &Path,
    mut requests: mpsc::Receiver<Request>,
) -> Result<(), rusqlite::Error> {
    while let Some(request) = requests.blocking_recv() {
        let mut group = Vec::new();
        let mut next = Some(request);
        while let Some(request) = next {
            match request {
                Request::Write(write) => group.push(write),
                #[cfg(test)]
                Request::Inspect(look) => look(&connection),
            }
            next = if group.len() < LARGEST_GROUP { requests.try_recv().ok() } else { None };
        }
        settle(&mut connection, path, group);
    }
    connection.execute_batch("PRAGMA optimize;")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// A transaction that fails is settled write by write, so that one that cannot be carried out takes no other with it.
/// A caller that no longer waits for its answer is not told; its change stays.
fn settle(connection: &mut Connection, path: &Path, group: Vec<Write>) {
    if group.is_empty() {
        return;
    }
    let shares_transaction = group.len() > 1;
    let (changes, callers): (Vec<Change>, Vec<_>) = group.into_iter().map(|write| (write.change, write.answer)).unzip();
    match commit(connection, &changes) {
        Ok(answers) => {
            for (caller, answer) in callers.into_iter().zip(answers) {
                drop(caller.send(answer));
            }
        }
        Err(_) if shares_transaction => {
            for (change, answer) in changes.into_iter().zip(callers) {
                settle(connection, path, vec![Write { change, answer }]);
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for caller in callers {
                drop(caller.send(Err(failure("write documents", path, Arc::clone(&error)))));
            }
        }
    }
}

/// Does the changes in one transaction. After an error nothing is changed: whatever `SQLite` has not rolled back already
/// is rolled back as the transaction is dropped.
fn commit(connection: &mut Connection, changes: &[Change]) -> rusqlite::Result<Vec<Result<u64, StoreError>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let answers = changes.iter().map(|change| apply(&transaction, change)).collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok(answers)
}

fn apply(connection: &Connection, change: &Change) -> rusqlite::Result<Result<u64, StoreError>> {
    Ok(match change {
        Change::Insert(row) => insert(connection, row)?.then_some(1).ok_or_else(|| StoreError::Exists(row.id.clone())),
        Change::Replace(row) => {
            replace(connection, row)?.then_some(row.revision + 1).ok_or_else(|| StoreError::Changed(row.id.clone()))
        }
        Change::Remove { id, revision } => {
            remove(connection, id, *revision)?.then_some(1).ok_or_else(|| StoreError::Changed(id.clone()))
        }
        Change::RemoveUnchanged(records) => {
            let mut removed = 0;
            for (id, revision) in records {
                removed += u64::from(remove(connection, id, *revision)?);
            }
            Ok(removed)
        }
    })
}

fn insert(connection: &Connection, row: &Row) -> rusqlite::Result<bool> {
    // whom it names must not be left behind without it
    if row.viewers.is_some() && revision_of(connection, &row.id)?.is_some() {
        return Ok(false);
    }
    let sql = "INSERT INTO resource (document, ledger, irregular, state, action, target, parent, created, updated, \
               priority, owner, audience, type, id, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1) \
               ON CONFLICT DO NOTHING";
    let audience = [audience_of(connection, row)?];
    let keys = [kind_of(&row.id), &row.id].map(|text| SqlValue::Text(text.to_owned()));
    let values = row.values.iter().chain(&audience).chain(&keys);
    Ok(connection.prepare_cached(sql)?.execute(params_from_iter(values))? == 1)
}

fn replace(connection: &Connection, row: &Row) -> rusqlite::Result<bool> {
    let Some(revision) = stored(row.revision) else { return Ok(false) };
    if row.viewers.is_some() && revision_of(connection, &row.id)? != Some(revision) {
        return Ok(false);
    }
    let sql = "UPDATE resource SET document = ?, ledger = ?, irregular = ?, state = ?, action = ?, target = ?, \
               parent = ?, created = ?, updated = ?, priority = ?, owner = ?, audience = ?, revision = revision + 1 \
               WHERE type = ? AND id = ? AND revision = ?";
    let audience = [audience_of(connection, row)?];
    let keys = [kind_of(&row.id), &row.id].map(|text| SqlValue::Text(text.to_owned()));
    let revision = [SqlValue::Integer(revision)];
    let values = row.values.iter().chain(&audience).chain(&keys).chain(&revision);
    Ok(connection.prepare_cached(sql)?.execute(params_from_iter(values))? == 1)
}

fn audience_of(connection: &Connection, row: &Row) -> rusqlite::Result<SqlValue> {
    let audience = row.viewers.as_ref().map(|viewers| audience::of(connection, kind_of(&row.id), viewers));
    Ok(audience.transpose()?.map_or(SqlValue::Null, SqlValue::Integer))
}

fn revision_of(connection: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT revision FROM resource WHERE type = ? AND id = ?";
    connection.prepare_cached(sql)?.query_row([kind_of(id), id], |row| row.get(0)).optional()
}

fn remove(connection: &Connection, id: &str, revision: u64) -> rusqlite::Result<bool> {
    let Some(revision) = stored(revision) else { return Ok(false) };
    let sql = "DELETE FROM resource WHERE type = ? AND id = ? AND revision = ?";
    Ok(connection.prepare_cached(sql)?.execute(params![kind_of(id), id, revision])? == 1)
}

/// No document has had more replacements than fit.
fn stored(revision: u64) -> Option<i64> {
    i64::try_from(revision).ok().filter(|revision| *revision < i64::MAX)
}
