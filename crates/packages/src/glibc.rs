//! [`Glibc`]: which GNU C library a program needs.

use std::fmt;

/// How a program names the versions of the library that it needs, among its strings.
const PREFIX: &[u8] = b"GLIBC_";

/// A version of the GNU C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc {
    major: u32,
    minor: u32,
}

impl Glibc {
    /// The newest that the program names; none if it names none.
    pub fn needed(program: &[u8]) -> Option<Self> {
        let named = program.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
        named.filter_map(|(at, _)| Self::parse(&program[at + PREFIX.len()..])).max()
    }

    /// `2.28` followed by the end of a string; a third part does not matter.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = &text[..text.iter().position(|&byte| byte == 0)?];
        let mut parts = std::str::from_utf8(text).ok()?.split('.').map(|part| part.parse().ok());
        Some(Self { major: parts.next()??, minor: parts.next()?? })
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts_and_not_the_longest() {
        let program = b"\0GLIBC_2.9\0x\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_3";
        assert_eq!(Glibc::needed(program), Some(Glibc { major: 2, minor: 34 }));
        assert_eq!(Glibc::needed(b"GLIBC_PRIVATE\0"), None);
    }
}
