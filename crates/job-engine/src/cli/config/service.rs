//! [`Service`]: what systemd would start, out of unit, environment file and configuration files.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use secrecy::SecretString;
use serde::Serialize;
use tokio::time::timeout;

use super::Part;
use super::units::{self, ARGUMENTS, Unit, below};
use crate::cli::faults::{both, listed};
use crate::cli::options::parse_duration;
use crate::cli::settings::keys::{self, without_environment};
use crate::cli::settings::{self, Chosen, Written, login, with_defaults, without_required};
use crate::cli::{Arguments, secrets};
use crate::config::{Config, USUAL_FILE, usual_files, with_parts};
use crate::instance::password::PASSWORD_FILE_VARIABLE;

/// Longest wait for systemd's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A service as it would start, and what is wrong with it.
pub struct Service {
    pub unit: Unit,
    /// What it would be told, if that can be understood.
    pub parsed: Option<ArgMatches>,
    /// Why it would not start.
    pub faults: Vec<String>,
    /// What somebody may not expect.
    pub warnings: Vec<String>,
    path: Vec<String>,
    command: Command,
    /// Words of the environment file alone.
    given: Vec<String>,
    environment_file: PathBuf,
    chosen: Chosen,
}

/// The value of an option of a service.
#[derive(Debug, Serialize)]
pub struct Shown {
    service: String,
    pub table: &'static str,
    pub key: String,
    /// None if it is not set; a secret one is not told.
    pub value: Option<Vec<String>>,
    /// Where it comes from.
    pub from: String,
    #[serde(skip)]
    pub is_list: bool,
    #[serde(skip)]
    pub is_switch: bool,
    #[serde(skip)]
    pub is_secret: bool,
}

impl Service {
    /// Looks at what the machine below `root` has for a service.
    pub async fn look(part: Part, root: &Path) -> Self {
        let unit = Unit::of(&part);
        let environment_file = below(root, &unit.environment_file);
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let variables = environment(&unit, &environment_file, &mut faults);
        let given = variables.get(ARGUMENTS).map(|(value, _)| value.clone()).unwrap_or_default();
        warnings.extend(units::read_differently(&given).into_iter().map(|different| read_differently(&different)));
        let given = units::words(&given);
        let mut service = Self {
            path: vec![part.command().to_owned()],
            command: blind(Arguments::command()),
            parsed: None,
            chosen: Chosen::new(),
            unit,
            faults,
            warnings,
            given,
            environment_file,
        };
        let told = if root == Path::new("/") { told(&service.unit).await } else { Told::default() };
        service.unit.stop_limit = told.stop_limit.unwrap_or(service.unit.stop_limit);
        service.read(root, &variables, told.credential);
        service.warn_of_grace();
        service
    }

    fn words(&self, given: &[String]) -> Vec<String> {
        [vec!["slipstream-job".to_owned()], self.unit.command_line(given)].concat()
    }

    /// Reads command line, environment and files as the service would.
    fn read(&mut self, root: &Path, variables: &Variables, credential: Option<String>) {
        let words = self.words(&self.given);
        let first = match without_required(self.command.clone()).try_get_matches_from(&words) {
            Ok(parsed) => parsed,
            Err(error) => return self.faults.push(self.wrong_words(&error)),
        };
        let (_, said) = settings::leaf(&first);
        let environment = self.of_environment(variables);
        let named = environment.get("config").and_then(|written| written.words.first()).map(PathBuf::from);
        let named = said.get_one::<PathBuf>("config").cloned().or(named).filter(|path| !path.as_os_str().is_empty());
        let files = match named {
            Some(path) => with_parts(&below(root, &path)),
            None => usual_files(&below(root, Path::new(USUAL_FILE))),
        };
        let (config, faults) = Config::read(&files);
        let name = [&*self.path[0]];
        if let Err(crate::config::Faults(faults)) = settings::check(&config, faults, &name) {
            self.faults.extend(faults.iter().map(ToString::to_string));
        }
        let mut chosen = settings::chosen(&self.command, &self.path, &config.settings);
        let flags = settings::said_in(said);
        login::keep_apart(&name, &|id| flags(id).or_else(|| environment.get(id)?.words.first().cloned()), &mut chosen);
        chosen.extend(environment);
        let has_password = ["ss-pass", "ss-pass-file"].iter().any(|id| chosen.contains_key(*id) || flags(id).is_some());
        if let Some(file) = credential.filter(|_| !has_password) {
            let place = format!("{}, by LoadCredential=", self.unit.name);
            chosen.insert("ss-pass-file".to_owned(), Written { words: vec![file], place });
        }
        self.chosen = chosen;
        // what cannot be is told above, and the rest goes without it
        if !self.faults.is_empty() {
            return;
        }
        let whole = with_defaults(self.command.clone(), &self.path, &self.chosen);
        match whole.try_get_matches_from(&words) {
            Err(error) => self.faults.push(self.wrong_words(&error)),
            Ok(parsed) => {
                self.check_parts(&parsed, &config, variables);
                self.parsed = Some(parsed);
            }
        }
    }

