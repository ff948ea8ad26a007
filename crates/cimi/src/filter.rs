//! The filter language (specification 4.3 and 4.4): parsed into a [`Filter`], printed, and evaluated on a document.

mod date;
mod evaluate;
mod failure;
mod hints;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod words;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use crate::resource::Document;

/// Path of an attribute; `/` separates levels: `targetResource/href`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute(pub String);

/// How an attribute is compared with a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `^=`: starts with a text.
    StartsWith,
    /// `==`: has the words of a text, which is a query of its own.
    Words,
}

/// What an attribute is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// An unsigned whole number.
    Integer(u64),
    /// A quoted text, or an unquoted date as its text.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`: the attribute is missing, null or an empty list.
    Null,
    /// Any of some values, none of which is `null` or a list.
    List(Vec<Literal>),
}

/// What a search asks of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Every one holds; never empty.
    All(Vec<Filter>),
    /// At least one holds; never empty.
    Any(Vec<Filter>),
    /// One comparison, attribute on the left.
    Compare(Attribute, Comparison, Literal),
}

/// Where and why a text is not a filter; prints with the input and a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid CIMI filter. Parse error at line {line}, column {column}:\n{excerpt}\n{caret}\n{expected}")]
pub struct FilterError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line of the input that holds the place, cut around it when long.
    pub excerpt: String,
    /// Blanks and a `^` under the place.
    pub caret: String,
    /// What would have been accepted.
    pub expected: String,
}

impl Filter {
    /// Parses a filter of at most [`MAXIMUM_LENGTH`] bytes with parentheses at most [`MAXIMUM_DEPTH`] deep.
    ///
    /// What a date attribute is compared with must be a date, a timestamp or date math; what `==` looks for has at most
    /// [`MAXIMUM_WORDS`] words.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text)
    }

    /// The same with `now`, in what date attributes are compared with, replaced by this time: to be done once a search,
    /// as [`Filter::matches`] has no clock.
    #[must_use]
    pub fn resolve(self, now: Timestamp) -> Self {
        let all = |parts: Vec<Self>| parts.into_iter().map(|part| part.resolve(now)).collect();
        match self {
            Self::All(parts) => Self::All(all(parts)),
            Self::Any(parts) => Self::Any(all(parts)),
            Self::Compare(attribute, comparison, literal) if comparison.takes_dates(&attribute) => {
                Self::Compare(attribute, comparison, date::resolve(literal, now))
            }
            other @ Self::Compare(..) => other,
        }
    }

    /// What somebody who searches jobs may have meant otherwise, in a sentence each without a full stop: states that no
    /// job can have, each once. Such a filter is one all the same.
    #[must_use]
    pub fn hints_on_jobs(&self) -> Vec<String> {
        hints::on_jobs(self)
    }

    /// Whether the document satisfies it (specification 4.4).
    ///
    /// A comparison holds if any value found at the path satisfies it; `!=` holds if no value is equal. A literal that
    /// cannot be converted to the type of a value is neither equal to it nor ordered before or after it.
    ///
    /// * Texts compare by code point; with a text, a number or boolean literal compares as it is written.
    /// * A number compares with a text that is a number (`'50'`, `'-1'`, `'0.5'`).
    /// * A boolean compares with `'true'` and `'false'`; false comes before true.
    /// * At the paths [`DATE_ATTRIBUTES`] an RFC 3339 timestamp compares with what the literal stands for, see [`Span`];
    ///   one with an unresolved `now` equals nothing.
    /// * A list is equal if one of it is.
    /// * `^=` holds for texts only, and not for dates.
    /// * `==` knows `+` (and), `|` (or, also between words without anything), `-` (not), `*` (at the end of a word: any
    ///   word that starts so), quotes (words in a row) and parentheses, evaluated from left to right. Words are runs of
    ///   letters, digits and `_`, whatever their case. The attribute `fulltext` stands for [`FULL_TEXT_ATTRIBUTES`].
    /// * An object is a value that exists and equals nothing.
    #[must_use]
    pub fn matches(&self, document: &Document) -> bool {
        evaluate::matches(self, document)
    }
}

impl Comparison {
    /// Whether this compares an attribute with dates.
    fn takes_dates(self, attribute: &Attribute) -> bool {
        DATE_ATTRIBUTES.contains(&attribute.0.as_str()) && !matches!(self, Self::StartsWith | Self::Words)
    }
}

impl Literal {
    /// The literal as texts are compared with it: a text as it is, anything else as it is written.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.to_string()),
        }
    }
}

/// The instants that a date, a timestamp or date math stands for, from the first to the last: `2020-01-01` is the whole
/// day, `now/M` the whole month, a timestamp with a fraction of a second one instant.
///
/// An attribute equals it if it lies within; `<` and `>=` look at the first instant and `>` and `<=` at the last, which is
/// the rounding of specification 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first instant.
    pub first: Timestamp,
    /// The last one; a nanosecond before the next span, as documents may hold times finer than milliseconds.
    pub last: Timestamp,
}

impl Span {
    /// What a literal stands for; none if it is no date, or `now`.
    #[must_use]
    pub fn of(literal: &Literal) -> Option<Self> {
        date::span(&literal.text())
    }
}

/// The paths at which timestamps are compared as instants (specification 4.4, end).
pub const DATE_ATTRIBUTES: &[&str] = &["created", "updated", "started", "timeOfStatusChange", "expiry"];
/// What `fulltext==` looks into.
pub const FULL_TEXT_ATTRIBUTES: &[&str] = &["name", "description", "statusMessage"];
/// The longest filter, in bytes: real engines send thousands of terms.
pub const MAXIMUM_LENGTH: usize = 1024 * 1024;
/// The deepest nesting of parentheses: each level takes room on the stack.
pub const MAXIMUM_DEPTH: usize = 64;
/// The most words that one `==` may look for, as in Elasticsearch.
pub const MAXIMUM_WORDS: usize = 1024;

/// The values found at a path: lists are flattened, missing and null give none (specification 4.4).
#[must_use]
pub fn values_at<'a>(document: &'a Document, attribute: &Attribute) -> Vec<&'a Value> {
    evaluate::values_at(document, &attribute.0)
}
