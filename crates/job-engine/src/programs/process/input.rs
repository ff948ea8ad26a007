//! [`Input`]: the standard input of a program, by which its jobs come in.

use std::io;

use rustix::io::ioctl_fionread;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;
use tokio::process::ChildStdin;

/// The standard input of a program. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Input(Sender);

impl Input {
    pub(super) fn new(stdin: ChildStdin) -> io::Result<Self> {
        Ok(Self(Sender::from_owned_fd(stdin.into_owned_fd()?)?))
    }

    /// Writes a line, whole. Given up before that, it has written a part of it.
    pub(crate) async fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut rest = line;
        while !rest.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the pipe still holds the line that was written last: nobody has begun to read it.
    pub(crate) fn holds(&self, line: &[u8]) -> bool {
        ioctl_fionread(&self.0).is_ok_and(|unread| usize::try_from(unread).is_ok_and(|unread| unread >= line.len()))
    }

    /// Ends when nobody can read it any more.
    pub(crate) async fn closed(&self) {
        if self.0.ready(Interest::ERROR).await.is_err() {
            // the runtime ends, and says nothing of the pipe
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use futures_util::FutureExt as _;
    use tokio::process::{Child, Command};

    use super::*;

    /// Reads a line and ends.
    fn reader() -> (Child, Input) {
        let mut child = Command::new("sh").args(["-c", "read -r line"]).stdin(Stdio::piped()).spawn().unwrap();
        let input = Input::new(child.stdin.take().unwrap()).unwrap();
        (child, input)
    }

    #[tokio::test]
    async fn a_line_is_held_until_it_is_read_also_if_nobody_will() {
        let (mut child, input) = reader();
        assert!(input.closed().now_or_never().is_none());
        input.write(b"one\ntwo\n").await.unwrap();
        child.wait().await.unwrap();
        input.closed().await;
        assert!(input.holds(b"two\n") && !input.holds(b"one\ntwo\n"));
        let (mut child, input) = reader();
        input.write(b"one\n").await.unwrap();
        child.wait().await.unwrap();
        input.closed().await;
        assert!(!input.holds(b"one\n"));
        assert_eq!(input.write(b"two\n").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_line_that_the_pipe_does_not_take_at_once_is_written_as_it_is_read() {
        let mut child = Command::new("wc").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = Input::new(child.stdin.take().unwrap()).unwrap();
        input.write(&vec![b'x'; 1 << 20]).await.unwrap();
        drop(input);
        assert_eq!(child.wait_with_output().await.unwrap().stdout, b"1048576\n");
    }
}
