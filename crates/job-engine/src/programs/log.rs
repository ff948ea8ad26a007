//! [`Log`]: what a program prints, on its way into the executor's log, with its last lines kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;
use tracing::{Level, Span, debug, error, info, warn};

/// Longest line; the rest of a longer one is left out.
const LONGEST_LINE: usize = 16 << 10;
/// Most lines that are written to the log in a second; more are counted and left out, so that a program that prints in a loop
/// fills no disk. Its last lines are kept all the same.
const MOST_LINES: u32 = 1000;
const SECOND: Duration = Duration::from_secs(1);
/// How many of the last lines are kept.
pub(crate) const LAST_LINES: usize = 20;

/// Which of its two streams a program printed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Error,
}

/// What one process prints. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// For people: the file that says what the program is.
    program: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Whose job it does, for the log.
    about: Span,
    last_lines: VecDeque<String>,
    /// The last line of each stream that is not blank.
    last_output: Option<String>,
    last_error: Option<String>,
    second: Instant,
    lines_in_second: u32,
    left_out: u64,
}

impl Log {
    /// Nothing was printed yet. Lines are about what is said now, until it does a job.
    pub(crate) fn new(program: String) -> Self {
        let state = State {
            about: Span::current(),
            last_lines: VecDeque::new(),
            last_output: None,
            last_error: None,
            second: Instant::now(),
            lines_in_second: 0,
            left_out: 0,
        };
        Self(Arc::new(Shared { program, state: Mutex::new(state) }))
    }

    /// What is printed from now on is about this.
    pub(crate) fn begin(&self, about: Span) {
        let mut state = self.state();
        state.last_lines.clear();
        state.last_output = None;
        state.last_error = None;
        state.about = about;
    }

    /// The last lines, oldest first.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.state().last_lines.iter().cloned().collect()
    }

    /// The last line of a stream that is not blank.
    pub(crate) fn last_line(&self, stream: Stream) -> Option<String> {
        let state = self.state();
        match stream {
            Stream::Output => state.last_output.clone(),
            Stream::Error => state.last_error.clone(),
        }
    }

    /// What is most likely to say why the program ended: the last line of its errors, or else of its output.
    pub(crate) fn last_words(&self) -> Option<String> {
        let last = self.last_line(Stream::Error).or_else(|| self.last_line(Stream::Output));
        last.map(|last| last.trim_start().to_owned())
    }

    /// Reads a stream to its end, and never lets it fill.
    pub(crate) async fn read(self, mut from: impl AsyncRead + Unpin, stream: Stream) {
        let mut lines = Lines::default();
        let mut buffer = vec![0; LONGEST_LINE];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => lines.split(&buffer[..read], |line| self.printed(line, stream)),
                Err(error) => {
                    debug!(program = self.0.program, %error, "cannot read what the program prints");
                    break;
                }
            }
        }
        lines.end(|line| self.printed(line, stream));
        self.say_left_out(&mut self.state());
    }

    fn printed(&self, line: &[u8], stream: Stream) {
        let (level, line) = leveled(line);
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        let mut state = self.state();
        if !text.is_empty() {
            let last = match stream {
                Stream::Output => &mut state.last_output,
                Stream::Error => &mut state.last_error,
            };
            *last = Some(text.to_owned());
            if state.last_lines.len() == LAST_LINES {
                state.last_lines.pop_front();
            }
            state.last_lines.push_back(text.to_owned());
        }
        if state.second.elapsed() >= SECOND {
            self.say_left_out(&mut state);
            (state.second, state.lines_in_second) = (Instant::now(), 0);
        }
        state.lines_in_second += 1;
        if state.lines_in_second > MOST_LINES {
            state.left_out += 1;
        } else if !text.is_empty() {
            state.about.in_scope(|| write(level, &self.0.program, text));
        }
    }

    fn say_left_out(&self, state: &mut State) {
        let lines = std::mem::take(&mut state.left_out);
        if lines > 0 {
            let program = &self.0.program;
            state.about.in_scope(|| warn!(program, lines, "the program prints too fast, lines left out"));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock panics")
    }
}

fn write(level: Level, program: &str, line: &str) {
    match level {
        Level::ERROR => error!(program, "{line}"),
        Level::WARN => warn!(program, "{line}"),
        Level::INFO => info!(program, "{line}"),
        _ => debug!(program, "{line}"),
    }
}

