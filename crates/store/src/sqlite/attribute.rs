//! Attributes of declared types, in an index beside the documents, so that jobs cost nothing more.
//!
//! `attribute` has a row for each document and declared path that finds something there: its value if that is one short
//! text, else [`IRREGULAR`]. As long as no document of a type has an irregular value at a path, the index answers for it by
//! itself; else it finds all that may match, and the evaluator is asked of each.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params};
use slipstream_cimi::Document;
use slipstream_cimi::filter::{Attribute, Comparison, DATE_ATTRIBUTES, Literal, values_at};

use super::OpenError;
use super::column::{Column, Condition, successor};
use super::failure::failure_of;
use super::key::Key;
use super::opening::{Done, Opening, is_stop};
use super::reader::document;

/// What the index has for a value of which only the evaluator knows how it compares.
const IRREGULAR: SqlValue = SqlValue::Blob(Vec::new());
/// The longest text that the index has, in bytes.
const LONGEST: usize = 512;
/// After so many documents it is told how far it is, and looked whether it is to stop.
const LOOK_EVERY: u64 = 1_000;

/// The types of documents that somebody has declared, each with the paths at which its documents are indexed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared(BTreeMap<String, BTreeSet<String>>);

impl Declared {
    /// Declares a type, in place of what was declared of it before. A path that has an index in every type, or that holds
    /// times, which are compared as instants, is left out: see [`may_be_indexed`].
    pub fn add(&mut self, kind: impl Into<String>, paths: impl IntoIterator<Item = String>) {
        self.0.insert(kind.into(), paths.into_iter().filter(|path| may_be_indexed(path)).collect());
    }

    /// Whether documents of this type are declared.
    pub(super) fn has(&self, kind: &str) -> bool {
        self.0.contains_key(kind)
    }

    /// The paths at which documents of a type are indexed.
    pub(super) fn paths(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.0.get(kind).into_iter().flatten().map(String::as_str)
    }

    /// Whether a comparison of this path is found by an index.
    pub(super) fn finds(&self, kind: &str, path: &str, comparison: Comparison, literal: &Literal) -> bool {
        self.0.get(kind).is_some_and(|paths| paths.contains(path)) && condition(comparison, literal).is_some()
    }

    /// What the index has of a document, in order of the paths.
    pub(super) fn rows(&self, kind: &str, document: Option<&Document>) -> Vec<(String, SqlValue)> {
        self.paths(kind).filter_map(|path| Some((path.to_owned(), value(document, path)?))).collect()
    }
}

/// Whether an index of a path may be declared: not of one that every type has an index on, nor of one with times, which are
/// compared as instants.
#[must_use]
pub fn may_be_indexed(path: &str) -> bool {
    Column::of(path).is_none() && !DATE_ATTRIBUTES.contains(&path)
}

/// The value of a document at a path, as the index has it; none where there is nothing. A document that cannot be read may
/// have any.
fn value(document: Option<&Document>, path: &str) -> Option<SqlValue> {
    let Some(document) = document else { return Some(IRREGULAR) };
    match values_at(document, &Attribute(path.to_owned())).as_slice() {
        [] => None,
        [serde_json::Value::String(text)] if text.len() <= LONGEST => Some(SqlValue::Text(text.clone())),
        _ => Some(IRREGULAR),
    }
}

/// The comparison of a regular value, in SQL, with exactly the meaning of `Filter::matches`; none where the index is of no use.
fn condition(comparison: Comparison, literal: &Literal) -> Option<Condition> {
    let text = |literal: &Literal| SqlValue::Text(literal.text().into_owned());
    let (sql, values) = match (comparison, literal) {
        (Comparison::Equal, Literal::Null) => return None,
        (Comparison::Equal, Literal::List(elements)) => {
            (format!("value IN ({})", vec!["?"; elements.len()].join(", ")), elements.iter().map(text).collect())
        }
        (Comparison::Equal, one) => ("value = ?".to_owned(), vec![text(one)]),
        // a text is less than any blob
        (Comparison::StartsWith, Literal::Text(prefix)) => match successor(prefix) {
            Some(end) => ("value >= ? AND value < ?".to_owned(), vec![text(literal), SqlValue::Text(end)]),
            None => ("value >= ? AND value < x''".to_owned(), vec![text(literal)]),
        },
        _ => return None,
    };
    Some(Condition { sql, values })
}

/// How a search uses the index of one type.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexed {
    /// The paths, each with whether a document has an irregular value there.
    paths: BTreeMap<String, bool>,
}

/// The documents that the index finds for a comparison.
pub(super) struct Find {
    /// The part of a statement from `FROM` on; in `attribute`, whose `id` are theirs.
    pub from: Condition,
    /// Some of them may not match.
    pub is_superset: bool,
}

impl Indexed {
    /// What is declared of a type, with what is stored now.
    pub fn of(connection: &Connection, declared: &Declared, kind: &str) -> rusqlite::Result<Self> {
        let mut paths = BTreeMap::new();
        for path in declared.paths(kind) {
            let sql = "SELECT EXISTS (SELECT 1 FROM attribute WHERE type = ? AND path = ? AND value = x'')";
            let is_irregular = connection.prepare_cached(sql)?.query_row([kind, path], |row| row.get(0))?;
            paths.insert(path.to_owned(), is_irregular);
        }
        Ok(Self { paths })
    }

