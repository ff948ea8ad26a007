//! What the program writes to standard error and to the file of its log, and what a service says on standard output. Nobody
//! has to read it: what cannot be written is dropped and counted, and keeps no work waiting.
//!
//! Each of the three has a queue with a bound, and a thread that writes what is in it. Commands print what they were asked
//! for by `cli::terminal`, which waits for its reader.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use console::{Term, truncate_str};
use tokio::time::sleep;

use crate::process::visible::visible;

/// Most bytes that wait to be written; what comes while there are so many is lost.
const MOST_WAITING: usize = 1 << 20;
/// How long the end of the program, or of a line that somebody is to see now, waits for what is still to be written.
const FLUSH: Duration = Duration::from_secs(1);
/// Pause before another try to write to what is full and was set not to wait.
const PAUSE: Duration = Duration::from_millis(20);
/// How often the log says that lines of it were dropped, at most.
const BETWEEN_WARNINGS: Duration = Duration::from_mins(1);
/// Erases all that is right of the cursor (ECMA-48, 8.3.41).
const ERASE_REST: &str = "\u{1b}[K";
/// What stands as it is in what we write: the styles are ours, those of others are escaped where their texts come in.
const OURS: char = '\u{1b}';

static ERROR: Queue = Queue::new("log", || io::stderr().as_fd().try_clone_to_owned().map(File::from));
static OUTPUT: Queue = Queue::new("output", || io::stdout().as_fd().try_clone_to_owned().map(File::from));

static FILE: Queue = Queue::new("log file", || open_log(LOG_FILE.get().ok_or(ErrorKind::NotFound)?));
static LOG_FILE: OnceLock<PathBuf> = OnceLock::new();
/// Whether each line of the log is an object in JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);
/// Whether standard error is a terminal that shows how far something is.
static SHOWS_PROGRESS: AtomicBool = AtomicBool::new(false);
/// Lines that were dropped since the process began.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Announces something to whoever started a service, on standard output.
pub(crate) fn announce(text: &str) {
    OUTPUT.put(format!("{}\n", visible(text, &['\n', OURS])));
}

/// Reports something on standard error, below all that was written there before, and waits a moment until it is written. It
/// may hold texts of others, and several lines.
pub(crate) fn report(text: &str) {
    append(text);
    ERROR.flush(Instant::now() + FLUSH);
}

/// As [`report`], and does not wait.
pub(crate) fn append(text: &str) {
    ERROR.put(format!("{}\n", visible(text, &['\n'])));
}

/// Waits until all is written, but not for long.
pub(crate) fn flush() {
    flush_until(Instant::now() + FLUSH);
}

/// Waits until all is written, but no longer than until then.
pub(crate) fn flush_until(deadline: Instant) {
    ERROR.flush(deadline);
    OUTPUT.flush(deadline);
    FILE.flush(deadline);
}

/// From now on standard error may show how far something is: whoever logs there says so, as in a program that others have
/// written it is not ours to draw upon.
pub(crate) fn may_show_progress() {
    SHOWS_PROGRESS.store(true, Ordering::Relaxed);
}

/// Whether it may.
pub(crate) fn shows_progress() -> bool {
    SHOWS_PROGRESS.load(Ordering::Relaxed)
}

/// Shows a line below all that is written to standard error, in place of the one before.
pub(crate) fn show_progress(line: &str) {
    // one that is broken in two could not be replaced
    let width = Term::stderr().size_checked().map_or(usize::MAX, |(_, columns)| usize::from(columns).saturating_sub(1));
    ERROR.show(Some(truncate_str(line, width, "").into_owned()));
}

/// Takes that line away, and waits a moment until it is gone.
pub(crate) fn hide_progress() {
    if shows_progress() {
        ERROR.show(None);
        ERROR.flush(Instant::now() + FLUSH);
    }
}

