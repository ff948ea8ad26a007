//! What a filter means for a document (specification 4.4).

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Number, Value};

use super::{Attribute, Comparison, DATE_ATTRIBUTES, FULL_TEXT_ATTRIBUTES, Filter, Literal, Span, words};
use crate::resource::Document;

pub(super) fn matches(filter: &Filter, document: &Document) -> bool {
    let (attribute, comparison, literal) = match filter {
        Filter::All(parts) => return parts.iter().all(|part| matches(part, document)),
        Filter::Any(parts) => return parts.iter().any(|part| matches(part, document)),
        Filter::Compare(attribute, comparison, literal) => (attribute, *comparison, literal),
    };
    let any = |test: &dyn Fn(&Value) -> bool| any_member(document, &attribute.0, &mut |value| test(value));
    let is_date = DATE_ATTRIBUTES.contains(&attribute.0.as_str());
    match (comparison, literal) {
        (Comparison::Words, Literal::Text(query)) => words::matches(query, &texts(document, attribute)),
        (Comparison::StartsWith, Literal::Text(prefix)) => {
            !is_date && any(&|value| value.as_str().is_some_and(|text| text.starts_with(prefix)))
        }
        (Comparison::StartsWith | Comparison::Words, _) => false,
        (Comparison::Equal, Literal::Null) => !any(&|_| true),
        (Comparison::NotEqual, Literal::Null) => any(&|_| true),
        (Comparison::Equal, _) => any(&|value| equals(value, literal, is_date)),
        (Comparison::NotEqual, _) => !any(&|value| equals(value, literal, is_date)),
        _ => any(&|value| compare(value, literal, is_date).is_some_and(|ordering| comparison.admits(ordering))),
    }
}

fn equals(value: &Value, literal: &Literal, is_date: bool) -> bool {
    match literal {
        Literal::List(elements) => elements.iter().any(|element| equals(value, element, is_date)),
        _ => compare(value, literal, is_date) == Some(Ordering::Equal),
    }
}

/// What `==` looks into.
fn texts<'a>(document: &'a Document, attribute: &'a Attribute) -> Vec<&'a str> {
    let one = [attribute.0.as_str()];
    let paths = if one == ["fulltext"] { FULL_TEXT_ATTRIBUTES } else { one.as_slice() };
    paths.iter().flat_map(|path| values_at(document, path)).filter_map(Value::as_str).collect()
}

pub(super) fn values_at<'a>(document: &'a Document, path: &str) -> Vec<&'a Value> {
    let mut values = Vec::new();
    any_member(document, path, &mut |value| {
        values.push(value);
        false
    });
    values
}

/// Whether `test` holds for any value at the path; stops at the first. Recursion is as deep as the document.
fn any_member<'a>(document: &'a Document, path: &str, test: &mut dyn FnMut(&'a Value) -> bool) -> bool {
    let (name, rest) = match path.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    document.get(name).is_some_and(|value| any_value(value, rest, test))
}

fn any_value<'a>(value: &'a Value, rest: Option<&str>, test: &mut dyn FnMut(&'a Value) -> bool) -> bool {
    match (value, rest) {
        (Value::Array(elements), _) => elements.iter().any(|element| any_value(element, rest, test)),
        (Value::Object(members), Some(rest)) => any_member(members, rest, test),
        (Value::Null, _) | (_, Some(_)) => false,
        (_, None) => test(value),
    }
}

impl Comparison {
    /// Whether an order makes it hold.
    fn admits(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Equal | Self::NotEqual | Self::StartsWith | Self::Words => false,
        }
    }
}

/// How a value stands to a literal; none if the literal cannot be converted to the value's type.
fn compare(value: &Value, literal: &Literal, is_date: bool) -> Option<Ordering> {
    match (value, literal) {
        (Value::String(text), _) if is_date => {
            let (instant, wanted) = (text.parse::<Timestamp>().ok()?, Span::of(literal)?);
            let within = if instant > wanted.last { Ordering::Greater } else { Ordering::Equal };
            Some(if instant < wanted.first { Ordering::Less } else { within })
        }
        (_, _) if is_date => None,
        (Value::String(text), Literal::Text(_) | Literal::Integer(_) | Literal::Boolean(_)) => {
            Some(text.as_str().cmp(&*literal.text()))
        }
        (Value::Number(number), Literal::Integer(wanted)) => compare_whole(number, i128::from(*wanted)),
        (Value::Number(number), Literal::Text(wanted)) => match wanted.parse::<i128>() {
            Ok(wanted) => compare_whole(number, wanted),
            Err(_) => number.as_f64()?.partial_cmp(&wanted.parse().ok()?),
        },
        (Value::Bool(truth), Literal::Boolean(wanted)) => Some(truth.cmp(wanted)),
        (Value::Bool(truth), Literal::Text(wanted)) => Some(truth.cmp(&wanted.parse().ok()?)),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a fraction in a document has no more precision than this itself")]
fn compare_whole(number: &Number, wanted: i128) -> Option<Ordering> {
    match number.as_i128() {
        Some(number) => Some(number.cmp(&wanted)),
        None => number.as_f64()?.partial_cmp(&(wanted as f64)),
    }
}
