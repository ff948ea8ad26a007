//! Where the socket lies: in a folder of its own that nobody else may enter, and that goes with it.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::UnixListener;
use tracing::{debug, warn};

/// How the folders' names begin.
const PREFIX: &str = "slipstream-api-";
/// The socket's name, and that which it has until it listens.
const NAME: &str = "api";
const NEW_NAME: &str = "new";
/// Longest path of a socket, in bytes (unix(7): 108 with a byte zero).
const LONGEST_PATH: usize = 107;

/// Makes a socket in the first of `places` that is good for it.
pub(super) fn bind(places: &[PathBuf]) -> io::Result<(UnixListener, TempDir)> {
    let mut last = io::Error::new(ErrorKind::NotFound, "there is no folder for it");
    for place in places {
        match bind_in(place) {
            Ok(bound) => return Ok(bound),
            Err(error) => {
                debug!(place = %place.display(), %error, "no socket here");
                last = io::Error::new(error.kind(), format!("cannot make a socket in {}: {error}", place.display()));
            }
        }
    }
    Err(last)
}

/// Where sockets may lie, best first: as systemd says it for a unit and for a user, then where temporary files lie.
pub(super) fn places() -> Vec<PathBuf> {
    let runtime = std::env::var_os("RUNTIME_DIRECTORY");
    // of several directories the first
    let runtime = runtime.and_then(|paths| std::env::split_paths(&paths).next());
    let users = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let named = runtime.into_iter().chain(users).filter(|path| path.is_absolute());
    named.chain([std::env::temp_dir()]).collect()
}

/// The path of the socket in its folder.
pub(super) fn socket_in(folder: &TempDir) -> PathBuf {
    folder.path().join(NAME)
}

fn bind_in(place: &Path) -> io::Result<(UnixListener, TempDir)> {
    remove_abandoned(place);
    let folder =
        tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(place)?;
    let path = socket_in(&folder);
    if path.as_os_str().len() > LONGEST_PATH {
        let message =
            format!("a socket's path has at most {LONGEST_PATH} bytes, this one has more: {}", path.display());
        return Err(io::Error::new(ErrorKind::InvalidFilename, message));
    }
    let new = folder.path().join(NEW_NAME);
    let listener = UnixListener::bind(&new)?;
    // under its name it listens from the first moment on: see below
    fs::rename(new, path)?;
    Ok((listener, folder))
}

/// Removes the folders of executors that were killed: nobody listens at their sockets.
fn remove_abandoned(place: &Path) {
    let folders = fs::read_dir(place).into_iter().flatten().flatten();
    for folder in folders.filter(|folder| folder.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let folder = folder.path();
        let is_abandoned =
            UnixStream::connect(folder.join(NAME)).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        if is_abandoned && let Err(error) = fs::remove_dir_all(&folder) {
            warn!(folder = %folder.display(), %error, "cannot remove the socket of a killed executor");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_else_enters_and_nothing_is_left() {
        let place = tempfile::tempdir().unwrap();
        let (listener, folder) = bind(&[place.path().join("missing"), place.path().to_owned()]).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(tokio::net::UnixStream::connect(socket_in(&folder)).await.is_ok());
        drop((listener, folder));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_place_with_too_long_a_name_is_passed_over() {
        let place = tempfile::tempdir().unwrap();
        let long = place.path().join("x".repeat(100));
        fs::create_dir(&long).unwrap();
        let error = bind(std::slice::from_ref(&long)).unwrap_err();
        assert!(error.to_string().contains("at most 107 bytes"), "{error}");
        let (_listener, folder) = bind(&[long.clone(), place.path().to_owned()]).unwrap();
        assert_eq!(folder.path().parent(), Some(place.path()));
        assert_eq!(fs::read_dir(long).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn the_folders_of_the_dead_are_removed_and_no_others() {
        let place = tempfile::tempdir().unwrap();
        let (dead, dead_folder) = bind(&[place.path().to_owned()]).unwrap();
        drop(dead);
        let dead_folder = dead_folder.keep();
        let (_alive, alive_folder) = bind(&[place.path().to_owned()]).unwrap();
        let starting = place.path().join(format!("{PREFIX}starting"));
        fs::create_dir(&starting).unwrap();
        let (_listener, _folder) = bind(&[place.path().to_owned()]).unwrap();
        assert!(!dead_folder.exists() && alive_folder.path().exists() && starting.exists());
    }
}
