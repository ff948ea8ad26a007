//! [`Reach`]: what is out of reach of everybody, and what may not be read by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use slipstream_job_engine::internals::process::paths::{ENTRIES, MARKS, TAKEN};

/// What can be reached, and read.
#[derive(Default)]
pub struct Reach {
    /// How many outages of coordinator and servers last right now.
    away: u32,
    /// How often a process has been given less to read, and still is.
    hides: BTreeMap<String, u32>,
    /// Nodes that nobody may read.
    forbidden: BTreeSet<String>,
    /// Who created entries, claims and marks.
    creators: BTreeMap<String, String>,
}

impl Reach {
    /// Coordinator and servers are out of reach, or one such outage is over. Answers whether they can be reached.
    pub fn set_away(&mut self, away: bool) -> bool {
        self.away = if away { self.away + 1 } else { self.away.saturating_sub(1) };
        self.away == 0
    }

    /// Whether coordinator and servers are out of reach.
    pub fn is_away(&self) -> bool {
        self.away > 0
    }

    /// A process may not read all from now on, or may again.
    pub fn hide(&mut self, process: &str, hides: bool) {
        let count = self.hides.entry(process.to_owned()).or_default();
        *count = if hides { *count + 1 } else { count.saturating_sub(1) };
    }

    /// Nobody may read this node.
    pub fn forbid(&mut self, path: String) {
        self.forbidden.insert(path);
    }

    /// A process created a node. What it created it may always read.
    pub fn created(&mut self, path: &str, process: &str) {
        if is_of_others(path) {
            self.creators.insert(path.to_owned(), process.to_owned());
        }
    }

    /// The tree is empty again.
    pub fn wiped(&mut self) {
        self.forbidden.clear();
        self.creators.clear();
    }

    /// Whether this process may not read this node.
    pub fn is_hidden(&self, path: &str, process: &str) -> bool {
        let hides = self.hides.get(process).is_some_and(|count| *count > 0);
        let own = || self.creators.get(path).is_some_and(|creator| creator == process);
        self.forbidden.contains(path) || hides && is_of_others(path) && !own() && is_chosen(path)
    }
}

/// What others create and a process may have to read.
fn is_of_others(path: &str) -> bool {
    [ENTRIES, TAKEN, MARKS].iter().any(|folder| path.strip_prefix(folder).is_some_and(|name| name.starts_with('/')))
}

/// About half of all, the same ones in every run; of marks all, because there is one.
fn is_chosen(path: &str) -> bool {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    path.starts_with(MARKS) || hasher.finish().is_multiple_of(2)
}
