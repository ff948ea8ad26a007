//! Files as version 2 made them, for tests.

use std::path::Path;

use rusqlite::{Connection, params};
use serde_json::Value;

use crate::Record;

/// How version 2 made its tables.
pub(super) const TABLES: &str = "
    CREATE TABLE resource (
        type TEXT NOT NULL,
        id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        document TEXT NOT NULL,
        ledger TEXT,
        irregular INTEGER NOT NULL,
        state TEXT,
        action TEXT,
        target TEXT,
        parent TEXT,
        created TEXT,
        updated TEXT,
        priority INTEGER,
        owner TEXT,
        audience INTEGER,
        entry TEXT,
        lease TEXT,
        PRIMARY KEY (type, id)
    ) STRICT;
    CREATE INDEX resource_by_created ON resource (type, created DESC, id);
    CREATE INDEX resource_by_state ON resource (type, state, created DESC, id);
    CREATE INDEX resource_by_state_and_id ON resource (type, state, id, entry, lease);
    CREATE INDEX resource_by_action ON resource (type, action, state, created DESC, id);
    CREATE INDEX resource_by_action_and_created ON resource (type, action, created DESC, id);
    CREATE INDEX resource_by_target ON resource (type, target, created DESC, id);
    CREATE INDEX resource_by_parent ON resource (type, parent, created DESC, id) WHERE parent IS NOT NULL;
    CREATE INDEX resource_by_updated ON resource (type, updated DESC, id);
    CREATE INDEX resource_by_priority ON resource (type, priority, created DESC, id);
    CREATE INDEX resource_by_owner ON resource (type, owner, created DESC, id);
    CREATE INDEX resource_by_audience ON resource (type, audience, created DESC, id) WHERE audience IS NOT NULL;
    CREATE INDEX resource_by_audience_and_state ON resource (type, audience, state, created DESC, id)
        WHERE audience IS NOT NULL;
    CREATE INDEX resource_by_audience_and_action ON resource (type, audience, action, created DESC, id)
        WHERE audience IS NOT NULL;
    CREATE INDEX resource_by_audience_and_id ON resource (type, audience, id) WHERE audience IS NOT NULL;
    CREATE INDEX resource_irregular ON resource (type, irregular) WHERE irregular <> 0;

    CREATE TABLE audience (
        id INTEGER PRIMARY KEY,
        type TEXT NOT NULL,
        viewers TEXT NOT NULL,
        UNIQUE (type, viewers)
    ) STRICT;
    CREATE TABLE viewer (
        type TEXT NOT NULL,
        principal TEXT NOT NULL,
        audience INTEGER NOT NULL,
        PRIMARY KEY (type, principal, audience)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX viewer_by_audience ON viewer (audience);

    CREATE TABLE tally (
        type TEXT NOT NULL,
        scope ANY NOT NULL,
        state TEXT,
        action TEXT,
        documents INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX tally_by_all ON tally (scope, type, ifnull(state, x''), ifnull(action, x''));

    CREATE TRIGGER tally_empty AFTER UPDATE ON tally WHEN new.documents = 0 BEGIN
        DELETE FROM tally WHERE rowid = new.rowid;
        DELETE FROM viewer WHERE audience = new.scope AND typeof(new.scope) = 'integer'
            AND NOT EXISTS (SELECT 1 FROM tally WHERE type = new.type AND scope = new.scope);
        DELETE FROM audience WHERE id = new.scope AND typeof(new.scope) = 'integer'
            AND NOT EXISTS (SELECT 1 FROM tally WHERE type = new.type AND scope = new.scope);
    END;
    PRAGMA user_version = 2;
";

/// Makes a file with these, as version 2 wrote it: document and ledger as text, and times, too.
pub fn make(path: &Path, records: &[Record]) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(TABLES)?;
    let transaction = connection.transaction()?;
    let mut insert = transaction.prepare(
        "INSERT INTO resource (type, id, revision, document, ledger, irregular, state, action, target, created, updated, \
         priority, owner, entry) SELECT substr(?1, 1, instr(?1, '/') - 1), ?1, ?2, ?3, ?4, 0, ?3 ->> 'state', \
         ?3 ->> 'action', ?3 ->> '$.targetResource.href', ?3 ->> 'created', ?3 ->> 'updated', ?3 ->> 'priority', \
         ?3 ->> '$.acl.owner.principal', ?4 ->> 'entry'",
    )?;
    for Record { id, revision, document, ledger } in records {
        let document = Value::Object((**document).clone()).to_string();
        let ledger = (!ledger.is_null()).then(|| ledger.to_string());
        insert.execute(params![id, revision.0.cast_signed(), document, ledger])?;
    }
    drop(insert);
    transaction.commit()?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
}
