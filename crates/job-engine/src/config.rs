//! [`Config`]: what the configuration files say.

mod collection;
mod distributor;
mod fields;
mod file;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use self::collection::Gathered;
use self::file::DISTRIBUTOR;
pub use self::file::TABLES;
use crate::collections::Collections;
use crate::distributor::configured::Configured;
use crate::process::written::{Wrong, line_of, text_of};

/// The built-in configuration, commented: the reference of what can be written of distributors.
pub const DEFAULT_CONFIG: &str = include_str!("default-config.toml");

/// The built-in collections, commented: the reference of what can be written of collections.
pub const DEFAULT_COLLECTIONS: &str = include_str!("default-collections.toml");

/// Where packages have the file.
pub const USUAL_FILE: &str = "/etc/slipstream/job-engine.toml";

/// What the configuration files say, with the built-in distributors and collections.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// All distributors: the built-in ones that no file replaces, then those of the files.
    pub distributors: Vec<Configured>,
    /// All declared collections: the built-in ones that no file replaces, and those of the files.
    pub collections: Collections,
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

impl Value {
    /// As the command line has them.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Word(word) => vec![word.clone()],
            Self::Switch(is_on) => vec![is_on.to_string()],
            Self::List(words) => words.clone(),
            Self::Other => Vec::new(),
        }
    }
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
    /// A folder of files cannot be looked into.
    #[error("cannot look for configuration files in {}, check its permissions: {reason}", path.display())]
    Unlisted {
        /// The folder.
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

/// There is no distributor of this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no distributor {name}, only {}", known.join(", "))]
pub struct UnknownDistributor {
    /// As asked for.
    pub name: String,
    /// Those that there are.
    pub known: Vec<String>,
}

/// Configuration files, those that count more behind those that count less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Where they are.
    pub paths: Vec<PathBuf>,
    /// Why there may be more of them.
    wrong: Option<Fault>,
}

impl Files {
    /// The file and what lies in the folder beside it, `job-engine.d` of `job-engine.toml`, by name.
    #[must_use]
    pub fn named(file: &Path) -> Self {
        let folder = file.with_extension("d");
        let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let (entries, wrong) = match entries {
            Ok(entries) => (entries, None),
            Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), None),
            Err(error) => (Vec::new(), Some(Fault::Unlisted { path: folder, reason: reason(&error) })),
        };
        let parts = entries.into_iter().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = parts.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
        paths.sort();
        paths.insert(0, file.to_owned());
        Self { paths, wrong }
    }

    /// The file of an installed machine with its parts, as far as they are this user's to read. In a folder that is closed
    /// to this user nothing is; what is closed in an open folder is what somebody has forgotten to open.
    #[must_use]
    pub fn usual(file: &Path) -> Self {
        if file.metadata().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
            return Self::default();
        }
        let mut files = Self::named(file);
        files.paths.retain(|path| path.metadata().is_ok());
        files
    }
}

impl Config {
    /// Reads configuration files, the later one of which counts more, and answers all that is wrong in them.
    #[must_use]
    pub fn read(files: &Files) -> (Self, Vec<Fault>) {
        let (mut distributors, mut settings) = (Vec::new(), Vec::new());
        let mut collections = built_in_collections();
        let mut faults: Vec<Fault> = files.wrong.iter().cloned().collect();
        for path in &files.paths {
            let bytes = match read(path) {
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
            collections.add(path, parsed.collections, place, &mut faults);
        }
        let collections = collections.finish(&mut faults);
        let mut all = Self::default().distributors;
        all.retain(|built_in| distributors.iter().all(|one| one.configured.name != built_in.name));
        check_elections(&distributors, &all, &mut faults);
        all.extend(distributors.into_iter().map(|one| one.configured));
        (Self { distributors: all, collections, settings }, faults)
    }

    /// What the files say of a key in its table, if they do.
    #[must_use]
    pub fn value(&self, table: &str, key: &str) -> Option<&Value> {
        let last = self.settings.iter().rev().find(|setting| setting.table == table && setting.key == key);
        last.map(|setting| &setting.value)
    }

    /// The distributor of this name.
    pub fn distributor(&self, name: &str) -> Result<&Configured, UnknownDistributor> {
        self.distributors.iter().find(|distributor| distributor.name == name).ok_or_else(|| UnknownDistributor {
            name: name.to_owned(),
            known: self.distributors.iter().map(|known| known.name.clone()).collect(),
        })
    }
}

/// The content of a file. A pipe or a device would be waited for, or never come to an end.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?;
    if kind.is_file() || kind.is_dir() || path == Path::new(NO_FILE) {
        return std::fs::read(path);
    }
    Err(std::io::Error::other("it is no regular file"))
}

/// What people name who want no file.
const NO_FILE: &str = "/dev/null";

/// A path of the machine whose file system lies below `root`.
#[must_use]
pub fn below(root: &Path, path: &Path) -> PathBuf {
    if root == Path::new("/") { path.to_owned() } else { root.join(path.strip_prefix("/").unwrap_or(path)) }
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
        Self { distributors, collections: default_collections(), settings: Vec::new() }
    }
}

fn built_in_collections() -> Gathered {
    let built_in = file::parse(DEFAULT_COLLECTIONS);
    debug_assert!(built_in.wrong.is_empty(), "the built-in collections are right");
    Gathered::built_in(built_in.collections)
}

/// The collections that every engine has unless something else is configured.
#[must_use]
pub fn default_collections() -> Collections {
    built_in_collections().finish(&mut Vec::new())
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
