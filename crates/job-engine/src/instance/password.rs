//! [`Password`]: that of the administrator, from the environment or from the file `super.password`.

use std::convert::identity;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use slipstream_store::files;

use super::error::{InstanceError, refused};
use crate::process::password_file;

/// Environment variable with the administrator's password.
pub const PASSWORD_VARIABLE: &str = "SLIPSTREAM_SUPER_PASSWORD";
/// Environment variable with the name of a file, in whose first line it stands; counts more.
pub const PASSWORD_FILE_VARIABLE: &str = "SLIPSTREAM_SUPER_PASSWORD_FILE";

/// The administrator's password, and where it is from.
#[derive(Clone, Debug)]
pub struct Password {
    secret: SecretString,
    place: String,
}

impl Password {
    /// From the environment, else from the unit's credential, else from the file in the data directory, which is made when
    /// it is first needed.
    pub(super) fn load(data_dir: &Path) -> Result<Self, InstanceError> {
        if let Some(path) = std::env::var_os(PASSWORD_FILE_VARIABLE).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            let secret = given_password(&path)?;
            // a pipe has no name that says anything: what hides a variable's value makes one
            let is_pipe = path.starts_with("/dev/fd");
            let place = if is_pipe { "the environment".to_owned() } else { path.display().to_string() };
            return Ok(Self { secret, place: format!("from {place}") });
        }
        if let Some(value) = std::env::var_os(PASSWORD_VARIABLE).filter(|value| !value.is_empty()) {
            let value = value.into_string().map_err(|_| InstanceError::NotText { variable: PASSWORD_VARIABLE })?;
            return Ok(Self { secret: value.into(), place: format!("from {PASSWORD_VARIABLE}") });
        }
        if let Some(path) = password_file::credential() {
            return Ok(Self { secret: given_password(&path)?, place: "from the unit's credential".to_owned() });
        }
        let path = password_file(data_dir);
        let place = format!("in {}", path.display());
        if let Some(secret) = read_password(data_dir)? {
            return Ok(Self { secret, place });
        }
        let secret = hex::encode(rand::random::<[u8; 16]>());
        let written = files::write_whole(&path, identity, |file, _| file.write_all(format!("{secret}\n").as_bytes()));
        written.map_err(refused("write", &path))?;
        Ok(Self { secret: secret.into(), place })
    }

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

/// The administrator's password in the file that was named.
fn given_password(path: &Path) -> Result<SecretString, InstanceError> {
    let password = File::open(path).and_then(password_file::first_line).map_err(refused("read", path))?;
    password.ok_or_else(|| InstanceError::NoPassword { path: path.to_owned() })
}

/// The administrator's password as a data directory has it, if it has one.
pub fn read_password(data_dir: &Path) -> Result<Option<SecretString>, InstanceError> {
    let path = password_file(data_dir);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => SecretString::from(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused("read", &path)(error)),
    };
    let secret = SecretString::from(text.expose_secret().trim());
    if secret.expose_secret().is_empty() {
        return Err(InstanceError::EmptyPassword { path });
    }
    Ok(Some(secret))
}

fn password_file(data_dir: &Path) -> PathBuf {
    data_dir.join("super.password")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::instance::data_dir::DataDir;

    #[test]
    fn the_password_is_made_once_and_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&folder.path().join("new")).unwrap();
        let first = Password::load(data_dir.path()).unwrap();
        let again = Password::load(data_dir.path()).unwrap();
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
}
