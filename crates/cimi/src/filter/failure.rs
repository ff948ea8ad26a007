//! What is wrong with a text that is no filter.

use winnow::error::{AddContext, ParserError};
use winnow::stream::Stream;

use super::FilterError;

/// Characters of the input that an error shows.
const EXCERPT: usize = 60;

/// Where a rule failed and what it would have accepted; of several rules the one that came furthest speaks.
#[derive(Debug)]
pub(super) struct Failure {
    /// Bytes from the place to the end.
    pub remaining: usize,
    pub expected: Vec<&'static str>,
}

impl ParserError<&str> for Failure {
    type Inner = Self;

    fn from_input(input: &&str) -> Self {
        Self { remaining: input.len(), expected: Vec::new() }
    }

    fn or(mut self, other: Self) -> Self {
        match self.remaining.cmp(&other.remaining) {
            std::cmp::Ordering::Less => self,
            std::cmp::Ordering::Greater => other,
            std::cmp::Ordering::Equal => {
                self.expected.extend(other.expected);
                self
            }
        }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

impl AddContext<&str> for Failure {
    /// Names a rule that failed at its very beginning (blanks aside); one that came further has said more already.
    fn add_context(mut self, input: &&str, start: &<&str as Stream>::Checkpoint, context: &'static str) -> Self {
        let mut from_start = *input;
        from_start.reset(start);
        let consumed = from_start.len() - self.remaining;
        if self.expected.is_empty() && from_start[..consumed].trim().is_empty() {
            self.expected = vec![context];
        }
        self
    }
}

/// An error for people: line, column, and the line around the place.
pub(super) fn explain(text: &str, place: usize, expected: &[&str]) -> FilterError {
    let line_start = text[..place].rfind('\n').map_or(0, |newline| newline + 1);
    let before = text[line_start..place].chars().count();
    let line_rest = text[place..].split('\n').next().unwrap_or_default();
    let cut = before.saturating_sub(EXCERPT / 2);
    let shown_after = EXCERPT - (before - cut);
    let (head, tail) =
        (if cut > 0 { "…" } else { "" }, if line_rest.chars().nth(shown_after).is_some() { "…" } else { "" });
    let shown = text[line_start..].chars().take_while(|character| *character != '\n').skip(cut).take(EXCERPT);
    // a tab or the like would push the caret off its place
    let shown: String = shown.map(|character| if character.is_control() { ' ' } else { character }).collect();
    let mut expected = expected.to_vec();
    expected.dedup();
    FilterError {
        line: text[..place].matches('\n').count() + 1,
        column: before + 1,
        excerpt: format!("{head}{shown}{tail}"),
        caret: format!("{}^", " ".repeat(head.chars().count() + before - cut)),
        expected: format!("expected {}", expected.join(", or ")),
    }
}
