//! [`open_writer`]: the connection that writes. A file of a version before becomes one of this version first.
//!
//! All of it is written anew beside the old one, which is replaced once the new one is whole and on the disk: whenever that is
//! ended, the one or the other is there, and the next start goes on from it. Indexes come last, and so are as small as they
//! can be.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::ffi::{self, SQLITE_CONSTRAINT};
use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, ErrorCode};

use super::OpenError;
use super::attribute::{self, Declared};
use super::before;
use super::column::Column;
use super::failure::{failure_of, open_failure};
use super::file::DatabaseFile;
use super::opening::{Done, Opening, Step, is_stop};
use super::reader::{document, value};
use super::schema::{self, DECLARED, INDEXES, TABLES, VERSION, check_version};
use super::tally::Tally;
use super::writer::{Row, insert};
use crate::files;
use crate::{Record, Revision};

/// A file of this version or a later one is changed where it is, see [`schema::prepare_writer`].
const REWRITTEN_BEFORE: i64 = 3;
/// After so many documents it is told how far it is, and looked whether it is to stop.
const LOOK_EVERY: u64 = 1_000;
/// How long somebody who reads the file is waited for, and how often it is looked whether that has ended.
const PATIENCE: Duration = Duration::from_mins(10);
const LOOK: Duration = Duration::from_millis(100);

/// Opens the file to write to it. That looks at nothing but the header, the schema and the declared indexes of a file of this
/// version, so that it does not take longer with more documents; one of a version before is written anew, and an index that is
/// newly declared is filled, which takes as long as that does.
pub(super) fn open_writer(
    file: &mut DatabaseFile,
    declared: &Declared,
    opening: &Opening,
) -> Result<Connection, OpenError> {
    let path = file.path().to_owned();
    let open = || schema::open_to_write(&path).map_err(|error| open_failure(&path, error));
    let mut connection = open()?;
    // before anything is written
    let mut version = check_version(&connection, &path)?;
    if (1..REWRITTEN_BEFORE).contains(&version) {
        to_current(connection, version, &path, opening)?;
        file.note_replaced()?;
        (connection, version) = (open()?, VERSION);
    }
    let prepared = schema::prepare_writer(&mut connection, version);
    prepared.map_err(|error| failure_of(&connection, &path, error))?;
    attribute::prepare(&mut connection, declared, &path, opening)?;
    Ok(connection)
}

/// Rewrites a file of a version before, after a copy was made. Nobody else may use the file.
fn to_current(old: Connection, version: i64, path: &Path, opening: &Opening) -> Result<(), OpenError> {
    leave_log(&old, path, PATIENCE, opening)?;
    before::keep(path, version, opening)?;
    let unwritten = |source| OpenError::of_system(path, source);
    let before = fs::metadata(path).map_err(unwritten)?;
    // the old one is closed before its name is another's
    files::write_whole(path, unwritten, move |file, unfinished| {
        let mut new = schema::open_to_write(unfinished).map_err(|error| open_failure(path, error))?;
        let written = rewrite(&old, version, &mut new, opening);
        written.map_err(|error| match error {
            error if is_stop(&error) => OpenError::Stopped { path: path.to_owned() },
            error => failure_of(&new, path, error),
        })?;
        new.close().map_err(|(_, error)| open_failure(path, error))?;
        files::give_as(file, &before).map_err(unwritten)
    })?;
    tracing::info!(database = %path.display(), version = VERSION, "the database has the current version");
    Ok(())
}

/// Puts the log into the file: one that stays beside it would be taken for that of the new file. Whoever reads keeps it there,
/// such as a backup, and is waited for.
fn leave_log(old: &Connection, path: &Path, patience: Duration, opening: &Opening) -> Result<(), OpenError> {
    let until = Instant::now() + patience;
    while let Err(error) = old.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())) {
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) {
            return Err(failure_of(old, path, error));
        }
        if Instant::now() >= until {
            return Err(OpenError::InUse { path: path.to_owned() });
        }
        opening.wait(LOOK).map_err(|_| OpenError::Stopped { path: path.to_owned() })?;
    }
    Ok(())
}

fn rewrite(old: &Connection, version: i64, new: &mut Connection, opening: &Opening) -> rusqlite::Result<()> {
    let all: i64 = old.query_row("SELECT count(*) FROM resource", [], |row| row.get(0))?;
    let all = u64::try_from(all).unwrap_or_default();
    // nobody knows the new file before it is whole
    new.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;")?;
    let transaction = new.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(DECLARED)?;
    let lease = if version == 1 { "NULL" } else { "lease" };
    let mut statement = old.prepare(&format!(
        "SELECT id, revision, document, ledger, irregular, entry, {lease}, \
         (SELECT viewers FROM audience WHERE audience.id = resource.audience), \
         state, action, target, parent, created, updated, priority, owner FROM resource ORDER BY rowid"
    ))?;
    let mut rows = statement.query([])?;
    let (mut done, mut tally) = (0_u64, Tally::default());
    while let Some(stored) = rows.next()? {
        if done.is_multiple_of(LOOK_EVERY) {
            opening.written(done, all)?;
        }
        let row = read(stored)?;
        if !insert(&transaction, &row, row.revision, &mut tally)? {
            let twice = format!("{} is there twice", row.id);
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(SQLITE_CONSTRAINT), Some(twice)));
        }
        done += 1;
    }
    tally.store(&transaction)?;
    index(&transaction, opening)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// One index after the other, so that it is seen how far it is.
fn index(new: &Connection, opening: &Opening) -> rusqlite::Result<()> {
    let all = INDEXES.matches(';').count() as u64;
    for (done, index) in (0..all).zip(INDEXES.split_inclusive(';')) {
        opening.during(Step::Indexing(Done { done, all }), new, || new.execute_batch(index))?;
    }
    Ok(())
}

/// What cannot be read stays as it is, with what its columns say of it.
fn read(stored: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let id: String = stored.get(0)?;
    let revision = Revision(stored.get::<_, i64>(1)?.cast_unsigned());
    let document = document(stored.get_ref(2)?);
    let ledger = match stored.get_ref(3)? {
        ValueRef::Null => Ok(serde_json::Value::Null),
        text => value(text).map(|(ledger, _)| ledger),
    };
    if let (Ok((document, _)), Ok(ledger)) = (document, ledger) {
        let record = Record { id, revision, document: document.into(), ledger };
        // what is declared is filled in once the file is whole
        return Ok(Row::of(record, &Declared::default()));
    }
    let mut columns = [const { SqlValue::Null }; Column::STORED.len()];
    for (index, (column, name)) in columns.iter_mut().zip(Column::STORED).enumerate() {
        *column = match stored.get(8 + index)? {
            SqlValue::Text(time) if name.holds_times() => {
                time.parse().map_or(SqlValue::Null, |time: Timestamp| SqlValue::Integer(time.as_millisecond()))
            }
            other => other,
        };
    }
    let [document, ledger] = [stored.get(2)?, stored.get(3)?];
    let (irregular, viewers) = (stored.get(4)?, stored.get(7)?);
    let (entry, lease) = (stored.get(5)?, stored.get(6)?);
    let declared = None;
    Ok(Row { id, revision, document, ledger, irregular, columns, viewers, entry, lease, declared })
}

#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "testing"))]
pub mod version_2;
