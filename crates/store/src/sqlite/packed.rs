//! How documents and ledgers are stored: the values of JSON in fewer bytes than their text, and read without looking at each
//! of these. A job and its ledger take a fifth of the text.
//!
//! A value is a byte that says what follows. Numbers of items and of bytes are in groups of seven bits, the lowest first; the
//! highest bit says that another group follows. What jobs have in common is one byte, a [`WORDS`] entry. Texts that are
//! digits in known places, such as times and ids, are these digits, two to a byte: see [`FORMS`]. So every value has one
//! packed form, and is the same once it is unpacked, order of members included.
//!
//! A file is full of these bytes: [`WORDS`] and [`FORMS`] may grow at their ends, and change in no other way.

use std::sync::LazyLock;

use serde_json::{Map, Number, Value};

/// The first byte of all that is packed; no text in JSON begins so.
const PACKED: u8 = 1;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
/// A whole number of 64 bits with a sign, which is its lowest bit.
const INTEGER: u8 = 3;
/// A whole number above those.
const UNSIGNED: u8 = 4;
/// Eight bytes, the lowest first.
const FLOAT: u8 = 5;
const TEXT: u8 = 6;
const LIST: u8 = 7;
const OBJECT: u8 = 8;
/// The first of [`FORMS`].
const FORM: u8 = 16;
/// The first of [`WORDS`].
const WORD: u8 = 32;

/// Bytes of text that a number has at most.
const LONGEST_NUMBER: usize = 24;
/// For so many items room is made before they are read: how many there are is only said.
const ROOM: usize = 1_024;

/// How deep values may lie in each other: deeper than `serde_json` reads any.
const DEEPEST: u8 = 200;

/// Texts of which only the digits are stored: `0` stands for a decimal one, `#` for one of 16.
const FORMS: &[&str] = &[
    JOB_ID,
    "0000-00-00T00:00:00.000Z",
    "0000-00-00T00:00:00.000000000Z",
    "/job/entries/entry-000-0000000000",
    "########-####-####-####-############",
];

/// The id of a job as the server makes it.
pub(super) const JOB_ID: &str = "job/########-####-####-####-############";

/// Names of members and texts that many jobs have.
const WORDS: &[&str] = &[
    "id",
    "resourceURI",
    "created",
    "updated",
    "action",
    "targetResource",
    "href",
    "state",
    "progress",
    "priority",
    "acl",
    "owner",
    "principal",
    "type",
    "rules",
    "right",
    "affectedResources",
    "started",
    "timeOfStatusChange",
    "duration",
    "statusMessage",
    "returnCode",
    "parentJob",
    "nestedJobs",
    "properties",
    "name",
    "description",
    "expiry",
    "output",
    "payload",
    "tags",
    "entry",
    "lease",
    "generation",
    "zxid",
    "lost",
    "attempts",
    "executor",
    "begun",
    "ended",
    "outcome",
    "refused-total",
    "http://sixsq.com/slipstream/1/Job",
    "ADMIN",
    "USER",
    "ANON",
    "ROLE",
    "ALL",
    "VIEW",
    "MODIFY",
    "QUEUED",
    "RUNNING",
    "SUCCESS",
    "FAILED",
    "STOPPING",
    "STOPPED",
    "finished",
    "",
    "super",
];

/// Words, each with its byte, by their [`place`].
static PLACES: LazyLock<Vec<Vec<(&str, u8)>>> = LazyLock::new(|| {
    let mut places = vec![Vec::new(); 256];
    for (word, byte) in WORDS.iter().zip(WORD..) {
        places[place(word)].push((*word, byte));
    }
    places
});

/// Where a word is looked for. These numbers give each a place of its own.
fn place(word: &str) -> usize {
    let (first, last) = (word.bytes().next().unwrap_or_default(), word.bytes().next_back().unwrap_or_default());
    (word.len() * 11 + usize::from(first) * 6 + usize::from(last) * 15) % 256
}

/// What is wrong with what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a packed value, or cut off")]
pub(super) struct NotPacked;

