//! `slipstream-job jobs show`: a job's attributes, and what the server keeps of it besides.

use anyhow::Context;
use clap::Args;
use comfy_table::Table;
use jiff::Timestamp;
use serde_json::Value;
use slipstream_cimi::overview::explain::Reason;
use slipstream_cimi::overview::ledger::{Attempt, CLAIM, Holder, Ledger, Outcome};
use slipstream_cimi::{Client, Document, State};

use super::super::terminal::{self, Screen, ago, as_printed, keep_widths, lasting, many_lines, one_line, text};
use super::id::{JobId, found};
use crate::cli::options::connection::Connection;
use crate::cli::spinner::asking;
use crate::cli::{example, why};
use crate::process::clock::Clock;

/// What a reader looks for first; the other attributes follow as the document has them.
const FIRST_ATTRIBUTES: [&str; 10] = [
    "action",
    "state",
    "progress",
    "statusMessage",
    "returnCode",
    "targetResource",
    "priority",
    "created",
    "started",
    "duration",
];

const NO_LEDGER: &str = "this server keeps no ledger";
const NOT_SHOWN: &str = "only administrators see the ledger: claim, attempts and refused writes";

/// What `jobs show` is asked for.
#[derive(Debug, Args)]
#[command(after_help = example!("slipstream-job jobs show 01991d3c-7c1e-7a3b-8f3c-0123456789ab"))]
pub struct ShowArguments {
    /// Id, with or without job/, or its beginning
    #[arg(value_name = "ID")]
    id: JobId,
    /// Print the document as JSON, with the server's ledger in the member ledger: null if there is none to show
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Shows a job.
pub async fn run(arguments: ShowArguments) -> anyhow::Result<()> {
    let client = arguments.connection.client()?;
    let id = asking(found(&client, &arguments.id)).await?;
    let mut document = asking(client.get(&id)).await?;
    let ledger = asking(read_ledger(&client, &id)).await?;
    if arguments.json {
        document.insert("ledger".to_owned(), ledger.map_or(Value::Null, Value::Object));
        return terminal::print(&serde_json::to_string_pretty(&document)?);
    }
    let (screen, now) = (Screen::standard_output(), Clock::system().now());
    let mut parts = vec![render_attributes(&document, now, screen)];
    let obstacles = asking(why::obstacles(&client, &id)).await?;
    if !obstacles.is_empty() {
        parts.push(render_waits(&obstacles, now, screen));
    }
    match ledger {
        Err(reason) => parts.push(reason.to_owned()),
        Ok(ledger) => {
            let claim = ledger.get(CLAIM).map(claimed).transpose().context("cannot understand the claim")?;
            let ledger = serde_json::from_value(Value::Object(ledger)).context("cannot understand the ledger")?;
            parts.push(render_ledger(&ledger, claim, now, screen));
        }
    }
    terminal::print(&parts.join("\n\n"))
}

/// What the server keeps of the job, or why there is nothing to show: a server that keeps nothing does not know the
/// action, and ours shows it to administrators only.
async fn read_ledger(client: &Client, id: &str) -> anyhow::Result<Result<Document, &'static str>> {
    let error = match client.operation(id, "ledger").await {
        Ok(ledger) => return Ok(Ok(ledger)),
        Err(error) => error,
    };
    match error.refusal().map(|refusal| refusal.status) {
        Some(404 | 405) if !error.is_not_found(id) => Ok(Err(NO_LEDGER)),
        Some(403) => Ok(Err(NOT_SHOWN)),
        _ => Err(error.into()),
    }
}

fn render_attributes(document: &Document, now: Timestamp, screen: Screen) -> String {
    let state = text(document, "state");
    let first = FIRST_ATTRIBUTES.iter().filter_map(|name| document.get_key_value(*name));
    let is_final = State::from_text(state).is_some_and(State::is_final);
    let others = document.iter().filter(|(name, _)| *name != "id" && !FIRST_ATTRIBUTES.contains(&name.as_str()));
    let attributes: Vec<(String, String)> =
        first.chain(others).map(|(name, value)| (one_line(name), shown(name, value, is_final, now))).collect();
    let mut lines = vec![screen.bold(&one_line(text(document, "id")))];
    lines.extend(screen.pairs(&attributes).into_iter().map(|line| match line.strip_prefix("  state") {
        Some(rest) if rest.trim() == state => format!("  state{}", screen.coloured(state, rest)),
        _ => line,
    }));
    lines.join("\n")
}

/// A value as people write it. Servers offer to stop a job whatever its state is; of one that has ended that does nothing.
fn shown(name: &str, value: &Value, is_final: bool, now: Timestamp) -> String {
    match (name, value) {
        ("operations", Value::Array(operations)) => {
            let names = operations.iter().map(|operation| {
                let rel = operation.get("rel").and_then(Value::as_str).unwrap_or_default();
                rel.rsplit('/').next().unwrap_or(rel)
            });
            let mut names: Vec<&str> = names.filter(|name| !(is_final && *name == "stop")).collect();
            // an action is offered under its short and its full name
            names.dedup();
            one_line(&names.join(", "))
        }
        _ => readable(name, value, now),
    }
}

