//! [`Key`]: an option that may stand in a configuration file, found in the definition of the command line.

use std::error::Error as _;

use clap::builder::{OsStr, Resettable};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command, CommandFactory};

use super::{Chosen, Known, Written, with_defaults, without_required};
use crate::cli::Arguments;
use crate::cli::secrets::without_login;
use crate::config::{Fault, Setting, Value};

/// The services, each with the table of what is its own.
pub const SERVICES: [(&str, &str); 3] =
    [("server", "server"), ("executor", "executor"), ("distributor", "distributors")];
/// What several services have stands in a table of its own: that of the heading in their help.
const HEADINGS: [(&str, &str); 4] = [("Server", PEERS), ("ZooKeeper", PEERS), ("Log", "log"), ("Monitoring", "admin")];
const PEERS: &str = "peers";
/// What `up` has and no service: which distributors it runs.
const OF_UP: [(&str, &str); 1] = [(WHICH, "distributors")];
const WHICH: &str = "distributors";
/// What says where the files are.
const CONFIG: &str = "config";

/// An option and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// `executor` of `[executor]`.
    pub table: &'static str,
    /// What stands before the equals sign: the flag without its dashes.
    pub name: String,
    /// The definition, of the first of the commands.
    pub option: Arg,
    /// Services that have it, or `up`.
    pub commands: Vec<&'static str>,
}

/// All keys, in the order of the tables and of the help.
pub fn all() -> Vec<Key> {
    let whole = Arguments::command();
    let options = |command: &str| {
        let found = whole.find_subcommand(command).expect("it is a command");
        found.get_arguments().filter(|option| !option.is_hide_set()).cloned().collect::<Vec<_>>()
    };
    let mut keys: Vec<Key> = Vec::new();
    for (command, own) in SERVICES {
        for option in options(command) {
            let Some(name) = option.get_long().filter(|name| *name != CONFIG).map(str::to_owned) else { continue };
            let table = shared_table(&option).unwrap_or(own);
            match keys.iter_mut().find(|key| key.table == table && key.name == name) {
                Some(key) => key.commands.push(command),
                None => keys.push(Key { table, name, option, commands: vec![command] }),
            }
        }
    }
    for (name, table) in OF_UP {
        let option = options("up").into_iter().find(|option| option.get_long() == Some(name));
        let option = option.expect("it is an option of up");
        keys.push(Key { table, name: name.to_owned(), option, commands: vec!["up"] });
    }
    let place = |key: &Key| crate::config::TABLES.iter().position(|table| *table == key.table);
    keys.sort_by_key(place);
    keys
}

fn shared_table(option: &Arg) -> Option<&'static str> {
    let heading = option.get_help_heading()?;
    HEADINGS.iter().find(|(known, _)| *known == heading).map(|(_, table)| *table)
}

/// Which tables a command reads, its own first. Commands of an operator read how the server is reached.
pub fn tables_of(command: &[&str]) -> &'static [&'static str] {
    match command {
        ["server"] => &["server", PEERS, "log", "admin"],
        ["executor"] => &["executor", PEERS, "log", "admin"],
        ["distributor"] => &["distributors", PEERS, "log", "admin"],
        ["up"] => &["server", "executor", "distributors", "log", "admin"],
        // which actions an executor of this machine would have
        ["actions", "check" | "test"] => &["executor"],
        _ => &[PEERS],
    }
}

/// Whether a command is a service, or all of them.
pub fn is_service(command: &[&str]) -> bool {
    matches!(command, ["server" | "executor" | "distributor" | "up"])
}

/// The tables in which an option of a command may stand; the first of them counts more.
pub fn of_option(command: &[&str], option: &Arg, keys: &[Key]) -> Vec<&'static str> {
    let Some(name) = option.get_long() else { return Vec::new() };
    // where it looks instead of in the folders of this machine, which it reads by itself
    if command == ["actions", "test"] && name == "actions-dir" {
        return Vec::new();
    }
    let own = SERVICES.iter().find(|(service, _)| command == [*service]).map(|(_, own)| *own);
    let tables = tables_of(command);
    let is_known = keys.iter().any(|key| key.name == name && tables.contains(&key.table));
    let stands =
        |table: &&&str| own == Some(**table) || keys.iter().any(|key| key.table == **table && key.name == name);
    tables.iter().filter(|_| is_known).filter(stands).copied().collect()
}

