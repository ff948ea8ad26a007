//! The node tree as a pure state machine: no clock, no socket, no task. The same calls give the same tree.
//!
//! The rules are `ZooKeeper`'s:
//!
//! * A transaction happens whole or not at all. Each operation is carried out at once and leaves a note of how to take
//!   it back; a refused one takes back all before it. So a transaction costs what it touches, never the whole tree.
//! * A committed transaction raises the zxid by one, and so does the end of a session.
//! * A parent counts the children ever created below it. A sequential node gets that number, ten digits wide; the
//!   counter is a signed 32-bit number and goes on at its negative end after 2147483647. Deleting resets nothing.
//! * An ephemeral node belongs to the session that created it, goes with it, and has no children.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::num::NonZero;

use crate::session::{Cause, Change, DATA_LIMIT, Error, Mode, Node, Operation, is_path};

#[cfg(test)]
mod tests;

/// A session of one tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(NonZero<u64>);

/// Nodes, and the sessions that own the ephemeral ones.
#[derive(Default)]
pub struct Tree {
    root: Branch,
    zxid: i64,
    /// Paths of each open session's ephemeral nodes.
    owned: BTreeMap<SessionId, BTreeSet<String>>,
    opened: u64,
}

/// A node. A queue holds a million of them, so what only parents need is boxed away.
#[derive(Default)]
struct Branch {
    data: Box<[u8]>,
    version: i32,
    created: i64,
    owner: Option<SessionId>,
    below: Option<Box<Below>>,
}

#[derive(Default)]
struct Below {
    children: BTreeMap<Box<str>, Branch>,
    next: i32,
}

/// An operation that was carried out, and how to take it back.
struct Step {
    path: String,
    undo: Undo,
}

enum Undo {
    Create { next: i32 },
    Delete(Branch),
    Set { data: Box<[u8]>, version: i32 },
}

impl Tree {
    /// Opens a session.
    pub fn open(&mut self) -> SessionId {
        let session = SessionId(NonZero::<u64>::MIN.saturating_add(self.opened));
        self.opened += 1;
        self.owned.insert(session, BTreeSet::new());
        session
    }

    /// Ends a session: its ephemeral nodes go. A session that has ended already changes nothing.
    pub fn expire(&mut self, session: SessionId) -> Vec<Change> {
        let Some(paths) = self.owned.remove(&session) else { return Vec::new() };
        self.zxid += 1;
        for path in &paths {
            self.detach(path);
        }
        paths.into_iter().map(Change::Deleted).collect()
    }

    /// Carries out all operations or none. Answers what changed, one change for each, in order.
    pub fn apply(&mut self, session: SessionId, operations: Vec<Operation>) -> Result<Vec<Change>, Error> {
        if !self.owned.contains_key(&session) {
            return Err(Error::Expired);
        }
        let mut steps = Vec::with_capacity(operations.len());
        for (index, operation) in operations.into_iter().enumerate() {
            match self.carry_out(session, operation) {
                Ok(step) => steps.push(step),
                Err((path, cause)) => {
                    steps.into_iter().rev().for_each(|step| self.take_back(step));
                    return Err(Error::Refused { path, index, cause });
                }
            }
        }
        self.zxid += 1;
        Ok(steps.into_iter().map(Step::change).collect())
    }

    /// Reads a node.
    pub fn data(&self, path: &str) -> Result<Node, Error> {
        let branch = self.read(path)?;
        let Branch { data, version, created, owner, .. } = branch;
        Ok(Node {
            data: data.to_vec(),
            version: *version,
            created: *created,
            is_ephemeral: owner.is_some(),
            modified: None,
        })
    }

