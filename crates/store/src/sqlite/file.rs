//! [`DatabaseFile`]: the file under the store. It is made whole or not at all, belongs to one store at a time under
//! whatever name, and is looked at before each group of writes: is it still the one under its name?

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::schema;
use crate::files;
use crate::files::beside;

/// Links to links that are followed, as the system does.
const MOST_LINKS: usize = 40;

/// The database file of an open store.
pub(super) struct DatabaseFile {
    /// Where it is, whatever links lead there.
    path: PathBuf,
    /// Device and number of the file, by which it is known under any name.
    identity: (u64, u64),
    /// Locked as long as this lives. A file of its own: closing the database itself a second time in one process would
    /// take away the locks that `SQLite` has on it.
    _lock: File,
}

impl DatabaseFile {
    /// Finds the file, or makes one without documents, and locks it. What was being made when a start before this one
    /// was ended is made again; a file that was whole and is empty now, or is gone and has left its log, is not.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::of_system(path, source);
        let path = resolved(path).map_err(failed)?;
        let lock = lock(&path)?;
        let found = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(&path)?;
                fs::metadata(&path).map_err(failed)?
            }
            found => found.map_err(failed)?,
        };
        if found.len() == 0 {
            return Err(OpenError::Empty { path });
        }
        if found.nlink() > 1 {
            return Err(OpenError::SeveralNames { path });
        }
        Ok(Self { path, identity: identity(&found), _lock: lock })
    }

    /// Where it is, links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on it is the file that has the name by now: the store itself has put it there.
    pub fn note_replaced(&mut self) -> Result<(), OpenError> {
        let found = fs::metadata(&self.path).map_err(|source| OpenError::of_system(&self.path, source))?;
        self.identity = identity(&found);
        Ok(())
    }

    /// Whether its name still leads to it: what is written to a file that was moved away, or that another one has
    /// replaced, is lost to whoever looks under the name.
    pub fn is_in_place(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity)
    }

    /// How long the log is, in bytes.
    pub fn log_length(&self) -> u64 {
        fs::metadata(beside(&self.path, "-wal")).map_or(0, |log| log.len())
    }

    /// A file that lies beside it and has this at the end of its name.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.path, suffix)
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Where a file is or, if there is none yet, would be made.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::canonicalize(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::canonicalize(folder)?;
        let Some(name) = path.file_name() else { return Err(ErrorKind::InvalidFilename.into()) };
        path = folder.join(name);
        match fs::read_link(&path) {
            Ok(target) => path = folder.join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let lock = beside(path, "-lock");
    let failed = |source| OpenError::of_system(&lock, source);
    let file = files::to_lock(&lock).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Makes the file under another name and gives it its own once it is whole and on the disk.
fn make(path: &Path) -> Result<(), OpenError> {
    let log = beside(path, "-wal");
    if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(OpenError::Gone { path: path.to_owned(), log });
    }
    let failed = |source| OpenError::of_system(path, source);
    for left in [&log, &beside(path, "-shm")] {
        files::remove(left).map_err(failed)?;
    }
    files::write_whole(path, failed, |_, unfinished| schema::make(unfinished, path)).map(drop)
}