/// Packs a document.
pub(super) fn pack_object(object: &Map<String, Value>) -> Vec<u8> {
    let mut packed = Vec::with_capacity(256);
    packed.push(PACKED);
    put_object(&mut packed, object);
    packed
}

/// Packs any value.
pub(super) fn pack(value: &Value) -> Vec<u8> {
    let mut packed = Vec::with_capacity(128);
    packed.push(PACKED);
    put(&mut packed, value);
    packed
}

/// Packs a text.
pub(super) fn pack_text(text: &str) -> Vec<u8> {
    let mut packed = vec![PACKED];
    put_text(&mut packed, text);
    packed
}

/// The value as it was packed, and about how many bytes its text in JSON has: not less, but for what has to be escaped.
pub(super) fn unpack(packed: &[u8]) -> Result<(Value, usize), NotPacked> {
    let mut rest = Rest { packed, text: 0 };
    if rest.byte()? != PACKED {
        return Err(NotPacked);
    }
    let value = rest.value(0)?;
    if rest.packed.is_empty() { Ok((value, rest.text)) } else { Err(NotPacked) }
}

fn put(packed: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => packed.push(NULL),
        Value::Bool(value) => packed.push(if *value { TRUE } else { FALSE }),
        Value::Number(number) => put_number(packed, number),
        Value::String(text) => put_text(packed, text),
        Value::Array(items) => {
            packed.push(LIST);
            put_size(packed, items.len() as u64);
            for item in items {
                put(packed, item);
            }
        }
        Value::Object(members) => put_object(packed, members),
    }
}

fn put_object(packed: &mut Vec<u8>, members: &Map<String, Value>) {
    packed.push(OBJECT);
    put_size(packed, members.len() as u64);
    for (name, value) in members {
        put_text(packed, name);
        put(packed, value);
    }
}

fn put_number(packed: &mut Vec<u8>, number: &Number) {
    if let Some(integer) = number.as_i64() {
        packed.push(INTEGER);
        // the sign in the lowest bit: small numbers are short, whatever their sign
        put_size(packed, ((integer << 1) ^ (integer >> 63)).cast_unsigned());
    } else if let Some(unsigned) = number.as_u64() {
        packed.push(UNSIGNED);
        put_size(packed, unsigned);
    } else {
        packed.push(FLOAT);
        let float = number.as_f64().expect("a number that is not whole is a float");
        packed.extend(float.to_le_bytes());
    }
}

fn put_text(packed: &mut Vec<u8>, text: &str) {
    if let Some((_, byte)) = PLACES[place(text)].iter().find(|(word, _)| *word == text) {
        packed.push(*byte);
        return;
    }
    for (form, byte) in FORMS.iter().zip(FORM..).filter(|(form, _)| form.len() == text.len()) {
        let before = packed.len();
        packed.push(byte);
        if put_digits(packed, form, text) {
            return;
        }
        packed.truncate(before);
    }
    packed.push(TEXT);
    put_size(packed, text.len() as u64);
    packed.extend(text.as_bytes());
}

/// Puts the digits of a text of this form, two to a byte; whether it has the form.
pub(super) fn put_digits(packed: &mut Vec<u8>, form: &str, text: &str) -> bool {
    let mut first = None;
    for (wanted, found) in form.bytes().zip(text.bytes()) {
        let digit = match (wanted, found) {
            (b'0' | b'#', b'0'..=b'9') => found - b'0',
            (b'#', b'a'..=b'f') => found - b'a' + 10,
            (b'0' | b'#', _) => return false,
            _ if wanted == found => continue,
            _ => return false,
        };
        match first.take() {
            Some(high) => packed.push(high << 4 | digit),
            None => first = Some(digit),
        }
    }
    packed.extend(first.map(|high| high << 4));
    form.len() == text.len()
}

