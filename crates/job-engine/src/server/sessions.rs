//! Login, logout and who a request comes from (specification section 2).
//!
//! A session's token is 32 random bytes. Its SHA-256 is kept in the session's ledger, and the first half of it is the
//! session's id, so that a token leads to its session by one read. Deleting the session revokes the token.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use cookie::Cookie;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_cimi::{Document, dialect};
use tokio::sync::Semaphore;

use super::access::Caller;
use super::error::ApiError;
use super::store::{Record, Store, StoreError};
use crate::clock;

/// The administrator.
pub const ADMINISTRATOR: &str = "super";
/// How long a session lives (specification 2.2); there is no sliding renewal.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// How long an answer from the store is trusted, so that not every request reads its session; a logout through this
/// server counts at once.
const TRUSTED: SignedDuration = SignedDuration::from_secs(5);
/// Most sessions remembered at once.
const REMEMBERED: usize = 1024;
/// Most cookies of our name that are looked at in one request.
const MOST_COOKIES: usize = 8;
/// Most passwords checked at once: each check takes 19 MiB.
const CHECKED_AT_ONCE: usize = 2;
/// Longest wait for a password check before the caller is told to come back.
const CHECK_LIMIT: Duration = Duration::from_secs(30);

/// What is wrong with the password of the administrator.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It cannot be hashed.
    #[error("cannot hash the password: {0}")]
    Hash(argon2::password_hash::Error),
    /// The store did not take it.
    #[error("cannot store the administrator")]
    Store(#[from] StoreError),
}

/// Knows the sessions.
pub struct Sessions {
    remembered: Mutex<Memory>,
    checks: Semaphore,
}

#[derive(Default)]
struct Memory {
    sessions: HashMap<[u8; 32], Remembered>,
    /// How often sessions were forgotten: what was read before the last time is not remembered any more.
    forgotten: u64,
}

#[derive(Clone)]
struct Remembered {
    caller: Caller,
    expiry: Timestamp,
    trusted_until: Timestamp,
}

/// A new session: the document's id and the cookie that opens it.
#[derive(Debug)]
pub struct Login {
    /// `session/<uuid>`.
    pub id: String,
    /// Value of the `Set-Cookie` header.
    pub cookie: String,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { remembered: Mutex::default(), checks: Semaphore::new(CHECKED_AT_ONCE) }
    }
}

impl Sessions {
    /// Makes a session for whoever names a user and its password in a login document.
    pub async fn login(&self, store: &dyn Store, body: &Document, now: Timestamp) -> Result<Login, ApiError> {
        let (username, password) = credentials(body)?;
        let refused = || ApiError::invalid_credentials(&username);
        let user =
            store.get(&user_id(&username)).await.map_err(|error| ApiError::store(&error))?.ok_or_else(refused)?;
        let hash = user.ledger.get("password").and_then(Value::as_str).ok_or_else(refused)?.to_owned();
        let active = user.document.get("state").and_then(Value::as_str) == Some("ACTIVE");
        if !self.password_is(password, hash).await? || !active {
            return Err(refused());
        }
        self.open(store, &username, now).await
    }

    async fn open(&self, store: &dyn Store, username: &str, now: Timestamp) -> Result<Login, ApiError> {
        let token = rand::random::<[u8; 32]>();
        let digest: [u8; 32] = Sha256::digest(token).into();
        let id = session_id(&digest);
        let expiry = now + LIFETIME;
        let document = json!({
            "id": id, "resourceURI": dialect::SESSION.resource_uri,
            "created": clock::print(now), "updated": clock::print(now),
            "acl": {"owner": {"principal": id, "type": "ROLE"},
                    "rules": [{"principal": "ADMIN", "type": "ROLE", "right": "VIEW"}]},
            "username": username, "roles": format!("ADMIN USER ANON {id}"), "method": "internal",
            "sessionTemplate": {"href": dialect::INTERNAL_TEMPLATE}, "expiry": clock::print(expiry),
        });
        let Value::Object(document) = document else { unreachable!("written as an object above") };
        let ledger = json!({"token": hex::encode(digest)});
        let record = Record { id: id.clone(), revision: 0, document, ledger };
        match store.insert(record.clone()).await {
            Ok(()) => {}
            // Somebody has to be able to look and to tidy up: such a session lives in this process alone.
            Err(StoreError::Full { path }) => {
                tracing::warn!(session = id, path, "no space left: the session is not stored");
                let remembered =
                    trust(&record, &digest, now).map(|session| Remembered { trusted_until: expiry, ..session });
                self.lock().sessions.extend(remembered.map(|remembered| (digest, remembered)));
            }
            Err(error) => return Err(ApiError::store(&error)),
        }
        let expires = expiry.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let cookie = format!("{}=token={};Path=/;HttpOnly;Expires={expires}", dialect::COOKIE_NAME, hex::encode(token));
        Ok(Login { id, cookie })
    }

