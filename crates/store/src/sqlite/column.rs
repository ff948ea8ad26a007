//! The attributes that have a column of their own.

use std::borrow::Cow;

use jiff::Timestamp;
use rusqlite::types::{Value as SqlValue, ValueRef};
use serde_json::Value;
use slipstream_cimi::filter::{Attribute, Comparison, Literal, Span, values_at};

use slipstream_cimi::resource::format_time;

use super::key::{Key, id_of};
use crate::StoredDocument;

/// See [`Column::tops`].
pub(super) type Tops<'a> = [Option<Cow<'a, Value>>; Column::ALL.len()];

/// What people search jobs by. A column holds the attribute's value if it is *regular*: missing, or one value of the
/// column's type. Of any other value only the evaluator knows how it compares, so its column is NULL and the bit of the
/// column is set in `irregular`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    State,
    Action,
    Target,
    Parent,
    Created,
    Updated,
    Priority,
    Owner,
}

/// A comparison of a column with values, in SQL.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub sql: String,
    /// What belongs to its question marks.
    pub values: Vec<SqlValue>,
}

/// The largest whole number up to which ordering as floating-point numbers is exact.
const EXACT: i64 = 1 << 53;

impl Column {
    /// In the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Id,
        Self::State,
        Self::Action,
        Self::Target,
        Self::Parent,
        Self::Created,
        Self::Updated,
        Self::Priority,
        Self::Owner,
    ];

    /// Those that the table has beside the key, in the order of the table.
    pub const STORED: [Self; 8] = {
        let [_id, stored @ ..] = Self::ALL;
        stored
    };

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::State => "state",
            Self::Action => "action",
            Self::Target => "target",
            Self::Parent => "parent",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Priority => "priority",
            Self::Owner => "owner",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Target => "targetResource/href",
            Self::Parent => "parentJob",
            Self::Owner => "acl/owner/principal",
            _ => self.name(),
        }
    }

    /// Its bit in `irregular`.
    pub fn bit(self) -> i64 {
        1 << self as i64
    }

    /// The column of an attribute.
    pub fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.path() == path)
    }

    /// What each column holds for a document, in the order of [`ALL`](Self::ALL); none where that is irregular.
    pub fn values(id: &str, document: &StoredDocument, tops: &Tops<'_>) -> [Option<SqlValue>; Self::ALL.len()] {
        let mut tops = tops.iter();
        Self::ALL.map(|column| column.value(id, document, tops.next().and_then(|top| top.as_deref())))
    }

    /// The members of the document in which the paths begin, in the same order.
    pub fn tops(document: &StoredDocument) -> Tops<'_> {
        document.values(Self::ALL.map(Self::top))
    }

    fn value(self, id: &str, document: &StoredDocument, top: Option<&Value>) -> Option<SqlValue> {
        match plain(top, self.path()) {
            Ok(value) => self.regular(id, value),
            Err(NotPlain) => match values_at(document, &Attribute(self.path().to_owned())).as_slice() {
                [] => self.regular(id, None),
                [value] => self.regular(id, Some(value)),
                _ => None,
            },
        }
    }

    /// The first name of its path.
    fn top(self) -> &'static str {
        match self {
            Self::Target => "targetResource",
            Self::Owner => "acl",
            _ => self.path(),
        }
    }

    fn regular(self, id: &str, value: Option<&Value>) -> Option<SqlValue> {
        match (self, value) {
            // it has a column of its own already, see `Key`
            (Self::Id, Some(Value::String(text))) => (text == id).then_some(SqlValue::Null),
            (Self::Id, _) => None,
            (_, None) => Some(SqlValue::Null),
            (Self::Priority, Some(Value::Number(number))) => {
                number.as_i64().filter(|whole| (-EXACT..=EXACT).contains(whole)).map(SqlValue::Integer)
            }
            (Self::Priority, _) => None,
            (Self::Created | Self::Updated, Some(Value::String(text))) => {
                let time = text.parse::<Timestamp>().ok()?;
                (canonical(time)? == *text).then(|| SqlValue::Integer(time.as_millisecond()))
            }
            (_, Some(Value::String(text))) => Some(SqlValue::Text(text.clone())),
            _ => None,
        }
    }

    /// The comparison in SQL, with exactly the meaning of `Filter::matches` as long as the column is regular; none
    /// where that has to be asked.
    pub fn condition(self, comparison: Comparison, literal: &Literal) -> Option<Condition> {
        let name = self.name();
        match (comparison, literal) {
            (Comparison::Words, _) => None,
            (Comparison::Equal, Literal::Null) => Some(Condition::new(format!("{name} IS NULL"), [])),
            (Comparison::NotEqual, Literal::Null) => Some(Condition::new(format!("{name} IS NOT NULL"), [])),
            (_, Literal::Null) => Some(Condition::never()),
            (Comparison::StartsWith, Literal::Text(prefix)) => Some(self.starts_with(prefix)),
            (Comparison::Equal | Comparison::NotEqual, Literal::List(elements)) => self.any_of(comparison, elements),
            (Comparison::StartsWith, _) | (_, Literal::List(_)) => None,
            _ if self.holds_times() => during(name, comparison, Span::of(literal)),
            (Comparison::Equal | Comparison::NotEqual, _) if self == Self::Id => {
                Some(Condition::new(format!("id {} ?", operator(comparison)), [self.comparable(literal)?]))
            }
            // whatever the literal is: the order of keys is that of ids only among those of one form
            _ if self == Self::Id => Some(Condition::new(
                format!("id_text(id) {} ?", operator(comparison)),
                [SqlValue::Text(literal.text().into_owned())],
            )),
            _ => Some(Condition::new(format!("{name} {} ?", operator(comparison)), [self.comparable(literal)?])),
        }
    }

    /// Whether each of its values is worth a search of its own, in order of `created` or else of id.
    pub fn has_branches(self, by_created: bool) -> bool {
        match self {
            Self::State | Self::Target => true,
            Self::Action | Self::Parent | Self::Owner => by_created,
            _ => false,
        }
    }

    /// What the document has where the column has this.
    pub fn shown(self, stored: ValueRef<'_>) -> rusqlite::Result<Option<Value>> {
        Ok(match stored {
            ValueRef::Integer(milliseconds) if self.holds_times() => {
                Timestamp::from_millisecond(milliseconds).ok().map(|time| Value::from(format_time(time)))
            }
            ValueRef::Integer(number) => Some(Value::from(number)),
            ValueRef::Text(text) => Some(Value::from(String::from_utf8_lossy(text))),
            ValueRef::Blob(_) => Some(Value::from(id_of(stored)?)),
            ValueRef::Null | ValueRef::Real(_) => None,
        })
    }

    pub fn holds_times(self) -> bool {
        matches!(self, Self::Created | Self::Updated)
    }

    /// The literal as a value that compares with the column's as `Filter::matches` does; none if there is no such.
    fn comparable(self, literal: &Literal) -> Option<SqlValue> {
        match (self, literal) {
            (Self::Priority, Literal::Integer(number)) => i64::try_from(*number).ok().map(SqlValue::Integer),
            (Self::Priority, Literal::Text(text)) => text.parse().ok().map(SqlValue::Integer),
            (Self::Priority | Self::Created | Self::Updated, _) | (_, Literal::Null | Literal::List(_)) => None,
            (Self::Id, _) => Some(Key::of(&literal.text()).value()),
            _ => Some(SqlValue::Text(literal.text().into_owned())),
        }
    }

    /// As a range, for which the indexes can be used: texts are ordered by their bytes, which is by code point.
    fn starts_with(self, prefix: &str) -> Condition {
        if self == Self::Priority || self.holds_times() {
            return Condition::never();
        }
        let name = if self == Self::Id { "id_text(id)" } else { self.name() };
        let start = SqlValue::Text(prefix.to_owned());
        match successor(prefix) {
            Some(end) => Condition::new(format!("({name} >= ? AND {name} < ?)"), [start, SqlValue::Text(end)]),
            None => Condition::new(format!("{name} >= ?"), [start]),
        }
    }

    /// Dates are left to the evaluator: each element may be a span of its own.
    fn any_of(self, comparison: Comparison, elements: &[Literal]) -> Option<Condition> {
        let values: Vec<SqlValue> = elements.iter().map(|element| self.comparable(element)).collect::<Option<_>>()?;
        let marks = vec!["?"; values.len()].join(", ");
        let name = self.name();
        let sql = match comparison {
            Comparison::NotEqual => format!("({name} IN ({marks})) IS NOT TRUE"),
            _ => format!("{name} IN ({marks})"),
        };
        Some(Condition::new(sql, values))
    }
}

