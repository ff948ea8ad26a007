//! Login, logout and who a request comes from (specification 2).
//!
//! A session's token is 32 random bytes. Its SHA-256 is kept in the session's ledger, and the first half of it is the
//! session's id, so that a token leads to its session by one read. Deleting the session revokes the token.

mod listed;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use cookie::Cookie;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_cimi::overview::user::{self, ADMINISTRATOR};
use slipstream_cimi::resource::format_time;
use slipstream_cimi::{Document, dialect};
use slipstream_store::{Record, Revision, Store, StoreError, StoreExt};

use super::accounts;
use super::caller::Caller;
use super::passwords;
use super::passwords::{HashError, Passwords, Queue};
use super::proxy::Origin;
use super::throttle::{Attempt, Throttle};
use crate::process::clock::{Age, CLOCKS_MAY_DIFFER};
use crate::server::error::ApiError;

/// How long a session lives (specification 2.2); there is no sliding renewal.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// How long an answer from the store is trusted, so that not every request reads its session; a logout through this
/// server counts at once.
const TRUSTED: SignedDuration = SignedDuration::from_secs(5);
/// How often the store is told that a session is used, and how long a request waits for that.
const NOTED: SignedDuration = SignedDuration::from_mins(10);
const NOTING: Duration = Duration::from_secs(1);
/// Most sessions remembered at once.
const REMEMBERED: usize = 1024;
/// Most cookies of our name that are looked at in one request.
const MOST_COOKIES: usize = 8;

/// What is wrong with the password of the administrator.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It cannot be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store did not take it.
    #[error("cannot store the administrator")]
    Store(#[from] StoreError),
}

/// Knows the sessions.
#[derive(Default)]
pub struct Sessions {
    remembered: Mutex<Memory>,
    throttle: Mutex<Throttle>,
    pub(in crate::server) passwords: Passwords,
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
    /// When the store was asked for it; none of a session that the store could not take.
    asked: Option<Timestamp>,
    /// When it was used last.
    used: Timestamp,
    security_stamp: Option<String>,
}

impl Remembered {
    /// Whether it may be believed without asking the store.
    fn is_trusted(&self, now: Timestamp) -> bool {
        let is_fresh = |asked| Age::of(asked, now).is_within(TRUSTED);
        lives(self.expiry, now) && self.asked.is_none_or(is_fresh)
    }

    /// Whether the user still has the security stamp under which the session was opened: it is replaced in the same
    /// write that changes the password, disables the user or takes its role away, so that no session outlives that.
    async fn is_good(&self, store: &dyn Store) -> Result<bool, ApiError> {
        let name = self.caller.name().unwrap_or_default();
        let user = store.get(&user::id(name)).await?;
        Ok(user.as_ref().and_then(accounts::security_stamp) == self.security_stamp.as_deref())
    }
}

/// A new session: the document's id and the cookie that opens it.
#[derive(Debug)]
pub struct Login {
    /// `session/<uuid>`.
    pub id: String,
    /// Value of the `Set-Cookie` header.
    pub cookie: String,
}

