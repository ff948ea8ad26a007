//! What the store keeps of a user: its document, and in the ledger the hash of its password and a **security stamp**. A
//! session is good as long as its user has the stamp under which it was opened.

use jiff::Timestamp;
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::acl;
use slipstream_cimi::dialect::USER;
use slipstream_cimi::overview::user::id;
use slipstream_cimi::resource::format_time;
use slipstream_store::{Record, Revision};

/// State of a user who may log in.
pub const ACTIVE: &str = "ACTIVE";

/// A user's record: `document` with what every user has.
#[must_use]
pub fn record(username: &str, document: Document, ledger: Value, now: Timestamp) -> Record {
    let id = id(username);
    let all = json!({
        "id": id, "resourceURI": USER.resource_uri, "created": format_time(now), "updated": format_time(now),
        "acl": acl::default_acl(), "username": username, "state": ACTIVE, "isSuperUser": false,
    });
    let Value::Object(mut all) = all else { unreachable!("written as an object above") };
    all.extend(document);
    Record { id, revision: Revision::default(), document: all.into(), ledger }
}

/// What is kept of a user and never shown: the password's hash, and a new security stamp.
#[must_use]
pub fn ledger(hash: &str) -> Value {
    json!({"password": hash, "stamp": hex::encode(rand::random::<[u8; 16]>())})
}

/// The hash of the user's password.
#[must_use]
pub fn password_hash(user: &Record) -> Option<&str> {
    user.ledger.get("password").and_then(Value::as_str)
}

/// The user's security stamp; none for one that was stored before there were any.
#[must_use]
pub fn security_stamp(user: &Record) -> Option<&str> {
    user.ledger.get("stamp").and_then(Value::as_str)
}

/// The user's name.
#[must_use]
pub fn name(user: &Record) -> &str {
    user.document.get("username").and_then(Value::as_str).unwrap_or_default()
}

/// Whether the user may log in.
#[must_use]
pub fn is_active(user: &Record) -> bool {
    user.document.get("state").and_then(Value::as_str) == Some(ACTIVE)
}

/// The roles of the user's sessions (specification 2.1); the session's id is one more.
#[must_use]
pub fn roles(user: &Record) -> &'static str {
    if is_super(user) { "ADMIN USER ANON" } else { "USER ANON" }
}

/// Whether the user is an administrator.
#[must_use]
pub fn is_super(user: &Record) -> bool {
    user.document.get("isSuperUser").and_then(Value::as_bool) == Some(true)
}
