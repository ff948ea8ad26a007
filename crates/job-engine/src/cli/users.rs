//! `slipstream-job users`: lists, adds, changes and deletes those who may log in.

mod sessions;

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use console::Term;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::dialect::USER;
use slipstream_cimi::overview::user;
use slipstream_cimi::query::{Order, Search};

use super::options::connection::{Connection, ShowOptions};
use super::spinner::asking;
use super::terminal::{self, Screen, age, one_line};
use super::{example, secrets};
use crate::process::clock::Clock;

/// What `users` is asked for.
#[derive(Debug, Args)]
#[command(
    mut_arg("json", |json| json.help(LIST_AS_JSON)),
    args_conflicts_with_subcommands = true,
    after_help = example!(
        "Without a command, lists users. Passwords are prompted for, or read from standard input or a file; they are \
         never arguments.",
        "slipstream-job users add jane"
    )
)]
pub struct UsersArguments {
    #[command(subcommand)]
    command: Option<UsersCommand>,
    #[command(flatten)]
    list: ShowOptions,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// List users
    #[command(
        mut_arg("json", |json| json.help(LIST_AS_JSON)),
        after_help = example!("slipstream-job users list --json")
    )]
    List(ShowOptions),
    /// Add a user
    Add(AddArguments),
    /// Change a user's password, and end all of its sessions
    Passwd(PasswdArguments),
    /// Disable a user's login, and end all of its sessions
    #[command(after_help = example!("slipstream-job users disable jane"))]
    Disable(ChosenUser),
    /// Let a user log in again
    #[command(after_help = example!("slipstream-job users enable jane"))]
    Enable(ChosenUser),
    /// List where a user has logged in, and end that
    Sessions(sessions::SessionsArguments),
    /// Delete a user, and end all of its sessions; its jobs stay
    #[command(after_help = example!("slipstream-job users delete jane"))]
    Delete(ChosenUser),
}

const LIST_AS_JSON: &str = "Print the users' documents as a JSON array";

#[derive(Debug, Args)]
#[command(after_help = example!("slipstream-job users add jane --password-file jane.password"))]
struct AddArguments {
    /// Give the user the role ADMIN, which may do everything
    #[arg(long)]
    administrator: bool,
    #[command(flatten)]
    password: PasswordSource,
    #[command(flatten)]
    user: ChosenUser,
}

#[derive(Debug, Args)]
#[command(after_help = example!("slipstream-job users passwd jane < jane.password"))]
struct PasswdArguments {
    #[command(flatten)]
    password: PasswordSource,
    #[command(flatten)]
    user: ChosenUser,
}

