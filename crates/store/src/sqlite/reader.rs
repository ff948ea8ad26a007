//! The connections that read, each on its own thread.

mod aggregate;
#[cfg(test)]
mod tests;

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde::de::Error as _;
use serde_json::Value;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, Filter};
use slipstream_cimi::{Document, State};

use super::attribute::{Declared, Indexed};
use super::audience;
use super::audience::Visible;
use super::gather::gathered;
use super::key::{Key, id_of};
use super::schema::open_reader;
use super::select::{Select, Translator};
use crate::packed::unpack;
use crate::sort::sort_key;
use crate::{Found, IndexRow, Query, Record, Revision, StoreError, StoredDocument, kind_of};

/// After so many steps of `SQLite`'s machine, of which a row takes some tens, the time is looked at.
const STEPS_BETWEEN_LOOKS: c_int = 1_000;

/// How many entries of an index are sorted in the time in which one document is looked at.
const SORTED_WHILE_WALKING: u128 = 4;

/// Reads documents; a read that takes longer than it may is stopped with `OperationInterrupted`.
pub(super) struct Reader {
    connection: Connection,
    /// What `satisfies(document, n)` asks in the statement under way.
    filters: Arc<Mutex<Vec<Filter>>>,
    /// Lives as long as the connection, whose progress handler looks at it.
    deadline: Arc<Deadline>,
    /// Which attributes are indexed.
    declared: Arc<Declared>,
    patience: Duration,
}

impl Reader {
    /// Opens a connection whose searches may each take `patience`.
    pub fn open(path: &Path, declared: Arc<Declared>, patience: Duration) -> rusqlite::Result<Self> {
        let connection = open_reader(path)?;
        let filters = Arc::default();
        add_functions(&connection, &filters)?;
        let deadline = Arc::default();
        watch(&connection, &deadline);
        Ok(Self { connection, filters, deadline, declared, patience })
    }

    /// The record of this id.
    pub fn get(&self, id: &str) -> rusqlite::Result<Option<Record>> {
        Ok(self.read(id, |row| record(id, row))?.map(|(record, _)| record))
    }

    fn read<T>(&self, id: &str, read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
        let sql = "SELECT revision, document, ledger FROM resource WHERE type = ? AND id = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_row(params![kind_of(id), Key::of(id)], read).optional()
    }

    /// A page, the count of all matches and what is asked about them, all of one moment.
    pub fn search(&self, kind: &str, query: &Query) -> rusqlite::Result<Found> {
        self.within_limit(kind, query, |translator, query| {
            let all = &Query { after: None, ..query.clone() };
            let count = self.count(translator.count(all))?;
            let mut found = self.page(translator, query, count)?;
            found.aggregations = self.aggregate(translator, all)?;
            Ok(found)
        })
    }

    /// The count comes first: it tells how the page is best found.
    fn page(&self, translator: &Translator<'_>, query: &Query, count: u64) -> rusqlite::Result<Found> {
        let walks = query.after.is_some();
        let mut found = Found { count, more: !walks && count > query.offset, ..Found::default() };
        if !walks && (query.limit == 0 || count <= query.offset) {
            return Ok(found);
        }
        let few = !walks && self.are_few(translator, query, count)?;
        // the count does not tell a walk whether more follow, but one document more does
        let select = translator.page(&Query { limit: query.limit + u64::from(walks), ..query.clone() }, "id", few);
        let mut ids: Vec<String> = self.found(select, |row| Ok(id_of(row.get_ref(0)?)?))?;
        let seen = ids.len() as u64;
        found.more = if walks { seen > query.limit } else { query.offset + seen < count };
        ids.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
        let mut read = 0;
        for id in ids {
            if query.at_once.is_some_and(|at_once| read >= at_once) {
                found.rest.push(id);
                continue;
            }
            let (record, length) =
                self.read(&id, |row| record(&id, row))?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            read += length as u64;
            found.records.push(record);
        }
        Ok(found)
    }

