//! From a [`Query`] to SQL.
//!
//! Comparisons of attributes with a column become SQL on columns, and those of declared attributes SQL on their index; the rest of the filter becomes calls of the function
//! `satisfies(document, n)`, which asks the n-th filter of [`Select::filters`], so that every store means the same.

use rusqlite::types::Value as SqlValue;
use slipstream_cimi::filter::{Comparison, Filter, Literal};
use slipstream_cimi::query::Order;

use super::attribute::{Find, Indexed};
use super::audience::Visible;
use super::column::Column;
use super::key::Key;
use crate::Query;

/// SQL with what belongs to its question marks, in their order, and the filters it calls by number.
#[derive(Debug, Default)]
pub(super) struct Select {
    pub sql: String,
    pub values: Vec<SqlValue>,
    pub filters: Vec<Filter>,
}

impl Select {
    fn push(&mut self, parts: &[&str]) {
        self.sql.extend(parts.iter().copied());
    }

    fn ask(&mut self, filter: Filter) {
        let number = self.filters.len().to_string();
        self.push(&["satisfies(document, ", &number, ")"]);
        self.filters.push(filter);
    }
}

/// Beyond so many values to compare with the evaluator is asked for the whole: `SQLite` binds 32,766 at most, and a page
/// needs a few besides.
const MOST_VALUES: usize = 32_000;
/// Of more conditions than this joined by one word the evaluator is asked: `SQLite` plans each of them, whose time it does
/// not limit.
const MOST_CONDITIONS: usize = 256;
/// An `or` of so many states at most is answered by as many searches in the order of the index, merged.
const MOST_BRANCHES: usize = 8;
/// Searches merged at most, over states and audiences.
const MOST_PARTS: usize = 64;

/// The search for one type; `irregular` are the bits of the columns that cannot be relied on.
#[derive(Clone, Debug)]
pub(super) struct Translator<'a> {
    pub kind: &'a str,
    pub irregular: i64,
    pub visible: Visible,
    pub indexed: Indexed,
}

/// A part of the documents that match, which no other part shares.
struct Part {
    /// Only those of this audience; else those that are visible.
    audience: Option<i64>,
    filter: Option<Filter>,
}

