//! The one connection that writes.
//!
//! Writes that come while a transaction is under way share the next one. Each is checked by itself; all are answered
//! only once the transaction is on the disk.

use std::error::Error;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, ToSql, TransactionBehavior, params, params_from_iter};
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use tokio::sync::{mpsc, oneshot};

use super::attribute;
use super::attribute::Declared;
use super::audience;
use super::column::Column;
use super::failure::{failure, has_no_space};
use super::file::DatabaseFile;
use super::key::Key;
use super::log;
use super::log::{Log, Trouble, checkpoint};
use super::reader::document;
use super::reserve;
use super::reserve::Reserve;
use super::schema::BUSY_TIMEOUT;
use super::tally::{Place, Tally};
use crate::packed::pack;
use crate::{Record, Revision, StoreError, is_unfinished, kind_of};

/// The most changes in one request. A group of requests that has come to as many takes no other: so a transaction has less
/// than twice as many.
pub(super) const LARGEST_GROUP: usize = 1_024;

/// A record as the table has it.
pub(super) struct Row {
    pub id: String,
    pub revision: Revision,
    pub document: SqlValue,
    pub ledger: SqlValue,
    pub irregular: i64,
    pub columns: [SqlValue; Column::STORED.len()],
    /// Who may see it, as [`audience::stored`] has it.
    pub viewers: Option<String>,
    /// The recorded entry of a job that is not final.
    pub entry: Option<String>,
    /// Its lease.
    pub lease: Option<String>,
    /// What the index has of a document of a declared type, see [`attribute`]; none of any other type.
    pub declared: Option<Vec<(String, SqlValue)>>,
}

impl Row {
    fn is_running(&self) -> bool {
        let [state, ..] = &self.columns;
        *state == SqlValue::Text(State::Running.as_str().to_owned())
    }

    pub fn of(record: Record, declared: &Declared) -> Self {
        let mut irregular = 0;
        let mut regular = |(column, value): (Column, Option<SqlValue>)| {
            irregular |= if value.is_none() { column.bit() } else { 0 };
            value.unwrap_or(SqlValue::Null)
        };
        let tops = Column::tops(&record.document);
        let values = Column::values(&record.id, &record.document, &tops);
        let mut values = Column::ALL.into_iter().zip(values).map(&mut regular);
        // the id has a column of its own
        values.next();
        let columns = Column::STORED.map(|_| values.next().expect("the others follow in this order"));
        let [state, ..] = &columns;
        let (entry, lease) = match state {
            SqlValue::Text(state) if is_unfinished(state) => {
                (record.entry().map(str::to_owned), record.lease().map(|lease| lease.to_string()))
            }
            _ => (None, None),
        };
        let document = SqlValue::Blob(record.document.packed().to_vec());
        let ledger = if record.ledger.is_null() { SqlValue::Null } else { SqlValue::Blob(pack(&record.ledger)) };
        let viewers = audience::stored(tops[Column::Owner as usize].as_deref());
        let (id, revision) = (record.id, record.revision);
        let kind = kind_of(&id);
        let declared = declared.has(kind).then(|| declared.rows(kind, Some(&record.document)));
        Self { id, revision, document, ledger, irregular, columns, viewers, entry, lease, declared }
    }
}

/// What to write.
pub(super) enum Change {
    Insert(Box<Row>),
    Replace(Box<Row>),
    Remove { id: String, revision: Revision },
}

impl Change {
    pub fn of(write: crate::Write, declared: &Declared) -> Self {
        match write {
            crate::Write::Create(record) => Self::Insert(Box::new(Row::of(record, declared))),
            crate::Write::Replace(record) => Self::Replace(Box::new(Row::of(record, declared))),
            crate::Write::Remove(id, revision) => Self::Remove { id, revision },
        }
    }
}

/// Changes and whom to tell what has become of them.
pub(super) struct Write {
    pub changes: Vec<Change>,
    pub answer: oneshot::Sender<Vec<Answer>>,
}

