use serde_json::{Value, json};

use super::*;

mod dates;
mod grammar;
mod meaning;
mod property;
mod vectors;
mod words;

fn compare(attribute: &str, comparison: Comparison, literal: Literal) -> Filter {
    Filter::Compare(Attribute(attribute.to_owned()), comparison, literal)
}

fn is(attribute: &str, number: u64) -> Filter {
    compare(attribute, Comparison::Equal, Literal::Integer(number))
}

fn text(text: &str) -> Literal {
    Literal::Text(text.to_owned())
}

fn parse(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Each filter with whether the document satisfies it.
fn check(document: &Value, rows: &[(&str, bool)]) {
    let document = document.as_object().expect("a document is an object");
    for (filter, expected) in rows {
        assert_eq!(parse(filter).matches(document), *expected, "{filter}");
    }
}
