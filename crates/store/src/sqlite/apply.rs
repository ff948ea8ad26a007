//! [`apply`]: changes carried out within a transaction.

use std::sync::LazyLock;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement, ToSql, params, params_from_iter};

use super::audience::{Audience, Audiences};
use super::column::Column;
use super::key::{Key, id_of};
use super::packed::pack_text;
use super::row::{Answer, Change, Row};
use super::tally::{Place, Tally};
use crate::{Revision, StoreError, kind_of};

/// Rows that one statement inserts at most: more gain nothing.
const TOGETHER: usize = 8;

/// The columns of a row in the order in which they are bound, and how many there are.
const COLUMNS: &str = "type, id, revision, document, ledger, irregular, audience, entry, lease, state, action, target, \
                       parent, created, updated, priority, owner";
const WIDTH: usize = 9 + Column::STORED.len();

/// Statements that insert one row, two, and so on.
static INSERTS: LazyLock<[String; TOGETHER]> = LazyLock::new(|| {
    let row = format!("({})", ["?"; WIDTH].join(", "));
    std::array::from_fn(|before| {
        let rows = vec![row.as_str(); before + 1].join(", ");
        // not `ON CONFLICT`: a statement that could fail midway copies each page before it changes it
        format!("INSERT OR IGNORE INTO resource ({COLUMNS}) VALUES {rows}")
    })
});

/// A transaction under way.
pub(super) struct Work<'a> {
    connection: &'a Connection,
    audiences: Audiences,
    tally: Tally,
}

/// Does the changes in their order and answers each.
pub(super) fn apply(connection: &Connection, changes: &[Change]) -> rusqlite::Result<Vec<Answer>> {
    let mut work = Work::new(connection);
    let mut answers = Vec::with_capacity(changes.len());
    let mut rest = changes;
    while let [first, others @ ..] = rest {
        let change = match first {
            Change::Insert(_) => {
                let rows: Vec<&Row> = rest.iter().take(TOGETHER).map_while(Change::inserted).collect();
                let inserted = work.insert(&rows)?;
                rest = &rest[inserted.len()..];
                let exists = |row: &Row| StoreError::Exists(row.id.clone());
                let answer = |(row, is_new): (&Row, bool)| is_new.then_some(row.revision).ok_or_else(|| exists(row));
                answers.extend(rows.into_iter().zip(inserted).map(answer));
                continue;
            }
            Change::Replace(row) => (&row.id, work.replace(row)?.then_some(Revision(row.revision.0 + 1))),
            Change::NoteEntry { id, revision, entry } => {
                (id, work.note_entry(id, *revision, entry)?.then_some(*revision))
            }
            Change::Remove { id, revision } => (id, work.remove(id, *revision)?.then_some(*revision)),
        };
        let (id, revision) = change;
        answers.push(revision.ok_or_else(|| StoreError::Changed(id.clone())));
        rest = others;
    }
    work.end()?;
    Ok(answers)
}

impl<'a> Work<'a> {
    pub fn new(connection: &'a Connection) -> Self {
        Self { connection, audiences: Audiences::default(), tally: Tally::default() }
    }

    /// Notes what all of it has changed in the tally.
    pub fn end(self) -> rusqlite::Result<()> {
        self.tally.store(self.connection)
    }

    /// Adds rows, or the first of them, and says of each of these whether there was none of its id: all in one statement,
    /// as the cursors of all indexes stay where they are from one to the next.
    pub fn insert(&mut self, rows: &[&Row]) -> rusqlite::Result<Vec<bool>> {
        let mut audiences = Vec::with_capacity(rows.len());
        for row in rows {
            match self.audiences.find(self.connection, kind_of(&row.id), row.viewers.as_deref())? {
                Audience::Stored(audience) => audiences.push(audience),
                Audience::ToBeMade if !audiences.is_empty() => break,
                // whom it names must not be left behind without it
                Audience::ToBeMade if self.exists(row)? => return Ok(vec![false]),
                Audience::ToBeMade => {
                    audiences.push(self.audiences.of(self.connection, kind_of(&row.id), row.viewers.as_deref())?);
                    break;
                }
            }
        }
        let rows = &rows[..audiences.len()];
        let mut statement = self.connection.prepare_cached(&INSERTS[rows.len() - 1])?;
        for ((row, audience), before) in rows.iter().zip(&audiences).zip((0..).step_by(WIDTH)) {
            bind(&mut statement, before, row, *audience)?;
        }
        let count = statement.raw_execute()?;
        let inserted = if count == rows.len() { vec![true; count] } else { self.which(rows, count)? };
        for ((row, audience), _) in rows.iter().zip(&audiences).zip(&inserted).filter(|(_, is_new)| **is_new) {
            self.tally.count(kind_of(&row.id), &row.columns, *audience, 1);
        }
        Ok(inserted)
    }