/// Only the evaluator knows which values a document has at a path.
struct NotPlain;

/// The one value at a path that leads from `top` through objects alone, as almost every path does; none if it is
/// missing.
fn plain<'a>(top: Option<&'a Value>, path: &str) -> Result<Option<&'a Value>, NotPlain> {
    let mut found = top;
    for name in path.split('/').skip(1) {
        found = match found {
            Some(Value::Object(object)) => object.get(name),
            None => None,
            Some(_) => return Err(NotPlain),
        };
    }
    match found {
        None | Some(Value::String(_) | Value::Number(_)) => Ok(found),
        Some(_) => Err(NotPlain),
    }
}

impl Condition {
    fn new(sql: String, values: impl IntoIterator<Item = SqlValue>) -> Self {
        Self { sql, values: values.into_iter().collect() }
    }

    /// Holds for no document.
    fn never() -> Self {
        Self::new("FALSE".to_owned(), [])
    }
}

/// `!=` holds for missing values too, as `IS NOT` does.
fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
        Comparison::NotEqual => "IS NOT",
        Comparison::Equal | Comparison::StartsWith | Comparison::Words => "=",
    }
}

/// The least text after all that start so; none if there is no end to them.
pub(super) fn successor(prefix: &str) -> Option<String> {
    let rest = prefix.trim_end_matches(char::MAX);
    let last = rest.chars().next_back()?;
    let next = (last..=char::MAX).nth(1)?;
    Some(format!("{}{next}", &rest[..rest.len() - last.len_utf8()]))
}

