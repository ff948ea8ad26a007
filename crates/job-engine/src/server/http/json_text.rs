//! What JSON may say and no document can keep: numbers beyond 64 bits, and halves of surrogate pairs.

use std::fmt::Write;
use std::ops::Range;

/// Attributes of a document that only inform: in their texts half a pair becomes U+FFFD, as whoever reports how its work
/// ended must be able to say so (Python's `os.fsdecode` makes such texts of file names).
const INFORMING: [&[u8]; 3] = [b"statusMessage", b"description", b"name"];
/// Deeper texts are no JSON for the parser either.
const DEEPEST: usize = 128;
/// Longest part of a number that is shown.
const SHOWN: usize = 40;
const REPLACEMENT: &[u8; 6] = b"\\ufffd";

/// What cannot be kept, and where it is: `targetResource/size: …`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct NotKept {
    place: String,
    reason: String,
}

/// Replaces what may be replaced in a JSON text, and refuses what would be changed silently. A text that is no JSON is
/// left to the parser.
pub fn mend(text: &mut [u8]) -> Result<(), NotKept> {
    let mut scan = Scan { text, at: 0, levels: Vec::new() };
    while scan.at < scan.text.len() {
        match scan.text[scan.at] {
            b'"' => scan.string()?,
            b'-' | b'0'..=b'9' => scan.number()?,
            byte => scan.punctuation(byte),
        }
        if scan.levels.len() > DEEPEST {
            break;
        }
    }
    Ok(())
}

/// Where a value is in the values around it.
enum Level {
    /// The key, once it was read.
    Object(Option<Range<usize>>),
    Array(usize),
}

struct Scan<'a> {
    text: &'a mut [u8],
    at: usize,
    levels: Vec<Level>,
}