    fn wrong_words(&self, error: &clap::Error) -> String {
        let text = error.to_string();
        let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let line = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        format!("{}: {line}", self.environment_file.display())
    }

    /// What the environment says, which counts more than files.
    fn of_environment(&self, variables: &Variables) -> Chosen {
        let command = Arguments::command();
        let options = settings::at(&command, &self.path).get_arguments().chain(command.get_arguments());
        let said = options.filter_map(|option| {
            let name = option.get_env()?.to_str()?;
            let (value, place) = variables.get(name)?;
            let written = Written { words: vec![value.clone()], place: format!("{place}, by {name}") };
            Some((option.get_id().to_string(), written))
        });
        said.collect()
    }

    /// What the service finds wrong itself, before it begins.
    fn check_parts(&mut self, parsed: &ArgMatches, config: &Config, variables: &Variables) {
        let value = |name: &str| Some(variables.get(name)?.0.clone()).filter(|value| !value.is_empty());
        let zookeeper = value(secrets::ZK_PASSWORD_VARIABLE).map(SecretString::from);
        let checked = Arguments::from_arg_matches(parsed).map_err(anyhow::Error::from);
        let checked = checked.and_then(|arguments| arguments.check(config, zookeeper));
        let password = match value(PASSWORD_FILE_VARIABLE).filter(|_| self.path == ["server"]) {
            Some(file) => secrets::from_file(Path::new(&file)).map(drop),
            None => Ok(()),
        };
        if let Err(error) = both(checked, password) {
            self.faults.extend(listed(&error));
        }
    }

    fn warn_of_grace(&mut self) {
        let Some(parsed) = &self.parsed else { return };
        let (_, matches) = settings::leaf(parsed);
        let Ok(Some(grace)) = matches.try_get_one::<Duration>("grace") else { return };
        let limit = self.unit.stop_limit;
        if *grace >= limit {
            self.warnings.push(format!(
                "`grace` of {} s is not shorter than the {} s after which systemd kills {} (TimeoutStopSec=): shorten \
                 one or lengthen the other",
                grace.as_secs(),
                limit.as_secs(),
                self.unit.name,
            ));
        }
    }

