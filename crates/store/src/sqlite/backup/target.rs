//! What a backup may replace: an older one, and nothing that an engine works with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::files::folder_of;
use crate::sqlite::schema::{VERSION, open_reader};

/// How an `SQLite` file begins (`SQLite` file format 1.3), as far as it is looked at.
const HEADER: usize = 64;
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Where the header says whether the file is used with a write-ahead log: 1 where it is not, of both its versions.
const FORMATS: std::ops::Range<usize> = 18..20;
const WITHOUT_LOG: [u8; 2] = [1, 1];
/// Where it has `user_version`, the most significant byte first.
const USER_VERSION: std::ops::Range<usize> = 60..64;

/// What the store's own files have at the end of their names.
const SUFFIXES: [&str; 6] = ["-wal", "-shm", "-journal", "-reserve", "-lock", UNFINISHED];
/// The same of a file that is not whole yet.
const UNFINISHED: &str = ".new";
/// The same of what the store was in an earlier version, whose number follows.
const BEFORE: &str = ".before-";

/// Whether a backup with this name, or what it is called until it is whole, would take the place of a file of the store or
/// of one of `taken` beside it. That the file is missing now says nothing: the engine makes it when it starts.
pub(super) fn is_of_engine(store: &Path, target: &Path, taken: &[&str]) -> bool {
    // SQLite's own files lie beside the file that a link leads to
    let stores = [Some(store.to_owned()), store.canonicalize().ok()];
    stores.into_iter().flatten().any(|store| {
        let (Some(store), Some(target)) = (Named::of(&store), Named::of(target)) else { return false };
        let end = target.name.strip_prefix(&*store.name).unwrap_or_default();
        let whole = target.name.strip_suffix(UNFINISHED).unwrap_or(&target.name);
        store.folder == target.folder
            && (SUFFIXES.contains(&end)
                || end.starts_with(BEFORE)
                || taken.contains(&whole)
                || store.name.strip_suffix(UNFINISHED) == Some(&target.name))
    })
}

/// A file by its folder, whatever links lead there, and its name in it.
struct Named {
    folder: PathBuf,
    name: String,
}

impl Named {
    fn of(path: &Path) -> Option<Self> {
        Some(Self { folder: folder_of(path).canonicalize().ok()?, name: path.file_name()?.to_str()?.to_owned() })
    }
}

/// Whether something has this name, be it a link that leads nowhere.
pub(super) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether a file is a backup of a version up to this one: a store as [`super::backup`] writes it, without a log, which the
/// file of a running or stopped engine has.
pub(super) fn is_backup(path: &Path) -> bool {
    let is_file = path.metadata().is_ok_and(|found| found.is_file());
    is_file && header(path).is_some_and(|header| is_of_backup(&header)) && has_jobs(path).unwrap_or(false)
}

fn header(path: &Path) -> Option<[u8; HEADER]> {
    let mut header = [0; HEADER];
    File::open(path).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    Some(header)
}

fn is_of_backup(header: &[u8; HEADER]) -> bool {
    let mut version = [0; 4];
    version.copy_from_slice(&header[USER_VERSION]);
    header.starts_with(MAGIC)
        && header[FORMATS] == WITHOUT_LOG
        && (1..=VERSION).contains(&i64::from(u32::from_be_bytes(version)))
}

fn has_jobs(path: &Path) -> rusqlite::Result<bool> {
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'resource'";
    open_reader(path)?.query_row(tables, [], |row| Ok(row.get::<_, i64>(0)? == 1))
}
