//! A Python of the tests' own, with the original client and the original's `ZooKeeper` library in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::commands::{describe, exists, read, remove, run, target};
use crate::debian;

/// Tells the tests which Python has the original client; those that need it fail without it.
pub const VARIABLE: &str = "SLIPSTREAM_TEST_PYTHON";

/// What the client's source archive is built with, and what the client imports when it runs: `pkg_resources`, which
/// setuptools had before release 81.
const TOOLS: [&str; 2] = ["setuptools<81", "wheel"];

/// The original client, unmodified, and what it imports; what original engines share queues and elections by; what drives
/// a browser, and looks at pages as people with disabilities have to.
const PACKAGES: [&str; 6] = [
    "slipstream-api==3.71.1",
    "requests",
    "six",
    "kazoo==2.11.0",
    "playwright==1.65.2",
    "axe-playwright-python==0.1.8",
];

/// What Debian's packages are on other systems.
pub const WHAT: &str = "Python 3 with its venv module";

/// Makes sure that `target/python` holds what the tests need; answers its interpreter. Quick when it already does.
pub fn set_up(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = target(root).join("python");
    let interpreter = folder.join("bin/python");
    let mark = folder.join("installed");
    if !exists("python3") {
        debian::install(WHAT, &["python3", "python3-venv"])?;
    }
    let wanted = wanted(&read(Command::new("python3").arg("--version"))?);
    if interpreter.exists() && fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        println!("up to date: {}", folder.display());
        return Ok(interpreter);
    }
    remove(&folder)?;
    create(Path::new("python3"), &folder)?;
    println!("installing from PyPI into {}: {}, {}", folder.display(), TOOLS.join(", "), PACKAGES.join(", "));
    let install = ["install", "--quiet", "--no-cache-dir"];
    run(pip(&interpreter).args(install).args(TOOLS))?;
    run(pip(&interpreter).args(install).arg("--no-build-isolation").args(PACKAGES))?;
    run(Command::new(&interpreter).args([
        "-W",
        "ignore",
        "-c",
        "import slipstream.api, kazoo.client, playwright, axe_playwright_python",
    ]))?;
    fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))?;
    Ok(interpreter)
}

/// What a finished folder says of itself; another list or another Python makes it new.
fn wanted(version: &str) -> String {
    format!("{}\n{}\n{}\n", version.trim(), TOOLS.join("\n"), PACKAGES.join("\n"))
}

/// An empty environment. Debian ships the module for it apart from Python.
pub fn create(interpreter: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(interpreter);
    command.args(["-m", "venv"]).arg(folder);
    let first = command.output().with_context(|| format!("cannot start {}", interpreter.display()))?;
    if first.status.success() {
        return Ok(());
    }
    println!("`{}` failed: {}", describe(&command), String::from_utf8_lossy(&first.stdout).trim());
    debian::install(WHAT, &["python3-venv"])?;
    remove(folder)?;
    run(&mut command)
}

/// pip, which leaves nothing outside the environment.
pub fn pip(interpreter: &Path) -> Command {
    let mut command = Command::new(interpreter);
    command.args(["-m", "pip", "--disable-pip-version-check"]);
    command
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn another_python_makes_the_folder_new() {
        assert_ne!(wanted("Python 3.11.2\n"), wanted("Python 3.13.1\n"));
        assert!(wanted("Python 3.11.2\n").contains("slipstream-api==3.71.1"));
        assert!(wanted("Python 3.11.2\n").contains("kazoo==2.11.0"));
        assert!(wanted("Python 3.11.2\n").contains("playwright==1.65.2"));
    }
}
