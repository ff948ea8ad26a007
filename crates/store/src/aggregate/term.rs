//! [`Term`]: a value that is told from others and counted.

use std::ops::Range;

use serde_json::{Number, Value};

use super::numbers::Ordered;
use super::{milliseconds, time};

/// Ordered as a search orders values: numbers and booleans before texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Term {
    /// As a floating-point number, and, to tell whole ones beyond 2^53 from each other, the last 64 bits of a whole
    /// number (0 if it is none, or has more).
    Number(Ordered, u64),
    Boolean(bool),
    /// Milliseconds since 1970.
    Time(i64),
    Text(String),
}

/// Whole numbers from -2^63 to below 2^64 are told from each other by their last 64 bits, and none but 0 has all 0.
const WHOLE: Range<f64> = -9_223_372_036_854_775_808.0..18_446_744_073_709_551_616.0;

impl Term {
    /// None of an object, which equals nothing.
    pub fn of(value: &Value, is_date: bool) -> Option<Self> {
        match value {
            Value::String(text) => {
                let time = if is_date { milliseconds(text) } else { None };
                Some(time.map_or_else(|| Self::Text(text.clone()), Self::Time))
            }
            Value::Number(number) => Some(Self::Number(Ordered::new(number.as_f64()?), last_bits(number))),
            Value::Bool(truth) => Some(Self::Boolean(*truth)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// How it is answered, and as what text besides: booleans and dates are numbers to Elasticsearch.
    pub fn key(&self) -> (Value, Option<String>) {
        match self {
            Self::Number(number, 0) if number.0 != 0.0 => (number.0.into(), None),
            Self::Number(number, bits) if number.0 < 0.0 => (bits.cast_signed().into(), None),
            Self::Number(_, bits) => ((*bits).into(), None),
            Self::Boolean(truth) => (u8::from(*truth).into(), Some(truth.to_string())),
            Self::Time(milliseconds) => ((*milliseconds).into(), time(*milliseconds)),
            Self::Text(text) => (text.as_str().into(), None),
        }
    }

    /// In bytes.
    pub fn text_length(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and of 64 bits at most")]
fn last_bits(number: &Number) -> u64 {
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && WHOLE.contains(float));
    match (number.as_u64(), number.as_i64(), float) {
        (Some(whole), _, _) => whole,
        (_, Some(whole), _) => whole.cast_unsigned(),
        (_, _, Some(float)) => float as i128 as u64,
        _ => 0,
    }
}