impl Sessions {
    /// Makes a session for whoever names a user and its password in a login document. Failures make the next logins
    /// wait, but never those of the administrator on this machine, who also waits behind nobody.
    pub async fn login(
        &self,
        store: &dyn Store,
        body: &Document,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Login, ApiError> {
        let (username, password) = credentials(body)?;
        let is_local_administrator = username == ADMINISTRATOR && origin.is_local;
        let queue = if is_local_administrator { Queue::Administrator } else { Queue::Anybody };
        // the administrator on this machine counts for nothing, and clears nothing either
        let attempt = (!is_local_administrator).then(|| attempt(&username, origin));
        self.throttled(attempt.as_ref(), now)?;
        let user = store.get(&user::id(&username)).await?;
        let hash = user.as_ref().and_then(accounts::password_hash).map(str::to_owned);
        let turn = self.passwords.turn(queue).await?;
        // Others of the same kind may have failed while this one waited for its turn.
        self.throttled(attempt.as_ref(), now)?;
        let is_right = self.passwords.is(turn, password, hash).await?;
        let Some(user) = user.filter(|user| is_right && accounts::is_active(user)) else {
            if let Some(attempt) = &attempt {
                self.throttle().failed(attempt, now);
            }
            return Err(ApiError::invalid_credentials(&username));
        };
        if let Some(attempt) = &attempt {
            self.throttle().succeeded(attempt);
        }
        self.open(store, &user, origin, now).await
    }

    fn throttled(&self, attempt: Option<&Attempt>, now: Timestamp) -> Result<(), ApiError> {
        match attempt.and_then(|attempt| self.throttle().pause(attempt, now)) {
            Some(pause) => Err(ApiError::throttled(pause)),
            None => Ok(()),
        }
    }

    async fn open(&self, store: &dyn Store, user: &Record, origin: &Origin, now: Timestamp) -> Result<Login, ApiError> {
        let token = rand::random::<[u8; 32]>();
        let digest: [u8; 32] = Sha256::digest(token).into();
        let id = session_id(&digest);
        let expiry = now + LIFETIME;
        let document = json!({
            "id": id, "resourceURI": dialect::SESSION.resource_uri,
            "created": format_time(now), "updated": format_time(now),
            "acl": {"owner": {"principal": id, "type": "ROLE"},
                    "rules": [{"principal": "ADMIN", "type": "ROLE", "right": "VIEW"}]},
            "username": accounts::name(user), "roles": format!("{} {id}", accounts::roles(user)), "method": "internal",
            "sessionTemplate": {"href": dialect::INTERNAL_TEMPLATE}, "expiry": format_time(expiry),
        });
        let Value::Object(mut document) = document else { unreachable!("written as an object above") };
        if let Some(client) = origin.client {
            document.insert("clientIP".to_owned(), json!(client.to_string()));
        }
        if let Some(program) = &origin.program {
            document.insert("userAgent".to_owned(), json!(program));
        }
        let ledger = json!({"token": hex::encode(digest), "stamp": accounts::security_stamp(user)});
        let record = Record { id: id.clone(), revision: Revision::default(), document: document.into(), ledger };
        match store.insert(record.clone()).await {
            Ok(_) => {}
            // Somebody has to be able to look and to tidy up: such a session lives in this process alone.
            Err(StoreError::Full { path }) => {
                tracing::warn!(session = id, path, "no space left: the session is not stored");
                let remembered = trust(&record, &digest, now).map(|session| Remembered { asked: None, ..session });
                self.lock().sessions.extend(remembered.map(|remembered| (digest, remembered)));
            }
            Err(error) => return Err(error.into()),
        }
        let expires = expiry.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let secure = if origin.is_https { ";Secure" } else { "" };
        let token = hex::encode(token);
        let cookie =
            format!("{}=token={token};SameSite=Lax{secure};Path=/;HttpOnly;Expires={expires}", dialect::COOKIE_NAME);
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
            let mut memory = self.lock();
            if let Some(remembered) = memory.sessions.get_mut(&digest).filter(|remembered| remembered.is_trusted(now)) {
                remembered.used = now;
                return Ok(remembered.caller.clone());
            }
            memory.forgotten
        };
        let id = session_id(&digest);
        let session = store.get(&id).await?;
        let remembered = match session.as_ref().and_then(|session| trust(session, &digest, now)) {
            Some(remembered) if remembered.is_good(store).await? => remembered,
            _ => {
                self.lock().sessions.remove(&digest);
                return Ok(Caller::Anonymous);
            }
        };
        let caller = remembered.caller.clone();
        {
            let mut memory = self.lock();
            if memory.sessions.len() >= REMEMBERED {
                memory.sessions.clear();
            }
            if memory.forgotten == forgotten {
                memory.sessions.insert(digest, remembered);
            }
        }
        if let Some(session) = session {
            listed::note_use(store, session, now).await;
        }
        Ok(caller)
    }

    /// Forgets a session whose document was deleted.
    pub fn forget(&self, id: &str) {
        let mut memory = self.lock();
        memory.forgotten += 1;
        memory.sessions.retain(|_, remembered| remembered.caller.session() != Some(id));
    }