    /// Id and revision of what a query finds, without its count.
    pub fn matches(&self, kind: &str, query: &Query) -> rusqlite::Result<Vec<(String, Revision)>> {
        self.within_limit(kind, query, |translator, query| {
            self.found(translator.page(query, "id, revision", false), |row| {
                Ok((id_of(row.get_ref(0)?)?, Revision(unsigned(row, 1)?)))
            })
        })
    }

    /// The jobs that are not final and follow this id, from an index alone.
    pub fn index_rows(&self, after: &str, limit: u64) -> rusqlite::Result<Vec<IndexRow>> {
        let mut statement = self.connection.prepare_cached(&unfinished())?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let index_row = |row: &Row<'_>| {
            let lease: Option<String> = row.get(2)?;
            let lease = lease.and_then(|lease| lease.parse().ok());
            Ok(IndexRow { id: id_of(row.get_ref(0)?)?, entry: row.get(1)?, lease })
        };
        statement.query_map(params![JOB.name, Key::of(after), limit], index_row)?.collect()
    }

    /// Of `all` documents, if those that match lie evenly in the order wanted, `all / count` are looked at for each that
    /// is found: that takes longer than sorting all `count`, which lie in an index, once this holds.
    fn are_few(&self, translator: &Translator<'_>, query: &Query, count: u64) -> rusqlite::Result<bool> {
        let everything = Translator { visible: Visible::All, ..translator.clone() };
        let all = self.count(everything.count(&Query::default()))?;
        let walked = u128::from(query.offset.saturating_add(query.limit)) * u128::from(all);
        Ok(u128::from(count) * u128::from(count) < walked.saturating_mul(SORTED_WHILE_WALKING))
    }

    /// The statements of one search see one state of the database and share its time.
    fn within_limit<T>(
        &self,
        kind: &str,
        query: &Query,
        search: impl FnOnce(&Translator<'_>, &Query) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let query = &Query { filter: query.filter.as_ref().map(gathered), ..query.clone() };
        self.deadline.set(Some(Instant::now() + self.patience));
        let answer = self.connection.unchecked_transaction().and_then(|snapshot| {
            let irregular = self.irregular(kind)?;
            let visible = match &query.visible_to {
                Some(callers) => audience::visible(&self.connection, kind, callers)?,
                None => Visible::All,
            };
            let indexed = Indexed::of(&self.connection, &self.declared, kind)?;
            let answer = search(&Translator { kind, irregular, visible, indexed }, query)?;
            snapshot.commit()?;
            Ok(answer)
        });
        self.deadline.set(None);
        answer
    }

    /// After a search that panicked: the next read has its own time.
    pub fn end_limit(&self) {
        self.deadline.set(None);
    }

    /// The bits of the columns that are irregular in any document of a type.
    fn irregular(&self, kind: &str) -> rusqlite::Result<i64> {
        let sql = "SELECT DISTINCT irregular FROM resource WHERE type = ? AND irregular <> 0";
        let mut statement = self.connection.prepare_cached(sql)?;
        let bits = statement.query_map([kind], |row| row.get::<_, i64>(0))?;
        bits.into_iter().try_fold(0, |all, bits| Ok(all | bits?))
    }

    fn found<T>(&self, select: Select, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
        let mut statement = self.connection.prepare_cached(&select.sql)?;
        self.ask(select.filters);
        statement.query_map(params_from_iter(select.values), read)?.collect()
    }

    fn count(&self, select: Select) -> rusqlite::Result<u64> {
        let mut statement = self.connection.prepare_cached(&select.sql)?;
        self.ask(select.filters);
        statement.query_row(params_from_iter(select.values), |row| unsigned(row, 0))
    }

    fn ask(&self, filters: Vec<Filter>) {
        *self.filters.lock().unwrap_or_else(PoisonError::into_inner) = filters;
    }
}

/// A search for each state, each in order of id, merged.
pub(super) fn unfinished() -> String {
    let of = |state: State| {
        format!("SELECT id, entry, lease FROM resource WHERE type = ?1 AND state = '{}' AND id > ?2", state.as_str())
    };
    let searches: Vec<String> = State::ALL.into_iter().filter(|state| !state.is_final()).map(of).collect();
    format!("{} ORDER BY id LIMIT ?3", searches.join(" UNION ALL "))
}

