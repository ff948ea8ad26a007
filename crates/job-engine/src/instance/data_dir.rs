//! The folder in which `up` or `server` keeps everything, and what the command line finds in it.
//!
//! `lock` is locked while one of them runs; `super.password` is the administrator's password, `jobs.db` the store (of
//! `server` under whatever name) and `endpoint` the address of the running API, locked as long as that may be believed.

use std::convert::identity;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use slipstream_store::files;

use crate::process::password_file;

/// The store's file, unless it is called otherwise.
pub const DATABASE: &str = "jobs.db";

/// Environment variable with the administrator's password.
pub const PASSWORD_VARIABLE: &str = "SLIPSTREAM_SUPER_PASSWORD";
/// Environment variable with the name of a file, in whose first line it stands; counts more.
pub const PASSWORD_FILE_VARIABLE: &str = "SLIPSTREAM_SUPER_PASSWORD_FILE";

/// What is wrong with a data directory.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another engine holds it.
    #[error("another engine uses the data directory {}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be made.
    #[error("cannot make the data directory {}", path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file of the password is there, without one.
    #[error("{} is empty: write a password into it, or remove it and a new one is made", path.display())]
    EmptyPassword {
        /// The file.
        path: PathBuf,
    },
    /// The file that is to have the password has none.
    #[error("the first line of {} is empty, and has to be the password of the user super", path.display())]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
    /// The password in the environment is no text.
    #[error("{PASSWORD_VARIABLE} is not UTF-8")]
    NotText,
    /// The operating system refuses something.
    #[error("cannot {what} {}{}", path.display(), files::who_may(source, path))]
    Refused {
        /// What was tried, e.g. `open`.
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

fn refused(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Refused { what, path, source }
}

/// A data directory that this process holds.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked as long as this value lives; the operating system lets go of it when the process ends in any way.
    _lock: File,
    /// The file with the address, locked as long as the API listens there.
    announced: Option<File>,
}

/// The administrator's password, and where it is from.
#[derive(Clone, Debug)]
pub struct Password {
    secret: SecretString,
    place: String,
}

impl Password {
    /// The password itself.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// For people: where it lies.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl DataDir {
    /// Makes the folder if it is missing, readable by its owner alone, and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| DataDirError::Make { path: path.to_owned(), source })?;
        let lock = path.join("lock");
        let file = files::to_lock(&lock).map_err(refused("open", &lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file, announced: None }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(refused("lock", &lock)(error)),
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The administrator's password: from the environment, else from the file, which is made when it is first needed.
    pub fn password(&self) -> Result<Password, DataDirError> {
        if let Some(path) = std::env::var_os(PASSWORD_FILE_VARIABLE).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            let secret = given_password(&path)?;
            // a pipe has no name that says anything: what hides a variable's value makes one
            let is_pipe = path.starts_with("/dev/fd");
            let place = if is_pipe { "the environment".to_owned() } else { path.display().to_string() };
            return Ok(Password { secret, place: format!("from {place}") });
        }
        if let Some(value) = std::env::var_os(PASSWORD_VARIABLE).filter(|value| !value.is_empty()) {
            let value = value.into_string().map_err(|_| DataDirError::NotText)?;
            return Ok(Password { secret: value.into(), place: format!("from {PASSWORD_VARIABLE}") });
        }
        let path = password_file(&self.path);
        let place = format!("in {}", path.display());
        if let Some(secret) = read_password(&self.path)? {
            return Ok(Password { secret, place });
        }
        let secret = hex::encode(rand::random::<[u8; 16]>());
        let written = files::write_whole(&path, identity, |file, _| file.write_all(format!("{secret}\n").as_bytes()));
        written.map_err(refused("write", &path))?;
        Ok(Password { secret: secret.into(), place })
    }

    /// Writes down where the API listens, for command lines on this machine, and answers it. They believe it as long as
    /// this process holds the file: however it ends, nobody is sent to whoever listens there next. A full disk is told, and
    /// keeps nothing from starting: jobs have to be deleted.
    pub fn announce(&mut self, address: SocketAddr) -> Result<String, DataDirError> {
        let reachable = match address.ip() {
            ip if ip.is_unspecified() => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
            _ => address,
        };
        let endpoint = format!("http://{reachable}");
        let path = endpoint_file(&self.path);
        let written = files::write_whole(&path, identity, |file, _| {
            file.try_lock()?;
            file.write_all(endpoint.as_bytes())
        });
        self.announced = match written {
            Err(error) if files::is_full(&error) => {
                let path = path.display();
                tracing::warn!(%path, endpoint, %error, "address not written down: give commands --ss-url");
                None
            }
            written => Some(written.map_err(refused("write", &path))?),
        };
        Ok(endpoint)
    }

