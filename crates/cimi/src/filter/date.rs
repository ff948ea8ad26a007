//! Dates and date math (specification 4.4): a date, optionally followed by `||` and steps, or `now` and steps. A step is
//! `+N<u>`, `-N<u>` or `/<u>`, which rounds, with a unit of `y M w d h H m s`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use winnow::combinator::{alt, opt, preceded, repeat, terminated};
use winnow::error::EmptyError;
use winnow::token::{one_of, take_until, take_while};
use winnow::{Parser, Result};

use super::{Literal, Span};

/// What is between a date and the steps from it.
const ANCHOR_END: &str = "||";
const NOW: &str = "now";
const A_NANOSECOND: SignedDuration = SignedDuration::from_nanos(1);

/// What a text stands for; none if it is no date, or has a `now`.
pub(super) fn span(text: &str) -> Option<Span> {
    if text.contains(ANCHOR_END) { anchored.parse(text).ok() } else { date(text) }
}

/// Replaces `now`.
pub(super) fn resolve(literal: Literal, now: Timestamp) -> Literal {
    match literal {
        Literal::Text(text) => match text.strip_prefix(NOW) {
            Some(steps) => Literal::Text(format!("{now:.3}{ANCHOR_END}{steps}")),
            None => Literal::Text(text),
        },
        Literal::List(elements) => Literal::List(elements.into_iter().map(|element| resolve(element, now)).collect()),
        other => other,
    }
}

/// Whether date attributes can be compared with it, once `now` is known.
pub(super) fn is_date(literal: &Literal) -> bool {
    match literal {
        Literal::Null => true,
        Literal::List(elements) => elements.iter().all(is_date),
        other => Span::of(&resolve(other.clone(), Timestamp::UNIX_EPOCH)).is_some(),
    }
}

/// One step of date math.
enum Step {
    /// To the beginning or the end of the unit.
    Round(char),
    /// By so many units.
    Move(i64, char),
}

fn anchored(input: &mut &str) -> Result<Span, EmptyError> {
    let anchor = terminated(take_until(1.., ANCHOR_END), ANCHOR_END).verify_map(date).parse_next(input)?;
    let steps: Vec<Step> = repeat(0.., step).parse_next(input)?;
    // an incomplete date is filled up only where no step follows it
    let end = if steps.is_empty() { anchor.last } else { anchor.first };
    Ok(Span { first: walk(anchor.first, &steps, false), last: walk(end, &steps, true) })
}

fn step(input: &mut &str) -> Result<Step, EmptyError> {
    let unit = || one_of(['y', 'M', 'w', 'd', 'h', 'H', 'm', 's']);
    let digits = take_while(1.., |character: char| character.is_ascii_digit());
    // a number too large for any calendar leads to its end
    let number = opt(digits.map(|digits: &str| digits.parse().unwrap_or(i64::MAX))).map(|number| number.unwrap_or(1));
    let sign = alt(('+'.value(1), '-'.value(-1)));
    let movement = (sign, number, unit()).map(|(sign, number, unit)| Step::Move(sign * number, unit));
    alt((preceded('/', unit()).map(Step::Round), movement)).parse_next(input)
}

fn walk(from: Timestamp, steps: &[Step], to_the_end: bool) -> Timestamp {
    let start = TimeZone::UTC.to_datetime(from);
    let place = steps.iter().fold(start, |place, step| match step {
        Step::Move(number, unit) => moved(place, *number, *unit),
        Step::Round(unit) if to_the_end => moved(rounded(place, *unit), 1, *unit).saturating_sub(A_NANOSECOND),
        Step::Round(unit) => rounded(place, *unit),
    });
    timestamp(place)
}

fn moved(place: DateTime, number: i64, unit: char) -> DateTime {
    let zero = jiff::Span::new();
    let span = match unit {
        'y' => zero.try_years(number),
        'M' => zero.try_months(number),
        'w' => zero.try_weeks(number),
        'd' => zero.try_days(number),
        'm' => zero.try_minutes(number),
        's' => zero.try_seconds(number),
        _ => zero.try_hours(number),
    };
    match span {
        Ok(span) => place.saturating_add(span),
        Err(_) if number < 0 => DateTime::MIN,
        Err(_) => DateTime::MAX,
    }
}

fn rounded(place: DateTime, unit: char) -> DateTime {
    let midnight = place.start_of_day();
    let hour = place.hour();
    match unit {
        'y' => midnight.first_of_year(),
        'M' => midnight.first_of_month(),
        'w' => midnight.saturating_sub(i64::from(place.weekday().to_monday_zero_offset()).days()),
        'd' => midnight,
        'm' => midnight.with().hour(hour).minute(place.minute()).build().unwrap_or(midnight),
        's' => place.with().subsec_nanosecond(0).build().unwrap_or(midnight),
        _ => midnight.with().hour(hour).build().unwrap_or(midnight),
    }
}

/// The calendar reaches a day further than timestamps.
fn timestamp(place: DateTime) -> Timestamp {
    let bound = if place < DateTime::ZERO { Timestamp::MIN } else { Timestamp::MAX };
    TimeZone::UTC.to_timestamp(place).unwrap_or(bound)
}

/// What completes a date that ends after the year, the month and so on.
const COMPLETION: &str = "0000-01-01T00:00:00";

/// A date or timestamp, complete or not, in its zone or else in UTC.
fn date(text: &str) -> Option<Span> {
    if !text.is_ascii() {
        return None;
    }
    let time = text.find('T').unwrap_or(text.len());
    let zone = text[time..].find(['Z', '+', '-']).map_or(text.len(), |place| time + place);
    let (local, zone) = text.split_at(zone);
    let (whole, fraction) = local.split_at(local.len().min(COMPLETION.len()));
    let unit = match whole.len() {
        4 => 'y',
        7 => 'M',
        10 => 'd',
        13 => 'h',
        16 => 'm',
        19 => 's',
        _ => return None,
    };
    let fits = |(byte, model): (u8, u8)| if model.is_ascii_digit() { byte.is_ascii_digit() } else { byte == model };
    if !whole.bytes().zip(COMPLETION.bytes()).all(fits) || !matches!(fraction.as_bytes(), [] | [b'.', ..]) {
        return None;
    }
    let start: DateTime = format!("{whole}{}{fraction}", &COMPLETION[whole.len()..]).parse().ok()?;
    let end = if fraction.is_empty() { moved(start, 1, unit).saturating_sub(A_NANOSECOND) } else { start };
    let offset = offset(zone)?;
    Some(Span { first: timestamp(start.saturating_sub(offset)), last: timestamp(end.saturating_sub(offset)) })
}

/// How far a zone's clock is ahead of UTC.
fn offset(zone: &str) -> Option<SignedDuration> {
    let zone = if zone.is_empty() { "Z" } else { zone };
    if !zone[1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
        return None;
    }
    let there: Timestamp = format!("1970-01-01T00:00:00{zone}").parse().ok()?;
    Some(-there.as_duration())
}
