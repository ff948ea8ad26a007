//! The value by which a document is ordered, the same in every store.

use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_cimi::filter::{Attribute, values_at};

/// Bytes that compare like the values at a path: numbers and booleans (0 and 1) first, then texts by code point; none
/// if there is no such value. Of several values the least counts in ascending order and the greatest in descending.
pub(super) fn sort_key(document: &Document, attribute: &Attribute, descending: bool) -> Option<Vec<u8>> {
    let keys = values_at(document, attribute).into_iter().filter_map(value_key);
    if descending { keys.max() } else { keys.min() }
}

fn value_key(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Bool(truth) => Some(number_key(f64::from(u8::from(*truth)))),
        Value::Number(number) => number.as_f64().map(number_key),
        Value::String(text) => Some([&[TEXT], text.as_bytes()].concat()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

const NUMBER: u8 = 1;
const TEXT: u8 = 2;
const SIGN: u64 = 1 << 63;

/// The bits of a floating-point number compare like the number once the sign bit is turned round, and all the others
/// too if it is negative.
fn number_key(number: f64) -> Vec<u8> {
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    let ordered = if bits & SIGN == 0 { bits | SIGN } else { !bits };
    [&[NUMBER], ordered.to_be_bytes().as_slice()].concat()
}
