//! [`EntryName`]: the name of an entry as a number, of which a million take few megabytes and none has to be cloned.

use std::fmt;

#[cfg(test)]
mod tests;

/// The name of an entry, `^entry-[0-9]{3}-(-?[0-9]{10})$`. Names are ordered as their texts are, which is the order of
/// the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(u64);

const PREFIX: &str = "entry-";
/// Length of the longest text: of a name with a negative number.
const LONGEST: usize = PREFIX.len() + 3 + 2 + 10;
/// Bits of a number of ten digits.
const DIGITS: u32 = 34;
/// Set where the sequence is not negative: as text `-` comes before every digit.
const NOT_NEGATIVE: u64 = 1 << DIGITS;

impl EntryName {
    /// The name of this text; none if it is not that of an entry. Anything else in the folders is not ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (priority, sequence) = name.as_bytes().strip_prefix(PREFIX.as_bytes())?.split_at_checked(3)?;
        let sequence = sequence.strip_prefix(b"-")?;
        let (digits, sign) = match sequence.strip_prefix(b"-") {
            Some(digits) => (digits, 0),
            None => (sequence, NOT_NEGATIVE),
        };
        Some(Self(number(priority, 3)? << (DIGITS + 1) | sign | number(digits, 10)?))
    }

    /// The path of the node of this name in a folder.
    pub(super) fn below(self, folder: &str) -> String {
        let mut path = String::with_capacity(folder.len() + 1 + LONGEST);
        path.push_str(folder);
        path.push('/');
        path.push_str(self.text(&mut [0; LONGEST]));
        path
    }

    /// Written by hand: a queue writes many for each job.
    fn text(self, bytes: &mut [u8; LONGEST]) -> &str {
        let mut from = LONGEST;
        let mut put = |byte| {
            from -= 1;
            bytes[from] = byte;
        };
        let digits = |mut number: u64, count, put: &mut dyn FnMut(u8)| {
            for _ in 0..count {
                put(b"0123456789"[usize::try_from(number % 10).unwrap_or_default()]);
                number /= 10;
            }
        };
        digits(self.0 & (NOT_NEGATIVE - 1), 10, &mut put);
        if self.0 & NOT_NEGATIVE == 0 {
            put(b'-');
        }
        put(b'-');
        digits(u64::from(self.priority()), 3, &mut put);
        PREFIX.bytes().rev().for_each(&mut put);
        str::from_utf8(&bytes[from..]).expect("all of it is ASCII")
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
fn number(text: &[u8], digits: usize) -> Option<u64> {
    if text.len() != digits {
        return None;
    }
    text.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

impl fmt::Display for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text(&mut [0; LONGEST]))
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
