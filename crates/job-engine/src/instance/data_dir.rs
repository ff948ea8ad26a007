//! [`DataDir`]: the folder in which `up` or `server` keeps everything.
//!
//! `lock` is locked while one of them runs; `super.password` is the administrator's password, `jobs.db` the store (of
//! `server` under whatever name) and `endpoint` the address of the running API, locked as long as that may be believed.

use std::fs::{File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use slipstream_store::files;
use tempfile::TempDir;

use super::error::{InstanceError, refused};

/// The store's file, unless it is called otherwise.
pub(crate) const DATABASE: &str = "jobs.db";
/// What else has a name of its own in a data directory, which nobody else may write.
pub(crate) const TAKEN: [&str; 6] = ["lock", "endpoint", "super.password", "config.toml", "actions", "work"];

/// A data directory that this process holds.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Locked as long as this value lives; the operating system lets go of it when the process ends in any way.
    _lock: File,
    /// Removed with this value.
    _temporary: Option<TempDir>,
}

impl DataDir {
    /// One that is removed when this value is dropped.
    pub(crate) fn temporary() -> Result<Self, InstanceError> {
        let folder = tempfile::Builder::new().prefix("slipstream-job-").tempdir().map_err(InstanceError::Temporary)?;
        let held = Self::open(folder.path())?;
        Ok(Self { _temporary: Some(folder), ..held })
    }

    /// Makes the folder if it is missing, readable by its owner alone, and locks it.
    pub fn open(path: &Path) -> Result<Self, InstanceError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| InstanceError::Make { path: path.to_owned(), source })?;
        let lock = path.join("lock");
        let file = files::to_lock(&lock).map_err(refused("open", &lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file, _temporary: None }),
            Err(TryLockError::WouldBlock) => Err(InstanceError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(refused("lock", &lock)(error)),
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Environment variable with the data directory.
pub const DATA_DIR_VARIABLE: &str = "SLIPSTREAM_DATA_DIR";

/// The default data directory: `$SLIPSTREAM_DATA_DIR`, else `$XDG_DATA_HOME/slipstream-job`, else `~/.local/share/slipstream-job` (XDG Base
/// Directory Specification).
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(DATA_DIR_VARIABLE).filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let data_home = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data_home = data_home.or_else(|| Some(std::env::home_dir()?.join(".local/share")))?;
    Some(data_home.join("slipstream-job"))
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let refused = DataDir::open(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("another engine uses the data directory"), "{refused}");
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }
}