    /// Whether the index finds what a comparison asks for.
    pub fn finds(&self, path: &str, comparison: Comparison, literal: &Literal) -> bool {
        self.paths.contains_key(path) && condition(comparison, literal).is_some()
    }

    /// How the index finds it.
    pub fn find(&self, kind: &str, path: &str, comparison: Comparison, literal: &Literal) -> Option<Find> {
        let is_superset = *self.paths.get(path)?;
        let Condition { sql, values } = condition(comparison, literal)?;
        let place = || [kind, path].map(|text| SqlValue::Text(text.to_owned()));
        let mut from =
            Condition { sql: format!("FROM attribute WHERE type = ? AND path = ? AND {sql}"), values: place().into() };
        from.values.extend(values);
        if is_superset {
            // as one condition with the other it would be no range of the index
            from.sql.push_str(" UNION ALL SELECT id FROM attribute WHERE type = ? AND path = ? AND value = x''");
            from.values.extend(place());
        }
        Some(Find { from, is_superset })
    }

    /// How many values are bound for a comparison of this path, apart from those of a list.
    pub fn bound(&self, path: &str) -> usize {
        // two for each of two places, and a range
        if self.paths.contains_key(path) { 6 } else { 0 }
    }
}

/// Makes the rows of a document what they are to be: `before` are those that it has.
pub(super) fn change(
    connection: &Connection,
    (kind, id): (&str, &str),
    before: &[(String, SqlValue)],
    after: &[(String, SqlValue)],
) -> rusqlite::Result<()> {
    let key = Key::of(id);
    for (path, value) in before.iter().filter(|row| !after.contains(row)) {
        let sql = "DELETE FROM attribute WHERE type = ? AND path = ? AND value = ? AND id = ?";
        connection.prepare_cached(sql)?.execute(params![kind, path, value, key])?;
    }
    for (path, value) in after.iter().filter(|row| !before.contains(row)) {
        let sql = "INSERT INTO attribute (type, path, value, id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
        connection.prepare_cached(sql)?.execute(params![kind, path, value, key])?;
    }
    Ok(())
}

/// Takes away all rows of a document that cannot be read any more: whatever it was when they were written.
pub(super) fn forget(connection: &Connection, declared: &Declared, kind: &str, id: &str) -> rusqlite::Result<()> {
    for path in declared.paths(kind) {
        let sql = "DELETE FROM attribute WHERE type = ? AND path = ? AND id = ?";
        connection.prepare_cached(sql)?.execute(params![kind, path, Key::of(id)])?;
    }
    Ok(())
}

/// Makes the index that of what is declared now: fills what is new, and drops what is not declared any more. Blocks for as
/// long as reading the documents of the types with a new path takes.
pub(super) fn prepare(
    connection: &mut Connection,
    declared: &Declared,
    path: &std::path::Path,
    opening: &Opening,
) -> Result<(), OpenError> {
    let prepared = declare(connection, declared, opening);
    prepared.map_err(|error| match error {
        error if is_stop(&error) => OpenError::Stopped { path: path.to_owned() },
        error => failure_of(connection, path, error),
    })
}

fn declare(connection: &mut Connection, declared: &Declared, opening: &Opening) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT type, path FROM indexed")?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let before: BTreeSet<(String, String)> = found.collect::<rusqlite::Result<_>>()?;
    drop(statement);
    let pairs = declared.0.iter().flat_map(|(kind, paths)| paths.iter().map(|path| (kind.clone(), path.clone())));
    let after: BTreeSet<(String, String)> = pairs.collect();
    if before == after {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for (kind, path) in before.difference(&after) {
        transaction.execute("DELETE FROM attribute WHERE type = ? AND path = ?", [kind, path])?;
        transaction.execute("DELETE FROM indexed WHERE type = ? AND path = ?", [kind, path])?;
    }
    let mut new: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kind, path) in after.difference(&before) {
        transaction.execute("INSERT INTO indexed (type, path) VALUES (?, ?)", [kind, path])?;
        new.entry(kind).or_default().push(path);
    }
    for (kind, paths) in new {
        fill(&transaction, kind, &paths, opening)?;
    }
    transaction.commit()
}

fn fill(connection: &Connection, kind: &str, paths: &[&str], opening: &Opening) -> rusqlite::Result<()> {
    let all =
        connection.query_row("SELECT count(*) FROM resource WHERE type = ?", [kind], |row| row.get::<_, i64>(0))?;
    let all = u64::try_from(all).unwrap_or_default();
    let mut documents = connection.prepare("SELECT id, document FROM resource WHERE type = ?")?;
    let mut insert = connection.prepare("INSERT INTO attribute (type, path, value, id) VALUES (?, ?, ?, ?)")?;
    let (mut rows, mut done) = (documents.query([kind])?, 0_u64);
    while let Some(row) = rows.next()? {
        if done.is_multiple_of(LOOK_EVERY) {
            opening.declared(Done { done, all })?;
        }
        let document = document(row.get_ref(1)?).ok().map(|(document, _)| document);
        for path in paths {
            if let Some(value) = value(document.as_ref(), path) {
                insert.execute(params![kind, path, value, row.get::<_, SqlValue>(0)?])?;
            }
        }
        done += 1;
    }
    Ok(())
}
