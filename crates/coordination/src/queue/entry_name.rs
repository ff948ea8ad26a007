//! [`EntryName`]: the name of an entry as a number, of which a million take few megabytes and none has to be cloned.

use std::fmt;

#[cfg(test)]
mod tests;

/// The name of an entry, `^entry-[0-9]{3}-(-?[0-9]{10})$`. Names are ordered as their texts are, which is the order of
/// the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(u64);

const PREFIX: &str = "entry-";
/// Bits of a number of ten digits.
const DIGITS: u32 = 34;
/// Set where the sequence is not negative: as text `-` comes before every digit.
const NOT_NEGATIVE: u64 = 1 << DIGITS;

impl EntryName {
    /// The name of this text; none if it is not that of an entry. Anything else in the folders is not ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (priority, sequence) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let (digits, sign) = match sequence.strip_prefix('-') {
            Some(digits) => (digits, 0),
            None => (sequence, NOT_NEGATIVE),
        };
        Some(Self(number(priority, 3)? << (DIGITS + 1) | sign | number(digits, 10)?))
    }

    /// Whose turn this is of so many, from 0: turns go round with the sequence.
    pub(super) fn turn(self, of: usize) -> usize {
        usize::try_from(self.0 & (NOT_NEGATIVE - 1)).unwrap_or_default() % of.max(1)
    }

    /// The number that the coordinator gave it, negative ones included.
    #[must_use]
    pub fn sequence(self) -> i64 {
        let digits = i64::try_from(self.0 & (NOT_NEGATIVE - 1)).expect("ten digits");
        if self.0 & NOT_NEGATIVE == 0 { -digits } else { digits }
    }

    /// 0 (first) to 999 (last).
    #[must_use]
    pub fn priority(self) -> u16 {
        u16::try_from(self.0 >> (DIGITS + 1)).expect("a name has three digits of priority")
    }
}

/// The number that so many digits are.
fn number(text: &str, digits: usize) -> Option<u64> {
    let all_digits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

impl fmt::Display for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 & NOT_NEGATIVE == 0 { "-" } else { "" };
        let digits = self.0 & (NOT_NEGATIVE - 1);
        write!(formatter, "{PREFIX}{:03}-{sign}{digits:010}", self.priority())
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
