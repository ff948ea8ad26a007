//! What tests ask of a reader.

use rusqlite::params_from_iter;

use super::Reader;
use crate::Query;

impl Reader {
    /// How `SQLite` would go about a search, one line per step.
    pub fn plan(&self, kind: &str, query: &Query, count: bool, few: bool) -> rusqlite::Result<Vec<String>> {
        self.within_limit(kind, query, |translator, query| {
            let select = match (count, query.after.is_some()) {
                (true, _) => translator.count(query),
                (false, true) => translator.page(query, "id", false),
                (false, false) => translator.page(query, "id", few),
            };
            let mut statement = self.connection.prepare(&format!("EXPLAIN QUERY PLAN {}", select.sql))?;
            let lines = statement.query_map(params_from_iter(select.values), |row| row.get("detail"))?;
            lines.collect()
        })
    }

    /// Whether so many matches would be sorted.
    pub fn sorts(&self, kind: &str, query: &Query, count: u64) -> rusqlite::Result<bool> {
        self.within_limit(kind, query, |translator, query| self.are_few(translator, query, count))
    }
}
