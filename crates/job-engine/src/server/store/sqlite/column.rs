//! The attributes that have a column of their own.

use jiff::Timestamp;
use rusqlite::types::Value as SqlValue;
use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_cimi::filter::{Attribute, Comparison, Literal, values_at};

use crate::clock;

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

/// A comparison of a column with a value, in SQL.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// Holds for every document.
    Always,
    /// Holds for none.
    Never,
    /// `<column> <operator>`, to be followed by the value.
    Compare(&'static str, SqlValue),
    /// A condition without a value.
    Plain(&'static str),
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

    /// What the column holds for a document; none if that is irregular.
    pub fn value(self, id: &str, document: &Document) -> Option<SqlValue> {
        match (self, values_at(document, &Attribute(self.path().to_owned())).as_slice()) {
            (Self::Id, [Value::String(text)]) => (text == id).then(|| SqlValue::Text(text.clone())),
            (Self::Id, _) => None,
            (_, []) => Some(SqlValue::Null),
            (Self::Priority, [Value::Number(number)]) => {
                number.as_i64().filter(|whole| (-EXACT..=EXACT).contains(whole)).map(SqlValue::Integer)
            }
            (Self::Priority, _) => None,
            (Self::Created | Self::Updated, [Value::String(text)]) => {
                let time = text.parse::<Timestamp>().ok()?;
                (canonical(time)? == *text).then(|| SqlValue::Text(text.clone()))
            }
            (_, [Value::String(text)]) => Some(SqlValue::Text(text.clone())),
            _ => None,
        }
    }

    /// The comparison in SQL, with exactly the meaning of `Filter::matches` as long as the column is regular; none
    /// where that has to be asked.
    pub fn condition(self, comparison: Comparison, literal: &Literal) -> Option<Condition> {
        if *literal == Literal::Null {
            return Some(match comparison {
                Comparison::Equal => Condition::Plain("IS NULL"),
                Comparison::NotEqual => Condition::Plain("IS NOT NULL"),
                _ => Condition::Never,
            });
        }
        match self {
            Self::Priority => {
                let whole = match literal {
                    Literal::Integer(number) => i64::try_from(*number).ok()?,
                    Literal::Text(text) => text.parse().ok()?,
                    Literal::Boolean(_) | Literal::Null => return None,
                };
                Some(Condition::Compare(operator(comparison), SqlValue::Integer(whole)))
            }
            Self::Created | Self::Updated => match as_text(literal).parse::<Timestamp>() {
                Ok(time) if matches!(literal, Literal::Text(_)) => compare_instant(comparison, time),
                _ => Some(Condition::Compare(operator(comparison), SqlValue::Text(as_text(literal)))),
            },
            _ => Some(Condition::Compare(operator(comparison), SqlValue::Text(as_text(literal)))),
        }
    }
}

/// `!=` holds for missing values too, as `IS NOT` does.
fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "IS NOT",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

/// A text attribute is compared with a literal as it is written (specification 4.4).
pub(super) fn as_text(literal: &Literal) -> String {
    match literal {
        Literal::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A column of times holds whole milliseconds, so that a time between two of them is after the first and equals none.
fn compare_instant(comparison: Comparison, time: Timestamp) -> Option<Condition> {
    let floor = Timestamp::from_millisecond(time.as_nanosecond().div_euclid(1_000_000).try_into().ok()?).ok()?;
    let operator = match comparison {
        _ if floor == time => operator(comparison),
        Comparison::Equal => return Some(Condition::Never),
        Comparison::NotEqual => return Some(Condition::Always),
        Comparison::Less | Comparison::LessOrEqual => "<=",
        Comparison::Greater | Comparison::GreaterOrEqual => ">",
    };
    Some(Condition::Compare(operator, SqlValue::Text(canonical(floor)?)))
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, which as text is ordered as time; none outside the years 0 to 9999.
fn canonical(time: Timestamp) -> Option<String> {
    Some(clock::print(time)).filter(|text| text.len() == "YYYY-MM-DDTHH:MM:SS.mmmZ".len())
}
