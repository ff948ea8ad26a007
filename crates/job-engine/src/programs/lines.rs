//! [`Lines`]: lines of a bounded length, as the protocol has them.

use std::io;

use serde::de::DeserializeOwned;
use slipstream_action::protocol;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::process::visible::visible;

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

/// Longest of a wrong line that is shown, in characters.
const LONGEST_QUOTED: usize = 80;

/// A line that is none of the protocol's messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{line}` is no message: {reason}")]
pub(crate) struct NoMessage {
    /// Its begin.
    line: String,
    reason: String,
}

/// What a line says.
pub(crate) fn message<M: DeserializeOwned>(line: &[u8]) -> Result<M, NoMessage> {
    serde_json::from_slice(line).map_err(|error| {
        let begin: String = String::from_utf8_lossy(line).chars().take(LONGEST_QUOTED).collect();
        NoMessage { line: visible(&begin, &[]), reason: error.to_string() }
    })
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

    #[test]
    fn a_line_that_is_no_message_is_shown_in_short_and_on_one_line() {
        let said = |line: &[u8]| message::<bool>(line).unwrap_err().to_string();
        assert_eq!(said(b"progress: 50"), "`progress: 50` is no message: expected value at line 1 column 1");
        assert_eq!(
            said(b"\x1b[31m\r\xff"),
            "`\\u001b[31m\\r\u{fffd}` is no message: expected value at line 1 column 1"
        );
        let long = said("ä".repeat(2000).as_bytes());
        assert!(long.starts_with(&format!("`{}` is no message: ", "ä".repeat(80))), "{long}");
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
