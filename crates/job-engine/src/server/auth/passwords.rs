//! [`Passwords`]: hashes and checks passwords, off the async threads and a few at a time.

use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::server::error::ApiError;

/// Most passwords of anybody checked at once: each check takes 19 MiB.
const CHECKED_AT_ONCE: usize = 2;
/// Longest wait for a turn before the caller is told to come back.
const TURN_LIMIT: Duration = Duration::from_secs(30);
/// The hash of a password that nobody has: a user who does not exist costs what one who exists does.
const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What went wrong with a hash.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash the password: {0}")]
pub struct HashError(argon2::password_hash::Error);

/// Who waits for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Everybody.
    Anybody,
    /// The administrator on this machine, and what administrators ask for: nobody else is before them.
    Administrator,
}

/// Takes turns at hashing.
pub struct Passwords {
    anybody: Semaphore,
    administrator: Semaphore,
    #[cfg(test)]
    pub checked: std::sync::atomic::AtomicUsize,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            anybody: Semaphore::new(CHECKED_AT_ONCE),
            administrator: Semaphore::new(1),
            #[cfg(test)]
            checked: 0.into(),
        }
    }
}

impl Passwords {
    /// Waits for a turn, within a limit.
    pub async fn turn(&self, queue: Queue) -> Result<SemaphorePermit<'_>, ApiError> {
        let turns = match queue {
            Queue::Anybody => &self.anybody,
            Queue::Administrator => &self.administrator,
        };
        let turn = tokio::time::timeout(TURN_LIMIT, turns.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or_else(ApiError::too_many_logins)
    }

    /// Whether this is the password of the hash. Without a hash it is not, after as long a time.
    pub async fn is(
        &self,
        turn: SemaphorePermit<'_>,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        #[cfg(test)]
        self.checked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODYS_HASH.to_owned());
        let check = move || is_of(&password, &hash);
        let is_right = tokio::task::spawn_blocking(check).await.map_err(|error| ApiError::unexpected(&error))?;
        drop(turn);
        Ok(is_right && is_known)
    }

    /// Hashes a password for an administrator.
    pub async fn hash(&self, password: SecretString) -> Result<String, ApiError> {
        let turn = self.turn(Queue::Administrator).await?;
        let work = move || hash(&password);
        let hashed = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::unexpected(&error))?;
        drop(turn);
        hashed.map_err(|error| ApiError::unexpected(&error))
    }
}

/// Whether the hash is of this password.
#[must_use]
pub fn is_of(password: &SecretString, hash: &str) -> bool {
    let password = password.expose_secret().as_bytes();
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

/// Hashes a password, which takes some milliseconds.
pub fn hash(password: &SecretString) -> Result<String, HashError> {
    let hashed = Argon2::default().hash_password(password.expose_secret().as_bytes()).map_err(HashError)?;
    Ok(hashed.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_hash_no_password_is_right() {
        let passwords = Passwords::default();
        for (hash, is_right) in [(None, false), (Some(hash(&"secret".into()).expect("hashed")), true)] {
            let turn = passwords.turn(Queue::Anybody).await.expect("nobody waits");
            assert_eq!(passwords.is(turn, "secret".into(), hash).await.expect("checked"), is_right);
        }
    }

    #[test]
    fn nobodys_hash_costs_what_every_other_costs() {
        let cost = |hash: &str| {
            let hash = PasswordHash::new(hash).expect("a hash");
            (hash.algorithm.to_string(), hash.params.to_string(), hash.hash.map(|output| output.as_bytes().len()))
        };
        let fresh = hash(&"secret".into()).expect("hashed");
        assert_eq!(cost(NOBODYS_HASH), cost(&fresh), "{fresh}");
        assert!(is_of(&"secret".into(), &fresh) && !is_of(&"other".into(), &fresh));
    }
}
