//! The reference of all options as pages, out of their definition: for the repository, for packages, and as a file to begin with.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use super::written;
use crate::cli::Arguments;
use crate::cli::settings::keys::{self, Key, is_list, is_switch};
use crate::cli::settings::of_files;
use crate::config::{DEFAULT_CONFIG, TABLES};

/// A table of configuration files.
pub struct Table {
    /// `executor` of `[executor]`.
    pub name: &'static str,
    /// Whose options stand in it.
    pub about: &'static str,
    /// Its keys.
    pub entries: Vec<Entry>,
}

/// What is to be known of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The flag without its dashes.
    pub key: String,
    /// The environment variable.
    pub variable: Option<String>,
    /// The default, in words.
    pub default: String,
    /// What it is for.
    pub meaning: String,
    /// A line of a file: with the default, or with what a value is called.
    pub example: String,
}

/// Where the file to begin with lies in the repository.
const TEMPLATE: &str = "packaging/root/etc/slipstream/job-engine.toml";
/// Where the files with the options of single services lie.
const DEFAULTS: &str = "packaging/root/etc/default/slipstream-job-";

/// What an installed machine has written down, so that all services run on it, and commands find them.
const WRITTEN: [(&str, &str, &str); 5] = [
    ("executor", "threads", "8"),
    ("peers", "zk-hosts", "127.0.0.1:2181"),
    ("peers", "ss-pass-file", "/var/lib/slipstream/server/super.password"),
    ("peers", "ss-url", "http://127.0.0.1:8201"),
    ("peers", "ss-user", "super"),
];

/// All that is made of the definition of the command line, by its path in the repository.
#[must_use]
pub fn pages() -> Vec<(String, String)> {
    let defaults = keys::SERVICES.map(|(service, _)| (format!("{DEFAULTS}{service}"), default_file(service)));
    let pages = [("docs/configuration.md".to_owned(), page()), (TEMPLATE.to_owned(), template())];
    pages.into_iter().chain(defaults).collect()
}

/// All tables with their keys.
#[must_use]
pub fn tables() -> Vec<Table> {
    let keys = keys::all();
    let table = |name| {
        let entries = keys.iter().filter(|key| key.table == name).map(entry_of_key).collect();
        Table { name, about: about(name), entries }
    };
    TABLES.into_iter().map(table).collect()
}

fn about(table: &str) -> &'static str {
    match table {
        "server" => "Options of `server`, and of the server in `up`.",
        "executor" => "Options of `executor`, and of the executor in `up`.",
        "distributors" => "Options of `distributor`, and of the distributors in `up`.",
        "peers" => "How the server and ZooKeeper are reached: for `executor`, `distributor`, `server` and commands.",
        "log" => "The log of each service.",
        _ => "What is watched of each service.",
    }
}