/// A column of times holds milliseconds since 1970: of a span only whole ones within count. What is no date equals nothing.
fn during(name: &str, comparison: Comparison, span: Option<Span>) -> Option<Condition> {
    let Some(span) = span else {
        let sql = if comparison == Comparison::NotEqual { "TRUE" } else { "FALSE" };
        return Some(Condition::new(sql.to_owned(), []));
    };
    let millisecond = |nanoseconds: i128| {
        let time = Timestamp::from_millisecond(nanoseconds.div_euclid(1_000_000).try_into().ok()?).ok()?;
        canonical(time).map(|_| SqlValue::Integer(time.as_millisecond()))
    };
    let (first, last) = (millisecond(span.first.as_nanosecond() + 999_999)?, millisecond(span.last.as_nanosecond())?);
    let (sql, values) = match comparison {
        Comparison::Less => (format!("{name} < ?"), vec![first]),
        Comparison::LessOrEqual => (format!("{name} <= ?"), vec![last]),
        Comparison::Greater => (format!("{name} > ?"), vec![last]),
        Comparison::GreaterOrEqual => (format!("{name} >= ?"), vec![first]),
        Comparison::NotEqual => (format!("({name} BETWEEN ? AND ?) IS NOT TRUE"), vec![first, last]),
        Comparison::Equal | Comparison::StartsWith | Comparison::Words => {
            (format!("{name} BETWEEN ? AND ?"), vec![first, last])
        }
    };
    Some(Condition { sql, values })
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`; none outside the years 0 to 9999.
fn canonical(time: Timestamp) -> Option<String> {
    Some(format_time(time)).filter(|text| text.len() == "YYYY-MM-DDTHH:MM:SS.mmmZ".len())
}
