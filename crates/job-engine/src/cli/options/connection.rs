//! How a command reaches the API: flags, then the socket of the action that runs it, then environment, then what a running
//! `up` has left in the default data directory.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_cimi::{Client, Credentials, Document, UnixTransport};
use tokio::time::timeout;

use super::login::{LoginOptions, without_user};
use crate::cli::secrets;
use crate::cli::spinner::asking;
use crate::cli::terminal::{self, Screen};
use crate::instance::{data_dir, endpoint, password};

/// Longest wait for an answer.
const TIME_LIMIT: Duration = Duration::from_mins(2);

/// Longest wait for the end of a session.
const FAREWELL: Duration = Duration::from_secs(2);

/// As what commands log in.
const PROGRAM: &str = concat!("slipstream-job/", env!("CARGO_PKG_VERSION"));

/// Where the executor's API socket is that an action uses, and the address of the API there.
const SOCKET_VARIABLE: &str = "SLIPSTREAM_SOCKET";
const API_VARIABLE: &str = "SLIPSTREAM_API";

/// Flags of every command that talks to the API.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Connection (not needed in actions, or beside an `up` in the default directory)",
    mut_arg("ss-url", |url| {
        url.help("Address of the API [in an action: SLIPSTREAM_API, by the socket SLIPSTREAM_SOCKET]")
    })
)]
pub struct Connection {
    // reads what the next one takes away
    #[command(flatten)]
    given: GivenAsFlag,
    #[command(flatten)]
    login: LoginOptions,
}

/// Which of them are flags and not from the environment.
#[derive(Clone, Copy, Debug, Default)]
struct GivenAsFlag {
    url: bool,
    login: bool,
}