fn entry_of_key(key: &Key) -> Entry {
    let whole = Arguments::command();
    // services and `up` may differ
    let commands = key.commands.iter().chain((key.table != "peers").then_some(&"up"));
    let mut defaults: Vec<(String, Vec<&str>)> = Vec::new();
    for command in commands {
        let definition = whole.find_subcommand(command).expect("it is a command");
        let option = definition.get_arguments().find(|option| option.get_long() == Some(&*key.name));
        let Some(default) = option.map(default_of) else { continue };
        match defaults.iter_mut().find(|(known, _)| *known == default) {
            Some((_, commands)) if commands.contains(command) => {}
            Some((_, commands)) => commands.push(command),
            None => defaults.push((default, vec![command])),
        }
    }
    let default = match &defaults[..] {
        [(default, _)] => default.clone(),
        several => {
            let one = |(default, commands): &(String, Vec<&str>)| format!("{default} ({})", commands.join(", "));
            several.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    };
    Entry { default, ..entry(&key.option) }
}

fn entry(option: &Arg) -> Entry {
    let name = option.get_long().expect("it is no positional argument");
    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
    let variable = option.get_env().map(|name| name.to_string_lossy().into_owned());
    let (meaning, in_help) = without_remark(&help, "[env: ");
    let meaning = without_remark(&meaning, "[default: ").0;
    let values: Vec<String> = option.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let values =
        if values.is_empty() || is_switch(option) { String::new() } else { format!(": {}", values.join(", ")) };
    let about = if option.get_help_heading() == Some("ZooKeeper") { "ZooKeeper: " } else { "" };
    Entry {
        key: name.to_owned(),
        variable: variable.or(in_help),
        default: default_of(option),
        meaning: format!("{about}{meaning}{values}"),
        example: format!("{name} = {}", example(option)),
    }
}

fn default_of(option: &Arg) -> String {
    let values: Vec<String> =
        option.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if is_switch(option) {
        return "false".to_owned();
    }
    if !values.is_empty() {
        return values.join(" ");
    }
    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
    without_remark(&help, "[default: ").1.unwrap_or_default()
}

fn example(option: &Arg) -> String {
    if is_switch(option) {
        return "false".to_owned();
    }
    let values: Vec<String> =
        option.get_default_values().iter().map(|value| written(&value.to_string_lossy())).collect();
    if let [value] = &values[..] {
        return value.clone();
    }
    let name = option.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let name = written(name.unwrap_or_default().trim_end_matches(",…"));
    if is_list(option) { format!("[{name}]") } else { name }
}

/// The text without a remark in brackets, and what the remark says.
fn without_remark(text: &str, begin: &str) -> (String, Option<String>) {
    let Some((before, rest)) = text.split_once(begin) else { return (text.to_owned(), None) };
    let (remark, after) = rest.split_once(']').unwrap_or((rest, ""));
    (format!("{}{after}", before.trim_end()), Some(remark.to_owned()))
}

/// `docs/configuration.md`.
fn page() -> String {
    let mut page = String::from(
        "# Configuration reference\n\nMade by `cargo xtask generate` out of the definition of the command line. Which files \
         are read and what counts most: [Configuration](operations.md#configuration).\n\nA key is a flag without its dashes: \
         `threads = 8` in `[executor]` is `executor --threads 8`. A switch is `true` or `false` in a file, and is only said \
         on the command line.\n",
    );
    for Table { name, about, entries } in tables() {
        section(&mut page, &format!("## `[{name}]`\n\n{about}"), "Key", "", &entries);
    }
    page.push_str(
        "\n## `[[distributor]]`\n\nEach is a distributor. [The built-in ones](../crates/job-engine/src/default-config.toml) \
         explain every key.\n\n## `[[collection]]`\n\nEach is a declared collection. [The built-in \
         ones](../crates/job-engine/src/default-collections.toml) explain every key; [Collections](operations.md#collections) \
         tells more.\n\n## Options that no file has\n\nThose of all commands: `--help`, and `--config FILE`, which \
         names the file (`SLIPSTREAM_CONFIG`).\n",
    );
    let whole = Arguments::command();
    for path in commands(&whole, &[]) {
        let known = of_files(&whole, &path);
        let definition =
            path.iter().fold(&whole, |command, name| command.find_subcommand(name).expect("its name was just read"));
        let is_other = |option: &&Arg| {
            let name = option.get_long();
            name.is_some_and(|name| !["help", "version", "config"].contains(&name))
                && !option.is_hide_set()
                && known.iter().all(|known| Some(&*known.key) != name)
        };
        let entries: Vec<Entry> = definition.get_arguments().filter(is_other).map(entry).collect();
        if !entries.is_empty() {
            section(&mut page, &format!("### `{}`", path.join(" ")), "Flag", "--", &entries);
        }
    }
    page
}

fn section(page: &mut String, title: &str, first: &str, dashes: &str, entries: &[Entry]) {
    let mut text = format!("\n{title}\n\n| {first} | Variable | Default | Meaning |\n|---|---|---|---|\n");
    for Entry { key, variable, default, meaning, .. } in entries {
        let variable = variable.as_ref().map(|name| format!("`{name}`")).unwrap_or_default();
        let cells = [format!("`{dashes}{key}`"), variable, default.clone(), meaning.clone()];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('<', "&lt;"));
        writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes everything");
    }
    page.push_str(&text);
}

