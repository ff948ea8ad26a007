//! [`Trust`]: whose files may be run. A program runs as the executor's user, so whoever may write it, or may put another in
//! its place, has all that this user has.
//!
//! As sshd has it for its keys and cron for its tables: a file, and everything that the kernel looks at on the way to it, belong to
//! root or to the executor's user, and nobody else may write them: all folders above, each link, and all folders above what
//! each link leads to. A group may where it is the user's own private one (as Debian's sshd has it), since
//! systems with such groups make every file so. A folder above may be for everybody where the sticky bit keeps others'
//! hands off what lies in it, as in `/tmp`.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

/// Most links on the way to a file, as Linux has it (`path_resolution(7)`).
const MOST_LINKS: u32 = 40;
/// Write permission of the group, of others, and the sticky bit (Linux's manual, inode(7)).
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Whose files may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trust {
    /// The executor's user.
    user: u32,
    /// The group that has no other member.
    private_group: Option<u32>,
}

/// What the file system says of a file.
#[derive(Clone, Copy, Debug)]
struct Facts {
    owner: u32,
    group: u32,
    mode: u32,
    is_link: bool,
    /// Whether it is a folder above the one that is meant, or a link on the way to it.
    is_above: bool,
}

/// Why a file is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distrust {
    Owner(u32),
    Group(u32),
    Others,
}

impl Trust {
    /// That of this process's user.
    pub(crate) fn of_this_process() -> Self {
        let user = rustix::process::geteuid().as_raw();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self { user, private_group: private_group(user, &read("/etc/passwd"), &read("/etc/group")) }
    }

    /// Whether nobody else may write this, nor lead elsewhere on the way to it; answers the place without links, or what is wrong,
    /// for people.
    pub(crate) fn check(&self, path: &Path) -> Result<PathBuf, String> {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let lost = |error: io::Error| {
            let is_link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
            if is_link { format!("it is a link that leads nowhere ({error})") } else { error.to_string() }
        };
        let (mut way, mut real, mut links) = (Way::default(), PathBuf::new(), 0);
        way.lead(&path);
        // as the kernel goes: who may write a folder may write all below
        while let Some(step) = way.next() {
            if step == ".." {
                real.pop();
                continue;
            }
            let place = real.join(step);
            let found = fs::symlink_metadata(&place).map_err(lost)?;
            let facts = Facts {
                owner: found.uid(),
                group: found.gid(),
                mode: found.mode(),
                is_link: found.is_symlink(),
                is_above: place != path && (found.is_symlink() || !way.is_over()),
            };
            if let Some(distrust) = self.distrust(facts) {
                return Err(self.explain(distrust, &place, facts));
            }
            if !found.is_symlink() {
                real = place;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(lost(io::Error::from_raw_os_error(libc::ELOOP)));
            }
            way.lead(&fs::read_link(&place).map_err(lost)?);
        }
        Ok(real)
    }

    fn distrust(&self, Facts { owner, group, mode, is_link, is_above }: Facts) -> Option<Distrust> {
        let is_kept_apart = is_above && mode & STICKY != 0;
        if owner != 0 && owner != self.user {
            Some(Distrust::Owner(owner))
        } else if is_link || is_kept_apart {
            None
        } else if mode & OTHERS_WRITE != 0 {
            Some(Distrust::Others)
        } else if mode & GROUP_WRITES != 0 && self.private_group != Some(group) {
            Some(Distrust::Group(group))
        } else {
            None
        }
    }

    fn explain(&self, distrust: Distrust, place: &Path, facts: Facts) -> String {
        let place = place.display();
        let it = match facts {
            Facts { is_above: false, .. } => "it".to_owned(),
            Facts { is_link: true, .. } => format!("the link {place} on the way to it"),
            Facts { is_link: false, .. } => format!("the folder {place} above it"),
        };
        match distrust {
            Distrust::Owner(owner) => {
                let user = self.user;
                let expected = if user == 0 { "root".to_owned() } else { format!("root or user {user}") };
                format!("{it} belongs to user {owner}, whose programs are not run: chown it to {expected}")
            }
            Distrust::Group(group) => format!("group {group} may write {it}: chmod g-w {place}"),
            Distrust::Others => format!("everybody may write {it}: chmod o-w {place}"),
        }
    }
}

/// The steps that are left on a way through folders and links, the next one last.
#[derive(Debug, Default)]
struct Way(Vec<OsString>);

impl Way {
    /// Goes on by this path first.
    fn lead(&mut self, path: &Path) {
        let steps = path.components().filter(|step| *step != Component::CurDir);
        let steps: Vec<OsString> = steps.map(|step| step.as_os_str().to_owned()).collect();
        self.0.extend(steps.into_iter().rev());
    }

    fn next(&mut self) -> Option<OsString> {
        self.0.pop()
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// The primary group of a user, if nobody else is in it, by the texts of `passwd(5)` and `group(5)`.
fn private_group(user: u32, passwd: &str, groups: &str) -> Option<u32> {
    let users = passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        Some((*fields.first()?, fields.get(2)?.parse::<u32>().ok()?, fields.get(3)?.parse::<u32>().ok()?))
    });
    let users: Vec<_> = users.collect();
    let (name, _, group) = *users.iter().find(|(_, id, _)| *id == user)?;
    let is_others = users.iter().any(|(_, id, of)| *of == group && *id != user);
    let members = groups.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(group)).then(|| fields.get(3).copied().unwrap_or_default())
    });
    let members: Vec<&str> = members.collect();
    let has_others = members.iter().flat_map(|list| list.split(',')).any(|member| !member.is_empty() && member != name);
    (!is_others && !has_others && !members.is_empty()).then_some(group)
}

#[cfg(test)]
mod tests;