    /// Which of these rows were inserted just now, so many in all: they are the last ones of the table.
    fn which(&self, rows: &[&Row], count: usize) -> rusqlite::Result<Vec<bool>> {
        let mut statement = self.connection.prepare_cached("SELECT id FROM resource ORDER BY rowid DESC LIMIT ?")?;
        let found =
            statement.query_map([i64::try_from(count).unwrap_or(i64::MAX)], |row| Ok(id_of(row.get_ref(0)?)?))?;
        let mut new: Vec<String> = found.collect::<rusqlite::Result<_>>()?;
        Ok(rows.iter().map(|row| new.pop_if(|id| *id == row.id).is_some()).collect())
    }

    fn exists(&self, row: &Row) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM resource WHERE type = ? AND id = ?";
        self.connection.prepare_cached(sql)?.exists(params![kind_of(&row.id), Key::of(&row.id)])
    }

    /// Sets what differs and nothing else: an index is written only if one of its columns is set.
    fn replace(&mut self, row: &Row) -> rusqlite::Result<bool> {
        let Some(stored) = self.compare(row)? else { return Ok(false) };
        let audience = self.audiences.of(self.connection, kind_of(&row.id), row.viewers.as_deref())?;
        let mut sql = String::with_capacity(256);
        sql.push_str("UPDATE resource SET revision = revision + 1, document = ?, ledger = ?");
        let mut values: Vec<&dyn ToSql> = vec![&row.document, &row.ledger];
        let mut set = |differs: bool, name: &str, value| {
            if differs {
                sql.extend([", ", name, " = ?"]);
                values.push(value);
            }
        };
        set(stored.irregular != row.irregular, "irregular", &row.irregular);
        set(stored.place.audience() != audience, "audience", &audience);
        set(stored.entry_differs, "entry", &row.entry);
        set(stored.lease_differs, "lease", &row.lease);
        for ((column, differs), value) in Column::STORED.into_iter().zip(stored.columns_differ).zip(&row.columns) {
            set(differs, column.name(), value);
        }
        sql.push_str(" WHERE rowid = ?");
        values.push(&stored.rowid);
        self.connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
        if stored.has_note {
            self.forget_note(&row.id)?;
        }
        let kind = kind_of(&row.id);
        if !stored.place.is(kind, &row.columns, audience) {
            self.tally.count(kind, &row.columns, audience, 1);
            self.tally.count_place(stored.place, -1);
        }
        Ok(true)
    }

    /// How what is stored of a document differs from this row, but for what document and ledger say themselves; none if it
    /// has another revision.
    fn compare(&self, row: &Row) -> rusqlite::Result<Option<Stored>> {
        let mut statement = self.connection.prepare_cached(FIND)?;
        let mut found = statement.query(params![kind_of(&row.id), Key::of(&row.id)])?;
        let Some(stored) = found.next()? else { return Ok(None) };
        if !has_revision(stored, row.revision)? {
            return Ok(None);
        }
        let text = |text: &Option<String>, index| -> rusqlite::Result<bool> {
            Ok(stored.get_ref(index)? != text.as_deref().map_or(ValueRef::Null, ValueRef::from))
        };
        let mut columns_differ = [false; Column::STORED.len()];
        for (index, (differs, value)) in columns_differ.iter_mut().zip(&row.columns).enumerate() {
            *differs = stored.get_ref(FIRST_COLUMN + index)? != ValueRef::from(value);
        }
        Ok(Some(Stored {
            rowid: stored.get(0)?,
            irregular: stored.get(2)?,
            has_note: stored.get(3)?,
            place: place(&row.id, stored)?,
            entry_differs: text(&row.entry, 5)?,
            lease_differs: text(&row.lease, 6)?,
            columns_differ,
        }))
    }

    fn remove(&mut self, id: &str, revision: Revision) -> rusqlite::Result<bool> {
        let found = {
            let mut statement = self.connection.prepare_cached(FIND)?;
            let mut found = statement.query(params![kind_of(id), Key::of(id)])?;
            match found.next()? {
                Some(stored) if has_revision(stored, revision)? => {
                    (stored.get::<_, i64>(0)?, stored.get::<_, bool>(3)?, place(id, stored)?)
                }
                _ => return Ok(false),
            }
        };
        let (rowid, has_note, place) = found;
        self.connection.prepare_cached("DELETE FROM resource WHERE rowid = ?")?.execute([rowid])?;
        if has_note {
            self.forget_note(id)?;
        }
        self.tally.count_place(place, -1);
        Ok(true)
    }

    fn note_entry(&mut self, id: &str, revision: Revision, entry: &str) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM resource WHERE type = ? AND id = ? AND revision = ?";
        let key = Key::of(id);
        let mut find = self.connection.prepare_cached(sql)?;
        if !find.exists(params![kind_of(id), key, revision.0.cast_signed()])? {
            return Ok(false);
        }
        let sql = "INSERT INTO noted_entry (job, entry) VALUES (?, ?) \
                   ON CONFLICT (job) DO UPDATE SET entry = excluded.entry";
        self.connection.prepare_cached(sql)?.execute(params![key, pack_text(entry)])?;
        Ok(true)
    }

    fn forget_note(&self, id: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached("DELETE FROM noted_entry WHERE job = ?")?.execute([Key::of(id)]).map(drop)
    }
}