/// The text of a form with these digits; none if there are too few, or one is none.
pub(super) fn text_of(form: &str, digits: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(form.len());
    let mut digits = digits.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for wanted in form.chars() {
        text.push(match wanted {
            '0' => char::from_digit(digits.next()?.into(), 10)?,
            '#' => char::from_digit(digits.next()?.into(), 16)?,
            other => other,
        });
    }
    Some(text)
}

fn put_size(packed: &mut Vec<u8>, mut size: u64) {
    while size >= 0x80 {
        packed.push(size.to_le_bytes()[0] | 0x80);
        size >>= 7;
    }
    packed.push(size.to_le_bytes()[0]);
}

/// What is not read yet.
struct Rest<'a> {
    packed: &'a [u8],
    /// Bytes of text so far.
    text: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], NotPacked> {
        let (taken, rest) = self.packed.split_at_checked(bytes).ok_or(NotPacked)?;
        self.packed = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, NotPacked> {
        Ok(self.take(1)?[0])
    }

    fn size(&mut self) -> Result<u64, NotPacked> {
        let mut size = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            size |= group.checked_shl(shift).filter(|shifted| shifted >> shift == group).ok_or(NotPacked)?;
            if byte < 0x80 {
                return Ok(size);
            }
        }
        Err(NotPacked)
    }

    /// How many items follow within brackets.
    fn length(&mut self) -> Result<usize, NotPacked> {
        self.text += "[]".len();
        self.items()
    }

    fn number(&mut self) -> Result<u64, NotPacked> {
        self.text += LONGEST_NUMBER;
        self.size()
    }

    /// How many items follow, each of which takes a byte at least.
    fn items(&mut self) -> Result<usize, NotPacked> {
        let items = usize::try_from(self.size()?).map_err(|_| NotPacked)?;
        if items <= self.packed.len() { Ok(items) } else { Err(NotPacked) }
    }

    fn value(&mut self, depth: u8) -> Result<Value, NotPacked> {
        if depth >= DEEPEST {
            return Err(NotPacked);
        }
        // a comma
        self.text += 1;
        Ok(match self.byte()? {
            known @ (NULL | FALSE | TRUE) => {
                self.text += "false".len();
                if known == NULL { Value::Null } else { Value::Bool(known == TRUE) }
            }
            INTEGER => {
                let size = self.number()?;
                Value::from((size >> 1).cast_signed() ^ -((size & 1).cast_signed()))
            }
            UNSIGNED => Value::from(self.number()?),
            FLOAT => {
                self.text += LONGEST_NUMBER;
                let bytes = self.take(8)?.try_into().map_err(|_| NotPacked)?;
                Value::Number(Number::from_f64(f64::from_le_bytes(bytes)).ok_or(NotPacked)?)
            }
            LIST => {
                let items = self.length()?;
                let mut list = Vec::with_capacity(items.min(ROOM));
                for _ in 0..items {
                    list.push(self.value(depth + 1)?);
                }
                Value::Array(list)
            }
            OBJECT => {
                let members = self.length()?;
                let mut object = Map::with_capacity(members.min(ROOM));
                for _ in 0..members {
                    let first = self.byte()?;
                    self.text += ":".len();
                    object.insert(self.text(first)?, self.value(depth + 1)?);
                }
                Value::Object(object)
            }
            text => Value::String(self.text(text)?),
        })
    }

    /// The text that begins with this byte.
    fn text(&mut self, first: u8) -> Result<String, NotPacked> {
        let text = self.text_or_word(first)?;
        self.text += text.len() + 2;
        Ok(text)
    }

    fn text_or_word(&mut self, first: u8) -> Result<String, NotPacked> {
        if first == TEXT {
            let bytes = self.items()?;
            return String::from_utf8(self.take(bytes)?.to_vec()).map_err(|_| NotPacked);
        }
        if let Some(word) = first.checked_sub(WORD) {
            return WORDS.get(usize::from(word)).map(|word| (*word).to_owned()).ok_or(NotPacked);
        }
        let form = first.checked_sub(FORM).and_then(|form| FORMS.get(usize::from(form))).ok_or(NotPacked)?;
        let digits = form.bytes().filter(|byte| matches!(byte, b'0' | b'#')).count();
        text_of(form, self.take(digits.div_ceil(2))?).ok_or(NotPacked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn packed(value: &Value) -> Vec<u8> {
        let packed = pack(value);
        assert_eq!(unpack(&packed).unwrap().0, *value);
        packed
    }

    /// What lies in files: a change of any of these bytes makes them unreadable.
    #[test]
    fn values_are_packed_as_they_always_were() {
        for (value, bytes) in [
            (json!(null), "0100"),
            (json!([false, true]), "0107020102"),
            (json!([0, -1, 1, 999]), "010704030003010302 03ce0f"),
            (json!(i64::MIN), "0103ffffffffffffffffff01"),
            (json!(u64::MAX), "0104ffffffffffffffffff01"),
            (json!(0.5), "0105000000000000e03f"),
            (json!("é"), "010602c3a9"),
            (json!(""), "0159"),
            (json!({"id": "job/01a22896-57ff-7010-b0be-14f3f033efd6"}), "01080120 1001a2289657ff7010b0be14f3f033efd6"),
            (json!("2026-11-29T18:34:31.296Z"), "0111202611291834312960"),
            (json!("2026-11-29T18:34:42.347574109Z"), "0112202611291834423475741090"),
            (json!("/job/entries/entry-999-0000019982"), "011399900000199820"),
            (json!("01a22896-57ff-7010-b0be-14f3f033efd6"), "011401a2289657ff7010b0be14f3f033efd6"),
            (json!({"state": "SUCCESS", "other": 999}), "010802 2754 06056f74686572 03ce0f"),
        ] {
            assert_eq!(packed(&value), of_hex(bytes), "{value}");
        }
        assert_eq!((WORDS[0], WORDS[WORDS.len() - 1]), ("id", "super"));
    }

    fn of_hex(text: &str) -> Vec<u8> {
        let digits = text.replace(' ', "");
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn each_word_is_a_byte_and_stands_once() {
        assert!(WORDS.len() <= usize::from(u8::MAX - WORD));
        assert!(FORMS.len() <= usize::from(WORD - FORM));
        for word in WORDS {
            assert_eq!(packed(&json!(word)).len(), 2, "{word}");
            assert_eq!(WORDS.iter().filter(|other| *other == word).count(), 1, "{word}");
        }
    }

    #[test]
    fn what_almost_has_a_form_is_a_text() {
        for text in [
            "2026-11-29T18:34:31.29aZ",
            "2026-11-29 18:34:31.296Z",
            "job/01a22896-57ff-7010-b0be-14f3f033efdG",
            "job/01a22896-57ff-7010-b0be_14f3f033efd6",
            "/job/entries/entry-99-00000199820",
        ] {
            assert_eq!(packed(&json!(text))[1], TEXT, "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "\\PC{0,8}",
            prop::sample::select(WORDS).prop_map(str::to_owned),
            "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.([0-9]{3}|[0-9]{9})Z",
            "job/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((text.clone(), inner), 0..6).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    fn values(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(values).sum(),
            Value::Object(members) => members.values().map(values).sum(),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn what_is_unpacked_is_what_was_packed(value in value()) {
            let packed = pack(&value);
            let (unpacked, about) = unpack(&packed).unwrap();
            let text = value.to_string();
            prop_assert_eq!(unpacked.to_string(), &*text);
            // what has to be escaped here is quotation marks and backslashes
            prop_assert!(text.len() <= about + text.matches('\\').count(), "{}: {}", about, text);
            prop_assert!(about <= text.len() + values(&value) * (LONGEST_NUMBER + 1), "{}: {}", about, text);
            for end in 0..packed.len() {
                prop_assert_eq!(unpack(&packed[..end]), Err(NotPacked));
            }
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let packed = [&[PACKED], bytes.as_slice()].concat();
            if let Ok((value, _)) = unpack(&packed) {
                prop_assert_eq!(unpack(&pack(&value)).unwrap().0, value);
            }
        }
    }
}
