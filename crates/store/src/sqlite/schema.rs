//! The database file: its table, its indexes, its version.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::OpenError;
use super::failure::{failure_of, open_failure};

/// The version that this program writes, kept as `user_version`.
pub(super) const VERSION: i64 = 4;
/// How long to wait for another process, such as a backup, that holds the file locked.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept prepared on each connection.
const PREPARED: usize = 64;
const WRITING: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// The table has a rowid: documents are larger than what `WITHOUT ROWID` is good for (a twentieth of a page), as that
/// keeps them in the tree that is searched. `type` is the first part of `id`, so that the primary key finds a document
/// and walks those of one type in order of id. An id is stored as [`Key`](super::key::Key) says, a time as milliseconds since
/// 1970, document and ledger as [`pack`](crate::packed::pack) says: keys are narrow, as each job is in ten indexes.
///
/// Each index ends in `id`, by which equal values are ordered. Times are asked for newest first: such an index is walked
/// backwards, so that what is new is added at its end, where pages become full.
///
/// `entry` and `lease` are what the ledger has of a job that is not final, and NULL once it is, so that of a million
/// finished jobs none takes room for them. They lie in the index of states, where a walk through all that is not final
/// finds them without looking at a document.
///
/// `tally` counts documents by state and action, so that a count walks through none of them, in several scopes: 0 is
/// all, another number an audience (see `audience`), a text an owner. The writer keeps it (see `tally`), once for all
/// writes of a transaction: a trigger for each document cost as much as all indexes together. An audience goes with its
/// last document; the owner '5' is not the audience 5, though a column of integers takes it for that. Its index begins
/// with the scope, so that it is used for however many of them.
pub(super) const TABLES: &str = "
    CREATE TABLE resource (
        type TEXT NOT NULL,
        id ANY NOT NULL,
        revision INTEGER NOT NULL,
        document ANY NOT NULL,
        ledger ANY,
        irregular INTEGER NOT NULL,
        state TEXT,
        action TEXT,
        target TEXT,
        parent TEXT,
        created INTEGER,
        updated INTEGER,
        priority INTEGER,
        owner TEXT,
        audience INTEGER,
        entry TEXT,
        lease TEXT,
        PRIMARY KEY (type, id)
    ) STRICT;

    CREATE TABLE audience (
        id INTEGER PRIMARY KEY,
        type TEXT NOT NULL,
        viewers TEXT NOT NULL,
        UNIQUE (type, viewers)
    ) STRICT;
    CREATE TABLE viewer (
        type TEXT NOT NULL,
        principal TEXT NOT NULL,
        audience INTEGER NOT NULL,
        PRIMARY KEY (type, principal, audience)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX viewer_by_audience ON viewer (audience);

    CREATE TABLE tally (
        type TEXT NOT NULL,
        scope ANY NOT NULL,
        state TEXT,
        action TEXT,
        documents INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX tally_by_all ON tally (scope, type, ifnull(state, x''), ifnull(action, x''));

    CREATE TRIGGER tally_empty AFTER UPDATE ON tally WHEN new.documents = 0 BEGIN
        DELETE FROM tally WHERE rowid = new.rowid;
        DELETE FROM viewer WHERE audience = new.scope AND typeof(new.scope) = 'integer'
            AND NOT EXISTS (SELECT 1 FROM tally WHERE type = new.type AND scope = new.scope);
        DELETE FROM audience WHERE id = new.scope AND typeof(new.scope) = 'integer'
            AND NOT EXISTS (SELECT 1 FROM tally WHERE type = new.type AND scope = new.scope);
    END;
";

/// What version 4 has that version 3 has not: what is declared (see `attribute`), and the index of it. The key is in the order
/// of a search, and ends with the document that is found.
pub(super) const DECLARED: &str = "
    CREATE TABLE indexed (
        type TEXT NOT NULL,
        path TEXT NOT NULL,
        PRIMARY KEY (type, path)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE attribute (
        type TEXT NOT NULL,
        path TEXT NOT NULL,
        value ANY NOT NULL,
        id ANY NOT NULL,
        PRIMARY KEY (type, path, value, id)
    ) STRICT, WITHOUT ROWID;
";

/// What searches need, apart from the tables: many documents are quicker without.
pub(super) const INDEXES: &str = "
    CREATE INDEX resource_by_created ON resource (type, created, id DESC);
    CREATE INDEX resource_by_state ON resource (type, state, created, id DESC);
    CREATE INDEX resource_by_state_and_id ON resource (type, state, id, entry, lease);
    CREATE INDEX resource_by_action ON resource (type, action, state, created, id DESC);
    CREATE INDEX resource_by_action_and_created ON resource (type, action, created, id DESC);
    CREATE INDEX resource_by_target ON resource (type, target, created, id DESC);
    CREATE INDEX resource_by_parent ON resource (type, parent, created, id DESC) WHERE parent IS NOT NULL;
    CREATE INDEX resource_by_updated ON resource (type, updated, id DESC);
    CREATE INDEX resource_by_priority ON resource (type, priority, created DESC, id);
    CREATE INDEX resource_by_owner ON resource (type, owner, created, id DESC);
    CREATE INDEX resource_by_audience ON resource (type, audience, created, id DESC) WHERE audience IS NOT NULL;
    CREATE INDEX resource_by_audience_and_state ON resource (type, audience, state, created, id DESC)
        WHERE audience IS NOT NULL;
    CREATE INDEX resource_by_audience_and_action ON resource (type, audience, action, created, id DESC)
        WHERE audience IS NOT NULL;
    CREATE INDEX resource_by_audience_and_id ON resource (type, audience, id) WHERE audience IS NOT NULL;
    CREATE INDEX resource_irregular ON resource (type, irregular) WHERE irregular <> 0;
";

/// Makes a database without documents in an empty file, which is to be that of the store `of`. Nothing is synchronised:
/// nobody knows the file yet.
pub(super) fn make(path: &Path, of: &Path) -> Result<(), OpenError> {
    let failed = |error| open_failure(of, error);
    let mut connection = Connection::open_with_flags(path, WRITING).map_err(failed)?;
    let mut write = || {
        connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        create(&transaction)?;
        transaction.commit()
    };
    let written = write();
    written.map_err(|error| failure_of(&connection, of, error))?;
    connection.close().map_err(|(_, error)| failed(error))
}

/// Makes a connection to a file of this version or of version 3, or to one without tables, the one that writes. Version 3 lacks
/// two tables and is otherwise the same: nothing is rewritten, and so nothing is copied before. Full synchronisation: what
/// is committed survives a power cut.
pub(super) fn prepare_writer(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA mmap_size = 0; PRAGMA cache_size = -8192;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    if version < VERSION {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version == 0 {
            create(&transaction)?
        } else {
            add_declared(&transaction)?
        }
        transaction.commit()?;
    }
    Ok(())
}

/// A connection that may write, without any of what makes that durable.
pub(super) fn open_to_write(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, WRITING)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA mmap_size = 0; PRAGMA cache_size = -4096;")?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    Ok(connection)
}

/// Answers the version, 0 of an empty file.
pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let failed = |error| failure_of(connection, path, error);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    match found {
        1..=VERSION => Ok(found),
        0 if tables == 0 => Ok(found),
        _ if found > VERSION => Err(OpenError::Newer { path: path.to_owned(), found }),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(DECLARED)?;
    transaction.execute_batch(INDEXES)?;
    transaction.pragma_update(None, "user_version", VERSION)
}

fn add_declared(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(DECLARED)?;
    transaction.pragma_update(None, "user_version", VERSION)
}
