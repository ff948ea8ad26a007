//! How files are kept: whole or not at all, and for their owner alone. And whom to ask about those of others.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// The owner reads and writes, whatever the umask, and nobody else: to lock a file one has to open it.
const OWNERS_ALONE: u32 = 0o600;

/// Writes a file whole or not at all: `write` does so beside it, under another name, and then it gets its own. Answers it
/// open, as `write` had it.
pub fn write_whole<E>(
    path: &Path,
    failed: impl Fn(io::Error) -> E,
    write: impl FnOnce(&mut File, &Path) -> Result<(), E>,
) -> Result<File, E> {
    let unfinished = beside(path, ".new");
    let mut file = begin(&unfinished).map_err(&failed)?;
    let written = write(&mut file, &unfinished);
    let written = written.and_then(|()| put_in_place(&file, &unfinished, path).map_err(failed));
    written.map(|()| file).inspect_err(|_| {
        // whoever writes it next removes it all the same
        drop(remove(&unfinished));
    })
}

/// A new empty file in place of what may be there, which is nobody's: left by a start that was ended.
pub fn begin(unfinished: &Path) -> io::Result<File> {
    remove(unfinished)?;
    let file = OpenOptions::new().create_new(true).read(true).write(true).mode(OWNERS_ALONE).open(unfinished)?;
    file.set_permissions(Permissions::from_mode(OWNERS_ALONE))?;
    Ok(file)
}

/// Gives a file to the owner of another one, for whom that has been until now, with the same rights.
pub fn give_as(file: &File, other: &Metadata) -> io::Result<()> {
    let found = file.metadata()?;
    if (found.uid(), found.gid()) != (other.uid(), other.gid()) {
        fchown(file, Some(other.uid()), Some(other.gid()))?;
    }
    file.set_permissions(other.permissions())
}

/// Gives a file that is whole its name. However that ends, by a power cut even, there is the whole file under it, or what
/// was there before.
fn put_in_place(file: &File, unfinished: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    File::open(folder_of(path))?.sync_all()
}

/// The folder in which a file lies.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens the file that one process at a time locks, made if missing. Those of before this rule are their owner's alone
/// from now on, too.
pub fn to_lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(OWNERS_ALONE).open(path)?;
    file.set_permissions(Permissions::from_mode(OWNERS_ALONE))?;
    Ok(file)
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The file that lies beside another one, with this at the end of its name.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Whether the disk, or what this process may have of it, is used up.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// After `cannot read PATH`: who may, if that is why; else nothing.
#[must_use]
pub fn who_may(error: &io::Error, path: &Path) -> String {
    if error.kind() != ErrorKind::PermissionDenied {
        return String::new();
    }
    let visible = path.ancestors().find_map(|path| Some((path, fs::metadata(path).ok()?.uid())));
    let Some((found, owner)) = visible else { return String::new() };
    let whose = if found == path { "its owner".to_owned() } else { format!("the owner of {}", found.display()) };
    format!(", only {whose} may: the user {}", user_name(owner))
}

/// As the system's list of users has it, else the number.
fn user_name(id: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let has_id = |line: &&str| line.split(':').nth(2).is_some_and(|number| number.parse() == Ok(id));
    let name = users.lines().find(has_id).and_then(|line| line.split(':').next());
    name.map_or_else(|| id.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_permitted_says_to_whom_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (owner, missing) = (user_name(fs::metadata(folder.path()).unwrap().uid()), folder.path().join("missing"));
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        let of_folder = format!(", only the owner of {} may: the user {owner}", folder.path().display());
        assert_eq!(who_may(&denied, &missing), of_folder);
        assert_eq!(who_may(&denied, folder.path()), format!(", only its owner may: the user {owner}"));
        assert_eq!(who_may(&ErrorKind::NotFound.into(), &missing), "");
        assert_eq!((user_name(0).as_str(), user_name(4_000_000_000).as_str()), ("root", "4000000000"));
    }
}
