//! How a search is asked (specification 4.1, 4.5) and answered (4.2).

use crate::resource::Document;

/// One attribute to order by; missing values come last in both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Path of the attribute, levels separated by `/` (`.` on the wire is accepted too).
    pub attribute: String,
    /// `true` for `:desc`.
    pub descending: bool,
}

/// What a client asks of a collection. Texts go to the server as they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// In the filter language.
    pub filter: Option<String>,
    /// First by the first, then by the next.
    pub order: Vec<Order>,
    /// First document wanted, from 1.
    pub first: Option<i64>,
    /// Last document wanted, inclusive; 0 asks for the count only.
    pub last: Option<i64>,
    /// Only these attributes; empty means all.
    pub select: Vec<String>,
}

/// A page of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Number of matches before paging.
    pub count: u64,
    /// The page.
    pub documents: Vec<Document>,
}