/// Which changes are refused.
type Refused = fn(&Change) -> bool;

/// What has become of a change: the new revision.
pub(super) type Answer = Result<Revision, StoreError>;

/// What the writer is asked to do.
pub(super) enum Request {
    Write(Write),
    /// Lets a test hold up the writer, or look at its connection.
    #[cfg(any(test, feature = "testing"))]
    Inspect(Box<dyn FnOnce(&Connection) + Send>),
}

/// What the thread that writes has.
pub(super) struct Writer {
    pub connection: Connection,
    /// For errors, the name by which the store was opened.
    pub path: Arc<PathBuf>,
    /// Which attributes are indexed.
    pub declared: Arc<Declared>,
    /// Locked until this ends, which is last of all threads.
    pub file: DatabaseFile,
    pub reserve: Reserve,
    pub log: Log,
    /// That the file is not where it was is told.
    pub is_moved: bool,
}

impl Writer {
    /// Works until all senders are gone and everything accepted is written, then puts all into the one file.
    pub fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), rusqlite::Error> {
        self.keep_reserve();
        while let Some(request) = requests.blocking_recv() {
            let (mut group, mut size) = (Vec::new(), 0);
            let mut next = Some(request);
            while let Some(request) = next {
                match request {
                    Request::Write(write) => {
                        size += write.changes.len();
                        group.push(write);
                    }
                    #[cfg(any(test, feature = "testing"))]
                    Request::Inspect(look) => look(&self.connection),
                }
                next = if size < LARGEST_GROUP { requests.try_recv().ok() } else { None };
            }
            self.settle(group);
        }
        self.finish()
    }

    /// Where the disk is full the log stays: everything is in it, and the next start goes on with it.
    fn finish(&mut self) -> Result<(), rusqlite::Error> {
        let mut finished = finish(&self.connection);
        if finished.as_ref().is_err_and(|error| has_no_space(&self.connection, error)) && self.reserve.give_back() {
            finished = finish(&self.connection);
        }
        match finished {
            Err(error) if has_no_space(&self.connection, &error) => {
                tracing::warn!(path = %self.path.display(), "no space left: the write-ahead log stays beside the database");
            }
            finished => finished?,
        }
        self.reserve.take_for_the_next_start();
        Ok(())
    }

    /// A caller that no longer waits for its answers is not told; its changes stay.
    fn settle(&mut self, group: Vec<Write>) {
        let (lists, callers): (Vec<Vec<Change>>, Vec<_>) =
            group.into_iter().map(|write| (write.changes, write.answer)).unzip();
        let sizes: Vec<usize> = lists.iter().map(Vec::len).collect();
        let changes: Vec<Change> = lists.into_iter().flatten().collect();
        let adds = changes.iter().any(Change::is_unneeded);
        let answers = self.admit_and_write(changes);
        let lacks_space = answers.iter().any(|answer| matches!(answer, Err(StoreError::Full { .. })));
        self.reserve.tell(lacks_space, adds && answers.iter().all(Result::is_ok));
        let mut answers = answers.into_iter();
        for (caller, size) in callers.into_iter().zip(sizes) {
            drop(caller.send(answers.by_ref().take(size).collect()));
        }
    }

    fn admit_and_write(&mut self, changes: Vec<Change>) -> Vec<Answer> {
        let Some((refusal, is_refused)) = self.refusal().filter(|_| !changes.is_empty()) else {
            return self.write(&changes);
        };
        let refused: Vec<bool> = changes.iter().map(is_refused).collect();
        let admitted: Vec<Change> = changes.into_iter().filter(|change| !is_refused(change)).collect();
        let mut written = self.write(&admitted).into_iter();
        let answer = |refused| if refused { Err(refusal.clone()) } else { written.next().expect("it was admitted") };
        refused.into_iter().map(answer).collect()
    }

    /// A transaction that fails is settled change by change, so that one that cannot be carried out takes no other with it.
    fn write(&mut self, changes: &[Change]) -> Vec<Answer> {
        match (self.carry_out(changes, true), changes) {
            (Ok(answers), _) => answers,
            (Err(refused), [_]) => vec![Err(refused)],
            (Err(_), _) => {
                let alone = |change| self.carry_out(std::slice::from_ref(change), change.frees_or_ends());
                let only = |answers: Vec<Answer>| answers.into_iter().next().expect("an answer for each change");
                changes.iter().map(alone).map(|answers| answers.and_then(only)).collect()
            }
        }
    }

    /// What is to be refused now, and why.
    fn refusal(&mut self) -> Option<(StoreError, Refused)> {
        let was_moved = mem::replace(&mut self.is_moved, !self.file.is_in_place());
        if self.is_moved {
            if !was_moved {
                tracing::error!(
                    path = %self.path.display(),
                    "the database was moved or replaced, nothing is written: put it back, or stop this server first"
                );
            }
            return Some((StoreError::Moved { path: self.path.display().to_string() }, |_| true));
        }
        let path = self.path.display().to_string();
        let trouble = self.without_waiting(|writer| writer.log.trouble(&writer.connection, writer.file.log_length()));
        if trouble == Trouble::Reader {
            return Some((StoreError::LogTooLong { path }, Change::is_unneeded));
        }
        if trouble == Trouble::NoSpace || self.reserve.is_given() {
            self.make_room();
        }
        let is_full = self.reserve.is_given() && !has_free_pages(&self.connection);
        is_full.then_some((StoreError::Full { path }, Change::is_unneeded))
    }

    /// Does the changes in one transaction; where the disk is full, once more after making room, if that is to be tried.
    fn carry_out(&mut self, changes: &[Change], makes_room: bool) -> Result<Vec<Answer>, StoreError> {
        let mut done = commit(&mut self.connection, &self.declared, changes);
        if makes_room && done.as_ref().is_err_and(|error| has_no_space(&self.connection, error)) {
            self.make_room();
            if changes.iter().all(Change::frees_or_ends) {
                self.reserve.give_back();
            }
            done = commit(&mut self.connection, &self.declared, changes);
        }
        done.map_err(|error| {
            if has_no_space(&self.connection, &error) {
                StoreError::Full { path: self.path.display().to_string() }
            } else {
                failure("write documents", &self.path, Arc::new(error))
            }
        })
    }

    /// Puts the log into the database, with the help of the reserve, and keeps a reserve of what that has freed.
    fn make_room(&mut self) {
        self.reserve.give_back();
        if let Err(error) = self.without_waiting(|writer| checkpoint(&writer.connection)) {
            tracing::debug!(error = &error as &dyn Error, "the log is not put into the database");
        }
        self.keep_reserve();
    }

    /// Takes a reserve if there is none, and keeps the log to what it is enough for.
    fn keep_reserve(&mut self) {
        self.reserve.take();
        if let Err(error) = self.log.keep_to(&self.connection, self.reserve.log()) {
            tracing::error!(error = &error as &dyn Error, "cannot limit the write-ahead log");
        }
    }

    /// Does something that does not wait for whoever reads.
    fn without_waiting<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let set = |connection: &Connection, patience| {
            connection.busy_timeout(patience).expect("an open connection takes any time that is no longer than a day");
        };
        set(&self.connection, Duration::ZERO);
        let answer = act(self);
        set(&self.connection, BUSY_TIMEOUT);
        answer
    }
}

