//! [`keep`]: the copy of a store's file that is made before its version changes, with which the program before can go on.

use std::fs;
use std::path::Path;

use rustix::fs::statvfs;

use super::OpenError;
use super::backup::backup;
use crate::files::beside;

/// Copies a file of this version to `jobs.db.before-VERSION`, in place of an older copy. Blocks for as long as reading all of
/// it takes. An empty file of that name says that no copy is wanted.
pub(super) fn keep(path: &Path, version: i64) -> Result<(), OpenError> {
    let copy = beside(path, &format!(".before-{version}"));
    if fs::metadata(&copy).is_ok_and(|found| found.len() == 0) {
        return Ok(());
    }
    let failed = |source| OpenError::of_system(path, source);
    let size = fs::metadata(path).map_err(failed)?.len();
    let disk = statvfs(path.parent().unwrap_or(path)).map_err(|error| failed(error.into()))?;
    // one for the copy, one for what the change itself writes
    let needed = 2 * size;
    if disk.f_bavail * disk.f_frsize < needed {
        return Err(OpenError::NoSpaceForCopy { path: path.to_owned(), needed, copy });
    }
    let (database, kept) = (path.display(), copy.display());
    tracing::info!(%database, copy = %kept, bytes = size, "copying the database before its version changes");
    let copied = backup(path, &copy, true);
    copied.map(drop).map_err(|source| OpenError::NoCopy { path: path.to_owned(), source: Box::new(source) })
}
