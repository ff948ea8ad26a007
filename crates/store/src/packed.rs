//! How documents and ledgers are stored: the values of JSON in fewer bytes than their text, and read without looking at each
//! of these. A job and its ledger take a fifth of the text.
//!
//! A value is a byte that says what follows. Numbers of items and of bytes are in groups of seven bits, the lowest first; the
//! highest bit says that another group follows. What jobs have in common is one byte, a [`WORDS`] entry. Texts that are
//! digits in known places, such as times and ids, are these digits, two to a byte: see [`FORMS`]. So every value has one
//! packed form, and is the same once it is unpacked, order of members included.
//!
//! A file is full of these bytes: [`WORDS`] and [`FORMS`] may grow at their ends, and change in no other way.

mod words;

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::{Map, Number, Value};
use slipstream_cimi::acl::default_acl;

use self::words::{WORD, WORDS, byte_of};

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
pub(crate) const JOB_ID: &str = "job/########-####-####-####-############";

/// In how many bytes the digits of each form are.
const DIGITS: [usize; FORMS.len()] = {
    let mut digits = [0; FORMS.len()];
    let mut form = 0;
    while form < FORMS.len() {
        digits[form] = bytes_of_digits(FORMS[form]);
        form += 1;
    }
    digits
};

const fn bytes_of_digits(form: &str) -> usize {
    let (mut digits, mut at) = (0_usize, 0);
    while at < form.len() {
        if matches!(form.as_bytes()[at], b'0' | b'#') {
            digits += 1;
        }
        at += 1;
    }
    digits.div_ceil(2)
}

/// What is wrong with what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a packed value, or cut off")]
pub(crate) struct NotPacked;

/// Packs a document.
pub(crate) fn pack_object(object: &Map<String, Value>) -> Vec<u8> {
    let mut packed = Vec::with_capacity(256);
    packed.push(PACKED);
    put_object(&mut packed, object);
    packed
}

/// Packs any value.
pub(crate) fn pack(value: &Value) -> Vec<u8> {
    let mut packed = Vec::with_capacity(128);
    packed.push(PACKED);
    put(&mut packed, value);
    packed
}

/// The value as it was packed, and about how many bytes its text in JSON has: not less, but for what has to be escaped.
pub(crate) fn unpack(packed: &[u8]) -> Result<(Value, usize), NotPacked> {
    let mut rest = Rest { packed, text: 0 };
    if rest.byte()? != PACKED {
        return Err(NotPacked);
    }
    let value = rest.value(0)?;
    if rest.packed.is_empty() { Ok((value, rest.text)) } else { Err(NotPacked) }
}

/// Whether this is a packed object, and about how many bytes its text in JSON has, as [`unpack`] would say, without its values.
pub(crate) fn check_object(packed: &[u8]) -> Result<usize, NotPacked> {
    let mut rest = Rest { packed, text: 0 };
    if !packed.starts_with(&[PACKED, OBJECT]) {
        return Err(NotPacked);
    }
    rest.take(1)?;
    rest.skip(0)?;
    if rest.packed.is_empty() { Ok(rest.text) } else { Err(NotPacked) }
}

/// How many values and names a packed object has that was [checked](check_object), itself among them.
pub(crate) fn values(packed: &[u8]) -> usize {
    let mut rest = Rest { packed: &packed[[PACKED].len()..], text: 0 };
    rest.count().expect("it was checked")
}

