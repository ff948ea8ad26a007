//! [`Config`]: what the configuration files say.

mod distributor;
mod file;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use self::file::DISTRIBUTOR;
pub use self::file::TABLES;
use crate::distributor::configured::Configured;
use crate::process::written::{Wrong, line_of, text_of};

/// The built-in configuration, commented: the reference of what can be written of distributors.
pub const DEFAULT_CONFIG: &str = include_str!("default-config.toml");

/// Where packages have the file.
pub const USUAL_FILE: &str = "/etc/slipstream/job-engine.toml";

/// What the configuration files say, with the built-in distributors.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// All distributors: the built-in ones that no file replaces, then those of the files.
    pub distributors: Vec<Configured>,
    /// Values of options, in the order in which they are written: the last one of a key counts.
    pub settings: Vec<Setting>,
}

/// The value of one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `executor` of `[executor]`.
    pub table: &'static str,
    /// What stands before the equals sign.
    pub key: String,
    /// What stands behind it.
    pub value: Value,
    /// Where.
    pub place: Place,
}

/// What can be written behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text or a number.
    Word(String),
    /// `true` or `false`.
    Switch(bool),
    /// Several texts or numbers.
    List(Vec<String>),
    /// Anything else, which no option takes.
    Other,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.path.display(), self.line)
    }
}

/// Something in the files that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Fault {
    /// A file cannot be read.
    #[error("cannot read the configuration file {}, check its name and permissions: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// What is written cannot be.
    #[error("{place}: {message}")]
    Wrong {
        /// Where it is.
        place: Place,
        /// What is wrong there, and what would be right.
        message: String,
        /// In which table it is, if it is the value of an option.
        table: Option<&'static str>,
    },
}

/// All that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [fault] => write!(formatter, "{fault}"),
            faults => {
                write!(formatter, "{} faults in the configuration", faults.len())?;
                faults.iter().try_for_each(|fault| write!(formatter, "\n  {fault}"))
            }
        }
    }
}

/// There is no distributor of this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no distributor {name}, only {}", known.join(", "))]
pub struct UnknownDistributor {
    /// As asked for.
    pub name: String,
    /// Those that there are.
    pub known: Vec<String>,
}

/// The file and what lies in the folder beside it, `job-engine.d` of `job-engine.toml`, by name.
#[must_use]
pub fn with_parts(file: &Path) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(file.with_extension("d")).into_iter().flatten();
    let parts = folder.filter_map(|entry| Some(entry.ok()?.path()));
    let mut parts: Vec<PathBuf> = parts.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    parts.sort();
    parts.insert(0, file.to_owned());
    parts
}

/// The file of an installed machine with its parts, as far as they are this user's to read. In a folder that is closed to
/// this user nothing is; a file that is closed in an open folder is one that somebody has forgotten to open.
#[must_use]
pub fn usual_files(file: &Path) -> Vec<PathBuf> {
    let mut files = with_parts(file);
    files.retain(|path| path.metadata().is_ok());
    files
}

impl Config {
    /// Reads one configuration file, without its parts.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        match Self::read(&[path.to_owned()]) {
            (config, faults) if faults.is_empty() => Ok(config),
            (_, faults) => Err(Faults(faults)),
        }
    }

    /// Reads configuration files, the later one of which counts more, and answers all that is wrong in them.
    #[must_use]
    pub fn read(files: &[PathBuf]) -> (Self, Vec<Fault>) {
        let (mut distributors, mut settings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for path in files {
            let bytes = match std::fs::read(path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    faults.push(Fault::Unreadable { path: path.clone(), reason: reason(&error) });
                    continue;
                }
            };
            let place = |offset| Place { path: path.clone(), line: line_of(&bytes, offset) };
            let parsed = text_of(&bytes).map_or_else(file::Parsed::wrong, file::parse);
            let wrong = parsed.wrong.into_iter();
            faults.extend(wrong.map(|(Wrong { place: at, message }, table)| Fault::Wrong {
                place: place(at),
                message,
                table,
            }));
            settings.extend(parsed.settings.into_iter().map(|(at, table, key, value)| Setting {
                table,
                key,
                value,
                place: place(at),
            }));
            let written =
                parsed.distributors.into_iter().map(|(at, configured)| Written { place: place(at), configured });
            override_by(&mut distributors, written.collect(), &mut faults);
        }
        let mut all = Self::default().distributors;
        all.retain(|built_in| distributors.iter().all(|one| one.configured.name != built_in.name));
        check_elections(&distributors, &all, &mut faults);
        all.extend(distributors.into_iter().map(|one| one.configured));
        (Self { distributors: all, settings }, faults)
    }

    /// The distributor of this name.
    pub fn distributor(&self, name: &str) -> Result<&Configured, UnknownDistributor> {
        self.distributors.iter().find(|distributor| distributor.name == name).ok_or_else(|| UnknownDistributor {
            name: name.to_owned(),
            known: self.distributors.iter().map(|known| known.name.clone()).collect(),
        })
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => format!("{error}; its group is slipstream in packages"),
        _ => error.to_string(),
    }
}

impl Default for Config {
    fn default() -> Self {
        let built_in = file::parse(DEFAULT_CONFIG);
        debug_assert!(built_in.wrong.is_empty(), "the built-in configuration is right");
        let distributors = built_in.distributors.into_iter().map(|(_, configured)| configured).collect();
        Self { distributors, settings: Vec::new() }
    }
}

/// A distributor that a file has.
struct Written {
    place: Place,
    configured: Configured,
}

/// Those of one more file, which replace those of the same name in files before.
fn override_by(before: &mut Vec<Written>, file: Vec<Written>, faults: &mut Vec<Fault>) {
    let mut new: Vec<Written> = Vec::new();
    for written in file {
        let name = &written.configured.name;
        if new.iter().any(|other| other.configured.name == *name) {
            faults.push(wrong(&written, format!("there are two distributors `{name}`, rename one")));
        } else {
            new.push(written);
        }
    }
    before.retain(|old| new.iter().all(|one| one.configured.name != old.configured.name));
    before.append(&mut new);
}

/// A name is a high-water mark and an election is a place to lead: two distributors that shared one would take each
/// other's rounds, or one would never lead.
fn check_elections(written: &[Written], built_in: &[Configured], faults: &mut Vec<Fault>) {
    for (index, one) in written.iter().enumerate() {
        let Configured { name, election, .. } = &one.configured;
        let shares = |other: &&Configured| other.election == *election;
        if let Some(other) = written[..index].iter().map(|other| &other.configured).find(shares) {
            let other = &other.name;
            faults.push(wrong(
                one,
                format!(
                    "`{name}` and `{other}` share the election `{election}`, so that only one of them would ever lead; \
                 give one of them another `election`"
                ),
            ));
        } else if let Some(other) = built_in.iter().find(shares) {
            let other = &other.name;
            faults.push(wrong(
                one,
                format!(
                    "`{name}` shares the election of the built-in `{other}`, so that only one of them would ever lead; \
                 call it `{other}` to replace that one, or give it another `election`"
                ),
            ));
        }
    }
}

fn wrong(written: &Written, message: String) -> Fault {
    Fault::Wrong { place: written.place.clone(), message, table: Some(DISTRIBUTOR) }
}

#[cfg(test)]
mod tests;
