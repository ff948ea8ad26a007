//! [`Lines`]: lines of a bounded length, as the protocol has them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest line of the protocol, without its end.
const LONGEST_LINE: usize = 1 << 20;
const BLOCK: usize = 8 << 10;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// It is longer than the protocol allows.
    #[error("a line of more than 1 MiB")]
    TooLong,
    /// It cannot be read.
    #[error("cannot read its reports")]
    Io(#[from] io::Error),
}

/// Reads lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    /// What was read and not given on: whole lines, perhaps, and the beginning of one.
    read: Vec<u8>,
    /// Where the next line begins in it, and up to where it has no end.
    begin: usize,
    searched: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, read: Vec::new(), begin: 0, searched: 0 }
    }

    /// The next line, without its end; `None` at the end of all, where a line without its end does not count. Nothing is lost
    /// if the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        loop {
            if let Some(length) = self.read[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + length;
                if end - self.begin > LONGEST_LINE {
                    return Err(LineError::TooLong);
                }
                let line = self.read[self.begin..end].to_vec();
                self.begin = end + 1;
                self.searched = self.begin;
                return Ok(Some(line));
            }
            self.searched = self.read.len();
            if self.read.len() - self.begin > LONGEST_LINE {
                return Err(LineError::TooLong);
            }
            self.make_room();
            if self.from.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn make_room(&mut self) {
        self.read.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.read.reserve(BLOCK);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn lines_are_whole_however_they_come() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut lines = Lines::new(reader);
        writer.write_all(b"one\ntw").await.unwrap();
        assert_eq!(lines.next().await.unwrap().as_deref(), Some(&b"one"[..]));
        assert!(futures_util::FutureExt::now_or_never(lines.next()).is_none());
        writer.write_all(b"o\n\nthree\nhalf").await.unwrap();
        drop(writer);
        for expected in ["two", "", "three"] {
            assert_eq!(lines.next().await.unwrap().as_deref(), Some(expected.as_bytes()));
        }
        assert_eq!(lines.next().await.unwrap(), None);
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_may_be_as_long_as_the_protocol_allows_and_no_longer() {
        for (length, fits) in [(LONGEST_LINE, true), (LONGEST_LINE + 1, false), (3 * LONGEST_LINE, false)] {
            let mut text = vec![b'a'; length];
            text.push(b'\n');
            let mut lines = Lines::new(&text[..]);
            match lines.next().await {
                Ok(line) => assert!(fits && line.unwrap().len() == length, "{length}"),
                Err(error) => assert!(!fits && matches!(error, LineError::TooLong), "{length}"),
            }
        }
    }
}
