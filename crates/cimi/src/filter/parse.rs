//! The filter grammar (specification 4.3): one function per rule, in the order of the grammar there.

use winnow::combinator::{alt, cut_err, delimited, eof, opt, preceded, repeat, separated, terminated};
use winnow::error::{ErrMode, ParseError};
use winnow::token::{none_of, one_of, take_while};
use winnow::{ModalResult, Parser};

use super::failure::{Failure, explain};
use super::{
    Attribute, Comparison, Filter, FilterError, Literal, MAXIMUM_DEPTH, MAXIMUM_LENGTH, MAXIMUM_WORDS, date, words,
};

/// Where properties are: `property['x']` is `properties/x` (quirk 22).
pub(super) const PROPERTIES: &str = "properties/";

const AN_ORDINAL: &str = "a number, a text in quotes or a date";
const A_LITERAL: &str = "a number, a text in quotes, a date, `true`, `false`, `null` or a list";
const A_TEXT: &str = "a text in quotes";
const AN_OPERATOR: &str = "a comparison: one of `=` `!=` `<` `<=` `>` `>=` `^=` `==`";

/// Whether a path can stand in a filter as it is.
pub(super) fn is_path(text: &str) -> bool {
    path.parse(text).is_ok()
}

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
    let (comparison, (place, literal)) = alt((
        (equality, placed(value).context(A_LITERAL)),
        (order, placed(ordinal).context(AN_ORDINAL)),
        (textual, placed(text).context(A_TEXT)),
        (geographic, placed(text)),
    ))
    .context(AN_OPERATOR)
    .parse_next(input)?;
    checked(place, attribute, comparison, literal)
}

fn value_first(input: &mut &str) -> Parsed<Filter> {
    let name = || attribute.context("the name of an attribute");
    let ordered = (placed(ordinal), alt((equality, order)).context(AN_OPERATOR), name());
    let equal = (placed(alt((word_value, list))), equality.context("`=` or `!=`"), name());
    let text = (placed(text), textual, name());
    let ((place, literal), comparison, attribute) = alt((ordered, equal, text)).parse_next(input)?;
    let mirrored = match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    };
    checked(place, attribute, mirrored, literal)
}

/// A literal with its place: the bytes from it to the end.
fn placed<'a>(
    mut literal: impl Parser<&'a str, Literal, ErrMode<Failure>>,
) -> impl Parser<&'a str, (usize, Literal), ErrMode<Failure>> {
    move |input: &mut &'a str| {
        space(input)?;
        Ok((input.len(), literal.parse_next(input)?))
    }
}

/// Refuses at once what no document can ever be compared with (quirk 23).
fn checked(place: usize, attribute: Attribute, comparison: Comparison, literal: Literal) -> Parsed<Filter> {
    let expected = if comparison.takes_dates(&attribute) && !date::is_date(&literal) {
        "a date, a timestamp or date math, such as '2026-01-31', '2026-01-31T12:00:00.000Z' or 'now-7d/d'"
    } else if comparison == Comparison::Words && words::count(&literal.text()) > MAXIMUM_WORDS {
        "at most 1024 words"
    } else {
        return Ok(Filter::Compare(attribute, comparison, literal));
    };
    Err(ErrMode::Cut(Failure { remaining: place, expected: vec![expected] }))
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

fn textual(input: &mut &str) -> Parsed<Comparison> {
    alt(("^=".value(Comparison::StartsWith), "==".value(Comparison::Words))).parse_next(input)
}

/// Known, so that it can be refused by name.
fn geographic(input: &mut &str) -> Parsed<Comparison> {
    let place = input.len();
    let expected = alt((
        "intersects".value("a comparison other than `intersects`, which is not supported"),
        "disjoint".value("a comparison other than `disjoint`, which is not supported"),
        "within".value("a comparison other than `within`, which is not supported"),
        "contains".value("a comparison other than `contains`, which is not supported"),
    ))
    .parse_next(input)?;
    Err(ErrMode::Cut(Failure { remaining: place, expected: vec![expected] }))
}

/// A property is one for every comparison, although the original knows `=` and `!=` only.
fn attribute(input: &mut &str) -> Parsed<Attribute> {
    let key = terminated(text.context(A_TEXT), ']'.context("`]`"));
    let property = preceded("property[", cut_err(key)).map(|key| Attribute(format!("{PROPERTIES}{}", key.text())));
    let named = path.map(|path| Attribute(path.to_owned()));
    delimited(space, alt((property, named)), space).parse_next(input)
}

fn path<'a>(input: &mut &'a str) -> Parsed<&'a str> {
    separated::<_, _, (), _, _, _, _>(1.., (term, opt((':', term))), '/').take().parse_next(input)
}

/// The longest run of word characters and `-` that does not end in `-`; `@` can begin it, but not be all of it.
fn term<'a>(input: &mut &'a str) -> Parsed<&'a str> {
    let word = |minimum| take_while(minimum.., |character: char| character.is_ascii_alphanumeric() || character == '_');
    let dashed = (take_while(1.., '-'), word(1));
    (
        one_of(|character: char| character.is_ascii_alphabetic() || character == '@'),
        word(0),
        repeat::<_, _, (), _, _>(0.., dashed),
    )
        .take()
        .verify(|term: &str| term != "@")
        .parse_next(input)
}

fn value(input: &mut &str) -> Parsed<Literal> {
    alt((ordinal, word_value, list)).parse_next(input)
}

/// Blanks, a comma at the end, `true` and `false` are accepted too, where the original refuses them.
fn list(input: &mut &str) -> Parsed<Literal> {
    '['.parse_next(input)?;
    let element = alt((ordinal, boolean)).context("a number, a text in quotes, a date, `true`, `false` or `]`");
    let elements = repeat(0.., terminated(element, opt(','))).parse_next(input)?;
    cut_err((space, ']', space).context("`,` or `]`")).parse_next(input)?;
    Ok(Literal::List(elements))
}

/// A date is tried first: it begins as a number does and is longer.
fn ordinal(input: &mut &str) -> Parsed<Literal> {
    delimited(space, alt((date, integer, quoted)), space).parse_next(input)
}

fn text(input: &mut &str) -> Parsed<Literal> {
    delimited(space, quoted, space).parse_next(input)
}

fn word_value(input: &mut &str) -> Parsed<Literal> {
    alt((boolean, delimited(space, "null".value(Literal::Null), space))).parse_next(input)
}

fn boolean(input: &mut &str) -> Parsed<Literal> {
    let word = alt(("true".value(Literal::Boolean(true)), "false".value(Literal::Boolean(false))));
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
