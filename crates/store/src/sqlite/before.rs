//! [`keep`]: the copy of a store's file that is made before its version changes, with which the program before can go on.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::statvfs;

use super::OpenError;
use super::backup::{BackupError, backup_while};
use super::opening::{Opening, is_stop};
use crate::files::{beside, folder_of};

/// Copies a file of this version to `jobs.db.before-VERSION`, in place of an older copy. Blocks for as long as reading all of
/// it takes. An empty file of that name says that no copy is wanted.
pub(super) fn keep(path: &Path, version: i64, opening: &Opening) -> Result<(), OpenError> {
    keep_beside(path, version, opening, free_space)
}

pub(super) fn keep_beside(
    path: &Path,
    version: i64,
    opening: &Opening,
    free_space: impl Fn(&Path) -> io::Result<u64>,
) -> Result<(), OpenError> {
    let copy = beside(path, &format!(".before-{version}"));
    if fs::metadata(&copy).is_ok_and(|found| found.len() == 0) {
        return Ok(());
    }
    let failed = |source| OpenError::of_system(path, source);
    let (size, log) = (fs::metadata(path).map_err(failed)?.len(), beside(path, "-wal"));
    // what is in the log is not in the file yet
    let needed = needed_space(size, fs::metadata(log).map_or(0, |log| log.len()));
    if free_space(path).map_err(failed)? < needed {
        return Err(OpenError::NoSpaceForCopy { path: path.to_owned(), needed, copy });
    }
    let (database, kept) = (path.display(), copy.display());
    tracing::info!(%database, copy = %kept, bytes = size, "copying the database before its version changes");
    match backup_while(path, &copy, true, opening) {
        Ok(_) => Ok(()),
        Err(BackupError::Copy { source, .. }) if is_stop(&source) => Err(OpenError::Stopped { path: path.to_owned() }),
        Err(source) => Err(OpenError::NoCopy { path: path.to_owned(), source: Box::new(source) }),
    }
}

/// How many bytes have to be free: one half for the copy, one for what the change itself writes.
fn needed_space(file: u64, log: u64) -> u64 {
    file.saturating_add(log).saturating_mul(2)
}

/// How many bytes are free where a file lies.
fn free_space(path: &Path) -> io::Result<u64> {
    let disk = statvfs(folder_of(path))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_needs_room_as_the_file_does() {
        assert_eq!([needed_space(0, 0), needed_space(100, 0), needed_space(100, 7)], [0, 200, 214]);
        assert_eq!(needed_space(u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn space_is_looked_for_in_the_folder_also_of_a_name_without_one() {
        for path in ["jobs.db", "./jobs.db", "/jobs.db"] {
            assert!(free_space(Path::new(path)).is_ok(), "{path}");
        }
        assert!(free_space(Path::new("no such folder/jobs.db")).is_err());
    }
}