    /// Ends all sessions of a user whose security stamp has just been replaced, or who was just removed. That has ended
    /// them already, but for what this process remembers; their documents are only in the way.
    pub async fn revoke(&self, store: &dyn Store, username: &str) {
        {
            let mut memory = self.lock();
            memory.forgotten += 1;
            memory.sessions.retain(|_, remembered| remembered.caller.name() != Some(username));
        }
        if let Err(error) = store.remove_matching(dialect::SESSION.name, &of_user(username)).await {
            tracing::warn!(%error, username, "documents of ended sessions stay until they expire");
        }
    }

    /// Removes the documents of sessions that are over.
    pub async fn purge(&self, store: &dyn Store, now: Timestamp) -> Result<u64, StoreError> {
        self.lock().sessions.retain(|_, remembered| lives(remembered.expiry, now));
        let expiry = |comparison, than: Timestamp| {
            Filter::Compare(Attribute("expiry".to_owned()), comparison, Literal::Text(format_time(than)))
        };
        let is_unbelievable = expiry(Comparison::Greater, now + LIFETIME + CLOCKS_MAY_DIFFER);
        let over = Filter::Any(vec![expiry(Comparison::Less, now), is_unbelievable]);
        store.remove_matching(dialect::SESSION.name, &over).await
    }

    fn throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
    let stored = store.get(&user::id(ADMINISTRATOR)).await?;
    let hash = stored.as_ref().and_then(accounts::password_hash).map(str::to_owned);
    let work = move || match hash {
        Some(hash) if passwords::is_of(&password, &hash) => Ok(None),
        _ => passwords::hash(&password).map(Some),
    };
    let renewed = tokio::task::spawn_blocking(work).await.expect("hashing does not panic")?;
    let Some(renewed) = renewed else { return Ok(()) };
    if let Some(user) = stored {
        // Whoever knew the old password only has no session any more.
        store.replace(Record { ledger: accounts::ledger(&renewed), ..user }).await?;
        store.remove_matching(dialect::SESSION.name, &of_user(ADMINISTRATOR)).await?;
        return Ok(());
    }
    let mut document = Document::new();
    document.insert("isSuperUser".to_owned(), true.into());
    store.insert(accounts::record(ADMINISTRATOR, document, accounts::ledger(&renewed), now)).await?;
    Ok(())
}

/// Whom and what a failed login counts against. A name that no user can have is nobody's.
fn attempt(username: &str, origin: &Origin) -> Attempt {
    Attempt::new(user::is_name(username).then(|| username.to_owned()), origin.client)
}

/// All sessions of a user.
fn of_user(username: &str) -> Filter {
    let theirs = Literal::Text(username.to_owned());
    Filter::Compare(Attribute("username".to_owned()), Comparison::Equal, theirs)
}

/// The cookie that makes a client forget its session.
#[must_use]
pub fn farewell_cookie(now: Timestamp) -> String {
    let expires = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
    format!("{}=INVALID;Path=/;Max-Age=0;Expires={expires}", dialect::COOKIE_NAME)
}

/// Whether a session with this expiry is not over. One that would live for longer than sessions do was opened under a
/// clock that was ahead, and has no end to go by: whoever has it logs in again.
fn lives(expiry: Timestamp, now: Timestamp) -> bool {
    match Age::of(expiry - LIFETIME, now) {
        Age::Past(age) => age < LIFETIME,
        Age::Ahead(_) => true,
        Age::Unbelievable(_) => false,
    }
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
    if !same || !lives(expiry, now) {
        return None;
    }
    let roles = text("roles")?.split(' ').map(str::to_owned).collect();
    let caller = Caller::User { name: text("username")?.to_owned(), roles, session: Some(session.id.clone()) };
    let security_stamp = session.ledger.get("stamp").and_then(Value::as_str).map(str::to_owned);
    Some(Remembered { caller, expiry, asked: Some(now), used: now, security_stamp })
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
mod tests;