impl Change {
    /// Whether it frees space or ends a job, or whoever does that needs it, such as a session: it is carried out with the
    /// last of the space. A new job or user is not, nor that a job is about to run or says how far it is, nor a document of a
    /// declared type.
    fn frees_or_ends(&self) -> bool {
        match self {
            Self::Insert(row) => row.declared.is_none() && !matches!(kind_of(&row.id), "job" | "user"),
            Self::Replace(row) if kind_of(&row.id) == JOB.name => !row.is_running(),
            Self::Replace(row) => row.declared.is_none(),
            Self::Remove { .. } => true,
        }
    }

    fn is_unneeded(&self) -> bool {
        !self.frees_or_ends()
    }
}

/// Whether what was deleted has left as much space in the database as a reserve has at least.
fn has_free_pages(connection: &Connection) -> bool {
    let free = connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u32>(0));
    free.is_ok_and(|pages| u64::from(pages) * log::PAGE >= reserve::SMALLEST)
}

fn finish(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA optimize;")?;
    checkpoint(connection).map(drop)
}

/// Does the changes in one transaction. After an error nothing is changed: whatever `SQLite` has not rolled back already
/// is rolled back as the transaction is dropped.
fn commit(connection: &mut Connection, declared: &Declared, changes: &[Change]) -> rusqlite::Result<Vec<Answer>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut tally = Tally::default();
    let apply = |change| apply(&transaction, declared, change, &mut tally);
    let answers = changes.iter().map(apply).collect::<rusqlite::Result<Vec<_>>>()?;
    tally.store(&transaction)?;
    transaction.commit()?;
    Ok(answers)
}

