//! How a search is asked (specification 4.1 and 4.5) and answered (specification 4.2).

#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};

use form_urlencoded::Serializer;
use serde_json::Value;

use crate::dialect;
use crate::filter::{Filter, FilterError};
use crate::resource::Document;

/// The most documents in one page (specification 4.5).
pub const LARGEST_PAGE: u64 = 10_000;
/// The most attributes to order one search by.
pub const MOST_ORDERS: usize = 64;
/// The most aggregations in one search.
pub const MOST_AGGREGATIONS: usize = 64;

/// One attribute to order by; missing values come last in both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Path of the attribute, levels separated by `/` (`.` on the wire is accepted too).
    pub attribute: String,
    /// `true` for `:desc`.
    pub descending: bool,
}

/// A question about all matches at once (specification 4.6). Prints as its tag, `<algorithm>:<attribute>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregation {
    /// What to compute.
    pub algorithm: Algorithm,
    /// Of what: a path as it was asked for, levels separated by `/`.
    pub attribute: String,
}

/// What an aggregation computes of the values of an attribute (specification 4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// Number, least, greatest, mean and sum.
    Stats,
    /// The same, with sum of squares, variance, standard deviation and what lies two of these from the mean.
    ExtendedStats,
    /// How many values there are.
    Count,
    /// Below what so many of a hundred lie.
    Percentiles,
    /// How many different values there are.
    Cardinality,
    /// How many documents have no value.
    Missing,
    /// The ten most frequent values.
    Terms,
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
    /// Questions about all matches.
    pub aggregations: Vec<Aggregation>,
    /// Goes on after a page: its [`Collection::next`]. Extension of this server; goes with neither `order` nor `first`.
    pub after: Option<String>,
}

/// A page of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Number of matches before paging.
    pub count: u64,
    /// The page.
    pub documents: Vec<Document>,
    /// The answers, by [tag](Aggregation).
    pub aggregations: Document,
    /// What [`Search::after`] takes to go on, if more documents follow in order of id.
    pub next: Option<String>,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Min,
        Self::Max,
        Self::Sum,
        Self::Avg,
        Self::Stats,
        Self::ExtendedStats,
        Self::Count,
        Self::Percentiles,
        Self::Cardinality,
        Self::Missing,
        Self::Terms,
    ];

    /// Its name in a tag.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Stats => "stats",
            Self::ExtendedStats => "extendedstats",
            Self::Count => "count",
            Self::Percentiles => "percentiles",
            Self::Cardinality => "cardinality",
            Self::Missing => "missing",
            Self::Terms => "terms",
        }
    }
}

impl Aggregation {
    /// Reads `algorithm:attribute`; none if no algorithm has this name, which is to be ignored.
    fn from_wire(text: &str) -> Option<Self> {
        let (name, attribute) = text.split_once(':')?;
        let (name, attribute) = (name.trim(), attribute.trim());
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))?;
        (!attribute.is_empty()).then(|| Self { algorithm, attribute: attribute.to_owned() })
    }
}

impl Display for Aggregation {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm.as_str(), self.attribute)
    }
}

impl Order {
    /// Reads `attribute`, `attribute:asc` or `attribute:desc`.
    fn from_wire(text: &str) -> Self {
        let (attribute, descending) = match text.rsplit_once(':') {
            Some((attribute, "asc")) => (attribute, false),
            Some((attribute, "desc")) => (attribute, true),
            _ => (text, false),
        };
        Self { attribute: attribute.replace('.', "/"), descending }
    }

    /// The original server wants `.` between levels here (specification 4.4).
    fn to_wire(&self) -> String {
        format!("{}{}", self.attribute.replace('/', "."), if self.descending { ":desc" } else { "" })
    }
}

impl Search {
    /// The form body that asks for this; empty if nothing is asked.
    #[must_use]
    pub fn to_form(&self) -> String {
        let mut form = Serializer::new(String::new());
        if let Some(filter) = &self.filter {
            form.append_pair("$filter", filter);
        }
        if !self.order.is_empty() {
            let order: Vec<String> = self.order.iter().map(Order::to_wire).collect();
            form.append_pair("$orderby", &order.join(","));
        }
        for (name, value) in [("$first", self.first), ("$last", self.last)] {
            if let Some(value) = value {
                form.append_pair(name, &value.to_string());
            }
        }
        if !self.select.is_empty() {
            form.append_pair("$select", &self.select.join(","));
        }
        if !self.aggregations.is_empty() {
            let aggregations: Vec<String> = self.aggregations.iter().map(Aggregation::to_string).collect();
            form.append_pair("$aggregation", &aggregations.join(","));
        }
        if let Some(after) = &self.after {
            form.append_pair("$after", after);
        }
        form.finish()
    }
}