#[derive(Debug, Args)]
struct ChosenUser {
    /// The user's name
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: String,
    /// Print the user's id and what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct PasswordSource {
    /// Read the password from the first line of this file [default: asked for, or the first line of standard input]
    // an id of its own: the connection has a password file, too
    #[arg(id = "password-file", long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Does what `users` is asked for.
pub async fn run(arguments: UsersArguments) -> anyhow::Result<()> {
    match arguments.command {
        None => list(arguments.list).await,
        Some(UsersCommand::List(options)) => list(options).await,
        Some(UsersCommand::Add(arguments)) => add(arguments).await,
        Some(UsersCommand::Passwd(arguments)) => passwd(arguments).await,
        Some(UsersCommand::Disable(user)) => set_state(user, "SUSPENDED", "disabled").await,
        Some(UsersCommand::Enable(user)) => set_state(user, "ACTIVE", "enabled").await,
        Some(UsersCommand::Sessions(arguments)) => sessions::run(arguments).await,
        Some(UsersCommand::Delete(user)) => {
            asking(user.connection.client()?.delete(&user.id())).await?;
            user.print(&user.id(), "deleted", "")
        }
    }
}

async fn list(options: ShowOptions) -> anyhow::Result<()> {
    let by_name = Order { attribute: "username".to_owned(), descending: false };
    let search = Search { order: vec![by_name], ..Search::default() };
    let client = options.connection.client()?;
    let users = asking(client.search(USER.name, &search)).await?.documents;
    options.print(&users, |screen| render(&users, Clock::system().now(), screen))
}

fn render(users: &[Document], now: Timestamp, screen: Screen) -> String {
    let row = |user: &Document| {
        let text = |attribute: &str| user.get(attribute).and_then(Value::as_str).map(one_line).unwrap_or_default();
        let is_administrator = user.get("isSuperUser").and_then(Value::as_bool) == Some(true);
        let created: Option<Timestamp> = text("created").parse().ok();
        let age = created.map(|created| age(created, now)).unwrap_or_default();
        let role = if is_administrator { "yes" } else { "no" };
        vec![text("username"), text("state"), role.to_owned(), age]
    };
    screen.listing(&["USER", "STATE", "ADMINISTRATOR", "AGE"], &[0], users.iter().map(row).collect())
}

async fn add(AddArguments { administrator, password, user }: AddArguments) -> anyhow::Result<()> {
    let client = user.connection.client()?;
    let password = password.read(&user.name)?;
    let members = [
        ("username", json!(user.name)),
        ("password", json!(password.expose_secret())),
        ("isSuperUser", json!(administrator)),
    ];
    let id = asking(client.add(USER.name, &document(members), None)).await?;
    user.print(&id, "added", "")
}

async fn passwd(PasswdArguments { password, user }: PasswdArguments) -> anyhow::Result<()> {
    let client = user.connection.client()?;
    let password = password.read(&user.name)?;
    let changes = document([("password", json!(password.expose_secret()))]);
    asking(client.edit(&user.id(), &changes, &[])).await?;
    user.print(&user.id(), "password changed", ", its sessions ended")
}

async fn set_state(user: ChosenUser, state: &str, done: &str) -> anyhow::Result<()> {
    let client = user.connection.client()?;
    asking(client.edit(&user.id(), &document([("state", json!(state))]), &[])).await?;
    user.print(&user.id(), done, "")
}

fn document<const N: usize>(members: [(&str, Value); N]) -> Document {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl ChosenUser {
    fn id(&self) -> String {
        user::id(&self.name)
    }

    /// `more` is for people.
    fn print(&self, id: &str, done: &str, more: &str) -> anyhow::Result<()> {
        terminal::print(&if self.json {
            json!({ "id": id, "done": done }).to_string()
        } else {
            format!("{id} {done}{more}")
        })
    }
}

impl PasswordSource {
    /// From the file, else asked for twice, else from standard input if that is no terminal.
    fn read(&self, name: &str) -> anyhow::Result<SecretString> {
        if let Some(path) = &self.password_file {
            return secrets::from_file(path);
        }
        if std::io::stdin().is_terminal() {
            return ask(name);
        }
        secrets::first_line(std::io::stdin().lock()).context("no password on standard input")
    }
}

fn ask(name: &str) -> anyhow::Result<SecretString> {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        bail!("cannot prompt for a password, standard error is not a terminal: use --password-file");
    }
    let prompt = |text: &str| -> anyhow::Result<SecretString> {
        let read = terminal.write_str(text).and_then(|()| terminal.read_secure_line()).context("no password")?;
        // Ctrl-D ends the line before it has begun.
        if read.is_empty() {
            bail!("no password given, nothing changed");
        }
        Ok(SecretString::from(read))
    };
    let first = prompt(&format!("New password of the user {name}: "))?;
    let second = prompt("Repeat it: ")?;
    if first.expose_secret() != second.expose_secret() {
        bail!("the two passwords differ, nothing changed");
    }
    Ok(first)
}

fn parse_name(text: &str) -> Result<String, String> {
    if user::is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected up to 64 letters, digits, dots, hyphens and underscores, such as jane.doe".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_user() {
        let user = |name: &str, state: &str, is_super: bool| {
            let created = json!("2026-11-24T12:00:00.000Z");
            document([
                ("username", json!(name)),
                ("state", json!(state)),
                ("isSuperUser", json!(is_super)),
                ("created", created),
            ])
        };
        let users = [user("jane", "SUSPENDED", false), user("super", "ACTIVE", true)];
        let now = "2026-11-24T12:05:00Z".parse().unwrap();
        assert_eq!(
            render(&users, now, Screen { width: None, colours: false }),
            "USER   STATE      ADMINISTRATOR  AGE\njane   SUSPENDED  no             5m\nsuper  ACTIVE     yes            5m"
        );
    }
}