    /// Names of a node's children, in order of text.
    pub fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        let below = self.read(path)?.below.as_ref();
        Ok(below.into_iter().flat_map(|below| below.children.keys()).map(ToString::to_string).collect())
    }

    /// Number of transactions so far.
    #[must_use]
    pub fn zxid(&self) -> i64 {
        self.zxid
    }

    /// Creates persistent nodes with these names and data below a node, all or none, as one transaction. Those that
    /// exist stay as they are; answers how many that were.
    pub fn restore(&mut self, parent: &str, children: Vec<(String, Vec<u8>)>) -> Result<usize, Error> {
        for (name, data) in &children {
            let path = format!("{parent}/{name}");
            if name.contains('/') || !is_path(&path) {
                return Err(refused(&path, Cause::BadPath));
            }
            if data.len() > DATA_LIMIT {
                return Err(refused(&path, Cause::TooLarge));
            }
        }
        let created = self.zxid + 1;
        let Some(branch) = self.find_mut(parent) else { return Err(refused(parent, Cause::NoNode)) };
        let below = branch.below.get_or_insert_default();
        let mut existing = 0;
        for (name, data) in children {
            match below.children.entry(name.into_boxed_str()) {
                Entry::Vacant(place) => {
                    place.insert(Branch { data: data.into_boxed_slice(), created, ..Branch::default() });
                }
                Entry::Occupied(_) => existing += 1,
            }
        }
        self.zxid = created;
        Ok(existing)
    }

    /// Lifts the counter of a parent so that its next sequential child gets at least `next`.
    pub fn lift_sequence(&mut self, parent: &str, next: i32) -> Result<(), Error> {
        let Some(branch) = self.find_mut(parent) else { return Err(refused(parent, Cause::NoNode)) };
        let below = branch.below.get_or_insert_default();
        below.next = below.next.max(next);
        Ok(())
    }

    fn carry_out(&mut self, session: SessionId, operation: Operation) -> Result<Step, (String, Cause)> {
        match operation {
            Operation::Create { path, data, mode } => self.create(session, path, data, mode),
            Operation::Delete { path, version } => self.delete(path, version),
            Operation::Set { path, data, version } => self.set(path, data, version),
        }
    }

    fn create(&mut self, owner: SessionId, path: String, data: Vec<u8>, mode: Mode) -> Result<Step, (String, Cause)> {
        let sequential = matches!(mode, Mode::PersistentSequential | Mode::EphemeralSequential);
        let ephemeral = matches!(mode, Mode::Ephemeral | Mode::EphemeralSequential);
        let created = self.zxid + 1;
        let valid = if sequential { is_path(&format!("{path}0000000000")) } else { is_path(&path) };
        if !valid {
            return Err((path, Cause::BadPath));
        }
        if data.len() > DATA_LIMIT {
            return Err((path, Cause::TooLarge));
        }
        if path == "/" && !sequential {
            return Err((path, Cause::NodeExists));
        }
        let Some(parent) = self.parent_mut(split(&path).0) else { return Err((path, Cause::NoNode)) };
        if parent.owner.is_some() {
            return Err((path, Cause::ParentIsEphemeral));
        }
        let below = parent.below.get_or_insert_default();
        let next = below.next;
        let path = if sequential { format!("{path}{next:010}") } else { path };
        let Entry::Vacant(place) = below.children.entry(split(&path).1.into()) else {
            return Err((path, Cause::NodeExists));
        };
        let owner = ephemeral.then_some(owner);
        let data = data.into_boxed_slice();
        place.insert(Branch { data, created, owner, ..Branch::default() });
        below.next = next.wrapping_add(1);
        self.own(owner, &path);
        Ok(Step { path, undo: Undo::Create { next } })
    }

    fn delete(&mut self, path: String, version: Option<i32>) -> Result<Step, (String, Cause)> {
        let found = path.rsplit_once('/').and_then(|(parent, name)| {
            let siblings = &mut self.parent_mut(parent)?.below.as_mut()?.children;
            let (name, branch) = siblings.remove_entry(name)?;
            Some((siblings, name, branch))
        });
        let Some((siblings, name, branch)) = found else {
            let cause = if path == "/" { Cause::BadPath } else { missing(&path) };
            return Err((path, cause));
        };
        let cause = match &branch.below {
            _ if version.is_some_and(|version| version != branch.version) => Cause::BadVersion,
            Some(below) if !below.children.is_empty() => Cause::NotEmpty,
            _ => {
                self.disown(branch.owner, &path);
                return Ok(Step { path, undo: Undo::Delete(branch) });
            }
        };
        siblings.insert(name, branch);
        Err((path, cause))
    }

    fn set(&mut self, path: String, data: Vec<u8>, version: Option<i32>) -> Result<Step, (String, Cause)> {
        if data.len() > DATA_LIMIT {
            return Err((path, Cause::TooLarge));
        }
        match self.versioned(&path, version) {
            Err(cause) => Err((path, cause)),
            Ok(branch) => {
                let undo = Undo::Set {
                    data: mem::replace(&mut branch.data, data.into_boxed_slice()),
                    version: branch.version,
                };
                branch.version = branch.version.wrapping_add(1);
                Ok(Step { path, undo })
            }
        }
    }

    fn take_back(&mut self, Step { path, undo }: Step) {
        match undo {
            Undo::Set { data, version } => {
                let branch = self.find_mut(&path).expect("what was set is still there");
                (branch.data, branch.version) = (data, version);
            }
            Undo::Create { next } => {
                let owner = self.detach(&path).and_then(|branch| branch.owner);
                self.disown(owner, &path);
                self.below(&path).next = next;
            }
            Undo::Delete(branch) => {
                self.own(branch.owner, &path);
                self.below(&path).children.insert(split(&path).1.into(), branch);
            }
        }
    }

    fn own(&mut self, owner: Option<SessionId>, path: &str) {
        if let Some(paths) = owner.and_then(|owner| self.owned.get_mut(&owner)) {
            paths.insert(path.to_owned());
        }
    }

    fn disown(&mut self, owner: Option<SessionId>, path: &str) {
        if let Some(paths) = owner.and_then(|owner| self.owned.get_mut(&owner)) {
            paths.remove(path);
        }
    }

    fn read(&self, path: &str) -> Result<&Branch, Error> {
        let found = names(path).try_fold(&self.root, |branch, name| branch.below.as_ref()?.children.get(name));
        found.ok_or_else(|| refused(path, missing(path)))
    }

    fn versioned(&mut self, path: &str, version: Option<i32>) -> Result<&mut Branch, Cause> {
        let branch = self.find_mut(path).ok_or_else(|| missing(path))?;
        if version.is_some_and(|version| version != branch.version) { Err(Cause::BadVersion) } else { Ok(branch) }
    }

    fn find_mut(&mut self, path: &str) -> Option<&mut Branch> {
        names(path).try_fold(&mut self.root, |branch, name| branch.below.as_mut()?.children.get_mut(name))
    }

    /// The parent out of a path: that of `/a` is empty, and that of `//a` is none.
    fn parent_mut(&mut self, parent: &str) -> Option<&mut Branch> {
        match parent {
            "" => Some(&mut self.root),
            "/" => None,
            parent => self.find_mut(parent),
        }
    }

    /// Where the node of this path belongs, for taking back what was done there.
    fn below(&mut self, path: &str) -> &mut Below {
        let parent = self.parent_mut(split(path).0).expect("the parent of a node that was touched is still there");
        parent.below.as_mut().expect("it has or had children")
    }

    fn detach(&mut self, path: &str) -> Option<Branch> {
        let (parent, name) = split(path);
        self.parent_mut(parent)?.below.as_mut()?.children.remove(name)
    }
}

impl Step {
    fn change(self) -> Change {
        match self.undo {
            Undo::Create { .. } => Change::Created(self.path),
            Undo::Delete(_) => Change::Deleted(self.path),
            Undo::Set { .. } => Change::Set(self.path),
        }
    }
}

/// The names of a path. What is no path has one that no node has: an empty one, or one with what is refused in names.
fn names(path: &str) -> impl Iterator<Item = &str> {
    let below = if path == "/" { None } else { Some(path.strip_prefix('/').unwrap_or_default()) };
    below.into_iter().flat_map(|names| names.split('/'))
}

/// Why there is no such node: what a node was found by needs no other look.
fn missing(path: &str) -> Cause {
    if is_path(path) { Cause::NoNode } else { Cause::BadPath }
}

/// Parent and name of a path; the parent of `/a` is empty.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn refused(path: &str, cause: Cause) -> Error {
    Error::Refused { path: path.to_owned(), index: 0, cause }
}
