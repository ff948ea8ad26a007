//! [`Row`]: a record as the table has it, and [`Change`]: what is to become of one.

use rusqlite::types::Value as SqlValue;
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;

use super::audience;
use super::column::Column;
use super::packed::{pack, pack_object};
use crate::{Record, Revision, StoreError, is_unfinished, kind_of};

/// A record as the table has it.
pub(super) struct Row {
    pub id: String,
    pub revision: Revision,
    pub document: SqlValue,
    pub ledger: SqlValue,
    pub irregular: i64,
    pub columns: [SqlValue; Column::STORED.len()],
    /// Who may see it, as [`audience::stored`] has it.
    pub viewers: Option<String>,
    /// The recorded entry of a job that is not final.
    pub entry: Option<String>,
    /// Its lease.
    pub lease: Option<String>,
}

/// What to write.
pub(super) enum Change {
    Insert(Box<Row>),
    Replace(Box<Row>),
    NoteEntry { id: String, revision: Revision, entry: String },
    Remove { id: String, revision: Revision },
}

/// What has become of a change: the new revision.
pub(super) type Answer = Result<Revision, StoreError>;

impl Row {
    pub fn of(record: Record) -> Self {
        let mut irregular = 0;
        let mut regular = |(column, value): (Column, Option<SqlValue>)| {
            irregular |= if value.is_none() { column.bit() } else { 0 };
            value.unwrap_or(SqlValue::Null)
        };
        let mut values = Column::ALL.into_iter().zip(Column::values(&record.id, &record.document)).map(&mut regular);
        // the id has a column of its own
        values.next();
        let columns = Column::STORED.map(|_| values.next().expect("the others follow in this order"));
        let [state, ..] = &columns;
        let (entry, lease) = match state {
            SqlValue::Text(state) if is_unfinished(state) => {
                (record.entry().map(str::to_owned), record.lease().map(|lease| lease.to_string()))
            }
            _ => (None, None),
        };
        let document = SqlValue::Blob(pack_object(&record.document));
        let ledger = if record.ledger.is_null() { SqlValue::Null } else { SqlValue::Blob(pack(&record.ledger)) };
        let viewers = audience::stored(&record.document);
        let (id, revision) = (record.id, record.revision);
        Self { id, revision, document, ledger, irregular, columns, viewers, entry, lease }
    }

    fn is_running(&self) -> bool {
        let [state, ..] = &self.columns;
        *state == SqlValue::Text(State::Running.as_str().to_owned())
    }
}

impl From<crate::Write> for Change {
    fn from(write: crate::Write) -> Self {
        match write {
            crate::Write::Create(record) => Self::Insert(Box::new(Row::of(Record { revision: Revision(1), ..record }))),
            crate::Write::Replace(record) => Self::Replace(Box::new(Row::of(record))),
            crate::Write::NoteEntry(id, revision, entry) => Self::NoteEntry { id, revision, entry },
            crate::Write::Remove(id, revision) => Self::Remove { id, revision },
        }
    }
}

impl Change {
    /// The row that it adds, if it adds one.
    pub fn inserted(&self) -> Option<&Row> {
        if let Self::Insert(row) = self { Some(row) } else { None }
    }

    /// Whether it frees space or ends a job, or whoever does that needs it, such as a session: it is carried out with the
    /// last of the space. A new job or user is not, nor that a job is about to run or says how far it is.
    pub fn frees_or_ends(&self) -> bool {
        match self {
            Self::Insert(row) => !matches!(kind_of(&row.id), "job" | "user"),
            Self::Replace(row) => kind_of(&row.id) != JOB.name || !row.is_running(),
            Self::NoteEntry { .. } | Self::Remove { .. } => true,
        }
    }

    pub fn is_unneeded(&self) -> bool {
        !self.frees_or_ends()
    }
}
