//! Who may see documents, kept so that a search for one caller costs what the caller may see.
//!
//! An *audience* is a set of principals, stored once, with the documents of one type that exactly these may see. A
//! document has one audience, so none is found twice, however many of its viewers ask. Most documents are shown to
//! administrators alone: their audience is NULL, and costs nothing.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use slipstream_cimi::Document;
use slipstream_cimi::acl::{Principal, administrators_alone_view, viewers};

/// The documents that a search may show.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Visible {
    /// All.
    All,
    /// Those of these audiences.
    Audiences(Vec<i64>),
    /// Those of the audiences that one of these is in, and those of administrators alone if the callers are such.
    Callers {
        /// A list of names in JSON.
        names: String,
        administrators: bool,
    },
}

/// Of so many audiences each is searched by itself.
const MOST_AUDIENCES: u8 = 32;

/// The viewers of a document as they are stored; none for administrators alone.
pub(super) fn stored(document: &Document) -> Option<String> {
    (!administrators_alone_view(document)).then(|| names(&viewers(document)))
}

/// What these callers may see.
pub(super) fn visible(connection: &Connection, kind: &str, callers: &[Principal]) -> rusqlite::Result<Visible> {
    let names = names(callers);
    if callers.contains(&administrators()) {
        return Ok(Visible::Callers { names, administrators: true });
    }
    let sql = "SELECT DISTINCT audience FROM viewer \
               WHERE type = ? AND principal IN (SELECT value FROM json_each(?)) LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![kind, names, MOST_AUDIENCES + 1], |row| row.get(0))?;
    let audiences: Vec<i64> = found.collect::<rusqlite::Result<_>>()?;
    if audiences.len() > usize::from(MOST_AUDIENCES) {
        return Ok(Visible::Callers { names, administrators: false });
    }
    Ok(Visible::Audiences(audiences))
}

/// The audience of a document.
pub(super) enum Audience {
    /// It is there, or it needs none.
    Stored(Option<i64>),
    ToBeMade,
}

/// The audiences that were asked for in a transaction: none goes before its end.
#[derive(Default)]
pub(super) struct Audiences(HashMap<String, HashMap<String, i64>>);

impl Audiences {
    pub fn find(&mut self, connection: &Connection, kind: &str, viewers: Option<&str>) -> rusqlite::Result<Audience> {
        let Some(viewers) = viewers else { return Ok(Audience::Stored(None)) };
        if let Some(id) = self.0.get(kind).and_then(|ids| ids.get(viewers)) {
            return Ok(Audience::Stored(Some(*id)));
        }
        let mut find = connection.prepare_cached("SELECT id FROM audience WHERE type = ? AND viewers = ?")?;
        let found: Option<i64> = find.query_row([kind, viewers], |row| row.get(0)).optional()?;
        let Some(id) = found else { return Ok(Audience::ToBeMade) };
        self.note(kind, viewers, id);
        Ok(Audience::Stored(Some(id)))
    }

    /// The audience of these viewers, made if there is none. Whoever asks for it stores a document of it in the same
    /// transaction; with its last document it goes, see the triggers.
    pub fn of(&mut self, connection: &Connection, kind: &str, viewers: Option<&str>) -> rusqlite::Result<Option<i64>> {
        if let Audience::Stored(audience) = self.find(connection, kind, viewers)? {
            return Ok(audience);
        }
        let viewers = viewers.unwrap_or_default();
        connection.prepare_cached("INSERT INTO audience (type, viewers) VALUES (?, ?)")?.execute([kind, viewers])?;
        let id = connection.last_insert_rowid();
        let sql = "INSERT INTO viewer (type, principal, audience) SELECT ?, value, ? FROM json_each(?)";
        connection.prepare_cached(sql)?.execute(params![kind, id, viewers])?;
        self.note(kind, viewers, id);
        Ok(Some(id))
    }

    fn note(&mut self, kind: &str, viewers: &str, id: i64) {
        self.0.entry(kind.to_owned()).or_default().insert(viewers.to_owned(), id);
    }
}

fn administrators() -> Principal {
    Principal::Role("ADMIN".to_owned())
}

/// Names cannot be mistaken for each other: each begins with its kind.
fn names<'a>(principals: impl IntoIterator<Item = &'a Principal>) -> String {
    principals.into_iter().map(ToString::to_string).collect::<serde_json::Value>().to_string()
}
