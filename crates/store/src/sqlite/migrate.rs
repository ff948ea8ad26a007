//! [`to_current`]: a file of a version before becomes one of this version.
//!
//! All of it is written anew beside the old one, which is replaced once the new one is whole and on the disk: whenever that is
//! ended, the one or the other is there, and the next start goes on from it. Indexes come last, and so are as small as they
//! can be.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::types::{Value as SqlValue, ValueRef};

use super::OpenError;
use super::before;
use super::column::Column;
use super::failure::{has_no_space, open_failure};
use super::opening::{Opening, Step, is_stop};
use super::reader::{document, value};
use super::schema::{self, INDEXES, TABLES, VERSION, check_version};
use super::tally::Tally;
use super::writer::{Row, insert};
use crate::files;
use crate::{Record, Revision};

/// After so many documents it is told how far it is, and looked whether it is to stop.
const LOOK_EVERY: u64 = 1_000;

/// Rewrites a file of a version before, after a copy was made; whether it was one. Blocks for as long as writing all of it
/// takes. Nobody else may use the file.
pub(super) fn to_current(path: &Path, opening: &Opening) -> Result<bool, OpenError> {
    let failed = |error| open_failure(path, error);
    let old = schema::open_to_write(path).map_err(failed)?;
    let version = check_version(&old, path)?;
    if !(1..VERSION).contains(&version) {
        return Ok(false);
    }
    before::keep(path, version, opening)?;
    // a log that stays beside the file would be taken for that of the new one
    let mode: String = old.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0)).map_err(failed)?;
    if mode != "delete" {
        return Err(OpenError::InUse { path: path.to_owned() });
    }
    let unwritten = |source| OpenError::of_system(path, source);
    files::write_whole(path, unwritten, |_, unfinished| {
        let mut new = schema::open_to_write(unfinished).map_err(failed)?;
        match rewrite(&old, version, &mut new, opening) {
            Err(error) if is_stop(&error) => return Err(OpenError::Stopped { path: path.to_owned() }),
            Err(error) if has_no_space(&new, &error) => return Err(OpenError::Full { path: path.to_owned() }),
            written => written.map_err(failed)?,
        }
        new.close().map_err(|(_, error)| failed(error))
    })?;
    tracing::info!(database = %path.display(), version = VERSION, "the database has the current version");
    Ok(true)
}

fn rewrite(old: &Connection, version: i64, new: &mut Connection, opening: &Opening) -> rusqlite::Result<()> {
    let all: i64 = old.query_row("SELECT count(*) FROM resource", [], |row| row.get(0))?;
    let all = u64::try_from(all).unwrap_or_default();
    // nobody knows the new file before it is whole
    new.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;")?;
    let transaction = new.transaction()?;
    transaction.execute_batch(TABLES)?;
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
        insert(&transaction, &row, row.revision, &mut tally)?;
        done += 1;
    }
    tally.store(&transaction)?;
    opening.during(Step::Indexing, &transaction, || transaction.execute_batch(INDEXES))?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
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
        return Ok(Row::of(Record { id, revision, document: document.into(), ledger }));
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
    Ok(Row { id, revision, document, ledger, irregular, columns, viewers, entry, lease })
}

#[cfg(test)]
mod tests;
