//! What executors say in the registry of their actions: where each comes from, and what failed to load.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How many actions have their files named in the registry, and how many failures.
const MOST_SOURCES: usize = 500;
const MOST_FAILED: usize = 20;
/// Longest path and longest reason there, in characters.
const LONGEST_PATH: usize = 200;
const LONGEST_REASON: usize = 300;

/// Of which kind the code of an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Rust, in the executor's own process.
    Native,
    /// A program that is started once for each job.
    Command,
    /// A program that does one job after the other.
    Host,
    /// A Python class in a folder.
    Python,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Native => "native",
            Self::Command => "command",
            Self::Host => "host",
            Self::Python => "python",
        })
    }
}

/// What failed to load, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedToLoad {
    /// File or folder.
    pub file: PathBuf,
    /// Line of the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Why, for people: lower case, no full stop.
    pub reason: String,
}

impl FailedToLoad {
    /// The file and, if it is known, the line.
    #[must_use]
    pub fn place(&self) -> String {
        let file = self.file.display();
        self.line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}"))
    }
}

impl fmt::Display for FailedToLoad {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place(), self.reason)
    }
}

/// Where an action comes from that is not native.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Of which kind it is.
    pub kind: Kind,
    /// The file that offers it.
    pub file: PathBuf,
}

/// Where an executor's actions come from, as far as the registry holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// The actions that are not native, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Source>,
    /// What failed to load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedToLoad>,
    /// How many more failed than `failed` names.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_besides: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Loaded {
    /// As much of it as fits into a node.
    #[must_use]
    pub fn new(sources: impl IntoIterator<Item = (String, Source)>, failed: &[FailedToLoad]) -> Self {
        let source = |(name, Source { kind, file }): (String, Source)| (name, Source { kind, file: short_path(&file) });
        let one = |FailedToLoad { file, line, reason }: &FailedToLoad| FailedToLoad {
            file: short_path(file),
            line: *line,
            reason: short(reason).into_owned(),
        };
        Self {
            sources: sources.into_iter().take(MOST_SOURCES).map(source).collect(),
            failed: failed.iter().take(MOST_FAILED).map(one).collect(),
            failed_besides: failed.len().saturating_sub(MOST_FAILED),
        }
    }

    /// Of which kind an action is that the executor has.
    #[must_use]
    pub fn kind(&self, action: &str) -> Kind {
        self.sources.get(action).map_or(Kind::Native, |source| source.kind)
    }
}

/// The end of a long path: it says more than the begin. A name that is not UTF-8 is written as well as it can be.
fn short_path(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    let too_many = text.chars().count().saturating_sub(LONGEST_PATH);
    if too_many == 0 {
        return text.into_owned().into();
    }
    format!("…{}", text.chars().skip(too_many + 1).collect::<String>()).into()
}

fn short(text: &str) -> Cow<'_, str> {
    if text.chars().count() <= LONGEST_REASON {
        return text.into();
    }
    (text.chars().take(LONGEST_REASON - 1).collect::<String>() + "…").into()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn what_is_said_has_a_bound() {
        let file = Path::new("/a").join("x".repeat(300)).join(OsStr::from_bytes(b"gr\xfc\xdfe.sh"));
        let failed = FailedToLoad { file: file.clone(), line: Some(3), reason: "why ".repeat(100) };
        let sources =
            (0..2000).map(|number| (format!("a{number}"), Source { kind: Kind::Command, file: file.clone() }));
        let loaded = Loaded::new(sources, &vec![failed; 25]);
        assert_eq!((loaded.sources.len(), loaded.failed.len(), loaded.failed_besides), (500, 20, 5));
        let FailedToLoad { file, line, reason } = &loaded.failed[0];
        assert_eq!((file.to_str().unwrap().chars().count(), *line, reason.chars().count()), (200, Some(3), 300));
        assert!(file.to_str().unwrap().ends_with("x/gr\u{fffd}\u{fffd}e.sh") && reason.ends_with('…'), "{file:?}");
        assert_eq!(loaded.sources["a0"].file, *file);
        let written = serde_json::to_vec(&loaded).unwrap();
        assert!(written.len() < 250_000, "{}", written.len());
        assert_eq!(serde_json::from_slice::<Loaded>(&written).unwrap(), loaded);
    }

    #[test]
    fn what_nothing_is_said_of_is_native_and_takes_no_room() {
        let loaded = Loaded::default();
        assert_eq!((loaded.kind("noop"), serde_json::to_string(&loaded).unwrap().as_str()), (Kind::Native, "{}"));
        let source = Source { kind: Kind::Python, file: "/a".into() };
        assert_eq!(Loaded::new([("a".to_owned(), source)], &[]).kind("a"), Kind::Python);
    }

    #[test]
    fn a_failure_is_said_with_file_and_line() {
        let failed = |line| FailedToLoad { file: "/a.toml".into(), line, reason: "why".to_owned() };
        assert_eq!([failed(Some(3)).to_string(), failed(None).to_string()], ["/a.toml:3: why", "/a.toml: why"]);
    }
}
