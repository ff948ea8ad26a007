//! Values of options out of the configuration files. The options themselves are defined once, for the command line; what the
//! files say becomes their defaults, so that flags and environment count more.

pub mod handed;
pub mod keys;
pub mod login;
pub mod together;
pub mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use self::handed::Handed;
use super::faults::Faults;
use super::{Arguments, options, with_whole_usage};
use crate::config::{Config, Fault, Files, Setting, USUAL_FILE, below};
use crate::instance::data_dir::DATA_DIR_VARIABLE;
use crate::process::telemetry::Wanted;

/// The command line with what the files add to it.
pub struct Resolved {
    /// What to do.
    pub arguments: Arguments,
    /// What the files say.
    pub config: Config,
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Refused {
    /// The command line is wrong, or asks for help.
    Usage(clap::Error),
    /// The files are wrong.
    Files(anyhow::Error),
}

impl From<clap::Error> for Refused {
    fn from(error: clap::Error) -> Self {
        Self::Usage(words::hide(error))
    }
}

/// Reads the command line, and the files for what it does not say.
pub fn resolve(words: &[OsString]) -> Result<Resolved, Refused> {
    let (whole, parsed) = first_look(words).map_err(|error| together::all_wrong(words, error))?;
    let (path, matches) = leaf(&parsed);
    let named = &names(&path)[..];
    if of_files(&whole, &path).is_empty() {
        let parsed = whole.clone().try_get_matches_from(words).map_err(|error| with_whole_usage(error, words))?;
        return Ok(Resolved { arguments: arguments(&whole, parsed)?, config: Config::default() });
    }
    let given = matches.get_one::<PathBuf>("config").cloned();
    let (mut config, faults) = Config::read(&files(given, named, matches, Path::new("/")).map_err(Refused::Files)?);
    let faults = check(&config, faults, named);
    if !faults.is_empty() {
        return Err(Refused::Files(Faults::of(&faults).into()));
    }
    let mut chosen = chosen(&whole, &path, &config.settings);
    if !keys::is_service(named) && std::env::var_os(DATA_DIR_VARIABLE).is_some_and(|folder| !folder.is_empty()) {
        login::take_out(&mut chosen);
    }
    add(matches, named, &said_in(matches), &Handed::of_process(), &mut chosen);
    let whole = with_defaults(whole, &path, &chosen);
    let parsed = whole.clone().try_get_matches_from(words).map_err(|error| with_whole_usage(error, words))?;
    if keys::is_service(named) {
        let (_, matches) = leaf(&parsed);
        // the others are not what is wrong, should something be
        config.settings.retain(|setting| counts(setting, matches, &chosen));
    }
    Ok(Resolved { arguments: arguments(&whole, parsed)?, config })
}

/// Whether a setting is what holds.
fn counts(setting: &Setting, matches: &ArgMatches, chosen: &Chosen) -> bool {
    let place = setting.place.to_string();
    let id = chosen.iter().find(|(_, written)| written.place == place).map(|(id, _)| id);
    id.is_some_and(|id| {
        matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::DefaultValue)
    })
}

/// What a service logs, read once more: the files may have changed.
pub fn log_again() -> anyhow::Result<Wanted> {
    let words: Vec<OsString> = std::env::args_os().collect();
    match resolve(&words) {
        Ok(resolved) => resolved.arguments.log(),
        Err(Refused::Files(error)) => Err(error),
        Err(Refused::Usage(error)) => Err(error.into()),
    }
}

/// What the words alone say, whether or not they say all that is required.
fn first_look(words: &[OsString]) -> Result<(Command, ArgMatches), clap::Error> {
    let command = Arguments::command();
    match command.clone().try_get_matches_from(words) {
        Ok(parsed) => Ok((command, parsed)),
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            // a file may have it; if none is missing that a file can have, the second look says so
            let parsed = without_required(command.clone()).try_get_matches_from(words)?;
            Ok((command, parsed))
        }
        Err(error) => Err(error),
    }
}

/// The command line, which takes less.
pub fn without_required(command: Command) -> Command {
    command.mut_args(|option| option.required(false)).mut_subcommands(without_required)
}

fn arguments(command: &Command, mut parsed: ArgMatches) -> Result<Arguments, clap::Error> {
    Arguments::from_arg_matches_mut(&mut parsed).map_err(|error| error.format(&mut command.clone()))
}

/// The names of a command and of those above it, without the program's, and what was said to it.
pub fn leaf(parsed: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut path, mut matches) = (Vec::new(), parsed);
    while let Some((name, below)) = matches.subcommand() {
        path.push(name.to_owned());
        matches = below;
    }
    (path, matches)
}