    /// Each option that may stand in a file, with its value.
    pub fn shown(&self) -> Vec<Shown> {
        let Some(parsed) = &self.parsed else { return Vec::new() };
        let (_, matches) = settings::leaf(parsed);
        // what of the command line the administrator has said
        let given = [vec!["slipstream-job".to_owned(), self.path[0].clone()], self.given.clone()].concat();
        let given = without_required(self.command.clone()).try_get_matches_from(given).ok();
        let is_given = |id: &str| {
            let (_, matches) = settings::leaf(given.as_ref()?);
            (matches.value_source(id) == Some(ValueSource::CommandLine)).then_some(())
        };
        let definition = settings::at(&self.command, &self.path);
        let known = settings::of_files(&self.command, &self.path);
        let shown = known.into_iter().filter_map(|known| {
            let option = definition.get_arguments().find(|option| *option.get_id() == *known.id)?;
            let value: Option<Vec<String>> =
                matches.get_raw(&known.id).map(|raw| raw.map(|word| word.to_string_lossy().into_owned()).collect());
            let is_secret = option.is_hide_env_values_set();
            let place = || self.chosen.get(&known.id).map(|written| written.place.clone());
            let from = match matches.value_source(&known.id) {
                None => "not set".to_owned(),
                Some(ValueSource::CommandLine) if is_given(&known.id).is_some() => {
                    format!("{}, by --{}", self.environment_file.display(), known.key)
                }
                Some(ValueSource::CommandLine) => format!("{}, by --{}", self.unit.name, known.key),
                Some(_) => place().unwrap_or_else(|| "default".to_owned()),
            };
            Some(Shown {
                service: self.unit.name.clone(),
                table: keys::home(&known),
                key: known.key,
                value: value.map(|value| if is_secret { Vec::new() } else { value }),
                from,
                is_list: keys::is_list(option),
                is_switch: keys::is_switch(option),
                is_secret,
            })
        });
        let mut shown: Vec<Shown> = shown.collect();
        shown.sort_by_key(|one| crate::config::TABLES.iter().position(|table| *table == one.table));
        shown
    }
}

/// Variables with their values and where they are set.
type Variables = BTreeMap<String, (String, String)>;

/// Those of the unit, and of the environment file, which may be missing.
fn environment(unit: &Unit, file: &Path, faults: &mut Vec<String>) -> Variables {
    let set = |place: String| move |(name, value)| (name, (value, place.clone()));
    let mut variables: Variables = unit.environment.iter().cloned().map(set(unit.name.clone())).collect();
    match std::fs::read(file) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            variables.extend(units::variables(&text).into_iter().map(set(file.display().to_string())));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => faults.push(format!("cannot read {}: {error}", file.display())),
    }
    variables
}

/// A command line that does not look into the environment of this process.
fn blind(command: Command) -> Command {
    without_environment(command).mut_subcommands(blind)
}

fn read_differently((option, here, there): &(String, String, String)) -> String {
    // what begins like the option with the password
    if option.starts_with("--ss-p") {
        return format!("{option} holds quotation marks or backslashes, which the original engines took literally");
    }
    format!("{option} is {here}, and was {there} for the shell of the original engines")
}

/// What systemd says of a unit.
#[derive(Default)]
struct Told {
    stop_limit: Option<Duration>,
    /// The file with the password of `super` that the service is handed.
    credential: Option<String>,
}

/// Nothing if there is no systemd, or none that knows the unit.
async fn told(unit: &Unit) -> Told {
    let mut command = tokio::process::Command::new("systemctl");
    command.args(["show", "--property=LoadState,TimeoutStopUSec,LoadCredential", &unit.name]);
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => told_in(&String::from_utf8_lossy(&output.stdout)),
        Ok(Err(_)) | Err(_) => Told::default(),
    }
}

fn told_in(text: &str) -> Told {
    let values = |name: &'static str| text.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix('='));
    if values("LoadState").next() != Some("loaded") {
        return Told::default();
    }
    let stop_limit = values("TimeoutStopUSec").next().and_then(|limit| match limit {
        "infinity" => Some(Duration::MAX),
        limit => parse_duration(limit).ok(),
    });
    let credential =
        values("LoadCredential").find_map(|credential| credential.strip_prefix("super:").map(str::to_owned));
    Told { stop_limit, credential }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_of_a_unit_that_it_knows_counts() {
        let text = "LoadState=loaded\nTimeoutStopUSec=1min 30s\nLoadCredential=other:/a\nLoadCredential=super:/b\n";
        let told = told_in(text);
        assert_eq!((told.stop_limit, told.credential.as_deref()), (Some(Duration::from_secs(90)), Some("/b")));
        assert_eq!(told_in(&text.replace("1min 30s", "infinity")).stop_limit, Some(Duration::MAX));
        let unknown = told_in(&text.replace("loaded", "not-found"));
        assert_eq!((unknown.stop_limit, unknown.credential), (None, None));
        assert_eq!(told_in("").stop_limit, None);
    }
}
