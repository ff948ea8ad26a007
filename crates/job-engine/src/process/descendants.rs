//! Which processes descend from one, as the kernel tells.

use std::collections::HashMap;
use std::fs;

use rustix::process::Pid;

/// All that descend from a process, without itself, nearest first. What is started meanwhile may be missing.
pub(crate) fn descendants(of: Pid) -> Vec<Pid> {
    let mut known = Known::default();
    let mut found = known.children(of);
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(known.children(pid));
        next += 1;
    }
    found
}

/// The children of a process.
pub(crate) fn children(of: Pid) -> Vec<Pid> {
    Known::default().children(of)
}

/// How parents are found out.
#[derive(Default)]
struct Known {
    /// Where the kernel has no lists of children (`CONFIG_PROC_CHILDREN`): all processes, by parent, read once.
    by_parent: Option<HashMap<Pid, Vec<Pid>>>,
}

impl Known {
    fn children(&mut self, of: Pid) -> Vec<Pid> {
        if self.by_parent.is_none() {
            match listed(of) {
                Some(children) => return children,
                None if fs::exists("/proc/self/task").unwrap_or(false) && !has_lists() => {
                    self.by_parent = Some(by_parent());
                }
                // it has ended
                None => return Vec::new(),
            }
        }
        self.by_parent.as_ref().and_then(|all| all.get(&of)).cloned().unwrap_or_default()
    }
}

/// Whether the kernel lists children at all.
fn has_lists() -> bool {
    let me = rustix::process::getpid().as_raw_nonzero();
    fs::exists(format!("/proc/{me}/task/{me}/children")).unwrap_or(false)
}

/// The lists of all its threads; `None` if it has none.
fn listed(of: Pid) -> Option<Vec<Pid>> {
    let threads = fs::read_dir(format!("/proc/{}/task", of.as_raw_nonzero())).ok()?;
    let mut children = Vec::new();
    let mut read = false;
    for thread in threads.flatten() {
        if let Ok(list) = fs::read_to_string(thread.path().join("children")) {
            read = true;
            children.extend(list.split_whitespace().filter_map(pid));
        }
    }
    read.then_some(children)
}

fn by_parent() -> HashMap<Pid, Vec<Pid>> {
    let mut all: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(pid) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_in(&stat) {
            all.entry(parent).or_default().push(child);
        }
    }
    all
}

/// The fourth field; the second is the program's name in brackets, which may hold anything (proc(5)).
fn parent_in(stat: &str) -> Option<Pid> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1).and_then(pid)
}

fn pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn both_ways_find_children() {
        let me = rustix::process::getpid();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(children(me).contains(&pid));
        assert!(descendants(me).contains(&pid));
        assert!(by_parent()[&me].contains(&pid));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!children(me).contains(&pid));
    }

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(parent_in("7 (a) S 9 (b) R 3 7 7 0"), Pid::from_raw(3));
        assert_eq!(parent_in("7 (a b) S 12 7 7 0"), Pid::from_raw(12));
        assert_eq!(parent_in("7 (init) S 0 7"), None);
        assert_eq!(parent_in("nonsense"), None);
    }
}
