//! How a password is read from a file, and where systemd puts one.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// Most bytes of a password that are read; the server takes fewer.
pub(crate) const LONGEST_PASSWORD: usize = 4096;

/// Where systemd puts a unit's credentials.
pub(crate) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The password in the first line; none if that is empty.
pub(crate) fn first_line(source: impl Read) -> io::Result<Option<SecretString>> {
    let mut line = String::new();
    BufReader::new(source.take(LONGEST_PASSWORD as u64 + 1)).read_line(&mut line)?;
    let password = SecretString::from(line.trim_end_matches(['\r', '\n']));
    if password.expose_secret().len() > LONGEST_PASSWORD {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("longer than {LONGEST_PASSWORD} bytes")));
    }
    Ok(Some(password).filter(|password| !password.expose_secret().is_empty()))
}

/// The file with the password of `super` that a unit has by `LoadCredential=super:FILE`, which nobody but the service can read
/// (`systemd.exec(5)`).
pub(crate) fn credential() -> Option<PathBuf> {
    credential_in(&std::env::var_os(CREDENTIALS)?)
}

/// The same of a unit with this folder of credentials.
pub(crate) fn credential_in(folder: &OsStr) -> Option<PathBuf> {
    Some(Path::new(folder).join("super")).filter(|file| file.is_absolute() && file.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_a_file_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(credential_in(folder.path().as_os_str()), None);
        std::fs::write(folder.path().join("super"), "secret").unwrap();
        assert_eq!(credential_in(folder.path().as_os_str()), Some(folder.path().join("super")));
        assert_eq!(credential_in(OsStr::new("")), None, "not one of the working directory");
    }
}
