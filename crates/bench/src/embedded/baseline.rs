//! What the same machine does without an engine: `SQLite` alone with the same bytes, and the disk alone.

use std::io::{Seek, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use rusqlite::{Connection, params};
use slipstream_cimi::dialect::JOB;

use super::engine::{Engine, job};
use super::process::{Moment, Spent};

/// Rows that are written.
const ROWS: u64 = 20_000;
/// Changes of one transaction.
const GROUP: usize = 256;
/// How often the disk is asked to keep what was written.
const SYNCS: usize = 200;
/// Bytes written before each.
const BLOCK: usize = 4_096;

/// `SQLite` alone: one connection, one table of two columns, so many rows, 256 changes in each durable transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw {
    pub rows: u64,
    /// Inserting each row.
    pub insert: Spent,
    /// Updating each row twice, as a job becomes RUNNING and SUCCESS.
    pub finish: Spent,
}

/// With the document of a finished job, in the states that it went through: equal bytes would not be written.
pub fn raw(path: &Path, document: &[u8]) -> anyhow::Result<Raw> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         CREATE TABLE job (id TEXT PRIMARY KEY, document BLOB) WITHOUT ROWID",
    )?;
    let ids: Vec<String> = (0..ROWS).map(|number| format!("job/{}", uuid::Uuid::from_u128(number.into()))).collect();
    let text = std::str::from_utf8(document)?;
    let mut write = |sql: &str, state: &str| -> anyhow::Result<()> {
        let document = text.replace("SUCCESS", state).into_bytes();
        for group in ids.chunks(GROUP) {
            let transaction = connection.transaction()?;
            let mut statement = transaction.prepare_cached(sql)?;
            for id in group {
                statement.execute(params![document, id])?;
            }
            drop(statement);
            transaction.commit()?;
        }
        Ok(())
    };
    let begin = Moment::now();
    write("INSERT INTO job (document, id) VALUES (?, ?)", "QUEUED")?;
    let inserted = Moment::now();
    for state in ["RUNNING", "SUCCESS"] {
        write("UPDATE job SET document = ? WHERE id = ?", state)?;
    }
    let finished = Moment::now();
    connection.close().map_err(|(_, error)| error)?;
    std::fs::remove_file(path)?;
    Ok(Raw { rows: ROWS, insert: begin.until(inserted), finish: inserted.until(finished) })
}

/// Milliseconds that each of many writes takes until the disk has it.
pub fn syncs(path: &Path) -> anyhow::Result<Vec<f64>> {
    let mut file = std::fs::File::create(path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.rewind()?;
        let begin = Instant::now();
        file.write_all(&[7; BLOCK])?;
        file.sync_data()?;
        times.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    std::fs::remove_file(path)?;
    Ok(times)
}

/// The document of a job that an engine has finished.
pub async fn finished_document(path: &Path) -> anyhow::Result<Vec<u8>> {
    let engine = Engine::open(path, false).await?;
    let gone = engine.gone.mark(1);
    let id = engine.client.add(JOB.name, &job(), None).await?;
    let working = engine.work(1, &engine.client);
    gone.reached().await?;
    let document = engine.client.get(&id).await.context("the job is done")?;
    working.end().await?;
    engine.close().await?;
    std::fs::remove_file(path)?;
    Ok(serde_json::to_vec(&document)?)
}
