//! `slipstream-job jobs watch`: a live table of what runs, waits and has just ended, or one job to its end.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use console::Term;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::query::{Order, Search};
use slipstream_cimi::{Client, Document, Error};

use super::super::ends_with_the_job;
use super::super::terminal::{self, Screen};
use super::super::watch::{self, Changes, Trouble};
use super::id::{JobId, found};
use super::list::{Row, table_lines};
use crate::cli::options::connection::Connection;
use crate::cli::spinner::{Spinner, asking};
use crate::process::clock::Clock;
use crate::process::output;
use crate::process::stop::Stop;

/// How often jobs are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// How many jobs of each kind are looked at where each change is printed.
const MOST: usize = 1_000;

/// What `jobs watch` is asked for.
#[derive(Debug, Args)]
#[command(after_help = ends_with_the_job!(
    "With an ID, ends when the job does. Without one, shows jobs that run, wait or ended within the last ten seconds, \
     until Ctrl-C (exit code 0). If the output is not a terminal, prints a line for each change instead, of the 1000 \
     jobs that have run or waited longest and the 1000 that ended last.",
    "slipstream-job jobs watch"
))]
pub struct WatchArguments {
    /// Id, with or without job/, or its beginning
    #[arg(value_name = "ID")]
    id: Option<JobId>,
    /// Print each change as a line of JSON: the job's document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Watches jobs.
pub async fn run(arguments: WatchArguments) -> anyhow::Result<ExitCode> {
    let client = arguments.connection.client()?;
    let is_live = !arguments.json && terminal::can_redraw(&Term::stdout());
    if let Some(id) = &arguments.id {
        // Whoever mistypes an id is told so, not that the job was deleted.
        let id = &asking(found(&client, id)).await?;
        asking(client.get(id)).await?;
        let changes = (!is_live).then(|| Changes::new(arguments.json));
        let ending = watch::to_the_end(&client, id, changes).await?;
        if let Some(remark) = ending.remark(id) {
            output::report(&remark);
        }
        return Ok(ExitCode::from(ending.exit_code()));
    }
    let stop = watch::stop_on_signals()?;
    let mut view = if is_live { View::Table(Canvas::new()) } else { View::Changes(Changes::new(arguments.json)) };
    follow(&client, &mut view, &stop).await?;
    if let View::Table(canvas) = view {
        // below the ^C that the terminal has written
        canvas.end()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks and shows until somebody asks to stop, or nobody reads any longer.
async fn follow(client: &Client, view: &mut View, stop: &Stop) -> anyhow::Result<()> {
    let mut trouble = Trouble::default();
    let first = Spinner::on("looking for jobs");
    let mut spinner = Some(first);
    loop {
        let reading = async {
            let reading = watch::in_time("PUT /api/job", Reading::read(client, view.most(), view.select()));
            match &spinner {
                Some(spinner) => spinner.during(reading).await,
                None => reading.await,
            }
        };
        let reading = tokio::select! {
            biased;
            () = stop.asked() => return Ok(()),
            reading = reading => reading,
        };
        spinner = None;
        match reading {
            Ok(reading) => {
                trouble.is_over();
                if !view.show(&reading)? {
                    return Ok(());
                }
            }
            Err(error) => {
                if let Some(error) = trouble.failed(error)? {
                    view.note(&error)?;
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.asked() => return Ok(()),
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Jobs at one moment, or nearly: kind after kind.
struct Reading {
    running: (u64, Vec<Document>),
    ended: (u64, Vec<Document>),
    queued: (u64, Vec<Document>),
}

impl Reading {
    /// Each search is answered from an index, whatever number of jobs there is.
    async fn read(client: &Client, most: usize, select: Vec<String>) -> Result<Self, Error> {
        let find = async |filter: &str, attribute: &str, descending: bool| {
            let search = Search {
                filter: Some(filter.to_owned()),
                order: vec![Order { attribute: attribute.to_owned(), descending }],
                last: i64::try_from(most).ok(),
                select: select.clone(),
                ..Search::default()
            };
            client.search(JOB.name, &search).await.map(|found| (found.count, found.documents))
        };
        Ok(Self {
            running: find("state=['RUNNING', 'STOPPING']", "created", false).await?,
            ended: find("updated>'now-10s' and state=['SUCCESS', 'FAILED', 'STOPPED']", "updated", true).await?,
            queued: find("state='QUEUED'", "created", false).await?,
        })
    }

    fn documents(&self) -> impl Iterator<Item = &Document> {
        self.running.1.iter().chain(&self.ended.1).chain(&self.queued.1)
    }

    /// At most `height` lines.
    fn lines(&self, screen: Screen, height: usize) -> Vec<String> {
        let now = Clock::system().now();
        let summary = format!("{} running, {} queued, {} just ended", self.running.0, self.queued.0, self.ended.0);
        let rows: Vec<Row> = self.documents().take(height).map(|document| Row::of(document, now)).collect();
        let mut lines = vec![screen.dimmed(&summary)];
        if !rows.is_empty() {
            lines.extend(table_lines(&rows, screen));
        }
        lines.truncate(height);
        lines
    }
}

enum View {
    Table(Canvas),
    Changes(Changes),
}

impl View {
    fn most(&self) -> usize {
        match self {
            Self::Table(canvas) => canvas.height(),
            Self::Changes(_) => MOST,
        }
    }

    /// What is asked of each job; everything if it is empty.
    fn select(&self) -> Vec<String> {
        match self {
            Self::Table(_) => Row::shown(),
            Self::Changes(changes) => changes.shown(),
        }
    }

    /// Answers whether anybody reads it.
    fn show(&mut self, reading: &Reading) -> anyhow::Result<bool> {
        match self {
            Self::Changes(changes) => changes.print(reading.documents()),
            Self::Table(canvas) => {
                canvas.shown = reading.lines(Screen::standard_output(), canvas.height());
                canvas.draw(None)?;
                Ok(true)
            }
        }
    }

    fn note(&mut self, trouble: &Error) -> anyhow::Result<()> {
        let text = watch::note(trouble);
        match self {
            Self::Table(canvas) => canvas.draw(Some(&text))?,
            Self::Changes(_) => output::report(&text),
        }
        Ok(())
    }
}

/// Lines that are drawn over the ones before.
struct Canvas {
    terminal: Term,
    shown: Vec<String>,
    /// How many lines were drawn last, and how large the terminal was.
    drawn: usize,
    size: (u16, u16),
}

impl Canvas {
    fn new() -> Self {
        let terminal = Term::buffered_stdout();
        let size = terminal.size();
        Self { terminal, shown: Vec::new(), drawn: 0, size }
    }

    /// How many lines there is room for: one is the cursor's, one for a note.
    fn height(&self) -> usize {
        usize::from(self.terminal.size().0).saturating_sub(2).max(1)
    }

    fn draw(&mut self, note: Option<&str>) -> anyhow::Result<()> {
        let size = self.terminal.size();
        let note = note.map(|note| console::truncate_str(note, size.1.into(), "…").into_owned());
        let lines: Vec<&String> = self.shown.iter().chain(&note).collect();
        let paint = || {
            // a terminal of another size has broken the lines otherwise
            if self.size == size {
                self.terminal.move_cursor_up(self.drawn)?;
            } else {
                self.terminal.clear_screen()?;
            }
            for line in &lines {
                self.terminal.clear_line()?;
                self.terminal.write_line(line)?;
            }
            self.terminal.clear_to_end_of_screen()?;
            self.terminal.flush()
        };
        paint().context("cannot write to the terminal")?;
        (self.drawn, self.size) = (lines.len(), size);
        Ok(())
    }

    fn end(&self) -> anyhow::Result<()> {
        self.terminal.write_line("").and_then(|()| self.terminal.flush()).context("cannot write to the terminal")
    }
}

#[cfg(test)]
mod tests;
