//! Watching a job to its end: a live bar on a terminal, a line per change elsewhere.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use slipstream_cimi::{Client, Document, Error, Job, State};
use slipstream_coordination::retry::Pauses;
use tokio::time::Instant;

use super::terminal::text;
use super::{JOB_NOT_DONE, terminal, why};
use crate::process::output;
use crate::process::stop;
use crate::process::stop::Stop;

/// Between readings.
const PAUSES: Pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(1));
/// How long readings may fail one after the other.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest wait for one reading.
const READING: Duration = Duration::from_secs(20);

/// After so many readings it is asked why a job waits.
const WAITS_WITHOUT_REASON: u32 = 3;

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

/// Shows a job on standard error, or prints its changes, until it ends or until Ctrl-C.
pub async fn to_the_end(client: &Client, id: &str, changes: Option<Changes>) -> anyhow::Result<Ending> {
    until_stopped(client, id, changes, &stop_on_signals()?).await
}

/// The same until `stop`.
pub async fn until_stopped(client: &Client, id: &str, changes: Option<Changes>, stop: &Stop) -> anyhow::Result<Ending> {
    let mut view = View::new(changes);
    let ending = follow(client, id, &mut view, stop).await;
    if matches!(ending, Ok(Ending::Interrupted(_))) {
        // the bar is on the line above: the terminal's own ^C has broken its line
        view.bar.finish_and_clear();
    } else {
        view.bar.abandon();
    }
    ending.with_context(|| format!("cannot watch {id}, which goes on"))
}

async fn follow(client: &Client, id: &str, view: &mut View, stop: &Stop) -> anyhow::Result<Ending> {
    let mut last = None;
    let mut trouble = Trouble::default();
    let mut pauses = PAUSES;
    let mut waiting = Waiting::default();
    let request = format!("GET /api/{id}");
    loop {
        let reading = tokio::select! {
            reading = in_time(&request, client.get(id)) => reading,
            () = stop.asked() => return Ok(Ending::Interrupted(last)),
        };
        match reading {
            Ok(document) => {
                trouble.is_over();
                let job = Job::from_document(document.clone())
                    .context("cannot understand the job; is the server a newer version?")?;
                let why = tokio::select! {
                    why = waiting.why(client, &job) => why,
                    () = stop.asked() => return Ok(Ending::Interrupted(Some(document))),
                };
                let is_read = view.show(&job, &document, why.as_deref())?;
                if job.state.is_final() {
                    return Ok(Ending::Final(job.state, document));
                }
                last = Some(document);
                if !is_read {
                    return Ok(Ending::Interrupted(last));
                }
            }
            Err(error) if error.is_not_found(id) => return Ok(Ending::Deleted(last)),
            Err(error) => {
                if let Some(error) = trouble.failed(error)? {
                    view.note(&error);
                }
            }
        }
        // Whichever branch is first, the next reading finds out what it means.
        stop.pause(pauses.take()).await;
    }
}

/// Why a job waits, as far as the server says so to this user.
#[derive(Default)]
struct Waiting {
    /// How often the job was seen to wait.
    seen: u32,
    is_silent: bool,
    why: Option<String>,
}

impl Waiting {
    /// The reason, asked for anew; a job that has just been added waits for no reason.
    async fn why(&mut self, client: &Client, job: &Job) -> Option<String> {
        if job.state != State::Queued {
            *self = Self::default();
            return None;
        }
        self.seen = self.seen.saturating_add(1);
        if self.seen < WAITS_WITHOUT_REASON || self.is_silent {
            return None;
        }
        match in_time("GET explain", why::read(client, &job.id)).await {
            Ok(explanation) => self.why = why::in_a_line(&why::in_the_way(explanation)),
            // it says so to nobody
            Err(error) if !error.is_transient() => self.is_silent = true,
            Err(_) => {}
        }
        self.why.clone()
    }
}

/// What the user's Ctrl-C asks to stop.
pub fn stop_on_signals() -> anyhow::Result<Stop> {
    let stop = Stop::new();
    stop::on_signals(&stop).context("cannot listen for signals")?;
    Ok(stop)
}

/// Gives up a reading that is not answered.
pub async fn in_time<T>(request: &str, reading: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || Error::Unreachable {
        request: request.to_owned(),
        source: format!("no answer within {} seconds", READING.as_secs()).into(),
    };
    tokio::time::timeout(READING, reading).await.unwrap_or_else(|_| Err(late()))
}

/// Trouble that may pass is sat out for a while.
#[derive(Default)]
pub struct Trouble {
    since: Option<Instant>,
}

impl Trouble {
    /// It went well.
    pub fn is_over(&mut self) {
        self.since = None;
    }

