//! Watching a job to its end: a live bar on a terminal, a line per change elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use slipstream_cimi::{Client, Document, Error, Job, State};
use tokio::time::Instant;

use super::{JOB_NOT_DONE, terminal};
use crate::stop::{self, Stop};

/// Pauses between readings grow from here …
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// … to here, by half each time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long readings may fail one after the other.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest wait for one reading.
const READING: Duration = Duration::from_secs(20);

/// Columns of the bar's line that are not for the message.
const BESIDE_THE_MESSAGE: usize = 50;

/// How watching ended.
#[derive(Debug)]
pub enum Ending {
    /// The job is in a final state.
    Final(State, Document),
    /// Somebody deleted the job; what was last read of it.
    Deleted(Option<Document>),
    /// The user does not want to watch any longer; what was last read.
    Interrupted(Option<Document>),
}

impl Ending {
    /// What was last read of the job.
    #[must_use]
    pub fn document(&self) -> Option<&Document> {
        match self {
            Self::Final(_, document) => Some(document),
            Self::Deleted(document) | Self::Interrupted(document) => document.as_ref(),
        }
    }

    /// 0 on SUCCESS alone.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Final(State::Success, _)) { 0 } else { JOB_NOT_DONE }
    }

    /// What is to be said of a job that was not done.
    #[must_use]
    pub fn remark(&self, id: &str) -> Option<String> {
        match self {
            Self::Final(State::Success, _) => None,
            Self::Final(state, document) => {
                let message =
                    document.get("statusMessage").and_then(|message| message.as_str()).map(terminal::many_lines);
                Some(message.map_or_else(|| format!("{id} {state}"), |message| format!("{id} {state}: {message}")))
            }
            Self::Deleted(_) => Some(format!("{id} was deleted")),
            Self::Interrupted(_) => {
                Some(format!("{id} goes on: `slipstream-job jobs show {id}` shows it, `jobs stop` stops it"))
            }
        }
    }
}

/// Shows a job on standard error until it ends, or until Ctrl-C.
pub async fn to_the_end(client: &Client, id: &str) -> anyhow::Result<Ending> {
    let stop = Stop::new();
    stop::on_signals(&stop).context("cannot listen for signals")?;
    let mut view = View::new();
    let ending = follow(client, id, &mut view, &stop).await;
    view.bar.abandon();
    ending.with_context(|| format!("cannot watch {id}, which goes on"))
}

async fn follow(client: &Client, id: &str, view: &mut View, stop: &Stop) -> anyhow::Result<Ending> {
    let mut last = None;
    let mut failing_since: Option<Instant> = None;
    let mut pause = SHORTEST_PAUSE;
    loop {
        let reading = tokio::select! {
            reading = read(client, id) => reading,
            () = stop.asked() => return Ok(Ending::Interrupted(last)),
        };
        match reading {
            Ok(document) => {
                failing_since = None;
                let job = Job::from_document(document.clone()).context("the job is none that this version knows")?;
                view.show(&job);
                if job.state.is_final() {
                    return Ok(Ending::Final(job.state, document));
                }
                last = Some(document);
            }
            Err(error) if error.is_not_found(id) => return Ok(Ending::Deleted(last)),
            Err(error) if error.is_transient() => match failing_since {
                Some(since) if since.elapsed() >= PATIENCE => return Err(error.into()),
                Some(_) => {}
                None => {
                    failing_since = Some(Instant::now());
                    view.note(&error.into());
                }
            },
            Err(error) => return Err(error.into()),
        }
        // Whichever branch is first, the next reading finds out what it means.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.asked() => {}
        }
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

async fn read(client: &Client, id: &str) -> Result<Document, Error> {
    let late = || Error::Unreachable {
        request: format!("GET /api/{id}"),
        source: format!("nothing within {} seconds", READING.as_secs()).into(),
    };
    tokio::time::timeout(READING, client.get(id)).await.unwrap_or_else(|_| Err(late()))
}

struct View {
    /// Hidden unless standard error is a terminal.
    bar: ProgressBar,
    is_terminal: bool,
    last_line: Option<String>,
}

impl View {
    fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = if is_terminal { ProgressBar::new(100) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{prefix:8.bold} {bar:24.cyan/dim} {pos:>3}% {elapsed:>4} {msg}")
            .expect("the template is sound");
        bar.set_style(style.progress_chars("━━─"));
        if is_terminal {
            // so that the time goes on between readings
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, is_terminal, last_line: None }
    }

    fn show(&mut self, job: &Job) {
        let message = job.status_message.as_deref().map(terminal::one_line).unwrap_or_default();
        let line = format!("{} {message}", job.state).trim_end().to_owned();
        self.bar.set_prefix(job.state.as_str());
        self.bar.set_position(job.progress.into());
        self.bar.set_message(console::truncate_str(&message, self.room(), "…").into_owned());
        // of a job that ends without success the remark says it
        let is_remarked = job.state.is_final() && job.state != State::Success;
        if !self.is_terminal && !is_remarked && self.last_line.as_ref() != Some(&line) {
            eprintln!("{line}");
            self.last_line = Some(line);
        }
    }

    /// Columns for the message. The last ones stay free for the `^C` that the terminal itself writes.
    fn room(&self) -> usize {
        let columns = if self.is_terminal { usize::from(Term::stderr().size().1) } else { usize::MAX };
        columns.saturating_sub(BESIDE_THE_MESSAGE)
    }

    fn note(&self, error: &anyhow::Error) {
        let text = format!("note: trying again for {} seconds: {}", PATIENCE.as_secs(), error.root_cause());
        if self.is_terminal { self.bar.println(text) } else { eprintln!("{text}") }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
