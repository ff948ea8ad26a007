//! [`find`]: which scripts there are in folders: `job_distributor_NAME.py`, as the original named them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::programs::ownership::Trust;

const PREFIX: &str = "job_distributor_";
const SUFFIX: &str = ".py";

/// A script that is a distributor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFile {
    /// Name of the distributor.
    pub name: String,
    /// Where it is.
    pub file: PathBuf,
}

/// A script that may not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedScript {
    /// Name of the distributor that it would be.
    pub name: String,
    /// Which file, and why, for people.
    pub reason: String,
}

/// What folders have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The scripts, by name.
    pub scripts: Vec<ScriptFile>,
    /// Those that may not be started.
    pub refused: Vec<RefusedScript>,
    /// What is wrong with folders, for people.
    pub wrong: Vec<String>,
}

impl Found {
    /// All that is wrong, for the log.
    pub fn complaints(&self) -> impl Iterator<Item = &str> {
        self.wrong.iter().map(|wrong| &**wrong).chain(self.refused.iter().map(|refused| &*refused.reason))
    }
}

/// The scripts of these folders. One of a later folder counts before one of the same name in an earlier folder, so that a site
/// can replace those of packages. Folders that are missing have none.
#[must_use]
pub fn find(folders: &[PathBuf]) -> Found {
    let trust = Trust::of_this_process();
    let (mut scripts, mut refused, mut wrong) = (BTreeMap::new(), Vec::new(), Vec::new());
    for folder in folders {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                wrong.push(format!("{}: {error}", folder.display()));
                continue;
            }
        };
        for file in entries.flatten().map(|entry| entry.path()) {
            let Some(name) = name_of(&file) else { continue };
            let reason = match trust.check(&file) {
                // to open it may wait for ever, as with a named pipe
                Ok(_) if !file.is_file() => "it is no regular file".to_owned(),
                Ok(_) => {
                    scripts.insert(name.clone(), ScriptFile { name, file });
                    continue;
                }
                Err(reason) => reason,
            };
            refused.push(RefusedScript { name, reason: format!("{}: {reason}", file.display()) });
        }
    }
    wrong.sort();
    refused.sort_by(|one, other| one.reason.cmp(&other.reason));
    Found { scripts: scripts.into_values().collect(), refused, wrong }
}

fn name_of(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn scripts_are_found_by_name_and_the_last_folder_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            path
        };
        write("usr/job_distributor_quotas.py");
        let vms = write("usr/job_distributor_vms.py");
        let quotas = write("etc/job_distributor_quotas.py");
        for other in ["etc/quotas.py", "etc/job_distributor_.py", "etc/job_distributor_x.pyc", "etc/readme"] {
            write(other);
        }
        let open = write("etc/job_distributor_open.py");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
        let pipe = root.path().join("etc/job_distributor_pipe.py");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let folders = ["usr", "missing", "etc"].map(|name| root.path().join(name));
        let Found { scripts, refused, wrong } = find(&folders);
        let script = |name: &str, file: PathBuf| ScriptFile { name: name.to_owned(), file };
        assert_eq!((scripts, wrong), (vec![script("quotas", quotas), script("vms", vms)], Vec::new()));
        assert_eq!(refused.iter().map(|refused| &*refused.name).collect::<Vec<_>>(), ["open", "pipe"]);
        assert!(refused[0].reason.contains("job_distributor_open.py: everybody may write it"), "{refused:?}");
        assert!(refused[1].reason.ends_with("job_distributor_pipe.py: it is no regular file"), "{refused:?}");
    }
}
