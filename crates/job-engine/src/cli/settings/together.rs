//! [`all_wrong`]: everything that keeps a service from starting, of flags, environment and files, told at once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use super::{Chosen, Refused, Written, at, check, files, keys, leaf, names, with_defaults, without_required, words};
use crate::cli::Arguments;

use crate::cli::faults::{Faults, listed};
use crate::config::{Config, Files};

/// What is wrong beside what the parser found first. One fault alone is told as the parser does, and so is one of a command
/// that is no service, or a question for help.
pub fn all_wrong(words: &[OsString], first: clap::Error) -> Refused {
    match faults(words, &first) {
        Some(faults) if faults.len() > 1 => Refused::Files(Faults::of(&faults).into()),
        _ => first.into(),
    }
}

fn faults(words: &[OsString], first: &clap::Error) -> Option<Vec<String>> {
    if !first.use_stderr() {
        return None;
    }
    let words: Vec<String> = words.iter().map(|word| word.clone().into_string().ok()).collect::<Option<_>>()?;
    let command = without_required(blind(Arguments::command()));
    let (_, parsed, mut faults) = words::sound(&command, words);
    let parsed = parsed?;
    let (path, said) = leaf(&parsed);
    let named = &names(&path)[..];
    if !keys::is_service(named) {
        return None;
    }
    let variable = |name: &str| std::env::var(name).ok().map(|value| (value, name.to_owned()));
    let (environment, wrong) = of_environment(&command, &path, &variable);
    faults.extend(wrong);
    let own = environment.get("config").and_then(|written| written.words.first()).map(PathBuf::from);
    let given = said.get_one::<PathBuf>("config").cloned().or(own);
    let files = files(given, named, said, Path::new("/")).unwrap_or_else(|error| {
        faults.extend(listed(&error));
        Files::default()
    });
    let (config, wrong) = Config::read(&files);
    faults.extend(check(&config, wrong, named).iter().map(ToString::to_string));
    Some(faults)
}

/// A command line that does not look into the environment of this process.
pub fn blind(command: Command) -> Command {
    keys::without_environment(command).mut_subcommands(blind)
}

/// What the environment says to the command at `path`, which counts more than files, and what of it cannot be. A variable has
/// a value and a place; `command` is blind, and nothing in it is required.
pub fn of_environment(
    command: &Command,
    path: &[String],
    variable: &dyn Fn(&str) -> Option<(String, String)>,
) -> (Chosen, Vec<String>) {
    let whole = Arguments::command();
    let (mut said, mut faults) = (Chosen::new(), Vec::new());
    for option in at(&whole, path).get_arguments().chain(whole.get_arguments()) {
        let Some(name) = option.get_env().and_then(|name| name.to_str()) else { continue };
        let Some((value, place)) = variable(name) else { continue };
        let id = option.get_id().to_string();
        let written = Written { words: vec![value], place };
        let alone = with_defaults(command.clone(), path, &Chosen::from([(id.clone(), written.clone())]));
        match alone.try_get_matches_from(["slipstream-job"].into_iter().chain(names(path))) {
            Ok(_) => drop(said.insert(id, written)),
            Err(error) => faults.push(format!("{}: {}", written.place, words::wrong(&error))),
        }
    }
    (said, faults)
}