impl FromArgMatches for GivenAsFlag {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_flag = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let login = ["ss-user", "ss-pass", "ss-pass-file"].iter().any(is_flag);
        Ok(Self { url: is_flag(&"ss-url"), login })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GivenAsFlag {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

/// Flags of a command that shows something of the engine. Each says what it prints as JSON.
#[derive(Debug, Args)]
pub struct ShowOptions {
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub connection: Connection,
}

impl ShowOptions {
    /// Prints what was found: as JSON, if asked to, or as `render` makes it readable.
    pub fn print(&self, found: &impl Serialize, render: impl FnOnce(Screen) -> String) -> anyhow::Result<()> {
        terminal::print(&if self.json {
            serde_json::to_string_pretty(found)?
        } else {
            render(Screen::standard_output())
        })
    }
}

impl Connection {
    /// A client for the server that the flags, an action's socket, the environment or the default data directory name.
    pub fn client(&self) -> anyhow::Result<Client> {
        self.client_within(TIME_LIMIT)
    }

    /// The same, for a request whose answer may take this long.
    pub fn client_within(&self, limit: Duration) -> anyhow::Result<Client> {
        if let Some(socket) = self.socket(|name| std::env::var(name).ok())? {
            return Ok(remembered(Client::new(Arc::new(socket.within(limit)), self.login_over_the_socket()?)));
        }
        let data_dir = data_dir::default_path();
        let endpoint = self.endpoint(data_dir.as_deref())?;
        let password = self.found_password(data_dir.as_deref(), secrets::administrators)?;
        let transport = HttpTransport::new(&endpoint, self.login.is_insecure, limit)?;
        let credentials = Credentials { username: self.user_name().to_owned(), password };
        Ok(remembered(Client::new(Arc::new(transport), Some(credentials))))
    }

    /// Asks the server what the engine is doing.
    pub async fn view<T: DeserializeOwned>(&self, place: &str) -> anyhow::Result<T> {
        let client = self.client()?;
        understood(asking(client.get(place)).await?)
    }

    /// The same with these parameters.
    pub async fn view_with<T: DeserializeOwned>(&self, place: &str, parameters: &[(&str, &str)]) -> anyhow::Result<T> {
        let client = self.client()?;
        Ok(asking(client.view_with(place, parameters)).await?)
    }

    /// The socket of the action that runs this command, unless another server is meant.
    fn socket(&self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<UnixTransport>> {
        let [socket, api] = [SOCKET_VARIABLE, API_VARIABLE].map(|name| variable(name).filter(|text| !text.is_empty()));
        let (socket, api) = match (socket, api) {
            _ if self.given.url => return Ok(None),
            (None, None) => return Ok(None),
            (Some(socket), Some(api)) => (socket, api),
            (socket, _) => {
                let (there, missing) =
                    if socket.is_some() { (SOCKET_VARIABLE, API_VARIABLE) } else { (API_VARIABLE, SOCKET_VARIABLE) };
                bail!(
                    "{there} is set and {missing} is not: set both as the executor does, or name a server with --ss-url"
                )
            }
        };
        let transport = UnixTransport::to_api(socket.into(), &api);
        transport.map(Some).with_context(|| format!("{API_VARIABLE} is no address of an action, http://TOKEN/api"))
    }

    /// None is needed there: the executor adds its own.
    fn login_over_the_socket(&self) -> anyhow::Result<Option<Credentials>> {
        if !self.given.login {
            return Ok(None);
        }
        let username = self.user_name().to_owned();
        let password = self.login.password()?;
        let password =
            password.with_context(|| format!("no password of the user {username}: give it with --ss-pass"))?;
        Ok(Some(Credentials { username, password }))
    }

    fn user_name(&self) -> &str {
        given(self.login.user.as_ref()).unwrap_or(ADMINISTRATOR)
    }

    fn endpoint(&self, data_dir: Option<&Path>) -> anyhow::Result<String> {
        if let Some(url) = given(self.login.url.as_ref()) {
            without_user(url)?;
            return Ok(url.to_owned());
        }
        let found = data_dir.map(endpoint::read_endpoint).transpose()?.flatten();
        let place = data_dir.map_or_else(|| "on this machine".to_owned(), |path| format!("in {}", path.display()));
        found.with_context(|| {
            format!(
                "no engine is running {place}: start one with `slipstream-job up`, or name one with --ss-url or {}",
                data_dir::DATA_DIR_VARIABLE
            )
        })
    }

    fn found_password(
        &self,
        data_dir: Option<&Path>,
        administrators: impl FnOnce() -> anyhow::Result<Option<SecretString>>,
    ) -> anyhow::Result<SecretString> {
        if let Some(password) = self.login.password()? {
            return Ok(password);
        }
        let user = self.user_name();
        // The password of this machine's engine is no password of another one's, and is not sent there.
        let stored = match data_dir {
            Some(data_dir) if user == ADMINISTRATOR && self.means_the_engine_of(data_dir)? => match administrators()? {
                Some(password) if !password.expose_secret().is_empty() => Some(password),
                _ => password::read_password(data_dir)?,
            },
            _ => None,
        };
        stored.with_context(|| format!("no password of the user {user}: give it with --ss-pass or SLIPSTREAM_PASS"))
    }

    fn means_the_engine_of(&self, data_dir: &Path) -> anyhow::Result<bool> {
        let Some(url) = given(self.login.url.as_ref()) else { return Ok(true) };
        Ok(endpoint::read_endpoint(data_dir)?.as_deref() == Some(url.trim_end_matches('/')))
    }
}

/// The clients of this command, whose sessions end with it.
static CLIENTS: Mutex<Vec<Client>> = Mutex::new(Vec::new());

fn remembered(client: Client) -> Client {
    let client = client.named(PROGRAM);
    CLIENTS.lock().unwrap_or_else(PoisonError::into_inner).push(client.clone());
    client
}

/// Ends the sessions that this command has made, so that they are not left until they end by themselves.
pub async fn log_out() {
    let clients = std::mem::take(&mut *CLIENTS.lock().unwrap_or_else(PoisonError::into_inner));
    for client in clients {
        // the command has said what it had to say; what is left behind ends within a day
        drop(timeout(FAREWELL, client.log_out()).await);
    }
}

/// A whole answer as what we know it to be.
pub fn understood<T: DeserializeOwned>(answer: Document) -> anyhow::Result<T> {
    serde_json::from_value(Value::Object(answer))
        .context("cannot understand the server's answer; is it a newer version?")
}

/// An environment variable that is set to nothing gives nothing.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