impl Collection {
    /// Reads a collection's answer; the error says what is wrong with it.
    pub fn from_document(mut document: Document) -> Result<Self, &'static str> {
        // a server of the original whose search failed answers 200 with `"count": null` (quirk 23)
        let count = document.get("count").and_then(Value::as_u64).ok_or("it has no count")?;
        let next = document.get("next").and_then(Value::as_str).map(str::to_owned);
        let aggregations = match document.shift_remove("aggregations") {
            None => Document::new(),
            Some(Value::Object(aggregations)) => aggregations,
            Some(_) => return Err("its aggregations are no object"),
        };
        let members = dialect::collection_members(document).ok_or("it has no list of documents")?;
        let into_document = |member| match member {
            Value::Object(document) => Ok(document),
            _ => Err("its list holds something else than documents"),
        };
        let documents = members.into_iter().map(into_document).collect::<Result<_, _>>()?;
        Ok(Self { count, documents, aggregations, next })
    }
}

/// What a server is asked, read from a query string and a form body (specification 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// All of the filters given.
    pub filter: Option<Filter>,
    /// First by the first, then by the next; of more than [`MOST_ORDERS`] only one too many.
    pub order: Vec<Order>,
    /// First document wanted, from 1.
    pub first: Option<i64>,
    /// Last document wanted, inclusive.
    pub last: Option<i64>,
    /// Only these attributes; empty means all.
    pub select: Vec<String>,
    /// Each once; of more than [`MOST_AGGREGATIONS`] only one too many.
    pub aggregations: Vec<Aggregation>,
    /// The `next` of the page to go on after.
    pub after: Option<String>,
}

impl Parameters {
    /// Reads both, each form-encoded. Names are accepted with and without `$`; unknown ones are passed over.
    pub fn parse(query: &str, form: &[u8]) -> Result<Self, FilterError> {
        let mut parameters = Self::default();
        let mut filters = Vec::new();
        let mut selects_all = false;
        let pairs = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(form));
        for (name, value) in pairs {
            let items = || value.split(',').map(str::trim).filter(|item| !item.is_empty());
            match name.strip_prefix('$').unwrap_or(&name) {
                "filter" => filters.push(Filter::parse(&value)?),
                "orderby" => parameters.order.extend(items().map(Order::from_wire)),
                "first" => parameters.first = value.parse().ok().or(parameters.first),
                "last" => parameters.last = value.parse().ok().or(parameters.last),
                "select" => {
                    selects_all |= items().any(|item| item == "*");
                    parameters.select.extend(items().map(str::to_owned));
                }
                "aggregation" => {
                    items().filter_map(Aggregation::from_wire).for_each(|asked| parameters.aggregate(asked));
                }
                "after" => parameters.after = Some(value.into_owned()),
                _ => {}
            }
        }
        if selects_all {
            parameters.select.clear();
        }
        parameters.order.truncate(MOST_ORDERS + 1);
        parameters.filter = if filters.len() > 1 { Some(Filter::All(filters)) } else { filters.pop() };
        Ok(parameters)
    }

    fn aggregate(&mut self, asked: Aggregation) {
        if self.aggregations.len() <= MOST_AGGREGATIONS && !self.aggregations.contains(&asked) {
            self.aggregations.push(asked);
        }
    }
}

/// A page larger than [`LARGEST_PAGE`] was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "size {0} too large; limit is {LARGEST_PAGE}; for more go on from page to page by $after and the answer's next"
)]
pub struct TooLarge(pub u64);

/// How many matches to pass over and how many to answer, at most (specification 4.5, column "S").
pub fn window(first: Option<i64>, last: Option<i64>) -> Result<(u64, u64), TooLarge> {
    let first = first.map_or(1, |first| u64::try_from(first).unwrap_or(0)).max(1);
    let size = match last.map(|last| u64::try_from(last).unwrap_or(0)) {
        None => LARGEST_PAGE,
        Some(last) => (last + 1).saturating_sub(first),
    };
    if size > LARGEST_PAGE { Err(TooLarge(size)) } else { Ok((first - 1, size)) }
}
