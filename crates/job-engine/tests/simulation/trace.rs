//! [`Trace`]: what happened, one line per event: simulated time, who, what.

use std::fmt::Write as _;
use std::sync::Mutex;

use tokio::time::Instant;

/// Longest trace that is kept, in bytes.
const LONGEST: usize = 64 * 1024 * 1024;

/// What happened so far.
pub struct Trace {
    /// When it began.
    pub begun: Instant,
    text: Mutex<String>,
}

impl Trace {
    /// Begins now.
    pub fn new() -> Self {
        Self { begun: Instant::now(), text: Mutex::default() }
    }

    /// Adds an event.
    pub fn note(&self, who: &str, what: &str) {
        let mut text = self.text.lock().expect("nothing panics while it writes");
        if text.len() < LONGEST {
            let milliseconds = self.begun.elapsed().as_millis();
            let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
            writeln!(text, "{:02}:{:02}.{rest:03}  {who:<16} {what}", seconds / 60, seconds % 60)
                .expect("writing to a string cannot fail");
        }
    }

    /// All of it.
    pub fn take(&self) -> String {
        std::mem::take(&mut self.text.lock().expect("nothing panics while it writes"))
    }
}