/// Has a file for the log from now on; an error if it cannot be written.
pub(crate) fn log_to(file: &Path) -> io::Result<()> {
    open_log(file)?;
    // a process has one log
    LOG_FILE.set(file.to_owned()).map_err(|_| ErrorKind::AlreadyExists.into())
}

/// Lines of the log are objects in JSON from now on, also those that say that others were lost.
pub(crate) fn log_as_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

/// How many lines were dropped since the process began.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Warns once a minute if lines were dropped meanwhile: what reads them is too slow, or takes none.
pub(crate) async fn warn_of_dropped() -> Infallible {
    let mut known = dropped();
    loop {
        sleep(BETWEEN_WARNINGS).await;
        let lines = dropped().saturating_sub(known);
        known += lines;
        if lines > 0 {
            tracing::warn!(
                lines,
                "lines were dropped within a minute: whatever reads the log is slow, or cannot write it"
            );
        }
    }
}

/// Opens the file of the log again, as after a rotation, and logs whether that could be done.
pub(crate) fn reopen() {
    // under the lock: its thread must not begin to wait in between
    let state = FILE.lock();
    FILE.reopen.store(true, Ordering::Release);
    drop(state);
    FILE.changed.notify_all();
}

/// By the thread of the file, whose lines wait for nobody.
fn warn_of_old_file(error: &io::Error) {
    let file = LOG_FILE.get().map(|file| file.display().to_string());
    tracing::warn!(file, %error, "cannot open the log file again: logging goes on into the old one");
}

/// What others may not read: the log names users and their resources.
fn open_log(file: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(file)
}

/// Takes lines of the log, each in one piece.
pub(crate) enum Log {
    StandardError,
    /// That of [`log_to`].
    File,
}

