//! The filter grammar (specification 4.3): one function per rule, in the order of the specification.

use winnow::combinator::{alt, cut_err, delimited, eof, opt, repeat, separated, terminated};
use winnow::error::{AddContext, ErrMode, ParseError, ParserError};
use winnow::stream::Stream;
use winnow::token::{none_of, one_of, take_while};
use winnow::{ModalResult, Parser};

use super::{Attribute, Comparison, Filter, FilterError, Literal, MAXIMUM_DEPTH, MAXIMUM_LENGTH};

/// Characters of the input that an error shows.
const EXCERPT: usize = 60;

type Parsed<T> = ModalResult<T, Failure>;

pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
    if text.len() > MAXIMUM_LENGTH {
        let place = text.floor_char_boundary(MAXIMUM_LENGTH);
        return Err(explain(text, place, &["the end: a filter has at most 1048576 bytes"]));
    }
    let whole = |input: &mut &str| filter(input, MAXIMUM_DEPTH);
    let end = eof.context("`and`, `or` or the end");
    terminated(whole, end)
        .parse(text)
        .map_err(ParseError::into_inner)
        .map_err(|failure| explain(text, text.len() - failure.remaining, &failure.expected))
}

fn filter(input: &mut &str, depth: usize) -> Parsed<Filter> {
    separated(1.., |input: &mut &str| and_term(input, depth), "or")
        .map(|parts| join(parts, Filter::Any))
        .parse_next(input)
}

fn and_term(input: &mut &str, depth: usize) -> Parsed<Filter> {
    separated(1.., |input: &mut &str| comparison(input, depth), "and")
        .map(|parts| join(parts, Filter::All))
        .parse_next(input)
}

fn join(mut parts: Vec<Filter>, list: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        end => {
            parts.extend(end);
            list(parts)
        }
    }
}

/// Nothing else can stand where a comparison is due, so its failure is final.
fn comparison(input: &mut &str, depth: usize) -> Parsed<Filter> {
    space(input)?;
    let parentheses = |input: &mut &str| parentheses(input, depth);
    cut_err(alt((parentheses, attribute_first, value_first)).context("a comparison or `(`")).parse_next(input)
}

fn parentheses(input: &mut &str, depth: usize) -> Parsed<Filter> {
    '('.parse_next(input)?;
    let Some(depth) = depth.checked_sub(1) else {
        return Err(ErrMode::Cut(Failure {
            remaining: input.len() + 1,
            expected: vec!["at most 64 levels of parentheses"],
        }));
    };
    let inner = filter(input, depth)?;
    cut_err((')', space).context("`and`, `or` or `)`")).parse_next(input)?;
    Ok(inner)
}

fn attribute_first(input: &mut &str) -> Parsed<Filter> {
    let attribute = attribute(input)?;
    let (comparison, literal) = alt((
        (equality, value.context("a number, a text in quotes, a date, `true`, `false` or `null`")),
        (order, ordinal.context("a number, a text in quotes or a date")),
    ))
    .context("a comparison: one of `=` `!=` `<` `<=` `>` `>=`")
    .parse_next(input)?;
    Ok(Filter::Compare(attribute, comparison, literal))
}

fn value_first(input: &mut &str) -> Parsed<Filter> {
    let name = || attribute.context("the name of an attribute");
    let ordered = (ordinal, alt((equality, order)).context("a comparison: one of `=` `!=` `<` `<=` `>` `>=`"), name());
    let equal = (word_value, equality, name());
    let (literal, comparison, attribute) = alt((ordered, equal)).parse_next(input)?;
    let mirrored = match comparison {
        Comparison::Equal => Comparison::Equal,
        Comparison::NotEqual => Comparison::NotEqual,
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
    };
    Ok(Filter::Compare(attribute, mirrored, literal))
}

fn equality(input: &mut &str) -> Parsed<Comparison> {
    alt(("!=".value(Comparison::NotEqual), '='.value(Comparison::Equal))).parse_next(input)
}

