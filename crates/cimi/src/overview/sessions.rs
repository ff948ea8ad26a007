//! `/api/session/all` and `/api/user/<name>/sessions`: where a user has logged in, and how that ends.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The caller's own, below `/api/`: read to be told of them, deleted to end them all.
pub const PLACE: &str = "session/all";
/// The operation of a user that does the same with that user's, for administrators.
pub const SESSIONS: &str = "sessions";

/// Where a user has logged in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// The user's name.
    pub user: String,
    /// How many there are.
    pub count: usize,
    /// The latest 1,000 of them, the latest first.
    pub sessions: Vec<Session>,
}

/// A login that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// `session/<uuid>`: whoever deletes it ends it.
    pub id: String,
    /// From where it was made; none from within the server's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was used last, to the second by this server and to ten minutes by others.
    pub used: Timestamp,
    /// When it ends by itself.
    pub expiry: Timestamp,
    /// Whether it is the one with which this was asked.
    pub current: bool,
}

/// What came of ending all of a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How many were ended.
    pub ended: usize,
}
