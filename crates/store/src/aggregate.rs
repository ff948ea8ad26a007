//! Answers about many documents at once (specification 4.6), the same in every store: whatever the order in which
//! documents come, and whether equal values come one by one or with how many they are.
//!
//! Over no values the answers are Elasticsearch's: `null`, and 0 for sums and counts.

mod numbers;
mod term;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::filter::{Attribute, DATE_ATTRIBUTES, values_at};
use slipstream_cimi::query::{Aggregation, Algorithm};
use slipstream_cimi::resource::format_time;

use self::numbers::{Moments, Ordered};
use self::term::Term;

/// How many bytes the different values of all the aggregations of a search may take.
const MOST_MEMORY: usize = 128 * 1024 * 1024;
/// What a different value takes beside its text: itself, its count, and its part of a tree.
const MEMORY_OF_A_VALUE: usize = 64;
/// How many terms are answered.
const SHOWN_TERMS: usize = 10;
/// Which percentiles are answered.
const PERCENTS: [u8; 7] = [1, 5, 25, 50, 75, 95, 99];

/// Why an aggregation has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AggregationError {
    /// It computes, and there is something that cannot be computed with.
    #[error("cannot compute {aggregation}: not all values of {} are {wanted}", aggregation.attribute)]
    NotComputable {
        /// What was asked.
        aggregation: Aggregation,
        /// What the values have to be.
        wanted: &'static str,
    },
    /// Its values do not fit into memory.
    #[error("cannot compute {0}: there are too many different values, narrow the search by a filter")]
    TooManyValues(Aggregation),
}

/// The answers about these documents, in the order of the questions.
pub fn over<'a>(
    documents: impl IntoIterator<Item = &'a Document>,
    asked: &[Aggregation],
) -> Result<Vec<Value>, AggregationError> {
    let mut aggregators = Aggregators::new(asked);
    let attributes = aggregators.attributes();
    documents.into_iter().try_for_each(|document| aggregators.add_document(document, &attributes))?;
    Ok(aggregators.finish())
}

/// All the aggregations of one search.
pub(super) struct Aggregators {
    all: Vec<Aggregator>,
    memory: usize,
}

impl Aggregators {
    pub fn new(aggregations: &[Aggregation]) -> Self {
        Self { all: aggregations.iter().map(Aggregator::new).collect(), memory: MOST_MEMORY }
    }

    /// The paths whose values are wanted, each once.
    pub fn attributes(&self) -> Vec<Attribute> {
        let mut attributes = Vec::new();
        for aggregator in &self.all {
            if !attributes.contains(&aggregator.attribute) {
                attributes.push(aggregator.attribute.clone());
            }
        }
        attributes
    }

    /// Takes in the values that a document has at these of the [`attributes`](Self::attributes).
    pub fn add_document(&mut self, document: &Document, attributes: &[Attribute]) -> Result<(), AggregationError> {
        attributes.iter().try_for_each(|attribute| self.add(attribute, &values_at(document, attribute), 1))
    }

    /// Takes in so many documents, each of which has these values at the path.
    pub fn add(&mut self, attribute: &Attribute, values: &[&Value], weight: u64) -> Result<(), AggregationError> {
        for aggregator in self.all.iter_mut().filter(|aggregator| aggregator.attribute == *attribute) {
            let taken = aggregator.add(values, weight)?;
            let left = self.memory.checked_sub(taken);
            self.memory = left.ok_or_else(|| AggregationError::TooManyValues(aggregator.aggregation.clone()))?;
        }
        Ok(())
    }

    /// The answers, in the order of the questions.
    pub fn finish(self) -> Vec<Value> {
        self.all.into_iter().map(Aggregator::finish).collect()
    }
}

struct Aggregator {
    aggregation: Aggregation,
    /// `.` between levels is accepted as in an order.
    attribute: Attribute,
    is_date: bool,
    seen: Seen,
}

/// What has to be remembered of the values.
enum Seen {
    /// How many values, or how many documents without one.
    Number(u64),
    Moments(Box<Moments>),
    /// Each with how often it was there.
    Numbers(BTreeMap<Ordered, u64>),
    /// Each with the number of documents that have it.
    Terms(BTreeMap<Term, u64>),
}

impl Aggregator {
    fn new(aggregation: &Aggregation) -> Self {
        let attribute = Attribute(aggregation.attribute.replace('.', "/"));
        let seen = match aggregation.algorithm {
            Algorithm::Count | Algorithm::Missing => Seen::Number(0),
            Algorithm::Percentiles => Seen::Numbers(BTreeMap::new()),
            Algorithm::Cardinality | Algorithm::Terms => Seen::Terms(BTreeMap::new()),
            Algorithm::Min
            | Algorithm::Max
            | Algorithm::Sum
            | Algorithm::Avg
            | Algorithm::Stats
            | Algorithm::ExtendedStats => Seen::Moments(Box::default()),
        };
        let is_date = DATE_ATTRIBUTES.contains(&attribute.0.as_str());
        Self { aggregation: aggregation.clone(), attribute, is_date, seen }
    }