/// A packed object with these members taken out first, and those set at their places, or at the end. It is what the same
/// changes of the object are once they are packed.
pub(crate) fn with_members(packed: &[u8], remove: &[String], set: &Map<String, Value>) -> Vec<u8> {
    let mut body = Vec::with_capacity(packed.len() + 128);
    let mut count = 0;
    let removed: Vec<Name<'_>> = remove.iter().map(|name| Name::of(name)).collect();
    let mut to_set: Vec<(Name<'_>, Option<&Value>)> =
        set.iter().map(|(name, value)| (Name::of(name), Some(value))).collect();
    for member in members(packed).filter(|member| !removed.iter().any(|name| name.is_of(member))) {
        count += 1;
        match to_set.iter_mut().find(|(name, _)| name.is_of(&member)).and_then(|(_, value)| value.take()) {
            Some(value) => {
                body.extend(member.name);
                put(&mut body, value);
            }
            None => body.extend(member.name.iter().chain(member.value)),
        }
    }
    for (name, value) in to_set {
        let Some(value) = value else { continue };
        count += 1;
        put_text(&mut body, name.text);
        put(&mut body, value);
    }
    let mut changed = Vec::with_capacity(body.len() + 4);
    changed.extend([PACKED, OBJECT]);
    put_size(&mut changed, count);
    changed.extend(body);
    changed
}

/// The name of a member that is looked for.
pub(crate) struct Name<'n> {
    text: &'n str,
    /// Its byte, if it is a word: to compare bytes takes less time.
    word: Option<u8>,
}

impl<'n> Name<'n> {
    pub fn of(text: &'n str) -> Self {
        Self { text, word: byte_of(text) }
    }

    pub fn is_of(&self, member: &Member<'_>) -> bool {
        match self.word {
            Some(word) => member.name == [word],
            None => member.name[0] < WORD && member.name() == self.text,
        }
    }
}

/// A member of a packed object.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

/// The access control that almost all documents have, and how it is packed.
static DEFAULT_ACL: LazyLock<(Vec<u8>, Value)> = LazyLock::new(|| {
    let (mut packed, acl) = (Vec::new(), default_acl());
    put(&mut packed, &acl);
    (packed, acl)
});

impl<'a> Member<'a> {
    pub fn name(&self) -> Cow<'a, str> {
        text(self.name).expect("it was checked")
    }

    pub fn value(&self) -> Cow<'static, Value> {
        let (packed, acl) = &*DEFAULT_ACL;
        if self.value == packed {
            return Cow::Borrowed(acl);
        }
        Cow::Owned(Rest { packed: self.value, text: 0 }.value(0).expect("it was checked"))
    }

    /// The text that it is, if it is one.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        text(self.value).ok()
    }
}

fn text(packed: &[u8]) -> Result<Cow<'_, str>, NotPacked> {
    let mut rest = Rest { packed, text: 0 };
    let first = rest.byte()?;
    rest.text(first)
}

