//! How a password is read from a file.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use secrecy::{ExposeSecret, SecretString};

/// Most bytes of a password that are read; the server takes fewer.
pub(crate) const LONGEST_PASSWORD: usize = 4096;

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