    /// Who sent a request with these `Cookie` headers. A forged, expired or revoked token is no credentials.
    pub async fn caller(&self, store: &dyn Store, cookies: &[&str], now: Timestamp) -> Result<Caller, ApiError> {
        for digest in cookies.iter().flat_map(|cookies| token_digests(cookies)).take(MOST_COOKIES) {
            let caller = self.owner(store, digest, now).await?;
            if caller != Caller::Anonymous {
                return Ok(caller);
            }
        }
        Ok(Caller::Anonymous)
    }

    async fn owner(&self, store: &dyn Store, digest: [u8; 32], now: Timestamp) -> Result<Caller, ApiError> {
        let forgotten = {
            let memory = self.lock();
            if let Some(remembered) = memory.sessions.get(&digest).filter(|remembered| remembered.trusted_until > now) {
                return Ok(remembered.caller.clone());
            }
            memory.forgotten
        };
        let id = session_id(&digest);
        let session = store.get(&id).await.map_err(|error| ApiError::store(&error))?;
        let Some(remembered) = session.and_then(|session| trust(&session, &digest, now)) else {
            self.lock().sessions.remove(&digest);
            return Ok(Caller::Anonymous);
        };
        let caller = remembered.caller.clone();
        let mut memory = self.lock();
        if memory.sessions.len() >= REMEMBERED {
            memory.sessions.clear();
        }
        if memory.forgotten == forgotten {
            memory.sessions.insert(digest, remembered);
        }
        Ok(caller)
    }

    /// Forgets a session whose document was deleted.
    pub fn forget(&self, id: &str) {
        let mut memory = self.lock();
        memory.forgotten += 1;
        memory.sessions.retain(|_, remembered| remembered.caller.session() != Some(id));
    }

    /// Removes the documents of sessions that have expired.
    pub async fn purge(&self, store: &dyn Store, now: Timestamp) -> Result<u64, StoreError> {
        self.lock().sessions.retain(|_, remembered| remembered.expiry > now);
        let expired =
            Filter::Compare(Attribute("expiry".to_owned()), Comparison::Less, Literal::Text(clock::print(now)));
        store.remove_matching(dialect::SESSION.name, &expired).await
    }

