//! Completion of filters: what may follow what was typed. The filter's own grammar is asked, by trying.

use http::Response;
use serde::Serialize;
use serde_json::Value;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, DATE_ATTRIBUTES, Filter, Literal};
use slipstream_cimi::query::{Aggregation, Algorithm, Search};

use crate::pages::Asked;
use crate::pages::failure::Failure;
use crate::parts::number;
use crate::response::{self, Body};

/// Attributes that people filter by, those first for which there is an index.
const ATTRIBUTES: [&str; 14] = [
    "state",
    "action",
    "created",
    "targetResource/href",
    "acl/owner/principal",
    "parentJob",
    "priority",
    "updated",
    "id",
    "started",
    "statusMessage",
    "progress",
    "returnCode",
    "name",
];
const NUMBERS: [&str; 3] = ["priority", "progress", "returnCode"];
const OPERATORS: [&str; 6] = ["=", "!=", "^=", "<", ">", "=="];
const DATES: [(&str, &str); 6] = [
    ("now-15m", "15 minutes ago"),
    ("now-1h", "an hour ago"),
    ("now/d", "today, UTC"),
    ("now-1d", "a day ago"),
    ("now-7d", "a week ago"),
    ("now-30d", "30 days ago"),
];
/// Stands for any comparison.
const COMPARISON: &str = "state='x'";
/// The longest text that is completed, in bytes.
const LONGEST: usize = 4096;

/// What may follow.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Completions {
    /// From where on the text is replaced, as browsers count: in UTF-16 code units.
    from: usize,
    items: Vec<Item>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Item {
    /// Takes the place of what was typed.
    text: String,
    /// Said beside it.
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

/// What is expected at the end of a text.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// The name of an attribute.
    Attribute,
    /// What this attribute is compared with.
    Value(String),
    /// `and` or `or`.
    Connective,
    /// Nothing that is known.
    Nothing,
}

/// Answers the script.
pub async fn answer(asked: &Asked<'_>) -> Result<Response<Body>, Failure> {
    let typed = asked.query.get("filter").filter(|typed| typed.len() <= LONGEST).unwrap_or_default();
    let (head, partial) = split(typed);
    let candidates = match expected(head) {
        Expected::Attribute => attributes(partial),
        Expected::Connective => connectives(head),
        Expected::Value(attribute) => values(asked, &attribute).await?,
        Expected::Nothing => Vec::new(),
    };
    let wanted = partial.to_lowercase();
    let fits = |item: &Item| item.text.to_lowercase().starts_with(&wanted) && item.text != partial;
    let items = candidates.into_iter().filter(fits).collect();
    let completions = Completions { from: head.encode_utf16().count(), items };
    Ok(response::json(serde_json::to_vec(&completions).expect("texts and numbers")))
}

/// What was typed before the word, or the text in quotes, at whose end one is.
fn split(typed: &str) -> (&str, &str) {
    let mut quote = None;
    let mut characters = typed.char_indices();
    while let Some((place, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some((_, open)), close) if open == close => quote = None,
            (None, '\'' | '"') => quote = Some((place, character)),
            _ => {}
        }
    }
    let of_word = |character: char| character.is_alphanumeric() || "_-/:@".contains(character);
    let word = typed.len()
        - typed.chars().rev().take_while(|character| of_word(*character)).map(char::len_utf8).sum::<usize>();
    typed.split_at(quote.map_or(word, |(place, _)| place))
}

/// Asks the grammar what may follow.
fn expected(head: &str) -> Expected {
    let open = head.matches('(').count().saturating_sub(head.matches(')').count());
    let parses = |more: &str| Filter::parse(&format!("{head}{more}{}", ")".repeat(open))).is_ok();
    if parses(COMPARISON) {
        return Expected::Attribute;
    }
    if parses("'now'") || parses("'x'") {
        let before = head.trim_end().trim_end_matches(['=', '!', '<', '>', '^']).trim_end();
        let (_, attribute) = split(before);
        return Expected::Value(attribute.to_owned());
    }
    if parses(&format!(" and {COMPARISON}")) { Expected::Connective } else { Expected::Nothing }
}

