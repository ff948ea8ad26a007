//! Processes of the version before beside those of this one, with faults: each speaks to its neighbours.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::commands::{cargo, read, root, run as succeed, target};
use crate::python;

/// The last commit before a change of what processes say to each other, or of the store's schema: the change after it
/// packs the documents of jobs.
const COMMIT: &str = "2e1740e8760442da461612ce29e59a0ebfe977cd";
/// Each kind of fault once.
const SEEDS: &str = "22";

/// Old executors at a new server, then new executors at an old server with old distributors.
pub fn run() -> anyhow::Result<()> {
    let root = root()?;
    let folder = check_out(&root)?;
    let mut build = cargo(&folder);
    build.env_remove("CARGO_TARGET_DIR");
    succeed(build.args([
        "test",
        "--no-run",
        "--release",
        "--locked",
        "--package",
        "slipstream-job-engine",
        "--test",
        "faults",
    ]))?;
    let python = python::set_up(&root)?;
    let release = folder.join("target/release");
    let tests = newest(&release.join("deps"), "faults-")?;
    faults(&root, &python, "FAULTS_EXECUTOR_PROGRAM", &tests)?;
    faults(&root, &python, "FAULTS_SERVER_PROGRAM", &release.join("slipstream-job"))
}

/// The sources of that commit, in a folder of their own.
fn check_out(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = target(root).join("previous").join(COMMIT);
    if !folder.exists() {
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(root).args(arguments);
            git
        };
        let text = folder.to_str().context("the target folder's path is not UTF-8")?;
        succeed(&mut git(&["clone", "--quiet", "--no-checkout", ".", text]))?;
        let done = succeed(git(&["checkout", "--quiet", "--detach", COMMIT]).current_dir(&folder));
        done.context("the commit is not there: fetch the whole history")?;
    }
    Ok(folder)
}

/// The test program among what was built.
fn newest(folder: &Path, begin: &str) -> anyhow::Result<PathBuf> {
    let list = read(Command::new("ls").args(["-t", "--"]).arg(folder))?;
    let name = list.lines().find(|name| name.starts_with(begin) && !name.contains('.'));
    Ok(folder.join(name.with_context(|| format!("no {begin} in {}", folder.display()))?))
}

fn faults(root: &Path, python: &Path, variable: &str, program: &Path) -> anyhow::Result<()> {
    println!("{variable}={}", program.display());
    let mut command = cargo(root);
    command.args(["test", "--release", "--locked", "--package", "slipstream-job-engine", "--test", "faults"]);
    command.args(["every_promise_holds_whatever_fails", "--", "--nocapture"]);
    command.env(python::VARIABLE, python);
    succeed(command.env("FAULTS_SEEDS", SEEDS).env_remove("FAULTS_SEED").env(variable, program))
}
