//! `slipstream-job jobs list`: a table that fits the terminal.

use clap::Args;
use comfy_table::Row as TableRow;
use jiff::Timestamp;
use serde_json::Value;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::ledger::EXECUTOR;
use slipstream_cimi::query::{Collection, LARGEST_PAGE, Order, Search};
use slipstream_cimi::{Client, Document, Error, State};

use super::super::terminal::{Screen, age, keep_widths, one_line, text};
use super::filter::{filter_help, hint};
use crate::cli::example;
use crate::cli::options::connection::ShowOptions;
use crate::cli::spinner::Spinner;
use crate::process::clock::Clock;

/// Terminals of at least this many columns have room for executor, target and message in columns of their own.
const WIDE: usize = 120;

/// What `jobs list` is asked for.
#[derive(Debug, Args)]
#[command(mut_arg("json", |json| json.help("Print the jobs' documents as a JSON array")))]
#[command(after_help = example!(filter_help!(), "slipstream-job jobs list --filter \"action='noop'\" --limit 5"))]
pub struct ListArguments {
    /// Only jobs that match, e.g. state='FAILED'
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Attributes to order by; may be repeated
    #[arg(long, value_name = "ATTRIBUTE[:desc]", value_delimiter = ',', value_parser = parse_order, default_value = "created:desc")]
    order: Vec<Order>,
    /// Most jobs to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=LARGEST_PAGE))]
    limit: u64,
    #[command(flatten)]
    options: ShowOptions,
}

/// Lists jobs.
pub async fn run(arguments: ListArguments) -> anyhow::Result<()> {
    let client = arguments.options.connection.client()?;
    if let Some(filter) = &arguments.filter {
        hint(filter);
    }
    let mut search = Search {
        filter: arguments.filter,
        order: arguments.order,
        last: i64::try_from(arguments.limit).ok(),
        select: if arguments.options.json { Vec::new() } else { Row::shown() },
        ..Search::default()
    };
    let found = Spinner::on("looking for jobs").during(find(&client, &mut search)).await?;
    arguments.options.print(&found.documents, |screen| {
        let rows: Vec<Row> = found.documents.iter().map(|document| Row::of(document, Clock::system().now())).collect();
        render(&rows, found.count, screen)
    })
}

/// All that was asked for: a page of large documents ends before that.
async fn find(client: &Client, search: &mut Search) -> Result<Collection, Error> {
    let mut found = client.search(JOB.name, search).await?;
    let wanted = found.count.min(search.last.and_then(|last| u64::try_from(last).ok()).unwrap_or(u64::MAX));
    while (found.documents.len() as u64) < wanted {
        search.first = i64::try_from(found.documents.len() + 1).ok();
        let more = client.search(JOB.name, search).await?.documents;
        if more.is_empty() {
            break;
        }
        found.documents.extend(more);
    }
    Ok(found)
}

/// What the table shows of a job.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    name: String,
    state: String,
    progress: String,
    age: String,
    action: String,
    /// Of the last attempt; nothing unless an administrator asks.
    executor: String,
    target: String,
    message: String,
}

impl Row {
    /// The attributes that it shows: a table asks for no others, which may be long.
    pub fn shown() -> Vec<String> {
        let shown = ["id", "state", "progress", "created", "action", EXECUTOR, "targetResource", "statusMessage"];
        shown.map(str::to_owned).to_vec()
    }

    /// What a document says, however little.
    pub fn of(document: &Document, now: Timestamp) -> Self {
        let shown = |attribute| one_line(text(document, attribute));
        let id = shown("id");
        let progress = document.get("progress").and_then(Value::as_u64).map(|percent| format!("{percent}%"));
        let created: Option<Timestamp> = text(document, "created").parse().ok();
        let target = document.get("targetResource").and_then(|target| target.get("href")).and_then(Value::as_str);
        Self {
            name: id.strip_prefix("job/").map_or_else(|| id.clone(), str::to_owned),
            state: shown("state"),
            progress: progress.unwrap_or_default(),
            age: created.map(|created| age(created, now)).unwrap_or_default(),
            action: shown("action"),
            executor: shown(EXECUTOR),
            target: target.map(one_line).unwrap_or_default(),
            message: shown("statusMessage"),
        }
    }

    /// Where executor and message have no column: who runs a job that has not succeeded, and what it says, on a line of
    /// its own.
    fn line_below(&self, width: usize) -> Option<String> {
        let said = match (self.executor.as_str(), self.message.as_str()) {
            _ if self.state == State::Success.as_str() => return None,
            ("", "") => return None,
            ("", message) => message.to_owned(),
            (executor, "") => format!("on {executor}"),
            (executor, message) => format!("on {executor}: {message}"),
        };
        Some(console::truncate_str(&format!("  {said}"), width, "…").into_owned())
    }
}

fn render(rows: &[Row], count: u64, screen: Screen) -> String {
    if rows.is_empty() {
        return if count == 0 { "no jobs".to_owned() } else { format!("0 of {count} jobs") };
    }
    let mut shown = table_lines(rows, screen);
    shown.push(screen.dimmed(&format!("{} of {count} jobs", rows.len())));
    shown.join("\n")
}

/// Titles and, of each job, one line, or two where executor and message have no column.
pub fn table_lines(rows: &[Row], screen: Screen) -> Vec<String> {
    let narrow = screen.width.filter(|width| *width < WIDE);
    let table = table(rows, screen, narrow.is_some());
    let mut lines = table.lines();
    let mut shown = vec![screen.bold(lines.next().unwrap_or_default().trim_end())];
    for (row, line) in rows.iter().zip(lines) {
        // names are lower case: the first such text is the state
        shown.push(line.trim_end().replacen(&row.state, &screen.coloured(&row.state, &row.state), 1));
        shown.extend(narrow.and_then(|width| row.line_below(width)).map(|message| screen.dimmed(&message)));
    }
    shown
}

/// A title line and one line for each row.
fn table(rows: &[Row], screen: Screen, is_narrow: bool) -> String {
    let titles = ["JOB", "STATE", "DONE", "AGE", "ACTION", "EXECUTOR", "TARGET", "MESSAGE"];
    let columns = if is_narrow { 5 } else { titles.len() };
    let mut table = screen.table(&titles[..columns]);
    for row in rows {
        let cells =
            [&row.name, &row.state, &row.progress, &row.age, &row.action, &row.executor, &row.target, &row.message];
        let mut line = TableRow::from(&cells[..columns]);
        line.max_height(1);
        table.add_row(line);
    }
    keep_widths(&mut table, &[4, 5, 6, 7]);
    table.to_string()
}

/// Reads `attribute`, `attribute:asc` or `attribute:desc`.
fn parse_order(text: &str) -> Result<Order, String> {
    let (attribute, direction) = text.split_once(':').unwrap_or((text, "asc"));
    match direction {
        "asc" | "desc" if !attribute.is_empty() => {
            Ok(Order { attribute: attribute.to_owned(), descending: direction == "desc" })
        }
        _ => Err("expected ATTRIBUTE, ATTRIBUTE:asc or ATTRIBUTE:desc".to_owned()),
    }
}

#[cfg(test)]
mod tests;
