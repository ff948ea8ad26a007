//! [`backup`]: a copy of a store's file while a server uses it, in steps, so that nothing is read for long: what reads for
//! long keeps the log from being put into the database.

use std::ffi::c_int;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::ffi::{Error, SQLITE_BUSY};
use rusqlite::{Connection, OpenFlags};

use super::OpenError;
use super::failure::open_failure;
use super::opening::{Opening, Step};
use super::schema::{check_version, open_reader};
use crate::files;
use crate::files::who_may;

mod target;

/// Pages in the first step: a megabyte.
const FIRST_STEP: c_int = 256;
/// Steps in a row that find the file locked, each after the patience that a connection has.
const MOST_LOCKED: u32 = 6;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many jobs.
    pub jobs: u64,
    /// How long the file is, in bytes.
    pub bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to copy.
    #[error("there is no database {}", path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file of this name is there, and is not to be replaced; or it is the store itself.
    #[error("{} exists", path.display())]
    Exists {
        /// The backup.
        path: PathBuf,
    },
    /// The name is one of those that an engine with this store uses itself, whether or not the file is there.
    #[error("{} is a file of the engine itself: choose another file for the backup", path.display())]
    OfEngine {
        /// The backup.
        path: PathBuf,
    },
    /// What would be replaced is no backup.
    #[error("{} is no backup that this program knows, and is not replaced: choose another file", path.display())]
    NoBackup {
        /// What is there.
        path: PathBuf,
    },
    /// The operating system refuses the backup.
    #[error("cannot write {}{}", path.display(), who_may(source, path))]
    Write {
        /// The backup.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The copy cannot be made or read.
    #[error("cannot copy {} to {}", from.display(), to.display())]
    Copy {
        /// The store.
        from: PathBuf,
        /// The backup.
        to: PathBuf,
        /// What `SQLite` says.
        #[source]
        source: rusqlite::Error,
    },
    /// Another file has its name by now, such as that of the next version: the log of the one may have been read with the
    /// other.
    #[error("{} was moved or replaced while it was copied: try again", path.display())]
    Replaced {
        /// The store.
        path: PathBuf,
    },
    /// The copy is not sound, because the store is not.
    #[error("the copy of {} is not sound, and is removed: {found}", path.display())]
    Unsound {
        /// The store.
        path: PathBuf,
        /// What `SQLite` found first.
        found: String,
    },
}

/// Copies the store `from` into the file `to`, which is its owner's alone and is there once it is whole and was found to be
/// sound. A file that is there is replaced only if that `is_wanted` and it is an older backup. None of `taken` in the
/// store's folder is written, nor any file of the store. Blocks.
pub fn backup(from: &Path, to: &Path, is_wanted: bool, taken: &[&str]) -> Result<Copied, BackupError> {
    if target::is_of_engine(from, to, taken) {
        return Err(BackupError::OfEngine { path: to.to_owned() });
    }
    if is_wanted && !is_same(from, to) && target::is_there(to) && !target::is_backup(to) {
        return Err(BackupError::NoBackup { path: to.to_owned() });
    }
    backup_while(from, to, is_wanted, &Opening::default())
}

/// Whether both names lead to one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    identity(one).is_some_and(|found| Some(found) == identity(other))
}

/// The same as a part of an opening.
pub(super) fn backup_while(from: &Path, to: &Path, is_wanted: bool, opening: &Opening) -> Result<Copied, BackupError> {
    let failed = |source| BackupError::Write { path: to.to_owned(), source };
    let store = match from.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BackupError::Missing { path: from.to_owned() });
        }
        found => found.map_err(|error| OpenError::of_system(from, error))?,
    };
    match to.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(found) if is_wanted && (found.dev(), found.ino()) != (store.dev(), store.ino()) => {}
        Ok(_) => return Err(BackupError::Exists { path: to.to_owned() }),
    }
    let mut jobs = 0;
    let file = files::write_whole(to, failed, |_, unfinished| {
        jobs = copy(from, unfinished, FIRST_STEP, opening, || {})?;
        Ok(())
    })?;
    let bytes = file.metadata().map_err(failed)?.len();
    Ok(Copied { jobs, bytes })
}

/// Copies into an empty file, and answers how many jobs are in it. `between` is done between two steps.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    first_step: c_int,
    opening: &Opening,
    between: impl FnMut(),
) -> Result<u64, BackupError> {
    let identity = || from.metadata().ok().map(|found| (found.dev(), found.ino()));
    let before = identity();
    let copied = copy_whatever_it_is(from, to, first_step, opening, between);
    // also where that has failed, as two databases in one look like damage
    if before.is_none() || identity() != before {
        return Err(BackupError::Replaced { path: from.to_owned() });
    }
    copied
}

fn copy_whatever_it_is(
    from: &Path,
    to: &Path,
    first_step: c_int,
    opening: &Opening,
    between: impl FnMut(),
) -> Result<u64, BackupError> {
    let source = open_reader(from).map_err(|error| open_failure(from, error))?;
    check_version(&source, from)?;
    let failed = |source| BackupError::Copy { from: from.to_owned(), to: to.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(to, flags).map_err(failed)?;
    // nobody knows the file yet; and it is to be one, without a log
    let alone = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;";
    copy.execute_batch(alone)
        .and_then(|()| in_steps(&source, &mut copy, first_step, opening, between))
        .map_err(failed)?;
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).map_err(failed)?;
    let check = || copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    let found: String = opening.during(Step::Checking, &copy, check).map_err(failed)?;
    if found != "ok" {
        return Err(BackupError::Unsound { path: from.to_owned(), found });
    }
    let count = "SELECT count(*) FROM resource WHERE type = 'job'";
    let jobs: i64 = copy.query_row(count, [], |row| row.get(0)).map_err(failed)?;
    copy.close().map_err(|(_, error)| failed(error))?;
    Ok(u64::try_from(jobs).unwrap_or_default())
}

/// A write between two steps makes `SQLite` begin again. Where that happens the steps grow, so that it comes to an end: at
/// last in one, which takes as long as reading the file does. Whoever else holds the file is waited for within a limit.
pub(super) fn in_steps(
    source: &Connection,
    copy: &mut Connection,
    first_step: c_int,
    opening: &Opening,
    mut between: impl FnMut(),
) -> rusqlite::Result<()> {
    let backup = Backup::new(source, copy)?;
    let (mut step, mut before, mut locked) = (first_step, 0, 0);
    loop {
        match backup.step(step)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {
                let progress = backup.progress();
                let done = progress.pagecount - progress.remaining;
                opening.copied(pages(done), pages(progress.pagecount))?;
                if done <= before {
                    step = step.saturating_mul(2);
                }
                (before, locked) = (done, 0);
            }
            // busy, or locked
            _ => {
                locked += 1;
                if locked >= MOST_LOCKED {
                    return Err(rusqlite::Error::SqliteFailure(Error::new(SQLITE_BUSY), None));
                }
            }
        }
        between();
    }
}

fn pages(count: c_int) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