/// The paths of all commands.
fn commands(command: &Command, path: &[String]) -> Vec<Vec<String>> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    let below = below.flat_map(|below| {
        let path = [path, &[below.get_name().to_owned()]].concat();
        [vec![path.clone()], commands(below, &path)].concat()
    });
    below.collect()
}

/// `/etc/slipstream/job-engine.toml` of the packages: every key, commented out unless its value is what all begins with.
fn template() -> String {
    let mut text = String::from(
        "# Options of the services of slipstream-job, and of its commands, on this machine: job-engine.toml(5).\n#\n\
         # Flags count more (those in DAEMON_ARGS, /etc/default/slipstream-job-*, are flags), then environment variables,\n\
         # then the files in /etc/slipstream/job-engine.d by their names, then this one. A key that is commented out shows\n\
         # its default, or what its value is called. `slipstream-job config show` tells what holds, `slipstream-job config\n\
         # check` whether it can.\n#\n\
         # As it is, everything runs on this machine. For a server or a ZooKeeper elsewhere change [peers].\n",
    );
    for Table { name, about, entries } in tables() {
        write!(text, "\n{}[{name}]\n", commented(about)).expect("a string takes everything");
        for entry in entries {
            let written_down = WRITTEN.iter().find(|(table, key, _)| *table == name && *key == entry.key);
            let line = match written_down {
                Some((_, key, value)) => format!("{key} = {}", written(value)),
                None => format!("#{}", entry.example),
            };
            write!(text, "\n{}{line}\n", commented(&explanation(&entry))).expect("a string takes everything");
        }
    }
    // what it says of itself is not true of a part of another file
    let distributors = DEFAULT_CONFIG.split_once("\n\n").map_or(DEFAULT_CONFIG, |(_, tables)| tables);
    text.push('\n');
    for line in distributors.lines() {
        let mark = if line.is_empty() || line.starts_with('#') { "" } else { "#" };
        writeln!(text, "{mark}{line}").expect("a string takes everything");
    }
    text
}

/// What an option is for, its default and its variable.
fn explanation(Entry { variable, default, meaning, example, .. }: &Entry) -> String {
    let default = if default.is_empty() || example.ends_with(&written(default)) {
        String::new()
    } else {
        format!(" [default: {default}]")
    };
    let variable = variable.as_ref().map(|name| format!(" [{name}]")).unwrap_or_default();
    format!("{meaning}{default}{variable}")
}

/// `/etc/default/slipstream-job-SERVICE` of the packages: each option of the service as a flag, and none that is given.
fn default_file(service: &str) -> String {
    let (units, more) = match service {
        "distributor" => (
            "all slipstream-job-distributor@NAME.service",
            "# NAME is that of the distributor, as in slipstream-job-distributor@jobs_cleanup.service. Distributors of your own\n\
             # stand in /etc/slipstream/job-engine.d. What only one instance is to have, as an --admin-listen of its own, goes\n\
             # into a drop-in of it: `systemctl edit slipstream-job-distributor@NAME`.\n#\n",
        ),
        "server" => ("slipstream-job-server.service", ""),
        _ => ("slipstream-job-executor.service", ""),
    };
    let mut text = format!(
        "# Options of {units}. They count more than\n\
         # /etc/slipstream/job-engine.toml, which every service of this machine reads, and every command: what they share, as\n\
         # the addresses of server and ZooKeeper, belongs there.\n#\n\
         {more}\
         # systemd splits DAEMON_ARGS at blanks; within double or single quotes it does not, and a backslash takes the next\n\
         # character as it is. Nothing else is replaced. Names in brackets are variables that do the same, a line each.\n#\n"
    );
    let whole = Arguments::command();
    let definition = whole.find_subcommand(service).expect("it is a command");
    let options = definition.get_arguments().filter(|option| option.get_long().is_some() && !option.is_hide_set());
    for option in options {
        let name = option.get_value_names().and_then(|names| names.first()).map(|name| format!(" {name}"));
        let name = name.filter(|_| !is_switch(option)).unwrap_or_default();
        let entry = entry(option);
        let flag = &entry.key;
        let mut about = Entry { example: String::new(), ..entry.clone() };
        if is_switch(option) {
            about.default.clear();
        }
        let about = commented(&explanation(&about)).replace("# ", "#       ");
        write!(text, "#   --{flag}{name}\n{about}").expect("a string takes everything");
    }
    text.push_str("DAEMON_ARGS=\"\"\n");
    if service == "server" {
        text.push_str(
            "\n# The password of the user super is generated at the first start and kept in super.password beside the store, unless\n\
             # it is given here, where root alone reads it, or its file is named.\n\
             #SLIPSTREAM_SUPER_PASSWORD=\n#SLIPSTREAM_SUPER_PASSWORD_FILE=\n",
        );
    }
    text
}