impl Write for Log {
    /// Never fails: whoever logs has nothing to do about it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = format!("{}\n", visible(text.trim_end_matches('\n'), &[OURS]));
        match self {
            Self::StandardError => ERROR.put(text),
            Self::File => FILE.put(text),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What waits to be written by a thread, which begins with the first of it.
struct Queue {
    name: &'static str,
    open: fn() -> io::Result<File>,
    state: Mutex<State>,
    /// Something was put, or everything was written.
    changed: Condvar,
    /// What it is written to is to be opened again.
    reopen: AtomicBool,
}

struct State {
    is_begun: bool,
    /// The thread has taken something that it has not written yet.
    is_writing: bool,
    waiting: VecDeque<String>,
    /// In bytes.
    size: usize,
    /// How many were dropped since something was last taken, because too much waited.
    lost: u64,
    /// What is shown below it all, and whether that has changed since it was last taken.
    shown: (Option<String>, bool),
}

impl State {
    const fn empty() -> Self {
        let shown = (None, false);
        Self { is_begun: false, is_writing: false, waiting: VecDeque::new(), size: 0, lost: 0, shown }
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || self.lost > 0 || self.shown.1
    }
}

impl Queue {
    const fn new(name: &'static str, open: fn() -> io::Result<File>) -> Self {
        let state = Mutex::new(State::empty());
        Self { name, open, state, changed: Condvar::new(), reopen: AtomicBool::new(false) }
    }

    /// Puts one line or several, with their ends.
    fn put(&'static self, text: String) {
        let mut state = self.lock();
        if state.size + text.len() > MOST_WAITING {
            state.lost += dropping(&text);
        } else {
            state.size += text.len();
            state.waiting.push_back(text);
        }
        self.wake(state);
    }

    fn show(&'static self, line: Option<String>) {
        let mut state = self.lock();
        state.shown = (line, true);
        self.wake(state);
    }

    fn wake(&'static self, mut state: MutexGuard<'_, State>) {
        if !state.is_begun {
            let writing = thread::Builder::new().name(format!("{} write", self.name)).spawn(|| self.write());
            // without a thread it waits for the next try
            state.is_begun = writing.is_ok();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until nothing waits any more.
    fn flush(&self, deadline: Instant) {
        let mut state = self.lock();
        while state.is_begun && (state.is_writing || state.has_work()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write(&self) {
        let mut writer = Writer::new((self.open)().ok());
        loop {
            let (waiting, lost, shown) = self.take();
            if self.reopen.swap(false, Ordering::AcqRel) {
                match (self.open)() {
                    Ok(target) => {
                        writer.target = Some(target);
                        tracing::info!("opened the file of the log again");
                    }
                    // the old one is better than none
                    Err(error) => warn_of_old_file(&error),
                }
            }
            writer.write_all(waiting, lost, shown.as_deref());
        }
    }

    /// The lines to write, how many were lost, and what is to be shown below them.
    fn take(&self) -> (VecDeque<String>, u64, Option<String>) {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        while !state.has_work() && !self.reopen.load(Ordering::Acquire) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writing = true;
        state.size = 0;
        state.shown.1 = false;
        (std::mem::take(&mut state.waiting), std::mem::take(&mut state.lost), state.shown.0.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what can be written, and counts what cannot until it can say so.
struct Writer<W> {
    target: Option<W>,
    lost: u64,
    /// The last line was written in part.
    is_cut: bool,
    /// A line is shown below all that was written.
    is_shown: bool,
}

impl<W: Write> Writer<W> {
    /// Without a target all is lost.
    fn new(target: Option<W>) -> Self {
        Self { target, lost: 0, is_cut: false, is_shown: false }
    }

    /// What waits, then that so many lines were lost, and below that what is to be shown.
    fn write_all(&mut self, waiting: VecDeque<String>, lost: u64, shown: Option<&str>) {
        if !waiting.is_empty() || lost > 0 || shown.is_none() {
            self.hide();
        }
        for text in waiting {
            self.write(&text);
        }
        self.lose(lost);
        if let Some(line) = shown {
            self.is_shown |= self.put(&format!("\r{line}{ERASE_REST}")).is_ok();
        }
    }

    fn write(&mut self, text: &str) {
        self.write_lost();
        // after a gap nothing is written that does not say so
        if self.lost > 0 || self.put(text).is_err() {
            self.lost += dropping(text);
        }
    }

    fn lose(&mut self, lost: u64) {
        self.lost += lost;
        self.write_lost();
    }

    fn write_lost(&mut self) {
        let text = match self.lost {
            0 => return,
            1 => "1 line was lost".to_owned(),
            lost => format!("{} lines were lost", in_thousands(lost)),
        };
        let text = if IS_JSON.load(Ordering::Relaxed) {
            format!("{{\"level\":\"WARN\",\"message\":\"{text}\"}}\n")
        } else {
            format!("… {text}\n")
        };
        if self.put(&text).is_ok() {
            self.lost = 0;
        }
    }

    fn hide(&mut self) {
        self.is_shown = self.is_shown && self.put(&format!("\r{ERASE_REST}")).is_err();
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        let Some(target) = &mut self.target else { return Err(ErrorKind::NotConnected.into()) };
        if self.is_cut {
            write_all(target, b"\n").map_err(|(error, _)| error)?;
            self.is_cut = false;
        }
        write_all(target, text.as_bytes()).map_err(|(error, written)| {
            self.is_cut = written > 0;
            error
        })
    }
}

/// Writes everything, or answers how many bytes were written before the error.
fn write_all(target: &mut impl Write, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut written = 0;
    while written < bytes.len() {
        match target.write(&bytes[written..]) {
            Ok(0) => return Err((ErrorKind::WriteZero.into(), written)),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(PAUSE),
            Err(error) => return Err((error, written)),
        }
    }
    Ok(())
}

/// Counts the lines of a text that is dropped.
fn dropping(text: &str) -> u64 {
    let lines = text.lines().count() as u64;
    DROPPED.fetch_add(lines, Ordering::Relaxed);
    lines
}

/// `1,204`
pub(crate) fn in_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests;
