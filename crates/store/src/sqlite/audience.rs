//! Who may see documents, kept so that a search for one caller costs what the caller may see.
//!
//! An *audience* is a set of principals, stored once, with the documents of one type that exactly these may see. A
//! document has one audience, so none is found twice, however many of its viewers ask. Most documents are shown to
//! administrators alone: their audience is NULL, and costs nothing.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use slipstream_cimi::acl::{Principal, administrators_alone_view, viewers_by};

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

/// Whom this access control lets see a document, as it is stored; none for administrators alone.
pub(super) fn stored(acl: Option<&Value>) -> Option<String> {
    if administrators_alone_view(acl) { None } else { Some(names(&viewers_by(acl))) }
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

/// The audience of these viewers, made if there is none. Whoever asks for it stores a document of it in the same
/// transaction; with its last document it goes, see the triggers.
pub(super) fn of(connection: &Connection, kind: &str, viewers: &str) -> rusqlite::Result<i64> {
    let mut find = connection.prepare_cached("SELECT id FROM audience WHERE type = ? AND viewers = ?")?;
    if let Some(id) = find.query_row([kind, viewers], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO audience (type, viewers) VALUES (?, ?)")?.execute([kind, viewers])?;
    let id = connection.last_insert_rowid();
    let sql = "INSERT INTO viewer (type, principal, audience) SELECT ?, value, ? FROM json_each(?)";
    connection.prepare_cached(sql)?.execute(params![kind, id, viewers])?;
    Ok(id)
}

fn administrators() -> Principal {
    Principal::Role("ADMIN".to_owned())
}

/// Names cannot be mistaken for each other: each begins with its kind.
fn names<'a>(principals: impl IntoIterator<Item = &'a Principal>) -> String {
    principals.into_iter().map(ToString::to_string).collect::<serde_json::Value>().to_string()
}