fn apply(connection: &Connection, declared: &Declared, change: &Change, tally: &mut Tally) -> rusqlite::Result<Answer> {
    Ok(match change {
        Change::Insert(row) => insert(connection, row, Revision(1), tally)?
            .then_some(Revision(1))
            .ok_or_else(|| StoreError::Exists(row.id.clone())),
        Change::Replace(row) => {
            let changed = || StoreError::Changed(row.id.clone());
            replace(connection, declared, row, tally)?.then_some(Revision(row.revision.0 + 1)).ok_or_else(changed)
        }
        Change::Remove { id, revision } => remove(connection, declared, (id, *revision), tally)?
            .then_some(*revision)
            .ok_or_else(|| StoreError::Changed(id.clone())),
    })
}

/// Adds a row with this revision, unless there is one of its id.
pub(super) fn insert(
    connection: &Connection,
    row: &Row,
    revision: Revision,
    tally: &mut Tally,
) -> rusqlite::Result<bool> {
    // whom it names must not be left behind without it
    if row.viewers.is_some() && Stored::find(connection, &row.id)?.is_some() {
        return Ok(false);
    }
    let sql = "INSERT INTO resource (type, id, revision, document, ledger, irregular, audience, entry, lease, state, \
               action, target, parent, created, updated, priority, owner) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
               ON CONFLICT DO NOTHING";
    let kind = kind_of(&row.id);
    let audience = audience_of(connection, row)?;
    let Row { id, document, ledger, irregular, entry, lease, .. } = row;
    let key = Key::of(id);
    let first: [&dyn ToSql; 9] =
        [&kind, &key, &revision.0.cast_signed(), document, ledger, irregular, &audience, entry, lease];
    let values = first.into_iter().chain(row.columns.iter().map(|value| value as &dyn ToSql));
    let inserted = connection.prepare_cached(sql)?.execute(params_from_iter(values))? == 1;
    if inserted {
        tally.count(Place::of(kind, &row.columns, audience), 1);
        attribute::change(connection, (kind, id), &[], row.declared.as_deref().unwrap_or_default())?;
    }
    Ok(inserted)
}

