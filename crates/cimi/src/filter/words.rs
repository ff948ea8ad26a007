//! The query of `==`: what Elasticsearch calls a simple query string (specification 4.4).

use std::mem;

use winnow::combinator::{alt, delimited, opt, preceded, repeat};
use winnow::error::EmptyError;
use winnow::token::{any, take_till, take_while};
use winnow::{Parser, Result};

/// Whether texts have what is looked for. Nothing looked for is not found.
pub(super) fn matches(query: &str, texts: &[&str]) -> bool {
    let texts: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
    let (mut level, mut outer) = (Level::default(), Vec::new());
    for part in parts(query) {
        match part {
            Part::Open => outer.push(mem::take(&mut level)),
            // one that closes nothing is passed over
            Part::Close => _ = close(&mut level, &mut outer),
            Part::And => level.needs_both = true,
            Part::Or => level.needs_both = false,
            Part::Not => level.negated = !level.negated,
            Part::Words { words, .. } if words.is_empty() => {}
            Part::Words { words, starts } => level.add(texts.iter().any(|text| has(text, &words, starts))),
        }
    }
    // parentheses left open end where the query ends
    while close(&mut level, &mut outer) {}
    level.found.unwrap_or(false)
}

/// Goes on in the level around this one, if there is one.
fn close(level: &mut Level, outer: &mut Vec<Level>) -> bool {
    let Some(around) = outer.pop() else { return false };
    if let Some(found) = mem::replace(level, around).found {
        level.add(found);
    }
    true
}

/// How many words, phrases, operators and parentheses there are.
pub(super) fn count(query: &str) -> usize {
    parts(query).len()
}

/// What is in one pair of parentheses, evaluated from left to right.
#[derive(Default)]
struct Level {
    /// None while there was nothing to look for.
    found: Option<bool>,
    needs_both: bool,
    negated: bool,
}

impl Level {
    fn add(&mut self, found: bool) {
        let found = found != self.negated;
        let joined = match self.found {
            None => found,
            Some(before) if self.needs_both => before && found,
            Some(before) => before || found,
        };
        *self = Self { found: Some(joined), needs_both: false, negated: false };
    }
}

enum Part {
    Open,
    Close,
    And,
    Or,
    Not,
    /// In a row; of the last one maybe only the start.
    Words {
        words: Vec<String>,
        starts: bool,
    },
}

fn parts(query: &str) -> Vec<Part> {
    let space = take_while(0.., char::is_whitespace);
    let spaced = preceded(space, part);
    let all = repeat(0.., spaced).parse_next(&mut &*query);
    all.unwrap_or_else(|_: EmptyError| Vec::new())
}

fn part(input: &mut &str) -> Result<Part, EmptyError> {
    let phrase =
        delimited('"', take_till(0.., '"'), opt('"')).map(|text| Part::Words { words: words(text), starts: false });
    let operator = |character| match character {
        '(' => Some(Part::Open),
        ')' => Some(Part::Close),
        '+' => Some(Part::And),
        '|' => Some(Part::Or),
        '-' => Some(Part::Not),
        _ => None,
    };
    let ends = |character: char| character.is_whitespace() || "\"()+|".contains(character);
    let plain = take_till(1.., ends).map(|text: &str| Part::Words { words: words(text), starts: text.ends_with('*') });
    alt((phrase, any.verify_map(operator), plain)).parse_next(input)
}

fn words(text: &str) -> Vec<String> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.split(|character| !is_part(character)).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn has(text: &[String], wanted: &[String], starts: bool) -> bool {
    let Some((last, before)) = wanted.split_last() else { return false };
    text.windows(wanted.len()).any(|run| {
        let (end, start) = run.split_last().expect("a window is as long as what is wanted");
        start == before && if starts { end.starts_with(last.as_str()) } else { end == last }
    })
}