    /// Takes the address away again.
    pub fn retract(&mut self) -> Result<(), DataDirError> {
        let path = endpoint_file(&self.path);
        files::remove(&path).map_err(refused("remove", &path))?;
        self.announced = None;
        Ok(())
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

/// The administrator's password in the file that was named.
fn given_password(path: &Path) -> Result<SecretString, DataDirError> {
    let password = File::open(path).and_then(password_file::first_line).map_err(refused("read", path))?;
    password.ok_or_else(|| DataDirError::NoPassword { path: path.to_owned() })
}

/// The administrator's password as a data directory has it, if it has one.
pub fn read_password(data_dir: &Path) -> Result<Option<SecretString>, DataDirError> {
    let path = password_file(data_dir);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => SecretString::from(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused("read", &path)(error)),
    };
    let secret = SecretString::from(text.expose_secret().trim());
    if secret.expose_secret().is_empty() {
        return Err(DataDirError::EmptyPassword { path });
    }
    Ok(Some(secret))
}

/// Where the API of a data directory's `up` listens, if there is one.
pub fn read_endpoint(data_dir: &Path) -> Result<Option<String>, DataDirError> {
    let path = endpoint_file(data_dir);
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.map_err(refused("read", &path))?,
    };
    let mut endpoint = String::new();
    file.read_to_string(&mut endpoint).map_err(refused("read", &path))?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(Some(endpoint.trim().to_owned())),
        // whoever wrote it has ended without a word
        Ok(()) => Ok(None),
        Err(TryLockError::Error(error)) => Err(refused("lock", &path)(error)),
    }
}

fn password_file(data_dir: &Path) -> PathBuf {
    data_dir.join("super.password")
}

fn endpoint_file(data_dir: &Path) -> PathBuf {
    data_dir.join("endpoint")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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

    #[test]
    fn the_password_is_made_once_and_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&folder.path().join("new")).unwrap();
        let first = data_dir.password().unwrap();
        let again = data_dir.password().unwrap();
        assert_eq!(first.secret().expose_secret(), again.secret().expose_secret());
        assert_eq!(first.secret().expose_secret().len(), 32);
        let mode = std::fs::metadata(password_file(data_dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mode = std::fs::metadata(data_dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "the documents are nobody else's either");
    }

    #[test]
    fn an_empty_password_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(password_file(folder.path()), "\n").unwrap();
        assert!(read_password(folder.path()).unwrap_err().to_string().contains("is empty"));
    }

    #[test]
    fn a_file_without_a_password_that_was_named_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for text in ["", "\n", "\r\nsecond"] {
            std::fs::write(&path, text).unwrap();
            let error = given_password(&path).unwrap_err().to_string();
            assert!(error.contains("the first line of") && !error.contains("new one is made"), "{error}");
        }
        std::fs::write(&path, "long".repeat(1_000_000)).unwrap();
        let error = slipstream_action::with_causes(&given_password(&path).unwrap_err());
        assert!(error.contains("longer than 4096 bytes"), "{error}");
        std::fs::write(&path, " secret \r\nsecond").unwrap();
        assert_eq!(given_password(&path).unwrap().expose_secret(), " secret ");
    }

    #[test]
    fn the_endpoint_is_one_that_can_be_reached() {
        let folder = tempfile::tempdir().unwrap();
        let mut data_dir = DataDir::open(folder.path()).unwrap();
        data_dir.announce("0.0.0.0:8201".parse().unwrap()).unwrap();
        assert_eq!(read_endpoint(folder.path()).unwrap().as_deref(), Some("http://127.0.0.1:8201"));
        data_dir.retract().unwrap();
        assert_eq!(read_endpoint(folder.path()).unwrap(), None);
    }

    #[test]
    fn an_endpoint_is_believed_as_long_as_whoever_wrote_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = DataDir::open(folder.path()).unwrap();
        first.announce("127.0.0.1:8201".parse().unwrap()).unwrap();
        drop(first);
        assert!(endpoint_file(folder.path()).exists(), "as a killed process leaves it");
        assert_eq!(read_endpoint(folder.path()).unwrap(), None);
        // a command looks at the old file while the next start writes its own
        let looks = File::open(endpoint_file(folder.path())).unwrap();
        looks.try_lock_shared().unwrap();
        let mut next = DataDir::open(folder.path()).unwrap();
        next.announce("127.0.0.1:8202".parse().unwrap()).unwrap();
        assert_eq!(read_endpoint(folder.path()).unwrap().as_deref(), Some("http://127.0.0.1:8202"));
    }

    #[test]
    fn every_file_is_its_owners_alone_also_one_that_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let wide = std::fs::Permissions::from_mode(0o666);
        for name in ["lock", "endpoint", "endpoint.new"] {
            std::fs::write(folder.path().join(name), "").unwrap();
            std::fs::set_permissions(folder.path().join(name), wide.clone()).unwrap();
        }
        let mut data_dir = DataDir::open(folder.path()).unwrap();
        data_dir.announce("127.0.0.1:8201".parse().unwrap()).unwrap();
        for name in ["lock", "endpoint"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}: who cannot open it cannot lock it");
        }
    }
}