    /// Answers how many bytes more are taken.
    fn add(&mut self, values: &[&Value], weight: u64) -> Result<usize, AggregationError> {
        let mut taken = 0;
        match &mut self.seen {
            Seen::Number(number) if self.aggregation.algorithm == Algorithm::Missing => {
                *number += if values.is_empty() { weight } else { 0 };
            }
            Seen::Number(number) => *number += values.len() as u64 * weight,
            Seen::Moments(moments) => {
                for value in values {
                    moments.add(number(value, self.is_date, &self.aggregation)?, weight);
                }
            }
            Seen::Numbers(numbers) => {
                for value in values {
                    let number = Ordered::new(number(value, self.is_date, &self.aggregation)?);
                    taken += if add_to(numbers, number, weight) { MEMORY_OF_A_VALUE } else { 0 };
                }
            }
            Seen::Terms(terms) => {
                let different: BTreeSet<Term> =
                    values.iter().filter_map(|value| Term::of(value, self.is_date)).collect();
                for term in different {
                    let size = MEMORY_OF_A_VALUE + term.text_length();
                    taken += if add_to(terms, term, weight) { size } else { 0 };
                }
            }
        }
        Ok(taken)
    }

    fn finish(self) -> Value {
        let is_date = self.is_date;
        match (self.aggregation.algorithm, self.seen) {
            (Algorithm::Missing, Seen::Number(number)) => json!({"doc_count": number}),
            (_, Seen::Number(number)) => json!({"value": numbers::from_count(number)}),
            (Algorithm::Cardinality, Seen::Terms(terms)) => json!({"value": numbers::from_count(terms.len() as u64)}),
            (_, Seen::Terms(terms)) => most_frequent(terms),
            (_, Seen::Numbers(values)) => {
                let mut shown = Document::new();
                for (percent, value) in PERCENTS.iter().zip(numbers::percentiles(&values, &PERCENTS)) {
                    show(&mut shown, &format!("{percent}.0"), value, is_date);
                }
                json!({"values": shown})
            }
            (algorithm, Seen::Moments(moments)) => computed(algorithm, &moments, is_date),
        }
    }
}

/// Whether the key is new.
fn add_to<Key: Ord>(counts: &mut BTreeMap<Key, u64>, key: Key, weight: u64) -> bool {
    let before = counts.len();
    *counts.entry(key).or_default() += weight;
    counts.len() > before
}

/// A value to compute with: dates as milliseconds since 1970, booleans as 0 and 1.
fn number(value: &Value, is_date: bool, aggregation: &Aggregation) -> Result<f64, AggregationError> {
    let found = match value {
        Value::String(text) if is_date => milliseconds(text).map(numbers::from_milliseconds),
        Value::Number(number) if !is_date => number.as_f64(),
        Value::Bool(truth) if !is_date => Some(f64::from(u8::from(*truth))),
        _ => None,
    };
    let wanted = if is_date { "dates" } else { "numbers" };
    // of the two zeros only one
    found
        .map(|number| number + 0.0)
        .ok_or_else(|| AggregationError::NotComputable { aggregation: aggregation.clone(), wanted })
}

/// Since 1970, rounded down.
fn milliseconds(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond().div_euclid(1_000_000)).ok()
}

fn computed(algorithm: Algorithm, moments: &Moments, is_date: bool) -> Value {
    let mut shown = Document::new();
    let value = match algorithm {
        Algorithm::Min => moments.minimum(),
        Algorithm::Max => moments.maximum(),
        Algorithm::Sum => Some(moments.sum()),
        Algorithm::Avg => moments.average(),
        _ => {
            shown.insert("count".to_owned(), moments.count().into());
            show(&mut shown, "min", moments.minimum(), is_date);
            show(&mut shown, "max", moments.maximum(), is_date);
            show(&mut shown, "avg", moments.average(), is_date);
            show(&mut shown, "sum", Some(moments.sum()), is_date);
            if algorithm == Algorithm::ExtendedStats {
                let (average, deviation) = (moments.average(), moments.deviation());
                let bound = |sigmas: f64| Some(average? + sigmas * deviation?);
                let mut bounds = Document::new();
                show(&mut bounds, "upper", bound(2.0), false);
                show(&mut bounds, "lower", bound(-2.0), false);
                show(&mut shown, "sum_of_squares", moments.sum_of_squares(), false);
                show(&mut shown, "variance", moments.variance(), false);
                show(&mut shown, "std_deviation", deviation, false);
                shown.insert("std_deviation_bounds".to_owned(), Value::Object(bounds));
            }
            return Value::Object(shown);
        }
    };
    show(&mut shown, "value", value, is_date);
    Value::Object(shown)
}

/// A number, with its time as a text beside it if it is one; `null` if there is none, and for what JSON has no word for.
fn show(shown: &mut Document, name: &str, number: Option<f64>, is_date: bool) {
    shown.insert(name.to_owned(), json!(number));
    if let Some(text) = number.filter(|_| is_date).and_then(numbers::to_milliseconds).and_then(time) {
        shown.insert(format!("{name}_as_string"), text.into());
    }
}

/// None outside the calendar, as a sum of dates soon is.
fn time(milliseconds: i64) -> Option<String> {
    Timestamp::from_millisecond(milliseconds).ok().map(format_time)
}

fn most_frequent(terms: BTreeMap<Term, u64>) -> Value {
    let all: u64 = terms.values().sum();
    let mut terms: Vec<(Term, u64)> = terms.into_iter().collect();
    // stable: among equals the lesser key stays first
    terms.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    terms.truncate(SHOWN_TERMS);
    let others = all - terms.iter().map(|(_, count)| count).sum::<u64>();
    let bucket = |(term, count): &(Term, u64)| {
        let mut bucket = Document::new();
        let (key, text) = term.key();
        bucket.insert("key".to_owned(), key);
        bucket.extend(text.map(|text| ("key_as_string".to_owned(), text.into())));
        bucket.insert("doc_count".to_owned(), (*count).into());
        Value::Object(bucket)
    };
    let buckets: Vec<Value> = terms.iter().map(bucket).collect();
    json!({"doc_count_error_upper_bound": 0, "sum_other_doc_count": others, "buckets": buckets})
}