    /// Answers the error if it is the first one in a row; fails with one that does not pass.
    pub fn failed(&mut self, error: Error) -> Result<Option<Error>, Error> {
        match self.since {
            _ if !error.is_transient() => Err(error),
            Some(since) if since.elapsed() >= PATIENCE => Err(error),
            Some(_) => Ok(None),
            None => {
                self.since = Some(Instant::now());
                Ok(Some(error))
            }
        }
    }
}

/// What is said of trouble that is sat out.
#[must_use]
pub fn note(trouble: &Error) -> String {
    let root = anyhow::Chain::new(trouble).last().map(ToString::to_string).unwrap_or_default();
    terminal::one_line(&format!("note: retrying for {} seconds: {root}", PATIENCE.as_secs()))
}

/// Prints a line for each change of a job on standard output: for people, or the document for programs.
pub struct Changes {
    is_json: bool,
    /// What was said last of each job that was there at the last look.
    seen: HashMap<String, String>,
}

impl Changes {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(is_json: bool) -> Self {
        Self { is_json, seen: HashMap::new() }
    }

    /// The attributes that are shown of a job; all of them if it is empty.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        let shown: &[&str] = if self.is_json { &[] } else { &SHOWN };
        shown.iter().copied().map(str::to_owned).collect()
    }

    /// Answers whether anybody still reads it.
    pub fn print<'job>(&mut self, jobs: impl IntoIterator<Item = &'job Document>) -> anyhow::Result<bool> {
        let mut seen = HashMap::new();
        let mut is_read = true;
        for job in jobs {
            let id = text(job, "id").to_owned();
            let line = if self.is_json { serde_json::to_string(job)? } else { line(job) };
            if self.seen.get(&id) != Some(&line) && !seen.contains_key(&id) {
                is_read = terminal::offer(&line)?;
            }
            seen.insert(id, line);
        }
        self.seen = seen;
        Ok(is_read)
    }
}

/// What a line shows of a job.
const SHOWN: [&str; 5] = ["id", "state", "progress", "action", "statusMessage"];

/// `job/0a RUNNING 40% dummy_test_action: slept 4 of 10 seconds`
fn line(job: &Document) -> String {
    let progress = job.get("progress").and_then(Value::as_u64).unwrap_or(0);
    let [id, state, action, message] =
        ["id", "state", "action", "statusMessage"].map(|name| terminal::one_line(text(job, name)));
    let separator = if message.is_empty() { "" } else { ": " };
    format!("{id} {state} {progress}% {}{separator}{message}", terminal::shortened(&action))
}

struct View {
    /// Hidden unless standard error is a terminal and no changes are printed.
    bar: ProgressBar,
    is_terminal: bool,
    last_line: Option<String>,
    changes: Option<Changes>,
}

impl View {
    fn new(changes: Option<Changes>) -> Self {
        let is_terminal = terminal::can_redraw(&Term::stderr()) && changes.is_none();
        let bar = if is_terminal { ProgressBar::new(100) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{prefix:8.bold} {bar:24.cyan/dim} {pos:>3}% {elapsed:>4} {msg}")
            .expect("the template is sound");
        bar.set_style(style.progress_chars("━━─"));
        if is_terminal {
            // so that the time goes on between readings
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, is_terminal, last_line: None, changes }
    }

    /// Answers whether anybody reads it. `why` says why the job waits.
    fn show(&mut self, job: &Job, document: &Document, why: Option<&str>) -> anyhow::Result<bool> {
        if let Some(changes) = &mut self.changes {
            return changes.print([document]);
        }
        let message = job.status_message.as_deref().map(terminal::one_line).unwrap_or_default();
        let message = why.map_or(message, str::to_owned);
        let line = format!("{} {message}", job.state).trim_end().to_owned();
        self.bar.set_prefix(job.state.as_str());
        self.bar.set_position(job.progress.into());
        self.bar.set_message(console::truncate_str(&message, self.room(), "…").into_owned());
        // of a job that ends without success the remark says it
        let is_remarked = job.state.is_final() && job.state != State::Success;
        if !self.is_terminal && !is_remarked && self.last_line.as_ref() != Some(&line) {
            output::report(&line);
            self.last_line = Some(line);
        }
        Ok(true)
    }

    /// Columns for the message.
    fn room(&self) -> usize {
        let columns = if self.is_terminal { usize::from(Term::stderr().size().1) } else { usize::MAX };
        columns.saturating_sub(BESIDE_THE_MESSAGE)
    }

    fn note(&self, trouble: &Error) {
        let text = note(trouble);
        if self.is_terminal { self.bar.println(text) } else { output::report(&text) }
    }
}

#[cfg(test)]
mod tests;
