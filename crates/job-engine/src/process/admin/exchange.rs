//! Lines over a socket, within a time.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// One line, without its end.
pub(super) fn read_line(stream: &UnixStream, longest: usize, limit: Duration) -> io::Result<String> {
    let text = read_until(stream, longest, limit, |text| text.contains(&b'\n'))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// All that comes until the end.
pub(super) fn read_all(stream: &UnixStream, longest: usize, limit: Duration) -> io::Result<String> {
    read_until(stream, longest, limit, |_| false)
}

fn read_until(
    mut stream: &UnixStream,
    longest: usize,
    limit: Duration,
    is_whole: impl Fn(&[u8]) -> bool,
) -> io::Result<String> {
    let deadline = Instant::now() + limit;
    stream.set_nonblocking(false)?;
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    while !is_whole(&text) {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            // the end of who was asked more than it has read
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Ok(length) => text.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if text.len() > longest {
            return Err(ErrorKind::FileTooLarge.into());
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Takes what is there to be read, up to so many bytes, and answers how many.
pub(super) fn skip(mut stream: &UnixStream, longest: usize) -> usize {
    let taken = stream.set_nonblocking(true).and_then(|()| stream.read(&mut vec![0; longest]));
    taken.unwrap_or_default()
}

/// Whether nobody is at the other end any more.
pub(super) fn is_left(stream: &UnixStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
}

/// Whether it is the error of what did not come in time.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Writes all of it.
pub(super) fn write(mut stream: &UnixStream, text: &str, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    stream.set_nonblocking(false)?;
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        match stream.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => rest = &rest[length..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// More than nothing, which would be no limit.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    #[test]
    fn what_is_written_is_read_and_what_is_too_long_or_too_late_is_an_error() {
        let (one, other) = UnixStream::pair().unwrap();
        write(&one, "first\nsecond\n", LIMIT).unwrap();
        assert_eq!(read_line(&other, 100, LIMIT).unwrap(), "first");
        write(&one, &"x".repeat(101), LIMIT).unwrap();
        assert_eq!(read_line(&other, 100, LIMIT).unwrap_err().kind(), ErrorKind::FileTooLarge);
        let late = read_all(&other, 100, Duration::from_millis(1)).unwrap_err();
        assert!(is_late(&late), "{late:?}");
        assert!(!is_left(&other));
        drop(one);
        assert!(is_left(&other));
        assert_eq!(read_all(&other, 100, LIMIT).unwrap(), "");
    }

    #[test]
    fn who_does_not_read_is_given_up() {
        let (one, _other) = UnixStream::pair().unwrap();
        let error = write(&one, &"x".repeat(10 << 20), Duration::from_millis(100)).unwrap_err();
        assert!(is_late(&error), "{error}");
    }
}
