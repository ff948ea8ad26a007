//! How many documents there are by state and action, counted as they are written, so that a count walks through none.

use std::collections::HashMap;

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params};

use super::column::Column;

/// Where a document counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    kind: String,
    state: Option<String>,
    action: Option<String>,
    owner: Option<String>,
    audience: Option<i64>,
}

impl Place {
    /// The place of a document with these values in [`Column::STORED`].
    pub fn of(kind: &str, columns: &[SqlValue; Column::STORED.len()], audience: Option<i64>) -> Self {
        let text = |wanted: Column| {
            let found = Column::STORED.iter().zip(columns).find(|(column, _)| **column == wanted);
            found.and_then(|(_, value)| if let SqlValue::Text(text) = value { Some(text.clone()) } else { None })
        };
        let (state, action, owner) = (text(Column::State), text(Column::Action), text(Column::Owner));
        Self { kind: kind.to_owned(), state, action, owner, audience }
    }
}

/// What the writes of one transaction change.
#[derive(Default)]
pub(super) struct Tally(HashMap<Place, i64>);

impl Tally {
    /// Counts so many documents more in a place.
    pub fn count(&mut self, place: Place, documents: i64) {
        *self.0.entry(place).or_default() += documents;
    }

    /// Adds before it takes away: a scope that keeps documents never has none in between, see the schema.
    pub fn store(self, connection: &Connection) -> rusqlite::Result<()> {
        let (more, fewer): (Vec<_>, Vec<_>) =
            self.0.into_iter().filter(|(_, change)| *change != 0).partition(|(_, change)| *change > 0);
        for (place, change) in more.into_iter().chain(fewer) {
            let Place { kind, state, action, owner, audience } = place;
            let scopes = [Some(SqlValue::Integer(0)), audience.map(SqlValue::Integer), owner.map(SqlValue::Text)];
            for scope in scopes.into_iter().flatten() {
                let sql = "INSERT INTO tally (type, scope, state, action, documents) VALUES (?, ?, ?, ?, ?) \
                           ON CONFLICT (type, scope, ifnull(state, x''), ifnull(action, x'')) \
                           DO UPDATE SET documents = documents + excluded.documents";
                connection.prepare_cached(sql)?.execute(params![kind, scope, state, action, change])?;
            }
        }
        Ok(())
    }
}