impl Scan<'_> {
    fn punctuation(&mut self, byte: u8) {
        self.at += 1;
        match byte {
            b'{' => self.levels.push(Level::Object(None)),
            b'[' => self.levels.push(Level::Array(0)),
            b'}' | b']' => drop(self.levels.pop()),
            b',' => match self.levels.last_mut() {
                Some(Level::Object(key)) => *key = None,
                Some(Level::Array(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
    }

    fn string(&mut self) -> Result<(), NotKept> {
        let begin = self.at + 1;
        self.at = begin;
        let mut halves = Vec::new();
        while let Some(escape) = self.next_escape() {
            self.at = escape;
            match (unit(self.text, escape), unit(self.text, escape + 6)) {
                (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => self.at += 12,
                (Some(0xD800..0xE000), _) => {
                    halves.push(escape);
                    self.at += 6;
                }
                _ => self.at += 2,
            }
        }
        let text = begin..self.at;
        self.at += 1;
        let is_key = matches!(self.levels.last(), Some(Level::Object(None)));
        if let Some(&half) = halves.first()
            && (is_key || !self.informs())
        {
            let half = String::from_utf8_lossy(&self.text[half..half + REPLACEMENT.len()]).into_owned();
            return Err(self.not_kept(format!("{half} is half of a surrogate pair, which no text can hold")));
        }
        for half in halves {
            self.text[half..half + REPLACEMENT.len()].copy_from_slice(REPLACEMENT);
        }
        if let (true, Some(Level::Object(key))) = (is_key, self.levels.last_mut()) {
            *key = Some(text);
        }
        Ok(())
    }

    /// Where the next escape of a text is, unless the text ends before it: then that is where the scan is.
    fn next_escape(&mut self) -> Option<usize> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let next = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        let next = next.map_or(self.text.len(), |next| self.at + next);
        if self.text.get(next) == Some(&b'\\') {
            return Some(next);
        }
        self.at = next;
        None
    }

    fn number(&mut self) -> Result<(), NotKept> {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        let number = std::str::from_utf8(&rest[..length]).expect("digits and signs are ASCII");
        self.at += length;
        // what is no number at all the parser refuses
        let is_beyond = if is_whole_number(number) {
            number.parse::<u64>().is_err() && number.parse::<i64>().is_err()
        } else {
            number.parse::<f64>().is_ok_and(f64::is_infinite)
        };
        if !is_beyond {
            return Ok(());
        }
        let shown: String = number.chars().take(SHOWN).collect();
        let more = if shown.len() < number.len() { "…" } else { "" };
        Err(self.not_kept(format!("{shown}{more} is beyond 64 bits and would not be kept as it is")))
    }

    /// Whether the value that is read is a text that only informs: of a document, of one in a list, of an edit in a list
    /// of reports.
    fn informs(&self) -> bool {
        let key = |level: &Level| match level {
            Level::Object(Some(key)) => self.text.get(key.clone()),
            Level::Object(None) | Level::Array(_) => None,
        };
        let is = |level: &Level, name: &[u8]| key(level) == Some(name);
        match self.levels.as_slice() {
            [attribute] | [Level::Array(_), attribute] => INFORMING.iter().any(|name| is(attribute, name)),
            [reports, Level::Array(_), changes, attribute] => {
                is(reports, b"reports") && is(changes, b"changes") && INFORMING.iter().any(|name| is(attribute, name))
            }
            _ => false,
        }
    }

    fn not_kept(&self, reason: String) -> NotKept {
        let mut place = String::new();
        for level in &self.levels {
            let separator = if place.is_empty() { "" } else { "/" };
            let part = match level {
                Level::Array(index) => index.to_string(),
                Level::Object(Some(key)) => String::from_utf8_lossy(&self.text[key.clone()]).into_owned(),
                Level::Object(None) => "a name".to_owned(),
            };
            write!(place, "{separator}{part}").expect("a text takes everything");
        }
        let place = if place.is_empty() { "the body".to_owned() } else { place };
        NotKept { place, reason }
    }
}

fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The UTF-16 unit of an escape `\u` with four digits.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn mended(text: &str) -> Result<String, String> {
        let mut bytes = text.as_bytes().to_vec();
        mend(&mut bytes).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(bytes).expect("still text"))
    }

    #[test]
    fn numbers_that_would_be_changed_are_refused_with_their_place() {
        for (text, place) in [
            (r#"{"a": 18446744073709551616}"#, "a"),
            (r#"{"a": -9223372036854775809}"#, "a"),
            (r#"{"x": {"\u0061": [1, {"n": 123456789012345678901234567890}]}}"#, "x/\\u0061/1/n"),
            (r#"[{}, {"a": 1e400}]"#, "1/a"),
            (r#"{"b": "9", "a": -1.5E+999}"#, "a"),
            ("1e999", "the body"),
        ] {
            let refused = mended(text).expect_err(text);
            assert!(refused.starts_with(&format!("{place}: ")) && refused.contains("64 bits"), "{text}: {refused}");
        }
        for kept in [
            r#"{"a": 18446744073709551615, "b": -9223372036854775808, "c": 1e300, "d": 0.1, "e": -0, "f": 1e-999}"#,
            r#"{"a": "18446744073709551616", "1e999": ["\"1e999"]}"#,
            "{\"a\": 1-2, 3-}",
        ] {
            assert_eq!(mended(kept).as_deref(), Ok(kept));
        }
        let long = format!("{{\"a\": {}}}", "9".repeat(1_000_000));
        assert!(mended(&long).expect_err("too long").len() < 120, "it is not shown whole");
    }

    #[test]
    fn half_a_pair_is_replaced_where_it_only_informs_and_refused_with_its_place_elsewhere() {
        for (text, expected) in [
            (r#"{"statusMessage": "a\udc80b"}"#, r#"{"statusMessage": "a\ufffdb"}"#),
            (
                r#"{"description": "\ud800", "name": "\uDFFF\ud83d\ude00"}"#,
                r#"{"description": "\ufffd", "name": "\ufffd\ud83d\ude00"}"#,
            ),
            (r#"[{"statusMessage": "\udc80"}]"#, r#"[{"statusMessage": "\ufffd"}]"#),
            (
                r#"{"actions": [], "reports": [{"id": "job/1", "changes": {"progress": 1, "statusMessage": "\udc80"}}]}"#,
                r#"{"actions": [], "reports": [{"id": "job/1", "changes": {"progress": 1, "statusMessage": "\ufffd"}}]}"#,
            ),
            (r#"{"a": "\\udc80 \ud83d\ude00"}"#, r#"{"a": "\\udc80 \ud83d\ude00"}"#),
        ] {
            assert_eq!(mended(text).as_deref(), Ok(expected));
        }
        for (text, place) in [
            (r#"{"properties": {"p": "\udc80"}}"#, "properties/p"),
            (r#"{"targetResource": {"name": "\udc80"}}"#, "targetResource/name"),
            (r#"{"\udc80": 1}"#, "a name"),
            (r#"{"sessionTemplate": {"password": "\ud800\ud800"}}"#, "sessionTemplate/password"),
            (r#"["\udc80"]"#, "0"),
        ] {
            let refused = mended(text).expect_err(text);
            assert!(refused.starts_with(&format!("{place}: ")) && refused.contains("surrogate"), "{text}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_is_given_the_parser_decides(text in "[\\[\\]{}\",:0-9eE+.\\\\ud8-]{0,40}") {
            let before: Result<Value, _> = serde_json::from_str(&text);
            let Ok(after) = mended(&text) else { return Ok(()) };
            prop_assert_eq!(after.len(), text.len());
            if let Ok(before) = before {
                prop_assert_eq!(serde_json::from_str::<Value>(&after).expect("still JSON"), before);
            }
        }
    }
}