/// Names, each with the comparison that it has most often; once one is written out, with all others.
fn attributes(partial: &str) -> Vec<Item> {
    let usual = |name: &str| if DATE_ATTRIBUTES.contains(&name) { ">" } else { "=" };
    let item = |name: &str, operator: &str| Item { text: format!("{name}{operator}"), note: String::new() };
    if ATTRIBUTES.contains(&partial) {
        let operators = OPERATORS.into_iter().filter(|operator| *operator != usual(partial));
        return std::iter::once(usual(partial)).chain(operators).map(|operator| item(partial, operator)).collect();
    }
    ATTRIBUTES.into_iter().map(|name| item(name, usual(name))).collect()
}

fn connectives(head: &str) -> Vec<Item> {
    let space = if head.ends_with(char::is_whitespace) { "" } else { " " };
    ["and", "or"].map(|word| Item { text: format!("{space}{word} "), note: String::new() }).into()
}

/// What an attribute may be compared with; of states and actions those that there are, with how many jobs have them.
async fn values(asked: &Asked<'_>, attribute: &str) -> Result<Vec<Item>, Failure> {
    let literal = |text: &str| Literal::Text(text.to_owned()).to_string();
    if DATE_ATTRIBUTES.contains(&attribute) {
        return Ok(DATES.map(|(date, note)| Item { text: literal(date), note: note.to_owned() }).into());
    }
    if attribute == "acl/owner/principal" {
        return Ok(vec![Item { text: literal(&asked.who.name), note: "you".to_owned() }]);
    }
    if NUMBERS.contains(&attribute) || !matches!(attribute, "state" | "action") {
        return Ok(Vec::new());
    }
    let terms = Aggregation { algorithm: Algorithm::Terms, attribute: Attribute(attribute.to_owned()).0 };
    let search = Search { last: Some(0), aggregations: vec![terms], ..Search::default() };
    let found = asked.api.search(JOB.name, &search).await?.aggregations;
    let buckets = found.values().next().and_then(|terms| terms["buckets"].as_array());
    let item = |bucket: &Value| {
        let note = bucket["doc_count"].as_u64().map(number).unwrap_or_default();
        Some(Item { text: literal(bucket["key"].as_str()?), note })
    };
    Ok(buckets.into_iter().flatten().filter_map(item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_split_before_its_last_word_or_text() {
        let rows = [
            ("", ("", "")),
            ("sta", ("", "sta")),
            ("state='FAI", ("state=", "'FAI")),
            ("state='FAILED' an", ("state='FAILED' ", "an")),
            ("state='FAILED'", ("state='FAILED'", "")),
            (r"action='it\'s", ("action=", r"'it\'s")),
            ("action=\"it's", ("action=", "\"it's")),
            ("(targetResource/hr", ("(", "targetResource/hr")),
            ("name='é' and é", ("name='é' and ", "é")),
        ];
        for (typed, expected) in rows {
            assert_eq!(split(typed), expected, "{typed}");
        }
    }

    #[test]
    fn the_grammar_says_what_may_follow() {
        let value = |attribute: &str| Expected::Value(attribute.to_owned());
        let rows = [
            ("", Expected::Attribute),
            ("(", Expected::Attribute),
            ("state='FAILED' and ", Expected::Attribute),
            ("state=", value("state")),
            ("(state='FAILED' or created>", value("created")),
            ("targetResource/href ^= ", value("targetResource/href")),
            ("state='FAILED'", Expected::Connective),
            ("(state='FAILED' ", Expected::Connective),
            ("state='FAILED' state", Expected::Nothing),
            (")", Expected::Nothing),
        ];
        for (head, expected_there) in rows {
            assert_eq!(expected(head), expected_there, "{head}");
        }
    }

    #[test]
    fn a_name_comes_with_its_comparison() {
        assert!(attributes("st").iter().any(|item| item.text == "state="));
        assert_eq!(attributes("created")[0].text, "created>");
        assert_eq!(attributes("created").len(), OPERATORS.len());
        assert_eq!(connectives("state='x'")[0].text, " and ");
        assert_eq!(connectives("state='x' ")[1].text, "or ");
    }
}
