//! What a filter means for a document (specification 4.4).

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Number, Value};

use super::{Comparison, DATE_ATTRIBUTES, Filter, Literal};
use crate::resource::Document;

pub(super) fn matches(filter: &Filter, document: &Document) -> bool {
    match filter {
        Filter::All(parts) => parts.iter().all(|part| matches(part, document)),
        Filter::Any(parts) => parts.iter().any(|part| matches(part, document)),
        Filter::Compare(attribute, comparison, literal) => {
            let path = attribute.0.as_str();
            let any = |test: &dyn Fn(&Value) -> bool| any_member(document, path, &mut |value| test(value));
            if *literal == Literal::Null {
                return match comparison {
                    Comparison::Equal => !any(&|_| true),
                    Comparison::NotEqual => any(&|_| true),
                    _ => false,
                };
            }
            let is_date = DATE_ATTRIBUTES.contains(&path);
            let compared = |value: &Value| compare(value, literal, is_date);
            match comparison {
                Comparison::NotEqual => !any(&|value| compared(value) == Some(Ordering::Equal)),
                _ => any(&|value| compared(value).is_some_and(|ordering| comparison.admits(ordering))),
            }
        }
    }
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
    fn admits(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// How a value stands to a literal; none if the literal cannot be converted to the value's type.
fn compare(value: &Value, literal: &Literal, is_date: bool) -> Option<Ordering> {
    match (value, literal) {
        (Value::String(text), Literal::Text(wanted)) if is_date => {
            let instants = text.parse::<Timestamp>().ok().zip(wanted.parse::<Timestamp>().ok());
            Some(instants.map_or_else(|| text.cmp(wanted), |(instant, limit)| instant.cmp(&limit)))
        }
        (Value::String(text), Literal::Text(wanted)) => Some(text.cmp(wanted)),
        (Value::String(text), Literal::Integer(wanted)) => Some(text.as_str().cmp(wanted.to_string().as_str())),
        (Value::String(text), Literal::Boolean(wanted)) => {
            Some(text.as_str().cmp(if *wanted { "true" } else { "false" }))
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
