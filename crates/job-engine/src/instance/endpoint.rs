//! The file `endpoint` in the data directory: where the API listens, for command lines on this machine.

use std::convert::identity;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use slipstream_store::files;

use super::error::{InstanceError, refused};

/// The file, locked as long as the API listens there.
pub(crate) struct EndpointFile {
    path: PathBuf,
    url: String,
    /// None if the disk was full.
    _lock: Option<File>,
}

impl EndpointFile {
    /// Command lines believe the file as long as this process holds it: however it ends, nobody is sent to whoever
    /// listens there next. A full disk is logged, and keeps nothing from starting: jobs have to be deleted.
    pub fn write(data_dir: &Path, address: SocketAddr) -> Result<Self, InstanceError> {
        let reachable = match address.ip() {
            ip if ip.is_unspecified() => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
            _ => address,
        };
        let url = format!("http://{reachable}");
        let path = endpoint_file(data_dir);
        let written = files::write_whole(&path, identity, |file, _| {
            file.try_lock()?;
            file.write_all(url.as_bytes())
        });
        let lock = match written {
            Err(error) if files::is_full(&error) => {
                let path = path.display();
                tracing::warn!(%path, endpoint = url, %error, "cannot write the address file: other commands need \
                     --ss-url");
                None
            }
            written => Some(written.map_err(refused("write", &path))?),
        };
        Ok(Self { path, url, _lock: lock })
    }

    /// The URL of the API on this machine, e.g. `http://127.0.0.1:8201`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Removes the file, then lets it go.
    pub fn remove(self) -> Result<(), InstanceError> {
        files::remove(&self.path).map_err(refused("remove", &self.path))
    }
}

/// Where the API of a data directory's `up` listens, if there is one.
pub fn read_endpoint(data_dir: &Path) -> Result<Option<String>, InstanceError> {
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

fn endpoint_file(data_dir: &Path) -> PathBuf {
    data_dir.join("endpoint")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::instance::data_dir::DataDir;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_endpoint_is_one_that_can_be_reached() {
        let folder = tempfile::tempdir().unwrap();
        let file = EndpointFile::write(folder.path(), address("0.0.0.0:8201")).unwrap();
        assert_eq!(file.url(), "http://127.0.0.1:8201");
        assert_eq!(read_endpoint(folder.path()).unwrap().as_deref(), Some("http://127.0.0.1:8201"));
        file.remove().unwrap();
        assert_eq!(read_endpoint(folder.path()).unwrap(), None);
    }

    #[test]
    fn an_endpoint_is_believed_as_long_as_whoever_wrote_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        drop(EndpointFile::write(folder.path(), address("127.0.0.1:8201")).unwrap());
        assert!(endpoint_file(folder.path()).exists(), "as a killed process leaves it");
        assert_eq!(read_endpoint(folder.path()).unwrap(), None);
        // a command looks at the old file while the next start writes its own
        let looks = File::open(endpoint_file(folder.path())).unwrap();
        looks.try_lock_shared().unwrap();
        let _next = EndpointFile::write(folder.path(), address("127.0.0.1:8202")).unwrap();
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
        let _data_dir = DataDir::open(folder.path()).unwrap();
        let _endpoint = EndpointFile::write(folder.path(), address("127.0.0.1:8201")).unwrap();
        for name in ["lock", "endpoint"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}: who cannot open it cannot lock it");
        }
    }
}
