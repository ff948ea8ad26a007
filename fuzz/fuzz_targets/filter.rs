//! Texts as filters, and as query string and form: whatever is accepted prints, resolves and is evaluated.
//!
//! The first line is the filter, the second one a document or a form. A first line that begins with `#` is repeated to
//! the longest filter, to find what costs more than its length.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::filter::{Attribute, Filter, Literal, MAXIMUM_LENGTH};
use slipstream_cimi::query::{Parameters, window};

fuzz_target!(|text: &str| {
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    if let Some(part) = first.strip_prefix('#').filter(|part| !part.is_empty()) {
        let long = part.repeat(MAXIMUM_LENGTH / part.len());
        check(&long, Document::new());
        return;
    }
    let document = serde_json::from_str::<Document>(second).unwrap_or_default();
    check(first, document);
    if let Ok(parameters) = Parameters::parse(first, second.as_bytes()) {
        if let Ok((_, size)) = window(parameters.first, parameters.last) {
            assert!(size <= slipstream_cimi::query::LARGEST_PAGE);
        }
        if let Some(filter) = parameters.filter {
            check(&filter.to_string(), Document::new());
        }
    }
});

fn check(text: &str, mut document: Document) {
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.to_string().starts_with("Invalid CIMI filter. Parse error at line "));
            return;
        }
    };
    // What is printed may be longer than what was read, and longer than what is read.
    let printed = filter.to_string();
    if printed.len() <= MAXIMUM_LENGTH {
        assert_eq!(Filter::parse(&printed).as_ref(), Ok(&filter), "printed as {printed}");
    }
    mention(&filter, &mut document);
    // The years that the language can name.
    let first = "0000-01-01T00:00:00Z".parse().expect("a timestamp");
    for now in [Timestamp::UNIX_EPOCH, first, Timestamp::MAX] {
        let resolved = filter.clone().resolve(now);
        let answer = resolved.matches(&document);
        let printed = resolved.to_string();
        if printed.len() <= MAXIMUM_LENGTH {
            let again = Filter::parse(&printed).expect("printed by ourselves");
            assert_eq!(again.matches(&document), answer, "printed as {printed}");
        }
        assert_eq!(resolved.clone().resolve(now), resolved, "nothing is left to resolve");
    }
}

/// Puts what the filter looks for where it looks for it, so that evaluation gets there.
fn mention(filter: &Filter, document: &mut Document) {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => parts.iter().take(16).for_each(|part| mention(part, document)),
        Filter::Compare(Attribute(path), _, literal) => {
            let mut levels = path.split('/').rev();
            let last = levels.next().unwrap_or_default();
            let (name, value) =
                levels.fold((last, value(literal)), |(name, value), level| (level, json!({name: value})));
            document.entry(name).or_insert(value);
        }
    }
}

fn value(literal: &Literal) -> Value {
    match literal {
        Literal::Integer(number) => json!(number),
        Literal::Text(text) => json!(text),
        Literal::Boolean(boolean) => json!(boolean),
        Literal::Null => Value::Null,
        Literal::List(values) => values.iter().map(value).collect(),
    }
}
