//! `slipstream-job users sessions`: where a user has logged in, and how that ends.

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use slipstream_cimi::Error;
use slipstream_cimi::dialect::{SESSION, USER};
use slipstream_cimi::overview::sessions::{PLACE, SESSIONS, Session, Sessions};
use slipstream_cimi::overview::user;

use super::parse_name;
use crate::cli::example;
use crate::cli::options::connection::{Connection, ShowOptions};
use crate::cli::spinner::asking;
use crate::cli::terminal::{self, Screen, ago, one_line};
use crate::process::clock::Clock;

/// What `users sessions` is asked for.
#[derive(Debug, Args)]
#[command(
    mut_arg("json", |json| json.help(LIST_AS_JSON)),
    args_conflicts_with_subcommands = true,
    after_help = example!(
        "Without a command, lists the sessions of whoever asks. One is used last whenever a request comes with its \
         cookie; what other servers have seen of it is known to ten minutes.",
        "slipstream-job users sessions list jane"
    )
)]
pub struct SessionsArguments {
    #[command(subcommand)]
    command: Option<SessionsCommand>,
    #[command(flatten)]
    list: ShowOptions,
}

const LIST_AS_JSON: &str = "Print the sessions as a JSON array";

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// List your sessions, or as an administrator those of a user
    List(ListArguments),
    /// End one session, at once
    End(EndArguments),
    /// End all of your sessions, or as an administrator those of a user
    EndAll(EndAllArguments),
}

#[derive(Debug, Args)]
#[command(
    mut_arg("json", |json| json.help(LIST_AS_JSON)),
    after_help = example!("slipstream-job users sessions list jane --json")
)]
struct ListArguments {
    /// The user's name [default: yours]
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,
    #[command(flatten)]
    options: ShowOptions,
}

#[derive(Debug, Args)]
#[command(after_help = example!("slipstream-job users sessions end session/01a2…"))]
struct EndArguments {
    /// Id of the session, with or without `session/`
    #[arg(value_name = "ID")]
    id: String,
    /// Print the session's id and what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = example!("slipstream-job users sessions end-all jane"))]
struct EndAllArguments {
    /// The user's name [default: yours]
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Lists sessions, or ends some.
pub async fn run(arguments: SessionsArguments) -> anyhow::Result<()> {
    match arguments.command {
        None => list(None, arguments.list).await,
        Some(SessionsCommand::List(ListArguments { name, options })) => list(name.as_deref(), options).await,
        Some(SessionsCommand::End(EndArguments { id, json, connection })) => {
            let name = id.strip_prefix(SESSION.name).and_then(|name| name.strip_prefix('/')).unwrap_or(&id);
            let id = format!("{}/{name}", SESSION.name);
            match asking(connection.client()?.delete(&id)).await {
                // whoever may not know of it is answered as if it were somebody else's
                Err(Error::Refused { refusal, .. })
                    if matches!(refusal.status, 403 | 404) && refusal.resource_id.as_ref() == Some(&id) =>
                {
                    bail!("there is no {}, or no longer: `users sessions` lists those that there are", one_line(&id))
                }
                ended => ended?,
            }
            say(json, &id, "ended")
        }
        Some(SessionsCommand::EndAll(EndAllArguments { name, json, connection })) => {
            asking(connection.client()?.delete(&place(name.as_deref()))).await?;
            let whose =
                name.map_or_else(|| "your sessions".to_owned(), |name| format!("sessions of {}", user::id(&name)));
            say(json, &whose, "ended")
        }
    }
}

/// Where the sessions are that are meant.
fn place(name: Option<&str>) -> String {
    name.map_or_else(|| PLACE.to_owned(), |name| format!("{}/{name}/{SESSIONS}", USER.name))
}

fn say(as_json: bool, what: &str, done: &str) -> anyhow::Result<()> {
    let text =
        if as_json { json!({ "id": what, "done": done }).to_string() } else { format!("{} {done}", one_line(what)) };
    terminal::print(&text)
}

async fn list(name: Option<&str>, options: ShowOptions) -> anyhow::Result<()> {
    let Sessions { sessions, .. } = options.connection.view(&place(name)).await?;
    options.print(&sessions, |screen| render(&sessions, Clock::system().now(), screen))
}

fn render(sessions: &[Session], now: Timestamp, screen: Screen) -> String {
    if sessions.is_empty() {
        return "no sessions".to_owned();
    }
    let row = |session: &Session| {
        let address = session.address.as_deref().map(one_line).unwrap_or_default();
        let mark = if session.current { "this one" } else { "" };
        let times = [session.created, session.used, session.expiry].map(|time| ago(time, now));
        let [created, used, expiry] = times;
        vec![one_line(&session.id), address, one_line(&session.made_by()), created, used, expiry, mark.to_owned()]
    };
    let titles = ["SESSION", "ADDRESS", "MADE BY", "MADE", "USED", "ENDS", ""];
    screen.listing(&titles, &[0], sessions.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_has_a_line_and_one_is_this_one() {
        let time = |text: &str| text.parse().expect("a time");
        let session = |id: &str, address: Option<&str>, current| Session {
            id: format!("session/{id}"),
            address: address.map(str::to_owned),
            program: address.map(|_| "slipstream-job/0.1.0".to_owned()),
            created: time("2026-11-30T10:00:00Z"),
            used: time("2026-11-30T11:58:00Z"),
            expiry: time("2026-12-01T10:00:00Z"),
            current,
        };
        let sessions = [session("0a", Some("192.0.2.7"), true), session("0b", None, false)];
        let shown = render(&sessions, time("2026-11-30T12:00:00Z"), Screen { width: None, colours: false });
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(
            lines[1].contains("192.0.2.7  slipstream-job/0.1.0")
                && lines[1].contains("2m")
                && lines[1].ends_with("this one"),
            "{shown}"
        );
        assert!(lines[2].starts_with("session/0b") && !lines[2].contains("this one"), "{shown}");
        assert_eq!([place(None), place(Some("jane"))], ["session/all", "user/jane/sessions"]);
    }
}