/// A line may begin with its level, as systemd has it (sd-daemon(3)): `<3>` is an error, `<7>` for debugging.
fn leveled(line: &[u8]) -> (Level, &[u8]) {
    match line {
        [b'<', b'0'..=b'3', b'>', rest @ ..] => (Level::ERROR, rest),
        [b'<', b'4', b'>', rest @ ..] => (Level::WARN, rest),
        [b'<', b'5' | b'6', b'>', rest @ ..] => (Level::INFO, rest),
        [b'<', b'7', b'>', rest @ ..] => (Level::DEBUG, rest),
        line => (Level::INFO, line),
    }
}

/// Splits what is read into lines of a bounded length.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
    /// The line that is being read was too long: what follows is left out up to its end.
    skips: bool,
}

impl Lines {
    fn split(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.take(&bytes[..end], &mut line);
            if !std::mem::take(&mut self.skips) {
                line(&self.begun);
            }
            self.begun.clear();
            bytes = &bytes[end + 1..];
        }
        self.take(bytes, &mut line);
    }

    /// Adds to the line under way; one that becomes too long is given on as far as it fits.
    fn take(&mut self, bytes: &[u8], line: &mut impl FnMut(&[u8])) {
        if self.skips {
            return;
        }
        let fits = bytes.len().min(LONGEST_LINE - self.begun.len());
        self.begun.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() {
            self.begun.extend_from_slice(" […]".as_bytes());
            line(&self.begun);
            self.begun.clear();
            self.skips = true;
        }
    }

    fn end(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            line(&std::mem::take(&mut self.begun));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.split(piece, |line| found.push(String::from_utf8_lossy(line).into_owned()));
        }
        lines.end(|line| found.push(String::from_utf8_lossy(line).into_owned()));
        found
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        assert_eq!(split(&[b"one\ntw", b"o\n", b"\nthr", b"ee"]), ["one", "two", "", "three"]);
        assert_eq!(split(&[b"one\n"]), ["one"]);
        assert_eq!(split(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_once() {
        let long = vec![b'a'; LONGEST_LINE + 1];
        for pieces in [vec![&long[..], b"\nb\n"], vec![&long[..LONGEST_LINE], b"aaa", &long, b"\nb\n"]] {
            let lines = split(&pieces);
            assert_eq!(lines.len(), 2, "{}", lines.len());
            assert_eq!(lines[0], format!("{} […]", "a".repeat(LONGEST_LINE)));
            assert_eq!(lines[1], "b");
        }
        assert_eq!(split(&[&long[1..], b"\n"]), ["a".repeat(LONGEST_LINE)]);
    }

    #[test]
    fn a_line_may_say_its_level() {
        for (line, level, rest) in [
            ("<3>x", Level::ERROR, "x"),
            ("<0>", Level::ERROR, ""),
            ("<4>x", Level::WARN, "x"),
            ("<6> x", Level::INFO, " x"),
            ("<7>x", Level::DEBUG, "x"),
            ("<8>x", Level::INFO, "<8>x"),
            ("<3 x", Level::INFO, "<3 x"),
            ("x<3>", Level::INFO, "x<3>"),
        ] {
            assert_eq!(leveled(line.as_bytes()), (level, rest.as_bytes()), "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_lines_are_kept_also_of_what_is_left_out() {
        let log = Log::new("a".to_owned());
        log.begin(Span::none());
        let text = (0..5000).map(|number| format!("<6>{number}")).collect::<Vec<_>>().join("\n");
        log.clone().read(text.as_bytes(), Stream::Output).await;
        log.clone().read(&b"oops\n\n  \n"[..], Stream::Error).await;
        let last = log.last_lines();
        assert_eq!((last.len(), &*last[0], &*last[18], &*last[19]), (LAST_LINES, "4981", "4999", "oops"));
        assert_eq!(log.last_line(Stream::Output).as_deref(), Some("4999"));
        assert_eq!(log.last_line(Stream::Error).as_deref(), Some("oops"));
        log.clone().read(&b"later\n"[..], Stream::Output).await;
        assert_eq!(log.last_words().as_deref(), Some("oops"));
        log.begin(Span::none());
        assert_eq!((log.last_lines().len(), log.last_line(Stream::Error)), (0, None));
        log.clone().read(&b"  output\n"[..], Stream::Output).await;
        assert_eq!(log.last_words().as_deref(), Some("output"));
    }
}
