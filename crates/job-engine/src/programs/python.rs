//! The Python package `slipstream_host`, which is part of this program: nothing has to be installed, and what is there is
//! always of the same version.

use std::fs;
use std::io;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the package.
const PACKAGE: &str = "slipstream_host";

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../python/slipstream_host/", $path)))),*]
    };
}

/// Paths below the package, and what is there.
const FILES: &[(&str, &str)] = files![
    "__init__.py",
    "__main__.py",
    "access.py",
    "adapter.py",
    "client.py",
    "dialects/__init__.py",
    "dialects/elastic.py",
    "dialects/nuvla.py",
    "dialects/nuvla_api.py",
    "dialects/registry.py",
    "dialects/slipstream.py",
    "dialects/slipstream_api.py",
    "dialects/util.py",
    "loader.py",
    "log.py",
    "names.py",
    "script.py",
    "spelling.py",
    "wire.py",
    "work.py",
];

/// Writes the package below `folder`, in the place of what an earlier version left there; answers what belongs into
/// `PYTHONPATH`.
pub fn write_package(folder: &Path) -> io::Result<PathBuf> {
    let search = folder.join("python");
    match fs::remove_dir_all(&search) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for (path, content) in FILES {
        let file = search.join(PACKAGE).join(path);
        fs::create_dir_all(file.parent().expect("it lies in the package"))?;
        fs::write(&file, content)?;
    }
    Ok(search)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;

    /// The files of Python below a folder, relative to it.
    fn files_below(folder: &Path) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "py") {
                    found.insert(path.strip_prefix(folder).unwrap().to_owned());
                }
            }
        }
        found
    }

    #[test]
    fn the_whole_package_is_embedded() {
        let there = files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/slipstream_host"));
        assert_eq!(there, FILES.iter().map(|(path, _)| PathBuf::from(path)).collect());
    }

    #[test]
    fn it_is_written_in_the_place_of_what_was_there_and_starts() {
        let folder = tempfile::tempdir().unwrap();
        let search = write_package(folder.path()).unwrap();
        let stale = search.join(PACKAGE).join("stale.py");
        fs::write(&stale, "").unwrap();
        assert_eq!(write_package(folder.path()).unwrap(), search);
        assert!(!stale.exists());
        let mut python = Command::new("python3");
        let ran = python.args(["-u", "-m", PACKAGE]).env("PYTHONPATH", &search).output().expect("python3 is there");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(2) && said.starts_with("usage: python3 -u -m slipstream_host"), "{said}");
    }
}
