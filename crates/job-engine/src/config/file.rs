//! One configuration file as TOML.

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::Value;
use super::collection::{self, collection};
use super::distributor::distributor;
use crate::distributor::configured::Configured;
use crate::process::written::Wrong;

/// Tables with values of options.
pub const TABLES: [&str; 6] = ["server", "executor", "distributors", "peers", "log", "admin"];
/// The array of tables with distributors.
pub(super) const DISTRIBUTOR: &str = "distributor";
/// The array of tables with declared collections.
pub(super) const COLLECTION: &str = "collection";

/// What a file says, each with its place in the text, and all that is wrong in it.
#[derive(Default)]
pub(super) struct Parsed {
    pub distributors: Vec<(usize, Configured)>,
    pub collections: Vec<(usize, collection::Written)>,
    /// Place, table, key and value.
    pub settings: Vec<(usize, &'static str, String, Value)>,
    /// What is wrong, and in which table, if it is in one.
    pub wrong: Vec<(Wrong, Option<&'static str>)>,
}

impl Parsed {
    /// Of a file that says nothing because it is no text.
    pub(super) fn wrong(wrong: Wrong) -> Self {
        Self { wrong: vec![(wrong, None)], ..Self::default() }
    }

    fn distributors(&mut self, written: Spanned<DeValue<'_>>) {
        let (all, wrong) = each(DISTRIBUTOR, written, distributor);
        self.distributors = all;
        self.wrong.extend(wrong);
    }

    fn collections(&mut self, written: Spanned<DeValue<'_>>) {
        let (all, wrong) = each(COLLECTION, written, collection);
        self.collections = all;
        self.wrong.extend(wrong);
    }

    fn settings(&mut self, table: &'static str, written: Spanned<DeValue<'_>>) {
        let place = written.span().start;
        let DeValue::Table(keys) = written.into_inner() else {
            self.wrong.push((Wrong::at(place, format!("`{table}` is a table, write [{table}]")), Some(table)));
            return;
        };
        for (key, value) in keys {
            let place = key.span().start;
            self.settings.push((place, table, key.into_inner().into_owned(), value_of(value.into_inner())));
        }
        self.settings.sort_by_key(|(place, ..)| *place);
    }
}

pub(super) fn parse(text: &str) -> Parsed {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut parsed =
        Parsed { wrong: errors.into_iter().map(|error| (error.into(), None)).collect(), ..Parsed::default() };
    if !parsed.wrong.is_empty() {
        // what is said of a half-understood file would be wrong itself
        return parsed;
    }
    for (name, written) in document.into_inner() {
        let known = TABLES.into_iter().find(|known| name.get_ref() == known);
        match known {
            Some(table) => parsed.settings(table, written),
            None if name.get_ref() == DISTRIBUTOR => parsed.distributors(written),
            None if name.get_ref() == COLLECTION => parsed.collections(written),
            None => parsed.wrong.push((Wrong::at(name.span().start, unknown(name.get_ref())), None)),
        }
    }
    parsed
}

/// What each table of an array says, with its place, and all that is wrong in them.
fn each<T>(
    name: &'static str,
    written: Spanned<DeValue<'_>>,
    read: fn(Spanned<DeValue<'_>>) -> Result<T, Vec<Wrong>>,
) -> (Vec<(usize, T)>, Vec<(Wrong, Option<&'static str>)>) {
    let place = written.span().start;
    let DeValue::Array(array) = written.into_inner() else {
        let wrong = Wrong::at(place, format!("each {name} is a table of an array, write [[{name}]]"));
        return (Vec::new(), vec![(wrong, Some(name))]);
    };
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for table in array {
        let place = table.span().start;
        match read(table) {
            Ok(one) => all.push((place, one)),
            Err(found) => wrong.extend(found.into_iter().map(|one| (one, Some(name)))),
        }
    }
    (all, wrong)
}

fn unknown(name: &str) -> String {
    format!(
        "unknown table `{name}`, expected `[[{DISTRIBUTOR}]]`, `[[{COLLECTION}]]` or one of [{}]",
        TABLES.join("], [")
    )
}

fn value_of(value: DeValue<'_>) -> Value {
    match value {
        DeValue::Boolean(is_on) => Value::Switch(is_on),
        DeValue::Array(values) => {
            let words: Option<Vec<String>> = values.into_iter().map(|value| word(value.into_inner())).collect();
            words.map_or(Value::Other, Value::List)
        }
        value => word(value).map_or(Value::Other, Value::Word),
    }
}

fn word(value: DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.into_owned()),
        DeValue::Integer(number) => decimal(&number),
        _ => None,
    }
}

fn decimal(number: &DeInteger<'_>) -> Option<String> {
    i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
}
