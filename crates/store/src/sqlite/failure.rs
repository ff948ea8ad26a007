//! What `SQLite`'s errors mean here.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};

use super::{OpenError, StoreError};
use crate::files;

/// What to do about a damaged file.
pub(super) const DAMAGED: &str = "restore it from a backup, or move it away to start empty";

/// An error while the store is in use.
pub(super) fn failure(what: &str, path: &Path, error: Arc<rusqlite::Error>) -> StoreError {
    if let rusqlite::Error::UserFunctionError(inner) = &*error
        && let Some(error) = inner.downcast_ref::<StoreError>()
    {
        return error.clone();
    }
    let path = path.display();
    let what = match error.sqlite_error_code() {
        _ if is_full(&error) => return StoreError::Full { path: path.to_string() },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            format!("{what}: the database {path} is damaged; {DAMAGED}")
        }
        Some(ErrorCode::OperationInterrupted) => return StoreError::TooSlow { unindexed: Vec::new() },
        _ => format!("{what} in {path}"),
    };
    StoreError::Failed { what, source: error }
}

/// An error while opening.
pub(super) fn open_failure(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        _ if is_full(&error) => OpenError::Full { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged { path, source: error },
        _ => OpenError::Failed { path, source: error },
    }
}

/// The same of the last call on this connection.
pub(super) fn failure_of(connection: &Connection, path: &Path, error: rusqlite::Error) -> OpenError {
    if has_no_space(connection, &error) {
        return OpenError::Full { path: path.to_owned() };
    }
    open_failure(path, error)
}

/// `SQLite` reports a full disk as such, except where the index of the log would have to grow.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// Whether the last call on a connection has failed with this error because the disk, or what this process may have of
/// it, is used up. `SQLite` tells only the first of these as such; a quota and a limit of a file's size it takes for a
/// failure of the device, and keeps what the system said.
pub(super) fn has_no_space(connection: &Connection, error: &rusqlite::Error) -> bool {
    if error.sqlite_error_code() != Some(ErrorCode::SystemIoFailure) {
        return is_full(error);
    }
    // SAFETY: the handle is that of an open connection, which nobody else uses meanwhile
    let said = unsafe { rusqlite::ffi::sqlite3_system_errno(connection.handle()) };
    is_full(error) || files::is_full(&io::Error::from_raw_os_error(said))
}