/// A value as people write it, by its name and shape.
fn readable(name: &str, value: &Value, now: Timestamp) -> String {
    match (name, value) {
        ("progress", Value::Number(percent)) => format!("{percent}%"),
        ("duration", Value::Number(seconds)) => format!("{seconds}s"),
        ("acl", Value::Object(acl)) => readable_acl(acl).unwrap_or_else(|| value.to_string()),
        (_, Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => format!("{text} ({})", ago(time, now)),
            Err(_) => many_lines(text),
        },
        (_, Value::Array(items)) => listed(items, |item| readable("", item, now)),
        (_, Value::Object(members)) => match members.get("href") {
            Some(Value::String(href)) if members.len() == 1 => one_line(href),
            _ => {
                let member = |(name, value): (&String, &Value)| format!("{name}: {}", readable(name, value, now));
                many_lines(&members.iter().map(member).collect::<Vec<_>>().join("\n"))
            }
        },
        (_, value) => value.to_string(),
    }
}

fn listed(items: &[Value], readable: impl Fn(&Value) -> String) -> String {
    let texts: Vec<String> = items.iter().map(readable).collect();
    one_line(&texts.join(", "))
}

fn readable_acl(acl: &Document) -> Option<String> {
    let principal = |who: &Value| who.get("principal").and_then(Value::as_str).map(one_line);
    let mut parts = vec![format!("owner {}", principal(acl.get("owner")?)?)];
    for rule in acl.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let right = rule.get("right").and_then(Value::as_str).map(one_line)?;
        parts.push(format!("{} {right}", principal(rule)?));
    }
    Some(parts.join(", "))
}

/// `claim` is who holds the entry, if the server says so.
fn render_ledger(ledger: &Ledger, claim: Option<String>, now: Timestamp, screen: Screen) -> String {
    let nothing = || "none".to_owned();
    let held = match ledger.attempts.last().filter(|attempt| attempt.outcome.is_none()) {
        Some(attempt) => format!("{}, {}", one_line(&attempt.executor), lasting(attempt.begun, now)),
        None => "nobody".to_owned(),
    };
    let mut pairs = vec![
        ("entry", ledger.entry.as_deref().map_or_else(nothing, one_line)),
        ("lease", ledger.lease.map_or_else(nothing, |lease| lease.to_string())),
        ("held by", held),
    ];
    pairs.extend(claim.map(|claim| ("claim", claim)));
    pairs.push(("lost attempts", ledger.lost.to_string()));
    pairs.push(("refused writes", ledger.refused_total.to_string()));
    let mut parts = vec![screen.bold("ledger")];
    let pairs: Vec<(String, String)> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    parts.extend(screen.pairs(&pairs));
    if !ledger.attempts.is_empty() {
        parts.extend([String::new(), screen.bold("attempts, oldest first"), attempts_table(&ledger.attempts, screen)]);
    }
    for (index, attempt) in ledger.attempts.iter().enumerate().filter(|(_, attempt)| !attempt.output.is_empty()) {
        let title = format!("last output of attempt {}", index + 1);
        parts.extend([String::new(), screen.bold(&title)]);
        parts.extend(attempt.output.iter().map(|line| format!("  {}", as_printed(line))));
    }
    if !ledger.refused.is_empty() {
        let title = "latest writes refused because a later claim has the job";
        parts.extend([String::new(), screen.bold(title), refused_table(ledger, screen)]);
    }
    parts.join("\n")
}

fn render_waits(reasons: &[Reason], now: Timestamp, screen: Screen) -> String {
    let rows = why::rows(reasons, now);
    std::iter::once(screen.bold("waits because")).chain(screen.pairs(&rows)).collect::<Vec<_>>().join("\n")
}

/// Who has a claim on the entry in the coordinator.
fn claimed(claim: &Value) -> serde_json::Result<String> {
    let holder: Option<Holder> = serde_json::from_value(claim.clone())?;
    Ok(match holder {
        None => "none".to_owned(),
        Some(Holder { executor: Some(executor), host: Some(host), .. }) => {
            format!("{} on {}", one_line(&executor), one_line(&host))
        }
        Some(Holder { claimant, .. }) => format!("foreign {}", one_line(&claimant)),
    })
}

fn attempts_table(attempts: &[Attempt], screen: Screen) -> String {
    let mut table = screen.table(&["  #", "LEASE", "EXECUTOR", "BEGUN", "ENDED", "OUTCOME"]);
    for (index, attempt) in attempts.iter().enumerate() {
        let outcome = match attempt.outcome {
            None => "running",
            Some(Outcome::Finished) => "finished",
            Some(Outcome::Released) => "released",
            Some(Outcome::Lost) => "lost",
        };
        table.add_row([
            format!("  {}", index + 1),
            attempt.lease.map_or_else(|| "none".to_owned(), |lease| lease.to_string()),
            one_line(&attempt.executor),
            to_the_second(attempt.begun),
            attempt.ended.map(to_the_second).unwrap_or_default(),
            outcome.to_owned(),
        ]);
    }
    finished(table, 2)
}

fn refused_table(ledger: &Ledger, screen: Screen) -> String {
    let mut table = screen.table(&["  TIME", "LEASE", "EXECUTOR", "WISH"]);
    for write in &ledger.refused {
        table.add_row([
            format!("  {}", to_the_second(write.time)),
            write.lease.to_string(),
            one_line(&write.executor),
            write.state.map_or("no change of state", State::as_str).to_owned(),
        ]);
    }
    finished(table, 2)
}

/// The table's text; all columns but `flexible` are as wide as their content.
fn finished(mut table: Table, flexible: usize) -> String {
    keep_widths(&mut table, &[flexible]);
    table.trim_fmt()
}

fn to_the_second(time: Timestamp) -> String {
    format!("{time:.0}")
}

#[cfg(test)]
mod tests;
