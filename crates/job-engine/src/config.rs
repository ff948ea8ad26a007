//! [`Config`]: the configuration file.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::Error as _;
use slipstream_cimi::job::LOWEST_PRIORITY;
use slipstream_cimi::resource::is_id;
use toml::Spanned;

use crate::distributor::configured::Configured;
use crate::distributor::rounds::{CATCH_UP_LIMIT, Missed};
use crate::distributor::schedule::Schedule;
use crate::process::written::{NotADuration, Wrong, duration, text_of};

/// The built-in configuration, commented: the reference of what can be written.
pub const DEFAULT_CONFIG: &str = include_str!("default-config.toml");

/// What the configuration file says, with the built-in settings where it says nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// All distributors: the built-in ones that the file does not replace, then the file's.
    pub distributors: Vec<Configured>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}, check its name and permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}:{line}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong there, and what would be right.
        message: String,
    },
    /// There is no distributor of this name.
    #[error("there is no distributor {name}, only {}", known.join(", "))]
    Unknown {
        /// As asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

impl Config {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = std::fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        text_of(&bytes).and_then(Self::parse).map_err(|wrong| {
            let line = wrong.line_in(&bytes);
            ConfigError::Invalid { path: path.to_owned(), line, message: wrong.message }
        })
    }

    /// The distributor of this name.
    pub fn distributor(&self, name: &str) -> Result<&Configured, ConfigError> {
        self.distributors.iter().find(|distributor| distributor.name == name).ok_or_else(|| ConfigError::Unknown {
            name: name.to_owned(),
            known: self.distributors.iter().map(|known| known.name.clone()).collect(),
        })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let defaults = Self::default();
        let written = distributors_in(text)?;
        check_unique(&written, &defaults.distributors)?;
        let mut distributors = defaults.distributors;
        distributors.retain(|built_in| written.iter().all(|one| one.get_ref().name != built_in.name));
        distributors.extend(written.into_iter().map(Spanned::into_inner));
        Ok(Self { distributors })
    }
}

impl Default for Config {
    fn default() -> Self {
        let built_in = distributors_in(DEFAULT_CONFIG).expect("the built-in configuration is right, as a test shows");
        Self { distributors: built_in.into_iter().map(Spanned::into_inner).collect() }
    }
}

fn distributors_in(text: &str) -> Result<Vec<Spanned<Configured>>, Wrong> {
    let file: File = toml::from_str(text)?;
    file.distributor
        .into_iter()
        .map(|table| {
            let place = table.span();
            match table.into_inner().configured() {
                Ok(configured) => Ok(Spanned::new(place, configured)),
                Err(message) => Err(Wrong::at(place.start, message)),
            }
        })
        .collect()
}

/// A name is a high-water mark and an election is a place to lead: two distributors that shared one would take each
/// other's rounds, or one would never lead.
fn check_unique(written: &[Spanned<Configured>], built_in: &[Configured]) -> Result<(), Wrong> {
    for (index, distributor) in written.iter().enumerate() {
        let place = distributor.span();
        let Configured { name, election, .. } = distributor.get_ref();
        let wrong = |message| Err(Wrong::at(place.start, message));
        for other in written[..index].iter().map(Spanned::get_ref) {
            if other.name == *name {
                return wrong(format!("there are two distributors `{name}`, rename one"));
            }
            if other.election == *election {
                let other = &other.name;
                return wrong(format!(
                    "`{name}` and `{other}` share the election `{election}`, so that only one of them would ever \
                     lead; give one of them another `election`"
                ));
            }
        }
        let replaced = |other: &Configured| written.iter().any(|one| one.get_ref().name == other.name);
        if let Some(other) = built_in.iter().find(|other| other.election == *election && !replaced(other)) {
            let other = &other.name;
            return wrong(format!(
                "`{name}` shares the election of the built-in `{other}`, so that only one of them would ever lead; \
                 call it `{other}` to replace that one, or give it another `election`"
            ));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    distributor: Vec<Spanned<Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    name: Name,
    action: Text,
    election: Option<Name>,
    target: Option<Target>,
    priority: Option<Priority>,
    every: Option<Interval>,
    cron: Option<String>,
    time_zone: Option<String>,
    #[serde(default)]
    missed: Policy,
}

impl Table {
    fn configured(self) -> Result<Configured, String> {
        let action = self.action.0;
        let schedule = match (self.every, self.cron, self.time_zone) {
            (Some(every), None, None) => every.0,
            (None, Some(cron), zone) => {
                Schedule::cron(&cron, zone.as_deref().unwrap_or("UTC")).map_err(|error| error.to_string())?
            }
            (Some(_), None, Some(_)) => return Err("`time-zone` goes with `cron` only, remove it".to_owned()),
            (Some(_), Some(_), _) => return Err("`every` and `cron` exclude each other, remove one".to_owned()),
            (None, None, _) => {
                return Err("it has no schedule, write `every = \"1 h\"` or `cron = \"0 3 * * *\"`".to_owned());
            }
        };
        Ok(Configured {
            name: self.name.0,
            election: self.election.map_or_else(|| action.clone(), |election| election.0),
            action,
            target: self.target.map(|target| target.0),
            priority: self.priority.map(|priority| priority.0),
            schedule,
            missed: match self.missed {
                Policy::Skip => Missed::Skip,
                Policy::Coalesce => Missed::Coalesce,
                Policy::CatchUp => Missed::CatchUp { limit: CATCH_UP_LIMIT },
            },
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Policy {
    Skip,
    #[default]
    Coalesce,
    CatchUp,
}

/// Part of a node's path and of a key.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not a name, use up to {LONGEST} lower-case letters, digits, `_` and `-`"))
        }
    }
}

/// Name and target make a key together, which is not longer than 255 characters.
const LONGEST: usize = 100;

/// What jobs work on: the server takes ids only, and it is part of a key.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Target(String);

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() <= LONGEST && is_id(&text) {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not the id of a resource of up to {LONGEST} characters, such as `credential/abc`"))
        }
    }
}

/// The name of an action.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Text(String);

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err(format!("invalid `{text}`, use ASCII characters without blanks"))
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "i64")]
struct Priority(u16);

impl TryFrom<i64> for Priority {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        let priority = u16::try_from(number).ok().filter(|priority| *priority <= LOWEST_PRIORITY);
        priority.map(Self).ok_or_else(|| format!("{number} is not a priority, use 0 (first) to 999 (last)"))
    }
}

struct Interval(Schedule);

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |reason: &dyn fmt::Display| {
            D::Error::custom(format!("`{text}` is not an interval ({reason}), write it like \"15s\" or \"1 day\""))
        };
        let duration = duration(&text).map_err(|error| match error {
            NotADuration::Calendar => D::Error::custom(format!(
                "`{text}` is not an interval, because months and years differ in length: write it in days, or as `cron`, \
                 such as \"0 0 1 * *\" for the first of each month"
            )),
            error => wrong(&error),
        })?;
        Schedule::every(duration).map(Self).map_err(|error| wrong(&error))
    }
}

#[cfg(test)]
mod tests;
