//! [`WorkDir`]: where programs work. Each job of a command, and each process of a host, has a directory of its own, which
//! goes with it.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tracing::warn;
use uuid::Uuid;

/// Held by the executor whose folder it is in.
const LOCK: &str = "lock";
/// For nobody else: what programs leave there may be secret.
const PRIVATE: u32 = 0o700;

/// The folder of one executor, which goes with the last clone.
#[derive(Clone, Debug)]
pub struct WorkDir(Arc<Own>);

#[derive(Debug)]
struct Own {
    path: PathBuf,
    /// Locked for as long as the executor lives.
    _lock: File,
    next: AtomicU64,
    /// Goes after the folder in it.
    _root: Option<TempDir>,
}

/// Why there is no folder for programs.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} for the files of actions, choose another with --work-dir", path.display())]
pub struct WorkDirError {
    path: PathBuf,
    source: io::Error,
}

impl WorkDir {
    /// A folder below a temporary one.
    pub fn temporary() -> Result<Self, WorkDirError> {
        let made = tempfile::Builder::new().prefix("slipstream-job-").tempdir();
        let root = made.map_err(|source| WorkDirError { path: std::env::temp_dir(), source })?;
        let path = root.path().to_owned();
        Self::below(&path, Some(root))
    }

    /// A folder below `root`, which is made if it is missing. What executors left there that have died is removed.
    pub fn open(root: &Path) -> Result<Self, WorkDirError> {
        Self::below(root, None)
    }

    fn below(root: &Path, temporary: Option<TempDir>) -> Result<Self, WorkDirError> {
        let opened = fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(root).and_then(|()| {
            // programs work there, wherever the executor was started
            let root = root.canonicalize()?;
            // one executor at a time: a folder without its lock belongs to one that has died
            let begins = File::open(&root)?;
            begins.lock()?;
            remove_left_behind(&root)?;
            let path = root.join(format!("executor-{}", Uuid::new_v4().simple()));
            fs::DirBuilder::new().mode(PRIVATE).create(&path)?;
            let lock = File::create(path.join(LOCK))?;
            lock.lock()?;
            Ok(Self(Arc::new(Own { path, _lock: lock, next: AtomicU64::new(1), _root: temporary })))
        });
        opened.map_err(|source| WorkDirError { path: root.to_owned(), source })
    }

    /// A new empty directory.
    pub fn make(&self) -> io::Result<Directory> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let path = self.0.path.join(number.to_string());
        fs::DirBuilder::new().mode(PRIVATE).create(&path)?;
        Ok(Directory { path, _work_dir: self.clone() })
    }

    /// A path beside the directories for something that no program is to find among its files.
    #[must_use]
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.path.join(format!("{number}.{suffix}"))
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// A directory for a program, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _work_dir: WorkDir,
}

impl Directory {
    /// Where it is: an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what a job left in it.
    pub fn empty(&self) {
        let left = match fs::read_dir(&self.path) {
            Ok(left) => left,
            Err(error) => return warn!(path = %self.path.display(), %error, "cannot look what a job left behind"),
        };
        for entry in left.flatten() {
            remove(&entry.path());
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes folders of executors that hold their lock no more.
fn remove_left_behind(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)?.flatten() {
        let is_executors = entry.file_name().to_str().is_some_and(|name| name.starts_with("executor-"));
        let lock = File::open(entry.path().join(LOCK)).map(|lock| lock.try_lock());
        if is_executors && !matches!(lock, Ok(Err(TryLockError::WouldBlock))) {
            remove(&entry.path());
        }
    }
    Ok(())
}

/// Removes a file, or a folder with all that is in it; also one in which a program has forbidden that.
fn remove(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_folder {
        fs::remove_dir_all(path).or_else(|_| {
            permit(path);
            fs::remove_dir_all(path)
        })
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "cannot remove the files of an action");
        }
        _ => {}
    }
}

/// Gives us back the right to change a folder and those in it.
fn permit(folder: &Path) {
    if fs::set_permissions(folder, Permissions::from_mode(PRIVATE)).is_err() {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            permit(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_goes_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let work_dir = WorkDir::open(&root.path().join("a/b")).unwrap();
        let directory = work_dir.make().unwrap();
        let path = directory.path().to_owned();
        assert!(path.is_absolute());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        fs::create_dir_all(path.join("deep/er")).unwrap();
        fs::write(path.join("deep/er/file"), "x").unwrap();
        fs::set_permissions(path.join("deep/er"), Permissions::from_mode(0o500)).unwrap();
        directory.empty();
        assert_eq!(names(&path), Vec::<String>::new());
        fs::create_dir(path.join("again")).unwrap();
        drop(directory);
        assert!(!path.exists());
        drop(work_dir);
        assert_eq!(names(&root.path().join("a/b")), Vec::<String>::new());
    }

    #[test]
    fn what_dead_executors_left_is_removed_and_what_living_ones_have_is_not() {
        let root = tempfile::tempdir().unwrap();
        let living = WorkDir::open(root.path()).unwrap();
        let dead = root.path().join("executor-dead");
        fs::create_dir_all(dead.join("7")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::create_dir(root.path().join("executor-that-never-began")).unwrap();
        fs::create_dir(root.path().join("of-somebody-else")).unwrap();
        let second = WorkDir::open(root.path()).unwrap();
        assert!(living.path().exists() && second.path().exists() && living.path() != second.path());
        assert!(!dead.exists() && !root.path().join("executor-that-never-began").exists());
        assert!(root.path().join("of-somebody-else").exists());
    }

    #[test]
    fn a_root_that_cannot_be_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = WorkDir::open(&file).unwrap_err();
        assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
    }
}