fn names(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// Which files of the machine below `root` are read: the one that is named, or else the one of `up`'s data directory, or else
/// that of the machine; each with its parts.
pub fn files(named: Option<PathBuf>, command: &[&str], matches: &ArgMatches, root: &Path) -> anyhow::Result<Files> {
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        return Ok(Files::named(&below(root, &path)));
    }
    if command == ["up"] {
        let given = matches.get_one::<PathBuf>("data_dir").cloned();
        let beside = options::data_dir(given)?.join("config.toml");
        if is_there(&beside)? {
            return Ok(Files::named(&beside));
        }
    }
    Ok(Files::usual(&below(root, Path::new(USUAL_FILE))))
}

/// Takes out of what the files say what is not for this command, and adds what its unit hands over. `said` is what flags and
/// environment say.
pub fn add(
    matches: &ArgMatches,
    command: &[&str],
    said: &dyn Fn(&str) -> Option<String>,
    handed: &Handed,
    chosen: &mut Chosen,
) {
    login::keep_apart(command, said, chosen);
    let instance = matches.try_get_one::<String>("distributor").ok().flatten();
    handed.add_to(command, instance.map(String::as_str), said, chosen);
}

/// What cannot be looked at is not taken for what is not there.
fn is_there(path: &Path) -> anyhow::Result<bool> {
    let found = path.try_exists();
    found.map_err(|error| {
        let whose = slipstream_store::files::who_may(&error, path);
        anyhow::anyhow!(error).context(format!("cannot read {}{whose}", path.display()))
    })
}

/// What is wrong in the files. Commands of an operator do not care about tables that they do not read.
pub fn check(config: &Config, mut faults: Vec<Fault>, command: &[&str]) -> Vec<Fault> {
    faults.extend(keys::faults(&config.settings));
    faults.retain(|fault| match fault {
        Fault::Wrong { table: Some(table), .. } => {
            keys::is_service(command) || keys::tables_of(command).contains(table)
        }
        _ => true,
    });
    faults.sort();
    faults
}

/// What the files say for a command, by the ids of its options.
pub type Chosen = BTreeMap<String, Written>;

/// A value that is not on the command line.
#[derive(Clone, Debug)]
pub struct Written {
    /// As the command line would have it.
    pub words: Vec<String>,
    /// Where it is written, for people.
    pub place: String,
}

/// What counts of the settings for the command at `path`: the last one of a key, in the table that is most its own.
pub fn chosen(whole: &Command, path: &[String], settings: &[Setting]) -> Chosen {
    let options = of_files(whole, path).into_iter().filter_map(|Known { id, key, tables }| {
        let last = |table: &&str| settings.iter().rev().find(|one| one.table == *table && one.key == key);
        let setting = tables.iter().find_map(last)?;
        Some((id, Written { words: keys::words_of(&key, &setting.value), place: setting.place.to_string() }))
    });
    options.collect()
}

/// An option of a command that may stand in files.
pub struct Known {
    /// As the definition calls it.
    pub id: String,
    /// As the files call it.
    pub key: String,
    /// The tables in which it may stand; the first of them counts more.
    pub tables: Vec<&'static str>,
}

/// The options of the command at `path` that may stand in files.
pub fn of_files(whole: &Command, path: &[String]) -> Vec<Known> {
    let command = at(whole, path);
    let known = keys::all();
    let options = command.get_arguments().filter_map(|option| {
        let tables = keys::of_option(&names(path), option, &known);
        let key = option.get_long().filter(|_| !tables.is_empty())?.to_owned();
        Some(Known { id: option.get_id().to_string(), key, tables })
    });
    options.collect()
}

/// The command at `path`.
pub fn at<'a>(whole: &'a Command, path: &[String]) -> &'a Command {
    path.iter().fold(whole, |command, name| command.find_subcommand(name).expect("it was parsed"))
}

/// What flags and environment say of an option.
pub fn said_in(matches: &ArgMatches) -> impl Fn(&str) -> Option<String> {
    move |id: &str| {
        let is_option = matches.try_contains_id(id).is_ok();
        let source = if is_option { matches.value_source(id) } else { None };
        if !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            return None;
        }
        let last = matches.get_raw(id).into_iter().flatten().last();
        Some(last.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default())
    }
}

/// The whole command line, where options of the command at `path` have other defaults. What it does not have itself, but
/// every command has, is left as it is.
pub fn with_defaults(whole: Command, path: &[String], chosen: &Chosen) -> Command {
    let Some((name, rest)) = path.split_first() else {
        let own: Vec<String> = whole.get_arguments().map(|option| option.get_id().to_string()).collect();
        return chosen.iter().filter(|(id, _)| own.contains(id)).fold(whole, |command, (id, written)| {
            command.mut_arg(id, |option| option.required(false).default_values(written.words.clone()))
        });
    };
    whole.mut_subcommand(name, |below| with_defaults(below, rest, chosen))
}

#[cfg(test)]
mod tests;