/// The members of an object that was [checked](check_object), in their order.
pub(crate) fn members(packed: &[u8]) -> impl Iterator<Item = Member<'_>> {
    let mut rest = Rest { packed: &packed[[PACKED, OBJECT].len()..], text: 0 };
    let count = rest.items().expect("it was checked");
    (0..count).map(move |_| {
        let mut next = || {
            let before = rest.packed;
            rest.pass().expect("it was checked");
            &before[..before.len() - rest.packed.len()]
        };
        Member { name: next(), value: next() }
    })
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
    if let Some(byte) = byte_of(text) {
        packed.push(byte);
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
pub(crate) fn put_digits(packed: &mut Vec<u8>, form: &str, text: &str) -> bool {
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
pub(crate) fn text_of(form: &str, digits: &[u8]) -> Option<String> {
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
                    object.insert(self.text(first)?.into_owned(), self.value(depth + 1)?);
                }
                Value::Object(object)
            }
            text => Value::String(self.text(text)?.into_owned()),
        })
    }

    /// Passes over what [`value`](Self::value) reads, and refuses what that does.
    fn skip(&mut self, depth: u8) -> Result<(), NotPacked> {
        if depth >= DEEPEST {
            return Err(NotPacked);
        }
        self.text += 1;
        match self.byte()? {
            NULL | FALSE | TRUE => self.text += "false".len(),
            INTEGER | UNSIGNED => drop(self.number()?),
            FLOAT => {
                self.text += LONGEST_NUMBER;
                let bytes = self.take(8)?.try_into().map_err(|_| NotPacked)?;
                if !f64::from_le_bytes(bytes).is_finite() {
                    return Err(NotPacked);
                }
            }
            LIST => {
                for _ in 0..self.length()? {
                    self.skip(depth + 1)?;
                }
            }
            OBJECT => {
                for _ in 0..self.length()? {
                    let first = self.byte()?;
                    self.text += ":".len();
                    self.skip_text(first)?;
                    self.skip(depth + 1)?;
                }
            }
            text => self.skip_text(text)?,
        }
        Ok(())
    }

    /// The same of what was checked, which takes less time.
    fn pass(&mut self) -> Result<(), NotPacked> {
        let bytes = match self.byte()? {
            NULL | FALSE | TRUE | WORD.. => 0,
            INTEGER | UNSIGNED => return self.size().map(drop),
            FLOAT => 8,
            TEXT => self.items()?,
            LIST => return (0..self.items()?).try_for_each(|_| self.pass()),
            OBJECT => return (0..2 * self.items()?).try_for_each(|_| self.pass()),
            form => *DIGITS.get(usize::from(form.wrapping_sub(FORM))).ok_or(NotPacked)?,
        };
        self.take(bytes).map(drop)
    }

    /// The same, with how many values and names these are.
    fn count(&mut self) -> Result<usize, NotPacked> {
        let inner = match self.packed.first() {
            Some(&LIST) => 1,
            Some(&OBJECT) => 2,
            _ => return self.pass().map(|()| 1),
        };
        self.byte()?;
        (0..inner * self.items()?).try_fold(1, |all, _| Ok(all + self.count()?))
    }

    /// The text that begins with this byte.
    fn text(&mut self, first: u8) -> Result<Cow<'a, str>, NotPacked> {
        let text = match form(first)? {
            Form::Bytes => Cow::Borrowed(self.utf8()?),
            Form::Word(word) => Cow::Borrowed(word),
            Form::Digits(form) => Cow::Owned(text_of(form, self.digits(form)?).ok_or(NotPacked)?),
        };
        self.text += text.len() + 2;
        Ok(text)
    }

    fn skip_text(&mut self, first: u8) -> Result<(), NotPacked> {
        let length = match form(first)? {
            Form::Bytes => self.utf8()?.len(),
            Form::Word(word) => word.len(),
            Form::Digits(form) => {
                let digits = self.digits(form)?;
                if !are_digits(form, digits) {
                    return Err(NotPacked);
                }
                form.len()
            }
        };
        self.text += length + 2;
        Ok(())
    }

    fn utf8(&mut self) -> Result<&'a str, NotPacked> {
        let bytes = self.items()?;
        str::from_utf8(self.take(bytes)?).map_err(|_| NotPacked)
    }

    fn digits(&mut self, form: &str) -> Result<&'a [u8], NotPacked> {
        self.take(bytes_of_digits(form))
    }
}

/// How a text is packed.
enum Form {
    /// Its bytes follow.
    Bytes,
    Word(&'static str),
    /// Its digits follow.
    Digits(&'static str),
}

fn form(first: u8) -> Result<Form, NotPacked> {
    if first == TEXT {
        return Ok(Form::Bytes);
    }
    if let Some(word) = first.checked_sub(WORD) {
        return WORDS.get(usize::from(word)).map(|word| Form::Word(word)).ok_or(NotPacked);
    }
    let form = first.checked_sub(FORM).and_then(|form| FORMS.get(usize::from(form))).ok_or(NotPacked)?;
    Ok(Form::Digits(form))
}

/// Whether a form has a text with these digits.
fn are_digits(form: &str, digits: &[u8]) -> bool {
    let mut digits = digits.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    form.bytes().all(|wanted| match wanted {
        b'0' => digits.next().is_some_and(|digit| digit < 10),
        b'#' => digits.next().is_some(),
        _ => true,
    })
}

#[cfg(test)]
mod tests;
