//! How many documents there are by state and action, counted as they are written, so that a count walks through none.

use std::collections::HashMap;

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params};

use super::column::Column;

/// The values of a document in [`Column::STORED`].
type Columns = [SqlValue; Column::STORED.len()];

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
    pub fn new(
        kind: &str,
        state: Option<String>,
        action: Option<String>,
        owner: Option<String>,
        audience: Option<i64>,
    ) -> Self {
        Self { kind: kind.to_owned(), state, action, owner, audience }
    }

    /// The place of a document with these values in [`Column::STORED`].
    fn of(kind: &str, columns: &Columns, audience: Option<i64>) -> Self {
        let text = |wanted| text(columns, wanted).map(str::to_owned);
        Self::new(kind, text(Column::State), text(Column::Action), text(Column::Owner), audience)
    }

    /// Whether it is that place.
    pub fn is(&self, kind: &str, columns: &Columns, audience: Option<i64>) -> bool {
        self.kind == kind
            && self.audience == audience
            && self.state.as_deref() == text(columns, Column::State)
            && self.action.as_deref() == text(columns, Column::Action)
            && self.owner.as_deref() == text(columns, Column::Owner)
    }

    pub fn audience(&self) -> Option<i64> {
        self.audience
    }
}

fn text(columns: &Columns, wanted: Column) -> Option<&str> {
    let (_, value) = Column::STORED.iter().zip(columns).find(|(column, _)| **column == wanted)?;
    if let SqlValue::Text(text) = value { Some(text) } else { None }
}

/// What the writes of one transaction change.
#[derive(Default)]
pub(super) struct Tally {
    changes: HashMap<Place, i64>,
    /// Where most of them are alike: the place that was counted last, which is in no map yet.
    last: Option<(Place, i64)>,
}

impl Tally {
    /// Counts so many documents with these values more.
    pub fn count(&mut self, kind: &str, columns: &Columns, audience: Option<i64>, documents: i64) {
        match &mut self.last {
            Some((place, count)) if place.is(kind, columns, audience) => *count += documents,
            _ => self.count_place(Place::of(kind, columns, audience), documents),
        }
    }

    /// Counts so many documents more in a place.
    pub fn count_place(&mut self, place: Place, documents: i64) {
        match &mut self.last {
            Some((last, count)) if *last == place => *count += documents,
            last => {
                if let Some((place, count)) = last.replace((place, documents)) {
                    *self.changes.entry(place).or_default() += count;
                }
            }
        }
    }

    /// Adds before it takes away: a scope that keeps documents never has none in between, see the schema.
    pub fn store(mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some((place, count)) = self.last.take() {
            *self.changes.entry(place).or_default() += count;
        }
        let (more, fewer): (Vec<_>, Vec<_>) =
            self.changes.into_iter().filter(|(_, change)| *change != 0).partition(|(_, change)| *change > 0);
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
