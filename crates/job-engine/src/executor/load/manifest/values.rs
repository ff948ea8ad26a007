//! What the values of a manifest mean. Each function answers what is wrong in words for people.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use crate::process::written::{self, Wrong};
use crate::programs::environment::is_ours;

/// Longer than anybody waits for a process, and short enough for every sum of times.
const LONGEST: Duration = Duration::from_hours(365 * 24);
/// Less than any program needs, in bytes.
const LEAST_MEMORY: u64 = 1 << 20;
/// Longest name of an action, in bytes.
const LONGEST_NAME: usize = 200;
/// Units of memory, with their number of bytes.
const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A text.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    let text = value.as_str().ok_or_else(|| format!("expected a text in quotes, not {}", what(value)))?;
    if text.contains('\0') { Err("no program takes a NUL character".to_owned()) } else { Ok(text.to_owned()) }
}

/// What a value of several parts says, or all that is wrong in it.
pub(super) type Parts<T> = Result<T, Vec<Wrong>>;

/// A list of texts, each of which `check` finds right.
fn texts(value: &Spanned<DeValue<'_>>, check: impl Fn(usize, &str) -> Result<(), String>) -> Parts<Vec<String>> {
    let list = value.get_ref().as_array();
    let list = list.ok_or_else(|| whole(value, format!("expected a list of texts, not {}", what(value.get_ref()))))?;
    all(list.iter().enumerate().map(|(index, one)| {
        let text = text(one.get_ref()).and_then(|text| check(index, &text).map(|()| text));
        text.map_err(|message| Wrong::at(one.span().start, message))
    }))
}

/// All of them, or all that is wrong.
fn all<T, C: FromIterator<T>>(parts: impl Iterator<Item = Result<T, Wrong>>) -> Parts<C> {
    let mut wrong = Vec::new();
    let right = parts.filter_map(|part| part.map_err(|one| wrong.push(one)).ok()).collect();
    if wrong.is_empty() { Ok(right) } else { Err(wrong) }
}

/// A value that is wrong as a whole.
fn whole(value: &Spanned<DeValue<'_>>, message: impl Into<String>) -> Vec<Wrong> {
    vec![Wrong::at(value.span().start, message)]
}

/// A program and its arguments.
pub(super) fn command(value: &Spanned<DeValue<'_>>) -> Parts<Vec<String>> {
    const NONE: &str = "it names no program, write a list such as [\"./backup.sh\", \"--full\"]";
    if value.get_ref().as_str().is_some() {
        return Err(whole(value, "no shell reads it, write a list such as [\"./backup.sh\", \"--full\"]"));
    }
    let words = texts(value, |index, word| if index == 0 && word.is_empty() { Err(NONE.to_owned()) } else { Ok(()) })?;
    if words.is_empty() { Err(whole(value, NONE)) } else { Ok(words) }
}

/// The name of an action.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    wrong_name(&name).map_or(Ok(name), Err)
}

/// What is wrong with the name of an action, if anything is.
pub(in super::super) fn wrong_name(name: &str) -> Option<String> {
    let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let wrong = || {
        format!(
            "`{}` is not the name of an action, use 1 to {LONGEST_NAME} ASCII characters without blanks",
            shown(name)
        )
    };
    (!fits).then(wrong)
}

/// A time that something may take, more than nothing.
pub(super) fn limit(value: &DeValue<'_>) -> Result<Duration, String> {
    let limit = duration(value)?;
    if limit.is_zero() { Err("nothing ends in no time, leave it out for no limit".to_owned()) } else { Ok(limit) }
}

/// A time, or none at all.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    const WRITE: &str = "write it like \"30 s\", \"5 min\" or \"2 h\"";
    let text = value.as_str().ok_or_else(|| format!("{} is not a duration, {WRITE}", what(value)))?;
    let wrong = |reason: &str| format!("`{}` is not a duration ({reason}), {WRITE}", shown(text));
    let duration = written::duration(text).map_err(|error| wrong(&error.to_string()))?;
    if duration > LONGEST { Err(wrong("it is longer than a year")) } else { Ok(duration) }
}

/// A size of memory, in bytes.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, String> {
    const WRITE: &str = "write a whole number of KiB, MiB, GiB or TiB, such as \"512 MiB\"";
    let text = value.as_str().ok_or_else(|| format!("{} is not a size, {WRITE}", what(value)))?;
    let wrong = || format!("`{}` is not a size, {WRITE}", shown(text));
    let digits = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim_start_matches(' '));
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)).ok_or_else(wrong)?;
    if bytes < LEAST_MEMORY { Err(format!("`{text}` is less than any program needs, {WRITE}")) } else { Ok(bytes) }
}

/// A whole number between these.
pub(super) fn count(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    let number = value.as_integer().and_then(unsigned).filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{} is not a whole number from {least} to {most}", what(value)))
}

fn unsigned(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// Yes or no.
pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("expected true or false, not {}", what(value)))
}

/// Variables and what they are set to.
pub(super) fn variables(value: &Spanned<DeValue<'_>>) -> Parts<BTreeMap<String, String>> {
    let table = value.get_ref().as_table().ok_or_else(|| {
        whole(value, format!("expected a table such as {{ LANG = \"C\" }}, not {}", what(value.get_ref())))
    })?;
    all(table.iter().map(|(name, value)| {
        let (place, name) = (name.span().start, &**name.get_ref());
        check_variable(name).map_err(|message| Wrong::at(place, message))?;
        if is_ours(OsStr::new(name)) {
            return Err(Wrong::at(place, format!("`{}`: only the executor itself sets such variables", shown(name))));
        }
        let value =
            text(value.get_ref()).map_err(|message| Wrong::at(place, format!("`{}`: {message}", shown(name))))?;
        Ok((name.to_owned(), value))
    }))
}

/// Names of the executor's own variables. Those that tell of its login are never passed on.
pub(super) fn names_of_variables(value: &Spanned<DeValue<'_>>) -> Parts<Vec<String>> {
    texts(value, |_, name| {
        check_variable(name)?;
        if is_ours(OsStr::new(name)) {
            return Err(format!("`{name}` may hold the executor's own login, and is passed to no program"));
        }
        Ok(())
    })
}

fn check_variable(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(format!("`{}` is not the name of a variable", shown(name)));
    }
    Ok(())
}

/// What a value is, as its author would say.
fn what(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", shown(text)),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A text of somebody else, no longer than one reads.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let short: String = text.chars().take(LONGEST).collect();
    if short.len() == text.len() { short } else { short + "…" }
}
