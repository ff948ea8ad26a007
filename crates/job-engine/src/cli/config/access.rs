//! [`Reader`]: whether a service's user may read a file, for root, who may read everything.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::config::below;

/// Says of a file whether this process may read it (`test(1)`).
const TEST: &str = "test";

/// A user of the machine.
pub struct Reader {
    pub name: String,
    id: u32,
    group: u32,
}

impl Reader {
    /// None unless root asks, and the machine has the user.
    pub fn of(name: &str, root: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string(below(root, Path::new("/etc/passwd"))).ok()?;
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
        Some(Self { name: name.to_owned(), id: fields.get(2)?.parse().ok()?, group: fields.get(3)?.parse().ok()? })
    }

    /// Whether the file can be read, asked with the user's rights; also if it is not there, or nobody can tell.
    pub fn may_read(&self, file: &Path) -> bool {
        if !file.exists() {
            return true;
        }
        let mut test = Command::new(TEST);
        test.arg("-r").arg(file).uid(self.id).gid(self.group).current_dir("/").stdin(Stdio::null());
        test.status().map_or(true, |status| status.code() != Some(1))
    }
}
