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
use super::access::Reader;
use super::units::{self, ARGUMENTS, Unit};
use crate::cli::faults::{Said, both, listed, placed};
use crate::cli::options::parse_duration;
use crate::cli::secrets::without_login;
use crate::cli::settings::handed::Handed;
use crate::cli::settings::keys;
use crate::cli::settings::together::{blind, of_environment};
use crate::cli::settings::{self, Chosen, with_defaults, without_required, words};
use crate::cli::{Arguments, secrets};
use crate::config::{Config, Fault, Files, below};
use crate::instance::password::{PASSWORD_FILE_VARIABLE, PASSWORD_VARIABLE};

/// Longest wait for systemd's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A service as it would start, and what is wrong with it.
pub struct Service {
    pub unit: Unit,
    /// What it would be told, as far as that can be understood.
    parsed: Option<ArgMatches>,
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
    /// Looks at what the machine below `root` has for a service; `named` takes the place of its usual files.
    pub async fn look(part: Part, root: &Path, named: Option<&Path>) -> Self {
        let unit = Unit::of(&part);
        let told = if root == Path::new("/") { told(&unit).await } else { Told::default() };
        Self::of(&part, unit, told, root, named)
    }

    fn of(part: &Part, mut unit: Unit, told: Told, root: &Path, named: Option<&Path>) -> Self {
        unit.environment = told.environment.unwrap_or(unit.environment);
        let environment_file = unit.environment_file.as_deref().map(|file| below(root, file));
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let variables = environment(&unit, environment_file.as_deref(), &mut faults);
        let is_given = |_: &&(String, String)| environment_file.is_some();
        let given = variables.get(ARGUMENTS).filter(is_given).map(|(value, _)| value.clone()).unwrap_or_default();
        warnings.extend(units::read_differently(&given).into_iter().map(|option| {
            format!("{option} holds quotation marks or backslashes, which the original engines took literally")
        }));
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
            environment_file: environment_file.unwrap_or_default(),
        };
        service.unit.stop_limit = told.stop_limit.unwrap_or(service.unit.stop_limit);
        let mut handed = Handed::by(&|name| {
            let (value, place) = variables.get(name)?;
            Some((value.clone(), format!("{place}, by {name}")))
        });
        if let Some(file) = told.credential {
            handed.credential = Some((file.into(), format!("{}, by LoadCredential=", service.unit.name)));
        }
        service.read(root, named, &variables, &handed);
        service.warn_of_grace();
        service
    }

    fn words(&self, given: &[String]) -> Vec<String> {
        [vec!["slipstream-job".to_owned()], self.unit.command_line(given)].concat()
    }

    /// Reads command line, environment and files as the service would. What cannot be is told, and the rest goes without it.
    fn read(&mut self, root: &Path, named: Option<&Path>, variables: &Variables, handed: &Handed) {
        let (words, first, wrong) = words::sound(&without_required(self.command.clone()), self.words(&self.given));
        self.faults.extend(wrong.iter().map(|wrong| place_of(&self.environment_file, wrong)));
        let Some(first) = first else { return };
        let (_, said) = settings::leaf(&first);
        let variable = |name: &str| {
            let (value, place) = variables.get(name)?;
            Some((value.clone(), format!("{place}, by {name}")))
        };
        let (environment, wrong) = of_environment(&without_required(self.command.clone()), &self.path, &variable);
        self.faults.extend(wrong);
        let name = self.path[0].clone();
        let name = [&*name];
        let own = environment.get("config").and_then(|written| written.words.first()).map(PathBuf::from);
        let own = said.get_one::<PathBuf>("config").cloned().or(own).filter(|path| !path.as_os_str().is_empty());
        let files = match (own, named) {
            (None, Some(named)) => Ok(Files::named(named)),
            (own, _) => settings::files(own, &name, said, root),
        };
        let files = files.unwrap_or_else(|error| {
            self.faults.extend(listed(&error));
            Files::default()
        });
        let (config, faults) = Config::read(&files);
        let faults = settings::check(&config, faults, &name);
        self.faults.extend(faults.iter().map(ToString::to_string));
        let is_wrong =
            |place| faults.iter().any(|fault| matches!(fault, Fault::Wrong { place: at, .. } if at == place));
        let sound: Vec<_> = config.settings.iter().filter(|setting| !is_wrong(&setting.place)).cloned().collect();
        let mut chosen = settings::chosen(&self.command, &self.path, &sound);
        let flags = settings::said_in(said);
        let says = |id: &str| flags(id).or_else(|| environment.get(id)?.words.first().cloned());
        settings::add(said, &name, &says, handed, &mut chosen);
        chosen.extend(environment);
        self.chosen = chosen;
        let is_sound = self.faults.is_empty();
        let whole = with_defaults(self.command.clone(), &self.path, &self.chosen);
        match whole.clone().try_get_matches_from(&words) {
            Err(error) => {
                // else it may be missing because what says it is wrong
                if is_sound {
                    self.faults.push(place_of(&self.environment_file, &words::wrong(&error)));
                }
                self.parsed = without_required(whole).try_get_matches_from(&words).ok();
            }
            Ok(parsed) => {
                self.parsed = Some(parsed.clone());
                if is_sound {
                    self.check_parts(&parsed, &config, variables, handed);
                }
                self.check_access(root, files.paths, &parsed, variables, handed);
            }
        }
    }

    /// What the service finds wrong itself, before it begins.
    fn check_parts(&mut self, parsed: &ArgMatches, config: &Config, variables: &Variables, handed: &Handed) {
        let value = |name: &str| Some(variables.get(name)?.0.clone()).filter(|value| !value.is_empty());
        let zookeeper = value(secrets::ZK_PASSWORD_VARIABLE).map(SecretString::from);
        let checked = Arguments::from_arg_matches(parsed).map_err(anyhow::Error::from);
        let checked = checked.and_then(|arguments| arguments.check(config, zookeeper));
        let checked = placed(checked, &self.said());
        // a server's own password
        let file = match (value(PASSWORD_FILE_VARIABLE), value(PASSWORD_VARIABLE)) {
            (Some(file), _) => Some(PathBuf::from(file)),
            (None, Some(_)) => None,
            (None, None) => handed.credential.as_ref().map(|(file, _)| file.clone()),
        };
        let password = match file.filter(|_| self.path == ["server"]) {
            Some(file) => secrets::from_file(&file).map(drop),
            None => Ok(()),
        };
        if let Err(error) = both(checked, password) {
            self.faults.extend(listed(&error));
        }
    }

    /// Root can read what the service cannot.
    fn check_access(
        &mut self,
        root: &Path,
        mut files: Vec<PathBuf>,
        parsed: &ArgMatches,
        variables: &Variables,
        handed: &Handed,
    ) {
        let Some(reader) = self.unit.user.as_deref().and_then(|user| Reader::of(user, root)) else { return };
        let (_, matches) = settings::leaf(parsed);
        for known in settings::of_files(&self.command, &self.path) {
            let named = [
                "ss-pass-file",
                "zk-pass-file",
                "zk-ca",
                "zk-certificate",
                "zk-key",
                "actions-dir",
                "distributors-dir",
            ];
            if named.contains(&&*known.key) {
                files.extend(matches.get_raw(&known.id).into_iter().flatten().map(PathBuf::from));
            }
        }
        if self.path == ["server"] {
            files.extend(variables.get(PASSWORD_FILE_VARIABLE).map(|(file, _)| PathBuf::from(file)));
        }
        // systemd reads it for the service
        files.retain(|file| handed.credential.as_ref().is_none_or(|(credential, _)| credential != file));
        for file in files.into_iter().filter(|file| !reader.may_read(file)) {
            self.faults.push(format!(
                "the user {} of {} cannot read {}: correct its owner or mode, or those of a folder above it",
                reader.name,
                self.unit.name,
                file.display()
            ));
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

    /// The values that somebody has set, with who says so.
    fn said(&self) -> Vec<Said> {
        let Some(parsed) = &self.parsed else { return Vec::new() };
        let (_, matches) = settings::leaf(parsed);
        let ids = settings::of_files(&self.command, &self.path);
        let told = self.shown().into_iter().filter_map(|Shown { key, from, .. }| {
            let known = ids.iter().find(|known| known.key == key)?;
            let is_set = matches.value_source(&known.id) != Some(ValueSource::DefaultValue)
                || self.chosen.contains_key(&known.id);
            let words = matches.get_raw(&known.id).filter(|_| is_set)?;
            let words = words.map(|word| word.to_string_lossy().into_owned()).collect();
            Some(Said { key, words, place: from })
        });
        told.collect()
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
            let table = keys::home(&known);
            Some(Shown {
                table,
                value: value.map(|value| {
                    if is_secret {
                        Vec::new()
                    } else if keys::is_address(&known.key) {
                        value.iter().map(|word| without_login(word)).collect()
                    } else {
                        value
                    }
                }),
                key: known.key,
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
fn environment(unit: &Unit, file: Option<&Path>, faults: &mut Vec<String>) -> Variables {
    let set = |place: String| move |(name, value)| (name, (value, place.clone()));
    let of_unit = if file.is_some() { unit.name.clone() } else { "the environment".to_owned() };
    let mut variables: Variables = unit.environment.iter().cloned().map(set(of_unit)).collect();
    let Some(file) = file else { return variables };
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

fn place_of(file: &Path, wrong: &str) -> String {
    if file.as_os_str().is_empty() { wrong.to_owned() } else { format!("{}: {wrong}", file.display()) }
}

/// What systemd says of a unit.
#[derive(Default)]
struct Told {
    /// Variables of the unit with its drop-ins.
    environment: Option<Vec<(String, String)>>,
    stop_limit: Option<Duration>,
    /// The file with the password of `super` that the service is handed.
    credential: Option<String>,
}

/// Nothing if there is no systemd, or none that knows the unit.
async fn told(unit: &Unit) -> Told {
    let mut command = tokio::process::Command::new("systemctl");
    command.args(["show", "--property=LoadState,Environment,TimeoutStopUSec,LoadCredential", &unit.name]);
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
    let environment = values("Environment").next().map(|text| {
        let variables = units::words(text).into_iter();
        variables
            .filter_map(|set| set.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect()
    });
    let stop_limit = values("TimeoutStopUSec").next().and_then(|limit| match limit {
        "infinity" => Some(Duration::MAX),
        limit => parse_duration(limit).ok(),
    });
    let credential =
        values("LoadCredential").find_map(|credential| credential.strip_prefix("super:").map(str::to_owned));
    Told { environment, stop_limit, credential }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a service that has this credential, and where it has its password from.
    fn with_credential(part: &Part, files: &[(&str, &str)], credential: &str) -> (Vec<String>, String) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let credential = root.path().join(credential).display().to_string();
        let told = Told { credential: Some(credential), ..Told::default() };
        let service = Service::of(part, Unit::of(part), told, root.path(), None);
        let from = service.shown().into_iter().find(|one| one.key == "ss-pass-file").map(|one| one.from);
        (service.faults, from.unwrap_or_default())
    }

    #[tokio::test]
    async fn a_credential_of_a_drop_in_is_the_password() {
        const PEERS: &str = "[peers]\nss-url = \"http://a\"\nss-user = \"u\"\nss-pass-file = \"/nowhere\"\n";
        let file = [("etc/slipstream/job-engine.toml", PEERS), ("p", "secret\n")];
        let by_unit = "slipstream-job-executor.service, by LoadCredential=";
        assert_eq!(with_credential(&Part::Executor, &file, "p"), (vec![], by_unit.to_owned()));
        assert_eq!(with_credential(&Part::Server, &file, "p"), (vec![], String::new()));
        for part in [Part::Executor, Part::Server] {
            let (faults, _) = with_credential(&part, &file, "missing");
            assert!(faults.len() == 1 && faults[0].contains("cannot read "), "{part:?}: {faults:?}");
        }
        let given = ("etc/default/slipstream-job-server", "SLIPSTREAM_SUPER_PASSWORD=p\n");
        assert_eq!(with_credential(&Part::Server, &[given], "missing").0, [""; 0]);
    }

    #[test]
    fn what_systemd_says_of_a_unit_that_it_knows_counts() {
        let text = "LoadState=loaded\nTimeoutStopUSec=1min 30s\nLoadCredential=other:/a\nLoadCredential=super:/b\n";
        let told = told_in(text);
        assert_eq!((told.stop_limit, told.credential.as_deref()), (Some(Duration::from_secs(90)), Some("/b")));
        assert_eq!(told.environment, None);
        let environment = told_in(&format!("{text}Environment=A=b \"C=d e\"\n")).environment.unwrap();
        let expected = [("A", "b"), ("C", "d e")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(environment, expected);
        assert_eq!(told_in(&text.replace("1min 30s", "infinity")).stop_limit, Some(Duration::MAX));
        let unknown = told_in(&text.replace("loaded", "not-found"));
        assert_eq!((unknown.stop_limit, unknown.credential), (None, None));
        assert_eq!(told_in("").stop_limit, None);
    }
}