fn order(input: &mut &str) -> Parsed<Comparison> {
    alt((
        "<=".value(Comparison::LessOrEqual),
        ">=".value(Comparison::GreaterOrEqual),
        '<'.value(Comparison::Less),
        '>'.value(Comparison::Greater),
    ))
    .parse_next(input)
}

fn attribute(input: &mut &str) -> Parsed<Attribute> {
    let path = separated::<_, _, (), _, _, _, _>(1.., (term, opt((':', term))), '/').take();
    delimited(space, path, space).map(|path: &str| Attribute(path.to_owned())).parse_next(input)
}

/// The longest run of word characters and `-` that does not end in `-`.
fn term<'a>(input: &mut &'a str) -> Parsed<&'a str> {
    let word = |minimum| take_while(minimum.., |character: char| character.is_ascii_alphanumeric() || character == '_');
    let dashed = (take_while(1.., '-'), word(1));
    (one_of(|character: char| character.is_ascii_alphabetic()), word(0), repeat::<_, _, (), _, _>(0.., dashed))
        .take()
        .parse_next(input)
}

fn value(input: &mut &str) -> Parsed<Literal> {
    alt((ordinal, word_value)).parse_next(input)
}

/// A date is tried first: it begins as a number does and is longer.
fn ordinal(input: &mut &str) -> Parsed<Literal> {
    delimited(space, alt((date, integer, quoted)), space).parse_next(input)
}

fn word_value(input: &mut &str) -> Parsed<Literal> {
    let word = alt((
        "true".value(Literal::Boolean(true)),
        "false".value(Literal::Boolean(false)),
        "null".value(Literal::Null),
    ));
    delimited(space, word, space).parse_next(input)
}

fn digits<'a>(input: &mut &'a str) -> Parsed<&'a str> {
    take_while(1.., |character: char| character.is_ascii_digit()).parse_next(input)
}

fn integer(input: &mut &str) -> Parsed<Literal> {
    let text = digits(input)?;
    text.parse().map(Literal::Integer).map_err(|_| {
        let expected = vec!["a whole number up to 18446744073709551615"];
        ErrMode::Cut(Failure { remaining: input.len() + text.len(), expected })
    })
}

fn date(input: &mut &str) -> Parsed<Literal> {
    let zone = alt(("Z".void(), (one_of(['+', '-']), digits, ':', digits).void()));
    let time = ('T', digits, ':', digits, ':', digits, opt(('.', digits)), zone);
    (digits, '-', digits, opt(('-', digits)), opt(time))
        .take()
        .map(|text: &str| Literal::Text(text.to_owned()))
        .parse_next(input)
}

fn quoted(input: &mut &str) -> Parsed<Literal> {
    let quote = one_of(['"', '\'']).parse_next(input)?;
    let closing = if quote == '"' { "a closing `\"`" } else { "a closing `'`" };
    let plain = take_while(1.., move |character| character != quote && character != '\\').void();
    let escape = ('\\', none_of('\n')).void();
    let text = repeat::<_, _, (), _, _>(0.., alt((plain, escape))).take().parse_next(input)?;
    cut_err(quote.context(closing)).parse_next(input)?;
    Ok(Literal::Text(unescape(text)))
}

/// Quirk 20: `\'`, `\"` and `\\` lose their backslash; any other stays.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = characters.next_if(|next| character == '\\' && matches!(next, '\'' | '"' | '\\'));
        plain.push(escaped.unwrap_or(character));
    }
    plain
}

fn space(input: &mut &str) -> Parsed<()> {
    take_while(0.., [' ', '\t', '\n', '\r', '\x0b', '\x0c']).void().parse_next(input)
}

/// Where a rule failed and what it would have accepted; of several rules the one that came furthest speaks.
#[derive(Debug)]
struct Failure {
    /// Bytes from the place to the end.
    remaining: usize,
    expected: Vec<&'static str>,
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
fn explain(text: &str, place: usize, expected: &[&str]) -> FilterError {
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
