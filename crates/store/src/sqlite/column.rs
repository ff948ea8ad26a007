//! The attributes that have a column of their own.

use jiff::Timestamp;
use rusqlite::types::{Value as SqlValue, ValueRef};
use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_cimi::filter::{Attribute, Comparison, Literal, Span, values_at};

use slipstream_cimi::resource::format_time;

use super::key::{Key, id_of};

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
    pub fn values(id: &str, document: &Document) -> [Option<SqlValue>; Self::ALL.len()] {
        // one walk through the members is quicker than looking for each
        let mut tops = [None; Self::ALL.len()];
        for (name, value) in document {
            if let Some(column) = Self::beginning_with(name) {
                tops[column as usize] = Some(value);
            }
        }
        Self::ALL.map(|column| column.value(id, document, tops[column as usize]))
    }

    /// `top` is the member of the document in which the path begins.
    fn value(self, id: &str, document: &Document, top: Option<&Value>) -> Option<SqlValue> {
        match plain(top, self.below()) {
            Ok(value) => self.regular(id, value),
            Err(NotPlain) => match values_at(document, &Attribute(self.path().to_owned())).as_slice() {
                [] => self.regular(id, None),
                [value] => self.regular(id, Some(value)),
                _ => None,
            },
        }
    }

    /// The one whose path begins with this name.
    fn beginning_with(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "state" => Self::State,
            "action" => Self::Action,
            "targetResource" => Self::Target,
            "parentJob" => Self::Parent,
            "created" => Self::Created,
            "updated" => Self::Updated,
            "priority" => Self::Priority,
            "acl" => Self::Owner,
            _ => return None,
        })
    }

    /// The names of its path that follow the first.
    fn below(self) -> &'static [&'static str] {
        match self {
            Self::Target => &["href"],
            Self::Owner => &["owner", "principal"],
            _ => &[],
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
            (Self::Created | Self::Updated, Some(Value::String(text))) => milliseconds(text).map(SqlValue::Integer),
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

/// The one value that these names lead to from `top` through objects alone, as almost every path does; none if it is missing.
fn plain<'a>(top: Option<&'a Value>, names: &[&str]) -> Result<Option<&'a Value>, NotPlain> {
    let mut found = top;
    for name in names {
        found = match found {
            Some(Value::Object(object)) => object.get(*name),
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
fn successor(prefix: &str) -> Option<String> {
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

/// Milliseconds since 1970 of a time in the one form in which the server writes it, see [`canonical`]: its digits are enough,
/// where any other form needs a parser.
fn milliseconds(text: &str) -> Option<i64> {
    let form = *b"0000-00-00T00:00:00.000Z";
    let bytes: [u8; 24] = text.as_bytes().try_into().ok()?;
    let fits = |(wanted, found): (u8, u8)| if wanted == b'0' { found.is_ascii_digit() } else { wanted == found };
    if !form.into_iter().zip(bytes).all(fits) {
        return None;
    }
    let number =
        |from: usize, to: usize| bytes[from..to].iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last_day = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    // the last days that there are, in whatever zone, are no times
    let is_time = (1..=last_day).contains(&day) && hour < 24 && minute < 60 && second < 60 && text < LATEST;
    // years begin in March, so that the leap day is the last one
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (153 * month + 2) / 5 + day - 1 - MARCH_0_TO_1970;
    is_time.then(|| (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + number(20, 23))
}

/// Days from 1 March of the year 0 to 1 January 1970.
const MARCH_0_TO_1970: i64 = 719_468;
/// The first whole second after [`Timestamp::MAX`].
const LATEST: &str = "9999-12-30T22:00:01";

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`; none outside the years 0 to 9999.
fn canonical(time: Timestamp) -> Option<String> {
    Some(format_time(time)).filter(|text| text.len() == "YYYY-MM-DDTHH:MM:SS.mmmZ".len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the parser of any time makes of it.
    fn parsed(text: &str) -> Option<i64> {
        let time = text.parse::<Timestamp>().ok()?;
        (canonical(time)? == text).then(|| time.as_millisecond())
    }

    #[test]
    fn times_that_are_none_have_no_milliseconds() {
        for text in [
            "2026-02-29T00:00:00.000Z",
            "2024-02-29T00:00:00.000Z",
            "1900-02-29T00:00:00.000Z",
            "2000-02-29T23:59:59.999Z",
            "0000-01-01T00:00:00.000Z",
            "0000-02-29T00:00:00.000Z",
            "9999-12-30T22:00:00.999Z",
            "9999-12-30T22:00:01.000Z",
            "9999-12-31T00:00:00.000Z",
            "2026-04-31T00:00:00.000Z",
            "2026-00-01T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:60:00.000Z",
            "2026-01-01T00:00:60.000Z",
            "2026-01-01 00:00:00.000Z",
            "2026-01-01T00:00:00.000z",
            "2026-01-01T00:00:00Z",
            "",
        ] {
            assert_eq!(milliseconds(text), parsed(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn times_have_the_milliseconds_that_a_parser_finds(
            text in "[0-9]{4}-(0[0-9]|1[0-3])-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{3}Z"
        ) {
            prop_assert_eq!(milliseconds(&text), parsed(&text));
        }
    }
}
