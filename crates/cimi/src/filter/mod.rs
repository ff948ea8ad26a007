//! The filter language (specification 4.3 and 4.4): parsed into a [`Filter`], printed, and evaluated on a document.

mod evaluate;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};

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
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text)
    }

    /// Whether the document satisfies it (specification 4.4).
    ///
    /// A comparison holds if any value found at the path satisfies it; `!=` holds if no value is equal. A literal that
    /// cannot be converted to the type of a value is neither equal to it nor ordered before or after it.
    ///
    /// * Texts compare by code point; with a text, a number or boolean literal compares as it is written.
    /// * A number compares with a text that is a number (`'50'`, `'-1'`, `'0.5'`).
    /// * A boolean compares with `'true'` and `'false'`; false comes before true.
    /// * At the paths [`DATE_ATTRIBUTES`] instants compare if both sides are RFC 3339 timestamps, else texts.
    /// * An object is a value that exists and equals nothing.
    #[must_use]
    pub fn matches(&self, document: &Document) -> bool {
        evaluate::matches(self, document)
    }
}

/// The paths at which timestamps are compared as instants (specification 4.4, end).
pub const DATE_ATTRIBUTES: &[&str] = &["created", "updated", "started", "timeOfStatusChange", "expiry"];
/// The longest filter, in bytes: real engines send thousands of terms.
pub const MAXIMUM_LENGTH: usize = 1024 * 1024;
/// The deepest nesting of parentheses: each level takes room on the stack.
pub const MAXIMUM_DEPTH: usize = 64;

/// Prints a filter that parses to the same one, provided that it is one that a text can say: lists of two or more,
/// legal attribute names, `<` and its like only with integers and texts, and not nested too deep.
impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::Compare(attribute, comparison, literal) => {
                return write!(formatter, "{}{comparison}{literal}", attribute.0);
            }
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                formatter.write_str(word)?;
            }
            let needs_parentheses = match part {
                Self::Compare(..) => false,
                Self::All(_) => matches!(self, Self::All(_)),
                Self::Any(_) => true,
            };
            if needs_parentheses { write!(formatter, "({part})")? } else { write!(formatter, "{part}")? }
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Boolean(truth) => write!(formatter, "{truth}"),
            Self::Null => formatter.write_str("null"),
            Self::Text(text) => {
                formatter.write_char('\'')?;
                for character in text.chars() {
                    if matches!(character, '\'' | '\\') {
                        formatter.write_char('\\')?;
                    }
                    formatter.write_char(character)?;
                }
                formatter.write_char('\'')
            }
        }
    }
}

/// The values found at a path: lists are flattened, missing and null give none (specification 4.4).
#[must_use]
pub fn values_at<'a>(document: &'a Document, attribute: &Attribute) -> Vec<&'a Value> {
    evaluate::values_at(document, &attribute.0)
}
