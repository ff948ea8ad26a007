//! [`write()`]: the programs whose jobs are done.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::HOST;

/// The grace of the program that ignores SIGTERM, as in its manifest.
pub const GRACE_SECONDS: u64 = 1;

/// A class file: one action that ends at once, one that sleeps until it is stopped.
const CLASS_FILE: &str = r#"
import time

from slipstream.job.actions import action

@action("python")
class Noop(object):
    def __init__(self, executor, job):
        pass

    def do_work(self):
        pass

@action("sleeper")
class Sleeper(object):
    def __init__(self, executor, job):
        pass

    def do_work(self):
        open("HERE/sleeper-begun", "w").close()
        try:
            time.sleep(600)
        finally:
            open("HERE/sleeper-ended", "w").close()
"#;

/// The program that ignores SIGTERM has a descendant that has left its session.
const MANIFEST: &str = r#"
[[host]]
command = ["PROGRAM", "HOST"]
processes = 2

[python]
processes = 2

[[action]]
name = "command"
command = ["true"]

[[action]]
name = "stubborn"
command = ["sh", "-c", '''
trap "" TERM
setsid sh -c 'while :; do sleep 1; done' &
: > HERE/stubborn-begun
while :; do sleep 1; done
''']
stop-grace = "GRACE s"
"#;

/// Writes manifest and class file, and answers the folder in which they are. What they do shows in `folder`.
pub fn write(folder: &Path) -> anyhow::Result<PathBuf> {
    let actions = folder.join("actions");
    fs::create_dir_all(&actions)?;
    let here = folder.to_str().context("the folder's path is text")?;
    let program = std::env::current_exe()?;
    let manifest = MANIFEST
        .replace("PROGRAM", program.to_str().context("the program's path is text")?)
        .replace("\"HOST\"", &format!("\"{HOST}\""))
        .replace("GRACE", &GRACE_SECONDS.to_string())
        .replace("HERE", here);
    fs::write(actions.join("programs.toml"), manifest)?;
    fs::write(actions.join("classes.py"), CLASS_FILE.replace("HERE", here))?;
    Ok(actions)
}
