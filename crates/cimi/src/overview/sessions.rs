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
    /// What made it, as that says itself in the header `User-Agent`; none of what says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was used last, to the second by this server and to ten minutes by others.
    pub used: Timestamp,
    /// When it ends by itself.
    pub expiry: Timestamp,
    /// Whether it is the one with which this was asked.
    pub current: bool,
}

/// What browsers call themselves; the first that is found counts, as most say that they are others too.
const BROWSERS: [(&str, &str); 6] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
/// Characters of another program's name that are shown.
const SHOWN: usize = 60;

impl Session {
    /// What made it, for people: a browser's name, or how another program calls itself. Nothing if that is not known.
    #[must_use]
    pub fn made_by(&self) -> String {
        let Some(program) = &self.program else { return String::new() };
        if !program.starts_with("Mozilla/") {
            return program.chars().take(SHOWN).collect();
        }
        let found = BROWSERS.iter().find(|(part, _)| program.contains(part));
        found.map_or_else(|| "browser".to_owned(), |(_, name)| format!("browser ({name})"))
    }
}

/// What came of ending all of a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How many were ended.
    pub ended: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_made_a_session_is_told_in_a_word() {
        for (program, expected) in [
            (None, ""),
            (Some("slipstream-job/0.1.0"), "slipstream-job/0.1.0"),
            (Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"), "browser (Firefox)"),
            (Some("Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0"), "browser (Edge)"),
            (Some("Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"), "browser (Chrome)"),
            (Some("Mozilla/5.0"), "browser"),
        ] {
            let time = Timestamp::UNIX_EPOCH;
            let program = program.map(str::to_owned);
            let id = "session/0a".to_owned();
            let session =
                Session { id, address: None, program, created: time, used: time, expiry: time, current: false };
            assert_eq!(session.made_by(), expected);
        }
        let before = r#"{"id":"session/0a","created":"2026-11-30T10:00:00Z","used":"2026-11-30T10:00:00Z",
            "expiry":"2026-12-01T10:00:00Z","current":false}"#;
        assert_eq!(serde_json::from_str::<Session>(before).unwrap().program, None, "an older server says nothing");
    }
}