fn bind(statement: &mut Statement<'_>, before: usize, row: &Row, audience: Option<i64>) -> rusqlite::Result<()> {
    let Row { id, revision, document, ledger, irregular, entry, lease, columns, viewers: _ } = row;
    let (kind, key, revision) = (kind_of(id), Key::of(id), revision.0.cast_signed());
    let first: [&dyn ToSql; WIDTH - Column::STORED.len()] =
        [&kind, &key, &revision, document, ledger, irregular, &audience, entry, lease];
    let values = first.into_iter().chain(columns.iter().map(|value| value as &dyn ToSql));
    values.zip(before + 1..).try_for_each(|(value, place)| statement.raw_bind_parameter(place, value))
}

/// What [`Stored`] is made of.
const FIND: &str = "SELECT rowid, revision, irregular, \
                    EXISTS (SELECT 1 FROM noted_entry WHERE job = resource.id), audience, entry, lease, state, action, \
                    target, parent, created, updated, priority, owner FROM resource WHERE type = ? AND id = ?";
/// Where the columns begin in it.
const FIRST_COLUMN: usize = 7;

/// What is stored of a document, and how that differs from another row.
struct Stored {
    rowid: i64,
    irregular: i64,
    has_note: bool,
    place: Place,
    entry_differs: bool,
    lease_differs: bool,
    columns_differ: [bool; Column::STORED.len()],
}

fn has_revision(stored: &rusqlite::Row<'_>, revision: Revision) -> rusqlite::Result<bool> {
    Ok(u64::try_from(stored.get::<_, i64>(1)?) == Ok(revision.0))
}

/// Where it counts.
fn place(id: &str, stored: &rusqlite::Row<'_>) -> rusqlite::Result<Place> {
    let text = |wanted: Column| {
        let index = Column::STORED.iter().position(|column| *column == wanted).expect("it is one of them");
        stored.get::<_, Option<String>>(FIRST_COLUMN + index)
    };
    let (state, action, owner) = (text(Column::State)?, text(Column::Action)?, text(Column::Owner)?);
    Ok(Place::new(kind_of(id), state, action, owner, stored.get(4)?))
}