/// In lines of a comment.
fn commented(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one from the first");
        if last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("# {word}"));
        } else {
            last.push(' ');
            last.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// Of lines of comment.
const WIDTH: usize = 120;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Files};

    fn in_the_repository(path: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn the_pages_are_those_of_this_definition() {
        for (path, text) in pages() {
            assert!(in_the_repository(&path) == text, "{path} is of another definition: run cargo xtask generate");
        }
    }

    #[test]
    fn every_default_of_the_file_to_begin_with_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.toml");
        let placeholder = |line: &str| line.chars().any(char::is_uppercase);
        let text: Vec<String> = template()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(example) if example.contains(" = ") && !example.starts_with(' ') && !placeholder(example) => {
                    example.to_owned()
                }
                _ => line.to_owned(),
            })
            .collect();
        std::fs::write(&path, text.join("\n").replace("#[[distributor]]", "[[distributor]]")).unwrap();
        let (config, faults) = Config::read(&Files::named(&path));
        assert_eq!([faults, keys::faults(&config.settings)].concat(), []);
        assert!(config.settings.len() > 10, "{:?}", config.settings);
    }

    /// What is written down there is what holds: neither flags nor variables of the packages say anything else.
    #[test]
    fn nothing_of_the_packages_counts_more_than_the_configuration_file() {
        for (service, _) in keys::SERVICES {
            let given = crate::cli::config::units::variables(&default_file(service));
            assert_eq!(given, [("DAEMON_ARGS".to_owned(), String::new())], "{service}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.toml");
        std::fs::write(&path, template()).unwrap();
        let (config, faults) = Config::read(&Files::named(&path));
        assert_eq!([faults, keys::faults(&config.settings)].concat(), []);
        let found: Vec<_> =
            config.settings.iter().map(|one| (one.table, &*one.key, one.value.words().concat())).collect();
        let expected = WRITTEN.map(|(table, key, value)| (table, key, value.to_owned()));
        assert!(expected.iter().all(|one| found.contains(one)) && found.len() == expected.len(), "{found:?}");
    }

    #[test]
    fn each_option_of_a_service_is_explained_where_an_administrator_gives_it() {
        for (service, _) in keys::SERVICES {
            let text = default_file(service);
            let whole = Arguments::command();
            let options = whole.find_subcommand(service).unwrap().get_arguments();
            for name in options.filter(|option| !option.is_hide_set()).filter_map(Arg::get_long) {
                assert!(text.contains(&format!("\n#   --{name}")), "{service}: --{name}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH + 7), "{text}");
        }
    }

    #[test]
    fn a_remark_in_the_help_is_no_part_of_the_meaning() {
        let (meaning, default) = without_remark("Folder [default: a; of `up`: b] to use", "[default: ");
        assert_eq!((&*meaning, default.as_deref()), ("Folder to use", Some("a; of `up`: b")));
        assert_eq!(without_remark("Folder", "[default: "), ("Folder".to_owned(), None));
    }
}