/// All that is wrong with keys and values.
pub fn faults(settings: &[Setting]) -> Vec<Fault> {
    let keys = all();
    let fault = |setting: &Setting| {
        let message = match find(&keys, setting) {
            Some(key) => key.wrong(&setting.value)?,
            None => unknown(&keys, setting),
        };
        Some(Fault::Wrong { place: setting.place.clone(), message, table: Some(setting.table) })
    };
    settings.iter().filter_map(fault).collect()
}

/// A service may have what it shares with others in its own table, too.
fn find<'a>(keys: &'a [Key], setting: &Setting) -> Option<&'a Key> {
    let service = SERVICES.iter().find(|(_, own)| *own == setting.table).map(|(service, _)| *service);
    let named = |key: &&Key| key.name == setting.key;
    let here = keys.iter().filter(named).find(|key| key.table == setting.table);
    let is_shared = |key: &&Key| service.is_some_and(|service| key.commands.contains(&service));
    here.or_else(|| keys.iter().filter(named).find(is_shared))
}

fn unknown(keys: &[Key], Setting { table, key: name, .. }: &Setting) -> String {
    let mut expected = keys.iter().filter(|key| key.name == *name).map(|key| format!("[{}]", key.table)).peekable();
    if expected.peek().is_some() {
        let expected: Vec<String> = expected.collect();
        return format!("[{table}] has no key `{name}`: it belongs into {}", expected.join(" or "));
    }
    let known: Vec<String> =
        keys.iter().filter(|key| key.table == *table).map(|key| format!("`{}`", key.name)).collect();
    format!("[{table}] has no key `{name}`, expected one of {}", known.join(", "))
}

impl Key {
    /// Why the value cannot be, if it cannot: what the command line would say of it.
    fn wrong(&self, value: &Value) -> Option<String> {
        let name = &self.name;
        let expected = match (value, is_switch(&self.option)) {
            (Value::Switch(_), true) | (Value::Word(_), false) => return self.refused(value),
            (Value::List(_), false) if is_list(&self.option) => return self.refused(value),
            (_, true) => "true or false",
            (Value::List(_), false) => "one value",
            (_, false) if is_list(&self.option) => "a text, a number, or a list of them",
            (_, false) => "a text or a number",
        };
        Some(format!("`{name}` has an impossible value: expected {expected}"))
    }

    fn refused(&self, value: &Value) -> Option<String> {
        let (command, name) = (self.commands[0], &self.name);
        let service = Arguments::command().find_subcommand(command).expect("it is a command").clone();
        let written = Written { words: value.words(), place: String::new() };
        let chosen = Chosen::from([(self.option.get_id().to_string(), written)]);
        let service = with_defaults(without_environment(without_required(service)), &[], &chosen);
        let error = service.try_get_matches_from([command]).err()?;
        let shown = match (self.option.is_hide_env_values_set(), value) {
            (false, Value::Word(word)) if is_address(name) => format!(" `{}`", without_login(word)),
            (false, Value::Word(word)) => format!(" `{word}`"),
            _ => String::new(),
        };
        Some(format!("`{name}` cannot be{shown}: {}", reason(&error)))
    }
}

/// The words of a value as the command line has them: of one key an empty list is something else than nothing.
pub fn words_of(key: &str, value: &Value) -> Vec<String> {
    match value.words() {
        words if words.is_empty() && key == WHICH => vec![String::new()],
        words => words,
    }
}

/// Whether an option is an address, in which somebody may have written a password.
pub fn is_address(name: &str) -> bool {
    ["ss-url", "zk-hosts", "es-hosts-list", "statsd", "listen", "admin-listen"].contains(&name)
}

/// Whether an option is only said or not.
pub fn is_switch(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
}

/// Whether an option may have several values.
pub fn is_list(option: &Arg) -> bool {
    let most = option.get_num_args().map_or(1, |number| number.max_values());
    matches!(option.get_action(), ArgAction::Append) || option.get_value_delimiter().is_some() || most > 1
}

/// What an option that is only said or not can be.
pub const SWITCHES: [&str; 2] = ["true", "false"];

/// The table in which an option of a service mostly stands: the one that it shares with others, if it does.
pub fn home(known: &Known) -> &'static str {
    known.tables.last().expect("it may stand in one")
}

/// The command, which does not look into the environment of this process.
pub fn without_environment(command: Command) -> Command {
    command.mut_args(|option| option.env(Resettable::<OsStr>::Reset))
}

/// What the parser of a value says, or which values there are.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) if !valid.is_empty() => format!("expected one of {}", valid.join(", ")),
        _ => "see `slipstream-job help` for what it takes".to_owned(),
    }
}
