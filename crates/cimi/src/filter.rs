//! The filter language (specification 4.3 and 4.4): parsed into a [`Filter`], printed, and evaluated on a document.

use std::fmt;

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
    /// Parses a filter.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        todo!("{text}")
    }

    /// Whether the document satisfies it (specification 4.4).
    #[must_use]
    pub fn matches(&self, document: &Document) -> bool {
        todo!("{document:?}")
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, _formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// The values found at a path: lists are flattened, missing and null give none (specification 4.4).
#[must_use]
pub fn values_at<'a>(document: &'a Document, attribute: &Attribute) -> Vec<&'a Value> {
    todo!("{document:?} {attribute:?}")
}