impl Translator<'_> {
    /// Selects these columns, the first of which is the id, of the page. `few` says that sorting all that match takes less
    /// than walking in the order wanted until the page is full.
    pub fn page(&self, query: &Query, columns: &str, few: bool) -> Select {
        let parts = self.parts(query);
        // the sign keeps SQLite from walking in the order wanted
        let sign = if few && parts.is_none() { "+" } else { "" };
        let parts = parts.unwrap_or_else(|| vec![Part { audience: None, filter: query.filter.clone() }]);
        let mut select = Select::default();
        for (index, part) in parts.iter().enumerate() {
            select.push(&[if index == 0 { "" } else { " UNION ALL " }]);
            self.rows(&mut select, query, columns, part, few && parts.len() == 1);
        }
        select.push(&[" ORDER BY "]);
        for (index, order) in query.order.iter().enumerate() {
            // SQLite takes NULL for the least value
            let direction = if order.descending { "DESC" } else { "ASC NULLS LAST" };
            select.push(&[sign, "key", &index.to_string(), " ", direction, ", "]);
        }
        select.push(&[sign, "id LIMIT ? OFFSET ?"]);
        select.values.extend([query.limit, query.offset].map(saturating));
        select
    }

    /// Counts all matches; without looking at any where the tally knows.
    pub fn count(&self, query: &Query) -> Select {
        let known = self.tallied(query, "ifnull(sum(documents), 0)").or_else(|| self.counted(query));
        known.unwrap_or_else(|| self.all(query, "count(*)"))
    }

    /// The count out of the index of a declared attribute, if that is all that is asked for.
    fn counted(&self, query: &Query) -> Option<Select> {
        let Some(Filter::Compare(path, comparison, literal)) = &query.filter else { return None };
        let is_all = query.after.is_none() && self.visible == Visible::All;
        let find = self.indexed.find(self.kind, &path.0, *comparison, literal).filter(|_| is_all)?;
        let (sql, values) = (format!("SELECT count(*) {}", find.from.sql), find.from.values);
        (!find.is_superset && values.len() <= MOST_VALUES).then(|| Select { sql, values, filters: Vec::new() })
    }

    /// Selects each value of a column among all matches, with the number of those that have it.
    pub fn groups(&self, query: &Query, column: Column) -> Select {
        let name = column.name();
        let tallied = is_tallied(column).then(|| self.tallied(query, &format!("{name}, sum(documents)"))).flatten();
        let mut select = tallied.unwrap_or_else(|| self.all(query, &format!("{name}, count(*)")));
        select.push(&[" GROUP BY ", name]);
        select
    }

    /// Selects this of all matches.
    pub fn all(&self, query: &Query, wanted: &str) -> Select {
        let mut select = Select::default();
        select.push(&["SELECT ", wanted]);
        let filter = self.source(&mut select, query.filter.as_ref(), query.after.is_none());
        self.conditions(&mut select, query, &Part { audience: None, filter });
        select
    }

    /// The same from the tally, which has `documents` of each; none if the search asks for more than that has.
    fn tallied(&self, query: &Query, wanted: &str) -> Option<Select> {
        let filter = query.filter.as_ref();
        if query.after.is_some() || filter.is_some_and(|filter| self.values(filter) > MOST_VALUES) {
            return None;
        }
        let mut select = Select::default();
        let (owner, rest) = self.owner(filter);
        let kind = SqlValue::Text(self.kind.to_owned());
        // a cross join is done in the order written: each scope is searched by itself
        let (scopes, values) = match (&self.visible, owner) {
            (Visible::All, None) => ("SELECT 0 AS wanted", vec![]),
            (Visible::All, Some(owner)) => ("SELECT ? AS wanted", vec![SqlValue::Text(owner.to_owned())]),
            (Visible::Callers { administrators: true, .. }, _) | (_, Some(_)) => return None,
            (Visible::Audiences(audiences), None) => {
                let list = serde_json::Value::from(audiences.as_slice()).to_string();
                ("SELECT value AS wanted FROM json_each(?)", vec![SqlValue::Text(list)])
            }
            (Visible::Callers { names, .. }, None) => {
                // the sign takes the affinity of the column away: with it the index would be of no use, and an owner
                // whose name is its number would equal it
                let sql = "SELECT DISTINCT +audience AS wanted FROM viewer \
                           WHERE type = ? AND principal IN (SELECT value FROM json_each(?))";
                (sql, vec![kind.clone(), SqlValue::Text(names.clone())])
            }
        };
        select.push(&["SELECT ", wanted, " FROM (", scopes, ") CROSS JOIN tally "]);
        select.push(&["WHERE scope = wanted AND type = ?"]);
        select.values.extend(values);
        select.values.push(kind);
        if !rest.iter().all(|part| self.is_tallied(part)) {
            return None;
        }
        if !rest.is_empty() {
            // as one condition: of several SQLite makes an expression with a level for each, as this is a join
            select.push(&[" AND ("]);
            self.join_balanced(&mut select, &rest, " AND ");
            select.push(&[") IS TRUE"]);
        }
        Some(select)
    }

    /// The owner whose documents are asked for, if it is one, and what is asked besides.
    fn owner<'f>(&self, filter: Option<&'f Filter>) -> (Option<&'f str>, Vec<&'f Filter>) {
        let mut rest: Vec<&Filter> = match filter {
            Some(Filter::All(parts)) => parts.iter().collect(),
            other => other.into_iter().collect(),
        };
        let owner = |part: &&'f Filter| match part {
            Filter::Compare(path, Comparison::Equal, Literal::Text(name)) => {
                self.column(&path.0).filter(|column| *column == Column::Owner).map(|_| name.as_str())
            }
            _ => None,
        };
        let place = rest.iter().position(|part| owner(part).is_some());
        (place.and_then(|place| owner(&rest.remove(place))), rest)
    }

    /// Whether it asks for nothing but what the tally has.
    fn is_tallied(&self, filter: &Filter) -> bool {
        match filter {
            Filter::All(parts) | Filter::Any(parts) => parts.iter().all(|part| self.is_tallied(part)),
            Filter::Compare(path, comparison, literal) => self
                .column(&path.0)
                .filter(|column| is_tallied(*column))
                .is_some_and(|column| column.condition(*comparison, literal).is_some()),
        }
    }

    fn rows(&self, select: &mut Select, query: &Query, columns: &str, part: &Part, few: bool) {
        select.push(&["SELECT ", columns]);
        for (index, order) in query.order.iter().enumerate() {
            select.push(&[", "]);
            self.key(select, order);
            select.push(&[" AS key", &index.to_string()]);
        }
        let filter = self.source(select, part.filter.as_ref(), few);
        self.conditions(select, query, &Part { audience: part.audience, filter });
    }

    /// Where documents are looked for: where the index of a declared attribute finds them, if that `is_wanted`. Answers what is
    /// left to ask of those. Without being told, `SQLite` walks through all of a type, as it does not know how many an index finds.
    fn source(&self, select: &mut Select, filter: Option<&Filter>, is_wanted: bool) -> Option<Filter> {
        let Some((place, find)) = filter.filter(|_| is_wanted).and_then(|filter| self.leading(filter)) else {
            select.push(&[" FROM resource"]);
            return filter.cloned();
        };
        // a cross join is done in the order written
        select.push(&[" FROM (SELECT id AS found ", &find.from.sql, ") CROSS JOIN resource ON id = found"]);
        select.values.extend(find.from.values);
        let mut rest: Vec<Filter> = filter.map(conditions).into_iter().flatten().cloned().collect();
        if !find.is_superset {
            rest.remove(place);
        }
        if rest.len() > 1 { Some(Filter::All(rest)) } else { rest.pop() }
    }

    /// Of all conditions the one by which an index of a declared attribute finds the fewest, as far as that can be told; none
    /// beside a column that equals something, which `SQLite` knows more of.
    fn leading(&self, filter: &Filter) -> Option<(usize, Find)> {
        let compared = conditions(filter).iter().enumerate().filter_map(|(place, part)| match part {
            Filter::Compare(path, comparison, literal) => Some((place, &*path.0, *comparison, literal)),
            _ => None,
        });
        let (mut best, mut is_equal) = (None, false);
        for (place, path, comparison, literal) in compared {
            let equals = comparison == Comparison::Equal;
            if equals && self.column(path).is_some() {
                return None;
            }
            if (best.is_none() || equals && !is_equal) && self.indexed.finds(path, comparison, literal) {
                (best, is_equal) = (Some((place, path, comparison, literal)), equals);
            }
        }
        let (place, path, comparison, literal) = best?;
        Some((place, self.indexed.find(self.kind, path, comparison, literal)?))
    }

    fn key(&self, select: &mut Select, order: &Order) {
        if let Some(column) = self.column(&order.attribute) {
            select.push(&[column.name()]);
        } else {
            select.push(&["sort_key(document, ?, ?)"]);
            select.values.push(SqlValue::Text(order.attribute.clone()));
            select.values.push(SqlValue::Integer(i64::from(order.descending)));
        }
    }

    fn conditions(&self, select: &mut Select, query: &Query, part: &Part) {
        select.push(&[" WHERE type = ?"]);
        select.values.push(SqlValue::Text(self.kind.to_owned()));
        if let Some(after) = &query.after {
            select.push(&[" AND id > ?"]);
            select.values.push(Key::of(after).value());
        }
        match part.audience {
            Some(audience) => {
                select.push(&[" AND audience = ?"]);
                select.values.push(SqlValue::Integer(audience));
            }
            None => self.visible(select),
        }
        self.matching(select, part.filter.as_ref());
    }

    fn visible(&self, select: &mut Select) {
        match &self.visible {
            Visible::All => (),
            Visible::Audiences(audiences) => {
                select.push(&[" AND audience IN (", &vec!["?"; audiences.len()].join(", "), ")"]);
                select.values.extend(audiences.iter().copied().map(SqlValue::Integer));
            }
            Visible::Callers { names, administrators } => {
                select.push(&[" AND (", if *administrators { "audience IS NULL OR " } else { "" }]);
                select.push(&["audience IN (SELECT audience FROM viewer WHERE type = ? AND principal IN "]);
                select.push(&["(SELECT value FROM json_each(?))))"]);
                select.values.extend([self.kind, names].map(|text| SqlValue::Text(text.to_owned())));
            }
        }
    }

    fn matching(&self, select: &mut Select, filter: Option<&Filter>) {
        let Some(filter) = filter else { return };
        select.push(&[" AND "]);
        if self.values(filter) > MOST_VALUES {
            select.ask(filter.clone());
        } else {
            self.filter(select, filter);
        }
    }

    /// An attribute's column, if it can be relied on.
    pub fn column(&self, path: &str) -> Option<Column> {
        Column::of(path).filter(|column| column.bit() & self.irregular == 0)
    }

    fn filter(&self, select: &mut Select, filter: &Filter) {
        match filter {
            Filter::All(parts) => self.join(select, parts.iter().collect(), " AND "),
            Filter::Any(parts) => self.join(select, parts.iter().collect(), " OR "),
            Filter::Compare(path, comparison, literal) => {
                if let Some(condition) = self.column(&path.0).and_then(|column| column.condition(*comparison, literal))
                {
                    select.push(&[&condition.sql]);
                    select.values.extend(condition.values);
                } else if let Some(find) = self.indexed.find(self.kind, &path.0, *comparison, literal) {
                    Self::found(select, filter, find);
                } else {
                    select.ask(filter.clone());
                }
            }
        }
    }

    /// Those that an index finds, of which the evaluator is asked if some may not match.
    fn found(select: &mut Select, filter: &Filter, find: Find) {
        select.push(&["(id IN (SELECT id ", &find.from.sql, ")"]);
        select.values.extend(find.from.values);
        if find.is_superset {
            select.push(&[" AND "]);
            select.ask(filter.clone());
        }
        select.push(&[")"]);
    }

    /// What columns and indexes answer first; then the evaluator, once for all the rest.
    fn join(&self, select: &mut Select, parts: Vec<&Filter>, word: &str) {
        let (mut columns, mut rest): (Vec<&Filter>, Vec<&Filter>) =
            parts.into_iter().partition(|part| self.uses_indexes(part));
        if columns.len() > MOST_CONDITIONS {
            // those of an `and` that are left still narrow what is looked at; an `or` has to be asked whole
            rest.extend(columns.split_off(if word == " AND " { MOST_CONDITIONS } else { 0 }));
        }
        select.push(&["("]);
        self.join_balanced(select, &columns, word);
        if !rest.is_empty() {
            select.push(&[if columns.is_empty() { "" } else { word }]);
            let rest = rest.into_iter().cloned().collect();
            select.ask(if word == " AND " { Filter::All(rest) } else { Filter::Any(rest) });
        }
        select.push(&[")"]);
    }

    /// `SQLite` refuses expressions deeper than 1,000, and without parentheses each term is one deeper.
    fn join_balanced(&self, select: &mut Select, parts: &[&Filter], word: &str) {
        match parts {
            [] => (),
            [part] => self.filter(select, part),
            _ => {
                let (left, right) = parts.split_at(parts.len() / 2);
                select.push(&["("]);
                self.join_balanced(select, left, word);
                select.push(&[word]);
                self.join_balanced(select, right, word);
                select.push(&[")"]);
            }
        }
    }

    fn uses_indexes(&self, filter: &Filter) -> bool {
        match filter {
            Filter::All(parts) | Filter::Any(parts) => parts.iter().any(|part| self.uses_indexes(part)),
            Filter::Compare(path, comparison, literal) => {
                self.column(&path.0).is_some_and(|column| column.condition(*comparison, literal).is_some())
                    || self.indexed.finds(&path.0, *comparison, literal)
            }
        }
    }

    /// How many values are bound for a filter at most.
    fn values(&self, filter: &Filter) -> usize {
        match filter {
            Filter::All(parts) | Filter::Any(parts) => parts.iter().map(|part| self.values(part)).sum(),
            // a range has two
            Filter::Compare(path, _, Literal::List(elements)) => 2.max(elements.len()) + self.indexed.bound(&path.0),
            Filter::Compare(path, ..) => 2 + self.indexed.bound(&path.0),
        }
    }

    /// The search as several, each of which has an index in the order wanted; none where there is but one.
    fn parts(&self, query: &Query) -> Option<Vec<Part>> {
        let filter = query.filter.as_ref();
        let by_created =
            query.order.first().is_some_and(|order| self.column(&order.attribute) == Some(Column::Created));
        let branches = filter.and_then(|filter| self.branches(filter, by_created));
        let audiences = match &self.visible {
            Visible::Audiences(audiences) if !audiences.is_empty() => audiences.as_slice(),
            _ => {
                return Some(
                    branches?.into_iter().map(|branch| Part { audience: None, filter: Some(branch) }).collect(),
                );
            }
        };
        let branches = branches.filter(|branches| branches.len() * audiences.len() <= MOST_PARTS);
        let filters: Vec<Option<Filter>> =
            branches.map_or_else(|| vec![filter.cloned()], |branches| branches.into_iter().map(Some).collect());
        if filter.map_or(0, |filter| self.values(filter)) * filters.len() * audiences.len() > MOST_VALUES {
            return None;
        }
        let parts = audiences.iter().flat_map(|audience| {
            filters.iter().map(|filter| Part { audience: Some(*audience), filter: filter.clone() })
        });
        Some(parts.collect())
    }

    /// A filter that asks for one of some states (or actions, …) as one filter for each: each has an index in the order
    /// wanted, while all together would have to be sorted. No document is in two.
    fn branches(&self, filter: &Filter, by_created: bool) -> Option<Vec<Filter>> {
        let parts = conditions(filter);
        let alternatives = parts.iter().enumerate();
        let (place, alternatives) = alternatives
            .filter_map(|(place, part)| Some((place, self.alternatives(part, by_created)?)))
            .filter(|(_, alternatives)| {
                alternatives.len() > 1 || alternatives.iter().all(|one| self.is_in_any_order(one))
            })
            .max_by_key(|(_, alternatives)| alternatives.len())?;
        if self.values(filter) * alternatives.len() > MOST_VALUES {
            return None;
        }
        let branch = |alternative: Filter| {
            let others = parts.iter().enumerate().filter(|(index, _)| *index != place).map(|(_, part)| part);
            Filter::All(others.cloned().chain([alternative]).collect())
        };
        Some(alternatives.into_iter().map(branch).collect())
    }

    fn is_in_any_order(&self, filter: &Filter) -> bool {
        matches!(filter, Filter::Compare(path, ..) if self.column(&path.0).is_some_and(|column| column.has_branches(false)))
    }

    fn alternatives(&self, filter: &Filter, by_created: bool) -> Option<Vec<Filter>> {
        let parts = match filter {
            Filter::Any(parts) => parts.as_slice(),
            other => std::slice::from_ref(other),
        };
        let mut column = None;
        let mut wanted: Vec<Filter> = Vec::new();
        for part in parts {
            let Filter::Compare(path, Comparison::Equal, literal) = part else { return None };
            let found = self.column(&path.0).filter(|column| column.has_branches(by_created))?;
            if *literal == Literal::Null || *column.get_or_insert(found) != found {
                return None;
            }
            let literals = if let Literal::List(elements) = literal { elements } else { std::slice::from_ref(literal) };
            for literal in literals {
                let text = Literal::Text(literal.text().into_owned());
                let one = Filter::Compare(path.clone(), Comparison::Equal, text);
                if !wanted.contains(&one) {
                    wanted.push(one);
                }
                if wanted.len() > MOST_BRANCHES {
                    return None;
                }
            }
        }
        Some(wanted).filter(|wanted| !wanted.is_empty())
    }
}

/// All conditions of a filter that have to hold.
fn conditions(filter: &Filter) -> &[Filter] {
    match filter {
        Filter::All(parts) => parts,
        other => std::slice::from_ref(other),
    }
}

/// Whether the tally tells values of this column from each other.
fn is_tallied(column: Column) -> bool {
    matches!(column, Column::State | Column::Action)
}

fn saturating(number: u64) -> SqlValue {
    SqlValue::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