    /// Checks a password off the async threads.
    async fn password_is(&self, password: SecretString, hash: String) -> Result<bool, ApiError> {
        let turn = tokio::time::timeout(CHECK_LIMIT, self.checks.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(ApiError::too_many_logins());
        };
        let check = move || {
            let hash = PasswordHash::new(&hash).ok()?;
            Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).ok()
        };
        let checked = tokio::task::spawn_blocking(check).await.map_err(|error| ApiError::unexpected(&error))?;
        Ok(checked.is_some())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.remembered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Makes sure that the administrator exists and has this password.
pub async fn ensure_administrator(
    store: &dyn Store,
    password: SecretString,
    now: Timestamp,
) -> Result<(), PasswordError> {
    let id = user_id(ADMINISTRATOR);
    let stored = store.get(&id).await?;
    let hash = stored.as_ref().and_then(|user| user.ledger.get("password")?.as_str().map(str::to_owned));
    let work = move || renewed_hash(&password, hash.as_deref());
    let renewed =
        tokio::task::spawn_blocking(work).await.expect("hashing does not panic").map_err(PasswordError::Hash)?;
    let Some(renewed) = renewed else { return Ok(()) };
    let ledger = json!({"password": renewed});
    if let Some(user) = stored {
        store.replace(Record { ledger, ..user }).await?;
        // Whoever knew the old password only has no session any more.
        let theirs = Literal::Text(ADMINISTRATOR.to_owned());
        let sessions = Filter::Compare(Attribute("username".to_owned()), Comparison::Equal, theirs);
        store.remove_matching(dialect::SESSION.name, &sessions).await?;
        return Ok(());
    }
    let document = json!({
        "id": id, "resourceURI": "http://sixsq.com/slipstream/1/User",
        "created": clock::print(now), "updated": clock::print(now), "acl": super::access::default_acl(),
        "username": ADMINISTRATOR, "state": "ACTIVE", "isSuperUser": true,
    });
    let Value::Object(document) = document else { unreachable!("written as an object above") };
    store.insert(Record { id, revision: 0, document, ledger }).await?;
    Ok(())
}

/// A new hash, unless the old one is of this password.
fn renewed_hash(password: &SecretString, old: Option<&str>) -> Result<Option<String>, argon2::password_hash::Error> {
    let argon2 = Argon2::default();
    let password = password.expose_secret().as_bytes();
    let unchanged = old
        .and_then(|old| PasswordHash::new(old).ok())
        .is_some_and(|old| argon2.verify_password(password, &old).is_ok());
    if unchanged { Ok(None) } else { Ok(Some(argon2.hash_password(password)?.to_string())) }
}

/// The cookie that makes a client forget its session.
#[must_use]
pub fn farewell_cookie(now: Timestamp) -> String {
    let expires = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
    format!("{}=INVALID;Path=/;Max-Age=0;Expires={expires}", dialect::COOKIE_NAME)
}

fn user_id(username: &str) -> String {
    format!("user/{username}")
}

fn session_id(digest: &[u8; 32]) -> String {
    let half: [u8; 16] = digest[..16].try_into().expect("half of 32 bytes");
    format!("{}/{}", dialect::SESSION.name, uuid::Builder::from_random_bytes(half).into_uuid())
}

/// A client may send a stale cookie beside the good one.
fn token_digests(cookies: &str) -> impl Iterator<Item = [u8; 32]> {
    let ours = Cookie::split_parse(cookies).flatten().filter(|cookie| cookie.name() == dialect::COOKIE_NAME);
    ours.filter_map(|cookie| {
        let token = hex::decode(cookie.value_trimmed().strip_prefix("token=")?).ok()?;
        Some(Sha256::digest(token).into())
    })
}

fn trust(session: &Record, digest: &[u8; 32], now: Timestamp) -> Option<Remembered> {
    let text = |attribute: &str| session.document.get(attribute).and_then(Value::as_str);
    let expiry: Timestamp = text("expiry")?.parse().ok()?;
    let same = session.ledger.get("token").and_then(Value::as_str) == Some(hex::encode(digest).as_str());
    if !same || expiry <= now {
        return None;
    }
    let roles = text("roles")?.split(' ').map(str::to_owned).collect();
    let caller = Caller::User { name: text("username")?.to_owned(), roles, session: Some(session.id.clone()) };
    Some(Remembered { caller, expiry, trusted_until: expiry.min(now + TRUSTED) })
}

/// User name and password of a login document (specification 2.1).
fn credentials(body: &Document) -> Result<(String, SecretString), ApiError> {
    let Some(template) = body.get("sessionTemplate").and_then(Value::as_object) else {
        return Err(ApiError::schema(&["sessionTemplate: expected an object".to_owned()]));
    };
    let text = |member: &str| template.get(member).and_then(Value::as_str);
    match text("href") {
        Some(dialect::INTERNAL_TEMPLATE) => {}
        Some(href) => return Err(ApiError::not_found(href)),
        None => return Err(ApiError::schema(&["sessionTemplate/href: missing".to_owned()])),
    }
    let mut violations: Vec<String> = template
        .keys()
        .filter(|member| !matches!(member.as_str(), "href" | "username" | "password"))
        .map(|member| format!("sessionTemplate/{member}: unknown attribute"))
        .collect();
    let mut required = |member: &str| {
        let value = text(member).filter(|value| !value.is_empty());
        if value.is_none() {
            violations.push(format!("sessionTemplate/{member}: expected a text that is not empty"));
        }
        value.unwrap_or_default().to_owned()
    };
    let (username, password) = (required("username"), SecretString::from(required("password")));
    if violations.is_empty() { Ok((username, password)) } else { Err(ApiError::schema(&violations)) }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
