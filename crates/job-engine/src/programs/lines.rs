//! [`Lines`]: lines of a bounded length, as the protocol has them.

use std::io;

use slipstream_action::protocol;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// So many bytes are read at once.
const BLOCK: usize = 8 << 10;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// It is longer than the protocol allows.
    #[error(transparent)]
    TooLong(#[from] protocol::TooLong),
    /// It cannot be read.
    #[error("cannot read its reports")]
    Io(#[from] io::Error),
}

/// Reads lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    /// What has been read and not been asked for.
    read: protocol::Lines,
    block: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, read: protocol::Lines::default(), block: vec![0; BLOCK] }
    }

    /// The next line, without its end; `None` at the end of all, where a line without its end does not count. Nothing is lost
    /// if the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        loop {
            if let Some(line) = self.read.next_line()? {
                return Ok(Some(line));
            }
            match self.from.read(&mut self.block).await? {
                0 => return Ok(None),
                length => self.read.push(&self.block[..length]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use slipstream_action::protocol::LONGEST_LINE;
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
                Err(error) => assert!(!fits && matches!(error, LineError::TooLong(_)), "{length}"),
            }
        }
    }
}
