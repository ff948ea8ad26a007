//! The Pythons that the Python host is tested with: the oldest and the newest that are there, each by itself and with the
//! real clients of the original engines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::commands::{read, remove, run, target};
use crate::python::{WHAT, create, pip};

/// Tells the tests in which folder the environments are.
pub const VARIABLE: &str = "SLIPSTREAM_TEST_PYTHONS";

/// The host runs from this version on.
const OLDEST: Version = (3, 9);

/// Major and minor.
type Version = (u32, u32);

/// An environment: what is installed, and what the tests may therefore expect.
struct Environment {
    name: &'static str,
    packages: &'static [&'static str],
    /// Words of `python/tests/support.py`.
    real: &'static str,
}

/// With the oldest interpreter.
const OF_THE_OLDEST: [Environment; 2] = [
    Environment { name: "oldest", packages: &[], real: "" },
    Environment {
        name: "oldest-real",
        packages: &["slipstream-api==3.71.1", "six==1.17.0", "requests==2.25.1", "elasticsearch==7.17.12"],
        real: "slipstream elasticsearch",
    },
];

/// With the newest. Nuvla's engine needs 3.11.
const OF_THE_NEWEST: [Environment; 2] = [
    Environment { name: "newest", packages: &[], real: "" },
    Environment {
        name: "newest-real",
        packages: &[
            "slipstream-api==3.71.1",
            "six==1.17.0",
            "requests==2.34.2",
            "elasticsearch==9.5.1",
            "nuvla-job-engine==5.1.4",
            "nuvla-api==4.2.3",
        ],
        real: "slipstream elasticsearch nuvla engine",
    },
];

/// What source archives are built with; removed afterwards, because what runs must not need it.
const BUILDER: &str = "setuptools==80.9.0";

/// Makes sure that `target/pythons` holds the environments; answers it. Quick when it already does.
pub fn set_up(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = target(root).join("pythons");
    let found = interpreters();
    let range = || found.iter().filter(|(version, _)| *version >= OLDEST);
    let oldest = range().min().with_context(|| format!("install {WHAT}, from {}.{} on", OLDEST.0, OLDEST.1))?;
    let newest = range().max().unwrap_or(oldest);
    for (interpreter, environments) in [(oldest, OF_THE_OLDEST), (newest, OF_THE_NEWEST)] {
        for environment in environments {
            make(&folder.join(environment.name), &interpreter.1, &environment)?;
        }
    }
    Ok(folder)
}

/// The interpreters of this machine with their versions: those in the path, and those that pyenv has.
fn interpreters() -> Vec<(Version, PathBuf)> {
    let mut programs: Vec<PathBuf> = (OLDEST.1..30).map(|minor| format!("python3.{minor}").into()).collect();
    programs.push("python3".into());
    let pyenv = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    let versions = pyenv.and_then(|pyenv| fs::read_dir(pyenv.join("versions")).ok());
    programs.extend(versions.into_iter().flatten().flatten().map(|entry| entry.path().join("bin/python3")));
    programs.into_iter().filter_map(|program| Some((version_of(&program)?, program))).collect()
}

/// The version of an interpreter that works, is `CPython` and can make environments.
fn version_of(program: &Path) -> Option<Version> {
    let question =
        "import sys, venv; sys.implementation.name == 'cpython' or sys.exit(1); print(*sys.version_info[:2])";
    let output = Command::new(program).args(["-c", question]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn make(folder: &Path, interpreter: &Path, environment: &Environment) -> anyhow::Result<()> {
    let mark = folder.join("installed");
    let version = read(Command::new(interpreter).args(["-c", "import sys; print(sys.version)"]))?;
    let wanted = format!("{}\n{}\n", version.trim(), environment.packages.join("\n"));
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        println!("up to date: {}", folder.display());
        return Ok(());
    }
    remove(folder)?;
    create(interpreter, folder)?;
    let python = folder.join("bin/python");
    if !environment.packages.is_empty() {
        println!("installing from PyPI into {}: {}", folder.display(), environment.packages.join(", "));
        run(pip(&python).args(["install", "--quiet", "--no-cache-dir"]).arg(BUILDER))?;
        let packages = ["install", "--quiet", "--no-cache-dir", "--no-build-isolation", "--use-pep517"];
        run(pip(&python).args(packages).args(environment.packages))?;
        run(pip(&python).args(["uninstall", "--quiet", "--yes"]).arg(name_of(BUILDER)))?;
    }
    fs::write(folder.join("real"), environment.real).context("cannot write into an environment")?;
    fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))
}

/// The package that a requirement names.
fn name_of(requirement: &'static str) -> &'static str {
    requirement.split(['<', '=']).next().unwrap_or(requirement)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{BUILDER, OF_THE_NEWEST, OF_THE_OLDEST, name_of, version_of};

    #[test]
    fn each_package_has_its_version() {
        let environments = OF_THE_OLDEST.into_iter().chain(OF_THE_NEWEST);
        for package in environments.flat_map(|environment| environment.packages) {
            assert!(package.contains("=="), "{package}");
        }
        assert_eq!(name_of(BUILDER), "setuptools");
    }

    #[test]
    fn what_is_no_interpreter_is_passed_over() {
        assert_eq!(version_of(Path::new("/nonexistent")), None);
        assert_eq!(version_of(Path::new("/bin/true")), None);
    }
}