/// A row's revision, document and ledger, and about how long the document is in JSON.
fn record(id: &str, row: &Row<'_>) -> rusqlite::Result<(Record, usize)> {
    let revision = Revision(unsigned(row, 0)?);
    let damaged =
        |part, source| of_store(StoreError::Damaged { id: id.to_owned(), part, revision, source: Arc::new(source) });
    let ledger = match row.get_ref(2)? {
        ValueRef::Null => Value::Null,
        stored => value(stored).map_err(|source| damaged("ledger", source))?.0,
    };
    let (document, length) = match row.get_ref(1)? {
        ValueRef::Blob(packed) => StoredDocument::read(packed).map_err(serde_json::Error::custom),
        stored => document(stored).map(|(document, length)| (document.into(), length)),
    }
    .map_err(|source| damaged("document", source))?;
    Ok((Record { id: id.to_owned(), revision, document, ledger }, length))
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A [`StoreError`] passes through the functions of this module as an error of `SQLite`.
fn of_store(error: impl Into<StoreError>) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(Box::new(error.into()))
}

/// The functions that [`Select`] calls.
fn add_functions(connection: &Connection, filters: &Arc<Mutex<Vec<Filter>>>) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    let filters = Arc::clone(filters);
    connection.create_scalar_function("satisfies", 2, flags, move |context| {
        let filters = filters.lock().unwrap_or_else(PoisonError::into_inner);
        let number = usize::from(context.get::<u16>(1)?);
        let filter = filters.get(number).ok_or(rusqlite::Error::InvalidQuery)?;
        Ok(filter.matches(&asked_for(context.get_raw(0))?))
    })?;
    connection.create_scalar_function("sort_key", 3, flags, |context| {
        Ok(sort_key(&asked_for(context.get_raw(0))?, &Attribute(context.get(1)?), context.get(2)?))
    })?;
    connection.create_scalar_function("id_text", 1, flags, |context| Ok(id_of(context.get_raw(0))?))
}

/// The document of a row that a search looks at.
fn asked_for(stored: ValueRef<'_>) -> rusqlite::Result<Document> {
    let found = document(stored).map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error)))?;
    Ok(found.0)
}

/// The document that is stored so, and about how long it is in JSON.
pub(super) fn document(stored: ValueRef<'_>) -> Result<(Document, usize), serde_json::Error> {
    match value(stored)? {
        (Value::Object(document), length) => Ok((document, length)),
        _ => Err(serde_json::Error::custom("expected an object")),
    }
}

/// What is stored of a value: packed, or as the text that somebody has put there by hand, or that could not be packed.
pub(super) fn value(stored: ValueRef<'_>) -> Result<(Value, usize), serde_json::Error> {
    match stored {
        ValueRef::Blob(packed) => unpack(packed).map_err(serde_json::Error::custom),
        ValueRef::Text(text) => Ok((serde_json::from_slice(text)?, text.len())),
        _ => Err(serde_json::Error::custom("neither packed nor a text")),
    }
}

/// Until when the search under way may take.
#[derive(Default)]
struct Deadline(Mutex<Option<Instant>>);

impl Deadline {
    fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn is_past(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() >= until)
    }
}

/// Has `SQLite` look at the deadline; `rusqlite` offers this only together with features that the project does without.
fn watch(connection: &Connection, deadline: &Arc<Deadline>) {
    unsafe extern "C" fn is_past(deadline: *mut c_void) -> c_int {
        // SAFETY: `watch` passed a pointer to a deadline that lives as long as the connection
        c_int::from(unsafe { &*deadline.cast::<Deadline>() }.is_past())
    }
    let pointer = Arc::as_ptr(deadline).cast_mut().cast();
    // SAFETY: the handle is that of an open connection, and `Reader` drops the connection before the deadline
    unsafe { rusqlite::ffi::sqlite3_progress_handler(connection.handle(), STEPS_BETWEEN_LOOKS, Some(is_past), pointer) }
}