/// Sets what differs and nothing else: an index is written only if one of its columns is set.
fn replace(connection: &Connection, declared: &Declared, row: &Row, tally: &mut Tally) -> rusqlite::Result<bool> {
    let Some(stored) = Stored::find(connection, &row.id)?.filter(|stored| stored.has(row.revision)) else {
        return Ok(false);
    };
    let audience = audience_of(connection, row)?;
    if let Some(after) = &row.declared {
        let before = stored.declared(connection, declared, &row.id)?;
        attribute::change(connection, (kind_of(&row.id), &row.id), &before, after)?;
    }
    let mut sql = "UPDATE resource SET revision = revision + 1, document = ?, ledger = ?".to_owned();
    let mut values: Vec<&dyn ToSql> = vec![&row.document, &row.ledger];
    let mut set = |name: &str, value| {
        sql.extend([", ", name, " = ?"]);
        values.push(value);
    };
    if stored.irregular != row.irregular {
        set("irregular", &row.irregular);
    }
    if stored.audience != audience {
        set("audience", &audience);
    }
    if stored.entry != row.entry {
        set("entry", &row.entry);
    }
    if stored.lease != row.lease {
        set("lease", &row.lease);
    }
    for ((column, before), value) in Column::STORED.into_iter().zip(&stored.columns).zip(&row.columns) {
        if before != value {
            set(column.name(), value);
        }
    }
    sql.push_str(" WHERE rowid = ?");
    values.push(&stored.rowid);
    connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    let kind = kind_of(&row.id);
    let (before, after) = (Place::of(kind, &stored.columns, stored.audience), Place::of(kind, &row.columns, audience));
    if before != after {
        tally.count(after, 1);
        tally.count(before, -1);
    }
    Ok(true)
}

fn audience_of(connection: &Connection, row: &Row) -> rusqlite::Result<Option<i64>> {
    row.viewers.as_ref().map(|viewers| audience::of(connection, kind_of(&row.id), viewers)).transpose()
}

fn remove(
    connection: &Connection,
    declared: &Declared,
    (id, revision): (&str, Revision),
    tally: &mut Tally,
) -> rusqlite::Result<bool> {
    let Some(stored) = Stored::find(connection, id)?.filter(|stored| stored.has(revision)) else { return Ok(false) };
    let before = stored.declared(connection, declared, id)?;
    attribute::change(connection, (kind_of(id), id), &before, &[])?;
    connection.prepare_cached("DELETE FROM resource WHERE rowid = ?")?.execute([stored.rowid])?;
    tally.count(Place::of(kind_of(id), &stored.columns, stored.audience), -1);
    Ok(true)
}

/// What is stored of a document, but for what it says itself.
struct Stored {
    rowid: i64,
    revision: i64,
    irregular: i64,
    audience: Option<i64>,
    entry: Option<String>,
    lease: Option<String>,
    columns: [SqlValue; Column::STORED.len()],
}

impl Stored {
    fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT rowid, revision, irregular, audience, entry, lease, state, action, target, parent, \
                   created, updated, priority, owner FROM resource WHERE type = ? AND id = ?";
        let mut statement = connection.prepare_cached(sql)?;
        let found = statement.query_row(params![kind_of(id), Key::of(id)], |row| {
            let mut columns = [const { SqlValue::Null }; Column::STORED.len()];
            for (index, column) in columns.iter_mut().enumerate() {
                *column = row.get(6 + index)?;
            }
            let [rowid, revision, irregular] = [row.get(0)?, row.get(1)?, row.get(2)?];
            let (audience, entry, lease) = (row.get(3)?, row.get(4)?, row.get(5)?);
            Ok(Self { rowid, revision, irregular, audience, entry, lease, columns })
        });
        found.optional()
    }

    /// What the index has of the document. The rows of one that is damaged are forgotten, as they tell what it was.
    fn declared(
        &self,
        connection: &Connection,
        declared: &Declared,
        id: &str,
    ) -> rusqlite::Result<Vec<(String, SqlValue)>> {
        let kind = kind_of(id);
        if declared.paths(kind).next().is_none() {
            return Ok(Vec::new());
        }
        let sql = "SELECT document FROM resource WHERE rowid = ?";
        let mut statement = connection.prepare_cached(sql)?;
        let stored = statement.query_row([self.rowid], |row| Ok(document(row.get_ref(0)?).ok()))?;
        let Some((document, _)) = stored else {
            attribute::forget(connection, declared, kind, id)?;
            return Ok(Vec::new());
        };
        Ok(declared.rows(kind, Some(&document)))
    }

    fn has(&self, revision: Revision) -> bool {
        u64::try_from(self.revision) == Ok(revision.0)
    }
}
