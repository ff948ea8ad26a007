//! [`keep`]: the copy of a store's file that is made before its version changes, with which the program before can go on.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;

use rustix::fs::statvfs;

use super::OpenError;
use super::backup::{BackupError, backup_while};
use super::opening::{Opening, is_stop};
use crate::files::{self, beside, folder_of};

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
    let failed = |source| OpenError::of_system(path, source);
    // what a change that was ended has left takes the room that is needed now
    for left in [beside(path, ".new"), beside(&copy, ".new")] {
        files::remove(&left).map_err(failed)?;
    }
    let older = fs::metadata(&copy).ok().filter(Metadata::is_file).map(|found| found.len());
    if older == Some(0) {
        return Ok(());
    }
    let store = fs::metadata(path).map_err(failed)?;
    let needed = needed_space(store.len(), older.unwrap_or_default());
    if free_space(path).map_err(failed)? < needed {
        return Err(OpenError::NoSpaceForCopy { path: path.to_owned(), needed, copy });
    }
    let (database, kept) = (path.display(), copy.display());
    tracing::info!(%database, copy = %kept, bytes = store.len(), "copying the database before its version changes");
    let copied = backup_while(path, &copy, true, opening).and_then(|_| {
        let given = File::open(&copy).and_then(|file| files::give_as(&file, &store));
        given.map_err(|source| BackupError::Write { path: copy, source })
    });
    copied.map_err(|source| match source {
        BackupError::Copy { source, .. } if is_stop(&source) => OpenError::Stopped { path: path.to_owned() },
        source => OpenError::NoCopy { path: path.to_owned(), source: Box::new(source) },
    })
}

/// How many bytes have to be free: for the copy, and then for what the change itself writes, by when an older copy is gone.
fn needed_space(file: u64, older_copy: u64) -> u64 {
    file.saturating_add(file.saturating_sub(older_copy))
}

/// How many bytes are free where a file lies.
pub(super) fn free_space(path: &Path) -> io::Result<u64> {
    let disk = statvfs(folder_of(path))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_copy_makes_room_for_the_change_and_none_for_the_copy() {
        let needed =
            [(0, 0), (100, 0), (100, 30), (100, 100), (100, 900)].map(|(file, older)| needed_space(file, older));
        assert_eq!(needed, [0, 200, 170, 100, 100]);
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
